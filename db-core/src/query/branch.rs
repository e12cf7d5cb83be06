//! Reading one branch of a plan: its ranges one after the other, or merged run by run.

use std::collections::VecDeque;
use std::sync::Arc;

use db_index::{Branch, KeyFilter, KeyRange, ScanDirection, prefix_end};

use super::source::Source;
use crate::error::Result;
use crate::view::catalog::{CollectionMeta, IndexMeta};
use crate::view::keyspace::{self, PREFIX_BYTES};
use crate::view::{Item, KeyRange as OpenRange};

/// A branch being read.
pub(super) struct OpenBranch<'s> {
    /// Which of the collection's indexes is read; none for the documents themselves.
    place: Option<usize>,
    meta: Arc<CollectionMeta>,
    pub(super) key_filter: Option<KeyFilter>,
    pub(super) tests_documents: bool,
    pub(super) covered: bool,
    direction: ScanDirection,
    prefix: Vec<u8>,
    runs: Vec<OpenRun<'s>>,
}

/// Ranges that are read one after the other.
struct OpenRun<'s> {
    prefix_bytes: usize,
    ranges: VecDeque<KeyRange>,
    current: Option<OpenRange<'s>>,
    head: Option<Item<'s>>,
}

impl<'s> OpenBranch<'s> {
    /// Opens a branch of a plan for this collection.
    pub(super) fn open(branch: Branch, meta: &Arc<CollectionMeta>) -> Self {
        let place = match branch.source {
            db_index::Source::Documents => None,
            db_index::Source::Index(place) => Some(place).filter(|place| *place < meta.indexes.len()),
        };
        let prefix = match place.and_then(|place| meta.indexes.get(place)) {
            Some(index) => keyspace::entries(index.id),
            None => keyspace::documents(meta.id),
        };
        let runs = branch.runs.into_iter().map(|run| OpenRun {
            prefix_bytes: PREFIX_BYTES + run.prefix_bytes,
            ranges: run.ranges.into(),
            current: None,
            head: None,
        });
        Self {
            runs: runs.collect(),
            place,
            meta: Arc::clone(meta),
            key_filter: branch.key_filter,
            tests_documents: branch.tests_documents,
            covered: branch.covered,
            direction: branch.direction,
            prefix,
        }
    }

    /// The index whose entries are read; none for the documents themselves.
    pub(super) fn index(&self) -> Option<&IndexMeta> {
        self.meta.indexes.get(self.place?)
    }

    /// The next key in the order of the branch.
    pub(super) fn next(&mut self, source: &impl Source<'s>) -> Result<Option<Item<'s>>> {
        if let [only] = self.runs.as_mut_slice() {
            return only.next(source, &self.prefix, self.direction);
        }
        for run in &mut self.runs {
            if run.head.is_none() {
                run.head = run.next(source, &self.prefix, self.direction)?;
            }
        }
        self.runs.retain(|run| run.head.is_some());
        let order =
            |a: &&mut OpenRun<'s>, b: &&mut OpenRun<'s>| a.key_behind_prefix().cmp(b.key_behind_prefix());
        let next = match self.direction {
            ScanDirection::Forward => self.runs.iter_mut().min_by(order),
            ScanDirection::Backward => self.runs.iter_mut().max_by(order),
        };
        Ok(next.and_then(|run| run.head.take()))
    }
}

impl<'s> OpenRun<'s> {
    /// What the runs are merged by.
    fn key_behind_prefix(&self) -> &[u8] {
        let key = self.head.as_ref().map(|(key, _)| key.value()).unwrap_or_default();
        key.get(self.prefix_bytes..).unwrap_or_default()
    }

    fn next(
        &mut self,
        source: &impl Source<'s>,
        prefix: &[u8],
        direction: ScanDirection,
    ) -> Result<Option<Item<'s>>> {
        loop {
            if let Some(range) = &mut self.current {
                let item = match direction {
                    ScanDirection::Forward => range.next(),
                    ScanDirection::Backward => range.next_back(),
                };
                if let Some(item) = item {
                    return item.map(Some);
                }
            }
            let Some(range) = self.ranges.pop_front() else { return Ok(None) };
            self.current = Some(source.keys(&bounds(prefix, &range))?);
        }
    }
}

/// The bounds in the view of a range of the index's or the documents' keys.
pub(super) fn bounds(prefix: &[u8], range: &KeyRange) -> keyspace::KeyBounds {
    use std::ops::Bound;
    let low = Bound::Included([prefix, &range.start].concat());
    let end = match &range.end {
        Some(end) => Some([prefix, end].concat()),
        None => prefix_end(prefix),
    };
    // An empty range reads nothing; redb takes a low bound above the high one for a mistake.
    match (low, end) {
        (Bound::Included(low), Some(end)) if low >= end => {
            (Bound::Included(low.clone()), Bound::Excluded(low))
        }
        (low, end) => (low, end.map_or(Bound::Unbounded, Bound::Excluded)),
    }
}
