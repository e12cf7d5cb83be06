//! Bulk writes: inserts, updates and deletes as one entry of the log.

use std::collections::BTreeMap;

use bson::{Bson, RawBson, RawDocumentBuf};
use serde::Serialize;

use super::documents::{ToRawDocument, ToUpdate, checked, checked_update, not_bson, serialized, to_insert};
use super::results::BulkWriteResult;
use super::writes::{id_of, write_failures};
use super::{Collection, requests};
use crate::engine::{Reply, Request};
use crate::error::{Error, Result};
use crate::limits;
use crate::write::Write;

/// One write of a bulk.
#[derive(Debug)]
#[must_use = "a write model does nothing until it is given to a bulk write"]
pub struct WriteModel(Result<Request>);

impl WriteModel {
    /// Inserts a document. One without `_id` gets an `ObjectId`.
    pub fn insert_one(document: &impl Serialize) -> Self {
        Self(to_insert(document).map(|document| Request::Insert {
            collection: String::new(),
            documents: vec![document],
            ordered: true,
        }))
    }

    /// Updates the first document that matches, with update operators or a pipeline.
    pub fn update_one(filter: impl ToRawDocument, update: impl ToUpdate) -> Self {
        Self::updating(checked(filter), checked_update(update), false, false)
    }

    /// Updates every document that matches, with update operators or a pipeline.
    pub fn update_many(filter: impl ToRawDocument, update: impl ToUpdate) -> Self {
        Self::updating(checked(filter), checked_update(update), true, false)
    }

    /// Replaces the first document that matches, keeping its `_id`.
    pub fn replace_one(filter: impl ToRawDocument, replacement: &impl Serialize) -> Self {
        Self::updating(checked(filter), serialized(replacement).map(RawBson::Document), false, true)
    }

    /// Deletes the first document that matches.
    pub fn delete_one(filter: impl ToRawDocument) -> Self {
        Self(checked(filter).map(|filter| requests::delete(String::new(), filter, false)))
    }

    /// Deletes every document that matches.
    pub fn delete_many(filter: impl ToRawDocument) -> Self {
        Self(checked(filter).map(|filter| requests::delete(String::new(), filter, true)))
    }

    fn updating(
        filter: Result<RawDocumentBuf>,
        update: Result<RawBson>,
        multi: bool,
        replacement: bool,
    ) -> Self {
        Self(
            filter
                .and_then(|filter| Ok(requests::update(String::new(), filter, update?, multi, replacement))),
        )
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Request) -> Result<()>) -> Self {
        Self(self.0.and_then(|mut request| {
            change(&mut request)?;
            Ok(request)
        }))
    }

    /// The request on this collection.
    pub(super) fn on(self, name: &str) -> Result<Request> {
        let mut request = self.0?;
        let collection = match &mut request {
            Request::Insert { collection, .. } => collection,
            Request::Update(update) => &mut update.collection,
            Request::Delete(delete) => &mut delete.collection,
            _ => return Ok(request),
        };
        name.clone_into(collection);
        Ok(request)
    }
}

impl<T> Collection<T> {
    /// Writes several times as one entry of the log. Ordered (the default), it ends at the first write that fails; what came
    /// before stays, and [`Error::write_failures`] and [`Error::partial_result`] tell what became of each.
    ///
    /// It fails with `InvalidLength` (16) for no write at all or more than 100,000.
    pub fn bulk_write(&self, models: impl IntoIterator<Item = WriteModel>) -> Write<BulkWriteResult> {
        let parts: Result<Vec<Request>> = models.into_iter().map(|model| model.on(&self.name)).collect();
        let parts = parts.and_then(|parts| {
            if parts.is_empty() || parts.len() > limits::OPERATIONS_MAX {
                let message =
                    format!("a bulk has 1 to {} writes: writes={}", limits::OPERATIONS_MAX, parts.len());
                return Err(Error::invalid(message).with_code(16));
            }
            Ok(parts)
        });
        let inserted = match &parts {
            Ok(parts) => inserted_ids(parts),
            Err(_) => Ok(BTreeMap::new()),
        };
        let request = parts.map(|parts| Request::Bulk { parts, ordered: true });
        self.write(request, move |reply| finish(&reply, inserted?))
    }
}

impl Write<BulkWriteResult> {
    /// Whether the bulk ends at the first write that fails (true, the default) or tries them all.
    pub fn ordered(self, ordered: bool) -> Self {
        self.with(|request| {
            if let Request::Bulk { ordered: of_request, .. } = request {
                *of_request = ordered;
            }
            Ok(())
        })
    }
}

/// The `_id`s of the documents that a bulk is to insert, by position.
fn inserted_ids(parts: &[Request]) -> Result<BTreeMap<usize, Bson>> {
    let mut ids = BTreeMap::new();
    for (position, part) in parts.iter().enumerate() {
        if let Request::Insert { documents, .. } = part
            && let Some(document) = documents.first()
        {
            ids.insert(position, id_of(document)?);
        }
    }
    Ok(ids)
}

fn finish(reply: &Reply, mut inserted_ids: BTreeMap<usize, Bson>) -> Result<BulkWriteResult> {
    let rejected = &reply.outcome.rejected;
    inserted_ids.retain(|position, _| !rejected.contains_key(position));
    // An ordered bulk that failed has tried nothing behind the failure.
    while inserted_ids.len() as u64 > reply.outcome.inserted {
        inserted_ids.pop_last();
    }
    let mut upserted_ids = BTreeMap::new();
    for (position, id) in &reply.upserted_ids {
        upserted_ids.insert(*position, Bson::try_from(id.clone()).map_err(not_bson)?);
    }
    let result = BulkWriteResult {
        inserted_count: reply.outcome.inserted,
        matched_count: reply.outcome.matched,
        modified_count: reply.outcome.modified,
        deleted_count: reply.outcome.deleted,
        inserted_ids,
        upserted_ids,
        entry: reply.entry,
    };
    let Some((index, first)) = rejected.first_key_value() else { return Ok(result) };
    let message = format!("{}: index={index}, failed={}", first.message, rejected.len());
    let error = Error::from(first.clone()).with_message(message);
    Err(error.with_write_failures(write_failures(reply)).with_partial_result(result))
}
