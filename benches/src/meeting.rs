//! Peers that meet over a stream in memory: what a newcomer takes, what branches written apart cost, and one late entry.

use std::time::{Duration, Instant};

use bson::RawDocumentBuf;
use db_core::{Collection, ConnectionMonitor, ConnectionOptions, Database, Status, Store, run_connection};

use tokio::task::JoinSet;

use crate::{CombDb, Film, memory};

/// A newcomer that took everything.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// From the connection to the last entry applied.
    pub time: Duration,
    /// How many times an entry was applied to its view.
    pub applied: u64,
}

/// Writers that wrote apart and met.
#[derive(Debug, Clone, Copy)]
pub struct Meeting {
    /// How many entries all have in the end.
    pub entries: u64,
    /// From the first connection to equal views.
    pub time: Duration,
    /// How many times an entry was applied to a view, from the first write on: the mean of all peers.
    pub applied: f64,
    /// The same of the peer that applied the most.
    pub applied_most: u64,
    /// What all connections have carried, in both directions.
    pub bytes: u64,
}

/// A peer that had to put one entry of another's before many of its own.
#[derive(Debug, Clone, Copy)]
pub struct Reorder {
    /// From the connection to the view in the new order.
    pub time: Duration,
    /// How many entries were undone.
    pub undone: u64,
    /// How many were applied, the newcomer among them.
    pub applied: u64,
}

/// What coming to hold everything has taken a peer with a store on the disk.
#[derive(Debug, Clone, Copy)]
pub struct Coming {
    /// From the connection to the last entry applied, on this peer and on the one that it met.
    pub time: Duration,
    /// How many times an entry was applied to its view, from the first write on.
    pub applied: u64,
    /// The most memory that the process had meanwhile, and what it had when it began, both peers and the films in it, in MiB.
    pub memory_most_mib: u64,
    /// See above.
    pub memory_before_mib: u64,
}

/// How a peer answered its own callers while it took in what another had written apart.
#[derive(Debug, Clone)]
pub struct Liveness {
    /// From the connection to equal views.
    pub time: Duration,
    /// How many times an entry was applied to its view, from the first write on.
    pub applied: u64,
    /// How many entries it has in the end.
    pub entries: u64,
    /// How long its calls took meanwhile, ascending: inserts of one document, each after the one before.
    pub writes: Vec<Duration>,
    /// The same of reads by `_id`.
    pub reads: Vec<Duration>,
    /// The most memory that the process has used, in MiB; 0 where the system does not tell.
    pub memory_most_mib: u64,
}

/// One peer inserts all films, one an entry, and another takes them: each is applied once on both.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn come_once(films: &[Film]) -> Coming {
    come(films, films.len()).await
}

/// Two peers insert half of the films each, one an entry, and meet.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn come_together(films: &[Film]) -> Coming {
    come(films, films.len() / 2).await
}

/// The first of two peers with stores on the disk inserts so many of the films, the other the rest, and they meet.
async fn come(films: &[Film], of_first: usize) -> Coming {
    let two = Apart::written(films, of_first).await;
    memory::forget_peak();
    let memory_before_mib = memory::resident_mib();
    let entries = films.len() as u64;
    let begin = Instant::now();
    let link = connect(&two.a, &two.b).await;
    let (_, status) = tokio::join!(settled(&two.a, entries), settled(&two.b, entries));
    let time = begin.elapsed();
    let memory_most_mib = memory::peak_mib();
    agree(&two.a, &two.b);
    link.close();
    Coming { time, applied: status.applied, memory_most_mib, memory_before_mib }
}

/// Two peers in stores on the disk insert half of the films each, one an entry, and meet; one of them goes on writing and reading. If
/// the other is the `indexer`, all that it has written is confirmed by then, and goes before what the one has.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn live(films: &[Film], indexer: bool) -> Liveness {
    let two = Apart::written(films, films.len() / 2).await;
    let (a, b) = (&two.a, &two.b);
    if indexer {
        b.set_indexers(vec![b.writer()]).await.expect("an indexer");
        let has_confirmed = |status: &Status| status.confirmed as usize >= films.len() / 2;
        b.wait_for(has_confirmed).await.expect("what it has written is confirmed");
    }
    let begin = Instant::now();
    let link = connect(a, b).await;
    let settled_a = {
        let (a, entries) = (a.clone(), films.len() as u64);
        tokio::spawn(async move {
            settled(&a, entries).await;
        })
    };
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let collection: Collection<RawDocumentBuf> = a.collection("films");
    while !settled_a.is_finished() {
        let id = i32::try_from(writes.len()).unwrap_or(i32::MAX) - i32::MAX;
        let begin = Instant::now();
        collection.insert_one(bson::rawdoc! { "_id": id }).await.expect("an insert");
        writes.push(begin.elapsed());
        let begin = Instant::now();
        let found = collection.find_one(bson::doc! { "_id": id }).run().expect("a read");
        assert!(found.is_some(), "a peer sees what it has written");
        reads.push(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let entries = (films.len() + writes.len()) as u64;
    let status = loop {
        let (of_a, of_b) = tokio::join!(settled(a, entries), settled(b, entries));
        // An indexer's acks come on top.
        if of_a.entries == of_b.entries {
            break of_a;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let time = begin.elapsed();
    agree(a, b);
    link.close();
    writes.sort_unstable();
    reads.sort_unstable();
    let memory_most_mib = memory::peak_mib();
    Liveness { time, applied: status.applied, entries, writes, reads, memory_most_mib }
}

/// Two peers with stores on the disk that have written apart.
struct Apart {
    a: Database,
    b: Database,
    /// Dropped after the databases.
    _stores: [Store; 2],
    _directory: tempfile::TempDir,
}

impl Apart {
    /// The first has inserted so many of the films, the other the rest, one an entry.
    async fn written(films: &[Film], of_first: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let open = |name: &str| {
            let store = Store::open(directory.path().join(name)).expect("a store");
            let database = store.open_topic("films").expect("a database");
            (store, database)
        };
        let ((one, a), (other, b)) = (open("a"), open("b"));
        let (of_a, of_b) = films.split_at(of_first);
        tokio::join!(write(&a, of_a), write(&b, of_b));
        Self { a, b, _stores: [one, other], _directory: directory }
    }
}

fn agree(a: &Database, b: &Database) {
    assert_eq!(a.view_digest().expect("a digest"), b.view_digest().expect("a digest"), "the views differ");
}

/// A fresh peer with a store on the disk takes the `entries` that `origin` has.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn arrive(origin: &CombDb, entries: u64) -> Arrival {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(directory.path().join("store")).expect("a store");
    let newcomer = store.join(&origin.database().ticket(Vec::new())).expect("a member");
    settled(origin.database(), entries).await;
    let begin = Instant::now();
    let link = connect(origin.database(), &newcomer).await;
    let status = settled(&newcomer, entries).await;
    let time = begin.elapsed();
    link.close();
    Arrival { time, applied: status.applied }
}

/// How many entries peers that meet hold in memory altogether, which takes some 6 KiB each; stores of more lie on the disk.
const IN_MEMORY_MAX: usize = 2_100_000;

/// Peers insert an equal share of the films each, one film an entry, and then all connect to the first of them.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn meet(writers: usize, films: &[Film]) -> Meeting {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let store = |number: usize| {
        let is_small = writers * films.len() <= IN_MEMORY_MAX;
        if is_small { Store::in_memory() } else { Store::open(directory.path().join(number.to_string())) }
    };
    let stores: Vec<_> = (0..writers).map(|number| store(number).expect("a store")).collect();
    let peers: Vec<_> = stores.iter().map(|store| store.open_topic("films").expect("a database")).collect();
    let mut writing = JoinSet::new();
    for (peer, share) in peers.iter().zip(films.chunks(films.len().div_ceil(writers))) {
        let (peer, share) = (peer.clone(), share.to_vec());
        writing.spawn(async move { write(&peer, &share).await });
    }
    writing.join_all().await;

    let entries = films.len() as u64;
    let begin = Instant::now();
    let mut links = Vec::new();
    for other in &peers[1..] {
        links.push(connect(&peers[0], other).await);
    }
    let mut settling = JoinSet::new();
    for peer in peers.clone() {
        settling.spawn(async move { settled(&peer, entries).await.applied });
    }
    let applied = settling.join_all().await;
    let time = begin.elapsed();
    let digest = |peer: &Database| peer.view_digest().expect("a digest");
    assert!(peers.iter().all(|peer| digest(peer) == digest(&peers[0])), "the views differ");
    let bytes = links.iter().map(Link::close).sum();
    Meeting {
        entries,
        time,
        applied: applied.iter().sum::<u64>() as f64 / writers as f64,
        applied_most: applied.into_iter().max().unwrap_or_default(),
        bytes,
    }
}

/// A peer in memory inserts all films, one an entry; another inserted one more before the last `depth` of them, and now they meet.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn reorder(films: &[Film], depth: usize) -> Reorder {
    let (one, other) = (Store::in_memory().expect("a store"), Store::in_memory().expect("a store"));
    let (a, b) =
        (one.open_topic("films").expect("a database"), other.open_topic("films").expect("a database"));
    let (late, films) = films.split_first().expect("films");
    let (before, after) = films.split_at(films.len() - depth);
    // The order goes by milliseconds: each part begins in one of its own.
    write(&a, before).await;
    next_millisecond().await;
    write(&b, std::slice::from_ref(late)).await;
    next_millisecond().await;
    write(&a, after).await;
    let before = a.status();
    let begin = Instant::now();
    let link = connect(&a, &b).await;
    let status = settled(&a, before.entries + 1).await;
    let time = begin.elapsed();
    settled(&b, before.entries + 1).await;
    agree(&a, &b);
    link.close();
    Reorder { time, undone: status.undone - before.undone, applied: status.applied - before.applied }
}

async fn next_millisecond() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

async fn write(database: &Database, films: &[Film]) {
    /// As many calls wait at once as share a commit.
    const AT_ONCE: usize = 250;
    let collection: Collection<RawDocumentBuf> = database.collection("films");
    for films in films.chunks(AT_ONCE) {
        let insert = |film: &Film| tokio::spawn(collection.insert_one(&film.document).into_future());
        for insert in films.iter().map(insert).collect::<Vec<_>>() {
            insert.await.expect("a task").expect("an insert");
        }
    }
}

async fn settled(database: &Database, entries: u64) -> Status {
    database
        .wait_for(|status| status.entries >= entries && status.unordered == 0)
        .await
        .expect("the database is open")
}

/// Two peers that are connected.
struct Link {
    task: tokio::task::JoinHandle<()>,
    ends: [ConnectionMonitor; 2],
}

impl Link {
    /// Ends the connection; gives how many bytes it has carried.
    fn close(&self) -> u64 {
        self.task.abort();
        self.ends.iter().map(ConnectionMonitor::bytes_sent).sum()
    }
}

async fn connect(a: &Database, b: &Database) -> Link {
    let (one, other) = tokio::io::duplex(1 << 20);
    let of_a = a.connect_peer([1; 32], true).await.expect("a link");
    let of_b = b.connect_peer([1; 32], false).await.expect("a link");
    let ends = [ConnectionMonitor::default(), ConnectionMonitor::default()];
    let [at_a, at_b] = ends.clone();
    let task = tokio::spawn(async move {
        // A peer that puts much in order greets nobody meanwhile, and would be dialled again later.
        let handshake_timeout = Duration::from_mins(10);
        let options = || ConnectionOptions { handshake_timeout, ..ConnectionOptions::default() };
        let (a, b) = tokio::join!(
            run_connection(one, of_a, options(), at_a),
            run_connection(other, of_b, options(), at_b),
        );
        a.and(b).expect("a connection");
    });
    Link { task, ends }
}
