//! Collections and indexes: created and dropped at their place, covering the documents that are there.

use bson::{RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, IndexDefinition, MultikeyFields, QueryError};

use super::{Applier, Mode, Outcome};
use crate::error::{Error, Result};
use crate::limits;
use crate::view::catalog::{CollectionMeta, IndexMeta, NextId, take_next_id};
use crate::view::documents::{ChangeError, entries_of_index, id_types};
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, keyspace};

/// How many index entries a build holds in memory before it writes them in key order.
const BUILD_ENTRIES_MAX: usize = 100_000;

impl Applier<'_> {
    pub(super) fn create_collection(&mut self, view: &mut ViewWriter<'_, '_>, name: &str) -> Result<Outcome> {
        self.catalog.collection_or_create(view, name)?;
        Ok(Outcome::default())
    }

    pub(super) fn drop_collection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.catalog.collection(view, name)? else {
            outcome.reject(mode, 0, no_collection(name));
            return Ok(outcome);
        };
        for index in &meta.indexes {
            delete_prefix(view, &keyspace::entries(index.id))?;
        }
        delete_prefix(view, &keyspace::documents(meta.id))?;
        view.delete(&keyspace::count(meta.id))?;
        self.catalog.remove(view, name)?;
        Ok(outcome)
    }

    pub(super) fn create_indexes(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        definitions: &[RawDocumentBuf],
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for (position, definition) in definitions.iter().enumerate() {
            let mark = view.mark();
            match self.create_index(view, collection, definition) {
                Ok(()) => {}
                Err(ChangeError::Storage(error)) => return Err(error),
                Err(ChangeError::Rejected(error)) => {
                    view.revert_to(mark)?;
                    self.catalog.clear();
                    if !outcome.reject(mode, position, error) {
                        break;
                    }
                }
            }
        }
        Ok(outcome)
    }

    pub(super) fn drop_index(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        name: &str,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.catalog.collection(view, collection)? else {
            outcome.reject(mode, 0, no_collection(collection));
            return Ok(outcome);
        };
        let Some(index) = meta.index(name) else {
            let error = QueryError::new(ErrorCode::INDEX_NOT_FOUND, format!("index not found: name={name}"));
            outcome.reject(mode, 0, error);
            return Ok(outcome);
        };
        delete_prefix(view, &keyspace::entries(index.id))?;
        let mut changed = CollectionMeta::clone(&meta);
        changed.indexes.retain(|index| index.definition.name() != name);
        self.catalog.store(view, collection, changed)?;
        Ok(outcome)
    }

    fn create_index(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        definition: &RawDocument,
    ) -> Result<(), ChangeError> {
        let definition = IndexDefinition::from_document(definition)?;
        if definition.name().len() > limits::INDEX_NAME_BYTES_MAX {
            // It could be created and never dropped.
            let message = "an index name is longer than 512 bytes";
            return Err(QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message).into());
        }
        let meta = self.catalog.collection_or_create(view, collection)?;
        if definition.is_id_index() {
            return Ok(()); // every collection has it
        }
        for existing in &meta.indexes {
            if existing.definition.is_same_as(&definition)? {
                return Ok(());
            }
        }
        if meta.indexes.len() >= limits::INDEXES_MAX {
            return Err(QueryError::new(
                ErrorCode::CANNOT_CREATE_INDEX,
                "a collection has at most 64 indexes",
            )
            .into());
        }
        let mut index = IndexMeta {
            id: take_next_id(view, NextId::Index)?,
            definition,
            multikey: MultikeyFields::default(),
        };
        build(view, &meta, &mut index)?;
        let mut changed = CollectionMeta::clone(&meta);
        changed.indexes.push(index);
        self.catalog.store(view, collection, changed)?;
        Ok(())
    }
}

/// Writes the entries of every document that is there.
fn build(
    view: &mut ViewWriter<'_, '_>,
    meta: &CollectionMeta,
    index: &mut IndexMeta,
) -> Result<(), ChangeError> {
    let prefix = keyspace::documents(meta.id);
    let mut from = keyspace::prefix_bounds(&prefix);
    loop {
        let mut batch = std::collections::BTreeMap::new();
        let mut last = None;
        for item in view.range(from.clone())? {
            let (key, document) = item.map_err(Error::from)?;
            let document = RawDocument::from_bytes(document.value())
                .map_err(|_| Error::data("a stored document is damaged"))?;
            let id_key = key.value().get(prefix.len()..).unwrap_or_default();
            let entries = entries_of_index(index, id_key, &id_types(document), document)?;
            index.multikey = index.multikey.union(entries.multikey);
            batch.extend(entries.entries.into_iter().map(|(key, types)| (key, (types, id_key.len()))));
            if batch.len() >= BUILD_ENTRIES_MAX {
                last = Some(key.value().to_vec());
                break;
            }
        }
        for (key, (types, id_bytes)) in batch {
            if index.definition.is_unique() {
                let values = key.get(..key.len() - id_bytes).unwrap_or_default();
                if view.range(keyspace::prefix_bounds(values))?.next().is_some() {
                    let name = index.definition.name();
                    let message = format!("E11000 duplicate key among the documents: index={name}");
                    return Err(QueryError::new(ErrorCode::DUPLICATE_KEY, message).into());
                }
            }
            view.put(&key, &types)?;
        }
        match last {
            Some(last) => from.0 = std::ops::Bound::Excluded(last),
            None => return Ok(()),
        }
    }
}

/// Deletes every key that begins with `prefix`, in batches of bounded memory.
fn delete_prefix(view: &mut ViewWriter<'_, '_>, prefix: &[u8]) -> Result<()> {
    loop {
        let mut keys = Vec::new();
        for item in view.range(keyspace::prefix_bounds(prefix))?.take(BUILD_ENTRIES_MAX) {
            keys.push(item?.0.value().to_vec());
        }
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            view.delete(&key)?;
        }
    }
}

fn no_collection(name: &str) -> QueryError {
    QueryError::new(ErrorCode::NAMESPACE_NOT_FOUND, format!("collection not found: name={name}"))
}
