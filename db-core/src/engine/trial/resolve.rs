//! Settling a listed conflict: an ordinary write, whose author has seen both sides, and the end of the listing.

use bson::{RawBson, RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, QueryError};

use super::{Trial, Tried};
use crate::engine::request::Resolution;
use crate::error::{Error, Result};
use crate::operation::{Operation, UpdateOperation};
use crate::view::catalog::CONFLICTS;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    pub(super) fn resolve(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        id: RawDocumentBuf,
        resolution: Resolution,
    ) -> Result<Tried> {
        let Some(conflict) = self.stored(view, CONFLICTS, &id)? else {
            return Err(QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "no such conflict is listed").into());
        };
        let asked = match resolution {
            Resolution::Keep => None,
            Resolution::TakeLoser => Some(loser(&conflict)?),
            Resolution::Set(value) => {
                let value = RawBson::try_from(value)
                    .map_err(|error| Error::invalid("a value that is no BSON").with_source(error))?;
                Some(assignment(&conflict, Some(value))?)
            }
        };
        let dismiss = Operation::Dismiss { collection: CONFLICTS.to_owned(), ids: vec![id] };
        let Some(asked) = asked else { return self.whole(view, dismiss) };
        let mut tried = self.whole(view, asked)?;
        tried.operations.extend(self.whole(view, dismiss)?.operations);
        Ok(tried)
    }
}

/// The operation that lost, as it would be logged now.
fn loser(conflict: &RawDocument) -> Result<Operation> {
    let side = conflict.get_document("loser").map_err(|_| damaged())?;
    let value = side.get("value").ok().flatten();
    if matches!(side.get("omitted"), Ok(Some(_))) {
        return Err(Error::invalid("the value was too large to be listed: it stands in the log").with_code(2));
    }
    if matches!(conflict.get("path"), Ok(Some(_))) {
        return assignment(conflict, value.map(RawBson::from));
    }
    let collection = conflict.get_str("collection").map_err(|_| damaged())?.to_owned();
    match value {
        Some(RawBsonRef::Document(document)) => {
            Ok(Operation::Insert { collection, documents: vec![document.to_owned()] })
        }
        _ if matches!(side.get("update"), Ok(Some(_))) => {
            Err(Error::invalid("the update's document is gone: insert it anew").with_code(2))
        }
        _ => Ok(Operation::Delete {
            collection,
            ids: vec![document_id(conflict)?],
            guard: RawDocumentBuf::new(),
        }),
    }
}

/// Sets the path of a conflict, or removes it.
fn assignment(conflict: &RawDocument, value: Option<RawBson>) -> Result<Operation> {
    let path = conflict
        .get_str("path")
        .map_err(|_| Error::invalid("a conflict with a delete has no field to set").with_code(2))?;
    if path.split('.').any(crate::view::history::is_any) {
        let message = "the conflict is about several elements of an array: update the document instead";
        return Err(Error::invalid(message).with_code(2));
    }
    let path = <&bson::raw::CStr>::try_from(path).map_err(|_| damaged())?;
    let mut fields = RawDocumentBuf::new();
    let mut update = RawDocumentBuf::new();
    if let Some(value) = value {
        fields.append(path, value);
        update.append(bson::raw::cstr!("$set"), fields);
    } else {
        fields.append(path, true);
        update.append(bson::raw::cstr!("$unset"), fields);
    }
    Ok(Operation::Update(UpdateOperation {
        collection: conflict.get_str("collection").map_err(|_| damaged())?.to_owned(),
        ids: vec![document_id(conflict)?],
        guard: RawDocumentBuf::new(),
        update,
        array_filters: Vec::new(),
        replaces: None,
    }))
}

/// `{_id: …}` of the document that a conflict is about.
fn document_id(conflict: &RawDocument) -> Result<RawDocumentBuf> {
    let id = conflict.get("document").ok().flatten().ok_or_else(damaged)?;
    let mut only = RawDocumentBuf::new();
    only.append(bson::raw::cstr!("_id"), RawBson::from(id));
    Ok(only)
}

fn damaged() -> Error {
    Error::data("a listed conflict is damaged")
}
