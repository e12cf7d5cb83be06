//! Aggregations: pipelines over one snapshot, whose results may be written back.

mod around;
mod awaited;
mod write;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bson::{Document, RawArrayBuf, doc};
use db_index::{Collation, ErrorCode, Pipeline, PipelineSettings, QueryError};

use self::around::Snapshot;
use super::documents::{ToRawDocument, checked_pipeline};
use super::reading::{ReadConcern, ReadOptions, takes_read_options};
use super::{Collection, Cursor, RawCursor, Within};
use crate::database::Database;
use crate::error::Result;
use crate::past::Past;
use crate::query::witness::Aspect;
use crate::query::{self, Compiled, Explanation, Hint, Purpose, Stop};
use crate::transaction::{self, Transaction};

/// MongoDB's code for what a transaction cannot do.
const NOT_SUPPORTED_IN_TRANSACTION: ErrorCode = ErrorCode(263);
/// MongoDB's code for a name that a command cannot be run on.
const INVALID_NAMESPACE: ErrorCode = ErrorCode(73);

impl<T> Collection<T> {
    /// The documents of this collection as the stages of `pipeline` make them over.
    ///
    /// What a pipeline begins with is read by an index where one serves: `$match`, `$sort`, `$skip` and `$limit`.
    pub fn aggregate<D: ToRawDocument>(&self, pipeline: impl IntoIterator<Item = D>) -> Aggregate<Document> {
        Aggregate {
            database: self.database.clone(),
            within: self.within.clone(),
            collection: self.name.clone(),
            pipeline: checked_pipeline(pipeline),
            options: ReadOptions::default(),
            documents: PhantomData,
        }
    }
}

impl Database {
    /// The documents that `pipeline` makes out of itself: it begins with `$documents`.
    pub fn aggregate<D: ToRawDocument>(&self, pipeline: impl IntoIterator<Item = D>) -> Aggregate<Document> {
        Aggregate {
            database: self.clone(),
            within: Within::Present,
            collection: String::new(),
            pipeline: checked_pipeline(pipeline),
            options: ReadOptions::default(),
            documents: PhantomData,
        }
    }
}

/// An aggregation that does nothing until it is awaited, or run with [`Aggregate::run`].
///
/// Awaited, one that ends in `$out` or `$merge` does its work on a thread of its own and is done when its results are written;
/// dropped before that it stops: what `$merge` has written stays, `$out` leaves what was there. One that only reads gives its
/// cursor at once, and what the cursor has to read and compute is done in the thread that asks it for documents, as with a find.
///
/// ```
/// use bson::doc;
///
/// let store = db_core::Store::in_memory()?;
/// let films = store.create_database("demo")?.collection("films");
/// films.insert_many([doc! { "year": 1979, "stock": 3 }, doc! { "year": 1979, "stock": 4 }]).run()?;
/// let years = [doc! { "$group": { "_id": "$year", "stock": { "$sum": "$stock" } } }];
/// let year = films.aggregate(years).run()?.next().transpose()?;
/// assert_eq!(year, Some(doc! { "_id": 1979, "stock": 7 }));
/// # Ok::<(), db_core::Error>(())
/// ```
#[must_use = "an aggregation does nothing until it is awaited or run"]
pub struct Aggregate<T> {
    database: Database,
    within: Within,
    /// Empty for an aggregation of the database.
    collection: String,
    pipeline: Result<RawArrayBuf>,
    options: ReadOptions,
    documents: PhantomData<fn() -> T>,
}

takes_read_options!(Aggregate, options);

impl<T> Aggregate<T> {
    /// The same over collections as they were.
    pub(crate) fn in_past(self, past: Past) -> Self {
        Self { within: Within::Past(past), ..self }
    }

    /// The same with results of another type.
    pub fn with_type<U>(self) -> Aggregate<U> {
        let Self { database, within, collection, pipeline, options, .. } = self;
        Aggregate { database, within, collection, pipeline, options, documents: PhantomData }
    }

    /// Runs the aggregation. One that ends in `$out` or `$merge` is run to its end: when this returns, its results are
    /// written, and the cursor is empty.
    ///
    /// # Errors
    /// MongoDB's codes for stages, expressions and options that are wrong; 292 and 146 beyond the bounds on memory; those of
    /// writing for `$out` and `$merge`; if the storage fails.
    ///
    /// # Panics
    /// One that ends in `$out` or `$merge`, within async code: await the aggregation there.
    pub fn run(self) -> Result<Cursor<T>> {
        Ok(self.run_raw()?.with_type())
    }

    /// Runs the aggregation; its documents come as raw BSON.
    ///
    /// # Errors
    /// As for [`Aggregate::run`].
    ///
    /// # Panics
    /// As [`Aggregate::run`].
    pub fn run_raw(self) -> Result<RawCursor> {
        self.begin()?.run()
    }

    /// How the aggregation is run, in the shape of MongoDB's `explain` with `executionStats`: the find with which it begins
    /// is run to its end. Nothing is written.
    ///
    /// # Errors
    /// As for [`Aggregate::run`].
    pub fn explain(self) -> Result<Document> {
        self.explained(true)
    }

    /// How the aggregation would be run, without running it.
    ///
    /// # Errors
    /// As for [`Aggregate::run`].
    pub fn explain_plan(self) -> Result<Document> {
        self.explained(false)
    }

    fn explained(self, executes: bool) -> Result<Document> {
        let begun = self.begin()?;
        let mut stages = Vec::new();
        if let Some(leading) = begun.leading()? {
            let collection = collection(&begun.database, &begun.collection, &begun.within);
            let opened = collection.open_at(begun.concern, &begun.stop)?;
            let explanation = Explanation { purpose: Purpose::Find, executes };
            let find = query::explain(&collection.namespace(), opened, &leading, explanation)?;
            if begun.pipeline.stage_names().is_empty() && begun.pipeline.target().is_none() {
                return Ok(find);
            }
            stages.push(doc! { "$cursor": find });
        }
        stages.extend(begun.pipeline.stage_names().into_iter().map(|name| doc! { name: {} }));
        stages.extend(begun.pipeline.target().map(|target| doc! { write::name(target): {} }));
        Ok(doc! { "stages": stages })
    }

    /// Compiles the pipeline; the time that it may take begins.
    fn begin(self) -> Result<Begun> {
        let stop = self.options.stop();
        let within = self.within.at(&self.database, self.options.position(), &stop)?;
        let opened = match self.collection.as_str() {
            "" => None,
            name => collection(&self.database, name, &within).open_at(self.options.concern(), &stop)?,
        };
        let meta = opened.as_ref().map(|(_, meta)| &**meta);
        let collation = meta.and_then(|meta| meta.options.collation.as_deref());
        let context = self.options.context(collation)?.with_text(meta.and_then(query::text_settings));
        let collation = context.collation.clone();
        let settings = PipelineSettings { collection: self.collection.clone(), context };
        let pipeline = Pipeline::parse(&self.pipeline?, &settings)?;
        if self.collection.is_empty() && pipeline.reads_collection() {
            let message = "an aggregation of the database begins with $documents; others need a collection";
            return Err(QueryError::new(INVALID_NAMESPACE, message).into());
        }
        Ok(Begun {
            database: self.database,
            within,
            collection: self.collection,
            pipeline,
            collation,
            concern: self.options.concern(),
            stop,
            hint: self.options.index().cloned(),
        })
    }
}

fn collection(database: &Database, name: &str, within: &Within) -> Collection<Document> {
    Collection { within: within.clone(), ..database.collection(name) }
}

/// An aggregation about to run.
struct Begun {
    database: Database,
    within: Within,
    collection: String,
    pipeline: Pipeline,
    collation: Option<Collation>,
    concern: ReadConcern,
    stop: Stop,
    hint: Option<Hint>,
}

impl Begun {
    fn run(&self) -> Result<RawCursor> {
        let (database, collation) = (self.database.clone(), self.collation.clone());
        let around =
            Snapshot::new(database, self.within.clone(), self.concern, self.stop.clone(), collation)?;
        let around = Arc::new(around);
        if let Some(transaction) = self.within.transaction() {
            return self.run_within(transaction, &around).inspect_err(|_| transaction.abort());
        }
        if let Some(target) = self.pipeline.target() {
            self.within.refuse_past(&format!("written by {}", write::name(target)))?;
            write::check(target, &self.database, &around)?;
        }
        let input = match self.leading()? {
            Some(leading) => around.documents(&self.collection, leading)?,
            None => Box::new(std::iter::empty()),
        };
        let results = self.pipeline.run(input, &around);
        Ok(match self.pipeline.target() {
            None => RawCursor::new(results),
            Some(target) => {
                let mut stop = self.stop.clone();
                let results = Box::new(results.map(move |document| stop.step().and(document)));
                write::write(target, &self.database, &around, results)?;
                RawCursor::new(std::iter::empty())
            }
        })
    }

    /// Runs it to its end: what it reads is noted in the order of the transaction's steps.
    fn run_within(&self, transaction: &Transaction, around: &Arc<Snapshot>) -> Result<RawCursor> {
        if let Some(target) = self.pipeline.target() {
            let message = format!("{} cannot be used in a transaction", write::name(target));
            return Err(QueryError::new(NOT_SUPPORTED_IN_TRANSACTION, message).into());
        }
        let input = match self.leading()? {
            Some(leading) => {
                transaction.note_filter(&self.collection, &leading.filter, Aspect::Documents)?;
                around.documents(&self.collection, leading)?
            }
            None => Box::new(std::iter::empty()),
        };
        let results = transaction::at_hand(self.pipeline.run(input, around))?;
        Ok(RawCursor::new(results.into_iter().map(Ok)))
    }

    /// The find with which the pipeline begins, if it reads the collection.
    fn leading(&self) -> Result<Option<Compiled>> {
        if !self.pipeline.reads_collection() {
            return Ok(None);
        }
        let leading = self.pipeline.leading();
        Ok(Some(Compiled {
            filter: leading.filter.clone(),
            sort: leading.sort.clone(),
            projection: None,
            transform_by: None,
            fields: leading.fields.clone(),
            hint: self.hint.as_ref().map(Hint::compile).transpose()?,
            skip: leading.skip,
            limit: leading.limit,
            stop: self.stop.clone(),
        }))
    }
}
