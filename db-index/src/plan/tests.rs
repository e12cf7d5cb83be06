use std::collections::{BTreeMap, BTreeSet};

use bson::{RawBson, RawDocumentBuf, raw::CString, rawdoc};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    key::{encode_value, join_types, split_types, trim_types},
    testing::{array_of, document_of, small_document, small_value},
};

mod collation;

/// A collection in memory, read the way that plans say.
#[derive(Default)]
struct Collection {
    documents: BTreeMap<Vec<u8>, RawDocumentBuf>,
    indexes: Vec<Index>,
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for index in &self.indexes {
            writeln!(formatter, "index {} multikey {:?}", index.definition.name(), index.multikey)?;
        }
        for document in self.documents.values() {
            writeln!(formatter, "{}", bson::Document::try_from(&**document).unwrap())?;
        }
        Ok(())
    }
}

struct Index {
    definition: IndexDefinition,
    multikey: MultikeyFields,
    /// Key and key of `_id`: joined types and key of `_id`.
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>)>,
}

/// What reading by a plan gave, and what it took.
#[derive(Debug, Default)]
struct Answer {
    documents: Vec<RawDocumentBuf>,
    keys_examined: usize,
    documents_examined: usize,
}

impl Collection {
    fn with_indexes(definitions: Vec<IndexDefinition>) -> Self {
        let index =
            |definition| Index { definition, multikey: MultikeyFields::default(), entries: BTreeMap::new() };
        Self { documents: BTreeMap::new(), indexes: definitions.into_iter().map(index).collect() }
    }

    /// Inserts a document, unless an index refuses it.
    fn insert(&mut self, document: RawDocumentBuf) {
        let (mut id_key, mut id_types) = (Vec::new(), Vec::new());
        encode_value(document.get("_id").unwrap().unwrap(), Direction::Ascending, &mut id_key, &mut id_types);
        trim_types(&mut id_types);
        let entries = self
            .indexes
            .iter()
            .map(|index| index.definition.entries(&document))
            .collect::<Result<Vec<_>, _>>();
        let Ok(entries) = entries else { return };
        for (index, entries) in self.indexes.iter_mut().zip(entries) {
            index.multikey = index.multikey.union(entries.multikey);
            for entry in entries.entries {
                let key = [entry.key, id_key.clone()].concat();
                index.entries.insert(key, (join_types(&entry.types, &id_types), id_key.clone()));
            }
        }
        self.documents.insert(id_key, document);
    }

    fn infos(&self) -> Vec<IndexInfo<'_>> {
        let info = |index: &'_ Index| index.entries.len() as u64;
        let infos = self.indexes.iter().map(|index| IndexInfo {
            definition: &index.definition,
            multikey: index.multikey,
            entries: info(index),
        });
        infos.collect()
    }

    fn run(&self, plan: &Plan, request: &PlanRequest<'_>) -> Answer {
        let mut answer = Answer::default();
        let mut seen = BTreeSet::new();
        let limit = request.limit.filter(|_| !plan.sorts).map_or(usize::MAX, |limit| limit as usize);
        'read: for branch in &plan.branches {
            for (key, id_key) in self.keys_of(branch) {
                if answer.documents.len() >= limit {
                    break 'read;
                }
                answer.keys_examined += 1;
                let index = match branch.source {
                    Source::Documents => None,
                    Source::Index(place) => Some(&self.indexes[place]),
                };
                let joined = index.map(|index| index.entries[&key].0.as_slice()).unwrap_or_default();
                let (types, id_types) = split_types(joined).unwrap();
                if branch.key_filter.as_ref().is_some_and(|filter| !filter.matches(&key, types).unwrap()) {
                    continue;
                }
                if !seen.insert(id_key.clone()) {
                    assert!(plan.deduplicates, "a document came twice");
                    continue;
                }
                if branch.covered
                    && let (Output::Fields(fields), Some(index)) = (request.output, index)
                {
                    assert!(!branch.tests_documents);
                    answer
                        .documents
                        .push(covered_document(&index.definition, fields, &key, types, id_types).unwrap());
                    continue;
                }
                answer.documents_examined += 1;
                let document = &self.documents[&id_key];
                if !branch.tests_documents || request.filter.matches(document).unwrap() {
                    answer.documents.push(document.clone());
                }
            }
        }
        if plan.sorts {
            answer.documents.sort_by_key(|document| request.sort.key(document).unwrap());
            answer.documents.truncate(request.limit.map_or(usize::MAX, |limit| limit as usize));
        }
        answer
    }

    /// Keys, each with that of its `_id`, in the order in which the branch reads them.
    fn keys_of(&self, branch: &Branch) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut keys = Vec::new();
        for run in &branch.runs {
            for range in &run.ranges {
                let inside =
                    |key: &Vec<u8>| *key >= range.start && range.end.as_ref().is_none_or(|end| key < end);
                let mut found: Vec<(Vec<u8>, Vec<u8>, usize)> = match branch.source {
                    Source::Documents => self
                        .documents
                        .keys()
                        .filter(|key| inside(key))
                        .map(|key| (key.clone(), key.clone(), run.prefix_bytes))
                        .collect(),
                    Source::Index(place) => self.indexes[place]
                        .entries
                        .iter()
                        .filter(|(key, _)| inside(key))
                        .map(|(key, (_, id))| (key.clone(), id.clone(), run.prefix_bytes))
                        .collect(),
                };
                if branch.direction == ScanDirection::Backward {
                    found.reverse();
                }
                keys.extend(found);
            }
        }
        if branch.runs.len() > 1 {
            keys.sort_by(|(a, _, a_prefix), (b, _, b_prefix)| {
                let order = a[*a_prefix..].cmp(&b[*b_prefix..]);
                if branch.direction == ScanDirection::Backward { order.reverse() } else { order }
            });
        }
        keys.into_iter().map(|(key, id, _)| (key, id)).collect()
    }
}

/// A question with the defaults of `find`.
fn request<'a>(
    filter: &'a Filter,
    sort: &'a Sort,
    indexes: &'a [IndexInfo<'a>],
    documents: usize,
) -> PlanRequest<'a> {
    PlanRequest {
        filter,
        sort,
        output: Output::Documents,
        limit: None,
        hint: None,
        indexes,
        documents: documents as u64,
    }
}

fn index_on(keys: &RawDocumentBuf) -> IndexDefinition {
    IndexDefinition::parse(keys, &rawdoc! {}).unwrap()
}

/// A thousand documents of numbers: `a` to 100, `b` to 10, `c` every one once, `t` a list.
fn numbers(indexes: &[RawDocumentBuf]) -> Collection {
    let mut collection = Collection::with_indexes(indexes.iter().map(index_on).collect());
    for n in 0..1000 {
        collection.insert(rawdoc! { "_id": n, "a": n % 100, "b": n % 10, "c": 1000 - n, "t": [n % 7, n % 5 + 10], "s": format!("s{}", n % 50) });
    }
    collection
}

struct Asked {
    plan: Plan,
    answer: Answer,
    explained: bson::Document,
}

/// Plans and runs a question on [`numbers`], checks the documents against a full scan, and gives what it took.
#[track_caller]
fn ask(
    indexes: &[RawDocumentBuf],
    filter: &RawDocumentBuf,
    sort: &RawDocumentBuf,
    limit: Option<u64>,
) -> Asked {
    let collection = numbers(indexes);
    let (filter, sort) = (Filter::parse(filter).unwrap(), Sort::parse(sort).unwrap());
    let infos = collection.infos();
    let request = PlanRequest { limit, ..request(&filter, &sort, &infos, collection.documents.len()) };
    let plan = Plan::new(&request).unwrap();
    let answer = collection.run(&plan, &request);
    check_answer(&collection, &request, &answer).unwrap();
    let explained = plan.explain(&request);
    Asked { plan, answer, explained }
}

/// Checks that an answer holds the documents that a full scan finds, in the order asked for.
fn check_answer(
    collection: &Collection,
    request: &PlanRequest<'_>,
    answer: &Answer,
) -> Result<(), TestCaseError> {
    let mut expected: Vec<_> =
        collection.documents.values().filter(|document| request.filter.matches(document).unwrap()).collect();
    let total = expected.len();
    expected.sort_by_key(|document| request.sort.key(document).unwrap());
    let limit = request.limit.map_or(usize::MAX, |limit| limit as usize);
    expected.truncate(limit);
    let key = |document: &RawDocumentBuf| request.sort.key(document).unwrap();
    prop_assert_eq!(answer.documents.len(), total.min(limit), "of {} matching", total);
    for (found, expected) in answer.documents.iter().zip(&expected) {
        prop_assert_eq!(key(found), key(expected), "out of order");
        prop_assert!(request.filter.matches(found).unwrap());
    }
    let ids: BTreeSet<Vec<u8>> =
        answer.documents.iter().map(|document| document.as_bytes().to_vec()).collect();
    prop_assert_eq!(ids.len(), answer.documents.len(), "a document came twice");
    Ok(())
}

fn winning(explained: &bson::Document) -> &bson::Document {
    explained.get_document("winningPlan").unwrap()
}

/// The stages from the outermost in.
fn stages(explained: &bson::Document) -> Vec<String> {
    let mut names = Vec::new();
    let mut stage = Some(winning(explained));
    while let Some(own) = stage {
        names.push(own.get_str("stage").unwrap().to_owned());
        stage = own.get_document("inputStage").ok();
    }
    names
}

fn index_bounds(explained: &bson::Document) -> String {
    let mut stage = winning(explained);
    while let Ok(inner) = stage.get_document("inputStage") {
        stage = inner;
    }
    stage.get_document("indexBounds").unwrap().to_string()
}

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

fn path() -> impl Strategy<Value = String> {
    let common = select(vec!["a", "a.b", "a.c"]);
    let others = select(vec!["b", "c", "a.0", "a.0.b", "b.c", "a.b.c"]);
    prop_oneof![4 => common, 1 => others].prop_map(str::to_owned)
}

fn document(fields: Vec<(&str, RawBson)>) -> RawBson {
    RawBson::Document(document_of(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

fn list(values: Vec<RawBson>) -> RawBson {
    RawBson::Array(array_of(values))
}

/// Few scalars, so that documents, filters and indexes meet often.
fn scalar() -> impl Strategy<Value = RawBson> {
    prop_oneof![
        6 => (0..3_i32).prop_map(RawBson::Int32),
        1 => select(vec![1.0, 1.5, f64::NAN]).prop_map(RawBson::Double),
        1 => select(vec!["a", "A", "ab", "b", "B"]).prop_map(|text| RawBson::String(text.to_owned())),
        1 => Just(RawBson::Null),
        1 => select(vec![RawBson::MinKey, RawBson::MaxKey]),
    ]
}

/// Scalars, lists, and documents of `b` and `c`, within one another.
fn value() -> impl Strategy<Value = RawBson> {
    scalar().prop_recursive(3, 8, 3, |inner| {
        let pair = (any::<bool>(), inner.clone(), any::<bool>(), inner.clone());
        prop_oneof![
            vec(inner, 0..3).prop_map(list),
            pair.prop_map(|(has_b, b, has_c, c)| {
                let fields = [(has_b, "b", b), (has_c, "c", c)].into_iter().filter(|(has, ..)| *has);
                document(fields.map(|(_, name, value)| (name, value)).collect())
            }),
        ]
    })
}

fn documents() -> impl Strategy<Value = Vec<RawDocumentBuf>> {
    let scalars =
        || vec(0..4_i32, 0..3).prop_map(|values| list(values.into_iter().map(RawBson::Int32).collect()));
    let pair = (0..3_i32, 0..3_i32)
        .prop_map(|(b, c)| document(vec![("b", RawBson::Int32(b)), ("c", RawBson::Int32(c))]));
    let field =
        prop_oneof![2 => scalars(), 2 => vec(pair, 1..3).prop_map(list), 2 => value(), 1 => small_value()];
    let own = (field, prop::option::of(value()), prop::option::of(scalar())).prop_map(|(a, b, c)| {
        let fields = [("a", Some(a)), ("b", b), ("c", c)].into_iter();
        document_of(fields.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    });
    vec(prop_oneof![8 => own, 1 => small_document()], 1..12)
}

/// A value to compare with.
fn operand() -> impl Strategy<Value = RawBson> {
    prop_oneof![5 => scalar(), 3 => value(), 1 => small_value()]
}

/// An operator document for one field.
fn condition() -> impl Strategy<Value = RawBson> {
    let simple = prop_oneof![
        4 => (select(vec!["$eq", "$gt", "$gte", "$lt", "$lte", "$ne"]), operand())
            .prop_map(|(operator, operand)| document(vec![(operator, operand)])),
        2 => (operand(), operand())
            .prop_map(|(low, high)| document(vec![("$gte", low), ("$lt", high)])),
        2 => (select(vec!["$in", "$nin", "$all"]), vec(operand(), 0..4))
            .prop_map(|(operator, operands)| document(vec![(operator, list(operands))])),
        1 => any::<bool>().prop_map(|exists| document(vec![("$exists", RawBson::Boolean(exists))])),
        1 => select(vec!["number", "array", "null", "object"])
            .prop_map(|kind| document(vec![("$type", RawBson::String(kind.to_owned()))])),
        1 => (0..3_i32).prop_map(|size| document(vec![("$size", RawBson::Int32(size))])),
        1 => select(vec!["^a", "b", "^"]).prop_map(|text| document(vec![("$regex", RawBson::String(text.to_owned()))])),
        1 => (0..2_i32).prop_map(|rest| document(vec![("$mod", list(vec![RawBson::Int32(2), RawBson::Int32(rest)]))])),
    ];
    simple.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| document(vec![("$not", inner)])),
            inner.clone().prop_map(|inner| document(vec![("$elemMatch", inner)])),
            (select(vec!["b", "c", "0"]), inner)
                .prop_map(|(name, inner)| { document(vec![("$elemMatch", document(vec![(name, inner)]))]) }),
        ]
    })
}

/// A whole filter.
fn filter() -> impl Strategy<Value = RawBson> {
    let field = (path(), prop_oneof![1 => scalar(), 1 => operand(), 3 => condition()]);
    let fields = vec(field, 0..4).prop_map(|fields| {
        let mut seen = BTreeSet::new();
        let fields = fields.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        RawBson::Document(document_of(fields.collect()))
    });
    let comparison = (select(vec!["$eq", "$gt", "$gte", "$lt", "$lte"]), path(), operand(), any::<bool>());
    let expression = comparison.prop_map(|(operator, path, operand, turned)| {
        let literal = document(vec![("$literal", operand)]);
        let mut sides = vec![RawBson::String(format!("${path}")), literal];
        if turned {
            sides.reverse();
        }
        document(vec![("$expr", document(vec![(operator, list(sides))]))])
    });
    let member = (path(), vec(operand(), 0..4)).prop_map(|(path, members)| {
        let literal = document(vec![("$literal", list(members))]);
        let sides = list(vec![RawBson::String(format!("${path}")), literal]);
        document(vec![("$expr", document(vec![("$in", sides)]))])
    });
    let leaf = prop_oneof![6 => fields, 1 => expression, 1 => member];
    leaf.prop_recursive(2, 6, 3, |inner| {
        (select(vec!["$and", "$or", "$nor"]), vec(inner, 1..3), path(), condition()).prop_map(
            |(operator, inner, path, condition)| {
                let mut filter = RawDocumentBuf::new();
                filter.append(CString::try_from(operator.to_owned()).unwrap(), list(inner));
                filter.append(CString::try_from(path).unwrap(), condition);
                RawBson::Document(filter)
            },
        )
    })
}

fn key_pattern() -> impl Strategy<Value = RawDocumentBuf> {
    vec((path(), any::<bool>()), 1..4).prop_map(|fields| {
        let mut seen = BTreeSet::new();
        let fields = fields.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        document_of(fields.map(|(name, up)| (name, RawBson::Int32(if up { 1 } else { -1 }))).collect())
    })
}

/// Options that leave documents out, or none.
fn index_options() -> impl Strategy<Value = RawDocumentBuf> {
    let bound = (path(), select(vec!["$eq", "$gt", "$gte", "$lt", "$lte"]), scalar())
        .prop_map(|(path, operator, operand)| (path, document(vec![(operator, operand)])));
    let kind = (path(), Just(document(vec![("$exists", RawBson::Boolean(true))])));
    let condition = prop_oneof![3 => bound, 2 => kind];
    let partial = vec(condition, 0..3).prop_map(|conditions| {
        let mut seen = BTreeSet::new();
        let distinct = conditions.into_iter().filter(|(path, _)| seen.insert(path.clone()));
        rawdoc! { "partialFilterExpression": document_of(distinct.collect()) }
    });
    prop_oneof![
        3 => Just(rawdoc! {}),
        1 => Just(rawdoc! { "sparse": true }),
        1 => Just(rawdoc! { "hidden": true }),
        3 => partial,
    ]
}

/// Whether a hint on the index gives the whole answer.
fn holds_all(definition: &IndexDefinition) -> bool {
    !definition.is_sparse() && definition.partial_filter().is_none() && !definition.is_hidden()
}

fn collection() -> impl Strategy<Value = Collection> {
    let index = (key_pattern(), index_options())
        .prop_map(|(keys, options)| IndexDefinition::parse(&keys, &options).unwrap());
    (documents(), vec(index, 1..4)).prop_map(|(documents, indexes)| {
        let mut patterns = BTreeSet::new();
        let distinct = indexes.into_iter().filter(|index| patterns.insert(index.name().to_owned()));
        let mut collection = Collection::with_indexes(distinct.collect());
        for (number, document) in documents.into_iter().enumerate() {
            let mut own = rawdoc! { "_id": number as i32 };
            for element in &document {
                let (name, value) = element.unwrap();
                own.append(name, value);
            }
            collection.insert(own);
        }
        collection
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn an_index_never_changes_the_answer(
        collection in collection(), filter in filter(), sort in prop_oneof![1 => Just(rawdoc! {}), 2 => key_pattern()],
        limit in prop_oneof![Just(None), (1..5_u64).prop_map(Some)],
    ) {
        let RawBson::Document(filter) = filter else { unreachable!() };
        let Ok(filter) = Filter::parse(&filter) else { return Ok(()) };
        let sort = Sort::parse(&sort).unwrap();
        if collection.documents.values().any(|document| sort.key(document).is_err()) {
            return Ok(()); // parallel arrays cannot be sorted by
        }
        let infos = collection.infos();
        let request = PlanRequest { limit, ..request(&filter, &sort, &infos, collection.documents.len()) };
        let plan = Plan::new(&request).unwrap();
        check_answer(&collection, &request, &collection.run(&plan, &request))?;
        prop_assert!(plan.explain(&request).contains_key("winningPlan"));
        for index in &infos {
            if holds_all(index.definition) {
                let hint = Hint::Keys(index.definition.key_pattern());
                let request = PlanRequest { hint: Some(&hint), ..request };
                let plan = Plan::new(&request).unwrap();
                check_answer(&collection, &request, &collection.run(&plan, &request))?;
            }
        }
    }

    #[test]
    fn each_alternative_never_changes_the_answer(collection in collection(), alternatives in vec(filter(), 2..4)) {
        let whole = rawdoc! { "$or": list(alternatives) };
        let Ok(filter) = Filter::parse(&whole) else { return Ok(()) };
        let (sort, infos) = (Sort::default(), collection.infos());
        let request = request(&filter, &sort, &infos, collection.documents.len());
        let id_index = IndexDefinition::on_id();
        let documents = IndexInfo { definition: &id_index, multikey: MultikeyFields::default(), entries: 0 };
        if let Some(plan) = Plan::of_alternatives(&conjuncts(filter.root()), &documents, &request) {
            check_answer(&collection, &request, &collection.run(&plan, &request))?;
        }
    }

    #[test]
    fn covered_answers_are_those_of_the_documents(collection in collection(), filter in filter()) {
        let RawBson::Document(filter) = filter else { unreachable!() };
        let Ok(filter) = Filter::parse(&filter) else { return Ok(()) };
        let (sort, infos, fields) = (Sort::default(), collection.infos(), ["_id", "a", "c"]);
        for index in infos.iter().filter(|index| holds_all(index.definition)) {
            let hint = Hint::Keys(index.definition.key_pattern());
            let request = PlanRequest {
                hint: Some(&hint), output: Output::Fields(&fields), ..request(&filter, &sort, &infos, collection.documents.len())
            };
            let plan = Plan::new(&request).unwrap();
            if !plan.branches[0].covered {
                continue;
            }
            let found = collection.run(&plan, &request).documents;
            let matching: Vec<_> = collection.documents.values().filter(|document| filter.matches(document).unwrap()).collect();
            prop_assert_eq!(found.len(), matching.len());
            for document in matching {
                let same = |found: &&RawDocumentBuf| fields.iter().all(|field| found.get(field).unwrap() == document.get(field).unwrap());
                prop_assert!(found.iter().any(|found| same(&found)));
            }
        }
    }
}
