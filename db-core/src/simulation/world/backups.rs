//! Backups that are restored: a peer's disk is as it was before, and the peer goes on with that.
//!
//! Whoever has a word in what is confirmed goes on when a peer that holds all of its log has told it so. Others may write before
//! they have heard anything, which forks their logs. A backup from before its owner took another key lacks that key, which nobody
//! has any more then: an indexer's vote is missed from there on, until an admin lets somebody else go on for it. So that happens
//! while the others are a majority.

use super::{CALM, World};
use crate::engine::Request;
use crate::ids::WriterKey;
use crate::simulation::byzantine;
use crate::simulation::node::{Node, writer};

/// How many frames it takes at the most until a peer is told how far its log goes.
const FRAMES_UNTIL_TOLD: u64 = 200;

impl World {
    pub(super) fn restore_backup(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(backup) = node.backup.clone().filter(|_| node.is_on()) else { return };
        let may_fork = !self.appointed.contains(&at) && self.chance.one_in(2);
        let may_fork = may_fork || self.options.forks_indexers && at == byzantine::INDEXER;
        let ends = node.own_ends();
        let holder =
            self.nodes.iter().position(|other| other.number != at && other.is_on() && other.holds(&ends));
        let lost: Vec<_> = node.keys.iter().copied().filter(|key| !backup.keys.contains(key)).collect();
        let is_careful = holder.is_some() && (lost.is_empty() || self.can_be_missed(at));
        if !may_fork && !is_careful {
            return;
        }
        self.report.lost_keys += lost.len() as u64;
        self.lost_keys.extend(lost);
        self.is_gone(at);
        self.nodes[at].restore(&backup);
        self.report.restored += 1;
        self.look_at(at);
        if let Some(holder) = holder.filter(|_| !may_fork) {
            self.ask_for_own_log(at, holder);
        } else {
            self.careless.insert(at);
            if self.chance.one_in(2) {
                self.write(at); // before it can have heard anything
            }
        }
    }

    /// Whether everything can be confirmed without a key of this peer's.
    fn can_be_missed(&self, at: usize) -> bool {
        let indexers = self.nodes[at].engine.as_ref().map_or(0, |engine| engine.indexers().len());
        !self.appointed.contains(&at) || 2 * (self.lost_keys.len() + 1) < indexers
    }

    /// Whether the keys that somebody has are a majority of the indexers that a peer counts.
    pub(super) fn can_confirm(&self, at: usize) -> bool {
        let engines = || self.nodes.iter().filter_map(|node| node.engine.as_ref());
        let has = |key: &&WriterKey| engines().any(|engine| engine.is_own(key));
        let indexers = self.nodes[at].engine.as_ref().unwrap().indexers();
        2 * indexers.iter().filter(has).count() > indexers.len()
    }

    /// A peer meets another one that has all of its log: before it can write it is told.
    fn ask_for_own_log(&mut self, at: usize, holder: usize) {
        let (weather, partition) = (std::mem::replace(&mut self.weather, CALM), self.partition.take());
        self.connect(at, holder);
        for _ in 0..FRAMES_UNTIL_TOLD {
            let link = self.links.iter().position(|link| link.joins(at, holder));
            let due =
                link.and_then(|link| self.links[link].next_due().map(|(due_ms, to)| (due_ms, link, to)));
            let Some((due_ms, link, to)) = due.filter(|_| !self.nodes[at].knows_own_logs()) else { break };
            self.take_in(due_ms, link, to);
        }
        assert!(self.nodes[at].knows_own_logs(), "peer {at}: nobody tells it that its backup is old");
        (self.weather, self.partition) = (weather, partition);
    }

    /// An owner whom nobody gives what is missing goes on without it.
    pub(super) fn give_up_own_entries(&mut self, at: usize) {
        if self.nodes[at].misses_own() && !self.appointed.contains(&at) {
            self.careless.insert(at);
            self.call(at, Request::GiveUpOwnEntries);
            self.report.given_up += 1;
        }
    }

    /// In the end: what is missing somewhere is nowhere, and is given up.
    pub(super) fn give_up_what_is_nowhere(&mut self) -> bool {
        let missing = (0..self.nodes.len()).find(|at| self.nodes[*at].misses_own());
        let Some(at) = missing else { return false };
        for end in self.nodes[at].own_ends() {
            let has = |node: &&Node| node.holds(&[end]);
            let is_here = self.nodes.iter().find(has).is_none_or(|_| self.nodes[at].holds(&[end]));
            assert!(is_here, "peer {at} does not get what others have of its own log");
        }
        self.careless.insert(at);
        self.call(at, Request::GiveUpOwnEntries);
        self.report.given_up += 1;
        true
    }

    /// Notes that a peer which may have forgotten some of its log has written.
    pub(super) fn note_careless(&mut self, at: usize) {
        let node = &self.nodes[at];
        if self.careless.contains(&at) && node.is_on() && !node.has_own_logs() {
            self.may_be_forked.extend(&node.keys);
        }
    }

    /// Nobody has forked its log but who was careless, and those without manners.
    pub(super) fn check_forked(&self, at: usize, forked: &[WriterKey]) {
        let genesis = &self.identity.genesis;
        for key in forked {
            let is_outlaw = *key == writer(byzantine::OUTLAW) || *key == genesis.founder;
            let is_outlaw =
                is_outlaw || self.options.forks_indexers && self.nodes[byzantine::INDEXER].keys.contains(key);
            assert!(
                is_outlaw || self.may_be_forked.contains(key),
                "peer {at}: the log of somebody who was told in time is forked"
            );
        }
    }
}
