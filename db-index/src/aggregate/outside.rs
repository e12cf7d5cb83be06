//! What a pipeline asks of the world while it runs.

use std::sync::Arc;

use bson::RawBson;
use bson::raw::RawDocumentBuf;

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::expression::Value;
use crate::filter::Filter;
use crate::sort::Sort;

/// Documents that come one after the other, until the first error.
pub type Rows<E> = Box<dyn Iterator<Item = Result<RawDocumentBuf, E>> + Send>;

/// A find that a pipeline wants done.
#[derive(Debug, Clone)]
pub struct PipelineFind {
    /// Where.
    pub collection: String,
    /// Which documents.
    pub filter: Filter,
    /// In which order; empty for any.
    pub sort: Sort,
    /// How many to leave out at the beginning.
    pub skip: u64,
    /// How many at most, after those left out.
    pub limit: Option<u64>,
    /// The top-level fields that are looked at; documents may come with these alone. `None` for all.
    pub fields: Option<Vec<String>>,
}

/// What `$collStats` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // four parts of an answer, each asked for or not
pub struct CollectionStatistics {
    /// `latencyStats`.
    pub latency: bool,
    /// `storageStats`.
    pub storage: bool,
    /// `count`.
    pub count: bool,
    /// `queryExecStats`.
    pub query: bool,
}

/// The database around a pipeline: one consistent state of it, for the whole run.
pub trait Outside: Send + Sync + 'static {
    /// What reading fails with.
    type Error: From<QueryError> + Send + 'static;

    /// The documents of a find. A collection that does not exist is empty.
    ///
    /// # Errors
    /// If the find cannot be begun.
    fn find(&self, find: PipelineFind) -> Result<Rows<Self::Error>, Self::Error>;

    /// Whether an index of `collection` finds the documents in which `field` equals a value. If not, a `$lookup` may read the
    /// collection once instead of searching it for every document.
    ///
    /// # Errors
    /// If reading fails.
    fn serves_equality(&self, collection: &str, field: &str) -> Result<bool, Self::Error>;

    /// The field of the one index of locations that `collection` has, in which `$geoNear` looks if it names no field; none if
    /// there is no such index, or more than one.
    ///
    /// # Errors
    /// If reading fails.
    fn location_field(&self, collection: &str) -> Result<Option<String>, Self::Error>;

    /// The one document that `$collStats` gives for `collection`.
    ///
    /// # Errors
    /// `NamespaceNotFound` (26) for a collection that does not exist; if reading fails.
    fn collection_statistics(
        &self,
        collection: &str,
        wanted: CollectionStatistics,
    ) -> Result<RawDocumentBuf, Self::Error>;

    /// The documents that `$indexStats` gives for `collection`, one for each index.
    ///
    /// # Errors
    /// If reading fails.
    fn index_statistics(&self, collection: &str) -> Result<Vec<RawDocumentBuf>, Self::Error>;
}

/// The variables of `$lookup`s around a pipeline, in the order in which the parser knew their names; some may have no value.
/// (Those of the command are part of its [`QueryContext`].)
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(Arc<[(Box<str>, Option<RawBson>)]>);

impl Variables {
    /// These and others.
    pub(super) fn and(&self, more: impl Iterator<Item = (Box<str>, Option<RawBson>)>) -> Self {
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// The variables as expressions take them.
    pub(super) fn values(&self) -> Vec<Value<'_>> {
        self.0
            .iter()
            .map(|(_, known)| match known {
                Some(value) => Value::Raw(value.as_raw_bson_ref()),
                None => Value::Missing,
            })
            .collect()
    }

    /// `context` with these variables. One without a value is undefined, which expressions take for missing.
    pub(super) fn within(&self, context: &QueryContext) -> QueryContext {
        let mut context = context.clone();
        for (name, value) in self.0.iter() {
            context.variables.retain(|(known, _)| **known != **name);
            context.variables.push((name.to_string(), value.clone().unwrap_or(RawBson::Undefined)));
        }
        context
    }
}

/// What a stage knows while it runs.
pub(super) struct Context<O> {
    pub(super) outside: Arc<O>,
    /// The collection that the pipeline runs on.
    pub(super) collection: Arc<str>,
    pub(super) variables: Variables,
    pub(super) query: QueryContext,
}
