//! Keeping the applied tail in step with the linearizer, and undo.

use std::collections::VecDeque;

use super::state::State;
use super::stored_past::StoredPast;
use super::{Batch, By};
use crate::apply::{EntryToApply, Stop, read_operations};
use crate::error::{Error, Result};
use crate::faults::{Fault, is_planted};
use crate::linearizer::{EntryNumber, Node, Standing, Tail};
use crate::storage::LogPlace;
use crate::view::undo::Undo;

/// How many bytes of undo records a transaction holds in memory before they go to the table.
const FRESH_UNDO_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What ordering an entry costs beside its bytes, and what is reckoned for one whose undo record is in the table already.
pub(super) const ENTRY_BYTES: usize = 1_024;
const STORED_UNDO_BYTES: usize = 8 * 1024 * 1024;
/// The number of no entry: for what is read, or is there from the first moment.
pub(super) const NO_ENTRY: u64 = u64::MAX;

impl Batch<'_, '_> {
    /// Orders and applies everything that is stored.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while !self.settle_within(usize::MAX)? {}
        Ok(())
    }

    /// Orders and applies what is stored until that has cost about `bytes_max`; whether all is done. What is committed in
    /// between is the view after some of the entries in their order, a state of nobody's interest: readers are shown the
    /// view only when all is done.
    pub(crate) fn settle_within(&mut self, bytes_max: usize) -> Result<bool> {
        self.settle_until(bytes_max, &mut || false)
    }

    /// The same, also no longer than until `is_time` says so; but something is done in any case.
    pub(crate) fn settle_until(
        &mut self,
        bytes_max: usize,
        is_time: &mut dyn FnMut() -> bool,
    ) -> Result<bool> {
        if !self.state.is_unsettled {
            return Ok(true);
        }
        let mut bytes = 0_usize;
        let mut is_enough = |more| {
            bytes = bytes.saturating_add(more);
            bytes > bytes_max || is_time()
        };
        if !self.confirm(&mut is_enough)? {
            return Ok(false);
        }
        let (kept, entries) = self.tail_to_apply()?;
        self.apply_tail(kept, &entries, &mut is_enough)
    }

    /// How many entries of the applied tail stand where the linearizer has them, and what comes after those; with everything
    /// that is confirmed at its place.
    pub(super) fn tail_to_apply(&mut self) -> Result<(usize, Vec<EntryNumber>)> {
        let past = StoredPast::new(&self.tables);
        let State { linearizer, applied, is_settling, .. } = &mut *self.state;
        let Tail { kept, entries } = linearizer.tail(&past);
        // Ordering may have been interrupted since the tail was last asked for.
        let kept = kept_of(applied, if *is_settling { 0 } else { kept }, entries);
        let entries = entries.get(kept..).unwrap_or_default().to_vec();
        past.checked((kept, entries))
    }

    /// Makes the applied tail the linearizer's, which begins with the first `kept` of it and goes on with `entries`, or goes on
    /// with that; whether it is done. `is_enough` is told what each entry has cost, in bytes, and ends it.
    pub(super) fn apply_tail(
        &mut self,
        kept: usize,
        entries: &[EntryNumber],
        is_enough: &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool> {
        self.state.is_settling = true;
        let mut is_interrupted = self.undo_from(kept, is_enough)?;
        for number in entries {
            if is_interrupted {
                return Ok(false);
            }
            is_interrupted = is_enough(self.apply_to_tail(*number)?);
        }
        self.state.unordered.clear();
        (self.state.is_unsettled, self.state.is_settling) = (false, false);
        self.state.applied_heads = None;
        Ok(true)
    }

    /// Hands an entry to the linearizer, which may confirm others by it.
    pub(super) fn add_to_order(&mut self, node: &Node, standing: &Standing) -> Result<()> {
        let past = StoredPast::new(&self.tables);
        let added = self.state.linearizer.add(node, standing, &past);
        let added = past.checked(added)?;
        self.state.unordered.insert(node.number);
        self.state.is_unsettled = true;
        match added {
            Ok(()) => Ok(()),
            Err(broken) => self.rebuild(&broken),
        }
    }

    /// Applies an entry as the last of the tail; gives about how many bytes that has cost.
    pub(super) fn apply_to_tail(&mut self, number: EntryNumber) -> Result<usize> {
        self.state.leave_what_is_seen();
        let (entry, payload_bytes) = match self.state.at_hand.entries.remove(&number.0) {
            Some(at_hand) => at_hand,
            None => self.stored_entry(number)?,
        };
        let place = LogPlace { writer: entry.writer, seq: entry.seq, number: number.0 };
        let by = By::Entry { place, time: entry.time };
        let (undo, is_skipped) =
            self.with_view(number.0, &by, |view, applier| match applier.apply_entry(view, &entry) {
                Ok(()) => Ok((view.take_undo()?, applier.skipped)),
                Err(Stop::Storage(error)) => Err(error),
                Err(Stop::UpgradeNeeded(what)) => Err(Error::data(format!("upgrade needed: {what}"))),
            })?;
        let bytes = payload_bytes + undo.as_ref().map_or(STORED_UNDO_BYTES, Undo::bytes) + ENTRY_BYTES;
        self.tables.note_skipped(number.0, is_skipped)?;
        self.push_applied(number, undo)?;
        Ok(bytes)
    }

    /// An entry as it is applied, and how many bytes its payload has.
    fn stored_entry(&self, number: EntryNumber) -> Result<(EntryToApply, usize)> {
        let record = self.tables.record(number.0)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
        let payload = self.tables.payload(number.0)?;
        let header = &record.header;
        let entry = EntryToApply {
            hash: record.hash,
            writer: header.writer,
            seq: header.seq,
            time: header.time,
            operations: read_operations(&payload),
        };
        Ok((entry, payload.len()))
    }

    /// Notes that `number` is applied as the last of the tail. Its undo record is given or stored already.
    pub(super) fn push_applied(&mut self, number: EntryNumber, undo: Option<Undo>) -> Result<()> {
        let position = self.state.base + self.state.applied.len() as u64;
        self.state.applied.push_back(number);
        self.tables.put_ordered(position, number.0)?;
        self.state.unlisted.insert(number.0, position);
        self.note_touched(number.0, undo.as_ref())?;
        if let Some(undo) = undo {
            self.state.fresh_undo_bytes += undo.bytes();
            self.state.fresh_undo.insert(number.0, undo);
            if self.state.fresh_undo_bytes > FRESH_UNDO_BYTES_MAX {
                self.store_fresh_undo()?;
            }
        }
        self.state.unordered.remove(number);
        self.state.applied_count += 1;
        Ok(())
    }

    /// Undoes the applied tail beyond its first `kept` entries, the last first, until `is_enough` says so, which is told what each
    /// has cost, in bytes; whether it has.
    pub(super) fn undo_from(
        &mut self,
        kept: usize,
        is_enough: &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool> {
        let mut is_interrupted = false;
        if self.state.applied.len() <= kept {
            return Ok(is_interrupted);
        }
        self.state.catalog.clear();
        self.state.leave_what_is_seen();
        while self.state.applied.len() > kept && !is_interrupted {
            let Some(number) = self.state.applied.pop_back() else { break };
            let fresh = self.take_fresh_undo(number.0);
            if !is_planted(Fault::UndoNotTold) {
                self.note_touched(number.0, fresh.as_ref())?;
            }
            self.unlist(number.0, self.state.base + self.state.applied.len() as u64)?;
            let nobody = self.nobody();
            let undone = self.with_view(number.0, &nobody, |view, _| view.undo_entry(fresh.as_ref()))?;
            is_interrupted = is_enough(undone.saturating_add(ENTRY_BYTES));
            self.state.unordered.insert(number);
            self.state.undone_count += 1;
        }
        self.tables.truncate_order(self.state.base + self.state.applied.len() as u64)?;
        Ok(is_interrupted)
    }

    /// Takes the undo record of an entry out, if it is not in the table.
    pub(super) fn take_fresh_undo(&mut self, number: u64) -> Option<Undo> {
        let undo = self.state.fresh_undo.remove(&number)?;
        self.state.fresh_undo_bytes = self.state.fresh_undo_bytes.saturating_sub(undo.bytes());
        Some(undo)
    }

    /// Writes the undo records of this transaction that are still needed.
    pub(super) fn store_fresh_undo(&mut self) -> Result<()> {
        let fresh = std::mem::take(&mut self.state.fresh_undo);
        let mut overwritten = Vec::new();
        let gaps = &mut self.state.gaps;
        for (number, position) in std::mem::take(&mut self.state.unlisted) {
            if let Some(undo) = fresh.get(&number) {
                gaps.note_inserted(undo);
                overwritten.push((position, undo));
            } else {
                let tables = &mut self.tables;
                tables.note_stored_overwritten(position, number, |part| gaps.note_inserted(part))?;
            }
        }
        self.tables.note_overwritten(&overwritten)?;
        for (number, undo) in &fresh {
            self.tables.put_undo(*number, undo)?;
        }
        self.state.fresh_undo_bytes = 0;
        Ok(())
    }

    /// Forgets key by key what an entry has overwritten that leaves the tail; before its undo record goes.
    pub(super) fn unlist(&mut self, number: u64, position: u64) -> Result<()> {
        if self.state.unlisted.remove(&number).is_some() {
            return Ok(()); // it was never noted
        }
        self.tables.forget_overwritten(position, number)
    }
}

/// How many of `entries` are applied in their places, of which the first `kept` are known to be.
///
/// Less may be applied than the tail as last asked for: a change of members can make a part undo more than it must. Nor does the
/// linearizer know of own entries that were applied before others that wait.
fn kept_of(applied: &VecDeque<EntryNumber>, kept: usize, entries: &[EntryNumber]) -> usize {
    let kept = kept.min(applied.len()).min(entries.len());
    let beyond = applied.range(kept..).zip(entries.get(kept..).unwrap_or_default());
    kept + beyond.take_while(|(applied, entry)| applied == entry).count()
}
