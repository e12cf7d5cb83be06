//! Conflicts through gRPC and on the command line: told of, listed, settled.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, code_of, eventually, json, json_text};
use proto::v1::conflicts_client::ConflictsClient;
use proto::v1::{
    AddPeerRequest, ConflictResolution, DocumentFormat, FindRequest, ResolveConflictRequest,
    SetConflictPolicyRequest, UpdateRequest, WatchConflictsRequest,
};
use serde_json::Value;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn upsert(calls: &Calls, update: &str) {
    let request = UpdateRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(r#"{"_id": 1}"#)),
        update: Some(json(update)),
        upsert: true,
        ..UpdateRequest::default()
    };
    calls.documents.clone().update_one(request).await.unwrap();
}

async fn all(calls: &Calls, collection: &str) -> Vec<Value> {
    let request =
        FindRequest { database: "t".into(), collection: collection.into(), ..FindRequest::default() };
    let found = calls.find(request).await.unwrap();
    found.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_is_told_of_listed_and_settled_on_all_peers() {
    let topic = PeerOptions::topic("t");
    let (first, second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    let (a, b) = (first.calls().await, second.calls().await);
    let mut conflicts = ConflictsClient::new(a.channel.clone());
    let watch = WatchConflictsRequest { database: "t".into(), format: DocumentFormat::ExtendedJson.into() };
    let mut told = conflicts.watch(watch).await.unwrap().into_inner();
    upsert(&a, r#"{"$set": {"title": "a", "year": 1}}"#).await;
    upsert(&b, r#"{"$set": {"title": "b", "year": 2}}"#).await;
    let address = a.own_address().await;
    b.peers.clone().add(AddPeerRequest { address }).await.unwrap();

    let one = json_text(told.message().await.unwrap().unwrap().conflict);
    let other = json_text(told.message().await.unwrap().unwrap().conflict);
    let paths = [&one, &other].map(|text| serde_json::from_str::<Value>(text).unwrap()["path"].clone());
    assert!(paths.contains(&"title".into()) && paths.contains(&"year".into()), "{paths:?}");
    eventually("both list them", || async {
        all(&a, "system.conflicts").await.len() == 2 && all(&b, "system.conflicts").await.len() == 2
    })
    .await;
    let listed = all(&b, "system.conflicts").await;
    let of = |path: &str| listed.iter().find(|conflict| conflict["path"] == path).unwrap().clone();
    let (winner, loser) = (of("title")["winner"]["value"].clone(), of("title")["loser"]["value"].clone());
    assert_eq!(all(&a, "films").await[0]["title"], winner);

    let resolve = ResolveConflictRequest {
        database: "t".into(),
        id: Some(json(&of("title")["_id"].to_string())),
        resolution: ConflictResolution::TakeLoser.into(),
        value: None,
        write_concern: None,
    };
    conflicts.resolve(resolve.clone()).await.unwrap();
    assert_eq!(all(&a, "films").await[0]["title"], loser);
    assert_eq!(code_of(&conflicts.resolve(resolve).await.unwrap_err()), 47);

    let table = first.command(&["conflicts", "list"]);
    let line = table.lines().nth(1).unwrap();
    assert!(line.contains("year") && table.lines().count() == 2, "{table}");
    let name = line.split_whitespace().last().unwrap();
    let whole: Value = serde_json::from_str(&first.command(&["conflicts", "list", "--json"])).unwrap();
    assert_eq!((&whole["conflict"], &whole["path"]), (&name.into(), &"year".into()));
    first.command(&["conflicts", "resolve", name, "--set", "3"]);
    assert_eq!(first.command(&["conflicts", "list", "--json"]), "");
    eventually("the other has it settled", || async {
        all(&b, "system.conflicts").await.is_empty() && all(&b, "films").await[0]["year"] == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_collection_is_changed_or_refused() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let mut conflicts = ConflictsClient::new(calls.channel.clone());
    calls.insert("t", "films", &[r#"{"_id": 1}"#]).await.unwrap();
    let policy = SetConflictPolicyRequest {
        database: "t".into(),
        collection: "films".into(),
        delete: "update-wins".into(),
        paths: [("rating".to_owned(), "max".to_owned())].into(),
        write_concern: None,
    };
    let before = calls.status("t").await.unwrap().entries;
    conflicts.set_policy(policy.clone()).await.unwrap();
    let entries = calls.status("t").await.unwrap().entries;
    assert_eq!(entries, before + 1, "a policy is logged");
    conflicts.set_policy(policy.clone()).await.unwrap();
    assert_eq!(calls.status("t").await.unwrap().entries, entries, "what is like that already is not logged");
    let nowhere = SetConflictPolicyRequest { collection: "nowhere".into(), ..policy.clone() };
    assert_eq!(code_of(&conflicts.set_policy(nowhere).await.unwrap_err()), 26);
    let unknown = SetConflictPolicyRequest { delete: "both".into(), ..policy };
    assert!(conflicts.set_policy(unknown).await.is_err());
    peer.command(&["conflicts", "policy", "films", "--path", "rating=last"]);
    assert!(!peer.try_command(&["conflicts", "policy", "films", "--path", "rating=first"]).status.success());
}
