//! What the simulator and tests look at beside what an engine tells.

use std::sync::Arc;

use redb::Database;

use super::{Batch, Engine};
use crate::error::Result;
use crate::ids::{DatabaseId, WriterKey};
use crate::linearizer::EntryNumber;
use crate::log_reader::Tip;

impl Engine {
    /// Orders what the process has ended in the middle of ordering, as its driver does before readers are shown anything,
    /// in transactions that each cost about so many bytes.
    pub(crate) fn until_presentable(mut self, bytes_max: usize) -> Result<Self> {
        while !self.is_presentable() {
            self.run(|batch| batch.settle_within(bytes_max))?;
        }
        Ok(self)
    }

    /// The open file.
    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The id that signatures are bound to.
    pub(crate) fn id(&self) -> DatabaseId {
        self.id
    }

    /// Whether all that is stored is ordered and applied in that order.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.as_ref().is_some_and(|state| !state.is_unsettled)
    }

    /// Whether ordering was interrupted: the view is neither the old one nor the new.
    #[cfg(test)]
    pub(crate) fn is_ordering(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.is_settling)
    }

    /// The end of this log of our own that is not here.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn missing_end(&self, writer: &WriterKey) -> Option<Tip> {
        self.state.as_ref()?.missing_ends.of(writer).copied()
    }

    /// Whether readers see the effect of this entry, while the view is not to be shown and what they see is known.
    pub(crate) fn shows_meanwhile(&self, number: u64) -> Option<bool> {
        let meanwhile = self.state.as_ref()?.meanwhile.as_ref()?;
        Some(meanwhile.contains(EntryNumber(number)))
    }
}

impl Batch<'_, '_> {
    /// Takes everything that is not confirmed off the view.
    pub(crate) fn undo_tail(&mut self) -> Result<()> {
        self.state.is_unsettled = true;
        self.undo_from(0, &mut |_| false)?;
        Ok(())
    }
}
