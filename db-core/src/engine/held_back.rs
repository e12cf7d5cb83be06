//! Entries that are not taken in although they are in order: those of writers that may not write any more.
//!
//! Once it is confirmed that a writer has no rights, whatever comes of its log after that stands behind that place and has
//! no effect, whoever holds it. So a peer drops it at the door; it names none of it as a parent and passes none of it on, and
//! so that stops spreading. That is admission and changes no view. Three things end it: a change of members that is stored
//! and not confirmed (nobody is held back meanwhile; one that its author may not make is none), rights that are given back,
//! and an entry of somebody else's that has such an entry in its past: then those entries are needed. What was dropped then
//! comes with the next session.
//!
//! In a closed database that holds for whoever has no rights, also for one of whom nothing was ever decided: somebody may have
//! named it who had no right to, or a key that was removed may say that it goes on as this one.

use std::collections::BTreeSet;

use super::Batch;
use crate::entry::Admission;
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;
use crate::view::{identities, members};

/// Whose entries are dropped. Nothing of it outlives the process: with it end the sessions that have brought them.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldBack {
    /// Writers of whom entries were dropped.
    writers: BTreeSet<WriterKey>,
    /// Those of them whose entries others have in their pasts.
    needed: BTreeSet<WriterKey>,
    /// Whether sessions have to begin anew for what was dropped.
    wants_anew: bool,
}

impl HeldBack {
    /// Whether entries were dropped and may be missing.
    pub(super) fn is_any(&self) -> bool {
        !self.writers.is_empty()
    }

    /// Notes that entries of a writer are dropped; whether that could be remembered. Else they are not.
    pub(super) fn note(&mut self, writer: &WriterKey) -> bool {
        if self.writers.contains(writer) {
            return true;
        }
        let has_room = self.writers.len() < limits::HELD_BACK_MAX;
        if has_room && self.writers.insert(*writer) {
            tracing::info!(writer = %writer.short(), "a writer without rights writes on: its entries are not taken in");
        }
        has_room
    }

    /// Notes that an entry which is in order has one in its past that is not here: it may be one that was dropped.
    pub(super) fn note_absent(&mut self) {
        if self.needed.len() >= limits::HELD_BACK_MAX {
            self.needed.clear(); // whose entries are needed comes out again
        }
        self.needed.append(&mut self.writers);
    }

    /// Notes that something was decided about a writer.
    pub(super) fn note_named(&mut self, writer: &WriterKey) {
        self.wants_anew |= self.writers.remove(writer);
    }

    /// Whether sessions have to begin anew; asked once.
    pub(super) fn take_wants_anew(&mut self) -> bool {
        std::mem::take(&mut self.wants_anew)
    }
}

impl super::Engine {
    /// Whether sessions have to begin anew, for entries that were held back and count again; asked once.
    pub(crate) fn take_wants_anew(&mut self) -> bool {
        self.state.as_mut().is_some_and(|state| state.held_back.take_wants_anew())
    }

    /// Whether entries were held back since the database was opened.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn holds_back_any(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.held_back.is_any())
    }
}

impl Batch<'_, '_> {
    /// Whether a writer's new entries are dropped. A newcomer whose log begins with a link comes with the rights of the key that it
    /// goes on for.
    pub(super) fn holds_back(&mut self, writer: &WriterKey, goes_on_for: Option<&WriterKey>) -> Result<bool> {
        let is_exempt = self.state.is_settling
            || self.state.held_back.needed.contains(writer)
            || self.state.keys.secret_of(writer).is_some();
        if is_exempt {
            return Ok(false);
        }
        let nobody = self.nobody();
        let is_revoked = self.with_view(super::order::NO_ENTRY, &nobody, |view, applier| {
            for key in goes_on_for.into_iter().chain([writer]) {
                if members::roles(view, applier.genesis, key)?.has(Roles::WRITER) {
                    return Ok(false);
                }
            }
            let is_decided =
                applier.genesis.admission == Admission::Closed || members::is_known(view, writer)?;
            // An indexer's other branch may be what shows that confirmation is broken.
            Ok(is_decided && !identities::is_forked_indexer(view, writer)?)
        })?;
        Ok(is_revoked && !self.members_may_change()? && self.state.held_back.note(writer))
    }

    /// Whether a change of members is stored that is not confirmed and may yet hold: its author may make it where it stands,
    /// or it stands nowhere yet. If there is none, none of the tail can hold in any other order either.
    fn members_may_change(&self) -> Result<bool> {
        for number in self.state.membership.numbers().iter() {
            if self.state.unordered.contains(number) || !self.tables.is_skipped(number.0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_however_many_writers_are_held_back_and_then_needed() {
        let mut held_back = HeldBack::default();
        for number in 0..3 * limits::HELD_BACK_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            let writer = WriterKey::from_bytes(key);
            assert!(held_back.note(&writer), "there is room again once the others are needed");
            if number % 1_000 == 999 {
                held_back.note_absent();
                assert!(held_back.needed.contains(&writer) && !held_back.is_any());
            }
            assert!(held_back.writers.len() <= limits::HELD_BACK_MAX);
            assert!(held_back.needed.len() < limits::HELD_BACK_MAX + 1_000);
        }
    }
}
