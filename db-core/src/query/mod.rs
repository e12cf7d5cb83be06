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
pub(crate) mod stop;
pub(crate) mod witness;

use std::sync::Arc;

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, Filter, Output, Projection, QueryContext, QueryError, Sort, TextSettings};

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
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) projection: Option<Projection>,
    /// The projection as it was given.
    pub(crate) transform_by: Option<RawDocumentBuf>,
    /// The only fields that are looked at: an index that holds them may stand for the documents.
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) hint: Option<db_index::Hint>,
    pub(crate) skip: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) stop: Stop,
}

impl FindOptions {
    /// Compiles them for a collection; none: for one that does not exist.
    pub(crate) fn compile(&self, meta: Option<&CollectionMeta>) -> Result<Compiled> {
        let context = self.context.clone().with_text(meta.and_then(text_settings));
        let filter = Filter::parse_in(&self.filter, &context)?;
        let sort = self.sort.as_deref().map(Sort::parse).transpose()?.unwrap_or_default();
        let sort = sort.by(self.context.collation.as_ref());
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
        let hint = self.hint.as_ref().map(Hint::compile).transpose()?;
        let fields = projection.as_ref().and_then(Projection::fields);
        let limit = (self.limit > 0).then_some(self.limit);
        let (skip, stop) = (self.skip, self.stop.clone());
        let transform_by = self.projection.clone();
        Ok(Compiled { filter, sort, projection, transform_by, fields, hint, skip, limit, stop })
    }
}

/// `context` with the variables of `let` and a collation, where there are such.
pub(crate) fn surroundings(
    mut context: QueryContext,
    variables: Option<&RawDocument>,
    collation: Option<&RawDocument>,
) -> Result<QueryContext> {
    if let Some(collation) = collation {
        context = context.with_collation(collation)?;
    }
    if let Some(variables) = variables {
        context = context.with_variables(variables)?;
    }
    Ok(context)
}

impl Hint {
    /// The hint as the planner takes it.
    pub(crate) fn compile(&self) -> Result<db_index::Hint> {
        match self {
            Self::Name(name) => Ok(db_index::Hint::Name(name.clone())),
            Self::Keys(keys) => {
                let keys = crate::collection::ToRawDocument::to_raw_document(keys)?;
                Ok(db_index::Hint::parse(RawBsonRef::Document(&keys))?)
            }
        }
    }
}

impl Compiled {
    /// What is wanted of the documents.
    fn output<T>(&self, ask: impl FnOnce(Output<'_>) -> T) -> T {
        let Some(fields) = &self.fields else { return ask(Output::Documents) };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        ask(Output::Fields(&fields))
    }

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
    Execution::counting(view, meta, options.compile(Some(meta))?)?.count_all()
}
