//! What readers have found of what is confirmed, and what of that holds once more is.
//!
//! Readers of one state share it ([`Gaps`]), also those who read on in an earlier one: so the next state gets its own, from which
//! the keys are cut out that the newly confirmed entries have changed. It comes to readers with the transaction that confirms them.

use db_index::prefix_end;

use super::Batch;
use crate::error::Result;
use crate::faults::{Fault, is_planted};
use crate::view::confirmed_range::NOTED_MIN;
use crate::view::gaps::{Gap, behind};
use crate::view::undo::Undo;

impl Batch<'_, '_> {
    /// Cuts out what an entry has changed that is confirmed and no longer noted as overwritten, but whose undo record, given or
    /// stored, is still there.
    pub(super) fn cut_gaps(&mut self, number: u64, undo: Option<&Undo>) -> Result<()> {
        let known = self.engine.gaps.as_ref();
        let gaps = self.state.gaps.get_or_insert_with(|| known.clone());
        if gaps.is_empty() || is_planted(Fault::GapsKept) {
            return Ok(());
        }
        let tables = &self.tables;
        // What is left of a gap in which readers have little to pass is not worth the memory.
        let is_worth_it = |part: &Gap| tables.has_overwritten(&part.low, &part.high, NOTED_MIN);
        let cut = |undo: &Undo| {
            for (key, _) in undo.changes() {
                gaps.cut(key, &behind(key), is_worth_it)?;
            }
            // An index that the entry has built is not noted key by key.
            for (prefix, end) in undo.fresh().filter_map(|prefix| Some((prefix, prefix_end(prefix)?))) {
                gaps.cut(prefix, &end, is_worth_it)?;
            }
            Ok(())
        };
        match undo {
            Some(undo) => cut(undo),
            None => tables.undo_parts(number, cut),
        }
    }
}
