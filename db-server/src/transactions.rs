//! The transactions that clients have open on this peer: bounded, used by one call at a time, and ended when they are left alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::Transaction;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::error::status;

/// How many transactions may be open at once: each holds a snapshot, and what it has changed in memory.
const OPEN_MAX: usize = 64;

/// How many calls may be in a transaction at once: one is carried out, and the others wait for it.
const CALLS_MAX: usize = 32;

/// How long a call waits for those before it.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

/// MongoDB's `NoSuchTransaction`.
const NO_SUCH_TRANSACTION: i32 = 251;

/// The transactions that are open. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct OpenTransactions(Arc<Mutex<BTreeMap<String, Arc<Held>>>>);

struct Held {
    transaction: Transaction,
    idle: Duration,
    /// Whose call it is: the engine lets the others wait too, but in threads.
    turn: Arc<tokio::sync::Mutex<()>>,
    usage: Mutex<Usage>,
}

struct Usage {
    /// How many calls are being carried out in it, or wait.
    calls: usize,
    /// When the last of them ended.
    used: Instant,
}

impl Held {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in a transaction: as long as there is one it is not left alone.
struct Use(Arc<Held>);

impl Use {
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if too many calls are in it already.
    fn begin(held: &Arc<Held>) -> Result<Self, Status> {
        let mut usage = held.usage();
        if usage.calls >= CALLS_MAX {
            return Err(busy(
                "too many calls wait for each other in this transaction: make one after the other",
            ));
        }
        usage.calls += 1;
        Ok(Self(Arc::clone(held)))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.calls = usage.calls.saturating_sub(1);
        usage.used = Instant::now();
    }
}

/// A transaction whose turn it is for one call, which holds this until its work has ended.
pub(crate) struct Turn {
    _turn: OwnedMutexGuard<()>,
    usage: Use,
}

impl Turn {
    /// Waits for the calls before this one, in no thread.
    async fn of(usage: Use) -> Result<Self, Status> {
        let turn = Arc::clone(&usage.0.turn).lock_owned();
        match tokio::time::timeout(TURN_PATIENCE, turn).await {
            Ok(turn) => Ok(Self { _turn: turn, usage }),
            Err(_) => Err(busy("another call in this transaction takes too long: make one after the other")),
        }
    }

    /// The transaction.
    pub(crate) fn transaction(&self) -> &Transaction {
        &self.usage.0.transaction
    }
}

impl OpenTransactions {
    /// Keeps a transaction until it is taken or nobody has used it for a while; gives its name, which nobody can guess.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if as many are open as may be.
    pub(crate) fn hold(&self, transaction: Transaction, idle: Duration) -> Result<String, Status> {
        let mut open = self.lock();
        // One in which a call failed has ended, whether or not its client says so.
        open.retain(|_, held| held.transaction.is_open());
        if open.len() >= OPEN_MAX {
            return Err(busy("too many transactions are open on this server: try again later"));
        }
        let name = bson::Uuid::new().to_string();
        let usage = Mutex::new(Usage { calls: 0, used: Instant::now() });
        open.insert(name.clone(), Arc::new(Held { transaction, idle, turn: Arc::default(), usage }));
        let (all, watched) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let mut until = Some(Instant::now() + idle);
            while let Some(end) = until {
                tokio::time::sleep_until(end).await;
                until = all.end_if_idle(&watched, Instant::now());
            }
        });
        Ok(name)
    }

    /// The transaction of this name, once the calls before this one have ended in it.
    ///
    /// # Errors
    /// `NOT_FOUND` (251) if there is none; `RESOURCE_EXHAUSTED` if too many calls are in it, or one takes too long.
    pub(crate) async fn find(&self, name: &str) -> Result<Turn, Status> {
        let usage = {
            let open = self.lock();
            Use::begin(open.get(name).ok_or_else(unknown)?)?
        };
        let turn = Turn::of(usage).await?;
        // The call before may have ended it.
        if self.lock().contains_key(name) { Ok(turn) } else { Err(unknown()) }
    }

    /// The same; it is not held any more.
    ///
    /// # Errors
    /// As for [`OpenTransactions::find`].
    pub(crate) async fn take(&self, name: &str) -> Result<Turn, Status> {
        let turn = self.find(name).await?;
        self.lock().remove(name);
        Ok(turn)
    }

    /// Ends a transaction: whoever is still carrying out a call in it has the last handle.
    pub(crate) fn abort(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        self.lock().clear();
    }

    /// Ends a transaction that was left alone for too long; else tells when to look again, if it is still there.
    fn end_if_idle(&self, name: &str, now: Instant) -> Option<Instant> {
        let mut open = self.lock();
        let held = open.get(name)?;
        let end = {
            let usage = held.usage();
            let since = if usage.calls > 0 { now } else { usage.used };
            since + held.idle
        };
        if now < end {
            return Some(end);
        }
        tracing::info!("a transaction was left alone for {:?}: it is aborted", held.idle);
        open.remove(name);
        None
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy(message: &str) -> Status {
    status(Code::ResourceExhausted, "BUSY", message, None, &[])
}

fn unknown() -> Status {
    let message = "there is no such transaction: it was committed or aborted, or left alone for too long";
    status(Code::NotFound, "NO_SUCH_TRANSACTION", message, Some(NO_SUCH_TRANSACTION), &[])
}

#[cfg(test)]
mod tests {
    use db_core::{Store, TransactionOptions};

    use super::*;

    const IDLE: Duration = Duration::from_mins(1);

    fn open(transactions: &OpenTransactions) -> (Store, String) {
        let store = Store::in_memory().unwrap();
        let database = store.create_database("t").unwrap();
        let begun = database.begin_transaction(TransactionOptions::default()).unwrap();
        let name = transactions.hold(begun, IDLE).unwrap();
        (store, name)
    }

    #[tokio::test]
    async fn a_transaction_is_not_left_alone_while_a_call_is_carried_out_in_it() {
        let transactions = OpenTransactions::default();
        let (_store, name) = open(&transactions);
        let later = |times: u32| Instant::now() + IDLE * times;
        let call = transactions.find(&name).await.unwrap();
        assert!(transactions.end_if_idle(&name, later(10)).is_some_and(|end| end > later(10)));
        drop(call);
        // From its end on there is a whole pause.
        assert!(transactions.end_if_idle(&name, Instant::now()).is_some_and(|end| end <= later(1)));
        drop(transactions.find(&name).await.expect("the call before took long, and nobody left it alone"));
        assert_eq!(transactions.end_if_idle(&name, later(2)), None);
        assert_eq!(transactions.find(&name).await.err().unwrap().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn calls_in_one_transaction_wait_for_each_other_within_bounds_and_in_no_thread() {
        let transactions = OpenTransactions::default();
        let (_store, name) = open(&transactions);
        let first = transactions.find(&name).await.unwrap();
        let wait = || {
            let (transactions, name) = (transactions.clone(), name.clone());
            tokio::spawn(async move { transactions.find(&name).await.map(drop) })
        };
        // There is one thread: each comes as far as it can before this goes on.
        let waiting: Vec<_> = (1..CALLS_MAX).map(|_| wait()).collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|call| !call.is_finished()));
        assert_eq!(transactions.find(&name).await.err().unwrap().code(), Code::ResourceExhausted);
        drop(first);
        for call in waiting {
            call.await.unwrap().unwrap();
        }
        let commit = transactions.take(&name).await.unwrap();
        assert!(commit.transaction().is_open());
        assert_eq!(transactions.find(&name).await.err().unwrap().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn who_waits_for_a_call_that_ends_the_transaction_is_told_that_there_is_none() {
        let transactions = OpenTransactions::default();
        let (_store, name) = open(&transactions);
        let commit = transactions.take(&name);
        let (commit, other) = tokio::join!(commit, transactions.find(&name));
        assert!(commit.is_ok() && other.is_err_and(|error| error.code() == Code::NotFound));
    }
}
