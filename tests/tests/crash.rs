//! A server that is killed again and again while it is written to, in transactions too, and while it builds indexes: it opens at
//! once, has all that was acknowledged and nothing by halves, and agrees with a peer that lived on.
//!
//! Here that goes on for a hundred times. `COMBDB_KILLS=1000 cargo test -p combdb-tests --test crash` kills so many times;
//! `COMBDB_KILLS_SEED=N` draws other moments.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test's helpers too

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use combdb_tests::{Calls, Ledger, Peer, PeerOptions, Transfers, eventually};
use proto::v1::{DropIndexRequest, SetIndexersRequest};

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

/// How often the server is killed where nobody says how often.
const KILLS: u64 = 100;

/// The longest that the server is let live, once it serves; and after its start, where it is killed before it serves.
const LIFE_MS_MAX: u64 = 500;
const START_MS_MAX: u64 = 60;

/// How many clients write to the server that is killed, and how many to the one that is not.
const CLIENTS: usize = 3;

/// In so many of its lives the server builds an index on what the clients have inserted, or drops it.
const BUILDS_EVERY: usize = 3;

/// After so many kills the peers are given the time to agree.
const AGREE_EVERY: u64 = 10;

/// By how much longer the server may take to start after it was killed than after it was stopped, and what it may take in any
/// case on a machine that does much else.
const START_TIMES_MAX: u32 = 3;
const START_FREE: Duration = Duration::from_secs(2);

/// Chance from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % bound
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Both hold the same entries in one order, with one view. What two indexers say of each other's last entries may stay in the
/// tail: an idle database is silent.
async fn agree(a: &Calls, b: &Calls) {
    eventually("the peers agree", || async {
        let (a, b) = (a.status("t").await.unwrap(), b.status("t").await.unwrap());
        (a.entries, a.confirmed, &a.view_digest, &a.order_digest)
            == (b.entries, b.confirmed, &b.view_digest, &b.order_digest)
            && a.tail <= 2
            && a.view_digest.len() == 64
    })
    .await;
}

async fn writer_key(calls: &Calls) -> String {
    calls.status("t").await.unwrap().database.unwrap().writer_key
}

/// Builds an index on what was inserted, or drops it where it is there, as far as the server comes with that before it is killed.
async fn build_or_drop(calls: Calls) {
    let index = r#"{"client": 1, "n": -1}"#;
    let drop = DropIndexRequest {
        database: "t".into(),
        collection: "inserts".into(),
        name: "client_1_n_-1".into(),
        ..DropIndexRequest::default()
    };
    if calls.collections.clone().drop_index(drop).await.is_err() {
        let _ = calls.create_index("t", "inserts", index, false).await;
    }
}

/// Starts the server again; gives how long that took.
fn restart(peer: &mut Peer, options: &PeerOptions) -> Duration {
    let begin = Instant::now();
    peer.restart(options);
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_a_hundred_times_loses_nothing_and_agrees() {
    let seed = number("COMBDB_KILLS_SEED").unwrap_or(1);
    let kills = number("COMBDB_KILLS").unwrap_or(KILLS);
    println!("moments drawn from COMBDB_KILLS_SEED={seed}");
    let mut chance = Chance(seed);

    let survivor = Peer::start(COMBDB, &PeerOptions::topic("t"));
    let at_survivor = survivor.calls().await;
    let options = PeerOptions { peers: vec![at_survivor.own_address().await], ..PeerOptions::topic("t") };
    let mut peer = Peer::start(COMBDB, &options);
    let calls = peer.calls().await;
    let keys = vec![writer_key(&calls).await, writer_key(&at_survivor).await];
    let request = SetIndexersRequest { database: "t".into(), keys, write_concern: None };
    calls.writers.clone().set_indexers(request).await.unwrap();

    let mut ledgers: Vec<Ledger> = (0..CLIENTS).map(|number| Ledger::new(format!("c{number}"))).collect();
    let mut beside = Ledger::new("beside");
    for ledger in &ledgers {
        ledger.prepare(&calls).await;
    }
    beside.prepare(&at_survivor).await;
    let (mut transfers, mut transfers_beside) = (Transfers::new("mover"), Transfers::new("mover beside"));
    transfers.prepare(&calls).await;
    Transfers::prepare_shared(&calls).await;
    transfers_beside.prepare(&at_survivor).await;
    agree(&calls, &at_survivor).await;
    drop(calls);

    let (mut done, mut after_kill, mut after_stop) = (0, Vec::new(), Vec::new());
    while done < kills {
        let calls = peer.calls().await;
        let stop = Arc::new(AtomicBool::new(false));
        let writing: Vec<_> =
            ledgers.drain(..).map(|ledger| ledger.write(calls.clone(), Arc::clone(&stop))).collect();
        let writing_beside = beside.write(at_survivor.clone(), Arc::clone(&stop));
        let moving = transfers.run(calls.clone(), Arc::clone(&stop));
        let moving_beside = transfers_beside.run(at_survivor.clone(), Arc::clone(&stop));
        let is_building = after_kill.len().is_multiple_of(BUILDS_EVERY);
        let building = is_building.then(|| tokio::spawn(build_or_drop(calls.clone())));
        tokio::time::sleep(Duration::from_millis(chance.below(LIFE_MS_MAX))).await;
        peer.kill();
        done += 1;
        stop.store(true, Ordering::Relaxed);
        for task in writing {
            ledgers.push(task.await.unwrap());
        }
        beside = writing_beside.await.unwrap();
        (transfers, transfers_beside) = (moving.await.unwrap(), moving_beside.await.unwrap());
        if let Some(building) = building {
            building.await.unwrap();
        }

        // Sometimes it is killed while it opens what the last kill has left.
        while chance.below(4) == 0 {
            peer.start_and_kill(&options, Duration::from_millis(chance.below(START_MS_MAX)));
            done += 1;
        }
        after_kill.push(restart(&mut peer, &options));
        let calls = peer.calls().await;
        for ledger in &ledgers {
            ledger.check(&calls).await;
        }
        beside.check(&at_survivor).await;
        transfers.check(&calls).await;
        transfers_beside.check(&at_survivor).await;
        if (after_kill.len() as u64).is_multiple_of(AGREE_EVERY) {
            agree(&calls, &at_survivor).await;
            beside.check(&calls).await;
            transfers_beside.check(&calls).await;
            peer.stop();
            after_stop.push(restart(&mut peer, &options));
        }
    }

    let calls = peer.calls().await;
    agree(&calls, &at_survivor).await;
    for ledger in ledgers.iter().chain([&beside]) {
        ledger.check(&calls).await;
        ledger.check(&at_survivor).await;
    }
    for moved in [&transfers, &transfers_beside] {
        moved.check(&calls).await;
        moved.check(&at_survivor).await;
    }
    peer.stop();
    after_stop.push(restart(&mut peer, &options));
    let moved = transfers.acknowledged();
    let acknowledged: u64 = ledgers.iter().map(Ledger::acknowledged).sum();
    let unanswered: u64 = ledgers.iter().map(Ledger::unanswered).sum();
    let longest = *after_kill.iter().max().unwrap();
    let (after_kill, after_stop) = (median(after_kill), median(after_stop));
    println!(
        "{done} kills: {acknowledged} writes acknowledged by the server that was killed, {unanswered} never answered, {moved} \
         transfers; \
         a start takes {after_kill:?} after a kill ({longest:?} at the most) and {after_stop:?} after a stop"
    );
    assert!(acknowledged > done, "hardly anything was written between the kills");
    assert!(moved > done / 4, "hardly anything was moved between the kills");
    assert!(
        after_kill <= after_stop * START_TIMES_MAX + START_FREE,
        "a start takes {after_kill:?} after a kill, {after_stop:?} after a stop"
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
