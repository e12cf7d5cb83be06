//! The view's key prefixes: which bytes stand where in the one B-tree.
//!
//! ```text
//! 01 01 <collection name>            catalog record of a collection (BSON)
//! 01 02 <collection id>              what is counted of it (see `statistics`)
//! 01 03                              next collection id and next index id (u32 each)
//! 01 04 <writer>                     roles of a writer (u8)
//! 01 05                              the indexers (32 bytes each, ascending)
//! 01 06                              present once an open database is founded
//! 01 07 <writer>                     present once its log is proved to be forked (u8: 1 if it was an indexer)
//! 01 08 <writer>                     the name of the writer whose first key this is (UTF-8)
//! 01 09 <writer>                     the first key of the writer that has this later one
//! 01 0A <writer>                     the key that goes on for this one
//! 02 <collection id> <_id>           a document (BSON)
//! 03 <index id> <values> <_id>       an index entry; its value restores the exact types of the key's values
//! 04 <collection id> <_id>           the history of a document
//! 05 <entry>                         what has become of an entry, if it is not simply applied
//! 06 <index id> <values> <_id>       a mark: the document of this index entry is in quarantine
//! ```
//!
//! Ids are big-endian u32, so that a collection's documents and an index's entries are one range each. `<_id>` and
//! `<values>` are order-preserving keys ([`db_index`]).

use std::ops::Bound;

use db_index::prefix_end;

use crate::ids::{EntryHash, WriterKey};

const CATALOG: u8 = 1;
const DOCUMENTS: u8 = 2;
const ENTRIES: u8 = 3;
const HISTORIES: u8 = 4;
const SETTLED: u8 = 5;
const MARKS: u8 = 6;

const CATALOG_COLLECTION: u8 = 1;
const CATALOG_STATISTICS: u8 = 2;
const CATALOG_NEXT_IDS: u8 = 3;
const CATALOG_ROLES: u8 = 4;
const CATALOG_INDEXERS: u8 = 5;
const CATALOG_FOUNDED: u8 = 6;
const CATALOG_FORKED: u8 = 7;
const CATALOG_WRITER_NAME: u8 = 8;
const CATALOG_IDENTITY: u8 = 9;
const CATALOG_REPLACED: u8 = 10;

/// Where the next ids to give out are kept.
pub(crate) const NEXT_IDS: &[u8] = &[CATALOG, CATALOG_NEXT_IDS];
/// Where the indexers are kept.
pub(crate) const INDEXERS: &[u8] = &[CATALOG, CATALOG_INDEXERS];
/// Present once an open database has its first indexers.
pub(crate) const FOUNDED: &[u8] = &[CATALOG, CATALOG_FOUNDED];
/// The prefix of all collections' catalog records.
pub(crate) const COLLECTIONS: &[u8] = &[CATALOG, CATALOG_COLLECTION];
/// The prefix of all writers' roles.
pub(crate) const ROLES: &[u8] = &[CATALOG, CATALOG_ROLES];

/// The key of a collection's catalog record.
pub(crate) fn collection(name: &str) -> Vec<u8> {
    [COLLECTIONS, name.as_bytes()].concat()
}

/// The key of what is counted of a collection.
pub(crate) fn statistics(collection_id: u32) -> Vec<u8> {
    [&[CATALOG, CATALOG_STATISTICS][..], &collection_id.to_be_bytes()].concat()
}

/// The key of a writer's roles.
pub(crate) fn roles(writer: &WriterKey) -> Vec<u8> {
    [ROLES, writer.as_bytes()].concat()
}

/// The key of the mark of a writer whose log is forked.
pub(crate) fn forked(writer: &WriterKey) -> Vec<u8> {
    [&[CATALOG, CATALOG_FORKED][..], writer.as_bytes()].concat()
}

/// The key of the name of the writer whose first key this is.
pub(crate) fn writer_name(first: &WriterKey) -> Vec<u8> {
    [&[CATALOG, CATALOG_WRITER_NAME][..], first.as_bytes()].concat()
}

/// The key of the first key of the writer that has this later one.
pub(crate) fn identity(writer: &WriterKey) -> Vec<u8> {
    [&[CATALOG, CATALOG_IDENTITY][..], writer.as_bytes()].concat()
}

/// The key of the key that goes on for this one.
pub(crate) fn replaced(writer: &WriterKey) -> Vec<u8> {
    [&[CATALOG, CATALOG_REPLACED][..], writer.as_bytes()].concat()
}

/// The prefix of a collection's documents.
pub(crate) fn documents(collection_id: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(DOCUMENTS);
    key.extend_from_slice(&collection_id.to_be_bytes());
    key
}

/// The key of a document.
pub(crate) fn document(collection_id: u32, id_key: &[u8]) -> Vec<u8> {
    let mut key = documents(collection_id);
    key.extend_from_slice(id_key);
    key
}

/// The bounds of the documents of all collections.
pub(crate) fn all_documents() -> KeyBounds {
    prefix_bounds(&[DOCUMENTS])
}

/// The collection and the key of the `_id` in the key of a document; none of other keys.
pub(crate) fn split_document(key: &[u8]) -> Option<(u32, &[u8])> {
    let (id, id_key) = key.strip_prefix(&[DOCUMENTS])?.split_first_chunk()?;
    Some((u32::from_be_bytes(*id), id_key))
}

/// The name in the key of a collection's catalog record; none of other keys.
pub(crate) fn split_collection(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(COLLECTIONS)?).ok()
}

/// The prefix of the histories of a collection's documents.
pub(crate) fn histories(collection_id: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(HISTORIES);
    key.extend_from_slice(&collection_id.to_be_bytes());
    key
}

/// The key of a document's history.
pub(crate) fn history(collection_id: u32, id_key: &[u8]) -> Vec<u8> {
    let mut key = histories(collection_id);
    key.extend_from_slice(id_key);
    key
}

/// The key of the mark of an index entry; the prefix of an index's marks of [`entries`].
pub(crate) fn mark(entry: &[u8]) -> Vec<u8> {
    [&[MARKS], entry.get(1..).unwrap_or_default()].concat()
}

/// The key of what concurrent changes have left of an entry.
pub(crate) fn settled(entry: &EntryHash) -> Vec<u8> {
    [&[SETTLED][..], entry.as_bytes()].concat()
}

/// The prefix of an index's entries.
pub(crate) fn entries(index_id: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(ENTRIES);
    key.extend_from_slice(&index_id.to_be_bytes());
    key
}

/// Whether a key is that of an index entry.
pub(crate) fn is_entry(key: &[u8]) -> bool {
    key.first() == Some(&ENTRIES)
}

/// Whether queries read what stands under a key: documents, index entries, and what the catalog says of collections.
pub(crate) fn is_queried(key: &[u8]) -> bool {
    match key {
        [DOCUMENTS | ENTRIES, ..] => true,
        [CATALOG, kind, ..] => matches!(*kind, CATALOG_COLLECTION | CATALOG_STATISTICS),
        _ => false,
    }
}

/// How many bytes [`documents`] and [`entries`] put before what follows them.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The bounds of a range of keys.
pub(crate) type KeyBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The bounds of all keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> KeyBounds {
    (Bound::Included(prefix.to_vec()), prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded))
}
