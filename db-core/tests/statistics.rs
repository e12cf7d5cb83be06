//! What the database counts of its collections and indexes, through the public API, and what the planner makes of it.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Document, doc};
use db_core::{Collection, IndexModel, Store};

fn one(collection: &Collection<Document>, stage: Document) -> Document {
    collection.aggregate([stage]).run().unwrap().next().unwrap().unwrap()
}

fn storage_stats(collection: &Collection<Document>) -> Document {
    let stats = one(collection, doc! { "$collStats": { "storageStats": {}, "count": {} } });
    assert_eq!(stats.get_i64("count").unwrap(), collection.estimated_document_count().unwrap() as i64);
    stats.get_document("storageStats").unwrap().clone()
}

/// Names and numbers of entries.
fn entries(collection: &Collection<Document>) -> Vec<(String, i64)> {
    let told = collection.aggregate([doc! { "$indexStats": {} }]).run().unwrap().map(Result::unwrap);
    told.map(|index| (index.get_str("name").unwrap().to_owned(), index.get_i64("entries").unwrap())).collect()
}

fn bytes_of_all(collection: &Collection<Document>) -> i64 {
    let documents = collection.find(doc! {}).run_raw().unwrap();
    documents.map(|document| document.unwrap().as_bytes().len() as i64).sum()
}

#[test]
fn documents_and_entries_are_counted_through_writes_drops_and_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let films: Collection<Document> = store.create_database("test").unwrap().collection("films");
    let film = |n: i32| doc! { "_id": n, "year": 1900 + n % 50, "cast": ["a", "b", format!("c{n}")] };
    films.insert_many((0..200).map(film)).run().unwrap();
    let recent = doc! { "year": { "$gte": 1940 } };
    films
        .create_indexes([
            IndexModel::new(doc! { "cast": 1 }),
            IndexModel::new(doc! { "rated": 1 }).sparse(true),
            IndexModel::new(doc! { "year": 1 }).partial_filter_expression(recent.clone()),
        ])
        .run()
        .unwrap();
    let named = |of: [(&str, i64); 4]| of.map(|(name, count)| (name.to_owned(), count)).to_vec();
    let at_first = named([("_id_", 200), ("cast_1", 600), ("rated_1", 0), ("year_1", 40)]);
    assert_eq!(entries(&films), at_first);

    films
        .update_many(recent.clone(), doc! { "$set": { "rated": "PG" }, "$push": { "cast": "z" } })
        .run()
        .unwrap();
    films.delete_many(doc! { "year": { "$lt": 1910 } }).run().unwrap();
    films.update_many(doc! { "year": 1949 }, doc! { "$set": { "year": 1911.0 } }).run().unwrap();
    films.update_one(doc! { "_id": -1 }, doc! { "$set": { "cast": [] } }).upsert(true).run().unwrap();
    let later = named([("_id_", 161), ("cast_1", 521), ("rated_1", 40), ("year_1", 36)]);
    assert_eq!(entries(&films), later);
    let stats = storage_stats(&films);
    assert_eq!(stats.get_i64("size").unwrap(), bytes_of_all(&films));
    assert_eq!(stats.get_i64("avgObjSize").unwrap(), bytes_of_all(&films) / 161);

    store.close();
    let store = Store::open(directory.path()).unwrap();
    let films: Collection<Document> = store.database("test").unwrap().collection("films");
    assert_eq!(storage_stats(&films), stats);
    assert_eq!(entries(&films), later);

    // An index that is built says the same as one that has grown.
    films.drop_index("cast_1").run().unwrap();
    let without = storage_stats(&films).get_i64("totalIndexSize").unwrap();
    films.create_index(doc! { "cast": 1 }).run().unwrap();
    let sizes = |stats: &Document| stats.get_document("indexSizes").unwrap().clone();
    let again = storage_stats(&films);
    let cast = sizes(&again).get_i64("cast_1").unwrap();
    assert_eq!(cast, sizes(&stats).get_i64("cast_1").unwrap());
    assert_eq!(again.get_i64("totalIndexSize").unwrap(), without + cast);

    films.delete_many(doc! {}).run().unwrap();
    let stats = storage_stats(&films);
    let numbers = ["size", "count", "avgObjSize", "totalIndexSize"].map(|name| stats.get_i64(name).unwrap());
    assert_eq!(numbers, [0; 4]);
    assert_eq!(entries(&films).iter().map(|(_, count)| count).sum::<i64>(), 0);
}

#[test]
fn of_indexes_that_serve_alike_the_one_with_fewer_entries_is_read() {
    let films: Collection<Document> =
        Store::in_memory().unwrap().create_database("test").unwrap().collection("films");
    let film = |n: i32| {
        let mut film = doc! { "_id": n, "a": n % 500, "b": n % 10 };
        if n % 10 == 0 {
            film.insert("rated", n % 500);
        }
        film
    };
    films.insert_many((0..5_000).map(film)).run().unwrap();
    let only_few =
        IndexModel::new(doc! { "a": 1 }).name("few").partial_filter_expression(doc! { "b": { "$gte": 9 } });
    films
        .create_indexes([
            IndexModel::new(doc! { "a": 1, "b": 1 }),
            IndexModel::new(doc! { "a": 1 }),
            only_few,
            IndexModel::new(doc! { "b": 1 }),
        ])
        .run()
        .unwrap();
    // More than is counted matches by either index; one of them has a tenth of the entries.
    let found = films.find(doc! { "a": { "$gte": 100, "$lt": 400 }, "b": { "$gte": 9 } }).explain().unwrap();
    let stats = found.get_document("executionStats").unwrap();
    assert_eq!(stats.get_i64("nReturned").unwrap(), 300);
    assert_eq!(stats.get_i64("totalKeysExamined").unwrap(), 300);
}
