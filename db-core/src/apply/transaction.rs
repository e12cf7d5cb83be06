//! Transactions at their place: every read finds what it found, every write does what it did, or nothing changes.
//!
//! Steps are run in the order in which the author made them, so that a read sees the transaction's own writes before it. What
//! is accepted is as if it had been run here, and nowhere else: serial in the order of entries. So it takes effect by its place;
//! the rules for concurrent edits do not apply to it.

use db_index::{ErrorCode, Filter, QueryError};

use super::writes::not_replayable;
use super::{Applier, Mode, Outcome};
use crate::error::Result;
use crate::faults::{Fault, is_planted};
use crate::ids::WriterKey;
use crate::operation::{Done, Read, Step};
use crate::query::witness::{self, Aspect};
use crate::view::journal::ViewWriter;

/// MongoDB's `WriteConflict`.
const WRITE_CONFLICT: ErrorCode = ErrorCode(112);

impl Done {
    /// What of an outcome the author of a write was told.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let Outcome { matched, modified, deleted, upserted, .. } = *outcome;
        Self { matched, modified, deleted, upserted }
    }
}

impl Applier<'_> {
    /// Runs a transaction; the first step that does not hold is its rejection, and then nothing has changed.
    pub(super) fn transaction(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        writer: &WriterKey,
        steps: &[Step],
        mode: Mode,
    ) -> Result<Outcome> {
        let mark = view.mark();
        let mut whole = Outcome::default();
        self.author.set_by_place(true);
        for (position, step) in steps.iter().enumerate() {
            let held = match step {
                Step::Read(read) => self.read_again(view, read)?,
                Step::Write { operation, done } => {
                    // The first part that does not hold ends it, wherever it is run.
                    let outcome = self.apply(view, writer, operation, Mode::OriginOrdered)?;
                    check(outcome, *done, &mut whole)
                }
            };
            if let Err(error) = held {
                view.revert_to(mark)?;
                self.catalog.clear();
                whole = Outcome::default();
                whole.reject(mode, position, error);
                break;
            }
        }
        self.author.set_by_place(false);
        Ok(whole)
    }

    /// Whether a read finds what it found.
    fn read_again(&mut self, view: &mut ViewWriter<'_, '_>, read: &Read) -> Result<Result<(), QueryError>> {
        let filter = match Filter::parse_logged(&read.filter) {
            Ok(filter) if filter.is_replayable() && !filter.has_expression() => filter,
            Ok(_) => return Ok(Err(not_replayable())),
            Err(error) => return Ok(Err(error)),
        };
        if let Err(too_much) = view.work().check() {
            return Ok(Err(too_much));
        }
        let meta = self.catalog.collection(view, &read.collection)?;
        let mut work = std::mem::take(view.work());
        let found = witness::look(&*view, meta.as_ref(), &filter, Aspect::of(&read.found), &mut work);
        *view.work() = work;
        Ok(match found? {
            Ok(found) if found == read.found || is_planted(Fault::ReadTakenForGranted) => Ok(()),
            Ok(_) => Err(conflict("what the transaction read has been changed")),
            Err(error) => Err(error),
        })
    }
}

/// Whether a write did what it did before; adds it to the whole.
fn check(outcome: Outcome, done: Done, whole: &mut Outcome) -> Result<(), QueryError> {
    let now = Done::of(&outcome);
    if let Some(error) = outcome.rejected.into_values().next() {
        return Err(error);
    }
    if now != done {
        return Err(conflict("a write of the transaction would do something else"));
    }
    whole.inserted += outcome.inserted;
    whole.matched += outcome.matched;
    whole.modified += outcome.modified;
    whole.deleted += outcome.deleted;
    Ok(())
}

fn conflict(message: &str) -> QueryError {
    QueryError::new(WRITE_CONFLICT, message)
}
