//! Writing to the view with a journal of what was overwritten, so that a call can be taken back before it is committed
//! and an entry of the tail can be undone when the order changes before it.
//!
//! The journal consists of *parts*. Within a part a key is noted once, with what stood there when the part began: what it
//! keeps is bounded by the keys that changed, however often they did. Parts that grow too large go to the table of undo
//! records at once, so that dropping or indexing any number of documents takes little memory. Undoing goes part by part,
//! the last first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use redb::{Range, ReadableTable};

use super::work::Work;
use super::{BytesTable, ReadView, Stored};
use crate::bytes::{Malformed, Put, Reader};
use crate::error::{Error, Result};

/// The table of undo records: entry number and part to what the part overwrote.
pub(crate) type UndoTable<'txn> = redb::Table<'txn, (u64, u32), &'static [u8]>;

/// How many bytes of overwritten values are held in memory before they go to the table.
const JOURNAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Values of so many bytes are kept once, even if the part that holds them has gone to the table.
const LARGE_BYTES: usize = 64 * 1024;
/// What noting a key costs beside its bytes.
const CHANGE_BYTES: usize = 64;

/// The view inside a write transaction, and the journal of what one entry has overwritten.
pub(crate) struct ViewWriter<'a, 'txn> {
    table: &'a mut BytesTable<'txn>,
    undo: &'a mut UndoTable<'txn>,
    /// The number of the entry that is applied, or that a call being tried will have.
    entry: u64,
    /// How many parts are in the table; those in memory follow them.
    stored: u32,
    memory: Vec<Undo>,
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// Hashes of the keys whose large values have gone to the table since the last mark.
    large: BTreeSet<[u8; 32]>,
    work: Work,
}

/// A place in the journal to go back to: how many parts it then had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl<'a, 'txn> ViewWriter<'a, 'txn> {
    /// A writer of the changes of the entry with this number.
    pub(crate) fn new(table: &'a mut BytesTable<'txn>, undo: &'a mut UndoTable<'txn>, entry: u64) -> Self {
        Self {
            table,
            undo,
            entry,
            stored: 0,
            memory: Vec::new(),
            memory_bytes: 0,
            memory_bytes_max: JOURNAL_BYTES_MAX,
            large: BTreeSet::new(),
            work: Work::default(),
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let before = self.table.insert(key, value)?.map(|before| before.value().to_vec());
        self.note(key, before)
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<()> {
        let before = self.table.remove(key)?.map(|before| before.value().to_vec());
        if before.is_some() { self.note(key, before) } else { Ok(()) }
    }

    /// What applying the entry has cost so far.
    pub(crate) fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    /// The present place in the journal.
    pub(crate) fn mark(&mut self) -> Mark {
        if self.memory.last().is_none_or(|part| !part.0.is_empty()) {
            self.memory.push(Undo::default());
        }
        self.large.clear();
        Mark(self.parts() - 1)
    }

    /// Takes back every change since `mark`.
    pub(crate) fn revert_to(&mut self, mark: Mark) -> Result<()> {
        while self.parts() > mark.0 {
            let part = if let Some(part) = self.memory.pop() {
                self.memory_bytes = self.memory_bytes.saturating_sub(part.bytes());
                part
            } else {
                self.take_stored()?
            };
            self.restore(&part)?;
        }
        // What comes next must not be taken for older than the mark.
        self.large.clear();
        self.memory.push(Undo::default());
        Ok(())
    }

    /// Ends the journal of the entry: gives what it overwrote, unless that is in the table already.
    pub(crate) fn take_undo(&mut self) -> Result<Option<Undo>> {
        self.work = Work::default();
        self.large.clear();
        if self.stored > 0 {
            self.store_parts()?;
            self.stored = 0;
            return Ok(None);
        }
        self.memory_bytes = 0;
        let mut whole = Undo::default();
        for part in std::mem::take(&mut self.memory) {
            if whole.0.is_empty() {
                whole = part;
                continue;
            }
            for (key, before) in part.0 {
                whole.0.entry(key).or_insert(before); // the earliest is what stood there before the entry
            }
        }
        Ok(Some(whole))
    }

    /// Undoes the entry, whose undo is `fresh` or in the table; there it is removed. Gives how many bytes that were.
    pub(crate) fn undo_entry(&mut self, fresh: Option<&Undo>) -> Result<usize> {
        if let Some(fresh) = fresh {
            self.restore(fresh)?;
            return Ok(fresh.bytes());
        }
        let last = self.undo.range((self.entry, 0)..=(self.entry, u32::MAX))?.next_back().transpose()?;
        let last = last.map(|(key, _)| key.value().1);
        self.stored = last.map_or(0, |part| part.saturating_add(1));
        if self.stored == 0 {
            return Err(Error::data("an undo record is missing"));
        }
        let mut bytes = 0;
        while self.stored > 0 {
            let part = self.take_stored()?;
            bytes += part.bytes();
            self.restore(&part)?;
        }
        Ok(bytes)
    }

    fn parts(&self) -> usize {
        self.stored as usize + self.memory.len()
    }

    fn note(&mut self, key: &[u8], before: Option<Vec<u8>>) -> Result<()> {
        if self.memory.is_empty() {
            self.memory.push(Undo::default());
        }
        let Some(part) = self.memory.last_mut() else { return Ok(()) };
        let is_large = before.as_ref().is_some_and(|before| before.len() >= LARGE_BYTES);
        if part.0.contains_key(key) || (is_large && self.large.contains(blake3::hash(key).as_bytes())) {
            return Ok(());
        }
        self.memory_bytes += bytes_of(key, before.as_deref());
        part.0.insert(key.to_vec(), before);
        if self.memory_bytes > self.memory_bytes_max { self.store_parts() } else { Ok(()) }
    }

    /// Writes the parts in memory to the table.
    fn store_parts(&mut self) -> Result<()> {
        // Only the last part is younger than every mark.
        let last = self.memory.last().into_iter().flat_map(|part| &part.0);
        let large =
            last.filter(|(_, before)| before.as_ref().is_some_and(|before| before.len() >= LARGE_BYTES));
        self.large.extend(large.map(|(key, _)| *blake3::hash(key).as_bytes()));
        for part in std::mem::take(&mut self.memory) {
            self.undo.insert((self.entry, self.stored), &part.encode()[..])?;
            self.stored = self.stored.checked_add(1).ok_or_else(|| Error::data("too many undo records"))?;
        }
        self.memory_bytes = 0;
        Ok(())
    }

    /// Takes the last part out of the table.
    fn take_stored(&mut self) -> Result<Undo> {
        self.stored = self.stored.saturating_sub(1);
        let record = self.undo.remove((self.entry, self.stored))?;
        let record = record.ok_or_else(|| Error::data("an undo record is missing"))?;
        Ok(Undo::decode(record.value())?)
    }

    fn restore(&mut self, part: &Undo) -> Result<()> {
        for (key, before) in &part.0 {
            match before {
                Some(before) => self.table.insert(&key[..], &before[..])?,
                None => self.table.remove(&key[..])?,
            };
        }
        Ok(())
    }
}

impl ReadView for ViewWriter<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        Ok(self.table.get(key)?)
    }

    fn range(
        &self,
        (low, high): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<Range<'_, &'static [u8], &'static [u8]>> {
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        Ok(self.table.range::<&[u8]>(bounds)?)
    }
}

/// What an entry, or a part of it, overwrote: each key, and what stood there before.
///
/// Layout, key by key: the key behind its length (u32), a byte that is 1 if something stood there before, and that behind
/// its length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Undo(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Undo {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(key, before)| bytes_of(key, before.as_deref())).sum()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, before) in &self.0 {
            bytes.put_bytes(key);
            match before {
                Some(before) => {
                    bytes.put_u8(1);
                    bytes.put_bytes(before);
                }
                None => bytes.put_u8(0),
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut changes = BTreeMap::new();
        while reader.remaining() > 0 {
            let key = reader.bytes(usize::MAX)?.to_vec();
            let before = match reader.u8()? {
                0 => None,
                1 => Some(reader.bytes(usize::MAX)?.to_vec()),
                _ => return Err(Malformed("undo record")),
            };
            changes.insert(key, before);
        }
        Ok(Self(changes))
    }
}

fn bytes_of(key: &[u8], before: Option<&[u8]>) -> usize {
    CHANGE_BYTES + key.len() + before.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::{ReadableTableMetadata, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, &'static [u8], &'static [u8]> = TableDefinition::new("t");
    const UNDO: TableDefinition<'_, (u64, u32), &'static [u8]> = TableDefinition::new("u");
    const ENTRY: u64 = 7;

    fn contents(view: &ViewWriter<'_, '_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        view.range((Bound::Unbounded, Bound::Unbounded))
            .unwrap()
            .map(|item| item.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect()
    }

    fn write(view: &mut ViewWriter<'_, '_>, changes: &[(u8, Option<u8>)]) {
        for (key, value) in changes {
            match value {
                Some(value) => view.put(&[*key], &[*value]).unwrap(),
                None => view.delete(&[*key]).unwrap(),
            }
        }
    }

    /// Runs `work` on a writer whose journal holds `memory_bytes_max` bytes; gives how many records the table then has.
    fn with_view(memory_bytes_max: usize, work: impl FnOnce(&mut ViewWriter<'_, '_>)) -> u64 {
        let memory = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(memory).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        let mut undo = transaction.open_table(UNDO).unwrap();
        let mut view = ViewWriter::new(&mut table, &mut undo, ENTRY);
        view.memory_bytes_max = memory_bytes_max;
        work(&mut view);
        undo.len().unwrap()
    }

    fn changes() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
        proptest::collection::vec((0_u8..8, proptest::option::of(0_u8..4)), 0..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(80))]

        #[test]
        fn undoing_and_reverting_restore_byte_for_byte_whether_in_memory_or_in_the_table(
            memory_bytes_max in 0_usize..2_000,
            first in changes(),
            second in changes(),
            third in changes(),
        ) {
            with_view(memory_bytes_max, |view| {
                write(view, &first);
                let _ = view.take_undo().unwrap();
                view.entry += 1;
                let before = contents(view);
                write(view, &second);
                let outer = view.mark();
                let between = contents(view);
                write(view, &third);
                let inner = view.mark();
                let after = contents(view);
                write(view, &first);
                view.revert_to(inner).unwrap();
                assert_eq!(contents(view), after);
                write(view, &second);
                view.revert_to(outer).unwrap();
                assert_eq!(contents(view), between);
                write(view, &third);
                let fresh = view.take_undo().unwrap();
                view.undo_entry(fresh.as_ref()).unwrap();
                assert_eq!(contents(view), before);
            });
        }
    }

    #[test]
    fn a_value_that_is_written_again_and_again_is_kept_once() {
        let large = vec![1; 100_000];
        let records = with_view(usize::MAX, |view| {
            view.put(b"k", &large).unwrap();
            let _ = view.take_undo().unwrap();
            for _ in 0..1_000 {
                view.put(b"k", &large).unwrap();
            }
            assert!(view.take_undo().unwrap().unwrap().bytes() < 2 * large.len());
        });
        assert_eq!(records, 0);
    }

    #[test]
    fn a_large_value_is_kept_once_even_if_the_journal_goes_to_the_table_and_once_more_after_a_mark() {
        let large = |byte: u8| vec![byte; LARGE_BYTES];
        let records = with_view(1_000, |view| {
            view.put(b"k", &large(1)).unwrap();
            let _ = view.take_undo().unwrap();
            view.entry += 1;
            for byte in 2..50 {
                view.put(b"k", &large(byte)).unwrap();
            }
            let mark = view.mark();
            for byte in 50..99 {
                view.put(b"k", &large(byte)).unwrap();
            }
            view.revert_to(mark).unwrap();
            assert_eq!(contents(view)[&b"k"[..]], large(49));
            view.put(b"k", &large(100)).unwrap();
            assert!(view.take_undo().unwrap().is_none());
            view.undo_entry(None).unwrap();
            assert_eq!(contents(view)[&b"k"[..]], large(1));
            view.put(b"k", &large(3)).unwrap();
            let _ = view.take_undo().unwrap();
        });
        assert_eq!(records, 1);
    }

    #[test]
    fn what_one_entry_overwrites_takes_bounded_memory() {
        let records = with_view(10_000, |view| {
            for number in 0..1_000_u32 {
                view.put(&number.to_be_bytes(), &[1; 100]).unwrap();
                assert!(view.memory_bytes <= 10_000);
            }
            assert!(view.take_undo().unwrap().is_none());
        });
        assert!(records > 5, "{records} records");
    }
}
