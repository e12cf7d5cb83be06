//! Documents and their index entries: the three changes that keep both in step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bson::{Bson, RawBsonRef, RawDocument};
use db_index::{
    Direction, ErrorCode, INDEX_BYTES_PER_DOCUMENT_MAX, MultikeyFields, QueryError, encode_value, join_types,
    trim_types,
};

use super::catalog::{CatalogCache, CollectionMeta, IndexMeta};
use super::journal::ViewWriter;
use super::policy::ConflictPolicy;
use super::statistics::{Change, Difference, Statistics};
use super::{ReadView, duplicate, keyspace, quarantine};
use crate::error::{Error, Result};

/// Why a change of one document does not hold at its place, or why it could not be tried.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// It does not hold; nothing was written.
    Rejected(QueryError),
    /// The storage failed.
    Storage(Error),
}

impl From<QueryError> for ChangeError {
    fn from(error: QueryError) -> Self {
        Self::Rejected(error)
    }
}

impl From<Error> for ChangeError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

/// How many bytes of index entries are held back at the most.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One collection being written to. Entries of indexes that need no check are held back and written in key order by
/// [`CollectionWriter::finish`], which costs the B-tree far less than document by document.
pub(crate) struct CollectionWriter {
    name: String,
    meta: Arc<CollectionMeta>,
    /// Index entries to write (with their types) or to delete (none).
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pending_bytes: usize,
    /// Fields that have newly met an array, by position of the index.
    multikey: Vec<MultikeyFields>,
    difference: Difference,
    quarantines: bool,
    quarantined: bool,
}

impl CollectionWriter {
    pub(crate) fn new(name: &str, meta: Arc<CollectionMeta>) -> Self {
        let multikey = vec![MultikeyFields::default(); meta.indexes.len()];
        let difference = Difference::of_indexes(meta.indexes.len());
        Self {
            name: name.to_owned(),
            meta,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            multikey,
            difference,
            quarantines: false,
            quarantined: false,
        }
    }

    /// The same, at an operation's place in the order: what comes second under a key is kept where the index says so.
    pub(crate) fn quarantining(self, quarantines: bool) -> Self {
        Self { quarantines, ..self }
    }

    pub(super) fn quarantines(&self) -> bool {
        self.quarantines
    }

    /// What the collection is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn indexes(&self) -> &[IndexMeta] {
        &self.meta.indexes
    }

    /// Whether a document was newly put into quarantine, which happens only where it meets what its author had not seen.
    pub(crate) fn has_quarantined(&self) -> bool {
        self.quarantined
    }

    /// The collection's number.
    pub(crate) fn id(&self) -> u32 {
        self.meta.id
    }

    /// How concurrent changes of its documents are settled.
    pub(crate) fn policy(&self) -> &ConflictPolicy {
        &self.meta.options.conflicts
    }

    /// The document with this `_id`.
    pub(crate) fn document(&self, view: &mut ViewWriter<'_, '_>, id_key: &[u8]) -> Result<Option<Vec<u8>>> {
        let stored =
            view.get(&keyspace::document(self.meta.id, id_key))?.map(|stored| stored.value().to_vec());
        view.work().add(stored.as_ref().map_or(0, Vec::len));
        Ok(stored)
    }

    /// Inserts a document.
    pub(crate) fn insert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        document: &RawDocument,
    ) -> Result<(), ChangeError> {
        let key = keyspace::document(self.meta.id, id_key);
        if view.get(&key)?.is_some() {
            let id = super::catalog::id_of(document).and_then(|id| Bson::try_from(id).ok());
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            return Err(duplicate::of_id(&self.name, &id).into());
        }
        view.work().add(document.as_bytes().len());
        let entries = self.entries(view, id_key, document)?;
        let duplicates = self.duplicates(view, id_key, &entries)?;
        self.quarantined |= quarantine::mark(view, &quarantine::keys_to_mark(&entries), &duplicates)?;
        self.difference.indexes.iter_mut().zip(&entries).for_each(|(change, added)| added.add_to(change));
        self.put_entries(view, entries)?;
        view.put(&key, document.as_bytes())?;
        self.difference.documents.add(1, document.as_bytes().len());
        Ok(())
    }

    /// Puts `new` in the place of `old`, which has the same `_id`.
    pub(crate) fn replace(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        old: &RawDocument,
        new: &RawDocument,
    ) -> Result<(), ChangeError> {
        view.work().add(new.as_bytes().len());
        let mut removed = self.entries(view, id_key, old)?;
        let mut added = self.entries(view, id_key, new)?;
        let mut to_mark = quarantine::keys_to_mark(&removed);
        to_mark.extend(quarantine::keys_to_mark(&added));
        let mut difference = self.difference.clone();
        for ((removed, added), change) in removed.iter_mut().zip(&mut added).zip(&mut difference.indexes) {
            removed.take_from(change);
            added.add_to(change);
            // What stays is neither deleted nor written again; of quarantine it is to be asked whether that still holds.
            removed.entries.retain(|key, types| match added.entries.get(key) {
                Some(same) if same == types && !added.quarantines => {
                    added.entries.remove(key);
                    false
                }
                Some(_) => false,
                None => true,
            });
        }
        let duplicates = self.duplicates(view, id_key, &added)?;
        self.quarantined |= quarantine::mark(view, &to_mark, &duplicates)?;
        self.delete_entries(view, removed)?;
        self.put_entries(view, added)?;
        view.put(&keyspace::document(self.meta.id, id_key), new.as_bytes())?;
        difference.documents.remove(1, old.as_bytes().len());
        difference.documents.add(1, new.as_bytes().len());
        self.difference = difference;
        Ok(())
    }

    /// Deletes a document.
    pub(crate) fn delete(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        old: &RawDocument,
    ) -> Result<(), ChangeError> {
        let removed = self.entries(view, id_key, old)?;
        quarantine::mark(view, &quarantine::keys_to_mark(&removed), &BTreeSet::new())?;
        self.difference.indexes.iter_mut().zip(&removed).for_each(|(change, gone)| gone.take_from(change));
        self.delete_entries(view, removed)?;
        view.delete(&keyspace::document(self.meta.id, id_key))?;
        self.difference.documents.remove(1, old.as_bytes().len());
        Ok(())
    }

    /// Writes what was held back: index entries, the statistics, newly multikey fields.
    pub(crate) fn finish(mut self, view: &mut ViewWriter<'_, '_>, catalog: &mut CatalogCache) -> Result<()> {
        self.write_pending(view)?;
        let index_ids = self.meta.indexes.iter().map(|index| index.id);
        Statistics::change(view, self.meta.id, &self.difference, index_ids)?;
        let widened = self
            .meta
            .indexes
            .iter()
            .zip(&self.multikey)
            .any(|(index, new)| index.multikey.union(*new) != index.multikey);
        if widened {
            let mut meta = CollectionMeta::clone(&self.meta);
            for (index, new) in meta.indexes.iter_mut().zip(&self.multikey) {
                index.multikey = index.multikey.union(*new);
            }
            catalog.store(view, &self.name, meta)?;
        }
        Ok(())
    }

    /// The entries of a document in every index, in the order of the indexes. What they take counts as work of the entry.
    fn entries(
        &self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        document: &RawDocument,
    ) -> Result<Vec<EntriesOfIndex>, QueryError> {
        let id_types = id_types(document);
        let mut all = Vec::with_capacity(self.meta.indexes.len());
        for index in &self.meta.indexes {
            let entries = entries_of_index(index, id_key, &id_types, document)?;
            view.work().add(entries.bytes());
            view.work().check()?;
            all.push(entries);
        }
        Ok(all)
    }

    /// Notes an index entry to write (with its types) or to delete (none).
    fn hold_back(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        key: Vec<u8>,
        types: Option<Vec<u8>>,
    ) -> Result<()> {
        self.pending_bytes += key.len() + types.as_ref().map_or(0, Vec::len);
        self.pending.insert(key, types);
        if self.pending_bytes > PENDING_BYTES_MAX { self.write_pending(view) } else { Ok(()) }
    }

    fn write_pending(&mut self, view: &mut ViewWriter<'_, '_>) -> Result<()> {
        self.pending_bytes = 0;
        for (key, types) in std::mem::take(&mut self.pending) {
            match types {
                Some(types) => view.put(&key, &types)?,
                None => view.delete(&key)?,
            }
        }
        Ok(())
    }

    fn put_entries(&mut self, view: &mut ViewWriter<'_, '_>, entries: Vec<EntriesOfIndex>) -> Result<()> {
        for (position, entries) in entries.into_iter().enumerate() {
            if let Some(multikey) = self.multikey.get_mut(position) {
                *multikey = multikey.union(entries.multikey);
            }
            for (key, types) in entries.entries {
                if entries.unique {
                    view.put(&key, &types)?;
                } else {
                    self.hold_back(view, key, Some(types))?;
                }
            }
        }
        Ok(())
    }

    fn delete_entries(&mut self, view: &mut ViewWriter<'_, '_>, entries: Vec<EntriesOfIndex>) -> Result<()> {
        for entries in entries {
            for key in entries.entries.into_keys() {
                if entries.unique {
                    view.delete(&key)?;
                } else {
                    self.hold_back(view, key, None)?;
                }
            }
        }
        Ok(())
    }
}

/// The entries that one document has in one index: full key to types.
pub(crate) struct EntriesOfIndex {
    pub(super) unique: bool,
    /// Whether what comes second under a key is kept.
    pub(super) quarantines: bool,
    /// The fields that met an array in this document.
    pub(crate) multikey: MultikeyFields,
    pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl EntriesOfIndex {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, types)| key.len() + types.len()).sum()
    }

    /// Counts them as added.
    pub(crate) fn add_to(&self, change: &mut Change) {
        change.add(self.entries.len(), self.bytes());
    }

    /// Counts them as taken away.
    pub(crate) fn take_from(&self, change: &mut Change) {
        change.remove(self.entries.len(), self.bytes());
    }
}

/// The entries of a document in an index.
pub(crate) fn entries_of_index(
    index: &IndexMeta,
    id_key: &[u8],
    id_types: &[u8],
    document: &RawDocument,
) -> Result<EntriesOfIndex, QueryError> {
    let mut entries = BTreeMap::new();
    let multikey = each_entry(index, id_key, id_types, document, |key, types| {
        entries.insert(key.to_vec(), types.to_vec());
    })?;
    let definition = &index.definition;
    let (unique, quarantines) = (definition.is_unique(), definition.quarantines());
    Ok(EntriesOfIndex { unique, quarantines, multikey, entries })
}

/// Hands key and types of each entry of a document in an index to `take`, by ascending keys; gives the fields that met an array.
pub(crate) fn each_entry(
    index: &IndexMeta,
    id_key: &[u8],
    id_types: &[u8],
    document: &RawDocument,
    mut take: impl FnMut(&[u8], &[u8]),
) -> Result<MultikeyFields, QueryError> {
    let found = index.definition.entries(document)?;
    let mut key = keyspace::entries(index.id);
    let mut bytes = 0;
    for entry in found.entries {
        // Each entry repeats the `_id`, which may be as long as a document.
        bytes += entry.key.len() + id_key.len();
        if bytes > INDEX_BYTES_PER_DOCUMENT_MAX {
            let name = index.definition.name();
            let message = format!("the document's keys are too long together: index={name}");
            return Err(QueryError::new(ErrorCode::KEY_TOO_LONG, message));
        }
        key.truncate(keyspace::PREFIX_BYTES);
        key.extend_from_slice(&entry.key);
        key.extend_from_slice(id_key);
        take(&key, &join_types(&entry.types, id_types));
    }
    Ok(found.multikey)
}

/// The order-preserving key of an `_id`.
pub(crate) fn id_key(id: RawBsonRef<'_>) -> Vec<u8> {
    let (mut key, mut types) = (Vec::with_capacity(24), Vec::new());
    encode_value(id, Direction::Ascending, &mut key, &mut types);
    key
}

/// What gives back the exact type of a document's `_id` from its key.
pub(crate) fn id_types(document: &RawDocument) -> Vec<u8> {
    let (mut key, mut types) = (Vec::new(), Vec::new());
    if let Some(id) = super::catalog::id_of(document) {
        encode_value(id, Direction::Ascending, &mut key, &mut types);
    }
    trim_types(&mut types);
    types
}
