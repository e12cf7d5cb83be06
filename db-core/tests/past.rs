//! Reads of past states through the public API: what finds, counts and pipelines see there, by index as by scan.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bson::{Bson, Document, doc};
use db_core::{Collection, Database, ErrorKind, Hint, IndexModel, Past, ReadConcern, Result, Status, Store};

/// The position of the last entry that is confirmed.
fn last(database: &Database) -> u64 {
    database.status().confirmed - 1
}

fn found(collection: &Collection<Document>, filter: Document) -> Vec<Document> {
    collection.find(filter).sort(doc! { "_id": 1 }).run().unwrap().collect::<Result<_>>().unwrap()
}

fn ids(documents: impl IntoIterator<Item = Document>) -> Vec<i32> {
    documents.into_iter().map(|document| document.get_i32("_id").unwrap()).collect()
}

fn films(past: &Past) -> Collection<Document> {
    past.collection("films")
}

#[tokio::test]
async fn every_read_sees_the_state_after_the_entry_at_its_position() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("films");
    collection.create_index(doc! { "year": 1, "title": 1 }).await.unwrap();
    collection.create_index(doc! { "title": "text" }).await.unwrap();
    collection.create_index(doc! { "place": "2dsphere" }).await.unwrap();
    let place = |n: i32| doc! { "type": "Point", "coordinates": [f64::from(n), 0.0] };
    let film =
        |n: i32| doc! { "_id": n, "year": 1970 + n % 5, "title": format!("film {n}"), "place": place(n) };
    collection.insert_many((0..50).map(film)).await.unwrap();
    database.collection::<Document>("years").insert_one(doc! { "_id": 1972, "good": true }).await.unwrap();
    let then = last(&database);
    // Arrays come only now, documents go, change and come, and the collection gets another index and another name.
    collection.update_many(doc! { "year": 1972 }, doc! { "$set": { "year": [1, 2] } }).await.unwrap();
    collection.delete_many(doc! { "_id": { "$lt": 10 } }).await.unwrap();
    collection
        .update_one(doc! { "_id": 30 }, doc! { "$set": { "title": "alien", "place": place(-40) } })
        .await
        .unwrap();
    collection.insert_one(film(77)).await.unwrap();
    collection.create_index(doc! { "_id": 1, "year": -1 }).await.unwrap();
    database.collection::<Document>("years").drop().await.unwrap();
    database.rename_collection("films", "movies", false).await.unwrap();

    let past = database.at(then).unwrap();
    assert_eq!((past.position(), past.is_confirmed()), (then, true));
    assert_eq!(past.entry(), database.confirmed_order(then, 1).unwrap()[0]);
    assert_eq!(past.list_collection_names().unwrap(), ["films", "years"]);
    let films = films(&past);
    assert_eq!(found(&films, doc! {}), (0..50).map(film).collect::<Vec<_>>());
    assert_eq!(films.estimated_document_count().unwrap(), 50);
    assert_eq!(films.list_indexes().unwrap().len(), 4);
    for filter in [doc! { "year": 1972 }, doc! { "year": { "$gte": 1972 } }, doc! { "title": "film 3" }] {
        let by_scan = films.find(filter.clone()).hint(Hint::Keys(doc! { "$natural": 1 })).run().unwrap();
        let mut by_scan = ids(by_scan.map(Result::unwrap));
        by_scan.sort_unstable();
        assert_eq!(ids(found(&films, filter.clone())), by_scan);
        assert_eq!(films.count_documents(filter).run().unwrap(), by_scan.len() as u64);
    }
    // Covered by an index that has met arrays since and had not then.
    let covered = films.find(doc! { "year": 1972 }).projection(doc! { "_id": 0, "year": 1, "title": 1 });
    let plan = covered.explain().unwrap();
    assert!(!format!("{plan}").contains("FETCH"), "{plan}");
    let covered = films.find(doc! { "year": 1972 }).projection(doc! { "_id": 0, "year": 1, "title": 1 });
    let years = covered.run().unwrap().map(|document| document.unwrap().get_i32("year").unwrap());
    assert_eq!(years.collect::<Vec<_>>(), [1972; 10]);
    assert_eq!(
        films.distinct("year", doc! {}).run().unwrap(),
        (1970..1975).map(Bson::from).collect::<Vec<_>>()
    );
    assert_eq!(ids(found(&films, doc! { "$text": { "$search": "30" } })), [30]);
    assert_eq!(found(&films, doc! { "$text": { "$search": "alien" } }), []);
    let near = doc! { "place": { "$near": { "$geometry": place(30), "$maxDistance": 1000 } } };
    assert_eq!(ids(films.find(near.clone()).run().unwrap().map(Result::unwrap)), [30]);
    let joined = [
        doc! { "$match": { "_id": 2 } },
        doc! { "$lookup": { "from": "years", "localField": "year", "foreignField": "_id", "as": "of" } },
    ];
    let joined = films.aggregate(joined).run().unwrap().next().unwrap().unwrap();
    assert_eq!(joined.get_array("of").unwrap(), &[doc! { "_id": 1972, "good": true }.into()]);
    let counted = films.aggregate([doc! { "$collStats": { "count": {} } }]).run().unwrap().next().unwrap();
    assert_eq!(counted.unwrap().get_i64("count").unwrap(), 50);
    assert_eq!(past.collection::<Document>("movies").count_documents(doc! {}).run().unwrap(), 0);

    // The same by an option of a read.
    let films = database.collection::<Document>("films");
    assert_eq!(films.count_documents(doc! {}).at_position(then).run().unwrap(), 50);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 0);
    let sum = [doc! { "$group": { "_id": null, "sum": { "$sum": "$_id" } } }];
    let sum = films.aggregate(sum).at_position(then).run().unwrap().next().unwrap().unwrap();
    assert_eq!(sum.get_i32("sum").unwrap(), (0..50).sum::<i32>());
    // The present is what it was.
    let movies = database.collection::<Document>("movies");
    assert_eq!(movies.estimated_document_count().unwrap(), 41);
    assert_eq!(ids(movies.find(near).run().unwrap().map(Result::unwrap)), Vec::<i32>::new());
}

#[tokio::test]
async fn a_past_state_is_read_and_nothing_else() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("films");
    collection.insert_one(doc! { "_id": 1 }).await.unwrap();
    collection.insert_one(doc! { "_id": 2 }).await.unwrap();
    let past = database.at(0).unwrap();
    let films = films(&past);
    let entries = database.status().entries;
    let refused = [
        films.insert_one(doc! {}).await.unwrap_err(),
        films.update_many(doc! {}, doc! { "$set": { "n": 1 } }).await.unwrap_err(),
        films.replace_one(doc! {}, doc! {}).upsert(true).await.unwrap_err(),
        films.delete_many(doc! {}).await.unwrap_err(),
        films.find_one_and_delete(doc! {}).await.unwrap_err(),
        films.create_index(doc! { "n": 1 }).await.unwrap_err(),
        films.drop_index("n").await.unwrap_err(),
        films.drop().await.unwrap_err(),
        films.delete_one(doc! {}).explain().unwrap_err(),
        films.aggregate([doc! { "$out": "copy" }]).await.err().unwrap(),
        films.aggregate([doc! { "$merge": "copy" }]).await.err().unwrap(),
        films.watch().run().err().unwrap(),
        films.find(doc! {}).watch().err().unwrap(),
        films.history(1, &db_core::HistoryRange::default()).unwrap_err(),
        films.quarantined().err().unwrap(),
        films.count_documents(doc! {}).at_position(1).run().unwrap_err(),
        collection.find(doc! {}).at_position(0).watch().err().unwrap(),
    ];
    for error in refused {
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(72)), "{error}");
    }
    assert_eq!(database.status().entries, entries);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 1);
    let within = database.begin_transaction(db_core::TransactionOptions::default()).unwrap();
    let refused = within.collection::<Document>("films").find(doc! {}).at_position(0).run().err().unwrap();
    assert_eq!(refused.code(), Some(72));
    for position in [2, 1_000_000, u64::MAX] {
        let refused = database.at(position).unwrap_err();
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, Some(246)), "{refused}");
    }
}

#[tokio::test]
async fn the_tail_can_be_read_at_each_of_its_entries_and_is_not_confirmed() {
    let store = Store::in_memory().unwrap();
    let database = store.open_topic("past").unwrap();
    let collection = database.collection::<Document>("films");
    collection.create_index(doc! { "n": 1 }).await.unwrap();
    for n in 0..20 {
        collection.insert_one(doc! { "_id": n, "n": n % 3 }).await.unwrap();
        collection.delete_many(doc! { "_id": n - 5 }).await.unwrap();
    }
    assert_eq!(database.status().confirmed, 0);
    let total = database.status().tail;
    let mut seen = 0;
    for position in 0..total {
        let past = database.at(position).unwrap();
        assert!(!past.is_confirmed());
        let films = films(&past);
        let all = found(&films, doc! {});
        let by_index: usize = (0..3).map(|n| found(&films, doc! { "n": n }).len()).sum();
        assert_eq!((by_index, films.estimated_document_count().unwrap()), (all.len(), all.len() as u64));
        let majority = films.count_documents(doc! {}).read_concern(ReadConcern::Majority).run().unwrap_err();
        assert_eq!(majority.code(), Some(246));
        seen = seen.max(all.len());
    }
    assert_eq!(seen, 6);
    assert_eq!(found(&films(&database.at(total - 1).unwrap()), doc! {}), found(&collection, doc! {}));
}

#[tokio::test]
async fn a_past_state_is_the_same_on_every_peer_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (Store::open(directory.path()).unwrap(), Store::in_memory().unwrap());
    let (a, b) = (here.open_topic("demo").unwrap(), there.open_topic("demo").unwrap());
    let session = common::connect(&a, &b);
    let (of_a, of_b) = (a.collection::<Document>("films"), b.collection::<Document>("films"));
    of_a.create_index(IndexModel::new(doc! { "n": 1 })).await.unwrap();
    a.set_indexers(vec![a.writer()]).await.unwrap();
    for n in 0..30 {
        of_a.insert_one(doc! { "_id": n, "n": n % 4 }).await.unwrap();
        of_b.insert_one(doc! { "_id": 100 + n, "n": n % 4 }).await.unwrap();
        of_b.update_many(doc! { "n": 1 }, doc! { "$inc": { "m": 1 } }).await.unwrap();
    }
    let confirmed = loop {
        let (here, there) = (a.status(), b.status());
        let is_quiet = |status: &Status| status.tail == 0 && status.unordered == 0;
        if here.entries == there.entries && is_quiet(&here) && is_quiet(&there) {
            break here.confirmed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    session.abort();
    let dump = |database: &Database, position: u64| {
        let past = database.at(position).unwrap();
        let by_index = (0..4).map(|n| found(&films(&past), doc! { "n": n })).collect::<Vec<_>>();
        (past.entry(), found(&films(&past), doc! {}), by_index)
    };
    let dumps: Vec<_> = (0..confirmed).map(|position| dump(&a, position)).collect();
    for (position, known) in (0..confirmed).zip(&dumps) {
        assert_eq!(known, &dump(&b, position));
        assert_eq!(known.1.len(), known.2.iter().map(Vec::len).sum::<usize>());
    }
    here.close();
    let here = Store::open(directory.path()).unwrap();
    let a = here.database("demo").unwrap();
    for (position, known) in (0..confirmed).zip(&dumps) {
        assert_eq!(known, &dump(&a, position));
    }
    assert_eq!(dumps.last().unwrap().1.len(), 60);
}

#[tokio::test]
async fn what_is_not_kept_is_made_from_the_logs_in_a_file_that_nobody_sees() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let database = store.create_database("demo").unwrap();
    database.set_change_history(0);
    let collection = database.collection::<Document>("films");
    collection.create_index(doc! { "n": 1 }).await.unwrap();
    for n in 0..100 {
        collection.insert_one(doc! { "_id": n, "n": n % 4 }).await.unwrap();
    }
    let last = last(&database);
    let files = || std::fs::read_dir(directory.path().join("databases")).unwrap().count();
    let before = files();
    let past = database.at(last - 50).unwrap();
    assert!(past.is_confirmed());
    assert_eq!(films(&past).count_documents(doc! { "n": 1 }).run().unwrap(), 13);
    // Later ones go on from there and change nothing of it.
    for n in (0..50).step_by(7) {
        let later = database.at(last - 50 + n).unwrap();
        assert_eq!(films(&later).estimated_document_count().unwrap(), 50 + n);
    }
    assert_eq!(films(&past).estimated_document_count().unwrap(), 50);
    assert_eq!(files(), before);
    // It ends when its time is over.
    let count = || collection.count_documents(doc! {}).at_position(last - 90);
    let refused = count().max_time(std::time::Duration::ZERO).run().unwrap_err();
    assert_eq!(refused.code(), Some(50));
    assert_eq!(database.at_until(last - 90, || true).unwrap_err().code(), Some(50));
    assert_eq!(count().run().unwrap(), 10);
    // Its readers need nothing of the database.
    store.close();
    assert_eq!(films(&past).count_documents(doc! { "n": 1 }).run().unwrap(), 13);
}

#[tokio::test]
async fn an_index_that_is_gone_is_shown_as_hidden_and_not_read_by() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let collection = database.collection::<Document>("films");
    for field in ["n", "m"] {
        collection.create_index(IndexModel::new(doc! { field: 1 }).name(field)).await.unwrap();
    }
    collection.create_index(IndexModel::new(doc! { "s": "text" }).name("s")).await.unwrap();
    collection
        .insert_many((0..20).map(|n| doc! { "_id": n, "n": n % 2, "m": n % 3, "s": "x" }))
        .await
        .unwrap();
    let then = last(&database);
    collection.drop_index("n").await.unwrap();
    collection.drop_index("s").await.unwrap();
    collection.delete_many(doc! { "_id": { "$lt": 6 } }).await.unwrap();
    let past = database.at(then).unwrap();
    let films = films(&past);
    let hidden = films.list_indexes().unwrap();
    let hidden: Vec<_> = hidden.iter().map(|index| index.to_specification().contains_key("hidden")).collect();
    assert_eq!(hidden, [false, true, false, true]);
    assert_eq!(found(&films, doc! { "n": 1 }).len(), 10);
    assert_eq!(found(&films, doc! { "m": 1 }).len(), 7);
    assert!(films.find(doc! { "n": 1 }).hint(Hint::Name("n".into())).run().is_err());
    assert_eq!(found(&films, doc! { "$text": { "$search": "x" } }).len(), 20);
    // Of a collection that is gone as a whole the indexes are there.
    let then = last(&database);
    collection.drop().await.unwrap();
    let films = self::films(&database.at(then).unwrap());
    let plan = films.find(doc! { "m": 1 }).explain_plan().unwrap();
    assert!(format!("{plan}").contains("IXSCAN"), "{plan}");
    assert_eq!(found(&films, doc! { "m": 1 }).len(), 5);
}
