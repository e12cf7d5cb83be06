//! Executing a find, document by document.

use bson::{RawDocument, RawDocumentBuf};
use db_index::Filter;

use super::source::KeyRange;
use super::{FindOptions, Source};
use crate::error::{Error, Result};
use crate::view::catalog::CollectionMeta;
use crate::view::documents::id_key;
use crate::view::keyspace;

/// A find being executed; an iterator over its documents.
pub(crate) struct Execution<'s, S> {
    source: S,
    filter: Filter,
    current: Option<KeyRange<'s>>,
    skip: u64,
    limit: Option<u64>,
}

impl<'s, S: Source<'s>> Execution<'s, S> {
    pub(crate) fn new(source: S, meta: &CollectionMeta, options: &FindOptions) -> Result<Self> {
        let filter = Filter::parse(&options.filter)?;
        let bounds = match filter.id_equality() {
            Some(id) => keyspace::prefix_bounds(&keyspace::document(meta.id, &id_key(id))),
            None => keyspace::prefix_bounds(&keyspace::documents(meta.id)),
        };
        let current = Some(source.keys(&bounds)?);
        let limit = (options.limit > 0).then_some(options.limit);
        Ok(Self { source, filter, current, skip: options.skip, limit })
    }

    fn advance(&mut self) -> Result<Option<RawDocumentBuf>> {
        let Some(range) = &mut self.current else { return Ok(None) };
        if self.limit == Some(0) {
            return Ok(None);
        }
        for item in range {
            let (_, value) = item?;
            let document =
                RawDocument::from_bytes(value.value()).map_err(|_| Error::data("damaged document"))?;
            if !self.filter.matches(document) {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if let Some(limit) = &mut self.limit {
                *limit -= 1;
            }
            return Ok(Some(document.to_owned()));
        }
        Ok(None)
    }
}

impl<'s, S: Source<'s>> Iterator for Execution<'s, S> {
    type Item = Result<RawDocumentBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
