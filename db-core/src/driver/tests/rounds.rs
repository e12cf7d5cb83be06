//! Rounds of commands that fail for what they were to do.

use std::sync::Arc;
use std::time::Duration;

use bson::rawdoc;
use ed25519_dalek::SigningKey;
use redb::ReadableDatabase;
use redb::backends::InMemoryBackend;
use tokio::sync::mpsc;

use crate::driver::Peers;
use crate::driver::peers::PeerId;
use crate::driver::published::Published;
use crate::driver::settling::Source;
use crate::driver::worker::{Worker, instant};
use crate::engine::{Engine, Moment};
use crate::entry::{Genesis, VerifiedRun};
use crate::error::ErrorKind;
use crate::ids::{DatabaseKey, EntryHash};
use crate::limits;
use crate::log_reader::{LogReader, Tip};
use crate::query::Stop;
use crate::simulation::requests;
use crate::storage::{self, Identity, LogSnapshot, Tables};
use crate::view::statistics::Statistics;
use crate::view::{catalog, keyspace};

pub(super) fn identity() -> Identity {
    let key = DatabaseKey::of_open_topic("rounds");
    Identity { genesis: Genesis::open(&key), key }
}

pub(super) fn create() -> Arc<redb::Database> {
    Arc::new(storage::create(InMemoryBackend::new(), &identity(), 1 << 20).unwrap())
}

pub(super) fn open(file: &Arc<redb::Database>, secret: u8) -> Engine {
    Engine::open(Arc::clone(file), identity(), SigningKey::from_bytes(&[secret; 32])).unwrap()
}

pub(super) fn moment(now_ms: u64) -> Moment {
    Moment { now_ms, ..Moment::default() }
}

/// Writes documents with these `_id`s, one entry each, at that time.
pub(super) fn write(engine: &mut Engine, ids: std::ops::Range<i32>, now_ms: u64) {
    for id in ids {
        let insert = requests::insert("c", vec![rawdoc! { "_id": id }]);
        engine.run(|batch| batch.execute(insert, &moment(now_ms))).unwrap().unwrap();
    }
}

pub(super) fn runs(file: &Arc<redb::Database>, engine: &Engine) -> Vec<VerifiedRun> {
    let log = LogSnapshot::open(&file.begin_read().unwrap(), engine.id()).unwrap();
    let (mut runs, mut next) = (Vec::new(), 0);
    while let Some(stored) = log.run_at(next).unwrap() {
        next = stored.first + stored.run.entries().len() as u64;
        runs.push(stored.run);
    }
    runs
}

/// Damages a record of what is stored, which nobody finds before it is read.
fn damage(file: &Arc<redb::Database>) {
    let transaction = file.begin_write().unwrap();
    {
        let mut tables = Tables::open(&transaction).unwrap();
        tables.view.insert(&keyspace::collection("c")[..], &b"damaged"[..]).unwrap();
    }
    transaction.commit().unwrap();
}

pub(super) fn worker(file: &Arc<redb::Database>, engine: Engine, published: Arc<Published>) -> Worker {
    let (writer, id) = (engine.writer(), engine.id());
    let peers = Peers::new(Arc::clone(file), id, identity().key, writer, Vec::new());
    let (_, inbox) = mpsc::channel(limits::COMMAND_QUEUE_MAX);
    Worker::new(engine, inbox, peers, published)
}

#[test]
fn what_peers_have_shown_of_our_own_log_is_noted_also_where_the_rest_of_a_round_fails() {
    let (file, other) = (create(), create());
    write(&mut open(&file, 1), 0..1, 1_000);
    let mut theirs = open(&other, 2);
    write(&mut theirs, 1..2, 2_000);
    let runs = runs(&other, &theirs);
    damage(&file);

    let engine = open(&file, 1);
    let (writer, published) = (engine.writer(), Arc::new(Published::new(&engine).unwrap()));
    let mut worker = worker(&file, engine, published);
    // It is ordered in the round that brings it.
    let before = instant().checked_sub(Duration::from_secs(1)).unwrap();
    worker.settling.arrived(before, Source::Authors);
    let shown = Tip { writer, length: 9, head: EntryHash::from_bytes([7; 32]) };
    let ingests = [(PeerId(0), runs)];
    let done = worker.commit_or_part(Vec::new(), &ingests, &[shown], &moment(3_000), false).unwrap();
    assert!(done.stored[0].as_ref().unwrap_err().contains("damaged"), "{:?}", done.stored);
    assert!(worker.engine.status().unwrap().misses_own_entries);
    let insert = requests::insert("c", vec![rawdoc! { "_id": 3 }]);
    let done = worker.commit_or_part(vec![insert], &[], &[], &moment(3_000), false).unwrap();
    let refused = done.replies[0].as_ref().unwrap_err();
    assert!(refused.message().contains("restored from a backup"), "{refused}");
    drop(worker);
    assert!(open(&file, 1).status().unwrap().misses_own_entries, "that outlives the process");
}

#[test]
fn a_round_that_fails_shows_nobody_a_view_that_holds_less_than_before() {
    let (file, other) = (create(), create());
    let (mut ours, mut theirs) = (open(&file, 1), open(&other, 2));
    write(&mut ours, 100..110, 2_000);
    write(&mut theirs, 0..10, 1_000);
    let published = Arc::new(Published::new(&ours).unwrap());
    // What goes before all of ours is half applied.
    let runs = runs(&other, &theirs);
    ours.run(|batch| runs.iter().try_for_each(|run| batch.ingest(run).map(Result::unwrap))).unwrap();
    while ours.status().unwrap().undone < 10 || ours.status().unwrap().tail == 0 {
        assert!(!ours.run(|batch| batch.settle_within(1_000)).unwrap());
    }
    drop(ours);
    damage(&file);
    let engine = open(&file, 1);
    assert!(!engine.is_presentable());
    let mut worker = worker(&file, engine, Arc::clone(&published));
    let insert = requests::insert("d", vec![rawdoc! { "_id": 3 }]);
    let done = worker.commit_or_part(vec![insert], &[], &[], &moment(3_000), false).unwrap();
    assert_eq!(done.replies[0].as_ref().unwrap_err().kind(), ErrorKind::Data);
    let seen = published.view(&Stop::default()).unwrap();
    let meta = catalog::collection(&seen, "c").unwrap().unwrap();
    assert_eq!(Statistics::of(&seen, meta.id).unwrap().documents.count, 10);
}
