//! What every entry knows of other writers' logs: kept as differences when an entry is stored, read by a few lookups.
//!
//! An entry *sees* place `seq` of a log if an entry at that place is in its past (or is the entry itself). A log is a chain, so
//! this is a matter of lengths: how long is, of each log, the longest stretch in the entry's past? That is the entry's *clock*
//! (see `clock_trees`). Only an entry with parents knows more than the one before it in its log, so only there a clock is noted,
//! and clocks share what they have in common: the cost follows what is active, not what exists. A newcomer who has seen twenty
//! thousand writers takes over the clock of the entry that it names.
//!
//! The branches of a forked log are told apart by *chains*: the first branch that came is chain 0, any other has the number of
//! its first entry. What belongs to a chain's beginning is found in the chain that it left. All of this is a function of the
//! graph; chains, nodes and writers' numbers are this file's own and leave it nowhere.
//!
//! ```text
//! writer numbers  writer               -> number
//! clocks          writer, chain, seq   -> the clock from that place on: its height and its highest node
//! branches        entry number         -> chain, for entries of other chains than 0
//! branch starts   writer, chain        -> the chain that it left, and its first seq
//! ```

use std::collections::BTreeMap;

use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};

use super::clock_trees::{Clock, ClockTrees, Trees};
use crate::error::{Error, Result};
use crate::ids::WriterKey;

pub(super) type WriterNumber = u32;
type Chain = u64;

const NUMBERS: TableDefinition<'_, [u8; 32], WriterNumber> = TableDefinition::new("writer numbers");
const CLOCKS: TableDefinition<'_, (WriterNumber, Chain, u64), (u8, u64)> = TableDefinition::new("clocks");
const BRANCHES: TableDefinition<'_, u64, Chain> = TableDefinition::new("branches");
const STARTS: TableDefinition<'_, (WriterNumber, Chain), (Chain, u64)> =
    TableDefinition::new("branch starts");

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

/// The tables of what entries know.
pub(crate) struct ClockTables<N, C, T, B, S> {
    numbers: N,
    noted: C,
    trees: Trees<T>,
    branches: B,
    starts: S,
}

/// The same inside a write transaction.
pub(crate) type Clocks<'txn> = ClockTables<
    Table<'txn, [u8; 32], WriterNumber>,
    Table<'txn, (WriterNumber, Chain, u64), (u8, u64)>,
    Table<'txn, u64, &'static [u8]>,
    Table<'txn, u64, Chain>,
    Table<'txn, (WriterNumber, Chain), (Chain, u64)>,
>;

/// The same as a read transaction sees them: what entries know can be asked.
pub(crate) type ClocksSnapshot = ClockTables<
    ReadOnlyTable<[u8; 32], WriterNumber>,
    ReadOnlyTable<(WriterNumber, Chain, u64), (u8, u64)>,
    ReadOnlyTable<u64, &'static [u8]>,
    ReadOnlyTable<u64, Chain>,
    ReadOnlyTable<(WriterNumber, Chain), (Chain, u64)>,
>;

impl ClocksSnapshot {
    pub(crate) fn read(transaction: &ReadTransaction) -> Result<Self> {
        Ok(Self {
            numbers: transaction.open_table(NUMBERS)?,
            noted: transaction.open_table(CLOCKS)?,
            trees: Trees::read(transaction)?,
            branches: transaction.open_table(BRANCHES)?,
            starts: transaction.open_table(STARTS)?,
        })
    }
}

impl<'txn> Clocks<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self {
            numbers: transaction.open_table(NUMBERS)?,
            noted: transaction.open_table(CLOCKS)?,
            trees: ClockTrees::open(transaction)?,
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
        let own = before.map(|before| self.clock_at(before)).transpose()?.unwrap_or_default();
        let mut clocks = vec![own];
        let mut raised: BTreeMap<WriterNumber, u64> = BTreeMap::new();
        for parent in parents {
            let writer = self.number_or_new(&parent.writer)?;
            let spot = Spot { writer, chain: self.chain_of(writer, parent.number)?, seq: parent.seq };
            clocks.push(self.clock_at(spot)?);
            let length = raised.entry(writer).or_default();
            *length = (*length).max(parent.seq.saturating_add(1));
        }
        let clock = self.trees.merged(&clocks, &raised)?;
        if clock != own {
            let writer = self.number_or_new(&entry.writer)?;
            self.noted.insert((writer, chain, entry.seq), (clock.height, clock.node))?;
        }
        Ok(())
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

impl<N, C, T, B, S> ClockTables<N, C, T, B, S>
where
    N: ReadableTable<[u8; 32], WriterNumber>,
    C: ReadableTable<(WriterNumber, Chain, u64), (u8, u64)>,
    T: ReadableTable<u64, &'static [u8]>,
    B: ReadableTable<u64, Chain>,
    S: ReadableTable<(WriterNumber, Chain), (Chain, u64)>,
{
    /// How long a stretch of `writer`'s log the entry has in its past, itself counted: it sees the places below that.
    pub(crate) fn known(&self, entry: &LogPlace, writer: &WriterKey) -> Result<u64> {
        let own = if *writer == entry.writer { entry.seq.saturating_add(1) } else { 0 };
        let Some(other) = self.number(writer)? else { return Ok(own) };
        let clock = self.spot(entry)?.map(|spot| self.clock_at(spot)).transpose()?.unwrap_or_default();
        Ok(own.max(self.trees.length(clock, other)?))
    }

    /// The clock at a spot: the last that was noted up to there.
    fn clock_at(&self, spot: Spot) -> Result<Clock> {
        let mut at = Some(spot);
        while let Some(Spot { writer, chain, seq }) = at {
            let last =
                self.noted.range((writer, chain, 0)..=(writer, chain, seq))?.next_back().transpose()?;
            if let Some((_, clock)) = last {
                let (height, node) = clock.value();
                return Ok(Clock { height, node });
            }
            at = self.left_at(Spot { writer, chain, seq })?;
        }
        Ok(Clock::default())
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
}

fn damaged() -> Error {
    Error::data("what an entry knows of other logs is damaged")
}

#[cfg(test)]
mod tests;
