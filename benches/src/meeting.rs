//! Peers that meet over a stream in memory: what a newcomer takes, and what two branches written apart cost.

use std::time::{Duration, Instant};

use bson::RawDocumentBuf;
use db_core::{Collection, ConnectionMonitor, ConnectionOptions, Database, Status, Store, run_connection};

use crate::{CombDb, Film};

/// A newcomer that took everything.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// From the connection to the last entry applied.
    pub time: Duration,
    /// How many times an entry was applied to its view.
    pub applied: u64,
}

/// Two writers that wrote apart and met.
#[derive(Debug, Clone, Copy)]
pub struct Meeting {
    /// How many entries both have in the end.
    pub entries: u64,
    /// From the connection to equal views.
    pub time: Duration,
    /// How many times an entry was applied to a view, on both, from the first write on.
    pub applied: u64,
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
    link.abort();
    Arrival { time, applied: status.applied }
}

/// Two peers in memory insert half of the films each, one film an entry, and then meet.
///
/// # Panics
/// If the peers do not come to agree.
pub async fn meet(films: &[Film]) -> Meeting {
    let (one, other) = (Store::in_memory().expect("a store"), Store::in_memory().expect("a store"));
    let (a, b) =
        (one.open_topic("films").expect("a database"), other.open_topic("films").expect("a database"));
    let (of_a, of_b) = films.split_at(films.len() / 2);
    tokio::join!(write(&a, of_a), write(&b, of_b));
    let entries = films.len() as u64;
    let begin = Instant::now();
    let link = connect(&a, &b).await;
    let (at_a, at_b) = tokio::join!(settled(&a, entries), settled(&b, entries));
    let time = begin.elapsed();
    assert_eq!(a.view_digest().expect("a digest"), b.view_digest().expect("a digest"), "the views differ");
    link.abort();
    Meeting { entries, time, applied: at_a.applied + at_b.applied }
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

async fn connect(a: &Database, b: &Database) -> tokio::task::JoinHandle<()> {
    let (one, other) = tokio::io::duplex(1 << 20);
    let of_a = a.connect_peer([1; 32], true).await.expect("a link");
    let of_b = b.connect_peer([1; 32], false).await.expect("a link");
    tokio::spawn(async move {
        let (options, monitor) = (ConnectionOptions::default, ConnectionMonitor::default);
        let (a, b) = tokio::join!(
            run_connection(one, of_a, options(), monitor()),
            run_connection(other, of_b, options(), monitor()),
        );
        a.and(b).expect("a connection");
    })
}
