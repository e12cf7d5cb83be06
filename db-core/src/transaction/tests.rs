//! Transactions as programs see them.

use std::sync::atomic::{AtomicU32, Ordering};

use bson::{Document, doc};

use super::*;
use crate::collection::{IndexModel, IndexOptions, ReturnDocument, WriteModel};
use crate::error::TRANSIENT_TRANSACTION_ERROR;
use crate::receipt::ReceiptState;
use crate::store::Store;

type Read = fn(&Collection<Document>);
type Fault = fn(&Collection<Document>) -> Option<i32>;

fn database() -> Database {
    Store::in_memory().unwrap().create_database("test").unwrap()
}

fn films(database: &Database) -> Collection<Document> {
    database.collection("films")
}

fn years(transaction: &Transaction, filter: Document) -> Vec<i32> {
    let found =
        transaction.collection::<Document>("films").find(filter).sort(doc! { "year": 1 }).run().unwrap();
    found.map(|film| film.unwrap().get_i32("year").unwrap()).collect()
}

#[test]
fn what_is_written_is_seen_inside_by_every_kind_of_read_and_outside_once_it_is_committed() {
    let database = database();
    let outside = films(&database);
    outside.insert_many((1970..1980).map(|year| doc! { "_id": year, "year": year })).run().unwrap();
    let unique = IndexOptions { unique: true, ..IndexOptions::default() };
    outside.create_index(IndexModel { keys: doc! { "year": 1 }, options: unique }).run().unwrap();
    let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
    let inside = transaction.collection::<Document>("films");
    inside.insert_one(doc! { "_id": 1, "year": 1999 }).run().unwrap();
    inside.update_many(doc! { "year": { "$lt": 1972 } }, doc! { "$inc": { "year": 50 } }).run().unwrap();
    inside.delete_one(doc! { "_id": 1975 }).run().unwrap();
    let after = inside
        .find_one_and_update(doc! { "year": 1976 }, doc! { "$set": { "seen": true } })
        .return_document(ReturnDocument::After)
        .run()
        .unwrap();
    assert_eq!(after, Some(doc! { "_id": 1976, "year": 1976, "seen": true }));
    let upserted =
        inside.update_one(doc! { "_id": 2 }, doc! { "$set": { "year": 2000 } }).upsert(true).run().unwrap();
    assert_eq!(upserted.upserted_id, Some(2.into()));
    let models = [
        WriteModel::insert_one(&doc! { "_id": 3, "year": 2001 }),
        WriteModel::delete_one(doc! { "_id": 1974 }),
    ];
    assert_eq!(inside.bulk_write(models).run().unwrap().deleted_count, 1);
    inside.replace_one(doc! { "_id": 1973 }, doc! { "year": 2002 }).run().unwrap();

    let expected = [1972, 1976, 1977, 1978, 1979, 1999, 2000, 2001, 2002, 2020, 2021];
    assert_eq!(years(&transaction, doc! {}), expected);
    assert_eq!(years(&transaction, doc! { "year": { "$gt": 1999 } }), expected[6..]);
    assert_eq!(inside.count_documents(doc! { "year": { "$gte": 1999 } }).run().unwrap(), 6);
    assert_eq!(inside.estimated_document_count().unwrap(), 11);
    assert_eq!(inside.distinct("year", doc! {}).run().unwrap().len(), 11);
    let sum = [
        doc! { "$match": { "year": { "$gte": 2020 } } },
        doc! { "$group": { "_id": null, "sum": { "$sum": "$year" } } },
    ];
    let sum = inside.aggregate(sum).run().unwrap().next().unwrap().unwrap();
    assert_eq!(sum.get_i32("sum").unwrap(), 4041);
    let plan = inside.find(doc! { "year": 1999 }).explain().unwrap();
    assert!(plan.to_string().contains("IXSCAN"), "{plan}");

    assert_eq!(outside.count_documents(doc! {}).run().unwrap(), 10, "nothing is seen outside");
    let before = database.status().entries;
    let ((), receipt) = transaction.commit().with_receipt().run().unwrap();
    assert_eq!(database.status().entries, before + 1, "it is one entry");
    assert!(matches!(receipt.state().unwrap(), ReceiptState::Confirmed(crate::Outcome::Applied)));
    assert_eq!(outside.count_documents(doc! {}).run().unwrap(), 11);
    assert_eq!(
        outside.find_one(doc! { "year": 2002 }).run().unwrap(),
        Some(doc! { "_id": 1973, "year": 2002 })
    );
    assert!(!transaction.is_open());
}

#[test]
fn reads_come_from_one_snapshot_and_what_changed_meanwhile_is_a_conflict() {
    let database = database();
    let outside = films(&database);
    outside.insert_many([doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": 1 }]).run().unwrap();
    let reads: [Read; 8] = [
        |films| assert!(films.find_one(doc! { "_id": 1 }).run().unwrap().is_some()),
        |films| assert_eq!(films.find(doc! { "n": 1 }).run().unwrap().count(), 2),
        |films| assert_eq!(films.find(doc! {}).sort(doc! { "n": -1 }).limit(1).run().unwrap().count(), 1),
        |films| assert_eq!(films.count_documents(doc! { "n": 1 }).run().unwrap(), 2),
        |films| assert_eq!(films.distinct("n", doc! {}).run().unwrap().len(), 1),
        |films| {
            let positive = [doc! { "$match": { "n": { "$gt": 0 } } }];
            assert_eq!(films.aggregate(positive).run().unwrap().count(), 2);
        },
        |films| {
            assert_eq!(
                films.update_one(doc! { "n": 2 }, doc! { "$set": { "n": 3 } }).run().unwrap().matched_count,
                0
            );
        },
        |films| assert!(films.find_one(doc! { "s": { "$regex": "x" } }).run().unwrap().is_none()),
    ];
    for (position, read) in reads.into_iter().enumerate() {
        let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
        let inside = transaction.collection::<Document>("films");
        read(&inside);
        inside.insert_one(doc! { "of": position as i32 }).run().unwrap();
        outside.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2, "s": "x" } }).run().unwrap();
        let error = transaction.commit().run().unwrap_err();
        assert_eq!(error.code(), Some(112), "read {position}");
        assert!(error.contains_label(TRANSIENT_TRANSACTION_ERROR));
        outside
            .update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 }, "$unset": { "s": 1 } })
            .run()
            .unwrap();
        assert_eq!(outside.count_documents(doc! { "of": position as i32 }).run().unwrap(), 0);
    }
    // What was not read does not matter, nor what is the same again.
    let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
    let inside = transaction.collection::<Document>("films");
    assert!(inside.find_one(doc! { "_id": 1 }).run().unwrap().is_some());
    inside.update_one(doc! { "_id": 2 }, doc! { "$inc": { "n": 1 } }).run().unwrap();
    outside.update_one(doc! { "_id": 2 }, doc! { "$inc": { "n": 10 } }).run().unwrap();
    outside.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 5 } }).run().unwrap();
    outside.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).run().unwrap();
    transaction.commit().run().unwrap();
    assert_eq!(outside.find_one(doc! { "_id": 2 }).run().unwrap(), Some(doc! { "_id": 2, "n": 12 }));
}

#[test]
fn a_closure_is_run_again_after_a_conflict_and_aborts_with_its_own_error() {
    let database = database();
    let outside = films(&database);
    outside.insert_one(doc! { "_id": 1, "n": 0 }).run().unwrap();
    let runs = AtomicU32::new(0);
    let spoil = |times: u32| {
        runs.store(0, Ordering::Relaxed);
        let (outside, runs) = (outside.clone(), &runs);
        database.transaction(move |transaction| {
            let inside = transaction.collection::<Document>("films");
            let n = inside.find_one(doc! { "_id": 1 }).run()?.unwrap().get_i32("n").unwrap();
            if runs.fetch_add(1, Ordering::Relaxed) < times {
                outside.update_one(doc! { "_id": 1 }, doc! { "$inc": { "n": 100 } }).run()?;
            }
            inside.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": n + 1 } }).run()?;
            Ok(n)
        })
    };
    assert_eq!(spoil(2).run().unwrap(), 200);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert_eq!(outside.find_one(doc! {}).run().unwrap().unwrap().get_i32("n").unwrap(), 201);
    assert_eq!(spoil(9).attempts_max(3).run().unwrap_err().code(), Some(112));
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert_eq!(spoil(9).timeout(Duration::ZERO).run().unwrap_err().code(), Some(112));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    let before = database.status().entries;
    let given_up: Result<()> = database
        .transaction(|transaction| {
            transaction.collection::<Document>("films").delete_one(doc! { "_id": 1 }).run()?;
            Err(Error::aborted("changed my mind"))
        })
        .run();
    assert_eq!(given_up.unwrap_err().kind(), ErrorKind::Aborted);
    assert_eq!(database.status().entries, before, "nothing is logged");
    let read = database.transaction(|transaction| Ok(years(transaction, doc! { "year": 1 }).len()));
    let (none, receipt) = read.run_with_receipt().unwrap();
    assert_eq!((none, receipt.entry()), (0, None), "one that only reads logs nothing");
}

#[test]
fn an_error_inside_aborts_the_transaction_as_in_mongodb() {
    let database = database();
    let outside = films(&database);
    outside.insert_one(doc! { "_id": 1 }).run().unwrap();
    let faults: [(Fault, i32); 7] = [
        (
            |films| {
                let models =
                    [WriteModel::insert_one(&doc! { "_id": 5 }), WriteModel::insert_one(&doc! { "_id": 1 })];
                let error = films.bulk_write(models).run().unwrap_err();
                assert_eq!(error.partial_result().map(|done| done.inserted_count), Some(1));
                error.code()
            },
            11_000,
        ),
        (|films| films.insert_one(doc! { "_id": 1 }).run().unwrap_err().code(), 11_000),
        (
            |films| {
                films
                    .insert_many([doc! { "_id": 9 }, doc! { "_id": 1 }])
                    .ordered(false)
                    .run()
                    .unwrap_err()
                    .code()
            },
            11_000,
        ),
        (|films| films.find(doc! { "$no": 1 }).run().map(|_| ()).unwrap_err().code(), 2),
        (|films| films.create_index(doc! { "a": 1 }).run().unwrap_err().code(), 263),
        (|films| films.aggregate([doc! { "$out": "b" }]).run().map(|_| ()).unwrap_err().code(), 263),
        (|films| films.insert_one(doc! { "_id": 8 }).majority(None).run().unwrap_err().code(), 72),
    ];
    for (fault, code) in faults {
        let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
        let inside = transaction.collection::<Document>("films");
        inside.insert_one(doc! { "_id": 7 }).run().unwrap();
        assert_eq!(fault(&inside), Some(code));
        assert_eq!(inside.insert_one(doc! { "_id": 10 }).run().unwrap_err().code(), Some(251), "{code}");
        assert_eq!(transaction.commit().run().unwrap_err().code(), Some(251));
    }
    assert_eq!(outside.count_documents(doc! {}).run().unwrap(), 1);
}

#[test]
fn a_transaction_may_change_so_much_and_no_more() {
    let database = database();
    let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
    let inside = transaction.collection::<Document>("films");
    let large = "x".repeat(5 * 1024 * 1024);
    for _ in 0..3 {
        inside.insert_one(doc! { "s": &large }).run().unwrap();
    }
    assert_eq!(inside.insert_one(doc! { "s": &large }).run().unwrap_err().code(), Some(257));
    let transaction = database.begin_transaction(TransactionOptions::default()).unwrap();
    let inside = transaction.collection::<Document>("films");
    inside.insert_many((0..9).map(|n| doc! { "_id": n, "s": "x".repeat(1_000_000) })).run().unwrap();
    let mut grown = Ok(());
    for round in 0..20 {
        let update = doc! { "$push": { "l": "y".repeat(500_000) + &round.to_string() } };
        grown = inside.update_many(doc! {}, update).run().map(|_| ());
        if grown.is_err() {
            break;
        }
    }
    assert_eq!(grown.unwrap_err().code(), Some(257));
}

#[tokio::test]
async fn transactions_are_awaited_and_waited_for_until_they_are_confirmed() {
    let database = database();
    let moved = database
        .transaction(|transaction| {
            transaction.collection::<Document>("a").insert_one(doc! { "_id": 1 }).run()?;
            transaction.collection::<Document>("b").insert_one(doc! { "_id": 1 }).run()?;
            Ok("done")
        })
        .majority(Some(Duration::from_secs(30)))
        .await
        .unwrap();
    assert_eq!((moved.result, moved.confirmed), ("done", true));
    assert!(moved.receipt.entry().is_some());
    assert_eq!(database.list_collection_names().unwrap(), ["a", "b"]);
    let of_b = database
        .transaction(|transaction| transaction.collection::<Document>("b").count_documents(doc! {}).run());
    assert_eq!(of_b.read_concern(ReadConcern::Majority).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_closures_on_one_counter_each_count() {
    let database = database();
    films(&database).insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
    let add = |database: Database| async move {
        for _ in 0..2 {
            let add = |transaction: &Transaction| {
                let films = transaction.collection::<Document>("films");
                let n = films.find_one(doc! { "_id": 1 }).run()?.unwrap().get_i32("n").unwrap();
                films.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": n + 1 } }).run()
            };
            database.transaction(add).await.unwrap(); // sixteen attempts are enough
        }
    };
    let tasks: Vec<_> = (0..64).map(|_| tokio::spawn(add(database.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(films(&database).find_one(doc! {}).run().unwrap().unwrap().get_i32("n").unwrap(), 128);
}
