//! Bulk writes: several inserts, updates and deletes as one entry, each with its own outcome.

use std::collections::BTreeMap;

use bson::RawBson;
use db_index::{ErrorCode, QueryError};

use super::{Trial, Tried, is_fatal};
use crate::apply::Outcome;
use crate::engine::request::{Reply, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Tries the parts one after the other. One that fails changes nothing, and ends the bulk if it is ordered.
    pub(super) fn bulk(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        parts: Vec<Request>,
        ordered: bool,
    ) -> Result<Tried> {
        self.one_after_the_other(view, parts, ordered, Self::run)
    }

    /// Tries what `run` makes of each part.
    pub(super) fn one_after_the_other<P>(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        parts: Vec<P>,
        ordered: bool,
        run: impl Fn(&mut Self, &mut ViewWriter<'_, '_>, P) -> Result<Tried>,
    ) -> Result<Tried> {
        let mut whole = self.nothing();
        for (position, part) in parts.into_iter().enumerate() {
            let mark = view.mark();
            match run(self, view, part) {
                Ok(tried) => {
                    whole.operations.extend(tried.operations);
                    add(&mut whole.reply, position, tried.reply);
                }
                // Whoever may not write may write no part of it.
                Err(error) if is_fatal(&error) || error.kind() == ErrorKind::Denied => return Err(error),
                Err(error) => {
                    view.revert_to(mark)?;
                    self.applier.catalog.clear();
                    whole.reply.outcome.rejected.insert(position, refusal(&error));
                }
            }
            if ordered && whole.reply.outcome.rejected.contains_key(&position) {
                break;
            }
        }
        Ok(whole)
    }
}

/// Adds what the part at `position` did to the reply of the whole.
fn add(whole: &mut Reply, position: usize, part: Reply) {
    let Outcome { inserted, matched, modified, deleted, rejected, .. } = part.outcome;
    let sum = &mut whole.outcome;
    sum.inserted += inserted;
    sum.matched += matched;
    sum.modified += modified;
    sum.deleted += deleted;
    // An update of many that failed at one document has changed those before it.
    sum.rejected.extend(rejected.into_values().next().map(|error| (position, error)));
    let ids: BTreeMap<usize, RawBson> = part.upserted_ids;
    whole.upserted_ids.extend(ids.into_values().map(|id| (position, id)));
}

/// What was wrong with a part, as a write failure tells it.
fn refusal(error: &Error) -> QueryError {
    let code = error.code().map_or(ErrorCode::BAD_VALUE, ErrorCode);
    QueryError::new(code, error.message())
}
