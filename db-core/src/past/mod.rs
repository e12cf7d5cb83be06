//! Reads of past states: the database as an entry of the order has left it.
//!
//! What stood there before the entries since is put on top of the view, in memory (`gathered`): of the tail it stands in the
//! undo records, of what was confirmed since in the kept changes (`kept`). Where those do not reach, the order is applied once
//! more (`replay`) in a file of its own (`scratch`), and that is kept for a while (`replays`).

mod gathered;
mod kept;
mod replay;
mod replays;
mod scratch;

use std::fmt;
use std::sync::Arc;

use bson::Document;
use redb::ReadTransaction;

use self::gathered::Gathered;
pub(crate) use self::replay::Source;
pub(crate) use self::replays::Replays;
use crate::collection::{Aggregate, Collection, ReadConcern, ToRawDocument};
use crate::database::{Database, no_view};
use crate::engine::read_base;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::EntryHash;
use crate::query::Stop;
use crate::storage::{self, ChangesSnapshot, LogSnapshot, OrderSnapshot};
use crate::view::{ViewSnapshot, catalog};

/// MongoDB's `InvalidOptions`.
const INVALID_OPTIONS: i32 = 72;
/// MongoDB's `QueryExceededMemoryLimitNoDiskUseAllowed`.
const TOO_LARGE: i32 = 292;
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
    /// there. At a confirmed position it is the same on every peer, for ever.
    ///
    /// Reading costs what it costs at present. Going back costs, once, what was changed since, where that is kept (see
    /// [`Database::set_change_history`]) and fits into [`crate::limits::PAST_BYTES_MAX`] of memory: a pass over what entries since have
    /// overwritten, and index entries of the documents that differ. An index that has been dropped since is then there and hidden: it is not
    /// read by, and finds that need one (`$near`) fail. Else the state is made from the logs, in a file without a name beside the
    /// database's, which goes when nobody reads it any more. That takes as long as applying all entries up to there; of those that are confirmed
    /// the last state is kept for a minute, so that a later one costs what lies between.
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
    /// `SnapshotUnavailable` (246) if no entry stands there on this peer yet; 292 if the state is made from the logs and is larger than
    /// [`crate::limits::PAST_REPLAY_DISK_BYTES_MAX`], or [`crate::limits::PAST_REPLAY_BYTES_MAX`] where the database is in memory; if the
    /// storage fails.
    pub fn at(&self, position: u64) -> Result<Past> {
        self.at_until(position, || false)
    }

    /// [`Database::at`], until this says yes: it is asked again and again while a state is made from the logs. What was made until then is
    /// kept for a minute, and the next call goes on there.
    ///
    /// # Errors
    /// `MaxTimeMSExpired` (50) if the answer was yes; as for [`Database::at`].
    pub fn at_until(
        &self,
        position: u64,
        question: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Past> {
        let mut stop = Stop::default();
        stop.when(question);
        self.at_with(position, stop)
    }

    /// [`Database::at`], unless it is to stop.
    pub(crate) fn at_with(&self, position: u64, mut stop: Stop) -> Result<Past> {
        let transaction = self.begin_read()?;
        let source = Source { transaction: &transaction, database: self.id(), genesis: self.genesis() };
        let found = find(&source, position, self.replays(), &mut stop)?;
        Ok(Past { state: Arc::new(State { database: self.clone(), position, found }) })
    }
}

/// Finds the state after the entry at this position in what a read transaction sees.
///
/// # Errors
/// As for [`Database::at_until`].
pub(crate) fn find(
    source: &Source<'_>,
    position: u64,
    replays: &Arc<Replays>,
    stop: &mut Stop,
) -> Result<Found> {
    let transaction = source.transaction;
    let order = OrderSnapshot::open(transaction)?;
    let numbers = if position < order.ordered() { order.numbers(position, 1)? } else { Vec::new() };
    let Some(number) = numbers.first() else { return Err(not_yet(position, order.ordered())) };
    let record = LogSnapshot::open(transaction, source.database)?.record(*number)?;
    let entry = record.ok_or_else(|| Error::data("a stored entry is missing"))?.hash;
    let confirmed = read_base(&storage::engine_state_snapshot(transaction)?.ok_or_else(no_view)?.0)?;

    let next = position.saturating_add(1);
    let view = match undone(transaction, &order, next, confirmed) {
        Ok(Some(view)) => view,
        Err(error) if error.code() != Some(TOO_LARGE) => return Err(error),
        Ok(None) | Err(_) => replays.view_after(source, (next, confirmed), stop)?,
    };
    Ok(Found { entry, is_confirmed: next <= confirmed, view })
}

/// The state before the entry at position `next`, from the present one and what was changed since; none if that is not kept.
///
/// # Errors
/// 292 if it is too much to be held in memory; if the storage fails.
fn undone(
    transaction: &ReadTransaction,
    order: &OrderSnapshot,
    next: u64,
    confirmed: u64,
) -> Result<Option<ViewSnapshot>> {
    let present = storage::view_snapshot(transaction)?.ok_or_else(no_view)?;
    if next == order.ordered() {
        return Ok(Some(present));
    }
    if next > confirmed {
        let numbers = storage::order_snapshot(transaction, next, order.ordered())?;
        let mut gathered = Gathered::default();
        gathered.read_undo(order, &numbers)?;
        return Ok(Some(present.with_changes([gathered.into_changes()])));
    }
    let settled = present.confirmed()?;
    if next == confirmed {
        return Ok(Some(settled));
    }
    let changes = ChangesSnapshot::open(transaction)?;
    if next < changes.kept().front.max(changes.kept().whole_from) {
        return Ok(None);
    }
    kept::view_before(&settled, &changes, next).map(Some)
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
