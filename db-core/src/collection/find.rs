//! Reading: find, count, distinct, explain. All of it runs on one snapshot in the caller's thread.

use std::marker::PhantomData;

use bson::{Bson, Document, RawDocumentBuf};
use serde::de::DeserializeOwned;

use super::Collection;
use super::documents::{ToRawDocument, checked, not_bson};
use crate::error::Result;
use crate::query::{self, Execution, FindOptions, Hint};
use crate::view::ViewSnapshot;

impl<T> Collection<T> {
    /// The documents that match; run it to get a cursor.
    pub fn find(&self, filter: impl ToRawDocument) -> Find<T> {
        Find { collection: self.clone(), options: options(filter) }
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

fn options(filter: impl ToRawDocument) -> Result<FindOptions> {
    // Compiling the filter checks it.
    Ok(FindOptions { filter: filter.to_raw_document()?, ..FindOptions::default() })
}

/// A find that does nothing until it is run.
#[must_use = "a find does nothing until it is run"]
pub struct Find<T> {
    collection: Collection<T>,
    options: Result<FindOptions>,
}

impl<T> Find<T> {
    /// In this order: `{ year: -1, title: 1 }`.
    pub fn sort(self, sort: impl ToRawDocument) -> Self {
        self.with(|options| {
            options.sort = Some(checked(sort)?);
            Ok(())
        })
    }

    /// Without the first `skip`.
    pub fn skip(self, skip: u64) -> Self {
        self.with(|options| {
            options.skip = skip;
            Ok(())
        })
    }

    /// At most `limit`; 0 for all.
    pub fn limit(self, limit: u64) -> Self {
        self.with(|options| {
            options.limit = limit;
            Ok(())
        })
    }

    /// Only these fields, or all but these.
    pub fn projection(self, projection: impl ToRawDocument) -> Self {
        self.with(|options| {
            options.projection = Some(checked(projection)?);
            Ok(())
        })
    }

    /// By this index and no other.
    pub fn hint(self, hint: Hint) -> Self {
        self.with(|options| {
            options.hint = Some(hint);
            Ok(())
        })
    }

    /// Begins the find.
    ///
    /// # Errors
    /// `Invalid` with MongoDB's code for a filter, sort, projection or hint that is wrong; if the storage fails.
    pub fn run(self) -> Result<Cursor<T>> {
        Ok(Cursor { raw: self.run_raw()?, documents: PhantomData })
    }

    /// Begins the find; its documents come as raw BSON, as they are stored.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run_raw(self) -> Result<RawCursor> {
        let options = self.options?;
        let execution = if let Some((view, meta)) = self.collection.open()? {
            Some(Execution::new(view, &meta, &options)?)
        } else {
            query::check(&options)?;
            None
        };
        Ok(RawCursor { execution })
    }

    /// How the find is run, in the shape of MongoDB's `explain` with `executionStats`: it is run to its end.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn explain(self) -> Result<Document> {
        let options = self.options?;
        query::explain(&self.collection.name, self.collection.open()?, &options)
    }

    fn with(mut self, change: impl FnOnce(&mut FindOptions) -> Result<()>) -> Self {
        if let Ok(options) = &mut self.options
            && let Err(error) = change(options)
        {
            self.options = Err(error);
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

    /// By this index and no other.
    pub fn hint(self, hint: Hint) -> Self {
        Self(self.0.hint(hint))
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
    /// Without the first `skip`.
    pub fn skip(self, skip: u64) -> Self {
        Self(self.0.skip(skip))
    }

    /// At most `limit`; 0 for all.
    pub fn limit(self, limit: u64) -> Self {
        Self(self.0.limit(limit))
    }

    /// By this index and no other.
    pub fn hint(self, hint: Hint) -> Self {
        Self(self.0.hint(hint))
    }

    /// The number of documents.
    ///
    /// # Errors
    /// As for [`Find::run`].
    pub fn run(self) -> Result<u64> {
        let options = self.0.options?;
        match self.0.collection.open()? {
            Some((view, meta)) => query::count(view, &meta, &options),
            None => query::check(&options).map(|()| 0),
        }
    }
}

/// A search for distinct values that does nothing until it is run.
#[must_use = "a search for distinct values does nothing until it is run"]
pub struct Distinct<T> {
    find: Find<T>,
    field: String,
}

impl<T> Distinct<T> {
    /// By this index and no other.
    pub fn hint(self, hint: Hint) -> Self {
        Self { find: self.find.hint(hint), ..self }
    }

    /// The values, in the order in which they were met.
    ///
    /// # Errors
    /// As for [`Find::run`]; for values that together are too large.
    pub fn run(self) -> Result<Vec<Bson>> {
        let mut values = db_index::Distinct::new(&self.field)?;
        for document in self.find.run_raw()? {
            values.add(&document?)?;
        }
        values.into_values().into_iter().map(|value| Bson::try_from(value).map_err(not_bson)).collect()
    }
}

/// The documents of a find, as `T`s. It reads one snapshot, whatever is written meanwhile.
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

/// The documents of a find, as raw BSON. It reads one snapshot, whatever is written meanwhile.
pub struct RawCursor {
    execution: Option<Execution<'static, ViewSnapshot>>,
}

impl Iterator for RawCursor {
    type Item = Result<RawDocumentBuf>;

    fn next(&mut self) -> Option<Self::Item> {
        self.execution.as_mut()?.next()
    }
}
