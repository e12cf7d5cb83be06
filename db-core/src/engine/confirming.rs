//! What is confirmed goes to its final place.
//!
//! The linearizer says which entries are confirmed as soon as it has counted the votes, part by part. Applying them takes as long
//! as there are many, and so does undoing the tail that they go before. So they wait in their order, and are applied step by step,
//! in as many storage transactions as that takes. Only a part that changes members stays in the linearizer's hand until it is
//! applied: it may end the epoch.
//!
//! What waits is not stored: the linearizer's snapshot stays as it was before, and opening the store takes the parts out again.
//! But it does not stay as it was before an epoch ended, since who votes after that cannot be told again from the later view.

use std::collections::VecDeque;

use super::Batch;
use super::order::{ENTRY_BYTES, NO_ENTRY};
use super::state::State;
use super::stored_past::StoredPast;
use crate::error::{Error, Result};
use crate::linearizer::{ConfirmationBroken, EntryNumber, NumberSet, Past};
use crate::view::members;

/// The confirmed entries that are not at their final places yet.
#[derive(Debug, Default)]
pub(super) struct Confirming {
    /// In their order, the next one first. The first of them may be applied already, as the first of the tail.
    waiting: VecDeque<EntryNumber>,
    /// Those that change members of the part that the linearizer has in hand; none if it has none.
    members: Vec<EntryNumber>,
    /// The linearizer's snapshot when an epoch last began or everything was last built anew, with nothing waiting, and how many
    /// entries were confirmed then; if that is not stored.
    snapshot: Option<(Vec<u8>, u64)>,
}

impl Confirming {
    /// How many entries wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether everything that is confirmed is at its place.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.members.is_empty()
    }

    /// Whether nothing has to be applied before it is known who votes.
    pub(super) fn is_decided(&self) -> bool {
        self.members.is_empty()
    }

    /// How many of the first of `applied` are the first that wait.
    pub(super) fn in_place(&self, applied: &VecDeque<EntryNumber>) -> usize {
        self.waiting.iter().zip(applied).take_while(|(waiting, applied)| waiting == applied).count()
    }

    /// That snapshot, if it has not been asked for since it was taken.
    pub(super) fn take_snapshot(&mut self) -> Option<(Vec<u8>, u64)> {
        self.snapshot.take()
    }
}

impl State {
    /// Takes the confirmed parts out of the linearizer, up to one that has to be applied before more is known.
    fn take_parts(&mut self, past: &dyn Past) -> Result<(), ConfirmationBroken> {
        while let Some(part) = self.linearizer.next_part(past) {
            // What the part leaves of the tail may stand in another order now.
            self.is_unsettled = true;
            let members: Vec<_> = if self.membership.is_empty() {
                Vec::new()
            } else {
                part.entries.iter().copied().filter(|number| self.membership.contains(*number)).collect()
            };
            self.confirming.waiting.extend(part.entries);
            if members.is_empty() {
                self.linearizer.finish_part(&[], past)?;
            }
            self.confirming.members = members;
        }
        Ok(())
    }

    /// Takes the parts out again that waited when the state was stored, of which the first entries, these, were at their places.
    ///
    /// # Errors
    /// If the stored state cannot have come about.
    pub(super) fn wait_again(&mut self, in_place: &[EntryNumber], past: &dyn Past) -> Result<()> {
        let damaged = || Error::data("the kept order is damaged");
        self.take_parts(past).map_err(|broken| damaged().with_source(broken))?;
        for number in in_place {
            if self.confirming.waiting.pop_front() != Some(*number) {
                return Err(damaged());
            }
        }
        Ok(())
    }
}

impl Batch<'_, '_> {
    /// Takes the confirmed parts out of the linearizer.
    pub(super) fn take_parts(&mut self) -> Result<()> {
        let past = StoredPast::new(&self.tables);
        let taken = self.state.take_parts(&past);
        match past.checked(taken)? {
            Ok(()) => Ok(()),
            Err(broken) => self.rebuild(&broken),
        }
    }

    /// Puts what is confirmed at its place until that has cost about `bytes_max` or `is_time` says so, but some of it in any case;
    /// whether all is done. What it undoes of the tail for that is not applied again: then the view is not to be shown.
    pub(crate) fn confirm_until(
        &mut self,
        bytes_max: usize,
        is_time: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        let mut bytes = 0_usize;
        self.confirm(&mut |more| {
            bytes = bytes.saturating_add(more);
            bytes > bytes_max || is_time()
        })
    }

    /// The same; `is_enough` is told what each entry has cost, in bytes, and ends it.
    pub(super) fn confirm(&mut self, is_enough: &mut dyn FnMut(usize) -> bool) -> Result<bool> {
        let is_done = match self.try_to_confirm(is_enough)? {
            Ok(is_done) => is_done,
            Err(broken) => self.rebuild(&broken).map(|()| true)?,
        };
        if !is_done && self.state.unordered.is_empty() && self.state.applied_heads.is_none() {
            self.state.applied_heads = Some(self.state.heads.numbers().clone()); // nothing is undone so far
        }
        Ok(is_done)
    }

    /// The same, of an order that may turn out to be broken.
    pub(super) fn try_to_confirm(
        &mut self,
        is_enough: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Result<bool, ConfirmationBroken>> {
        let mut is_interrupted = false;
        loop {
            let past = StoredPast::new(&self.tables);
            let taken = self.state.take_parts(&past);
            if let Err(broken) = past.checked(taken)? {
                return Ok(Err(broken));
            }
            while let Some(number) = self.state.confirming.waiting.front().copied() {
                if is_interrupted {
                    return Ok(Ok(false));
                }
                let bytes = match self.state.applied.front() {
                    None => self.apply_to_tail(number)?,
                    Some(first) if *first == number => ENTRY_BYTES,
                    Some(_) => {
                        is_interrupted = self.undo_from(0, is_enough)?;
                        continue;
                    }
                };
                self.confirm_first(number)?;
                is_interrupted = is_enough(bytes);
            }
            if self.state.confirming.members.is_empty() {
                return Ok(Ok(true));
            }
            // Who votes is read from the view, so nothing that may have changed it stands behind the part.
            if self.touches_membership_in_tail() {
                is_interrupted |= self.undo_from(0, is_enough)?;
            }
            if is_interrupted {
                return Ok(Ok(false));
            }
            if let Err(broken) = self.finish_part()? {
                return Ok(Err(broken));
            }
        }
    }

    /// Counts as confirmed what is applied at its place already, no more than so many entries.
    pub(super) fn confirm_in_place(&mut self, count_max: u64) -> Result<()> {
        for _ in 0..count_max {
            let Some(number) = self.state.confirming.waiting.front().copied() else { break };
            if self.state.applied.front() != Some(&number) {
                break;
            }
            self.confirm_first(number)?;
        }
        Ok(())
    }

    /// Counts the first of the tail as confirmed. It needs no undo any more.
    fn confirm_first(&mut self, number: EntryNumber) -> Result<()> {
        let position = self.state.base;
        let fresh = self.take_fresh_undo(number.0);
        self.keep_changes(position, number.0, fresh.as_ref())?;
        self.unlist(number.0, position)?;
        self.note_confirmed(number.0, fresh.as_ref())?;
        if fresh.is_none() {
            self.tables.remove_undo(number.0)?;
        }
        self.state.applied.pop_front();
        self.state.confirming.waiting.pop_front();
        self.state.base += 1;
        Ok(())
    }

    /// Tells the linearizer who votes after the part that it has in hand, which is applied.
    fn finish_part(&mut self) -> Result<Result<(), ConfirmationBroken>> {
        let nobody = self.nobody();
        let indexers = self.with_view(NO_ENTRY, &nobody, |view, _| members::indexers(view))?;
        let epoch = self.state.linearizer.epoch();
        let past = StoredPast::new(&self.tables);
        let finished = self.state.linearizer.finish_part(&indexers, &past);
        if let Err(broken) = past.checked(finished)? {
            return Ok(Err(broken));
        }
        for number in std::mem::take(&mut self.state.confirming.members) {
            self.state.membership.remove(number);
        }
        if self.state.linearizer.epoch() != epoch {
            self.mark_done();
            self.sign_run()?; // what comes after it is judged by the new epoch's rules
        }
        Ok(Ok(()))
    }

    /// Notes that nothing waits: the store is not to go back behind this.
    pub(super) fn mark_done(&mut self) {
        self.state.confirming.snapshot = Some((self.state.linearizer.snapshot(), self.state.base));
    }

    /// Whether an applied entry that is not confirmed changes members.
    fn touches_membership_in_tail(&self) -> bool {
        self.state.applied.iter().any(|number| self.state.membership.contains(*number))
    }

    /// Whether an entry with these parents can be judged, whatever the part in hand turns out to change.
    pub(super) fn is_decided(&self, heads: &NumberSet) -> Result<bool> {
        if self.state.confirming.is_decided() {
            return Ok(true);
        }
        let past = StoredPast::new(&self.tables);
        let parents: Vec<_> = heads.iter().collect();
        past.checked(self.state.linearizer.is_decided(&parents, &past))
    }
}
