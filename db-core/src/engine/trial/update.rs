//! Updates, replacements and upserts: what is logged of them depends on what other peers can compute again.

use bson::{RawBson, RawDocument, RawDocumentBuf};
use db_index::{
    ErrorCode, Filter, QueryError, Update, UpdateContext, UpdateOptions, changed_fields, plain_effects,
    upsert_document,
};

use super::chosen::{Choice, logged_guard, only_id};
use super::{Trial, Tried, first_error, keep_what_held, with_id_in_front};
use crate::apply::{Mode, Outcome};
use crate::engine::request::{IdSource, UpdateRequest};
use crate::error::{Error, Result};
use crate::operation::{Operation, Replaces, UpdateOperation, document_digest};
use crate::query::FindOptions;
use crate::view::catalog::id_of;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Updates the documents that the filter chooses, or inserts one.
    pub(super) fn update(&mut self, view: &mut ViewWriter<'_, '_>, request: UpdateRequest) -> Result<Tried> {
        let surroundings = (request.variables.as_deref(), request.collation.as_deref());
        let returning = request.returning.as_ref();
        let choice = self.choice(view, &request.collection, &request.filter, surroundings, returning)?;
        let Choice { filter, context, returning } = choice;
        if request.upsert.is_some() && filter.has_expression() {
            let message = "$expr is not allowed in the query predicate for an upsert";
            return Err(QueryError::new(ErrorCode::QUERY_FEATURE_NOT_ALLOWED, message).into());
        }
        let options = UpdateOptions {
            array_filters: request.array_filters.clone(),
            multi: request.multi,
            context: context.clone(),
        };
        let update = Update::parse_value(request.update.as_raw_bson_ref(), &options)?;
        if update.is_replacement() != request.replacement {
            let message = if request.replacement {
                "the replacement document must not contain update operators"
            } else {
                "the update document must contain update operators, such as $set"
            };
            return Err(QueryError::bad_value(message).into());
        }
        if request.strict && !request.replacement {
            let message = "only a replacement can be strict";
            return Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, message).into());
        }
        let update = update.resolve(&UpdateContext { now_ms: context.now_ms, ..UpdateContext::default() })?;
        let find = FindOptions {
            filter: request.filter,
            sort: request.sort,
            hint: request.hint,
            context,
            ..FindOptions::default()
        };
        let found = self.matching(view, &request.collection, request.multi, find)?;
        if returning.is_some() {
            self.record_documents(&request.collection, &found)?;
        }
        let collection = request.collection.clone();
        let (mut tried, id) = match (found.first(), request.upsert) {
            (Some(first), _) => {
                let id = only_id(first);
                let strict = request.strict;
                (self.update_found(view, request.collection, &filter, &update, &found, strict)?, id)
            }
            (None, Some(new_id)) => self.upsert(view, request.collection, &filter, &update, new_id)?,
            (None, None) => return Ok(self.nothing()),
        };
        if let Some(returned) = returning {
            let document =
                if returned.after { self.stored(view, &collection, &id)? } else { found.into_iter().next() };
            tried.reply.document = returned.show(document)?;
        }
        Ok(tried)
    }

    /// Updates the documents that the call names.
    pub(super) fn update_found(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: String,
        filter: &Filter,
        update: &Update,
        found: &[RawDocumentBuf],
        strict: bool,
    ) -> Result<Tried> {
        let guard = filter.replayable()?;
        let position_is_lost = update.needs_position() && guard.to_document() != filter.to_document();
        if update.is_replayable() && !position_is_lost {
            let replaces = match found.first() {
                Some(base) if update.is_replacement() => Some(replaces(base, update.to_document(), strict)?),
                _ => None,
            };
            let mut operation = Operation::Update(UpdateOperation {
                collection,
                ids: found.iter().map(|document| only_id(document)).collect(),
                guard: logged_guard(filter)?,
                update: update.to_document().to_owned(),
                array_filters: update.array_filters().to_vec(),
                replaces,
            });
            let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
            if let Operation::Update(operation) = &mut operation {
                keep_what_held(&mut operation.ids, &outcome);
                if operation.ids.is_empty() {
                    return Err(first_error(outcome));
                }
            }
            return Ok(self.logged(vec![operation], outcome));
        }
        self.update_by_effects(view, &collection, filter, update, found)
    }

    /// Updates document by document with what the update comes to here: for updates that other peers might compute
    /// otherwise.
    fn update_by_effects(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        filter: &Filter,
        update: &Update,
        found: &[RawDocumentBuf],
    ) -> Result<Tried> {
        let guard = logged_guard(filter)?;
        let (mut operations, mut total) = (Vec::new(), Outcome::default());
        for id in found.iter().map(|document| only_id(document)) {
            let Some(document) = self.stored(view, collection, &id)? else { continue };
            self.record_documents(collection, std::slice::from_ref(&document))?;
            let document = &document;
            let context = UpdateContext {
                now_ms: self.moment.now_ms.cast_signed(),
                positional: filter.matched_array_index(document),
                is_insert: false,
            };
            let updated = update.apply(document, &context)?;
            total.matched += 1;
            if !updated.changed {
                continue;
            }
            let effects = plain_effects(document, &updated.document)?;
            let is_replacement = !first_field(&effects).is_some_and(|first| first.starts_with('$'));
            let replaces = is_replacement.then(|| replaces(document, &effects, false)).transpose()?;
            let operation = Operation::Update(UpdateOperation {
                collection: collection.to_owned(),
                ids: vec![id],
                guard: guard.clone(),
                update: effects,
                array_filters: Vec::new(),
                replaces,
            });
            let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
            if !outcome.rejected.is_empty() {
                return Err(first_error(outcome));
            }
            total.modified += outcome.modified;
            operations.push(operation);
        }
        Ok(self.logged(operations, total))
    }

    /// Inserts the document that an upsert makes; gives its `{_id: …}` too.
    fn upsert(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: String,
        filter: &Filter,
        update: &Update,
        new_id: IdSource,
    ) -> Result<(Tried, RawDocumentBuf)> {
        let context = UpdateContext {
            now_ms: self.moment.now_ms.cast_signed(),
            is_insert: true,
            ..UpdateContext::default()
        };
        let document = with_id_in_front(upsert_document(filter, update, &context)?, new_id);
        let id = only_id(&document);
        if self.stored(view, &collection, &id)?.is_some() {
            // It does not match the filter. The logged guard may be weaker and let it pass.
            let message = "E11000 duplicate key error index: _id_: the document with this _id does not match the filter";
            return Err(QueryError::new(ErrorCode::DUPLICATE_KEY, message).into());
        }
        let operation = if update.is_replayable() {
            Operation::Upsert {
                collection,
                id: id.clone(),
                guard: logged_guard(filter)?,
                update: update.to_document().to_owned(),
                array_filters: update.array_filters().to_vec(),
                document: document.clone(),
            }
        } else {
            Operation::Insert { collection, documents: vec![document.clone()] }
        };
        let mut tried = self.whole(view, operation)?;
        tried.reply.outcome.upserted = true;
        tried.reply.outcome.inserted = 0;
        tried.reply.upserted_ids.extend(id_of(&id).map(|id| (0, RawBson::from(id))));
        Ok((tried, id))
    }
}

/// What a replacement of this document changes.
fn replaces(base: &RawDocument, replacement: &RawDocument, strict: bool) -> Result<Replaces> {
    let mut changed = RawDocumentBuf::new();
    for field in changed_fields(base, replacement)?.into_iter().filter(|field| *field != "_id") {
        let name =
            <&bson::raw::CStr>::try_from(field).map_err(|_| Error::data("a field's name is damaged"))?;
        changed.append(name, true);
    }
    Ok(Replaces { base: document_digest(base), changed, strict })
}

fn first_field(document: &RawDocument) -> Option<&str> {
    document.iter().next().and_then(Result::ok).map(|(name, _)| name.as_str())
}
