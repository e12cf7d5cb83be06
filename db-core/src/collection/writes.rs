//! Inserting, updating, replacing and deleting.

use std::borrow::Borrow;

use bson::{Bson, RawDocumentBuf};
use serde::Serialize;

use super::documents::{ToRawDocument, ToUpdate, not_bson, to_insert};
use super::results::{DeleteResult, InsertManyResult, InsertOneResult, UpdateResult};
use super::{Collection, WriteModel};
use crate::engine::{Reply, Request};
use crate::error::{Error, Result, WriteFailure};
use crate::write::Write;

impl<T: Serialize> Collection<T> {
    /// Inserts a document. One without `_id` gets an `ObjectId`.
    ///
    /// It fails with `DuplicateKey` (11000) if the `_id` or a unique key is taken, `InvalidIdField` (53) for an impossible
    /// `_id`, and for documents beyond the limits (16 MiB, 64 levels).
    pub fn insert_one(&self, document: impl Borrow<T>) -> Write<InsertOneResult> {
        let request = WriteModel::insert_one(document.borrow()).on(&self.name);
        let id = match &request {
            Ok(Request::Insert { documents, .. }) => documents.first().map_or(Ok(Bson::Null), id_of),
            _ => Ok(Bson::Null),
        };
        self.write(request, move |reply| {
            failures(&reply, 1)?;
            Ok(InsertOneResult { inserted_id: id?, entry: reply.entry })
        })
    }

    /// Inserts documents as one entry of the log. Ordered (the default), it ends at the first that fails; what came before
    /// stays. [`Error::write_failures`] tells which failed.
    pub fn insert_many(
        &self,
        documents: impl IntoIterator<Item = impl Borrow<T>>,
    ) -> Write<InsertManyResult> {
        let documents: Result<Vec<RawDocumentBuf>> =
            documents.into_iter().map(|document| to_insert(document.borrow())).collect();
        let documents = documents.and_then(|documents| {
            if documents.is_empty() {
                return Err(Error::invalid("insert_many needs at least one document").with_code(2));
            }
            Ok(documents)
        });
        let ids: Result<Vec<Bson>> = match &documents {
            Ok(documents) => documents.iter().map(id_of).collect(),
            Err(_) => Ok(Vec::new()),
        };
        let collection = self.name.clone();
        let request = documents.map(|documents| Request::Insert { collection, documents, ordered: true });
        self.write(request, move |reply| {
            let ids = ids?;
            failures(&reply, ids.len())?;
            Ok(InsertManyResult { inserted_ids: ids, entry: reply.entry })
        })
    }

    /// Replaces the first document that matches, keeping its `_id`. If the document turns out to have been changed concurrently,
    /// the fields that the replacement changed are written, as `$set` and `$unset` would; see [`Write::strict`].
    pub fn replace_one(
        &self,
        filter: impl ToRawDocument,
        replacement: impl Borrow<T>,
    ) -> Write<UpdateResult> {
        self.updating(WriteModel::replace_one(filter, replacement.borrow()))
    }
}

impl<T> Collection<T> {
    /// Updates the first document that matches, with update operators or a pipeline of stages.
    pub fn update_one(&self, filter: impl ToRawDocument, update: impl ToUpdate) -> Write<UpdateResult> {
        self.updating(WriteModel::update_one(filter, update))
    }

    /// Updates every document that matches, with update operators or a pipeline of stages. It ends at the first that fails; what came
    /// before stays.
    pub fn update_many(&self, filter: impl ToRawDocument, update: impl ToUpdate) -> Write<UpdateResult> {
        self.updating(WriteModel::update_many(filter, update))
    }

    /// Deletes the first document that matches.
    pub fn delete_one(&self, filter: impl ToRawDocument) -> Write<DeleteResult> {
        self.deleting(WriteModel::delete_one(filter))
    }

    /// Deletes every document that matches.
    pub fn delete_many(&self, filter: impl ToRawDocument) -> Write<DeleteResult> {
        self.deleting(WriteModel::delete_many(filter))
    }

    fn updating(&self, model: WriteModel) -> Write<UpdateResult> {
        self.write(model.on(&self.name), |reply| {
            // An update of many that fails at one document has changed those before it.
            failures(&reply, reply.outcome.matched as usize)?;
            Ok(UpdateResult {
                matched_count: reply.outcome.matched,
                modified_count: reply.outcome.modified,
                upserted_id: reply
                    .upserted_ids
                    .get(&0)
                    .cloned()
                    .map(Bson::try_from)
                    .transpose()
                    .map_err(not_bson)?,
                entry: reply.entry,
            })
        })
    }

    fn deleting(&self, model: WriteModel) -> Write<DeleteResult> {
        self.write(model.on(&self.name), |reply| {
            Ok(DeleteResult { deleted_count: reply.outcome.deleted, entry: reply.entry })
        })
    }
}

impl Write<InsertManyResult> {
    /// Whether the insert ends at the first document that fails (true, the default) or tries them all.
    pub fn ordered(self, ordered: bool) -> Self {
        self.with(|request| {
            if let Request::Insert { ordered: of_request, .. } = request {
                *of_request = ordered;
            }
            Ok(())
        })
    }
}

pub(super) fn id_of(document: &RawDocumentBuf) -> Result<Bson> {
    match document.get("_id").map_err(not_bson)? {
        Some(id) => Bson::try_from(id).map_err(not_bson),
        None => Ok(Bson::Null),
    }
}

/// The error of a bulk write that failed in part.
fn failures(reply: &Reply, parts: usize) -> Result<()> {
    let Some((index, first)) = reply.outcome.rejected.first_key_value() else { return Ok(()) };
    let done = reply.outcome.inserted.max(reply.outcome.matched);
    let message = if parts > 1 {
        format!("{}: index={index}, done={done}, failed={}", first.message, reply.outcome.rejected.len())
    } else {
        first.message.clone()
    };
    let failures = write_failures(reply);
    Err(Error::from(first.clone()).with_message(message).with_write_failures(failures))
}

/// The parts that failed.
pub(super) fn write_failures(reply: &Reply) -> Vec<WriteFailure> {
    WriteFailure::of(&reply.outcome.rejected)
}
