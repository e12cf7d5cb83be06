//! What writes give back.

use std::collections::BTreeMap;

use bson::Bson;

use crate::ids::EntryHash;

/// The result of inserting one document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InsertOneResult {
    /// The document's `_id`.
    pub inserted_id: Bson,
    /// The entry that holds the insert.
    pub entry: Option<EntryHash>,
}

/// The result of inserting many documents.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InsertManyResult {
    /// The documents' `_id`s, in the order of the call.
    pub inserted_ids: Vec<Bson>,
    /// The entry that holds the insert.
    pub entry: Option<EntryHash>,
}

/// The result of an update or replacement.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct UpdateResult {
    /// How many documents matched the filter.
    pub matched_count: u64,
    /// How many of them changed.
    pub modified_count: u64,
    /// The `_id` of the document that an upsert inserted.
    pub upserted_id: Option<Bson>,
    /// The entry that holds the update; none if there was nothing to do.
    pub entry: Option<EntryHash>,
}

/// The result of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeleteResult {
    /// How many documents were deleted.
    pub deleted_count: u64,
    /// The entry that holds the delete; none if there was nothing to do.
    pub entry: Option<EntryHash>,
}

/// The result of a bulk write.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct BulkWriteResult {
    /// How many documents were inserted, those of upserts not counted.
    pub inserted_count: u64,
    /// How many documents updates and replacements matched.
    pub matched_count: u64,
    /// How many of them changed.
    pub modified_count: u64,
    /// How many documents were deleted.
    pub deleted_count: u64,
    /// The `_id`s of the documents inserted, by position of the write.
    pub inserted_ids: BTreeMap<usize, Bson>,
    /// The `_id`s of the documents that upserts inserted, by position of the write.
    pub upserted_ids: BTreeMap<usize, Bson>,
    /// The entry that holds the writes; none if there was nothing to do.
    pub entry: Option<EntryHash>,
}
