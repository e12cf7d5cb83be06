//! Clients that open a stream and do not read it: what waits for them is bounded, nobody waits for them, and they are told so when
//! they read again.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use combdb_tests::{Peer, PeerOptions, code_of, eventually};
use proto::v1::changes_client::ChangesClient;
use proto::v1::rejections_client::RejectionsClient;
use proto::v1::{AddPeerRequest, WatchChangesRequest, WatchRejectionsRequest};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");
/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long an `_id` is, or what is rejected.
const BYTES: usize = 64 * 1024;
/// How many documents are written while nobody reads. Their keys are more than the 64 MiB that are kept for who is behind.
const WRITTEN: usize = 1_200;
/// How many of them with a call.
const AT_ONCE: usize = 40;
/// How many writes are rejected.
const REJECTED: usize = 60;

/// A connection on which hardly anything is on its way to a client that does not read.
async fn narrow(peer: &Peer) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", peer.address())).unwrap();
    endpoint.initial_stream_window_size(65_535).connect().await.unwrap()
}

/// Reads a stream to its end: how much of `count` comes, and why it ends.
async fn rest<T>(mut stream: Streaming<T>, count: impl Fn(T) -> usize) -> (usize, Status) {
    let mut read = 0;
    loop {
        match timeout(PATIENCE, stream.message()).await.unwrap() {
            Ok(Some(message)) => read += count(message),
            Ok(None) => panic!("it ends without a reason"),
            Err(status) => return (read, status),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_its_streams_holds_up_nobody_and_is_told_that_it_has_lost_its_place() {
    let topic = PeerOptions::topic("t");
    let (mut first, second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    let (a, b) = (first.calls().await, second.calls().await);
    let key = a.status("t").await.unwrap().database.unwrap().writer_key;
    first.command(&["writers", "set-indexers", &key]);
    let taken: Vec<_> = (0..REJECTED).map(|id| format!(r#"{{"_id": {id}}}"#)).collect();
    a.insert("t", "c", &taken.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let pad = "x".repeat(BYTES);
    for id in 0..REJECTED {
        b.insert("t", "c", &[&format!(r#"{{"_id": {id}, "pad": "{pad}"}}"#)]).await.unwrap();
    }

    let watch = WatchChangesRequest {
        database: "t".into(),
        collection: "long".into(),
        ..WatchChangesRequest::default()
    };
    let changes = ChangesClient::new(narrow(&second).await).watch(watch).await.unwrap().into_inner();
    let watch = WatchRejectionsRequest { database: "t".into(), ..WatchRejectionsRequest::default() };
    let rejections =
        RejectionsClient::new(narrow(&second).await).watch(watch.clone()).await.unwrap().into_inner();
    let address = a.own_address().await;
    b.peers.clone().add(AddPeerRequest { address }).await.unwrap();
    eventually("all of them are rejected", || async {
        b.count("t", "system.rejected", "{}").await.unwrap() == REJECTED as u64
    })
    .await;
    first.kill();

    for from in (0..WRITTEN).step_by(AT_ONCE) {
        let documents: Vec<_> =
            (from..from + AT_ONCE).map(|id| format!(r#"{{"_id": "{id:04} {pad}"}}"#)).collect();
        let documents: Vec<_> = documents.iter().map(String::as_str).collect();
        timeout(PATIENCE, b.insert("t", "long", &documents)).await.unwrap().unwrap();
    }
    assert_eq!(b.count("t", "long", "{}").await.unwrap(), WRITTEN as u64);

    let (told, lost) = rest(changes, |message| message.events.len()).await;
    assert_eq!((lost.code(), code_of(&lost)), (Code::Unavailable, 286), "{lost}");
    assert!(told < WRITTEN / 4, "{told} events were made for a client that does not read");
    let (told, lost) = rest(rejections, |_| 1).await;
    assert_eq!((lost.code(), code_of(&lost)), (Code::Unavailable, 286), "{lost}");
    assert!(lost.message().ends_with("read the list, and watch anew"), "{lost}");
    assert!(told < REJECTED / 2, "{told} rejections were read for a client that does not take them");

    // As it was told: the list is there, and a new stream begins with all of it.
    let mut anew = RejectionsClient::new(narrow(&second).await).watch(watch).await.unwrap().into_inner();
    for _ in 0..REJECTED {
        assert_eq!(timeout(PATIENCE, anew.message()).await.unwrap().unwrap().unwrap().count, 1);
    }
}
