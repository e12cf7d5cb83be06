//! Rejections: what was asked for and did not hold at its place in the order, listed, told to its author, done again or
//! given up.

use std::fmt;
use std::str::FromStr;

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use serde::{Deserialize, Serialize};

use crate::apply::read_operations;
use crate::collection::Collection;
use crate::database::Database;
use crate::engine::Request;
use crate::error::{Error, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::listed::NewlyListed;
use crate::log_reader::LogReader;
use crate::operation::Operation;
use crate::storage::LogSnapshot;
use crate::view::catalog::REJECTED;
use crate::write::Write;

/// An operation of which something did not hold at its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rejection {
    #[serde(rename = "_id")]
    id: Document,
    writer: Bson,
    /// The parts (documents, ids, definitions) that did not hold, the first 1,000.
    pub parts: Vec<RejectedPart>,
    /// How many parts did not hold.
    pub count: i64,
}

/// A part of an operation that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RejectedPart {
    /// Which part of the operation, from 0.
    pub part: i64,
    /// MongoDB's code for the reason.
    pub code: i32,
}

/// What names a rejection: an entry, and which of its operations. Its text is `ENTRY.OPERATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RejectionId {
    /// The entry.
    pub entry: EntryHash,
    /// Which of its operations, from 0.
    pub operation: u64,
}

impl Rejection {
    /// What names it.
    ///
    /// # Errors
    /// If the list is damaged.
    pub fn id(&self) -> Result<RejectionId> {
        let entry = self.id.get("entry").and_then(bytes_of).map(EntryHash::from_bytes);
        let operation = self.id.get_i64("operation").ok().and_then(|operation| operation.try_into().ok());
        let id = entry.zip(operation).map(|(entry, operation)| RejectionId { entry, operation });
        id.ok_or_else(damaged)
    }

    /// Who asked for it.
    ///
    /// # Errors
    /// If the list is damaged.
    pub fn writer(&self) -> Result<WriterKey> {
        bytes_of(&self.writer).map(WriterKey::from_bytes).ok_or_else(damaged)
    }
}

impl RejectionId {
    /// As it stands in `system.rejected`.
    fn to_document(self) -> Document {
        let bytes = self.entry.as_bytes().to_vec();
        let entry = Binary { subtype: BinarySubtype::Generic, bytes };
        doc! { "entry": entry, "operation": self.operation.cast_signed() }
    }
}

impl fmt::Display for RejectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entry, self.operation)
    }
}

impl FromStr for RejectionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = text.split_once('.').and_then(|(entry, operation)| {
            let operation = operation.parse::<u32>().ok()?.into();
            Some(Self { entry: EntryHash::from_hex(entry)?, operation })
        });
        id.ok_or_else(|| Error::invalid("a rejection is ENTRY.OPERATION, as the list of them names it"))
    }
}

impl Database {
    /// What did not hold at its place and was neither done again nor given up: a collection to find in, by `writer`,
    /// `_id.entry`, `parts.code` …
    pub fn rejections(&self) -> Collection<Rejection> {
        self.collection(REJECTED)
    }

    /// What was asked for and rejected, as a command of MongoDB's shape: `{insert: "films", documents: […]}`, with the first
    /// [`limits::LOG_PARTS_MAX`] of the parts that did not hold.
    ///
    /// # Errors
    /// `NotFound` if this is not listed; if the storage fails.
    pub fn rejected_command(&self, id: &RejectionId) -> Result<RawDocumentBuf> {
        let (operation, _) = self.rejected_operation(id)?;
        Ok(operation.to_command(limits::LOG_PARTS_MAX))
    }

    /// Does again what was rejected, with the parts that did not hold, as this device's own write: it is tried on what the
    /// database holds now, all of it holds or nothing, and takes the rejection off the list in the same entry.
    ///
    /// Where a merge orders it behind somebody else's end of this rejection, or changes what did not hold, it does nothing: its receipt then
    /// says superseded, and a rejection that has become another stays listed.
    ///
    /// It fails with `NoMatchingDocument` (47) if no such rejection is listed, with `BadValue` (2) if more parts than are
    /// listed did not hold, and as the write itself would: then the rejection stays.
    pub fn resubmit(&self, id: &RejectionId) -> Write<()> {
        let request = self.rejected_operation(id).and_then(|(operation, is_whole)| {
            if !is_whole {
                let message =
                    "more parts were rejected than are listed: write what is missing and discard this";
                return Err(Error::invalid(message).with_code(2));
            }
            Ok(Request::Resubmit { id: id_document(id)?, operation })
        });
        self.write(request, |_| Ok(()))
    }

    /// Gives up what was rejected: takes it off the list, on all peers. It stays in the log.
    ///
    /// It fails with `NoMatchingDocument` (47) if no such rejection is listed.
    pub fn discard(&self, id: &RejectionId) -> Write<()> {
        self.write(id_document(id).map(|id| Request::Discard { id }), |_| Ok(()))
    }

    /// Tells of the rejections of this device's own writes, under [whichever of its keys](Database::own_keys): those that are
    /// listed, and then those that come up.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn watch_rejections(&self) -> Result<RejectionStream> {
        Ok(RejectionStream { listed: NewlyListed::open_own_rejections(self)? })
    }

    /// What the rejections of this device's own writes match.
    pub fn own_rejections(&self) -> Document {
        let binary =
            |key: &WriterKey| Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() };
        doc! { "writer": { "$in": self.own_keys().iter().map(binary).collect::<Vec<_>>() } }
    }

    /// What of a listed operation did not hold, and whether that is all of it.
    pub(crate) fn rejected_operation(&self, id: &RejectionId) -> Result<(Operation, bool)> {
        let listed = self.rejections().find_one(doc! { "_id": id.to_document() }).run()?;
        let listed = listed.ok_or_else(|| {
            Error::not_found(format!("no such rejection is listed: rejection={id}")).with_code(47)
        })?;
        let transaction = self.begin_read()?;
        let log = LogSnapshot::open(&transaction, self.id())?;
        let number = log.number_of(&id.entry)?.ok_or_else(damaged)?;
        let operations = read_operations(&log.payload(number)?);
        let operations = operations.map_err(|unreadable| Error::invalid(unreadable.to_string()))?;
        let operation = usize::try_from(id.operation).ok().and_then(|at| operations.into_iter().nth(at));
        let operation = operation.ok_or_else(damaged)?;
        let parts: Vec<usize> =
            listed.parts.iter().filter_map(|part| usize::try_from(part.part).ok()).collect();
        let is_whole = usize::try_from(listed.count).is_ok_and(|count| count == parts.len());
        Ok((operation.only_parts(&parts), is_whole))
    }
}

/// Rejections of this device's writes: see [`Database::watch_rejections`]. One that a reorder takes back and brings again is
/// told of again.
pub struct RejectionStream {
    listed: NewlyListed,
}

impl RejectionStream {
    /// Waits for the next one.
    ///
    /// # Errors
    /// `ChangeStreamHistoryLost` (286) for who has not asked for so long that the stream has lost its place, as local change streams
    /// do: a new one begins with all that are listed. `Unavailable` once the database is closed.
    pub async fn next(&mut self) -> Result<Rejection> {
        let listed = self.listed.next().await?;
        bson::deserialize_from_slice(listed.as_bytes()).map_err(|error| damaged().with_source(error))
    }
}

impl fmt::Debug for RejectionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectionStream")
            .field("database", &self.listed.database().name())
            .finish_non_exhaustive()
    }
}

pub(crate) fn id_document(id: &RejectionId) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(doc! { "_id": id.to_document() })
        .map_err(|error| Error::invalid("no _id of a rejection").with_source(error))
}

fn bytes_of(value: &Bson) -> Option<[u8; 32]> {
    match value {
        Bson::Binary(binary) => binary.bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn damaged() -> Error {
    Error::data("a listed rejection is damaged")
}
