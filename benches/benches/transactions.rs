//! Transactions a second, with and without conflicts, beside plain updates of the same documents.
//!
//! `cargo bench -p combdb-benches --bench transactions`; a number behind `--` is how many each column makes (2,000).
#![allow(clippy::print_stdout)] // the table is what it is for
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bson::{Document, doc};
use db_core::{Collection, Database, Store, Transaction, WriteModel};
use tokio::runtime::Runtime;

/// How many callers wait at any time.
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];

/// How often a closure may be run: nobody gives up here.
const ATTEMPTS_MAX: u32 = 100_000;

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(2_000);
    let runtime = Runtime::new().expect("a runtime");
    println!(
        "| at once | bulks of two `$inc`/s | the same as transactions/s | ratio | two reads and two `$set`s, no conflicts/s | ratio | \
         all on one document/s | ratio | runs a transaction |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for at_once in AT_ONCE {
        let bench = Bench { runtime: &runtime, at_once, each: (count / at_once).max(1) };
        let plain = bench.measure(|database, caller| async move { plain(&database, caller).await });
        let blind = bench.measure(|database, caller| async move { blind(&database, caller).await });
        let apart =
            bench.measure(|database, caller| async move { both(&database, caller, &Arc::default()).await });
        let runs: Arc<AtomicU64> = Arc::default();
        let counted = Arc::clone(&runs);
        let one = bench.measure(move |database, _| {
            let runs = Arc::clone(&counted);
            async move { counter(&database, &runs).await }
        });
        let made = (bench.each * at_once) as f64;
        println!(
            "| {at_once} | {plain:.0} | {blind:.0} | {:.2} | {apart:.0} | {:.2} | {one:.0} | {:.2} | {:.2} |",
            blind / plain,
            apart / plain,
            one / plain,
            runs.load(Ordering::Relaxed) as f64 / made,
        );
    }
}

struct Bench<'a> {
    runtime: &'a Runtime,
    at_once: usize,
    each: usize,
}

impl Bench<'_> {
    /// How many times a second `call` is made by callers with numbers of their own, on a new store on the disk.
    fn measure<F>(&self, call: impl Fn(Database, i32) -> F + Clone + Send + 'static) -> f64
    where
        F: Future<Output = ()> + Send,
    {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(directory.path()).expect("a store");
        let database = store.create_database("bank").expect("a database");
        let accounts =
            (0..2 * self.at_once as i32).map(|id| doc! { "_id": id, "n": 0, "name": "x".repeat(100) });
        self.runtime.block_on(async {
            database.collection::<Document>("accounts").insert_many(accounts).await.expect("accounts");
            let begun = Instant::now();
            let callers: Vec<_> = (0..self.at_once as i32)
                .map(|caller| {
                    let (database, call, each) = (database.clone(), call.clone(), self.each);
                    tokio::spawn(async move {
                        for _ in 0..each {
                            call(database.clone(), caller).await;
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("a caller");
            }
            (self.each * self.at_once) as f64 / begun.elapsed().as_secs_f64()
        })
    }
}

/// Adds to two documents of the caller's, as one entry.
async fn plain(database: &Database, caller: i32) {
    let add = |id: i32| WriteModel::update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } });
    let accounts: Collection<Document> = database.collection("accounts");
    accounts.bulk_write([add(2 * caller), add(2 * caller + 1)]).await.expect("a bulk");
}

/// The same as a transaction.
async fn blind(database: &Database, caller: i32) {
    let add = move |transaction: &Transaction| {
        let accounts = transaction.collection::<Document>("accounts");
        for id in [2 * caller, 2 * caller + 1] {
            accounts.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } }).run()?;
        }
        Ok(())
    };
    database.transaction(add).attempts_max(ATTEMPTS_MAX).await.expect("a transaction");
}

/// Reads two documents of the caller's and sets both.
async fn both(database: &Database, caller: i32, runs: &Arc<AtomicU64>) {
    read_and_set(database, vec![2 * caller, 2 * caller + 1], runs).await;
}

/// Reads the one document of all and sets it.
async fn counter(database: &Database, runs: &Arc<AtomicU64>) {
    read_and_set(database, vec![0], runs).await;
}

async fn read_and_set(database: &Database, ids: Vec<i32>, runs: &Arc<AtomicU64>) {
    let runs = Arc::clone(runs);
    let set = move |transaction: &Transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        let accounts = transaction.collection::<Document>("accounts");
        for id in &ids {
            let account = accounts.find_one(doc! { "_id": id }).run()?;
            let n = account.and_then(|account| account.get_i32("n").ok()).unwrap_or_default();
            accounts.update_one(doc! { "_id": id }, doc! { "$set": { "n": n + 1 } }).run()?;
        }
        Ok(())
    };
    database.transaction(set).attempts_max(ATTEMPTS_MAX).await.expect("a transaction");
}
