//! What calls about collections, indexes, policies and writers can be followed by, as any other write.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Peer, PeerOptions, json};
use proto::v1::conflicts_client::ConflictsClient;
use proto::v1::receipts_client::ReceiptsClient;
use proto::v1::{
    Acknowledgement, ChangeIndexRequest, CreateCollectionRequest, CreateIndexRequest, DropCollectionRequest,
    DropIndexRequest, Index, ReceiptState, RenameCollectionRequest, RotateRequest, SetConflictPolicyRequest,
    SetIndexersRequest, SetNameRequest, WatchReceiptRequest, WriteConcern,
};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// Confirmed, however long that takes: this peer is the indexer.
#[allow(clippy::unnecessary_wraps)] // as requests hold it
fn majority() -> Option<WriteConcern> {
    Some(WriteConcern { majority: true, timeout_ms: 0 })
}

fn entry(acknowledgement: Option<Acknowledgement>) -> String {
    let Acknowledgement { entry, confirmed } = acknowledgement.unwrap();
    assert!(confirmed, "it was waited for");
    entry
}

#[tokio::test]
async fn every_call_that_is_logged_gives_the_entry_that_holds_it() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = peer.calls().await;
    let key = calls.status("t").await.unwrap().database.unwrap().writer_key;
    let indexers = SetIndexersRequest { database: "t".into(), keys: vec![key], write_concern: majority() };
    let set = calls.writers.set_indexers(indexers).await.unwrap().into_inner();
    let mut entries = vec![entry(set.acknowledgement)];

    let (database, collection) = ("t".to_owned(), "notes".to_owned());
    let create = CreateCollectionRequest {
        database: database.clone(),
        collection: "drafts".into(),
        write_concern: majority(),
        ..CreateCollectionRequest::default()
    };
    let created = calls.collections.create(create).await.unwrap().into_inner();
    entries.push(entry(created.acknowledgement));
    let rename = RenameCollectionRequest {
        database: database.clone(),
        collection: "drafts".into(),
        new_name: collection.clone(),
        write_concern: majority(),
        ..RenameCollectionRequest::default()
    };
    let renamed = calls.collections.rename(rename).await.unwrap().into_inner();
    entries.push(entry(renamed.acknowledgement));
    let index = Some(Index { keys: Some(json(r#"{"n": 1}"#)), ..Index::default() });
    let create = CreateIndexRequest {
        database: database.clone(),
        collection: collection.clone(),
        index,
        write_concern: majority(),
    };
    let created = calls.collections.create_index(create.clone()).await.unwrap().into_inner();
    entries.push(entry(created.acknowledgement));
    let again = calls.collections.create_index(create).await.unwrap().into_inner();
    assert_eq!(entry(again.acknowledgement), "", "it was there, and nothing was logged");
    let change = ChangeIndexRequest {
        database: database.clone(),
        collection: collection.clone(),
        name: "n_1".into(),
        hidden: Some(true),
        write_concern: majority(),
        ..ChangeIndexRequest::default()
    };
    let changed = calls.collections.change_index(change).await.unwrap().into_inner();
    entries.push(entry(changed.acknowledgement));
    let drop = DropIndexRequest {
        database: database.clone(),
        collection: collection.clone(),
        name: "n_1".into(),
        write_concern: majority(),
        ..DropIndexRequest::default()
    };
    let dropped = calls.collections.drop_index(drop).await.unwrap().into_inner();
    entries.push(entry(dropped.acknowledgement));
    let policy = SetConflictPolicyRequest {
        database: database.clone(),
        collection: collection.clone(),
        delete: "update-wins".into(),
        write_concern: majority(),
        ..SetConflictPolicyRequest::default()
    };
    let set = ConflictsClient::new(calls.channel.clone()).set_policy(policy).await.unwrap().into_inner();
    entries.push(entry(set.acknowledgement));
    let name = SetNameRequest {
        database: database.clone(),
        name: "Ada".into(),
        write_concern: majority(),
        ..SetNameRequest::default()
    };
    let named = calls.writers.set_name(name).await.unwrap().into_inner();
    entries.push(entry(named.acknowledgement));
    let drop = DropCollectionRequest { database: database.clone(), collection, write_concern: majority() };
    let dropped = calls.collections.drop(drop).await.unwrap().into_inner();
    entries.push(entry(dropped.acknowledgement));
    let rotate = RotateRequest { database, write_concern: majority() };
    let rotated = calls.writers.rotate(rotate).await.unwrap().into_inner();
    entries.push(entry(rotated.acknowledgement));

    let mut receipts = ReceiptsClient::new(calls.channel.clone());
    for entry in entries {
        let watch = WatchReceiptRequest { database: "t".into(), entry };
        let mut told = receipts.watch(watch).await.unwrap().into_inner();
        let receipt = told.message().await.unwrap().unwrap();
        assert_eq!(receipt.state(), ReceiptState::Confirmed);
    }
}

#[test]
fn the_command_line_waits_for_them() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let shown = peer.command(&["collections", "create", "notes", "--majority", "--timeout", "1"]);
    assert!(shown.contains("not confirmed yet: `combdb receipts "), "{shown}");
    let status = peer.command(&["status"]);
    let line = status.lines().find(|line| line.starts_with("writer ")).unwrap();
    let key = line.split_whitespace().nth(1).unwrap();
    for command in [
        &["writers", "set-indexers", key, "--majority"][..],
        &["writers", "name", "Ada", "--majority"],
        &["indexes", "create", "notes", r#"{"n": 1}"#, "--majority"],
        &["conflicts", "policy", "notes", "--majority"],
        &["collections", "drop", "notes", "--majority"],
    ] {
        let shown = peer.command(command);
        assert!(shown.lines().any(|line| line == "confirmed"), "{command:?}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_of_the_command_line_waits_until_it_is_confirmed_where_that_is_asked_for() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = peer.calls().await;
    let key = calls.status("t").await.unwrap().database.unwrap().writer_key;
    let indexers = SetIndexersRequest { database: "t".into(), keys: vec![key], write_concern: majority() };
    calls.writers.set_indexers(indexers).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, line: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, line).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (document, other) = (file("document", r#"{"_id": 2}"#), file("other", r#"{"_id": 2, "n": 1}"#));
    let writes = file("writes", r#"{"updateOne": {"filter": {"_id": 1}, "update": {"$inc": {"n": 1}}}}"#);
    for write in [
        &["insert", "c", r#"{"_id": 1}"#][..],
        &["import", &document, "--collection", "c"],
        &["import", &other, "--collection", "c", "--upsert"],
        &["bulk", "c", &writes],
        &["update", "c", r#"{"_id": 1}"#, r#"{"$inc": {"n": 1}}"#],
        &["find-and-update", "c", r#"{"_id": 1}"#, r#"{"$inc": {"n": 1}}"#],
        &["find-and-replace", "c", r#"{"_id": 1}"#, r#"{"n": 0}"#],
        &["find-and-delete", "c", r#"{"_id": 1}"#],
        &["delete", "c", r#"{"_id": 2}"#],
    ] {
        let told = peer.command(&[write, &["--majority", "--timeout", "60000"]].concat());
        assert_eq!(told.lines().last(), Some("confirmed"), "{write:?}: {told}");
    }
}
