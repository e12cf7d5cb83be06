//! Receipts, write concerns and read concerns through the API.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod common;

use std::time::Duration;

use bson::{Bson, Document, doc};
use common::connect;
use db_core::{
    Database, ErrorKind, Outcome, ReadConcern, ReceiptState, Role, Store, TRANSIENT_TRANSACTION_ERROR,
    TransactionOptions,
};

const LONG: Duration = Duration::from_mins(1);

/// A database of two peers, of which the first is the only indexer.
async fn pair() -> (Database, Database) {
    let a = Store::in_memory().unwrap().create_database("notes").unwrap();
    let b = Store::in_memory().unwrap().join(&a.ticket(Vec::new())).unwrap();
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    (a, b)
}

#[tokio::test]
async fn the_only_indexers_write_is_confirmed_when_the_call_returns() {
    let (a, _) = pair().await;
    let notes = a.collection::<Document>("notes");
    let (result, receipt) = notes.insert_one(doc! { "_id": 1 }).with_receipt().await.unwrap();
    assert_eq!(result.inserted_id, 1.into());
    assert_eq!(receipt.state().unwrap(), ReceiptState::Confirmed(Outcome::Applied));
    let written = notes.insert_one(doc! { "_id": 2 }).majority(Some(LONG)).await.unwrap();
    assert!(written.confirmed);
}

#[tokio::test]
async fn a_write_apart_is_ordered_and_confirmed_once_the_indexer_is_met() {
    let (a, b) = pair().await;
    let session = connect(&a, &b);
    b.wait_for(|status| status.confirmed > 0).await.unwrap();
    session.abort();

    let notes = b.collection::<Document>("notes");
    let alone = notes.insert_one(doc! { "_id": 1 }).majority(Some(Duration::from_millis(1))).await.unwrap();
    assert!(!alone.confirmed, "that is no error");
    let receipt = alone.receipt;
    assert_eq!(receipt.state().unwrap(), ReceiptState::Ordered(Outcome::Applied));
    let count = |concern| notes.count_documents(doc! {}).read_concern(concern).run().unwrap();
    assert_eq!((count(ReadConcern::Local), count(ReadConcern::Majority)), (1, 0));

    let session = connect(&a, &b);
    assert_eq!(receipt.wait_confirmed(Some(LONG)).await.unwrap(), Some(Outcome::Applied));
    assert_eq!((count(ReadConcern::Local), count(ReadConcern::Majority)), (1, 1));
    assert_eq!(b.receipt(receipt.entry().unwrap()).state().unwrap(), receipt.state().unwrap());
    let mine = b.receipts(None, 10).unwrap();
    assert_eq!(mine.entries.len(), 1, "acks are no writes");
    session.abort();
}

#[tokio::test]
async fn what_does_not_hold_where_it_is_ordered_is_rejected_with_its_code() {
    let (a, b) = pair().await;
    let unique = db_core::IndexModel::new(doc! { "n": 1 }).unique(true);
    a.collection::<Document>("notes").create_index(unique).await.unwrap();
    let session = connect(&a, &b);
    b.wait_for(|status| status.confirmed > 1).await.unwrap();
    session.abort();
    session.await.unwrap_err();

    let mine = b.collection::<Document>("notes").insert_one(doc! { "_id": "b", "n": 1 });
    let (_, receipt) = mine.with_receipt().await.unwrap();
    a.collection::<Document>("notes").insert_one(doc! { "_id": "a", "n": 1 }).await.unwrap();
    let session = connect(&a, &b);
    let Some(Outcome::Rejected(operations)) = receipt.wait_confirmed(Some(LONG)).await.unwrap() else {
        panic!("the indexer's own insert was confirmed before")
    };
    assert_eq!(operations[0].parts, [(0, 11_000)]);
    session.abort();
}

#[tokio::test]
async fn what_is_confirmed_as_rejected_fails_where_it_is_waited_for() {
    let (a, b) = pair().await;
    let unique = db_core::IndexModel::new(doc! { "n": 1 }).unique(true);
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    of_a.create_index(unique).await.unwrap();
    of_a.insert_one(doc! { "_id": 0, "n": 0 }).await.unwrap();
    let session = connect(&a, &b);
    b.wait_for(|status| status.confirmed > 2).await.unwrap();
    session.abort();
    session.await.unwrap_err();

    of_a.insert_one(doc! { "_id": "a", "n": 1 }).await.unwrap();
    of_a.update_one(doc! { "_id": 0 }, doc! { "$set": { "n": 5 } }).await.unwrap();
    let entries = b.status().entries;
    let insert = of_b.insert_one(doc! { "_id": "b", "n": 1 }).majority(Some(LONG));
    let transaction = b.begin_transaction(TransactionOptions::default()).unwrap();
    let inside = transaction.collection::<Document>("notes");
    assert!(inside.find_one(doc! { "_id": 0, "n": 0 }).run().unwrap().is_some());
    inside.insert_one(doc! { "_id": "c", "n": 2 }).run().unwrap();
    let commit = transaction.commit().majority(Some(LONG));
    let mixed = of_b.insert_many([doc! { "_id": "d", "n": 3 }, doc! { "_id": "a", "n": 4 }]).ordered(false);
    let meeting = async {
        b.wait_for(|status| status.entries == entries + 3).await.unwrap();
        [connect(&a, &b)]
    };
    let (insert, commit, mixed, [session]) = tokio::join!(
        insert.into_future(),
        commit.into_future(),
        mixed.majority(Some(LONG)).into_future(),
        meeting
    );
    let insert = insert.unwrap_err();
    assert_eq!((insert.kind(), insert.code()), (ErrorKind::Conflict, Some(11_000)));
    assert!(insert.message().starts_with("rejected at its place in the order: parts=1 entry="), "{insert}");
    let commit = commit.unwrap_err();
    assert!(commit.contains_label(TRANSIENT_TRANSACTION_ERROR) && commit.code() == Some(112), "{commit:?}");
    assert_eq!(mixed.unwrap_err().code(), Some(11_000), "also where only some of it does not hold");
    let ids = of_b.distinct("_id", doc! {}).run().unwrap();
    assert_eq!(ids, [Bson::from(0), "a".into(), "d".into()]);
    session.abort();
}

#[tokio::test]
async fn a_write_whose_author_has_lost_its_rights_is_rejected_as_unauthorized() {
    let (a, b) = pair().await;
    let session = connect(&a, &b);
    b.wait_for(|status| status.confirmed > 0).await.unwrap();
    session.abort();
    session.await.unwrap_err();

    let notes = b.collection::<Document>("notes");
    let (_, receipt) = notes.insert_one(doc! { "_id": 1 }).with_receipt().await.unwrap();
    let mut state = receipt.state().unwrap();
    assert_eq!(state, ReceiptState::Ordered(Outcome::Applied));
    a.remove_writer(b.writer()).await.unwrap();
    let session = connect(&a, &b);
    let rejected = async {
        while state == ReceiptState::Ordered(Outcome::Applied) || state == ReceiptState::Durable {
            state = receipt.changed(&state).await.unwrap();
        }
        state
    };
    let (ReceiptState::Ordered(outcome) | ReceiptState::Confirmed(outcome)) =
        tokio::time::timeout(LONG, rejected).await.unwrap()
    else {
        panic!("it is ordered")
    };
    let Outcome::Rejected(operations) = outcome else {
        panic!("its author may not write there: {outcome:?}")
    };
    assert_eq!((operations.len(), operations[0].count), (1, 1));
    assert_eq!(operations[0].parts, [(0, 13)]);
    assert_eq!(notes.count_documents(doc! {}).run().unwrap(), 0);
    assert_eq!(b.rejections().count_documents(doc! {}).run().unwrap(), 0, "the list is for writers");
    session.abort();
}

#[tokio::test]
async fn who_waits_for_a_majority_and_has_lost_its_rights_is_told_that_nobody_takes_the_write() {
    let (a, b) = pair().await;
    let session = connect(&a, &b);
    b.wait_for(|status| status.confirmed > 0).await.unwrap();
    session.abort();
    session.await.unwrap_err();

    a.remove_writer(b.writer()).await.unwrap();
    let entries = b.status().entries;
    let notes = b.collection::<Document>("notes");
    let insert = notes.insert_one(doc! { "_id": 1 }).majority(None);
    let transaction = b.transaction(|transaction| {
        transaction.collection::<Document>("notes").insert_one(doc! { "_id": 2 }).run()
    });
    let meeting = async {
        b.wait_for(|status| status.entries == entries + 2).await.unwrap();
        [connect(&a, &b)]
    };
    let written =
        async { tokio::join!(insert.into_future(), transaction.majority(None).into_future(), meeting) };
    let (insert, transaction, [session]) = tokio::time::timeout(LONG, written).await.unwrap();
    for error in [insert.unwrap_err(), transaction.unwrap_err()] {
        assert_eq!((error.kind(), error.code()), (ErrorKind::Denied, Some(13)), "{error}");
        assert!(error.message().starts_with("the right to write was taken away"), "{error}");
    }
    assert_eq!(notes.count_documents(doc! {}).run().unwrap(), 0);

    // What they are told to do is true: with the right given back both hold.
    let mine = b.receipts(None, 10).unwrap();
    let written: Vec<_> = mine.entries.iter().map(|entry| entry.hash).collect();
    assert_eq!(written.len(), 2);
    session.abort();
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let session = connect(&a, &b);
    for entry in written {
        let confirmed = b.receipt(entry);
        let confirmed = async {
            loop {
                match confirmed.wait_confirmed(None).await {
                    Err(error) if error.kind() == ErrorKind::Denied => tokio::task::yield_now().await,
                    confirmed => return confirmed.unwrap(),
                }
            }
        };
        assert_eq!(tokio::time::timeout(LONG, confirmed).await.unwrap(), Some(Outcome::Applied));
    }
    assert_eq!(a.collection::<Document>("notes").count_documents(doc! {}).run().unwrap(), 2);
    session.abort();
}

#[test]
fn blocking_code_waits_too_and_a_write_of_nothing_is_confirmed() {
    let database = Store::in_memory().unwrap().create_database("notes").unwrap();
    let notes = database.collection::<Document>("notes");
    assert!(notes.insert_one(doc! { "_id": 1 }).majority(None).run().unwrap().confirmed);
    let nothing =
        notes.update_one(doc! { "_id": 2 }, doc! { "$set": { "n": 1 } }).majority(None).run().unwrap();
    assert!(nothing.confirmed && nothing.receipt.entry().is_none());
}
