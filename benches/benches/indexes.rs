//! Building indexes on a million documents: how fast beside raw redb that puts the same entries sorted, how much memory it
//! takes, and how long reads take meanwhile.
//!
//! `cargo bench -p combdb-benches --bench indexes`; a number behind `--` is another number of documents.
#![allow(clippy::print_stdout)] // the tables are what it is for
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::doc;
use combdb_benches::{CombDb, Film, Indexes, Latencies, RawRedb, Weight, films, memory};
use db_core::IndexModel;

const DOCUMENTS: usize = 1_000_000;
/// How many different films there are; they repeat with `_id`s of their own.
const FILMS: usize = 50_000;
/// How many documents are inserted in a commit.
const BATCH: usize = 10_000;
/// For how long reads are timed where nothing is built.
const QUIET: Duration = Duration::from_secs(5);

/// A build that was measured.
struct Built {
    time: Duration,
    entries: u64,
    peak_mib: u64,
    reads: Latencies,
}

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(DOCUMENTS);
    let films = films(FILMS.min(count), Weight::Light);
    let store = CombDb::new(Indexes::None);
    batches(&films, count, |batch| store.insert_batch(batch));
    println!("{count} documents of {} bytes\n", mean_bytes(&films));

    let quiet = reads_during(&store, count, || std::thread::sleep(QUIET)).1;
    let before_mib = memory::resident_mib();
    let built: Vec<Built> = indexes().into_iter().map(|(_, index)| build(&store, count, index)).collect();
    drop(store);
    let raw = RawRedb::new(Indexes::None);
    batches(&films, count, |batch| raw.insert_batch(batch));

    println!(
        "| index | s | documents/s | entries/s | raw redb, entries/s | ratio | by a cursor | ratio | memory at most, MiB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((name, index), built) in indexes().into_iter().zip(&built) {
        let keys = bson::RawDocumentBuf::try_from(&index.keys).expect("a key pattern");
        let raw = raw.build(&keys);
        assert_eq!(raw.entries, built.entries, "the index holds other entries");
        let speed = |time| per_second(built.entries, time);
        let (ours, put, by_cursor) = (speed(built.time), speed(raw.time), speed(raw.cursor_time));
        println!(
            "| {name} | {:.1} | {:.0} | {ours:.0} | {put:.0} | {:.2} | {by_cursor:.0} | {:.2} | {} |",
            built.time.as_secs_f64(),
            per_second(count as u64, built.time),
            ours / put,
            ours / by_cursor,
            built.peak_mib
        );
    }
    println!("\nMemory before the first build: {before_mib} MiB, 256 of them for redb's cache.\n");
    println!("| find by _id, while | reads | median µs | p99 µs | longest ms |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    println!("| nothing else happens | {quiet} |");
    for ((name, _), built) in indexes().iter().zip(&built) {
        println!("| {name} is built | {} |", built.reads);
    }
}

/// The indexes to build: one field, several fields, an array, and one that must be unique.
fn indexes() -> Vec<(&'static str, IndexModel)> {
    vec![
        ("title", IndexModel::new(doc! { "title": 1 })),
        ("year, title", IndexModel::new(doc! { "year": -1, "title": 1 })),
        ("cast (multikey)", IndexModel::new(doc! { "cast": 1 })),
        ("title, _id (unique)", IndexModel::new(doc! { "title": 1, "_id": 1 }).unique(true)),
    ]
}

/// Hands `count` documents on, a batch at a time.
fn batches(films: &[Film], count: usize, mut insert: impl FnMut(&[Film])) {
    for first in (0..count).step_by(BATCH) {
        let numbers = first..count.min(first + BATCH);
        let film = |number: usize| films[number % films.len()].renumbered(number as i32);
        insert(&numbers.map(film).collect::<Vec<_>>());
    }
}

/// Builds an index while somebody reads.
fn build(store: &CombDb, count: usize, index: IndexModel) -> Built {
    memory::forget_peak();
    let name = index.keys.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let before = store.index_entries();
    let (time, reads) = reads_during(store, count, || {
        let begin = Instant::now();
        store.create_index(index);
        begin.elapsed()
    });
    eprintln!("{name}: {:.1} s", time.as_secs_f64());
    Built { time, entries: store.index_entries() - before, peak_mib: memory::peak_mib(), reads }
}

/// Reads a document a millisecond by its `_id` as long as `work` takes.
fn reads_during<T>(store: &CombDb, count: usize, work: impl FnOnce() -> T) -> (T, Latencies) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = Latencies::default();
            let mut id = 0;
            while !done.load(Ordering::Relaxed) {
                id = (id + 7_919) % count;
                let begin = Instant::now();
                assert!(store.get(id as i32) > 0, "a document is missing");
                reads.push(begin.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            reads
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, reader.join().expect("the reader"))
    })
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn mean_bytes(films: &[Film]) -> usize {
    films.iter().map(|film| film.document.as_bytes().len()).sum::<usize>() / films.len()
}
