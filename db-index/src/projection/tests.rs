#![allow(clippy::needless_pass_by_value)] // reads better with literals

use bson::{Document, doc};
use proptest::prelude::*;

use super::*;
use crate::testing::{any_document, small_document};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn project(projection: Document, document: Document) -> Document {
    let projection =
        Projection::parse(&raw(&projection), None).unwrap_or_else(|error| panic!("{projection}: {error}"));
    Document::try_from(projection.apply(&raw(&document)).unwrap()).unwrap()
}

fn positional(filter: Document, projection: Document, document: Document) -> Result<Document, i32> {
    let filter = Filter::parse(&raw(&filter)).unwrap();
    let projection = Projection::parse(&raw(&projection), Some(&filter)).map_err(|error| error.code.0)?;
    let shown = projection.apply(&raw(&document)).map_err(|error| error.code.0)?;
    Ok(Document::try_from(shown).unwrap())
}

fn code(projection: Document) -> i32 {
    Projection::parse(&raw(&projection), None).expect_err(&format!("{projection} must not compile")).code.0
}

fn order(document: &Document) -> Vec<&str> {
    document.keys().map(String::as_str).collect()
}

#[test]
fn inclusion_shows_the_fields_named_and_the_id() {
    let document = doc! {"_id": 1, "a": 2, "b": 3, "c": 4};
    assert_eq!(project(doc! {"c": 1, "a": true}, document.clone()), doc! {"_id": 1, "a": 2, "c": 4});
    assert_eq!(order(&project(doc! {"c": 1, "a": 1}, document.clone())), ["_id", "a", "c"]);
    assert_eq!(project(doc! {"a": 0.5, "_id": 0}, document.clone()), doc! {"a": 2});
    assert_eq!(project(doc! {"_id": 1}, document.clone()), doc! {"_id": 1});
    assert_eq!(project(doc! {"x": 1}, document), doc! {"_id": 1});
}

#[test]
fn exclusion_hides_the_fields_named() {
    let document = doc! {"_id": 1, "a": 2, "b": 3};
    assert_eq!(project(doc! {"a": 0}, document.clone()), doc! {"_id": 1, "b": 3});
    assert_eq!(project(doc! {"_id": 0}, document.clone()), doc! {"a": 2, "b": 3});
    assert_eq!(project(doc! {"a": 0, "_id": false}, document.clone()), doc! {"b": 3});
    assert_eq!(project(doc! {}, document.clone()), document);
}

#[test]
fn dotted_paths_lead_through_objects_and_arrays() {
    let document = doc! {"a": [{"b": 1, "c": 2}, 5, [{"b": 3, "c": 4}]], "d": {"b": 1}, "e": 7};
    assert_eq!(
        project(doc! {"a.b": 1, "d.x": 1, "e.x": 1}, document.clone()),
        doc! {"a": [{"b": 1}, [{"b": 3}]], "d": {}}
    );
    assert_eq!(
        project(doc! {"a.b": 0, "e.x": 0}, document.clone()),
        doc! {"a": [{"c": 2}, 5, [{"c": 4}]], "d": {"b": 1}, "e": 7}
    );
    assert_eq!(project(doc! {"a": {"b": 1}}, document), doc! {"a": [{"b": 1}, [{"b": 3}]]});
}

#[test]
fn inclusion_and_exclusion_do_not_mix() {
    assert_eq!(code(doc! {"a": 0, "b": 1}), 31253);
    assert_eq!(code(doc! {"a": 1, "b": 0}), 31254);
    assert_eq!(code(doc! {"a": 1, "a.b": 1}), 31249);
    assert_eq!(code(doc! {"a.b": 1, "a": 1}), 31250);
    assert_eq!(code(doc! {"a.b": 1, "a": {"b": 1}}), 31250);
    assert_eq!(code(doc! {"a": {}}), 51270);
    assert_eq!(code(doc! {"$v": true}), 16410);
    assert_eq!(code(doc! {"": 1}), 40352);
    assert_eq!(code(doc! {"a": "$b"}), 238);
    assert_eq!(code(doc! {"a": {"$add": [1, 2]}}), 238);
}

#[test]
fn slice_takes_a_part_and_shows_the_rest() {
    let document = doc! {"_id": 1, "a": [1, 2, 3, 4], "b": 5};
    let part = |slice: bson::Bson| project(doc! {"a": {"$slice": slice}}, document.clone());
    assert_eq!(part(2.into()), doc! {"_id": 1, "a": [1, 2], "b": 5});
    assert_eq!(part((-3).into()), doc! {"_id": 1, "a": [2, 3, 4], "b": 5});
    assert_eq!(part(0.into()), doc! {"_id": 1, "a": [], "b": 5});
    assert_eq!(part((-2.9).into()), doc! {"_id": 1, "a": [3, 4], "b": 5});
    assert_eq!(part(bson::bson!([1, 2])), doc! {"_id": 1, "a": [2, 3], "b": 5});
    assert_eq!(part(bson::bson!([-3, 2])), doc! {"_id": 1, "a": [2, 3], "b": 5});
    assert_eq!(part(bson::bson!([-9, 2])), doc! {"_id": 1, "a": [1, 2], "b": 5});
    assert_eq!(project(doc! {"b": {"$slice": 1}}, document.clone()), document);
    assert_eq!(
        project(doc! {"b": 1, "a": {"$slice": 1}}, document.clone()),
        doc! {"_id": 1, "a": [1], "b": 5}
    );
    assert_eq!(project(doc! {"b": 0, "a": {"$slice": 1}}, document), doc! {"_id": 1, "a": [1]});
    assert_eq!(code(doc! {"a": {"$slice": [1, 0]}}), 28724);
    assert_eq!(code(doc! {"a": {"$slice": []}}), 28667);
    assert_eq!(code(doc! {"a": {"$slice": "x"}}), 28667);
}

#[test]
fn elem_match_shows_the_first_match_at_the_end() {
    let document = doc! {"_id": 1, "a": [{"x": 1}, {"x": 2, "y": 1}, {"x": 2}], "b": 5};
    let shown = project(doc! {"a": {"$elemMatch": {"x": 2}}, "b": 1}, document.clone());
    assert_eq!(shown, doc! {"_id": 1, "b": 5, "a": [{"x": 2, "y": 1}]});
    assert_eq!(order(&shown), ["_id", "b", "a"]);
    assert_eq!(project(doc! {"a": {"$elemMatch": {"x": 9}}}, document.clone()), doc! {"_id": 1});
    let beside = project(doc! {"a": {"$elemMatch": {"x": 2}}, "_id": 0, "c": 0}, document);
    assert_eq!(order(&beside), ["a", "b"]);
    assert_eq!(project(doc! {"a": {"$elemMatch": {"$gt": 1}}}, doc! {"a": [1, 2, 3]}), doc! {"a": [2]});
    assert_eq!(code(doc! {"a": {"$elemMatch": 1}}), 31274);
    assert_eq!(code(doc! {"a.b": {"$elemMatch": {}}}), 31275);
    assert_eq!(code(doc! {"a": {"$elemMatch": {"x": 1}, "y": 0}}), 16410);
    assert_eq!(code(doc! {"a": {"$elemMatch": {"$rand": {}}}}), 2);
}

#[test]
fn the_positional_operator_shows_the_element_matched() {
    let document = doc! {"_id": 1, "a": [5, 7, 9], "b": [1], "c": 3};
    assert_eq!(
        positional(doc! {"a": 7}, doc! {"a.$": 1}, document.clone()).unwrap(),
        doc! {"_id": 1, "a": [7]}
    );
    assert_eq!(positional(doc! {"a": {"$gt": 5}}, doc! {"b.$": 1}, document.clone()), Err(51247));
    assert_eq!(positional(doc! {"a": {"$size": 3}}, doc! {"a.$": 1}, document.clone()), Err(51246));
    assert_eq!(
        positional(doc! {"a": 7}, doc! {"c.$": 1}, document.clone()).unwrap(),
        doc! {"_id": 1, "c": 3}
    );
    let nested = doc! {"a": {"b": [{"x": 1}, {"x": 2}]}};
    assert_eq!(
        positional(doc! {"a.b.x": 2}, doc! {"a.b.$": 1}, nested).unwrap(),
        doc! {"a": {"b": [{"x": 2}]}}
    );
    assert_eq!(code(doc! {"a.$": 1, "b.$": 1}), 31276);
    assert_eq!(code(doc! {"a.$.b": 1}), 31394);
    assert_eq!(code(doc! {"a.$": 0}), 31395);
    assert_eq!(code(doc! {"b": 0, "a.$": 1}), 31395);
    assert_eq!(code(doc! {"a.$": 1, "b": 0}), 31254);
    assert_eq!(code(doc! {"a.$": 1, "a": {"$slice": 1}}), 28667);
    assert_eq!(code(doc! {"a": {"$slice": 1}, "a.$": 1}), 31250);
    assert_eq!(code(doc! {"a.$": 1, "b": {"$elemMatch": {}}}), 31255);
}

#[test]
fn only_plain_inclusions_can_be_covered() {
    let fields = |document: Document| Projection::parse(&raw(&document), None).unwrap().fields();
    assert_eq!(fields(doc! {"a": 1, "b.c": 1}).unwrap(), ["_id", "a", "b.c"]);
    assert_eq!(fields(doc! {"a": 1, "_id": 0}).unwrap(), ["a"]);
    assert_eq!(fields(doc! {"_id": 1}).unwrap(), ["_id"]);
    assert_eq!(fields(doc! {"a": 0}), None);
    assert_eq!(fields(doc! {"a": {"$elemMatch": {}}}), None);
    assert_eq!(fields(doc! {"a": 1, "b": {"$slice": 1}}), None);
}

fn any_paths() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["a.b", "b", "c.a.b", "a.0", "c.b"], 1..4)
}

proptest! {
    #[test]
    fn what_is_shown_and_what_is_hidden_make_up_the_top_level(paths in any_paths(), document in small_document()) {
        let with = |shown: i32| paths.iter().map(|path| ((*path).to_owned(), bson::Bson::Int32(shown))).collect::<Document>();
        let inclusion = Projection::parse(&raw(&with(1)), None).unwrap().apply(&document).unwrap();
        let exclusion = Projection::parse(&raw(&with(0)), None).unwrap().apply(&document).unwrap();
        for (name, _) in document.iter().map(Result::unwrap) {
            let found = |part: &RawDocumentBuf| part.get(name.as_str()).unwrap().is_some();
            prop_assert!(found(&inclusion) || found(&exclusion));
        }
        // Showing again changes nothing.
        let again = Projection::parse(&raw(&with(1)), None).unwrap().apply(&inclusion).unwrap();
        prop_assert_eq!(again.as_bytes(), inclusion.as_bytes());
    }

    #[test]
    fn no_projection_makes_it_panic(projection in any_document(), document in any_document()) {
        if let Ok(projection) = Projection::parse(&projection, None) {
            let _ = projection.apply(&document);
        }
    }
}
