//! The view as it was before the tail: what is confirmed of it, and can never change.
//!
//! The table `overwritten` has a row for each key that an entry of the tail has changed: the key and the entry's position
//! in the order, to what stood there before. What was confirmed of a key stands in the first of its rows, and where it
//! has none, in the view itself. So a read costs about twice as much as one of the view, however long the tail.
//!
//! Of an index that an entry of the tail has built there are no rows but for what was changed later: the catalog as it was
//! confirmed does not know the index, so nobody comes to read its entries.

use std::cmp::Ordering;
use std::ops::Bound;

use redb::{AccessGuard, Range, ReadOnlyTable, ReadableTable, Table};

use super::keyspace::KeyBounds;
use super::stored::{Item, Stored, of_page};
use super::undo::Undo;
use crate::error::{Error, Result};

/// The key of a row: a key of the view, and the position of the entry that changed it.
pub(crate) type OverwrittenKey = (&'static [u8], u64);
/// The table inside a write transaction.
pub(crate) type OverwrittenTable<'txn> = Table<'txn, OverwrittenKey, &'static [u8]>;
/// The table as a snapshot saw it.
pub(crate) type OverwrittenSnapshot = ReadOnlyTable<OverwrittenKey, &'static [u8]>;

/// What stands before the bytes of a value that was there.
const PRESENT: u8 = 1;

/// Notes what the entries at these positions have overwritten, in the order of the keys, which costs the B-tree least.
pub(crate) fn note(table: &mut OverwrittenTable<'_>, overwritten: &[(u64, &Undo)]) -> Result<()> {
    let mut changes = Vec::new();
    for (position, undo) in overwritten {
        changes.extend(undo.changes().map(|(key, before)| (key, *position, before)));
    }
    changes.sort_unstable_by_key(|(key, position, _)| (*key, *position));
    for (key, position, before) in changes {
        table.insert((key, position), &row_of(before)[..])?;
    }
    Ok(())
}

/// Notes a part of what the entry at `position` has overwritten. What an earlier part says of a key stays.
pub(crate) fn note_part(table: &mut OverwrittenTable<'_>, position: u64, part: &Undo) -> Result<()> {
    for (key, before) in part.changes() {
        if table.get((key, position))?.is_none() {
            table.insert((key, position), &row_of(before)[..])?;
        }
    }
    Ok(())
}

/// Forgets what the entry at `position` has overwritten: it is confirmed, or undone.
pub(crate) fn forget(table: &mut OverwrittenTable<'_>, position: u64, undo: &Undo) -> Result<()> {
    for (key, _) in undo.changes() {
        table.remove((key, position))?;
    }
    Ok(())
}

/// What the tail has made of a key.
pub(super) enum Before {
    /// Nothing: it stands in the view as it was confirmed.
    Unchanged,
    /// It has changed what was confirmed, if anything was.
    Changed(Option<Stored<'static>>),
}

/// What stood under `key` before the tail, if an entry of the tail has changed it.
pub(super) fn before(table: &OverwrittenSnapshot, key: &[u8]) -> Result<Before> {
    match table.range::<(&[u8], u64)>((key, 0)..=(key, u64::MAX))?.next().transpose()? {
        None => Ok(Before::Unchanged),
        Some((_, row)) => Ok(Before::Changed(read_row(row)?)),
    }
}

/// A range of keys of the view before the tail; read from one end or from the other, not from both.
pub(crate) struct ConfirmedRange<'a> {
    latest: Range<'a, &'static [u8], &'static [u8]>,
    rows: Range<'a, OverwrittenKey, &'static [u8]>,
    /// The next of each, once it is known.
    latest_head: Option<Item<'a>>,
    changed_head: Option<Changed<'a>>,
    /// The row that has been read and belongs to the key after the head's.
    ahead: Option<Row<'a>>,
}

type Row<'a> = (AccessGuard<'a, OverwrittenKey>, AccessGuard<'a, &'static [u8]>);

/// A key that the tail has changed, and what stood there before.
struct Changed<'a> {
    key: AccessGuard<'a, OverwrittenKey>,
    before: Option<Stored<'a>>,
}

/// From which end.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl<'a> ConfirmedRange<'a> {
    pub(super) fn new(
        latest: Range<'a, &'static [u8], &'static [u8]>,
        overwritten: &OverwrittenSnapshot,
        (low, high): &KeyBounds,
    ) -> Result<Self> {
        // All rows of a key lie between (key, 0) and (key, MAX).
        let low = match low {
            Bound::Included(key) => Bound::Included((&key[..], 0)),
            Bound::Excluded(key) => Bound::Excluded((&key[..], u64::MAX)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let high = match high {
            Bound::Included(key) => Bound::Included((&key[..], u64::MAX)),
            Bound::Excluded(key) => Bound::Excluded((&key[..], 0)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let rows = overwritten.range::<(&[u8], u64)>((low, high))?;
        Ok(Self { latest, rows, latest_head: None, changed_head: None, ahead: None })
    }

    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>> {
        self.step(End::Front)
    }

    pub(super) fn next_back(&mut self) -> Result<Option<Item<'a>>> {
        self.step(End::Back)
    }

    fn step(&mut self, end: End) -> Result<Option<Item<'a>>> {
        loop {
            if self.latest_head.is_none() {
                let read = match end {
                    End::Front => self.latest.next(),
                    End::Back => self.latest.next_back(),
                };
                self.latest_head = read.map(of_page).transpose()?;
            }
            if self.changed_head.is_none() {
                self.changed_head = self.next_changed(end)?;
            }
            let order = match (&self.latest_head, &self.changed_head) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some(changed)) => match end {
                    End::Front => key.value().cmp(changed.key.value().0),
                    End::Back => changed.key.value().0.cmp(key.value()),
                },
            };
            if order == Ordering::Less {
                return Ok(self.latest_head.take());
            }
            let latest = self.latest_head.take_if(|_| order == Ordering::Equal);
            if let Some(Changed { key, before: Some(before) }) = self.changed_head.take() {
                let key = latest.map_or_else(|| Stored::Before(key.value().0.to_vec()), |(key, _)| key);
                return Ok(Some((key, before)));
            }
        }
    }

    /// The next key that the tail has changed, with what stands in the first of its rows.
    fn next_changed(&mut self, end: End) -> Result<Option<Changed<'a>>> {
        let Some((key, mut oldest)) = self.next_row(end)? else { return Ok(None) };
        while let Some(row) = self.next_row(end)? {
            if row.0.value().0 != key.value().0 {
                self.ahead = Some(row);
                break;
            }
            if let End::Back = end {
                oldest = row.1;
            }
        }
        let before = read_row(oldest)?;
        Ok(Some(Changed { key, before }))
    }

    fn next_row(&mut self, end: End) -> Result<Option<Row<'a>>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        let row = match end {
            End::Front => self.rows.next(),
            End::Back => self.rows.next_back(),
        };
        Ok(row.transpose()?)
    }
}

fn row_of(before: Option<&[u8]>) -> Vec<u8> {
    before.map_or_else(Vec::new, |before| [&[PRESENT], before].concat())
}

fn read_row<'a>(row: AccessGuard<'a, &'static [u8]>) -> Result<Option<Stored<'a>>> {
    match row.value().first() {
        None => Ok(None),
        Some(&PRESENT) => Ok(Some(Stored::Row(row))),
        Some(_) => Err(Error::data("a note of what the tail has overwritten is damaged")),
    }
}
