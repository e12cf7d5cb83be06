//! Counting keys for the planner.

use std::fmt;
use std::marker::PhantomData;

use db_index::{KeyCounts, KeyRange};

use super::Source;
use super::branch::bounds;
use crate::view::catalog::CollectionMeta;
use crate::view::keyspace;

/// Looks how many keys of a collection's documents and indexes there are in a range.
pub(super) struct Counts<'a, 's, S> {
    source: &'a S,
    meta: &'a CollectionMeta,
    lifetime: PhantomData<&'s ()>,
}

impl<'a, 's, S: Source<'s>> Counts<'a, 's, S> {
    pub(super) fn new(source: &'a S, meta: &'a CollectionMeta) -> Self {
        Self { source, meta, lifetime: PhantomData }
    }
}

impl<'s, S: Source<'s>> KeyCounts for Counts<'_, 's, S> {
    /// None if the storage fails too: the query that is planned will meet the failure and tell of it.
    fn count(&self, source: db_index::Source, range: &KeyRange, most: usize) -> Option<usize> {
        let prefix = match source {
            db_index::Source::Documents => keyspace::documents(self.meta.id),
            db_index::Source::Index(place) => keyspace::entries(self.meta.indexes.get(place)?.id),
        };
        let keys = self.source.keys(&bounds(&prefix, range)).ok()?;
        Some(keys.take(most).take_while(Result::is_ok).count())
    }
}

impl<S> fmt::Debug for Counts<'_, '_, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Counts")
    }
}
