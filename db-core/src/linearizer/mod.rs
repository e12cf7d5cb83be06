//! The linearizer: puts the causal graph of entries in one order, the same on every peer.
//!
//! It takes entries one by one, in any causal order, and gives the *confirmed* order part by part, each part the past of one
//! *anchor*, and the order of the *tail*, which can still change. Both are pure functions of the set of entries. It knows logs
//! neither as bytes nor as operations: the caller applies the parts and says which indexers the view has then.
//!
//! # Rules
//!
//! Order within a set: repeatedly, among the entries whose parents are placed, the smallest by `(time, writer, seq, hash)`.
//!
//! In one epoch the indexers are a fixed sorted list `I`. An indexer's entry carries the epoch that its past knows (in which all
//! ended epochs' ends are confirmed) and a wave, never lower than before in that epoch. From wave 2 on it may carry `w + 1` only if
//! a majority, itself counted, has entries of wave `w` or higher in its past. (Everybody begins at wave 0, so wave 1 is free.)
//! Its *votes* in the waves below are its first entries above them. The vote of the leader `I[w mod |I|]` in wave `w`, if it carries
//! exactly `w + 1`, is that wave's *proposal*. A proposal is confirmed once a majority's votes in its wave have it in their past or are
//! it. From the highest confirmed proposal the walk goes back to the highest lower wave's proposal in its past, and again; these are
//! the anchors. The epoch ends at the anchor whose part changes the indexers.
//!
//! Other writers carry wave 0, and epoch 0 or the known one.
//!
//! An entry that breaks a rule is refused by [`Linearizer::check`], which looks at nothing but the entry and its past, so that all
//! peers refuse the same entries.
//!
//! # Forked logs
//!
//! Two entries with one `seq` by one writer both stand in the graph. Nothing changes for a writer that is no indexer. An indexer
//! with a forked log supports a proposal if *any* of its votes in the wave does, and a leader with a forked log may have several
//! proposals in its wave; the one with the highest hash comes first where the choice is open. An added entry thus never takes a
//! confirmation back, but by a fork two proposals may be confirmed of which neither is in the other's past. If the graph comes to demand an
//! order other than the one that was given out, [`Linearizer::add`] says so ([`ConfirmationBroken`]) and the caller starts anew: a new
//! linearizer, all entries added with their standings before the first part is taken. What it gives then depends on the set of entries
//! alone, not on what was confirmed before.
//!
//! This goes as far as no two *ends* of one epoch are confirmed: entries that follow on the losing end carry an epoch that the winning
//! one does not know, and are refused. [`Linearizer::forked_indexers`] is the alarm, before it comes to that.
//!
//! # Calling
//!
//! For each entry: [`Linearizer::check`], store the standing, [`Linearizer::add`], then, while [`Linearizer::has_part`],
//! [`Linearizer::next_part`], apply, [`Linearizer::finish_part`]. When the entries at hand are added: [`Linearizer::tail`]. After a restart:
//! [`Linearizer::restore`] from the last [`Linearizer::snapshot`], which changes only when a part is finished.
//!
//! Entries that were signed together are judged before any of them is added ([`Linearizer::check_in_run`]). That gives what it would
//! give if those before were added, unless one of them is a vote that may change who votes. Nothing may follow such a one in its
//! run ([`Linearizer::sees_end`]).
//!
//! A part may stay in hand for as long as it takes to apply it: entries are added meanwhile, and checked as long as it makes no
//! difference to them whether that part ends the epoch ([`IllegalEntry::PartInHand`]). One that changes no members may be finished
//! before it is applied.

mod ack;
mod ancestry;
mod ballot;
mod epoch;
mod facts;
mod findings;
mod node;
mod numbers;
mod order;
mod snapshot;
mod standing;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::WriterKey;

pub use ballot::{Ballot, Voter};
pub use facts::Facts;
pub use node::{EntryNumber, Node, Part, Position, Tail};
pub use snapshot::RestoreError;
pub use standing::{Past, Standing};

pub(crate) use numbers::NumberSet;

use ancestry::Ancestry;
use epoch::{Epoch, ProposalKey};
use findings::SharedFindings;
use order::TailOrder;
use standing::{Seen, merge_seen};

/// How many of the last standings are kept at hand, so that a chain of new entries asks the caller for none.
const RECENT_STANDINGS_MAX: usize = 1_024;

/// Why an entry is no legal part of the graph. Every peer refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalEntry {
    /// The entry carries another epoch than its past knows.
    #[error("entry carries another epoch than its past knows: carried {carried}, known {known}")]
    WrongEpoch {
        /// The epoch that the entry carries.
        carried: u64,
        /// The epoch that it would have to carry.
        known: u64,
    },
    /// Only indexers carry waves.
    #[error("entry of a writer that is no indexer carries a wave: {wave}")]
    WaveOfNonIndexer {
        /// The wave that the entry carries.
        wave: u64,
    },
    /// An indexer's waves never decrease within an epoch.
    #[error("entry carries a lower wave than its author's before: carried {carried}, before {before}")]
    WaveDecreased {
        /// The wave that the entry carries.
        carried: u64,
        /// The highest wave of the author's entries in its past.
        before: u64,
    },
    /// The entry's past does not hold a majority that has come so far.
    #[error("entry advances to a wave that no majority allows: carried {carried}, majority {majority}")]
    AdvanceWithoutMajority {
        /// The wave that the entry carries.
        carried: u64,
        /// How many indexers, its author counted, have to be at most one wave behind.
        majority: usize,
    },
    /// A parent was never added, or the caller could not give its standing.
    #[error("entry has a parent that is not known: {}", .0.0)]
    UnknownParent(EntryNumber),
    /// Not a rule: the entry's past certifies the part in hand, so that its epoch is known only when that is finished. It is to
    /// be checked again then.
    #[error("entry cannot be judged before the part in hand is finished")]
    PartInHand,
}

/// Forked logs of indexers made the graph demand another order than the confirmed one: the view has to be built anew. See the
/// [module's description](self#forked-logs).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a forked indexer's log contradicts what was confirmed: epoch {epoch}, forked {forked:?}")]
pub struct ConfirmationBroken {
    /// The epoch in which two conflicting proposals are confirmed.
    pub epoch: u64,
    /// The indexers of that epoch whose logs are known to be forked.
    pub forked: Vec<WriterKey>,
}

/// Orders the entries of one database. See the [module's description](self).
#[derive(Debug, Clone)]
pub struct Linearizer {
    /// By number; the last one is the present epoch.
    epochs: Vec<Epoch>,
    tail: TailOrder,
    /// How many entries of the tail are no acks.
    writes_in_tail: usize,
    /// The present epoch's confirmed anchors whose parts are not finished, the next one last; as of when a part was last taken.
    stops: Vec<ProposalKey>,
    /// The anchor whose part the caller is applying.
    in_hand: Option<ProposalKey>,
    /// Writers of whom two entries with one `seq` were added.
    forked: BTreeSet<WriterKey>,
    /// What was looked for in the graph because of them.
    findings: SharedFindings,
    /// Entries of epochs that have not begun: only while everything is added before the first part is taken.
    early: Vec<(Node, Standing)>,
    recent: BTreeMap<EntryNumber, Standing>,
}

impl Linearizer {
    /// A linearizer without entries. `indexers` are those of the database's genesis; without any nothing is ever confirmed.
    pub fn new(indexers: Vec<WriterKey>) -> Self {
        Self {
            epochs: vec![Epoch::new(indexers)],
            tail: TailOrder::default(),
            writes_in_tail: 0,
            stops: Vec::new(),
            in_hand: None,
            forked: BTreeSet::new(),
            findings: SharedFindings::default(),
            early: Vec::new(),
            recent: BTreeMap::new(),
        }
    }

    /// Judges an entry whose parents have all been added, all confirmed parts being finished but for the one in hand. Changes
    /// nothing.
    ///
    /// Gives what the caller keeps of the entry for ever and hands back through [`Past`].
    ///
    /// # Errors
    /// If the entry breaks a rule, `past` does not know a parent, or the part in hand has to be finished first.
    pub fn check(&self, node: &Node, past: &dyn Past) -> Result<Standing, IllegalEntry> {
        self.check_in_run(node, None, past)
    }

    /// The same, of an entry that follows others of its log that are judged and not added. `past` knows them, and `forks` is their
    /// author if the first of them is a fork.
    ///
    /// # Errors
    /// As [`Linearizer::check`].
    pub fn check_in_run(
        &self,
        node: &Node,
        forks: Option<&WriterKey>,
        past: &dyn Past,
    ) -> Result<Standing, IllegalEntry> {
        if forks.is_some() || !self.forked.is_empty() {
            self.findings.lock().forget_from(node.number); // else nothing is searched for
        }
        let (epoch_number, seen) = self.before(&node.parents, forks, past)?;
        let epoch = self.epoch_at(epoch_number);
        epoch.judge(epoch_number, seen, node)
    }

    /// Whether one of `changes` that is in no part yet is among these entries or in their pasts. A vote with none in its past
    /// cannot end the epoch.
    pub(crate) fn may_hold_change(
        &mut self,
        entries: &[EntryNumber],
        changes: &NumberSet,
        past: &dyn Past,
    ) -> bool {
        self.tail.holds_any(entries, changes, past)
    }

    /// Whether an entry with this standing and these parents has in its past the anchor that has ended its epoch, or whose part is in
    /// hand. Only such a vote can help to certify that.
    pub fn sees_end(
        &self,
        standing: &Standing,
        parents: &[EntryNumber],
        forks: Option<&WriterKey>,
        past: &dyn Past,
    ) -> bool {
        let epoch = self.epoch_at(standing.epoch);
        let end = if standing.epoch < self.epoch() { epoch.anchor } else { self.in_hand };
        let ancestry = Ancestry { forked: &self.forked, forks, findings: &self.findings, past };
        end.is_some_and(|end| epoch.is_seen(end, &standing.seen, parents, &ancestry))
    }

    /// Whether an entry with these parents, which have all been added, could be judged now: [`IllegalEntry::PartInHand`].
    pub fn is_decided(&self, parents: &[EntryNumber], past: &dyn Past) -> bool {
        !matches!(self.before(parents, None, past), Err(IllegalEntry::PartInHand))
    }

    /// Adds an entry that [`Linearizer::check`] has judged.
    ///
    /// # Errors
    /// If a forked indexer's log now contradicts what was confirmed. The linearizer is of no further use then.
    pub fn add(
        &mut self,
        node: &Node,
        standing: &Standing,
        past: &dyn Past,
    ) -> Result<(), ConfirmationBroken> {
        self.findings.get_mut().forget_from(node.number);
        self.tail.insert(node, standing, past);
        self.writes_in_tail += usize::from(!node.is_ack);
        self.remember(node.number, standing.clone());
        self.count(node, standing, past)
    }

    /// Whether adding these entries, which were judged together and follow one another, may give [`ConfirmationBroken`]. `forks` is
    /// their author if the first of them is a fork. Changes nothing.
    pub fn may_break<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a Node, &'a Standing)>,
        forks: Option<&WriterKey>,
        past: &dyn Past,
    ) -> bool {
        let ancestry = Ancestry { forked: &self.forked, forks, findings: &self.findings, past };
        let mut counted: BTreeMap<usize, Epoch> = BTreeMap::new();
        entries.into_iter().any(|(node, standing)| {
            let number = usize::try_from(standing.epoch).unwrap_or(usize::MAX);
            let Some(epoch) = self.epochs.get(number) else { return false };
            if !epoch.indexers.iter().any(|indexer| ancestry.is_forked(indexer)) {
                return false;
            }
            let epoch = counted.entry(number).or_insert_with(|| epoch.clone());
            let top = epoch.top;
            epoch.count(node, standing, &ancestry);
            epoch.top.is_some_and(|new_top| !epoch.passes(top, new_top))
        })
    }

    /// Whether a confirmed part is waiting to be taken.
    pub fn has_part(&self) -> bool {
        self.in_hand.is_none() && self.present().top > self.present().anchor
    }

    /// Takes the next confirmed part out of the tail. `None` if there is none, or the last one was not finished.
    pub fn next_part(&mut self, past: &dyn Past) -> Option<Part> {
        if !self.has_part() {
            return None;
        }
        if self.stops.first().copied() != self.present().top {
            self.stops = self.present().walk_back();
        }
        let key = *self.stops.last()?;
        let epoch_number = self.epoch();
        let anchor = self.present().proposals.get(&key)?.number;
        self.in_hand = Some(key);

        let entries = self.tail.past_of(anchor, past);
        let (epochs, writes_in_tail) = (&mut self.epochs, &mut self.writes_in_tail);
        let kept = self.tail.take(&entries, past, |facts| {
            *writes_in_tail -= usize::from(!facts.is_ack);
            let epoch = usize::try_from(facts.known_epoch).ok().and_then(|at| epochs.get_mut(at));
            let Some(epoch) = epoch else { return };
            if let Some(placed) = epoch.index_of(&facts.writer).and_then(|at| epoch.placed.get_mut(at)) {
                placed.merge(Seen { next: facts.seq.saturating_add(1), wave: facts.wave });
            }
        });
        Some(Part { anchor, epoch: epoch_number, wave: key.0, kept, entries })
    }

    /// Says that the part taken last is applied and which indexers the view has now, in any order. Another set than before ends
    /// the epoch. No indexers at all are taken for no change: the last one cannot be removed.
    ///
    /// # Errors
    /// If a forked indexer's log contradicts what was confirmed, while a linearizer is filled anew.
    pub fn finish_part(&mut self, indexers: &[WriterKey], past: &dyn Past) -> Result<(), ConfirmationBroken> {
        let Some(key) = self.in_hand.take() else { return Ok(()) };
        self.stops.pop();
        let Some(epoch) = self.epochs.last_mut() else { return Ok(()) };
        epoch.finish_anchor(key);
        let next = Epoch::new(indexers.to_vec());
        if next.indexers.is_empty() || next.indexers == epoch.indexers {
            return Ok(());
        }
        epoch.end();
        self.epochs.push(next);
        self.stops.clear();
        self.findings = SharedFindings::default(); // those that come now may be sought, and were passed before
        for (node, standing) in std::mem::take(&mut self.early) {
            self.count(&node, &standing, past)?;
        }
        Ok(())
    }

    /// The order of everything not confirmed. Sorts in what was added since it was last asked for.
    pub fn tail(&mut self, past: &dyn Past) -> Tail<'_> {
        self.tail.settle(past)
    }

    /// How much of the tail as last asked for would be kept if it were asked for now: no more than [`Linearizer::tail`] then says.
    pub fn tail_kept(&mut self, past: &dyn Past) -> usize {
        self.tail.kept(past)
    }

    /// How many entries are not confirmed.
    pub fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// Whether anything but acks is not confirmed.
    pub fn has_unconfirmed_writes(&self) -> bool {
        self.writes_in_tail > 0
    }

    /// The number of the present epoch.
    pub fn epoch(&self) -> u64 {
        self.epochs.len().saturating_sub(1) as u64
    }

    /// The indexers of the present epoch, ascending.
    pub fn indexers(&self) -> &[WriterKey] {
        &self.present().indexers
    }

    /// The wave of the last finished anchor of the present epoch.
    pub fn anchor_wave(&self) -> Option<u64> {
        self.present().anchor.map(|(wave, _)| wave)
    }

    /// Indexers of the present epoch whose logs are forked: confirmation is not to be relied on while there are any.
    pub fn forked_indexers(&self) -> Vec<WriterKey> {
        self.indexers().iter().copied().filter(|indexer| self.forked.contains(indexer)).collect()
    }

    /// The epoch that the past of an entry with these parents knows, and what it sees of that epoch's indexers.
    fn before(
        &self,
        parents: &[EntryNumber],
        forks: Option<&WriterKey>,
        past: &dyn Past,
    ) -> Result<(u64, Vec<Seen>), IllegalEntry> {
        let (mut epoch, mut seen) = (0, Vec::new());
        // How many of the parents know that epoch, and whether any of them votes.
        let (mut newest, mut is_vote) = (0, false);
        for parent in parents {
            let looked_up;
            let standing = if let Some(standing) = self.recent.get(parent) {
                standing
            } else {
                looked_up = past.standing(*parent).ok_or(IllegalEntry::UnknownParent(*parent))?;
                &looked_up
            };
            if standing.epoch > epoch {
                (epoch, seen) = (standing.epoch, Vec::new());
                (newest, is_vote) = (0, false);
            }
            if standing.epoch == epoch {
                merge_seen(&mut seen, &standing.seen);
                newest += 1;
                is_vote |= standing.votes();
            }
        }
        let ancestry = Ancestry { forked: &self.forked, forks, findings: &self.findings, past };
        let has_forks = self.epoch_at(epoch).indexers.iter().any(|indexer| ancestry.is_forked(indexer));
        // What the past of an entry that does not vote has not certified it does not certify with it; but where an indexer has forked its
        // log another end may be certified than when that entry was judged.
        if newest == 1 && !is_vote && !has_forks {
            return Ok((epoch, seen));
        }
        let is_certified = |anchor: Option<ProposalKey>| {
            anchor.is_some_and(|anchor| self.epoch_at(epoch).is_certified(anchor, &seen, parents, &ancestry))
        };
        // The next epoch's entries have its beginning in their past: unseen, it cannot have ended as well.
        if epoch < self.epoch() && is_certified(self.epoch_at(epoch).anchor) {
            return Ok((epoch + 1, Vec::new()));
        }
        if epoch == self.epoch() && is_certified(self.in_hand) {
            return Err(IllegalEntry::PartInHand);
        }
        Ok((epoch, seen))
    }

    fn count(&mut self, node: &Node, standing: &Standing, past: &dyn Past) -> Result<(), ConfirmationBroken> {
        if node.is_fork {
            self.forked.insert(node.writer);
        }
        let epochs = self.epochs.len() as u64;
        let Some(epoch) = usize::try_from(standing.epoch).ok().and_then(|at| self.epochs.get_mut(at)) else {
            self.early.push((node.clone(), standing.clone()));
            return Ok(());
        };
        let top = epoch.top;
        let ancestry = Ancestry { forked: &self.forked, forks: None, findings: &self.findings, past };
        epoch.count(node, standing, &ancestry);
        let Some(new_top) = epoch.top.filter(|_| epoch.top != top) else { return Ok(()) };
        let in_hand = self.in_hand.filter(|_| standing.epoch.saturating_add(1) == epochs);
        if !epoch.passes(in_hand.or(epoch.anchor), new_top) {
            let forked =
                epoch.indexers.iter().copied().filter(|indexer| self.forked.contains(indexer)).collect();
            return Err(ConfirmationBroken { epoch: standing.epoch, forked });
        }
        Ok(())
    }

    fn remember(&mut self, number: EntryNumber, standing: Standing) {
        self.recent.insert(number, standing);
        if self.recent.len() > RECENT_STANDINGS_MAX {
            self.recent.pop_first();
        }
    }

    fn present(&self) -> &Epoch {
        self.epoch_at(self.epoch())
    }

    /// The epoch with this number; beyond the present one, the present one.
    fn epoch_at(&self, number: u64) -> &Epoch {
        let at = usize::try_from(number).unwrap_or(usize::MAX).min(self.epochs.len() - 1);
        &self.epochs[at]
    }
}
