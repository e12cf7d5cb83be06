#![allow(clippy::needless_pass_by_value)] // reads better with literals

use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::prelude::*;

use crate::{error::QueryError, filter::Filter, testing::any_document};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn compile(schema: impl Into<Bson>) -> Result<Filter, QueryError> {
    Filter::parse(&raw(&doc! {"$jsonSchema": schema.into()}))
}

/// Whether `{x: value}` is valid when `x` must be so.
fn valid(schema: Document, value: impl Into<Bson>) -> bool {
    compile(doc! {"properties": {"x": schema}}).unwrap().matches(&raw(&doc! {"x": value.into()})).unwrap()
}

fn valid_whole(schema: Document, document: Document) -> bool {
    compile(schema).unwrap().matches(&raw(&document)).unwrap()
}

fn code(schema: impl Into<Bson>) -> i32 {
    compile(schema).unwrap_err().code.0
}

#[test]
fn types_are_those_of_bson_and_of_json() {
    assert!(valid(doc! {"bsonType": "int"}, 1) && !valid(doc! {"bsonType": "int"}, 1_i64));
    assert!(valid(doc! {"bsonType": ["string", "number"]}, 1.5));
    assert!(!valid(doc! {"bsonType": "int"}, vec![1]));
    assert!(valid(doc! {"type": "boolean"}, true) && !valid(doc! {"type": "object"}, vec![1]));
    assert!(
        valid_whole(doc! {"bsonType": "object"}, doc! {}) && !valid_whole(doc! {"bsonType": "int"}, doc! {})
    );
    assert_eq!(code(doc! {"type": "regex"}), 2);
    assert_eq!(code(doc! {"type": "integer"}), 9);
    assert_eq!(code(doc! {"type": 1}), 14);
    assert_eq!(code(doc! {"type": "string", "bsonType": "string"}), 9);
}

#[test]
fn numbers_have_bounds_and_divisors() {
    assert!(
        valid(doc! {"minimum": 5}, 5) && !valid(doc! {"minimum": 5}, 4.9) && valid(doc! {"minimum": 5}, "a")
    );
    assert!(!valid(doc! {"minimum": 5, "exclusiveMinimum": true}, 5));
    assert!(
        valid(doc! {"maximum": 5, "exclusiveMaximum": false}, 5) && !valid(doc! {"maximum": 5}, f64::NAN)
    );
    assert!(valid(doc! {"multipleOf": 0.1}, 0.3) && !valid(doc! {"multipleOf": 3}, 7));
    assert_eq!(code(doc! {"exclusiveMinimum": true}), 9);
    assert_eq!(code(doc! {"multipleOf": 0}), 9);
    assert_eq!(code(doc! {"minimum": "a"}), 14);
}

#[test]
fn text_has_lengths_in_characters_and_a_pattern() {
    assert!(valid(doc! {"minLength": 2, "maxLength": 3}, "éé") && !valid(doc! {"maxLength": 1}, "éé"));
    assert!(
        valid(doc! {"pattern": "^a"}, "ab")
            && !valid(doc! {"pattern": "^a"}, "b")
            && valid(doc! {"pattern": "^a"}, 1)
    );
    assert_eq!(code(doc! {"minLength": -1}), 9);
    assert_eq!(code(doc! {"pattern": 1}), 14);
}

#[test]
fn arrays_have_lengths_items_and_uniqueness() {
    assert!(valid(doc! {"minItems": 1, "maxItems": 2}, vec![1]) && !valid(doc! {"minItems": 2}, vec![1]));
    let same = bson::bson!([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]);
    assert!(!valid(doc! {"uniqueItems": true}, same.clone()) && valid(doc! {"uniqueItems": false}, same));
    assert!(valid(doc! {"uniqueItems": true}, bson::bson!([0, false, [0], {"0": 0}])));
    assert!(valid(doc! {"items": {"bsonType": "int"}}, vec![1, 2]));
    assert!(!valid(doc! {"items": {"bsonType": "int"}}, bson::bson!([1, "a"])));
    let places = doc! {"items": [{"bsonType": "int"}], "additionalItems": {"bsonType": "string"}};
    assert!(valid(places.clone(), bson::bson!([1, "a", "b"])) && !valid(places, bson::bson!([1, 2])));
    assert!(!valid(doc! {"items": [{}], "additionalItems": false}, vec![1, 2]));
}

#[test]
fn objects_have_properties_required_and_dependent_fields() {
    assert!(
        valid_whole(doc! {"required": ["a"]}, doc! {"a": null})
            && !valid_whole(doc! {"required": ["a"]}, doc! {})
    );
    let closed = doc! {"properties": {"a": {}}, "patternProperties": {"^n": {"bsonType": "int"}}, "additionalProperties": false};
    assert!(valid_whole(closed.clone(), doc! {"a": "x", "n1": 1}));
    assert!(!valid_whole(closed.clone(), doc! {"n1": "x"}) && !valid_whole(closed, doc! {"z": 1}));
    let rest = doc! {"properties": {"a": {}}, "additionalProperties": {"bsonType": "int"}};
    assert!(valid_whole(rest.clone(), doc! {"a": "x", "z": 1}) && !valid_whole(rest, doc! {"z": "x"}));
    let dependent = doc! {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}};
    assert!(
        valid_whole(dependent.clone(), doc! {"a": 1, "b": 1})
            && !valid_whole(dependent.clone(), doc! {"a": 1})
    );
    assert!(!valid_whole(dependent, doc! {"c": 1}));
    assert!(
        !valid_whole(doc! {"minProperties": 2}, doc! {"a": 1})
            && valid_whole(doc! {"maxProperties": 1}, doc! {"a": 1})
    );
    for (schema, expected) in
        [(doc! {"required": []}, 9), (doc! {"required": [1]}, 14), (doc! {"required": ["a", "a"]}, 9)]
    {
        assert_eq!(code(schema), expected);
    }
    assert_eq!(code(doc! {"patternProperties": {"(": {}}}), 9);
}

#[test]
fn schemas_combine() {
    let (small, even) = (doc! {"maximum": 10}, doc! {"multipleOf": 2});
    assert!(
        valid(doc! {"allOf": [small.clone(), even.clone()]}, 8)
            && !valid(doc! {"allOf": [small.clone(), even.clone()]}, 7)
    );
    assert!(
        valid(doc! {"anyOf": [small.clone(), even.clone()]}, 12)
            && !valid(doc! {"anyOf": [small.clone(), even.clone()]}, 11)
    );
    assert!(
        valid(doc! {"oneOf": [small.clone(), even.clone()]}, 7)
            && !valid(doc! {"oneOf": [small.clone(), even]}, 8)
    );
    assert!(valid(doc! {"not": small.clone()}, 11) && !valid(doc! {"not": small}, 1));
    assert!(
        valid(doc! {"enum": [1, {"a": 1, "b": 2}]}, doc! {"b": 2, "a": 1.0}) && !valid(doc! {"enum": [1]}, 2)
    );
    assert_eq!(code(doc! {"allOf": []}), 2);
    assert_eq!(code(doc! {"not": 1}), 14);
    assert_eq!(code(doc! {"enum": []}), 9);
}

#[test]
fn what_is_no_schema_is_refused() {
    assert_eq!(code(vec![1]), 14);
    assert_eq!(code(doc! {"bogus": 1}), 9);
    assert_eq!(code(doc! {"$ref": "x"}), 9);
    assert!(compile(doc! {"title": "t", "description": "d"}).unwrap().replayable().unwrap().is_empty());
}

proptest! {
    #[test]
    fn no_schema_makes_it_panic(schema in any_document(), document in any_document()) {
        if let Ok(filter) = Filter::parse(&bson::rawdoc! {"$jsonSchema": schema}) {
            let _ = filter.matches(&document);
        }
    }

    #[test]
    fn not_negates_every_schema(document in any_document(), least in 0..4_i32, kind in proptest::sample::select(vec!["int", "string", "object"])) {
        let schema = doc! {"minProperties": least, "properties": {"a": {"bsonType": kind}}};
        let plain = compile(schema.clone()).unwrap();
        let negated = compile(doc! {"not": schema}).unwrap();
        prop_assert_ne!(plain.matches(&document), negated.matches(&document));
    }
}
