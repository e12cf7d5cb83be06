//! Members through gRPC and on the command line: roles, names, new keys, whose a field is, forked logs.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, copy_folder, eventually, json};
use proto::v1::history_client::HistoryClient;
use proto::v1::{
    AddPeerRequest, AddWriterRequest, BlameRequest, ListHistoryRequest, ListWritersRequest, Role,
    RotateRequest, SetIndexersRequest, SetNameRequest, Writer, WriterState,
};
use serde_json::Value;
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn meet(calls: &Calls, other: &Calls) {
    let address = other.own_address().await;
    calls.peers.clone().add(AddPeerRequest { address }).await.unwrap();
}

async fn own_key(calls: &Calls) -> String {
    calls.status("t").await.unwrap().database.unwrap().writer_key
}

async fn writers(calls: &Calls) -> Vec<Writer> {
    let request = ListWritersRequest { database: "t".into() };
    calls.writers.clone().list(request).await.unwrap().into_inner().writers
}

async fn writer(calls: &Calls, key: &str) -> Option<Writer> {
    writers(calls).await.into_iter().find(|writer| writer.key == key)
}

async fn found(calls: &Calls, indexers: &[&str]) {
    let keys = indexers.iter().map(|key| (*key).to_owned()).collect();
    calls
        .writers
        .clone()
        .set_indexers(SetIndexersRequest { database: "t".into(), keys, write_concern: None })
        .await
        .unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_is_one_under_its_names_and_keys_wherever_it_is_shown() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let old = own_key(&calls).await;
    found(&calls, &[&old]).await;
    assert_eq!(peer.command(&["writers", "name", "Ada"]).trim(), "named");
    calls.insert("t", "c", &[r#"{"_id": 1, "a": 1, "n": 1}"#, r#"{"_id": 2}"#]).await.unwrap();

    let told = peer.command(&["writers", "rotate"]);
    let new = own_key(&calls).await;
    assert!(told.contains(&old) && told.contains(&new) && old != new, "{told}");
    calls.update_many("t", "c", r#"{"_id": 1}"#, r#"{"$inc": {"n": 1}}"#).await.unwrap();
    let (before, after) = (writer(&calls, &old).await.unwrap(), writer(&calls, &new).await.unwrap());
    assert_eq!((before.state(), before.replaced_by.as_str()), (WriterState::Replaced, new.as_str()));
    assert!(!before.may_write && after.indexer && after.admin && after.local);
    assert!(before.last_time_ms.is_some() && before.last_time_ms <= after.last_time_ms);
    assert_eq!((after.name.as_str(), after.identity.as_str()), ("Ada", old.as_str()));
    let list = peer.command(&["writers", "list"]);
    assert!(list.contains("Ada") && list.contains("replaced by") && list.contains("goes on for"), "{list}");
    assert!(list.contains("LAST ENTRY"), "{list}");
    assert!(peer.command(&["log", "show"]).contains("Ada"));

    let mut history = HistoryClient::new(calls.channel.clone());
    let id = || Some(json(r#"{"_id": 1}"#));
    let request = BlameRequest { database: "t".into(), collection: "c".into(), id: id(), scan_limit: 0 };
    let blame = history.blame(request.clone()).await.unwrap().into_inner();
    assert!(blame.complete);
    let shown: Vec<_> = blame
        .fields
        .iter()
        .map(|field| {
            let author = field.author.as_ref().unwrap();
            (field.path.as_str(), author.writer == new, author.identity == old, author.name.as_str())
        })
        .collect();
    assert_eq!(shown, [("_id", false, true, "Ada"), ("a", false, true, "Ada"), ("n", true, true, "Ada")]);
    let nobody = BlameRequest { id: Some(json(r#"{"_id": 7}"#)), ..request };
    assert_eq!(history.blame(nobody).await.unwrap_err().code(), Code::NotFound);

    let request = ListHistoryRequest {
        database: "t".into(),
        collection: "c".into(),
        id: id(),
        limit: 1,
        ..ListHistoryRequest::default()
    };
    let first = history.list(request.clone()).await.unwrap().into_inner();
    let second = history.list(ListHistoryRequest { from: first.next.clone(), ..request.clone() }).await;
    let second = second.unwrap().into_inner();
    let kinds = [&first, &second].map(|page| page.changes[0].kind.clone());
    assert_eq!(kinds, ["update", "insert"]);
    assert_eq!(
        (first.changes[0].paths.as_slice(), first.changes[0].confirmed),
        (&["n".to_owned()][..], true)
    );
    let wrong = ListHistoryRequest { from: "nonsense".into(), ..request };
    assert_eq!(history.list(wrong).await.unwrap_err().code(), Code::InvalidArgument);

    let shown = peer.command(&["blame", "c", "1"]);
    assert!(shown.contains("Ada") && shown.lines().count() == 4, "{shown}");
    let shown = lines(&peer.command(&["history", "c", "1", "--json"]));
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["author"]["identity"], Value::from(old.clone()));
    // What a server keeps is the same after it was started again.
    drop(calls);
    let mut peer = peer;
    peer.stop();
    peer.restart(&PeerOptions::topic("t"));
    let calls = peer.calls().await;
    assert_eq!(own_key(&calls).await, new);
    calls.insert("t", "c", &[r#"{"_id": 3}"#]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_names_are_an_admins_to_give() {
    let topic = PeerOptions::topic("t");
    let (first, second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    let (a, b) = (first.calls().await, second.calls().await);
    let (admin, guest) = (own_key(&a).await, own_key(&b).await);
    found(&a, &[&admin]).await;
    meet(&b, &a).await;
    first.command(&["writers", "set-role", &guest, "reader"]);
    eventually("the guest may only read", || async {
        let refused = b.insert("t", "c", &["{}"]).await;
        refused.is_err_and(|status| status.code() == Code::PermissionDenied)
    })
    .await;
    assert!(writer(&a, &guest).await.unwrap().reader);
    first.command(&["writers", "add", &guest, "--role", "indexer", "--role", "admin"]);
    eventually("the guest is an admin", || async {
        writer(&b, &guest).await.is_some_and(|writer| writer.admin && writer.indexer)
    })
    .await;
    second.command(&["writers", "name", "boss", "--key", &admin]);
    eventually("the name is known", || async { writer(&a, &admin).await.unwrap().name == "boss" }).await;
    let bad = SetNameRequest {
        database: "t".into(),
        key: String::new(),
        name: "a\u{1b}[2J".into(),
        write_concern: None,
    };
    assert_eq!(b.writers.clone().set_name(bad).await.unwrap_err().code(), Code::InvalidArgument);
    let bad = AddWriterRequest {
        database: "t".into(),
        key: guest.clone(),
        role: Role::Reader.into(),
        more_roles: vec![99],
        write_concern: None,
    };
    assert_eq!(b.writers.clone().add(bad).await.unwrap_err().code(), Code::InvalidArgument);
    // A third key takes the guest's place; it is nobody's yet.
    let lost = "12".repeat(32); // no point of the curve
    let refused = first.try_command(&["writers", "replace", &guest, &lost]);
    assert!(!refused.status.success(), "that is no key");
    first.command(&["writers", "remove", &guest]);
    assert!(!first.try_command(&["writers", "remove", &admin]).status.success(), "it is the last one");
    eventually("the guest is out", || async {
        writer(&b, &guest).await.is_some_and(|writer| writer.state() == WriterState::NotAdmitted)
    })
    .await;
    // It takes another key; nothing links that to what it was, and in an open database it may write.
    let rotation = b
        .writers
        .clone()
        .rotate(RotateRequest { database: "t".into(), write_concern: None })
        .await
        .unwrap()
        .into_inner();
    assert!(!rotation.linked && rotation.from == guest);
    first.command(&["writers", "replace", &guest, &rotation.to, "--role", "writer"]);
    eventually("the new key goes on for the old one", || async {
        writer(&b, &rotation.to).await.is_some_and(|writer| writer.identity == guest && writer.may_write)
    })
    .await;
    b.insert("t", "c", &[r#"{"_id": "again"}"#]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexer_that_forks_its_log_is_named_and_loses_its_rights() {
    let topic = PeerOptions::topic("t");
    let first = Peer::start(COMBDB, &topic);
    let mut twin = Peer::start(COMBDB, &topic);
    let a = first.calls().await;
    let calls = twin.calls().await;
    let (mine, theirs) = (own_key(&a).await, own_key(&calls).await);
    found(&a, &[&mine, &theirs]).await;
    meet(&calls, &a).await;
    eventually("both confirm", || async {
        let status = calls.status("t").await.unwrap();
        status.indexers.len() == 2 && status.tail == 0
    })
    .await;
    drop(calls);
    twin.stop();
    let backup = tempfile::tempdir().unwrap();
    copy_folder(&twin.data(), backup.path());

    // It writes, and is heard of; then its store is put back to what it was, and it writes again before it meets anybody.
    twin.restart(&topic);
    let calls = twin.calls().await;
    calls.insert("t", "c", &[r#"{"_id": "one"}"#]).await.unwrap();
    meet(&calls, &a).await;
    eventually("the first is heard of", || async { a.count("t", "c", "{}").await.unwrap() == 1 }).await;
    drop(calls);
    twin.stop();
    std::fs::remove_dir_all(twin.data()).unwrap();
    copy_folder(backup.path(), &twin.data());
    twin.restart(&topic);
    let calls = twin.calls().await;
    calls.insert("t", "c", &[r#"{"_id": "other"}"#]).await.unwrap();
    meet(&calls, &a).await;

    eventually("the alarm names it", || async { a.status("t").await.unwrap().alarms == [theirs.clone()] })
        .await;
    let shown = first.command(&["status"]);
    assert!(shown.contains(&format!("ALARM      indexer {theirs}")), "{shown}");
    assert!(first.log().contains("ALARM: an indexer has forked its log"));
    eventually("the proof is logged", || async {
        writer(&a, &theirs)
            .await
            .is_some_and(|writer| writer.state() == WriterState::Forked && !writer.may_write)
    })
    .await;
    assert!(first.command(&["log", "show"]).contains("forkProof"));
}
