//! Whether an entry lies in another's past.
//!
//! A log without forks is a chain: what sees an indexer's entry `seq` sees all before it, so comparing numbers is enough. Only for
//! an indexer that forked its log the graph has to be searched.

use std::collections::BTreeSet;

use crate::ids::WriterKey;

use super::EntryNumber;
use super::standing::{Past, Seen};

pub(super) struct Ancestry<'a> {
    /// The writers of whom two entries with one `seq` were added.
    pub(super) forked: &'a BTreeSet<WriterKey>,
    /// The writer of whom a second one is about to be added.
    pub(super) forks: Option<&'a WriterKey>,
    pub(super) past: &'a dyn Past,
}

impl Ancestry<'_> {
    /// Whether the past that ends in `heads` and sees `seen` of `writer` holds that writer's entry `seq`, number `target`.
    pub(super) fn holds(
        &self,
        heads: &[EntryNumber],
        seen: Seen,
        writer: &WriterKey,
        seq: u64,
        target: EntryNumber,
    ) -> bool {
        let is_forked = self.forked.contains(writer) || self.forks == Some(writer);
        seen.next > seq && (!is_forked || self.reaches(heads, target))
    }

    /// Searches backwards; nothing numbered below `target` can have it in its past.
    fn reaches(&self, heads: &[EntryNumber], target: EntryNumber) -> bool {
        let mut visited = BTreeSet::new();
        let mut open = heads.to_vec();
        while let Some(at) = open.pop() {
            if at == target {
                return true;
            }
            if at > target && visited.insert(at) {
                open.extend(self.past.parents(at));
            }
        }
        false
    }
}
