use bson::{RawDocumentBuf, rawdoc};

use super::*;
use crate::filter::Filter;

#[track_caller]
fn check(query: &RawDocumentBuf, partial: &RawDocumentBuf, expected: bool) {
    let (query, partial) = (Filter::parse(query).unwrap(), Filter::parse(partial).unwrap());
    assert_eq!(implies(&[query.root()], partial.root()), expected, "{query:?} implies {partial:?}");
}

#[test]
fn a_tighter_bound_implies_a_looser_one() {
    let above = rawdoc! { "a": { "$gt": 5 } };
    for (query, expected) in [
        (rawdoc! { "a": { "$gt": 5 } }, true),
        (rawdoc! { "a": { "$gt": 7.5, "$lt": 9 } }, true),
        (rawdoc! { "a": { "$gte": 5 } }, false),
        (rawdoc! { "a": 6, "b": 1 }, true),
        (rawdoc! { "a": 5 }, false),
        (rawdoc! { "a": "x" }, false),
        (rawdoc! { "a": { "$in": [6, 7] } }, true),
        (rawdoc! { "a": { "$in": [6, null] } }, false),
        (rawdoc! { "b": 6 }, false),
        (rawdoc! { "a": { "$ne": 3 } }, false),
        (rawdoc! { "a": f64::NAN }, false),
    ] {
        check(&query, &above, expected);
    }
}

#[test]
fn what_a_missing_field_satisfies_implies_no_existence() {
    let exists = rawdoc! { "a": { "$exists": true } };
    for (query, expected) in [
        (rawdoc! { "a": 1 }, true),
        (rawdoc! { "a": null }, false),
        (rawdoc! { "a": { "$in": [1, null] } }, false),
        (rawdoc! { "a": { "$ne": null } }, true),
        (rawdoc! { "a": { "$ne": 1 } }, false),
        (rawdoc! { "a": { "$type": "string" } }, true),
        (rawdoc! { "a": { "$size": 0 } }, true),
        (rawdoc! { "a": { "$gte": null } }, false),
    ] {
        check(&query, &exists, expected);
    }
    check(&rawdoc! { "a.b": { "$ne": null } }, &rawdoc! { "a.b": { "$exists": true } }, false);
}

#[test]
fn types_follow_from_values_whose_type_is_known() {
    check(&rawdoc! { "a": "x" }, &rawdoc! { "a": { "$type": "string" } }, false); // a symbol equals a string
    check(&rawdoc! { "a": "x" }, &rawdoc! { "a": { "$type": ["string", "symbol"] } }, true);
    check(&rawdoc! { "a": 1 }, &rawdoc! { "a": { "$type": "number" } }, true);
    check(&rawdoc! { "a": 1 }, &rawdoc! { "a": { "$type": "int" } }, false);
    check(&rawdoc! { "a": { "$gt": 1 } }, &rawdoc! { "a": { "$type": "number" } }, true);
    check(&rawdoc! { "a": { "$type": "int" } }, &rawdoc! { "a": { "$type": "number" } }, true);
    check(&rawdoc! { "a": { "$lt": bson::RawBson::MaxKey } }, &rawdoc! { "a": { "$type": "number" } }, false);
}

#[test]
fn logic_is_followed() {
    let either = rawdoc! { "$or": [{ "a": { "$lt": 5 } }, { "b": 1 }] };
    check(&rawdoc! { "a": 4 }, &either, true);
    check(&rawdoc! { "$or": [{ "a": 4 }, { "b": 1, "c": 2 }] }, &either, true);
    check(&rawdoc! { "$or": [{ "a": 4 }, { "c": 2 }] }, &either, false);
    check(&rawdoc! { "a": 4, "b": 2 }, &rawdoc! { "a": { "$lt": 5 }, "b": { "$gt": 1 } }, true);
    check(&rawdoc! {}, &rawdoc! {}, true);
    check(&rawdoc! { "a": { "$not": { "$lt": 5 } } }, &rawdoc! { "a": { "$gte": 5 } }, false);
}
