//! One epoch: its indexers, who leads a wave, which entries are legal, and when a past certifies the epoch's end.

use std::collections::{BTreeMap, BTreeSet};

use crate::faults::{Fault, is_planted};
use crate::ids::{EntryHash, WriterKey};

use super::ancestry::Ancestry;
use super::findings::Sought;
use super::standing::{Seen, Standing};
use super::votes::Proposal;
use super::{EntryNumber, IllegalEntry, Node};

/// Names a proposal. The hash tells the proposals of a leader that forked its log apart.
pub(super) type ProposalKey = (u64, EntryHash);

/// The lowest name a proposal of `wave` can have.
pub(super) const fn first_of_wave(wave: u64) -> ProposalKey {
    (wave, EntryHash::from_bytes([0; 32]))
}

#[derive(Debug, Clone)]
pub(super) struct Epoch {
    /// Sorted, without repetition.
    pub(super) indexers: Vec<WriterKey>,
    /// By indexer: all its entries of this epoch that were added.
    pub(super) held: Vec<Seen>,
    /// By indexer: those of them that are confirmed.
    pub(super) placed: Vec<Seen>,
    /// The proposals from the last anchor's wave on, the anchor among them.
    pub(super) proposals: BTreeMap<ProposalKey, Proposal>,
    /// The highest confirmed proposal.
    pub(super) top: Option<ProposalKey>,
    /// The last anchor whose part was taken out and finished; of an ended epoch the one that ended it.
    pub(super) anchor: Option<ProposalKey>,
    /// Of an ended epoch the proposals from which the walk back passes that anchor, itself among them: only votes for these certify
    /// the end.
    pub(super) past_end: BTreeSet<ProposalKey>,
}

impl Epoch {
    pub(super) fn new(mut indexers: Vec<WriterKey>) -> Self {
        indexers.sort_unstable();
        indexers.dedup();
        let nothing = vec![Seen::default(); indexers.len()];
        Self {
            indexers,
            held: nothing.clone(),
            placed: nothing,
            proposals: BTreeMap::new(),
            top: None,
            anchor: None,
            past_end: BTreeSet::new(),
        }
    }

    pub(super) fn index_of(&self, writer: &WriterKey) -> Option<usize> {
        self.indexers.binary_search(writer).ok()
    }

    pub(super) fn majority(&self) -> usize {
        self.indexers.len() / 2 + usize::from(!is_planted(Fault::MajorityLowered))
    }

    /// Who may propose in `wave`; `None` only for an epoch without indexers.
    pub(super) fn leader(&self, wave: u64) -> Option<usize> {
        Some(wave.checked_rem(self.indexers.len() as u64)? as usize)
    }

    /// The advance rule: whether indexer `me`, seeing `seen`, may carry `wave`. Everybody stands at wave 0 unseen, so wave 1 is
    /// free to all.
    pub(super) fn may_carry(&self, me: usize, wave: u64, seen: &[Seen]) -> bool {
        let Some(below) = wave.checked_sub(1).filter(|below| *below > 0) else { return true };
        let others = seen.iter().enumerate().filter(|(i, one)| *i != me && one.wave >= below).count();
        others + 1 >= self.majority() || is_planted(Fault::AdvanceRuleDropped)
    }

    /// Judges an entry whose past knows this epoch, number `epoch`, and sees `seen`.
    pub(super) fn judge(
        &self,
        epoch: u64,
        mut seen: Vec<Seen>,
        node: &Node,
    ) -> Result<Standing, IllegalEntry> {
        let Some(me) = self.index_of(&node.writer) else {
            if node.wave != 0 {
                return Err(IllegalEntry::WaveOfNonIndexer { wave: node.wave });
            }
            if node.epoch != 0 && node.epoch != epoch {
                return Err(IllegalEntry::WrongEpoch { carried: node.epoch, known: epoch });
            }
            return Ok(Standing { epoch, rise: 0, seen });
        };
        if node.epoch != epoch {
            return Err(IllegalEntry::WrongEpoch { carried: node.epoch, known: epoch });
        }
        let before = seen.get(me).copied().unwrap_or_default();
        let Some(rise) = node.wave.checked_sub(before.wave) else {
            return Err(IllegalEntry::WaveDecreased { carried: node.wave, before: before.wave });
        };
        if rise > 0 && !self.may_carry(me, node.wave, &seen) {
            return Err(IllegalEntry::AdvanceWithoutMajority {
                carried: node.wave,
                majority: self.majority(),
            });
        }
        seen.resize(self.indexers.len(), Seen::default());
        if let Some(own) = seen.get_mut(me) {
            own.merge(Seen { next: node.seq.saturating_add(1), wave: node.wave });
        }
        Ok(Standing { epoch, rise, seen })
    }

    /// Whether a past that sees `seen`, its newest entries being `parents`, confirms this anchor, which has ended the epoch or
    /// may end it: holds a majority's votes for a proposal from which the walk back passes it.
    pub(super) fn is_certified(
        &self,
        anchor: ProposalKey,
        seen: &[Seen],
        parents: &[EntryNumber],
        ancestry: &Ancestry<'_>,
    ) -> bool {
        if !self.is_seen(anchor, seen, parents, ancestry) {
            return false; // those who have voted for what passes it have seen it
        }
        let passing;
        let passing = if self.past_end.contains(&anchor) {
            &self.past_end
        } else {
            passing = self.passing(anchor);
            &passing
        };
        let mut proposals = passing.iter().filter_map(|key| self.proposals.get(key));
        proposals.any(|proposal| self.sees_majority(proposal, seen, parents, ancestry))
    }

    /// The proposals from which the walk back passes this one, and itself.
    fn passing(&self, anchor: ProposalKey) -> BTreeSet<ProposalKey> {
        let mut passing = BTreeSet::from([anchor]);
        // Lower keys come first, so the walk back from each is known when a later one comes to it.
        for (key, proposal) in self.proposals.range(anchor..) {
            if proposal.previous.is_some_and(|previous| passing.contains(&previous)) {
                passing.insert(*key);
            }
        }
        passing
    }

    /// Notes that the epoch has ended at its last anchor.
    pub(super) fn end(&mut self) {
        self.past_end = self.anchor.map(|anchor| self.passing(anchor)).unwrap_or_default();
    }

    /// Whether a past that sees `seen`, its newest entries being `parents`, holds a majority's votes for a proposal.
    fn sees_majority(
        &self,
        proposal: &Proposal,
        seen: &[Seen],
        parents: &[EntryNumber],
        ancestry: &Ancestry<'_>,
    ) -> bool {
        let mut lacking = self.majority();
        let mut forked = Vec::new();
        for (voter, votes) in &proposal.supporters {
            let (Some(seen), Some(writer)) = (seen.get(*voter), self.indexers.get(*voter)) else { continue };
            if !votes.values().any(|seq| seen.next > *seq) {
                continue;
            }
            if ancestry.is_forked(writer) {
                forked.push((*voter, votes)); // it may be another branch that is seen
            } else {
                lacking = lacking.saturating_sub(1);
            }
        }
        // Those are looked for only as long as it matters.
        for (at, (voter, votes)) in forked.iter().enumerate() {
            if lacking == 0 || lacking > forked.len() - at {
                break;
            }
            let Some((lowest, _)) = votes.first_key_value() else { continue };
            let is_vote = |number| votes.contains_key(&number);
            let sought = Sought::Votes(proposal.number, *voter);
            lacking -= usize::from(ancestry.reaches(parents, sought, *lowest, is_vote));
        }
        lacking == 0
    }

    /// Whether a past that sees `seen`, its newest entries being `parents`, holds this proposal, which is still known.
    pub(super) fn is_seen(
        &self,
        (wave, hash): ProposalKey,
        seen: &[Seen],
        parents: &[EntryNumber],
        ancestry: &Ancestry<'_>,
    ) -> bool {
        let (Some(leader), Some(proposal)) = (self.leader(wave), self.proposals.get(&(wave, hash))) else {
            return false;
        };
        let (seen, writer) = (seen.get(leader), self.indexers.get(leader));
        seen.zip(writer).is_some_and(|(seen, writer)| {
            ancestry.holds_proposal(parents, *seen, writer, proposal.seq, proposal.number)
        })
    }

    /// Whether the walk back from this proposal comes by an anchor. Without forked indexers it always does from a confirmed one.
    pub(super) fn passes(&self, anchor: Option<ProposalKey>, from: ProposalKey) -> bool {
        let Some(anchor) = anchor else { return true };
        let mut at = Some(from);
        while let Some(key) = at {
            if key == anchor {
                return true;
            }
            at = self.proposals.get(&key).and_then(|proposal| proposal.previous);
        }
        false
    }
}

#[cfg(test)]
mod tests;
