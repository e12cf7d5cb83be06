//! The view: the ordered keyspace that applying the order builds. Catalog, documents and index entries are key prefixes
//! of one redb table.

pub(crate) mod catalog;
pub(crate) mod digest;
pub(crate) mod documents;
pub(crate) mod journal;
pub(crate) mod keyspace;
pub(crate) mod members;
pub(crate) mod shared_catalog;
pub(crate) mod work;

use std::ops::Bound;

use redb::{AccessGuard, Range, ReadableTable};

use crate::error::Result;

/// A table of bytes to bytes inside a write transaction.
pub(crate) type BytesTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;
/// The view as a snapshot saw it.
pub(crate) type ViewSnapshot = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;
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

impl ReadView for ViewSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        Ok(ReadableTable::get(self, key)?)
    }

    fn range(
        &self,
        (low, high): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Result<Range<'_, &'static [u8], &'static [u8]>> {
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        Ok(ReadableTable::range::<&[u8]>(self, bounds)?)
    }
}
