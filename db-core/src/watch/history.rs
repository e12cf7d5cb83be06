//! Some of the kept changes, and where to find what each of them has left.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::limits;
use crate::storage::{ChangesSnapshot, read_changes};

/// One key that an entry has changed.
pub(super) struct Record {
    /// The row that holds it: position and part.
    pub(super) row: (u64, u32),
    /// The key in the view.
    pub(super) key: Vec<u8>,
    /// What stood there before.
    pub(super) before: Option<Vec<u8>>,
}

/// Where that which stood under a key after a change is to be found: before the next change of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Before the change with this index.
    Within(usize),
    /// Before the change in this row.
    Row((u64, u32)),
    /// In what is confirmed: there is no further change.
    Confirmed,
}

/// The changes of some rows that follow one another.
pub(super) struct Rows {
    pub(super) records: Vec<Record>,
    /// The last row.
    pub(super) last: (u64, u32),
    /// Whether the last row is the last of its entry.
    pub(super) ends_entry: bool,
    afters: BTreeMap<usize, After>,
}

impl Rows {
    /// The changes of about [`limits::CHANGES_CHUNK_BYTES`] from this row on.
    pub(super) fn read(changes: &ChangesSnapshot, from: (u64, u32)) -> Result<Self> {
        let (mut records, mut bytes, mut last, mut ends_entry) = (Vec::new(), 0, from, true);
        changes.rows_from(from, |row, stored| {
            if bytes >= limits::CHANGES_CHUNK_BYTES {
                ends_entry = row.0 != last.0;
                return Ok(ControlFlow::Break(()));
            }
            (bytes, last) = (bytes + stored.len(), row);
            read_changes(stored, |key, before| {
                records.push(Record { row, key: key.to_vec(), before: before.map(<[u8]>::to_vec) });
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        let mut rows = Self { records, last, ends_entry, afters: BTreeMap::new() };
        rows.find_afters(changes)?;
        Ok(rows)
    }

    /// Where to find what this change has left.
    pub(super) fn after(&self, at: usize) -> After {
        self.afters.get(&at).copied().unwrap_or(After::Confirmed)
    }

    fn find_afters(&mut self, changes: &ChangesSnapshot) -> Result<()> {
        // The last change of each key so far.
        let mut open: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (at, record) in self.records.iter().enumerate() {
            if let Some(earlier) = open.insert(&record.key, at) {
                self.afters.insert(earlier, After::Within(at));
            }
        }
        let (position, part) = self.last;
        changes.rows_from((position, part.saturating_add(1)), |row, stored| {
            read_changes(stored, |key, _| {
                if let Some(earlier) = open.remove(key) {
                    self.afters.insert(earlier, After::Row(row));
                }
                Ok(())
            })?;
            Ok(if open.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}

/// What stood under `key` before the change in this row.
pub(super) fn before_in(changes: &ChangesSnapshot, row: (u64, u32), key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    changes.rows_from(row, |_, stored| {
        read_changes(stored, |other, before| {
            if other == key {
                found = Some(before.map(<[u8]>::to_vec));
            }
            Ok(())
        })?;
        Ok(ControlFlow::Break(()))
    })?;
    found.ok_or_else(|| Error::data("a kept change is missing"))
}
