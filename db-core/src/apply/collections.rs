//! Collections and indexes: created and dropped at their place, covering the documents that are there.

use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, IndexDefinition, MultikeyFields, QueryError};

use super::{Applier, Mode, Outcome};
use crate::error::Result;
use crate::ids::WriterKey;
use crate::limits;
use crate::view::catalog::{CollectionMeta, CollectionOptions, IndexMeta, NextId, take_next_id};
use crate::view::documents::ChangeError;
use crate::view::journal::ViewWriter;
use crate::view::statistics::Statistics;
use crate::view::{ReadView, keyspace};

/// MongoDB's `IllegalOperation`.
const ILLEGAL_OPERATION: ErrorCode = ErrorCode(20);
/// MongoDB's `NamespaceExists`.
const NAMESPACE_EXISTS: ErrorCode = ErrorCode(48);

/// How many keys are read before they are deleted, and how many bytes of them.
const DELETE_KEYS_MAX: usize = 10_000;
const DELETE_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Applier<'_> {
    pub(super) fn create_collection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        options: &RawDocument,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        match CollectionOptions::from_document(options) {
            Err(error) => {
                outcome.reject(mode, 0, error);
            }
            Ok(options) => {
                if self.catalog.collection(view, name)?.is_none() {
                    match self.catalog.create(view, name, options) {
                        Ok(_) => {}
                        Err(ChangeError::Storage(error)) => return Err(error),
                        Err(ChangeError::Rejected(error)) => {
                            outcome.reject(mode, 0, error);
                        }
                    }
                }
            }
        }
        Ok(outcome)
    }

    /// Gives a collection another name. Documents and index entries lie under its id, so that none of them moves.
    pub(super) fn rename_collection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        from: &str,
        to: &str,
        drop_target: bool,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.collection_or_reject(view, from, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        if from == to {
            let message = "cannot rename a collection to itself";
            outcome.reject(mode, 0, QueryError::new(ILLEGAL_OPERATION, message));
            return Ok(outcome);
        }
        if self.catalog.collection(view, to)?.is_some() {
            if !drop_target {
                let error = QueryError::new(NAMESPACE_EXISTS, format!("target collection exists: name={to}"));
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
            let dropped = self.drop_collection(view, to, mode)?;
            if !dropped.rejected.is_empty() {
                return Ok(dropped);
            }
        }
        self.catalog.remove(view, from)?;
        self.catalog.store(view, to, CollectionMeta::clone(&meta))?;
        Ok(outcome)
    }

    /// Changes how a collection settles concurrent changes, from this place of the order on.
    pub(super) fn change_collection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        change: &RawDocument,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.collection_or_reject(view, name, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        match CollectionOptions::from_document(change) {
            Ok(CollectionOptions { collation: None, conflicts }) => {
                if conflicts != meta.options.conflicts {
                    let mut changed = CollectionMeta::clone(&meta);
                    changed.options.conflicts = conflicts;
                    self.catalog.store(view, name, changed)?;
                    outcome.modified = 1;
                }
            }
            Ok(_) => {
                let message = "the collation of a collection cannot be changed";
                outcome.reject(mode, 0, QueryError::new(ErrorCode::INVALID_OPTIONS, message));
            }
            Err(error) => {
                outcome.reject(mode, 0, error);
            }
        }
        Ok(outcome)
    }

    pub(super) fn drop_collection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        name: &str,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.collection_or_reject(view, name, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        if let Err(too_much) = view.work().add_scan() {
            outcome.reject(mode, 0, too_much);
            return Ok(outcome);
        }
        for index in &meta.indexes {
            delete_index(view, index.id)?;
        }
        delete_prefix(view, &keyspace::documents(meta.id))?;
        delete_prefix(view, &keyspace::histories(meta.id))?;
        view.delete(&keyspace::statistics(meta.id))?;
        self.catalog.remove(view, name)?;
        Ok(outcome)
    }

    /// The collection called `name`; if there is none, the operation does not hold.
    fn collection_or_reject(
        &mut self,
        view: &ViewWriter<'_, '_>,
        name: &str,
        mode: Mode,
        outcome: &mut Outcome,
    ) -> Result<Option<Arc<CollectionMeta>>> {
        let meta = self.catalog.collection(view, name)?;
        if meta.is_none() {
            outcome.reject(mode, 0, no_collection(name));
        }
        Ok(meta)
    }

    pub(super) fn create_indexes(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        author: &WriterKey,
        collection: &str,
        definitions: &[RawDocumentBuf],
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for (position, definition) in definitions.iter().enumerate() {
            let mark = view.mark();
            let tried = match view.work().check() {
                Ok(()) => self.create_index(view, author, collection, definition),
                Err(too_much) => Err(too_much.into()),
            };
            match tried {
                Ok(()) => {}
                Err(ChangeError::Storage(error)) => return Err(error),
                Err(ChangeError::Rejected(error)) => {
                    view.revert_to(mark)?;
                    self.catalog.clear();
                    // The record is read again, and was compared with what does not hold.
                    let record = view.get(&keyspace::collection(collection))?;
                    let bytes = record.map_or(0, |record| record.value().len());
                    view.work().add(bytes + definition.as_bytes().len());
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
        let Some(meta) = self.collection_or_reject(view, collection, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        let Some(index) = meta.index(name) else {
            let error = QueryError::new(ErrorCode::INDEX_NOT_FOUND, format!("index not found: name={name}"));
            outcome.reject(mode, 0, error);
            return Ok(outcome);
        };
        if let Err(too_much) = view.work().add_scan() {
            outcome.reject(mode, 0, too_much);
            return Ok(outcome);
        }
        delete_index(view, index.id)?;
        let mut statistics = Statistics::of(view, meta.id)?;
        statistics.remove_index(index.id);
        statistics.store(view, meta.id)?;
        let mut changed = CollectionMeta::clone(&meta);
        changed.indexes.retain(|index| index.definition.name() != name);
        self.catalog.store(view, collection, changed)?;
        Ok(outcome)
    }

    /// Changes what of an index is no matter of its entries.
    pub(super) fn change_index(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        name: &str,
        change: &RawDocument,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.collection_or_reject(view, collection, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        match changed_index(&meta, name, change) {
            Ok((position, definition)) => {
                let mut changed = CollectionMeta::clone(&meta);
                if let Some(index) = changed.indexes.get_mut(position)
                    && index.definition != definition
                {
                    index.definition = definition;
                    self.catalog.store(view, collection, changed)?;
                    outcome.modified = 1;
                }
            }
            Err(error) => {
                outcome.reject(mode, 0, error);
            }
        }
        Ok(outcome)
    }

    fn create_index(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        author: &WriterKey,
        collection: &str,
        definition: &RawDocument,
    ) -> Result<(), ChangeError> {
        let definition = IndexDefinition::from_document(definition)?;
        check_index_name(definition.name())?;
        let meta = self.catalog.collection_or_create(view, collection)?;
        if definition.is_id_index() {
            return Ok(()); // every collection has it
        }
        for existing in &meta.indexes {
            if definition.is_same_as(&existing.definition)? {
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
        view.work().add_scan()?;
        let mut index = IndexMeta {
            id: take_next_id(view, NextId::Index)?,
            definition,
            multikey: MultikeyFields::default(),
            by: *author,
        };
        self.build(view, collection, &meta, &mut index)?;
        let mut changed = CollectionMeta::clone(&meta);
        changed.indexes.push(index);
        self.catalog.store(view, collection, changed)?;
        Ok(())
    }
}

/// The options of an index that can change while it is there.
const CHANGEABLE: [&str; 3] = ["hidden", "expireAfterSeconds", "name"];

/// The position and the new definition of an index that is to change.
fn changed_index(
    meta: &CollectionMeta,
    name: &str,
    change: &RawDocument,
) -> Result<(usize, IndexDefinition), QueryError> {
    let position = meta.indexes.iter().position(|index| index.definition.name() == name);
    let (position, index) =
        position.and_then(|position| Some((position, meta.indexes.get(position)?))).ok_or_else(|| {
            QueryError::new(ErrorCode::INDEX_NOT_FOUND, format!("index not found: name={name}"))
        })?;
    let mut document = RawDocumentBuf::new();
    let mut append = |source: &RawDocument, takes: &dyn Fn(&str) -> bool| {
        for element in source.iter_elements().flatten() {
            if takes(element.key().as_str())
                && let Ok(value) = element.value()
            {
                document.append(element.key(), bson::RawBson::from(value));
            }
        }
    };
    let is_changed = |key: &str| matches!(change.get(key), Ok(Some(_)));
    if let Some(unknown) = change.iter_elements().flatten().find(|e| !CHANGEABLE.contains(&e.key().as_str()))
    {
        let message = format!("an index option that cannot be changed: {:.40}", unknown.key().as_str());
        return Err(QueryError::new(ErrorCode::INVALID_OPTIONS, message));
    }
    append(&index.definition.to_document(), &|key| !is_changed(key));
    append(change, &|_| true);
    let definition = IndexDefinition::from_document(&document)?;
    check_index_name(definition.name())?;
    let is_taken = |(other, index): (usize, &IndexMeta)| {
        other != position && index.definition.name() == definition.name()
    };
    if meta.indexes.iter().enumerate().any(is_taken) {
        let message = format!("An index with this name exists: {}", definition.name());
        return Err(QueryError::new(ErrorCode::INDEX_KEY_SPECS_CONFLICT, message));
    }
    Ok((position, definition))
}

fn check_index_name(name: &str) -> Result<(), QueryError> {
    if name.len() > limits::INDEX_NAME_BYTES_MAX {
        // It could be created and never dropped.
        let message = "an index name is longer than 512 bytes";
        return Err(QueryError::new(ErrorCode::CANNOT_CREATE_INDEX, message));
    }
    Ok(())
}

/// Deletes every key that begins with `prefix`, in batches of bounded memory.
fn delete_index(view: &mut ViewWriter<'_, '_>, id: u32) -> Result<()> {
    let entries = keyspace::entries(id);
    delete_prefix(view, &entries)?;
    delete_prefix(view, &keyspace::mark(&entries))
}

fn delete_prefix(view: &mut ViewWriter<'_, '_>, prefix: &[u8]) -> Result<()> {
    loop {
        let mut keys = Vec::new();
        let mut bytes = 0;
        for item in view.range(keyspace::prefix_bounds(prefix))?.take(DELETE_KEYS_MAX) {
            let (key, _) = item?;
            bytes += key.value().len();
            keys.push(key.value().to_vec());
            if bytes > DELETE_BYTES_MAX {
                break;
            }
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
