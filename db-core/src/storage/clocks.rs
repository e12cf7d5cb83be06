//! What every entry knows of other writers' logs: kept as differences when an entry is stored, read by one lookup.
//!
//! An entry *sees* place `seq` of a log if an entry at that place is in its past (or is the entry itself). A log is a chain, so
//! this is a matter of lengths: how long is, of each log, the longest stretch in the entry's past? Only an entry with parents
//! knows more than the one before it in its log. What it adds is what the parents' logs had added since they were last known,
//! which are the lists of [`Clocks::added`] between there and here; so the cost follows what is active, not what exists.
//!
//! The branches of a forked log are told apart by *chains*: the first branch that came is chain 0, any other has the number of
//! its first entry. What belongs to a chain's beginning is found in the chain that it left. All of this is a function of the
//! graph; chains and writers' numbers are this file's own and leave it nowhere.
//!
//! ```text
//! writer numbers  writer                                -> number
//! clock additions writer, chain, seq                    -> list of (writer, length) as varints: what the entry added
//! clocks          writer, chain, known writer, seq      -> length known from that place on
//! branches        entry number                          -> chain, for entries of other chains than 0
//! branch starts   writer, chain                         -> the chain that it left, and its first seq
//! ```

use std::collections::BTreeMap;

use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use crate::bytes::{Reader, put_varint, take_varint};
use crate::error::{Error, Result};
use crate::ids::WriterKey;

type WriterNumber = u32;
type Chain = u64;
/// Writer, chain, known writer, seq.
type ClockKey = (WriterNumber, Chain, WriterNumber, u64);

const NUMBERS: TableDefinition<'_, [u8; 32], WriterNumber> = TableDefinition::new("writer numbers");
const ADDED: TableDefinition<'_, (WriterNumber, Chain, u64), &'static [u8]> =
    TableDefinition::new("clock additions");
const KNOWN: TableDefinition<'_, ClockKey, u64> = TableDefinition::new("clocks");
const BRANCHES: TableDefinition<'_, u64, Chain> = TableDefinition::new("branches");
const STARTS: TableDefinition<'_, (WriterNumber, Chain), (Chain, u64)> =
    TableDefinition::new("branch starts");

/// So many lists of additions are read one by one; where there are more, the whole clock at their end is read instead, whose
/// size is the number of writers.
const ADDITIONS_MAX: usize = 256;

/// The chain of logs that were never forked, and of the branch that came first.
const TRUNK: Chain = 0;

/// The place of a stored entry in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPlace {
    pub(crate) writer: WriterKey,
    pub(crate) seq: u64,
    /// The entry's local number.
    pub(crate) number: u64,
}

/// The same with the file's own numbers.
#[derive(Debug, Clone, Copy)]
struct Spot {
    writer: WriterNumber,
    chain: Chain,
    seq: u64,
}

/// The tables of what entries know, inside a write transaction.
pub(crate) struct Clocks<'txn> {
    numbers: Table<'txn, [u8; 32], WriterNumber>,
    added: Table<'txn, (WriterNumber, Chain, u64), &'static [u8]>,
    known: Table<'txn, ClockKey, u64>,
    branches: Table<'txn, u64, Chain>,
    starts: Table<'txn, (WriterNumber, Chain), (Chain, u64)>,
}

impl<'txn> Clocks<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            numbers: transaction.open_table(NUMBERS)?,
            added: transaction.open_table(ADDED)?,
            known: transaction.open_table(KNOWN)?,
            branches: transaction.open_table(BRANCHES)?,
            starts: transaction.open_table(STARTS)?,
        })
    }

    /// Notes what a new entry knows. `prev` is the entry before it in its log; `continues` says that no other entry follows
    /// that one already, or of a first entry that there is no other.
    pub(super) fn note(
        &mut self,
        entry: &LogPlace,
        prev: Option<&LogPlace>,
        continues: bool,
        parents: &[LogPlace],
    ) -> Result<()> {
        let before = prev.map(|prev| self.spot(prev)).transpose()?.flatten();
        let mut chain = before.map_or(TRUNK, |before| before.chain);
        if !continues {
            let writer = self.number_or_new(&entry.writer)?;
            let left = chain;
            chain = entry.number;
            self.starts.insert((writer, chain), (left, entry.seq))?;
        }
        if chain != TRUNK {
            self.branches.insert(entry.number, chain)?;
        }
        if parents.is_empty() {
            return Ok(());
        }
        let mut heard: BTreeMap<WriterNumber, u64> = BTreeMap::new();
        for parent in parents {
            self.hear(before, parent, &mut heard)?;
        }
        let writer = self.number_or_new(&entry.writer)?;
        let mut list = Vec::new();
        for (other, length) in heard {
            let known_before = if other == writer { entry.seq.saturating_add(1) } else { 0 };
            if length <= known_before || length <= self.known_at(before, other)? {
                continue;
            }
            put_varint(&mut list, u64::from(other));
            put_varint(&mut list, length);
            self.known.insert((writer, chain, other, entry.seq), length)?;
        }
        if !list.is_empty() {
            self.added.insert((writer, chain, entry.seq), &list[..])?;
        }
        Ok(())
    }

    /// How long a stretch of `writer`'s log the entry has in its past, itself counted: it sees the places below that.
    pub(crate) fn known(&self, entry: &LogPlace, writer: &WriterKey) -> Result<u64> {
        let own = if *writer == entry.writer { entry.seq.saturating_add(1) } else { 0 };
        let Some(other) = self.number(writer)? else { return Ok(own) };
        Ok(own.max(self.known_at(self.spot(entry)?, other)?))
    }

    /// Adds what a parent knows and an entry after `before` may not.
    fn hear(
        &mut self,
        before: Option<Spot>,
        parent: &LogPlace,
        heard: &mut BTreeMap<WriterNumber, u64>,
    ) -> Result<()> {
        let writer = self.number_or_new(&parent.writer)?;
        let spot = Spot { writer, chain: self.chain_of(writer, parent.number)?, seq: parent.seq };
        raise(heard, writer, parent.seq.saturating_add(1));
        // Of a forked log the length that is known may be another branch's.
        let heard_to = if self.is_forked(writer)? { None } else { Some(self.known_at(before, writer)?) };
        let Some(from) = heard_to else { return self.whole_clock(spot, heard) };
        if from > parent.seq {
            return Ok(());
        }
        let mut lists = Vec::new();
        for item in self.added.range((writer, spot.chain, from)..=(writer, spot.chain, parent.seq))? {
            if lists.len() == ADDITIONS_MAX {
                return self.whole_clock(spot, heard);
            }
            lists.push(item?.1.value().to_vec());
        }
        for list in lists {
            let mut reader = Reader::new(&list);
            while reader.remaining() > 0 {
                let other = u32::try_from(take_varint(&mut reader)?).map_err(|_| damaged())?;
                raise(heard, other, take_varint(&mut reader)?);
            }
        }
        Ok(())
    }

    /// Adds everything that is known at a spot: a lookup or two for each writer that is.
    fn whole_clock(&self, spot: Spot, heard: &mut BTreeMap<WriterNumber, u64>) -> Result<()> {
        let mut at = Some(spot);
        while let Some(Spot { writer, chain, seq }) = at {
            let mut other = 0;
            let end = (writer, chain, WriterNumber::MAX, u64::MAX);
            while let Some(next) = self.known.range((writer, chain, other, 0)..=end)?.next().transpose()? {
                other = next.0.value().2;
                if let Some(length) = self.known_in_chain(writer, chain, other, seq)? {
                    raise(heard, other, length);
                }
                match other.checked_add(1) {
                    Some(next) => other = next,
                    None => break,
                }
            }
            at = self.left_at(Spot { writer, chain, seq })?;
        }
        Ok(())
    }

    fn known_at(&self, at: Option<Spot>, other: WriterNumber) -> Result<u64> {
        let mut at = at;
        while let Some(spot) = at {
            if let Some(length) = self.known_in_chain(spot.writer, spot.chain, other, spot.seq)? {
                return Ok(length); // what a chain notes is more than what it began with
            }
            at = self.left_at(spot)?;
        }
        Ok(0)
    }

    fn known_in_chain(
        &self,
        writer: WriterNumber,
        chain: Chain,
        other: WriterNumber,
        seq: u64,
    ) -> Result<Option<u64>> {
        let last = self.known.range((writer, chain, other, 0)..=(writer, chain, other, seq))?.next_back();
        Ok(last.transpose()?.map(|(_, length)| length.value()))
    }

    /// The entry before the first of a spot's chain, if the chain left another.
    fn left_at(&self, spot: Spot) -> Result<Option<Spot>> {
        if spot.chain == TRUNK {
            return Ok(None);
        }
        let start = self.starts.get((spot.writer, spot.chain))?.map(|start| start.value());
        let (chain, first) = start.ok_or_else(damaged)?;
        Ok(first.checked_sub(1).map(|seq| Spot { chain, seq, ..spot }))
    }

    fn spot(&self, place: &LogPlace) -> Result<Option<Spot>> {
        let Some(writer) = self.number(&place.writer)? else { return Ok(None) };
        Ok(Some(Spot { writer, chain: self.chain_of(writer, place.number)?, seq: place.seq }))
    }

    fn chain_of(&self, writer: WriterNumber, number: u64) -> Result<Chain> {
        if !self.is_forked(writer)? {
            return Ok(TRUNK);
        }
        Ok(self.branches.get(number)?.map_or(TRUNK, |chain| chain.value()))
    }

    fn is_forked(&self, writer: WriterNumber) -> Result<bool> {
        Ok(self.starts.range((writer, 0)..=(writer, Chain::MAX))?.next().transpose()?.is_some())
    }

    fn number(&self, writer: &WriterKey) -> Result<Option<WriterNumber>> {
        Ok(self.numbers.get(writer.as_bytes())?.map(|number| number.value()))
    }

    fn number_or_new(&mut self, writer: &WriterKey) -> Result<WriterNumber> {
        if let Some(number) = self.number(writer)? {
            return Ok(number);
        }
        let number = WriterNumber::try_from(self.numbers.len()?)
            .map_err(|_| Error::data("more writers than can be numbered"))?;
        self.numbers.insert(writer.as_bytes(), number)?;
        Ok(number)
    }
}

fn raise(heard: &mut BTreeMap<WriterNumber, u64>, writer: WriterNumber, length: u64) {
    let known = heard.entry(writer).or_default();
    *known = length.max(*known);
}

fn damaged() -> Error {
    Error::data("what an entry knows of other logs is damaged")
}

#[cfg(test)]
mod tests;
