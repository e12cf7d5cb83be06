//! Reading the tail's entries again when a store is opened: from one end to the other, and what one names of those just read
//! without looking it up.

use std::collections::{BTreeMap, BTreeSet};

use super::stored_past::{new_node, standing_of};
use crate::error::{Error, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::linearizer::{EntryNumber, Node, Standing};
use crate::storage::{AscendingRecords, Tables};

/// Of how many entries at the most it is remembered which number their hash has, in halves: the older one is forgotten when the
/// younger is full.
const REMEMBERED_MAX: usize = 65_536;

/// Reads entries by ascending numbers.
pub(super) struct TailReader<'a, 'txn> {
    tables: &'a Tables<'txn>,
    records: AscendingRecords<'a, 'txn>,
    /// The writers of whom two entries with one `seq` are stored.
    forked: &'a BTreeSet<WriterKey>,
    young: BTreeMap<EntryHash, EntryNumber>,
    old: BTreeMap<EntryHash, EntryNumber>,
}

impl<'a, 'txn> TailReader<'a, 'txn> {
    pub(super) fn new(tables: &'a Tables<'txn>, forked: &'a BTreeSet<WriterKey>) -> Result<Self> {
        let records = tables.ascending_records()?;
        Ok(Self { tables, records, forked, young: BTreeMap::new(), old: BTreeMap::new() })
    }

    /// The entry of this number, which is higher than the one asked for before, as the linearizer sees it.
    pub(super) fn read(&mut self, number: EntryNumber) -> Result<(Node, Standing)> {
        let record = self.records.at(number.0)?.ok_or_else(missing)?;
        let header = &record.header;
        let parents = header.prev.iter().chain(&header.parents).map(|hash| self.number_of(hash));
        let parents = parents.collect::<Result<Vec<_>>>()?;
        // The entry is a fork if the log held another at its place when it came.
        let is_fork = self.forked.contains(&header.writer)
            && self.tables.numbers_at(&header.writer, header.seq)?.iter().any(|other| *other < number.0);
        let node = new_node(number, record.hash, header, parents, is_fork);
        let standing = standing_of(&record)?;
        self.remember(record.hash, number);
        Ok((node, standing))
    }

    fn number_of(&self, hash: &EntryHash) -> Result<EntryNumber> {
        if let Some(number) = self.young.get(hash).or_else(|| self.old.get(hash)) {
            return Ok(*number);
        }
        self.tables.number_of(hash)?.map(EntryNumber).ok_or_else(missing)
    }

    fn remember(&mut self, hash: EntryHash, number: EntryNumber) {
        if self.young.len() >= REMEMBERED_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, number);
    }
}

fn missing() -> Error {
    Error::data("an entry of the tail is missing")
}
