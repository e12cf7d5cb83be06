//! Opening a database whose process ended while a backlog waited, or in the middle of ordering it, or whose disk has failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bson::{Document, doc, rawdoc};
use ed25519_dalek::SigningKey;
use redb::ReadableDatabase;
use tokio::time::timeout;

use super::PATIENCE;
use crate::collection::{Collection, ReadConcern};
use crate::database::Database;
use crate::driver::published::Published;
use crate::engine::{Engine, EngineStatus, Moment};
use crate::entry::{Genesis, VerifiedRun};
use crate::error::ErrorKind;
use crate::ids::DatabaseKey;
use crate::limits;
use crate::log_reader::LogReader;
use crate::query::Stop;
use crate::simulation::{SimDisk, requests};
use crate::storage::{self, Identity, LogSnapshot, Tables};
use crate::view::keyspace;

/// How many documents each of two peers has written.
const EACH: u64 = 60;

fn identity() -> Identity {
    let key = DatabaseKey::of_open_topic("opening");
    Identity { genesis: Genesis::open(&key), key }
}

fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Opens what is on a disk.
fn open(disk: &SimDisk, number: u8) -> (Arc<redb::Database>, Engine) {
    let (file, identity) = storage::open(disk.clone(), 1 << 20).unwrap();
    let file = Arc::new(file);
    let engine = Engine::open(Arc::clone(&file), identity, secret(number)).unwrap();
    (file, engine)
}

/// A new disk with a database on it, and documents that this peer has written from that time on.
fn written(number: u8, now_ms: u64, first: i32) -> SimDisk {
    let disk = SimDisk::new(Vec::new(), None);
    drop(storage::create(disk.clone(), &identity(), 1 << 20).unwrap());
    let (_, mut engine) = open(&disk, number);
    for id in first..first + EACH.cast_signed() as i32 {
        let moment = Moment { now_ms: now_ms + 1, ..Moment::default() };
        let insert = requests::insert("c", vec![rawdoc! { "_id": id, "s": "x".repeat(300) }]);
        engine.run(|batch| batch.execute(insert, &moment)).unwrap().unwrap();
    }
    disk
}

fn runs(disk: &SimDisk, number: u8) -> Vec<VerifiedRun> {
    let (file, engine) = open(disk, number);
    let log = LogSnapshot::open(&file.begin_read().unwrap(), engine.id()).unwrap();
    let (mut runs, mut next) = (Vec::new(), 0);
    while let Some(stored) = log.run_at(next).unwrap() {
        next = stored.first + stored.run.entries().len() as u64;
        runs.push(stored.run);
    }
    runs
}

/// The disk of a peer that has got what goes before all of its own, and is killed when it has come so far with ordering it.
fn killed(when: impl Fn(&EngineStatus) -> bool) -> SimDisk {
    let disk = written(1, 2_000_000, 1_000);
    let earlier = runs(&written(2, 1_000_000, 0), 2);
    let (_, mut engine) = open(&disk, 1);
    engine.run(|batch| earlier.iter().try_for_each(|run| batch.ingest(run).map(Result::unwrap))).unwrap();
    while !when(&engine.status().unwrap()) {
        assert!(!engine.run(|batch| batch.settle_within(4_000)).unwrap());
    }
    SimDisk::new(disk.image(), None)
}

fn start(file: Arc<redb::Database>, engine: Engine) -> (Database, Collection<Document>) {
    let database = Database::start("opening", file, identity(), engine, None, limits::CHANGES_BYTES).unwrap();
    let collection = database.collection("c");
    (database, collection)
}

fn own(collection: &Collection<Document>) -> u64 {
    collection.count_documents(doc! { "_id": { "$gte": 1_000 } }).run().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_to_be_ordered_waits_for_nothing_when_the_database_is_opened() {
    let (file, engine) = open(&killed(|_| true), 1);
    assert!(engine.is_presentable());
    assert_eq!(engine.status().unwrap().unordered, EACH);
    let (database, collection) = start(file, engine);
    let mut written = 0_u32;
    let is_ordered = |database: &Database| database.status().unordered == 0;
    let until_ordered = async {
        while !is_ordered(&database) {
            assert_eq!(own(&collection), EACH, "nobody misses what was acknowledged");
            collection.insert_one(doc! { "_id": -1 - i64::from(written) }).await.unwrap();
            written += 1;
        }
    };
    timeout(PATIENCE, until_ordered).await.unwrap();
    assert_eq!(collection.count_documents(doc! {}).run().unwrap(), 2 * EACH + u64::from(written));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_is_looked_through_for_readers_of_what_is_confirmed_once_the_database_is_open() {
    let (file, engine) = open(&written(1, 1_000_000, 0), 1);
    let (database, _collection) = start(file, engine);
    let is_known = || database.view_at(ReadConcern::Local, &Stop::default()).unwrap().known_gaps() > 0;
    let until_known = async {
        while !is_known() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, until_known).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_ended_in_the_middle_of_ordering_shows_nothing_less_than_before_and_confirmed_states_at_once() {
    let (file, engine) = open(&killed(|status| status.undone > EACH / 2), 1);
    assert!(!engine.is_presentable());
    let (database, collection) = start(file, engine);
    let confirmed = collection.count_documents(doc! {}).read_concern(ReadConcern::Majority).run().unwrap();
    database.until_readable().await;
    assert!(database.is_readable());
    assert_eq!(confirmed, 0, "nobody confirms anything here");
    let writes = {
        let collection = collection.clone();
        tokio::spawn(async move { collection.insert_one(doc! { "_id": -1 }).await.unwrap() })
    };
    let mut events = {
        let collection = collection.clone();
        tokio::task::spawn_blocking(move || collection.watch().with_present().run().unwrap()).await.unwrap()
    };
    let reads = tokio::task::spawn_blocking(move || own(&collection));
    assert_eq!(timeout(PATIENCE, reads).await.unwrap().unwrap(), EACH);
    timeout(PATIENCE, writes).await.unwrap().unwrap();
    for _ in 0..=2 * EACH {
        timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(database.status().unordered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_no_longer_than_it_may_and_one_of_what_is_confirmed_not_at_all() {
    let (_, mut engine) = open(&killed(|status| status.undone > EACH / 2), 1);
    let published = Arc::new(Published::new(&engine).unwrap());
    let impatient = {
        let (published, mut stop, asked) = (Arc::clone(&published), Stop::default(), AtomicU32::new(0));
        stop.when(move || asked.fetch_add(1, Ordering::Relaxed) >= 3);
        tokio::task::spawn_blocking(move || published.view(&stop).err().unwrap())
    };
    assert_eq!(timeout(PATIENCE, impatient).await.unwrap().unwrap().code(), Some(50));
    assert!(published.confirmed().is_ok() && !published.has_begun());
    let patient = {
        let published = Arc::clone(&published);
        tokio::task::spawn_blocking(move || published.view(&Stop::default()).map(|_| ()))
    };
    let task = {
        let published = Arc::clone(&published);
        tokio::spawn(async move { published.begun().await })
    };
    assert!(!patient.is_finished() && !task.is_finished());
    engine.run(|batch| batch.settle_within(usize::MAX)).unwrap();
    published.show_view(&mut engine).unwrap();
    timeout(PATIENCE, patient).await.unwrap().unwrap().unwrap();
    timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ordering_that_fails() {
    let (file, engine) = open(&killed(|status| status.undone == EACH && status.tail > 0), 1);
    drop(engine);
    // All of what stands now was applied after the other's first entry had made the collection.
    let transaction = file.begin_write().unwrap();
    {
        let mut tables = Tables::open(&transaction).unwrap();
        tables.view.insert(&keyspace::collection("c")[..], &b"damaged"[..]).unwrap();
    }
    transaction.commit().unwrap();
    let engine = Engine::open(Arc::clone(&file), identity(), secret(1)).unwrap();
    let (database, collection) = start(file, engine);
    let read = tokio::task::spawn_blocking(move || collection.find(doc! {}).run().map(|_| ()));
    let refused = timeout(PATIENCE, read).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Data, "{refused}");
    let ends = async {
        while !database.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ends).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_while_the_disk_fails_is_told_why_reads_go_on_and_it_opens_again() {
    let disk = written(1, 1_000_000, 1_000);
    let (file, engine) = open(&disk, 1);
    let (database, collection) = start(file, engine);
    disk.fail_after(0, 1);
    let failed = collection.insert_one(doc! { "_id": 1 }).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    assert!(std::error::Error::source(&failed).is_some(), "{failed:?}");
    for write in [collection.insert_one(doc! { "_id": 2 }), collection.insert_one(doc! { "_id": 3 })] {
        assert_eq!(write.await.unwrap_err().kind(), ErrorKind::Unavailable, "until it is opened again");
    }
    assert_eq!(own(&collection), EACH);
    database.close();
    let (file, engine) = open(&disk, 1);
    let (_database, collection) = start(file, engine);
    assert_eq!(collection.count_documents(doc! {}).run().unwrap(), EACH, "nothing of it is there");
    collection.insert_one(doc! { "_id": 2 }).await.unwrap();
}
