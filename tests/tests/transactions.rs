//! Transactions over gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use combdb_tests::{Calls, Peer, PeerOptions, code_of, json};
use proto::v1::transactions_client::TransactionsClient;
use proto::v1::{
    AbortTransactionRequest, AggregateRequest, BeginTransactionRequest, BulkWriteRequest,
    CommitTransactionRequest, CountRequest, FindOneAndUpdateRequest, FindRequest, InsertRequest,
    QueryOptions, UpdateRequest, WriteConcern, WriteModel, write_model::Write as Part,
};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn begin(transactions: &mut TransactionsClient<Channel>, idle_timeout_ms: u64) -> String {
    let begin = BeginTransactionRequest { database: "t".into(), idle_timeout_ms, ..Default::default() };
    transactions.begin(begin).await.unwrap().into_inner().transaction
}

fn within(transaction: &str) -> QueryOptions {
    QueryOptions { transaction: transaction.into(), ..QueryOptions::default() }
}

fn insert(transaction: &str, collection: &str, document: &str) -> InsertRequest {
    InsertRequest {
        database: "t".into(),
        collection: collection.into(),
        documents: vec![json(document)],
        transaction: transaction.into(),
        ..InsertRequest::default()
    }
}

fn find(transaction: &str, filter: &str) -> FindRequest {
    FindRequest {
        database: "t".into(),
        collection: "accounts".into(),
        filter: Some(json(filter)),
        options: Some(within(transaction)),
        ..FindRequest::default()
    }
}

fn update(transaction: &str, filter: &str, update: &str) -> UpdateRequest {
    UpdateRequest {
        database: "t".into(),
        collection: "accounts".into(),
        filter: Some(json(filter)),
        update: Some(json(update)),
        options: Some(within(transaction)),
        ..UpdateRequest::default()
    }
}

fn commit(transaction: &str) -> CommitTransactionRequest {
    CommitTransactionRequest { transaction: transaction.into(), write_concern: None }
}

async fn accounts(peer: &Peer) -> Calls {
    let calls = peer.calls().await;
    let two = [r#"{"_id": "a", "n": 5}"#, r#"{"_id": "b", "n": 0}"#];
    calls.insert("t", "accounts", &two).await.unwrap();
    calls
}

fn labels(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    info.metadata.get("labels").cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_is_read_and_written_in_a_transaction_is_one_entry_or_nothing() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = accounts(&peer).await;
    let mut transactions = TransactionsClient::new(calls.channel.clone());
    let one = begin(&mut transactions, 0).await;
    assert_eq!(calls.find(find(&one, r#"{"_id": "a"}"#)).await.unwrap(), [r#"{"_id":"a","n":5}"#]);
    calls.documents.update_one(update(&one, r#"{"_id": "a"}"#, r#"{"$inc": {"n": -3}}"#)).await.unwrap();
    let bulk = BulkWriteRequest {
        database: "t".into(),
        collection: "notes".into(),
        writes: vec![WriteModel { write: Some(Part::Insert(json(r#"{"_id": 1}"#))) }],
        transaction: one.clone(),
        ..BulkWriteRequest::default()
    };
    assert_eq!(calls.documents.bulk_write(bulk).await.unwrap().into_inner().inserted, 1);
    let modify = FindOneAndUpdateRequest {
        database: "t".into(),
        collection: "accounts".into(),
        filter: Some(json(r#"{"_id": "b"}"#)),
        update: Some(json(r#"{"$inc": {"n": 3}}"#)),
        options: Some(within(&one)),
        ..FindOneAndUpdateRequest::default()
    };
    assert!(calls.documents.find_one_and_update(modify).await.unwrap().into_inner().document.is_some());
    let inserted = calls.documents.insert(insert(&one, "accounts", r#"{"_id": "c", "n": 1}"#)).await.unwrap();
    assert_eq!(inserted.into_inner().acknowledgement.unwrap().entry, "", "the commit has the entry");
    let sum = AggregateRequest {
        database: "t".into(),
        collection: "accounts".into(),
        pipeline: vec![json(r#"{"$group": {"_id": null, "n": {"$sum": "$n"}}}"#)],
        options: Some(within(&one)),
        ..AggregateRequest::default()
    };
    let sum = calls.documents.aggregate(sum).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert_eq!(sum.documents.len(), 1);
    assert_eq!(
        calls.find(find(&one, r#"{"n": {"$lt": 4}}"#)).await.unwrap().len(),
        3,
        "its own writes are seen"
    );
    assert_eq!(calls.count("t", "accounts", "{}").await.unwrap(), 2, "and by nobody else");
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 0);
    let committed = transactions.commit(commit(&one)).await.unwrap().into_inner();
    assert_eq!(committed.acknowledgement.unwrap().entry.len(), 64);
    assert_eq!(calls.count("t", "accounts", r#"{"n": {"$lt": 4}}"#).await.unwrap(), 3);
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 1);
    assert_eq!(code_of(&transactions.commit(commit(&one)).await.unwrap_err()), 251);

    let two = begin(&mut transactions, 0).await;
    calls.documents.insert(insert(&two, "notes", r#"{"_id": 2}"#)).await.unwrap();
    transactions.abort(AbortTransactionRequest { transaction: two.clone() }).await.unwrap();
    let refused = calls.documents.insert(insert(&two, "notes", r#"{"_id": 2}"#)).await.unwrap_err();
    assert_eq!((refused.code(), code_of(&refused)), (Code::NotFound, 251));
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 1);
}

#[tokio::test]
async fn a_conflict_is_named_so_that_clients_begin_again_and_faults_end_a_transaction() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = accounts(&peer).await;
    let mut transactions = TransactionsClient::new(calls.channel.clone());
    let (one, other) = (begin(&mut transactions, 0).await, begin(&mut transactions, 0).await);
    for transaction in [&one, &other] {
        let count = CountRequest {
            database: "t".into(),
            collection: "accounts".into(),
            filter: Some(json(r#"{"n": {"$gt": 4}}"#)),
            options: Some(within(transaction)),
            ..CountRequest::default()
        };
        assert_eq!(calls.documents.count(count).await.unwrap().into_inner().count, 1);
        let set = update(transaction, r#"{"_id": "a"}"#, r#"{"$set": {"n": 0}}"#);
        calls.documents.update_one(set).await.unwrap();
    }
    transactions.commit(commit(&one)).await.unwrap();
    let refused = transactions.commit(commit(&other)).await.unwrap_err();
    assert_eq!((refused.code(), code_of(&refused)), (Code::Aborted, 112));
    assert_eq!(labels(&refused), "TransientTransactionError");

    let third = begin(&mut transactions, 0).await;
    calls.documents.insert(insert(&third, "notes", r#"{"_id": 1}"#)).await.unwrap();
    let refused = calls.documents.insert(insert(&third, "accounts", r#"{"_id": "a"}"#)).await.unwrap_err();
    assert_eq!(code_of(&refused), 11_000);
    assert_eq!(labels(&refused), "");
    assert_eq!(code_of(&transactions.commit(commit(&third)).await.unwrap_err()), 251);

    let concern = Some(WriteConcern { majority: true, timeout_ms: 1 });
    let fourth = begin(&mut transactions, 0).await;
    let own = InsertRequest { write_concern: concern, ..insert(&fourth, "notes", r#"{"_id": 1}"#) };
    assert_eq!(code_of(&calls.documents.insert(own).await.unwrap_err()), 72);
    calls.documents.insert(insert(&fourth, "notes", r#"{"_id": 1}"#)).await.unwrap();
    let later = CommitTransactionRequest { transaction: fourth, write_concern: concern };
    let committed = transactions.commit(later).await.unwrap().into_inner();
    assert!(!committed.acknowledgement.unwrap().confirmed, "nobody confirms anything here");
}

#[tokio::test]
async fn open_transactions_are_bounded_and_end_when_they_are_left_alone() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let mut calls = accounts(&peer).await;
    let mut transactions = TransactionsClient::new(calls.channel.clone());
    let left = begin(&mut transactions, 1).await;
    let gone = loop {
        // Asking is using: a pause of a millisecond comes sooner or later.
        match calls.documents.update_one(update(&left, r#"{"_id": "a"}"#, r#"{"$inc": {"n": 1}}"#)).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(status) => break status,
        }
    };
    assert_eq!(code_of(&gone), 251);
    let mut open = Vec::new();
    let refused = loop {
        let begin = BeginTransactionRequest { database: "t".into(), ..Default::default() };
        match transactions.begin(begin).await {
            Ok(begun) => open.push(begun.into_inner().transaction),
            Err(status) => break status,
        }
        assert!(open.len() < 1_000);
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    for transaction in open {
        transactions.abort(AbortTransactionRequest { transaction }).await.unwrap();
    }
    begin(&mut transactions, 0).await;
    assert_eq!(calls.count("t", "accounts", r#"{"n": 5}"#).await.unwrap(), 1);
}

#[test]
fn the_command_line_carries_out_lines_together_or_not_at_all() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.command(&["insert", "accounts", r#"{"_id": "a", "n": 50}"#, r#"{"_id": "b", "n": 0}"#]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines = [
        r#"{"accounts": {"expect": {"filter": {"_id": "a", "n": {"$gte": 10}}}}}"#,
        r#"{"accounts": {"updateOne": {"filter": {"_id": "a"}, "update": {"$inc": {"n": -10}}}}}"#,
        r#"{"accounts": {"updateOne": {"filter": {"_id": "b"}, "update": {"$inc": {"n": 10}}}}}"#,
        r#"{"transfers": {"insertOne": {"document": {"n": 10}}}}"#,
    ];
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let told = peer.command(&["transaction", path]);
    assert!(told.contains(r#""modifiedCount":2"#) && told.contains(r#""insertedCount":1"#), "{told}");
    // Several at once: each is tried again until it has its turn, as long as there is enough.
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let run = || peer.try_command(&["transaction", path, "--attempts", "1000"]).status.success();
        let running: Vec<_> = (0..6).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|success| **success).count(), 4, "there was enough for four more");
    assert_eq!(peer.command(&["count", "transfers"]).trim(), "5");
    assert_eq!(peer.command(&["count", "accounts", r#"{"_id": "b", "n": 50}"#]).trim(), "1");
    let shown = peer.command(&["log", "show"]);
    assert_eq!(shown.matches("transaction").count(), 5, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_made_at_once_in_one_transaction_are_carried_out_one_after_the_other() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = accounts(&peer).await;
    let mut transactions = TransactionsClient::new(calls.channel.clone());
    let one = begin(&mut transactions, 0).await;
    let at_once = (0..24).map(|id| {
        let (mut documents, one) = (calls.documents.clone(), one.clone());
        tokio::spawn(async move {
            let document = format!(r#"{{"_id": {id}}}"#);
            documents.insert(insert(&one, "notes", &document)).await.map(drop)
        })
    });
    for call in at_once.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    // One that is not about a collection would not be in the transaction.
    let of_none = AggregateRequest {
        database: "t".into(),
        pipeline: vec![json(r#"{"$documents": [{"a": 1}]}"#)],
        options: Some(within(&one)),
        ..AggregateRequest::default()
    };
    assert_eq!(code_of(&calls.documents.clone().aggregate(of_none).await.unwrap_err()), 72);
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 0);
    transactions.commit(commit(&one)).await.unwrap();
    assert_eq!(calls.count("t", "notes", "{}").await.unwrap(), 24);
    let log = peer.command(&["log", "show"]);
    assert_eq!(log.matches("transaction").count(), 1, "{log}");
}
