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

    /// Adds all that another says.
    pub(crate) fn add(&mut self, other: &Self) {
        self.everything |= other.everything;
        self.catalog |= other.catalog;
        for (collection_id, more) in &other.collections {
            match more {
                TouchedKeys::All => self.note_all(*collection_id),
                TouchedKeys::Some(keys) => {
                    for key in keys {
                        self.note_key(*collection_id, key);
                    }
                }
            }
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
            undo.collection_ids().into_iter().for_each(|collection_id| self.note_all(collection_id));
            return;
        }
        for (key, _) in undo.documents() {
            if let Some((collection_id, id_key)) = keyspace::split_document(key) {
                self.note_key(collection_id, id_key);
            }
        }
    }

    /// Notes that any document of a collection may have changed: it needs no keys any more.
    fn note_all(&mut self, collection_id: u32) {
        let known = self.collections.insert(collection_id, TouchedKeys::All);
        if let Some(TouchedKeys::Some(keys)) = known {
            self.keys -= keys.len().min(self.keys);
        }
    }

    fn note_key(&mut self, collection_id: u32, id_key: &[u8]) {
        let touched = self.collections.entry(collection_id);
        let touched = touched.or_insert_with(|| TouchedKeys::Some(BTreeSet::new()));
        let TouchedKeys::Some(keys) = touched else { return };
        if self.keys >= limits::TOUCHED_KEYS_MAX {
            self.note_all(collection_id);
        } else if keys.insert(id_key.to_vec()) {
            self.keys += 1;
        }
    }
}
