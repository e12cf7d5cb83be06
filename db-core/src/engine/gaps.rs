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
use crate::view::confirmed_range::NOTED_MIN;
use crate::view::gaps::{Gap, Gaps, behind};
use crate::view::keyspace::is_queried;
use crate::view::undo::Undo;

/// How many keys are held in memory until they are cut out of gaps, or until they are surveyed.
const KEYS_MAX: usize = 65_536;
/// How many rows of what the tail has overwritten are looked through at once.
const ROWS_AT_ONCE: usize = 4_096;

/// What a transaction has to say of gaps.
#[derive(Debug, Default)]
pub(super) struct GapChanges {
    /// What is known once it is committed, if more is confirmed by it.
    pub(super) known: Option<Gaps>,
    /// What its confirmed entries have changed, and is not cut out yet: stretches of keys.
    confirmed: Vec<Gap>,
    /// The keys that the tail has put where nothing was.
    inserted: Inserted,
}

/// Keys that the tail has put where nothing was.
#[derive(Debug)]
pub(super) enum Inserted {
    These(Vec<Vec<u8>>),
    /// More than are held in memory, or it is not known which.
    Many,
}

impl Default for Inserted {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl GapChanges {
    /// Forgets all that was known: the view is built anew.
    pub(super) fn begin_anew(&mut self) {
        (self.known, self.confirmed) = (Some(Gaps::default()), Vec::new());
    }

    /// Takes note of what the tail has put where nothing was and where queries read.
    pub(super) fn note_inserted(&mut self, undo: &Undo) {
        let Inserted::These(keys) = &mut self.inserted else { return };
        let inserted = undo.changes().filter(|(key, before)| before.is_none() && is_queried(key));
        keys.extend(inserted.map(|(key, _)| key.to_vec()));
        if keys.len() > KEYS_MAX {
            self.inserted = Inserted::Many;
        }
    }

    /// Where to survey the tail after the commit.
    pub(super) fn take_inserted(&mut self) -> Inserted {
        std::mem::take(&mut self.inserted)
    }
}

impl Engine {
    /// Looks for readers where nothing is confirmed about what a transaction has put there.
    pub(super) fn survey(&mut self, inserted: Inserted) {
        let surveyed = match inserted {
            Inserted::These(keys) if keys.is_empty() => Ok(()),
            Inserted::These(mut keys) => {
                keys.sort_unstable();
                self.view().and_then(|view| view.survey(&keys))
            }
            Inserted::Many => {
                self.unsurveyed = Some(Bound::Unbounded);
                Ok(())
            }
        };
        let _ = Self::note_failure(surveyed);
    }

    /// Whether something of the tail has not been looked through since the database was opened, or since very much has come.
    pub(crate) fn has_to_survey(&self) -> bool {
        self.unsurveyed.is_some()
    }

    /// Looks some of that through, for some milliseconds.
    pub(crate) fn survey_some(&mut self) {
        if let Some(low) = self.unsurveyed.take() {
            let surveyed = self.view().and_then(|view| view.survey_tail(&low, ROWS_AT_ONCE));
            self.unsurveyed = Self::note_failure(surveyed).flatten();
        }
    }

    /// What cannot be read now readers find themselves, or why they cannot either.
    fn note_failure<T>(surveyed: Result<T>) -> Option<T> {
        surveyed.inspect_err(|error| tracing::debug!(%error, "the tail cannot be looked through")).ok()
    }
}

impl Batch<'_, '_> {
    /// Takes note of what an entry has changed that is confirmed and no longer noted as overwritten, but whose undo record, given or
    /// stored, is still there.
    pub(super) fn note_confirmed(&mut self, number: u64, undo: Option<&Undo>) -> Result<()> {
        let GapChanges { known, confirmed, .. } = &mut self.state.gaps;
        let known = known.get_or_insert_with(|| self.engine.gaps.as_ref().clone());
        if known.is_empty() || is_planted(Fault::GapsKept) {
            return Ok(());
        }
        let mut note = |undo: &Undo| {
            confirmed.extend(undo.changes().map(|(key, _)| Gap { low: key.to_vec(), high: behind(key) }));
            // An index that the entry has built is not noted key by key.
            let built = undo.fresh().filter_map(|prefix| Some((prefix, prefix_end(prefix)?)));
            confirmed.extend(built.map(|(prefix, high)| Gap { low: prefix.to_vec(), high }));
            Ok(())
        };
        match undo {
            Some(undo) => note(undo)?,
            None => self.tables.undo_parts(number, note)?,
        }
        if confirmed.len() > KEYS_MAX { self.cut_gaps() } else { Ok(()) }
    }

    /// Cuts out what confirmed entries have changed. What is left of a gap in which readers have little to pass is not worth the memory.
    pub(super) fn cut_gaps(&mut self) -> Result<()> {
        let mut confirmed = std::mem::take(&mut self.state.gaps.confirmed);
        confirmed.sort_unstable();
        let Some(known) = &self.state.gaps.known else { return Ok(()) };
        known.cut(&confirmed, |part| self.tables.has_overwritten(&part.low, &part.high, NOTED_MIN))
    }
}
