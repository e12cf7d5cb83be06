//! Running queries: the plan's key ranges of the view, the filter on raw bytes, sort, skip, limit, projection.

mod branch;
mod counts;
mod execute;
mod explain;
mod near;
mod progress;
mod reading;
mod seen;
mod source;
mod stop;

use std::sync::Arc;

use bson::{RawBsonRef, RawDocumentBuf};
use db_index::{ErrorCode, Filter, Projection, QueryContext, QueryError, Sort, TextSettings};

pub(crate) use execute::Execution;
pub(crate) use explain::{Explanation, Purpose, explain};
pub(crate) use source::Source;
pub(crate) use stop::Stop;

use crate::error::Result;
use crate::view::ViewSnapshot;
use crate::view::catalog::CollectionMeta;
use crate::view::documents::id_key;
use crate::view::keyspace;

/// What a find asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct FindOptions {
    pub(crate) filter: RawDocumentBuf,
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) skip: u64,
    /// 0 for no limit.
    pub(crate) limit: u64,
    pub(crate) projection: Option<RawDocumentBuf>,
    pub(crate) hint: Option<Hint>,
    pub(crate) stop: Stop,
    /// The moment, the variables and the chance that filter and projection may look at.
    pub(crate) context: QueryContext,
}

/// Which index a find must use.
#[derive(Debug, Clone, PartialEq)]
pub enum Hint {
    /// The index with this name; `_id_` is the one on `_id`.
    Name(String),
    /// The index with these keys; `{$natural: 1}` is a scan of the collection, `-1` a scan backwards.
    Keys(bson::Document),
}

/// The parts of a find, compiled.
pub(crate) struct Compiled {
    filter: Filter,
    sort: Sort,
    projection: Option<Projection>,
    hint: Option<db_index::Hint>,
    skip: u64,
    limit: Option<u64>,
    stop: Stop,
}

impl FindOptions {
    /// Compiles them for a collection; none: for one that does not exist.
    fn compile(&self, meta: Option<&CollectionMeta>) -> Result<Compiled> {
        let context = self.context.clone().with_text(meta.and_then(text_settings));
        let filter = Filter::parse_in(&self.filter, &context)?;
        let sort = self.sort.as_deref().map(Sort::parse).transpose()?.unwrap_or_default();
        let projection = self
            .projection
            .as_deref()
            .map(|document| Projection::parse_in(document, Some(&filter), &self.context));
        let projection = projection.transpose()?.filter(|projection| !projection.is_empty());
        let uses_text_score =
            sort.uses_text_score() || projection.as_ref().is_some_and(Projection::uses_text_score);
        if uses_text_score && !filter.has_text() {
            let message = "query requires text score metadata, but it is not available";
            return Err(QueryError::new(ErrorCode::META_NOT_AVAILABLE, message).into());
        }
        let hint = match &self.hint {
            None => None,
            Some(Hint::Name(name)) => Some(db_index::Hint::Name(name.clone())),
            Some(Hint::Keys(keys)) => {
                let keys = crate::collection::ToRawDocument::to_raw_document(keys)?;
                Some(db_index::Hint::parse(RawBsonRef::Document(&keys))?)
            }
        };
        let limit = (self.limit > 0).then_some(self.limit);
        Ok(Compiled { filter, sort, projection, hint, skip: self.skip, limit, stop: self.stop.clone() })
    }
}

impl Compiled {
    /// The key of the one document that can match, if the filter fixes `_id` and nothing insists on another way.
    fn only_key(&self, meta: &CollectionMeta) -> Option<Vec<u8>> {
        let insists = self.hint.is_some() || self.filter.nearness().is_some();
        let id = self.filter.id_equality().filter(|_| !insists)?;
        // Of null and undefined several stored values are equals.
        let is_one = !matches!(id, RawBsonRef::Null | RawBsonRef::Undefined);
        is_one.then(|| keyspace::document(meta.id, &id_key(id)))
    }
}

/// What `$text` looks at in a collection, if it has a text index.
pub(crate) fn text_settings(meta: &CollectionMeta) -> Option<Arc<TextSettings>> {
    meta.indexes.iter().find_map(|index| index.definition.text().cloned())
}

/// Whether the options are in order, for a collection that does not exist.
pub(crate) fn check(options: &FindOptions) -> Result<()> {
    options.compile(None).map(|_| ())
}

/// How many documents a find gives, read from an index alone where that is possible.
pub(crate) fn count(view: ViewSnapshot, meta: &Arc<CollectionMeta>, options: &FindOptions) -> Result<u64> {
    Execution::counting(view, meta, options)?.count_all()
}
