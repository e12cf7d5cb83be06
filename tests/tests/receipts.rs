//! Receipts, write concerns and read concerns, over gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Peer, PeerOptions, code_of, eventually, json};
use proto::v1::receipts_client::ReceiptsClient;
use proto::v1::{
    Acknowledgement, AddPeerRequest, CountRequest, DeleteRequest, EntryOutcome, InsertRequest, QueryOptions,
    ReadConcern, Receipt, ReceiptState, SetIndexersRequest, UpdateRequest, WatchReceiptRequest, WriteConcern,
};
use tonic::{Code, Streaming};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

fn own_key(peer: &Peer) -> String {
    let status = peer.command(&["status"]);
    let line = status.lines().find(|line| line.starts_with("writer ")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn majority(timeout_ms: u64) -> WriteConcern {
    WriteConcern { majority: true, timeout_ms }
}

fn insert(document: &str, write_concern: WriteConcern) -> InsertRequest {
    InsertRequest {
        database: "t".into(),
        collection: "notes".into(),
        documents: vec![json(document)],
        write_concern: Some(write_concern),
        ..InsertRequest::default()
    }
}

fn count(read_concern: ReadConcern) -> CountRequest {
    let options = QueryOptions { read_concern: read_concern.into(), ..QueryOptions::default() };
    CountRequest {
        database: "t".into(),
        collection: "notes".into(),
        options: Some(options),
        ..CountRequest::default()
    }
}

async fn next(receipts: &mut Streaming<Receipt>) -> Option<ReceiptState> {
    receipts.message().await.unwrap().map(|receipt| receipt.state())
}

#[tokio::test]
async fn a_write_is_followed_until_it_is_confirmed() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = peer.calls().await;
    // Nobody has been named indexer: nothing is confirmed, and that is no error.
    let answer = calls.documents.insert(insert(r#"{"_id": 1}"#, majority(1))).await.unwrap().into_inner();
    let Acknowledgement { entry, confirmed } = answer.acknowledgement.unwrap();
    assert!(entry.len() == 64 && !confirmed);
    let mut counts = [0; 2];
    for (count_of, concern) in counts.iter_mut().zip([ReadConcern::Local, ReadConcern::Majority]) {
        *count_of = calls.documents.count(count(concern)).await.unwrap().into_inner().count;
    }
    assert_eq!(counts, [1, 0]);

    let mut receipts = ReceiptsClient::new(calls.channel.clone());
    let watch = WatchReceiptRequest { database: "t".into(), entry: entry.clone() };
    let mut stream = receipts.watch(watch.clone()).await.unwrap().into_inner();
    assert_eq!(next(&mut stream).await, Some(ReceiptState::Ordered));
    let indexers =
        SetIndexersRequest { database: "t".into(), keys: vec![own_key(&peer)], write_concern: None };
    calls.writers.set_indexers(indexers).await.unwrap();
    assert_eq!(next(&mut stream).await, Some(ReceiptState::Confirmed));
    assert_eq!(next(&mut stream).await, None, "then it ends");

    let update = UpdateRequest {
        database: "t".into(),
        collection: "notes".into(),
        filter: Some(json("{}")),
        update: Some(json(r#"{"$set": {"n": 1}}"#)),
        options: Some(QueryOptions { write_concern: Some(majority(0)), ..QueryOptions::default() }),
        ..UpdateRequest::default()
    };
    let answer = calls.documents.update_many(update.clone()).await.unwrap().into_inner();
    assert!(answer.acknowledgement.unwrap().confirmed);
    let nothing = UpdateRequest { filter: Some(json(r#"{"_id": 7}"#)), ..update };
    let answer = calls.documents.update_one(nothing).await.unwrap().into_inner();
    assert_eq!(answer.acknowledgement, Some(Acknowledgement { entry: String::new(), confirmed: true }));
    let count = calls.documents.count(count(ReadConcern::Majority)).await.unwrap().into_inner().count;
    assert_eq!(count, 1);

    let strange = WatchReceiptRequest { entry: "none".into(), ..watch.clone() };
    assert_eq!(receipts.watch(strange).await.unwrap_err().code(), Code::InvalidArgument);
    let unknown = WatchReceiptRequest { entry: "7".repeat(64), ..watch };
    assert_eq!(receipts.watch(unknown).await.unwrap_err().code(), Code::NotFound);
    let for_reads = QueryOptions { read_concern: ReadConcern::Majority.into(), ..QueryOptions::default() };
    let delete = DeleteRequest {
        database: "t".into(),
        collection: "notes".into(),
        filter: Some(json("{}")),
        options: Some(for_reads),
        ..DeleteRequest::default()
    };
    assert_eq!(calls.documents.delete_one(delete).await.unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn the_command_line_waits_for_writes_and_lists_what_became_of_them() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let shown = peer.command(&["insert", "notes", r#"{"_id": 1}"#, "--majority", "--timeout", "1"]);
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some("1"));
    let hint = lines.next().unwrap();
    assert!(hint.starts_with("not confirmed yet: `combdb receipts "), "{shown}");
    let entry = hint.split(['`', ' ']).find(|word| word.len() == 64).unwrap();
    assert_eq!(peer.command(&["count", "notes", "{}", "--read-concern", "majority"]).trim(), "0");

    peer.command(&["writers", "set-indexers", &own_key(&peer)]);
    assert_eq!(peer.command(&["receipts", entry]).trim(), "confirmed: applied");
    assert_eq!(peer.command(&["count", "notes", "{}", "--read-concern", "majority"]).trim(), "1");
    let deleted = peer.command(&["delete", "notes", r#"{"_id": 1}"#, "--majority"]);
    assert_eq!(deleted, "deleted 1\nconfirmed\n");

    let list = peer.command(&["receipts"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("ENTRY") && lines[1].contains(entry), "{list}");
    assert!(lines[1..].iter().all(|line| line.contains("confirmed") && line.contains("applied")), "{list}");
    assert_eq!(peer.command(&["receipts", "--rejected"]).lines().count(), 1);
    assert_eq!(peer.try_command(&["receipts", "none"]).status.code(), Some(1));

    // Receipts outlive the process, and a change of the key that it writes with.
    peer.stop();
    peer.restart(&PeerOptions::topic("t"));
    assert_eq!(peer.command(&["receipts"]), list);
    peer.command(&["writers", "rotate"]);
    peer.command(&["insert", "notes", r#"{"_id": 2}"#]);
    let after = peer.command(&["receipts"]);
    assert!(after.contains(entry) && after.lines().count() > list.lines().count(), "{after}");
    assert!(after.lines().last().unwrap().ends_with("insert notes"), "{after}");
    peer.kill();
    peer.restart(&PeerOptions::topic("t"));
    assert_eq!(peer.command(&["receipts"]), after);
    assert_eq!(peer.command(&["receipts", entry]).trim(), "confirmed: applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_write_that_does_not_hold_at_its_place_fails_with_the_reason() {
    let topic = PeerOptions::topic("t");
    let (first, second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    first.command(&["writers", "set-indexers", &own_key(&first)]);
    first.command(&["insert", "notes", r#"{"_id": 1, "by": "first"}"#]);
    let (a, b) = (first.calls().await, second.calls().await);
    let waiting = {
        let mut documents = b.documents.clone();
        tokio::spawn(async move { documents.insert(insert(r#"{"_id": 1}"#, majority(0))).await })
    };
    eventually("it is written", || async { b.count("t", "notes", "{}").await.unwrap() == 1 }).await;
    let address = a.own_address().await;
    b.peers.clone().add(AddPeerRequest { address }).await.unwrap();
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!((refused.code(), code_of(&refused)), (Code::AlreadyExists, 11_000));
    assert!(refused.message().starts_with("rejected at its place in the order"), "{refused}");
    assert_eq!(b.count("t", "notes", r#"{"by": "first"}"#).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_who_has_lost_its_rights_meanwhile_is_told_as_rejected_with_the_reason() {
    let topic = PeerOptions::topic("t");
    let (first, mut second) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    let a = first.calls().await;
    let (admin, guest) = (own_key(&first), own_key(&second));
    first.command(&["writers", "set-indexers", &admin]);
    first.command(&["writers", "set-role", &guest, "writer"]);
    let meet = async |second: &Peer| {
        let address = a.own_address().await;
        second.calls().await.peers.clone().add(AddPeerRequest { address }).await.unwrap();
    };
    meet(&second).await;
    let b = second.calls().await;
    eventually("the guest knows the founding", || async {
        b.status("t").await.unwrap().indexers == [admin.clone()]
    })
    .await;
    // They part; one loses its rights, and writes without knowing.
    drop(b);
    second.stop();
    second.restart(&topic);
    first.command(&["writers", "remove", &guest]);
    let mut b = second.calls().await;
    let request = InsertRequest { write_concern: None, ..insert(r#"{"_id": 1}"#, majority(0)) };
    let answer = b.documents.insert(request).await.unwrap().into_inner();
    let entry = answer.acknowledgement.unwrap().entry;
    let watch = WatchReceiptRequest { database: "t".into(), entry: entry.clone() };
    let mut stream = ReceiptsClient::new(b.channel.clone()).watch(watch).await.unwrap().into_inner();
    let before = stream.message().await.unwrap().unwrap();
    assert_eq!((before.state(), before.outcome()), (ReceiptState::Ordered, EntryOutcome::Applied));
    let waiting = {
        let mut documents = b.documents.clone();
        tokio::spawn(async move { documents.insert(insert(r#"{"_id": 2}"#, majority(0))).await })
    };
    eventually("it is written", || async { b.count("t", "notes", "{}").await.unwrap() == 2 }).await;
    meet(&second).await;
    let after = loop {
        let receipt = stream.message().await.unwrap().unwrap();
        if receipt.outcome() == EntryOutcome::Rejected {
            break receipt;
        }
    };
    let parts: Vec<_> = after.rejected.iter().map(|rejected| (rejected.operation, rejected.count)).collect();
    assert_eq!(parts, [(0, 1)]);
    assert_eq!(after.rejected[0].parts[0].code, 13, "Unauthorized");
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!((refused.code(), code_of(&refused)), (Code::PermissionDenied, 13));
    assert!(refused.message().starts_with("the right to write was taken away"), "{refused}");
    assert_eq!(b.count("t", "notes", "{}").await.unwrap(), 0);
    let list = second.command(&["receipts", "--rejected"]);
    assert!(list.lines().count() == 3 && list.contains(&entry[..8]), "{list}");
    second.stop();
    second.restart(&topic);
    assert_eq!(second.command(&["receipts", "--rejected"]), list, "also after a restart");
}
