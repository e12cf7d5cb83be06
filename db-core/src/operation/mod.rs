//! Operations: what an entry asks of the database. What is logged is the intent, never its result; every peer runs it
//! again at its place in the order.

mod codec;
mod command;
mod parts;
mod transaction;

use bson::{RawDocument, RawDocumentBuf};

use crate::entry::ForkProof;
use crate::ids::WriterKey;

pub(crate) use codec::{decode, encode};
pub(crate) use transaction::{Done, Found, Read, Step};

/// One logged operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    /// Inserts documents, each with its `_id`. One whose `_id` or unique key is taken is rejected alone.
    Insert { collection: String, documents: Vec<RawDocumentBuf> },
    /// Updates the documents chosen at the origin, as far as each still meets the guard.
    Update(UpdateOperation),
    /// Updates the document with this `_id` or, where there is none, inserts `document`.
    Upsert {
        collection: String,
        /// `{_id: …}`.
        id: RawDocumentBuf,
        guard: RawDocumentBuf,
        update: RawDocumentBuf,
        array_filters: Vec<RawDocumentBuf>,
        document: RawDocumentBuf,
    },
    /// Deletes the documents chosen at the origin, as far as each still meets the guard.
    Delete { collection: String, ids: Vec<RawDocumentBuf>, guard: RawDocumentBuf },
    /// Creates a collection with these options; a no-op where it exists.
    CreateCollection { collection: String, options: RawDocumentBuf },
    /// Drops a collection with its documents and indexes.
    DropCollection { collection: String },
    /// Creates indexes, covering the documents that are there; definitions as `listIndexes` shows them.
    CreateIndexes { collection: String, definitions: Vec<RawDocumentBuf> },
    /// Drops an index by name.
    DropIndex { collection: String, name: String },
    /// Gives a collection another name; one that has that name already is dropped first, or in the way.
    RenameCollection { collection: String, to: String, drop_target: bool },
    /// Changes what of an index is no matter of its entries: `{hidden, expireAfterSeconds, name}`, each if it is there.
    ChangeIndex { collection: String, name: String, change: RawDocumentBuf },
    /// Deletes the documents chosen at the origin, as far as the index says at this place that they had expired at that time.
    Expire {
        collection: String,
        index: String,
        /// The origin's clock, in milliseconds since 1970.
        now_ms: i64,
        ids: Vec<RawDocumentBuf>,
    },
    /// Changes how a collection settles concurrent changes: `{conflicts: …}`.
    ChangeCollection { collection: String, change: RawDocumentBuf },
    /// Removes documents from a list of the system, `system.conflicts` or `system.rejected`. Where an entry begins with that to do
    /// again what was rejected, and the listing has been ended already, nothing else of it is done.
    Dismiss {
        collection: String,
        /// `{_id: …}` of each, and if it is to go only as its author has seen it the digest of that: `{_id: …, listed: …}`.
        ids: Vec<RawDocumentBuf>,
    },
    /// Writes that take effect together or not at all, as far as everything is still found that was read before them.
    Transaction { steps: Vec<Step> },
    /// Gives a writer these roles, instead of what it had.
    SetRoles { writer: WriterKey, roles: Roles },
    /// Takes every role from a writer: its later entries are skipped.
    RemoveWriter { writer: WriterKey },
    /// Makes exactly these writers the indexers; in an open database's founding entry they become its admins too.
    SetIndexers { writers: Vec<WriterKey> },
    /// Proves that a writer has signed two entries with one `seq`: it is revoked.
    ForkProof(Box<ForkProof>),
    /// Passes a writer's roles and identity to a key of its own: in the log of either, signed with the other.
    Rotate { from: WriterKey, to: WriterKey, signature: [u8; 64] },
    /// Passes a writer's roles (or these) and its identity to a key that an admin vouches for.
    Replace { from: WriterKey, to: WriterKey, roles: Option<Roles> },
    /// Gives a writer a name; an empty one takes it away.
    NameWriter { writer: WriterKey, name: String },
}

/// An update or replacement of documents chosen at the origin.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpdateOperation {
    pub(crate) collection: String,
    /// `{_id: …}` of each.
    pub(crate) ids: Vec<RawDocumentBuf>,
    /// The part of the filter that is tested again, document by document.
    pub(crate) guard: RawDocumentBuf,
    /// Update operators, or a whole document.
    pub(crate) update: RawDocumentBuf,
    pub(crate) array_filters: Vec<RawDocumentBuf>,
    /// What a replacement replaces; none of operators.
    pub(crate) replaces: Option<Replaces>,
}

/// What the author of a replacement had before its eyes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replaces {
    /// The digest of the document that it replaced: see [`document_digest`].
    pub(crate) base: [u8; 16],
    /// The fields that the replacement changed: names, whatever the values.
    pub(crate) changed: RawDocumentBuf,
    /// Whether it is rejected where the document is another by then; else the changed fields are written.
    pub(crate) strict: bool,
}

/// What tells one version of a document from another.
pub(crate) fn document_digest(document: &RawDocument) -> [u8; 16] {
    let mut digest = [0; 16];
    blake3::Hasher::new().update(document.as_bytes()).finalize_xof().fill(&mut digest);
    digest
}

/// What a writer may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Roles(u8);

impl Roles {
    pub(crate) const NONE: Self = Self(0);
    /// May write documents, collections and indexes.
    pub(crate) const WRITER: Self = Self(1);
    /// May write, and its entries vote on the order.
    pub(crate) const INDEXER: Self = Self(1 | 2);
    /// May write, and add and remove writers.
    pub(crate) const ADMIN: Self = Self(1 | 4);
    /// May not write, and is no stranger.
    pub(crate) const READER: Self = Self(8);

    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        (bits & !15 == 0).then_some(Self(bits))
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What either of these allows.
    pub(crate) fn joined_with(self, other: Self) -> Self {
        let joined = self.with(other);
        if joined.has(Self::WRITER) { Self(joined.0 & !Self::READER.0) } else { joined }
    }

    /// These roles less the vote.
    pub(crate) fn without_vote(self) -> Self {
        Self(self.0 & !2)
    }
}

impl Operation {
    /// The user's collection that it writes to.
    pub(crate) fn collection(&self) -> Option<&str> {
        match self {
            Self::Update(update) => Some(&update.collection),
            Self::Insert { collection, .. }
            | Self::Upsert { collection, .. }
            | Self::Delete { collection, .. }
            | Self::CreateCollection { collection, .. }
            | Self::RenameCollection { collection, .. }
            | Self::ChangeIndex { collection, .. }
            | Self::Expire { collection, .. }
            | Self::DropCollection { collection }
            | Self::CreateIndexes { collection, .. }
            | Self::ChangeCollection { collection, .. }
            | Self::DropIndex { collection, .. } => Some(collection),
            Self::Dismiss { .. }
            | Self::Transaction { .. }
            | Self::SetRoles { .. }
            | Self::RemoveWriter { .. }
            | Self::SetIndexers { .. }
            | Self::ForkProof(_)
            | Self::Rotate { .. }
            | Self::Replace { .. }
            | Self::NameWriter { .. } => None,
        }
    }

    /// The writers to whom it gives roles, or from whom it takes them.
    pub(crate) fn named_writers(&self) -> &[WriterKey] {
        match self {
            Self::SetRoles { writer, .. } | Self::RemoveWriter { writer } => std::slice::from_ref(writer),
            Self::Rotate { to, .. } | Self::Replace { to, .. } => std::slice::from_ref(to),
            Self::SetIndexers { writers } => writers,
            _ => &[],
        }
    }

    /// Whether the operation may change who votes: such entries are applied before the linearizer goes on.
    pub(crate) fn touches_membership(&self) -> bool {
        matches!(
            self,
            Self::SetRoles { .. }
                | Self::RemoveWriter { .. }
                | Self::SetIndexers { .. }
                | Self::ForkProof(_)
                | Self::Rotate { .. }
                | Self::Replace { .. }
        )
    }
}
