//! What readers who watch are told of: where the view has changed since they were shown it, and, entry by entry, what was
//! confirmed.

use std::collections::{BTreeMap, BTreeSet};

use super::order::NO_ENTRY;
use super::{Batch, Engine};
use crate::apply::read_operations;
use crate::error::Result;
use crate::limits;
use crate::operation::Operation;
use crate::storage::ChangesKept;
use crate::view::catalog;
use crate::view::touched::Touched;
use crate::view::undo::Undo;
use crate::view::{ReadView, keyspace};

/// The part of the engine's memory that serves those who watch.
#[derive(Debug)]
pub(crate) struct Watching {
    /// Where the view has changed since this was last taken.
    touched: Touched,
    /// Whether that is noted key by key: only if somebody watches.
    by_key: bool,
    pub(super) kept: ChangesKept,
    /// Whether `kept` differs from what is stored.
    is_changed: bool,
    bytes_max: u64,
}

impl Default for Watching {
    fn default() -> Self {
        let (touched, kept) = (Touched::default(), ChangesKept::default());
        Self { touched, by_key: false, kept, is_changed: true, bytes_max: limits::CHANGES_BYTES }
    }
}

impl Watching {
    /// As it was stored. Of a store that kept none, everything from `base` on will be.
    pub(super) fn restored(stored: Option<ChangesKept>, base: u64) -> Self {
        let none = ChangesKept { front: base, whole_from: base, bytes: 0 };
        let kept = stored.unwrap_or(none);
        // What was noted before a transaction that failed is lost.
        Self { touched: Touched::everything(), kept, is_changed: stored.is_none(), ..Self::default() }
    }

    /// Whether it is noted key by key where the view changes.
    pub(super) fn by_key(&self) -> bool {
        self.by_key
    }

    /// Notes where else readers have to look.
    pub(super) fn add_touched(&mut self, touched: &Touched) {
        self.touched.add(touched);
    }

    /// Order and view are built anew: nothing of what was kept holds any more.
    pub(super) fn rebuilt(self) -> Self {
        Self { touched: Touched::everything(), kept: ChangesKept::default(), is_changed: true, ..self }
    }
}

/// Keys, and what stood there before.
type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Engine {
    /// Whether to note key by key where the view changes, and how many bytes of confirmed changes to keep.
    pub(crate) fn set_watching(&mut self, by_key: bool, bytes_max: u64) {
        if let Some(state) = &mut self.state {
            (state.watching.by_key, state.watching.bytes_max) = (by_key, bytes_max);
        }
    }

    /// Where the view has changed since this was last asked.
    pub(crate) fn take_touched(&mut self) -> Touched {
        let state = self.state.as_mut();
        state.map_or_else(Touched::everything, |state| std::mem::take(&mut state.watching.touched))
    }
}

impl Batch<'_, '_> {
    /// Notes where the entry has changed the view, or undoing it has; its undo record is given or stored.
    pub(super) fn note_touched(&mut self, number: u64, undo: Option<&Undo>) -> Result<()> {
        let watching = &mut self.state.watching;
        if let Some(undo) = undo {
            watching.touched.note(undo, watching.by_key);
            return Ok(());
        }
        self.tables.undo_parts(number, |part| {
            watching.touched.note(part, watching.by_key);
            Ok(())
        })
    }

    /// Keeps what the entry that is confirmed at `position` has changed; its undo record is given or stored.
    pub(super) fn keep_changes(&mut self, position: u64, number: u64, undo: Option<&Undo>) -> Result<()> {
        let bytes = match undo {
            Some(undo) => self.tables.changes.put(position, undo.collections().chain(undo.documents()))?,
            None => self.keep_stored_changes(position, number)?,
        };
        let watching = &mut self.state.watching;
        watching.kept.bytes = watching.kept.bytes.saturating_add(bytes);
        watching.is_changed |= bytes > 0;
        Ok(())
    }

    /// Of an entry whose undo record may consist of several parts, of which an earlier one is what stood there before.
    ///
    /// Where that is more than may be kept altogether because collections were dropped, their documents are left out, and what
    /// is kept begins with this entry: without them nobody could tell what earlier entries have left.
    fn keep_stored_changes(&mut self, position: u64, number: u64) -> Result<u64> {
        let mut changes = self.stored_changes(number, &BTreeSet::new())?;
        if changes.is_none() {
            let dropped = self.dropped_by(number)?;
            changes = self.stored_changes(number, &dropped)?.filter(|_| !dropped.is_empty());
            let next = position.saturating_add(1);
            let watching = &mut self.state.watching;
            watching.kept.front = if changes.is_some() { position } else { next };
            (watching.kept.whole_from, watching.kept.bytes, watching.is_changed) = (next, 0, true);
            self.tables.changes.clear()?;
        }
        let changes = changes.unwrap_or_default();
        let changes = changes.iter().map(|(key, before)| (key.as_slice(), before.as_deref()));
        self.tables.changes.put(position, changes)
    }

    /// What the entry has changed, but for documents of collections that are left out; none if that is more than may be kept.
    fn stored_changes(&self, number: u64, left_out: &BTreeSet<u32>) -> Result<Option<Changed>> {
        let is_left_out =
            |key: &[u8]| keyspace::split_document(key).is_some_and(|(id, _)| left_out.contains(&id));
        let (mut changes, mut bytes) = (Changed::new(), 0);
        let bytes_max = self.state.watching.bytes_max;
        self.tables.undo_parts(number, |part| {
            for (key, before) in part.collections().chain(part.documents()) {
                if bytes <= bytes_max && !is_left_out(key) && !changes.contains_key(key) {
                    bytes += (key.len() + before.map_or(0, <[u8]>::len)) as u64;
                    changes.insert(key.to_vec(), before.map(<[u8]>::to_vec));
                }
            }
            Ok(())
        })?;
        Ok(Some(changes).filter(|_| bytes <= bytes_max))
    }

    /// The collections that the entry has dropped.
    fn dropped_by(&mut self, number: u64) -> Result<BTreeSet<u32>> {
        let operations = read_operations(&self.tables.payload(number)?).unwrap_or_default();
        let drops = |operation: &Operation| {
            matches!(
                operation,
                Operation::DropCollection { .. } | Operation::RenameCollection { drop_target: true, .. }
            )
        };
        let mut ids = BTreeSet::new();
        if !operations.iter().any(drops) {
            return Ok(ids);
        }
        let mut names = BTreeSet::new();
        self.tables.undo_parts(number, |part| {
            for (key, before) in part.collections() {
                names.insert(key.to_vec());
                ids.extend(before.map(catalog::collection_id).transpose()?);
            }
            Ok(())
        })?;
        let nobody = self.nobody();
        self.with_view(NO_ENTRY, &nobody, |view, _| {
            for name in &names {
                if let Some(record) = view.get(name)? {
                    ids.remove(&catalog::collection_id(record.value())?);
                }
            }
            Ok(())
        })?;
        Ok(ids)
    }

    /// Forgets what is beyond the budget, and notes what is kept.
    pub(super) fn flush_changes(&mut self) -> Result<()> {
        let watching = &mut self.state.watching;
        let beyond = watching.kept.bytes.saturating_sub(watching.bytes_max);
        if beyond > 0 {
            // Some more, so that it is not done for every entry.
            if let Some((front, freed)) = self.tables.changes.forget(beyond + watching.bytes_max / 8)? {
                watching.kept.front = watching.kept.front.max(front);
                watching.kept.bytes = watching.kept.bytes.saturating_sub(freed);
                watching.is_changed = true;
            }
        }
        if std::mem::take(&mut watching.is_changed) {
            self.tables.put_changes_kept(watching.kept)?;
        }
        Ok(())
    }
}
