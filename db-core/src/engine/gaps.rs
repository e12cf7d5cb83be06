//! What is known of where nothing is confirmed, kept in step with what is committed.
//!
//! Readers of one state share it ([`Gaps`]), also those who read on in an earlier one: so the next state gets its own, from which
//! the keys are cut out that the newly confirmed entries have changed. It comes to readers with the transaction that confirms them.
//! Where the tail has put something new the engine surveys it after the commit, and all of the tail bit by bit once the database is
//! open, so that no reader has to be the first to pass it.

use std::ops::Bound;

use db_index::prefix_end;

use super::{Batch, Engine};
use crate::error::Result;
use crate::faults::{Fault, is_planted};
use crate::storage::Tables;
use crate::view::confirmed_range::NOTED_MIN;
use crate::view::gaps::{Gap, Gaps, behind};
use crate::view::keyspace::is_queried;
use crate::view::undo::Undo;

/// How many bytes of keys are held in memory until they are cut out of gaps, or until the tail is surveyed there.
const KEYS_BYTES_MAX: usize = if cfg!(any(test, feature = "simulation")) { 2_000 } else { 16 * 1024 * 1024 };
/// What holding a key costs beside its bytes.
const KEY_BYTES: usize = 48;

/// What a transaction has to say of gaps.
#[derive(Debug, Default)]
pub(super) struct GapChanges {
    /// What is known once it is committed, if more is confirmed by it.
    pub(super) known: Option<Gaps>,
    /// What its confirmed entries have changed of that, and is not cut out yet.
    confirmed: Vec<Gap>,
    confirmed_bytes: usize,
    inserted: Inserted,
}

/// Where the tail has put what was not there before, or not just before, among what queries read.
#[derive(Debug)]
pub(super) enum Inserted {
    /// Under these keys, which have so many bytes.
    These(Vec<Vec<u8>>, usize),
    /// Under more than are held in memory, or it is not known where.
    Anywhere,
}

impl Default for Inserted {
    fn default() -> Self {
        Self::These(Vec::new(), 0)
    }
}

impl GapChanges {
    /// Takes note of what the tail has put where nothing was.
    pub(super) fn note_inserted(&mut self, undo: &Undo) {
        let Inserted::These(keys, bytes) = &mut self.inserted else { return };
        for (key, _) in undo.changes().filter(|(key, before)| before.is_none() && is_queried(key)) {
            keys.push(key.to_vec());
            *bytes += key.len() + KEY_BYTES;
        }
        if *bytes > KEYS_BYTES_MAX {
            self.inserted = Inserted::Anywhere;
        }
    }

    /// Where to survey the tail after the commit.
    pub(super) fn take_inserted(&mut self) -> Inserted {
        std::mem::take(&mut self.inserted)
    }

    /// Takes note of what a confirmed entry has changed, or a part of that; cuts it out if it is much.
    fn note_confirmed(&mut self, undo: &Undo, tables: &Tables<'_>) -> Result<()> {
        let Some(known) = &self.known else { return Ok(()) };
        for key in undo.changes().map(|(key, _)| key).filter(|key| known.around(key).is_some()) {
            self.confirmed_bytes += 2 * (key.len() + KEY_BYTES);
            self.confirmed.push(Gap { low: key.to_vec(), high: behind(key) });
        }
        // An index that the entry has built is not noted key by key, and what lies under it was not looked at before.
        for (prefix, high) in undo.fresh().filter_map(|prefix| Some((prefix, prefix_end(prefix)?))) {
            self.confirmed.push(Gap { low: prefix.to_vec(), high });
            self.inserted = Inserted::Anywhere;
        }
        if self.confirmed_bytes > KEYS_BYTES_MAX { self.cut(tables) } else { Ok(()) }
    }

    /// Cuts out what confirmed entries have changed. What is left of a gap in which readers have little to pass is not worth the memory.
    fn cut(&mut self, tables: &Tables<'_>) -> Result<()> {
        let mut confirmed = std::mem::take(&mut self.confirmed);
        self.confirmed_bytes = 0;
        confirmed.sort_unstable();
        let Some(known) = &self.known else { return Ok(()) };
        known.cut(&confirmed, |piece| tables.has_overwritten(&piece.low, &piece.high, NOTED_MIN))
    }
}

impl Engine {
    /// Looks for readers where nothing is confirmed about what a transaction has put there.
    pub(super) fn survey(&mut self, inserted: Inserted) {
        match inserted {
            Inserted::Anywhere => self.unsurveyed = Some(Bound::Unbounded),
            Inserted::These(keys, _) if keys.is_empty() => {}
            Inserted::These(mut keys, _) => {
                keys.sort_unstable();
                note_failure(self.view().and_then(|view| view.survey(&keys)));
            }
        }
    }

    /// Whether something of the tail has not been looked through since the database was opened, or since much has come at once.
    pub(crate) fn has_to_survey(&self) -> bool {
        self.unsurveyed.is_some()
    }

    /// Looks some of that through, some milliseconds more than until `is_time` says so.
    pub(crate) fn survey_until(&mut self, is_time: &mut dyn FnMut() -> bool) {
        if let Some(low) = self.unsurveyed.take() {
            let surveyed = self.view().and_then(|view| view.survey_tail(low, is_time));
            self.unsurveyed = note_failure(surveyed).flatten();
        }
    }
}

/// What cannot be read now readers find themselves, or why they cannot either.
fn note_failure<T>(surveyed: Result<T>) -> Option<T> {
    surveyed.inspect_err(|error| tracing::debug!(%error, "the tail cannot be looked through")).ok()
}

impl Batch<'_, '_> {
    /// Takes note of what an entry has changed that is confirmed and no longer noted as overwritten, but whose undo record, given or
    /// stored, is still there.
    pub(super) fn note_confirmed(&mut self, number: u64, undo: Option<&Undo>) -> Result<()> {
        let (gaps, tables) = (&mut self.state.gaps, &self.tables);
        gaps.known.get_or_insert_with(|| self.engine.gaps.as_ref().clone());
        if is_planted(Fault::GapsKept) {
            return Ok(());
        }
        match undo {
            Some(undo) => gaps.note_confirmed(undo, tables),
            None => tables.undo_parts(number, |part| gaps.note_confirmed(part, tables)),
        }
    }

    /// Cuts out what confirmed entries have changed.
    pub(super) fn cut_gaps(&mut self) -> Result<()> {
        self.state.gaps.cut(&self.tables)
    }
}
