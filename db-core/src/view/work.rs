//! What applying one entry costs. An entry of a few kilobytes can name one document of the largest size again and again:
//! what it may cost is a rule of the format, so that every peer stops at the same place.

use db_index::{ErrorCode, QueryError};

use crate::limits;

/// MongoDB's `TransactionTooLarge`.
const TOO_LARGE: ErrorCode = ErrorCode(257);

/// The work of one entry so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    bytes: u64,
    scans: u32,
    searches: u32,
    found: u64,
}

impl Work {
    /// Counts bytes of documents and index entries that were read or written.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Counts a pass over a whole collection or index, whatever its size.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) if the entry has had as many as it may.
    pub(crate) fn add_scan(&mut self) -> Result<(), QueryError> {
        self.scans = self.scans.saturating_add(1);
        if self.scans > limits::ENTRY_SCANS_MAX {
            let message = "one call builds or drops more than 256 indexes and collections: split it";
            return Err(QueryError::new(TOO_LARGE, message));
        }
        Ok(())
    }

    /// Counts a search of a transaction beyond a look-up by `_id`, whatever the way on which it is made.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) if the entry has had as many as it may.
    pub(crate) fn add_search(&mut self) -> Result<(), QueryError> {
        self.searches = self.searches.saturating_add(1);
        if self.searches > limits::TRANSACTION_SEARCHES_MAX {
            let message = "the transaction makes more than 256 searches beyond look-ups by _id: split it";
            return Err(QueryError::new(TOO_LARGE, message));
        }
        Ok(())
    }

    /// Counts what a transaction's reads have found.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) if that is more than the entry may find.
    pub(crate) fn add_found(&mut self, documents: u64, bytes: usize) -> Result<(), QueryError> {
        self.add(bytes);
        self.found = self.found.saturating_add(documents);
        if self.found > limits::TRANSACTION_FOUND_MAX {
            let message = "the transaction reads more than 100,000 documents: split it";
            return Err(QueryError::new(TOO_LARGE, message));
        }
        self.check()
    }

    /// Whether the entry may do more.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) if it has cost as much as it may.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        if self.bytes > limits::ENTRY_WORK_BYTES_MAX {
            let message =
                "one call reads and writes more than 512 MiB of documents and index entries: split it";
            return Err(QueryError::new(TOO_LARGE, message));
        }
        Ok(())
    }
}
