//! Building order and view anew, where an indexer's fork has broken what was confirmed.
//!
//! That costs as much as applying all entries. Whoever makes up a majority of the indexers with logs that are forked, and may be the
//! only one, can lengthen the branches in turn and demand it by each entry. No rule for the order prevents that: what a set of entries
//! decides, one more may decide otherwise. So it is put off: a run that would demand it more often than is allowed is refused
//! before anything of it is stored, and the driver takes it in later (`driver/rebuilding.rs`). That delays entries, and changes no
//! result.

use super::order::NO_ENTRY;
use super::stored_past::{StoredPast, node_of, standing_of, touches_membership};
use super::{Batch, Engine};
use crate::error::{Error, Result};
use crate::linearizer::{ConfirmationBroken, EntryNumber};
use crate::view::members;

/// How often that was done since the database was opened, and how often peers may still demand it; none for as often as they like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rebuilds {
    done: u64,
    left: Option<u32>,
}

impl Rebuilds {
    /// Whether peers may demand it no more.
    pub(super) fn are_spent(self) -> bool {
        self.left == Some(0)
    }
}

impl Engine {
    /// How often order and view were built anew since the database was opened.
    pub(crate) fn rebuilt(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.rebuilds.done)
    }

    /// Takes in no runs of peers that would demand it more than so often, until this is said again.
    pub(crate) fn allow_rebuilds(&mut self, count: u32) {
        if let Some(state) = &mut self.state {
            state.rebuilds.left = Some(count);
        }
    }
}

impl Batch<'_, '_> {
    /// Builds order and view anew from the logs: an indexer's fork has broken what was confirmed.
    pub(super) fn rebuild(&mut self, broken: &ConfirmationBroken) -> Result<()> {
        tracing::error!(
            epoch = broken.epoch,
            forked = ?broken.forked,
            "an indexer has signed two entries with one seq and broken confirmation: the view is built anew"
        );
        let genesis = self.engine.identity.genesis.clone();
        let rebuilds = &mut self.state.rebuilds;
        rebuilds.done += 1;
        rebuilds.left = rebuilds.left.map(|left| left.saturating_sub(1));
        self.state.catalog.clear();
        self.tables.clear_order_and_view()?;
        self.state.reset_order(&genesis);
        let nobody = self.nobody();
        self.with_view(NO_ENTRY, &nobody, |view, applier| members::found(view, applier.genesis))?;
        for number in 0..self.state.next_number {
            let record =
                self.tables.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
            let node = node_of(&self.tables, number, &record)?;
            if touches_membership(&self.tables.payload(number)?) {
                self.state.membership.insert(EntryNumber(number));
            }
            let past = StoredPast::new(&self.tables);
            let added = self.state.linearizer.add(&node, &standing_of(&record)?, &past);
            self.state.unordered.insert(EntryNumber(number));
            if let Err(broken) = past.checked(added)? {
                return Err(Error::data("the order cannot be rebuilt").with_source(broken));
            }
        }
        if let Err(broken) = self.try_to_confirm(&mut |_| false)? {
            return Err(Error::data("the order cannot be rebuilt: two ends of an epoch were confirmed")
                .with_source(broken));
        }
        self.settle()?;
        self.mark_done();
        Ok(())
    }
}
