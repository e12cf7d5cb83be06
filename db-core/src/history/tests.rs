use bson::{Document, doc};

use super::*;
use crate::{Database, ErrorKind, Store};

fn database() -> Database {
    Store::in_memory().unwrap().create_database("test").unwrap()
}

fn whose(blame: &Blame) -> Vec<(&str, &str, u64)> {
    let seq = |path: &PathBlame| path.author.as_ref().map_or(u64::MAX, |author| author.seq);
    blame.paths.iter().map(|path| (path.path.as_str(), path.kind, seq(path))).collect()
}

#[test]
fn each_field_is_its_last_writers() {
    let database = database();
    let films = database.collection::<Document>("films");
    films.insert_one(doc! { "_id": 1, "a": { "b": 1, "c": 1 }, "n": 1, "l": [1], "s": "x" }).run().unwrap();
    films.insert_one(doc! { "_id": 2, "s": "other" }).run().unwrap();
    films.update_one(doc! { "_id": 1 }, doc! { "$set": { "a.b": 2 } }).run().unwrap();
    films.update_one(doc! { "s": "x" }, doc! { "$inc": { "n": 1 }, "$push": { "l": 2 } }).run().unwrap();
    films.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 7 } }).run().unwrap();
    films.update_one(doc! { "_id": 1 }, doc! { "$inc": { "n": 1 } }).run().unwrap();
    let blame = films.blame(1, u64::MAX).unwrap();
    assert!(blame.is_complete);
    assert_eq!(
        whose(&blame),
        [
            ("_id", "insert", 0),
            ("a.b", "update", 2),
            ("a.c", "insert", 0),
            ("n", "update", 5),
            ("l", "update", 3),
            ("s", "insert", 0)
        ]
    );
    assert_eq!(films.blame(9, u64::MAX).unwrap_err().kind(), ErrorKind::NotFound);
    let short = films.blame(1, 2).unwrap();
    assert!(!short.is_complete && short.scanned == 2);
    assert!(short.paths.iter().filter(|path| path.author.is_some()).all(|path| path.path == "n"));
}

#[test]
fn an_upsert_is_told_as_what_it_was() {
    let database = database();
    let films = database.collection::<Document>("films");
    let upsert = |title: &str| {
        films
            .update_one(doc! { "_id": 1 }, doc! { "$set": { "t": title }, "$setOnInsert": { "n": 1 } })
            .upsert(true)
    };
    upsert("a").run().unwrap();
    upsert("b").run().unwrap();
    let blame = films.blame(1, u64::MAX).unwrap();
    assert_eq!(whose(&blame)[1..], [("n", "upsert", 0), ("t", "update", 1)]);
}

#[test]
fn the_history_goes_back_page_by_page_through_renames_and_rejections() {
    let database = database();
    let films = database.collection::<Document>("films");
    films.insert_one(doc! { "_id": 1, "n": 0 }).run().unwrap();
    for number in 0..5 {
        films.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": number } }).run().unwrap();
        films.insert_one(doc! { "_id": format!("other {number}") }).run().unwrap();
    }
    database.rename_collection("films", "movies", false).run().unwrap();
    let movies = database.collection::<Document>("movies");
    movies.delete_one(doc! { "_id": 1 }).run().unwrap();
    movies.insert_one(doc! { "_id": 1, "again": true }).run().unwrap();
    let all = movies.history(1, &HistoryRange { limit: 100, ..HistoryRange::default() }).unwrap();
    let kinds: Vec<&str> = all.changes.iter().map(|change| change.kind).collect();
    let updates = ["update"; 5];
    assert_eq!(kinds, [&["insert", "delete", "renameCollection"][..], &updates, &["insert"]].concat());
    assert_eq!(all.next, None);
    assert!(all.changes.iter().all(|change| change.outcome == ChangeOutcome::Applied));
    assert_eq!(all.changes[4].paths, ["n"]);
    assert_eq!((all.changes[0].collection.as_str(), all.changes[8].collection.as_str()), ("movies", "films"));

    let (mut paged, mut from) = (Vec::new(), None);
    loop {
        let page = movies.history(1, &HistoryRange { from, limit: 2, scan_limit: 3 }).unwrap();
        assert!(page.scanned <= 3 && page.changes.len() <= 2);
        paged.extend(page.changes);
        let Some(next) = page.next else { break };
        from = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(paged, all.changes);
    for wrong in ["", "x", "1", "x:films", &format!("1:{}", "n".repeat(121))] {
        assert!(wrong.parse::<HistoryCursor>().is_err(), "{wrong}");
    }
}

#[test]
fn no_call_looks_at_more_entries_than_it_may_whatever_is_asked_for() {
    let database = database();
    let films = database.collection::<Document>("films");
    films.insert_one(doc! { "_id": 1, "first": true }).run().unwrap();
    let many = limits::HISTORY_SCAN_ENTRIES_MAX + 20;
    for n in 0..many {
        films.insert_one(doc! { "_id": n.to_string() }).run().unwrap();
    }
    let range = HistoryRange { scan_limit: u64::MAX, ..HistoryRange::default() };
    let page = films.history(1, &range).unwrap();
    assert_eq!((page.changes.len(), page.scanned), (0, limits::HISTORY_SCAN_ENTRIES_MAX));
    let rest = films.history(1, &HistoryRange { from: page.next, ..range }).unwrap();
    assert_eq!((rest.changes.len(), rest.next), (1, None));
    let blame = films.blame(1, u64::MAX).unwrap();
    assert!(!blame.is_complete && blame.scanned == limits::HISTORY_SCAN_ENTRIES_MAX);
    assert_eq!(
        films.history(1, &HistoryRange { scan_limit: 0, ..HistoryRange::default() }).unwrap().scanned,
        1
    );
}
