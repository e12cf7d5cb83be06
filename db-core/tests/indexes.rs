//! Creating and dropping indexes through the public API.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Document, doc};
use db_core::{Collection, Database, Find, IndexModel, Store};

fn database() -> Database {
    Store::in_memory().unwrap().create_database("test").unwrap()
}

fn names(films: &Collection<Document>) -> Vec<String> {
    films.list_indexes().unwrap().into_iter().map(|index| index.options.name.unwrap()).collect()
}

fn keys_examined(find: Find<Document>) -> i64 {
    let explained = find.explain().unwrap();
    explained.get_document("executionStats").unwrap().get_i64("totalKeysExamined").unwrap()
}

#[test]
fn the_index_on_id_is_there_already() {
    let database = database();
    let films = database.collection::<Document>("films");
    assert_eq!(films.create_index(doc! { "_id": 1 }).run().unwrap(), "_id_");
    assert_eq!(names(&films), ["_id_"]);
    assert_eq!(database.list_collection_names().unwrap(), ["films"]);
    let before = database.status().entries;
    films.create_index(doc! { "_id": 1 }).run().unwrap();
    assert_eq!(database.status().entries, before);
    assert_eq!(films.create_index(doc! { "_id": -1 }).run().unwrap_err().code(), Some(2));
}

#[test]
fn a_unique_index_may_stand_beside_a_plain_one() {
    let films = database().collection::<Document>("films");
    films.create_index(doc! { "a": 1 }).run().unwrap();
    let unique = || IndexModel::new(doc! { "a": 1 }).unique(true);
    assert_eq!(films.create_index(unique()).run().unwrap_err().code(), Some(86));
    films.create_index(unique().name("only")).run().unwrap();
    assert_eq!(names(&films), ["_id_", "a_1", "only"]);
    assert_eq!(films.create_index(unique().name("other")).run().unwrap_err().code(), Some(85));
    films.insert_one(doc! { "a": 1 }).run().unwrap();
    assert_eq!(films.insert_one(doc! { "a": 1 }).run().unwrap_err().code(), Some(11_000));
    films.drop_index("only").run().unwrap();
    films.insert_one(doc! { "a": 1 }).run().unwrap();
}

#[test]
fn all_indexes_are_dropped_as_one_entry() {
    let database = database();
    let films = database.collection::<Document>("films");
    assert_eq!(films.drop_indexes().run().unwrap_err().code(), Some(26));
    films.insert_one(doc! { "a": 1, "b": 1 }).run().unwrap();
    films.create_indexes([IndexModel::new(doc! { "a": 1 }), IndexModel::new(doc! { "b": 1 })]).run().unwrap();
    let before = database.status().entries;
    films.drop_indexes().run().unwrap();
    assert_eq!((names(&films), database.status().entries), (vec!["_id_".to_owned()], before + 1));
    films.drop_indexes().run().unwrap();
    assert_eq!(films.count_documents(doc! { "a": 1 }).run().unwrap(), 1);
}

#[test]
fn a_collection_with_an_impossible_name_is_not_read_either() {
    let database = database();
    let find = |name: &str| database.collection::<Document>(name).find(doc! {}).run();
    assert_eq!(find("$films").err().unwrap().code(), Some(73));
    assert_eq!(find("").err().unwrap().code(), Some(73));
    assert!(find("system.rejected").is_ok());
}

#[test]
fn an_index_is_described_by_its_specification() {
    let films = database().collection::<Document>("films");
    let specification =
        doc! { "v": 2, "key": { "year": 1 }, "name": "byYear", "unique": true, "sparse": true };
    let index = IndexModel::from_specification(specification.clone());
    assert_eq!(index.to_specification(), specification);
    assert_eq!(index, IndexModel::new(doc! { "year": 1 }).name("byYear").unique(true).sparse(true));
    assert_eq!(films.create_index(index.clone()).run().unwrap(), "byYear");
    assert_eq!(films.list_indexes().unwrap()[1], index);
    let keyless = IndexModel::from_specification(doc! { "name": "none" });
    assert_eq!(films.create_index(keyless).run().unwrap_err().code(), Some(67));
    let unknown = IndexModel::new(doc! { "a": 1 }).option("unheardOf", true);
    assert_eq!(films.create_index(unknown).run().unwrap_err().code(), Some(197));
    let mistyped = IndexModel::from_specification(doc! { "key": { "a": 1 }, "unique": "yes" });
    assert_eq!(films.create_index(mistyped).run().unwrap_err().code(), Some(14));
}

#[test]
fn a_partial_unique_index_holds_among_its_documents_only() {
    let films = database().collection::<Document>("films");
    films.insert_one(doc! { "_id": 1, "a": 1, "open": false }).run().unwrap();
    let index = IndexModel::new(doc! { "a": 1 })
        .unique(true)
        .partial_filter_expression(doc! { "open": true })
        .name("open");
    films.create_index(index.clone()).run().unwrap();
    assert_eq!(films.list_indexes().unwrap()[1], index);
    films.insert_one(doc! { "_id": 2, "a": 1, "open": true }).run().unwrap();
    films.insert_one(doc! { "_id": 3, "a": 1, "open": false }).run().unwrap();
    let twice = films.insert_one(doc! { "_id": 4, "a": 1, "open": true }).run();
    assert_eq!(twice.unwrap_err().code(), Some(11_000));
    let open = doc! { "$set": { "open": true } };
    assert_eq!(films.update_one(doc! { "_id": 3 }, open.clone()).run().unwrap_err().code(), Some(11_000));
    films.update_one(doc! { "_id": 2 }, doc! { "$set": { "open": false } }).run().unwrap();
    films.update_one(doc! { "_id": 3 }, open).run().unwrap();
    assert_eq!(keys_examined(films.find(doc! { "a": 1, "open": true })), 1);
    assert_eq!(films.count_documents(doc! { "a": 1 }).run().unwrap(), 3);
}

#[test]
fn a_hidden_index_is_kept_up_and_not_used() {
    let films = database().collection::<Document>("films");
    films.create_index(IndexModel::new(doc! { "a": 1 }).unique(true).hidden(true)).run().unwrap();
    films.insert_one(doc! { "a": 1 }).run().unwrap();
    assert_eq!(films.insert_one(doc! { "a": 1 }).run().unwrap_err().code(), Some(11_000));
    assert_eq!(keys_examined(films.find(doc! { "a": 1 })), 0);
    let hint = db_core::Hint::Name("a_1".to_owned());
    assert_eq!(films.find(doc! {}).hint(hint).run().err().unwrap().code(), Some(2));
    assert_eq!(films.list_indexes().unwrap()[1].options.others, doc! { "hidden": true });
}

#[test]
fn a_hashed_index_refuses_arrays() {
    let films = database().collection::<Document>("films");
    films.create_index(doc! { "a": "hashed" }).run().unwrap();
    films.insert_one(doc! { "a": 1 }).run().unwrap();
    assert_eq!(films.insert_one(doc! { "a": [1] }).run().unwrap_err().code(), Some(16766));
    assert_eq!(films.count_documents(doc! { "a": 1.0 }).run().unwrap(), 1);
    assert_eq!(films.list_indexes().unwrap()[1].keys, doc! { "a": "hashed" });
}

#[test]
fn documents_expire_by_a_ttl_index_without_anybody_asking() {
    let database = database();
    let sessions = database.collection::<Document>("sessions");
    let long_ago = bson::DateTime::from_millis(1_000);
    sessions.insert_one(doc! { "_id": 1, "seen": long_ago }).run().unwrap();
    sessions.insert_one(doc! { "_id": 2, "seen": bson::DateTime::MAX }).run().unwrap();
    let ttl = IndexModel::new(doc! { "seen": 1 }).expire_after(std::time::Duration::from_mins(1));
    sessions.create_index(ttl).run().unwrap();
    database.set_expiry_interval(std::time::Duration::from_millis(5));
    while sessions.estimated_document_count().unwrap() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(sessions.find_one(doc! {}).run().unwrap().unwrap().get_i32("_id").unwrap(), 2);
}

#[test]
fn the_building_of_an_index_can_be_watched() {
    let database = database();
    let films = database.collection::<Document>("films");
    films.insert_many((0..500).map(|n| doc! { "_id": n, "n": n })).run().unwrap();
    let watch = database.watch_index_build();
    films.create_index(doc! { "n": 1 }).run().unwrap();
    assert!(watch.has_changed().unwrap(), "it was told of the build");
    assert_eq!(database.index_build(), None, "which is over");
}

#[test]
fn an_index_is_dropped_by_its_keys() {
    let films = database().collection::<Document>("films");
    assert_eq!(films.drop_index_by_keys(doc! { "a": 1 }).run().unwrap_err().code(), Some(26));
    films.create_index(doc! { "a": 1, "b": -1 }).run().unwrap();
    assert_eq!(films.drop_index_by_keys(doc! { "a": 1 }).run().unwrap_err().code(), Some(27));
    assert_eq!(films.drop_index_by_keys(doc! { "_id": 1 }).run().unwrap_err().code(), Some(72));
    films.create_index(IndexModel::new(doc! { "a": 1, "b": -1 }).unique(true).name("only")).run().unwrap();
    assert_eq!(films.drop_index_by_keys(doc! { "a": 1, "b": -1 }).run().unwrap_err().code(), Some(181));
    films.drop_index("only").run().unwrap();
    films.drop_index_by_keys(doc! { "a": 1.0, "b": -1_i64 }).run().unwrap();
    assert_eq!(names(&films), ["_id_"]);
}
