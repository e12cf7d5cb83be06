//! Counting votes, entry by entry: proposals, who supports them, which of them are confirmed.

use std::collections::BTreeMap;

use super::ancestry::Ancestry;
use super::epoch::{Epoch, ProposalKey, first_of_wave};
use super::standing::{Seen, Standing};
use super::{EntryNumber, Node};

/// A leader's vote in the wave it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) number: EntryNumber,
    pub(super) seq: u64,
    /// The next stop of the walk back from here: the highest proposal of a lower wave in this one's past. A function of that past
    /// alone, so it is found once. `None` also where it lies below the last anchor.
    pub(super) previous: Option<ProposalKey>,
    /// The votes that have the proposal in their past or are it, by the voters' places among the indexers.
    pub(super) supporters: BTreeMap<usize, Votes>,
}

/// One indexer's votes for a proposal: by number, with their `seq`. More than one only if it forked its log.
pub(super) type Votes = BTreeMap<EntryNumber, u64>;

impl Proposal {
    pub(super) fn is_confirmed(&self, majority: usize) -> bool {
        self.supporters.len() >= majority
    }
}

impl Epoch {
    /// Counts an entry of this epoch in.
    pub(super) fn count(&mut self, node: &Node, standing: &Standing, ancestry: &Ancestry<'_>) {
        let Some(me) = self.index_of(&node.writer) else { return };
        if let Some(held) = self.held.get_mut(me) {
            held.merge(Seen { next: node.seq.saturating_add(1), wave: node.wave });
        }
        if standing.rise == 0 {
            return;
        }
        let (from, to) = (node.wave.saturating_sub(standing.rise), node.wave);
        let lowest = self.anchor.map_or(0, |(wave, _)| wave);

        let proposed = to.saturating_sub(1);
        if proposed >= lowest && self.leader(proposed) == Some(me) {
            let mut lower = self.proposals.range(..first_of_wave(proposed)).rev();
            let previous =
                lower.find(|(key, _)| self.is_seen(**key, &standing.seen, &node.parents, ancestry));
            let previous = previous.map(|(key, _)| *key);
            if previous.is_some_and(|previous| self.past_end.contains(&previous)) {
                self.past_end.insert((proposed, node.hash));
            }
            let (number, seq) = (node.number, node.seq);
            let proposal = Proposal { number, seq, previous, supporters: BTreeMap::new() };
            self.proposals.insert((proposed, node.hash), proposal);
        }

        let supported: Vec<ProposalKey> = self
            .proposals
            .range(first_of_wave(from)..first_of_wave(to))
            .filter(|(key, proposal)| {
                proposal.number == node.number || self.is_seen(**key, &standing.seen, &node.parents, ancestry)
            })
            .map(|(key, _)| *key)
            .collect();
        let majority = self.majority();
        for key in supported {
            let Some(proposal) = self.proposals.get_mut(&key) else { continue };
            proposal.supporters.entry(me).or_default().insert(node.number, node.seq);
            if proposal.is_confirmed(majority) {
                self.top = self.top.max(Some(key));
            }
        }
    }

    /// The anchors that are confirmed and not yet finished, the highest first: the walk back.
    pub(super) fn walk_back(&self) -> Vec<ProposalKey> {
        let mut stops = Vec::new();
        let mut at = self.top;
        while let Some(key) = at.filter(|key| self.anchor.is_none_or(|anchor| *key > anchor)) {
            stops.push(key);
            at = self.proposals.get(&key).and_then(|proposal| proposal.previous);
        }
        stops
    }

    /// Makes a finished part's anchor the last one and forgets what lies below it.
    pub(super) fn finish_anchor(&mut self, key: ProposalKey) {
        self.anchor = Some(key);
        self.proposals = self.proposals.split_off(&first_of_wave(key.0));
    }
}
