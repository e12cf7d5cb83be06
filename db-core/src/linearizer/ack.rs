//! What an own entry carries, and when an indexer with nothing to write appends an ack.
//!
//! An indexer at wave `v` has voted in all waves below `v`. It goes on through a wave if its vote there is due: it holds the
//! wave's proposal; or the leader has gone by without one, or is gone itself; or so many have voted without the proposal that it cannot be
//! confirmed any more. At the first wave it leads, where a proposal can still be confirmed, it stops and proposes.

use std::collections::BTreeSet;

use crate::ids::WriterKey;

use super::epoch::{Epoch, first_of_wave};
use super::{Linearizer, Position};

impl Linearizer {
    /// What an entry that `me` appends now, all heads its parents, should carry: it votes and proposes as it can. `gone` are the
    /// indexers not to wait for.
    pub fn next_position(&self, me: &WriterKey, gone: &BTreeSet<WriterKey>) -> Position {
        let epoch = self.present();
        match epoch.index_of(me) {
            Some(me) => Position { epoch: self.epoch(), wave: epoch.next_wave(me, gone) },
            None => Position { epoch: 0, wave: 0 },
        }
    }

    /// Whether `me` should append an ack: something besides acks is not confirmed, and the ack helps to confirm it.
    pub fn wants_ack(&self, me: &WriterKey, gone: &BTreeSet<WriterKey>) -> bool {
        let epoch = self.present();
        self.has_unconfirmed_writes()
            && epoch.index_of(me).is_some_and(|me| epoch.is_advance_useful(me, gone))
    }
}

impl Epoch {
    /// The wave that indexer `me` should carry next.
    fn next_wave(&self, me: usize, gone: &BTreeSet<WriterKey>) -> u64 {
        let mut wave = self.own_wave(me).max(self.settled_wave(me));
        while let Some(next) = wave.checked_add(1) {
            let Some(leader) = self.leader(wave) else { break };
            if !self.may_carry(me, next, &self.held) {
                break;
            }
            if leader == me {
                return next;
            }
            let is_leader_by = self.held.get(leader).is_some_and(|held| held.wave > wave);
            let is_leader_gone = self.indexers.get(leader).is_some_and(|leader| gone.contains(leader));
            if !is_leader_by && !is_leader_gone && !self.has_proposal(wave) {
                break;
            }
            wave = next;
        }
        wave
    }

    /// Whether the next wave of `me` is a proposal, or a vote for a proposal that lacks votes, or brings a majority nearer to the
    /// next wave.
    fn is_advance_useful(&self, me: usize, gone: &BTreeSet<WriterKey>) -> bool {
        let own = self.own_wave(me);
        let next = self.next_wave(me, gone);
        if next == own {
            return false;
        }
        let proposes = self.leader(next - 1) == Some(me) && !self.has_proposal(next - 1);
        let from = self.top.map_or(own, |(wave, _)| own.max(wave.saturating_add(1)));
        let supports =
            from < next && self.proposals.range(first_of_wave(from)..first_of_wave(next)).next().is_some();
        let there = self.held.iter().filter(|held| held.wave >= next).count();
        proposes || supports || there < self.majority()
    }

    /// The highest wave so many others have reached that no proposal below it, which is not held, can be confirmed.
    fn settled_wave(&self, me: usize) -> u64 {
        let mut others: Vec<u64> =
            self.held.iter().enumerate().filter(|(i, _)| *i != me).map(|(_, held)| held.wave).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let needed = self.indexers.len() - self.majority() + 1;
        others.get(needed - 1).copied().unwrap_or(0)
    }

    fn own_wave(&self, me: usize) -> u64 {
        self.held.get(me).map_or(0, |held| held.wave)
    }

    fn has_proposal(&self, wave: u64) -> bool {
        match wave.checked_add(1) {
            Some(next) => self.proposals.range(first_of_wave(wave)..first_of_wave(next)).next().is_some(),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
