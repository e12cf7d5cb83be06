#![allow(clippy::needless_pass_by_value)] // literals read better by value

use bson::{Bson, Document, RawDocumentBuf, doc};

use crate::{ElementFilter, Filter, QueryContext, Update, UpdateContext, UpdateOptions};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

/// English, with no difference of case.
fn context() -> QueryContext {
    QueryContext::default().with_collation(&raw(&doc! {"locale": "en", "strength": 2})).unwrap()
}

fn filter(query: Document) -> Filter {
    Filter::parse_in(&raw(&query), &context()).unwrap()
}

fn matches(query: Document, document: Document) -> bool {
    filter(query).matches(&raw(&document)).unwrap()
}

#[test]
fn strings_are_compared_by_the_collation() {
    assert!(matches(doc! {"a": "apple"}, doc! {"a": "APPLE"}));
    assert!(!matches(doc! {"a": {"$ne": "apple"}}, doc! {"a": "APPLE"}));
    assert!(matches(doc! {"a": {"$gt": "apple"}}, doc! {"a": "Banana"}));
    assert!(!matches(doc! {"a": {"$gt": "apple"}}, doc! {"a": "Apple"}));
    assert!(matches(doc! {"a": {"$gte": "apple", "$lte": "apple"}}, doc! {"a": "Apple"}));
    assert!(matches(doc! {"a": {"$in": ["x", "apple", 3]}}, doc! {"a": "Apple"}));
    assert!(matches(doc! {"a": {"$in": ["x", "apple", 3]}}, doc! {"a": 3.0}));
    assert!(!matches(doc! {"a": {"$nin": ["x", "apple"]}}, doc! {"a": "Apple"}));
    assert!(matches(doc! {"a": {"$all": ["b", "A"]}}, doc! {"a": ["a", "B"]}));
    assert!(matches(doc! {"a": {"$elemMatch": {"b": "x"}}}, doc! {"a": [{"b": "X"}]}));
    assert!(matches(doc! {"a": {"b": "x", "c": [1, "y"]}}, doc! {"a": {"b": "X", "c": [1.0, "Y"]}}));
    assert!(matches(doc! {"$expr": {"$eq": ["$a", "x"]}}, doc! {"a": "X"}));
    assert!(matches(doc! {"$expr": {"$in": ["$a", ["x", "y"]]}}, doc! {"a": "Y"}));
    assert!(matches(doc! {"$expr": {"$eq": [{"$setUnion": [["a"], ["A"]]}, ["a"]]}}, doc! {}));
}

#[test]
fn patterns_types_and_other_values_know_no_collation() {
    assert!(!matches(doc! {"a": {"$regex": "^apple"}}, doc! {"a": "Apple"}));
    assert!(!matches(doc! {"a": {"$gt": "a"}}, doc! {"a": 5}));
    assert!(!matches(doc! {"a": {"$lt": "z"}}, doc! {}));
    assert!(matches(doc! {"a": {"$gt": 5}}, doc! {"a": 6}));
    let pattern = Bson::RegularExpression(bson::Regex {
        pattern: bson::raw::cstr!("^b").into(),
        options: bson::raw::cstr!("").into(),
    });
    assert!(matches(doc! {"a": {"$in": ["x", pattern]}}, doc! {"a": "bc"}));
}

#[test]
fn a_logged_filter_holds_its_collation() {
    let filter = filter(doc! {"a": "apple", "b": {"$regex": "x"}});
    let guard = filter.replayable().unwrap();
    assert!(guard.is_replayable());
    let read = Filter::parse_logged(guard.to_document()).unwrap();
    assert!(read.matches(&raw(&doc! {"a": "APPLE"})).unwrap());
    assert!(!read.matches(&raw(&doc! {"a": "pear"})).unwrap());
    assert_eq!(read.replayable().unwrap().to_document(), guard.to_document());
    let expression = Filter::parse_in(&raw(&doc! {"$expr": {"$in": ["x", "$a"]}}), &context()).unwrap();
    let expression = Filter::parse_logged(expression.replayable().unwrap().to_document()).unwrap();
    assert!(expression.matches(&raw(&doc! {"a": ["X"]})).unwrap());
    let plain = Filter::parse_in(&raw(&doc! {"a": 5}), &context()).unwrap();
    assert_eq!(plain.replayable().unwrap().to_document(), &*raw(&doc! {"a": 5}));
}

#[test]
fn a_query_cannot_name_its_collation_within() {
    for query in [
        doc! {"$collation": {"locale": "en"}},
        doc! {"a": 1, "$collation": {"locale": "en"}},
        doc! {"$and": [{"$collation": {"locale": "en"}}]},
    ] {
        assert_eq!(Filter::parse(&raw(&query)).unwrap_err().code.0, 2, "{query}");
    }
    let nested = doc! {"$and": [{"$collation": {"locale": "en"}}]};
    assert_eq!(Filter::parse_logged(&raw(&nested)).unwrap_err().code.0, 2);
    let read =
        Filter::parse_logged(&raw(&doc! {"a": "b", "$collation": {"locale": "en", "strength": 2}})).unwrap();
    assert!(read.matches(&raw(&doc! {"a": "B"})).unwrap());
    assert!(read.replayable().unwrap().matches(&raw(&doc! {"a": "B"})).unwrap());
}

#[test]
fn an_equality_by_a_collation_names_no_document_but_makes_one() {
    let filter = filter(doc! {"_id": "apple", "b": "x"});
    assert!(filter.id_equality().is_none());
    let facts = filter.equality_facts().unwrap();
    assert_eq!(facts.len(), 2);
}

#[test]
fn updates_compare_by_the_collation() {
    let updated = |update: Document, document: Document| {
        let options = UpdateOptions { context: context(), ..UpdateOptions::default() };
        let update = Update::parse(&raw(&update), &options).unwrap();
        assert!(!update.is_replayable());
        let updated = update.apply(&raw(&document), &UpdateContext::default()).unwrap();
        Document::try_from(updated.document).unwrap()
    };
    assert_eq!(updated(doc! {"$max": {"a": "apple"}}, doc! {"a": "Banana"}), doc! {"a": "Banana"});
    assert_eq!(updated(doc! {"$min": {"a": "BANANA"}}, doc! {"a": "apple"}), doc! {"a": "apple"});
    assert_eq!(updated(doc! {"$addToSet": {"a": "X"}}, doc! {"a": ["x"]}), doc! {"a": ["x"]});
    assert_eq!(updated(doc! {"$pull": {"a": "X"}}, doc! {"a": ["x", "y"]}), doc! {"a": ["y"]});
    assert_eq!(updated(doc! {"$pull": {"a": {"b": "X"}}}, doc! {"a": [{"b": "x"}]}), doc! {"a": []});
    assert_eq!(updated(doc! {"$pullAll": {"a": ["X", "Z"]}}, doc! {"a": ["x", "y", "z"]}), doc! {"a": ["y"]});
    assert_eq!(
        updated(doc! {"$push": {"a": {"$each": ["B"], "$sort": 1}}}, doc! {"a": ["c", "a"]}),
        doc! {"a": ["a", "B", "c"]}
    );
}

#[test]
fn elements_are_chosen_by_the_collation() {
    let (_, chosen) = ElementFilter::parse_array_filter(&raw(&doc! {"x": "apple"}), &context()).unwrap();
    assert!(chosen.matches(bson::RawBsonRef::String("Apple")));
    assert!(!chosen.matches(bson::RawBsonRef::String("pear")));
}
