//! Power cuts at any disk operation: nothing acknowledged is lost, and what is found is whole.

use bson::{RawDocumentBuf, rawdoc};

use super::{Peer, meet, open, peer, secret};
use crate::engine::{Batch, Engine, Request};
use crate::limits;
use crate::simulation::{Chance, SimDisk};
use crate::storage;

/// How many seeds the test runs; `COMBDB_POWER_CUTS` asks for more.
const SEEDS: u64 = 60;

/// What an acknowledged history must be found to hold.
#[derive(Default)]
struct Acknowledged {
    inserted: Vec<i32>,
    increments: i64,
    entries: u64,
}

/// Lives on a disk until the power goes or the work is done. Gives what is found after that.
fn live(
    image: Vec<u8>,
    chance: &mut Chance,
    other: &Peer,
    acknowledged: &mut Acknowledged,
    life: i32,
) -> Vec<u8> {
    let disk = SimDisk::new(image, Some(20 + chance.below(400)));
    let opened = storage::open(disk.clone(), 1 << 20)
        .and_then(|(database, identity)| Engine::open(std::sync::Arc::new(database), identity, secret(1)))
        .and_then(|engine| engine.until_presentable(limits::SETTLE_BYTES_MAX));
    let Ok(engine) = opened else {
        assert!(disk.is_cut(), "a disk with power must open: {:?}", opened.err());
        return disk.after_power_cut(chance);
    };
    let mut peer = Peer { engine, now_ms: 1_000_000 * u64::from(life.unsigned_abs()) };
    check(&peer, acknowledged);
    for step in 0..40 {
        let done = match chance.below(6) {
            0 => {
                let runs = other.runs();
                let take_in = |batch: &mut Batch<'_, '_>| {
                    for run in runs.iter().take(1 + step) {
                        batch.ingest(run)?.unwrap();
                    }
                    // Sometimes the process ends before what is stored is ordered, or in the middle of that.
                    match step % 3 {
                        0 => batch.settle(),
                        1 => batch.settle_within(5_000).map(|_| ()),
                        _ => Ok(()),
                    }
                };
                peer.engine.run(take_in).is_ok()
            }
            1 => {
                let update = rawdoc! { "$inc": { "n": 1_i64 } };
                let done = run(
                    &mut peer,
                    Request::Update(super::update_request(rawdoc! { "_id": "counter" }, update)),
                );
                acknowledged.increments += i64::from(done);
                done
            }
            _ => {
                let id = life * 1_000 + step as i32;
                let documents = vec![rawdoc! { "_id": id, "l": [id % 3, id % 5] }];
                let done =
                    run(&mut peer, Request::Insert { collection: "c".to_owned(), documents, ordered: true });
                if done {
                    acknowledged.inserted.push(id);
                }
                done
            }
        };
        if !done {
            assert!(disk.is_cut(), "only a power cut may fail a call");
            break;
        }
        acknowledged.entries = peer.engine.status().unwrap().entries;
    }
    drop(peer);
    disk.after_power_cut(chance)
}

/// Runs a call; whether it was acknowledged.
fn run(peer: &mut Peer, request: Request) -> bool {
    let moment = peer.moment();
    match peer.engine.run(|batch| batch.execute(request, &moment)) {
        Ok(reply) => {
            reply.unwrap();
            true
        }
        Err(_) => false,
    }
}

fn check(peer: &Peer, acknowledged: &Acknowledged) {
    let documents = peer.documents();
    let has =
        |id: i32| documents.iter().any(|document: &RawDocumentBuf| document.get_i32("_id").ok() == Some(id));
    for id in &acknowledged.inserted {
        assert!(has(*id), "an acknowledged insert is missing: _id={id}");
    }
    let counter = documents.iter().find(|document| document.get_str("_id").ok() == Some("counter")).unwrap();
    let found = counter.get_i64("n").unwrap();
    // The call that the power cut interrupted may have been made durable or not.
    let expected = acknowledged.increments..=acknowledged.increments + 1;
    assert!(expected.contains(&found), "increments: {found} found, {expected:?} expected");
    assert!(peer.engine.status().unwrap().entries >= acknowledged.entries);
}

#[test]
#[allow(clippy::disallowed_methods)] // a longer run is asked for in the environment
fn nothing_acknowledged_is_lost_at_any_power_cut_and_what_is_found_is_whole() {
    let seeds = std::env::var("COMBDB_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        let mut chance = Chance::new(seed + 1);
        let mut other = peer(2, &open());
        for n in 0..20 {
            other.insert(rawdoc! { "_id": -1 - n, "l": [n] }).unwrap();
        }
        let disk = SimDisk::new(Vec::new(), None);
        let database = storage::create(disk.clone(), &open(), 1 << 20).unwrap();
        let mut first = Peer {
            engine: Engine::open(std::sync::Arc::new(database), open(), secret(1)).unwrap(),
            now_ms: 1,
        };
        first.insert(rawdoc! { "_id": "counter", "n": 0_i64 }).unwrap();
        first.create_index(rawdoc! { "name": "l_1", "key": { "l": 1 } }).unwrap();
        drop(first);
        assert!(disk.operations() > 0);
        let mut image = disk.after_power_cut(&mut chance);
        let mut acknowledged = Acknowledged::default();
        for life in 1..=4 {
            // A call that was cut off may count as one more increment in every life after it.
            image = live(image, &mut chance, &other, &mut acknowledged, life);
            let found = reopen(&image);
            let counter = found.documents();
            let counter = counter.iter().find(|document| document.get_str("_id").ok() == Some("counter"));
            acknowledged.increments = counter.unwrap().get_i64("n").unwrap();
        }
        // What is left agrees with a peer that builds everything from the logs.
        let mut last = reopen(&image);
        let mut fresh = peer(3, &open());
        fresh.receive(&last.runs());
        assert_eq!((fresh.digest(), fresh.order()), (last.digest(), last.order()), "seed {seed}");
        meet(&mut last, &mut other);
        assert_eq!((other.digest(), other.order()), (last.digest(), last.order()), "seed {seed}");
    }
}

fn reopen(image: &[u8]) -> Peer {
    let (database, identity) = storage::open(SimDisk::new(image.to_vec(), None), 1 << 20).unwrap();
    let engine = Engine::open(std::sync::Arc::new(database), identity, secret(1)).unwrap();
    let mut peer = Peer { engine, now_ms: 10_000_000 };
    peer.settle();
    peer
}
