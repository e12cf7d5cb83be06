//! The public API as an embedder meets it.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Bson, Document, doc};
use db_core::{Collection, ErrorKind, Hint, IndexModel, Result, Role, Store, Ticket, WriterKey};
use serde::{Deserialize, Serialize};

fn films() -> Collection<Document> {
    Store::in_memory().unwrap().create_database("test").unwrap().collection("films")
}

fn all(found: db_core::Cursor<Document>) -> Vec<Document> {
    found.collect::<Result<_>>().unwrap()
}

#[test]
fn documents_come_back_as_they_went_in() {
    let films = films();
    let film = doc! { "_id": 7, "title": "Alien", "cast": ["Weaver", "Holm"], "n": 5_i64, "x": 1.5, "none": Bson::Null };
    let inserted = films.insert_one(&film).run().unwrap();
    assert_eq!(inserted.inserted_id, Bson::Int32(7));
    assert_eq!(films.find_one(doc! { "_id": 7.0 }).run().unwrap(), Some(film));
    let made = films.insert_one(doc! { "title": "Heat" }).run().unwrap();
    let found = films.find_one(doc! { "title": "Heat" }).run().unwrap().unwrap();
    assert_eq!(found.get("_id"), Some(&made.inserted_id));
    assert_eq!(found.keys().next().unwrap(), "_id");
    assert_eq!(films.estimated_document_count().unwrap(), 2);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Film {
    #[serde(rename = "_id")]
    id: i32,
    title: String,
}

#[tokio::test]
async fn typed_documents_and_awaited_writes() {
    let films = films().clone_with_type::<Film>();
    let film = Film { id: 1, title: "Alien".to_owned() };
    films.insert_one(&film).await.unwrap();
    films.update_one(doc! { "_id": 1 }, doc! { "$set": { "title": "Aliens" } }).await.unwrap();
    let found = films.find_one(doc! {}).run().unwrap().unwrap();
    assert_eq!(found, Film { id: 1, title: "Aliens".to_owned() });
    assert_eq!(films.delete_many(doc! {}).await.unwrap().deleted_count, 1);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 0);
}

#[test]
fn find_sorts_skips_limits_and_projects_with_and_without_an_index() {
    let films = films();
    films.insert_many((0..50).map(|n| doc! { "_id": n, "year": 1950 + n % 10, "n": n })).run().unwrap();
    let ask = || {
        let found =
            films.find(doc! { "n": { "$gte": 10 } }).sort(doc! { "year": -1, "n": 1 }).skip(2).limit(5);
        all(found.projection(doc! { "_id": 0, "n": 1 }).run().unwrap())
    };
    let expected: Vec<Document> = [39, 49, 18, 28, 38].iter().map(|n| doc! { "n": n }).collect();
    assert_eq!(ask(), expected);
    films.create_index(doc! { "year": -1, "n": 1 }).run().unwrap();
    assert_eq!(ask(), expected);
}

#[test]
fn an_equality_on_an_index_examines_what_it_returns() {
    let films = films();
    films.create_index(doc! { "year": 1 }).run().unwrap();
    films.insert_many((0..1_000).map(|n| doc! { "_id": n, "year": n % 100 })).run().unwrap();
    let plan = films.find(doc! { "year": 7 }).explain().unwrap();
    let stats = plan.get_document("executionStats").unwrap();
    assert_eq!(stats.get_i64("nReturned").unwrap(), 10);
    assert!(stats.get_i64("totalKeysExamined").unwrap() <= 11);
    assert_eq!(stats.get_i64("totalDocsExamined").unwrap(), 10);
    let newest = films.find(doc! {}).sort(doc! { "year": -1 }).limit(20).explain().unwrap();
    assert!(newest.get_document("executionStats").unwrap().get_i64("totalKeysExamined").unwrap() <= 21);
}

#[test]
fn a_hint_is_followed_or_refused() {
    let films = films();
    films.insert_one(doc! { "a": 1, "b": 1 }).run().unwrap();
    films.create_indexes([IndexModel::new(doc! { "a": 1 }), IndexModel::new(doc! { "b": 1 })]).run().unwrap();
    let plan = films.find(doc! { "a": 1, "b": 1 }).hint(Hint::Keys(doc! { "b": 1 })).explain().unwrap();
    assert!(plan.to_string().contains("b_1"), "{plan}");
    let refused = films.find(doc! {}).hint(Hint::Name("no".to_owned())).run().err().unwrap();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, Some(2)));
}

#[test]
fn updates_upserts_and_replacements_tell_what_they_did() {
    let films = films();
    films.insert_many([doc! { "_id": 1, "n": 1 }, doc! { "_id": 2, "n": 1 }]).run().unwrap();
    let result = films.update_many(doc! { "n": 1 }, doc! { "$set": { "n": 1, "m": 2 } }).run().unwrap();
    assert_eq!((result.matched_count, result.modified_count), (2, 2));
    let result = films.update_many(doc! { "n": 1 }, doc! { "$set": { "m": 2 } }).run().unwrap();
    assert_eq!((result.matched_count, result.modified_count), (2, 0));
    let result = films.update_one(doc! { "_id": 9 }, doc! { "$inc": { "n": 3 } }).upsert(true).run().unwrap();
    assert_eq!((result.matched_count, result.upserted_id), (0, Some(Bson::Int32(9))));
    let result = films.replace_one(doc! { "_id": 1 }, doc! { "title": "new" }).run().unwrap();
    assert_eq!((result.matched_count, result.modified_count), (1, 1));
    assert_eq!(films.find_one(doc! { "_id": 1 }).run().unwrap(), Some(doc! { "_id": 1, "title": "new" }));
    let filtered = films.update_one(doc! { "_id": 2 }, doc! { "$set": { "l": [1, 5, 9] } });
    filtered.run().unwrap();
    let update = films.update_one(doc! { "_id": 2 }, doc! { "$inc": { "l.$[big]": 100 } });
    update.array_filters([doc! { "big": { "$gt": 4 } }]).run().unwrap();
    let found = films.find_one(doc! { "_id": 2 }).run().unwrap().unwrap();
    assert_eq!(found.get_array("l").unwrap(), &vec![Bson::Int32(1), Bson::Int32(105), Bson::Int32(109)]);
    let missed = films.update_one(doc! { "_id": 77 }, doc! { "$set": { "n": 1 } }).run().unwrap();
    assert_eq!((missed.matched_count, missed.entry), (0, None));
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let films = films();
    films.create_index(IndexModel::new(doc! { "n": 1 }).unique(true)).run().unwrap();
    films.insert_one(doc! { "_id": 1, "n": 1 }).run().unwrap();
    let error = |error: db_core::Error| (error.kind(), error.code());
    assert_eq!(
        error(films.insert_one(doc! { "_id": 1 }).run().unwrap_err()),
        (ErrorKind::Conflict, Some(11_000))
    );
    assert_eq!(
        error(films.insert_one(doc! { "_id": 2, "n": 1_i64 }).run().unwrap_err()),
        (ErrorKind::Conflict, Some(11_000))
    );
    assert_eq!(
        error(films.insert_one(doc! { "_id": [1] }).run().unwrap_err()),
        (ErrorKind::Invalid, Some(53))
    );
    assert_eq!(error(films.find(doc! { "n": { "$near": 1 } }).run().err().unwrap()).0, ErrorKind::Invalid);
    assert_eq!(
        error(films.find(doc! { "n": { "$bogus": 1 } }).run().err().unwrap()),
        (ErrorKind::Invalid, Some(2))
    );
    assert_eq!(
        error(films.update_one(doc! {}, doc! { "$bogus": { "n": 1 } }).run().unwrap_err()),
        (ErrorKind::Invalid, Some(9))
    );
    assert_eq!(
        error(films.update_one(doc! {}, doc! { "n": 1 }).run().unwrap_err()),
        (ErrorKind::Invalid, Some(2))
    );
    assert_eq!(error(films.drop_index("_id_").run().unwrap_err()), (ErrorKind::Invalid, Some(72)));
    assert_eq!(error(films.drop_index("none").run().unwrap_err()).1, Some(27));
    let elsewhere = films.clone_with_type::<Document>();
    assert_eq!(elsewhere.count_documents(doc! {}).run().unwrap(), 1);
    let store = Store::in_memory().unwrap();
    let database = store.create_database("a").unwrap();
    for name in ["", "../../etc/passwd", "a\0b", "system.users", &"x".repeat(300), "caf\u{e9}"] {
        let refused = database.collection::<Document>(name).insert_one(doc! {}).run().unwrap_err();
        assert_eq!(error(refused), (ErrorKind::Invalid, Some(73)), "{name:?}");
    }
    for name in ["", "../x", "A", ".hidden", "a/b", &"x".repeat(121)] {
        assert_eq!(store.create_database(name).unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
    }
    assert_eq!(store.create_database("a").unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store.database("b").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_bulk_insert_that_fails_in_part_tells_where() {
    let films = films();
    let documents = || [doc! { "_id": 1 }, doc! { "_id": 1 }, doc! { "_id": 2 }];
    let error = films.insert_many(documents()).run().unwrap_err();
    assert_eq!(error.write_failures().iter().map(|failure| failure.index).collect::<Vec<_>>(), [1]);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 1);
    let error = films.insert_many(documents()).ordered(false).run().unwrap_err();
    assert_eq!(error.write_failures().iter().map(|failure| failure.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 2);
}

#[test]
fn oversized_and_too_deep_documents_are_refused() {
    let films = films();
    let large = doc! { "x": "a".repeat(17 * 1024 * 1024) };
    assert_eq!(films.insert_one(large).run().unwrap_err().kind(), ErrorKind::Invalid);
    let mut deep = doc! { "x": 1 };
    for _ in 0..70 {
        deep = doc! { "x": deep };
    }
    assert_eq!(films.insert_one(deep).run().unwrap_err().kind(), ErrorKind::Invalid);
    // Nor can one be built step by step.
    films.insert_one(doc! { "_id": 1 }).run().unwrap();
    let path = vec!["x"; 70].join(".");
    assert_eq!(
        films.update_one(doc! {}, doc! { "$set": { path: 1 } }).run().unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let all = films.find(doc! {}).run().unwrap().count();
    assert_eq!(all, 1);
}

#[test]
fn a_store_keeps_its_databases_and_its_secret_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let database = store.create_database("films").unwrap();
    database.collection::<Document>("c").insert_one(doc! { "_id": 1 }).run().unwrap();
    let (writer, digest) = (database.writer(), database.view_digest().unwrap());
    let taken = Store::open(&path).unwrap().database("films").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Unavailable);
    store.close();
    assert_eq!(
        database.collection::<Document>("c").insert_one(doc! {}).run().unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    drop((database, store));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path.join("device.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(store.database_names().unwrap(), ["films"]);
    let database = store.database("films").unwrap();
    assert_eq!((database.writer(), database.view_digest().unwrap()), (writer, digest));
}

#[test]
fn a_database_that_was_closed_opens_again_and_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let database = store.create_database("films").unwrap();
    database.collection::<Document>("c").insert_one(doc! { "_id": 1 }).run().unwrap();
    let waiting = database.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ended = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            runtime.block_on(async {
                let never = waiting.wait_for(|status| status.entries > 1_000);
                tokio::time::timeout(std::time::Duration::from_mins(1), never).await
            })
        });
        database.close();
        waiter.join().unwrap().expect("the wait ends with the database")
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    let again = store.database("films").unwrap();
    assert_eq!(again.collection::<Document>("c").count_documents(doc! {}).run().unwrap(), 1);
    again.collection::<Document>("c").insert_one(doc! { "_id": 2 }).run().unwrap();
}

#[test]
fn of_those_who_make_one_store_or_database_at_once_nobody_loses_what_it_wrote() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let together = std::sync::Barrier::new(4);
        // Each with a store of its own, as processes have.
        let made = |name: i32| {
            together.wait();
            let store = Store::open(path).unwrap();
            let secret = store.endpoint_secret();
            let database = store.open_topic("films").ok();
            if let Some(database) = &database {
                database.collection::<Document>("c").insert_one(doc! { "_id": name }).run().unwrap();
            }
            store.close();
            (*secret, database.map(|_| name))
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|name| {
                    scope.spawn({
                        let made = &made;
                        move || made(name)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let store = Store::open(path).unwrap();
        assert!(all.iter().all(|(secret, _)| *secret == *store.endpoint_secret()));
        let written: Vec<i32> = all.into_iter().filter_map(|(_, name)| name).collect();
        let films = store.open_topic("films").unwrap().collection::<Document>("c");
        let mut found: Vec<i32> =
            films.find(doc! {}).run().unwrap().map(|film| film.unwrap().get_i32("_id").unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, written);
    }
}

#[test]
fn damaged_and_foreign_files_are_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(path).unwrap();
    let database = store.create_database("films").unwrap();
    database.collection::<Document>("c").insert_many((0..200).map(|n| doc! { "_id": n })).run().unwrap();
    store.close();
    drop((database, store));
    let file = path.join("databases/films.redb");
    let whole = std::fs::read(&file).unwrap();
    let damages: [(&str, Vec<u8>); 3] = [
        ("another program's file", b"SQLite format 3\0 and what follows it".repeat(1_000)),
        ("cut off", whole[..whole.len() / 3].to_vec()),
        ("a header of nothing", vec![0; 8_192]),
    ];
    for (what, bytes) in damages {
        std::fs::write(&file, &bytes).unwrap();
        let store = Store::open(path).unwrap();
        let refused = store.database("films");
        let error = refused.err().unwrap_or_else(|| panic!("{what} was opened"));
        assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Unavailable), "{what}: {error:?}");
        assert!(error.to_string().contains("films.redb"), "{what}: {error}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{what}: the file was changed");
    }
    std::fs::write(&file, &whole).unwrap();
    let store = Store::open(path).unwrap();
    let films = store.database("films").unwrap().collection::<Document>("c");
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 200);
    drop(films);
    store.close();
    std::fs::write(path.join("device.key"), "not a key").unwrap();
    assert_eq!(Store::open(path).unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn a_ticket_joins_the_same_database_and_only_admitted_writers_write() {
    let (one, other) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let database = one.create_database("films").unwrap();
    let ticket = Ticket::parse(&database.ticket(Vec::new()).to_text()).unwrap();
    let joined = other.join(&ticket).unwrap();
    assert_eq!((joined.id(), joined.topic()), (database.id(), database.topic()));
    assert_ne!(joined.writer(), database.writer());
    let refused = joined.collection::<Document>("c").insert_one(doc! {}).run().unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Denied, Some(13)));
    let refused = joined.add_writer(joined.writer(), Role::Writer).run().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    let mut weak = [0; 32];
    weak[0] = 1;
    let refused = database.add_writer(WriterKey::from_bytes(weak), Role::Writer).run().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(other.join(&ticket).unwrap().id(), database.id());
    other.create_database("mine").unwrap();
    assert_eq!(other.join_as("mine", &ticket).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn concurrent_callers_share_commits_and_lose_nothing() {
    let films = films();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let films = &films;
            scope.spawn(move || {
                for n in 0..50 {
                    films.insert_one(doc! { "_id": thread * 1_000 + n }).run().unwrap();
                    films
                        .update_one(doc! { "_id": "sum" }, doc! { "$inc": { "n": 1 } })
                        .upsert(true)
                        .run()
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 401);
    let sum = films.find_one(doc! { "_id": "sum" }).run().unwrap().unwrap();
    assert_eq!(sum.get_i32("n").unwrap(), 400);
}

#[test]
fn who_drops_the_last_handle_finds_the_file_closed() {
    let directory = tempfile::tempdir().unwrap();
    for count in 0..10 {
        let database = Store::open(directory.path()).unwrap().open_topic("films").unwrap();
        let films = database.collection::<Document>("films");
        assert_eq!(films.estimated_document_count().unwrap(), count);
        films.insert_one(doc! { "_id": count as i64 }).run().unwrap();
    }
}
