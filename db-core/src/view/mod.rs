//! The view: the ordered keyspace that applying the order builds. Catalog, documents with their histories and index entries
//! are key prefixes of one redb table.

pub(crate) mod catalog;
pub(crate) mod confirmed;
pub(crate) mod confirmed_range;
pub(crate) mod digest;
pub(crate) mod documents;
mod duplicate;
pub(crate) mod gaps;
pub(crate) mod history;
pub(crate) mod identities;
pub(crate) mod journal;
pub(crate) mod keyspace;
pub(crate) mod members;
pub(crate) mod overlay;
pub(crate) mod policy;
pub(crate) mod quarantine;
pub(crate) mod settled;
pub(crate) mod shared_catalog;
pub(crate) mod statistics;
mod stored;
mod survey;
pub(crate) mod touched;
pub(crate) mod undo;
pub(crate) mod work;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{ReadOnlyTable, ReadableTableMetadata};

use crate::error::Result;
use catalog::CollectionMeta;
use confirmed::{Before, OverwrittenSnapshot};
use confirmed_range::ConfirmedRange;
use gaps::Gaps;
use keyspace::KeyBounds;
use overlay::Changes;
use shared_catalog::SharedCatalog;
pub(crate) use stored::{Item, KeyRange, Stored};

/// A table of bytes to bytes inside a write transaction.
pub(crate) type BytesTable<'txn> = redb::Table<'txn, &'static [u8], &'static [u8]>;

/// Reading access to the view, the same for a snapshot and for the transaction that changes it.
pub(crate) trait ReadView {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>>;

    /// The keys between the bounds with their values, ascending, or descending from the other end.
    fn range(&self, bounds: KeyBounds) -> Result<KeyRange<'_>>;
}

/// The view as a snapshot saw it. Clones share the snapshot, and what was read of its catalog.
#[derive(Clone)]
pub(crate) struct ViewSnapshot(Arc<Snapshot>);

struct Snapshot {
    tables: Arc<SnapshotTables>,
    /// Whether the tail is looked through.
    is_confirmed: bool,
    /// What is put on top, the last uppermost: by calls while a backlog is ordered, by a transaction, or as it was in the past.
    layers: Vec<Changes>,
    catalog: Mutex<BTreeMap<String, Arc<CollectionMeta>>>,
    /// A file that nobody else keeps open.
    held: Option<Arc<redb::Database>>,
}

struct SnapshotTables {
    view: ReadOnlyTable<&'static [u8], &'static [u8]>,
    overwritten: OverwrittenSnapshot,
    /// Where nothing is confirmed, as far as is known.
    gaps: Arc<Gaps>,
}

impl ViewSnapshot {
    /// The view as it is, with what the tail has overwritten of it, and what is known of this state of what is confirmed.
    pub(crate) fn new(
        view: ReadOnlyTable<&'static [u8], &'static [u8]>,
        overwritten: OverwrittenSnapshot,
        gaps: Arc<Gaps>,
    ) -> Self {
        Self::of(Arc::new(SnapshotTables { view, overwritten, gaps }), false)
    }

    fn of(tables: Arc<SnapshotTables>, is_confirmed: bool) -> Self {
        let (layers, catalog) = (Vec::new(), Mutex::default());
        Self(Arc::new(Snapshot { tables, is_confirmed, layers, catalog, held: None }))
    }

    /// The same snapshot of a file that nobody else keeps open.
    pub(crate) fn holding(&self, file: Arc<redb::Database>) -> Self {
        let (tables, is_confirmed) = (Arc::clone(&self.0.tables), self.0.is_confirmed);
        let (layers, catalog) = (self.0.layers.clone(), Mutex::default());
        Self(Arc::new(Snapshot { tables, is_confirmed, layers, catalog, held: Some(file) }))
    }

    /// The same snapshot with changes on top, of which the later hide the earlier.
    pub(crate) fn with_changes(&self, changes: impl IntoIterator<Item = Changes>) -> Self {
        let (tables, is_confirmed) = (Arc::clone(&self.0.tables), self.0.is_confirmed);
        let layers = self.0.layers.iter().cloned().chain(changes).collect();
        let (catalog, held) = (Mutex::default(), self.0.held.clone());
        Self(Arc::new(Snapshot { tables, is_confirmed, layers, catalog, held }))
    }

    /// The view as it was before the tail: what is confirmed.
    pub(crate) fn confirmed(&self) -> Result<Self> {
        // Without a tail they are the same.
        let has_tail = !self.0.layers.is_empty() || !self.0.tables.overwritten.is_empty()?;
        if self.0.is_confirmed || !has_tail {
            return Ok(self.clone());
        }
        Ok(Self::of(Arc::clone(&self.0.tables), true))
    }

    /// How many keys the tail has changed.
    #[cfg(test)]
    pub(crate) fn overwritten_rows(&self) -> Result<u64> {
        Ok(self.0.tables.overwritten.len()?)
    }

    /// In how many stretches it is known that nothing is confirmed.
    #[cfg(test)]
    pub(crate) fn known_gaps(&self) -> usize {
        self.0.tables.gaps.count()
    }

    /// The value under `key`, which lives as long as it is held.
    pub(crate) fn value(&self, key: &[u8]) -> Result<Option<Stored<'static>>> {
        if let Some(changed) = overlay::changed(&self.0.layers, key) {
            return Ok(overlay::stored(changed.as_deref()));
        }
        let tables = &self.0.tables;
        if self.0.is_confirmed
            && let Before::Changed(before) = confirmed::before(&tables.overwritten, key)?
        {
            return Ok(before);
        }
        Ok(tables.view.get(key)?.map(Stored::Page))
    }

    /// The keys between the bounds, which live as long as they are held.
    pub(crate) fn keys(&self, bounds: &KeyBounds) -> Result<KeyRange<'static>> {
        Ok(overlay::with_layers(self.keys_below(bounds)?, &self.0.layers, bounds))
    }

    /// The keys between the bounds without what was put on top.
    fn keys_below(&self, bounds: &KeyBounds) -> Result<KeyRange<'static>> {
        let tables = &self.0.tables;
        if self.0.is_confirmed {
            return Ok(KeyRange::Confirmed(Box::new(ConfirmedRange::new(tables, bounds)?)));
        }
        let (low, high) = bounds;
        let bounds = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        Ok(KeyRange::Latest(tables.view.range::<&[u8]>(bounds)?))
    }

    /// The collection called `name`, if it exists, from what `shared` knows of earlier snapshots.
    pub(crate) fn collection(
        &self,
        name: &str,
        shared: &SharedCatalog,
    ) -> Result<Option<Arc<CollectionMeta>>> {
        let known = |catalog: &BTreeMap<_, _>| catalog.get(name).map(Arc::clone);
        if let Some(meta) = known(&self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Some(meta));
        }
        let meta = shared.collection(self, name)?;
        if let Some(meta) = &meta {
            let mut catalog = self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner);
            catalog.insert(name.to_owned(), Arc::clone(meta));
        }
        Ok(meta)
    }
}

impl ReadView for ViewSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        self.value(key)
    }

    fn range(&self, bounds: KeyBounds) -> Result<KeyRange<'_>> {
        self.keys(&bounds)
    }
}
