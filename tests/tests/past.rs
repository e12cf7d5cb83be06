//! Reads of past states over gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Peer, PeerOptions, code_of, json, json_text};
use proto::v1::{
    AggregateRequest, CountRequest, DistinctRequest, DocumentFormat, EstimatedCountRequest, FindOneRequest,
    FindRequest, ListCollectionsRequest, ListIndexesRequest, QueryOptions, UpdateRequest,
};
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// A peer whose database is confirmed at once; the entry at position 3 has left two films.
async fn films() -> Peer {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let status = peer.command(&["status"]);
    let line = status.lines().find(|line| line.starts_with("writer ")).unwrap();
    peer.command(&["writers", "set-indexers", line.split_whitespace().nth(1).unwrap()]);
    let calls = peer.calls().await;
    calls.create_index("t", "films", r#"{"year": 1}"#, false).await.unwrap();
    calls.insert("t", "films", &[r#"{"_id": 1, "year": 1979}"#]).await.unwrap();
    calls.insert("t", "films", &[r#"{"_id": 2, "year": 1984}"#]).await.unwrap();
    calls.update_many("t", "films", "{}", r#"{"$set": {"year": 2000}}"#).await.unwrap();
    calls.insert("t", "later", &[r#"{"_id": 1}"#]).await.unwrap();
    peer
}

fn at(position: u64) -> QueryOptions {
    QueryOptions { at_position: Some(position), ..QueryOptions::default() }
}

#[tokio::test]
async fn every_kind_of_read_sees_a_past_state() {
    let peer = films().await;
    let calls = peer.calls().await;
    let (mut documents, mut collections) = (calls.documents.clone(), calls.collections.clone());
    let (database, collection) = ("t".to_owned(), "films".to_owned());
    let old = r#"{"year": {"$lt": 2000}}"#;
    let find = FindRequest {
        database: database.clone(),
        collection: collection.clone(),
        filter: Some(json(old)),
        options: Some(at(3)),
        ..FindRequest::default()
    };
    assert_eq!(
        calls.find(find.clone()).await.unwrap(),
        [r#"{"_id":1,"year":1979}"#, r#"{"_id":2,"year":1984}"#]
    );
    assert_eq!(calls.find(FindRequest { options: None, ..find.clone() }).await.unwrap(), [""; 0]);
    let one = FindOneRequest {
        database: database.clone(),
        collection: collection.clone(),
        sort: Some(json(r#"{"year": -1}"#)),
        format: DocumentFormat::ExtendedJson.into(),
        options: Some(at(2)),
        ..FindOneRequest::default()
    };
    let one = documents.find_one(one).await.unwrap().into_inner().document;
    assert_eq!(json_text(one), r#"{"_id":1,"year":1979}"#);
    let count = |position| CountRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(old)),
        options: Some(at(position)),
        ..CountRequest::default()
    };
    for (position, expected) in [(1, 0), (2, 1), (3, 2), (4, 0)] {
        assert_eq!(documents.count(count(position)).await.unwrap().into_inner().count, expected);
    }
    let estimated = EstimatedCountRequest {
        database: database.clone(),
        collection: collection.clone(),
        at_position: Some(2),
        ..EstimatedCountRequest::default()
    };
    assert_eq!(documents.estimated_count(estimated).await.unwrap().into_inner().count, 1);
    let distinct = DistinctRequest {
        database: database.clone(),
        collection: collection.clone(),
        field: "year".into(),
        options: Some(at(3)),
        ..DistinctRequest::default()
    };
    assert_eq!(documents.distinct(distinct).await.unwrap().into_inner().values.len(), 2);
    let aggregate = AggregateRequest {
        database: database.clone(),
        collection: collection.clone(),
        pipeline: vec![json(r#"{"$group": {"_id": null, "sum": {"$sum": "$year"}}}"#)],
        format: DocumentFormat::ExtendedJson.into(),
        options: Some(at(3)),
        ..AggregateRequest::default()
    };
    let mut batches = documents.aggregate(aggregate).await.unwrap().into_inner();
    let sum = batches.message().await.unwrap().unwrap().documents.pop();
    assert_eq!(json_text(sum), r#"{"_id":null,"sum":3963}"#);
    for (position, expected) in [(3, vec!["films"]), (5, vec!["films", "later"])] {
        let list = ListCollectionsRequest { database: database.clone(), at_position: Some(position) };
        assert_eq!(collections.list(list).await.unwrap().into_inner().collections, expected);
    }
    let list = |position| ListIndexesRequest {
        database: "t".into(),
        collection: "films".into(),
        at_position: Some(position),
        ..ListIndexesRequest::default()
    };
    for (position, expected) in [(0, 0), (1, 2)] {
        let indexes = collections.list_indexes(list(position)).await.unwrap().into_inner().indexes;
        assert_eq!(indexes.len(), expected);
    }

    // What cannot be, each with its code.
    let far = documents.count(count(u64::MAX)).await.unwrap_err();
    assert_eq!((far.code(), code_of(&far)), (Code::Unavailable, 246));
    let update = UpdateRequest {
        database: database.clone(),
        collection: collection.clone(),
        filter: Some(json("{}")),
        update: Some(json(r#"{"$set": {"year": 1}}"#)),
        options: Some(at(3)),
        ..UpdateRequest::default()
    };
    let refused = documents.update_many(update).await.unwrap_err();
    assert_eq!((refused.code(), code_of(&refused)), (Code::InvalidArgument, 72));
}

#[tokio::test]
async fn the_command_line_reads_past_states() {
    let peer = films().await;
    let find =
        |position: &str| peer.command(&["find", "films", r#"{"year": {"$lt": 2000}}"#, "--at", position]);
    assert_eq!(find("2"), "{\"_id\":1,\"year\":1979}\n");
    assert_eq!(find("3").lines().count(), 2);
    assert_eq!(find("4"), "");
    assert_eq!(peer.command(&["count", "films", "--at", "2"]), "1\n");
    assert_eq!(peer.command(&["find", "films", "--count", "--at", "3"]), "2\n");
    assert_eq!(peer.command(&["distinct", "films", "year", "--at", "3"]), "1979\n1984\n");
    let grouped = r#"{"$group": {"_id": null, "n": {"$sum": 1}}}"#;
    assert_eq!(peer.command(&["aggregate", "films", grouped, "--at", "2"]), "{\"_id\":null,\"n\":1}\n");
    assert_eq!(peer.command(&["collections", "list", "--at", "3"]), "films\n");
    assert!(peer.command(&["indexes", "list", "films", "--at", "1"]).contains("year_1"));
    let refused = peer.try_command(&["find", "films", "--at", "99"]);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("no entry stands at this position"), "{message}");
}
