//! What an entry has overwritten in the view: what it takes to undo it, and to tell what it has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::keyspace::{self, KeyBounds};
use crate::bytes::{Malformed, Put, Reader};

/// What noting a key costs beside its bytes.
const CHANGE_BYTES: usize = 64;

/// What an entry, or a part of it, overwrote: each key, and what stood there before.
///
/// Layout, key by key: the key behind its length (u32), a byte that is 1 if something stood there before, and that behind
/// its length. Where the byte is 2, nothing began with the key before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Undo {
    pub(super) before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The prefixes with which nothing began.
    pub(super) fresh: BTreeSet<Vec<u8>>,
}

impl Undo {
    /// Each key that is noted by itself, and what stood there before.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.before.iter().map(|(key, before)| (key.as_slice(), before.as_deref()))
    }

    /// The prefixes with which nothing began: what was put there is not noted by itself.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &[u8]> {
        self.fresh.iter().map(Vec::as_slice)
    }

    /// Each document that was changed, by its key, and what it was before.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.within(keyspace::all_documents())
    }

    /// Each collection's record that was changed, by its key, and what it was before.
    pub(crate) fn collections(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.within(keyspace::prefix_bounds(keyspace::COLLECTIONS))
    }

    /// The collections of which documents were changed.
    pub(crate) fn collection_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::new();
        let (mut low, high) = keyspace::all_documents();
        loop {
            let next = self.before.range((low, high.clone())).next();
            let Some((id, _)) = next.and_then(|(key, _)| keyspace::split_document(key)) else { return ids };
            ids.push(id);
            let (_, end) = keyspace::prefix_bounds(&keyspace::documents(id));
            let Bound::Excluded(end) = end else { return ids };
            low = Bound::Included(end);
        }
    }

    fn within(&self, bounds: KeyBounds) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.before.range(bounds).map(|(key, before)| (key.as_slice(), before.as_deref()))
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let fresh: usize = self.fresh.iter().map(|prefix| bytes_of(prefix, None)).sum();
        fresh + self.before.iter().map(|(key, before)| bytes_of(key, before.as_deref())).sum::<usize>()
    }

    /// Whether it overwrote nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.fresh.is_empty()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for prefix in &self.fresh {
            bytes.put_bytes(prefix);
            bytes.put_u8(2);
        }
        for (key, before) in &self.before {
            bytes.put_bytes(key);
            match before {
                Some(before) => {
                    bytes.put_u8(1);
                    bytes.put_bytes(before);
                }
                None => bytes.put_u8(0),
            }
        }
        bytes
    }

    /// Reads a stored record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut undo = Self::default();
        while reader.remaining() > 0 {
            let key = reader.bytes(usize::MAX)?.to_vec();
            match reader.u8()? {
                0 => undo.before.insert(key, None).is_none(),
                1 => undo.before.insert(key, Some(reader.bytes(usize::MAX)?.to_vec())).is_none(),
                2 => undo.fresh.insert(key),
                _ => return Err(Malformed("undo record")),
            };
        }
        Ok(undo)
    }
}

/// About how much memory noting a key takes.
pub(super) fn bytes_of(key: &[u8], before: Option<&[u8]>) -> usize {
    CHANGE_BYTES + key.len() + before.map_or(0, <[u8]>::len)
}
