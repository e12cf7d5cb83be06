//! Streams against finds, with bounds so small that they are met.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use proptest::prelude::*;

use super::*;
use crate::store::Store;
use crate::{Collection, limits};

type Documents = BTreeMap<String, Document>;

/// What a client makes of an event.
fn follow(documents: &mut Documents, event: ChangeStreamEvent<Document>) {
    let Some(id) = event.document_key.as_ref().and_then(|key| key.get("_id")).map(Bson::to_string) else {
        return;
    };
    match event.operation_type {
        OperationType::Insert => assert_eq!(documents.insert(id, event.full_document.unwrap()), None),
        OperationType::Delete => assert!(documents.remove(&id).is_some()),
        OperationType::Update | OperationType::Replace => {
            let before = documents.insert(id, event.full_document.unwrap());
            assert_eq!(before, event.full_document_before_change);
        }
        other => panic!("{other:?}"),
    }
}

fn found(collection: &Collection<Document>) -> Documents {
    let found = collection.find(doc! {}).run().unwrap().map(Result::unwrap);
    found.map(|document| (document.get("_id").unwrap().to_string(), document)).collect()
}

fn watch(collection: &Collection<Document>) -> Watch<Document> {
    let watch = collection.watch().full_document(FullDocumentType::Required);
    watch.full_document_before_change(FullDocumentBeforeChangeType::Required)
}

#[derive(Debug, Clone)]
enum Call {
    Insert(std::ops::Range<i32>),
    UpdateMany(i32),
    Replace(i32),
    Delete(i32),
    DropAndMake,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        4 => (0..60_i32, 1..60_i32).prop_map(|(from, count)| Call::Insert(from..from + count)),
        3 => (0..4_i32).prop_map(Call::UpdateMany),
        1 => (0..100_i32).prop_map(Call::Replace),
        2 => (0..4_i32).prop_map(Call::Delete),
        1 => Just(Call::DropAndMake),
    ];
    proptest::collection::vec(call, 1..12)
}

fn carry_out(collection: &Collection<Document>, call: &Call, round: usize) {
    let padding = "x".repeat(100);
    match call {
        Call::Insert(range) => {
            let documents = range.clone().map(|n| doc! { "_id": n, "k": n % 4, "padding": &padding });
            let _ = collection.insert_many(documents.collect::<Vec<_>>()).run(); // some may be there already
        }
        Call::UpdateMany(k) => {
            let update = doc! { "$inc": { "count": 1 }, "$set": { "round": round as i32 } };
            collection.update_many(doc! { "k": k }, update).run().unwrap();
        }
        Call::Replace(id) => {
            let document = doc! { "k": id % 4, "replaced": round as i32, "padding": &padding };
            collection.replace_one(doc! { "_id": id }, document).run().unwrap();
        }
        Call::Delete(k) => {
            collection.delete_many(doc! { "k": k }).run().unwrap();
        }
        Call::DropAndMake => {
            let _ = collection.drop().run(); // it may not be there
            collection.insert_one(doc! { "_id": round as i32, "k": 1 }).run().unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A local stream gives the net changes, whenever it is asked; a confirmed one gives each change, also when it is resumed
    /// after any of them.
    #[test]
    fn events_make_what_a_find_gives(calls in calls(), asked in proptest::collection::vec(any::<bool>(), 12)) {
        let store = Store::in_memory().unwrap();
        let database = store.create_database("demo").unwrap();
        let collection = database.collection::<Document>("c");
        collection.insert_many((0..30).map(|n| doc! { "_id": n, "k": n % 4 }).collect::<Vec<_>>()).run().unwrap();
        let mut local = watch(&collection).with_present().run().unwrap();
        let mut confirmed = watch(&collection).read_concern(ReadConcern::Majority).start_at(0).run().unwrap();
        let (mut shown, mut replayed, mut tokens) = (Documents::new(), Documents::new(), Vec::new());
        for (round, call) in calls.iter().enumerate() {
            carry_out(&collection, call, round);
            if asked[round] {
                while let Some(event) = local.next_if_any().unwrap() {
                    follow(&mut shown, event);
                }
                prop_assert_eq!(&shown, &found(&collection));
            }
        }
        while let Some(event) = local.next_if_any().unwrap() {
            follow(&mut shown, event);
        }
        prop_assert_eq!(&shown, &found(&collection));
        loop {
            while let Some(event) = confirmed.next_if_any().unwrap() {
                tokens.push(event.id.clone());
                match event.operation_type {
                    OperationType::Drop => replayed.clear(),
                    OperationType::Invalidate => {}
                    _ => follow(&mut replayed, event),
                }
            }
            if confirmed.is_alive() {
                break;
            }
            let token = tokens.last().unwrap().clone();
            confirmed = watch(&collection).read_concern(ReadConcern::Majority).start_after(token).run().unwrap();
        }
        prop_assert_eq!(&replayed, &found(&collection));
        let mut sorted: Vec<_> = tokens.iter().map(ResumeToken::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(&sorted, &tokens.iter().map(ResumeToken::as_str).collect::<Vec<_>>());
        for (at, token) in tokens.iter().enumerate().step_by(7) {
            let resumed = watch(&collection).read_concern(ReadConcern::Majority).resume_after(token.clone());
            let next = resumed.run().unwrap().next_raw_if_any().unwrap();
            let next = next.map(|event| event.get_document("_id").unwrap().get_str("_data").unwrap().to_owned());
            prop_assert_eq!(next.as_deref(), tokens.get(at + 1).map(ResumeToken::as_str));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written, a live query's changes lead to what its find gives.
    #[test]
    fn a_live_query_is_what_its_find_gives(calls in calls(), asked in proptest::collection::vec(any::<bool>(), 12)) {
        let store = Store::in_memory().unwrap();
        let collection = store.create_database("demo").unwrap().collection::<Document>("c");
        let finds = || {
            let of_k = || collection.find(doc! { "k": { "$lte": 2 } });
            let none = collection.find(doc! { "_id": { "$gte": 5 } }).projection(doc! { "padding": 0 });
            let sorted = of_k().sort(doc! { "count": -1, "_id": 1 });
            let limited = of_k().sort(doc! { "round": -1, "_id": -1 }).limit(7);
            let skipped = of_k().sort(doc! { "_id": 1 }).skip(3).limit(5).projection(doc! { "count": 1 });
            [none, sorted, limited, skipped]
        };
        let mut live: Vec<_> = finds().into_iter().map(|find| find.watch().unwrap()).collect();
        let mut results: Vec<Vec<Document>> = live.iter().map(|live| live.result().unwrap()).collect();
        for (round, call) in calls.iter().enumerate() {
            carry_out(&collection, call, round);
            if asked[round] {
                for ((live, find), result) in live.iter_mut().zip(finds()).zip(&mut results) {
                    live.next_if_any().unwrap().into_iter().for_each(|change| change.apply(result));
                    let found: Vec<Document> = find.run().unwrap().map(Result::unwrap).collect();
                    prop_assert_eq!(&*result, &found);
                    prop_assert_eq!(&*result, &live.result().unwrap());
                }
            }
        }
    }
}

#[test]
fn a_result_that_is_too_large_to_be_kept_is_refused_by_name() {
    let store = Store::in_memory().unwrap();
    let collection = store.create_database("demo").unwrap().collection::<Document>("c");
    let mut live = collection.find(doc! {}).watch().unwrap();
    let large = "x".repeat(limits::LIVE_QUERY_BYTES_MAX / 3);
    for n in 0..2 {
        collection.insert_one(doc! { "_id": n, "a": &large }).run().unwrap();
        assert_eq!(live.next_if_any().unwrap().len(), 1);
    }
    collection.insert_one(doc! { "_id": 2, "a": &large }).run().unwrap();
    assert_eq!(live.next_if_any().unwrap_err().code(), Some(292));
    assert!(live.next_if_any().unwrap().is_empty());
    assert_eq!(collection.find(doc! {}).watch().unwrap_err().code(), Some(292));
    assert!(collection.find(doc! {}).projection(doc! { "a": 0 }).watch().is_ok());
    let majority = collection.find(doc! {}).read_concern(ReadConcern::Majority).watch();
    assert_eq!(majority.unwrap_err().code(), Some(72));
}

#[test]
fn who_falls_too_far_behind_is_told_and_the_others_go_on() {
    let store = Store::in_memory().unwrap();
    let collection = store.create_database("demo").unwrap().collection::<Document>("c");
    let mut slow = collection.watch().run().unwrap();
    let mut prompt = collection.watch().run().unwrap();
    for n in 0..=limits::STREAM_COMMITS_MAX as i32 {
        collection.insert_one(doc! { "_id": n }).run().unwrap();
        assert!(prompt.next_if_any().unwrap().is_some());
    }
    let error = slow.next_if_any().unwrap_err();
    assert_eq!(error.code(), Some(286));
    assert!(!slow.is_alive());
    assert!(slow.next_if_any().unwrap().is_none());
    assert!(prompt.is_alive());
}

#[test]
fn what_is_kept_is_bounded_and_who_asks_for_more_is_told() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("c");
    database.set_change_history(4_000);
    let confirmed = || database.watch().read_concern(ReadConcern::Majority);
    for n in 0..100 {
        collection.insert_one(doc! { "_id": n, "a": "x".repeat(100) }).run().unwrap();
        collection.update_one(doc! { "_id": n }, doc! { "$set": { "a": n } }).run().unwrap();
    }
    assert_eq!(confirmed().start_at(0).run().unwrap_err().code(), Some(286));
    let confirmed_now = database.status().confirmed;
    let mut last = confirmed().start_at(confirmed_now - 1).run().unwrap();
    let event = last.next_if_any().unwrap().unwrap();
    assert_eq!(event.update_description.unwrap().updated_fields, doc! { "a": 99 });
    assert!(last.next_if_any().unwrap().is_none());
    // One entry that is more than may be kept altogether.
    collection.update_many(doc! {}, doc! { "$set": { "b": "y".repeat(100) } }).run().unwrap();
    let after = database.status().confirmed;
    collection.update_many(doc! {}, doc! { "$unset": { "b": 1 } }).run().unwrap();
    assert_eq!(confirmed().start_at(after).run().unwrap_err().code(), Some(286));
    assert_eq!(last.next_if_any().unwrap_err().code(), Some(286));
    assert!(confirmed().run().unwrap().next_if_any().unwrap().is_none());
}

#[test]
fn an_entry_with_a_large_undo_is_told_of_in_full() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("c");
    let documents = (0..60).map(|n| doc! { "_id": n, "a": "x".repeat(200_000) });
    for document in documents {
        collection.insert_one(document).run().unwrap();
    }
    let begin = database.status().confirmed;
    collection.update_many(doc! {}, doc! { "$set": { "a": 1 } }).run().unwrap();
    let mut events = collection.watch().read_concern(ReadConcern::Majority).start_at(begin).run().unwrap();
    for n in 0..60 {
        let event = events.next_if_any().unwrap().unwrap();
        assert_eq!(event.document_key, Some(doc! { "_id": n }));
        assert_eq!(event.update_description.unwrap().updated_fields, doc! { "a": 1 });
    }
    assert!(events.next_if_any().unwrap().is_none());
    // Of a large collection that is dropped its documents are no events.
    collection.update_many(doc! {}, doc! { "$set": { "a": "y".repeat(200_000) } }).run().unwrap();
    while events.next_if_any().unwrap().is_some() {}
    collection.drop().run().unwrap();
    let kinds = [OperationType::Drop, OperationType::Invalidate];
    for kind in kinds {
        assert_eq!(events.next_if_any().unwrap().unwrap().operation_type, kind);
    }
    assert!(!events.is_alive());
}

#[test]
fn dropping_a_collection_that_is_larger_than_what_is_kept_is_told_to_who_keeps_up() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("c");
    for n in 0..40 {
        collection.insert_one(doc! { "_id": n, "a": "x".repeat(200_000) }).run().unwrap();
    }
    database.set_change_history(1_000_000);
    let begin = database.status().confirmed;
    collection.insert_one(doc! { "_id": 100 }).run().unwrap();
    let confirmed = || database.watch().read_concern(ReadConcern::Majority);
    let mut events = confirmed().start_at(begin).run().unwrap();
    let mut next =
        move || events.next_if_any().unwrap().map(|event| (event.operation_type, event.full_document));
    assert_eq!(next(), Some((OperationType::Insert, Some(doc! { "_id": 100 }))));
    collection.drop().run().unwrap();
    database.collection::<Document>("d").insert_one(doc! { "_id": 1 }).run().unwrap();
    assert_eq!(confirmed().start_at(begin).run().unwrap_err().code(), Some(286));
    assert_eq!(next(), Some((OperationType::Drop, None)));
    assert_eq!(next(), Some((OperationType::Insert, Some(doc! { "_id": 1 }))));
    assert_eq!(next(), None);
}

#[test]
fn what_a_renamed_collection_replaces_is_dropped_before() {
    for (from, to) in [("first", "second"), ("second", "first")] {
        let store = Store::in_memory().unwrap();
        let database = store.create_database("demo").unwrap();
        for name in ["first", "second"] {
            database.collection::<Document>(name).insert_one(doc! { "_id": name }).run().unwrap();
        }
        let mut events = database.watch().read_concern(ReadConcern::Majority).run().unwrap();
        database.rename_collection(from, to, true).run().unwrap();
        let mut next =
            || events.next_if_any().unwrap().map(|event| (event.operation_type, event.ns.unwrap().coll));
        assert_eq!(next(), Some((OperationType::Drop, to.to_owned())));
        assert_eq!(next(), Some((OperationType::Rename, from.to_owned())));
        assert_eq!(next(), None);
    }
}
