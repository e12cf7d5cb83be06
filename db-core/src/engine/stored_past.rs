//! Entries as the linearizer asks for them, from the tables.

use std::cell::RefCell;

use crate::entry::Header;
use crate::error::{Error, Result};
use crate::ids::EntryHash;
use crate::linearizer::{EntryNumber, Facts, Node, Past, Standing};
use crate::operation::Operation;
use crate::storage::{EntryRecord, Tables};

/// What the linearizer has asked to keep, from the tables.
pub(super) struct StoredPast<'a, 'txn> {
    tables: &'a Tables<'txn>,
    /// The first error of the storage: what was answered since is not to be relied on.
    failed: RefCell<Option<Error>>,
}

impl<'a, 'txn> StoredPast<'a, 'txn> {
    pub(super) fn new(tables: &'a Tables<'txn>) -> Self {
        Self { tables, failed: RefCell::default() }
    }

    /// What was made of the answers, if the storage could be read for all of them.
    ///
    /// # Errors
    /// The storage's first.
    pub(super) fn checked<T>(&self, made: T) -> Result<T> {
        self.failed.borrow_mut().take().map_or(Ok(made), Err)
    }

    fn read<T>(&self, number: EntryNumber, read: impl FnOnce(EntryRecord) -> Result<T>) -> Option<T> {
        match self.tables.record(number.0) {
            Ok(None) => None,
            Ok(Some(record)) => read(record).map_err(|error| self.fail(error)).ok(),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// What was read, if it could be.
    pub(super) fn answer<T>(&self, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.fail(error)).ok()
    }

    fn fail(&self, error: Error) {
        self.failed.borrow_mut().get_or_insert(error);
    }
}

impl Past for StoredPast<'_, '_> {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.read(number, |record| standing_of(&record))
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.read(number, |record| parents_of(self.tables, &record)).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.read(number, |record| {
            let header = &record.header;
            Ok(Facts {
                hash: record.hash,
                writer: header.writer,
                seq: header.seq,
                time: header.time,
                wave: header.wave,
                known_epoch: standing_of(&record)?.epoch(),
                is_ack: header.is_ack(),
            })
        })
    }
}

/// The numbers of an entry's `prev` and parents, all of which are stored.
pub(super) fn parents_of(tables: &Tables<'_>, record: &EntryRecord) -> Result<Vec<EntryNumber>> {
    let header = &record.header;
    header
        .prev
        .iter()
        .chain(&header.parents)
        .map(|hash| tables.number_of(hash)?.map(EntryNumber).ok_or_else(damaged))
        .collect()
}

/// An entry as the linearizer sees it.
pub(super) fn new_node(
    number: EntryNumber,
    hash: EntryHash,
    header: &Header,
    parents: Vec<EntryNumber>,
    is_fork: bool,
) -> Node {
    Node {
        number,
        hash,
        writer: header.writer,
        seq: header.seq,
        time: header.time,
        epoch: header.epoch,
        wave: header.wave,
        parents,
        is_ack: header.is_ack(),
        is_fork,
    }
}

/// A stored entry as the linearizer sees it.
pub(super) fn node_of(tables: &Tables<'_>, number: u64, record: &EntryRecord) -> Result<Node> {
    let header = &record.header;
    // The entry is a fork if the log held another at its place when it came.
    let is_fork = tables.numbers_at(&header.writer, header.seq)?.iter().any(|other| *other < number);
    let parents = parents_of(tables, record)?;
    Ok(new_node(EntryNumber(number), record.hash, header, parents, is_fork))
}

pub(super) fn standing_of(record: &EntryRecord) -> Result<Standing> {
    Ok(Standing::decode(&record.standing)?)
}

/// Whether a payload holds a change of members.
pub(super) fn touches_membership(payload: &[u8]) -> bool {
    let operations = crate::apply::read_operations(payload).unwrap_or_default();
    operations.iter().any(Operation::touches_membership)
}

fn damaged() -> Error {
    Error::data("a stored entry is missing")
}
