//! Applying entries: running their operations on the view, at their place in the order, with the same outcome on every
//! peer.
//!
//! The same code runs a call at its origin, where it is tried before it is logged; [`Mode`] tells the two apart.

mod author;
mod build;
mod collections;
mod conflicts;
mod edits;
pub(crate) mod expiry;
mod membership;
mod settle;
mod transaction;
mod writes;

pub(crate) use author::Author;

use std::collections::BTreeMap;

use bson::{Binary, RawDocumentBuf, rawdoc, spec::BinarySubtype};
use db_index::{ErrorCode, QueryError};

use crate::entry::Genesis;
use crate::error::{Error, Result};
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::operation::{Operation, Roles};
use crate::payload::Unreadable;
use crate::view::catalog::{CatalogCache, REJECTED, check_collection_name};
use crate::view::documents::{ChangeError, CollectionWriter, id_key};
use crate::view::journal::ViewWriter;
use crate::view::members;
use crate::view::settled::{self, Settled};

/// MongoDB's `InvalidNamespace`.
const INVALID_NAMESPACE: ErrorCode = ErrorCode(73);

/// Where an operation is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At its place in the order: every part is tried, what does not hold is rejected.
    Replay,
    /// At its origin, before it is logged: it ends at the first part that does not hold.
    OriginOrdered,
    /// At its origin, before it is logged: every part is tried.
    OriginUnordered,
}

/// What one operation did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) inserted: u64,
    pub(crate) matched: u64,
    pub(crate) modified: u64,
    pub(crate) deleted: u64,
    /// Whether an upsert inserted its document.
    pub(crate) upserted: bool,
    /// The parts (documents, ids, definitions) that did not hold, by position, and why.
    pub(crate) rejected: BTreeMap<usize, QueryError>,
    /// Parts beyond this position were not tried.
    pub(crate) ended_at: Option<usize>,
    /// How many conflicts with concurrent changes were listed.
    pub(crate) conflicts: u64,
    /// What concurrent changes have left of the parts that hold; none if nothing was asked.
    pub(crate) settled: Option<Settled>,
}

impl Outcome {
    /// Notes that part `position` does not hold; returns whether to go on.
    fn reject(&mut self, mode: Mode, position: usize, error: QueryError) -> bool {
        self.rejected.insert(position, error);
        if mode == Mode::OriginOrdered {
            self.ended_at = Some(position);
            return false;
        }
        true
    }
}

/// How far the building of an index has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexBuild {
    /// The collection.
    pub collection: String,
    /// The name of the index.
    pub index: String,
    /// How many documents have been read.
    pub documents: u64,
    /// How many there are to read.
    pub documents_total: u64,
    /// How many entries of the index have been written, which lag behind the documents.
    pub entries: u64,
}

/// Who is told how far long work has come. What it does with it changes nothing.
pub(crate) trait Observer: Send + Sync {
    /// An index is being built.
    fn index_build(&self, _build: &IndexBuild) {}
}

impl Observer for () {}

/// What applying needs to know beside the operation.
pub(crate) struct Applier<'a> {
    pub(crate) database: &'a DatabaseId,
    pub(crate) genesis: &'a Genesis,
    pub(crate) catalog: &'a mut CatalogCache,
    pub(crate) author: Author<'a>,
    pub(crate) observer: &'a dyn Observer,
    /// Whether the entry was skipped because its author may not write at its place.
    pub(crate) skipped: bool,
}

/// Why application cannot go on at all.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The entry holds what only a later version understands.
    UpgradeNeeded(&'static str),
    /// The storage failed.
    Storage(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

/// An entry as application sees it.
pub(crate) struct EntryToApply {
    pub(crate) hash: EntryHash,
    pub(crate) writer: WriterKey,
    /// Its place in the writer's log.
    pub(crate) seq: u64,
    /// The writer's clock.
    pub(crate) time: u64,
    /// What its payload asks for.
    pub(crate) operations: Result<Vec<Operation>, Unreadable>,
}

/// Whether an entry does again what was rejected: it begins by ending that listing.
fn is_resubmission(operations: &[Operation]) -> bool {
    matches!(operations, [Operation::Dismiss { collection, .. }, _, ..] if collection == REJECTED)
}

impl Applier<'_> {
    /// Applies an entry at its place. What does not hold is listed in `system.rejected`.
    pub(crate) fn apply_entry(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        entry: &EntryToApply,
    ) -> Result<(), Stop> {
        let operations = match &entry.operations {
            Ok(operations) => operations,
            Err(Unreadable::UpgradeNeeded(what)) => return Err(Stop::UpgradeNeeded(what)),
            Err(Unreadable::Malformed(_)) => {
                let error = QueryError::new(ErrorCode::INVALID_BSON, "the entry's operations are malformed");
                self.record_rejection(view, entry, 0, &BTreeMap::from([(0, error)]))?;
                return Ok(());
            }
        };
        let mut settled = None;
        for (position, operation) in operations.iter().enumerate() {
            self.author.at(entry.hash, position);
            let outcome = self.apply(view, &entry.writer, operation, Mode::Replay)?;
            if is_resubmission(operations)
                && position == 0
                && outcome.deleted == 0
                && outcome.rejected.is_empty()
            {
                // Somebody who had not seen this one has done it, or given it up.
                settled = Some(Settled::Superseded);
                break;
            }
            settled = Some(Settled::of_both(settled, outcome.settled.unwrap_or_default()));
            if outcome.rejected.is_empty() {
                self.skipped = false; // it may have given its author the rights that it lacked for the operation before
            } else {
                self.record_rejection(view, entry, position, &outcome.rejected)?;
            }
        }
        Ok(settled::put(view, &entry.hash, settled.unwrap_or_default())?)
    }

    /// Runs one operation of `writer`.
    pub(crate) fn apply(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        writer: &WriterKey,
        operation: &Operation,
        mode: Mode,
    ) -> Result<Outcome> {
        if let Err(refusal) = self.authorise(view, writer, operation)? {
            return Ok(refused(mode, ErrorCode::UNAUTHORIZED, refusal));
        }
        if operation.collection().is_some_and(|name| check_collection_name(name).is_err()) {
            return Ok(refused(mode, INVALID_NAMESPACE, "an invalid collection name"));
        }
        if is_of_catalog(operation)
            && let Err(too_much) = view.work().check()
        {
            let mut outcome = Outcome::default();
            outcome.reject(mode, 0, too_much);
            return Ok(outcome);
        }
        match operation {
            Operation::Insert { collection, documents } => self.insert(view, collection, documents, mode),
            Operation::Update(update) => self.update(view, update, mode),
            Operation::Upsert { collection, id, guard, update, array_filters, document } => {
                let update = writes::Upsert { id, guard, update, array_filters, document };
                self.upsert(view, collection, &update, mode)
            }
            Operation::Delete { collection, ids, guard } => self.delete(view, collection, ids, guard, mode),
            Operation::ChangeCollection { collection, change } => {
                self.change_collection(view, collection, change, mode)
            }
            Operation::Dismiss { collection, ids } => self.dismiss(view, collection, ids, mode),
            Operation::Transaction { steps } => self.transaction(view, writer, steps, mode),
            Operation::CreateCollection { collection, options } => {
                self.create_collection(view, collection, options, mode)
            }
            Operation::DropCollection { collection } => self.drop_collection(view, collection, mode),
            Operation::CreateIndexes { collection, definitions } => {
                self.create_indexes(view, writer, collection, definitions, mode)
            }
            Operation::DropIndex { collection, name } => self.drop_index(view, collection, name, mode),
            Operation::RenameCollection { collection, to, drop_target } => {
                if check_collection_name(to).is_err() {
                    return Ok(refused(mode, INVALID_NAMESPACE, "an invalid collection name"));
                }
                self.rename_collection(view, collection, to, *drop_target, mode)
            }
            Operation::ChangeIndex { collection, name, change } => {
                self.change_index(view, collection, name, change, mode)
            }
            Operation::Expire { collection, index, now_ms, ids } => {
                self.expire(view, collection, index, *now_ms, ids)
            }
            Operation::SetRoles { .. }
            | Operation::RemoveWriter { .. }
            | Operation::SetIndexers { .. }
            | Operation::ForkProof(_)
            | Operation::Rotate { .. }
            | Operation::Replace { .. }
            | Operation::NameWriter { .. } => self.change_members(view, writer, operation, mode),
        }
    }

    /// Lists what did not hold, so that nothing is lost silently. Only codes and fixed words go into the view: messages
    /// may change with versions, and the view may not.
    fn record_rejection(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        entry: &EntryToApply,
        operation: usize,
        rejected: &BTreeMap<usize, QueryError>,
    ) -> Result<()> {
        // An entry of a writer that is not admitted is skipped without a trace in the view, or strangers could fill it.
        if !members::roles(view, self.genesis, &entry.writer)?.has(Roles::WRITER) {
            self.skipped = self.skipped || operation == 0;
            return Ok(());
        }
        let document = rejection_document(entry, operation, rejected);
        let meta = match self.catalog.collection_or_create(view, REJECTED) {
            Ok(meta) => meta,
            Err(ChangeError::Storage(error)) => return Err(error),
            Err(ChangeError::Rejected(_)) => return Ok(()),
        };
        let mut writer = CollectionWriter::new(REJECTED, meta);
        let Some(id) = crate::view::catalog::id_of(&document) else { return Ok(()) };
        match writer.insert(view, &id_key(id), &document) {
            Ok(()) | Err(ChangeError::Rejected(_)) => {}
            Err(ChangeError::Storage(error)) => return Err(error),
        }
        writer.finish(view, self.catalog)
    }
}

/// How many parts of an operation one rejection lists by position; it counts all of them.
const REJECTED_POSITIONS_MAX: usize = 1_000;

fn rejection_document(
    entry: &EntryToApply,
    operation: usize,
    rejected: &BTreeMap<usize, QueryError>,
) -> RawDocumentBuf {
    let binary = |bytes: &[u8; 32]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
    let mut parts = bson::RawArrayBuf::new();
    for (position, error) in rejected.iter().take(REJECTED_POSITIONS_MAX) {
        parts.push(rawdoc! { "part": *position as i64, "code": error.code.0 });
    }
    rawdoc! {
        "_id": { "entry": binary(entry.hash.as_bytes()), "operation": operation as i64 },
        "writer": binary(entry.writer.as_bytes()),
        "parts": parts,
        "count": rejected.len() as i64,
    }
}

/// The operations that an entry's payload holds; none of an ack.
pub(crate) fn read_operations(payload: &[u8]) -> Result<Vec<Operation>, Unreadable> {
    read_with_size(payload).0
}

/// The same, and how many bytes they take unpacked.
pub(crate) fn read_with_size(payload: &[u8]) -> (Result<Vec<Operation>, Unreadable>, usize) {
    if payload.is_empty() {
        return (Ok(Vec::new()), 0);
    }
    match crate::payload::unpack(payload) {
        Ok(plain) => (crate::operation::decode(&plain), plain.len()),
        Err(unreadable) => (Err(unreadable), 0),
    }
}

/// Whether an operation writes the record of a collection, which is long where the definitions of its indexes are.
fn is_of_catalog(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::CreateCollection { .. }
            | Operation::DropCollection { .. }
            | Operation::DropIndex { .. }
            | Operation::RenameCollection { .. }
            | Operation::ChangeCollection { .. }
            | Operation::ChangeIndex { .. }
    )
}

/// The outcome of an operation that is refused as a whole.
fn refused(mode: Mode, code: ErrorCode, refusal: members::Refusal) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.reject(mode, 0, QueryError::new(code, refusal));
    outcome.ended_at = Some(0); // nor were the parts after the first tried
    outcome
}
