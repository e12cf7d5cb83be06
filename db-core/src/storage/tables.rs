//! The tables of a database file and the plain access to them. The logs and what entries know of them have files of their own.
//!
//! ```text
//! meta       name                     -> bytes       identity, engine, linearizer
//! headers    entry number             -> record      hash, signature, standing, header (see `logs`)
//! payloads   entry number             -> payload
//! hashes     entry hash               -> entry number
//! logs       writer, seq, number      -> nothing     one row per entry; forked logs have several per seq
//! tips       writer, number           -> length, hash
//! order      position                 -> entry number
//! named      writer                   -> nothing     who stands in a stored change of members, in force or not
//! (sets)     entry number             -> nothing     see `sets`
//! skipped    entry number             -> nothing     applied without effect: its author may not write at its place
//! undo       entry number, part       -> what the part of the entry overwrote, for the tail only
//! overwritten, overwritten_again             what the tail has changed, key by key (see `confirmed`)
//! view       key                      -> value
//! changes    position, part           -> what a confirmed entry changed (see `changes`)
//! ```

use std::sync::Arc;

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError,
    WriteTransaction,
};

use super::changes::{self, Changes, ChangesKept};
use super::clocks::Clocks;
use super::sets::{Sets, UNORDERED};
use crate::bytes::{Put, Reader};
use crate::error::Result;
use crate::ids::{EntryHash, WriterKey};
use crate::linearizer::{EntryNumber, NumberSet};
use crate::log_reader::Tip;
use crate::view::confirmed::{OVERWRITTEN, Overwritten};
use crate::view::gaps::Gaps;
use crate::view::journal::UndoTable;
use crate::view::undo::Undo;
use crate::view::{BytesTable, ViewSnapshot};

pub(super) type WriterSeq = ([u8; 32], u64, u64);
pub(super) type WriterNumber = ([u8; 32], u64);

const META: TableDefinition<'_, &'static str, &'static [u8]> = TableDefinition::new("meta");
pub(super) const HEADERS: TableDefinition<'_, u64, &'static [u8]> = TableDefinition::new("headers");
pub(super) const PAYLOADS: TableDefinition<'_, u64, &'static [u8]> = TableDefinition::new("payloads");
pub(super) const HASHES: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("hashes");
pub(super) const LOGS: TableDefinition<'_, WriterSeq, ()> = TableDefinition::new("logs");
pub(super) const TIPS: TableDefinition<'_, WriterNumber, (u64, [u8; 32])> = TableDefinition::new("tips");
const ORDER: TableDefinition<'_, u64, u64> = TableDefinition::new("order");
const SKIPPED: TableDefinition<'_, u64, ()> = TableDefinition::new("skipped");
const NAMED: TableDefinition<'_, [u8; 32], ()> = TableDefinition::new("named");
const UNDO: TableDefinition<'_, (u64, u32), &'static [u8]> = TableDefinition::new("undo");
const VIEW: TableDefinition<'_, &'static [u8], &'static [u8]> = TableDefinition::new("view");

/// Under which name of `meta` the database's identity stands.
pub(super) const IDENTITY: &str = "identity";
/// Under which names of `meta` the engine's state and that of its linearizer stand.
const ENGINE: &str = "engine";
const LINEARIZER: &str = "linearizer";
/// Under which name of `meta` the ends of logs of ours stand that peers have shown and that are not here: of each its key, its
/// hash and its length (u64).
const MISSING_ENDS: &str = "missing ends";
/// Under which name of `meta` the numbers (u64) of the heads of what is applied stand, while more is stored and readers can be shown
/// the view.
const APPLIED_HEADS: &str = "applied heads";
/// Under which name of `meta` the seeds of this device's later keys stand, 32 bytes each, the present one's last.
const OWN_KEYS: &str = "own keys";

/// All tables, open for writing in one transaction.
pub(crate) struct Tables<'txn> {
    meta: Table<'txn, &'static str, &'static [u8]>,
    pub(super) headers: Table<'txn, u64, &'static [u8]>,
    pub(super) payloads: Table<'txn, u64, &'static [u8]>,
    pub(super) hashes: Table<'txn, [u8; 32], u64>,
    pub(super) logs: Table<'txn, WriterSeq, ()>,
    pub(super) tips: Table<'txn, WriterNumber, (u64, [u8; 32])>,
    order: Table<'txn, u64, u64>,
    named: Table<'txn, [u8; 32], ()>,
    pub(crate) sets: Sets<'txn>,
    skipped: Table<'txn, u64, ()>,
    pub(crate) clocks: Clocks<'txn>,
    pub(crate) undo: UndoTable<'txn>,
    overwritten: Overwritten<'txn>,
    pub(crate) changes: Changes<'txn>,
    pub(crate) view: BytesTable<'txn>,
}

impl<'txn> Tables<'txn> {
    pub(crate) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            headers: transaction.open_table(HEADERS)?,
            payloads: transaction.open_table(PAYLOADS)?,
            hashes: transaction.open_table(HASHES)?,
            logs: transaction.open_table(LOGS)?,
            tips: transaction.open_table(TIPS)?,
            order: transaction.open_table(ORDER)?,
            named: transaction.open_table(NAMED)?,
            sets: Sets::open(transaction)?,
            skipped: transaction.open_table(SKIPPED)?,
            clocks: Clocks::open(transaction)?,
            undo: transaction.open_table(UNDO)?,
            overwritten: Overwritten::open(transaction)?,
            changes: Changes::open(transaction)?,
            view: transaction.open_table(VIEW)?,
        })
    }

    pub(super) fn put_meta(&mut self, name: &'static str, value: &[u8]) -> Result<()> {
        self.meta.insert(name, value)?;
        Ok(())
    }

    /// Keeps the engine's state.
    pub(crate) fn put_engine_state(&mut self, state: &[u8]) -> Result<()> {
        self.put_meta(ENGINE, state)
    }

    /// The engine's state as it was last kept.
    pub(crate) fn engine_state(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.meta.get(ENGINE)?.map(|state| state.value().to_vec()))
    }

    /// Keeps the linearizer's state.
    pub(crate) fn put_linearizer(&mut self, snapshot: &[u8]) -> Result<()> {
        self.put_meta(LINEARIZER, snapshot)
    }

    /// The linearizer's state as it was last kept.
    pub(crate) fn linearizer(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.meta.get(LINEARIZER)?.map(|snapshot| snapshot.value().to_vec()))
    }

    /// Keeps the ends of logs of ours that peers have shown and that are not here.
    pub(crate) fn put_missing_ends(&mut self, ends: &[Tip]) -> Result<()> {
        let mut bytes = Vec::new();
        for end in ends {
            bytes.extend_from_slice(end.writer.as_bytes());
            bytes.extend_from_slice(end.head.as_bytes());
            bytes.put_u64(end.length);
        }
        self.put_meta(MISSING_ENDS, &bytes)
    }

    pub(crate) fn missing_ends(&self) -> Result<Vec<Tip>> {
        let mut ends = Vec::new();
        let Some(stored) = self.meta.get(MISSING_ENDS)? else { return Ok(ends) };
        let mut reader = Reader::new(stored.value());
        while reader.remaining() > 0 {
            let (writer, head) = (reader.array()?, reader.array()?);
            let (writer, head) = (WriterKey::from_bytes(writer), EntryHash::from_bytes(head));
            ends.push(Tip { writer, head, length: reader.u64()? });
        }
        Ok(ends)
    }

    /// Keeps the heads of what is applied, or that they are not to be known.
    pub(crate) fn put_applied_heads(&mut self, heads: Option<&NumberSet>) -> Result<()> {
        let Some(heads) = heads else {
            self.meta.remove(APPLIED_HEADS)?;
            return Ok(());
        };
        let mut bytes = Vec::new();
        for head in heads.iter() {
            bytes.put_u64(head.0);
        }
        self.put_meta(APPLIED_HEADS, &bytes)
    }

    pub(crate) fn applied_heads(&self) -> Result<Option<NumberSet>> {
        let Some(stored) = self.meta.get(APPLIED_HEADS)? else { return Ok(None) };
        let mut reader = Reader::new(stored.value());
        let mut heads = NumberSet::default();
        while reader.remaining() > 0 {
            heads.insert(EntryNumber(reader.u64()?));
        }
        Ok(Some(heads))
    }

    /// Keeps the seeds of this device's later keys.
    pub(crate) fn put_own_key_seeds(&mut self, seeds: &[[u8; 32]]) -> Result<()> {
        self.put_meta(OWN_KEYS, &seeds.concat())
    }

    pub(crate) fn own_key_seeds(&self) -> Result<Vec<[u8; 32]>> {
        let stored = self.meta.get(OWN_KEYS)?;
        Ok(stored.map(|stored| stored.value().as_chunks::<32>().0.to_vec()).unwrap_or_default())
    }

    /// The entries at `position` of the order as it is applied, and all after it.
    pub(crate) fn ordered_from(&self, position: u64) -> Result<Vec<u64>> {
        self.order.range(position..)?.map(|item| Ok(item?.1.value())).collect()
    }

    pub(crate) fn put_ordered(&mut self, position: u64, number: u64) -> Result<()> {
        self.order.insert(position, number)?;
        Ok(())
    }

    /// Forgets the order from `position` on.
    pub(crate) fn truncate_order(&mut self, position: u64) -> Result<()> {
        self.order.retain_in(position.., |_, _| false)?;
        Ok(())
    }

    /// Notes that a stored entry changes what `writer` may do, or tries to.
    pub(crate) fn put_named(&mut self, writer: &WriterKey) -> Result<()> {
        self.named.insert(writer.as_bytes(), ())?;
        Ok(())
    }

    pub(crate) fn is_named(&self, writer: &WriterKey) -> Result<bool> {
        Ok(self.named.get(writer.as_bytes())?.is_some())
    }

    /// Whether an entry had no effect when it was last applied, for its author's lack of rights.
    pub(crate) fn is_skipped(&self, number: u64) -> Result<bool> {
        Ok(self.skipped.get(number)?.is_some())
    }

    /// Notes that an entry was applied without effect, or that it was not.
    pub(crate) fn note_skipped(&mut self, number: u64, is_skipped: bool) -> Result<()> {
        if is_skipped {
            self.skipped.insert(number, ())?;
        } else if !self.skipped.is_empty()? {
            self.skipped.remove(number)?;
        }
        Ok(())
    }

    /// Forgets everything that follows from the logs.
    pub(crate) fn clear_order_and_view(&mut self) -> Result<()> {
        self.skipped.retain(|_, ()| false)?;
        self.order.retain(|_, _| false)?;
        self.undo.retain(|_, _| false)?;
        self.overwritten.clear()?;
        self.changes.clear()?;
        self.view.retain(|_, _| false)?;
        Ok(())
    }

    /// Keeps the undo record of an entry that has but one part.
    pub(crate) fn put_undo(&mut self, number: u64, undo: &Undo) -> Result<()> {
        self.undo.insert((number, 0), &undo.encode()[..])?;
        Ok(())
    }

    /// Notes key by key what the entries at these positions have overwritten.
    pub(crate) fn note_overwritten(&mut self, overwritten: &[(u64, &Undo)]) -> Result<()> {
        self.overwritten.note(overwritten)
    }

    /// Notes key by key what the entry at `position` has overwritten, whose undo records are stored; hands these to `take`.
    pub(crate) fn note_stored_overwritten(
        &mut self,
        position: u64,
        number: u64,
        mut take: impl FnMut(&Undo),
    ) -> Result<()> {
        for part in self.undo.range((number, 0)..=(number, u32::MAX))? {
            let part = Undo::decode(part?.1.value())?;
            self.overwritten.note_part(position, &part)?;
            take(&part);
        }
        Ok(())
    }

    /// Forgets key by key what the entry at `position` has overwritten, whose undo records are stored.
    pub(crate) fn forget_overwritten(&mut self, position: u64, number: u64) -> Result<()> {
        for part in self.undo.range((number, 0)..=(number, u32::MAX))? {
            self.overwritten.forget(position, &Undo::decode(part?.1.value())?)?;
        }
        Ok(())
    }

    /// Whether the tail has overwritten so many keys from `low` up to `high`, as far as is noted.
    pub(crate) fn has_overwritten(&self, low: &[u8], high: &[u8], count: usize) -> Result<bool> {
        self.overwritten.has_keys(low, high, count)
    }

    /// Whether nothing is noted of what the tail has overwritten.
    #[cfg(test)]
    pub(crate) fn overwritten_is_empty(&self) -> Result<bool> {
        self.overwritten.is_empty()
    }

    /// Hands the parts of the entry's undo record that are stored to `take`, the first first.
    pub(crate) fn undo_parts(&self, number: u64, mut take: impl FnMut(&Undo) -> Result<()>) -> Result<()> {
        for part in self.undo.range((number, 0)..=(number, u32::MAX))? {
            take(&Undo::decode(part?.1.value())?)?;
        }
        Ok(())
    }

    /// Notes how much is kept of what confirmed entries have changed.
    pub(crate) fn put_changes_kept(&mut self, kept: ChangesKept) -> Result<()> {
        self.put_meta(changes::KEPT, &kept.encode())
    }

    pub(crate) fn changes_kept(&self) -> Result<Option<ChangesKept>> {
        let stored = self.meta.get(changes::KEPT)?;
        stored.map(|kept| ChangesKept::decode(kept.value())).transpose()
    }

    /// Forgets the undo record of an entry.
    pub(crate) fn remove_undo(&mut self, number: u64) -> Result<()> {
        let mut part = 0;
        while self.undo.remove((number, part))?.is_some() {
            part += 1;
        }
        Ok(())
    }
}

/// The view as a read transaction sees it; none in a file that has just been made.
pub(crate) fn view_snapshot(transaction: &ReadTransaction) -> Result<Option<ViewSnapshot>> {
    view_snapshot_with(transaction, Arc::default())
}

/// The same, and its readers share what others find of this state of what is confirmed.
pub(crate) fn view_snapshot_with(
    transaction: &ReadTransaction,
    gaps: Arc<Gaps>,
) -> Result<Option<ViewSnapshot>> {
    match transaction.open_table(VIEW) {
        Ok(view) => Ok(Some(ViewSnapshot::new(view, transaction.open_table(OVERWRITTEN)?, gaps))),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn read_meta(transaction: &ReadTransaction, name: &'static str) -> Result<Option<Vec<u8>>> {
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get(name)?.map(|value| value.value().to_vec())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The entry numbers at positions `from..to` of the order as a read transaction sees it.
pub(crate) fn order_snapshot(transaction: &ReadTransaction, from: u64, to: u64) -> Result<Vec<u64>> {
    let order = transaction.open_table(ORDER)?;
    order.range::<u64>(from..to)?.map(|item| Ok(item?.1.value())).collect()
}

/// The engine's state and that of its linearizer as they were last kept.
pub(crate) fn engine_state_snapshot(transaction: &ReadTransaction) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    Ok(read_meta(transaction, ENGINE)?.zip(read_meta(transaction, LINEARIZER)?))
}

/// The order as it is applied, and behind it what is not yet ordered, as a read transaction sees them.
pub(crate) struct OrderSnapshot {
    order: redb::ReadOnlyTable<u64, u64>,
    unordered: redb::ReadOnlyTable<u64, ()>,
    undo: redb::ReadOnlyTable<(u64, u32), &'static [u8]>,
    skipped: redb::ReadOnlyTable<u64, ()>,
    ordered: u64,
}

impl OrderSnapshot {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self> {
        let order = transaction.open_table(ORDER)?;
        let ordered = order.last()?.map_or(0, |(position, _)| position.value() + 1);
        let (unordered, undo) = (transaction.open_table(UNORDERED)?, transaction.open_table(UNDO)?);
        let skipped = transaction.open_table(SKIPPED)?;
        Ok(Self { order, unordered, undo, skipped, ordered })
    }

    /// How many entries have a place in the order.
    pub(crate) fn ordered(&self) -> u64 {
        self.ordered
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> Result<u64> {
        Ok(self.ordered + self.unordered.len()?)
    }

    /// Whether this entry has no place in the order yet.
    pub(crate) fn is_unordered(&self, number: u64) -> Result<bool> {
        Ok(self.unordered.get(number)?.is_some())
    }

    /// Whether this entry has no effect because its author may not write at its place.
    pub(crate) fn is_skipped(&self, number: u64) -> Result<bool> {
        Ok(self.skipped.get(number)?.is_some())
    }

    /// Whether this entry is ordered and not confirmed: as long as it can be undone, there is a record to do so with.
    pub(crate) fn is_tail(&self, number: u64) -> Result<bool> {
        Ok(self.undo.range((number, 0)..=(number, u32::MAX))?.next().transpose()?.is_some())
    }

    /// Hands the parts of the undo record of an entry of the tail to `take`, the first first.
    pub(crate) fn undo_parts(&self, number: u64, mut take: impl FnMut(&Undo) -> Result<()>) -> Result<()> {
        for part in self.undo.range((number, 0)..=(number, u32::MAX))? {
            take(&Undo::decode(part?.1.value())?)?;
        }
        Ok(())
    }

    /// The numbers of up to `limit` entries from this place on.
    pub(crate) fn numbers(&self, from: u64, limit: usize) -> Result<Vec<u64>> {
        let ordered = self.order.range(from..)?.take(limit).map(|item| Ok(item?.1.value()));
        let mut numbers = ordered.collect::<Result<Vec<_>>>()?;
        if numbers.len() < limit {
            let skip = usize::try_from(from.saturating_sub(self.ordered)).unwrap_or(usize::MAX);
            let rest = self.unordered.iter()?.skip(skip).take(limit - numbers.len());
            for number in rest {
                numbers.push(number?.0.value());
            }
        }
        Ok(numbers)
    }
}
