//! Whether an entry lies in another's past.
//!
//! A log without forks is a chain: what sees an indexer's entry `seq` sees all before it, so comparing numbers is enough. Only for
//! an indexer that forked its log the graph has to be searched, of which every entry is passed once for what is sought, as long as
//! memory reaches ([`SharedFindings`]): many entries that come late ask the same one after the other.

use std::collections::BTreeSet;

use crate::ids::WriterKey;

use super::EntryNumber;
use super::findings::{SharedFindings, Sought};
use super::standing::{Past, Seen};

pub(super) struct Ancestry<'a> {
    /// The writers of whom two entries with one `seq` were added.
    pub(super) forked: &'a BTreeSet<WriterKey>,
    /// The writer of whom a second one is about to be added.
    pub(super) forks: Option<&'a WriterKey>,
    pub(super) findings: &'a SharedFindings,
    pub(super) past: &'a dyn Past,
}

impl Ancestry<'_> {
    pub(super) fn is_forked(&self, writer: &WriterKey) -> bool {
        self.forked.contains(writer) || self.forks == Some(writer)
    }

    /// Whether the past that ends in `heads` and sees `seen` of `leader` holds that writer's proposal with this `seq` and number.
    pub(super) fn holds_proposal(
        &self,
        heads: &[EntryNumber],
        seen: Seen,
        leader: &WriterKey,
        seq: u64,
        number: EntryNumber,
    ) -> bool {
        seen.next > seq
            && (!self.is_forked(leader)
                || self.reaches(heads, Sought::Proposal(number), number, |at| at == number))
    }

    /// Whether what is sought, which `is_it` tells and of which `lowest` is the first, is among `heads` or in their pasts. More
    /// may be sought later than now, of what is added till then.
    pub(super) fn reaches(
        &self,
        heads: &[EntryNumber],
        sought: Sought,
        lowest: EntryNumber,
        is_it: impl Fn(EntryNumber) -> bool,
    ) -> bool {
        let parents = |at| self.past.parents(at);
        self.findings.lock().search(heads.to_vec(), sought, lowest, is_it, parents)
    }
}

#[cfg(test)]
mod tests;
