//! What goes into the linearizer and what comes out: entries as nodes of the graph, confirmed parts, the tail.

use crate::ids::{EntryHash, WriterKey};

/// The local number of an entry: consecutive in the order of arrival, which is causal, so an entry's parents have lower
/// numbers. Numbers mean nothing to other peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryNumber(pub u64);

/// What the linearizer needs to know of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The entry's local number.
    pub number: EntryNumber,
    /// The entry's hash, the last tie-break of the order (forked logs).
    pub hash: EntryHash,
    /// Whose log it stands in.
    pub writer: WriterKey,
    /// Its place in that log.
    pub seq: u64,
    /// The author's clock, in milliseconds.
    pub time: u64,
    /// The epoch that the entry carries.
    pub epoch: u64,
    /// The wave that the entry carries.
    pub wave: u64,
    /// The entry's parents and its `prev`, in any order.
    pub parents: Vec<EntryNumber>,
    /// Whether the entry holds no operation and only votes. What only acks lack confirmation of may wait.
    pub is_ack: bool,
    /// Whether the log already held another entry with this `seq`: the writer has forked its log.
    pub is_fork: bool,
}

/// The entries that one anchor confirms. They follow, for ever, those of the parts before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The confirmed proposal; the last of `entries` by causality, not necessarily by place.
    pub anchor: EntryNumber,
    /// The epoch of the anchor.
    pub epoch: u64,
    /// The wave that the anchor was proposed in.
    pub wave: u64,
    /// How many of `entries`, from the first, the tail as last asked for began with. Whoever has applied that tail keeps so
    /// many applications and, where that is less than all of `entries`, undoes the rest of its tail.
    pub kept: usize,
    /// The entries in their confirmed order.
    pub entries: Vec<EntryNumber>,
}

/// The order of what is not confirmed, and how far it is what the caller already has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail<'a> {
    /// How many entries, from the first, stand where they stood when the tail was last asked for (parts taken out since then
    /// reckoned in). Whoever has applied that order undoes only what comes after.
    pub kept: usize,
    /// The whole tail in its present order.
    pub entries: &'a [EntryNumber],
}

/// What an entry carries for the linearizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The epoch.
    pub epoch: u64,
    /// The wave.
    pub wave: u64,
}
