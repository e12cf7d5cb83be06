//! Commands that print as long as there is something to tell, where the server stops: they say why and fail.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use combdb_tests::{Peer, PeerOptions};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// A command that runs, and its first line if it has one at once.
struct Streaming {
    what: String,
    child: Child,
}

impl Streaming {
    fn start(peer: &Peer, arguments: &[&str], tells_at_once: bool) -> Self {
        let mut child = Command::new(COMBDB)
            .args(arguments)
            .args(["--server", peer.address()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if tells_at_once {
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "{arguments:?} tells nothing");
        }
        Self { what: format!("{arguments:?}"), child }
    }

    /// Waits for its end; gives what it says of that.
    fn end(mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{}: {said}", self.what);
        format!("{}: {said}", self.what)
    }
}

fn stopped_by(stop: impl FnOnce(&mut Peer), reasons: &[&str]) {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("streams"));
    peer.command(&["insert", "c", r#"{"_id": 1}"#]);
    let receipts = peer.command(&["receipts"]);
    let entry = receipts.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    let telling = [
        Streaming::start(&peer, &["watch", "c", "--present"], true),
        Streaming::start(&peer, &["find", "c", "--watch"], true),
        Streaming::start(&peer, &["receipts", &entry], true),
    ];
    let silent = [
        Streaming::start(&peer, &["watch"], false),
        Streaming::start(&peer, &["watch", "--majority"], false),
        Streaming::start(&peer, &["rejections", "watch"], false),
        Streaming::start(&peer, &["conflicts", "watch"], false),
    ];
    stop(&mut peer);
    for stream in telling {
        let said = stream.end();
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
    }
    for stream in silent {
        let said = stream.end(); // it may have come too late to find a server
        assert!(said.contains("error: ") && said.contains("server"), "{said}");
    }
}

#[test]
fn streams_say_that_the_server_is_stopping_and_fail() {
    stopped_by(
        |peer| assert!(peer.stop().success(), "{}", peer.log()),
        &["error: the server is stopping: connect anew when it is back"],
    );
}

#[test]
fn streams_say_that_the_server_has_gone_away_and_fail() {
    stopped_by(Peer::kill, &["error: the server went away before it had answered"]);
}

#[test]
fn a_write_that_waits_for_a_majority_is_told_to_stand_where_the_server_stops() {
    let mut peer = Peer::start(COMBDB, &PeerOptions::topic("waits"));
    peer.command(&["insert", "c", r#"{"_id": 1}"#]);
    let mut write = Command::new(COMBDB)
        .args(["insert", "c", r#"{"_id": 2}"#, "--majority", "--server", peer.address()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while peer.command(&["find", "c", "--count"]).trim() != "2" {
        std::thread::yield_now();
    }
    assert!(peer.stop().success(), "{}", peer.log());
    let mut said = String::new();
    write.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(write.wait().unwrap().success() && said.contains("not confirmed yet"), "{said}");
}
