//! Creating, listing and dropping indexes.

use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, doc};
use db_index::{ID_INDEX_NAME, IndexDefinition};

use super::Collection;
use super::documents::{ToRawDocument, checked, not_bson};
use crate::engine::Request;
use crate::error::{Error, Result};
use crate::write::Write;

/// An index to create, or one that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexModel {
    /// The fields with their directions, `{ year: 1, title: -1 }`, or kinds, `{ place: "2dsphere" }`.
    pub keys: Document,
    /// The options.
    pub options: IndexOptions,
}

/// The options of an index.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct IndexOptions {
    /// The name; made of the keys (`year_1_title_-1`) where there is none.
    pub name: Option<String>,
    /// Whether no two documents may have the same keys.
    pub unique: bool,
    /// Whether documents without any of the fields are left out.
    pub sparse: bool,
    /// The other options by their MongoDB names, such as `partialFilterExpression`, `hidden`, `expireAfterSeconds`,
    /// `collation`, `wildcardProjection` or `weights`. What there is stands in the documentation of `db_index`.
    pub others: Document,
}

impl IndexModel {
    /// An index on these keys.
    pub fn new(keys: Document) -> Self {
        Self { keys, options: IndexOptions::default() }
    }

    /// The index that `specification` describes, as `listIndexes` shows it: `{ key: { year: 1 }, name: "byYear", … }`.
    pub fn from_specification(mut specification: Document) -> Self {
        let mut options = IndexOptions::default();
        let keys = match specification.remove("key") {
            Some(Bson::Document(keys)) => keys,
            _ => Document::new(), // which no index can have: creating it fails
        };
        for (option, value) in specification {
            match (option.as_str(), value) {
                ("name", Bson::String(name)) => options.name = Some(name),
                ("unique", Bson::Boolean(unique)) => options.unique = unique,
                ("sparse", Bson::Boolean(sparse)) => options.sparse = sparse,
                ("v", _) => {}
                (_, value) => {
                    options.others.insert(option, value);
                }
            }
        }
        Self { keys, options }
    }

    /// The index as `listIndexes` shows it: what [`IndexModel::from_specification`] reads.
    pub fn to_specification(&self) -> Document {
        let mut specification = doc! { "v": 2, "key": self.keys.clone() };
        specification.extend(self.written_options());
        specification
    }

    /// With this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Unique, or not.
    #[must_use]
    pub fn unique(mut self, unique: bool) -> Self {
        self.options.unique = unique;
        self
    }

    /// Sparse, or not.
    #[must_use]
    pub fn sparse(mut self, sparse: bool) -> Self {
        self.options.sparse = sparse;
        self
    }

    /// With another option by its MongoDB name: see [`IndexOptions::others`].
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<Bson>) -> Self {
        self.options.others.insert(name, value);
        self
    }

    /// Over those documents alone that this filter matches.
    #[must_use]
    pub fn partial_filter_expression(self, filter: Document) -> Self {
        self.option("partialFilterExpression", filter)
    }

    /// Kept up to date and not used to answer queries, or used.
    #[must_use]
    pub fn hidden(self, hidden: bool) -> Self {
        self.option("hidden", hidden)
    }

    /// With this order of strings, as in `{ locale: "de", strength: 2 }`.
    #[must_use]
    pub fn collation(self, collation: Document) -> Self {
        self.option("collation", collation)
    }

    /// Whose documents expire so long after the date in the indexed field, in whole seconds.
    #[must_use]
    pub fn expire_after(self, age: Duration) -> Self {
        self.option("expireAfterSeconds", i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
    }

    fn written_options(&self) -> Document {
        let mut options = Document::new();
        if let Some(name) = &self.options.name {
            options.insert("name", name);
        }
        if self.options.unique {
            options.insert("unique", true);
        }
        if self.options.sparse {
            options.insert("sparse", true);
        }
        options.extend(self.options.others.clone());
        options
    }

    /// The definition as the engine keeps it.
    fn to_definition(&self) -> Result<IndexDefinition> {
        let (keys, options) = (checked(&self.keys)?, checked(self.written_options())?);
        Ok(IndexDefinition::parse(&keys, &options)?)
    }

    fn from_definition(definition: &IndexDefinition) -> Result<Self> {
        let specification = Document::try_from(definition.to_document()).map_err(not_bson)?;
        Ok(Self::from_specification(specification))
    }
}

impl From<Document> for IndexModel {
    fn from(keys: Document) -> Self {
        Self::new(keys)
    }
}

impl<T> Collection<T> {
    /// Creates an index, covering the documents that are there; gives its name. One that exists already is no error.
    ///
    /// It fails with `DuplicateKey` (11000) if documents contradict a unique index, with `IndexOptionsConflict` (85) or
    /// `IndexKeySpecsConflict` (86) if keys or name are taken, with `CannotCreateIndex` (67) for keys that cannot be.
    pub fn create_index(&self, index: impl Into<IndexModel>) -> Write<String> {
        let definition = index.into().to_definition();
        let name = definition.as_ref().map(|definition| definition.name().to_owned()).unwrap_or_default();
        let request = definition.map(|definition| self.creation(vec![definition.to_document()]));
        self.write(request, move |_| Ok(name))
    }

    /// Creates indexes as one entry of the log; gives their names.
    pub fn create_indexes(&self, indexes: impl IntoIterator<Item = IndexModel>) -> Write<Vec<String>> {
        let definitions: Result<Vec<IndexDefinition>> =
            indexes.into_iter().map(|index| index.to_definition()).collect();
        let names = match &definitions {
            Ok(definitions) => definitions.iter().map(|definition| definition.name().to_owned()).collect(),
            Err(_) => Vec::new(),
        };
        let request = definitions
            .map(|definitions| self.creation(definitions.iter().map(IndexDefinition::to_document).collect()));
        self.write(request, move |_| Ok(names))
    }

    /// Drops the index with this name.
    ///
    /// It fails with `IndexNotFound` (27) if there is none, `InvalidOptions` (72) for the index on `_id`.
    pub fn drop_index(&self, name: impl Into<String>) -> Write<()> {
        let name = name.into();
        let request = if name == ID_INDEX_NAME {
            Err(Error::invalid("the index on _id cannot be dropped").with_code(72))
        } else {
            Ok(Request::DropIndex { collection: self.name.clone(), name })
        };
        self.write(request, |_| Ok(()))
    }

    /// Drops the index with these keys, however the numbers in them are written.
    ///
    /// It fails with `NamespaceNotFound` (26) if the collection does not exist, `IndexNotFound` (27) if there is no such
    /// index, `AmbiguousIndexKeyPattern` (181) if there are several, `InvalidOptions` (72) for the index on `_id`.
    pub fn drop_index_by_keys(&self, keys: impl ToRawDocument) -> Write<()> {
        match self.name_of_keys(keys) {
            Ok(name) => self.drop_index(name),
            Err(error) => self.write(Err(error), |_| Ok(())),
        }
    }

    /// Drops every index but the one on `_id`, as one entry of the log.
    ///
    /// It fails with `NamespaceNotFound` (26) if the collection does not exist.
    pub fn drop_indexes(&self) -> Write<()> {
        let request = Request::DropIndexes { collection: self.name.clone() };
        self.write(Ok(request), |_| Ok(()))
    }

    /// The indexes, the one on `_id` first; none if the collection does not exist.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn list_indexes(&self) -> Result<Vec<IndexModel>> {
        let Some((_, meta)) = self.open()? else { return Ok(Vec::new()) };
        let mut indexes = vec![IndexModel::new(doc! { "_id": 1 }).name(ID_INDEX_NAME)];
        for index in &meta.indexes {
            indexes.push(IndexModel::from_definition(&index.definition)?);
        }
        Ok(indexes)
    }

    fn name_of_keys(&self, keys: impl ToRawDocument) -> Result<String> {
        let keys = checked(keys)?;
        let Some((_, meta)) = self.open()? else {
            return Err(Error::invalid("ns not found").with_code(26));
        };
        if IndexDefinition::on_id().has_keys(&keys) {
            return Ok(ID_INDEX_NAME.to_owned());
        }
        let mut same = meta.indexes.iter().filter(|index| index.definition.has_keys(&keys));
        match (same.next(), same.next()) {
            (Some(index), None) => Ok(index.definition.name().to_owned()),
            (Some(_), Some(_)) => {
                Err(Error::invalid("several indexes have these keys: drop one by its name").with_code(181))
            }
            (None, _) => Err(Error::invalid("can't find index with key").with_code(27)),
        }
    }

    fn creation(&self, definitions: Vec<RawDocumentBuf>) -> Request {
        Request::CreateIndexes { collection: self.name.clone(), definitions }
    }
}
