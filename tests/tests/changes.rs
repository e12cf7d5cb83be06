//! Bulk writes, find-and-modify, pipeline updates, hints, time limits and explanations through gRPC.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::unnecessary_wraps)]

use combdb_tests::{Calls, Peer, PeerOptions, code_of, json, json_text, value_text};
use proto::v1::explain_request::Call;
use proto::v1::write_model::Write as Part;
use proto::v1::{
    BulkWriteRequest, CountRequest, CreateIndexRequest, DeleteModel, DeleteRequest, DistinctRequest,
    Document, DocumentFormat, DropIndexRequest, ExplainRequest, FindOneAndDeleteRequest,
    FindOneAndReplaceRequest, FindOneAndUpdateRequest, FindOneRequest, FindRequest, Hint, Index,
    ListIndexesRequest, Pipeline, QueryOptions, ReplaceModel, ReplaceRequest, ReturnDocument, UpdateModel,
    UpdateRequest, Verbosity, WriteModel, hint,
};
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// A server with five items, numbered, in the collection `items` of the database `t`.
async fn items() -> (Peer, Calls) {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let items: Vec<String> = (1..=5)
        .map(|n| format!(r#"{{"_id": {n}, "n": {n}, "kind": "{}"}}"#, ["odd", "even"][(n + 1) % 2]))
        .collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    calls.insert("t", "items", &items).await.unwrap();
    (peer, calls)
}

fn pipeline(stages: &[&str]) -> Option<Pipeline> {
    Some(Pipeline { stages: stages.iter().map(|stage| json(stage)).collect() })
}

fn named(index: &str) -> Option<Hint> {
    Some(Hint { index: Some(hint::Index::Name(index.into())) })
}

fn part(write: Part) -> WriteModel {
    WriteModel { write: Some(write) }
}

fn bulk(writes: Vec<WriteModel>) -> BulkWriteRequest {
    BulkWriteRequest {
        database: "t".into(),
        collection: "items".into(),
        writes,
        ..BulkWriteRequest::default()
    }
}

fn find(filter: &str) -> FindRequest {
    FindRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(filter)),
        sort: Some(json(r#"{"_id": 1}"#)),
        ..FindRequest::default()
    }
}

/// Every kind of write: what they do, and which fail, can be counted.
fn mixture() -> Vec<WriteModel> {
    vec![
        part(Part::Insert(json(r#"{"_id": 6, "n": 6}"#))),
        part(Part::Update(UpdateModel {
            filter: Some(json(r#"{"kind": "odd"}"#)),
            pipeline: pipeline(&[r#"{"$set": {"double": {"$multiply": ["$n", 2]}}}"#]),
            many: true,
            ..UpdateModel::default()
        })),
        part(Part::Insert(json(r#"{"_id": 1}"#))),
        part(Part::Replace(ReplaceModel {
            filter: Some(json(r#"{"_id": 99}"#)),
            replacement: Some(json(r#"{"new": true}"#)),
            upsert: true,
            ..ReplaceModel::default()
        })),
        part(Part::Delete(DeleteModel {
            filter: Some(json(r#"{"kind": "even"}"#)),
            many: true,
            ..DeleteModel::default()
        })),
        part(Part::Update(UpdateModel {
            filter: Some(json("{}")),
            update: Some(json(r#"{"$set": {"last": true}}"#)),
            sort: Some(json(r#"{"_id": -1}"#)),
            ..UpdateModel::default()
        })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unordered_bulk_tries_every_write_and_tells_what_failed() {
    let (_peer, calls) = items().await;
    let request = BulkWriteRequest { unordered: true, ..bulk(mixture()) };
    let answer = calls.documents.clone().bulk_write(request).await.unwrap().into_inner();
    assert_eq!((answer.inserted, answer.matched, answer.modified, answer.deleted), (1, 4, 4, 2));
    assert_eq!(answer.inserted_ids.iter().map(|inserted| inserted.index).collect::<Vec<_>>(), [0]);
    let upserted: Vec<_> =
        answer.upserted_ids.into_iter().map(|upserted| (upserted.index, value_text(upserted.id))).collect();
    assert_eq!(upserted, [(3, "99".to_owned())]);
    let failures: Vec<_> = answer.failures.iter().map(|failure| (failure.index, failure.code)).collect();
    assert_eq!(failures, [(2, 11000)]);
    assert_eq!(
        calls.find(find("{}")).await.unwrap(),
        [
            r#"{"_id":1,"n":1,"kind":"odd","double":2}"#,
            r#"{"_id":3,"n":3,"kind":"odd","double":6}"#,
            r#"{"_id":5,"n":5,"kind":"odd","double":10}"#,
            r#"{"_id":6,"n":6}"#,
            r#"{"_id":99,"new":true,"last":true}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_bulk_ends_at_the_first_failure_and_is_one_entry() {
    let (_peer, calls) = items().await;
    let before = calls.status("t").await.unwrap().entries;
    let answer = calls.documents.clone().bulk_write(bulk(mixture())).await.unwrap().into_inner();
    assert_eq!((answer.inserted, answer.matched, answer.modified, answer.deleted), (1, 3, 3, 0));
    assert_eq!((answer.upserted_ids.len(), answer.failures.len()), (0, 1));
    assert_eq!(calls.status("t").await.unwrap().entries, before + 1);
    assert_eq!(calls.count("t", "items", r#"{"kind": "even"}"#).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_with_a_malformed_write_is_refused_whole_and_says_which() {
    let (_peer, calls) = items().await;
    let mut documents = calls.documents.clone();
    let good = || part(Part::Insert(json(r#"{"_id": 50}"#)));
    let delete_all = part(Part::Delete(DeleteModel::default()));
    let both = part(Part::Update(UpdateModel {
        filter: Some(json("{}")),
        update: Some(json(r#"{"$set": {"a": 1}}"#)),
        pipeline: pipeline(&[]),
        ..UpdateModel::default()
    }));
    for (writes, words) in [
        (vec![], "write 1 to 100000"),
        (vec![good(), WriteModel { write: None }], "write 1: "),
        (vec![good(), delete_all], "write 1: filter is missing"),
        (vec![good(), both], "write 1: give an update or a pipeline"),
        (vec![good(), part(Part::Insert(json("[1]")))], "write 1: document: "),
    ] {
        let refusal = documents.bulk_write(bulk(writes)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(refusal.message().starts_with(words), "{}", refusal.message());
    }
    // What only the engine can judge fails alone.
    let unknown = part(Part::Update(UpdateModel {
        filter: Some(json("{}")),
        update: Some(json(r#"{"$foo": {"a": 1}}"#)),
        ..UpdateModel::default()
    }));
    let answer = documents.bulk_write(bulk(vec![unknown])).await.unwrap().into_inner();
    assert_eq!(answer.failures.iter().map(|failure| failure.code).collect::<Vec<_>>(), [9]);
    assert_eq!(calls.count("t", "items", "{}").await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_is_changed_and_given_in_one_step() {
    let (_peer, calls) = items().await;
    let mut documents = calls.documents.clone();
    let update = FindOneAndUpdateRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(r#"{"kind": "odd"}"#)),
        update: Some(json(r#"{"$inc": {"n": 10}}"#)),
        sort: Some(json(r#"{"n": -1}"#)),
        projection: Some(json(r#"{"n": 1}"#)),
        ..FindOneAndUpdateRequest::default()
    };
    let before = documents.find_one_and_update(update.clone()).await.unwrap().into_inner();
    assert_eq!(json_text(before.document), r#"{"_id":5,"n":5}"#);
    let after = FindOneAndUpdateRequest {
        update: None,
        pipeline: pipeline(&[r#"{"$set": {"n": {"$add": ["$n", 100]}}}"#, r#"{"$unset": "kind"}"#]),
        return_document: ReturnDocument::After.into(),
        ..update.clone()
    };
    let after = documents.find_one_and_update(after).await.unwrap().into_inner();
    assert_eq!(json_text(after.document), r#"{"_id":5,"n":115}"#);
    let filtered = FindOneAndUpdateRequest {
        filter: Some(json(r#"{"_id": 7}"#)),
        update: Some(json(r#"{"$set": {"list": [1, 8]}}"#)),
        upsert: true,
        return_document: ReturnDocument::After.into(),
        projection: None,
        ..update.clone()
    };
    let upserted = documents.find_one_and_update(filtered.clone()).await.unwrap().into_inner();
    assert_eq!(json_text(upserted.document), r#"{"_id":7,"list":[1,8]}"#);
    let filtered = FindOneAndUpdateRequest {
        update: Some(json(r#"{"$inc": {"list.$[large]": 1}}"#)),
        array_filters: vec![json(r#"{"large": {"$gt": 5}}"#)],
        ..filtered
    };
    let changed = documents.find_one_and_update(filtered).await.unwrap().into_inner();
    assert_eq!(json_text(changed.document), r#"{"_id":7,"list":[1,9]}"#);

    let replace = FindOneAndReplaceRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(r#"{"_id": 7}"#)),
        replacement: Some(json(r#"{"plain": true}"#)),
        return_document: ReturnDocument::After.into(),
        ..FindOneAndReplaceRequest::default()
    };
    let replaced = documents.find_one_and_replace(replace.clone()).await.unwrap().into_inner();
    assert_eq!(json_text(replaced.document), r#"{"_id":7,"plain":true}"#);
    let delete = FindOneAndDeleteRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json("{}")),
        sort: Some(json(r#"{"_id": -1}"#)),
        ..FindOneAndDeleteRequest::default()
    };
    let deleted = documents.find_one_and_delete(delete.clone()).await.unwrap().into_inner();
    assert_eq!(json_text(deleted.document), r#"{"_id":7,"plain":true}"#);
    assert_eq!(documents.find_one_and_replace(replace).await.unwrap().into_inner().document, None);

    let everything = FindOneAndDeleteRequest { filter: None, ..delete };
    assert_eq!(documents.find_one_and_delete(everything).await.unwrap_err().code(), Code::InvalidArgument);
    let strange = FindOneAndUpdateRequest { return_document: 9, ..update.clone() };
    assert_eq!(documents.find_one_and_update(strange).await.unwrap_err().code(), Code::InvalidArgument);
    let nothing = FindOneAndUpdateRequest { update: None, ..update };
    assert_eq!(documents.find_one_and_update(nothing).await.unwrap_err().message(), "update is missing");
    assert_eq!(calls.count("t", "items", "{}").await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_take_pipelines_sort_orders_and_hints() {
    let (_peer, calls) = items().await;
    calls.create_index("t", "items", r#"{"kind": 1}"#, false).await.unwrap();
    let mut documents = calls.documents.clone();
    let update = UpdateRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(r#"{"kind": "odd"}"#)),
        pipeline: pipeline(&[r#"{"$replaceWith": {"_id": "$_id", "old": "$$ROOT.n"}}"#]),
        sort: Some(json(r#"{"n": -1}"#)),
        hint: named("kind_1"),
        ..UpdateRequest::default()
    };
    assert_eq!(documents.update_one(update.clone()).await.unwrap().into_inner().modified, 1);
    assert_eq!(calls.find(find(r#"{"old": 5}"#)).await.unwrap(), [r#"{"_id":5,"old":5}"#]);
    let unsorted = documents.update_many(update.clone()).await.unwrap_err();
    assert_eq!((unsorted.code(), code_of(&unsorted)), (Code::InvalidArgument, 9));
    let astray = UpdateRequest { hint: named("none"), ..update.clone() };
    assert_eq!(code_of(&documents.update_one(astray).await.unwrap_err()), 2);
    let stage = UpdateRequest { pipeline: pipeline(&[r#"{"$match": {}}"#]), ..update.clone() };
    assert_eq!(documents.update_one(stage).await.unwrap_err().code(), Code::InvalidArgument);
    let limited = QueryOptions { max_time_ms: 5, ..QueryOptions::default() };
    let limited = UpdateRequest { options: Some(limited), ..update };
    assert_eq!(code_of(&documents.update_one(limited).await.unwrap_err()), 72);

    let replace = ReplaceRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(r#"{"kind": "even"}"#)),
        replacement: Some(json(r#"{"kind": "gone"}"#)),
        sort: Some(json(r#"{"n": -1}"#)),
        hint: named("kind_1"),
        ..ReplaceRequest::default()
    };
    assert_eq!(documents.replace_one(replace).await.unwrap().into_inner().modified, 1);
    assert_eq!(calls.find(find(r#"{"kind": "gone"}"#)).await.unwrap(), [r#"{"_id":4,"kind":"gone"}"#]);
    let delete = DeleteRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(r#"{"kind": "gone"}"#)),
        hint: named("none"),
        ..DeleteRequest::default()
    };
    assert_eq!(code_of(&documents.delete_many(delete.clone()).await.unwrap_err()), 2);
    let delete = DeleteRequest { hint: named("kind_1"), ..delete };
    assert_eq!(documents.delete_many(delete).await.unwrap().into_inner().deleted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_with_its_time_limit() {
    let (_peer, calls) = items().await;
    let documents: Vec<String> = (100..20_100).map(|n| format!(r#"{{"_id": {n}}}"#)).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    calls.insert("t", "items", &documents).await.unwrap();
    let hard = r#"{"a": {"$nin": ["x"]}, "b": {"$not": {"$regex": "(x+x+)+y"}}, "c": {"$ne": 1}}"#;
    let limit = || Some(QueryOptions { max_time_ms: 1, comment: "a test".into(), ..QueryOptions::default() });
    let mut documents = calls.documents.clone();
    let count = CountRequest {
        database: "t".into(),
        collection: "items".into(),
        filter: Some(json(hard)),
        options: limit(),
        ..CountRequest::default()
    };
    let refusal = documents.count(count.clone()).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::DeadlineExceeded, 50));
    let sorted = FindRequest { sort: Some(json(r#"{"z": 1}"#)), options: limit(), ..find(hard) };
    let refusal = calls.find(sorted).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::DeadlineExceeded, 50));
    assert_eq!(
        documents.count(CountRequest { options: None, ..count }).await.unwrap().into_inner().count,
        20_005
    );

    let long = QueryOptions { comment: "x".repeat(5_000), ..QueryOptions::default() };
    let refusal = calls.find(FindRequest { options: Some(long), ..find("{}") }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_distinct_values_take_limits_and_hints() {
    let (_peer, calls) = items().await;
    calls.create_index("t", "items", r#"{"n": 1}"#, false).await.unwrap();
    let mut documents = calls.documents.clone();
    let count = CountRequest {
        database: "t".into(),
        collection: "items".into(),
        skip: 1,
        limit: 3,
        hint: named("n_1"),
        ..CountRequest::default()
    };
    assert_eq!(documents.count(count.clone()).await.unwrap().into_inner().count, 3);
    let rest = CountRequest { skip: 4, ..count.clone() };
    assert_eq!(documents.count(rest).await.unwrap().into_inner().count, 1);
    let astray = CountRequest { hint: named("none"), ..count };
    assert_eq!(code_of(&documents.count(astray).await.unwrap_err()), 2);
    let distinct = DistinctRequest {
        database: "t".into(),
        collection: "items".into(),
        field: "kind".into(),
        hint: named("none"),
        ..DistinctRequest::default()
    };
    assert_eq!(code_of(&documents.distinct(distinct).await.unwrap_err()), 2);
    let one = FindOneRequest {
        database: "t".into(),
        collection: "items".into(),
        skip: 1,
        hint: named("n_1"),
        format: DocumentFormat::ExtendedJson.into(),
        ..FindOneRequest::default()
    };
    let one = documents.find_one(one).await.unwrap().into_inner();
    assert_eq!(json_text(one.document), r#"{"_id":2,"n":2,"kind":"even"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_call_is_explained_and_nothing_written() {
    let (_peer, calls) = items().await;
    calls.create_index("t", "items", r#"{"n": 1}"#, false).await.unwrap();
    let (database, collection, filter) =
        ("t".to_owned(), "items".to_owned(), Some(json(r#"{"n": {"$gt": 2}}"#)));
    let count = CountRequest {
        database: database.clone(),
        collection: collection.clone(),
        filter: filter.clone(),
        ..CountRequest::default()
    };
    let distinct = DistinctRequest {
        database: database.clone(),
        collection: collection.clone(),
        filter: filter.clone(),
        field: "kind".into(),
        ..DistinctRequest::default()
    };
    let update = UpdateRequest {
        database: database.clone(),
        collection: collection.clone(),
        filter: filter.clone(),
        update: Some(json(r#"{"$set": {"x": 1}}"#)),
        ..UpdateRequest::default()
    };
    let delete = DeleteRequest { database, collection, filter, ..DeleteRequest::default() };
    for (call, words) in [
        (Call::Find(find(r#"{"n": {"$gt": 2}}"#)), ["IXSCAN", r#""nReturned":3"#]),
        (Call::Count(count), [r#""COUNT""#, r#""totalDocsExamined":0"#]),
        (Call::Distinct(distinct), ["IXSCAN", r#""nReturned":3"#]),
        (Call::UpdateOne(update.clone()), [r#""UPDATE""#, r#""nReturned":1"#]),
        (Call::UpdateMany(update.clone()), [r#""UPDATE""#, r#""nReturned":3"#]),
        (Call::DeleteOne(delete.clone()), [r#""DELETE""#, r#""nReturned":1"#]),
        (Call::DeleteMany(delete), [r#""DELETE""#, r#""totalKeysExamined":3"#]),
    ] {
        let explain = |verbosity: Verbosity| {
            let request = ExplainRequest { call: Some(call.clone()), verbosity: verbosity.into() };
            let mut documents = calls.documents.clone();
            async move { json_text(documents.explain(request).await.unwrap().into_inner().plan) }
        };
        let whole = explain(Verbosity::ExecutionStats).await;
        assert!(words.iter().all(|word| whole.contains(word)), "{whole}");
        let plan = explain(Verbosity::QueryPlanner).await;
        assert!(plan.contains("IXSCAN") && !plan.contains("executionStats"), "{plan}");
    }
    let mut documents = calls.documents.clone();
    let none = ExplainRequest::default();
    assert_eq!(documents.explain(none).await.unwrap_err().code(), Code::InvalidArgument);
    let strange = ExplainRequest { call: Some(Call::Find(find("{}"))), verbosity: 7 };
    assert_eq!(documents.explain(strange).await.unwrap_err().code(), Code::InvalidArgument);
    let wrong = UpdateRequest { update: Some(json(r#"{"$foo": 1}"#)), ..update };
    let wrong = ExplainRequest { call: Some(Call::UpdateMany(wrong)), verbosity: 0 };
    assert_eq!(code_of(&documents.explain(wrong).await.unwrap_err()), 9);
    assert_eq!(calls.count("t", "items", r#"{"x": {"$exists": true}}"#).await.unwrap(), 0);
    assert_eq!(calls.count("t", "items", "{}").await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_takes_options_and_is_dropped_by_its_keys() {
    let (_peer, calls) = items().await;
    let mut collections = calls.collections.clone();
    let create = |keys: &str, options: Option<Document>| CreateIndexRequest {
        database: "t".into(),
        collection: "items".into(),
        index: Some(Index { keys: Some(json(keys)), options, ..Index::default() }),
        write_concern: None,
    };
    let options = json(r#"{"sparse": true, "unique": true, "name": "rare"}"#);
    let name = collections.create_index(create(r#"{"rare": -1}"#, Some(options))).await.unwrap();
    assert_eq!(name.into_inner().name, "rare");
    collections.create_index(create(r#"{"n": 1}"#, None)).await.unwrap();
    let list = ListIndexesRequest {
        database: "t".into(),
        collection: "items".into(),
        format: DocumentFormat::ExtendedJson.into(),
        at_position: None,
    };
    let indexes = collections.list_indexes(list.clone()).await.unwrap().into_inner().indexes;
    let rare = indexes.into_iter().find(|index| index.name == "rare").unwrap();
    assert!(rare.unique);
    assert_eq!(
        json_text(rare.options),
        r#"{"v":2,"key":{"rare":-1},"name":"rare","unique":true,"sparse":true}"#
    );
    let refusal = collections.create_index(create(r#"{"x": 1}"#, Some(json(r#"{"foo": 1}"#)))).await;
    assert_eq!(code_of(&refusal.unwrap_err()), 197);

    let drop = |name: &str, keys: Option<&str>| DropIndexRequest {
        database: "t".into(),
        collection: "items".into(),
        name: name.into(),
        keys: keys.map(json),
        write_concern: None,
    };
    let both = collections.drop_index(drop("rare", Some(r#"{"rare": -1}"#))).await.unwrap_err();
    assert_eq!(both.code(), Code::InvalidArgument);
    let unknown = collections.drop_index(drop("", Some(r#"{"rare": 1}"#))).await.unwrap_err();
    assert_eq!((unknown.code(), code_of(&unknown)), (Code::NotFound, 27));
    collections.drop_index(drop("", Some(r#"{"rare": -1}"#))).await.unwrap();
    collections.drop_index(drop("*", None)).await.unwrap();
    assert_eq!(collections.list_indexes(list).await.unwrap().into_inner().indexes.len(), 1);
}
