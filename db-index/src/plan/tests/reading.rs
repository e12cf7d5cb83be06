//! What plans read for questions of many kinds, and how they are explained.

use bson::{RawBson, rawdoc};

use super::*;

#[test]
fn equality_examines_what_it_returns_and_tests_nothing_more() {
    let asked = ask(&[rawdoc! { "a": 1 }], &rawdoc! { "a": 5 }, &rawdoc! {}, None);
    assert_eq!((asked.answer.keys_examined, asked.answer.documents_examined), (10, 10));
    assert!(!asked.plan.branches[0].tests_documents && asked.plan.branches[0].key_filter.is_none());
    assert_eq!(stages(&asked.explained), ["FETCH", "IXSCAN"]);
    assert_eq!(index_bounds(&asked.explained), r#"{ "a": ["[5, 5]"] }"#);
}

#[test]
fn a_point_on_id_reads_one_document() {
    let asked = ask(&[rawdoc! { "a": 1 }], &rawdoc! { "_id": 7, "a": 7 }, &rawdoc! {}, None);
    assert_eq!(asked.answer.documents_examined, 1);
    assert_eq!(stages(&asked.explained), ["IDHACK"]);
    let asked = ask(&[], &rawdoc! { "_id": { "$gte": 10, "$lt": 20 } }, &rawdoc! { "_id": -1 }, Some(3));
    assert_eq!(asked.answer.documents_examined, 3);
    assert!(!asked.plan.sorts);
    assert_eq!(index_bounds(&asked.explained), r#"{ "_id": ["(20, 10]"] }"#);
}

#[test]
fn without_an_index_everything_is_read_and_sorted() {
    let asked = ask(&[], &rawdoc! { "a": 5 }, &rawdoc! { "c": 1 }, None);
    assert_eq!(asked.answer.documents_examined, 1000);
    assert_eq!(stages(&asked.explained), ["SORT", "COLLSCAN"]);
}

#[test]
fn ranges_bound_both_ends_where_a_field_has_one_value() {
    let asked = ask(&[rawdoc! { "c": -1 }], &rawdoc! { "c": { "$gt": 10, "$lte": 15 } }, &rawdoc! {}, None);
    assert_eq!((asked.answer.keys_examined, asked.answer.documents_examined), (5, 5));
    assert_eq!(index_bounds(&asked.explained), r#"{ "c": ["[15, 10)"] }"#);
    let asked = ask(&[rawdoc! { "c": 1 }], &rawdoc! { "c": { "$gt": 990 } }, &rawdoc! {}, None);
    assert_eq!(index_bounds(&asked.explained), r#"{ "c": ["(990, inf]"] }"#);
    assert_eq!(asked.answer.keys_examined, 10);
}

#[test]
fn a_sort_is_served_in_either_direction() {
    for (direction, expected) in [(1, "forward"), (-1, "backward")] {
        let asked = ask(&[rawdoc! { "c": 1 }], &rawdoc! {}, &rawdoc! { "c": direction }, Some(20));
        assert_eq!(asked.answer.keys_examined, 20);
        assert!(!asked.plan.sorts);
        let scan = winning(&asked.explained).get_document("inputStage").unwrap();
        assert_eq!(scan.get_str("direction").unwrap(), expected);
    }
}

#[test]
fn a_sort_is_served_after_an_equality_prefix() {
    let index = [rawdoc! { "b": 1, "c": 1 }];
    let asked = ask(&index, &rawdoc! { "b": 3 }, &rawdoc! { "c": -1 }, Some(5));
    assert_eq!(asked.answer.keys_examined, 5);
    let asked = ask(&index, &rawdoc! { "b": 3 }, &rawdoc! { "b": -1, "c": 1 }, Some(5));
    assert_eq!((asked.answer.keys_examined, asked.plan.sorts), (5, false));
    let asked = ask(&index, &rawdoc! {}, &rawdoc! { "b": 1, "c": -1 }, Some(5));
    assert!(asked.plan.sorts);
    let asked = ask(&index, &rawdoc! {}, &rawdoc! { "b": -1, "c": -1, "_id": -1 }, Some(5));
    assert_eq!((asked.answer.keys_examined, asked.plan.sorts), (5, false));
}

#[test]
fn a_sort_behind_a_list_of_values_merges_runs() {
    let asked = ask(
        &[rawdoc! { "b": 1, "c": 1 }],
        &rawdoc! { "b": { "$in": [1, 4, 7] } },
        &rawdoc! { "c": 1 },
        Some(10),
    );
    assert!(!asked.plan.sorts);
    assert_eq!(asked.plan.branches[0].runs.len(), 3);
    assert_eq!(asked.answer.keys_examined, 10);
    assert_eq!(stages(&asked.explained), ["FETCH", "SORT_MERGE", "IXSCAN"]);
}

#[test]
fn keys_are_tested_before_documents_are_fetched() {
    let index = [rawdoc! { "a": 1, "b": 1, "s": 1 }];
    let filter = rawdoc! { "a": { "$gte": 50, "$lt": 60 }, "b": 3, "s": { "$regex": "3$" } };
    let asked = ask(&index, &filter, &rawdoc! {}, None);
    assert_eq!(asked.answer.keys_examined, 100);
    assert_eq!(asked.answer.documents_examined, asked.answer.documents.len());
    assert!(!asked.answer.documents.is_empty());
}

#[test]
fn string_prefixes_bound_regular_expressions() {
    let asked = ask(&[rawdoc! { "s": 1 }], &rawdoc! { "s": { "$regex": "^s1" } }, &rawdoc! {}, None);
    assert_eq!((asked.answer.keys_examined, asked.answer.documents.len()), (220, 220));
    assert_eq!(index_bounds(&asked.explained), r#"{ "s": ["["s1", "s2")", "[//, DBPointer)"] }"#);
}

#[test]
fn lists_are_bounded_by_one_condition_only() {
    let index = [rawdoc! { "t": 1 }];
    let asked = ask(&index, &rawdoc! { "t": { "$gt": 5, "$lt": 11 } }, &rawdoc! {}, None);
    assert!(asked.plan.deduplicates);
    let asked = ask(&index, &rawdoc! { "t": { "$elemMatch": { "$gt": 5, "$lt": 11 } } }, &rawdoc! {}, None);
    assert_eq!(index_bounds(&asked.explained), r#"{ "t": ["(5, 11)"] }"#);
    let asked = ask(&index, &rawdoc! { "t": 3 }, &rawdoc! {}, None);
    assert!(!asked.plan.deduplicates && !asked.plan.branches[0].tests_documents);
}

#[test]
fn one_element_bounds_several_fields_together() {
    let mut collection = Collection::with_indexes(vec![index_on(&rawdoc! { "a.x": 1, "a.y": 1 })]);
    for n in 0..100 {
        collection.insert(rawdoc! { "_id": n, "a": [{ "x": n % 10, "y": n / 10 }, { "x": 1, "y": 50 }] });
    }
    for (filter, expected) in [
        (rawdoc! { "a": { "$elemMatch": { "x": 3, "y": 4 } } }, 1),
        (rawdoc! { "a.x": 3, "a.y": 4 }, 10), // may be met by two elements: bounded by x alone
    ] {
        let (filter, sort, infos) = (Filter::parse(&filter).unwrap(), Sort::default(), collection.infos());
        let request = request(&filter, &sort, &infos, 100);
        let plan = Plan::new(&request).unwrap();
        let answer = collection.run(&plan, &request);
        assert_eq!(answer.keys_examined, expected);
        assert_eq!(answer.documents.len(), 1);
    }
}

#[test]
fn alternatives_take_an_index_each() {
    let indexes = [rawdoc! { "a": 1 }, rawdoc! { "c": 1 }];
    let asked = ask(
        &indexes,
        &rawdoc! { "$or": [{ "a": 5 }, { "c": { "$gt": 995 } }, { "_id": 3 }] },
        &rawdoc! { "c": 1 },
        None,
    );
    assert_eq!(asked.plan.branches.len(), 3);
    assert!(asked.answer.keys_examined < 20);
    assert_eq!(stages(&asked.explained), ["SORT", "OR"]);
    let asked = ask(&indexes, &rawdoc! { "$or": [{ "a": 5 }, { "a": 7 }] }, &rawdoc! {}, None);
    assert_eq!((asked.plan.branches.len(), asked.answer.keys_examined), (1, 20));
    let asked = ask(&indexes, &rawdoc! { "$or": [{ "a": 5 }, { "b": 7 }] }, &rawdoc! {}, None);
    assert!(!asked.plan.uses_index());
}

#[test]
fn contradictions_read_nothing() {
    let asked = ask(&[rawdoc! { "a": 1 }], &rawdoc! { "a": { "$gt": 5, "$lt": 5 } }, &rawdoc! {}, None);
    assert_eq!((asked.answer.keys_examined, asked.answer.documents_examined), (0, 0));
    assert_eq!(stages(&asked.explained), ["EOF"]);
}

#[test]
fn covered_questions_fetch_nothing() {
    let collection = numbers(&[rawdoc! { "a": 1, "c": -1 }]);
    let (filter, sort) =
        (Filter::parse(&rawdoc! { "a": 5, "c": { "$mod": [2, 1] } }).unwrap(), Sort::default());
    let infos = collection.infos();
    let request =
        PlanRequest { output: Output::Fields(&["_id", "c"]), ..request(&filter, &sort, &infos, 1000) };
    let plan = Plan::new(&request).unwrap();
    let answer = collection.run(&plan, &request);
    assert_eq!(answer.documents_examined, 0);
    assert_eq!(answer.documents[0], rawdoc! { "_id": 5, "c": 995 });
    assert_eq!(stages(&plan.explain(&request)), ["PROJECTION_COVERED", "IXSCAN"]);
    let counting = PlanRequest { output: Output::Count, ..request };
    assert!(Plan::new(&counting).unwrap().branches[0].covered);
}

#[test]
fn hints_are_followed_or_refused() {
    let collection = numbers(&[rawdoc! { "a": 1 }, rawdoc! { "c": 1 }]);
    let (filter, sort) = (Filter::parse(&rawdoc! { "a": 5 }).unwrap(), Sort::default());
    let infos = collection.infos();
    let plan_for = |hint: RawBson| {
        let hint = Hint::parse(hint.as_raw_bson_ref())?;
        let request = PlanRequest { hint: Some(&hint), ..request(&filter, &sort, &infos, 1000) };
        let plan = Plan::new(&request)?;
        check_answer(&collection, &request, &collection.run(&plan, &request)).unwrap();
        Ok::<_, QueryError>(plan)
    };
    assert_eq!(plan_for("c_1".into()).unwrap().branches[0].source, Source::Index(1));
    assert_eq!(plan_for(rawdoc! { "a": 1 }.into()).unwrap().branches[0].source, Source::Index(0));
    assert_eq!(plan_for("_id_".into()).unwrap().branches[0].source, Source::Documents);
    let natural = plan_for(rawdoc! { "$natural": -1 }.into()).unwrap();
    assert_eq!((natural.uses_index(), natural.branches[0].direction), (false, ScanDirection::Backward));
    assert_eq!(plan_for("b_1".into()).unwrap_err().code, ErrorCode::BAD_VALUE);
    assert_eq!(plan_for(rawdoc! { "a": -1 }.into()).unwrap_err().code, ErrorCode::BAD_VALUE);
    assert_eq!(plan_for(RawBson::Int32(1)).unwrap_err().code, ErrorCode::FAILED_TO_PARSE);
}

#[test]
fn a_sparse_index_is_left_alone_where_it_would_lose_documents() {
    let sparse = IndexDefinition::parse(&rawdoc! { "x": 1 }, &rawdoc! { "sparse": true }).unwrap();
    let mut collection = Collection::with_indexes(vec![sparse]);
    for n in 0..100 {
        collection.insert(rawdoc! { "_id": n });
        collection.insert(rawdoc! { "_id": n + 100, "x": n });
    }
    for (filter, sort, uses_index) in [
        (rawdoc! { "x": 5 }, rawdoc! {}, true),
        (rawdoc! { "x": null }, rawdoc! {}, false),
        (rawdoc! { "x": { "$ne": 5 } }, rawdoc! {}, false),
        (rawdoc! {}, rawdoc! { "x": 1 }, false),
        (rawdoc! { "x": { "$exists": true } }, rawdoc! { "x": 1 }, true),
        (rawdoc! { "x": { "$exists": false } }, rawdoc! {}, false),
    ] {
        let (filter, sort, infos) =
            (Filter::parse(&filter).unwrap(), Sort::parse(&sort).unwrap(), collection.infos());
        let request = request(&filter, &sort, &infos, 200);
        let plan = Plan::new(&request).unwrap();
        assert_eq!(plan.uses_index(), uses_index, "{:?}", request.filter);
        check_answer(&collection, &request, &collection.run(&plan, &request)).unwrap();
    }
}

#[test]
fn a_partial_index_is_used_where_the_filter_implies_its_own() {
    let partial = rawdoc! { "partialFilterExpression": { "c": { "$gt": 500 } } };
    let definition = IndexDefinition::parse(&rawdoc! { "a": 1 }, &partial).unwrap();
    let hidden = IndexDefinition::parse(&rawdoc! { "b": 1 }, &rawdoc! { "hidden": true }).unwrap();
    let mut collection = Collection::with_indexes(vec![definition, hidden]);
    for n in 0..1000 {
        collection.insert(rawdoc! { "_id": n, "a": n % 100, "b": n % 10, "c": n });
    }
    for (filter, keys) in [
        (rawdoc! { "a": 5, "c": { "$gt": 500 } }, 5),
        (rawdoc! { "a": 5, "c": { "$gt": 900 } }, 5),
        (rawdoc! { "a": 5, "c": { "$gt": 400 } }, 1000),
        (rawdoc! { "a": 5 }, 1000),
        (rawdoc! { "b": 5 }, 1000),
    ] {
        let (filter, sort, infos) = (Filter::parse(&filter).unwrap(), Sort::default(), collection.infos());
        let request = request(&filter, &sort, &infos, 1000);
        let plan = Plan::new(&request).unwrap();
        let answer = collection.run(&plan, &request);
        check_answer(&collection, &request, &answer).unwrap();
        assert_eq!(answer.keys_examined, keys, "{:?}", request.filter);
    }
    let (filter, sort, infos) =
        (Filter::parse(&rawdoc! { "a": 5 }).unwrap(), Sort::default(), collection.infos());
    let hinted = |name: &str| {
        let hint = Hint::Name(name.to_owned());
        let request = PlanRequest { hint: Some(&hint), ..request(&filter, &sort, &infos, 1000) };
        Plan::new(&request).map(|plan| collection.run(&plan, &request).documents.len())
    };
    assert_eq!(hinted("a_1"), Ok(5)); // of 10: a hint may lose documents
    assert_eq!(hinted("b_1").unwrap_err().code, ErrorCode::BAD_VALUE);
}
