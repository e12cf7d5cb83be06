//! What a long tail costs: reads of what is confirmed beside reads of the latest view, a commit, opening the store, memory.
//!
//! `cargo bench -p combdb-benches --bench tails`; numbers behind `--` are other lengths of the tail.
#![allow(clippy::print_stdout)] // the tables are what it is for
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

use std::path::Path;
use std::time::{Duration, Instant};

use bson::{RawDocumentBuf, doc};
use combdb_benches::{Film, Latencies, SHELF_FILMS, Weight, films, memory};
use db_core::{Collection, Database, IndexModel, ReadConcern, Store};
use tokio::runtime::Runtime;

/// How many entries the tail has.
const TAILS: [usize; 3] = [0, 10_000, 100_000];
/// How many films are confirmed before the tail begins.
const CONFIRMED: usize = 20_000;
/// As many calls wait at once as share a commit.
const AT_ONCE: usize = 250;
const ROUNDS: i32 = 2_000;
const SCANS: i32 = 101;
/// After this long a tail of 100,000 has been looked through.
const LOOKED_THROUGH: Duration = Duration::from_secs(1);

fn main() {
    // cargo hands the benchmark `--bench`.
    let tails: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let tails = if tails.is_empty() { TAILS.to_vec() } else { tails };
    let Ok(runtime) = Runtime::new() else { return };
    let films = films(CONFIRMED + tails.iter().max().copied().unwrap_or_default(), Weight::Light);
    let (mut reads, mut costs) = (Vec::new(), Vec::new());
    for tail in tails {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let rows = measure(directory.path(), &runtime, tail, &films);
        reads.extend(rows.0);
        costs.push(rows.1);
    }
    println!(
        "| entries in the tail | read | local µs | majority µs | ratio |\n| ---: | --- | ---: | ---: | ---: |"
    );
    for row in &reads {
        println!("{row}");
    }
    println!(
        "\n| entries in the tail | opening it: s | memory after that, MiB | a commit of one insert: median ms |\n| ---: | ---: | ---: | ---: |"
    );
    for row in &costs {
        println!("{row}");
    }
}

/// Half of the tail are new films, the other half increments of confirmed ones, each an entry.
fn measure(directory: &Path, runtime: &Runtime, tail: usize, films: &[Film]) -> (Vec<String>, String) {
    let store = Store::open(directory).expect("a store");
    let database = store.create_database("films").expect("a database");
    let (confirmed, new) = films.split_at(CONFIRMED);
    let collection: Collection<RawDocumentBuf> = database.collection("films");
    for batch in confirmed.chunks(1_000) {
        collection.insert_many(batch.iter().map(|film| &film.document)).run().expect("an insert");
    }
    for field in ["shelf", "title"] {
        collection.create_index(IndexModel::new(doc! { field: 1 })).run().expect("an index");
    }
    // The other indexer never comes, so nothing is confirmed from here on.
    let ghost = Store::in_memory().and_then(|store| store.open_topic("ghost")).expect("a database").writer();
    database.set_indexers(vec![database.writer(), ghost]).run().expect("indexers");
    runtime.block_on(write_tail(&database, tail, new));
    let before = database.status();
    assert!(before.tail >= tail as u64, "{before:?}");

    let mut reads = reads(&collection, tail);
    let commits = commits(&collection);
    store.close();
    drop((collection, database, store));

    let begin = Instant::now();
    let store = Store::open(directory).expect("a store");
    let database = store.database("films").expect("a database");
    let opening = begin.elapsed();
    assert!(database.status().tail >= before.tail, "the tail is there again");
    let memory = memory::resident_mib();
    let collection = database.collection("films");
    let first = |concern: ReadConcern, _: i32| newest(&collection, concern);
    reads.push(compare(tail, "the newest ten by _id, once, right after opening", 1, first));
    store.close();
    drop((collection, database, store));
    let store = Store::open(directory).expect("a store");
    let collection = store.database("films").expect("a database").collection("films");
    std::thread::sleep(LOOKED_THROUGH);
    let later = |concern: ReadConcern, _: i32| newest(&collection, concern);
    reads.push(compare(tail, "the newest ten by _id, once, a second after opening", 1, later));
    let row = format!(
        "| {tail} | {:.2} | {memory} | {:.1} |",
        opening.as_secs_f64(),
        commits.quantile(0.5).as_secs_f64() * 1e3
    );
    (reads, row)
}

async fn write_tail(database: &Database, tail: usize, new: &[Film]) {
    let collection: Collection<RawDocumentBuf> = database.collection("films");
    for first in (0..tail).step_by(AT_ONCE) {
        let write = |at: usize| {
            let collection = collection.clone();
            let film = new.get(at).cloned();
            tokio::spawn(async move {
                if at.is_multiple_of(2) {
                    let film = film.expect("a film");
                    collection.insert_one(&film.document).await.map(drop)
                } else {
                    let id = i32::try_from(at % CONFIRMED).unwrap_or_default();
                    collection.update_one(doc! { "_id": id }, doc! { "$inc": { "seen": 1 } }).await.map(drop)
                }
            })
        };
        for written in (first..tail.min(first + AT_ONCE)).map(write).collect::<Vec<_>>() {
            written.await.expect("a task").expect("a write");
        }
    }
}

fn reads(films: &Collection<RawDocumentBuf>, tail: usize) -> Vec<String> {
    let confirmed = i32::try_from(CONFIRMED).unwrap_or_default();
    let shelves = confirmed / i32::try_from(SHELF_FILMS).unwrap_or(1);
    let get = |concern: ReadConcern, round: i32| {
        let id = round * 7 % confirmed;
        usize::from(
            films.find_one(doc! { "_id": id }).read_concern(concern).run_raw().expect("a read").is_some(),
        )
    };
    let shelf = |concern: ReadConcern, round: i32| {
        films.find(doc! { "shelf": round % shelves }).read_concern(concern).run_raw().expect("a read").count()
    };
    let scan = |concern: ReadConcern, _: i32| {
        let filter = doc! { "_id": { "$lt": confirmed }, "year": { "$gt": 1_990 } };
        films.find(filter).read_concern(concern).run_raw().expect("a read").count()
    };
    let whole = |concern: ReadConcern, _: i32| {
        let filter = doc! { "_id": { "$lt": confirmed } };
        films.find(filter).read_concern(concern).run_raw().expect("a read").count()
    };
    let backwards = |concern: ReadConcern, _: i32| {
        let filter = doc! { "_id": { "$lt": confirmed }, "year": { "$gt": 1_990 } };
        let find = films.find(filter).sort(doc! { "_id": -1 }).read_concern(concern);
        find.run_raw().expect("a read").count()
    };
    // What the tail has inserted lies between them.
    let by_title = |concern: ReadConcern, _: i32| {
        let find = films.find(doc! {}).sort(doc! { "title": 1 }).limit(10).read_concern(concern);
        find.run_raw().expect("a read").count()
    };
    vec![
        compare(tail, "the newest ten by _id, once", 1, |concern, _| newest(films, concern)),
        compare(tail, "get by _id", ROUNDS, get),
        compare(tail, "the newest ten by _id", ROUNDS / 10, |concern, _| newest(films, concern)),
        compare(tail, "ten by title", ROUNDS / 10, by_title),
        compare(tail, "find 100 by index", ROUNDS / 10, shelf),
        compare(tail, "scan of what is confirmed, with a filter", SCANS, scan),
        compare(tail, "the same backwards", SCANS, backwards),
        compare(tail, "all that is confirmed, whole", SCANS, whole),
    ]
}

/// Behind all that the tail has inserted.
fn newest(films: &Collection<RawDocumentBuf>, concern: ReadConcern) -> usize {
    let find = films.find(doc! {}).sort(doc! { "_id": -1 }).limit(10).read_concern(concern);
    find.run_raw().expect("a read").count()
}

fn compare(tail: usize, what: &str, rounds: i32, read: impl Fn(ReadConcern, i32) -> usize) -> String {
    let (mut local, mut majority) = (Latencies::default(), Latencies::default());
    for round in 0..rounds {
        for (concern, times) in [(ReadConcern::Local, &mut local), (ReadConcern::Majority, &mut majority)] {
            let begin = Instant::now();
            assert!(read(concern, round) > 0, "{what} finds nothing");
            times.push(begin.elapsed());
        }
    }
    let [local, majority] = [local, majority].map(|times| times.quantile(0.5).as_secs_f64() * 1e6);
    format!("| {tail} | {what} | {local:.1} | {majority:.1} | {:.2} |", majority / local)
}

fn commits(films: &Collection<RawDocumentBuf>) -> Latencies {
    let mut times = Latencies::default();
    for number in 0..100 {
        let begin = Instant::now();
        films.insert_one(bson::rawdoc! { "_id": -1 - number }).run().expect("an insert");
        times.push(begin.elapsed());
    }
    times
}
