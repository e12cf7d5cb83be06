//! Clocks as trees that share what they have in common, so that an entry which knows what another knows costs nothing more, however
//! much that is.
//!
//! A clock says of each writer's number how long a stretch of that log is known. It is a tree of sixteen branches a node, by four
//! bits of the number each, the highest first; nodes are never changed, and a clock that differs from another in a few writers has
//! all other nodes in common with it. Where two clocks are put together, what they share is not looked at.
//!
//! ```text
//! clock nodes   node (from 1) -> which of its 16 slots are taken (u16), and each of those as a varint: in the lowest nodes a
//!                                length, in all others a node
//! ```

use std::collections::BTreeMap;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::clocks::WriterNumber;
use crate::bytes::{Put, Reader, put_varint, take_varint};
use crate::error::{Error, Result};

const NODES: TableDefinition<'_, u64, &'static [u8]> = TableDefinition::new("clock nodes");

/// How many bits of a writer's number a level takes, and how many slots a node has by that.
const SLOT_BITS: u32 = 4;
const SLOTS: usize = 1 << SLOT_BITS;

type Slots = [u64; SLOTS];

/// A clock: its highest node, 0 for nothing, and how many levels are below that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Clock {
    pub(super) height: u8,
    pub(super) node: u64,
}

/// The nodes of all clocks.
pub(super) struct Trees<T> {
    nodes: T,
}

/// The same inside a write transaction.
pub(super) type ClockTrees<'txn> = Trees<Table<'txn, u64, &'static [u8]>>;

impl Trees<ReadOnlyTable<u64, &'static [u8]>> {
    /// As a read transaction sees them.
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self> {
        Ok(Self { nodes: transaction.open_table(NODES)? })
    }
}

impl<T: ReadableTable<u64, &'static [u8]>> Trees<T> {
    /// How long a stretch of this writer's log the clock knows.
    pub(super) fn length(&self, clock: Clock, writer: WriterNumber) -> Result<u64> {
        if place(writer, clock.height.saturating_add(1)) != 0 {
            return Ok(0);
        }
        let mut at = clock.node;
        for level in (0..=clock.height).rev() {
            if at == 0 {
                return Ok(0);
            }
            at = self.slots(at)?.get(slot(writer, level)).copied().unwrap_or_default();
        }
        Ok(at)
    }

    fn slots(&self, node: u64) -> Result<Slots> {
        let stored = self.nodes.get(node)?.ok_or_else(damaged)?;
        let mut reader = Reader::new(stored.value());
        let taken = reader.u16()?;
        let mut slots = [0; SLOTS];
        for (place, slot) in slots.iter_mut().enumerate() {
            if taken & (1 << place) != 0 {
                *slot = take_varint(&mut reader)?;
            }
        }
        reader.end()?;
        Ok(slots)
    }
}

impl<'txn> ClockTrees<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self> {
        Ok(Self { nodes: transaction.open_table(NODES)? })
    }

    /// The clock that knows what all of these know, and of each of `raised` so much at least. It is the first of them that is that
    /// already, if there is one.
    pub(super) fn merged(&mut self, clocks: &[Clock], raised: &BTreeMap<WriterNumber, u64>) -> Result<Clock> {
        let highest = clocks.iter().map(|clock| clock.height).max().unwrap_or_default();
        let needed = raised.last_key_value().map_or(0, |(writer, _)| height_for(*writer));
        let height = highest.max(needed);
        let raised: Vec<_> = raised.iter().map(|(writer, length)| (*writer, *length)).collect();
        let node = self.merged_node(height, &distinct(clocks.iter().copied()), &raised)?;
        Ok(Clock { height, node })
    }

    /// The node of this level for what lies below nodes of this level or lower ones, which are then its first slot.
    fn merged_node(&mut self, level: u8, inputs: &[Clock], raised: &[(WriterNumber, u64)]) -> Result<u64> {
        match (inputs, raised) {
            ([], []) => return Ok(0),
            ([only], []) if only.height == level => return Ok(only.node),
            _ => {}
        }
        let mut opened = Vec::with_capacity(inputs.len());
        for input in inputs {
            opened.push(if input.height == level { Some(self.slots(input.node)?) } else { None });
        }
        let mut slots = [0; SLOTS];
        let mut rest = raised;
        for (place, taken) in slots.iter_mut().enumerate() {
            let count = rest.partition_point(|(writer, _)| slot(*writer, level) <= place);
            let (here, after) = rest.split_at(count);
            rest = after;
            let held = |opened: &Option<Slots>| {
                opened.as_ref().and_then(|slots| slots.get(place)).copied().unwrap_or_default()
            };
            if let Some(below) = level.checked_sub(1) {
                let children = inputs.iter().zip(&opened).map(|(input, opened)| match opened {
                    Some(_) => Clock { height: below, node: held(opened) },
                    None if place == 0 => *input,
                    None => Clock::default(),
                });
                let children = distinct(children);
                *taken = self.merged_node(below, &children, here)?;
            } else {
                let raised = here.iter().map(|(_, length)| *length);
                *taken = opened.iter().map(held).chain(raised).max().unwrap_or_default();
            }
        }
        let same = opened.iter().position(|opened| *opened == Some(slots));
        if let Some(same) = same.and_then(|at| inputs.get(at)) {
            return Ok(same.node);
        }
        self.put(&slots)
    }

    fn put(&mut self, slots: &Slots) -> Result<u64> {
        let (mut taken, mut bytes) = (0_u16, Vec::new());
        for (place, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != 0) {
            taken |= 1 << place;
            put_varint(&mut bytes, *slot);
        }
        let mut node = Vec::with_capacity(2 + bytes.len());
        node.put_u16(taken);
        node.extend_from_slice(&bytes);
        let number = self.nodes.last()?.map_or(0, |(last, _)| last.value()) + 1;
        self.nodes.insert(number, &node[..])?;
        Ok(number)
    }

    #[cfg(test)]
    pub(super) fn node_count(&self) -> Result<u64> {
        use redb::ReadableTableMetadata;
        Ok(self.nodes.len()?)
    }
}

/// Those that know anything, each once, in the order in which they come.
fn distinct(clocks: impl Iterator<Item = Clock>) -> Vec<Clock> {
    let mut found: Vec<Clock> = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for clock in clocks.filter(|clock| clock.node != 0) {
        if found.last() != Some(&clock) && known.insert(clock) {
            found.push(clock);
        }
    }
    found
}

/// What is left of a number above so many levels.
fn place(writer: WriterNumber, levels: u8) -> WriterNumber {
    writer.checked_shr(SLOT_BITS * u32::from(levels)).unwrap_or_default()
}

/// Which slot of a node of this level the writer is in.
fn slot(writer: WriterNumber, level: u8) -> usize {
    place(writer, level) as usize % SLOTS
}

/// How high a tree has to be that holds this number.
fn height_for(writer: WriterNumber) -> u8 {
    (0..=7).find(|height| place(writer, height + 1) == 0).unwrap_or(7)
}

fn damaged() -> Error {
    Error::data("what an entry knows of other logs is damaged")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_trees<T>(work: impl FnOnce(&mut ClockTrees<'_>) -> T) -> T {
        let memory = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(memory).unwrap();
        let transaction = database.begin_write().unwrap();
        let done = work(&mut ClockTrees::open(&transaction).unwrap());
        transaction.commit().unwrap();
        done
    }

    type Model = BTreeMap<WriterNumber, u64>;

    fn writer() -> impl Strategy<Value = WriterNumber> {
        prop_oneof![0_u32..20, 0_u32..5_000, any::<u32>(), Just(u32::MAX)]
    }

    proptest! {
        #[test]
        fn a_merged_clock_knows_the_most_that_any_of_them_knows(
            steps in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..4), proptest::collection::btree_map(writer(), 1_u64..9, 0..6)),
                1..30,
            ),
        ) {
            with_trees(|trees| {
                let mut made: Vec<(Clock, Model)> = vec![(Clock::default(), Model::new())];
                for (of, raised) in &steps {
                    let of: Vec<_> = of.iter().map(|at| made[usize::from(*at) % made.len()].clone()).collect();
                    let clocks: Vec<_> = of.iter().map(|(clock, _)| *clock).collect();
                    let merged = trees.merged(&clocks, raised).unwrap();
                    let mut model = raised.clone();
                    for (writer, length) in of.iter().flat_map(|(_, model)| model) {
                        let known = model.entry(*writer).or_default();
                        *known = (*known).max(*length);
                    }
                    let nodes = trees.node_count().unwrap();
                    assert_eq!(trees.merged(&[merged], raised).unwrap(), merged);
                    assert_eq!(trees.merged(&[merged, clocks.first().copied().unwrap_or_default()], raised).unwrap(), merged);
                    assert_eq!(trees.node_count().unwrap(), nodes, "what is known already makes no node");
                    made.push((merged, model));
                }
                for (clock, model) in &made {
                    for writer in made.iter().flat_map(|(_, model)| model.keys()).chain(&[0, 15, 16, 255, 256, u32::MAX]) {
                        let expected = model.get(writer).copied().unwrap_or_default();
                        assert_eq!(trees.length(*clock, *writer).unwrap(), expected);
                    }
                }
            });
        }
    }

    #[test]
    fn a_clock_that_differs_in_one_writer_makes_as_many_nodes_as_the_tree_is_high() {
        with_trees(|trees| {
            let all: Model = (0..20_000).map(|writer| (writer, 1)).collect();
            let clock = trees.merged(&[Clock::default()], &all).unwrap();
            let nodes = trees.node_count().unwrap();
            let other = trees.merged(&[clock], &Model::from([(777, 2)])).unwrap();
            let another = trees.merged(&[clock], &Model::from([(20_001, 1)])).unwrap();
            assert_eq!(trees.node_count().unwrap() - nodes, 2 * (u64::from(clock.height) + 1));
            let merged = trees.merged(&[other, another], &Model::new()).unwrap();
            assert_eq!(trees.length(merged, 777).unwrap(), 2);
            assert_eq!(trees.length(merged, 20_001).unwrap(), 1);
        });
    }

    #[test]
    fn a_damaged_node_is_refused() {
        with_trees(|trees| {
            trees.nodes.insert(1, &[0xff, 0xff, 0x80][..]).unwrap();
            for node in [1, 2] {
                assert!(trees.length(Clock { height: 0, node }, 3).is_err());
            }
        });
    }
}
