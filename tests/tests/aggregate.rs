//! Aggregations through gRPC and from the command line.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, code_of, json, json_text};
use proto::v1::explain_request::Call;
use proto::v1::{AggregateRequest, DocumentFormat, ExplainRequest, QueryOptions};
use tonic::{Code, Status};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// A server with numbered documents in the collection `c` of the database `t`.
async fn numbers(count: usize) -> (Peer, Calls) {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = peer.calls().await;
    let documents: Vec<String> = (0..count).map(|n| format!(r#"{{"_id": {n}, "m": {}}}"#, n % 3)).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    calls.insert("t", "c", &documents).await.unwrap();
    (peer, calls)
}

fn request(collection: &str, stages: &[&str]) -> AggregateRequest {
    AggregateRequest {
        database: "t".into(),
        collection: collection.into(),
        pipeline: stages.iter().map(|stage| json(stage)).collect(),
        format: DocumentFormat::ExtendedJson.into(),
        ..AggregateRequest::default()
    }
}

/// The results, and the sizes of the batches in which they came.
async fn aggregate(calls: &Calls, request: AggregateRequest) -> Result<(Vec<String>, Vec<usize>), Status> {
    let mut batches = calls.documents.clone().aggregate(request).await?.into_inner();
    let (mut results, mut sizes) = (Vec::new(), Vec::new());
    while let Some(batch) = batches.message().await? {
        sizes.push(batch.documents.len());
        results.extend(batch.documents.into_iter().map(|document| json_text(Some(document))));
    }
    Ok((results, sizes))
}

const BY_M: [&str; 2] = [r#"{"$group": {"_id": "$m", "n": {"$sum": 1}}}"#, r#"{"$sort": {"_id": 1}}"#];

#[tokio::test(flavor = "multi_thread")]
async fn results_are_streamed_in_batches() {
    let (_peer, calls) = numbers(100).await;
    let (results, _) = aggregate(&calls, request("c", &BY_M)).await.unwrap();
    assert_eq!(results, [r#"{"_id":0,"n":34}"#, r#"{"_id":1,"n":33}"#, r#"{"_id":2,"n":33}"#]);
    let all = AggregateRequest { batch_size: 30, ..request("c", &[]) };
    assert_eq!(aggregate(&calls, all).await.unwrap().1, [30, 30, 30, 10]);
    let options = QueryOptions { variables: Some(json(r#"{"m": 2}"#)), ..QueryOptions::default() };
    let stages = [r#"{"$match": {"$expr": {"$eq": ["$m", "$$m"]}}}"#, r#"{"$count": "n"}"#];
    let some = AggregateRequest { options: Some(options), ..request("c", &stages) };
    assert_eq!(aggregate(&calls, some).await.unwrap().0, [r#"{"n":33}"#]);
    let (given, _) = aggregate(&calls, request("", &[r#"{"$documents": [{"a": 1}]}"#])).await.unwrap();
    assert_eq!(given, [r#"{"a":1}"#]);
    assert!(aggregate(&calls, request("none", &BY_M)).await.unwrap().0.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_when_the_stream_ends() {
    let (_peer, calls) = numbers(9).await;
    let out = [&BY_M[..], &[r#"{"$out": "counts"}"#]].concat();
    assert!(aggregate(&calls, request("c", &out)).await.unwrap().0.is_empty());
    assert_eq!(calls.count("t", "counts", r#"{"n": 3}"#).await.unwrap(), 3);
    let merge = [&BY_M[..], &[r#"{"$merge": {"into": "counts", "whenMatched": "fail"}}"#]].concat();
    let refusal = aggregate(&calls, request("c", &merge)).await.unwrap_err();
    assert_eq!((refusal.code(), code_of(&refusal)), (Code::AlreadyExists, 11000));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pipelines_are_refused_with_mongodbs_code() {
    let (_peer, calls) = numbers(3).await;
    for (stages, code) in [
        (&[r#"{"$foo": {}}"#][..], 40324),
        (&[r#"{"$limit": 1, "$skip": 1}"#], 40323),
        (&[r#"{"$out": "x"}"#, r#"{"$limit": 1}"#], 40601),
        (&["[1]"], 22),
    ] {
        let refusal = aggregate(&calls, request("c", stages)).await.unwrap_err();
        assert_eq!((refusal.code(), code_of(&refusal)), (Code::InvalidArgument, code), "{stages:?}");
    }
    let many: Vec<&str> = std::iter::repeat_n(r#"{"$limit": 1}"#, 20_000).collect();
    assert_eq!(aggregate(&calls, request("c", &many)).await.unwrap_err().code(), Code::InvalidArgument);
    let late = [r#"{"$set": {"x": {"$divide": [1, {"$subtract": ["$_id", 2]}]}}}"#];
    assert_eq!(aggregate(&calls, request("c", &late)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregation_explains_itself() {
    let (_peer, calls) = numbers(30).await;
    calls.create_index("t", "c", r#"{"m": 1}"#, false).await.unwrap();
    let stages = [r#"{"$match": {"m": 1}}"#, r#"{"$group": {"_id": null, "s": {"$sum": "$_id"}}}"#];
    let explain = ExplainRequest { call: Some(Call::Aggregate(request("c", &stages))), verbosity: 0 };
    let plan = calls.documents.clone().explain(explain).await.unwrap().into_inner().plan;
    let plan = json_text(plan);
    assert!(plan.contains("IXSCAN") && plan.contains("$group"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_aggregates_counts_and_lists_values() {
    let (peer, _calls) = numbers(9).await;
    let arguments: Vec<&str> = ["aggregate", "c"].into_iter().chain(BY_M).collect();
    assert_eq!(peer.command(&arguments).lines().count(), 3);
    let array = r#"[{"$match": {"m": 2}}, {"$project": {"_id": 0, "twice": {"$multiply": ["$_id", 2]}}}]"#;
    assert_eq!(peer.command(&["aggregate", "c", array]), "{\"twice\":4}\n{\"twice\":10}\n{\"twice\":16}\n");
    assert!(peer.command(&["aggregate", "c", array, "--explain"]).contains("COLLSCAN"));
    assert_eq!(peer.command(&["count", "c", r#"{"m": 0}"#]).trim(), "3");
    assert_eq!(peer.command(&["distinct", "c", "m"]).lines().count(), 3);
    let wrong = peer.try_command(&["aggregate", "c", "[{]"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("the pipeline is not JSON"), "{wrong:?}");
}
