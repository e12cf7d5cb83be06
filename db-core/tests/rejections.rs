//! What does not hold where it is ordered: told to its author, done again or given up; and what receipts say of what met
//! concurrent changes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod common;

use std::time::Duration;

use bson::{Bson, Document, doc};
use common::connect;
use db_core::{
    Database, IndexModel, LogRange, Outcome, Quarantined, Receipt, RejectionId, Role, Settled, Store,
};

const LONG: Option<Duration> = Some(Duration::from_mins(1));

/// Two peers that hold the same and have parted; the first is the only indexer.
async fn parted() -> (Database, Database) {
    let a = Store::in_memory().unwrap().create_database("notes").unwrap();
    let b = Store::in_memory().unwrap().join(&a.ticket(Vec::new())).unwrap();
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let notes = a.collection::<Document>("notes");
    notes.create_index(IndexModel::new(doc! { "n": 1 }).unique(true)).await.unwrap();
    let documents = (1..4).map(|id| doc! { "_id": id, "n": id, "t": 0 });
    notes.insert_many(documents).await.unwrap();
    meet(&a, &b).await;
    (a, b)
}

/// Connects two peers until both hold the same, all of it confirmed.
async fn meet(a: &Database, b: &Database) {
    let session = connect(a, b);
    let all_confirmed = |database: &Database| {
        let page = database.log(&LogRange::default()).unwrap();
        page.entries.last().map(|entry| entry.hash).filter(|_| page.confirmed == page.stored)
    };
    while all_confirmed(a).is_none() || all_confirmed(a) != all_confirmed(b) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    session.abort();
    let _ = session.await;
}

async fn outcome(receipt: &Receipt) -> Outcome {
    receipt.wait_confirmed(LONG).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_author_is_told_and_does_it_again_or_gives_it_up() {
    let (a, b) = parted().await;
    let mut told = b.watch_rejections().unwrap();
    let of_b = b.collection::<Document>("notes");
    let documents = ["x", "y", "z"].iter().zip(10..).map(|(id, n)| doc! { "_id": *id, "n": n });
    let (_, receipt) = of_b.insert_many(documents).with_receipt().await.unwrap();
    let of_a = a.collection::<Document>("notes");
    of_a.insert_many([doc! { "_id": "p", "n": 10 }, doc! { "_id": "q", "n": 12 }]).await.unwrap();
    let session = connect(&a, &b);
    let Outcome::Rejected(operations) = outcome(&receipt).await else { panic!("the indexer was first") };
    assert_eq!(operations[0].parts, [(0, 11_000), (2, 11_000)]);

    let rejection = told.next().await.unwrap();
    let id = rejection.id().unwrap();
    assert_eq!((id.entry, id.operation, rejection.count), (receipt.entry().unwrap(), 0, 2));
    assert_eq!(rejection.writer().unwrap(), b.writer());
    assert_eq!(id.to_string().parse::<RejectionId>().unwrap(), id);
    let command = Document::try_from(b.rejected_command(&id).unwrap()).unwrap();
    let rejected = vec![doc! { "_id": "x", "n": 10 }, doc! { "_id": "z", "n": 12 }];
    assert_eq!(command, doc! { "insert": "notes", "documents": rejected });

    // As long as one part does not hold, nothing is done and the rejection stays.
    of_a.delete_one(doc! { "_id": "p" }).await.unwrap();
    session.abort();
    let _ = session.await;
    meet(&a, &b).await;
    assert_eq!(b.resubmit(&id).await.unwrap_err().code(), Some(11_000));
    assert!(b.rejections().find_one(doc! {}).run().unwrap().is_some());
    assert!(of_b.find_one(doc! { "_id": "x" }).run().unwrap().is_none());
    of_b.delete_one(doc! { "_id": "q" }).await.unwrap();
    b.resubmit(&id).await.unwrap();
    meet(&a, &b).await;
    for peer in [&a, &b] {
        let notes = peer.collection::<Document>("notes");
        assert_eq!(notes.count_documents(doc! { "_id": { "$in": ["x", "y", "z"] } }).run().unwrap(), 3);
        assert!(
            peer.rejections().find_one(doc! {}).run().unwrap().is_none(),
            "it is off the list everywhere"
        );
    }
    let Outcome::Rejected(rejected) = outcome(&receipt).await else { panic!("it was rejected") };
    assert_eq!(
        rejected.iter().map(|rejected| (rejected.operation, rejected.count)).collect::<Vec<_>>(),
        [(0, 2)]
    );
    assert_eq!(b.resubmit(&id).await.unwrap_err().code(), Some(47));
    assert_eq!(b.discard(&id).await.unwrap_err().code(), Some(47));
}

#[tokio::test]
async fn what_is_given_up_leaves_the_list_on_all_peers_and_whoever_starts_late_is_told_too() {
    let (a, b) = parted().await;
    let insert = b.collection::<Document>("notes").insert_one(doc! { "_id": "b", "n": 7 });
    let (_, receipt) = insert.with_receipt().await.unwrap();
    a.collection::<Document>("notes").insert_one(doc! { "_id": "a", "n": 7 }).await.unwrap();
    meet(&a, &b).await;
    assert!(matches!(outcome(&receipt).await, Outcome::Rejected(_)));
    let id = b.watch_rejections().unwrap().next().await.unwrap().id().unwrap();
    a.discard(&id).await.unwrap();
    meet(&a, &b).await;
    assert!(b.rejections().find_one(doc! {}).run().unwrap().is_none());
    assert!(matches!(outcome(&receipt).await, Outcome::Rejected(_)), "what has become of it stays so");
    for wrong in ["", "12", "12.0", &format!("{}.x", "0a".repeat(32)), &format!("{}.-1", "0a".repeat(32))] {
        assert!(wrong.parse::<RejectionId>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn an_author_is_told_under_whichever_key_it_has_written_and_has_all_its_receipts() {
    let (a, b) = parted().await;
    let told = b.watch_rejections().unwrap();
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    let insert = |id: &str, n: i32| of_b.insert_one(doc! { "_id": id, "n": n }).with_receipt();
    let (_, before) = insert("x", 7).await.unwrap();
    let rotation = b.rotate_key().await.unwrap();
    assert_eq!(b.own_keys(), [rotation.to, rotation.from]);
    let (_, after) = insert("y", 8).await.unwrap();
    of_a.insert_many([doc! { "_id": "p", "n": 7 }, doc! { "_id": "q", "n": 8 }]).await.unwrap();
    meet(&a, &b).await;
    for receipt in [&before, &after] {
        assert!(matches!(outcome(receipt).await, Outcome::Rejected(_)), "those numbers are taken");
    }
    let expected = [before, after].map(|receipt| receipt.entry().unwrap());
    for mut stream in [told, b.watch_rejections().unwrap()] {
        let mut entries = [stream.next().await.unwrap(), stream.next().await.unwrap()]
            .map(|rejection| rejection.id().unwrap().entry);
        entries.sort_by_key(|entry| *entry != expected[0]);
        assert_eq!(entries, expected);
    }
    assert_eq!(b.rejections().count_documents(b.own_rejections()).run().unwrap(), 2);
    assert_eq!(a.rejections().count_documents(a.own_rejections()).run().unwrap(), 0);
    let mine = b.receipts(None, 100).unwrap().entries;
    assert!(expected.iter().all(|entry| mine.iter().any(|mine| mine.hash == *entry)));
    assert!(mine.iter().all(|mine| b.own_keys().contains(&mine.writer)));
}

#[tokio::test]
async fn what_two_peers_do_again_apart_is_done_once_and_what_one_gives_up_is_not() {
    let (a, b) = parted().await;
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    for given_up in [false, true] {
        let add = doc! { "$inc": { "n": 5, "t": 1 } };
        let (_, receipt) = of_b.update_one(doc! { "_id": 2 }, add).with_receipt().await.unwrap();
        let n = of_a.find_one(doc! { "_id": 2 }).run().unwrap().unwrap().get_i32("n").unwrap();
        of_a.update_one(doc! { "_id": 3 }, doc! { "$set": { "n": n + 5 } }).await.unwrap();
        meet(&a, &b).await;
        assert!(matches!(outcome(&receipt).await, Outcome::Rejected(_)), "that number is taken");
        let id = RejectionId { entry: receipt.entry().unwrap(), operation: 0 };
        of_a.update_one(doc! { "_id": 3 }, doc! { "$set": { "n": 1_000 } }).await.unwrap();
        meet(&a, &b).await;
        let before = of_b.find_one(doc! { "_id": 2 }).run().unwrap().unwrap().get_i32("t").unwrap();
        b.resubmit(&id).await.unwrap();
        if given_up {
            a.discard(&id).await.unwrap();
        } else {
            a.resubmit(&id).await.unwrap();
        }
        meet(&a, &b).await;
        let second = of_b.find_one(doc! { "_id": 2 }).run().unwrap().unwrap();
        assert_eq!(second.get_i32("t").unwrap(), before + i32::from(!given_up));
        assert_eq!(Some(second), of_a.find_one(doc! { "_id": 2 }).run().unwrap());
        assert!(b.rejections().find_one(doc! {}).run().unwrap().is_none());
        let last = b.receipts(None, 10).unwrap().entries.pop().unwrap();
        assert_eq!(last.settled, Settled::Superseded);
    }
}

#[tokio::test]
async fn a_receipt_tells_applied_from_merged_and_superseded() {
    let (a, b) = parted().await;
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    let set = |id: i32, set: Document| (doc! { "_id": id }, doc! { "$set": set });
    // The peer that is no indexer writes first by the clock: where both assign, its values lose.
    let write = |(filter, update)| of_b.update_one(filter, update).with_receipt();
    let (_, all_lost) = write(set(1, doc! { "t": "b" })).await.unwrap();
    let (_, some_lost) = write(set(2, doc! { "t": "b", "u": "b" })).await.unwrap();
    let (_, beside) = write(set(3, doc! { "u": "b" })).await.unwrap();
    let (_, same) = write(set(3, doc! { "v": 1 })).await.unwrap();
    let time = b.log(&LogRange::default()).unwrap().entries.last().unwrap().time_ms;
    while std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() <= u128::from(time) {
        std::hint::spin_loop();
    }
    for (filter, update) in
        [set(1, doc! { "t": "a" }), set(2, doc! { "t": "a" }), set(3, doc! { "t": "a", "v": 1 })]
    {
        of_a.update_one(filter, update).await.unwrap();
    }
    let mine = of_a.find_one(doc! { "_id": 2 }).run().unwrap().unwrap();
    assert_eq!(mine, doc! { "_id": 2, "n": 2, "t": "a" });
    meet(&a, &b).await;
    assert_eq!(outcome(&all_lost).await, Outcome::Superseded);
    assert_eq!(outcome(&some_lost).await, Outcome::Merged);
    assert_eq!(outcome(&beside).await, Outcome::Applied);
    assert_eq!(outcome(&same).await, Outcome::Applied, "equal values are no conflict");
    let documents: Vec<Document> = of_b
        .find(doc! { "_id": { "$lte": 3 } })
        .sort(doc! { "_id": 1 })
        .run()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(documents[0], doc! { "_id": 1, "n": 1, "t": "a" });
    assert_eq!(documents[1], doc! { "_id": 2, "n": 2, "t": "a", "u": "b" });
    let settled: Vec<Settled> =
        b.receipts(None, 10).unwrap().entries.iter().map(|entry| entry.settled).collect();
    assert_eq!(settled, [Settled::Superseded, Settled::Merged, Settled::Applied, Settled::Applied]);

    // A replacement of a document that was changed meanwhile is merged; a delete that an update wins over is superseded.
    let policy = db_core::ConflictPolicy { delete: db_core::DeletePolicy::UpdateWins, ..Default::default() };
    of_a.set_conflict_policy(&policy).await.unwrap();
    meet(&a, &b).await;
    let (_, deleted) = of_b.delete_one(doc! { "_id": 1 }).with_receipt().await.unwrap();
    let replacement = doc! { "_id": 2, "n": 2, "t": "a", "u": "new" };
    let (_, replaced) = of_b.replace_one(doc! { "_id": 2 }, replacement).with_receipt().await.unwrap();
    of_a.update_many(doc! {}, doc! { "$inc": { "count": 1 } }).await.unwrap();
    for id in 1..3 {
        of_a.update_one(doc! { "_id": id }, doc! { "$inc": { "count": 1 } }).await.unwrap();
    }
    meet(&a, &b).await;
    assert_eq!(outcome(&deleted).await, Outcome::Superseded);
    assert_eq!(outcome(&replaced).await, Outcome::Merged);
    let second = of_b.find_one(doc! { "_id": 2 }).run().unwrap().unwrap();
    assert_eq!(second, doc! { "_id": 2, "n": 2, "t": "a", "u": "new", "count": 2 });
}

/// What is in quarantine: by `_id`.
fn quarantined(database: &Database) -> Vec<Bson> {
    let quarantined = database.collection::<Document>("notes").quarantined().unwrap();
    let read = |read: Quarantined| Document::try_from(read.document).unwrap().remove("_id").unwrap();
    quarantined.map(|quarantined| read(quarantined.unwrap())).collect()
}

#[tokio::test]
async fn a_duplicate_that_was_made_apart_is_kept_in_quarantine_where_the_index_says_so() {
    let (a, b) = parted().await;
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    let index = IndexModel::new(doc! { "email": 1 }).unique(true).option("onDuplicate", "quarantine");
    let index = index.partial_filter_expression(doc! { "email": { "$exists": true } });
    of_a.create_index(index.clone()).await.unwrap();
    assert!(of_a.list_indexes().unwrap().iter().any(|listed| listed.options.others == index.options.others));
    meet(&a, &b).await;
    let insert = of_b.insert_one(doc! { "_id": "b", "n": 20, "email": "x" });
    let (_, receipt) = insert.with_receipt().await.unwrap();
    of_b.update_one(doc! { "_id": "b" }, doc! { "$set": { "name": "B" } }).await.unwrap();
    of_a.insert_one(doc! { "_id": "a", "n": 21, "email": "x" }).await.unwrap();
    meet(&a, &b).await;
    assert_eq!(outcome(&receipt).await, Outcome::Merged);
    for peer in [&a, &b] {
        assert_eq!(quarantined(peer), ["b".into()]);
        let notes = peer.collection::<Document>("notes");
        assert_eq!(notes.count_documents(doc! { "email": "x" }).run().unwrap(), 2, "queries find both");
        let kept = notes.find_one(doc! { "_id": "b" }).run().unwrap().unwrap();
        assert_eq!(kept.get_str("name").unwrap(), "B", "what its author did to it later is not lost");
    }
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
    // Whoever can be told at once is told, and a document in quarantine holds no key.
    let taken = of_b.insert_one(doc! { "_id": "c", "n": 22, "email": "x" }).await.unwrap_err();
    assert_eq!(taken.code(), Some(11_000));
    let taken = of_b.update_one(doc! { "_id": 1 }, doc! { "$set": { "email": "x" } }).await.unwrap_err();
    assert_eq!(taken.code(), Some(11_000));
    of_b.update_one(doc! { "_id": "b" }, doc! { "$set": { "name": "b" } }).await.unwrap();
    assert_eq!(quarantined(&b), ["b".into()], "the key is still held by another");
    // Once nobody holds the key, a write of the document gives it the key.
    of_b.update_one(doc! { "_id": "a" }, doc! { "$set": { "email": "y" } }).await.unwrap();
    assert_eq!(quarantined(&b), ["b".into()]);
    of_b.update_one(doc! { "_id": "b" }, doc! { "$set": { "name": "B" } }).await.unwrap();
    assert_eq!(quarantined(&b), []);
    let taken = of_b.update_one(doc! { "_id": "a" }, doc! { "$set": { "email": "x" } }).await.unwrap_err();
    assert_eq!(taken.code(), Some(11_000));
    meet(&a, &b).await;
    assert_eq!(quarantined(&a), []);
    for (field, wrong) in [("onDuplicate", Bson::from("keep")), ("onDuplicate", 1.into())] {
        let index = IndexModel::new(doc! { "z": 1 }).unique(true).option(field, wrong);
        assert_eq!(of_a.create_index(index).await.unwrap_err().code(), Some(67));
    }
    let plain = IndexModel::new(doc! { "z": 1 }).option("onDuplicate", "quarantine");
    assert_eq!(of_a.create_index(plain).await.unwrap_err().code(), Some(67));
}

#[tokio::test]
async fn what_is_in_quarantine_leaves_it_with_the_document_or_the_index() {
    let (a, b) = parted().await;
    let (of_a, of_b) = (a.collection::<Document>("notes"), b.collection::<Document>("notes"));
    let index = IndexModel::new(doc! { "tags": 1 }).unique(true).sparse(true);
    of_a.create_index(index.option("onDuplicate", "quarantine")).await.unwrap();
    meet(&a, &b).await;
    let document = |id: &str, n: i32, tags: [&str; 2]| doc! { "_id": id, "n": n, "tags": tags.to_vec() };
    of_b.insert_many([document("p", 30, ["x", "y"]), document("q", 31, ["z", "o"])]).await.unwrap();
    of_a.insert_many([document("r", 32, ["x", "y"]), document("s", 33, ["z", "u"])]).await.unwrap();
    meet(&a, &b).await;
    assert_eq!(quarantined(&b), ["p".into(), "p".into(), "q".into()], "once for each key");
    of_b.delete_one(doc! { "_id": "q" }).await.unwrap();
    assert_eq!(quarantined(&b), ["p".into(), "p".into()]);
    of_b.update_one(doc! { "_id": "p" }, doc! { "$pull": { "tags": "x" } }).await.unwrap();
    assert_eq!(quarantined(&b), ["p".into()]);
    meet(&a, &b).await;
    assert_eq!((quarantined(&a).len(), a.view_digest().unwrap()), (1, b.view_digest().unwrap()));
    of_a.drop_index("tags_1").await.unwrap();
    assert_eq!(quarantined(&a), []);
    meet(&a, &b).await;
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
}
