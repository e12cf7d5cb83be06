//! Aggregations through the public API: snapshots, indexes, other collections, results written back.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bson::{Document, doc};
use db_core::{Collection, CollectionOptions, Database, ErrorKind, IndexModel, Result, Store};
use serde::Deserialize;

fn database() -> Database {
    Store::in_memory().unwrap().create_database("test").unwrap()
}

/// Six films in the collection `films`, an index on their years.
fn films(database: &Database) -> Collection<Document> {
    let films = database.collection("films");
    let film = |id: i32, year: i32, title: &str| doc! { "_id": id, "year": year, "title": title };
    films
        .insert_many([
            film(1, 1979, "Alien"),
            film(2, 1985, "Brazil"),
            film(3, 1979, "Mad Max"),
            film(4, 1971, "Duel"),
            film(5, 1985, "Ran"),
            film(6, 1979, "Stalker"),
        ])
        .run()
        .unwrap();
    films.create_index(doc! { "year": 1 }).run().unwrap();
    films
}

fn all(documents: impl Iterator<Item = Result<Document>>) -> Vec<Document> {
    documents.collect::<Result<_>>().unwrap()
}

fn by_year() -> Vec<Document> {
    vec![doc! { "$group": { "_id": "$year", "films": { "$count": {} } } }, doc! { "$sort": { "_id": 1 } }]
}

#[test]
fn a_pipeline_reads_one_snapshot_whatever_is_written_meanwhile() {
    let database = database();
    let films = films(&database);
    let lookup =
        doc! { "$lookup": { "from": "films", "localField": "year", "foreignField": "year", "as": "same" } };
    let mut cursor = films.aggregate([lookup, doc! { "$sort": { "_id": 1 } }]).run_raw().unwrap();
    films.delete_many(doc! {}).run().unwrap();
    let first = Document::try_from(cursor.next().unwrap().unwrap()).unwrap();
    assert_eq!(first.get_array("same").unwrap().len(), 3);
    assert_eq!(cursor.count(), 5);
    assert!(films.aggregate(by_year()).run().unwrap().next().is_none());
}

#[test]
fn a_lookup_without_an_index_reads_the_other_collection_once() {
    let database = database();
    let many: Collection<Document> = database.collection("many");
    many.insert_many((0..640).map(|n| doc! { "_id": n, "key": n % 320, "word": format!("W{n}") }))
        .run()
        .unwrap();
    // Every 64 documents read, and at each find's beginning, it is asked whether to go on.
    let run = |field: &str, collation: Document| {
        let lookup =
            doc! { "$lookup": { "from": "many", "localField": field, "foreignField": field, "as": "same" } };
        let stages = [lookup, doc! { "$project": { "same": { "$size": "$same" } } }];
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let aggregate = many.aggregate(stages).stop_when(move || {
            count.fetch_add(1, Ordering::Relaxed);
            false
        });
        let aggregate = if collation.is_empty() { aggregate } else { aggregate.collation(collation) };
        let found = all(aggregate.run().unwrap());
        (found, asked.load(Ordering::Relaxed))
    };
    let (joined, asked) = run("key", doc! {});
    assert!(joined.iter().all(|document| document.get_i32("same").unwrap() == 2));
    assert!(asked < 100, "{asked}");
    // With an index it is searched for each, in few documents.
    many.create_index(doc! { "key": 1 }).run().unwrap();
    let (searched, asked) = run("key", doc! {});
    assert_eq!(searched, joined);
    assert!(asked >= 640, "{asked}");
    // An index with another order of strings finds none, and is not relied on.
    let german = doc! { "locale": "de", "strength": 2 };
    many.create_index(IndexModel::new(doc! { "word": 1 }).collation(german.clone())).run().unwrap();
    let (words, asked) = run("word", doc! {});
    assert!(words.iter().all(|document| document.get_i32("same").unwrap() == 1));
    assert!(asked < 100, "{asked}");
    let (same, asked) = run("word", german);
    assert_eq!(same, words);
    assert!(asked >= 640, "{asked}");
}

#[test]
fn results_may_be_of_a_type() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Year {
        #[serde(rename = "_id")]
        year: i32,
        films: i32,
    }
    let database = database();
    let years: Vec<Year> =
        films(&database).aggregate(by_year()).with_type().run().unwrap().collect::<Result<_>>().unwrap();
    let year = |year, films| Year { year, films };
    assert_eq!(years, [year(1971, 1), year(1979, 3), year(1985, 2)]);
}

#[test]
fn what_a_pipeline_begins_with_is_read_by_an_index() {
    let database = database();
    let films = films(&database);
    let old = doc! { "$match": { "year": { "$lt": 1979 } } };
    let plan = films.aggregate([old.clone()]).explain().unwrap();
    assert_eq!(plan.get_document("executionStats").unwrap().get_i64("totalDocsExamined").unwrap(), 1);
    let plan = films.aggregate([vec![old], by_year()].concat()).explain().unwrap();
    let stages = plan.get_array("stages").unwrap();
    let cursor = stages[0].as_document().unwrap().get_document("$cursor").unwrap();
    assert!(cursor.to_string().contains("year_1"), "{cursor}");
    assert!(stages[1].as_document().unwrap().contains_key("$group"), "{plan}");
    let plan = films.aggregate([doc! { "$sort": { "year": -1 } }, doc! { "$limit": 2 }]).explain().unwrap();
    assert_eq!(plan.get_document("executionStats").unwrap().get_i64("totalKeysExamined").unwrap(), 2);
}

#[test]
fn a_pipeline_may_need_no_collection() {
    let database = database();
    let given = doc! { "$documents": [{ "n": 1 }, { "n": 2 }] };
    let doubled = doc! { "$project": { "_id": 0, "n": { "$multiply": ["$n", "$$by"] } } };
    let results = database.aggregate([given, doubled]).let_vars(doc! { "by": 10 }).run().unwrap();
    assert_eq!(all(results), [doc! { "n": 10 }, doc! { "n": 20 }]);
    let refused = database.aggregate([doc! { "$match": {} }]).run().err().unwrap();
    assert_eq!(refused.code(), Some(73));
    let empty = database.collection::<Document>("none").aggregate(by_year()).run().unwrap();
    assert_eq!(all(empty), [] as [Document; 0]);
}

#[test]
fn what_is_wrong_with_a_pipeline_is_told_with_its_code() {
    let database = database();
    let films = films(&database);
    for (stage, code) in [
        (doc! { "$foo": {} }, 40324),
        (doc! { "$limit": 1, "$skip": 1 }, 40323),
        (doc! { "$match": { "year": { "$foo": 1 } } }, 2),
        (doc! { "$project": { "x": { "$foo": 1 } } }, 168),
    ] {
        let refused = films.aggregate([stage.clone()]).run().err().unwrap();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, Some(code)), "{stage}: {refused}");
    }
    let late = doc! { "$set": { "x": { "$divide": [1, { "$subtract": ["$_id", 3] }] } } };
    let results: Vec<_> = films.aggregate([doc! { "$sort": { "_id": 1 } }, late]).run().unwrap().collect();
    assert_eq!(results.len(), 3);
    assert!(results[1].is_ok() && results[2].is_err());
    let refused = films.aggregate(by_year()).max_time(Duration::ZERO).run().unwrap().next().unwrap();
    assert_eq!(refused.unwrap_err().code(), Some(50));
}

#[test]
fn out_replaces_a_collection_and_keeps_its_indexes() {
    let database = database();
    let films = films(&database);
    let years = database.collection::<Document>("years");
    let out = || [by_year(), vec![doc! { "$out": "years" }]].concat();
    assert_eq!(all(films.aggregate(out()).run().unwrap()), [] as [Document; 0]);
    assert_eq!(years.count_documents(doc! {}).run().unwrap(), 3);
    years.create_index(IndexModel::new(doc! { "films": 1 }).name("byFilms")).run().unwrap();
    films.delete_many(doc! { "year": 1971 }).run().unwrap();
    films.aggregate(out()).run().unwrap();
    assert_eq!(
        all(years.find(doc! {}).run().unwrap()),
        [doc! { "_id": 1979, "films": 3 }, doc! { "_id": 1985, "films": 2 }]
    );
    assert_eq!(years.list_indexes().unwrap()[1].options.name.as_deref(), Some("byFilms"));

    // A failure leaves everything as it was.
    years.create_index(IndexModel::new(doc! { "one": 1 }).unique(true)).run().unwrap_err();
    years.create_index(IndexModel::new(doc! { "title": 1 }).unique(true).sparse(true)).run().unwrap();
    let same = [doc! { "$set": { "title": "same" } }, doc! { "$out": "years" }];
    assert_eq!(films.aggregate(same).run().err().unwrap().code(), Some(11_000));
    assert_eq!(years.count_documents(doc! {}).run().unwrap(), 2);
    assert_eq!(database.list_collection_names().unwrap(), ["films", "years"]);
    // Onto itself, and of nothing.
    films.aggregate([doc! { "$match": { "year": 1979 } }, doc! { "$out": "films" }]).run().unwrap();
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 3);
    films.aggregate([doc! { "$match": { "year": 1 } }, doc! { "$out": "nothing" }]).run().unwrap();
    assert_eq!(database.list_collection_names().unwrap(), ["films", "nothing", "years"]);
    let elsewhere = films.aggregate([doc! { "$out": { "db": "other", "coll": "c" } }]).run().err().unwrap();
    assert_eq!(elsewhere.code(), Some(238));
}

#[test]
fn merge_decides_document_by_document() {
    let database = database();
    let films = films(&database);
    let years = database.collection::<Document>("years");
    years
        .insert_many([doc! { "_id": 1971, "seen": true }, doc! { "_id": 1979, "films": 1, "seen": true }])
        .run()
        .unwrap();
    let before = database.status().entries;
    let merge = |into: Document| [by_year(), vec![doc! { "$merge": into }]].concat();
    films.aggregate(merge(doc! { "into": "years" })).run().unwrap();
    assert_eq!(database.status().entries, before + 1);
    assert_eq!(
        all(years.find(doc! {}).run().unwrap()),
        [
            doc! { "_id": 1971, "seen": true, "films": 1 },
            doc! { "_id": 1979, "films": 3, "seen": true },
            doc! { "_id": 1985, "films": 2 },
        ]
    );
    let sum = doc! { "into": "years", "whenMatched": [{ "$set": { "films": { "$add": ["$films", "$$new.films"] } } }] };
    films.aggregate(merge(sum)).run().unwrap();
    let summed = years.find_one(doc! { "_id": 1979 }).run().unwrap().unwrap();
    assert_eq!(summed, doc! { "_id": 1979, "films": 6, "seen": true });
    let replace = doc! { "into": "years", "whenMatched": "replace", "whenNotMatched": "discard" };
    films.aggregate(merge(replace)).run().unwrap();
    assert_eq!(years.find_one(doc! { "_id": 1971 }).run().unwrap(), Some(doc! { "_id": 1971, "films": 1 }));

    years.delete_one(doc! { "_id": 1979 }).run().unwrap();
    let fail = doc! { "into": "years", "whenMatched": "keepExisting", "whenNotMatched": "fail" };
    assert_eq!(films.aggregate(merge(fail)).run().err().unwrap().code(), Some(13_113));
    let fail = doc! { "into": "years", "whenMatched": "fail" };
    assert_eq!(films.aggregate(merge(fail)).run().err().unwrap().code(), Some(11_000));
    let on = || doc! { "into": "years", "on": "films" };
    assert_eq!(films.aggregate(merge(on())).run().err().unwrap().code(), Some(51_183));
    years.delete_many(doc! {}).run().unwrap();
    years.create_index(IndexModel::new(doc! { "films": 1 }).unique(true)).run().unwrap();
    films.aggregate(merge(on())).run().unwrap();
    assert_eq!(years.count_documents(doc! {}).run().unwrap(), 3);
}

#[test]
fn statistics_count_what_is_there() {
    let database = database();
    let films = films(&database);
    let stats = [doc! { "$collStats": { "count": {}, "storageStats": {} } }];
    let stats = films.aggregate(stats).run().unwrap().next().unwrap().unwrap();
    assert_eq!((stats.get_str("ns").unwrap(), stats.get_i64("count").unwrap()), ("test.films", 6));
    let storage = stats.get_document("storageStats").unwrap();
    assert_eq!(storage.get_i32("nindexes").unwrap(), 2);
    assert!(
        storage.get_i64("size").unwrap() > 100 && storage.get_i64("totalIndexSize").unwrap() > 10,
        "{storage}"
    );
    let indexes = all(films.aggregate([doc! { "$indexStats": {} }]).run().unwrap());
    let names: Vec<_> = indexes.iter().map(|index| index.get_str("name").unwrap()).collect();
    assert_eq!(names, ["_id_", "year_1"]);
}

#[test]
fn variables_and_collations_reach_every_call() {
    let database = database();
    let insensitive = doc! { "locale": "en", "strength": 2 };
    let names: Collection<Document> = database.collection("names");
    names
        .insert_many([
            doc! { "_id": 1, "name": "Ann" },
            doc! { "_id": 2, "name": "ann" },
            doc! { "_id": 3, "name": "Bob" },
        ])
        .run()
        .unwrap();
    let ann = || doc! { "name": "ANN" };
    assert_eq!(names.count_documents(ann()).run().unwrap(), 0);
    assert_eq!(names.count_documents(ann()).collation(insensitive.clone()).run().unwrap(), 2);
    assert_eq!(names.distinct("name", doc! {}).collation(insensitive.clone()).run().unwrap().len(), 2);
    let wanted = doc! { "$expr": { "$eq": ["$name", "$$wanted"] } };
    let found = names.find(wanted.clone()).let_vars(doc! { "wanted": "Bob" }).run().unwrap();
    assert_eq!(all(found), [doc! { "_id": 3, "name": "Bob" }]);
    let set = vec![doc! { "$set": { "by": "$$wanted" } }];
    let updated = names.update_many(wanted, set).let_vars(doc! { "wanted": "Bob" }).run().unwrap();
    assert_eq!(updated.modified_count, 1);
    let deleted = names.delete_many(ann()).collation(insensitive.clone()).run().unwrap();
    assert_eq!(deleted.deleted_count, 2);

    // The collation of the collection, where the call names none.
    database
        .create_collection_with("people", &CollectionOptions::default().collation(insensitive))
        .run()
        .unwrap();
    let people: Collection<Document> = database.collection("people");
    people.create_index(IndexModel::new(doc! { "name": 1 }).unique(true)).run().unwrap();
    people.insert_one(doc! { "_id": 1, "name": "Ann" }).run().unwrap();
    assert_eq!(people.insert_one(doc! { "name": "ANN" }).run().unwrap_err().code(), Some(11_000));
    let plan = people.find(ann()).explain().unwrap();
    assert!(plan.to_string().contains("name_1"), "{plan}");
    assert_eq!(people.count_documents(ann()).run().unwrap(), 1);
    assert_eq!(people.count_documents(ann()).collation(doc! { "locale": "simple" }).run().unwrap(), 0);
    assert_eq!(people.update_one(ann(), doc! { "$set": { "x": 1 } }).run().unwrap().matched_count, 1);
    let matched = people.aggregate([doc! { "$match": ann() }]).run().unwrap();
    assert_eq!(matched.count(), 1);
}

#[tokio::test]
async fn an_aggregation_that_writes_may_be_awaited() {
    let database = database();
    database.create_collection("films").await.unwrap();
    let films: Collection<Document> = database.collection("films");
    films.insert_many([doc! { "_id": 1, "year": 1979 }, doc! { "_id": 2, "year": 1979 }]).await.unwrap();
    let written = [by_year(), vec![doc! { "$out": "years" }]].concat();
    assert!(films.aggregate(written).await.unwrap().next().is_none());
    let years: Collection<Document> = database.collection("years");
    assert_eq!(all(years.find(doc! {}).run().unwrap()), [doc! { "_id": 1979, "films": 2 }]);
    let merged = [by_year(), vec![doc! { "$merge": { "into": "years", "whenMatched": "fail" } }]].concat();
    assert_eq!(films.aggregate(merged).await.err().unwrap().code(), Some(11000));
    // One that only reads is awaited as well, and gives its results.
    let read = films.aggregate(by_year()).await.unwrap();
    assert_eq!(all(read), [doc! { "_id": 1979, "films": 2 }]);
    // On whatever thread.
    let films = films.clone();
    let read = tokio::spawn(async move { films.aggregate(by_year()).await.unwrap().count() });
    assert_eq!(read.await.unwrap(), 1);
}

#[tokio::test]
async fn an_aggregation_that_nobody_awaits_any_more_stops() {
    let database = database();
    let numbers: Collection<Document> = database.collection("numbers");
    numbers.insert_one(doc! { "_id": "as it was" }).await.unwrap();
    let range = |field: &str| doc! { "$set": { field: { "$range": [0, 10_000] } } };
    let endless = [
        doc! { "$documents": [{}] },
        range("a"),
        doc! { "$unwind": "$a" },
        range("b"),
        doc! { "$unwind": "$b" },
        doc! { "$out": "numbers" },
    ];
    let has_begun = || {
        let names = database.list_collection_names().unwrap();
        names.iter().any(|name| name.starts_with("tmp.agg_out."))
    };
    let mut running = database.aggregate(endless).into_future();
    while !has_begun() {
        tokio::select! {
            ended = &mut running => panic!("it has ended: {:?}", ended.err()),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    drop(running);
    while has_begun() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(all(numbers.find(doc! {}).run().unwrap()), [doc! { "_id": "as it was" }]);
}
