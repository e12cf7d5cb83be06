//! Collections: the API that users of MongoDB's driver know, on a database of one's own.

mod aggregate;
mod alter;
mod bulk;
pub(crate) mod documents;
mod find;
mod find_and_modify;
mod indexes;
mod quarantined;
mod reading;
mod requests;
mod results;
mod within;
mod writes;
mod writing;

use std::marker::PhantomData;
use std::sync::Arc;

pub use aggregate::Aggregate;
pub use alter::{CollectionOptions, IndexChange};
pub use bulk::WriteModel;
pub use documents::{ToRawDocument, ToUpdate};
pub use find::{Count, Cursor, Distinct, Find, FindOne, RawCursor};
pub(crate) use find::{Opened, here_and_now};
pub use find_and_modify::ReturnDocument;
pub use indexes::{IndexModel, IndexOptions};
pub use quarantined::{QuarantineCursor, Quarantined};
pub use reading::{ReadConcern, ReadOptions};
pub use results::{BulkWriteResult, DeleteResult, InsertManyResult, InsertOneResult, UpdateResult};
pub(crate) use within::Within;
pub use writing::WriteOptions;

use crate::database::Database;
use crate::engine::{Reply, Request};
use crate::error::Result;
use crate::past::Past;
use crate::query::Stop;
use crate::transaction::Transaction;
use crate::view::ViewSnapshot;
use crate::view::catalog::{self, CollectionMeta};
use crate::view::statistics::Statistics;
use crate::write::Write;

/// A collection of a database, whose documents are `T`s. Cheap to clone; it need not exist until something is written.
///
/// ```
/// use bson::{Document, doc};
///
/// let store = db_core::Store::in_memory()?;
/// let films = store.create_database("demo")?.collection::<Document>("films");
/// films.insert_one(doc! { "title": "Alien", "year": 1979 }).run()?;
/// films.create_index(doc! { "year": 1 }).run()?;
/// let found: Vec<Document> = films.find(doc! { "year": { "$gte": 1970 } }).run()?.collect::<Result<_, _>>()?;
/// assert_eq!(found[0].get_str("title").ok(), Some("Alien"));
/// # Ok::<(), db_core::Error>(())
/// ```
pub struct Collection<T> {
    database: Database,
    name: String,
    within: Within,
    documents: PhantomData<fn() -> T>,
}

impl<T> Collection<T> {
    pub(crate) fn new(database: Database, name: &str) -> Self {
        Self { database, name: name.to_owned(), within: Within::Present, documents: PhantomData }
    }

    /// The same collection inside of a transaction.
    pub(crate) fn within(self, transaction: Transaction) -> Self {
        Self { within: Within::Transaction(transaction), ..self }
    }

    /// The same collection as it was.
    pub(crate) fn in_past(self, past: Past) -> Self {
        Self { within: Within::Past(past), ..self }
    }

    /// The same collection, or as it was after the entry at `position` if there is one.
    fn at(self, position: Option<u64>, stop: &Stop) -> Result<Self> {
        let within = self.within.at(&self.database, position, stop)?;
        Ok(Self { within, ..self })
    }

    /// Refuses in the past what only the present can do.
    pub(crate) fn refuse_past(&self, what: &str) -> Result<()> {
        self.within.refuse_past(what)
    }

    /// The collection's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same collection with documents of another type.
    pub fn clone_with_type<U>(&self) -> Collection<U> {
        let collection = Collection::new(self.database.clone(), &self.name);
        Collection { within: self.within.clone(), ..collection }
    }

    /// Drops the collection with its documents and indexes; fails with `NamespaceNotFound` (26) if there is none.
    pub fn drop(&self) -> Write<()> {
        self.write(Ok(Request::DropCollection { collection: self.name.clone() }), |_| Ok(()))
    }

    /// How many documents the collection holds, from a counter.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn estimated_document_count(&self) -> Result<u64> {
        if self.within.transaction().is_some() {
            return Count::all(self.clone_with_type::<T>()).run();
        }
        match self.open()? {
            Some((view, meta)) => Statistics::of(&view, meta.id).map(|statistics| statistics.documents.count),
            None => Ok(0),
        }
    }

    /// The database that it is in.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The names of database and collection, as MongoDB joins them.
    pub(crate) fn namespace(&self) -> String {
        format!("{}.{}", self.database.name(), self.name)
    }

    /// The latest snapshot, and the collection in it if it exists.
    pub(crate) fn open(&self) -> Result<Option<(ViewSnapshot, Arc<CollectionMeta>)>> {
        self.open_at(ReadConcern::Local, &Stop::default())
    }

    /// A write that does nothing until it is awaited or run: here, or in the transaction.
    fn write<R>(
        &self,
        request: Result<Request>,
        finish: impl FnOnce(Reply) -> Result<R> + Send + 'static,
    ) -> Write<R> {
        let request = self.refuse_past("written").and(request);
        self.database.write(request, finish).within(self.within.transaction().cloned())
    }

    /// A snapshot, and the collection in it if it exists. Waits for it, if need be, until `stop` says that it is enough.
    pub(crate) fn open_at(
        &self,
        concern: ReadConcern,
        stop: &Stop,
    ) -> Result<Option<(ViewSnapshot, Arc<CollectionMeta>)>> {
        catalog::check_name_to_read(&self.name)?;
        let view = self.within.view_at(&self.database, concern, stop)?;
        Ok(view.collection(&self.name, self.database.catalog())?.map(|meta| (view, meta)))
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        self.clone_with_type()
    }
}

impl<T> std::fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection")
            .field("database", &self.database.name())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
