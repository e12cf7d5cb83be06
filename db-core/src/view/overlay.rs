//! A snapshot with changes of one's own on top: what a transaction sees before it is logged. The changes are kept in memory,
//! by key, and are bounded.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use db_index::{ErrorCode, QueryError};

use super::keyspace::KeyBounds;
use super::stored::{Item, KeyRange, Stored};
use super::{ReadView, ViewSnapshot};
use crate::error::{Error, Result};
use crate::limits;

/// Each key that has changed, and what stands there now, if anything does. Shared with those who read it.
pub(crate) type Changes = Arc<BTreeMap<Vec<u8>, Change>>;

/// What stands under a key now.
type Change = Option<Arc<[u8]>>;

/// What a change costs beside its bytes.
const CHANGE_BYTES: usize = 128;

/// A snapshot, and changes on top of it.
pub(crate) struct Overlay {
    base: ViewSnapshot,
    changes: Changes,
    bytes: usize,
}

impl Overlay {
    /// A snapshot without any changes yet.
    pub(crate) fn new(base: ViewSnapshot) -> Self {
        Self { base, changes: Changes::default(), bytes: 0 }
    }

    /// The view as it is now; what is changed later is not seen in it.
    pub(crate) fn snapshot(&self) -> ViewSnapshot {
        if self.changes.is_empty() {
            self.base.clone()
        } else {
            self.base.with_changes(Arc::clone(&self.changes))
        }
    }

    /// Puts `value` under `key`, or nothing; gives what stood there.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) beyond [`limits::TRANSACTION_BYTES_MAX`]; if the storage fails.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let before = self.get(key)?.map(|before| before.value().to_vec());
        if before.is_none() && value.is_none() {
            return Ok(None);
        }
        let size = |value: Option<&[u8]>| CHANGE_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        let changes = Arc::make_mut(&mut self.changes);
        self.bytes += size(value);
        if let Some(changed) = changes.insert(key.to_vec(), value.map(Arc::from)) {
            self.bytes = self.bytes.saturating_sub(size(changed.as_deref()));
        }
        if self.bytes > limits::TRANSACTION_BYTES_MAX {
            let message = "the transaction changes more than 64 MiB of documents and index entries: split it";
            return Err(QueryError::new(ErrorCode(257), message).into());
        }
        Ok(before)
    }

    /// Removes every key between the bounds.
    pub(super) fn clear(&mut self, bounds: &KeyBounds) -> Result<()> {
        let keys = self.range(bounds.clone())?.map(|item| Ok(item?.0.value().to_vec()));
        for key in keys.collect::<Result<Vec<_>>>()? {
            self.set(&key, None)?;
        }
        Ok(())
    }
}

impl ReadView for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Stored<'_>>> {
        match self.changes.get(key) {
            Some(changed) => Ok(stored(changed.as_deref())),
            None => self.base.value(key),
        }
    }

    fn range(&self, bounds: KeyBounds) -> Result<KeyRange<'_>> {
        let base = self.base.keys(&bounds)?;
        Ok(KeyRange::Changed(Box::new(ChangedRange::new(base, Arc::clone(&self.changes), bounds))))
    }
}

/// What a changed key holds.
pub(super) fn stored(changed: Option<&[u8]>) -> Option<Stored<'static>> {
    changed.map(|bytes| Stored::Before(bytes.to_vec()))
}

/// A range of keys with changes on top; read from one end or from the other, not from both.
pub(crate) struct ChangedRange<'a> {
    base: KeyRange<'a>,
    /// The next of the base, once it is known.
    head: Option<Item<'a>>,
    changes: Changes,
    /// Where the changes that are still to be read lie.
    left: KeyBounds,
}

/// From which end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Front,
    Back,
}

impl<'a> ChangedRange<'a> {
    pub(super) fn new(base: KeyRange<'a>, changes: Changes, left: KeyBounds) -> Self {
        Self { base, head: None, changes, left }
    }

    pub(super) fn next(&mut self) -> Option<Result<Item<'a>>> {
        self.step(End::Front)
    }

    pub(super) fn next_back(&mut self) -> Option<Result<Item<'a>>> {
        self.step(End::Back)
    }

    fn step(&mut self, end: End) -> Option<Result<Item<'a>>> {
        loop {
            if self.head.is_none() {
                let read = if end == End::Front { self.base.next() } else { self.base.next_back() };
                self.head = match read.transpose() {
                    Ok(head) => head,
                    Err(error) => return Some(Err(error)),
                };
            }
            let changed = self.next_change(end);
            let Some((key, value)) = changed else { return self.head.take().map(Ok) };
            if let Some((head, _)) = &self.head {
                let is_before = if end == End::Front { head.value() < &*key } else { head.value() > &*key };
                if is_before {
                    return self.head.take().map(Ok);
                }
                if head.value() == key {
                    self.head = None;
                }
            }
            match end {
                End::Front => self.left.0 = Bound::Excluded(key.clone()),
                End::Back => self.left.1 = Bound::Excluded(key.clone()),
            }
            if let Some(value) = stored(value.as_deref()) {
                return Some(Ok((Stored::Before(key), value)));
            }
        }
    }

    /// The next change at that end, which stays to be read.
    fn next_change(&self, end: End) -> Option<(Vec<u8>, Change)> {
        if is_empty(&self.left) {
            return None;
        }
        let bounds = (self.left.0.as_ref().map(Vec::as_slice), self.left.1.as_ref().map(Vec::as_slice));
        let mut range = self.changes.range::<[u8], _>(bounds);
        let (key, value) = if end == End::Front { range.next() } else { range.next_back() }?;
        Some((key.clone(), value.clone()))
    }
}

/// Whether nothing can lie between the bounds; a range of a map may not be asked for then.
fn is_empty((low, high): &KeyBounds) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
    }
}

/// What a failed change of the storage's undo table would mean: an overlay has none.
pub(super) fn no_table() -> Error {
    Error::data("a transaction's changes have no table of undo records")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::{ReadableTable, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, &'static [u8], &'static [u8]> = TableDefinition::new("t");

    fn bound(of: (u8, u8)) -> Bound<Vec<u8>> {
        match of.0 % 3 {
            0 => Bound::Included(vec![of.1]),
            1 => Bound::Excluded(vec![of.1]),
            _ => Bound::Unbounded,
        }
    }

    proptest! {
        #[test]
        fn a_range_with_changes_on_top_is_that_of_the_changed_keys_from_either_end(
            base in proptest::collection::btree_map(0_u8..20, 0_u8..9, 0..12),
            changes in proptest::collection::btree_map(0_u8..20, proptest::option::of(0_u8..9), 0..12),
            low in (0_u8..3, 0_u8..20),
            high in (0_u8..3, 0_u8..20),
        ) {
            let bounds = (bound(low), bound(high));
            // As the callers have it: a low bound is never above a high one but where nothing can lie between.
            prop_assume!(!is_empty(&bounds));
            let memory = redb::backends::InMemoryBackend::new();
            let database = redb::Database::builder().create_with_backend(memory).unwrap();
            let transaction = database.begin_write().unwrap();
            let mut table = transaction.open_table(TABLE).unwrap();
            for (key, value) in &base {
                table.insert(&[*key][..], &[*value][..]).unwrap();
            }
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> =
                base.iter().map(|(key, value)| (vec![*key], vec![*value])).collect();
            let mut changed = BTreeMap::new();
            for (key, value) in &changes {
                changed.insert(vec![*key], value.map(|value| Arc::from(&[value][..])));
                match value {
                    Some(value) => model.insert(vec![*key], vec![*value]),
                    None => model.remove(&vec![*key]),
                };
            }
            let changed: Changes = Arc::new(changed);
            let range = || {
                let (low, high) = &bounds;
                let slices = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
                let base = KeyRange::Latest(table.range::<&[u8]>(slices).unwrap());
                ChangedRange::new(base, Arc::clone(&changed), bounds.clone())
            };
            let owned = |(key, value): Item<'_>| (key.value().to_vec(), value.value().to_vec());
            let expected: Vec<_> =
                model.range(bounds.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
            let mut forward = range();
            let found: Vec<_> = std::iter::from_fn(|| forward.next()).map(|item| owned(item.unwrap())).collect();
            prop_assert_eq!(&found, &expected);
            let mut backward = range();
            let mut found: Vec<_> =
                std::iter::from_fn(|| backward.next_back()).map(|item| owned(item.unwrap())).collect();
            found.reverse();
            prop_assert_eq!(found, expected);
        }
    }
}
