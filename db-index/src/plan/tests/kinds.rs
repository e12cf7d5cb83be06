//! Which kind of index answers what, and which of several is taken.

use bson::{RawDocumentBuf, rawdoc};

use super::*;

/// A thousand documents like those of [`numbers`], with one more field.
fn collection(definitions: Vec<IndexDefinition>) -> Collection {
    let mut collection = Collection::with_indexes(definitions);
    for n in 0..1000 {
        collection.insert(rawdoc! {
            "_id": n, "a": n % 100, "b": n % 10, "c": n, "rare": n / 250, "o": { "x": n % 50, "t": [n % 3, n % 7] },
        });
    }
    collection
}

#[derive(Debug)]
struct Read {
    keys: usize,
    documents: usize,
    found: usize,
    stages: Vec<String>,
}

#[track_caller]
fn read(collection: &Collection, filter: &RawDocumentBuf, sort: &RawDocumentBuf, limit: Option<u64>) -> Read {
    let (filter, sort, infos) =
        (Filter::parse(filter).unwrap(), Sort::parse(sort).unwrap(), collection.infos());
    let request = PlanRequest {
        limit,
        counts: Some(collection),
        ..request(&filter, &sort, &infos, collection.documents.len())
    };
    let plan = Plan::new(&request).unwrap();
    let answer = collection.run(&plan, &request);
    check_answer(collection, &request, &answer).unwrap();
    Read {
        keys: answer.keys_examined,
        documents: answer.documents_examined,
        found: answer.documents.len(),
        stages: stages(&plan.explain(&request)),
    }
}

impl KeyCounts for Collection {
    fn count(&self, source: Source, range: &KeyRange, most: usize) -> Option<usize> {
        let inside = |key: &&Vec<u8>| **key >= range.start && range.end.as_ref().is_none_or(|end| *key < end);
        Some(match source {
            Source::Documents => self.documents.keys().filter(inside).take(most).count(),
            Source::Index(place) => self.indexes[place].entries.keys().filter(inside).take(most).count(),
        })
    }
}

#[test]
fn a_hashed_index_answers_equality_alone() {
    let collection = collection(vec![index_on(&rawdoc! { "a": "hashed", "c": 1 })]);
    let found = read(&collection, &rawdoc! { "a": 5.0 }, &rawdoc! {}, None);
    assert_eq!((found.keys, found.found), (10, 10));
    let found = read(&collection, &rawdoc! { "a": { "$in": [5, 6] } }, &rawdoc! {}, None);
    assert_eq!((found.keys, found.found), (20, 20));
    let found = read(&collection, &rawdoc! { "a": 5 }, &rawdoc! { "c": -1 }, Some(3));
    assert_eq!((found.keys, found.stages), (3, vec!["FETCH".to_owned(), "IXSCAN".to_owned()]));
    let found = read(&collection, &rawdoc! { "a": { "$gt": 97 } }, &rawdoc! {}, None);
    assert_eq!((found.keys, found.stages), (1000, vec!["COLLSCAN".to_owned()]));
}

#[test]
fn a_wildcard_index_answers_for_one_path() {
    let collection = collection(vec![index_on(&rawdoc! { "$**": 1 })]);
    for (filter, keys) in [
        (rawdoc! { "a": 5 }, 10),
        (rawdoc! { "o.x": { "$lt": 2 } }, 40),
        (rawdoc! { "o.t": 6 }, 142),
        (rawdoc! { "a": 5, "c": 105 }, 1),
        (rawdoc! { "nowhere": { "$exists": true } }, 0),
        (rawdoc! { "nowhere": 1 }, 0),
        (rawdoc! { "$or": [{ "a": 5, "b": 5 }, { "c": 7 }] }, 11),
        (rawdoc! { "_id": { "$gt": 997 } }, 2),
    ] {
        let found = read(&collection, &filter, &rawdoc! {}, None);
        assert_eq!(found.keys, keys, "{filter:?} {found:?}");
    }
    for filter in [
        rawdoc! { "a": bson::RawBson::Null },
        rawdoc! { "a": { "$ne": 5 } },
        rawdoc! { "a": { "$exists": false } },
        rawdoc! { "o": { "x": 1, "t": [1, 1] } },
        rawdoc! { "o.t.0": 1 },
    ] {
        let found = read(&collection, &filter, &rawdoc! {}, None);
        assert_eq!(found.stages, ["COLLSCAN"], "{filter:?}");
    }
}

#[test]
fn a_compound_wildcard_index_answers_by_its_other_fields_too() {
    let projection = rawdoc! { "wildcardProjection": { "b": 0 } };
    let definition = IndexDefinition::parse(&rawdoc! { "b": 1, "$**": 1 }, &projection).unwrap();
    let mut collection = Collection::with_indexes(vec![definition]);
    for n in 0..1000 {
        collection.insert(rawdoc! { "_id": n, "a": n % 100, "b": n % 10, "c": n });
    }
    let found = read(&collection, &rawdoc! { "b": 5, "a": 5 }, &rawdoc! {}, None);
    assert_eq!((found.keys, found.found), (10, 10));
    let found = read(&collection, &rawdoc! { "b": 5, "c": { "$gt": 500 } }, &rawdoc! { "c": 1 }, Some(4));
    assert_eq!((found.keys, found.found), (4, 4));
}

#[test]
fn a_hint_at_a_wildcard_index_that_cannot_answer_is_refused() {
    let collection = collection(vec![index_on(&rawdoc! { "$**": 1 })]);
    let (sort, infos) = (Sort::default(), collection.infos());
    let hint = Hint::Name("$**_1".to_owned());
    for (filter, code) in [
        (rawdoc! {}, Some(291)),
        (rawdoc! { "a": bson::RawBson::Null }, Some(291)),
        (rawdoc! { "a": { "$exists": true } }, None),
        (rawdoc! { "$or": [{ "a": 1 }, { "b": 2, "c": 2 }] }, None),
    ] {
        let filter = Filter::parse(&filter).unwrap();
        let request = PlanRequest { hint: Some(&hint), ..request(&filter, &sort, &infos, 1000) };
        let plan = Plan::new(&request);
        assert_eq!(plan.as_ref().err().map(|error| error.code.0), code, "{:?}", request.filter);
        if let Ok(plan) = plan {
            check_answer(&collection, &request, &collection.run(&plan, &request)).unwrap();
        }
    }
}

#[test]
fn keys_are_counted_before_one_of_several_indexes_is_taken() {
    // By its bounds alone either would do: `rare` is equal to one value, `c` is in a range.
    let indexes = vec![index_on(&rawdoc! { "rare": 1 }), index_on(&rawdoc! { "c": 1 })];
    let found = read(
        &collection(indexes),
        &rawdoc! { "rare": 1, "c": { "$gt": 250, "$lt": 255 } },
        &rawdoc! {},
        None,
    );
    assert_eq!((found.keys, found.documents), (4, 4));
}

#[test]
fn two_indexes_are_intersected_where_each_finds_too_much() {
    let indexes = vec![index_on(&rawdoc! { "b": 1 }), index_on(&rawdoc! { "rare": 1 })];
    let found = read(&collection(indexes), &rawdoc! { "b": 3, "rare": 2 }, &rawdoc! { "c": -1 }, Some(5));
    assert_eq!((found.keys, found.documents, found.found), (350, 25, 5));
    assert_eq!(found.stages, ["SORT", "FETCH", "AND_SORTED"]);
}

#[test]
fn a_unique_index_needs_no_choice() {
    let unique = IndexDefinition::parse(&rawdoc! { "c": 1 }, &rawdoc! { "unique": true }).unwrap();
    let collection = collection(vec![index_on(&rawdoc! { "a": 1 }), unique]);
    let found = read(&collection, &rawdoc! { "a": 5, "c": 105 }, &rawdoc! { "b": 1 }, None);
    assert_eq!((found.keys, found.documents, found.found), (1, 1, 1));
    assert_eq!(found.stages, ["FETCH", "IXSCAN"]);
}

#[test]
fn alternatives_in_the_order_of_the_sort_are_merged() {
    let indexes = vec![index_on(&rawdoc! { "a": 1, "c": 1 }), index_on(&rawdoc! { "b": 1, "c": 1 })];
    let collection = collection(indexes);
    let filter = rawdoc! { "$or": [{ "a": 7 }, { "b": 3 }] };
    let (sort, infos) = (Sort::parse(&rawdoc! { "c": -1 }).unwrap(), collection.infos());
    let filter = Filter::parse(&filter).unwrap();
    let request = PlanRequest { limit: Some(10), ..request(&filter, &sort, &infos, 1000) };
    let plan = Plan::new(&request).unwrap();
    assert_eq!((plan.combination, plan.sorts, plan.branches.len()), (Combination::Merge, false, 2));
    check_answer(&collection, &request, &collection.run(&plan, &request)).unwrap();
    assert_eq!(stages(&plan.explain(&request)), ["SORT_MERGE"]);
}

#[test]
fn what_is_sorted_afterwards_is_not_answered_without_its_keys() {
    let collection = collection(vec![index_on(&rawdoc! { "b": 1 })]);
    let (filter, infos) = (Filter::parse(&rawdoc! { "b": { "$gt": 7 } }).unwrap(), collection.infos());
    let sort = Sort::parse(&rawdoc! { "c": -1 }).unwrap();
    let fields = ["b"];
    let request = PlanRequest { output: Output::Fields(&fields), ..request(&filter, &sort, &infos, 1000) };
    let plan = Plan::new(&request).unwrap();
    assert!(plan.sorts && !plan.is_covered());
}

#[test]
fn an_explanation_tells_what_was_not_taken() {
    let collection = collection(vec![index_on(&rawdoc! { "a": 1 }), index_on(&rawdoc! { "c": 1 })]);
    let (filter, infos) = (Filter::parse(&rawdoc! { "a": 5, "c": 105 }).unwrap(), collection.infos());
    let sort = Sort::default();
    let request = request(&filter, &sort, &infos, 1000);
    let explained = Plan::new(&request).unwrap().explain(&request);
    let rejected = explained.get_array("rejectedPlans").unwrap();
    assert_eq!(rejected.len(), 2, "{rejected:?}"); // the other index, and both of them
}
