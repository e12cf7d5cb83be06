//! Reads of past states: the database as an entry of the order has left it.
//!
//! What stood there before the entries since is put on top of the view, in memory (`gathered`): of the tail it stands in the
//! undo records, of what was confirmed since in the kept changes (`kept`). Where those do not reach, the beginning of the order is
//! applied once more (`replay`).

mod gathered;
mod kept;
mod replay;

use std::fmt;
use std::sync::Arc;

use bson::Document;
use redb::ReadTransaction;

use self::gathered::Gathered;
use self::replay::Replay;
use crate::collection::{Aggregate, Collection, ReadConcern, ToRawDocument};
use crate::database::{Database, no_view};
use crate::engine::read_base;
use crate::entry::Genesis;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{DatabaseId, EntryHash};
use crate::limits;
use crate::storage::{self, ChangesSnapshot, LogSnapshot, OrderSnapshot};
use crate::view::{ViewSnapshot, catalog};

/// MongoDB's `InvalidOptions`.
const INVALID_OPTIONS: i32 = 72;
/// MongoDB's `SnapshotTooOld`.
const TOO_OLD: i32 = 239;
/// MongoDB's `SnapshotUnavailable`.
const NOT_YET: i32 = 246;

/// A database as it was after an entry of the order; to be read, not to be written. Cheap to clone.
///
/// It holds a snapshot until it is dropped: one that stays keeps the file from reusing space.
#[derive(Clone)]
pub struct Past {
    state: Arc<State>,
}

struct State {
    database: Database,
    position: u64,
    found: Found,
}

/// A past state.
pub(crate) struct Found {
    /// The entry that has left it.
    pub(crate) entry: EntryHash,
    /// Whether that is confirmed.
    pub(crate) is_confirmed: bool,
    pub(crate) view: ViewSnapshot,
}

impl Database {
    /// The database as it was after the entry at this position of the order: with the effects of that entry and of all before
    /// it, and of no other. Positions are those that [`Database::log`] shows as an entry's place ([`crate::Place`]), counted from
    /// 0; the entry of a confirmed change event stands there too.
    ///
    /// At a position of the tail that is the state which this entry has left in the present order: a merge may yet put others
    /// there. At a confirmed position it is the same on every peer, for ever. There it reaches back as far as the changes of
    /// confirmed entries are kept: see [`Database::set_change_history`]. Before that, the first
    /// [`crate::limits::PAST_REPLAY_ENTRIES_MAX`] states are made from the logs, which takes as long as applying their entries, and
    /// memory as large as the state, up to [`crate::limits::PAST_REPLAY_BYTES_MAX`].
    ///
    /// Reading costs what it costs at present. Going back costs, once, what was changed since: a pass over what entries since
    /// have overwritten, and index entries of the documents that differ. They are held in memory, up to [`crate::limits::PAST_BYTES_MAX`]. An index
    /// that has been dropped since is there and hidden: it is not read by, and finds that need one (`$near`) fail.
    ///
    /// ```
    /// use bson::{Document, doc};
    ///
    /// let store = db_core::Store::in_memory()?;
    /// let database = store.create_database("demo")?;
    /// let films = database.collection::<Document>("films");
    /// films.insert_one(doc! { "_id": 1, "title": "Alien" }).run()?;
    /// let position = database.status().confirmed - 1;
    /// films.delete_one(doc! { "_id": 1 }).run()?;
    /// let past = database.at(position)?.collection::<Document>("films");
    /// assert_eq!(past.count_documents(doc! { "title": "Alien" }).run()?, 1);
    /// # Ok::<(), db_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `SnapshotUnavailable` (246) if no entry stands there on this peer yet; `SnapshotTooOld` (239), with the first position
    /// that can be read, if what was changed since is not kept any more; 292 if it is too much to be held in memory; if the
    /// storage fails.
    pub fn at(&self, position: u64) -> Result<Past> {
        let found = find(&self.begin_read()?, self.id(), self.genesis(), position)?;
        Ok(Past { state: Arc::new(State { database: self.clone(), position, found }) })
    }
}

/// Finds the state after the entry at this position in what a read transaction sees.
///
/// # Errors
/// As for [`Database::at`].
pub(crate) fn find(
    transaction: &ReadTransaction,
    database: DatabaseId,
    genesis: &Genesis,
    position: u64,
) -> Result<Found> {
    let order = OrderSnapshot::open(transaction)?;
    let numbers = if position < order.ordered() { order.numbers(position, 1)? } else { Vec::new() };
    let Some(number) = numbers.first() else { return Err(not_yet(position, order.ordered())) };
    let record = LogSnapshot::open(transaction, database)?.record(*number)?;
    let entry = record.ok_or_else(|| Error::data("a stored entry is missing"))?.hash;
    let confirmed = read_base(&storage::engine_state_snapshot(transaction)?.ok_or_else(no_view)?.0)?;
    let present = storage::view_snapshot(transaction)?.ok_or_else(no_view)?;

    let next = position.saturating_add(1);
    let view = if next == order.ordered() {
        present
    } else if next > confirmed {
        let numbers = storage::order_snapshot(transaction, next, order.ordered())?;
        let mut gathered = Gathered::default();
        gathered.read_undo(&order, &numbers)?;
        present.with_changes(gathered.into_changes())
    } else if next == confirmed {
        present.confirmed()?
    } else {
        let changes = ChangesSnapshot::open(transaction)?;
        let first = changes.kept().front.max(changes.kept().whole_from);
        if next >= first {
            kept::view_before(&present.confirmed()?, &changes, next)?
        } else if next <= limits::PAST_REPLAY_ENTRIES_MAX {
            replayed(transaction, database, genesis, position)?
        } else {
            return Err(too_old(position, first.saturating_sub(1)));
        }
    };
    Ok(Found { entry, is_confirmed: next <= confirmed, view })
}

/// The state after the entry at this position, made from the logs alone.
///
/// # Errors
/// As for [`Database::at`].
pub(crate) fn replayed(
    transaction: &ReadTransaction,
    database: DatabaseId,
    genesis: &Genesis,
    position: u64,
) -> Result<ViewSnapshot> {
    Replay { transaction, database, genesis }.view_after(position.saturating_add(1))
}

impl Past {
    /// The collection called `name`, as it was. Writes fail with `InvalidOptions` (72), and so does what reads the logs or the
    /// present: streams, live queries, a document's history.
    pub fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.state.database.collection(name).in_past(self.clone())
    }

    /// The documents that `pipeline` makes out of itself, and out of collections as they were: it begins with `$documents`.
    pub fn aggregate<D: ToRawDocument>(&self, pipeline: impl IntoIterator<Item = D>) -> Aggregate<Document> {
        self.state.database.aggregate(pipeline).in_past(self.clone())
    }

    /// The names of the collections that there were, ascending, those of the system included.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn list_collection_names(&self) -> Result<Vec<String>> {
        catalog::collection_names(&self.state.found.view)
    }

    /// The position in the order of the last entry whose effects are seen.
    pub fn position(&self) -> u64 {
        self.state.position
    }

    /// The last entry whose effects are seen. Of a position in the tail it tells whether another one came to stand there.
    pub fn entry(&self) -> EntryHash {
        self.state.found.entry
    }

    /// Whether the state was confirmed when it was asked for: then it is the same on every peer, for ever.
    pub fn is_confirmed(&self) -> bool {
        self.state.found.is_confirmed
    }

    /// The database that it is the past of.
    pub fn database(&self) -> &Database {
        &self.state.database
    }

    /// What a read of this concern sees.
    pub(crate) fn view_at(&self, concern: ReadConcern) -> Result<ViewSnapshot> {
        if concern == ReadConcern::Majority && !self.state.found.is_confirmed {
            let message =
                format!("the entry at this position is not confirmed: position={}", self.position());
            return Err(Error::new(ErrorKind::Unavailable, message).with_code(NOT_YET));
        }
        Ok(self.state.found.view.clone())
    }

    /// Why something cannot be done here.
    pub(crate) fn refused(&self, what: &str) -> Error {
        let message = format!("a past state can only be read, not {what}: position={}", self.position());
        Error::invalid(message).with_code(INVALID_OPTIONS)
    }
}

impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past")
            .field("database", &self.state.database.name())
            .field("position", &self.state.position)
            .field("entry", &self.state.found.entry)
            .finish_non_exhaustive()
    }
}

fn not_yet(position: u64, ordered: u64) -> Error {
    let message = format!(
        "no entry stands at this position of the order on this peer yet: position={position} ordered={ordered}"
    );
    Error::new(ErrorKind::Unavailable, message).with_code(NOT_YET)
}

fn too_old(position: u64, first: u64) -> Error {
    let message = format!(
        "what was changed since the entry at this position is not kept any more, and it lies too far from the beginning to be \
         made from the logs: read a later state, or keep more changes from now on; position={position} first={first}"
    );
    Error::new(ErrorKind::Unavailable, message).with_code(TOO_OLD)
}
