//! Changing collections and indexes that are there: options, names, how long documents live.

use bson::{Document, RawDocumentBuf};

use super::Collection;
use super::documents::{ToRawDocument, checked, not_bson};
use crate::database::Database;
use crate::engine::Request;
use crate::error::Result;
use crate::view::catalog;
use crate::view::policy::ConflictPolicy;
use crate::write::Write;

/// The options of a collection.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct CollectionOptions {
    /// The collation of finds and indexes that name none: `{ locale: "de", strength: 1 }`.
    pub collation: Option<Document>,
    /// How concurrent changes of its documents are settled.
    pub conflicts: ConflictPolicy,
}

/// What changes of an index; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IndexChange {
    /// Whether finds use it no more. It is kept all the same, holds if it is unique, and expires documents.
    pub hidden: Option<bool>,
    /// How many seconds after the date in its field a document expires.
    pub expire_after_seconds: Option<i64>,
    /// Its name.
    pub name: Option<String>,
}

impl CollectionOptions {
    /// With this collation.
    #[must_use]
    pub fn collation(mut self, collation: Document) -> Self {
        self.collation = Some(collation);
        self
    }

    /// With concurrent changes settled like this.
    #[must_use]
    pub fn conflicts(mut self, conflicts: ConflictPolicy) -> Self {
        self.conflicts = conflicts;
        self
    }
}

impl IndexChange {
    /// Hides the index from finds, or shows it to them again.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = Some(hidden);
        self
    }

    /// Lets documents expire this long after the date that is indexed.
    #[must_use]
    pub fn expire_after_seconds(mut self, seconds: i64) -> Self {
        self.expire_after_seconds = Some(seconds);
        self
    }

    /// Gives it another name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn to_document(&self) -> Result<RawDocumentBuf> {
        let mut change = Document::new();
        if let Some(hidden) = self.hidden {
            change.insert("hidden", hidden);
        }
        if let Some(seconds) = self.expire_after_seconds {
            change.insert("expireAfterSeconds", seconds);
        }
        if let Some(name) = &self.name {
            change.insert("name", name);
        }
        change.to_raw_document()
    }
}

impl Database {
    /// Creates a collection with options.
    ///
    /// It fails with `NamespaceExists` (48) if the collection exists.
    pub fn create_collection_with(&self, name: &str, options: &CollectionOptions) -> Write<()> {
        let collation = options.collation.as_ref().map(checked).transpose();
        let (collection, conflicts) = (name.to_owned(), options.conflicts.clone());
        let request = collation.map(|collation| Request::CreateCollection {
            collection,
            options: catalog::CollectionOptions { collation, conflicts },
        });
        self.write(request, |_| Ok(()))
    }

    /// Gives a collection another name. With `drop_target` a collection that has that name already is dropped.
    ///
    /// It fails with `NamespaceNotFound` (26) if there is no collection `from`, with `NamespaceExists` (48) if there is one
    /// called `to` and it is not to be dropped, with `IllegalOperation` (20) if both are the same.
    pub fn rename_collection(&self, from: &str, to: &str, drop_target: bool) -> Write<()> {
        let request =
            Request::RenameCollection { collection: from.to_owned(), to: to.to_owned(), drop_target };
        self.write(Ok(request), |_| Ok(()))
    }
}

impl<T> Collection<T> {
    /// What the collection was created with; nothing in particular if it does not exist.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn options(&self) -> Result<CollectionOptions> {
        let Some((_, meta)) = self.open()? else { return Ok(CollectionOptions::default()) };
        let collation = meta.options.collation.as_ref();
        let collation = collation.map(|collation| Document::try_from(&**collation)).transpose();
        let conflicts = meta.options.conflicts.clone();
        Ok(CollectionOptions { collation: collation.map_err(not_bson)?, conflicts })
    }

    /// Changes how concurrent changes of the collection's documents are settled, from this write's place in the order on.
    ///
    /// It fails with `NamespaceNotFound` (26) if there is no such collection, with `InvalidOptions` (72) for a path that is empty,
    /// longer than 256 bytes or has a part with a dollar.
    pub fn set_conflict_policy(&self, policy: &ConflictPolicy) -> Write<()> {
        let options =
            catalog::CollectionOptions { conflicts: policy.clone(), ..catalog::CollectionOptions::default() };
        let (collection, change) = (self.name.clone(), options.to_document());
        self.write(Ok(Request::ChangeCollection { collection, change }), |_| Ok(()))
    }

    /// Changes an index that is there: MongoDB's `collMod` with `index`.
    ///
    /// It fails with `IndexNotFound` (27) if there is none of that name, with `IndexKeySpecsConflict` (86) if its new name is
    /// taken, or as its creation would with what changes.
    pub fn change_index(&self, name: impl Into<String>, change: &IndexChange) -> Write<()> {
        let (collection, name) = (self.name.clone(), name.into());
        let request = change.to_document().map(|change| Request::ChangeIndex { collection, name, change });
        self.write(request, |_| Ok(()))
    }
}
