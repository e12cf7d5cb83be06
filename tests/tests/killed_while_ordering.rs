//! A server that is killed while it puts a long backlog in order: after the next start reads are answered as soon as there is
//! something to be shown to them, and told why not where they do not wait for so long.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use combdb_tests::{Calls, Peer, PeerOptions, code_of, eventually, json};
use proto::v1::{
    AddPeerRequest, CountRequest, DatabaseStatusRequest, DatabaseStatusResponse, FindRequest, QueryOptions,
    ReadConcern, SetIndexersRequest,
};
use tonic::{Code, Status};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");
/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many entries each of two peers writes apart from the other, and how many documents each of them holds: what takes
/// seconds to be put in one order.
const ENTRIES: usize = 400;
const DOCUMENTS: usize = 250;

/// More reads that wait than the server carries out at once.
const READERS: usize = 80;

async fn write_apart(calls: &Calls, by: &str) {
    for entry in 0..ENTRIES {
        let document = |n| format!(r#"{{"_id": "{by} {entry} {n}", "by": "{by}"}}"#);
        let documents: Vec<_> = (0..DOCUMENTS).map(document).collect();
        let documents: Vec<_> = documents.iter().map(String::as_str).collect();
        calls.insert("t", "c", &documents).await.unwrap();
    }
}

/// How the database stands, told at once.
async fn status(calls: &Calls) -> DatabaseStatusResponse {
    let request = DatabaseStatusRequest { database: "t".into(), with_digest: false };
    calls.databases.clone().status(request).await.unwrap().into_inner()
}

async fn count(calls: &Calls, filter: &str, options: QueryOptions) -> Result<u64, Status> {
    let request = CountRequest {
        database: "t".into(),
        collection: "c".into(),
        filter: Some(json(filter)),
        options: Some(options),
        ..CountRequest::default()
    };
    Ok(calls.documents.clone().count(request).await?.into_inner().count)
}

fn within(limit: Duration) -> QueryOptions {
    QueryOptions { max_time_ms: limit.as_millis() as u64, ..QueryOptions::default() }
}

fn majority() -> QueryOptions {
    QueryOptions { read_concern: ReadConcern::Majority.into(), ..QueryOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_after_a_kill_are_answered_when_there_is_something_to_show_or_told_why_not() {
    let topic = PeerOptions::topic("t");
    let (first, mut second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    // The only indexer is never there again: nothing is confirmed but the beginning.
    let absent = Peer::start(COMBDB, &topic).calls().await.status("t").await.unwrap();
    let (a, b) = (first.calls().await, second.calls().await);
    let meet = async |calls: &Calls| {
        let address = a.own_address().await;
        calls.peers.clone().add(AddPeerRequest { address }).await.unwrap();
    };
    a.insert("t", "c", &[r#"{"_id": "confirmed"}"#]).await.unwrap();
    let keys = vec![absent.database.unwrap().writer_key];
    let indexers = SetIndexersRequest { database: "t".into(), keys, write_concern: None };
    a.writers.clone().set_indexers(indexers).await.unwrap();
    meet(&b).await;
    eventually("both know the beginning", || async { status(&b).await.confirmed > 1 }).await;
    drop(b);
    second.stop();
    second.restart(&topic);

    let b = second.calls().await;
    write_apart(&a, "first").await;
    write_apart(&b, "second").await;
    let undone = status(&b).await.undone;
    meet(&b).await;
    eventually("what was written later is undone, and not all is in order again", || async {
        let status = status(&b).await;
        status.undone > undone && status.waiting > 0
    })
    .await;
    second.kill();
    second.restart(&topic);

    let b = second.calls().await;
    assert!(status(&b).await.reads_wait, "it was killed in the middle");
    // On connections of their own: those of one connection wait for each other.
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let calls = second.calls().await;
        waiting.extend((0..READERS / 2).map(|_| {
            let calls = calls.clone();
            tokio::spawn(async move { count(&calls, "{}", QueryOptions::default()).await })
        }));
    }
    assert_eq!(count(&b, "{}", majority()).await.unwrap(), 1);
    let find = FindRequest {
        database: "t".into(),
        collection: "c".into(),
        options: Some(majority()),
        ..FindRequest::default()
    };
    assert_eq!(b.find(find).await.unwrap(), [r#"{"_id":"confirmed"}"#]);
    let late = count(&b, "{}", within(Duration::from_millis(1))).await.unwrap_err();
    assert_eq!((late.code(), code_of(&late)), (Code::DeadlineExceeded, 50), "{late}");
    assert!(status(&b).await.reads_wait, "all of that was answered meanwhile");

    let of_second = count(&b, r#"{"by": "second"}"#, within(PATIENCE)).await.unwrap();
    assert_eq!(of_second, (ENTRIES * DOCUMENTS) as u64, "its own are all there");
    let of_first = count(&b, r#"{"by": "first"}"#, QueryOptions::default()).await.unwrap();
    for read in waiting {
        assert_eq!(read.await.unwrap().unwrap(), 1 + of_first + of_second, "no read has seen less");
    }
    assert!(!status(&b).await.reads_wait);
}
