//! The engine: takes local calls and remote runs, and keeps logs, order and view in step on the disk.
//!
//! Single-threaded and deterministic: storage, time and chance are handed in. One [`Batch`] is one storage transaction;
//! what it gives back may leave the process only after [`Batch::commit`].

mod append;
mod backlog;
mod changes;
mod confirming;
mod forks;
mod gaps;
mod held_back;
mod ingest;
#[cfg(any(test, feature = "simulation"))]
mod inspect;
mod kept_set;
mod keys;
mod meanwhile;
mod order;
mod own_log;
mod rebuilding;
mod request;
mod rotation;
mod state;
mod stored_past;
mod tail_reader;
#[cfg(test)]
mod tests;
mod trial;

use std::ops::Bound;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use redb::{Database, ReadableDatabase, WriteTransaction};

pub(crate) use append::Moment;
pub(crate) use backlog::Backlog;
pub(crate) use ingest::IngestError;
pub use request::Resolution;
pub(crate) use request::{DeleteRequest, MergeRequest, Reply, Request, Returning, UpdateRequest};
pub(crate) use state::{read_base, read_confirmed};
pub(crate) use trial::{Draft, at_hand, unfinished_out, with_id_in_front, write_conflict};

use crate::apply::{Applier, Author, Observer};
use crate::entry::founder_secret;
use crate::error::{Error, ErrorKind, Result};
use crate::faults::{Fault, is_planted};
use crate::ids::{DatabaseId, WriterKey};
use crate::storage::{Identity, LogPlace, Tables, view_snapshot_with};
use crate::view::gaps::Gaps;
use crate::view::history::Stamp;
use crate::view::journal::ViewWriter;
use crate::view::{ViewSnapshot, members};
use keys::OwnKeys;
use state::{AtHand, State};
use stored_past::StoredPast;

/// One database: its file, this device's writer, and what is kept in memory of the order.
pub(crate) struct Engine {
    database: Arc<Database>,
    identity: Identity,
    id: DatabaseId,
    /// The secret of this device's first key here, from which those of later ones follow.
    secret: SigningKey,
    /// The key of the log that calls are appended to, as of the last commit.
    writer: WriterKey,
    observer: Arc<dyn Observer>,
    /// What is known of where nothing is confirmed, as of the last commit.
    gaps: Arc<Gaps>,
    /// From where on the tail has not been looked through for them; none if it has been.
    unsurveyed: Option<Bound<Vec<u8>>>,
    /// None after a failed transaction: memory may be ahead of the disk, so everything is refused until reopened.
    state: Option<State>,
}

/// What the engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineStatus {
    /// How many entries are stored.
    pub(crate) entries: u64,
    /// How many entries are confirmed.
    pub(crate) confirmed: u64,
    /// How many entries are ordered and applied beyond the confirmed ones.
    pub(crate) tail: u64,
    /// How many entries are stored and not yet ordered.
    pub(crate) unordered: u64,
    /// The number of the epoch.
    pub(crate) epoch: u64,
    /// The indexers of the epoch, ascending.
    pub(crate) indexers: Vec<WriterKey>,
    /// The writers that have signed two entries with one `seq`, ascending.
    pub(crate) forked: Vec<WriterKey>,
    /// How many times an operation was applied since the database was opened, and how many entries were undone.
    pub(crate) applied: u64,
    pub(crate) undone: u64,
    /// Whether a peer has shown that a log of our own goes further than what is here, whose key is the present one or has to vote.
    pub(crate) misses_own_entries: bool,
    /// The key of the log that calls are appended to.
    pub(crate) writer: WriterKey,
    /// The keys of this device's logs before that one, the latest first.
    pub(crate) replaced_keys: Vec<WriterKey>,
    /// Indexers that were found to have forked their logs, ascending.
    pub(crate) alarms: Vec<WriterKey>,
}

impl Engine {
    #[allow(clippy::redundant_closure_for_method_calls)] // the method's path is not general enough over lifetimes
    /// Opens the engine over a database file that [`crate::storage`] made or opened. What was stored and not yet ordered when the
    /// process ended is not ordered: if that had begun, the view is [not to be shown](Engine::is_presentable).
    pub(crate) fn open(database: Arc<Database>, identity: Identity, secret: SigningKey) -> Result<Self> {
        let id = identity.genesis.database_id(&identity.key);
        let writer = WriterKey::from_bytes(secret.verifying_key().to_bytes());
        let (observer, gaps, unsurveyed) = (Arc::new(()), Arc::default(), Some(Bound::Unbounded));
        let mut engine =
            Self { database, identity, id, secret, writer, observer, gaps, unsurveyed, state: None };
        let transaction = engine.begin()?;
        let state = {
            let mut tables = Tables::open(&transaction)?;
            let keys = OwnKeys::restore(engine.secret.clone(), tables.own_key_seeds()?);
            if let Some(state) = State::restore(&tables, keys.clone())? {
                state
            } else {
                let mut view = ViewWriter::new(&mut tables.view, &mut tables.undo, order::NO_ENTRY);
                members::found(&mut view, &engine.identity.genesis)?;
                let mut state = State::new(&engine.identity.genesis, keys);
                state.keep(&mut tables)?;
                state.is_as_shown = true;
                state
            }
        };
        transaction.commit()?;
        engine.writer = state.keys.writer();
        engine.state = Some(state);
        Ok(engine)
    }

    /// Lets somebody see how far long work has come.
    pub(crate) fn set_observer(&mut self, observer: Arc<dyn Observer>) {
        self.observer = observer;
    }

    /// The key of this device's log.
    pub(crate) fn writer(&self) -> WriterKey {
        self.writer
    }

    /// Runs `work` in one storage transaction and commits it. If anything of the storage fails, the engine refuses all
    /// further work: it has to be opened again.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce(&mut Batch<'_, '_>) -> Result<T>) -> Result<T> {
        let mut state = self.state.take().ok_or_else(poisoned)?;
        let transaction = self.begin()?;
        let done = {
            let mut batch = Batch { tables: Tables::open(&transaction)?, state: &mut state, engine: self };
            let done = work(&mut batch)?;
            batch.finish()?;
            done
        };
        transaction.commit()?;
        self.writer = state.keys.writer();
        if let Some(gaps) = state.gaps.known.take() {
            self.gaps = Arc::new(gaps);
        }
        let inserted = state.gaps.take_inserted();
        self.state = Some(state);
        self.survey(inserted);
        Ok(done)
    }

    /// Goes on after a transaction that failed for what it was to do and not for the storage: as if it had never been begun.
    /// Whether that is so.
    pub(crate) fn recover(&mut self) -> bool {
        if self.state.is_some() {
            return true;
        }
        let restored = self.begin().and_then(|transaction| {
            let tables = Tables::open(&transaction)?;
            let keys = OwnKeys::restore(self.secret.clone(), tables.own_key_seeds()?);
            State::restore(&tables, keys)?.ok_or_else(|| Error::data("the engine's state is missing"))
        });
        match restored {
            Ok(state) => {
                self.writer = state.keys.writer();
                self.state = Some(state);
            }
            Err(error) => tracing::error!(%error, "the engine's state cannot be read again"),
        }
        self.state.is_some()
    }

    /// What the engine says of itself.
    pub(crate) fn status(&self) -> Result<EngineStatus> {
        Ok(self.state.as_ref().ok_or_else(poisoned)?.status())
    }

    /// A snapshot of the view as it was last committed.
    pub(crate) fn view(&self) -> Result<ViewSnapshot> {
        let view = view_snapshot_with(&self.database.begin_read()?, Arc::clone(&self.gaps))?;
        view.ok_or_else(|| Error::data("the database has no view"))
    }

    /// How many entries are stored: everything below this number may be sent.
    pub(crate) fn end(&self) -> u64 {
        self.state.as_ref().map_or(0, State::next_number)
    }

    /// Whether entries are stored that are not ordered yet.
    pub(crate) fn has_unordered(&self) -> bool {
        self.state.as_ref().is_some_and(State::has_unordered)
    }

    /// Whether something is left to order although nothing is stored that is not ordered yet, or something that is confirmed is not
    /// at its place: a call or an ack has confirmed much.
    pub(crate) fn is_behind(&self) -> bool {
        self.state.as_ref().is_some_and(State::is_behind)
    }

    /// What ordering all that is stored would cost now.
    pub(crate) fn backlog(&self) -> Backlog {
        self.state.as_ref().map_or_else(Backlog::default, State::backlog)
    }

    /// Whether the view holds all that readers have been shown before.
    pub(crate) fn is_presentable(&self) -> bool {
        self.state.as_ref().is_some_and(State::is_presentable)
    }

    /// The indexers of the present epoch, ascending.
    pub(crate) fn indexers(&self) -> &[WriterKey] {
        self.state.as_ref().map_or(&[], |state| state.linearizer.indexers())
    }

    /// Whether an ack of this device would help to confirm what is not; `gone` are the indexers not to wait for.
    pub(crate) fn wants_ack(&self, gone: &std::collections::BTreeSet<WriterKey>) -> bool {
        self.state.as_ref().is_some_and(|state| state.acking_key(gone).is_some())
    }

    /// Whether anything but acks is not confirmed.
    pub(crate) fn has_unconfirmed_writes(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.linearizer.has_unconfirmed_writes())
    }

    /// The keys of this device's logs before the present one, the latest first.
    pub(crate) fn replaced_keys(&self) -> Vec<WriterKey> {
        self.state.as_ref().map_or_else(Vec::new, |state| state.keys.writers().skip(1).collect())
    }

    /// Whether a log is this device's, by its present key or an earlier one.
    pub(crate) fn is_own(&self, writer: &WriterKey) -> bool {
        self.state.as_ref().is_some_and(|state| state.keys.secret_of(writer).is_some())
    }

    fn begin(&self) -> Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        // Peers choose bytes that end up in the file, and redb's one-phase commit trusts a checksum that can be forged.
        transaction.set_two_phase_commit(true);
        if is_planted(Fault::SyncSkipped) {
            let skipped = transaction.set_durability(redb::Durability::None);
            skipped.map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        }
        Ok(transaction)
    }
}

/// One storage transaction of the engine.
pub(crate) struct Batch<'e, 'txn> {
    tables: Tables<'txn>,
    state: &'e mut State,
    engine: &'e Engine,
}

/// Who changes the view.
enum By {
    /// The author of a stored entry.
    Entry { place: LogPlace, time: u64 },
    /// This device, which sees everything that is stored.
    Origin(Stamp),
}

impl Batch<'_, '_> {
    /// What ordering all that is stored would cost now.
    pub(crate) fn backlog(&mut self) -> Result<Backlog> {
        let past = StoredPast::new(&self.tables);
        let backlog = self.state.reckon_backlog(&past);
        past.checked(backlog)
    }

    /// Whether a call can be tried without ordering what else is stored.
    pub(crate) fn is_presentable(&self) -> bool {
        self.state.is_presentable()
    }

    /// Whose log this device appends to.
    fn writer(&self) -> WriterKey {
        self.state.keys.writer()
    }

    /// This device as it reads, or changes what no entry asks for.
    fn nobody(&self) -> By {
        By::Origin(Stamp { writer: self.writer(), seq: 0, time: 0 })
    }

    /// The secret that signs `writer`'s entries, if this device has it: one of its own, or an open database's founder's.
    fn secret_of(&self, writer: &WriterKey) -> Option<SigningKey> {
        if let Some(secret) = self.state.keys.secret_of(writer) {
            return Some(secret.clone());
        }
        let is_open = self.engine.identity.genesis.admission == crate::entry::Admission::Open;
        (is_open && *writer == self.engine.identity.genesis.founder)
            .then(|| founder_secret(&self.engine.identity.key))
    }

    /// Runs `work` with the view open for writing and everything that applying the entry of this number needs.
    fn with_view<T>(
        &mut self,
        entry: u64,
        by: &By,
        work: impl FnOnce(&mut ViewWriter<'_, '_>, &mut Applier<'_>) -> Result<T>,
    ) -> Result<T> {
        let clocks = &self.tables.clocks;
        let known = |writer: &WriterKey| match by {
            By::Entry { place, .. } => clocks.known(place, writer),
            By::Origin(_) => Ok(u64::MAX),
        };
        let author = match by {
            By::Entry { place: LogPlace { writer, seq, .. }, time } => {
                Author::of_entry(Stamp { writer: *writer, seq: *seq, time: *time }, &known)
            }
            By::Origin(stamp) => Author::at_origin(*stamp),
        };
        let mut applier = Applier {
            database: &self.engine.id,
            genesis: &self.engine.identity.genesis,
            catalog: &mut self.state.catalog,
            author,
            observer: &*self.engine.observer,
            skipped: false,
        };
        let mut view = ViewWriter::new(&mut self.tables.view, &mut self.tables.undo, entry);
        work(&mut view, &mut applier)
    }

    /// Closes the run being appended and writes what has to be kept.
    fn finish(&mut self) -> Result<()> {
        self.sign_run()?;
        self.store_fresh_undo()?;
        self.cut_gaps()?;
        self.flush_changes()?;
        self.keep_meanwhile()?;
        self.state.at_hand = AtHand::default();
        self.state.keep(&mut self.tables)
    }
}

fn poisoned() -> Error {
    Error::new(ErrorKind::Unavailable, "the storage failed earlier: reopen the database")
}
