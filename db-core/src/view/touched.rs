//! What has changed of documents and collections since readers were last shown the view: where a stream has to look.
//!
//! It names places and no values: what was applied and what was undone are noted alike, and whoever compares the view before
//! with the view after at these places sees the net change.

use std::collections::{BTreeMap, BTreeSet};

use super::keyspace;
use super::undo::Undo;
use crate::limits;

/// Where documents and collections may have changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touched {
    /// Anything may have changed.
    everything: bool,
    /// A collection may have come, gone or got another name.
    catalog: bool,
    collections: BTreeMap<u32, TouchedKeys>,
    keys: usize,
}

/// Which documents of a collection.
#[derive(Debug, Clone)]
pub(crate) enum TouchedKeys {
    /// Those under these keys of their `_id`s.
    Some(BTreeSet<Vec<u8>>),
    /// Any.
    All,
}

impl Touched {
    /// That anything may have changed.
    pub(crate) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether a collection may have come, gone or got another name.
    pub(crate) fn touches_catalog(&self) -> bool {
        self.everything || self.catalog
    }

    /// How many keys are noted.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// Adds the documents of this collection that may have changed to `keys`.
    pub(crate) fn add_to(&self, collection_id: u32, keys: &mut TouchedKeys) {
        let more = match self.collections.get(&collection_id) {
            _ if self.everything => None,
            Some(TouchedKeys::All) => None,
            Some(TouchedKeys::Some(more)) => Some(more),
            None => return,
        };
        match (keys, more) {
            (TouchedKeys::Some(keys), Some(more)) => keys.extend(more.iter().cloned()),
            (keys, None) => *keys = TouchedKeys::All,
            (TouchedKeys::All, Some(_)) => {}
        }
    }

    /// Notes where an entry has changed something, or what undoing it has changed; key by key if `by_key`, else by
    /// collections.
    pub(crate) fn note(&mut self, undo: &Undo, by_key: bool) {
        if self.everything {
            return;
        }
        self.catalog |= undo.collections().next().is_some();
        if !by_key {
            for collection_id in undo.collection_ids() {
                self.collections.insert(collection_id, TouchedKeys::All);
            }
            return;
        }
        for (key, _) in undo.documents() {
            let Some((collection_id, id_key)) = keyspace::split_document(key) else { continue };
            let touched = self.collections.entry(collection_id);
            let touched = touched.or_insert_with(|| TouchedKeys::Some(BTreeSet::new()));
            let TouchedKeys::Some(keys) = touched else { continue };
            if self.keys >= limits::TOUCHED_KEYS_MAX {
                // One that is looked through as a whole needs no keys.
                self.keys -= keys.len().min(self.keys);
                *touched = TouchedKeys::All;
            } else if keys.insert(id_key.to_vec()) {
                self.keys += 1;
            }
        }
    }
}
