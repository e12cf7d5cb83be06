//! Transactions: reads from one snapshot and writes over several collections that take effect together, as one entry, or
//! not at all.

mod run;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use db_index::Filter;

use crate::collection::{Collection, Opened, RawCursor, ReadConcern};
use crate::database::Database;
use crate::driver::now_ms;
use crate::engine::{Draft, Moment, Reply, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::query::witness::Aspect;
use crate::query::{FindOptions, Stop};
use crate::view::ViewSnapshot;
use crate::write::Write;

pub(crate) use crate::engine::at_hand;
pub use run::{MajorityTransaction, RunTransaction};

/// MongoDB's `NoSuchTransaction`.
const NO_SUCH_TRANSACTION: i32 = 251;
/// MongoDB's `InvalidOptions`.
const INVALID_OPTIONS: i32 = 72;

/// What a transaction may say besides what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "options do nothing until they are given to a transaction"]
pub struct TransactionOptions {
    read_concern: ReadConcern,
    attempts_max: u32,
    timeout: Option<Duration>,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { read_concern: ReadConcern::Local, attempts_max: 16, timeout: None }
    }
}

impl TransactionOptions {
    /// Whether the snapshot holds everything that this peer holds (the default), or what is confirmed only.
    pub fn read_concern(self, read_concern: ReadConcern) -> Self {
        Self { read_concern, ..self }
    }

    /// How many times the closure is run at the most, if what it read has changed each time: 16 unless said otherwise.
    pub fn attempts_max(self, attempts_max: u32) -> Self {
        Self { attempts_max, ..self }
    }

    /// After which time the closure is not run again.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

/// A transaction that is open. Cheap to clone; all clones are one transaction.
///
/// What is read and written through its collections sees one snapshot and the transaction's own writes. Nothing is seen
/// outside of it, logged or sent before it is committed. An error of a read or write inside of it aborts it, as in MongoDB: what
/// is called then fails with `NoSuchTransaction` (251).
///
/// It holds its snapshot until it is committed, aborted or dropped: one that stays open keeps the file from reusing space.
#[derive(Clone)]
pub struct Transaction {
    open: Arc<Open>,
}

struct Open {
    database: Database,
    /// None once it has ended.
    draft: Mutex<Option<Draft>>,
}

impl Database {
    /// Begins a transaction, to be committed or aborted by the caller. [`Database::transaction`] does both, and tries again
    /// where others have changed what was read.
    ///
    /// # Errors
    /// `Unavailable` if the database is closed.
    pub fn begin_transaction(&self, options: TransactionOptions) -> Result<Transaction> {
        let base = self.view_at(options.read_concern, &Stop::default())?;
        let draft = Draft::new(base, self.genesis().clone(), self.writer());
        Ok(Transaction { open: Arc::new(Open { database: self.clone(), draft: Mutex::new(Some(draft)) }) })
    }
}

impl Transaction {
    /// The collection called `name`, read and written in this transaction. Collections are created by inserting into them;
    /// other changes of collections and indexes fail with `OperationNotSupportedInTransaction` (263).
    pub fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.open.database.collection(name).within(self.clone())
    }

    /// Commits: when the write returns, all of the transaction is durable on this device, as one entry.
    ///
    /// It fails with `WriteConflict` (112) and the label [`crate::TRANSIENT_TRANSACTION_ERROR`] if what it read has been
    /// changed since: then nothing is written, and it may succeed if it is made again. At its final place in the order of all
    /// peers it is tested once more; its receipt tells what became of it. One that wrote nothing logs nothing.
    pub fn commit(&self) -> Write<()> {
        let request = self.lock().take().map(Draft::into_request).ok_or_else(ended);
        self.open.database.write(request, |_| Ok(()))
    }

    /// Ends the transaction; nothing of it is kept. One that has ended stays as it is.
    pub fn abort(&self) {
        self.lock().take();
    }

    /// Whether it can still be read, written and committed. It does not wait for a call that is being carried out in it.
    pub fn is_open(&self) -> bool {
        match self.open.draft.try_lock() {
            Ok(draft) => draft.is_some(),
            Err(TryLockError::Poisoned(draft)) => draft.into_inner().is_some(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    /// The database that it belongs to.
    pub fn database(&self) -> &Database {
        &self.open.database
    }

    /// What a read of this concern sees now.
    pub(crate) fn view_at(&self, concern: ReadConcern) -> Result<ViewSnapshot> {
        if concern != ReadConcern::Local {
            return Err(
                Error::invalid("a read concern is for the whole transaction").with_code(INVALID_OPTIONS)
            );
        }
        self.lock().as_mut().map(Draft::view).ok_or_else(ended)
    }

    /// Tries a write.
    pub(crate) fn write(&self, request: Request) -> Result<Reply> {
        let moment = Moment { now_ms: now_ms(), ..Moment::default() };
        let mut draft = self.lock();
        let reply = draft.as_mut().ok_or_else(ended)?.write(request, &moment);
        if reply.as_ref().map_or(true, |reply| !reply.outcome.rejected.is_empty()) {
            *draft = None;
        }
        reply
    }

    /// The documents of a find; what it has found is noted.
    pub(crate) fn find(&self, name: &str, find: &FindOptions) -> Result<RawCursor> {
        let found = self.with_draft(|draft| draft.find(name, find))?;
        Ok(RawCursor::new(found.into_iter().map(Ok)))
    }

    /// Notes what a read of this kind sees.
    pub(crate) fn note(&self, name: &str, opened: &Opened, find: &FindOptions, aspect: Aspect) -> Result<()> {
        let compiled =
            find.compile(opened.as_ref().map(|(_, meta)| &**meta)).inspect_err(|_| self.abort())?;
        self.note_filter(name, &compiled.filter, aspect)
    }

    /// Notes what is seen of the documents that match.
    pub(crate) fn note_filter(&self, name: &str, filter: &Filter, aspect: Aspect) -> Result<()> {
        self.with_draft(|draft| draft.note_search(name, filter, aspect))
    }

    fn with_draft<R>(&self, work: impl FnOnce(&mut Draft) -> Result<R>) -> Result<R> {
        let mut draft = self.lock();
        let done = draft.as_mut().ok_or_else(ended).and_then(work);
        if done.is_err() {
            *draft = None;
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Option<Draft>> {
        self.open.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("database", &self.open.database.name())
            .field("is_open", &self.is_open())
            .finish()
    }
}

fn ended() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the transaction has ended: it was committed, aborted, or a call in it failed",
    )
    .with_code(NO_SUCH_TRANSACTION)
}
