//! Requests made and completed: what writes, bulk writes and find-and-modify have in common.

use bson::oid::ObjectId;
use bson::{RawBson, RawDocumentBuf};
use db_index::{ErrorCode, QueryError};

use super::documents::{ToRawDocument, checked};
use crate::engine::{DeleteRequest, Request, UpdateRequest};
use crate::error::Result;
use crate::query::Hint;

/// An update, or a replacement.
pub(super) fn update(
    collection: String,
    filter: RawDocumentBuf,
    update: RawBson,
    multi: bool,
    replacement: bool,
) -> Request {
    Request::Update(UpdateRequest {
        collection,
        filter,
        update,
        array_filters: Vec::new(),
        multi,
        upsert: None,
        replacement,
        strict: false,
        sort: None,
        hint: None,
        variables: None,
        collation: None,
        returning: None,
    })
}

/// A delete.
pub(super) fn delete(collection: String, filter: RawDocumentBuf, multi: bool) -> Request {
    Request::Delete(DeleteRequest {
        collection,
        filter,
        multi,
        sort: None,
        hint: None,
        variables: None,
        collation: None,
        returning: None,
    })
}

pub(super) fn set_upsert(request: &mut Request, upsert: bool) -> Result<()> {
    // The engine has no chance of its own, so the `_id` of a new document is made here.
    as_update(request, "upsert")?.upsert = upsert.then(ObjectId::new);
    Ok(())
}

pub(super) fn set_strict(request: &mut Request, strict: bool) -> Result<()> {
    as_update(request, "strict")?.strict = strict;
    Ok(())
}

pub(super) fn set_array_filters<D: ToRawDocument>(
    request: &mut Request,
    array_filters: impl IntoIterator<Item = D>,
) -> Result<()> {
    as_update(request, "array_filters")?.array_filters =
        array_filters.into_iter().map(checked).collect::<Result<_>>()?;
    Ok(())
}

pub(super) fn set_sort(request: &mut Request, sort: impl ToRawDocument) -> Result<()> {
    let sort_of_request = match request {
        Request::Update(update) if !update.multi => &mut update.sort,
        Request::Delete(delete) if !delete.multi => &mut delete.sort,
        _ => return Err(not_for("sort")),
    };
    *sort_of_request = Some(checked(sort)?);
    Ok(())
}

pub(super) fn set_hint(request: &mut Request, hint: Hint) -> Result<()> {
    match request {
        Request::Update(update) => update.hint = Some(hint),
        Request::Delete(delete) => delete.hint = Some(hint),
        _ => return Err(not_for("hint")),
    }
    Ok(())
}

pub(super) fn set_variables(request: &mut Request, variables: RawDocumentBuf) -> Result<()> {
    match request {
        Request::Update(update) => update.variables = Some(variables),
        Request::Delete(delete) => delete.variables = Some(variables),
        _ => return Err(not_for("let")),
    }
    Ok(())
}

pub(super) fn set_collation(request: &mut Request, collation: RawDocumentBuf) -> Result<()> {
    match request {
        Request::Update(update) => update.collation = Some(collation),
        Request::Delete(delete) => delete.collation = Some(collation),
        _ => return Err(not_for("collation")),
    }
    Ok(())
}

fn as_update<'r>(request: &'r mut Request, option: &str) -> Result<&'r mut UpdateRequest> {
    match request {
        Request::Update(update) => Ok(update),
        _ => Err(not_for(option)),
    }
}

/// The error of an option that the call cannot have.
pub(super) fn not_for(option: &str) -> crate::error::Error {
    QueryError::new(ErrorCode::FAILED_TO_PARSE, format!("the call cannot have the option '{option}'")).into()
}
