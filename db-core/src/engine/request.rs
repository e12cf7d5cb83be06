//! Local calls as the engine takes them, and what it answers.

use std::collections::BTreeMap;

use bson::{RawBson, RawDocumentBuf, oid::ObjectId};
use db_index::MergeTarget;

use crate::apply::Outcome;
use crate::entry::ForkProof;
use crate::ids::{EntryHash, WriterKey};
use crate::operation::{Operation, Roles, Step};
use crate::query::Hint;
use crate::view::catalog::CollectionOptions;

/// A call that changes the database.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Documents with their `_id`s; ordered ones end at the first that fails.
    Insert {
        collection: String,
        documents: Vec<RawDocumentBuf>,
        ordered: bool,
    },
    /// Update operators or a replacement.
    Update(UpdateRequest),
    Delete(DeleteRequest),
    /// Inserts, updates and deletes as one entry; an ordered one ends at the first that fails.
    Bulk {
        parts: Vec<Request>,
        ordered: bool,
    },
    /// The results of a pipeline that go into a collection, up to the first that fails.
    Merge(MergeRequest),
    CreateCollection {
        collection: String,
        options: CollectionOptions,
    },
    RenameCollection {
        collection: String,
        to: String,
        drop_target: bool,
    },
    /// `{hidden, expireAfterSeconds, name}`, each if it is there.
    ChangeIndex {
        collection: String,
        name: String,
        change: RawDocumentBuf,
    },
    /// `{conflicts: …}`.
    ChangeCollection {
        collection: String,
        change: RawDocumentBuf,
    },
    /// Settles a listed conflict and takes it off the list.
    Resolve {
        /// `{_id: …}` of the conflict.
        id: RawDocumentBuf,
        resolution: Resolution,
    },
    /// What was read and written in a transaction. Without any step there is nothing to do.
    Transaction {
        steps: Vec<Step>,
        /// About how many bytes they take.
        bytes: usize,
    },
    /// Does again what was rejected and takes it off the list.
    Resubmit {
        /// `{_id: …}` of the rejection.
        id: RawDocumentBuf,
        /// The parts of the operation that did not hold.
        operation: Operation,
    },
    /// Takes a rejection off the list.
    Discard {
        /// `{_id: …}` of the rejection.
        id: RawDocumentBuf,
    },
    DropCollection {
        collection: String,
    },
    CreateIndexes {
        collection: String,
        definitions: Vec<RawDocumentBuf>,
    },
    DropIndex {
        collection: String,
        name: String,
    },
    /// Drops every index but the one on `_id`.
    DropIndexes {
        collection: String,
    },
    /// Deletes what has expired, a bounded number of documents.
    Expire,
    /// Drops the collections that an interrupted `$out` of this device's has left.
    DropLeftovers {
        /// The keys of this device of which there are any.
        of: Vec<WriterKey>,
    },
    /// Goes on writing without the entries of our own log that others hold and we do not.
    GiveUpOwnEntries,
    SetRoles {
        writer: WriterKey,
        roles: Roles,
    },
    RemoveWriter {
        writer: WriterKey,
    },
    SetIndexers {
        writers: Vec<WriterKey>,
    },
    /// Logs proofs of the forks that are known here and not proved yet.
    ProveForks,
    /// What that comes to.
    ForkProofs {
        proofs: Vec<ForkProof>,
    },
    /// Goes on with the key that follows from this seed, which is chance.
    RotateKey {
        seed: [u8; 32],
    },
    /// What that comes to.
    Rotate {
        from: WriterKey,
        to: WriterKey,
        signature: [u8; 64],
    },
    /// Lets `to` go on for `from`.
    Replace {
        from: WriterKey,
        to: WriterKey,
        roles: Option<Roles>,
    },
    /// Names a writer: this device's own if there is none; an empty name takes its name away.
    NameWriter {
        writer: Option<WriterKey>,
        name: String,
    },
}

/// What becomes of a conflict.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// The value that won stays.
    Keep,
    /// What lost is done after all: its value is set, the deleted document inserted again, or the document deleted.
    TakeLoser,
    /// The field is set to another value.
    Set(bson::Bson),
}

impl Request {
    /// The collection of an update or a delete.
    pub(crate) fn collection(&self) -> Option<&str> {
        match self {
            Self::Update(update) => Some(&update.collection),
            Self::Delete(delete) => Some(&delete.collection),
            _ => None,
        }
    }

    /// Whether there is nothing to do: a transaction that wrote nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Transaction { steps, .. } if steps.is_empty())
    }

    /// How many bytes of documents the call brings.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Insert { documents, .. } => {
                documents.iter().map(|document| document.as_bytes().len()).sum()
            }
            Self::Update(update) => {
                let bytes = match &update.update {
                    RawBson::Document(document) => document.as_bytes().len(),
                    RawBson::Array(stages) => stages.as_bytes().len(),
                    _ => 0,
                };
                bytes + update.filter.as_bytes().len()
            }
            Self::Transaction { bytes, .. } => *bytes,
            Self::Bulk { parts, .. } => parts.iter().map(Self::bytes).sum(),
            Self::Merge(merge) => merge.documents.iter().map(|(document, _)| document.as_bytes().len()).sum(),
            _ => 0,
        }
    }
}

/// The parts of an update or replacement.
#[derive(Debug, Clone)]
pub(crate) struct UpdateRequest {
    pub(crate) collection: String,
    pub(crate) filter: RawDocumentBuf,
    /// A document or a pipeline.
    pub(crate) update: RawBson,
    pub(crate) array_filters: Vec<RawDocumentBuf>,
    pub(crate) multi: bool,
    /// Inserts a document where none matches; it gets this `_id` unless filter or update say one.
    pub(crate) upsert: Option<IdSource>,
    /// Whether `update` has to be a whole document.
    pub(crate) replacement: bool,
    /// Whether a replacement is rejected where its document has been changed concurrently.
    pub(crate) strict: bool,
    /// Which of the documents that match is the first.
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) hint: Option<Hint>,
    /// The variables of `let`.
    pub(crate) variables: Option<RawDocumentBuf>,
    /// How strings are compared; as the collection says if there is none.
    pub(crate) collation: Option<RawDocumentBuf>,
    /// Which version of the document the caller wants to see.
    pub(crate) returning: Option<Returning>,
}

/// The parts of a delete.
#[derive(Debug, Clone)]
pub(crate) struct DeleteRequest {
    pub(crate) collection: String,
    pub(crate) filter: RawDocumentBuf,
    pub(crate) multi: bool,
    /// Which of the documents that match is the first.
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) hint: Option<Hint>,
    /// The variables of `let`.
    pub(crate) variables: Option<RawDocumentBuf>,
    /// How strings are compared; as the collection says if there is none.
    pub(crate) collation: Option<RawDocumentBuf>,
    /// Whether the caller wants to see the document.
    pub(crate) returning: Option<Returning>,
}

/// Documents for `$merge`.
#[derive(Debug, Clone)]
pub(crate) struct MergeRequest {
    pub(crate) target: Box<MergeTarget>,
    /// Each with the `_id` that it is inserted with, should it have none.
    pub(crate) documents: Vec<(RawDocumentBuf, IdSource)>,
}

/// How a call that changes one document shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Returning {
    /// As it is afterwards, not as it was.
    pub(crate) after: bool,
    pub(crate) projection: Option<RawDocumentBuf>,
}

/// An `_id` made by the driver, since the engine has no chance of its own.
pub(crate) type IdSource = ObjectId;

/// What a call did.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The counts.
    pub(crate) outcome: Outcome,
    /// The `_id`s of the documents that upserts inserted, by position in a bulk; 0 if the call is none.
    pub(crate) upserted_ids: BTreeMap<usize, RawBson>,
    /// The document that the call was asked to show.
    pub(crate) document: Option<RawDocumentBuf>,
    /// The entry that holds the call; none if there was nothing to log.
    pub(crate) entry: Option<EntryHash>,
}
