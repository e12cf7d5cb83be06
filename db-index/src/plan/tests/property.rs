//! Whatever the documents, the indexes and the question, an index never changes the answer.

use bson::{RawBson, RawDocumentBuf, raw::CString, rawdoc};
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::testing::{array_of, document_of, small_document, small_value};

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

pub(super) fn documents() -> impl Strategy<Value = Vec<RawDocumentBuf>> {
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
pub(super) fn filter() -> impl Strategy<Value = RawBson> {
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

pub(super) fn key_pattern() -> impl Strategy<Value = RawDocumentBuf> {
    vec((path(), any::<bool>()), 1..4).prop_map(|fields| {
        let mut seen = BTreeSet::new();
        let fields = fields.into_iter().filter(|(name, _)| seen.insert(name.clone()));
        document_of(fields.map(|(name, up)| (name, RawBson::Int32(if up { 1 } else { -1 }))).collect())
    })
}

/// An index of a hash, of a field that mostly holds no array.
fn hashed_index() -> impl Strategy<Value = IndexDefinition> {
    select(vec![
        rawdoc! { "c": "hashed" },
        rawdoc! { "c": "hashed", "_id": -1 },
        rawdoc! { "_id": 1, "c": "hashed" },
    ])
    .prop_map(|keys| IndexDefinition::parse(&keys, &rawdoc! {}).unwrap())
}

/// An index of many paths.
fn wildcard_index() -> impl Strategy<Value = IndexDefinition> {
    let projection = |projection: RawDocumentBuf| rawdoc! { "wildcardProjection": projection };
    select(vec![
        (rawdoc! { "$**": 1 }, rawdoc! {}),
        (rawdoc! { "a.$**": 1 }, rawdoc! {}),
        (rawdoc! { "b.$**": 1 }, rawdoc! { "partialFilterExpression": { "c": { "$gte": 1 } } }),
        (rawdoc! { "$**": 1 }, projection(rawdoc! { "a.b": 1, "c": 1 })),
        (rawdoc! { "$**": 1 }, projection(rawdoc! { "a.b": 0 })),
        (rawdoc! { "c": 1, "$**": 1 }, projection(rawdoc! { "c": 0 })),
        (rawdoc! { "$**": 1, "c": -1 }, projection(rawdoc! { "c": 0, "_id": 1 })),
        (rawdoc! { "c": -1, "a.$**": 1 }, rawdoc! {}),
    ])
    .prop_map(|(keys, options)| IndexDefinition::parse(&keys, &options).unwrap())
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
pub(super) fn holds_all(definition: &IndexDefinition) -> bool {
    !definition.is_sparse() && definition.partial_filter().is_none() && !definition.is_hidden()
}

fn collection() -> impl Strategy<Value = Collection> {
    let plain = (key_pattern(), index_options())
        .prop_map(|(keys, options)| IndexDefinition::parse(&keys, &options).unwrap());
    let index = prop_oneof![5 => plain, 1 => hashed_index(), 2 => wildcard_index()];
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
                let plan = match Plan::new(&request) {
                    Err(error) if error.code == ErrorCode::NO_QUERY_EXECUTION_PLANS => continue,
                    plan => plan.unwrap(),
                };
                check_answer(&collection, &request, &collection.run(&plan, &request))?;
            }
        }
    }

    #[test]
    fn whatever_way_is_not_taken_gives_the_same_answer(
        collection in collection(), filter in filter(), sort in prop_oneof![1 => Just(rawdoc! {}), 2 => key_pattern()],
    ) {
        let RawBson::Document(filter) = filter else { unreachable!() };
        let Ok(filter) = Filter::parse(&filter) else { return Ok(()) };
        let sort = Sort::parse(&sort).unwrap();
        if collection.documents.values().any(|document| sort.key(document).is_err()) {
            return Ok(());
        }
        let infos = collection.infos();
        let request = request(&filter, &sort, &infos, collection.documents.len());
        for plan in choice::all(&request).unwrap() {
            check_answer(&collection, &request, &collection.run(&plan, &request))?;
        }
    }

    #[test]
    fn each_alternative_never_changes_the_answer(
        collection in collection(), alternatives in vec(filter(), 2..4), sort in prop_oneof![1 => Just(rawdoc! {}), 2 => key_pattern()],
    ) {
        let whole = rawdoc! { "$or": list(alternatives) };
        let Ok(filter) = Filter::parse(&whole) else { return Ok(()) };
        let (sort, infos) = (Sort::parse(&sort).unwrap(), collection.infos());
        if collection.documents.values().any(|document| sort.key(document).is_err()) {
            return Ok(());
        }
        let request = request(&filter, &sort, &infos, collection.documents.len());
        for plan in choice::all(&request).unwrap() {
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
            let plan = match Plan::new(&request) {
                Err(error) if error.code == ErrorCode::NO_QUERY_EXECUTION_PLANS => continue,
                plan => plan.unwrap(),
            };
            if !plan.is_covered() {
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
