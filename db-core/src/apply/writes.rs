//! Inserts, updates, upserts and deletes at their place.

use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, Filter, QueryError, Update, UpdateContext, UpdateOptions};

use super::{Applier, Mode, Outcome};
use crate::error::{Error, Result};
use crate::operation::UpdateOperation;
use crate::view::catalog::{CollectionMeta, id_of};
use crate::view::documents::{ChangeError, CollectionWriter, id_key};
use crate::view::journal::ViewWriter;

/// The parts of [`crate::operation::Operation::Upsert`] beside the collection.
pub(super) struct Upsert<'a> {
    pub(super) id: &'a RawDocument,
    pub(super) guard: &'a RawDocument,
    pub(super) update: &'a RawDocument,
    pub(super) array_filters: &'a [RawDocumentBuf],
    pub(super) document: &'a RawDocument,
}

impl Applier<'_> {
    pub(super) fn insert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        documents: &[RawDocumentBuf],
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.collection_to_insert(view, collection, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        let mut writer = CollectionWriter::new(collection, meta);
        try_parts(view, documents, mode, &mut outcome, |view, document, outcome| {
            insert_one(&mut writer, view, document).map(|()| outcome.inserted += 1)
        })?;
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }

    pub(super) fn update(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        operation: &UpdateOperation,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let compiled = compile(&operation.guard, &operation.update, &operation.array_filters);
        let (guard, update) = match compiled {
            Ok(compiled) => compiled,
            Err(error) => {
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
        };
        let Some(meta) = self.catalog.collection(view, &operation.collection)? else {
            outcome.reject(mode, 0, gone());
            return Ok(outcome);
        };
        let mut writer = CollectionWriter::new(&operation.collection, meta);
        let bytes = operation.guard.as_bytes().len() + operation.update.as_bytes().len();
        try_parts(view, &operation.ids, mode, &mut outcome, |view, id, outcome| {
            view.work().add(bytes);
            let modified = update_one(&mut writer, view, id, &guard, &update)?;
            outcome.matched += 1;
            outcome.modified += u64::from(modified);
            Ok(())
        })?;
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }

    pub(super) fn upsert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        upsert: &Upsert<'_>,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let (guard, update) = match compile(upsert.guard, upsert.update, upsert.array_filters) {
            Ok(compiled) => compiled,
            Err(error) => {
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
        };
        let Some(meta) = self.collection_to_insert(view, collection, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        let mut writer = CollectionWriter::new(collection, meta);
        let exists = match id_of(upsert.id) {
            Some(id) => writer.document(view, &id_key(id))?.is_some(),
            None => false,
        };
        try_parts(view, &[upsert], mode, &mut outcome, |view, upsert, outcome| {
            view.work().add(upsert.guard.as_bytes().len() + upsert.update.as_bytes().len());
            if !exists {
                return insert_one(&mut writer, view, upsert.document).map(|()| outcome.upserted = true);
            }
            let modified = update_one(&mut writer, view, upsert.id, &guard, &update)?;
            outcome.matched = 1;
            outcome.modified = u64::from(modified);
            Ok(())
        })?;
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }

    pub(super) fn delete(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        ids: &[RawDocumentBuf],
        guard: &RawDocument,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let bytes = guard.as_bytes().len();
        let guard = match compile_guard(guard) {
            Ok(guard) => guard,
            Err(error) => {
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
        };
        // A document that is gone already is what a delete wants: no rejection.
        let Some(meta) = self.catalog.collection(view, collection)? else { return Ok(outcome) };
        let mut writer = CollectionWriter::new(collection, meta);
        try_parts(view, ids, mode, &mut outcome, |view, id, outcome| {
            view.work().add(bytes);
            let deleted = delete_one(&mut writer, view, id, &guard)?;
            outcome.deleted += u64::from(deleted);
            Ok(())
        })?;
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }

    /// The collection to insert into, created where it does not exist; none if it cannot be.
    fn collection_to_insert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        mode: Mode,
        outcome: &mut Outcome,
    ) -> Result<Option<Arc<CollectionMeta>>> {
        match self.catalog.collection_or_create(view, collection) {
            Ok(meta) => Ok(Some(meta)),
            Err(ChangeError::Storage(error)) => Err(error),
            Err(ChangeError::Rejected(error)) => {
                outcome.reject(mode, 0, error);
                outcome.ended_at = Some(0);
                Ok(None)
            }
        }
    }
}

/// Tries the parts of an operation one after the other, as long as the entry's work is not too much. What a part that does
/// not hold changes is nothing.
fn try_parts<T>(
    view: &mut ViewWriter<'_, '_>,
    parts: &[T],
    mode: Mode,
    outcome: &mut Outcome,
    mut run: impl FnMut(&mut ViewWriter<'_, '_>, &T, &mut Outcome) -> Result<(), ChangeError>,
) -> Result<()> {
    for (position, part) in parts.iter().enumerate() {
        let tried = match view.work().check() {
            Ok(()) => run(view, part, outcome),
            Err(too_much) => Err(too_much.into()),
        };
        match tried {
            Ok(()) => {}
            Err(ChangeError::Storage(error)) => return Err(error),
            Err(ChangeError::Rejected(error)) => {
                if !outcome.reject(mode, position, error) {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn insert_one(
    writer: &mut CollectionWriter,
    view: &mut ViewWriter<'_, '_>,
    document: &RawDocument,
) -> Result<(), ChangeError> {
    let id = db_index::check_storable(document)?.ok_or_else(without_id)?;
    writer.insert(view, &id_key(id), document)
}

/// Updates one document; whether anything changed.
fn update_one(
    writer: &mut CollectionWriter,
    view: &mut ViewWriter<'_, '_>,
    id: &RawDocument,
    guard: &Filter,
    update: &Update,
) -> Result<bool, ChangeError> {
    let key = id_key(id_of(id).ok_or_else(without_id)?);
    let old = writer.document(view, &key)?.ok_or_else(gone)?;
    let old = RawDocument::from_bytes(&old).map_err(|_| Error::data("a stored document is damaged"))?;
    if !guard.matches(old)? {
        return Err(guard_is_false().into());
    }
    // Whatever depends on the moment was turned into plain effects at the origin: replay reads no clock.
    let context = UpdateContext { positional: guard.matched_array_index(old), ..UpdateContext::default() };
    let updated = update.apply(old, &context)?;
    if updated.document.as_bytes() != old.as_bytes() {
        writer.replace(view, &key, old, &updated.document)?;
    }
    Ok(updated.changed)
}

/// Deletes one document; whether it was there.
fn delete_one(
    writer: &mut CollectionWriter,
    view: &mut ViewWriter<'_, '_>,
    id: &RawDocument,
    guard: &Filter,
) -> Result<bool, ChangeError> {
    let key = id_key(id_of(id).ok_or_else(without_id)?);
    let Some(old) = writer.document(view, &key)? else { return Ok(false) };
    let old = RawDocument::from_bytes(&old).map_err(|_| Error::data("a stored document is damaged"))?;
    if !guard.matches(old)? {
        return Err(guard_is_false().into());
    }
    writer.delete(view, &key, old)?;
    Ok(true)
}

fn compile(
    guard: &RawDocument,
    update: &RawDocument,
    array_filters: &[RawDocumentBuf],
) -> Result<(Filter, Update), QueryError> {
    let options = UpdateOptions { array_filters: array_filters.to_vec(), ..UpdateOptions::default() };
    let (guard, update) = (compile_guard(guard)?, Update::parse(update, &options)?);
    if update.is_replayable() { Ok((guard, update)) } else { Err(not_replayable()) }
}

/// Whatever an entry holds, nothing is run in its place of the order that another version might run otherwise.
fn compile_guard(guard: &RawDocument) -> Result<Filter, QueryError> {
    let guard = Filter::parse_logged(guard)?;
    if guard.is_replayable() { Ok(guard) } else { Err(not_replayable()) }
}

fn not_replayable() -> QueryError {
    QueryError::bad_value("a logged filter or update that versions of the program may answer differently")
}

fn without_id() -> QueryError {
    QueryError::new(ErrorCode::BAD_VALUE, "a document without an _id")
}

fn gone() -> QueryError {
    QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "the document is gone")
}

fn guard_is_false() -> QueryError {
    QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "the filter no longer matches the document")
}
