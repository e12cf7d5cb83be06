//! What entries of the order did for confirmation, told from what is stored of them: for showing, not for deciding.

use std::collections::BTreeMap;

use crate::ids::{EntryHash, WriterKey};

use super::epoch::{Epoch, ProposalKey, first_of_wave};
use super::{EntryNumber, Facts, Linearizer, Past, RestoreError, Standing};

/// An entry as its ballot is told from.
#[derive(Debug, Clone)]
pub struct Voter {
    /// The entry's hash.
    pub hash: EntryHash,
    /// Whose log it stands in.
    pub writer: WriterKey,
    /// Its place in that log.
    pub seq: u64,
    /// The wave that it carries.
    pub wave: u64,
    /// What [`Linearizer::check`] gave for it.
    pub standing: Standing,
}

/// What an entry did for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Ballot {
    /// Nothing: its author is no indexer, or had come so far before.
    #[default]
    None,
    /// It votes in a wave or several.
    Vote,
    /// It votes, and is the proposal of the last of these waves.
    Proposal,
    /// It is a proposal from which a part of the confirmed order was made.
    Anchor,
}

impl Linearizer {
    /// The linearizer of a snapshot, without its tail: enough for [`Linearizer::ballots`].
    ///
    /// # Errors
    /// If the snapshot cannot be read.
    pub fn without_tail(snapshot: &[u8]) -> Result<Self, RestoreError> {
        struct Nothing;
        impl Past for Nothing {
            fn standing(&self, _: EntryNumber) -> Option<Standing> {
                None
            }

            fn parents(&self, _: EntryNumber) -> Vec<EntryNumber> {
                Vec::new()
            }

            fn facts(&self, _: EntryNumber) -> Option<Facts> {
                None
            }
        }
        Self::restore(snapshot, [], &[], &Nothing)
    }

    /// What each of `entries`, a stretch of the order, did for confirmation; the first so many of them are confirmed, which may be
    /// more than this linearizer knows of its last epoch.
    ///
    /// An anchor is told by the votes for it or for a later one that it is in the past of; the last ones of a stretch that ends
    /// before those votes stay proposals. Where an indexer has forked its log this is a good guess.
    pub fn ballots(&self, entries: &[Voter], confirmed: usize) -> Vec<Ballot> {
        let mut ballots = vec![Ballot::None; entries.len()];
        let mut by_epoch: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.standing.rise > 0) {
            by_epoch.entry(entry.standing.epoch).or_default().push(at);
        }
        for (number, voters) in by_epoch {
            let epoch = usize::try_from(number).ok().and_then(|number| self.epochs.get(number));
            if let Some(epoch) = epoch {
                let confirmed = if number == self.epoch() { confirmed } else { 0 };
                epoch.tell_ballots(entries, confirmed, &voters, &mut ballots);
            }
        }
        ballots
    }
}

impl Epoch {
    fn tell_ballots(&self, entries: &[Voter], confirmed: usize, voters: &[usize], ballots: &mut [Ballot]) {
        let voters = || voters.iter().filter_map(|at| Some((*at, entries.get(*at)?)));
        let mut proposals: BTreeMap<ProposalKey, usize> = BTreeMap::new();
        for (at, entry) in voters() {
            let Some(me) = self.index_of(&entry.writer) else { continue };
            let proposed = entry.wave.saturating_sub(1);
            let proposes = self.leader(proposed) == Some(me);
            if proposes {
                proposals.insert((proposed, entry.hash), at);
            }
            if let Some(ballot) = ballots.get_mut(at) {
                *ballot = if proposes { Ballot::Proposal } else { Ballot::Vote };
            }
        }
        let holds = |entry: &Voter, other: &Voter| {
            let seen = self.index_of(&other.writer).and_then(|at| entry.standing.seen.get(at));
            entry.hash == other.hash || seen.is_some_and(|seen| seen.next > other.seq)
        };
        // Nothing above the last anchor is confirmed, but for what is confirmed already and not counted here; and nothing above
        // the one that ended the epoch ever will be.
        let is_below =
            |key: &ProposalKey, at: usize| self.anchor.is_some_and(|last| *key <= last) || at < confirmed;
        let mut supporters: BTreeMap<ProposalKey, Vec<WriterKey>> = BTreeMap::new();
        for (_, entry) in voters() {
            let from = entry.wave.saturating_sub(entry.standing.rise);
            for (key, proposal) in proposals.range(first_of_wave(from)..first_of_wave(entry.wave)) {
                let Some(proposal) = entries.get(*proposal) else { continue };
                if holds(entry, proposal) {
                    let supporters = supporters.entry(*key).or_default();
                    if !supporters.contains(&entry.writer) {
                        supporters.push(entry.writer);
                    }
                }
            }
        }
        let is_confirmed = |key: &ProposalKey| {
            self.anchor == Some(*key)
                || supporters.get(key).is_some_and(|voters| voters.len() >= self.majority())
        };
        let mut below = proposals.iter().rev().filter(|(key, at)| is_below(key, **at)).map(|(key, _)| *key);
        let mut at = below.find(is_confirmed);
        while let Some(anchor) = at.and_then(|key| Some((key, *proposals.get(&key)?))) {
            let ((wave, _), number) = anchor;
            if let Some(ballot) = ballots.get_mut(number) {
                *ballot = Ballot::Anchor;
            }
            at = entries
                .get(number)
                .and_then(|anchor| {
                    let mut lower = proposals.range(..first_of_wave(wave)).rev();
                    lower.find(|(_, other)| entries.get(**other).is_some_and(|other| holds(anchor, other)))
                })
                .map(|(key, _)| *key);
        }
    }
}
