//! `$expr` and `$sampleRate`.
#![allow(clippy::needless_pass_by_value)] // literals read better by value

use bson::{Document, RawBson, RawDocumentBuf, doc};

use crate::{Chance, ElementFilter, Filter, QueryContext, QueryError};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn filter(document: Document) -> Filter {
    Filter::parse(&raw(&document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn matches(query: Document, document: Document) -> bool {
    filter(query).matches(&raw(&document)).unwrap()
}

fn code(result: Result<impl std::fmt::Debug, QueryError>) -> i32 {
    result.unwrap_err().code.0
}

fn refused(query: Document) -> i32 {
    code(Filter::parse(&raw(&query)))
}

fn at(now_ms: i64) -> QueryContext {
    QueryContext::at(now_ms)
}

#[test]
fn fields_are_compared_with_each_other() {
    let over = || doc! {"$expr": {"$gt": ["$spent", "$budget"]}};
    assert!(matches(over(), doc! {"spent": 5, "budget": 4}));
    assert!(!matches(over(), doc! {"spent": 4, "budget": 4}));
    assert!(matches(over(), doc! {"spent": "a", "budget": 4}), "types are not bracketed");
    assert!(matches(over(), doc! {"spent": 1}), "missing is below everything");
}

#[test]
fn expressions_go_with_other_conditions() {
    let either = doc! {"$or": [{"a": 1}, {"$expr": {"$eq": ["$b", 2]}}], "c": {"$exists": true}};
    assert!(matches(either.clone(), doc! {"b": 2, "c": 0}));
    assert!(matches(either.clone(), doc! {"a": 1, "c": 0}));
    assert!(!matches(either, doc! {"a": 2, "c": 0}));
    assert!(!matches(doc! {"$nor": [{"$expr": "$a"}]}, doc! {"a": 1}));
    assert!(matches(doc! {"$nor": [{"$expr": "$a"}]}, doc! {"a": 0}));
    assert!(matches(doc! {"$expr": true}, doc! {}));
    assert!(!matches(doc! {"$expr": {"$literal": 0}}, doc! {}));
}

#[test]
fn a_failure_fails_the_test_of_the_document() {
    let divides = filter(doc! {"$expr": {"$gt": [{"$divide": [1, "$a"]}, 0]}});
    assert!(divides.matches(&raw(&doc! {"a": 1})).unwrap());
    assert_eq!(code(divides.matches(&raw(&doc! {"a": 0}))), 2);
    let not = filter(doc! {"$nor": [{"$expr": {"$add": ["$a", 1]}}]});
    assert_eq!(code(not.matches(&raw(&doc! {"a": "x"}))), 14);
    let spared = filter(doc! {"a": {"$ne": 0}, "$expr": {"$gt": [{"$divide": [1, "$a"]}, 0]}});
    assert!(!spared.matches(&raw(&doc! {"a": 0})).unwrap());
}

#[test]
fn expressions_stand_at_the_top_only() {
    assert_eq!(refused(doc! {"a": {"$elemMatch": {"$expr": {"$eq": ["$b", 1]}}}}), 2);
    assert_eq!(refused(doc! {"a": {"$elemMatch": {"$or": [{"$expr": true}]}}}), 2);
    assert_eq!(refused(doc! {"a": {"$expr": {"$eq": ["$b", 1]}}}), 2);
    assert_eq!(refused(doc! {"$expr": {"$nonsense": 1}}), 168);
    assert_eq!(refused(doc! {"$expr": "$$nobody"}), 17276);
    let filters = raw(&doc! {"x": 1, "$expr": true});
    assert_eq!(code(ElementFilter::parse_array_filter(&filters, &at(0))), 224);
    let pulled = raw(&doc! {"$expr": true});
    assert_eq!(code(ElementFilter::parse_pull(bson::RawBsonRef::Document(&pulled), &at(0))), 224);
}

#[test]
fn variables_and_the_moment_are_written_out_in_the_guard() {
    let context =
        at(1000).with_variables(&raw(&doc! {"limit": {"$add": [1, 2]}, "text": {"$literal": "$a"}})).unwrap();
    let query = doc! {"$and": [
        {"$expr": {"$lt": ["$a", "$$limit"]}},
        {"$expr": {"$or": [{"$lte": ["$when", "$$NOW"]}, {"$eq": ["$a", {"$literal": "$$NOW"}]}, {"$eq": ["$a", "$$text"]}]}},
    ]};
    let filter = Filter::parse_in(&raw(&query), &context).unwrap();
    assert!(filter.is_replayable());
    let guard = filter.replayable().unwrap();
    let guard = Filter::parse(guard.to_document()).unwrap();
    let date = |millis| bson::DateTime::from_millis(millis);
    for (document, expected) in [
        (doc! {"a": 2, "when": date(999)}, true),
        (doc! {"a": 2, "when": date(1001)}, false),
        (doc! {"a": 3, "when": date(999)}, false),
        (doc! {"a": "$$NOW"}, false),
    ] {
        let document = raw(&document);
        assert_eq!(filter.matches(&document).unwrap(), expected, "{document:?}");
        assert_eq!(guard.matches(&document).unwrap(), expected, "{document:?}");
    }
    assert_eq!(code(at(0).with_variables(&raw(&doc! {"Upper": 1}))), 9);
}

#[test]
fn what_depends_on_the_platform_or_chance_is_no_guard() {
    for expression in [doc! {"$sin": "$a"}, doc! {"$rand": {}}, doc! {"$toUpper": "$a"}, doc! {"$year": "$a"}]
    {
        let filter = filter(doc! {"b": 1, "$expr": expression});
        assert!(!filter.is_replayable());
        assert_eq!(filter.replayable().unwrap().to_document(), &*raw(&doc! {"b": 1}));
    }
    let sample = filter(doc! {"b": 1, "$sampleRate": 0.5});
    assert_eq!(sample.replayable().unwrap().to_document(), &*raw(&doc! {"b": 1}));
}

#[test]
fn a_sample_takes_about_its_share() {
    let context = QueryContext { chance: Chance::new(42), ..QueryContext::default() };
    let filter = Filter::parse_in(&raw(&doc! {"$sampleRate": 0.25}), &context).unwrap();
    let taken = (0..4000).filter(|_| filter.matches(&RawDocumentBuf::new()).unwrap()).count();
    assert!((900..1100).contains(&taken), "{taken}");
    assert!(!matches(doc! {"$sampleRate": 0}, doc! {}));
    assert!(matches(doc! {"$sampleRate": 1}, doc! {}));
    assert_eq!(refused(doc! {"$sampleRate": 1.5}), 2);
    assert_eq!(refused(doc! {"$sampleRate": "x"}), 2);
}

#[test]
fn constants_are_computed_once() {
    let constant = |expression: Document| {
        let document = raw(&doc! {"e": expression});
        let expression = crate::Expression::parse(document.get("e").unwrap().unwrap(), &[]).unwrap();
        expression.constant().cloned()
    };
    assert_eq!(constant(doc! {"$add": [1, {"$multiply": [2, 3]}]}), Some(RawBson::Int32(7)));
    assert_eq!(constant(doc! {"$divide": [1, 0]}), None, "what fails is left for later");
    assert_eq!(constant(doc! {"$size": [{"$range": [0, 100_000]}]}), None, "what is dear too");
    let array = constant(doc! {"$concatArrays": [[{"$literal": "$a"}], [{"b": {"$add": [1, 1]}}]]});
    let expected = raw(&doc! {"e": ["$a", {"b": 2}]});
    assert_eq!(array.as_ref().map(RawBson::as_raw_bson_ref), expected.get("e").unwrap());
}
