//! What a case is run against, and the calls that cases make of it.

use bson::{Bson, RawArrayBuf, RawBson, RawDocumentBuf};

use crate::answer::Answer;

/// A database on which cases are run.
pub(crate) trait Target {
    /// Drops a collection; none of that name is an error with MongoDB's code 26.
    fn drop_collection(&self, collection: &str) -> Answer<()>;

    /// Inserts documents and gives their number.
    fn insert(&self, collection: &str, documents: Vec<RawDocumentBuf>, ordered: bool) -> Answer<usize>;

    /// The documents that match.
    fn find(&self, collection: &str, query: Query) -> Answer<Vec<RawDocumentBuf>>;

    /// The first document that matches.
    fn find_one(&self, collection: &str, query: Query) -> Answer<Option<RawDocumentBuf>>;

    /// How many documents match.
    fn count(&self, collection: &str, query: Query) -> Answer<u64>;

    /// The distinct values of a field among the documents that match.
    fn distinct(&self, collection: &str, field: &str, query: Query) -> Answer<Vec<Bson>>;

    /// What a pipeline makes of a collection's documents or, where `on_database`, of nothing.
    fn aggregate(
        &self,
        collection: &str,
        on_database: bool,
        pipeline: Vec<RawDocumentBuf>,
        shared: Shared,
    ) -> Answer<Vec<RawDocumentBuf>>;

    /// Updates or replaces.
    fn update(&self, collection: &str, write: Write) -> Answer<Updated>;

    /// Deletes and gives the number of documents that are gone.
    fn delete(&self, collection: &str, write: Write) -> Answer<u64>;

    /// Changes one document and gives it.
    fn find_and_modify(&self, collection: &str, write: Write, given: Given)
    -> Answer<Option<RawDocumentBuf>>;

    /// Writes several times.
    fn bulk(&self, collection: &str, writes: Vec<Write>, ordered: bool) -> Answer<BulkCounts>;

    /// Creates an index and gives its name.
    fn create_index(&self, collection: &str, index: Index) -> Answer<String>;

    /// Drops the index with this name or these keys; `*` drops all.
    fn drop_index(&self, collection: &str, index: IndexName) -> Answer<()>;
}

/// A read.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) filter: RawDocumentBuf,
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) skip: u64,
    pub(crate) limit: u64,
    pub(crate) projection: Option<RawDocumentBuf>,
    pub(crate) shared: Shared,
}

/// What any call may say.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) hint: Option<IndexName>,
    pub(crate) variables: Option<RawDocumentBuf>,
    pub(crate) collation: Option<RawDocumentBuf>,
}

/// An index by its name or its keys.
#[derive(Debug)]
pub(crate) enum IndexName {
    Name(String),
    Keys(bson::Document),
}

/// A new index.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) keys: bson::Document,
    pub(crate) options: bson::Document,
}

/// A write.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) filter: RawDocumentBuf,
    pub(crate) action: Action,
    pub(crate) upsert: bool,
    pub(crate) array_filters: Vec<RawDocumentBuf>,
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) shared: Shared,
}

/// What a write does.
#[derive(Debug)]
pub(crate) enum Action {
    /// Only in a bulk.
    Insert(RawDocumentBuf),
    Update {
        update: Modification,
        many: bool,
    },
    Replace(RawDocumentBuf),
    Delete {
        many: bool,
    },
}

/// An update by operators or by a pipeline.
#[derive(Debug)]
pub(crate) enum Modification {
    Operators(RawDocumentBuf),
    Pipeline(Vec<RawDocumentBuf>),
}

/// What a find-and-modify gives.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) after: bool,
    pub(crate) projection: Option<RawDocumentBuf>,
}

/// What an update did.
#[derive(Debug)]
pub(crate) struct Updated {
    pub(crate) matched: u64,
    pub(crate) modified: u64,
    pub(crate) upserted_id: Option<Bson>,
}

/// What a bulk did.
#[derive(Debug)]
pub(crate) struct BulkCounts {
    pub(crate) inserted: u64,
    pub(crate) matched: u64,
    pub(crate) modified: u64,
    pub(crate) deleted: u64,
    pub(crate) upserted: usize,
}

impl db_core::ToUpdate for Modification {
    fn to_update(self) -> db_core::Result<RawBson> {
        Ok(match self {
            Self::Operators(update) => RawBson::Document(update),
            Self::Pipeline(stages) => {
                let mut pipeline = RawArrayBuf::new();
                for stage in stages {
                    pipeline.push(stage);
                }
                RawBson::Array(pipeline)
            }
        })
    }
}
