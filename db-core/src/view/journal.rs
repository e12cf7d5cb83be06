//! Writing to the view with a journal of what was overwritten, so that a call can be taken back before it is committed
//! and an entry of the tail can be undone when the order changes before it.
//!
//! The journal consists of *parts*. Within a part a key is noted once, with what stood there when the part began: what it
//! keeps is bounded by the keys that changed, however often they did. Parts that grow too large go to the table of undo
//! records at once, so that dropping any number of documents takes little memory. Of what goes under a prefix that was never
//! used before (a new index) only the prefix is noted. Undoing goes part by part, the last first.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use redb::{CursorError, ReadableTable};

use super::keyspace::KeyBounds;
use super::overlay::Overlay;
use super::undo::{Undo, bytes_of};
use super::work::Work;
use super::{BytesTable, KeyRange, ReadView, Stored, keyspace, overlay};
use crate::error::{Error, Result};
use crate::faults::{Fault, is_planted};

/// The table of undo records: entry number and part to what the part overwrote.
pub(crate) type UndoTable<'txn> = redb::Table<'txn, (u64, u32), &'static [u8]>;

/// How many bytes of overwritten values are held in memory before they go to the table.
const JOURNAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Values of so many bytes are kept once, even if the part that holds them has gone to the table.
const LARGE_BYTES: usize = 64 * 1024;

/// The view inside a write transaction, and the journal of what one entry has overwritten.
pub(crate) struct ViewWriter<'a, 'txn> {
    target: Target<'a, 'txn>,
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

/// What is written to.
enum Target<'a, 'txn> {
    /// The view in the storage, with the table for what memory does not hold of the journal.
    Tables { table: &'a mut BytesTable<'txn>, undo: &'a mut UndoTable<'txn> },
    /// A snapshot with changes in memory, where the journal stays in memory too: both are bounded by the overlay.
    Overlay(&'a mut Overlay),
}

impl<'txn> Target<'_, 'txn> {
    /// Puts a value under a key, or nothing; gives what stood there.
    fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let table = match self {
            Self::Overlay(overlay) => return overlay.set(key, value),
            Self::Tables { table, .. } => table,
        };
        let before = match value {
            Some(value) => table.insert(key, value)?,
            None => table.remove(key)?,
        };
        Ok(before.map(|before| before.value().to_vec()))
    }

    fn undo(&mut self) -> Result<&mut UndoTable<'txn>> {
        match self {
            Self::Tables { undo, .. } => Ok(undo),
            Self::Overlay(_) => Err(overlay::no_table()),
        }
    }
}

/// A place in the journal to go back to: how many parts it then had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl<'a, 'txn> ViewWriter<'a, 'txn> {
    /// A writer of the changes of the entry with this number.
    pub(crate) fn new(table: &'a mut BytesTable<'txn>, undo: &'a mut UndoTable<'txn>, entry: u64) -> Self {
        Self::of(Target::Tables { table, undo }, entry, JOURNAL_BYTES_MAX)
    }

    /// A writer of changes that stay in memory.
    pub(crate) fn over(overlay: &'a mut Overlay) -> Self {
        Self::of(Target::Overlay(overlay), 0, usize::MAX)
    }

    fn of(target: Target<'a, 'txn>, entry: u64, memory_bytes_max: usize) -> Self {
        Self {
            target,
            entry,
            stored: 0,
            memory: Vec::new(),
            memory_bytes: 0,
            memory_bytes_max,
            large: BTreeSet::new(),
            work: Work::default(),
        }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let before = self.target.set(key, Some(value))?;
        self.note(key, before)
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<()> {
        let before = self.target.set(key, None)?;
        if before.is_some() { self.note(key, before) } else { Ok(()) }
    }

    /// Notes that nothing has ever begun with `prefix` before the entry: undoing it deletes whatever then does.
    pub(crate) fn note_fresh(&mut self, prefix: &[u8]) -> Result<()> {
        let is_new = self.last_part().is_some_and(|part| part.fresh.insert(prefix.to_vec()));
        self.memory_bytes += if is_new { bytes_of(prefix, None) } else { 0 };
        if self.memory_bytes > self.memory_bytes_max { self.store_parts() } else { Ok(()) }
    }

    /// Puts keys that ascend and that a prefix begins of which [`ViewWriter::note_fresh`] knows: they are not noted one by one.
    pub(crate) fn put_fresh<'k>(
        &mut self,
        mut entries: impl Iterator<Item = (&'k [u8], &'k [u8])>,
    ) -> Result<()> {
        let Target::Tables { table, .. } = &mut self.target else {
            return entries.try_for_each(|(key, value)| self.target.set(key, Some(value)).map(|_| ()));
        };
        // Where nothing lies between them, a cursor writes whole pages.
        if let Some((first, value)) = entries.next() {
            let mut cursor = table.lower_bound_mut(Bound::Included(first))?;
            let mut left = Some((first, value));
            while let Some((key, value)) = left {
                match cursor.insert_before(key, value) {
                    Ok(()) => left = entries.next(),
                    Err(CursorError::UnorderedKey) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            cursor.close()?;
            for (key, value) in left.into_iter().chain(entries) {
                table.insert(key, value)?;
            }
        }
        Ok(())
    }

    /// What applying the entry has cost so far.
    pub(crate) fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    /// The present place in the journal.
    pub(crate) fn mark(&mut self) -> Mark {
        if self.memory.last().is_none_or(|part| !part.is_empty()) {
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
            if whole.is_empty() {
                whole = part;
                continue;
            }
            for (key, before) in part.before {
                whole.before.entry(key).or_insert(before); // the earliest is what stood there before the entry
            }
            whole.fresh.extend(part.fresh);
        }
        Ok(Some(whole))
    }

    /// Undoes the entry, whose undo is `fresh` or in the table; there it is removed. Gives how many bytes that were.
    pub(crate) fn undo_entry(&mut self, fresh: Option<&Undo>) -> Result<usize> {
        if let Some(fresh) = fresh {
            self.restore(fresh)?;
            return Ok(fresh.bytes());
        }
        let (low, high) = ((self.entry, 0), (self.entry, u32::MAX));
        let last = self.target.undo()?.range(low..=high)?.next_back().transpose()?;
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
        let is_large = before.as_ref().is_some_and(|before| before.len() >= LARGE_BYTES)
            && self.large.contains(blake3::hash(key).as_bytes());
        let bytes = bytes_of(key, before.as_deref());
        if is_large {
            return Ok(());
        }
        let Some(part) = self.last_part() else { return Ok(()) };
        let Entry::Vacant(place) = part.before.entry(key.to_vec()) else { return Ok(()) };
        place.insert(before);
        self.memory_bytes += bytes;
        if self.memory_bytes > self.memory_bytes_max { self.store_parts() } else { Ok(()) }
    }

    /// The part that takes what is noted next.
    fn last_part(&mut self) -> Option<&mut Undo> {
        if self.memory.is_empty() {
            self.memory.push(Undo::default());
        }
        self.memory.last_mut()
    }

    /// Writes the parts in memory to the table.
    fn store_parts(&mut self) -> Result<()> {
        // Only the last part is younger than every mark.
        let last = self.memory.last().into_iter().flat_map(|part| &part.before);
        let large =
            last.filter(|(_, before)| before.as_ref().is_some_and(|before| before.len() >= LARGE_BYTES));
        self.large.extend(large.map(|(key, _)| *blake3::hash(key).as_bytes()));
        for part in std::mem::take(&mut self.memory) {
            self.target.undo()?.insert((self.entry, self.stored), &part.encode()[..])?;
            self.stored = self.stored.checked_add(1).ok_or_else(|| Error::data("too many undo records"))?;
        }
        self.memory_bytes = 0;
        Ok(())
    }

    /// Takes the last part out of the table.
    fn take_stored(&mut self) -> Result<Undo> {
        self.stored = self.stored.saturating_sub(1);
        let record = self.target.undo()?.remove((self.entry, self.stored))?;
        let record = record.ok_or_else(|| Error::data("an undo record is missing"))?;
        Ok(Undo::decode(record.value())?)
    }

    fn restore(&mut self, part: &Undo) -> Result<()> {
        for (key, before) in &part.before {
            if is_planted(Fault::IndexEntryForgotten) && keyspace::is_entry(key) && before.is_none() {
                continue;
            }
            self.target.set(key, before.as_deref())?;
        }
        // Last, since a later part may have put back what was deleted there.
        for prefix in &part.fresh {
            let bounds = keyspace::prefix_bounds(prefix);
            match &mut self.target {
                Target::Overlay(overlay) => overlay.clear(&bounds)?,
                Target::Tables { table, .. } => {
                    let (low, high) = &bounds;
                    let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
                    table.retain_in::<&[u8], _>(bounds, |_, _| false)?;
                }
            }
        }
        Ok(())
    }
}

impl ReadView for ViewWriter<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        match &self.target {
            Target::Tables { table, .. } => Ok(table.get(key)?.map(Stored::Page)),
            Target::Overlay(overlay) => overlay.get(key),
        }
    }

    fn range(&self, bounds: KeyBounds) -> Result<KeyRange<'_>> {
        let table = match &self.target {
            Target::Tables { table, .. } => table,
            Target::Overlay(overlay) => return overlay.range(bounds),
        };
        let (low, high) = bounds;
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        Ok(KeyRange::Latest(table.range::<&[u8]>(bounds)?))
    }
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
    fn what_is_put_under_a_fresh_prefix_is_taken_back_however_often_the_journal_goes_to_the_table() {
        for memory_bytes_max in [0, 500, usize::MAX] {
            with_view(memory_bytes_max, |view| {
                view.put(b"p", b"before").unwrap();
                view.put(b"q", b"behind").unwrap();
                let _ = view.take_undo().unwrap();
                view.entry += 1;
                let before = contents(view);
                view.put(b"o", b"of the entry").unwrap();
                let mark = view.mark();
                let marked = contents(view);
                for revert in [true, false] {
                    view.note_fresh(b"pp").unwrap();
                    let keys: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![b'p', b'p', n]).collect();
                    let (even, odd): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key[2] % 2 == 0);
                    view.put_fresh(even.iter().map(|key| (&key[..], &b"even"[..]))).unwrap();
                    view.put_fresh(odd.iter().map(|key| (&key[..], &b"odd"[..]))).unwrap();
                    assert_eq!(contents(view).len(), marked.len() + 200);
                    for key in &keys[..150] {
                        view.delete(key).unwrap();
                    }
                    view.put(b"pp\x07\x01", b"another").unwrap();
                    if revert {
                        view.revert_to(mark).unwrap();
                        assert_eq!(contents(view), marked);
                    }
                }
                let undo = view.take_undo().unwrap();
                if let Some(undo) = &undo {
                    assert_eq!(Undo::decode(&undo.encode()).unwrap(), *undo);
                }
                view.undo_entry(undo.as_ref()).unwrap();
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
