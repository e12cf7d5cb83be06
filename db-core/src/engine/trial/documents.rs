//! Inserts and deletes.

use bson::{RawBson, RawDocumentBuf, oid::ObjectId};

use super::chosen::{Choice, logged_guard, only_id};
use super::{Trial, Tried, first_error, keep_what_held};
use crate::apply::Mode;
use crate::engine::request::DeleteRequest;
use crate::error::Result;
use crate::operation::Operation;
use crate::query::FindOptions;
use crate::view::catalog::{check_collection_name, id_of};
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Inserts the documents; what does not hold of them is not logged.
    pub(super) fn insert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: String,
        documents: Vec<RawDocumentBuf>,
        ordered: bool,
    ) -> Result<Tried> {
        check_collection_name(&collection)?;
        let mode = if ordered { Mode::OriginOrdered } else { Mode::OriginUnordered };
        let mut operation = Operation::Insert { collection, documents };
        let outcome = self.apply(view, &operation, mode)?;
        if let Operation::Insert { documents, .. } = &mut operation {
            keep_what_held(documents, &outcome);
            if documents.is_empty() {
                return Err(first_error(outcome));
            }
        }
        Ok(self.logged(vec![operation], outcome))
    }

    /// Deletes the documents that the filter chooses.
    pub(super) fn delete(&mut self, view: &mut ViewWriter<'_, '_>, request: DeleteRequest) -> Result<Tried> {
        let surroundings = (request.variables.as_deref(), request.collation.as_deref());
        let returning = request.returning.as_ref();
        let choice = self.choice(view, &request.collection, &request.filter, surroundings, returning)?;
        let Choice { filter, context, returning } = choice;
        let find = FindOptions {
            filter: request.filter,
            sort: request.sort,
            hint: request.hint,
            context,
            ..FindOptions::default()
        };
        let found = self.matching(view, &request.collection, request.multi, find)?;
        if found.is_empty() {
            return Ok(self.nothing());
        }
        if returning.is_some() {
            self.record_documents(&request.collection, &found)?;
        }
        let operation = Operation::Delete {
            collection: request.collection,
            ids: found.iter().map(|document| only_id(document)).collect(),
            guard: logged_guard(&filter)?,
        };
        let mut tried = self.whole(view, operation)?;
        if let Some(returned) = returning {
            tried.reply.document = returned.show(found.into_iter().next())?;
        }
        Ok(tried)
    }
}

/// The document with `_id` as its first field, `new_id` if it has none.
pub(crate) fn with_id_in_front(document: RawDocumentBuf, new_id: ObjectId) -> RawDocumentBuf {
    let first = document.iter_elements().next().and_then(Result::ok);
    if first.is_some_and(|first| first.key() == "_id") {
        return document;
    }
    let mut with_id = RawDocumentBuf::new();
    match id_of(&document) {
        Some(id) => with_id.append(bson::raw::cstr!("_id"), RawBson::from(id)),
        None => with_id.append(bson::raw::cstr!("_id"), new_id),
    }
    for element in document.iter_elements().flatten() {
        if element.key() != "_id"
            && let Ok(value) = element.value()
        {
            with_id.append(element.key(), RawBson::from(value));
        }
    }
    with_id
}
