//! Find-and-modify and bulk writes through the public API.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Bson, Document, doc};
use db_core::{Collection, Hint, Result, ReturnDocument, Store, WriteModel};

fn films() -> Collection<Document> {
    Store::in_memory().unwrap().create_database("test").unwrap().collection("films")
}

fn three() -> Collection<Document> {
    let films = films();
    films.insert_many((1..=3).map(|n| doc! { "_id": n, "n": n, "l": [n, 10 * n] })).run().unwrap();
    films
}

fn all(films: &Collection<Document>) -> Vec<Document> {
    films.find(doc! {}).run().unwrap().collect::<Result<_>>().unwrap()
}

#[test]
fn find_one_and_update_gives_the_document_before_or_after() {
    let films = three();
    let increment = || films.find_one_and_update(doc! { "n": { "$gt": 1 } }, doc! { "$inc": { "n": 10 } });
    let before = increment().projection(doc! { "n": 1 }).run().unwrap();
    assert_eq!(before, Some(doc! { "_id": 2, "n": 2 }));
    let after = increment().sort(doc! { "n": -1 }).return_document(ReturnDocument::After);
    assert_eq!(after.projection(doc! { "l": 0 }).run().unwrap(), Some(doc! { "_id": 2, "n": 22 }));
    let none = films.find_one_and_update(doc! { "n": 77 }, doc! { "$set": { "n": 1 } });
    assert_eq!(none.run().unwrap(), None);
    let filtered = films.find_one_and_update(doc! { "_id": 3 }, doc! { "$set": { "l.$[big]": 0 } });
    let filtered = filtered.array_filters([doc! { "big": { "$gt": 9 } }]);
    let after = filtered.return_document(ReturnDocument::After).run().unwrap().unwrap();
    assert_eq!(after.get_array("l").unwrap(), &vec![Bson::Int32(3), Bson::Int32(0)]);
    let matched = films.find_one_and_update(doc! { "l": 10 }, doc! { "$unset": { "n": "" } });
    assert_eq!(
        matched.projection(doc! { "_id": 0, "l.$": 1 }).run().unwrap(),
        Some(doc! { "l": [10] }),
        "the position is that of the document as it was"
    );
}

#[test]
fn an_upsert_gives_nothing_before_and_its_document_after() {
    let films = films();
    let upsert =
        |id: i32| films.find_one_and_update(doc! { "_id": id }, doc! { "$set": { "n": id } }).upsert(true);
    assert_eq!(upsert(1).run().unwrap(), None);
    let after = upsert(2).return_document(ReturnDocument::After).run().unwrap();
    assert_eq!(after, Some(doc! { "_id": 2, "n": 2 }));
    assert_eq!(all(&films), [doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": 2 }]);
}

#[test]
fn find_one_and_replace_and_delete_take_the_first_in_order() {
    let films = three();
    let replaced = films.find_one_and_replace(doc! {}, doc! { "new": true }).sort(doc! { "n": -1 });
    assert_eq!(
        replaced.return_document(ReturnDocument::After).run().unwrap(),
        Some(doc! { "_id": 3, "new": true })
    );
    let deleted = films.find_one_and_delete(doc! { "n": { "$exists": true } }).sort(doc! { "n": -1 });
    assert_eq!(deleted.run().unwrap(), Some(doc! { "_id": 2, "n": 2, "l": [2, 20] }));
    assert_eq!(films.find_one_and_delete(doc! { "_id": 2 }).run().unwrap(), None);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 2);
}

#[test]
fn what_a_find_and_modify_cannot_do_changes_nothing() {
    let films = three();
    let code = |error: db_core::Error| error.code();
    assert_eq!(code(films.find_one_and_delete(doc! {}).upsert(true).run().unwrap_err()), Some(9));
    let refused = films.find_one_and_delete(doc! {}).return_document(ReturnDocument::After);
    assert_eq!(code(refused.run().unwrap_err()), Some(9));
    let update = || films.find_one_and_update(doc! {}, doc! { "$set": { "n": 0 } });
    assert_eq!(code(update().sort(doc! { "n": 2 }).run().unwrap_err()), Some(15_975));
    assert_eq!(code(update().projection(doc! { "a": 1, "b": 0 }).run().unwrap_err()), Some(31_254));
    assert_eq!(code(update().hint(Hint::Name("none".to_owned())).run().unwrap_err()), Some(2));
    // The projection fails on the document itself, after the update was tried.
    assert_eq!(code(update().projection(doc! { "l.$": 1 }).run().unwrap_err()), Some(51_246));
    let operators = films.find_one_and_replace(doc! {}, doc! { "$set": { "n": 1 } }).run().unwrap_err();
    assert_eq!(operators.code(), Some(2));
    assert!(all(&films).iter().all(|film| film.get_i32("n").unwrap() > 0));
}

fn mixed() -> [WriteModel; 6] {
    [
        WriteModel::insert_one(&doc! { "_id": 4, "n": 4 }),
        WriteModel::update_many(doc! { "n": { "$lt": 3 } }, doc! { "$inc": { "n": 1 } }),
        WriteModel::update_one(doc! { "_id": 9 }, doc! { "$set": { "n": 9 } }).upsert(true),
        WriteModel::replace_one(doc! { "_id": 1 }, &doc! { "title": "new" }),
        WriteModel::delete_one(doc! { "_id": 3 }),
        WriteModel::delete_many(doc! { "n": 3 }),
    ]
}

#[test]
fn a_bulk_is_one_entry_and_tells_what_it_did() {
    let films = three();
    let result = films.bulk_write(mixed()).run().unwrap();
    assert_eq!(
        (result.inserted_count, result.matched_count, result.modified_count, result.deleted_count),
        (1, 3, 3, 2)
    );
    assert_eq!(result.inserted_ids.into_iter().collect::<Vec<_>>(), [(0, Bson::Int32(4))]);
    assert_eq!(result.upserted_ids.into_iter().collect::<Vec<_>>(), [(2, Bson::Int32(9))]);
    assert!(result.entry.is_some());
    let expected = [doc! { "_id": 1, "title": "new" }, doc! { "_id": 4, "n": 4 }, doc! { "_id": 9, "n": 9 }];
    assert_eq!(all(&films), expected);
}

#[test]
fn a_bulk_is_logged_as_one_entry() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("test").unwrap();
    let films = database.collection::<Document>("films");
    let before = database.status().entries;
    films.bulk_write((0..50).map(|n| WriteModel::insert_one(&doc! { "_id": n }))).run().unwrap();
    assert_eq!(database.status().entries, before + 1);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 50);
}

fn with_a_failure() -> [WriteModel; 4] {
    [
        WriteModel::insert_one(&doc! { "_id": 10 }),
        WriteModel::insert_one(&doc! { "_id": 1 }),
        WriteModel::update_one(doc! { "_id": 2 }, doc! { "$set": { "_id": 5 } }),
        WriteModel::insert_one(&doc! { "_id": 11 }),
    ]
}

#[test]
fn an_ordered_bulk_ends_at_the_first_failure() {
    let films = three();
    let error = films.bulk_write(with_a_failure()).run().unwrap_err();
    let failures: Vec<_> =
        error.write_failures().iter().map(|failure| (failure.index, failure.code)).collect();
    assert_eq!(failures, [(1, 11_000)]);
    let partial = error.partial_result().unwrap();
    assert_eq!(partial.inserted_ids.values().collect::<Vec<_>>(), [&Bson::Int32(10)]);
    assert!(partial.entry.is_some());
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 4);
}

#[test]
fn an_unordered_bulk_tries_everything() {
    let films = three();
    let error = films.bulk_write(with_a_failure()).ordered(false).run().unwrap_err();
    let failures: Vec<_> =
        error.write_failures().iter().map(|failure| (failure.index, failure.code)).collect();
    assert_eq!(failures, [(1, 11_000), (2, 66)]);
    let partial = error.partial_result().unwrap();
    assert_eq!(partial.inserted_ids.keys().collect::<Vec<_>>(), [&0, &3]);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 5);
}

#[test]
fn a_bulk_of_nothing_or_of_what_cannot_be_is_refused_whole() {
    let films = three();
    assert_eq!(films.bulk_write([]).run().unwrap_err().code(), Some(16));
    let model = WriteModel::delete_many(doc! {}).sort(doc! { "n": 1 });
    assert_eq!(films.bulk_write([model]).run().unwrap_err().code(), Some(9));
    let model = WriteModel::insert_one(&doc! {}).upsert(true);
    assert_eq!(films.bulk_write([model]).run().unwrap_err().code(), Some(9));
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 3);
}

#[test]
fn updates_and_deletes_follow_a_hint() {
    let films = three();
    films.create_index(doc! { "n": 1 }).run().unwrap();
    let hint = || Hint::Keys(doc! { "n": 1 });
    let updated = films.update_one(doc! {}, doc! { "$set": { "seen": true } }).sort(doc! { "n": -1 });
    assert_eq!(updated.hint(hint()).run().unwrap().modified_count, 1);
    assert_eq!(films.find_one(doc! { "seen": true }).run().unwrap().unwrap().get_i32("_id").unwrap(), 3);
    assert_eq!(films.delete_many(doc! { "n": { "$gt": 1 } }).hint(hint()).run().unwrap().deleted_count, 2);
    let refused = films.delete_one(doc! {}).hint(Hint::Name("none".to_owned())).run().unwrap_err();
    assert_eq!(refused.code(), Some(2));
}

#[test]
fn a_pipeline_updates_from_the_document_itself() {
    let films = three();
    let pipeline = || vec![doc! { "$set": { "double": { "$add": ["$n", "$n"] } } }, doc! { "$unset": "l" }];
    assert_eq!(films.update_many(doc! { "n": { "$gt": 1 } }, pipeline()).run().unwrap().modified_count, 2);
    let after = films.find_one_and_update(doc! { "_id": 1 }, pipeline());
    let after = after.return_document(ReturnDocument::After).run().unwrap();
    assert_eq!(after, Some(doc! { "_id": 1, "n": 1, "double": 2 }));
    let upserted = films.update_one(doc! { "_id": 7 }, [doc! { "$set": { "n": { "$add": ["$_id", 1] } } }]);
    upserted.upsert(true).run().unwrap();
    films.bulk_write([WriteModel::update_one(doc! { "_id": 3 }, pipeline())]).run().unwrap();
    let expected = [
        doc! { "_id": 1, "n": 1, "double": 2 },
        doc! { "_id": 2, "n": 2, "double": 4 },
        doc! { "_id": 3, "n": 3, "double": 6 },
        doc! { "_id": 7, "n": 8 },
    ];
    assert_eq!(all(&films), expected);
    let refused = films.update_one(doc! {}, [doc! { "$match": {} }]).run().unwrap_err();
    assert_eq!(refused.code(), Some(72));
}
