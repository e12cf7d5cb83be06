//! Databases that meet over byte streams: the whole path from a write on one to a query on another.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::time::Duration;

use bson::{Document, doc};
use db_core::{ConnectionMonitor, ConnectionOptions, Database, ErrorKind, Role, Store, run_connection};
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Connects two databases until the returned task is aborted.
async fn connect(
    a: &Database,
    b: &Database,
) -> tokio::task::JoinHandle<(Result<(), String>, Result<(), String>)> {
    let (one, other) = tokio::io::duplex(1 << 20);
    let binding = [1; 32];
    let (of_a, of_b) =
        (a.connect_peer(binding, true).await.unwrap(), b.connect_peer(binding, false).await.unwrap());
    tokio::spawn(async move {
        let options = ConnectionOptions::default;
        let (a, b) = tokio::join!(
            run_connection(one, of_a, options(), ConnectionMonitor::default()),
            run_connection(other, of_b, options(), ConnectionMonitor::default()),
        );
        (a.map_err(|error| error.to_string()), b.map_err(|error| error.to_string()))
    })
}

/// Waits until the databases hold the same entries, all ordered, with `tail` of them unconfirmed at most.
async fn agree(databases: &[&Database], tail: u64) {
    let reached = timeout(PATIENCE, async {
        loop {
            let most = databases.iter().map(|database| database.status().entries).max().unwrap();
            for database in databases {
                let done = |status: &db_core::Status| {
                    status.entries >= most && status.unordered == 0 && status.tail <= tail
                };
                database.wait_for(done).await.unwrap();
            }
            let digests: Vec<_> = databases.iter().map(|database| database.view_digest().unwrap()).collect();
            let same = databases.iter().all(|database| database.status().entries == most);
            if same && digests.iter().all(|digest| digest == &digests[0]) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    if reached.await.is_err() {
        let statuses: Vec<_> = databases.iter().map(|database| database.status()).collect();
        panic!("no agreement: {statuses:#?}");
    }
}

fn numbers(range: std::ops::Range<i32>) -> Vec<Document> {
    range.map(|n| doc! { "_id": n, "n": n % 7 }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_of_an_open_topic_start_apart_meet_and_confirm() {
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (one.open_topic("films").unwrap(), other.open_topic("films").unwrap());
    a.collection::<Document>("c").insert_many(numbers(0..500)).await.unwrap();
    b.collection::<Document>("c").insert_many(numbers(500..1_000)).await.unwrap();
    a.collection::<Document>("c").create_index(doc! { "n": 1 }).await.unwrap();
    let link = connect(&a, &b).await;
    agree(&[&a, &b], u64::MAX).await;
    assert_eq!(b.collection::<Document>("c").count_documents(doc! { "n": 3 }).run().unwrap(), 143);

    a.set_indexers(vec![a.writer(), b.writer()]).await.unwrap();
    a.collection::<Document>("c").update_one(doc! { "_id": 1 }, doc! { "$set": { "x": 1 } }).await.unwrap();
    // What is left in the end are acks at most: they ask for no ack of their own.
    let quiet = timeout(PATIENCE, a.wait_for(|status| status.epoch == 1 && status.confirmed >= 5)).await;
    assert!(quiet.is_ok(), "{:?} {:?}", a.status(), b.status());
    agree(&[&a, &b], 8).await;
    let order = a.confirmed_order(0, 1_000).unwrap();
    assert!(b.confirmed_order(0, 1_000).unwrap().starts_with(&order[..5]));
    link.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_shown_what_it_has_got_though_the_end_of_that_is_not_confirmed() {
    let stores = [(); 3].map(|()| Store::in_memory().unwrap());
    let [a, b, c] = [0, 1, 2].map(|at| stores[at].open_topic("films").unwrap());
    let link = connect(&a, &b).await;
    a.set_indexers(vec![a.writer(), b.writer()]).await.unwrap();
    for n in 0..20 {
        a.collection::<Document>("c").insert_one(doc! { "_id": n }).await.unwrap();
        b.collection::<Document>("c").insert_one(doc! { "_id": 100 + n }).await.unwrap();
    }
    agree(&[&a, &b], 8).await;
    let other_link = connect(&a, &c).await;
    agree(&[&a, &b, &c], 8).await;
    assert!(a.status().tail > 0, "the end is not confirmed");
    assert_eq!(c.collection::<Document>("c").count_documents(doc! {}).run().unwrap(), 40);
    link.abort();
    other_link.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_written_apart_are_applied_at_most_twice() {
    const EACH: i32 = 1_000;
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (one.open_topic("films").unwrap(), other.open_topic("films").unwrap());
    for (database, numbers) in [(&a, 0..EACH), (&b, EACH..2 * EACH)] {
        let collection = database.collection::<Document>("c");
        let inserts: Vec<_> =
            numbers.map(|n| tokio::spawn(collection.insert_one(doc! { "_id": n }).into_future())).collect();
        for insert in inserts {
            insert.await.unwrap().unwrap();
        }
    }
    let link = connect(&a, &b).await;
    agree(&[&a, &b], u64::MAX).await;
    for database in [&a, &b] {
        let status = database.status();
        assert_eq!(status.entries, 2 * EACH as u64);
        assert!(status.applied <= 2 * status.entries, "{status:?}");
    }
    link.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_by_ticket_gets_everything_and_writes_once_admitted() {
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let a = one.create_database("films").unwrap();
    a.collection::<Document>("c").insert_many(numbers(0..2_000)).await.unwrap();
    let b = other.join(&a.ticket(Vec::new())).unwrap();
    let link = connect(&a, &b).await;
    agree(&[&a, &b], 0).await;
    let films = b.collection::<Document>("c");
    assert_eq!(films.insert_one(doc! { "_id": -1 }).await.unwrap_err().kind(), ErrorKind::Denied);
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let admitted =
        || b.writers().unwrap().iter().any(|writer| writer.writer == b.writer() && writer.is_writer);
    timeout(PATIENCE, async {
        loop {
            // Read before the question is asked: what comes in between ends the wait.
            let before = b.status();
            if admitted() {
                return;
            }
            b.wait_for(|status| *status != before).await.unwrap();
        }
    })
    .await
    .unwrap();
    films.insert_one(doc! { "_id": -1 }).await.unwrap();
    // The founder is the one indexer: its ack confirms what b wrote.
    timeout(PATIENCE, b.wait_for(|status| status.tail == 0 && status.confirmed >= 3)).await.unwrap().unwrap();
    agree(&[&a, &b], 0).await;
    link.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_the_key_is_cut_off_with_a_reason_and_learns_nothing() {
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, stranger) = (one.create_database("a").unwrap(), other.create_database("b").unwrap());
    a.collection::<Document>("c").insert_one(doc! { "_id": 1 }).await.unwrap();
    let ended = timeout(PATIENCE, connect(&a, &stranger).await).await.unwrap().unwrap();
    assert!(ended.0.is_err() || ended.1.is_err(), "{ended:?}");
    assert_eq!((a.status().entries, stranger.status().entries), (1, 0));
    // The databases' threads hear of the end a moment after the connection.
    let forgotten = async {
        while !(a.peers().is_empty() && stranger.peers().is_empty()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten).await.unwrap();
    a.collection::<Document>("c").insert_one(doc! { "_id": 2 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_peer_ends_its_session_and_disturbs_nothing_else() {
    use tokio::io::AsyncWriteExt;
    let store = Store::in_memory().unwrap();
    let a = store.create_database("a").unwrap();
    for garbage in [&[0xFF_u8; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[5, 0, 0, 0, 1, 2, 3, 4, 5]] {
        let (mut one, other) = tokio::io::duplex(1 << 16);
        let link = a.connect_peer([0; 32], false).await.unwrap();
        let connection = tokio::spawn(run_connection(
            other,
            link,
            ConnectionOptions::default(),
            ConnectionMonitor::default(),
        ));
        one.write_all(garbage).await.unwrap();
        let ended = timeout(PATIENCE, connection).await.unwrap().unwrap();
        assert!(ended.is_err(), "{garbage:?} passed");
        a.collection::<Document>("c").insert_one(doc! {}).await.unwrap();
    }
    assert_eq!(a.status().entries, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_indexers_go_on_confirming_when_the_third_has_just_left_whichever_it_is() {
    for leaving in 0..3 {
        let peers: Vec<_> =
            (0..3).map(|_| Store::in_memory().unwrap().open_topic("three").unwrap()).collect();
        for peer in &peers {
            // Nothing but the end of its patience wakes it up.
            peer.set_expiry_interval(Duration::from_hours(1));
            peer.set_indexer_patience(Duration::from_millis(300));
        }
        peers[0].set_indexers(peers.iter().map(Database::writer).collect()).await.unwrap();
        let mut links = Vec::new();
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            links.push(((a, b), connect(&peers[a], &peers[b]).await));
        }
        let majority = async |peer: &Database, id: i32| {
            let note = doc! { "_id": id };
            let written =
                peer.collection::<Document>("notes").insert_one(note).majority(Some(PATIENCE)).await;
            assert!(written.unwrap().confirmed, "the write {id}, indexer {leaving} leaving");
        };
        for id in 0..4 {
            majority(&peers[id as usize % 3], id).await;
        }
        for ((a, b), link) in &links {
            if [*a, *b].contains(&leaving) {
                link.abort();
            }
        }
        // It leads one of any three waves.
        for id in 4..10 {
            majority(&peers[(leaving + 1 + id as usize % 2) % 3], id).await;
        }
    }
}
