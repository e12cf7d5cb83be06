//! What confirmed entries have changed of documents and collections, kept within a budget for streams that begin in the past.
//!
//! ```text
//! changes    position, part  -> each key changed, and what stood there before
//! ```
//!
//! A row holds changes behind one another, ascending by key: the key behind its length (u32), a byte that is 1 if something
//! stood there before, and that behind its length. What an entry has put under a key is what stood there before the next
//! change of that key, or else what the confirmed view holds. An entry that changed nothing of the kind has no row.

use std::ops::ControlFlow;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};

use crate::bytes::{Malformed, Put, Reader};
use crate::error::{Error, Result};
use crate::limits;

const CHANGES: TableDefinition<'_, (u64, u32), &'static [u8]> = TableDefinition::new("changes");

/// Under which name of `meta` it stands how much is kept.
pub(super) const KEPT: &str = "changes";

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChangesKept {
    /// The position from which on everything is kept.
    pub(crate) front: u64,
    /// The position from which on the documents of dropped collections are among it.
    pub(crate) whole_from: u64,
    /// How many bytes there are.
    pub(crate) bytes: u64,
}

impl ChangesKept {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.front, self.whole_from, self.bytes] {
            bytes.put_u64(number);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        Ok(Self { front: reader.u64()?, whole_from: reader.u64()?, bytes: reader.u64()? })
    }
}

/// The table inside a write transaction.
pub(crate) struct Changes<'txn>(Table<'txn, (u64, u32), &'static [u8]>);

impl<'txn> Changes<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self(transaction.open_table(CHANGES)?))
    }

    /// Keeps what the entry at `position` has changed, ascending by key; gives how many bytes that takes.
    pub(crate) fn put<'c>(
        &mut self,
        position: u64,
        changes: impl Iterator<Item = (&'c [u8], Option<&'c [u8]>)>,
    ) -> Result<u64> {
        let (mut row, mut part, mut total) = (Vec::new(), 0, 0);
        for (key, before) in changes {
            if row.len() >= limits::CHANGES_CHUNK_BYTES {
                total += self.put_row(position, part, &row)?;
                part += 1;
                row.clear();
            }
            row.put_bytes(key);
            row.put_u8(u8::from(before.is_some()));
            if let Some(before) = before {
                row.put_bytes(before);
            }
        }
        if row.is_empty() { Ok(total) } else { Ok(total + self.put_row(position, part, &row)?) }
    }

    fn put_row(&mut self, position: u64, part: u32, row: &[u8]) -> Result<u64> {
        self.0.insert((position, part), row)?;
        Ok(weight(row))
    }

    /// Forgets the first entries until `bytes` are freed; gives the position after them, and how many bytes that were.
    pub(crate) fn forget(&mut self, bytes: u64) -> Result<Option<(u64, u64)>> {
        let (mut freed, mut next) = (0, None);
        loop {
            let first = self.0.first()?.map(|(key, _)| key.value().0);
            // An entry is forgotten as a whole.
            let goes_on = first.and_then(|first| first.checked_add(1)) == next && next.is_some();
            if first.is_none() || (freed >= bytes && !goes_on) {
                return Ok(next.map(|next| (next, freed)));
            }
            if let Some((key, row)) = self.0.pop_first()? {
                freed += weight(row.value());
                next = key.value().0.checked_add(1);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) -> Result<()> {
        Ok(self.0.retain(|_, _| false)?)
    }
}

/// What a row takes, with what it costs beside its bytes.
fn weight(row: &[u8]) -> u64 {
    row.len() as u64 + 32
}

/// The table as a read transaction sees it.
pub(crate) struct ChangesSnapshot {
    rows: Option<ReadOnlyTable<(u64, u32), &'static [u8]>>,
    kept: ChangesKept,
}

impl ChangesSnapshot {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self> {
        let rows = match transaction.open_table(CHANGES) {
            Ok(rows) => Some(rows),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let kept = super::tables::read_meta(transaction, KEPT)?;
        let kept = kept.map(|kept| ChangesKept::decode(&kept)).transpose()?.unwrap_or_default();
        Ok(Self { rows, kept })
    }

    /// How much is kept.
    pub(crate) fn kept(&self) -> ChangesKept {
        self.kept
    }

    /// Hands the rows from this one on to `take`, each with its place, until it has enough.
    pub(crate) fn rows_from(
        &self,
        from: (u64, u32),
        mut take: impl FnMut((u64, u32), &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let Some(rows) = &self.rows else { return Ok(()) };
        for row in rows.range(from..)? {
            let (place, row) = row?;
            if take(place.value(), row.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Hands the changes of a row to `take`, key by key.
pub(crate) fn read_row<'r>(
    row: &'r [u8],
    mut take: impl FnMut(&'r [u8], Option<&'r [u8]>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new(row);
    while reader.remaining() > 0 {
        let key = reader.bytes(usize::MAX)?;
        let before = match reader.u8()? {
            0 => None,
            1 => Some(reader.bytes(usize::MAX)?),
            _ => return Err(Error::from(Malformed("kept change"))),
        };
        take(key, before)?;
    }
    Ok(())
}
