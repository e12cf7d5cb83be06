//! Inserts, updates, upserts and deletes at their place.

use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use db_index::{ErrorCode, Filter, QueryError, Update, UpdateOptions};

use super::conflicts::Conflicts;
use super::edits::Edits;
use super::settle::{Deleted, Part};
use super::{Applier, Mode, Outcome};
use crate::error::Result;
use crate::operation::UpdateOperation;
use crate::view::catalog::{CatalogCache, CollectionMeta, id_of};
use crate::view::documents::{ChangeError, CollectionWriter, id_key};
use crate::view::journal::ViewWriter;
use crate::view::settled::Settled;

/// The parts of [`crate::operation::Operation::Upsert`] beside the collection.
pub(super) struct Upsert<'a> {
    pub(super) id: &'a RawDocument,
    pub(super) guard: &'a RawDocument,
    pub(super) update: &'a RawDocument,
    pub(super) array_filters: &'a [RawDocumentBuf],
    pub(super) document: &'a RawDocument,
}

/// What an update says, and under which conditions.
pub(super) struct Guarded<'a> {
    pub(super) guard: &'a RawDocument,
    pub(super) update: &'a RawDocument,
    pub(super) array_filters: &'a [RawDocumentBuf],
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
        let mut writer = CollectionWriter::new(collection, meta).quarantining(mode == Mode::Replay);
        let has_history = writer.has_history(view)?;
        try_parts(view, documents, mode, &mut outcome, |view, _, document, outcome| {
            let key = insert_one(&mut writer, view, document)?;
            outcome.inserted += 1;
            if has_history {
                self.remember_insert(&writer, view, &key, false)?;
            }
            Ok(())
        })?;
        finish(writer, view, self.catalog, &mut outcome)?;
        Ok(outcome)
    }

    pub(super) fn update(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        operation: &UpdateOperation,
        mode: Mode,
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let UpdateOperation { collection, ids, guard, update, array_filters, replaces } = operation;
        let edits = match Edits::compile(&Guarded { guard, update, array_filters }, replaces.as_ref()) {
            Ok(edits) => edits,
            Err(error) => {
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
        };
        let Some(meta) = self.catalog.collection(view, collection)? else {
            outcome.reject(mode, 0, gone());
            return Ok(outcome);
        };
        let mut writer = CollectionWriter::new(collection, meta).quarantining(mode == Mode::Replay);
        let mut conflicts = Conflicts::default();
        try_parts(view, ids, mode, &mut outcome, |view, position, id, outcome| {
            view.work().add(edits.bytes);
            let part = Part { collection, id, position };
            let edited = self.edit(&mut writer, view, &part, &edits, &mut conflicts)?;
            edited.add_to(outcome);
            Ok(self.list_conflicts(view, &mut conflicts, outcome, false)?)
        })?;
        finish(writer, view, self.catalog, &mut outcome)?;
        self.list_conflicts(view, &mut conflicts, &mut outcome, true)?;
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
        let Upsert { id, guard, update, array_filters, document } = *upsert;
        let edits = match Edits::compile(&Guarded { guard, update, array_filters }, None) {
            Ok(edits) => edits,
            Err(error) => {
                outcome.reject(mode, 0, error);
                return Ok(outcome);
            }
        };
        let Some(meta) = self.collection_to_insert(view, collection, mode, &mut outcome)? else {
            return Ok(outcome);
        };
        let mut writer = CollectionWriter::new(collection, meta).quarantining(mode == Mode::Replay);
        let exists = match id_of(id) {
            Some(id) => writer.document(view, &id_key(id))?.is_some(),
            None => false,
        };
        let mut conflicts = Conflicts::default();
        try_parts(view, &[id], mode, &mut outcome, |view, position, id, outcome| {
            view.work().add(edits.bytes);
            if !exists {
                let key = insert_one(&mut writer, view, document)?;
                self.remember_insert(&writer, view, &key, true)?;
                outcome.upserted = true;
                return Ok(());
            }
            let edited =
                self.edit(&mut writer, view, &Part { collection, id, position }, &edits, &mut conflicts)?;
            edited.add_to(outcome);
            Ok(())
        })?;
        finish(writer, view, self.catalog, &mut outcome)?;
        self.list_conflicts(view, &mut conflicts, &mut outcome, true)?;
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
        let mut conflicts = Conflicts::default();
        try_parts(view, ids, mode, &mut outcome, |view, position, id, outcome| {
            view.work().add(bytes);
            let part = Part { collection, id, position };
            let deleted = self.delete_one(&mut writer, view, &part, &guard, &mut conflicts)?;
            outcome.deleted += u64::from(deleted == Deleted::Now);
            let settled = if deleted == Deleted::Kept { Settled::Superseded } else { Settled::Applied };
            outcome.settled = Some(Settled::of_both(outcome.settled, settled));
            Ok(self.list_conflicts(view, &mut conflicts, outcome, false)?)
        })?;
        finish(writer, view, self.catalog, &mut outcome)?;
        self.list_conflicts(view, &mut conflicts, &mut outcome, true)?;
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
    mut run: impl FnMut(&mut ViewWriter<'_, '_>, usize, &T, &mut Outcome) -> Result<(), ChangeError>,
) -> Result<()> {
    for (position, part) in parts.iter().enumerate() {
        let tried = match view.work().check() {
            Ok(()) => run(view, position, part, outcome),
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

/// Writes what the writer holds back.
fn finish(
    writer: CollectionWriter,
    view: &mut ViewWriter<'_, '_>,
    catalog: &mut CatalogCache,
    outcome: &mut Outcome,
) -> Result<()> {
    if writer.has_quarantined() {
        outcome.settled = Some(Settled::Merged);
    }
    writer.finish(view, catalog)
}

/// Inserts a document; gives the key of its `_id`.
fn insert_one(
    writer: &mut CollectionWriter,
    view: &mut ViewWriter<'_, '_>,
    document: &RawDocument,
) -> Result<Vec<u8>, ChangeError> {
    let key = id_key(db_index::check_storable(document)?.ok_or_else(without_id)?);
    writer.insert(view, &key, document)?;
    Ok(key)
}

pub(super) fn compile(guarded: &Guarded<'_>) -> Result<(Filter, Update), QueryError> {
    let options = UpdateOptions { array_filters: guarded.array_filters.to_vec(), ..UpdateOptions::default() };
    let (guard, update) = (compile_guard(guarded.guard)?, Update::parse(guarded.update, &options)?);
    if update.is_replayable() { Ok((guard, update)) } else { Err(not_replayable()) }
}

/// Whatever an entry holds, nothing is run in its place of the order that another version might run otherwise.
fn compile_guard(guard: &RawDocument) -> Result<Filter, QueryError> {
    let guard = Filter::parse_logged(guard)?;
    if guard.is_replayable() { Ok(guard) } else { Err(not_replayable()) }
}

pub(super) fn not_replayable() -> QueryError {
    QueryError::bad_value("a logged filter or update that versions of the program may answer differently")
}

pub(super) fn without_id() -> QueryError {
    QueryError::new(ErrorCode::BAD_VALUE, "a document without an _id")
}

pub(super) fn gone() -> QueryError {
    QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "the document is gone")
}

pub(super) fn guard_is_false() -> QueryError {
    QueryError::new(ErrorCode::NO_MATCHING_DOCUMENT, "the filter no longer matches the document")
}
