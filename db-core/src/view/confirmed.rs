//! The view as it was before the tail: what is confirmed of it, and can never change.
//!
//! Two tables know what the entries of the tail have changed. `overwritten` has one row for each key: what stood there before
//! the tail, behind the position in the order of the entry that changed it first. `overwritten_again` has a row for each
//! later change: the key and the entry's position, to what stood there before that. It is for the day when the first is
//! confirmed, or undone; reading what is confirmed needs but the first table. So a read of a key costs about twice as much as
//! one of the view, and a scan reads one row more for each key that was changed, however often and by however long a tail.
//!
//! ```text
//! overwritten        key                position (u64), and if something stood there: 1, value
//! overwritten_again  key, position      nothing, or: 1, value
//! ```
//!
//! Of an index that an entry of the tail has built there are no rows but for what was changed later: the catalog as it was
//! confirmed does not know the index, so nobody comes to read its entries.

use redb::{ReadOnlyTable, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use super::stored::Stored;
use super::undo::Undo;
use crate::error::{Error, Result};

/// The table of what stood there before the tail.
pub(crate) const OVERWRITTEN: TableDefinition<'_, &'static [u8], &'static [u8]> =
    TableDefinition::new("overwritten");
const OVERWRITTEN_AGAIN: TableDefinition<'_, (&'static [u8], u64), &'static [u8]> =
    TableDefinition::new("overwritten_again");

/// The first of them as a snapshot saw it.
pub(crate) type OverwrittenSnapshot = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// How many bytes of a row of `overwritten` stand before the value.
pub(super) const ROW_PREFIX_BYTES: usize = 9;
/// What stands before the bytes of a value that was there.
const PRESENT: u8 = 1;

/// Both tables inside a write transaction.
pub(crate) struct Overwritten<'txn> {
    first: Table<'txn, &'static [u8], &'static [u8]>,
    again: Table<'txn, (&'static [u8], u64), &'static [u8]>,
}

impl<'txn> Overwritten<'txn> {
    pub(crate) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            first: transaction.open_table(OVERWRITTEN)?,
            again: transaction.open_table(OVERWRITTEN_AGAIN)?,
        })
    }

    /// Notes what the entries at these positions have overwritten, in the order of the keys, which costs the B-trees least.
    pub(crate) fn note(&mut self, overwritten: &[(u64, &Undo)]) -> Result<()> {
        let mut changes = Vec::new();
        for (position, undo) in overwritten {
            changes.extend(undo.changes().map(|(key, before)| (key, *position, before)));
        }
        changes.sort_unstable_by_key(|(key, position, _)| (*key, *position));
        for of_key in changes.chunk_by(|(a, ..), (b, ..)| a == b) {
            let Some((key, _, before)) = of_key.first() else { continue };
            // Where nothing stood there is mostly nothing noted either.
            let mut first = if before.is_some() { self.first_position(key)? } else { None };
            for (_, position, before) in of_key {
                self.note_change(key, &mut first, *position, *before)?;
            }
        }
        Ok(())
    }

    /// Notes a part of what the entry at `position` has overwritten. What an earlier part says of a key stays.
    pub(crate) fn note_part(&mut self, position: u64, part: &Undo) -> Result<()> {
        for (key, before) in part.changes() {
            if self.again.get((key, position))?.is_none() {
                let mut first = self.first_position(key)?;
                self.note_change(key, &mut first, position, before)?;
            }
        }
        Ok(())
    }

    /// Forgets what the entry at `position` has overwritten: it is confirmed, or undone.
    pub(crate) fn forget(&mut self, position: u64, undo: &Undo) -> Result<()> {
        for (key, _) in undo.changes() {
            if self.again.is_empty()? {
                // An earlier part of the same entry may have made a later entry's change the first.
                let later = match self.first.remove(key)? {
                    Some(row) if split_row(row.value())?.0 != position => Some(row.value().to_vec()),
                    _ => None,
                };
                if let Some(row) = later {
                    self.first.insert(key, &row[..])?;
                }
            } else if self.first_position(key)? == Some(position) {
                self.forget_first(key)?;
            } else {
                self.again.remove((key, position))?;
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&mut self) -> Result<()> {
        self.first.retain(|_, _| false)?;
        self.again.retain(|_, _| false)?;
        Ok(())
    }

    /// Whether so many keys from `low` up to `high` are noted.
    pub(crate) fn has_keys(&self, low: &[u8], high: &[u8], count: usize) -> Result<bool> {
        let mut missing = count;
        for row in self.first.range::<&[u8]>(low..high)?.take(count) {
            row?;
            missing -= 1;
        }
        Ok(missing == 0)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> Result<bool> {
        Ok(self.first.is_empty()? && self.again.is_empty()?)
    }

    /// The position of the entry that changed the key first, as far as is noted.
    fn first_position(&self, key: &[u8]) -> Result<Option<u64>> {
        self.first.get(key)?.map(|row| Ok(split_row(row.value())?.0)).transpose()
    }

    /// Notes what an entry has found under a key, `first` being the position of the first of those that are noted, if it is known.
    fn note_change(
        &mut self,
        key: &[u8],
        first: &mut Option<u64>,
        position: u64,
        before: Option<&[u8]>,
    ) -> Result<()> {
        let before = before.map_or_else(Vec::new, |before| [&[PRESENT], before].concat());
        if let Some(first) = first.filter(|first| *first <= position) {
            if first < position {
                self.again.insert((key, position), &before[..])?;
            }
            return Ok(());
        }
        let row = [&position.to_le_bytes(), &before[..]].concat();
        let replaced = self.first.insert(key, &row[..])?.map(|row| row.value().to_vec());
        *first = Some(position);
        let Some(replaced) = replaced else { return Ok(()) };
        let (other, row) = split_row(&replaced)?;
        if other > position {
            self.again.insert((key, other), row)?;
            return Ok(());
        }
        self.first.insert(key, &replaced[..])?;
        *first = Some(other);
        if other < position {
            self.again.insert((key, position), &before[..])?;
        }
        Ok(())
    }

    /// Forgets the first change of a key: the second, if there is one, is the first now.
    fn forget_first(&mut self, key: &[u8]) -> Result<()> {
        let next = self.again.range::<(&[u8], u64)>((key, 0)..=(key, u64::MAX))?.next().transpose()?;
        let next = next.map(|(key, row)| {
            let position = key.value().1;
            (position, [&position.to_le_bytes(), row.value()].concat())
        });
        match next {
            None => {
                self.first.remove(key)?;
            }
            Some((position, row)) => {
                self.first.insert(key, &row[..])?;
                self.again.remove((key, position))?;
            }
        }
        Ok(())
    }
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
    match table.get(key)? {
        None => Ok(Before::Unchanged),
        Some(row) => Ok(Before::Changed(is_present(row.value())?.then_some(Stored::Row(row)))),
    }
}

/// The position in a row of `overwritten`, and what follows it.
fn split_row(row: &[u8]) -> Result<(u64, &[u8])> {
    let (position, before) = row.split_first_chunk().ok_or_else(damaged)?;
    Ok((u64::from_le_bytes(*position), before))
}

/// Whether a row says that something stood there before.
pub(super) fn is_present(row: &[u8]) -> Result<bool> {
    match split_row(row)?.1.first() {
        None => Ok(false),
        Some(&PRESENT) => Ok(true),
        Some(_) => Err(damaged()),
    }
}

fn damaged() -> Error {
    Error::data("a note of what the tail has overwritten is damaged")
}
