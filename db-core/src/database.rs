//! A database: the handle that programs hold.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::ReadableDatabase;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::apply::IndexBuild;
use crate::collection::{Collection, ReadConcern};
use crate::driver::published::Published;
use crate::driver::worker::{self, Command};
use crate::driver::{PeerInput, PeerLink, PeerStatus, Peers, Room};
use crate::engine::{Engine, EngineStatus, Reply, Request};
use crate::entry::Genesis;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{DatabaseId, DatabaseKey, EntryHash, Topic, WriterKey};
use crate::limits;
use crate::past::Replays;
use crate::peer_address::PeerAddress;
use crate::query::Stop;
use crate::storage::{self, Identity, LogSnapshot};
use crate::ticket::Ticket;
use crate::view::shared_catalog::SharedCatalog;
use crate::view::{ViewSnapshot, catalog, digest};
use crate::write::Write;

/// A replicated database. Cheap to clone; all clones are one database.
///
/// Reads run on snapshots in the caller's thread and are never blocked; but where the process was killed while it was ordering
/// what peers had sent, they wait after it was opened again until that is done, since they would miss what they had seen: those
/// of the concern majority do not. Writes go to the one thread that owns the database's engine: await them, or block with
/// `run()`.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    id: DatabaseId,
    identity: Identity,
    /// None once the database is closed.
    file: RwLock<Option<Arc<redb::Database>>>,
    commands: mpsc::Sender<Command>,
    published: Arc<Published>,
    catalog: SharedCatalog,
    /// For the frames of all peers.
    room: Arc<Semaphore>,
    /// The past states that are made from the logs.
    replays: Arc<Replays>,
    /// Whose turn it is among transactions that have met conflicts again and again.
    turn: Arc<tokio::sync::Mutex<()>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        stop(&self.commands);
        if thread.join().is_err() {
            tracing::error!(database = self.name, "the database's thread has panicked");
        }
        self.published.close(None);
        self.file.write().unwrap_or_else(PoisonError::into_inner).take();
        self.replays.clear();
    }
}

/// How far a database has come on this peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// How many entries are stored.
    pub entries: u64,
    /// How many of them are confirmed: their place in the order can never change.
    pub confirmed: u64,
    /// How many are ordered and applied beyond those, at places that can still change.
    pub tail: u64,
    /// How many are stored and not yet ordered.
    pub unordered: u64,
    /// The number of the epoch.
    pub epoch: u64,
    /// The writers whose entries vote in this epoch, ascending.
    pub indexers: Vec<WriterKey>,
    /// The writers that have signed two entries for one place of their logs.
    pub forked: Vec<WriterKey>,
    /// How many times an entry was applied to the view since the database was opened.
    pub applied: u64,
    /// How many times an entry was undone since the database was opened.
    pub undone: u64,
    /// Whether a peer has shown that this device has written entries which its store does not hold: it was restored from a
    /// backup, or copied. Writes are refused until they have been fetched, or the device goes on with another key. Then it is still
    /// so as long as the old key is an indexer, whose vote is missed until the entries have come or
    /// [are given up](crate::Database::give_up_own_entries).
    pub misses_own_entries: bool,
    /// Indexers that were found to have forked their logs, ascending: what they have confirmed may be confirmed otherwise
    /// elsewhere. An alarm, which stays after their votes have been taken from them.
    pub alarms: Vec<WriterKey>,
    /// The key of the log that this device appends to.
    pub writer: WriterKey,
}

impl From<EngineStatus> for Status {
    fn from(status: EngineStatus) -> Self {
        Self {
            entries: status.entries,
            confirmed: status.confirmed,
            tail: status.tail,
            unordered: status.unordered,
            epoch: status.epoch,
            indexers: status.indexers,
            forked: status.forked,
            applied: status.applied,
            undone: status.undone,
            misses_own_entries: status.misses_own_entries,
            alarms: status.alarms,
            writer: status.writer,
        }
    }
}

impl Database {
    /// Starts the thread of a database whose file was opened; past states may be made in `directory`, else in memory.
    pub(crate) fn start(
        name: &str,
        file: Arc<redb::Database>,
        identity: Identity,
        engine: Engine,
        directory: Option<PathBuf>,
        change_history: u64,
    ) -> Result<Self> {
        let id = identity.genesis.database_id(&identity.key);
        let writer = engine.writer();
        let published = Arc::new(Published::new(&engine)?);
        published.changes_bytes.store(change_history, Ordering::Relaxed);
        let (commands, inbox) = mpsc::channel(limits::COMMAND_QUEUE_MAX);
        let peers = Peers::new(Arc::clone(&file), id, identity.key.clone(), writer, engine.replaced_keys());
        let to_publish = Arc::clone(&published);
        let thread = std::thread::Builder::new()
            .name(format!("combdb-{name}"))
            .spawn(move || worker::run(engine, inbox, peers, to_publish))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot start a thread").with_source(error)
            })?;
        let replays = Replays::new(directory);
        Ok(Self::with(name, file, identity, published, commands, replays, Some(thread)))
    }

    /// A handle on a database whose engine somebody else runs and publishes: it reads and watches. Writes fail as if it were
    /// closed.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(
        name: &str,
        file: Arc<redb::Database>,
        identity: Identity,
        published: Arc<Published>,
    ) -> Self {
        let (commands, _) = mpsc::channel(1);
        Self::with(name, file, identity, published, commands, Replays::new(None), None)
    }

    fn with(
        name: &str,
        file: Arc<redb::Database>,
        identity: Identity,
        published: Arc<Published>,
        commands: mpsc::Sender<Command>,
        replays: Arc<Replays>,
        thread: Option<JoinHandle<()>>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                id: identity.genesis.database_id(&identity.key),
                identity,
                file: RwLock::new(Some(file)),
                commands,
                published,
                catalog: SharedCatalog::default(),
                room: Room::of_all(),
                replays,
                turn: Arc::default(),
                thread: Mutex::new(thread),
            }),
        }
    }

    /// What the database is called in its store.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The database's public identity, the same on every peer.
    pub fn id(&self) -> DatabaseId {
        self.shared.id
    }

    /// The secret that members share.
    pub fn key(&self) -> &DatabaseKey {
        &self.shared.identity.key
    }

    /// What the database is from its first moment.
    pub fn genesis(&self) -> &Genesis {
        &self.shared.identity.genesis
    }

    /// The topic on which the database's peers meet.
    pub fn topic(&self) -> Topic {
        self.key().topic()
    }

    /// The key of this device's log: the present one, see [`Database::rotate_key`].
    pub fn writer(&self) -> WriterKey {
        self.shared.published.status.borrow().writer
    }

    /// All keys under which this device has written here, the present one first. It has several after
    /// [`rotate_key`](Database::rotate_key).
    pub fn own_keys(&self) -> Vec<WriterKey> {
        let status = self.shared.published.status.borrow();
        std::iter::once(&status.writer).chain(&status.replaced_keys).copied().collect()
    }

    /// A ticket that lets its holder read and replicate, with peers to begin with.
    pub fn ticket(&self, addresses: Vec<PeerAddress>) -> Ticket {
        Ticket {
            key: self.key().clone(),
            genesis: self.genesis().clone(),
            name: self.name().to_owned(),
            addresses,
        }
    }

    /// The collection called `name`, whose documents are `T`s; it need not exist. `bson::Document` or
    /// `bson::RawDocumentBuf` take any document.
    pub fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        Collection::new(self.clone(), name)
    }

    /// The names of the collections, ascending, those of the system included.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn list_collection_names(&self) -> Result<Vec<String>> {
        catalog::collection_names(&self.view(&Stop::default())?)
    }

    /// Creates a collection; the first insert into one that does not exist does so too.
    pub fn create_collection(&self, name: &str) -> Write<()> {
        self.plain_write(Request::CreateCollection {
            collection: name.to_owned(),
            options: catalog::CollectionOptions::default(),
        })
    }

    /// How far the database has come on this peer.
    pub fn status(&self) -> Status {
        self.shared.published.status.borrow().clone().into()
    }

    /// Whether reads of the concern local need not wait. They do where the process has ended while a backlog was being ordered,
    /// until all of that is ordered; those of the concern majority do not.
    pub fn is_readable(&self) -> bool {
        self.shared.published.has_begun()
    }

    /// Waits until [reads need not wait](Database::is_readable), or the database is closed.
    pub async fn until_readable(&self) {
        self.shared.published.begun().await;
    }

    /// Waits until the status satisfies `condition`, and gives it.
    ///
    /// # Errors
    /// `Unavailable` if the database is closed first.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Status) -> bool) -> Result<Status> {
        let mut status = self.shared.published.status.subscribe();
        let reached = async {
            let reached = status.wait_for(|status| condition(&status.clone().into())).await;
            reached.map(|status| Status::from(status.clone())).map_err(|_| closed())
        };
        tokio::select! {
            biased;
            reached = reached => reached,
            () = self.shared.commands.closed() => Err(closed()),
        }
    }

    /// How often this peer looks for documents that TTL indexes say have expired; a minute unless said otherwise.
    ///
    /// Expiry is logged like any delete, so that all peers agree. Of a database with indexers the first of them that is
    /// connected (or was heard of lately) logs it; of an open database that nobody has founded, the peer that created the
    /// index.
    pub fn set_expiry_interval(&self, interval: Duration) {
        let millis = interval.as_millis().try_into().unwrap_or(u64::MAX);
        self.shared.published.expiry_interval_ms.store(millis, Ordering::Relaxed);
        // Where the queue is full the thread is awake, and plans anew when it is done.
        let _ = self.shared.commands.try_send(Command::Wake);
    }

    /// How long this peer, as an indexer, waits for the word of another one that is away or says nothing while something is to be
    /// confirmed; ten seconds unless said otherwise. After that it goes on with a majority of the others. Nothing depends on it but
    /// how soon writes are confirmed, and by how many acks.
    pub fn set_indexer_patience(&self, patience: Duration) {
        let millis = patience.as_millis().try_into().unwrap_or(u64::MAX);
        self.shared.published.patience_ms.store(millis, Ordering::Relaxed);
        // Where the queue is full the thread is awake, and plans anew when it is done.
        let _ = self.shared.commands.try_send(Command::Wake);
    }

    /// Whose turn it is among transactions that have met conflicts again and again: whoever holds this.
    pub(crate) fn turn(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.shared.turn
    }

    /// What the database's thread lets others see.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.shared.published
    }

    /// Tells of each commit.
    pub(crate) fn commits(&self) -> watch::Receiver<EngineStatus> {
        self.shared.published.status.subscribe()
    }

    /// The index that is being built now on this peer, and how far that has come. Reads go on meanwhile; writes wait.
    pub fn index_build(&self) -> Option<IndexBuild> {
        self.shared.published.index_build.borrow().clone()
    }

    /// Tells of the index that is being built, as it goes on.
    pub fn watch_index_build(&self) -> watch::Receiver<Option<IndexBuild>> {
        self.shared.published.index_build.subscribe()
    }

    /// The peers that are connected now.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let peers = self.shared.published.peers.lock();
        peers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A digest of the whole view: equal on peers with equal entries. Reads everything.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn view_digest(&self) -> Result<[u8; 32]> {
        digest::digest(&self.view(&Stop::default())?)
    }

    /// The hashes of the confirmed entries in their order, from position `from`, at most `limit`.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn confirmed_order(&self, from: u64, limit: u64) -> Result<Vec<EntryHash>> {
        let confirmed = self.status().confirmed;
        let transaction = self.begin_read()?;
        let log = LogSnapshot::open(&transaction, self.id())?;
        let numbers = storage::order_snapshot(&transaction, from, confirmed.min(from.saturating_add(limit)))?;
        numbers
            .into_iter()
            .filter_map(|number| log.record(number).transpose())
            .map(|record| Ok(record?.hash))
            .collect()
    }

    /// Begins a session with a peer over a connection that the caller carries: see [`crate::run_connection`].
    ///
    /// `binding` names the connection, equal at both ends and on no other; zeros where the transport has no such thing.
    ///
    /// # Errors
    /// `Unavailable` if the database is closed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_peer(&self, binding: [u8; 32], dialer: bool) -> Result<PeerLink> {
        let (link, mut engine_end) = PeerLink::pair(Arc::clone(&self.shared.room));
        let (id_sender, id) = oneshot::channel();
        let connect = Command::Connect { binding, dialer, outputs: engine_end.outputs, id: id_sender };
        self.shared.commands.send(connect).await.map_err(|_| closed())?;
        let id = id.await.map_err(|_| closed())?;
        let commands = self.shared.commands.clone();
        tokio::spawn(async move {
            while let Some(input) = engine_end.inputs.recv().await {
                let is_end = input == PeerInput::Closed;
                if commands.send(Command::Peer { id, input }).await.is_err() || is_end {
                    return;
                }
            }
            let _ = commands.send(Command::Peer { id, input: PeerInput::Closed }).await;
        });
        Ok(link)
    }

    /// Finishes what waits and closes the file. Handles that are left refuse further work.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether the engine's thread has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.commands.is_closed()
    }

    /// A snapshot of everything.
    pub(crate) fn begin_read(&self) -> Result<redb::ReadTransaction> {
        let file = self.shared.file.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(file.ok_or_else(closed)?.begin_read()?)
    }

    /// The past states that are made from the logs.
    pub(crate) fn replays(&self) -> &Arc<Replays> {
        &self.shared.replays
    }

    /// What readers share of the catalog.
    pub(crate) fn catalog(&self) -> &SharedCatalog {
        &self.shared.catalog
    }

    /// The queue of the thread that owns the engine.
    pub(crate) fn commands(&self) -> &mpsc::Sender<Command> {
        &self.shared.commands
    }

    /// The snapshot of the view that the last commit published: whoever reads it opens nothing. Waits where there is none yet,
    /// until `stop` says that it is enough.
    pub(crate) fn view(&self, stop: &Stop) -> Result<ViewSnapshot> {
        self.shared.published.view(stop)
    }

    /// The snapshot that a read of this concern sees.
    pub(crate) fn view_at(&self, concern: ReadConcern, stop: &Stop) -> Result<ViewSnapshot> {
        match concern {
            ReadConcern::Local => self.view(stop),
            ReadConcern::Majority => self.shared.published.confirmed(),
        }
    }

    /// A write that does nothing until it is awaited or run; `finish` makes its result.
    pub(crate) fn write<T>(
        &self,
        request: Result<Request>,
        finish: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Write<T> {
        Write::new(self.clone(), request, finish)
    }

    pub(crate) fn plain_write(&self, request: Request) -> Write<()> {
        self.write(Ok(request), |_| Ok(()))
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name()).field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    /// Who has dropped the last handle finds the file closed, as after [`Database::close`].
    fn drop(&mut self) {
        self.close();
    }
}

/// Tells the thread to end, also where the queue is full: it takes commands until it sees this one.
fn stop(commands: &mpsc::Sender<Command>) {
    let mut command = Command::Stop;
    while let Err(mpsc::error::TrySendError::Full(full)) = commands.try_send(command) {
        command = full;
        std::thread::yield_now();
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the database is closed")
}

pub(crate) fn no_view() -> Error {
    Error::data("the database has no view")
}

#[cfg(feature = "swarm")]
impl crate::swarm::SwarmDatabase for Database {
    fn key(&self) -> DatabaseKey {
        Database::key(self).clone()
    }

    fn connect(&self, channel: crate::swarm::Channel) -> crate::swarm::ConnectFuture<'_> {
        Box::pin(async move { self.connect_peer(channel.binding, channel.dialer).await.ok() })
    }
}
