//! The catalog: which collections and indexes there are, and under which ids their documents and entries lie. Ids are
//! given out in the linear order, so that every peer gives out the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::spec::BinarySubtype;
use bson::{Binary, RawBsonRef, RawDocument, RawDocumentBuf, rawdoc};
use db_index::{ErrorCode, IndexDefinition, MultikeyFields, QueryError};

use super::documents::ChangeError;
use super::journal::ViewWriter;
use super::policy::ConflictPolicy;
use super::{ReadView, keyspace};
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::limits;

/// The name of the collection that lists rejected operations.
pub(crate) const REJECTED: &str = "system.rejected";
/// The name of the collection that lists what lost against a concurrent change.
pub(crate) const CONFLICTS: &str = "system.conflicts";

/// A collection as the catalog knows it.
#[derive(Debug, Clone)]
pub(crate) struct CollectionMeta {
    pub(crate) id: u32,
    pub(crate) indexes: Vec<IndexMeta>,
    pub(crate) options: CollectionOptions,
}

/// The options of a collection.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CollectionOptions {
    /// The collation of finds and indexes that name none.
    pub(crate) collation: Option<RawDocumentBuf>,
    /// How concurrent changes are settled.
    pub(crate) conflicts: ConflictPolicy,
}

impl CollectionOptions {
    /// Reads `{collation: …, conflicts: …}`.
    ///
    /// # Errors
    /// `InvalidOptions` (72) for anything else, `TypeMismatch` (14) for one of them that is no document.
    pub(crate) fn from_document(document: &RawDocument) -> Result<Self, QueryError> {
        let mut options = Self::default();
        for element in document.iter_elements() {
            let element = element.ok().and_then(|element| Some((element.key(), element.value().ok()?)));
            match element {
                Some((key, RawBsonRef::Document(collation))) if key == "collation" => {
                    options.collation = Some(collation.to_owned());
                }
                Some((key, RawBsonRef::Document(conflicts))) if key == "conflicts" => {
                    options.conflicts = ConflictPolicy::from_document(conflicts)?;
                }
                Some((key, _)) if key == "collation" || key == "conflicts" => {
                    let message = "the options 'collation' and 'conflicts' must be documents";
                    return Err(QueryError::new(ErrorCode::TYPE_MISMATCH, message));
                }
                _ => {
                    let message = "an option of a collection is unknown: there are collation and conflicts";
                    return Err(QueryError::new(ErrorCode::INVALID_OPTIONS, message));
                }
            }
        }
        Ok(options)
    }

    /// What [`CollectionOptions::from_document`] reads.
    pub(crate) fn to_document(&self) -> RawDocumentBuf {
        let mut document = RawDocumentBuf::new();
        if let Some(collation) = &self.collation {
            document.append(bson::raw::cstr!("collation"), collation.clone());
        }
        if self.conflicts != ConflictPolicy::default() {
            document.append(bson::raw::cstr!("conflicts"), self.conflicts.to_document());
        }
        document
    }
}

/// An index as the catalog knows it.
#[derive(Debug, Clone)]
pub(crate) struct IndexMeta {
    pub(crate) id: u32,
    pub(crate) definition: IndexDefinition,
    /// Which of its fields have met an array.
    pub(crate) multikey: MultikeyFields,
    /// Who created it.
    pub(crate) by: WriterKey,
}

impl CollectionMeta {
    /// The record as the view holds it.
    pub(crate) fn encode(&self) -> RawDocumentBuf {
        let mut indexes = bson::RawArrayBuf::new();
        for index in &self.indexes {
            indexes.push(rawdoc! {
                "id": i64::from(index.id),
                "multikey": i64::from(index.multikey.0),
                "by": Binary { subtype: BinarySubtype::Generic, bytes: index.by.as_bytes().to_vec() },
                "spec": index.definition.to_document(),
            });
        }
        let mut record = rawdoc! { "id": i64::from(self.id), "indexes": indexes };
        let options = self.options.to_document();
        if !options.is_empty() {
            record.append(bson::raw::cstr!("options"), options);
        }
        record
    }

    /// Reads a record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).ok_or_else(damaged)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let record = RawDocument::from_bytes(bytes).ok()?;
        let mut indexes = Vec::new();
        for index in record.get_array("indexes").ok()? {
            let index = index.ok()?.as_document()?;
            indexes.push(IndexMeta {
                id: u32::try_from(index.get_i64("id").ok()?).ok()?,
                definition: IndexDefinition::from_document(index.get_document("spec").ok()?).ok()?,
                multikey: MultikeyFields(u32::try_from(index.get_i64("multikey").ok()?).ok()?),
                by: WriterKey::from_bytes(index.get_binary("by").ok()?.bytes.try_into().ok()?),
            });
        }
        let options = match record.get("options").ok()? {
            Some(options) => CollectionOptions::from_document(options.as_document()?).ok()?,
            None => CollectionOptions::default(),
        };
        Some(Self { id: u32::try_from(record.get_i64("id").ok()?).ok()?, indexes, options })
    }

    pub(crate) fn index(&self, name: &str) -> Option<&IndexMeta> {
        self.indexes.iter().find(|index| index.definition.name() == name)
    }
}

/// How many catalog records are held in memory.
const CACHED_MAX: usize = 1_000;

/// Catalog records as the engine's view holds them, also of names that are no collection's. Whoever changes the view behind it (undo, revert) clears it.
#[derive(Debug, Default)]
pub(crate) struct CatalogCache(BTreeMap<String, Option<Arc<CollectionMeta>>>);

impl CatalogCache {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The collection called `name`, if it exists.
    pub(crate) fn collection(
        &mut self,
        view: &impl ReadView,
        name: &str,
    ) -> Result<Option<Arc<CollectionMeta>>> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        if self.0.len() >= CACHED_MAX {
            self.0.clear();
        }
        let meta = collection(view, name)?.map(Arc::new);
        self.0.insert(name.to_owned(), meta.clone());
        Ok(meta)
    }

    /// The collection called `name`, created where it does not exist.
    pub(crate) fn collection_or_create(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
    ) -> Result<Arc<CollectionMeta>, ChangeError> {
        if let Some(meta) = self.collection(view, name)? {
            return Ok(meta);
        }
        self.create(view, name, CollectionOptions::default())
    }

    /// Creates the collection called `name`, which does not exist.
    pub(crate) fn create(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        options: CollectionOptions,
    ) -> Result<Arc<CollectionMeta>, ChangeError> {
        let id = take_next_id(view, NextId::Collection)?;
        Ok(self.store(view, name, CollectionMeta { id, indexes: Vec::new(), options })?)
    }

    /// Writes a changed record.
    pub(crate) fn store(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        meta: CollectionMeta,
    ) -> Result<Arc<CollectionMeta>> {
        let record = meta.encode();
        view.work().add(2 * record.as_bytes().len());
        view.put(&keyspace::collection(name), record.as_bytes())?;
        let meta = Arc::new(meta);
        self.0.insert(name.to_owned(), Some(Arc::clone(&meta)));
        Ok(meta)
    }

    /// Removes a record.
    pub(crate) fn remove(&mut self, view: &mut ViewWriter<'_, '_>, name: &str) -> Result<()> {
        self.0.insert(name.to_owned(), None);
        view.delete(&keyspace::collection(name))
    }
}

/// The collection called `name`, if it exists.
pub(crate) fn collection(view: &impl ReadView, name: &str) -> Result<Option<CollectionMeta>> {
    view.get(&keyspace::collection(name))?.map(|record| CollectionMeta::decode(record.value())).transpose()
}

/// The names of all collections, ascending.
pub(crate) fn collection_names(view: &impl ReadView) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in view.range(keyspace::prefix_bounds(keyspace::COLLECTIONS))? {
        let (key, _) = item?;
        let name = key.value().get(keyspace::COLLECTIONS.len()..).unwrap_or_default();
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Ok(names)
}

/// The numbers of all collections, by name.
pub(crate) fn collection_ids(view: &impl ReadView) -> Result<BTreeMap<String, u32>> {
    let mut ids = BTreeMap::new();
    for item in view.range(keyspace::prefix_bounds(keyspace::COLLECTIONS))? {
        let (key, record) = item?;
        let name = keyspace::split_collection(key.value()).ok_or_else(damaged)?;
        ids.insert(name.to_owned(), collection_id(record.value())?);
    }
    Ok(ids)
}

/// The number of the collection with this record.
pub(crate) fn collection_id(record: &[u8]) -> Result<u32> {
    let record = RawDocument::from_bytes(record).ok();
    let id = record.and_then(|record| record.get_i64("id").ok());
    id.and_then(|id| u32::try_from(id).ok()).ok_or_else(damaged)
}

fn damaged() -> Error {
    Error::data("a catalog record is damaged")
}

/// Which id to take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NextId {
    Collection,
    Index,
}

/// Takes the next id of a kind. When all are given out, which takes billions of collections, there are no more, on any peer.
pub(crate) fn take_next_id(view: &mut ViewWriter<'_, '_>, kind: NextId) -> Result<u32, ChangeError> {
    let stored: [u8; 8] =
        view.get(keyspace::NEXT_IDS)?.and_then(|ids| ids.value().try_into().ok()).unwrap_or_default();
    let both = u64::from_le_bytes(stored);
    let (collection, index) = (both as u32, (both >> 32) as u32);
    let (taken, collection, index) = match kind {
        NextId::Collection => (collection, collection.checked_add(1), Some(index)),
        NextId::Index => (index, Some(collection), index.checked_add(1)),
    };
    let (Some(collection), Some(index)) = (collection, index) else {
        let message = "all ids of collections and indexes have been given out";
        return Err(QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message).into());
    };
    let both = u64::from(collection) | (u64::from(index) << 32);
    view.put(keyspace::NEXT_IDS, &both.to_le_bytes())?;
    Ok(taken)
}

/// Checks the name of a collection that a user may write to.
///
/// # Errors
/// With MongoDB's code 73 (`InvalidNamespace`) for a name that is empty, too long, holds other characters than
/// letters, digits, `_`, `-` and `.`, or begins with `system.`.
pub(crate) fn check_collection_name(name: &str) -> Result<()> {
    check_name_to_read(name)?;
    if is_system(name) {
        return Err(bad_name("begins with \"system.\", which is kept for the database", name));
    }
    Ok(())
}

/// Whether the collection of this name is the database's own.
pub(crate) fn is_system(name: &str) -> bool {
    name.starts_with("system.")
}

/// Checks the name of a collection that a user may read: those of the system are among them.
///
/// # Errors
/// As for [`check_collection_name`].
pub(crate) fn check_name_to_read(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let fault = if name.is_empty() {
        "is empty"
    } else if name.len() > limits::COLLECTION_NAME_BYTES_MAX {
        "is longer than 120 bytes"
    } else if !name.chars().all(allowed) {
        "holds other characters than A-Z a-z 0-9 _ - ."
    } else if name.starts_with('.') || name.ends_with('.') {
        "begins or ends with a dot"
    } else {
        return Ok(());
    };
    Err(bad_name(fault, name))
}

fn bad_name(fault: &str, name: &str) -> Error {
    Error::invalid(format!("collection name {fault}: {:?}", shortened(name))).with_code(73)
}

/// At most 40 characters of a text that somebody else chose.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The `_id` of a stored document.
pub(crate) fn id_of(document: &RawDocument) -> Option<RawBsonRef<'_>> {
    document.get("_id").ok().flatten()
}
