//! Start, stop, kill and restart of a server.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use combdb_tests::{Peer, PeerOptions, json};
use proto::v1::changes_client::ChangesClient;
use proto::v1::conflicts_client::ConflictsClient;
use proto::v1::receipts_client::ReceiptsClient;
use proto::v1::rejections_client::RejectionsClient;
use proto::v1::{
    FindRequest, InsertRequest, ReadConcern, WatchChangesRequest, WatchConflictsRequest, WatchFindRequest,
    WatchIndexBuildsRequest, WatchReceiptRequest, WatchRejectionsRequest,
};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_sigterm_stop_cleanly_and_a_restart_has_everything() {
    let options = PeerOptions::topic("t");
    let mut peer = Peer::start(COMBDB, &options);
    for (round, signal) in ["INT", "TERM"].into_iter().enumerate() {
        let calls = peer.calls().await;
        calls.insert("t", "c", &[&format!(r#"{{"_id": {round}}}"#)]).await.unwrap();
        peer.signal(signal);
        let status = peer.wait();
        assert_eq!(status.code(), Some(0), "{signal}: {status}\n{}", peer.log());
        peer.restart(&options);
        assert_eq!(peer.calls().await.count("t", "c", "{}").await.unwrap(), round as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_former_run_is_there_without_naming_it() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.calls().await.insert("t", "c", &[r#"{"_id": 1}"#]).await.unwrap();
    peer.stop();
    peer.restart(&PeerOptions::default());
    assert_eq!(peer.calls().await.count("t", "c", "{}").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let options = PeerOptions::topic("t");
    let mut peer = Peer::start(COMBDB, &options);
    for round in 0..3 {
        let calls = peer.calls().await;
        let before = calls.count("t", "c", "{}").await.unwrap();
        let writer = tokio::spawn({
            let calls = calls.clone();
            async move {
                let mut acknowledged = 0;
                while calls.insert("t", "c", &["{}", "{}"]).await.is_ok() {
                    acknowledged += 2;
                }
                acknowledged
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.kill();
        let acknowledged = writer.await.unwrap();
        assert!(acknowledged > 0, "nothing was written in round {round}");
        peer.restart(&options);
        let after = peer.calls().await.count("t", "c", "{}").await.unwrap();
        assert!(
            after >= before + acknowledged,
            "{after} documents, {before} + {acknowledged} were acknowledged"
        );
        assert!(after <= before + acknowledged + 2, "more than the one call under way was added");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_find_may_end_before_a_clean_stop() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let documents: Vec<String> =
        (0..2_000).map(|n| format!(r#"{{"_id": {n}, "p": "{}"}}"#, "x".repeat(1_000))).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    calls.insert("t", "c", &documents).await.unwrap();
    let request = FindRequest {
        database: "t".into(),
        collection: "c".into(),
        filter: Some(json("{}")),
        batch_size: 50,
        ..FindRequest::default()
    };
    let mut stream = calls.documents.clone().find(request).await.unwrap().into_inner();
    let mut count = stream.message().await.unwrap().unwrap().documents.len();
    peer.signal("INT");
    tokio::time::sleep(Duration::from_millis(200)).await;
    while let Some(batch) = stream.message().await.unwrap() {
        count += batch.documents.len();
    }
    assert_eq!(count, 2_000);
    assert_eq!(peer.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_at_once() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let pad = "x".repeat(1_000_000);
    for n in 0..10 {
        calls.insert("t", "c", &[&format!(r#"{{"_id": {n}, "p": "{pad}"}}"#)]).await.unwrap();
    }
    let request =
        FindRequest { database: "t".into(), collection: "c".into(), batch_size: 1, ..FindRequest::default() };
    let unread = calls.documents.clone().find(request).await.unwrap();
    peer.signal("INT");
    tokio::time::sleep(Duration::from_millis(300)).await;
    peer.signal("INT");
    assert_eq!(peer.wait().code(), Some(130));
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_held_by_one_process_only() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let output = Command::new(COMBDB)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(peer.data())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("another process"), "{error}");
    peer.calls().await.insert("t", "c", &[r#"{"_id": 1}"#]).await.unwrap();
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.stop();
    let files: Vec<_> = std::fs::read_dir(peer.data().join("databases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "redb"))
        .collect();
    assert!(!files.is_empty(), "there is no database file in {}", peer.data().display());
    for file in &files {
        std::fs::write(file, b"this is no database").unwrap();
    }
    let output = Command::new(COMBDB)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(peer.data())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("error: ") && !error.contains("panicked"), "{error}");
    for file in &files {
        assert_eq!(std::fs::read(file).unwrap(), b"this is no database");
    }
}

/// How a stream ends, whatever comes before.
async fn end_of<T>(mut stream: Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_an_end_are_told_that_the_server_stops_and_do_not_hold_it_up() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let (database, collection) = ("t".to_owned(), "c".to_owned());
    let insert = InsertRequest {
        database: database.clone(),
        collection: collection.clone(),
        documents: vec![json(r#"{"_id": 1}"#)],
        ..InsertRequest::default()
    };
    let entry =
        calls.documents.clone().insert(insert).await.unwrap().into_inner().acknowledgement.unwrap().entry;
    let channel = || calls.channel.clone();
    let (mut changes, mut receipts) = (ChangesClient::new(channel()), ReceiptsClient::new(channel()));
    let (mut rejections, mut conflicts) = (RejectionsClient::new(channel()), ConflictsClient::new(channel()));
    let (mut health, mut collections) = (HealthClient::new(channel()), calls.collections.clone());
    let find = FindRequest { database: database.clone(), collection, ..FindRequest::default() };
    let changes_of = |read_concern: ReadConcern| WatchChangesRequest {
        database: database.clone(),
        read_concern: read_concern.into(),
        ..WatchChangesRequest::default()
    };
    let local = changes.watch(changes_of(ReadConcern::Local)).await.unwrap().into_inner();
    let majority = changes.watch(changes_of(ReadConcern::Majority)).await.unwrap().into_inner();
    let result = changes.watch_find(WatchFindRequest { find: Some(find) }).await.unwrap().into_inner();
    // Nobody confirms anything here: the receipt waits.
    let receipt = WatchReceiptRequest { database: database.clone(), entry };
    let receipt = receipts.watch(receipt).await.unwrap().into_inner();
    let rejection =
        WatchRejectionsRequest { database: database.clone(), ..WatchRejectionsRequest::default() };
    let rejection = rejections.watch(rejection).await.unwrap().into_inner();
    let conflict = WatchConflictsRequest { database: database.clone(), ..WatchConflictsRequest::default() };
    let conflict = conflicts.watch(conflict).await.unwrap().into_inner();
    let builds = WatchIndexBuildsRequest { database };
    let builds = collections.watch_index_builds(builds).await.unwrap().into_inner();
    let service = HealthCheckRequest { service: "combdb.v1.Documents".into() };
    let healthy = health.watch(service).await.unwrap().into_inner();

    peer.signal("INT");
    let ends = tokio::join!(
        end_of(local),
        end_of(majority),
        end_of(result),
        end_of(receipt),
        end_of(rejection),
        end_of(conflict),
        end_of(builds),
        end_of(healthy),
    );
    let ends = [ends.0, ends.1, ends.2, ends.3, ends.4, ends.5, ends.6, ends.7];
    for end in ends {
        assert_eq!(end.code(), Code::Unavailable, "{end:?}");
        assert!(end.message().contains("the server is stopping"), "{end:?}");
    }
    assert_eq!(peer.wait().code(), Some(0));
    assert!(!peer.log().contains("cut off"), "{}", peer.log());
}

/// All of the client runs in this thread: while it waits for the server's end it is as good as gone.
#[tokio::test]
async fn a_stop_does_not_wait_for_clients_that_are_gone_without_a_word() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    calls.insert("t", "c", &[r#"{"_id": 1}"#]).await.unwrap();
    let request = WatchChangesRequest { database: "t".into(), ..WatchChangesRequest::default() };
    let stream = ChangesClient::new(calls.channel.clone()).watch(request).await.unwrap();
    assert_eq!(peer.stop().code(), Some(0));
    assert!(!peer.log().contains("cut off"), "{}", peer.log());
    drop(stream);
}
