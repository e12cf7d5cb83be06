//! Conflicts: what lost against a concurrent change, listed, told of as it comes up, and settled.

use bson::{Bson, Document, RawDocumentBuf, doc};
use serde::{Deserialize, Serialize};

use crate::collection::Collection;
use crate::database::Database;
use crate::engine::{Request, Resolution};
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::listed::NewlyListed;
use crate::view::catalog::CONFLICTS;
use crate::write::Write;

/// Two changes whose authors had not seen each other and of which one had to lose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Conflict {
    /// Its `_id` in the list: which entry met it, and where.
    #[serde(rename = "_id")]
    pub id: Document,
    /// The collection of the document, by the name that it had.
    pub collection: String,
    /// The `_id` of the document.
    pub document: Bson,
    /// The field that both assigned; none if one has deleted the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// By which rule it was settled: `last`, `max`, `min`, `delete-wins`, `update-wins`.
    pub rule: String,
    /// What took effect.
    pub winner: ConflictSide,
    /// What did not.
    pub loser: ConflictSide,
}

/// One of the two changes of a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConflictSide {
    writer: Bson,
    /// Which entry of the writer's log it stands in.
    pub seq: i64,
    /// The writer's clock.
    pub time: bson::DateTime,
    /// The value of the field, or the document that was deleted; none if the field was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Bson>,
    /// The update of a document that was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Document>,
    /// Whether the value was too large to be listed; it stands in the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub omitted: bool,
}

impl ConflictSide {
    /// Who wrote it.
    ///
    /// # Errors
    /// If the list is damaged.
    pub fn writer(&self) -> Result<WriterKey> {
        let bytes = match &self.writer {
            Bson::Binary(binary) => binary.bytes.as_slice().try_into().ok(),
            _ => None,
        };
        bytes.map(WriterKey::from_bytes).ok_or_else(|| Error::data("a listed conflict is damaged"))
    }
}

impl Database {
    /// The conflicts that nobody has settled yet: a collection to find in. Find by `collection`, `document`, `path`,
    /// `loser.writer` …
    pub fn conflicts(&self) -> Collection<Conflict> {
        self.collection(CONFLICTS)
    }

    /// Settles a conflict and takes it off the list, on all peers. What is written is an ordinary write: it has seen both
    /// values, so it wins over both.
    ///
    /// It fails with `NoMatchingDocument` (47) if no conflict of this `_id` is listed, with `BadValue` (2) if what lost is
    /// not there to be done after all, and as the write itself would.
    pub fn resolve_conflict(&self, id: &Document, resolution: Resolution) -> Write<()> {
        let id = RawDocumentBuf::try_from(doc! { "_id": id.clone() });
        let id = id.map_err(|error| Error::invalid("no _id of a conflict").with_source(error));
        self.write(id.map(|id| Request::Resolve { id, resolution }), |_| Ok(()))
    }

    /// Tells of the conflicts that come up from now on.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn watch_conflicts(&self) -> Result<ConflictStream> {
        Ok(ConflictStream { listed: NewlyListed::open(self, CONFLICTS)? })
    }
}

/// Conflicts as they come up: see [`Database::watch_conflicts`]. One that a reorder takes back and brings again is told of
/// again.
pub struct ConflictStream {
    listed: NewlyListed,
}

impl ConflictStream {
    /// Waits for the next one.
    ///
    /// # Errors
    /// `ChangeStreamHistoryLost` (286) for who has not asked for so long that the stream has lost its place, as local change streams
    /// do; `Unavailable` once the database is closed.
    pub async fn next(&mut self) -> Result<Conflict> {
        let listed = self.listed.next().await?;
        bson::deserialize_from_slice(listed.as_bytes())
            .map_err(|error| Error::data("a listed conflict is damaged").with_source(error))
    }
}

impl std::fmt::Debug for ConflictStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConflictStream")
            .field("database", &self.listed.database().name())
            .finish_non_exhaustive()
    }
}
