//! Writing to the view with a journal of what was overwritten, so that a call can be taken back before it is committed
//! and an entry of the tail can be undone when the order changes before it.

use std::ops::Bound;

use redb::{Range, ReadableTable};

use super::{BytesTable, ReadView, Stored};
use crate::bytes::{Malformed, Put, Reader};
use crate::error::Result;

/// The view inside a write transaction, and the journal of what has been overwritten since it was last taken.
pub(crate) struct ViewWriter<'a, 'txn> {
    table: &'a mut BytesTable<'txn>,
    journal: Vec<Change>,
}

/// One overwritten key, and what stood there before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    key: Vec<u8>,
    before: Option<Vec<u8>>,
}

/// A place in the journal to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl<'a, 'txn> ViewWriter<'a, 'txn> {
    pub(crate) fn new(table: &'a mut BytesTable<'txn>) -> Self {
        Self { table, journal: Vec::new() }
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let before = self.table.insert(key, value)?.map(|before| before.value().to_vec());
        self.journal.push(Change { key: key.to_vec(), before });
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<()> {
        let before = self.table.remove(key)?.map(|before| before.value().to_vec());
        if before.is_some() {
            self.journal.push(Change { key: key.to_vec(), before });
        }
        Ok(())
    }

    /// The present place in the journal.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.journal.len())
    }

    /// Takes back every change since `mark`.
    pub(crate) fn revert_to(&mut self, mark: Mark) -> Result<()> {
        while self.journal.len() > mark.0 {
            let Some(change) = self.journal.pop() else { break };
            restore(self.table, &change)?;
        }
        Ok(())
    }

    /// The changes since the journal was last taken, as an undo record.
    pub(crate) fn take_undo(&mut self) -> Undo {
        Undo(std::mem::take(&mut self.journal))
    }

    /// Undoes what an encoded undo record holds.
    pub(crate) fn undo(&mut self, record: &[u8]) -> Result<()> {
        for change in Undo::decode(record)?.0.iter().rev() {
            restore(self.table, change)?;
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

/// What an applied entry overwrote.
///
/// Layout, change by change in the order they were made: the key behind its length (u32), a byte that is 1 if something
/// stood there before, and that behind its length.
pub(crate) struct Undo(Vec<Change>);

impl Undo {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for change in &self.0 {
            bytes.put_bytes(&change.key);
            match &change.before {
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
        let mut changes = Vec::new();
        while reader.remaining() > 0 {
            let key = reader.bytes(usize::MAX)?.to_vec();
            let before = match reader.u8()? {
                0 => None,
                1 => Some(reader.bytes(usize::MAX)?.to_vec()),
                _ => return Err(Malformed("undo record")),
            };
            changes.push(Change { key, before });
        }
        Ok(Self(changes))
    }
}

fn restore(table: &mut BytesTable<'_>, change: &Change) -> Result<()> {
    match &change.before {
        Some(before) => table.insert(&change.key[..], &before[..])?,
        None => table.remove(&change.key[..])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use redb::TableDefinition;

    use super::*;

    const TABLE: TableDefinition<'_, &'static [u8], &'static [u8]> = TableDefinition::new("t");

    fn contents(view: &ViewWriter<'_, '_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        view.range((Bound::Unbounded, Bound::Unbounded))
            .unwrap()
            .map(|item| item.unwrap())
            .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn undoing_restores_byte_for_byte(
            first in proptest::collection::vec((0_u8..8, proptest::option::of(0_u8..4)), 0..20),
            second in proptest::collection::vec((0_u8..8, proptest::option::of(0_u8..4)), 0..20),
        ) {
            let database = redb::Database::builder()
                .create_with_backend(redb::backends::InMemoryBackend::new())
                .unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(TABLE).unwrap();
            let mut view = ViewWriter::new(&mut table);
            let write = |view: &mut ViewWriter<'_, '_>, changes: &[(u8, Option<u8>)]| {
                for (key, value) in changes {
                    match value {
                        Some(value) => view.put(&[*key], &[*value]).unwrap(),
                        None => view.delete(&[*key]).unwrap(),
                    }
                }
            };
            write(&mut view, &first);
            let _ = view.take_undo();
            let before = contents(&view);
            write(&mut view, &second);
            let undo = view.take_undo().encode();
            let after = contents(&view);
            view.undo(&undo).unwrap();
            prop_assert_eq!(&contents(&view), &before);

            let mark = view.mark();
            write(&mut view, &second);
            prop_assert_eq!(&contents(&view), &after);
            view.revert_to(mark).unwrap();
            prop_assert_eq!(&contents(&view), &before);
        }
    }
}
