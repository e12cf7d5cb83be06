//! A snapshot with changes of one's own on top: what a transaction sees before it is logged, and what calls leave while a
//! backlog is being ordered. The changes are kept in memory, by key, and are bounded.
//!
//! Changes that are shown to readers are never touched again: later ones form a new layer above. Two layers become one as soon
//! as the upper is not much the smaller, so that there are few and each change is moved seldom.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use db_index::{ErrorCode, QueryError};

use super::keyspace::KeyBounds;
use super::stored::{Item, KeyRange, Stored};
use super::{ReadView, ViewSnapshot};
use crate::error::{Error, Result};

/// Each key that has changed, and what stands there now, if anything does. Shared with those who read it.
pub(crate) type Changes = Arc<BTreeMap<Vec<u8>, Change>>;

/// What stands under a key now.
type Change = Option<Arc<[u8]>>;

/// What a change costs beside its bytes.
const CHANGE_BYTES: usize = 128;
/// A layer has at least so many times the keys of the one above it.
const LAYERS_RATIO: usize = 4;

/// A snapshot, and changes on top of it.
pub(crate) struct Overlay {
    base: ViewSnapshot,
    /// What is kept, the last uppermost.
    layers: Vec<Changes>,
    /// What has changed since then.
    changes: Changes,
    /// About how much memory all that takes, how much of it what is kept, and how much it may be.
    bytes: usize,
    bytes_kept: usize,
    bytes_max: usize,
    is_beyond: bool,
}

impl Overlay {
    /// A snapshot without any changes yet, which may take about `bytes_max` of memory.
    pub(crate) fn new(base: ViewSnapshot, bytes_max: usize) -> Self {
        let (layers, changes) = (Vec::new(), Changes::default());
        Self { base, layers, changes, bytes: 0, bytes_kept: 0, bytes_max, is_beyond: false }
    }

    /// The view as it is now; what is changed later is not seen in it.
    pub(crate) fn snapshot(&mut self) -> ViewSnapshot {
        self.keep();
        if self.layers.is_empty() { self.base.clone() } else { self.base.with_changes(self.layers.clone()) }
    }

    /// Keeps what has changed: [`Overlay::discard`] does not take it back any more.
    pub(crate) fn keep(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        self.layers.push(std::mem::take(&mut self.changes));
        while let [.., below, above] = self.layers.as_slice()
            && below.len() < above.len() * LAYERS_RATIO
        {
            let (Some(above), Some(mut below)) = (self.layers.pop(), self.layers.pop()) else { break };
            let onto = Arc::make_mut(&mut below);
            for (key, value) in Arc::unwrap_or_clone(above) {
                let bytes_of_key = key.len();
                if let Some(hidden) = onto.insert(key, value) {
                    self.bytes = self.bytes.saturating_sub(bytes_of(bytes_of_key, hidden.as_deref()));
                }
            }
            self.layers.push(below);
        }
        self.bytes_kept = self.bytes;
    }

    /// Takes back what has changed since it was last kept.
    pub(crate) fn discard(&mut self) {
        (self.changes, self.bytes, self.is_beyond) = (Changes::default(), self.bytes_kept, false);
    }

    /// Whether there was no room for what was to be changed, which has to be discarded.
    pub(crate) fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// Puts `value` under `key`, or nothing; gives what stood there.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257) if that is more than it may take; if the storage fails.
    pub(super) fn set(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let before = self.get(key)?.map(|before| before.value().to_vec());
        if before.is_none() && value.is_none() {
            return Ok(None);
        }
        let changes = Arc::make_mut(&mut self.changes);
        self.bytes += bytes_of(key.len(), value);
        if let Some(changed) = changes.insert(key.to_vec(), value.map(Arc::from)) {
            self.bytes = self.bytes.saturating_sub(bytes_of(key.len(), changed.as_deref()));
        }
        if self.bytes > self.bytes_max {
            self.is_beyond = true;
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
        match self.changes.get(key).or_else(|| changed(&self.layers, key)) {
            Some(changed) => Ok(stored(changed.as_deref())),
            None => self.base.value(key),
        }
    }

    fn range(&self, bounds: KeyBounds) -> Result<KeyRange<'_>> {
        let below = with_layers(self.base.keys(&bounds)?, &self.layers, &bounds);
        Ok(with_layers(below, std::slice::from_ref(&self.changes), &bounds))
    }
}

/// What the uppermost of the layers that have changed a key has left there.
pub(super) fn changed<'a>(layers: &'a [Changes], key: &[u8]) -> Option<&'a Change> {
    layers.iter().rev().find_map(|layer| layer.get(key))
}

/// What a changed key holds.
pub(super) fn stored(changed: Option<&[u8]>) -> Option<Stored<'static>> {
    changed.map(|bytes| Stored::Before(bytes.to_vec()))
}

/// A range of keys with all these layers on top.
pub(super) fn with_layers<'a>(base: KeyRange<'a>, layers: &[Changes], bounds: &KeyBounds) -> KeyRange<'a> {
    layers.iter().filter(|layer| !layer.is_empty()).fold(base, |below, layer| {
        let changed = ChangedRange::new(below, Arc::clone(layer), bounds.clone());
        KeyRange::Changed(Box::new(changed))
    })
}

/// About how much memory a change of a key of this length takes.
fn bytes_of(key_bytes: usize, value: Option<&[u8]>) -> usize {
    CHANGE_BYTES + key_bytes + value.map_or(0, <[u8]>::len)
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
    fn new(base: KeyRange<'a>, changes: Changes, left: KeyBounds) -> Self {
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
    use redb::{ReadableDatabase, ReadableTable, TableDefinition};

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

        #[test]
        fn what_is_kept_stays_and_what_was_shown_is_not_touched(
            base in proptest::collection::btree_map(0_u8..20, 0_u8..9, 0..12),
            steps in proptest::collection::vec((0_u8..4, 0_u8..20, proptest::option::of(0_u8..9)), 0..60),
        ) {
            let mut overlay = Overlay::new(snapshot_of(&base), 100_000);
            let mut kept: BTreeMap<u8, u8> = base;
            let mut present = kept.clone();
            let mut shown = Vec::new();
            for (what, key, value) in steps {
                match what {
                    0 => {
                        overlay.discard();
                        present.clone_from(&kept);
                    }
                    1 => {
                        shown.push((overlay.snapshot(), present.clone()));
                        kept.clone_from(&present);
                    }
                    _ => {
                        let value = value.map(|value| [value]);
                        let before = overlay.set(&[key], value.as_ref().map(<[u8; 1]>::as_slice)).unwrap();
                        prop_assert_eq!(before, present.get(&key).map(|value| vec![*value]));
                        match value {
                            Some([value]) => present.insert(key, value),
                            None => present.remove(&key),
                        };
                    }
                }
                prop_assert_eq!(contents(&overlay), present.clone());
            }
            for (snapshot, expected) in &shown {
                prop_assert_eq!(&contents(snapshot), expected);
            }
            prop_assert!(overlay.layers.len() <= 4, "{} layers", overlay.layers.len());
        }
    }

    fn snapshot_of(base: &BTreeMap<u8, u8>) -> ViewSnapshot {
        let memory = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(memory).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for (key, value) in base {
                table.insert(&[*key][..], &[*value][..]).unwrap();
            }
            transaction.open_table(crate::view::confirmed::OVERWRITTEN).unwrap();
        }
        transaction.commit().unwrap();
        let transaction = database.begin_read().unwrap();
        let overwritten = transaction.open_table(crate::view::confirmed::OVERWRITTEN).unwrap();
        let view = ViewSnapshot::new(transaction.open_table(TABLE).unwrap(), overwritten, Arc::default());
        view.holding(Arc::new(database))
    }

    fn contents(view: &impl ReadView) -> BTreeMap<u8, u8> {
        let items = view.range((Bound::Unbounded, Bound::Unbounded)).unwrap();
        items.map(|item| item.unwrap()).map(|(key, value)| (key.value()[0], value.value()[0])).collect()
    }

    #[test]
    fn beyond_its_bound_it_takes_no_more_until_what_is_too_much_is_discarded() {
        let mut overlay = Overlay::new(snapshot_of(&BTreeMap::new()), 1_000);
        overlay.set(b"a", Some(&[1; 500])).unwrap();
        overlay.keep();
        let refused = overlay.set(b"b", Some(&[2; 500])).unwrap_err();
        assert_eq!((refused.code(), overlay.is_beyond()), (Some(257), true));
        overlay.discard();
        assert!(!overlay.is_beyond() && overlay.get(b"b").unwrap().is_none());
        overlay.set(b"a", Some(&[3; 100])).unwrap();
        overlay.keep();
        overlay.set(b"b", Some(&[2; 500])).unwrap();
        assert!(!overlay.is_beyond(), "what is hidden takes no room once the layers are one");
    }
}
