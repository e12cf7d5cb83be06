//! Finding one document and changing it in one step.

use std::borrow::Borrow;

use bson::{RawBson, RawDocumentBuf};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::documents::{ToRawDocument, ToUpdate, checked, checked_update, not_bson, serialized};
use super::{Collection, requests};
use crate::engine::{Request, Returning};
use crate::error::Result;
use crate::query::Hint;
use crate::write::Write;

/// Which version of a document a find-and-modify gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReturnDocument {
    /// As it is afterwards.
    After,
    /// As it was; the default.
    #[default]
    Before,
}

impl<T: DeserializeOwned> Collection<T> {
    /// Updates the first document that matches, with update operators or a pipeline, and gives it: as it was,
    /// unless [`Write::return_document`] says otherwise.
    pub fn find_one_and_update(&self, filter: impl ToRawDocument, update: impl ToUpdate) -> Write<Option<T>> {
        self.modifying(checked(filter), checked_update(update), false)
    }

    /// Replaces the first document that matches, keeping its `_id`, and gives it: as it was, unless
    /// [`Write::return_document`] says otherwise.
    pub fn find_one_and_replace(
        &self,
        filter: impl ToRawDocument,
        replacement: impl Borrow<T>,
    ) -> Write<Option<T>>
    where
        T: Serialize,
    {
        self.modifying(checked(filter), serialized(replacement.borrow()).map(RawBson::Document), true)
    }

    /// Deletes the first document that matches, and gives it.
    pub fn find_one_and_delete(&self, filter: impl ToRawDocument) -> Write<Option<T>> {
        let request = checked(filter).map(|filter| requests::delete(self.name.clone(), filter, false));
        self.showing(request)
    }

    fn modifying(
        &self,
        filter: Result<RawDocumentBuf>,
        update: Result<RawBson>,
        replacement: bool,
    ) -> Write<Option<T>> {
        let request = filter
            .and_then(|filter| Ok(requests::update(self.name.clone(), filter, update?, false, replacement)));
        self.showing(request)
    }

    fn showing(&self, request: Result<Request>) -> Write<Option<T>> {
        let request = request.and_then(|mut request| {
            *returning(&mut request)? = Returning::default();
            Ok(request)
        });
        self.database.write(request, |reply| {
            let Some(document) = reply.document else { return Ok(None) };
            bson::deserialize_from_slice(document.as_bytes()).map(Some).map_err(not_bson)
        })
    }
}

impl<T> Write<Option<T>> {
    /// Whether to give the document as it was or as it is afterwards; not for a delete.
    pub fn return_document(self, document: ReturnDocument) -> Self {
        self.with(|request| {
            if matches!(request, Request::Delete(_)) {
                return Err(requests::not_for("return_document"));
            }
            returning(request)?.after = document == ReturnDocument::After;
            Ok(())
        })
    }

    /// The first in this order is taken.
    pub fn sort(self, sort: impl ToRawDocument) -> Self {
        self.with(|request| requests::set_sort(request, sort))
    }

    /// Gives only these fields, or all but these.
    pub fn projection(self, projection: impl ToRawDocument) -> Self {
        self.with(|request| {
            returning(request)?.projection = Some(checked(projection)?);
            Ok(())
        })
    }

    /// Whether to insert a document where none matches; not for a delete.
    pub fn upsert(self, upsert: bool) -> Self {
        self.with(|request| requests::set_upsert(request, upsert))
    }

    /// The conditions that `$[id]` in the update's paths refer to; not for a delete.
    pub fn array_filters<D: ToRawDocument>(self, array_filters: impl IntoIterator<Item = D>) -> Self {
        self.with(|request| requests::set_array_filters(request, array_filters))
    }

    /// Finds the document by this index and no other.
    pub fn hint(self, hint: Hint) -> Self {
        self.with(|request| requests::set_hint(request, hint))
    }
}

fn returning(request: &mut Request) -> Result<&mut Returning> {
    let returning = match request {
        Request::Update(update) => &mut update.returning,
        Request::Delete(delete) => &mut delete.returning,
        _ => return Err(requests::not_for("projection")),
    };
    Ok(returning.get_or_insert_default())
}
