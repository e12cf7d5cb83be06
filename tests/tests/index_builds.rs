//! How far the building of an index has come, through gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions};
use proto::v1::{IndexBuild, ListIndexesRequest, WatchIndexBuildsRequest, WatchIndexBuildsResponse};
use tonic::{Code, Streaming};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

const DOCUMENTS: usize = 5_000;

async fn watch(calls: &Calls) -> Streaming<WatchIndexBuildsResponse> {
    let request = WatchIndexBuildsRequest { database: "t".into() };
    calls.collections.clone().watch_index_builds(request).await.unwrap().into_inner()
}

/// Documents with so many keys each that an index on them takes its time.
async fn many(calls: &Calls) {
    let keys: Vec<String> = (0..100).map(|key| format!("\"key number {key} of this document\"")).collect();
    let keys = keys.join(",");
    let documents: Vec<String> =
        (0..DOCUMENTS).map(|id| format!(r#"{{"_id": {id}, "keys": [{id}, {keys}]}}"#)).collect();
    for some in documents.chunks(1_000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        calls.insert("t", "c", &some).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_told_from_its_beginning_to_its_end() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    many(&calls).await;
    let mut builds = watch(&calls).await;
    assert_eq!(builds.message().await.unwrap().unwrap().build, None);
    let building = {
        let calls = calls.clone();
        tokio::spawn(async move { calls.create_index("t", "c", r#"{"keys": 1}"#, false).await })
    };
    let mut told = Vec::new();
    while let Some(message) = builds.message().await.unwrap() {
        let Some(build) = message.build else { break };
        if told.is_empty() {
            // Who asks meanwhile learns of it, from a server that goes on answering.
            let request =
                ListIndexesRequest { database: "t".into(), collection: "c".into(), ..Default::default() };
            let listed = calls.collections.clone().list_indexes(request).await.unwrap().into_inner();
            let is_listed = listed.indexes.iter().any(|index| index.name == "keys_1");
            assert_ne!(is_listed, listed.building.iter().any(|build| build.index == "keys_1"));
            assert_eq!(calls.count("t", "c", r#"{"_id": {"$lt": 10}}"#).await.unwrap(), 10);
        }
        told.push(build);
    }
    assert_eq!(building.await.unwrap().unwrap(), "keys_1");
    let of = |build: &IndexBuild| (build.collection.clone(), build.index.clone(), build.documents_total);
    assert!(!told.is_empty());
    assert!(
        told.iter().all(|build| of(build) == ("c".into(), "keys_1".into(), DOCUMENTS as u64)),
        "{told:?}"
    );
    assert!(told.iter().all(|build| build.documents <= build.documents_total), "{told:?}");
    assert!(told.is_sorted_by_key(|build| build.documents), "{told:?}");
    let listed = peer.command(&["indexes", "list", "c"]);
    assert!(listed.contains("keys_1") && !listed.contains("building"), "{listed}");
    // The command line watches as well; where nobody looks at a terminal, short builds are not worth a line.
    let created = peer.try_command(&["indexes", "create", "c", r#"{"keys": -1}"#]);
    assert_eq!(String::from_utf8_lossy(&created.stdout), "keys_-1\n");
    let twice = peer.try_command(&["indexes", "create", "c", r#"{"keys": 1, "more": "kinds"}"#]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("(code 67)"), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_keeps_no_server_from_stopping() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let mut builds = watch(&calls).await;
    assert_eq!(builds.message().await.unwrap().unwrap().build, None);
    peer.signal("INT");
    assert_eq!(builds.message().await.unwrap_err().code(), Code::Unavailable);
    drop((builds, calls));
    assert!(peer.wait().success());
    assert!(!peer.log().contains("cut off"), "{}", peer.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_bounded_and_leave_room_when_they_go() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let elsewhere = WatchIndexBuildsRequest { database: "none".into() };
    let refusal = calls.collections.clone().watch_index_builds(elsewhere).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    // One connection takes some, and others the rest.
    let mut held = Vec::new();
    let refusal = loop {
        assert!(held.len() <= 256);
        let calls = peer.calls().await;
        for _ in 0..50 {
            let request = WatchIndexBuildsRequest { database: "t".into() };
            match calls.collections.clone().watch_index_builds(request).await {
                Ok(stream) => held.push(stream.into_inner()),
                Err(_) if held.len() >= 256 => break,
                Err(refusal) => panic!("{refusal}"),
            }
        }
        if held.len() == 256 {
            let request = WatchIndexBuildsRequest { database: "t".into() };
            break calls.collections.clone().watch_index_builds(request).await.unwrap_err();
        }
    };
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(calls.count("t", "c", "{}").await.unwrap(), 0, "others go on");
    held.clear();
    combdb_tests::eventually("there is room again", || async {
        let request = WatchIndexBuildsRequest { database: "t".into() };
        calls.collections.clone().watch_index_builds(request).await.is_ok()
    })
    .await;
}
