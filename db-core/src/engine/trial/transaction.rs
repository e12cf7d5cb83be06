//! Transactions: what their writes come to on a snapshot, while they are open, and trying them on the present view.
//!
//! An open transaction is a [`Draft`]: a snapshot with changes in memory on top. Its writes are tried there by the code that
//! tries any call, and what they read to choose their documents is noted with what was read otherwise. So every step can be
//! run again at its place in the order.

use std::collections::BTreeSet;
use std::sync::Arc;

use bson::{RawArrayBuf, RawDocument, RawDocumentBuf, rawdoc};
use db_index::{ErrorCode, Filter, QueryError};

use super::{Trial, Tried};
use crate::apply::{Applier, Author, Mode, Outcome};
use crate::engine::append::Moment;
use crate::engine::request::{Reply, Request};
use crate::entry::Genesis;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{DatabaseId, WriterKey};
use crate::limits;
use crate::operation::{Done, Found, Operation, Read, Step};
use crate::query::witness::{self, Aspect, Witness};
use crate::query::{Compiled, Execution, FindOptions, Source};
use crate::view::ViewSnapshot;
use crate::view::catalog::{CatalogCache, CollectionMeta, id_of};
use crate::view::history::Stamp;
use crate::view::journal::ViewWriter;
use crate::view::overlay::Overlay;
use crate::view::work::Work;

/// MongoDB's `TransactionTooLarge`.
const TOO_LARGE: ErrorCode = ErrorCode(257);
/// MongoDB's `OperationNotSupportedInTransaction`.
const NOT_SUPPORTED: i32 = 263;
/// MongoDB's `WriteConflict`.
const WRITE_CONFLICT: i32 = 112;
/// About how many bytes a step takes beside its documents.
const STEP_BYTES: usize = 64;

/// A transaction that is open.
pub(crate) struct Draft {
    view: Overlay,
    genesis: Genesis,
    writer: WriterKey,
    catalog: CatalogCache,
    steps: Vec<Step>,
    bytes: usize,
    recorder: Recorder,
}

/// Notes what a transaction reads and writes, in order.
#[derive(Default)]
pub(super) struct Recorder {
    noted: Vec<Noted>,
    /// What has been read since the last write: reading it again finds the same.
    known: BTreeSet<(String, Vec<u8>, Aspect)>,
    work: Work,
}

enum Noted {
    Read(Read),
    Write(Done),
}

/// How the documents of a write are looked for.
pub(super) struct Search<'a> {
    pub(super) filter: &'a Filter,
    /// Whether an order decides which is the first.
    pub(super) sorted: bool,
    /// Whether all are meant, or the first.
    pub(super) multi: bool,
}

impl Draft {
    /// A transaction of `writer` that reads this snapshot.
    pub(crate) fn new(base: ViewSnapshot, genesis: Genesis, writer: WriterKey) -> Self {
        Self {
            view: Overlay::new(base, limits::TRANSACTION_BYTES_MAX),
            genesis,
            writer,
            catalog: CatalogCache::default(),
            steps: Vec::new(),
            bytes: 0,
            recorder: Recorder::default(),
        }
    }

    /// What the transaction sees: the snapshot with its own writes so far.
    pub(crate) fn view(&mut self) -> ViewSnapshot {
        self.view.snapshot()
    }

    /// Tries a write on what the transaction sees, and keeps what it changes. After an error, or if a part of it is rejected, the
    /// transaction can only be aborted.
    ///
    /// # Errors
    /// Those of the call; `OperationNotSupportedInTransaction` (263) for what does not write documents;
    /// `TransactionTooLarge` (257).
    pub(crate) fn write(&mut self, mut request: Request, moment: &Moment) -> Result<Reply> {
        prepare(&mut request)?;
        let stamp = Stamp { writer: self.writer, seq: 0, time: moment.now_ms };
        let mut applier = Applier {
            // What signatures are bound to; a transaction holds none.
            database: &DatabaseId::from_bytes([0; 32]),
            genesis: &self.genesis,
            catalog: &mut self.catalog,
            author: Author::at_origin(stamp),
            observer: &(),
            skipped: false,
        };
        let mut view = ViewWriter::over(&mut self.view);
        let mut trial = Trial {
            applier: &mut applier,
            me: self.writer,
            moment,
            founder_has_written: true,
            recorder: Some(std::mem::take(&mut self.recorder)),
        };
        let tried = trial.run(&mut view, request);
        self.recorder = trial.recorder.take().unwrap_or_default();
        let Tried { operations, reply, .. } = tried?;
        if reply.outcome.rejected.is_empty() {
            self.take_noted(operations)?;
        }
        Ok(reply)
    }

    /// The documents of a find, which it notes.
    ///
    /// # Errors
    /// Those of the find; `TransactionTooLarge` (257).
    pub(crate) fn find(&mut self, collection: &str, find: &FindOptions) -> Result<Vec<RawDocumentBuf>> {
        let view = self.view.snapshot();
        let meta = self.catalog.collection(&view, collection)?;
        let compiled = find.compile(meta.as_deref())?;
        let Some(meta) = meta else {
            self.note_search(collection, &compiled.filter, Aspect::Documents)?;
            return Ok(Vec::new());
        };
        let is_plain = compiled.sort.is_empty()
            && compiled.skip == 0
            && compiled.filter.nearness().is_none()
            && !compiled.filter.has_text();
        if !is_plain {
            self.note_search(collection, &compiled.filter, Aspect::Documents)?;
            return at_hand(Execution::new(view, &meta, compiled)?);
        }
        let (limit, projection) = (compiled.limit, compiled.projection.clone());
        let filter = compiled.filter.clone();
        let whole = Compiled { projection: None, transform_by: None, fields: None, ..compiled };
        let found = at_hand(Execution::new(view, &meta, whole)?)?;
        // Of several that match any are as good as others: what is seen of them is these. All are seen where there is room.
        let is_all = limit.is_none_or(|limit| (found.len() as u64) < limit);
        let (logged, is_same) = witness::replayable(&filter)?;
        if is_all && !is_same {
            self.note_search(collection, &filter, Aspect::Documents)?;
        } else {
            self.recorder.documents(collection, &found, is_all.then_some(&logged))?;
            self.take_noted(Vec::new())?;
        }
        let Some(projection) = projection else { return Ok(found) };
        found.iter().map(|document| Ok(projection.apply(document)?)).collect()
    }

    /// Notes that something was looked for, so that it has to be found again.
    ///
    /// # Errors
    /// `TransactionTooLarge` (257); if the storage fails.
    pub(crate) fn note_search(&mut self, collection: &str, filter: &Filter, aspect: Aspect) -> Result<()> {
        let view = self.view.snapshot();
        let meta = self.catalog.collection(&view, collection)?;
        self.recorder.search(view, meta.as_ref(), collection, filter, aspect)?;
        self.take_noted(Vec::new())
    }

    /// What is to be logged: nothing if nothing was written.
    pub(crate) fn into_request(self) -> Request {
        let Self { steps, bytes, .. } = self;
        let writes = steps.iter().any(|step| matches!(step, Step::Write { .. }));
        if writes {
            Request::Transaction { steps, bytes }
        } else {
            Request::Transaction { steps: Vec::new(), bytes: 0 }
        }
    }

    /// Makes steps of what was noted, in whose writes these operations were run.
    fn take_noted(&mut self, operations: Vec<Operation>) -> Result<()> {
        let mut operations = operations.into_iter();
        for noted in std::mem::take(&mut self.recorder.noted) {
            let step = match noted {
                Noted::Read(read) => Step::Read(read),
                Noted::Write(done) => {
                    let fault = || Error::new(ErrorKind::Internal, "a write of a transaction was not noted");
                    Step::Write { operation: operations.next().ok_or_else(fault)?, done }
                }
            };
            self.bytes += STEP_BYTES + bytes_of(&step);
            self.steps.push(step);
        }
        if self.bytes > limits::PAYLOAD_PLAIN_BYTES_MAX || self.steps.len() > limits::OPERATIONS_MAX {
            let message =
                "the transaction reads and writes more than an entry holds: split it; limit_bytes=16777216";
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        Ok(())
    }
}

impl Recorder {
    /// Notes what a write did. One that was rejected ends the transaction.
    pub(super) fn wrote(&mut self, outcome: &Outcome) {
        self.known.clear();
        self.noted.push(Noted::Write(Done::of(outcome)));
    }

    /// Looks for what matches a filter, or for more where replay may not compute it, and notes what is found.
    fn search<'s>(
        &mut self,
        view: impl Source<'s>,
        meta: Option<&Arc<CollectionMeta>>,
        collection: &str,
        filter: &Filter,
        aspect: Aspect,
    ) -> Result<()> {
        let (logged, is_same) = witness::replayable(filter)?;
        let aspect = if is_same { aspect } else { Aspect::Documents };
        if !self.is_new(collection, logged.to_document(), aspect) {
            return Ok(());
        }
        let found = witness::look(view, meta, &logged, aspect, &mut self.work)??;
        self.note(collection, logged.to_document().to_owned(), found);
        Ok(())
    }

    /// Notes documents that were read.
    fn documents(
        &mut self,
        collection: &str,
        documents: &[RawDocumentBuf],
        all_of: Option<&Filter>,
    ) -> Result<()> {
        let filter = match (all_of, documents) {
            (Some(filter), _) => filter.to_document().to_owned(),
            (None, []) => return Ok(()),
            (None, [one]) => {
                let mut filter = RawDocumentBuf::new();
                if let Some(id) = id_of(one) {
                    filter.append(bson::raw::cstr!("_id"), rawdoc! { "$eq": bson::RawBson::from(id) });
                }
                filter
            }
            (None, several) => {
                let mut ids = RawArrayBuf::new();
                several
                    .iter()
                    .filter_map(|document| id_of(document))
                    .for_each(|id| ids.push(bson::RawBson::from(id)));
                rawdoc! { "_id": { "$in": ids } }
            }
        };
        if !self.is_new(collection, &filter, Aspect::Documents) {
            return Ok(());
        }
        if !witness::is_look_up(&Filter::parse_logged(&filter)?) {
            self.work.add_search()?;
        }
        let mut witness = Witness::new(Aspect::Documents);
        for document in documents {
            let bytes = witness.add(document)?;
            self.work.add_found(1, bytes)?;
        }
        self.note(collection, filter, witness.finish());
        Ok(())
    }

    /// Whether this has not been read since the last write.
    fn is_new(&mut self, collection: &str, filter: &RawDocument, aspect: Aspect) -> bool {
        self.known.insert((collection.to_owned(), filter.as_bytes().to_vec(), aspect))
    }

    fn note(&mut self, collection: &str, filter: RawDocumentBuf, found: Found) {
        self.noted.push(Noted::Read(Read { collection: collection.to_owned(), filter, found }));
    }
}

impl Trial<'_, '_> {
    /// Tries a whole transaction on the present view.
    pub(super) fn transaction(&mut self, view: &mut ViewWriter<'_, '_>, steps: Vec<Step>) -> Result<Tried> {
        if steps.is_empty() {
            return Ok(self.nothing());
        }
        let operation = Operation::Transaction { steps };
        let outcome = self.apply(view, &operation, Mode::OriginOrdered)?;
        match outcome.rejected.first_key_value() {
            None => Ok(self.logged(vec![operation], outcome)),
            Some((_, error)) if error.code == ErrorCode::UNAUTHORIZED || error.code == TOO_LARGE => {
                Err(super::first_error(outcome))
            }
            // What it saw when it began is not what is there now: made again, it may succeed.
            Some((_, error)) => Err(write_conflict(&error.message)),
        }
    }

    /// Notes what a write has found to choose its documents, as far as running it again would not show a difference.
    pub(super) fn record_search(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        search: &Search<'_>,
        found: &[RawDocumentBuf],
    ) -> Result<()> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let Search { filter, sorted, multi } = *search;
        if let (Some(first), false, false) = (found.first(), sorted, multi) {
            // Of several that match any is as good as another; that this one does is tested again, by its guard.
            let (_, is_same) = witness::replayable(filter)?;
            return if is_same {
                Ok(())
            } else {
                recorder.documents(collection, std::slice::from_ref(first), None)
            };
        }
        let aspect = if sorted { Aspect::Documents } else { Aspect::Ids };
        let meta = self.applier.catalog.collection(view, collection)?;
        recorder.search(view, meta.as_ref(), collection, filter, aspect)
    }

    /// Notes that a write looked at these documents whole.
    pub(super) fn record_documents(&mut self, collection: &str, documents: &[RawDocumentBuf]) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.documents(collection, documents, None),
            None => Ok(()),
        }
    }
}

/// All documents at once: what a transaction reads is noted in order, and so it is read in that.
///
/// # Errors
/// `TransactionTooLarge` (257) if they take more than [`limits::TRANSACTION_BYTES_MAX`].
pub(crate) fn at_hand(
    documents: impl Iterator<Item = Result<RawDocumentBuf>>,
) -> Result<Vec<RawDocumentBuf>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    for document in documents {
        let document = document?;
        bytes += document.as_bytes().len();
        if bytes > limits::TRANSACTION_BYTES_MAX {
            let message = "a read of a transaction gives more than 64 MiB: ask for less at once";
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        all.push(document);
    }
    Ok(all)
}

/// Readies a write for a transaction: what it says holds at its place as it did here, or not at all.
fn prepare(request: &mut Request) -> Result<()> {
    match request {
        Request::Insert { .. } | Request::Delete(_) => Ok(()),
        Request::Update(update) => {
            // A replacement that merged with what others have written would be none that the transaction has seen.
            update.strict = update.replacement;
            Ok(())
        }
        Request::Bulk { parts, .. } => parts.iter_mut().try_for_each(prepare),
        _ => {
            let message =
                "a transaction reads and writes documents; collections and indexes are made outside of it";
            Err(Error::invalid(message).with_code(NOT_SUPPORTED))
        }
    }
}

/// The error of a transaction that is to be made again.
pub(crate) fn write_conflict(why: &str) -> Error {
    let message = format!("{why}: make the transaction again");
    Error::new(ErrorKind::Conflict, message).with_code(WRITE_CONFLICT).into_transient()
}

/// How many bytes a step brings.
fn bytes_of(step: &Step) -> usize {
    let sum = |documents: &[RawDocumentBuf]| {
        documents.iter().map(|document| document.as_bytes().len() + 4).sum::<usize>()
    };
    match step {
        Step::Read(read) => read.filter.as_bytes().len() + read.collection.len(),
        Step::Write { operation, .. } => match operation {
            Operation::Insert { documents, .. } => sum(documents),
            Operation::Update(update) => {
                let changed =
                    update.replaces.as_ref().map_or(0, |replaces| replaces.changed.as_bytes().len());
                let fixed = update.guard.as_bytes().len() + update.update.as_bytes().len() + changed;
                fixed + sum(&update.ids) + sum(&update.array_filters)
            }
            Operation::Upsert { id, guard, update, array_filters, document, .. } => {
                let parts = [id, guard, update, document];
                sum(array_filters) + parts.iter().map(|document| document.as_bytes().len()).sum::<usize>()
            }
            Operation::Delete { ids, guard, .. } => sum(ids) + guard.as_bytes().len(),
            _ => 0,
        },
    }
}
