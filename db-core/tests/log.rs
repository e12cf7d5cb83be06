//! Reading the log: pages, places, votes, and what did not hold.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::time::Duration;

use bson::{Document, doc};
use db_core::linearizer::Ballot;
use db_core::{
    ConnectionMonitor, ConnectionOptions, Database, EntryHash, LogRange, LoggedEntry, Place, Role, Store,
    WriterKey, run_connection,
};
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

fn range(from: u64, limit: usize) -> LogRange {
    LogRange { from: Some(from), limit, writer: None }
}

/// All entries, in pages of `limit`.
fn whole(database: &Database, limit: usize, writer: Option<WriterKey>) -> Vec<LoggedEntry> {
    let (mut entries, mut from) = (Vec::new(), Some(0));
    while from.is_some() {
        let page = database.log(&LogRange { from, limit, writer }).unwrap();
        assert!(page.entries.len() <= limit && page.next.is_none_or(|next| Some(next) > from));
        entries.extend(page.entries);
        from = page.next;
    }
    entries
}

#[test]
fn pages_follow_one_another_and_hold_every_entry_once() {
    let database = Store::in_memory().unwrap().create_database("test").unwrap();
    let collection = database.collection::<Document>("c");
    for n in 0..120 {
        collection.insert_one(doc! { "_id": n }).run().unwrap();
    }
    collection.insert_many((200..203).map(|n| doc! { "_id": n })).run().unwrap();
    collection.create_index(doc! { "x": 1 }).run().unwrap();
    database.add_writer(WriterKey::from_bytes([9; 32]), Role::Writer).run().unwrap();

    let entries = whole(&database, 50, None);
    let places: Vec<Place> = (0..123).map(Place::Confirmed).collect();
    assert_eq!(entries.iter().map(|entry| entry.place).collect::<Vec<_>>(), places);
    let hashes: Vec<EntryHash> = entries.iter().map(|entry| entry.hash).collect();
    assert_eq!(hashes, database.confirmed_order(0, 1_000).unwrap());
    assert!(
        entries.windows(2).all(|pair| pair[1].prev == Some(pair[0].hash) && pair[1].seq == pair[0].seq + 1)
    );
    // One indexer alone confirms each of its entries by itself.
    assert!(entries.iter().all(|entry| entry.ballot == Ballot::Anchor && entry.rejected.is_empty()));
    let shown = |at: usize| {
        let operation = &entries[at].operations[0];
        (operation.kind, operation.collection.as_deref(), operation.count, operation.detail.as_str())
    };
    assert_eq!(shown(0), ("insert", Some("c"), 1, ""));
    assert_eq!(shown(120), ("insert", Some("c"), 3, ""));
    assert_eq!(shown(121), ("createIndexes", Some("c"), 1, "x_1"));
    assert_eq!(shown(122), ("setRoles", None, 1, "09090909 writer"));

    let last = database.log(&LogRange::default()).unwrap();
    assert_eq!(last.entries, entries[103..]);
    assert_eq!((last.next, last.confirmed, last.ordered, last.stored), (None, 123, 123, 123));
    assert_eq!(database.log(&range(122, 7)).unwrap().entries, entries[122..]);
    assert_eq!(database.log(&range(50, 0)).unwrap().entries, entries[50..=50]);
    let beyond = database.log(&range(u64::MAX, 7)).unwrap();
    assert_eq!((beyond.entries.len(), beyond.next), (0, None));
    assert_eq!(whole(&database, 7, Some(database.writer())), entries);
    assert!(whole(&database, 7, Some(WriterKey::from_bytes([9; 32]))).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_at_its_place_is_told_and_the_tail_told_from_the_confirmed() {
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (one.open_topic("films").unwrap(), other.open_topic("films").unwrap());
    a.collection::<Document>("c").insert_one(doc! { "_id": 1, "by": "a" }).await.unwrap();
    b.collection::<Document>("c")
        .insert_many([doc! { "_id": 0 }, doc! { "_id": 1, "by": "b" }])
        .await
        .unwrap();
    let (near, far) = tokio::io::duplex(1 << 20);
    let (of_a, of_b) =
        (a.connect_peer([1; 32], true).await.unwrap(), b.connect_peer([1; 32], false).await.unwrap());
    let link = tokio::spawn(async move {
        let (options, monitor) = (ConnectionOptions::default, ConnectionMonitor::default);
        tokio::join!(
            run_connection(near, of_a, options(), monitor()),
            run_connection(far, of_b, options(), monitor())
        )
    });
    let both = |status: &db_core::Status| status.entries == 2 && status.unordered == 0;
    timeout(PATIENCE, a.wait_for(both)).await.unwrap().unwrap();
    timeout(PATIENCE, b.wait_for(both)).await.unwrap().unwrap();

    let entries = whole(&a, 1, None);
    assert_eq!(entries.iter().map(|entry| entry.place).collect::<Vec<_>>(), [Place::Tail(0), Place::Tail(1)]);
    assert_eq!(entries, whole(&b, 100, None));
    assert!(entries[0].rejected.is_empty());
    let part = u64::from(entries[1].writer == b.writer());
    assert_eq!(entries[1].rejected.len(), 1);
    assert_eq!((entries[1].rejected[0].count, &entries[1].rejected[0].parts[..]), (1, &[(part, 11_000)][..]));

    a.set_indexers(vec![a.writer(), b.writer()]).await.unwrap();
    timeout(PATIENCE, a.wait_for(|status| status.epoch == 1 && status.confirmed >= 3))
        .await
        .unwrap()
        .unwrap();
    let page = a.log(&range(0, 100)).unwrap();
    let confirmed = page.entries.iter().filter(|entry| matches!(entry.place, Place::Confirmed(_)));
    assert_eq!(confirmed.count() as u64, page.confirmed);
    let founding =
        page.entries.iter().find(|entry| entry.operations.iter().any(|done| done.kind == "setIndexers"));
    assert_eq!(founding.unwrap().ballot, Ballot::Anchor);
    assert_eq!((page.epoch, page.indexers.len()), (1, 2));
    link.abort();
}
