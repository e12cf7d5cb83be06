//! Ending the listing of a rejection: what was asked for is done after all, or given up.

use bson::RawDocumentBuf;
use db_index::{ErrorCode, QueryError};

use super::{Trial, Tried};
use crate::error::Result;
use crate::operation::Operation;
use crate::view::catalog::REJECTED;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Takes a rejection off the list and does what was rejected, all of it or nothing. In that order: where somebody else has
    /// ended the listing before, it is not done again.
    pub(super) fn resubmit(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id: RawDocumentBuf,
        operation: Operation,
    ) -> Result<Tried> {
        let mut operations = self.discard(view, id)?.operations;
        let tried = self.whole(view, operation)?;
        operations.extend(tried.operations);
        Ok(Tried { operations, ..tried })
    }

    /// Takes a rejection off the list.
    pub(super) fn discard(&mut self, view: &mut ViewWriter<'_, '_>, id: RawDocumentBuf) -> Result<Tried> {
        if self.stored(view, REJECTED, &id)?.is_none() {
            return Err(
                QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "no such rejection is listed").into()
            );
        }
        self.whole(view, Operation::Dismiss { collection: REJECTED.to_owned(), ids: vec![id] })
    }
}
