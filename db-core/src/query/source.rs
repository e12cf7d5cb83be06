//! Where a query reads: a snapshot, which a cursor can own, or the view inside a write transaction.

use std::sync::Arc;

use crate::error::Result;
use crate::view::journal::ViewWriter;
use crate::view::keyspace::KeyBounds;
use crate::view::{KeyRange, ReadView, Stored, ViewSnapshot};

/// Reading access that hands out ranges which live as long as `'s`.
pub(crate) trait Source<'s> {
    /// The value under `key`.
    fn value(&self, key: &[u8]) -> Result<Option<Stored<'s>>>;

    /// The keys between the bounds with their values; ascending, or descending from the other end.
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
        ViewSnapshot::value(self, key)
    }

    fn keys(&self, bounds: &KeyBounds) -> Result<KeyRange<'static>> {
        ViewSnapshot::keys(self, bounds)
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
