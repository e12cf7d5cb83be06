//! What reads may say besides what they ask for, and how calls explain themselves.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bson::{Document, doc};
use db_core::{Collection, ErrorKind, Hint, ReadOptions, Result, Store};

/// A thousand numbered documents, indexed by `n`.
fn numbers() -> Collection<Document> {
    let numbers: Collection<Document> =
        Store::in_memory().unwrap().create_database("test").unwrap().collection("numbers");
    numbers.insert_many((0..1_000).map(|n| doc! { "_id": n, "n": n % 100 })).run().unwrap();
    numbers.create_index(doc! { "n": 1 }).run().unwrap();
    numbers
}

#[test]
fn a_read_ends_when_its_time_is_over() {
    let numbers = numbers();
    let filter = || doc! { "x": { "$ne": 1 } };
    let none = Duration::ZERO;
    let refusals = [
        numbers.find(filter()).max_time(none).run().unwrap().collect::<Result<Vec<_>>>().err(),
        numbers.find(filter()).sort(doc! { "x": 1 }).max_time(none).run().err(),
        numbers.find_one(doc! { "_id": 1 }).max_time(none).run().err(),
        numbers.count_documents(filter()).max_time(none).run().err(),
        numbers.distinct("n", filter()).max_time(none).run().err(),
        numbers.find(filter()).max_time(none).explain().err(),
    ];
    for refusal in refusals {
        let refusal = refusal.unwrap();
        assert_eq!((refusal.kind(), refusal.code()), (ErrorKind::Invalid, Some(50)), "{refusal}");
    }
    let hour = Duration::from_hours(1);
    assert_eq!(numbers.count_documents(filter()).max_time(hour).run().unwrap(), 1_000);
}

#[test]
fn a_cursor_stops_when_its_caller_has_had_enough() {
    let numbers = numbers();
    let asked = Arc::new(AtomicU64::new(0));
    let asking = Arc::clone(&asked);
    let options = ReadOptions::default().stop_when(move || asking.fetch_add(1, Ordering::Relaxed) >= 2);
    let mut cursor = numbers.find(doc! {}).with_options(options).run().unwrap();
    let read = cursor.by_ref().take_while(Result::is_ok).count();
    assert!((1..1_000).contains(&read), "{read}");
    assert!(asked.load(Ordering::Relaxed) >= 3);
}

#[test]
fn counts_updates_and_deletes_explain_themselves_and_write_nothing() {
    let numbers = numbers();
    let stage = |plan: &Document| {
        let winning = plan.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap();
        winning.get_str("stage").unwrap().to_owned()
    };
    let examined = |plan: &Document| {
        let stats = plan.get_document("executionStats").unwrap();
        (stats.get_i64("totalKeysExamined").unwrap(), stats.get_i64("totalDocsExamined").unwrap())
    };
    let count = numbers.count_documents(doc! { "n": 7 }).explain().unwrap();
    assert_eq!((stage(&count).as_str(), examined(&count)), ("COUNT", (10, 0)));
    let update = numbers.update_many(doc! { "n": 7 }, doc! { "$set": { "x": 1 } }).explain().unwrap();
    assert_eq!((stage(&update).as_str(), examined(&update)), ("UPDATE", (10, 10)));
    let delete = numbers.delete_one(doc! { "n": 7 }).explain().unwrap();
    assert_eq!((stage(&delete).as_str(), examined(&delete)), ("DELETE", (1, 1)));
    let scan = numbers.delete_many(doc! { "n": 7 }).hint(Hint::Keys(doc! { "$natural": 1 }));
    let scan = scan.explain_plan().unwrap();
    assert!(scan.to_string().contains("COLLSCAN") && !scan.contains_key("executionStats"), "{scan}");

    let wrong = numbers.update_one(doc! {}, doc! { "$foo": { "x": 1 } }).explain().unwrap_err();
    assert_eq!(wrong.code(), Some(9));
    let insert = numbers.insert_one(doc! { "_id": -1 }).explain().unwrap_err();
    assert_eq!(insert.code(), Some(72));
    assert_eq!(numbers.count_documents(doc! { "x": 1 }).run().unwrap(), 0);
    assert_eq!(numbers.estimated_document_count().unwrap(), 1_000);
}
