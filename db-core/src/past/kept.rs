//! A past state of what is confirmed: the kept changes say what stood under the keys of documents and collections before the
//! entries since; put on top of the confirmed view, with what follows from it: index entries and what is counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bson::RawDocument;
use db_index::IndexDefinition;

use super::gathered::Gathered;
use crate::error::{Error, Result};
use crate::storage::ChangesSnapshot;
use crate::view::catalog::{self, CollectionMeta};
use crate::view::documents::{entries_of_index, id_types};
use crate::view::statistics::{Difference, Statistics};
use crate::view::{ReadView, Stored, ViewSnapshot, keyspace};

/// What is confirmed, as it was before the entry at position `next` of the order. All changes from there on must be kept.
///
/// # Errors
/// 292 if what was changed since takes more than [`crate::limits::PAST_BYTES_MAX`]; if the storage fails.
pub(super) fn view_before(
    confirmed: &ViewSnapshot,
    changes: &ChangesSnapshot,
    next: u64,
) -> Result<ViewSnapshot> {
    let mut gathered = Gathered::default();
    gathered.read_changes(changes, next, |key| keyspace::split_collection(key).is_some())?;
    let collections = Collections::read(confirmed, &mut gathered)?;
    // Of collections that have been made since nobody reads documents.
    gathered.read_changes(changes, next, |key| {
        keyspace::split_document(key).is_some_and(|(id, _)| collections.then.contains_key(&id))
    })?;
    let mut over: Option<Over> = None;
    for key in gathered.documents() {
        let before = gathered.keys.get(&key).cloned().flatten();
        let Some((id, id_key)) = keyspace::split_document(&key) else { continue };
        if over.as_ref().is_none_or(|over| over.meta.id != id) {
            if let Some(over) = over.take() {
                over.finish(confirmed, &mut gathered)?;
            }
            over = Some(collections.over(confirmed, &gathered, id)?);
        }
        if let Some(over) = &mut over {
            over.change(confirmed, &mut gathered, id_key, (&key, before.as_deref()))?;
        }
    }
    if let Some(over) = over {
        over.finish(confirmed, &mut gathered)?;
    }
    Ok(confirmed.with_changes([gathered.into_changes()]))
}

/// The collections that there were.
struct Collections {
    /// The keys of their records, by their numbers.
    then: BTreeMap<u32, Vec<u8>>,
    /// Of those whose records have changed since, and that are still there, the indexes that are.
    indexes_now: BTreeMap<u32, Vec<u32>>,
}

impl Collections {
    /// Reads them; records of collections that have lost an index since are changed, so that nobody reads by it.
    fn read(confirmed: &ViewSnapshot, gathered: &mut Gathered) -> Result<Self> {
        let mut then = BTreeMap::new();
        for (key, record) in &gathered.keys {
            if let Some(record) = record {
                then.insert(catalog::collection_id(record)?, key.clone());
            }
        }
        let mut indexes_now = BTreeMap::new();
        for item in confirmed.range(keyspace::prefix_bounds(keyspace::COLLECTIONS))? {
            let (key, record) = item?;
            let id = catalog::collection_id(record.value())?;
            match then.entry(id) {
                Entry::Occupied(_) => {
                    let meta = CollectionMeta::decode(record.value())?;
                    indexes_now.insert(id, meta.indexes.iter().map(|index| index.id).collect());
                }
                Entry::Vacant(_) if gathered.keys.contains_key(key.value()) => {}
                Entry::Vacant(place) => {
                    place.insert(key.value().to_vec());
                }
            }
        }
        let collections = Self { then, indexes_now };
        collections.hide_lost_indexes(gathered)?;
        Ok(collections)
    }

    fn hide_lost_indexes(&self, gathered: &mut Gathered) -> Result<()> {
        for (id, now) in &self.indexes_now {
            let Some(key) = self.then.get(id) else { continue };
            let Some(Some(record)) = gathered.keys.get(key) else { continue };
            let mut meta = CollectionMeta::decode(record)?;
            let mut is_changed = false;
            for index in meta.indexes.iter_mut().filter(|index| !now.contains(&index.id)) {
                index.definition = hidden(&index.definition)?;
                is_changed = true;
            }
            if is_changed {
                gathered.put(key.clone(), Some(meta.encode().as_bytes()))?;
            }
        }
        Ok(())
    }

    /// A collection whose documents were others.
    fn over(&self, confirmed: &ViewSnapshot, gathered: &Gathered, id: u32) -> Result<Over> {
        let missing = || Error::data("the record of a collection is missing");
        let key = self.then.get(&id).ok_or_else(missing)?;
        let mut meta = match gathered.keys.get(key) {
            Some(record) => CollectionMeta::decode(record.as_deref().ok_or_else(missing)?)?,
            None => CollectionMeta::decode(confirmed.value(key)?.ok_or_else(missing)?.value())?,
        };
        if let Some(now) = self.indexes_now.get(&id) {
            meta.indexes.retain(|index| now.contains(&index.id));
        }
        let difference = Difference::of_indexes(meta.indexes.len());
        Ok(Over { meta, difference })
    }
}

/// A collection whose documents were others.
struct Over {
    /// As it was, with those of its indexes that are still there, or are gone with it.
    meta: CollectionMeta,
    difference: Difference,
}

impl Over {
    /// Puts a document in the place of what is there now, and its index entries.
    fn change(
        &mut self,
        confirmed: &ViewSnapshot,
        gathered: &mut Gathered,
        id_key: &[u8],
        (key, before): (&[u8], Option<&[u8]>),
    ) -> Result<()> {
        let now = confirmed.value(key)?;
        let now = now.as_ref().map(Stored::value);
        if now == before {
            return Ok(());
        }
        if let Some(now) = now {
            self.difference.documents.remove(1, now.len());
            let (document, types) = document(now)?;
            for (index, change) in self.meta.indexes.iter().zip(&mut self.difference.indexes) {
                let entries = entries_of_index(index, id_key, &types, document)?;
                entries.take_from(change);
                entries.entries.into_keys().try_for_each(|key| gathered.put(key, None))?;
            }
        }
        if let Some(before) = before {
            self.difference.documents.add(1, before.len());
            let (document, types) = document(before)?;
            for (index, change) in self.meta.indexes.iter().zip(&mut self.difference.indexes) {
                let entries = entries_of_index(index, id_key, &types, document)?;
                entries.add_to(change);
                entries.entries.into_iter().try_for_each(|(key, types)| gathered.put(key, Some(&types)))?;
            }
        }
        Ok(())
    }

    /// Puts there what was counted.
    fn finish(self, confirmed: &ViewSnapshot, gathered: &mut Gathered) -> Result<()> {
        let mut statistics = Statistics::of(confirmed, self.meta.id)?;
        statistics.add(&self.difference, self.meta.indexes.iter().map(|index| index.id));
        gathered.put(keyspace::statistics(self.meta.id), Some(&statistics.encode()))
    }
}

/// A stored document, and what gives back the exact type of its `_id`.
fn document(stored: &[u8]) -> Result<(&RawDocument, Vec<u8>)> {
    let document =
        RawDocument::from_bytes(stored).map_err(|_| Error::data("a stored document is damaged"))?;
    Ok((document, id_types(document)))
}

/// The same index, which no query is to be read by.
fn hidden(definition: &IndexDefinition) -> Result<IndexDefinition> {
    if definition.is_hidden() {
        return Ok(definition.clone());
    }
    let mut document = definition.to_document();
    document.append(bson::raw::cstr!("hidden"), true);
    Ok(IndexDefinition::from_document(&document)?)
}
