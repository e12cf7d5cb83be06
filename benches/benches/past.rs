//! What reading a past state costs: from the changes that are kept, and from the logs, anew and going on from an earlier one.
//!
//! `cargo bench -p combdb-benches --bench past`; numbers behind `--` are other numbers of entries.
#![allow(clippy::print_stdout)] // the table is what it is for
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

use std::time::Instant;

use bson::{RawDocumentBuf, doc};
use combdb_benches::{Film, Weight, films, memory};
use db_core::{Collection, Database, IndexModel, Store};
use tokio::runtime::Runtime;

/// How many entries are confirmed, each with a film or an increment.
const ENTRIES: [usize; 2] = [10_000, 100_000];
/// As many calls wait at once as share a commit.
const AT_ONCE: usize = 250;
/// How many entries before the last one the state lies that is read from kept changes.
const NEAR: u64 = 1_000;

fn main() {
    // cargo hands the benchmark `--bench`.
    let entries: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let entries = if entries.is_empty() { ENTRIES.to_vec() } else { entries };
    let Ok(runtime) = Runtime::new() else { return };
    println!(
        "| entries | a state | how it is made | ms | entries/s | ratio to writing them | memory, MiB |\n| ---: | --- | --- | ---: | ---: | ---: | ---: |"
    );
    for count in entries {
        measure(&runtime, &films(count, Weight::Light));
    }
}

/// Half of the entries are new films, the other half increments of them.
fn measure(runtime: &Runtime, films: &[Film]) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(directory.path()).expect("a store");
    let database = store.create_database("films").expect("a database");
    let collection: Collection<RawDocumentBuf> = database.collection("films");
    collection.create_index(IndexModel::new(doc! { "year": 1 })).run().expect("an index");
    let begin = Instant::now();
    runtime.block_on(write(&collection, films));
    let writing = begin.elapsed().as_secs_f64() / films.len() as f64;
    let last = database.status().confirmed - 1;
    let row = |what: &str, how: &str, entries: u64, read: &dyn Fn() -> u64| {
        let begin = Instant::now();
        assert!(read() > 0, "there is nothing");
        let took = begin.elapsed().as_secs_f64();
        let (rate, ratio) = match entries {
            0 => (String::new(), String::new()),
            _ => (format!("{:.0}", entries as f64 / took), format!("{:.2}", writing * entries as f64 / took)),
        };
        let (count, memory) = (films.len(), memory::resident_mib());
        println!("| {count} | {what} | {how} | {:.1} | {rate} | {ratio} | {memory} |", took * 1e3);
    };
    let count = |position: u64| {
        move |database: &Database| {
            let films = database.at(position).expect("a past state").collection::<RawDocumentBuf>("films");
            films.estimated_document_count().expect("a count")
        }
    };
    let (half, later) = (last / 2, last / 2 + NEAR);
    row("1,000 entries ago", "kept changes", 0, &|| count(last - NEAR)(&database));
    database.set_change_history(0);
    collection.insert_one(bson::rawdoc! { "_id": -1 }).run().expect("an insert"); // what was kept goes
    row("in the middle", "the logs", half, &|| count(half)(&database));
    row("the same again", "it was kept", 0, &|| count(half)(&database));
    row("1,000 entries later", "going on", NEAR, &|| count(later)(&database));
}

async fn write(collection: &Collection<RawDocumentBuf>, films: &[Film]) {
    for first in (0..films.len()).step_by(AT_ONCE) {
        let write = |at: usize| {
            let (collection, film) = (collection.clone(), films[at].document.clone());
            tokio::spawn(async move {
                if at.is_multiple_of(2) {
                    collection.insert_one(&film).await.map(drop)
                } else {
                    let id = film.get_i32("_id").unwrap_or_default() - 1;
                    collection.update_one(doc! { "_id": id }, doc! { "$inc": { "seen": 1 } }).await.map(drop)
                }
            })
        };
        let writes = (first..films.len().min(first + AT_ONCE)).map(write).collect::<Vec<_>>();
        for written in writes {
            written.await.expect("a task").expect("a write");
        }
    }
}
