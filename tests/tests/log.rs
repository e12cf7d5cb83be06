//! `combdb log` against running servers.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Peer, PeerOptions, eventually, json};
use proto::v1::log_client::LogClient;
use proto::v1::{CreateIndexRequest, Index, LogBallot, LogState, ShowLogRequest};
use serde_json::Value;
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// The lines of `combdb log show --json` with these arguments.
fn entries(peer: &Peer, arguments: &[&str]) -> Vec<Value> {
    let output = peer.command(&[&["log", "show", "--json"], arguments].concat());
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn own_key(peer: &Peer) -> String {
    let status = peer.command(&["status"]);
    let line = status.lines().find(|line| line.starts_with("writer ")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn entries_are_listed_for_people_and_programs() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    peer.command(&["insert", "films", r#"{"_id": 1}"#, r#"{"_id": 2}"#]);
    peer.command(&["update", "films", r#"{"_id": 1}"#, r#"{"$set": {"n": 5}}"#]);
    peer.command(&["indexes", "create", "films", r#"{"n": 1}"#]);
    let key = own_key(&peer);

    let shown = peer.command(&["log", "show"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].starts_with("PLACE") && lines[0].contains("WHAT"), "{shown}");
    for (line, what) in [(1, "insert films ×2"), (2, "update films"), (3, "createIndexes films n_1")] {
        assert!(
            lines[line].contains(&key[..8]) && lines[line].contains("tail") && lines[line].ends_with(what),
            "{shown}"
        );
    }
    assert!(lines[4].starts_with("3 entries: 0 confirmed, 3 in the tail, 0 not yet ordered"), "{shown}");
    let first = peer.command(&["log", "show", "--from", "0", "--limit", "1"]);
    assert!(first.lines().last().unwrap() == "more: --from 1", "{first}");

    let all = entries(&peer, &[]);
    assert_eq!(all.len(), 3);
    for (at, entry) in all.iter().enumerate() {
        assert_eq!((entry["place"].as_u64(), entry["seq"].as_u64()), (Some(at as u64), Some(at as u64)));
        assert_eq!(entry["writer"], key.as_str());
        assert!(entry["bytes"].as_u64().unwrap() > 100 && entry["time"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(all[1]["prev"], all[0]["entry"]);
    assert_eq!(all[0]["operations"][0]["count"], 2);
    assert_eq!(entries(&peer, &["--from", "1", "--limit", "1"]), all[1..2]);
    assert_eq!(entries(&peer, &["--writer", &key[..6]]), all);
    let none = peer.try_command(&["log", "show", "--writer", "zz"]);
    assert_eq!(none.status.code(), Some(1));

    peer.command(&["writers", "set-indexers", &key]);
    peer.command(&["insert", "films", r#"{"_id": 3}"#]);
    let all = entries(&peer, &[]);
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|entry| entry["state"] == "confirmed"), "{all:?}");
    assert_eq!((&all[4]["ballot"], &all[4]["epoch"]), (&Value::from("anchor"), &Value::from(1)));
}

#[tokio::test]
async fn the_graph_is_drawn_and_nothing_that_others_named_gets_into_its_language() {
    let peer = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let empty = peer.command(&["log", "graph"]);
    assert!(empty.starts_with("<svg ") && empty.trim_end().ends_with("</svg>"), "{empty}");
    let request = CreateIndexRequest {
        database: "t".into(),
        collection: "c".into(),
        index: Some(Index {
            name: "a<script>&\"];\u{1b}[2J".into(),
            keys: Some(json(r#"{"n": 1}"#)),
            ..Index::default()
        }),
        write_concern: None,
    };
    peer.calls().await.collections.create_index(request).await.unwrap();
    for n in 1..10 {
        peer.command(&["insert", "c", &format!("{{\"_id\": {n}}}")]);
    }
    // Nobody has been named indexer: all of it is tail, with nothing before it.
    let of_tail = peer.command(&["log", "graph"]);
    assert_eq!(of_tail.matches("<circle class=\"entry tail\"").count(), 10 + 1, "{of_tail}"); // one in the legend
    assert_eq!(of_tail.matches("<line class=\"edge\"").count(), 1, "where the tail begins: {of_tail}");
    assert!(!of_tail.contains("<rect class=\"area\""), "{of_tail}");
    peer.command(&["writers", "set-indexers", &own_key(&peer)]);
    peer.command(&["insert", "c", "{\"_id\": 11}"]);

    let svg = peer.command(&["log", "graph"]);
    // The founding and what came after it are anchors, each with the epoch and the wave that it votes in.
    assert_eq!(svg.matches("<circle class=\"ring anchor\"").count(), 2 + 1, "{svg}");
    assert_eq!(svg.matches("<line class=\"anchorline\"").count(), 2, "{svg}");
    assert!([">0.1</text>", ">1.1</text>"].iter().all(|wave| svg.matches(wave).count() == 1), "{svg}");
    assert_eq!(svg.matches("<rect class=\"area\"").count(), 1, "what is confirmed: {svg}");
    assert_eq!(svg.matches("<line class=\"edge\"").count(), 0, "there is no tail: {svg}");
    assert_eq!(svg.matches("<circle class=\"entry confirmed\"").count(), 12 + 2, "{svg}"); // two in the legend
    assert_eq!(svg.matches("<path class=\"prev\"").count(), 10, "{svg}");
    assert_eq!(svg.matches("<path class=\"parent\"").count(), 2, "{svg}");
    assert!(svg.contains("a&lt;script&gt;&amp;&quot;];\u{FFFD}[2J") && !svg.contains("<script>"), "{svg}");
    let part = peer.command(&["log", "graph", "--from", "4", "--limit", "3"]);
    assert_eq!(part.matches("<g><title>").count(), 3, "{part}");
    assert_eq!(part.matches("<path class=\"prev cut\"").count(), 1, "{part}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.dot");
    peer.command(&["log", "graph", "--format", "dot", "--output", file.to_str().unwrap()]);
    let dot = std::fs::read_to_string(file).unwrap();
    assert_eq!(dot.matches(" -> ").count(), 12, "{dot}");
    assert_eq!(dot.matches("label=").count(), 12 + 2, "{dot}"); // and those of two writers
    assert!([r"\ne0 w1", r"\ne1 w1"].iter().all(|wave| dot.matches(wave).count() == 1), "{dot}");
    assert_eq!(dot.matches("penwidth=3").count(), 2, "anchors: {dot}");
    assert!(dot.contains("a<script>&\\\"];\u{FFFD}[2J"), "{dot}");
    let shown = peer.command(&["log", "show"]);
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[tokio::test]
async fn pages_of_two_writers_are_the_same_on_both_and_bounded() {
    let a = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let calls = a.calls().await;
    let options = PeerOptions { peers: vec![calls.own_address().await], ..PeerOptions::topic("t") };
    let b = Peer::start(COMBDB, &options);
    for n in 0..15 {
        let peer = if n % 2 == 0 { &calls } else { &b.calls().await };
        peer.insert("t", "c", &[&format!("{{\"_id\": {n}}}")]).await.unwrap();
    }
    let (mut of_a, mut of_b) =
        (LogClient::new(calls.channel.clone()), LogClient::new(b.calls().await.channel));
    let ask = |from, limit| ShowLogRequest { database: "t".into(), from, limit, ..Default::default() };
    eventually("both have everything", || async {
        let at_a = of_a.clone().show(ask(Some(0), 100)).await.unwrap().into_inner();
        let at_b = of_b.clone().show(ask(Some(0), 100)).await.unwrap().into_inner();
        at_a.entries.len() == 15 && at_a == at_b
    })
    .await;
    let all = of_a.show(ask(Some(0), 100)).await.unwrap().into_inner();
    assert!(all.next.is_none());
    let tail = |entry: &proto::v1::LogEntry| {
        entry.state() == LogState::Tail && entry.ballot() == LogBallot::Unspecified
    };
    assert!(all.entries.iter().all(tail));
    let mut writers: Vec<&str> = all.entries.iter().map(|entry| entry.writer.as_str()).collect();
    writers.sort_unstable();
    writers.dedup();
    assert_eq!(writers.len(), 2);

    let page = of_b.show(ask(Some(3), 4)).await.unwrap().into_inner();
    assert_eq!((&page.entries[..], page.next), (&all.entries[3..7], Some(7)));
    let last = of_b.show(ask(None, 0)).await.unwrap().into_inner();
    assert_eq!(last.entries, all.entries);
    let beyond = of_a.show(ask(Some(u64::MAX), u32::MAX)).await.unwrap().into_inner();
    assert_eq!((beyond.entries.len(), beyond.next), (0, None));
    let nobody = ShowLogRequest { writer: "x".into(), ..ask(None, 1) };
    assert_eq!(of_a.show(nobody).await.unwrap_err().code(), Code::InvalidArgument);
    let nowhere = ShowLogRequest { database: "none".into(), ..ask(None, 1) };
    assert_eq!(of_a.show(nowhere).await.unwrap_err().code(), Code::NotFound);
}
