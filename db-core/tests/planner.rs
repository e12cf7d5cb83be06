//! What finds read, by indexes of every kind, through the public API: each answer is compared with that of a full scan.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::collections::BTreeSet;

use bson::{Bson, Document, doc};
use db_core::{Collection, Find, Hint, IndexModel, Store};

fn films(indexes: &[Document]) -> Collection<Document> {
    let films = Store::in_memory().unwrap().create_database("test").unwrap().collection("films");
    let models = indexes.iter().cloned().map(IndexModel::new);
    films.create_indexes(models).run().unwrap();
    let documents = (0..1000_i32).map(|n| {
        doc! {
            "_id": n, "a": n % 100, "b": n % 10, "c": 1000 - n, "group": n % 4, "tags": [n % 7, 10 + n % 5],
            "o": { "x": n % 50 }, "s": format!("s{}", n % 50),
        }
    });
    films.insert_many(documents.collect::<Vec<_>>()).run().unwrap();
    films
}

struct Read {
    keys: i64,
    documents: i64,
    returned: i64,
    stages: Vec<String>,
}

/// The names of the stages, the outermost first.
fn stages(stage: &Document, names: &mut Vec<String>) {
    names.push(stage.get_str("stage").unwrap().to_owned());
    if let Ok(inner) = stage.get_document("inputStage") {
        stages(inner, names);
    }
    for inner in stage.get_array("inputStages").into_iter().flatten() {
        stages(inner.as_document().unwrap(), names);
    }
}

fn read(find: Find<Document>) -> Read {
    let explained = find.explain().unwrap();
    let stats = explained.get_document("executionStats").unwrap();
    let number = |name: &str| stats.get_i64(name).unwrap();
    let mut names = Vec::new();
    stages(explained.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap(), &mut names);
    Read {
        keys: number("totalKeysExamined"),
        documents: number("totalDocsExamined"),
        returned: number("nReturned"),
        stages: names,
    }
}

fn ids(find: Find<Document>) -> Vec<i32> {
    find.run().unwrap().map(|document| document.unwrap().get_i32("_id").unwrap()).collect()
}

#[track_caller]
fn assert_same(films: &Collection<Document>, filter: &Document) {
    let found = ids(films.find(filter.clone()));
    let scanned = ids(films.find(filter.clone()).hint(Hint::Keys(doc! { "$natural": 1 })));
    let distinct: BTreeSet<i32> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "a document came twice: {filter}");
    assert_eq!(distinct, scanned.into_iter().collect(), "{filter}");
    assert_eq!(films.count_documents(filter.clone()).run().unwrap(), found.len() as u64, "{filter}");
}

#[test]
fn equality_reads_what_it_returns() {
    let films = films(&[doc! { "a": 1 }]);
    let found = read(films.find(doc! { "a": 5 }));
    assert_eq!((found.keys, found.documents, found.returned), (10, 10, 10));
    assert_eq!(found.stages, ["FETCH", "IXSCAN"]);
}

#[test]
fn a_sort_with_a_limit_reads_what_it_returns_and_rejects() {
    let films = films(&[doc! { "c": 1 }, doc! { "b": 1, "c": 1 }]);
    let found = read(films.find(doc! {}).sort(doc! { "c": -1 }).limit(20));
    assert_eq!((found.keys, found.returned), (20, 20));
    assert_eq!(found.stages, ["LIMIT", "FETCH", "IXSCAN"]);
    let found = read(films.find(doc! { "b": { "$in": [1, 4, 7] } }).sort(doc! { "c": 1 }).limit(20));
    assert_eq!((found.returned, found.documents), (20, 20));
    assert_eq!(found.stages, ["LIMIT", "FETCH", "SORT_MERGE", "IXSCAN"]);
    let merged = ids(films.find(doc! { "b": { "$in": [1, 4, 7] } }).sort(doc! { "c": 1 }).limit(4));
    assert_eq!(merged, [997, 994, 991, 987]);
}

#[test]
fn alternatives_are_merged_in_the_order_of_a_sort() {
    let films = films(&[doc! { "a": 1, "c": 1 }, doc! { "b": 1, "c": 1 }]);
    let find = || films.find(doc! { "$or": [{ "a": 7 }, { "b": 7 }] }).sort(doc! { "c": -1 });
    let found = read(find().limit(12));
    assert!(found.keys < 20, "{} keys", found.keys);
    assert_eq!(found.stages, ["LIMIT", "SORT_MERGE", "FETCH", "IXSCAN", "FETCH", "IXSCAN"]);
    assert_eq!(ids(find().limit(3)), [7, 17, 27]);
    assert_eq!(ids(find()).len(), 100);
    assert_same(&films, &doc! { "$or": [{ "a": 7 }, { "b": 7 }, { "_id": 3 }] });
}

#[test]
fn two_indexes_are_intersected() {
    let films = films(&[doc! { "b": 1 }, doc! { "group": 1 }]);
    let found = read(films.find(doc! { "b": 3, "group": 3 }));
    assert_eq!((found.documents, found.returned), (50, 50));
    assert_eq!(found.stages, ["FETCH", "AND_SORTED", "IXSCAN", "IXSCAN"]);
    assert_same(&films, &doc! { "b": 3, "group": 3 });
    assert_same(&films, &doc! { "b": 3, "group": 2 });
    assert_same(&films, &doc! { "b": 3, "group": 3, "c": { "$gt": 500 } });
}

#[test]
fn the_index_with_fewer_keys_is_taken() {
    let films = films(&[doc! { "group": 1 }, doc! { "c": 1 }]);
    let found = read(films.find(doc! { "group": 1, "c": { "$gt": 500, "$lt": 510 } }));
    assert_eq!((found.keys, found.returned), (9, 2));
}

#[test]
fn covered_finds_and_counts_fetch_nothing() {
    let films = films(&[doc! { "a": 1 }, doc! { "b": 1 }]);
    let found = read(films.find(doc! { "a": 5 }).projection(doc! { "_id": 0, "a": 1 }));
    assert_eq!((found.documents, found.returned), (0, 10));
    assert_eq!(found.stages, ["PROJECTION_COVERED", "IXSCAN"]);
    let explained = films.count_documents(doc! { "$or": [{ "a": 5 }, { "b": 4 }] }).explain().unwrap();
    let stats = explained.get_document("executionStats").unwrap();
    assert_eq!(stats.get_i64("totalDocsExamined").unwrap(), 0);
    assert_eq!(stats.get_i64("nReturned").unwrap(), 110);
    assert_eq!(films.count_documents(doc! {}).skip(10).limit(20).run().unwrap(), 20);
    assert_eq!(films.count_documents(doc! {}).run().unwrap(), 1000);
}

#[test]
fn what_an_index_covers_is_sorted_by_what_it_does_not_hold() {
    let films = films(&[doc! { "b": 1 }]);
    let find =
        films.find(doc! { "b": { "$gt": 7 } }).projection(doc! { "_id": 0, "b": 1 }).sort(doc! { "c": 1 });
    let found: Vec<i32> =
        find.limit(3).run().unwrap().map(|found| found.unwrap().get_i32("b").unwrap()).collect();
    assert_eq!(found, [9, 8, 9]);
}

#[test]
fn every_kind_of_index_gives_what_a_scan_gives() {
    let kinds = [
        doc! { "a": "hashed" },
        doc! { "$**": 1 },
        doc! { "o.$**": 1 },
        doc! { "tags": 1, "b": -1 },
        doc! { "b": 1, "c": -1 },
        doc! { "s": -1 },
    ];
    let films = films(&kinds);
    let conditions = [
        doc! { "a": 5 },
        doc! { "a": { "$in": [1, 2, 3] } },
        doc! { "o.x": { "$gte": 48 } },
        doc! { "tags": { "$gt": 12 } },
        doc! { "tags": { "$elemMatch": { "$gt": 2, "$lt": 4 } } },
        doc! { "c": { "$lt": 30 } },
        doc! { "s": { "$regex": "^s4" } },
        doc! { "nowhere": Bson::Null },
        doc! { "b": { "$ne": 4 } },
    ];
    for (place, one) in conditions.iter().enumerate() {
        assert_same(&films, one);
        for other in conditions.iter().skip(place + 1) {
            assert_same(&films, &doc! { "$and": [one.clone(), other.clone()] });
            assert_same(&films, &doc! { "$or": [one.clone(), other.clone()] });
        }
    }
    let name = |keys: &Document| {
        let names = keys
            .iter()
            .map(|(path, kind)| format!("{path}_{}", kind.as_str().map_or(kind.to_string(), str::to_owned)));
        names.collect::<Vec<_>>().join("_")
    };
    for keys in &kinds {
        let hinted = films.find(doc! { "o.x": 7, "a": 7 }).hint(Hint::Name(name(keys)));
        assert_eq!(
            ids(hinted).into_iter().collect::<BTreeSet<_>>(),
            (7..1000).step_by(100).collect(),
            "{keys}"
        );
    }
}

#[test]
fn an_explanation_names_what_was_not_taken() {
    let films = films(&[doc! { "a": 1 }, doc! { "c": 1 }]);
    let explained = films.find(doc! { "a": 5, "c": 995 }).explain().unwrap();
    let planner = explained.get_document("queryPlanner").unwrap();
    assert!(!planner.get_array("rejectedPlans").unwrap().is_empty());
    assert_eq!(planner.get_str("namespace").unwrap(), "test.films");
}
