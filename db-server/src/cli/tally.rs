//! What several writes have done together.

use proto::v1::{Acknowledgement, BulkWriteResponse};
use serde_json::json;

/// What was done.
#[derive(Default)]
pub(super) struct Tally {
    inserted: u64,
    matched: u64,
    modified: u64,
    deleted: u64,
    upserted: u64,
    /// How many writes were tried.
    pub(super) writes: u64,
    /// What the last of them can be followed by, which are confirmed no earlier than those before them.
    pub(super) acknowledgement: Option<Acknowledgement>,
}

impl Tally {
    /// Counts the answer to so many writes.
    pub(super) fn add(&mut self, answer: &BulkWriteResponse, writes: u64) {
        self.inserted += answer.inserted;
        self.matched += answer.matched;
        self.modified += answer.modified;
        self.deleted += answer.deleted;
        self.upserted += answer.upserted_ids.len() as u64;
        self.writes += writes;
        self.acknowledgement = answer.acknowledgement.clone().or(self.acknowledgement.take());
    }

    /// By the names of mongosh.
    pub(super) fn describe(&self) -> String {
        let described = json!({
            "insertedCount": self.inserted,
            "matchedCount": self.matched,
            "modifiedCount": self.modified,
            "deletedCount": self.deleted,
            "upsertedCount": self.upserted,
        });
        described.to_string()
    }
}
