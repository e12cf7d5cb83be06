#![allow(clippy::needless_pass_by_value)] // reads better with literals

use bson::{Bson, Regex, doc, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::{
    error::ErrorCode,
    testing::{any_document, any_value, small_document, small_value},
};

fn raw(document: &bson::Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn filter(document: bson::Document) -> Filter {
    Filter::parse(&raw(&document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn matches(query: bson::Document, document: bson::Document) -> bool {
    filter(query).matches(&raw(&document)).unwrap()
}

fn code(document: bson::Document) -> i32 {
    Filter::parse(&raw(&document)).expect_err(&format!("{document} must not compile")).code.0
}

fn regex(pattern: &str, options: &str) -> Bson {
    Bson::RegularExpression(Regex {
        pattern: pattern.try_into().unwrap(),
        options: options.try_into().unwrap(),
    })
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

#[test]
fn equality_meets_the_value_or_an_element() {
    assert!(matches(doc! {"a": 1}, doc! {"a": 1.0}));
    assert!(matches(doc! {"a": 1}, doc! {"a": [2, 1]}));
    assert!(!matches(doc! {"a": 1}, doc! {"a": [[1]]}));
    assert!(matches(doc! {"a": [1]}, doc! {"a": [[1], 2]}));
    assert!(matches(doc! {"a": [1, 2]}, doc! {"a": [1, 2]}));
    assert!(!matches(doc! {"a": [1, 2]}, doc! {"a": [2, 1]}));
    assert!(matches(doc! {"a": {"b": 1}}, doc! {"a": {"b": decimal("1.0")}}));
    assert!(!matches(doc! {"a": {"b": 1}}, doc! {"a": {"b": 1, "c": 2}}));
    assert!(!matches(doc! {"a": {"c": 2, "b": 1}}, doc! {"a": {"b": 1, "c": 2}}));
    assert!(matches(doc! {}, doc! {"a": 1}));
}

#[test]
fn null_matches_null_and_missing_but_no_empty_array() {
    for query in [
        doc! {"a": null},
        doc! {"a": {"$in": [null]}},
        doc! {"a": {"$gte": null}},
        doc! {"a": {"$lte": null}},
    ] {
        assert!(matches(query.clone(), doc! {"a": null}), "{query}");
        assert!(matches(query.clone(), doc! {"b": 1}), "{query}");
        assert!(matches(query.clone(), doc! {"a": [1, null]}), "{query}");
        assert!(!matches(query.clone(), doc! {"a": []}), "{query}");
        assert!(!matches(query.clone(), doc! {"a": [1]}), "{query}");
    }
    assert!(!matches(doc! {"a": {"$gt": null}}, doc! {"a": null}));
    assert!(matches(doc! {"a.b": null}, doc! {"a": [{"b": 1}, {"c": 1}]}));
    assert!(!matches(doc! {"a.b": null}, doc! {"a": [1]}));
    assert!(matches(doc! {"a.b": null}, doc! {"a": 1}));
}

#[test]
fn ranges_keep_to_the_bracket_of_the_operand() {
    assert!(matches(doc! {"a": {"$gt": 1}}, doc! {"a": 1.5}));
    assert!(!matches(doc! {"a": {"$gt": 1}}, doc! {"a": "x"}));
    assert!(!matches(doc! {"a": {"$lt": "x"}}, doc! {"a": 1}));
    assert!(matches(doc! {"a": {"$lt": Bson::MaxKey}}, doc! {"a": "x"}));
    assert!(matches(doc! {"a": {"$gt": Bson::MinKey}}, doc! {"b": 1}));
    assert!(matches(doc! {"a": {"$gt": 7, "$lt": 9}}, doc! {"a": [6, 10]}));
    assert!(matches(doc! {"a": {"$gt": [1]}}, doc! {"a": [1, 2]}));
    assert!(!matches(doc! {"a": {"$gt": i64::from(i32::MAX)}}, doc! {"a": i32::MAX}));
}

#[test]
fn nan_satisfies_equality_and_inclusive_ranges_with_nan_only() {
    for (operator, holds) in [("$eq", true), ("$gte", true), ("$lte", true), ("$gt", false), ("$lt", false)] {
        assert_eq!(
            matches(doc! {"a": {operator: f64::NAN}}, doc! {"a": decimal("NaN")}),
            holds,
            "{operator}"
        );
        assert!(!matches(doc! {"a": {operator: 5}}, doc! {"a": f64::NAN}), "{operator}");
        assert!(!matches(doc! {"a": {operator: f64::NAN}}, doc! {"a": 5}), "{operator}");
    }
    assert!(matches(doc! {"a": {"$in": [f64::NAN]}}, doc! {"a": f64::NAN}));
    assert!(matches(doc! {"a": {"$gt": {"x": f64::NAN}}}, doc! {"a": {"x": 5}}));
}

#[test]
fn negations_cover_the_whole_path() {
    assert!(!matches(doc! {"a": {"$ne": 5}}, doc! {"a": [5, 6]}));
    assert!(matches(doc! {"a": {"$ne": 5}}, doc! {}));
    assert!(matches(doc! {"a": {"$nin": []}}, doc! {}));
    assert!(!matches(doc! {"a": {"$nin": [1, 2]}}, doc! {"a": [3, 2]}));
    assert!(matches(doc! {"a": {"$not": {"$gt": 3, "$lt": 5}}}, doc! {"a": 6}));
    assert!(!matches(doc! {"a": {"$not": regex("^a", "")}}, doc! {"a": "abc"}));
    assert_eq!(code(doc! {"a": {"$not": {}}}), 2);
    assert_eq!(code(doc! {"a": {"$not": 5}}), 2);
    for operator in ["$ne", "$gt", "$gte", "$lt", "$lte"] {
        assert_eq!(code(doc! {"a": {operator: regex("a", "")}}), 2, "{operator}");
    }
}

#[test]
fn in_takes_values_and_patterns() {
    assert!(matches(doc! {"a": {"$in": [3, 1, 2]}}, doc! {"a": 2.0}));
    assert!(matches(doc! {"a": {"$in": [[1], "x"]}}, doc! {"a": [1]}));
    assert!(matches(doc! {"a": {"$in": [regex("^x", "")]}}, doc! {"a": ["y", "xy"]}));
    assert!(!matches(doc! {"a": {"$in": []}}, doc! {"a": 1}));
    assert_eq!(code(doc! {"a": {"$in": 1}}), 2);
    assert_eq!(code(doc! {"a": {"$in": [{"$gt": 1}]}}), 2);
}

#[test]
fn a_literal_object_is_told_from_operators_by_its_first_key() {
    assert!(matches(doc! {"a": {"b": 1, "$gt": 2}}, doc! {"a": {"b": 1, "$gt": 2}}));
    assert_eq!(code(doc! {"a": {"$gt": 2, "b": 1}}), 2);
    assert_eq!(code(doc! {"a": {"$bogus": 2}}), 2);
    assert_eq!(code(doc! {"$bogus": 2}), 2);
    assert_eq!(code(doc! {"a": {"$and": [{}]}}), 2);
    assert!(matches(doc! {"a": {"$ref": "c", "$id": 1}}, doc! {"a": {"$ref": "c", "$id": 1}}));
}

#[test]
fn exists_and_type_and_size_look_at_the_right_values() {
    assert!(matches(doc! {"a": {"$exists": true}}, doc! {"a": null}));
    assert!(matches(doc! {"a": {"$exists": 0}}, doc! {"b": null}));
    assert!(matches(doc! {"a.b": {"$exists": true}}, doc! {"a": [1, {"b": 1}]}));
    assert!(matches(doc! {"a.b": {"$exists": false}}, doc! {"a": [1]}));
    assert!(matches(doc! {"a": {"$type": "number"}}, doc! {"a": ["x", decimal("1")]}));
    assert!(matches(doc! {"a": {"$type": 4}}, doc! {"a": ["x"]}));
    assert!(matches(doc! {"a": {"$type": [-1, "bool"]}}, doc! {"a": Bson::MinKey}));
    assert!(!matches(doc! {"a": {"$type": "null"}}, doc! {}));
    assert!(matches(doc! {"a": {"$size": 2.0}}, doc! {"a": [1, [2]]}));
    assert!(!matches(doc! {"a": {"$size": 1}}, doc! {"a": [[1], 2]}));
    assert!(!matches(doc! {"a": {"$size": 0}}, doc! {"a": 1}));
    for operand in [Bson::Int32(-1), Bson::Double(1.5), Bson::String("1".into())] {
        assert_eq!(code(doc! {"a": {"$size": operand}}), 2);
    }
    assert_eq!(code(doc! {"a": {"$type": false}}), 14);
    assert_eq!(code(doc! {"a": {"$type": []}}), 9);
    assert_eq!(code(doc! {"a": {"$type": "foo"}}), 2);
    assert_eq!(code(doc! {"a": {"$type": 0}}), 2);
}

#[test]
fn all_asks_every_member_of_the_field() {
    assert!(matches(doc! {"a": {"$all": [1, 2]}}, doc! {"a": [2, 3, 1]}));
    assert!(matches(doc! {"a": {"$all": [1]}}, doc! {"a": 1}));
    assert!(matches(doc! {"a": {"$all": [[1, 2]]}}, doc! {"a": [1, 2]}));
    assert!(!matches(doc! {"a": {"$all": []}}, doc! {"a": []}));
    assert!(matches(doc! {"a": {"$all": [regex("^a", ""), "b"]}}, doc! {"a": ["ax", "b"]}));
    let both = doc! {"a": {"$all": [{"$elemMatch": {"x": 1}}, {"$elemMatch": {"x": 2}}]}};
    assert!(matches(both.clone(), doc! {"a": [{"x": 2}, {"x": 1}]}));
    assert!(!matches(both, doc! {"a": [{"x": 2}]}));
    assert_eq!(code(doc! {"a": {"$all": 1}}), 2);
    assert_eq!(code(doc! {"a": {"$all": [{"$gt": 1}]}}), 2);
    assert_eq!(code(doc! {"a": {"$all": [{"$elemMatch": {}}, 1]}}), 2);
}

#[test]
fn elem_match_asks_one_element() {
    assert!(!matches(doc! {"a": {"$elemMatch": {"$gt": 7, "$lt": 9}}}, doc! {"a": [6, 10]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"$gt": 7, "$lt": 9}}}, doc! {"a": [8]}));
    assert!(!matches(doc! {"a": {"$elemMatch": {"$gt": 7}}}, doc! {"a": [[8]]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"$elemMatch": {"$gt": 7}}}}, doc! {"a": [[8]]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"0": 8}}}, doc! {"a": [[8]]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"x": 1, "y": 2}}}, doc! {"a": [{"x": 1}, {"x": 1, "y": 2}]}));
    assert!(!matches(doc! {"a": {"$elemMatch": {"x": 1, "y": 2}}}, doc! {"a": [{"x": 1}, {"y": 2}]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"$or": [{"x": 1}, {"y": 2}]}}}, doc! {"a": [{"y": 2}]}));
    assert!(!matches(doc! {"a": {"$elemMatch": {"x": 1}}}, doc! {"a": {"x": 1}}));
    assert!(matches(doc! {"a": {"$elemMatch": {"$ne": 1}}}, doc! {"a": [1, 2]}));
    assert!(matches(doc! {"a": {"$not": {"$elemMatch": {"$eq": 1}}}}, doc! {"a": [2]}));
    assert_eq!(code(doc! {"a": {"$elemMatch": 1}}), 2);
    assert_eq!(code(doc! {"$elemMatch": {"a": 1}}), 2);
}

#[test]
fn mod_truncates_and_keeps_the_sign_of_the_dividend() {
    assert!(matches(doc! {"a": {"$mod": [4, 0]}}, doc! {"a": [3, 8]}));
    assert!(matches(doc! {"a": {"$mod": [4.9, 1]}}, doc! {"a": 5.9}));
    assert!(!matches(doc! {"a": {"$mod": [2, 1]}}, doc! {"a": -1}));
    assert!(matches(doc! {"a": {"$mod": [2, -1]}}, doc! {"a": decimal("-1")}));
    assert!(matches(doc! {"a": {"$mod": [-1, 0]}}, doc! {"a": i64::MIN}));
    assert!(!matches(doc! {"a": {"$mod": [4, 0]}}, doc! {"a": f64::INFINITY}));
    assert!(!matches(doc! {"a": {"$mod": [4, 0]}}, doc! {"a": "8"}));
    for operand in [
        bson::bson!([4]),
        bson::bson!([4, 0, 1]),
        bson::bson!(4),
        bson::bson!([0, 0]),
        bson::bson!([0.5, 0]),
        bson::bson!([f64::NAN, 0]),
        bson::bson!([4, 1e19]),
        bson::bson!(["a", 0]),
    ] {
        assert_eq!(code(doc! {"a": {"$mod": operand.clone()}}), 2, "{operand}");
    }
}

#[test]
fn regular_expressions_match_strings_and_equal_themselves() {
    assert!(matches(doc! {"a": regex("^ab", "i")}, doc! {"a": ["x", "ABC"]}));
    assert!(matches(doc! {"a": regex("^ab", "i")}, doc! {"a": regex("^ab", "i")}));
    assert!(!matches(doc! {"a": {"$eq": regex("^ab", "i")}}, doc! {"a": "abc"}));
    assert!(matches(doc! {"a": {"$eq": regex("^ab", "i")}}, doc! {"a": regex("^ab", "i")}));
    assert!(matches(doc! {"a": {"$regex": "^ab", "$options": "i"}}, doc! {"a": "ABC"}));
    assert!(matches(doc! {"a": {"$options": "i", "$regex": "^ab", "$ne": "abx"}}, doc! {"a": "ABC"}));
    assert_eq!(code(doc! {"a": {"$options": "i"}}), 2);
    assert_eq!(code(doc! {"a": {"$regex": 1}}), 2);
    assert_eq!(code(doc! {"a": {"$regex": "a", "$options": 1}}), 2);
    assert_eq!(code(doc! {"a": {"$regex": regex("a", "i"), "$options": "m"}}), 51074);
    assert_eq!(code(doc! {"a": {"$regex": "("}}), 51091);
    assert_eq!(code(doc! {"a": {"$regex": "a", "$options": "g"}}), 51108);
}

#[test]
fn bits_are_tested_on_whole_numbers_and_binary_data() {
    let binary = |bytes: &[u8]| {
        Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: bytes.to_vec() })
    };
    assert!(matches(doc! {"a": {"$bitsAllSet": 5}}, doc! {"a": 7}));
    assert!(!matches(doc! {"a": {"$bitsAllSet": 5}}, doc! {"a": 4}));
    assert!(matches(doc! {"a": {"$bitsAnySet": [0, 100]}}, doc! {"a": -2}));
    assert!(matches(doc! {"a": {"$bitsAllClear": [0, 100]}}, doc! {"a": decimal("2")}));
    assert!(matches(doc! {"a": {"$bitsAnyClear": [9]}}, doc! {"a": binary(&[0xff, 0x01])}));
    assert!(matches(doc! {"a": {"$bitsAllSet": binary(&[0, 1])}}, doc! {"a": 256.0}));
    assert!(matches(doc! {"a": {"$bitsAllClear": [100]}}, doc! {"a": binary(&[])}));
    for value in [Bson::Double(1.5), Bson::Double(f64::NAN), Bson::Double(1e19), Bson::String("7".into())] {
        assert!(!matches(doc! {"a": {"$bitsAllClear": 0}}, doc! {"a": value}));
    }
    assert!(matches(doc! {"a": {"$bitsAllSet": 42}}, doc! {"a": decimal("42.13")}));
    assert!(matches(doc! {"a": {"$bitsAllSet": 2}}, doc! {"a": decimal("1.5")}));
    assert_eq!(code(doc! {"a": {"$bitsAllSet": -1}}), 9);
    assert_eq!(code(doc! {"a": {"$bitsAllSet": 1.5}}), 9);
    assert_eq!(code(doc! {"a": {"$bitsAllSet": "1"}}), 2);
    assert_eq!(code(doc! {"a": {"$bitsAllSet": [-1]}}), 2);
}

#[test]
fn logical_operators_take_nonempty_lists_of_documents() {
    assert!(matches(doc! {"$or": [{"a": 1}, {"b": 1}]}, doc! {"b": 1}));
    assert!(!matches(doc! {"$nor": [{"a": 1}, {"b": 1}]}, doc! {"b": 1}));
    assert!(matches(doc! {"$and": [{"a": 1}, {"b": {"$lt": 2}}], "$comment": "x"}, doc! {"a": 1, "b": 1}));
    for operator in ["$and", "$or", "$nor"] {
        assert_eq!(code(doc! {operator: []}), 2);
        assert_eq!(code(doc! {operator: {"a": 1}}), 2);
        assert_eq!(code(doc! {operator: [1]}), 2);
    }
    assert!(matches(doc! {"$alwaysTrue": 1}, doc! {}) && !matches(doc! {"$alwaysFalse": 1}, doc! {}));
}

#[test]
fn what_is_left_out_is_refused_by_name() {
    let error = Filter::parse(&raw(&doc! {"$where": {}})).unwrap_err();
    assert_eq!(error.code, ErrorCode::NOT_IMPLEMENTED);
    assert!(error.message.contains("$where"));
    assert_eq!(code(doc! {"a": Bson::Undefined}), 2);
}

#[test]
fn filters_are_bounded() {
    let mut deep = doc! {"a": 1};
    for _ in 0..40 {
        deep = doc! {"$and": [deep]};
    }
    assert!(Filter::parse(&raw(&deep)).is_err());
    let wide = Bson::Array((0..30_000).map(|number| Bson::Document(doc! {"a": number})).collect());
    assert_eq!(code(doc! {"$or": wide}), 2);
    let patterns = Bson::Array((0..600).map(|_| regex("a", "")).collect());
    assert_eq!(code(doc! {"a": {"$in": patterns}}), 2);
}

#[test]
fn the_position_is_that_of_the_outermost_array_of_a_positive_condition() {
    let position = |query, document: bson::Document| filter(query).matched_array_index(&raw(&document));
    assert_eq!(position(doc! {"a": 7}, doc! {"a": [5, 7]}), Some(1));
    assert_eq!(position(doc! {"a.b": {"$gt": 2}}, doc! {"a": [{"b": [1]}, {"b": [1, 3]}]}), Some(1));
    assert_eq!(position(doc! {"a": {"$elemMatch": {"$gt": 2}}}, doc! {"a": [1, 2, 3]}), Some(2));
    assert_eq!(
        position(doc! {"a.b": {"$elemMatch": {"$gt": 2}}}, doc! {"a": [{"b": [1]}, {"b": [1, 3]}]}),
        Some(1)
    );
    assert_eq!(position(doc! {"a": {"$ne": 7}}, doc! {"a": [5, 6]}), None);
    assert_eq!(position(doc! {"a.1": 7}, doc! {"a": [5, 7]}), None);
    assert_eq!(position(doc! {"a": {"$size": 2}}, doc! {"a": [5, 7]}), None);
    assert_eq!(position(doc! {"a": 8}, doc! {"a": [5, 7]}), None);
    assert_eq!(position(doc! {"a": 7, "_id": 1}, doc! {"_id": 1, "a": [5, 7]}), Some(1));
    assert_eq!(position(doc! {"$or": [{"a": 9}, {"a": 7}]}, doc! {"a": [5, 7]}), Some(1));
}

#[test]
fn the_replayable_part_keeps_what_is_certain() {
    let replayable =
        |query| bson::Document::try_from(filter(query).replayable().unwrap().to_document()).unwrap();
    let whole = doc! {"a": {"$gt": 1}, "$or": [{"b": 1}, {"c": {"$size": 1}}]};
    assert_eq!(replayable(whole.clone()), whole);
    assert_eq!(replayable(doc! {"a": 1, "b": regex("x", "")}), doc! {"a": 1});
    assert_eq!(replayable(doc! {"a": {"$gt": 1, "$regex": "x", "$options": "i"}}), doc! {"a": {"$gt": 1}});
    assert_eq!(replayable(doc! {"$or": [{"a": 1}, {"b": regex("x", "")}]}), doc! {});
    assert_eq!(
        replayable(doc! {"$and": [{"a": 1, "b": {"$in": [regex("x", "")]}}, {"c": regex("x", "")}]}),
        doc! {"$and": [{"a": 1}]}
    );
    assert_eq!(replayable(doc! {"a": {"$elemMatch": {"$regex": "x"}}}), doc! {});
}

#[test]
fn equality_facts_are_found_and_checked() {
    let facts = |query: bson::Document| {
        let filter = filter(query);
        filter
            .equality_facts()
            .map(|facts| {
                facts.into_iter().map(|(path, value)| format!("{path}={value:?}")).collect::<Vec<_>>()
            })
            .map_err(|error| error.code.0)
    };
    let query = doc! {"a": 1, "$and": [{"b.c": {"$eq": 2}}, {"d": {"$in": [3]}}], "e": {"$gt": 1},
    "$or": [{"f": {"$all": [4]}}], "g": {"$ne": 5}, "h": regex("x", "")};
    assert_eq!(facts(query).unwrap(), ["a=Int32(1)", "b.c=Int32(2)", "d=Int32(3)", "f=Int32(4)"]);
    assert_eq!(facts(doc! {"a": 1, "$and": [{"a": 2}]}), Err(54));
    assert_eq!(facts(doc! {"a": {"b": 1}, "a.b": 1}), Err(54));
    assert_eq!(facts(doc! {"a": {"$all": [1, 2]}}), Err(54));
    assert_eq!(facts(doc! {"a": 1, "$and": [{"a": 1}]}).unwrap(), ["a=Int32(1)"]);
    assert_eq!(facts(doc! {"$or": [{"a": 1}, {"a": 2}]}).unwrap(), Vec::<String>::new());
}

#[test]
fn a_filter_that_fixes_the_id_says_so() {
    let fixed = |query| filter(query).id_equality().map(|id| format!("{id:?}"));
    assert_eq!(fixed(doc! {"_id": 1, "a": 2}), Some("Int32(1)".into()));
    assert_eq!(fixed(doc! {"$and": [{"a": 2}, {"_id": {"$in": ["x"]}}]}), Some("String(\"x\")".into()));
    assert_eq!(fixed(doc! {"_id": {"$gt": 1}}), None);
    assert_eq!(fixed(doc! {"_id.a": 1}), None);
    assert_eq!(fixed(doc! {"$or": [{"_id": 1}, {"a": 1}]}), None);
}

#[test]
fn a_pull_operand_is_a_value_a_query_or_operators() {
    let holds = |operand: Bson, element: Bson| {
        let document = rawdoc! {"o": bson::RawBson::try_from(operand).unwrap(),
        "e": bson::RawBson::try_from(element).unwrap()};
        let operand =
            ElementFilter::parse_pull(document.get("o").unwrap().unwrap(), &QueryContext::default()).unwrap();
        operand.matches(document.get("e").unwrap().unwrap())
    };
    assert!(holds(bson::bson!(1), bson::bson!(1.0)));
    assert!(holds(bson::bson!([1, 2]), bson::bson!([1, 2])) && !holds(bson::bson!([1]), bson::bson!(1)));
    assert!(
        holds(bson::bson!({"$gte": 6}), bson::bson!(7)) && !holds(bson::bson!({"$gte": 6}), bson::bson!(5))
    );
    assert!(holds(bson::bson!({"b": 2, "a": 1}), bson::bson!({"a": 1, "b": 2, "c": 3})));
    assert!(!holds(bson::bson!({"b": 2}), bson::bson!(2)));
    assert!(holds(regex("^a", ""), bson::bson!("ab")));
    assert!(holds(bson::bson!({"a": {"$elemMatch": {"q": {"$gt": 1}}}}), bson::bson!({"a": [{"q": 2}]})));
    assert!(
        holds(bson::bson!({"$in": [1, 2]}), bson::bson!(2)) && holds(bson::bson!(null), bson::bson!(null))
    );
}

#[test]
fn an_array_filter_is_for_one_identifier() {
    let parse = |document: bson::Document| {
        ElementFilter::parse_array_filter(&raw(&document), &QueryContext::default())
    };
    let holds = |document, element: bson::Document| {
        parse(document).unwrap().1.matches(raw(&element).get("e").unwrap().unwrap())
    };
    let (name, _) = parse(doc! {"$and": [{"x.a": {"$gt": 1}}, {"x.b": 1}]}).unwrap();
    assert_eq!(name, "x");
    assert!(holds(doc! {"x.a": {"$gt": 1}}, doc! {"e": {"a": 2}}));
    assert!(!holds(doc! {"x.a": {"$gt": 1}}, doc! {"e": 2}));
    assert!(holds(doc! {"x": {"$gt": 1}}, doc! {"e": 2}));
    assert!(holds(doc! {"x": {"$ne": 1}}, doc! {"e": 2}));
    assert!(holds(doc! {"x": {"a": 1}}, doc! {"e": {"a": 1}}));
    assert_eq!(parse(doc! {"x": 1, "y": 1}).unwrap_err().code, ErrorCode::FAILED_TO_PARSE);
    assert_eq!(parse(doc! {}).unwrap_err().code, ErrorCode::FAILED_TO_PARSE);
    assert_eq!(parse(doc! {"X": 1}).unwrap_err().code, ErrorCode::BAD_VALUE);
    assert_eq!(parse(doc! {"x-y": 1}).unwrap_err().code, ErrorCode::BAD_VALUE);
}

#[test]
fn a_path_of_a_name_and_a_place_follows_the_walk() {
    assert!(matches(doc! {"a.0": 1}, doc! {"a": [1, 2]}));
    assert!(!matches(doc! {"a.0": 2}, doc! {"a": [1, 2]}));
    assert!(matches(doc! {"a.0.b": 1}, doc! {"a": [{"b": 1}]}));
    assert!(!matches(doc! {"a.b": 1}, doc! {"a": [[{"b": 1}]]}));
    assert!(matches(doc! {"a.0.b": 1}, doc! {"a": [[{"b": 1}]]}));
    assert!(matches(doc! {"": 1}, doc! {"": 1}));
}

/// A path and operators on it, of few names and values.
fn any_condition() -> impl Strategy<Value = RawDocumentBuf> {
    let path = proptest::sample::select(vec!["a", "b", "a.b", "a.0", "a.b.c", "c.1.a"]);
    let operator = proptest::sample::select(vec![
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$in",
        "$nin",
        "$all",
        "$exists",
        "$size",
        "$elemMatch",
        "$not",
        "$mod",
        "$type",
        "$bitsAllSet",
    ]);
    (path, operator, small_value(), proptest::collection::vec(small_value(), 0..3)).prop_map(
        |(path, operator, value, list)| {
            let list = crate::testing::array_of(list);
            let operand = match operator {
                "$in" | "$nin" | "$all" => bson::RawBson::Array(list),
                "$not" => bson::RawBson::Document(rawdoc! {"$gte": value, "$in": list}),
                "$elemMatch" => bson::RawBson::Document(rawdoc! {"$lte": value}),
                _ => value,
            };
            let mut condition = RawDocumentBuf::new();
            condition.append(bson::raw::CString::try_from(operator).unwrap(), operand);
            let mut query = RawDocumentBuf::new();
            query.append(bson::raw::CString::try_from(path).unwrap(), condition);
            query
        },
    )
}

fn with(name: &str, value: impl Into<bson::RawBson>) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::CString::try_from(name).unwrap(), value.into());
    document
}

proptest! {
    #[test]
    fn nor_is_the_negation_of_or(first in any_condition(), second in any_condition(), document in small_document()) {
        let list = || crate::testing::array_of(vec![first.clone().into(), second.clone().into()]);
        let (Ok(or), Ok(nor)) = (Filter::parse(&with("$or", list())), Filter::parse(&with("$nor", list()))) else {
            return Ok(());
        };
        prop_assert_ne!(or.matches(&document), nor.matches(&document));
    }

    #[test]
    fn not_negates_every_condition(condition in any_condition(), document in small_document()) {
        let (path, operators) = condition.iter().next().unwrap().unwrap();
        let negated = with(path.as_str(), with("$not", bson::RawBson::from(operators)));
        let (Ok(plain), Ok(negated)) = (Filter::parse(&condition), Filter::parse(&negated)) else {
            return Ok(());
        };
        prop_assert_ne!(plain.matches(&document), negated.matches(&document));
    }

    #[test]
    fn in_is_an_or_of_equalities(values in proptest::collection::vec(small_value(), 1..4), document in small_document()) {
        let any = with("a", with("$in", crate::testing::array_of(values.clone())));
        let or = values.into_iter().map(|value| with("a", with("$eq", value)).into()).collect();
        let or = with("$or", crate::testing::array_of(or));
        prop_assert_eq!(
            Filter::parse(&any).unwrap().matches(&document),
            Filter::parse(&or).unwrap().matches(&document)
        );
    }

    #[test]
    fn and_means_both(first in any_condition(), second in any_condition(), document in small_document()) {
        let (Ok(a), Ok(b)) = (Filter::parse(&first), Filter::parse(&second)) else {
            return Ok(());
        };
        let and = with("$and", crate::testing::array_of(vec![first.into(), second.into()]));
        let and = Filter::parse(&and).unwrap();
        prop_assert_eq!(and.matches(&document).unwrap(), a.matches(&document).unwrap() && b.matches(&document).unwrap());
    }

    #[test]
    fn the_replayable_part_never_refuses_more(condition in any_condition(), document in small_document()) {
        let query = rawdoc! {"$and": [condition, {"b": {"$regex": "^a"}}]};
        if let Ok(filter) = Filter::parse(&query) {
            let guard = filter.replayable().unwrap();
            prop_assert!(guard.root().is_replayable());
            prop_assert!(!filter.matches(&document).unwrap() || guard.matches(&document).unwrap());
        }
    }

    #[test]
    fn no_filter_and_no_document_makes_it_panic(query in any_document(), document in any_document()) {
        if let Ok(filter) = Filter::parse(&query) {
            let _ = filter.matches(&document);
            filter.matched_array_index(&document);
            let _ = filter.equality_facts();
            let _ = filter.replayable();
        }
        let _ = ElementFilter::parse_array_filter(&query, &QueryContext::default());
    }

    #[test]
    fn no_operand_makes_it_panic(condition in any_condition(), operand in any_value(), document in any_document()) {
        let (path, operators) = condition.iter().next().unwrap().unwrap();
        let operator = operators.as_document().unwrap().iter().next().unwrap().unwrap().0;
        if let Ok(filter) = Filter::parse(&with(path.as_str(), with(operator.as_str(), operand))) {
            let _ = filter.matches(&document);
        }
    }

    #[test]
    fn a_pattern_compiles_or_is_refused(pattern in "[\\\\\\[\\](){}?*+^$|.a-cdDwWsSQE:0-9,<>=!#imsx -]{0,24}", text in "[a-c\n ]{0,8}") {
        if let Ok(filter) = Filter::parse(&rawdoc! {"a": {"$regex": pattern}}) {
            let _ = filter.matches(&rawdoc! {"a": text});
        }
    }
}
