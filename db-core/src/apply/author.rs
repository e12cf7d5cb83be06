//! Whose entry is applied, and which others it has seen.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ids::{EntryHash, WriterKey};
use crate::view::history::Stamp;

/// How long a stretch of a log is in the entry's past.
pub(crate) type Known<'a> = &'a dyn Fn(&WriterKey) -> Result<u64>;

/// Whose entry is applied, and which others it has seen.
pub(crate) struct Author<'a> {
    pub(crate) stamp: Stamp,
    entry: EntryHash,
    operation: usize,
    /// None at the origin: there everything that is stored has been seen.
    known: Option<Known<'a>>,
    /// Whether what is applied now takes effect by its place alone, as if its author had seen all before it.
    by_place: bool,
    cache: BTreeMap<WriterKey, u64>,
}

impl<'a> Author<'a> {
    /// The author of a call that is tried before it is logged.
    pub(crate) fn at_origin(stamp: Stamp) -> Self {
        let entry = EntryHash::from_bytes([0; 32]);
        Self { stamp, entry, operation: 0, known: None, by_place: false, cache: BTreeMap::new() }
    }

    /// The author of an entry that is applied at its place.
    pub(crate) fn of_entry(stamp: Stamp, known: Known<'a>) -> Self {
        Self { known: Some(known), ..Self::at_origin(stamp) }
    }

    /// Says which operation of which entry is applied now.
    pub(super) fn at(&mut self, entry: EntryHash, operation: usize) {
        (self.entry, self.operation) = (entry, operation);
    }

    pub(super) fn entry(&self) -> &EntryHash {
        &self.entry
    }

    pub(super) fn operation(&self) -> usize {
        self.operation
    }

    /// Whether nothing can be concurrent.
    pub(super) fn sees_everything(&self) -> bool {
        self.known.is_none() || self.by_place
    }

    /// Whether what is applied from now on takes effect by its place alone: a transaction does.
    pub(super) fn set_by_place(&mut self, by_place: bool) {
        self.by_place = by_place;
    }

    /// Whether an entry is in the past of the one being applied, or is that one.
    pub(super) fn sees(&mut self, other: &Stamp) -> Result<bool> {
        let Some(known) = self.known.filter(|_| !self.by_place) else { return Ok(true) };
        if other.writer == self.stamp.writer && other.seq <= self.stamp.seq {
            return Ok(true);
        }
        if let Some(length) = self.cache.get(&other.writer) {
            return Ok(*length > other.seq);
        }
        let length = known(&other.writer)?;
        self.cache.insert(other.writer, length);
        Ok(length > other.seq)
    }
}
