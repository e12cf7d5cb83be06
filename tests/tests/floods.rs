//! Peers that write as fast as they can, and one that is suspended: others are served meanwhile, and all end alike.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use combdb_tests::{Calls, Ledger, Peer, PeerOptions, eventually};
use proto::v1::DatabaseStatusRequest;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// How many clients flood a peer, and how many writes of the other peer's client are timed.
const FLOODING: usize = 8;
const TIMED: usize = 200;

/// Two peers that hold one database and are connected.
async fn pair() -> (Peer, Calls, Peer, Calls) {
    let first = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let a = first.calls().await;
    let options = PeerOptions { peers: vec![a.own_address().await], ..PeerOptions::topic("t") };
    let second = Peer::start(COMBDB, &options);
    let b = second.calls().await;
    eventually("they are connected", || async { b.status("t").await.unwrap().connected_peers == 1 }).await;
    (first, a, second, b)
}

async fn agree(a: &Calls, b: &Calls) {
    eventually("the peers agree", || async {
        let (a, b) = (a.status("t").await.unwrap(), b.status("t").await.unwrap());
        (a.entries, &a.view_digest) == (b.entries, &b.view_digest) && a.waiting + b.waiting == 0
    })
    .await;
}

async fn entries(calls: &Calls) -> u64 {
    let request = DatabaseStatusRequest { database: "t".into(), with_digest: false };
    calls.databases.clone().status(request).await.unwrap().into_inner().entries
}

/// Writes one after the other; how long each takes, ascending.
async fn timed(calls: &Calls, name: &str) -> Vec<Duration> {
    let mut took = Vec::new();
    for n in 0..TIMED {
        let begin = Instant::now();
        calls.insert("t", "timed", &[&format!(r#"{{"_id": "{name} {n}"}}"#)]).await.unwrap();
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_clients_are_served_while_another_peer_writes_as_fast_as_it_can() {
    let (_first, a, _second, b) = pair().await;
    let quiet = timed(&b, "quiet").await;
    let ledgers: Vec<_> = (0..FLOODING).map(|number| Ledger::new(format!("f{number}"))).collect();
    for ledger in &ledgers {
        ledger.prepare(&a).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let before = entries(&b).await;
    let flood: Vec<_> =
        ledgers.into_iter().map(|ledger| ledger.write(a.clone(), Arc::clone(&stop))).collect();
    eventually("the flood arrives", || async { entries(&b).await > before + 1_000 }).await;
    let begun = entries(&b).await;
    let flooded = timed(&b, "flooded").await;
    eventually("the flood goes on", || async { entries(&b).await > begun + 2 * TIMED as u64 }).await;
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for task in flood {
        let ledger = task.await.unwrap();
        ledger.check(&a).await;
        written += ledger.acknowledged();
    }
    let of = |took: &[Duration]| (took[TIMED / 2], took[TIMED * 99 / 100]);
    let (quiet, flooded) = (of(&quiet), of(&flooded));
    println!(
        "{written} writes of a flood; a write takes {flooded:?} (half, 99 of 100), {quiet:?} without it"
    );
    agree(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_suspended_goes_on_where_it_was_and_nothing_is_done_twice() {
    let (_first, a, second, b) = pair().await;
    second.signal("STOP");
    // Without an `_id`: each gets one where it is written.
    let waiting: Vec<_> = (0..50)
        .map(|n| {
            let calls = b.clone();
            tokio::spawn(async move { calls.insert("t", "c", &[&format!(r#"{{"n": {n}}}"#)]).await })
        })
        .collect();
    for n in 50..250 {
        a.insert("t", "c", &[&format!(r#"{{"n": {n}}}"#)]).await.unwrap();
    }
    assert!(waiting.iter().all(|call| !call.is_finished()), "nobody is there to answer them");
    second.signal("CONT");
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    agree(&a, &b).await;
    for calls in [&a, &b] {
        assert_eq!(calls.count("t", "c", "{}").await.unwrap(), 250);
        assert_eq!(calls.count("t", "c", r#"{"n": {"$gte": 50}}"#).await.unwrap(), 200);
    }
}
