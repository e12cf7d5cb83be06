//! Reading and writing documents through gRPC.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use bson::{Bson, Document, doc, oid::ObjectId};
use combdb_tests::{Calls, Peer, PeerOptions, code_of, json, json_text, value_text};
use proto::v1::explain_request::Call;
use proto::v1::{
    DeleteRequest, DistinctRequest, DocumentFormat, EstimatedCountRequest, ExplainRequest, FindOneRequest,
    FindRequest, Hint, InsertRequest, ReplaceRequest, UpdateRequest, document, hint, value,
};
use serde_json::Value;
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

const FILMS: [&str; 6] = [
    r#"{"_id": 1, "title": "Alien", "year": 1979, "genres": ["Horror", "Science Fiction"], "stock": 3}"#,
    r#"{"_id": 2, "title": "Brazil", "year": 1985, "genres": ["Science Fiction"], "stock": 0}"#,
    r#"{"_id": 3, "title": "Casablanca", "year": 1942, "genres": ["Drama", "Romance"], "stock": 1}"#,
    r#"{"_id": 4, "title": "Duel", "year": 1971, "genres": ["Thriller"], "stock": 2}"#,
    r#"{"_id": 5, "title": "Eraserhead", "year": 1977, "genres": [], "stock": 1}"#,
    r#"{"_id": 6, "title": "Fargo", "year": 1996, "genres": ["Crime", "Drama"], "stock": 4}"#,
];

/// A server with the films above.
async fn films() -> (Peer, Calls) {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    assert_eq!(calls.insert("t", "films", &FILMS).await.unwrap(), ["1", "2", "3", "4", "5", "6"]);
    (peer, calls)
}

fn find(filter: &str) -> FindRequest {
    FindRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(filter)),
        ..FindRequest::default()
    }
}

fn ids(documents: &[String]) -> Vec<i64> {
    let id = |text: &String| serde_json::from_str::<Value>(text).unwrap()["_id"].as_i64().unwrap();
    documents.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn find_filters_sorts_skips_limits_and_projects() {
    let (_peer, calls) = films().await;
    let request = FindRequest {
        sort: Some(json(r#"{"year": -1}"#)),
        skip: 1,
        limit: 2,
        ..find(r#"{"year": {"$gte": 1971, "$lt": 1990}}"#)
    };
    assert_eq!(ids(&calls.find(request).await.unwrap()), [1, 5]);
    let request =
        FindRequest { projection: Some(json(r#"{"title": 1, "_id": 0}"#)), ..find(r#"{"genres": "Crime"}"#) };
    assert_eq!(calls.find(request).await.unwrap(), [r#"{"title":"Fargo"}"#]);
    let request = FindRequest { sort: Some(json(r#"{"_id": 1}"#)), ..find("{}") };
    assert_eq!(ids(&calls.find(request).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    assert!(calls.find(FindRequest { collection: "none".into(), ..find("{}") }).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_answers_filter_and_sort_and_explain_says_so() {
    let (_peer, calls) = films().await;
    assert_eq!(calls.create_index("t", "films", r#"{"year": 1}"#, false).await.unwrap(), "year_1");
    let request = FindRequest {
        sort: Some(json(r#"{"year": 1}"#)),
        hint: Some(Hint { index: Some(hint::Index::Name("year_1".into())) }),
        ..find(r#"{"year": {"$gt": 1971}}"#)
    };
    assert_eq!(ids(&calls.find(request.clone()).await.unwrap()), [5, 1, 2, 6]);
    let plan = calls
        .documents
        .clone()
        .explain(ExplainRequest { call: Some(Call::Find(request)), verbosity: 0 })
        .await
        .unwrap();
    let plan = json_text(plan.into_inner().plan);
    assert!(plan.contains("IXSCAN") && plan.contains("year_1"), "{plan}");

    let scan = ExplainRequest { call: Some(Call::Find(find(r#"{"stock": 1}"#))), verbosity: 0 };
    let plan = json_text(calls.documents.clone().explain(scan).await.unwrap().into_inner().plan);
    assert!(plan.contains("COLLSCAN"), "{plan}");

    let by_keys = FindRequest {
        hint: Some(Hint { index: Some(hint::Index::Keys(json(r#"{"year": 1}"#))) }),
        ..find(r#"{"stock": 1}"#)
    };
    assert_eq!(ids(&calls.find(by_keys).await.unwrap()), [3, 5]);
    let unknown =
        FindRequest { hint: Some(Hint { index: Some(hint::Index::Name("none".into())) }), ..find("{}") };
    assert_eq!(calls.find(unknown).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_travel_as_bson_too_and_answers_in_the_form_of_the_question() {
    let (_peer, calls) = films().await;
    let id = ObjectId::new();
    let stored = doc! {"_id": id, "n": 5_i64, "d": 5.0, "x": Bson::Null, "sub": {"z": 1, "a": [true, "ü"]}};
    let bytes = |document: &Document| proto::v1::Document {
        form: Some(document::Form::Bson(document.to_vec().unwrap().into())),
    };
    let request = InsertRequest {
        database: "t".into(),
        collection: "raw".into(),
        documents: vec![bytes(&stored)],
        ..InsertRequest::default()
    };
    let answer = calls.documents.clone().insert(request).await.unwrap().into_inner();
    let Some(value::Form::Bson(value)) = answer.inserted[0].id.clone().unwrap().form else {
        panic!("not BSON")
    };
    assert_eq!(Document::from_reader(&value[..]).unwrap(), doc! {"v": id});

    let request = FindOneRequest {
        database: "t".into(),
        collection: "raw".into(),
        filter: Some(bytes(&doc! {"_id": id})),
        ..FindOneRequest::default()
    };
    let found = calls.documents.clone().find_one(request.clone()).await.unwrap().into_inner().document;
    let Some(document::Form::Bson(found)) = found.unwrap().form else { panic!("not BSON") };
    assert_eq!(Document::from_reader(&found[..]).unwrap(), stored);

    let request = FindOneRequest { format: DocumentFormat::ExtendedJson.into(), ..request };
    let found = calls.documents.clone().find_one(request.clone()).await.unwrap().into_inner().document;
    let text =
        format!(r#"{{"_id":{{"$oid":"{id}"}},"n":5,"d":5.0,"x":null,"sub":{{"z":1,"a":[true,"ü"]}}}}"#);
    assert_eq!(json_text(found), text);

    let none = FindOneRequest { filter: Some(json(r#"{"_id": 404}"#)), ..request };
    assert_eq!(calls.documents.clone().find_one(none).await.unwrap().into_inner().document, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_distinct_values() {
    let (_peer, calls) = films().await;
    assert_eq!(calls.count("t", "films", r#"{"stock": {"$gt": 0}}"#).await.unwrap(), 5);
    assert_eq!(calls.count("t", "none", "{}").await.unwrap(), 0);
    let request = EstimatedCountRequest {
        database: "t".into(),
        collection: "films".into(),
        ..EstimatedCountRequest::default()
    };
    assert_eq!(calls.documents.clone().estimated_count(request).await.unwrap().into_inner().count, 6);
    let request = DistinctRequest {
        database: "t".into(),
        collection: "films".into(),
        field: "genres".into(),
        filter: Some(json(r#"{"year": {"$gt": 1978}}"#)),
        ..DistinctRequest::default()
    };
    let values = calls.documents.clone().distinct(request).await.unwrap().into_inner().values;
    let mut values: Vec<_> = values.into_iter().map(|value| value_text(Some(value))).collect();
    values.sort();
    assert_eq!(values, [r#""Crime""#, r#""Drama""#, r#""Horror""#, r#""Science Fiction""#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_change_what_matches_and_say_how_much() {
    let (_peer, calls) = films().await;
    let answer =
        calls.update_many("t", "films", r#"{"stock": {"$gt": 0}}"#, r#"{"$inc": {"stock": -1}}"#).await;
    let answer = answer.unwrap();
    assert_eq!((answer.matched, answer.modified, answer.upserted_id), (5, 5, None));
    assert_eq!(calls.count("t", "films", r#"{"stock": 0}"#).await.unwrap(), 3);

    let request = UpdateRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(r#"{"_id": 7}"#)),
        update: Some(json(r#"{"$set": {"title": "Gattaca"}}"#)),
        upsert: true,
        ..UpdateRequest::default()
    };
    let answer = calls.documents.clone().update_one(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.matched, answer.modified), (0, 0));
    assert_eq!(value_text(answer.upserted_id), "7");
    let answer = calls.documents.clone().update_one(request).await.unwrap().into_inner();
    assert_eq!((answer.matched, answer.modified, answer.upserted_id), (1, 0, None));

    let request = ReplaceRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(r#"{"title": "Gattaca"}"#)),
        replacement: Some(json(r#"{"title": "Heat", "year": 1995}"#)),
        ..ReplaceRequest::default()
    };
    let answer = calls.documents.clone().replace_one(request).await.unwrap().into_inner();
    assert_eq!((answer.matched, answer.modified), (1, 1));
    assert_eq!(calls.find(find(r#"{"_id": 7}"#)).await.unwrap(), [r#"{"_id":7,"title":"Heat","year":1995}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_remove_what_matches() {
    let (_peer, calls) = films().await;
    let request = |filter: &str| DeleteRequest {
        database: "t".into(),
        collection: "films".into(),
        filter: Some(json(filter)),
        ..DeleteRequest::default()
    };
    let mut documents = calls.documents.clone();
    assert_eq!(documents.delete_one(request(r#"{"stock": 1}"#)).await.unwrap().into_inner().deleted, 1);
    assert_eq!(
        documents.delete_many(request(r#"{"year": {"$lt": 1979}}"#)).await.unwrap().into_inner().deleted,
        2
    );
    assert_eq!(documents.delete_many(request(r#"{"_id": 404}"#)).await.unwrap().into_inner().deleted, 0);
    assert_eq!(calls.count("t", "films", "{}").await.unwrap(), 3);
    let everything = DeleteRequest { filter: None, ..request("{}") };
    assert_eq!(documents.delete_many(everything).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(calls.count("t", "films", "{}").await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_insert_stops_at_a_duplicate_and_an_unordered_one_goes_on() {
    let (_peer, calls) = films().await;
    let batch = [r#"{"_id": 10}"#, r#"{"_id": 1}"#, r#"{"_id": 11}"#];
    let refusal = calls.insert("t", "films", &batch).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::AlreadyExists, 11000));
    assert_eq!(calls.count("t", "films", r#"{"_id": {"$gte": 10}}"#).await.unwrap(), 1);

    let request = InsertRequest {
        database: "t".into(),
        collection: "films".into(),
        documents: [r#"{"_id": 20}"#, r#"{"_id": 1}"#, r#"{"_id": 21}"#].map(json).into(),
        unordered: true,
        ..InsertRequest::default()
    };
    let answer = calls.documents.clone().insert(request).await.unwrap().into_inner();
    assert_eq!(answer.inserted.iter().map(|inserted| inserted.index).collect::<Vec<_>>(), [0, 2]);
    let failures: Vec<_> = answer.failures.iter().map(|failure| (failure.index, failure.code)).collect();
    assert_eq!(failures, [(1, 11000)]);
    assert_eq!(calls.count("t", "films", r#"{"_id": {"$gte": 20}}"#).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_index_refuses_a_second_document_with_its_key() {
    let (_peer, calls) = films().await;
    calls.create_index("t", "films", r#"{"title": 1}"#, true).await.unwrap();
    let refusal = calls.insert("t", "films", &[r#"{"_id": 30, "title": "Alien"}"#]).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::AlreadyExists, 11000));
    let refusal = calls.update_many("t", "films", r#"{"_id": 2}"#, r#"{"$set": {"title": "Alien"}}"#).await;
    assert_eq!(code_of(&refusal.unwrap_err()), 11000);
    let refusal = calls.create_index("t", "films", r#"{"stock": 1}"#, true).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::AlreadyExists, 11000));
    assert_eq!(calls.count("t", "films", "{}").await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_find_streams_batches_of_one_snapshot() {
    let (_peer, calls) = films().await;
    let documents: Vec<String> =
        (0..5_000).map(|n| format!(r#"{{"_id": {n}, "pad": "{}"}}"#, "x".repeat(500))).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    calls.insert("t", "many", &documents).await.unwrap();
    let request = FindRequest {
        collection: "many".into(),
        sort: Some(json(r#"{"_id": 1}"#)),
        batch_size: 100,
        format: DocumentFormat::ExtendedJson.into(),
        ..find("{}")
    };
    let mut stream = calls.documents.clone().find(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.documents.len(), 100);
    calls.update_many("t", "many", "{}", r#"{"$set": {"late": true}}"#).await.unwrap();
    let mut count = first.documents.len();
    while let Some(batch) = stream.message().await.unwrap() {
        assert!(batch.documents.len() <= 100);
        count += batch.documents.len();
        for document in batch.documents {
            assert!(!json_text(Some(document)).contains("late"), "a write after the find is seen");
        }
    }
    assert_eq!(count, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_that_nobody_reads_hold_up_nobody_and_are_freed() {
    let (peer, calls) = films().await;
    // What nobody reads fills the windows of its own connection.
    let others = peer.calls().await;
    let pad = "x".repeat(100_000);
    let documents: Vec<String> = (0..100).map(|n| format!(r#"{{"_id": {n}, "pad": "{pad}"}}"#)).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    calls.insert("t", "large", &documents).await.unwrap();
    let request = || FindRequest { collection: "large".into(), batch_size: 1, ..find("{}") };
    // More than may stream at once, were they not freed when their clients go away.
    for _ in 0..4 {
        let mut unread = Vec::new();
        for _ in 0..100 {
            unread.push(calls.documents.clone().find(request()).await.unwrap());
        }
        assert_eq!(others.count("t", "films", "{}").await.unwrap(), 6);
        drop(unread);
        combdb_tests::eventually("cursors are freed", || async {
            match calls.documents.clone().find(request()).await {
                Ok(_) => true,
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    false
                }
            }
        })
        .await;
    }
}
