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
    /// What the keys take.
    bytes: usize,
}

/// What noting a key costs beside its bytes.
const KEY_BYTES: usize = 64;

/// Which documents of a collection.
#[derive(Debug, Clone)]
pub(crate) enum TouchedKeys {
    /// Those under these keys of their `_id`s.
    Some(BTreeSet<Vec<u8>>),
    /// Any.
    All,
}

impl Touched {
    /// That these documents have changed, by their keys.
    #[cfg(test)]
    pub(crate) fn of_documents(collection_id: u32, id_keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut touched = Self::default();
        for id_key in id_keys {
            touched.note_key(collection_id, &id_key);
        }
        touched
    }

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

    /// How many bytes the noted keys take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
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
            let freed: usize = keys.iter().map(|key| KEY_BYTES + key.len()).sum();
            self.bytes -= freed.min(self.bytes);
        }
    }

    fn note_key(&mut self, collection_id: u32, id_key: &[u8]) {
        let touched = self.collections.entry(collection_id);
        let touched = touched.or_insert_with(|| TouchedKeys::Some(BTreeSet::new()));
        let TouchedKeys::Some(keys) = touched else { return };
        if keys.contains(id_key) {
            return;
        }
        let bytes = KEY_BYTES + id_key.len();
        if self.keys >= limits::TOUCHED_KEYS_MAX
            || self.bytes.saturating_add(bytes) > limits::TOUCHED_BYTES_MAX
        {
            self.note_all(collection_id);
        } else {
            keys.insert(id_key.to_vec());
            self.keys += 1;
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(collection: u32, ids: impl Iterator<Item = Vec<u8>>) -> Undo {
        let mut undo = Undo::default();
        undo.before.extend(ids.map(|id| (keyspace::document(collection, &id), None)));
        undo
    }

    fn is_whole(touched: &Touched, collection: u32) -> bool {
        let mut keys = TouchedKeys::Some(BTreeSet::new());
        touched.add_to(collection, &mut keys);
        matches!(keys, TouchedKeys::All)
    }

    #[test]
    fn keys_are_noted_within_a_number_and_within_bytes_and_beyond_that_collections_as_a_whole() {
        let (mut few_and_long, mut many) = (Touched::default(), Touched::default());
        let long = |n: u8| vec![n; limits::TOUCHED_BYTES_MAX / 8];
        few_and_long.note(&undo(1, [vec![1], vec![2]].into_iter()), true);
        few_and_long.note(&undo(2, (0..7).map(long)), true);
        assert!(!is_whole(&few_and_long, 2) && few_and_long.bytes() > limits::TOUCHED_BYTES_MAX / 2);
        few_and_long.note(&undo(2, (0..7).map(long)), true);
        assert!(!is_whole(&few_and_long, 2), "what is noted already costs nothing");
        few_and_long.note(&undo(2, (7..9).map(long)), true);
        assert!(is_whole(&few_and_long, 2) && !is_whole(&few_and_long, 1));
        assert_eq!((few_and_long.keys(), few_and_long.bytes()), (2, 2 * (KEY_BYTES + 1)));

        let short = |n: usize| n.to_be_bytes().to_vec();
        many.note(&undo(1, (0..=limits::TOUCHED_KEYS_MAX).map(short)), true);
        assert!(is_whole(&many, 1));
        assert_eq!((many.keys(), many.bytes()), (0, 0));
    }
}
