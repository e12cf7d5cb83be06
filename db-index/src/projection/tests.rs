#![allow(clippy::needless_pass_by_value)] // reads better with literals

use bson::{Document, doc};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
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
fn fields_are_computed_and_come_last() {
    let document = doc! {"_id": 1, "a": 2, "b": {"c": 3}, "d": [{"x": 1, "y": 2}, 7]};
    let shown = project(
        doc! {"sum": {"$add": ["$a", "$b.c"]}, "d.x": 1, "a": 1, "text": "as it is"},
        document.clone(),
    );
    assert_eq!(shown, doc! {"_id": 1, "a": 2, "d": [{"x": 1}], "sum": 5, "text": "as it is"});
    assert_eq!(order(&shown), ["_id", "a", "d", "sum", "text"]);
    let anew = project(doc! {"a": "$b.c", "b": 1, "_id": 0}, document.clone());
    assert_eq!(anew, doc! {"b": {"c": 3}, "a": 3});
    assert_eq!(order(&anew), ["b", "a"]);
    assert_eq!(project(doc! {"e": "$nothing"}, document.clone()), doc! {"_id": 1});
    assert_eq!(
        project(doc! {"e": null, "f": ["$a", "$z"]}, document.clone()),
        doc! {"_id": 1, "e": null, "f": [2, null]}
    );
    assert_eq!(project(doc! {"_id": "$a"}, document.clone()), doc! {"_id": 2});
    assert_eq!(project(doc! {"_id": 0, "e": {"$literal": 1}}, document.clone()), doc! {"e": 1});
    assert_eq!(
        project(doc! {"d": {"$slice": ["$d", 1]}}, document.clone()),
        doc! {"_id": 1, "d": [{"x": 1, "y": 2}]}
    );
    let both = project(doc! {"e": "$a", "d": {"$elemMatch": {"x": 1}}, "b.c": 1}, document.clone());
    assert_eq!(order(&both), ["_id", "b", "e", "d"]);
    let sliced = project(doc! {"d": {"$slice": 1}, "e": "$d"}, document);
    assert_eq!(sliced, doc! {"_id": 1, "d": [{"x": 1, "y": 2}], "e": [{"x": 1, "y": 2}, 7]});
}

#[test]
fn computed_fields_nest() {
    let document = doc! {"_id": 1, "a": 2, "b": {"c": 3, "d": 4}, "e": [{"x": 1}, 7, [{"x": 2}]]};
    assert_eq!(
        project(doc! {"b.f": "$a", "b.c": 1}, document.clone()),
        doc! {"_id": 1, "b": {"c": 3, "f": 2}}
    );
    assert_eq!(project(doc! {"a.f": "$a"}, document.clone()), doc! {"_id": 1, "a": {"f": 2}});
    assert_eq!(
        project(doc! {"n": {"m": {"f": "$a"}, "g": 1}}, document.clone()),
        doc! {"_id": 1, "n": {"m": {"f": 2}}}
    );
    assert_eq!(
        project(doc! {"e.f": "$a", "e.x": 1}, document),
        doc! {"_id": 1, "e": [{"x": 1, "f": 2}, {"f": 2}, [{"x": 2, "f": 2}]]}
    );
}

#[test]
fn computed_fields_do_not_go_with_hidden_ones() {
    assert_eq!(code(doc! {"a": 0, "b": {"$add": [1, 2]}}), 31252);
    assert_eq!(code(doc! {"a": 0, "b": "$c"}), 31310);
    assert_eq!(code(doc! {"b": "$c", "a": 0}), 31254);
    assert_eq!(code(doc! {"b": {"$nonsense": 1}}), 31325);
    assert_eq!(code(doc! {"b": {"$add": {"$nonsense": 1}}}), 168);
    assert_eq!(code(doc! {"b": "$$nobody"}), 17276);
    assert_eq!(code(doc! {"b": "$c", "b.d": 1}), 31249);
    assert_eq!(code(doc! {"a.$": "x"}), 31271);
    assert_eq!(code(doc! {"a.$": {"$add": [1, 2]}}), 31271);
    let failing = Projection::parse(&raw(&doc! {"a": {"$divide": [1, "$b"]}}), None).unwrap();
    assert_eq!(failing.apply(&raw(&doc! {"b": 0})).unwrap_err().code.0, 2);
}

#[test]
fn variables_are_known_and_growth_is_bounded() {
    let context = QueryContext::at(5).with_variables(&raw(&doc! {"x": [1, 2]})).unwrap();
    let projection = raw(&doc! {"x": "$$x", "now": "$$NOW", "_id": 0});
    let projection = Projection::parse_in(&projection, None, &context).unwrap();
    let now = bson::DateTime::from_millis(5);
    assert_eq!(projection.apply(&raw(&doc! {})).unwrap(), raw(&doc! {"x": [1, 2], "now": now}));

    let items: Vec<Document> = vec![doc! {}; 1000];
    let document = raw(&doc! {"items": items, "text": "x".repeat(100_000)});
    let projection = Projection::parse(&raw(&doc! {"items.text": "$text"}), None).unwrap();
    assert_eq!(projection.apply(&document).unwrap_err().code, ErrorCode::BSON_OBJECT_TOO_LARGE);
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
