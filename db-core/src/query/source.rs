//! Where a query reads: a snapshot, which a cursor can own, or the view inside a write transaction.

use std::sync::Arc;

use redb::Range;

use crate::error::Result;
use crate::view::journal::ViewWriter;
use crate::view::keyspace::KeyBounds;
use crate::view::{ReadView, Stored, ViewSnapshot};

/// A range of keys being read.
pub(crate) type KeyRange<'s> = Range<'s, &'static [u8], &'static [u8]>;

/// Reading access that hands out ranges which live as long as `'s`.
pub(crate) trait Source<'s> {
    /// The value under `key`.
    fn value(&self, key: &[u8]) -> Result<Option<Stored<'s>>>;

    /// The keys between the bounds with their values; iterates from both ends.
    fn keys(&self, bounds: &KeyBounds) -> Result<KeyRange<'s>>;
}

impl<'s> Source<'s> for &'s ViewWriter<'_, '_> {
    fn value(&self, key: &[u8]) -> Result<Option<Stored<'s>>> {
        self.get(key)
    }

    fn keys(&self, bounds: &KeyBounds) -> Result<KeyRange<'s>> {
        self.range(bounds.clone())
    }
}

impl Source<'static> for ViewSnapshot {
    fn value(&self, key: &[u8]) -> Result<Option<Stored<'static>>> {
        Ok(self.table().get(key)?)
    }

    fn keys(&self, (low, high): &KeyBounds) -> Result<KeyRange<'static>> {
        Ok(self
            .table()
            .range::<&[u8]>((low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice)))?)
    }
}

/// A snapshot that several queries read: the finds of one pipeline.
impl Source<'static> for Arc<ViewSnapshot> {
    fn value(&self, key: &[u8]) -> Result<Option<Stored<'static>>> {
        ViewSnapshot::value(self, key)
    }

    fn keys(&self, bounds: &KeyBounds) -> Result<KeyRange<'static>> {
        ViewSnapshot::keys(self, bounds)
    }
}
