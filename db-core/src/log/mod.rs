//! The log for people and tools: the entries of all writers in their order, and what became of them.

pub(crate) mod read;
pub(crate) mod rejections;
mod summary;

use crate::database::Database;
use crate::error::Result;
use crate::ids::{EntryHash, WriterKey};
use crate::linearizer::Ballot;
pub use crate::view::settled::Settled;

/// Which entries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRange {
    /// From which place of the order on; `None` for the last ones. What is stored and not yet ordered stands behind the order.
    pub from: Option<u64>,
    /// How many entries: at least one, at most [`crate::limits::LOG_PAGE_ENTRIES_MAX`].
    pub limit: usize,
    /// Whose entries; `None` for everybody's.
    pub writer: Option<WriterKey>,
}

impl Default for LogRange {
    /// The last twenty of everybody.
    fn default() -> Self {
        Self { from: None, limit: 20, writer: None }
    }
}

/// Entries of the log as one snapshot has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPage {
    /// The entries, by their place in the order.
    pub entries: Vec<LoggedEntry>,
    /// Where the next page begins; `None` at the end. A page may end early, and even be empty, where the entries asked for are large
    /// or far between.
    pub next: Option<u64>,
    /// How many entries are confirmed: those are the first of the order.
    pub confirmed: u64,
    /// How many entries have a place in the order.
    pub ordered: u64,
    /// How many entries are stored.
    pub stored: u64,
    /// The number of the epoch.
    pub epoch: u64,
    /// The writers whose entries vote in this epoch, ascending.
    pub indexers: Vec<WriterKey>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// At this place of the order, for ever.
    Confirmed(u64),
    /// At this place of the order, as far as is known by now.
    Tail(u64),
    /// It is stored and not yet ordered.
    Unordered,
}

/// An entry and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedEntry {
    /// Where it stands.
    pub place: Place,
    /// Its name.
    pub hash: EntryHash,
    /// Whose log it is in.
    pub writer: WriterKey,
    /// Its place in that log.
    pub seq: u64,
    /// The author's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// The epoch that an indexer's entry carries.
    pub epoch: u64,
    /// The wave below which an indexer has voted; 0 for a writer that is no indexer.
    pub wave: u64,
    /// What it did for confirmation.
    pub ballot: Ballot,
    /// The entry before it in its log.
    pub prev: Option<EntryHash>,
    /// The heads of other logs that its author knew.
    pub parents: Vec<EntryHash>,
    /// The length of header and payload.
    pub bytes: u64,
    /// What it asks for, the first [`crate::limits::LOG_PARTS_MAX`]; nothing for an ack.
    pub operations: Vec<LoggedOperation>,
    /// How many operations it holds.
    pub operations_count: u64,
    /// Why its operations cannot be read, if they cannot.
    pub unreadable: Option<String>,
    /// What of it did not hold at its place, the first [`crate::limits::LOG_PARTS_MAX`] operations.
    pub rejected: Vec<RejectedOperation>,
    /// What concurrent changes have left of it at its place.
    pub settled: Settled,
    /// Whether it has no effect at all, its author having no right to write at its place.
    pub skipped: bool,
}

impl LoggedEntry {
    /// Whether it holds no operation and only votes.
    pub fn is_ack(&self) -> bool {
        self.operations_count == 0 && self.unreadable.is_none()
    }
}

/// An operation in short.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedOperation {
    /// Its kind, as in `insert`.
    pub kind: &'static str,
    /// The collection that it writes to, at most 120 characters of the name.
    pub collection: Option<String>,
    /// How many documents, indexes or writers it is about.
    pub count: u64,
    /// What else tells it apart: the name of an index, a collection's new name, writers. Never a document.
    pub detail: String,
}

/// An operation that did not hold, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedOperation {
    /// Which operation of the entry, from 0.
    pub operation: u64,
    /// How many of its parts did not hold.
    pub count: u64,
    /// Which of its parts, from 0, and MongoDB's code for the reason; the first [`crate::limits::LOG_PARTS_MAX`].
    pub parts: Vec<(u64, i32)>,
}

impl Database {
    /// Reads a page of the log from a snapshot.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn log(&self, range: &LogRange) -> Result<LogPage> {
        read::page(&self.begin_read()?, self.id(), range, range.writer.as_slice(), true)
    }

    /// The same of the entries under any of these keys that are no acks, whatever the range says of writers.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn writes_of(&self, range: &LogRange, keys: &[WriterKey]) -> Result<LogPage> {
        read::page(&self.begin_read()?, self.id(), range, keys, false)
    }
}
