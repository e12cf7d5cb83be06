//! What is counted of a collection: its documents and the entries of its indexes, and their bytes. Kept with every write and
//! undone with it, so that it is as true as the view itself; the planner and `$collStats` need not look at what it counts.
//!
//! ```text
//! u64 documents, u64 bytes of them
//! then for every index that has had an entry, by ascending id:
//! u32 index id, u64 entries, u64 bytes of their keys and values
//! ```

use std::collections::BTreeMap;

use super::journal::ViewWriter;
use super::{ReadView, keyspace};
use crate::bytes::{Malformed, Put, Reader};
use crate::error::{Error, Result};

/// How many there are of something, and how many bytes they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// What is counted of one collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Statistics {
    pub(crate) documents: Size,
    indexes: BTreeMap<u32, Size>,
}

/// What a write adds to the statistics and takes from them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    pub(crate) documents: Change,
    /// By position of the index.
    pub(crate) indexes: Vec<Change>,
}

/// How much more there is of something, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Change {
    count: i64,
    bytes: i64,
}

impl Difference {
    /// None yet, of a collection with so many indexes.
    pub(crate) fn of_indexes(count: usize) -> Self {
        Self { documents: Change::default(), indexes: vec![Change::default(); count] }
    }
}

impl Change {
    /// So many more, of so many bytes together.
    pub(crate) fn add(&mut self, count: usize, bytes: usize) {
        self.count = self.count.saturating_add_unsigned(count as u64);
        self.bytes = self.bytes.saturating_add_unsigned(bytes as u64);
    }

    /// So many less, of so many bytes together.
    pub(crate) fn remove(&mut self, count: usize, bytes: usize) {
        self.count = self.count.saturating_sub_unsigned(count as u64);
        self.bytes = self.bytes.saturating_sub_unsigned(bytes as u64);
    }
}

impl Size {
    fn change(&mut self, change: Change) {
        self.count = self.count.saturating_add_signed(change.count);
        self.bytes = self.bytes.saturating_add_signed(change.bytes);
    }

    /// The mean of their bytes.
    pub(crate) fn mean_bytes(self) -> u64 {
        self.bytes.checked_div(self.count).unwrap_or_default()
    }
}

impl Statistics {
    /// What is counted of the collection with this id.
    pub(crate) fn of(view: &impl ReadView, collection_id: u32) -> Result<Self> {
        let stored = view.get(&keyspace::statistics(collection_id))?;
        stored.map_or_else(|| Ok(Self::default()), |stored| Self::decode(stored.value()))
    }

    /// What is counted of the index with this id.
    pub(crate) fn index(&self, index_id: u32) -> Size {
        self.indexes.get(&index_id).copied().unwrap_or_default()
    }

    /// Counts the entries of an index that has been built.
    pub(crate) fn set_index(&mut self, index_id: u32, size: Size) {
        self.indexes.insert(index_id, size);
    }

    /// Forgets an index.
    pub(crate) fn remove_index(&mut self, index_id: u32) {
        self.indexes.remove(&index_id);
    }

    /// Keeps them for the collection with this id.
    pub(crate) fn store(&self, view: &mut ViewWriter<'_, '_>, collection_id: u32) -> Result<()> {
        view.put(&keyspace::statistics(collection_id), &self.encode())
    }

    /// Adds what a write to the collection with this id, and indexes of these ids, has changed.
    pub(crate) fn change(
        view: &mut ViewWriter<'_, '_>,
        collection_id: u32,
        difference: &Difference,
        index_ids: impl Iterator<Item = u32>,
    ) -> Result<()> {
        let is_change = |change: &Change| *change != Change::default();
        if !is_change(&difference.documents) && !difference.indexes.iter().any(is_change) {
            return Ok(());
        }
        let mut statistics = Self::of(view, collection_id)?;
        statistics.add(difference, index_ids);
        statistics.store(view, collection_id)
    }

    /// Adds what has changed; of indexes, by their ids.
    pub(crate) fn add(&mut self, difference: &Difference, index_ids: impl Iterator<Item = u32>) {
        self.documents.change(difference.documents);
        let changes = index_ids.zip(&difference.indexes);
        for (id, change) in changes.filter(|(_, change)| **change != Change::default()) {
            self.indexes.entry(id).or_default().change(*change);
        }
    }

    /// As the view holds them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 20 * self.indexes.len());
        bytes.put_u64(self.documents.count);
        bytes.put_u64(self.documents.bytes);
        for (id, size) in &self.indexes {
            bytes.put_u32(*id);
            bytes.put_u64(size.count);
            bytes.put_u64(size.bytes);
        }
        bytes
    }

    /// Reads what is kept of a collection.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(|_| Error::data("the statistics of a collection are damaged"))
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let documents = Size { count: reader.u64()?, bytes: reader.u64()? };
        let mut indexes = BTreeMap::new();
        while reader.remaining() > 0 {
            indexes.insert(reader.u32()?, Size { count: reader.u64()?, bytes: reader.u64()? });
        }
        Ok(Self { documents, indexes })
    }
}
