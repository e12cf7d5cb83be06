//! The best few values: least, greatest, first or last in a sort.

use std::collections::BTreeMap;

use bson::RawBson;

use super::state::{Owned, held_bytes};
use crate::sort::SortKey;

/// The first or last few values by a key; of equal keys, those that came first.
#[derive(Debug)]
pub(super) struct Best<K> {
    count: usize,
    /// Whether the greatest keys are wanted.
    greatest: bool,
    arrivals: u64,
    values: BTreeMap<(K, u64), Option<RawBson>>,
    bytes: usize,
}

/// A key that knows its size.
pub(super) trait Key: Ord {
    fn bytes(&self) -> usize;
}

impl Key for Owned {
    fn bytes(&self) -> usize {
        held_bytes(&self.0)
    }
}

impl Key for SortKey {
    fn bytes(&self) -> usize {
        self.as_bytes().len() + 24
    }
}

impl<K: Key> Best<K> {
    pub(super) fn new(count: usize, greatest: bool) -> Self {
        Self { count, greatest, arrivals: 0, values: BTreeMap::new(), bytes: 0 }
    }

    /// Takes a value; `value` is called only if it is among the best so far.
    pub(super) fn add<E>(
        &mut self,
        key: K,
        value: impl FnOnce() -> Result<Option<RawBson>, E>,
    ) -> Result<(), E> {
        if self.values.len() >= self.count {
            let worst = if self.greatest { self.values.first_entry() } else { self.values.last_entry() };
            let Some(worst) = worst else { return Ok(()) };
            let better = if self.greatest { key > worst.key().0 } else { key < worst.key().0 };
            // Of equals the one that came first stays.
            if !better {
                return Ok(());
            }
            let ((key, _), value) = worst.remove_entry();
            self.bytes -= key.bytes() + value.as_ref().map_or(0, held_bytes);
        }
        let value = value()?;
        self.bytes += key.bytes() + value.as_ref().map_or(0, held_bytes);
        self.arrivals += 1;
        self.values.insert((key, self.arrivals), value);
        Ok(())
    }

    /// Keys and values in the order of the keys, those of equal keys as they came.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (&K, Option<&RawBson>)> {
        self.values.iter().map(|((key, _), value)| (key, value.as_ref()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
