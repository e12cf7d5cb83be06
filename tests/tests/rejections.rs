//! Rejections through gRPC and on the command line: told to their author, done again, given up.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, code_of, eventually, json_text};
use proto::v1::rejections_client::RejectionsClient;
use proto::v1::{
    AddPeerRequest, DeleteRequest, DiscardRequest, DocumentFormat, ListRejectionsRequest, Rejection,
    ResubmitRequest, WatchRejectionsRequest,
};
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn listed(calls: &Calls, own: bool) -> Vec<Rejection> {
    let format = DocumentFormat::ExtendedJson.into();
    let request = ListRejectionsRequest { database: "t".into(), own, format };
    let mut rejections = RejectionsClient::new(calls.channel.clone());
    let mut stream = rejections.list(request).await.unwrap().into_inner();
    let mut listed = Vec::new();
    while let Some(rejection) = stream.message().await.unwrap() {
        listed.push(rejection);
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_is_told_to_its_author_and_done_again_or_given_up() {
    let topic = PeerOptions::topic("t");
    let peers = [Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic)];
    let calls = [peers[0].calls().await, peers[1].calls().await];
    for calls in &calls {
        let documents = [r#"{"_id": 1, "n": 1}"#, r#"{"_id": 2, "n": 2}"#];
        calls.insert("t", "notes", &documents).await.unwrap();
    }
    let address = calls[0].own_address().await;
    calls[1].peers.clone().add(AddPeerRequest { address }).await.unwrap();
    eventually("one of the two inserts is rejected on both", || async {
        listed(&calls[0], false).await.len() == 1 && listed(&calls[1], false).await.len() == 1
    })
    .await;
    // Whose entry comes second decides its author's clock.
    let author = usize::from(listed(&calls[0], true).await.is_empty());
    assert_eq!(listed(&calls[author], true).await, listed(&calls[0], false).await);
    assert_eq!(listed(&calls[1 - author], true).await, []);

    let mut rejections = RejectionsClient::new(calls[author].channel.clone());
    let format = DocumentFormat::ExtendedJson.into();
    let watch = WatchRejectionsRequest { database: "t".into(), format };
    let told = rejections.watch(watch).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let parts: Vec<(u64, i32)> = told.parts.iter().map(|part| (part.part, part.code)).collect();
    assert_eq!(parts, [(0, 11_000), (1, 11_000)]);
    assert_eq!(
        json_text(told.command.clone()),
        r#"{"insert":"notes","documents":[{"_id":1,"n":1},{"_id":2,"n":2}]}"#
    );

    let resubmit = ResubmitRequest { database: "t".into(), id: told.id.clone(), write_concern: None };
    let refused = rejections.resubmit(resubmit.clone()).await.unwrap_err();
    assert_eq!(code_of(&refused), 11_000, "the documents are still in the way");
    let everything = DeleteRequest {
        database: "t".into(),
        collection: "notes".into(),
        filter: Some(combdb_tests::json("{}")),
        ..DeleteRequest::default()
    };
    calls[author].documents.clone().delete_many(everything).await.unwrap();
    let done = rejections.resubmit(resubmit.clone()).await.unwrap().into_inner();
    assert_eq!(done.acknowledgement.unwrap().entry.len(), 64);
    eventually("it is off the list everywhere", || async {
        listed(&calls[1 - author], false).await.is_empty()
    })
    .await;
    assert_eq!(code_of(&rejections.resubmit(resubmit).await.unwrap_err()), 47);
    let nonsense = DiscardRequest { database: "t".into(), id: "this one".into(), write_concern: None };
    assert_eq!(rejections.discard(nonsense).await.unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn the_command_line_lists_does_again_and_discards() {
    let topic = PeerOptions::topic("t");
    let peers = [Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic)];
    for peer in &peers {
        peer.command(&["insert", "notes", r#"{"_id": 1}"#]);
    }
    let insert =
        |peer: &Peer, by: &str| peer.command(&["insert", "notes", &format!(r#"{{"_id": 2, "by": "{by}"}}"#)]);
    insert(&peers[0], "0");
    insert(&peers[1], "1");
    let addresses = peers[0].command(&["peers", "list"]);
    let address = addresses.lines().find_map(|line| line.strip_prefix("own address")).unwrap().trim();
    peers[1].command(&["peers", "add", address]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(eventually("it is listed", || async {
        peers.iter().all(|peer| peer.command(&["rejections", "list"]).lines().count() == 2)
    }));
    // Done again once what was in its way is gone.
    let list = peers[0].command(&["rejections", "list"]);
    let again = list.lines().find(|line| line.contains(r#""_id":2"#)).unwrap();
    let lost = if again.contains(r#""by":"0""#) { "0" } else { "1" };
    let name = again.split_whitespace().next().unwrap();
    peers[0].command(&["delete", "notes", r#"{"_id": 2}"#]);
    let done = peers[0].command(&["rejections", "resubmit", name]);
    assert!(done.starts_with("done again in entry "), "{done}");
    assert_eq!(
        peers[0].command(&["count", "notes", &format!(r#"{{"_id": 2, "by": "{lost}"}}"#)]).trim(),
        "1"
    );
    let list = peers[0].command(&["rejections", "list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    assert!(list.contains("1 rejected (code 11000: the key is taken) of "), "{list}");
    assert!(list.contains(r#"{"insert":"notes","documents":[{"_id":1}]}"#), "{list}");
    let name = list.split_whitespace().next().unwrap();
    let refused = peers[0].try_command(&["rejections", "resubmit", name]);
    assert!(!refused.status.success(), "it still does not hold");
    assert_eq!(peers[0].command(&["rejections", "discard", name]).trim(), "discarded");
    assert_eq!(peers[0].command(&["rejections", "list"]), "");
    assert!(!peers[0].try_command(&["rejections", "discard", name]).status.success());
}

#[test]
fn a_duplicate_in_quarantine_is_kept_and_listed() {
    let topic = PeerOptions::topic("t");
    let peers = [Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic)];
    let options = r#"{"onDuplicate": "quarantine"}"#;
    peers[0].command(&["indexes", "create", "people", r#"{"email": 1}"#, "--unique", "--options", options]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let connect = |from: &Peer, to: &Peer| {
        let addresses = from.command(&["peers", "list"]);
        let address = addresses.lines().find_map(|line| line.strip_prefix("own address")).unwrap().trim();
        to.command(&["peers", "add", address]);
    };
    // A third peer has the index as well, and writes before it meets the first again.
    connect(&peers[0], &peers[1]);
    runtime.block_on(eventually("the index is there", || async {
        peers[1].command(&["indexes", "list", "people"]).contains("quarantine")
    }));
    let apart = Peer::start(COMBDB, &topic);
    apart.command(&["insert", "people", r#"{"_id": "b", "email": "x"}"#]);
    peers[1].command(&["insert", "people", r#"{"_id": "a", "email": "x"}"#]);
    connect(&peers[0], &apart);
    let listed = |peer: &Peer| {
        let found = peer.try_command(&["indexes", "quarantined", "people"]);
        String::from_utf8(found.stdout).unwrap()
    };
    runtime.block_on(eventually("one of the two is in quarantine everywhere", || async {
        [&peers[0], &peers[1], &apart].iter().all(|peer| listed(peer).lines().count() == 1)
    }));
    let line = listed(&apart);
    assert!(line.starts_with("email_1  {\"_id\":\""), "{line}");
    assert_eq!(peers[0].command(&["count", "people", r#"{"email": "x"}"#]).trim(), "2");
}
