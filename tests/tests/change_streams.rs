//! Change streams and live queries of the real program, over gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use combdb_tests::{Calls, Peer, PeerOptions, code_of, json, json_text};
use proto::v1::changes_client::ChangesClient;
use proto::v1::{
    CreateDatabaseRequest, DeleteRequest, DocumentFormat, FindRequest, ReadConcern, WatchChangesRequest,
    WatchChangesResponse, WatchFindRequest, WatchFindResponse, result_change,
};
use serde_json::{Value, json as value};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");
/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

async fn peer() -> (Peer, Calls, ChangesClient<Channel>) {
    let peer = Peer::start(COMBDB, &PeerOptions::default());
    let mut calls = peer.calls().await;
    let create = CreateDatabaseRequest { name: "t".into() };
    calls.databases.create(create).await.unwrap();
    let changes = ChangesClient::new(calls.channel.clone());
    (peer, calls, changes)
}

fn watch(collection: &str, concern: ReadConcern) -> WatchChangesRequest {
    WatchChangesRequest {
        database: "t".into(),
        collection: collection.into(),
        read_concern: concern.into(),
        full_document: true,
        format: DocumentFormat::ExtendedJson.into(),
        ..WatchChangesRequest::default()
    }
}

/// The next `count` events.
async fn events(stream: &mut Streaming<WatchChangesResponse>, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let message = timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
        events.extend(
            message.events.into_iter().map(|event| serde_json::from_str(&json_text(Some(event))).unwrap()),
        );
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["operationType"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_client_is_told_what_is_written_and_resumes_where_it_was() {
    let (mut peer, calls, mut changes) = peer().await;
    let mut of_present = changes.watch(watch("films", ReadConcern::Local)).await.unwrap().into_inner();
    let mut confirmed = changes.watch(watch("", ReadConcern::Majority)).await.unwrap().into_inner();
    // From the first message on nothing is missed.
    assert!(of_present.message().await.unwrap().unwrap().events.is_empty());
    assert!(confirmed.message().await.unwrap().unwrap().events.is_empty());
    calls.insert("t", "films", &[r#"{"_id": 1, "title": "Alien"}"#, r#"{"_id": 2}"#]).await.unwrap();
    calls.insert("t", "books", &[r#"{"_id": 1}"#]).await.unwrap();
    let seen = events(&mut of_present, 2).await;
    assert_eq!(kinds(&seen), ["insert", "insert"]);
    assert_eq!(seen[0]["fullDocument"], value!({"_id": 1, "title": "Alien"}));
    let seen = events(&mut confirmed, 3).await;
    assert_eq!(seen[2]["ns"], value!({"db": "t", "coll": "books"}));
    let delete = DeleteRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(r#"{"_id": 1}"#)),
        ..DeleteRequest::default()
    };
    calls.documents.clone().delete_one(delete).await.unwrap();
    assert_eq!(kinds(&events(&mut of_present, 1).await), ["delete"]);

    let token = seen[1]["_id"]["_data"].as_str().unwrap().to_owned();
    assert!(peer.stop().success(), "streams end when the server stops");
    let ended = timeout(PATIENCE, async { while let Ok(Some(_)) = confirmed.message().await {} }).await;
    assert!(ended.is_ok());
    peer.restart(&PeerOptions::default());
    let mut changes = ChangesClient::new(peer.calls().await.channel);
    let resume = WatchChangesRequest { resume_after: token, ..watch("", ReadConcern::Majority) };
    let mut resumed = changes.watch(resume).await.unwrap().into_inner();
    let rest = events(&mut resumed, 2).await;
    assert_eq!(kinds(&rest), ["insert", "delete"]);
    assert_eq!(rest[0], seen[2]);
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused_by_name() {
    let (_peer, _calls, mut changes) = peer().await;
    let stage =
        |stage: &str| WatchChangesRequest { pipeline: vec![json(stage)], ..watch("c", ReadConcern::Local) };
    let token =
        |token: &str, concern| WatchChangesRequest { resume_after: token.into(), ..watch("c", concern) };
    let refused = [
        (stage(r#"{"$group": {"_id": 1}}"#), 20),
        (stage(r#"{"$match": {"a": {"$foo": 1}}}"#), 2),
        (token("zz", ReadConcern::Majority), 260),
        (token("00", ReadConcern::Local), 72),
        (watch("$$", ReadConcern::Local), 73),
        (WatchChangesRequest { with_present: true, ..watch("c", ReadConcern::Majority) }, 72),
    ];
    for (request, code) in refused {
        let status = changes.watch(request).await.unwrap_err();
        assert_eq!((status.code(), code_of(&status)), (Code::InvalidArgument, code), "{status:?}");
    }
    let none =
        changes.watch(WatchChangesRequest { database: "none".into(), ..watch("c", ReadConcern::Local) });
    assert_eq!(none.await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        changes.watch_find(WatchFindRequest { find: None }).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

/// Takes a message's changes into a result, as a client does.
fn apply(result: &mut Vec<Value>, message: WatchFindResponse) {
    use result_change::Change;
    let read = |document| serde_json::from_str::<Value>(&json_text(document)).unwrap();
    for change in message.changes {
        match change.change.unwrap() {
            Change::Reset(_) => result.clear(),
            Change::Added(added) => result.insert(added.index as usize, read(added.document)),
            Change::Changed(changed) => result[changed.index as usize] = read(changed.document),
            Change::Moved(moved) => {
                let document = result.remove(moved.from as usize);
                result.insert(moved.to as usize, document);
            }
            Change::Removed(index) => drop(result.remove(index as usize)),
        }
    }
}

#[tokio::test]
async fn a_result_is_kept_current() {
    let (_peer, calls, mut changes) = peer().await;
    let documents: Vec<String> = (0..9).map(|n| format!(r#"{{"_id": {n}, "n": {n}}}"#)).collect();
    calls.insert("t", "c", &documents.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let find = FindRequest {
        database: "t".into(),
        collection: "c".into(),
        filter: Some(json(r#"{"n": {"$lt": 8}}"#)),
        sort: Some(json(r#"{"n": -1}"#)),
        limit: 3,
        ..FindRequest::default()
    };
    let mut stream = changes.watch_find(WatchFindRequest { find: Some(find) }).await.unwrap().into_inner();
    let mut result = Vec::new();
    let mut wait_for = async |expected: Value| {
        let reached = timeout(PATIENCE, async {
            while Value::from(result.clone()) != expected {
                apply(&mut result, stream.message().await.unwrap().unwrap());
            }
        });
        assert!(reached.await.is_ok(), "{result:?}");
    };
    wait_for(value!([{"_id": 7, "n": 7}, {"_id": 6, "n": 6}, {"_id": 5, "n": 5}])).await;
    calls.update_many("t", "c", r#"{"_id": 6}"#, r#"{"$set": {"n": 9}}"#).await.unwrap();
    wait_for(value!([{"_id": 7, "n": 7}, {"_id": 5, "n": 5}, {"_id": 4, "n": 4}])).await;
    calls.update_many("t", "c", r#"{"_id": 4}"#, r#"{"$set": {"n": 7.5}}"#).await.unwrap();
    wait_for(value!([{"_id": 4, "n": 7.5}, {"_id": 7, "n": 7}, {"_id": 5, "n": 5}])).await;
}

/// Runs a command that goes on, until it has printed what is expected.
fn lines(peer: &Peer, arguments: &[&str], meanwhile: impl FnOnce(), count: usize) -> Vec<Value> {
    let mut child = Command::new(COMBDB)
        .args(arguments)
        .args(["--server", peer.address()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // What comes first says that the watch has begun.
    let first = lines.next().unwrap();
    meanwhile();
    let rest = std::iter::once(first).chain(lines).take(count);
    let read = rest.map(|line| serde_json::from_str(&line).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    read
}

#[test]
fn the_command_line_prints_changes_as_they_happen() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.command(&["insert", "films", r#"{"_id": 1}"#]);
    let insert = || drop(peer.command(&["insert", "films", r#"{"_id": 2, "n": 1}"#]));
    let printed = lines(&peer, &["watch", "films", "--present"], insert, 2);
    assert_eq!(kinds(&printed), ["insert", "insert"]);
    assert_eq!(printed[1]["fullDocument"], value!({"_id": 2, "n": 1}));

    let update = || drop(peer.command(&["update", "films", r#"{"_id": 2}"#, r#"{"$set": {"n": 5}}"#]));
    let printed = lines(&peer, &["find", "films", r#"{"n": {"$exists": true}}"#, "--watch"], update, 3);
    let changed = value!({"changed": 0, "document": {"_id": 2, "n": 5}});
    assert_eq!(
        printed,
        [value!({"reset": true}), value!({"added": 0, "document": {"_id": 2, "n": 1}}), changed]
    );

    let refused = peer.try_command(&["watch", r#"{"$limit": 1}"#]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("(code 20)"));
    // Nobody has been named indexer: nothing is confirmed, and there is nothing to print.
    let none = peer.try_command(&["watch", "--majority", "--limit", "0"]);
    assert!(none.status.success() && none.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_kept_of_confirmed_changes_is_said_when_a_server_is_started() {
    let none = PeerOptions {
        arguments: vec!["--change-history".to_owned(), "0".to_owned()],
        ..PeerOptions::default()
    };
    let mut peer = Peer::start(COMBDB, &none);
    let calls = peer.calls().await;
    calls.databases.clone().create(CreateDatabaseRequest { name: "t".into() }).await.unwrap();
    calls.insert("t", "films", &[r#"{"_id": 1}"#]).await.unwrap();
    let from =
        |start_at| WatchChangesRequest { start_at: Some(start_at), ..watch("films", ReadConcern::Majority) };
    let ids = async |calls: &Calls, start_at: u64, count: usize| -> Result<Vec<u64>, Status> {
        let mut changes = ChangesClient::new(calls.channel.clone());
        let mut stream = changes.watch(from(start_at)).await?.into_inner();
        let told = events(&mut stream, count).await;
        Ok(told.iter().map(|event| event["documentKey"]["_id"].as_u64().unwrap()).collect())
    };
    let lost = async |calls: &Calls| code_of(&ids(calls, 0, 1).await.unwrap_err());
    assert_eq!(lost(&calls).await, 286);
    let wrong = peer.try_command(&["serve", "--change-history", "much"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("as in 256MiB"));
    // What was not kept does not come back; what comes now is kept, also over the next start.
    drop(calls);
    let some =
        PeerOptions { arguments: vec!["--change-history=256MiB".to_owned()], ..PeerOptions::default() };
    for id in 2..4 {
        peer.stop();
        peer.restart(&some);
        let calls = peer.calls().await;
        calls.insert("t", "films", &[&format!(r#"{{"_id": {id}}}"#)]).await.unwrap();
        assert_eq!(lost(&calls).await, 286);
        assert_eq!(ids(&calls, 1, id - 1).await.unwrap(), (2..=id as u64).collect::<Vec<_>>());
    }
}
