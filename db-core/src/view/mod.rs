//! The view: the ordered keyspace that applying the order builds. Catalog, documents and index entries are key prefixes
//! of one redb table.

pub(crate) mod catalog;
pub(crate) mod digest;
pub(crate) mod documents;
pub(crate) mod journal;
pub(crate) mod keyspace;
pub(crate) mod members;
pub(crate) mod shared_catalog;
pub(crate) mod statistics;
pub(crate) mod work;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{AccessGuard, Range, ReadableTable};

use crate::error::Result;
use catalog::CollectionMeta;
use shared_catalog::SharedCatalog;

/// A table of bytes to bytes inside a write transaction.
pub(crate) type BytesTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;
/// A stored value, borrowed from the page it lies on.
pub(crate) type Stored<'a> = AccessGuard<'a, &'static [u8]>;

/// Reading access to the view, the same for a snapshot and for the transaction that changes it.
pub(crate) trait ReadView {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>>;

    /// The keys between the bounds with their values, ascending; iterates from both ends.
    fn range(
        &self,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<Range<'_, &'static [u8], &'static [u8]>>;
}

/// The view as a snapshot saw it. Clones share the snapshot, and what was read of its catalog.
#[derive(Clone)]
pub(crate) struct ViewSnapshot(Arc<Snapshot>);

struct Snapshot {
    table: redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    catalog: Mutex<BTreeMap<String, Arc<CollectionMeta>>>,
}

impl ViewSnapshot {
    pub(crate) fn new(table: redb::ReadOnlyTable<&'static [u8], &'static [u8]>) -> Self {
        Self(Arc::new(Snapshot { table, catalog: Mutex::default() }))
    }

    /// The table, whose values live as long as they are held.
    pub(crate) fn table(&self) -> &redb::ReadOnlyTable<&'static [u8], &'static [u8]> {
        &self.0.table
    }

    /// The collection called `name`, if it exists, from what `shared` knows of earlier snapshots.
    pub(crate) fn collection(
        &self,
        name: &str,
        shared: &SharedCatalog,
    ) -> Result<Option<Arc<CollectionMeta>>> {
        let known = |catalog: &BTreeMap<_, _>| catalog.get(name).map(Arc::clone);
        if let Some(meta) = known(&self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(meta));
        }
        let meta = shared.collection(self, name)?;
        if let Some(meta) = &meta {
            let mut catalog = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner);
            catalog.insert(name.to_owned(), Arc::clone(meta));
        }
        Ok(meta)
    }
}

impl ReadView for ViewSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        Ok(ReadableTable::get(&self.0.table, key)?)
    }

    fn range(
        &self,
        (low, high): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<Range<'_, &'static [u8], &'static [u8]>> {
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        Ok(ReadableTable::range::<&[u8]>(&self.0.table, bounds)?)
    }
}
