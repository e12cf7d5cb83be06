//! What a running peer consists of, and how the services reach it: the store, the peers, and the bounds on how much is
//! asked of them at once.

use std::sync::Arc;
use std::time::Duration;

use bson::RawDocumentBuf;
use db_core::{Collection, Database, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::error::{CliError, from_engine, status};
use crate::peering::Peering;
use crate::transactions::OpenTransactions;

/// How many reads are carried out at once; further ones wait. Writes wait in the engine's own queue.
pub(crate) const CALLS_MAX: usize = 64;

/// How many finds may be streaming at once: each holds a snapshot.
const CURSORS_MAX: usize = 256;

/// How many clients may be watching at once, each with a stream that has no end of its own.
const WATCHERS_MAX: usize = 256;

/// How long a call waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

/// What a read sees, and so whether it may have to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sees {
    /// What is there at all times: what is confirmed, the past, a transaction.
    Settled,
    /// What this peer holds, for which it waits until then at the most; none: for as long as it takes.
    Present { until: Option<Instant> },
}

/// A running peer.
#[derive(Clone)]
pub(crate) struct Node {
    store: Store,
    peering: Peering,
    calls: Arc<Semaphore>,
    cursors: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    transactions: OpenTransactions,
    /// Whether nobody is to wait for others any more.
    stopping: watch::Sender<bool>,
}

impl Node {
    /// A peer with this store, which meets others through `peering`.
    pub(crate) fn new(store: Store, peering: Peering) -> Self {
        let bound = |count| Arc::new(Semaphore::new(count));
        Self {
            store,
            peering,
            calls: bound(CALLS_MAX),
            cursors: bound(CURSORS_MAX),
            watchers: bound(WATCHERS_MAX),
            transactions: OpenTransactions::default(),
            stopping: watch::Sender::default(),
        }
    }

    /// How others are met.
    pub(crate) fn peering(&self) -> &Peering {
        &self.peering
    }

    /// Does blocking work away from the async threads, when its turn comes.
    ///
    /// # Errors
    /// What the work gives; `RESOURCE_EXHAUSTED` if its turn does not come in time.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: FnOnce(&Store) -> Result<T, Status> + Send + 'static,
    {
        let turn = tokio::time::timeout(TURN_PATIENCE, Arc::clone(&self.calls).acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            return Err(busy("the server has more calls than it can carry out: try again later"));
        };
        let store = self.store.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let _turn = turn; // held until the work ends, even if nobody waits for it any more
            work(&store)
        });
        outcome
            .await
            .unwrap_or_else(|_| Err(Status::internal("the call failed: this is a fault of the server")))
    }

    /// The database of that name.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is none; otherwise as [`Node::run`].
    pub(crate) async fn database(&self, name: String) -> Result<Database, Status> {
        self.run(move |store| store.database(&name).map_err(from_engine)).await
    }

    /// A collection of a database, which need not exist.
    ///
    /// # Errors
    /// As [`Node::database`].
    pub(crate) async fn collection(
        &self,
        database: String,
        name: &str,
    ) -> Result<Collection<RawDocumentBuf>, Status> {
        Ok(self.database(database).await?.collection(name))
    }

    /// Reads from a database.
    ///
    /// # Errors
    /// As [`Node::database`], and what the reading gives.
    pub(crate) async fn read<T, W>(&self, database: String, work: W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: FnOnce(&Database) -> db_core::Result<T> + Send + 'static,
    {
        self.run(move |store| {
            store.database(&database).and_then(|database| work(&database)).map_err(from_engine)
        })
        .await
    }

    /// Reads what readers see of a database. Where they see nothing yet, since a backlog has to be put in order before, it waits
    /// without taking the place of others that need not.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub(crate) async fn read_view<T, W>(&self, database: String, sees: Sees, work: W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: FnOnce(&Database) -> db_core::Result<T> + Send + 'static,
    {
        let read = self.run(move |store| {
            let database = store.database(&database).map_err(from_engine)?;
            Ok(match sees {
                Sees::Present { until } if !database.is_readable() => Err((database, until, work)),
                _ => Ok(work(&database).map_err(from_engine)?),
            })
        });
        let (database, until, work) = match read.await? {
            Ok(done) => return Ok(done),
            Err(has_to_wait) => has_to_wait,
        };
        match until {
            // Whoever waits no more is told so by its own time limit.
            Some(until) => tokio::time::timeout_at(until, database.until_readable()).await.unwrap_or(()),
            None => database.until_readable().await,
        }
        self.run(move |_| work(&database).map_err(from_engine)).await
    }

    /// Opens, creates or joins a database, and meets its peers from now on.
    ///
    /// # Errors
    /// What the work gives.
    pub(crate) async fn hold<W>(&self, open: W) -> Result<Database, Status>
    where
        W: FnOnce(&Store) -> db_core::Result<Database> + Send + 'static,
    {
        let database = self.run(|store| open(store).map_err(from_engine)).await?;
        self.peering.hold(&database);
        Ok(database)
    }

    /// Every database of the store, opened, by name.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub(crate) async fn databases(&self) -> Result<Vec<Database>, Status> {
        self.run(|store| {
            let names = store.database_names().map_err(from_engine)?;
            names.iter().map(|name| store.database(name).map_err(from_engine)).collect()
        })
        .await
    }

    /// The right to keep a cursor open.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if as many are open as may be.
    pub(crate) fn cursor_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.cursors)
            .try_acquire_owned()
            .map_err(|_| busy("too many finds are streaming at once: try again later"))
    }

    /// The right to watch for as long as the client likes.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if as many are watching as may be.
    pub(crate) fn watcher_permit(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.watchers)
            .try_acquire_owned()
            .map_err(|_| busy("too many clients are watching at once: try again later"))
    }

    /// The transactions that clients have open.
    pub(crate) fn transactions(&self) -> &OpenTransactions {
        &self.transactions
    }

    /// Lets no call wait any longer for what other peers do: the server stops.
    pub(crate) fn end_waits(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until calls are not to wait for what other peers do.
    pub(crate) async fn waits_end(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as this.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Leaves the peers and closes the store.
    ///
    /// # Errors
    /// If closing fails.
    pub(crate) async fn stop(&self) -> Result<(), CliError> {
        self.transactions.end();
        self.peering.stop().await;
        let store = self.store.clone();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(|_| CliError::Incomplete("the store did not close".into()))
    }
}

fn busy(message: &str) -> Status {
    status(Code::ResourceExhausted, "BUSY", message, None, &[])
}
