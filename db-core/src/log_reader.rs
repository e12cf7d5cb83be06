//! What replication needs to read of the logs, as an interface, so that it knows no storage.

use crate::entry::VerifiedRun;
use crate::ids::{EntryHash, WriterKey};

/// The end of one branch of one log. A log that is not forked has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tip {
    /// Whose log it is.
    pub writer: WriterKey,
    /// How many entries the branch holds, from the log's beginning.
    pub length: u64,
    /// The hash of the branch's last entry.
    pub head: EntryHash,
}

/// A run and the local numbers of its entries, which are consecutive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// The number of the run's first entry.
    pub first: u64,
    /// The run.
    pub run: VerifiedRun,
}

/// Reading access to the logs of one database.
///
/// Entries have local *numbers*, consecutive from 0 in the order in which they arrived here, which is causal: an entry's
/// `prev` and parents have lower numbers. Numbers mean nothing to other peers.
pub trait LogReader {
    /// What a failed read of the storage is reported as.
    type Error;

    /// The tips of all logs, ascending.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn tips(&self) -> Result<Vec<Tip>, Self::Error>;

    /// The number of the next entry to arrive: how many entries are stored.
    fn end(&self) -> u64;

    /// The number of the entry with this hash, if it is stored.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn number_of(&self, hash: &EntryHash) -> Result<Option<u64>, Self::Error>;

    /// The lowest number of an entry at place `seq` of a writer's log, if there is one.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn number_at(&self, writer: &WriterKey, seq: u64) -> Result<Option<u64>, Self::Error>;

    /// Whose log the entry with this number is in; none at or beyond [`LogReader::end`]. Far cheaper than its run.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn writer_at(&self, number: u64) -> Result<Option<WriterKey>, Self::Error>;

    /// The run that holds the entry with this number, its entries hashed again; none at or beyond [`LogReader::end`].
    ///
    /// # Errors
    /// If the storage cannot be read, or holds bytes that no longer are what was stored.
    fn run_at(&self, number: u64) -> Result<Option<StoredRun>, Self::Error>;
}
