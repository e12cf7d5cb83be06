//! Reading: find, count, distinct, explain. All of it runs on one snapshot in the caller's thread.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf};
use db_index::{Chance, QueryContext};
use serde::de::DeserializeOwned;

use super::Collection;
use super::documents::{ToRawDocument, checked, not_bson};
use super::reading::{ReadConcern, ReadOptions, takes_read_options};
use crate::error::{Error, Result};
use crate::query::witness::Aspect;
use crate::query::{self, Execution, Explanation, FindOptions, Hint, Purpose};
use crate::view::ViewSnapshot;
use crate::view::catalog::CollectionMeta;
use crate::watch::LiveQuery;

impl<T> Collection<T> {
    /// The documents that match; run it to get a cursor.
    pub fn find(&self, filter: impl ToRawDocument) -> Find<T> {
        Find { collection: self.clone(), asked: asked(filter), options: ReadOptions::default() }
    }

    /// The first document that matches.
    pub fn find_one(&self, filter: impl ToRawDocument) -> FindOne<T> {
        FindOne(self.find(filter).limit(1))
    }

    /// How many documents match.
    pub fn count_documents(&self, filter: impl ToRawDocument) -> Count<T> {
        Count(self.find(filter))
    }

    /// The distinct values of a field among the documents that match.
    pub fn distinct(&self, field: impl Into<String>, filter: impl ToRawDocument) -> Distinct<T> {
        Distinct { find: self.find(filter), field: field.into() }
    }
}

fn asked(filter: impl ToRawDocument) -> Result<FindOptions> {
    // Compiling the filter checks it.
    Ok(FindOptions { filter: filter.to_raw_document()?, ..FindOptions::default() })
}

/// The caller's moment and chance: reading is done in the caller's thread and is nobody else's business.
pub(crate) fn here_and_now() -> QueryContext {
    let mut seed = [0; 8];
    // Without randomness a sample is the same every time, which is a sample still.
    let _ = getrandom::fill(&mut seed);
    let now_ms = crate::driver::now_ms().cast_signed();
    QueryContext { now_ms, chance: Chance::new(u64::from_le_bytes(seed)), ..QueryContext::default() }
}

/// A snapshot and a collection in it, if it exists.
pub(crate) type Opened = Option<(ViewSnapshot, Arc<CollectionMeta>)>;

/// A find that does nothing until it is run.
#[must_use = "a find does nothing until it is run"]
pub struct Find<T> {
    collection: Collection<T>,
    asked: Result<FindOptions>,
    options: ReadOptions,
}

impl<T> Find<T> {
    /// In this order: `{ year: -1, title: 1 }`.
    pub fn sort(self, sort: impl ToRawDocument) -> Self {
        self.with(|asked| {
            asked.sort = Some(checked(sort)?);
            Ok(())
        })
    }

    /// Without the first `skip`.
    pub fn skip(self, skip: u64) -> Self {
        self.with(|asked| {
            asked.skip = skip;
            Ok(())
        })
    }

    /// At most `limit`; 0 for all.
    pub fn limit(self, limit: u64) -> Self {
        self.with(|asked| {
            asked.limit = limit;
            Ok(())
        })
    }

    /// Only these fields, or all but these.
    pub fn projection(self, projection: impl ToRawDocument) -> Self {
        self.with(|asked| {
            asked.projection = Some(checked(projection)?);
            Ok(())
        })
    }

    /// Begins the find.
    ///
    /// # Errors
    /// `Invalid` with MongoDB's code for a filter, sort, projection or hint that is wrong; if the storage fails.
    pub fn run(self) -> Result<Cursor<T>> {
        Ok(self.run_raw()?.with_type())
    }

    /// Begins the find; its documents come as raw BSON, as they are stored.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run_raw(self) -> Result<RawCursor> {
        if let Some(transaction) = self.collection.within.transaction().cloned() {
            let name = self.collection.name.clone();
            let (_, options) = self.begin()?;
            return transaction.find(&name, &options);
        }
        let (opened, options) = self.begin()?;
        let compiled = options.compile(opened.as_ref().map(|(_, meta)| &**meta))?;
        Ok(match opened {
            Some((view, meta)) => RawCursor::new(Execution::new(view, &meta, compiled)?),
            None => RawCursor::new(std::iter::empty()),
        })
    }

    /// The result of the find, kept current: what is written from now on, here or by peers, changes it. Without a sort, a skip
    /// and a limit it is in the order of `_id`s.
    ///
    /// ```
    /// use bson::{Document, doc};
    ///
    /// let store = db_core::Store::in_memory()?;
    /// let films = store.create_database("demo")?.collection::<Document>("films");
    /// let mut best = films.find(doc! {}).sort(doc! { "rating": -1 }).limit(2).watch()?;
    /// let mut result = best.result()?;
    /// films.insert_many((0..5).map(|n| doc! { "_id": n, "rating": n })).run()?;
    /// best.next_if_any()?.into_iter().for_each(|change| change.apply(&mut result));
    /// assert_eq!(result, [doc! { "_id": 4, "rating": 4 }, doc! { "_id": 3, "rating": 3 }]);
    /// # Ok::<(), db_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Find::run`]; `QueryExceededMemoryLimitNoDiskUseAllowed` (292) for a result that is too large to be kept;
    /// `InvalidOptions` (72) with the concern majority, and for a projection of a text search's score.
    pub fn watch(self) -> Result<LiveQuery<T>> {
        self.collection.refuse_past("watched")?;
        if self.options.position().is_some() {
            let message = "a live query shows the present: it has no position";
            return Err(Error::invalid(message).with_code(72));
        }
        if self.options.concern() == ReadConcern::Majority {
            let message = "a live query shows what this peer holds: its concern is local";
            return Err(Error::invalid(message).with_code(72));
        }
        LiveQuery::begin(self.collection, self.asked?, self.options)
    }

    /// How the find is run, in the shape of MongoDB's `explain` with `executionStats`: it is run to its end.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain(self) -> Result<Document> {
        self.explained(Purpose::Find, true)
    }

    /// How the find would be run, without running it.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain_plan(self) -> Result<Document> {
        self.explained(Purpose::Find, false)
    }

    fn explained(self, purpose: Purpose, executes: bool) -> Result<Document> {
        let namespace = self.collection.namespace();
        let (opened, options) = self.begin()?;
        let compiled = options.compile(opened.as_ref().map(|(_, meta)| &**meta))?;
        query::explain(&namespace, opened, &compiled, Explanation { purpose, executes })
    }

    /// The collection, if it exists, and what to read of it; the time that it may take begins.
    fn begin(self) -> Result<(Opened, FindOptions)> {
        let mut find = self.asked?;
        let stop = self.options.stop();
        let collection = self.collection.at(self.options.position(), &stop)?;
        let opened = collection.open_at(self.options.concern(), &stop)?;
        let collation = opened.as_ref().and_then(|(_, meta)| meta.options.collation.as_deref());
        self.options.begin(&mut find, collation, stop)?;
        Ok((opened, find))
    }

    fn with(mut self, change: impl FnOnce(&mut FindOptions) -> Result<()>) -> Self {
        if let Ok(asked) = &mut self.asked
            && let Err(error) = change(asked)
        {
            self.asked = Err(error);
        }
        self
    }
}

/// A find of one document that does nothing until it is run.
#[must_use = "a find does nothing until it is run"]
pub struct FindOne<T>(Find<T>);

impl<T> FindOne<T> {
    /// The first in this order.
    pub fn sort(self, sort: impl ToRawDocument) -> Self {
        Self(self.0.sort(sort))
    }

    /// Without the first `skip`.
    pub fn skip(self, skip: u64) -> Self {
        Self(self.0.skip(skip))
    }

    /// Only these fields, or all but these.
    pub fn projection(self, projection: impl ToRawDocument) -> Self {
        Self(self.0.projection(projection))
    }

    /// The document, if there is one.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run(self) -> Result<Option<T>>
    where
        T: DeserializeOwned,
    {
        self.0.run()?.next().transpose()
    }

    /// The document as raw BSON, if there is one.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run_raw(self) -> Result<Option<RawDocumentBuf>> {
        self.0.run_raw()?.next().transpose()
    }
}

/// A count that does nothing until it is run.
#[must_use = "a count does nothing until it is run"]
pub struct Count<T>(Find<T>);

impl<T> Count<T> {
    /// Of all documents.
    pub(super) fn all(collection: Collection<T>) -> Self {
        Self(Find { collection, asked: Ok(FindOptions::default()), options: ReadOptions::default() })
    }

    /// Without the first `skip`.
    pub fn skip(self, skip: u64) -> Self {
        Self(self.0.skip(skip))
    }

    /// At most `limit`; 0 for all.
    pub fn limit(self, limit: u64) -> Self {
        Self(self.0.limit(limit))
    }

    /// The number of documents.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run(self) -> Result<u64> {
        let collection = self.0.collection.clone();
        let (opened, options) = self.0.begin()?;
        if let Some(transaction) = collection.within.transaction() {
            transaction.note(&collection.name, &opened, &options, Aspect::Count)?;
        }
        match opened {
            Some((view, meta)) => query::count(view, &meta, &options),
            None => query::check(&options).map(|()| 0),
        }
    }

    /// How it is run, in the shape of MongoDB's `explain` with `executionStats`: it is run to its end.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain(self) -> Result<Document> {
        self.0.explained(Purpose::Count, true)
    }

    /// How it would be run, without running it.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain_plan(self) -> Result<Document> {
        self.0.explained(Purpose::Count, false)
    }
}

/// A search for distinct values that does nothing until it is run.
#[must_use = "a search for distinct values does nothing until it is run"]
pub struct Distinct<T> {
    find: Find<T>,
    field: String,
}

impl<T> Distinct<T> {
    /// The values, in the order in which they were met.
    ///
    /// # Errors
    /// As for [`Find::run`]; for values that together are too large.
    pub fn run(self) -> Result<Vec<Bson>> {
        let values = db_index::Distinct::new(&self.field)?;
        let collection = self.find.collection.clone();
        let (opened, options) = self.find.begin()?;
        if let Some(transaction) = collection.within.transaction() {
            transaction.note(&collection.name, &opened, &options, Aspect::Documents)?;
        }
        let mut values = values.by(options.context.collation.as_ref());
        let compiled = options.compile(opened.as_ref().map(|(_, meta)| &**meta))?;
        if let Some((view, meta)) = opened {
            for document in Execution::new(view, &meta, compiled)? {
                values.add(&document?)?;
            }
        }
        values.into_values().into_iter().map(|value| Bson::try_from(value).map_err(not_bson)).collect()
    }

    /// How it is run, in the shape of MongoDB's `explain` with `executionStats`: it is run to its end.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain(self) -> Result<Document> {
        self.find.explained(Purpose::Find, true)
    }

    /// How it would be run, without running it.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain_plan(self) -> Result<Document> {
        self.find.explained(Purpose::Find, false)
    }
}

takes_read_options!(Find, options);
takes_read_options!(FindOne, 0.options);
takes_read_options!(Count, 0.options);
takes_read_options!(Distinct, find.options);

/// The documents of a find or an aggregation, as `T`s. It reads one snapshot, whatever is written meanwhile.
pub struct Cursor<T> {
    raw: RawCursor,
    documents: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iterator for Cursor<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.raw.next()?;
        Some(
            document.and_then(|document| bson::deserialize_from_slice(document.as_bytes()).map_err(not_bson)),
        )
    }
}

/// The documents of a find or an aggregation, as raw BSON. It reads one snapshot, whatever is written meanwhile.
pub struct RawCursor {
    documents: Box<dyn Iterator<Item = Result<RawDocumentBuf>> + Send>,
}

impl RawCursor {
    pub(crate) fn new(documents: impl Iterator<Item = Result<RawDocumentBuf>> + Send + 'static) -> Self {
        Self { documents: Box::new(documents) }
    }

    /// The same documents as `T`s.
    pub(super) fn with_type<T>(self) -> Cursor<T> {
        Cursor { raw: self, documents: PhantomData }
    }
}

impl Iterator for RawCursor {
    type Item = Result<RawDocumentBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        self.documents.next()
    }
}
