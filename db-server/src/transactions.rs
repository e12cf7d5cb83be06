//! The transactions that clients have open on this peer: bounded, and ended when they are left alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db_core::Transaction;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::error::status;

/// How many transactions may be open at once: each holds a snapshot, and what it has changed in memory.
const OPEN_MAX: usize = 64;

/// MongoDB's `NoSuchTransaction`.
const NO_SUCH_TRANSACTION: i32 = 251;

/// The transactions that are open. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct OpenTransactions(Arc<Mutex<BTreeMap<String, Held>>>);

struct Held {
    transaction: Transaction,
    used: Instant,
    idle: Duration,
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
            let message = "too many transactions are open on this server: try again later";
            return Err(status(Code::ResourceExhausted, "BUSY", message, None, &[]));
        }
        let name = bson::Uuid::new().to_string();
        open.insert(name.clone(), Held { transaction, used: Instant::now(), idle });
        let (all, watched) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let mut until = Some(Instant::now() + idle);
            while let Some(end) = until {
                tokio::time::sleep_until(end).await;
                until = all.end_if_idle(&watched);
            }
        });
        Ok(name)
    }

    /// The transaction of this name, which is used now.
    ///
    /// # Errors
    /// `NOT_FOUND` (251) if there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Transaction, Status> {
        let mut open = self.lock();
        let held = open.get_mut(name).ok_or_else(unknown)?;
        held.used = Instant::now();
        Ok(held.transaction.clone())
    }

    /// The same; it is not held any more.
    ///
    /// # Errors
    /// As for [`OpenTransactions::find`].
    pub(crate) fn take(&self, name: &str) -> Result<Transaction, Status> {
        self.lock().remove(name).map(|held| held.transaction).ok_or_else(unknown)
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        self.lock().clear();
    }

    /// Ends a transaction that was left alone for too long; else tells when to look again, if it is still there.
    fn end_if_idle(&self, name: &str) -> Option<Instant> {
        let mut open = self.lock();
        let held = open.get(name)?;
        let end = held.used + held.idle;
        if Instant::now() < end {
            return Some(end);
        }
        tracing::info!("a transaction was left alone for {:?}: it is aborted", held.idle);
        // Its last handle but those of calls that are being carried out: it ends with them.
        open.remove(name);
        None
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown() -> Status {
    let message = "there is no such transaction: it was committed or aborted, or left alone for too long";
    status(Code::NotFound, "NO_SUCH_TRANSACTION", message, Some(NO_SUCH_TRANSACTION), &[])
}
