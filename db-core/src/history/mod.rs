//! The past of a document: which entries touched it, and who wrote what it holds now. Both are read from the logs.
//!
//! The logs have no index by document, so the order is walked through backwards and every payload on the way is decoded:
//! the cost follows the number of entries behind the newest that is asked for, some hundred thousand a second. Each call is
//! bounded ([`HistoryRange::scan_limit`]) and says where to go on.

mod blame;
mod scan;
mod touch;

use std::fmt;
use std::str::FromStr;

use bson::Bson;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::log::Place;

pub use blame::{Blame, PathBlame};

/// Which changes of a document to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRange {
    /// Where the page before ended; `None` for the newest changes.
    pub from: Option<HistoryCursor>,
    /// How many changes at the most, up to [`limits::LOG_PAGE_ENTRIES_MAX`].
    pub limit: usize,
    /// How many entries to look at: at least one, at most [`limits::HISTORY_SCAN_ENTRIES_MAX`].
    pub scan_limit: u64,
}

impl Default for HistoryRange {
    /// The newest twenty, among the last million entries.
    fn default() -> Self {
        Self { from: None, limit: 20, scan_limit: limits::HISTORY_SCAN_ENTRIES }
    }
}

/// Where to go on through a document's past: a place in the order, and the name that the collection had there. While
/// entries still change their places, what is read beyond it may miss one or show one twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryCursor {
    /// Entries before this place are still to be looked at.
    before: u64,
    collection: String,
}

impl fmt::Display for HistoryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.before, self.collection)
    }
}

impl FromStr for HistoryCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("no cursor of a history");
        let (before, collection) = text.split_once(':').ok_or_else(wrong)?;
        if collection.len() > limits::COLLECTION_NAME_BYTES_MAX {
            return Err(wrong());
        }
        Ok(Self { before: before.parse().map_err(|_| wrong())?, collection: collection.to_owned() })
    }
}

/// Changes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The changes, newest first.
    pub changes: Vec<Change>,
    /// Where the next page begins; `None` at the beginning of the log. A page may be empty and yet not the last.
    pub next: Option<HistoryCursor>,
    /// How many entries were looked at.
    pub scanned: u64,
}

/// One operation that names a document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Where its entry stands in the order.
    pub place: Place,
    /// Who wrote it, and where.
    pub author: ChangeAuthor,
    /// Which operation of the entry, from 0.
    pub operation: u64,
    /// What it is: `insert`, `update`, `replace`, `upsert`, `delete`, `expire`, `renameCollection`, `dropCollection`.
    pub kind: &'static str,
    /// The collection by the name that it had there.
    pub collection: String,
    /// The fields that it names, the first [`limits::HISTORY_PATHS_MAX`]; none where it is about the whole document.
    pub paths: Vec<String>,
    /// What became of it.
    pub outcome: ChangeOutcome,
}

/// What became of a change at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeOutcome {
    /// It was carried out, as far as its filter and concurrent changes let it.
    Applied,
    /// It did not hold, for the reason with this code of MongoDB's.
    Rejected(i32),
    /// Its author had no right to write there.
    Skipped,
}

/// Who wrote a change, when, and in which entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeAuthor {
    /// The key of the log.
    pub writer: WriterKey,
    /// The first key of the same writer.
    pub identity: WriterKey,
    /// What the writer is called now.
    pub name: Option<String>,
    /// Which entry of the log.
    pub seq: u64,
    /// The writer's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The entry.
    pub entry: EntryHash,
}

impl<T> Collection<T> {
    /// The changes of the document with this `_id`, newest first, from the logs: see the cost at [`HistoryRange`]. Also of a
    /// document that is not there any more. The collection's former names are followed.
    ///
    /// # Errors
    /// If the `_id` is none, or the storage fails.
    pub fn history(&self, id: impl Into<Bson>, range: &HistoryRange) -> Result<HistoryPage> {
        self.refuse_past("asked for histories")?;
        scan::page(self.database(), self.name(), &id.into(), range)
    }

    /// Who wrote each field that the document with this `_id` holds, when, and in which entry. An array is one field.
    ///
    /// Looks at `scan_limit` entries at the most (and at no more than [`limits::HISTORY_SCAN_ENTRIES_MAX`]), from the newest; what was written before those has no author in the
    /// answer, which then is not complete.
    ///
    /// # Errors
    /// `NotFound` if there is no such document; if the `_id` is none, or the storage fails.
    pub fn blame(&self, id: impl Into<Bson>, scan_limit: u64) -> Result<Blame> {
        self.refuse_past("asked for authors")?;
        blame::blame(self.database(), self.name(), &id.into(), scan_limit)
    }
}

#[cfg(test)]
mod tests;
