//! Finding one document and changing it in one step.

use std::borrow::Borrow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::documents::{ToRawDocument, ToUpdate, checked, not_bson};
use super::{Collection, WriteModel, requests};
use crate::engine::{Request, Returning};
use crate::error::Result;
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
        self.showing(WriteModel::update_one(filter, update))
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
        self.showing(WriteModel::replace_one(filter, replacement.borrow()))
    }

    /// Deletes the first document that matches, and gives it.
    pub fn find_one_and_delete(&self, filter: impl ToRawDocument) -> Write<Option<T>> {
        self.showing(WriteModel::delete_one(filter))
    }

    fn showing(&self, model: WriteModel) -> Write<Option<T>> {
        let model = model.with(|request| returning(request).map(|_| ()));
        self.write(model.on(&self.name), |reply| {
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

    /// Gives only these fields, or all but these.
    pub fn projection(self, projection: impl ToRawDocument) -> Self {
        self.with(|request| {
            returning(request)?.projection = Some(checked(projection)?);
            Ok(())
        })
    }
}

/// What the write gives of the document; from now on it gives it.
fn returning(request: &mut Request) -> Result<&mut Returning> {
    let returning = match request {
        Request::Update(update) => &mut update.returning,
        Request::Delete(delete) => &mut delete.returning,
        _ => return Err(requests::not_for("projection")),
    };
    Ok(returning.get_or_insert_default())
}
