//! Ending the listing of a rejection: what was asked for is done after all, or given up.

use bson::spec::BinarySubtype;
use bson::{Binary, RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, QueryError};

use super::{Trial, Tried};
use crate::error::Result;
use crate::operation::{Operation, document_digest};
use crate::view::catalog::REJECTED;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Takes a rejection off the list and does what was rejected, all of it or nothing. In that order: where somebody else has
    /// ended the listing before, it is not done again. Nor is it where something else of the entry is listed, since the order has
    /// changed: that is to be looked at first.
    pub(super) fn resubmit(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id: RawDocumentBuf,
        operation: Operation,
    ) -> Result<Tried> {
        let digest = document_digest(&self.listed(view, &id)?);
        let mut listed = id;
        let digest = Binary { subtype: BinarySubtype::Generic, bytes: digest.to_vec() };
        listed.append(bson::raw::cstr!("listed"), digest);
        let mut operations = self.whole(view, dismissal(listed))?.operations;
        let tried = self.whole(view, operation)?;
        operations.extend(tried.operations);
        Ok(Tried { operations, ..tried })
    }

    /// Takes a rejection off the list.
    pub(super) fn discard(&mut self, view: &mut ViewWriter<'_, '_>, id: RawDocumentBuf) -> Result<Tried> {
        self.listed(view, &id)?;
        self.whole(view, dismissal(id))
    }

    fn listed(&mut self, view: &mut ViewWriter<'_, '_>, id: &RawDocument) -> Result<RawDocumentBuf> {
        self.stored(view, REJECTED, id)?.ok_or_else(|| {
            QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "no such rejection is listed").into()
        })
    }
}

fn dismissal(id: RawDocumentBuf) -> Operation {
    Operation::Dismiss { collection: REJECTED.to_owned(), ids: vec![id] }
}
