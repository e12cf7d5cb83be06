//! Trying a local call: choosing the documents it names, running it on the present view, and logging what held.

mod bulk;
mod expiry;
mod leftovers;
mod merge;
mod rejected;
mod resolve;
mod transaction;

pub(crate) use leftovers::unfinished_out;
pub(crate) use transaction::{Draft, at_hand, write_conflict};

use std::sync::Arc;

use bson::{RawBson, RawDocument, RawDocumentBuf, oid::ObjectId, rawdoc};
use db_index::{
    Chance, ErrorCode, Filter, Projection, QueryContext, QueryError, Update, UpdateContext, UpdateOptions,
    changed_fields, plain_effects, upsert_document,
};

use self::transaction::{Recorder, Search};
use super::append::{Moment, payload_of, too_large};
use super::own_log::own_log_goes_further;
use super::request::{DeleteRequest, IdSource, Reply, Request, Returning, UpdateRequest};
use super::{Batch, By};
use crate::apply::{Applier, Mode, Outcome};
use crate::entry::{Admission, ForkProof};
use crate::error::{Error, ErrorKind, Result, WriteFailure};
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::{Operation, Replaces, UpdateOperation, document_digest};
use crate::query::{self, Compiled, Execution, FindOptions};
use crate::view::catalog::{CollectionMeta, CollectionOptions, check_collection_name, id_of};
use crate::view::documents::id_key;
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, keyspace, members};

/// What is to be logged, and what the caller is told.
struct Tried {
    author: WriterKey,
    operations: Vec<Operation>,
    reply: Reply,
}

impl Batch<'_, '_> {
    /// Runs a call: the outer error is the storage's, the inner one the call's. A call that fails changes nothing but what
    /// [`Outcome`] counts (an ordered bulk keeps what came before the failure).
    pub(crate) fn execute(&mut self, request: Request, moment: &Moment) -> Result<Result<Reply>> {
        if matches!(request, Request::GiveUpOwnEntries) {
            self.give_up_own_entries()?;
            return Ok(Ok(Reply::default()));
        }
        if let Request::RotateKey { seed } = request {
            return self.rotate_key(seed, moment);
        }
        let me = self.writer();
        if !self.own_log_is_whole(&me)? {
            return Ok(Err(own_log_goes_further()));
        }
        let request = match request {
            Request::ProveForks => {
                self.settle()?;
                Request::ForkProofs { proofs: self.fork_proofs()? }
            }
            request => request,
        };
        self.try_and_log(me, request, moment)
    }

    /// Tries a call of `me`, which is this device under one of its keys, and logs it if it holds.
    pub(super) fn try_and_log(
        &mut self,
        me: WriterKey,
        request: Request,
        moment: &Moment,
    ) -> Result<Result<Reply>> {
        if !self.may_append_to_applied(&me)? {
            self.settle()?;
        }
        let founder_has_written = !self.tables.tips_of(&self.engine.identity.genesis.founder)?.is_empty();
        let number = self.state.next_number();
        let (_, stamp) = self.next_of_log(&me, moment)?;
        let tried = self.with_view(number, &By::Origin(stamp), |view, applier| {
            let mark = view.mark();
            let tried = Trial { applier, me, moment, founder_has_written, recorder: None }
                .run(view, request)
                .and_then(|tried| {
                    let payload = payload_of(&tried.operations)?;
                    Ok((tried, payload))
                });
            match tried {
                Ok((tried, payload)) => {
                    let undo = view.take_undo()?;
                    Ok(Ok((tried, payload, undo)))
                }
                Err(error) if is_fatal(&error) => Err(error),
                Err(error) => {
                    view.revert_to(mark)?;
                    applier.catalog.clear();
                    Ok(Err(error))
                }
            }
        })?;
        let (mut tried, payload, undo) = match tried {
            Ok(tried) => tried,
            Err(error) => return Ok(Err(error)),
        };
        if !tried.operations.is_empty() {
            tried.reply.entry = Some(self.append(tried.author, &payload, undo, moment)?);
        }
        Ok(Ok(tried.reply))
    }
}

/// Errors after which the storage cannot be trusted to be in step.
fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Data | ErrorKind::Internal)
}

/// One call being tried on the view.
struct Trial<'a, 'b> {
    applier: &'a mut Applier<'b>,
    me: WriterKey,
    moment: &'a Moment,
    founder_has_written: bool,
    /// Notes what is read and written inside of a transaction.
    recorder: Option<Recorder>,
}

impl Trial<'_, '_> {
    fn run(&mut self, view: &mut ViewWriter<'_, '_>, request: Request) -> Result<Tried> {
        match request {
            Request::Insert { collection, documents, ordered } => {
                self.insert(view, collection, documents, ordered)
            }
            Request::Update(update) => self.update(view, update),
            Request::Delete(delete) => self.delete(view, delete),
            Request::Bulk { parts, ordered } => self.bulk(view, parts, ordered),
            Request::Merge(merge) => self.merge(view, merge),
            Request::Transaction { steps, .. } => self.transaction(view, steps),
            Request::CreateCollection { collection, options } => {
                check_collection_name(&collection)?;
                if self.applier.catalog.collection(view, &collection)?.is_some() {
                    let message = format!("collection exists: name={collection}");
                    return Err(Error::new(ErrorKind::Conflict, message).with_code(48));
                }
                let options = options.to_document();
                self.whole(view, Operation::CreateCollection { collection, options })
            }
            Request::RenameCollection { collection, to, drop_target } => {
                self.whole(view, Operation::RenameCollection { collection, to, drop_target })
            }
            Request::ChangeIndex { collection, name, change } => {
                let operation = Operation::ChangeIndex { collection, name, change };
                let mut tried = self.whole(view, operation)?;
                if tried.reply.outcome.modified == 0 {
                    tried.operations.clear(); // it is like that already
                }
                Ok(tried)
            }
            Request::Expire => self.expire(view),
            Request::DropLeftovers => self.drop_leftovers(view),
            Request::ChangeCollection { collection, change } => {
                let mut tried = self.whole(view, Operation::ChangeCollection { collection, change })?;
                if tried.reply.outcome.modified == 0 {
                    tried.operations.clear(); // it is like that already
                }
                Ok(tried)
            }
            Request::Resolve { id, resolution } => self.resolve(view, id, resolution),
            Request::Resubmit { id, operation } => self.resubmit(view, id, operation),
            Request::Discard { id } => self.discard(view, id),
            Request::DropCollection { collection } => {
                self.whole(view, Operation::DropCollection { collection })
            }
            Request::CreateIndexes { collection, definitions } => {
                check_collection_name(&collection)?;
                self.create_indexes(view, collection, definitions)
            }
            Request::DropIndex { collection, name } => {
                self.whole(view, Operation::DropIndex { collection, name })
            }
            Request::DropIndexes { collection } => self.drop_indexes(view, &collection),
            Request::SetRoles { writer, roles } => self.whole(view, Operation::SetRoles { writer, roles }),
            Request::RemoveWriter { writer } => self.whole(view, Operation::RemoveWriter { writer }),
            Request::SetIndexers { writers } => {
                let is_founding =
                    self.applier.genesis.admission == Admission::Open && !members::is_founded(view)?;
                if is_founding {
                    if self.founder_has_written {
                        // A second entry of the founder's would be refused by all, and whatever follows it with it.
                        return Err(Error::denied(
                            "the founding entry of this open database appoints nobody: start another topic",
                        ));
                    }
                    self.me = self.applier.genesis.founder;
                }
                self.whole(view, Operation::SetIndexers { writers })
            }
            Request::ForkProofs { proofs } => self.prove_forks(view, proofs),
            Request::Rotate { from, to, signature } => {
                self.whole(view, Operation::Rotate { from, to, signature })
            }
            Request::Replace { from, to, roles } => self.whole(view, Operation::Replace { from, to, roles }),
            Request::NameWriter { writer, name } => {
                let writer = writer.unwrap_or(self.me);
                self.whole(view, Operation::NameWriter { writer, name })
            }
            // These are done before anything is tried.
            Request::GiveUpOwnEntries | Request::ProveForks | Request::RotateKey { .. } => Ok(self.nothing()),
        }
    }

    /// Logs those of the proofs that are still news.
    fn prove_forks(&mut self, view: &mut ViewWriter<'_, '_>, proofs: Vec<ForkProof>) -> Result<Tried> {
        let mut operations = Vec::new();
        for proof in proofs {
            let operation = Operation::ForkProof(Box::new(proof));
            if self.apply(view, &operation, Mode::OriginOrdered)?.modified > 0 {
                operations.push(operation);
            }
        }
        Ok(self.logged(operations, Outcome::default()))
    }

    fn insert(
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

    fn update(&mut self, view: &mut ViewWriter<'_, '_>, request: UpdateRequest) -> Result<Tried> {
        check_collection_name(&request.collection)?;
        let (variables, collation) = (request.variables.as_deref(), request.collation.as_deref());
        let context = self.context(view, &request.collection, variables, collation)?;
        let filter = Filter::parse_in(&request.filter, &context)?;
        if request.upsert.is_some() && filter.has_expression() {
            let message = "$expr is not allowed in the query predicate for an upsert";
            return Err(QueryError::new(ErrorCode::QUERY_FEATURE_NOT_ALLOWED, message).into());
        }
        let returning = Returned::compile(request.returning.as_ref(), &filter, &context)?;
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
    fn update_found(
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
            let message =
                "E11000 duplicate key: index=_id_: the document with this _id does not match the filter";
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

    fn delete(&mut self, view: &mut ViewWriter<'_, '_>, request: DeleteRequest) -> Result<Tried> {
        check_collection_name(&request.collection)?;
        let (variables, collation) = (request.variables.as_deref(), request.collation.as_deref());
        let context = self.context(view, &request.collection, variables, collation)?;
        let filter = Filter::parse_in(&request.filter, &context)?;
        let returning = Returned::compile(request.returning.as_ref(), &filter, &context)?;
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

    fn create_indexes(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: String,
        definitions: Vec<RawDocumentBuf>,
    ) -> Result<Tried> {
        // Indexes that are there already need no entry: creating them again on every start is a common habit.
        let mut new = Vec::new();
        let existing = self.applier.catalog.collection(view, &collection)?;
        let collation = existing.as_ref().and_then(|meta| meta.options.collation.clone());
        for mut definition in definitions {
            if let Some(collation) = &collation
                && matches!(definition.get("collation"), Ok(None))
            {
                definition.append(bson::raw::cstr!("collation"), collation.clone());
            }
            let parsed = db_index::IndexDefinition::from_document(&definition)?;
            let mut is_new = !parsed.is_id_index();
            for index in existing.iter().flat_map(|meta| &meta.indexes) {
                is_new &= !parsed.is_same_as(&index.definition)?;
            }
            if is_new {
                new.push(definition);
            }
        }
        match (new.is_empty(), existing) {
            (false, _) => self.whole(view, Operation::CreateIndexes { collection, definitions: new }),
            (true, None) => {
                let options = CollectionOptions::default().to_document();
                self.whole(view, Operation::CreateCollection { collection, options })
            }
            (true, Some(_)) => Ok(self.nothing()),
        }
    }

    fn drop_indexes(&mut self, view: &mut ViewWriter<'_, '_>, collection: &str) -> Result<Tried> {
        let Some(meta) = self.applier.catalog.collection(view, collection)? else {
            let message = format!("collection not found: name={collection}");
            return Err(QueryError::new(ErrorCode::NAMESPACE_NOT_FOUND, message).into());
        };
        let mut dropped = self.nothing();
        for index in &meta.indexes {
            let name = index.definition.name().to_owned();
            let tried = self.whole(view, Operation::DropIndex { collection: collection.to_owned(), name })?;
            dropped.operations.extend(tried.operations);
        }
        Ok(dropped)
    }

    /// Runs an operation that holds as a whole or not at all.
    fn whole(&mut self, view: &mut ViewWriter<'_, '_>, operation: Operation) -> Result<Tried> {
        let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
        if !outcome.rejected.is_empty() {
            return Err(first_error(outcome));
        }
        Ok(self.logged(vec![operation], outcome))
    }

    fn apply(&mut self, view: &mut ViewWriter<'_, '_>, operation: &Operation, mode: Mode) -> Result<Outcome> {
        let outcome = self.applier.apply(view, &self.me, operation, mode)?;
        if let Some(recorder) = &mut self.recorder {
            recorder.wrote(&outcome);
        }
        Ok(outcome)
    }

    /// What filters, projections and pipelines of this call are compiled with. It is done once, here: what is logged does not
    /// depend on it.
    fn context(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        variables: Option<&RawDocument>,
        collation: Option<&RawDocument>,
    ) -> Result<QueryContext> {
        let chance = Chance::new(self.moment.now_ms);
        let now_ms = self.moment.now_ms.cast_signed();
        let meta = self.applier.catalog.collection(view, collection)?;
        let text = meta.as_deref().and_then(query::text_settings);
        let context = QueryContext { now_ms, chance, ..QueryContext::default() }.with_text(text);
        let of_collection = meta.as_ref().and_then(|meta| meta.options.collation.as_deref());
        query::surroundings(context, variables, collation.or(of_collection))
    }

    /// The first document that matches, or the `{_id: …}`s of all: whole documents would not fit into memory.
    fn matching(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        multi: bool,
        find: FindOptions,
    ) -> Result<Vec<RawDocumentBuf>> {
        let only_ids = multi.then(|| rawdoc! { "_id": 1 });
        let find = FindOptions { limit: u64::from(!multi), projection: only_ids, ..find };
        let meta = self.applier.catalog.collection(view, collection)?;
        let compiled = find.compile(meta.as_deref())?;
        let sought = self.recorder.is_some().then(|| (compiled.filter.clone(), !compiled.sort.is_empty()));
        let found = match &meta {
            Some(meta) => Self::found(view, meta, multi, compiled)?,
            None => Vec::new(),
        };
        if let Some((filter, sorted)) = sought {
            let search = Search { filter: &filter, sorted, multi };
            self.record_search(view, collection, &search, &found)?;
        }
        Ok(found)
    }

    fn found(
        view: &ViewWriter<'_, '_>,
        meta: &Arc<CollectionMeta>,
        multi: bool,
        compiled: Compiled,
    ) -> Result<Vec<RawDocumentBuf>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for document in Execution::new(view, meta, compiled)? {
            let document = document?;
            bytes += document.as_bytes().len();
            if multi && bytes > limits::PAYLOAD_PLAIN_BYTES_MAX {
                return Err(too_large());
            }
            found.push(document);
        }
        Ok(found)
    }

    /// The document with this `{_id: …}` as it is now.
    fn stored(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        id: &RawDocument,
    ) -> Result<Option<RawDocumentBuf>> {
        let (Some(meta), Some(id)) = (self.applier.catalog.collection(view, collection)?, id_of(id)) else {
            return Ok(None);
        };
        let stored = view.get(&keyspace::document(meta.id, &id_key(id)))?;
        let read = |bytes: &[u8]| RawDocumentBuf::from_bytes(bytes.to_vec());
        let read = stored.map(|stored| read(stored.value())).transpose();
        read.map_err(|_| Error::data("a stored document is damaged"))
    }

    fn logged(&self, operations: Vec<Operation>, outcome: Outcome) -> Tried {
        Tried { author: self.me, operations, reply: Reply { outcome, ..Reply::default() } }
    }

    fn nothing(&self) -> Tried {
        self.logged(Vec::new(), Outcome::default())
    }
}

/// Which version of a document a call gives back, compiled.
struct Returned {
    after: bool,
    projection: Option<Projection>,
}

impl Returned {
    fn compile(
        returning: Option<&Returning>,
        filter: &Filter,
        context: &QueryContext,
    ) -> Result<Option<Self>> {
        let Some(Returning { after, projection }) = returning else { return Ok(None) };
        let projection =
            projection.as_deref().map(|document| Projection::parse_in(document, Some(filter), context));
        Ok(Some(Self { after: *after, projection: projection.transpose()? }))
    }

    fn show(&self, document: Option<RawDocumentBuf>) -> Result<Option<RawDocumentBuf>> {
        match (document, &self.projection) {
            (Some(document), Some(projection)) => Ok(Some(projection.apply(&document)?)),
            (document, _) => Ok(document),
        }
    }
}

/// The part of a filter that is tested again at the operation's place; none of one that asks for nothing but the `_id`, which
/// cannot change: such an update is settled with concurrent ones field by field.
fn logged_guard(filter: &Filter) -> Result<RawDocumentBuf> {
    if filter.to_document().iter().all(|field| field.is_ok_and(|(name, _)| name == "_id")) {
        return Ok(RawDocumentBuf::new());
    }
    Ok(filter.replayable()?.to_document().to_owned())
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

/// Leaves of an operation's parts those that held at the origin.
fn keep_what_held<T>(parts: &mut Vec<T>, outcome: &Outcome) {
    let mut position = 0;
    parts.retain(|_| {
        let held =
            !outcome.rejected.contains_key(&position) && outcome.ended_at.is_none_or(|end| position < end);
        position += 1;
        held
    });
}

fn first_error(outcome: Outcome) -> Error {
    let failures = WriteFailure::of(&outcome.rejected);
    let error = match outcome.rejected.into_values().next() {
        Some(error) if error.code == ErrorCode::UNAUTHORIZED => Error::denied(format!(
            "{}: ask an admin of the database to admit this device (add-writer)",
            error.message
        )),
        Some(error) => error.into(),
        None => Error::invalid("there was nothing to do"),
    };
    error.with_write_failures(failures)
}

/// `{_id: …}` of a document.
fn only_id(document: &RawDocument) -> RawDocumentBuf {
    let mut only = RawDocumentBuf::new();
    if let Some(id) = id_of(document) {
        only.append(bson::raw::cstr!("_id"), RawBson::from(id));
    }
    only
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
