//! Orders of languages, options and refusals.
#![allow(clippy::needless_pass_by_value)] // literals read better by value

use bson::{Document, RawDocumentBuf, doc};
use proptest::prelude::*;

use super::*;
use crate::testing::any_text;

fn collation(document: Document) -> Collation {
    let raw = RawDocumentBuf::try_from(&document).unwrap();
    Collation::parse(&raw).unwrap_or_else(|error| panic!("{document}: {error}")).unwrap()
}

fn refused(document: Document) -> i32 {
    Collation::parse(&RawDocumentBuf::try_from(&document).unwrap()).unwrap_err().code.0
}

/// The words in the order of the collation.
fn sorted<'a>(document: Document, words: &[&'a str]) -> Vec<&'a str> {
    let collation = collation(document);
    let mut words = words.to_vec();
    words.sort_by(|a, b| collation.compare(a, b));
    words
}

fn equal(document: Document, a: &str, b: &str) -> bool {
    collation(document).is_equal(a, b)
}

#[test]
fn strength_says_what_makes_a_difference() {
    let at = |strength: i32| doc! {"locale": "en", "strength": strength};
    assert!(equal(at(1), "cafe", "CAFÉ"));
    assert!(equal(at(2), "cafe", "Cafe") && !equal(at(2), "cafe", "café"));
    assert!(!equal(at(3), "cafe", "Cafe"));
    assert!(equal(at(3), "\u{e9}", "e\u{301}"), "canonical equivalents");
    assert!(!equal(at(5), "a\u{200b}b", "ab") && equal(at(3), "a\u{200b}b", "ab"));
    assert!(equal(doc! {"locale": "en", "strength": 1, "caseLevel": true}, "e", "é"));
    assert!(!equal(doc! {"locale": "en", "strength": 1, "caseLevel": true}, "e", "E"));
}

#[test]
fn locales_have_orders_of_their_own() {
    assert_eq!(sorted(doc! {"locale": "en"}, &["z", "ö", "o", "a", "B"]), ["a", "B", "o", "ö", "z"]);
    assert_eq!(sorted(doc! {"locale": "sv"}, &["z", "ö", "o"]), ["o", "z", "ö"]);
    assert_eq!(sorted(doc! {"locale": "de@collation=phonebook"}, &["af", "ä", "ad"]), ["ad", "ä", "af"]);
    assert_eq!(sorted(doc! {"locale": "da"}, &["a", "A"]), ["A", "a"]);
    assert_eq!(sorted(doc! {"locale": "fr_CA"}, &["coté", "côte"]), ["côte", "coté"]);
    assert_eq!(sorted(doc! {"locale": "fr"}, &["côte", "coté"]), ["coté", "côte"]);
    assert_eq!(sorted(doc! {"locale": "fr", "backwards": true}, &["coté", "côte"]), ["côte", "coté"]);
}

#[test]
fn options_change_the_order() {
    assert_eq!(
        sorted(doc! {"locale": "en", "numericOrdering": true}, &["a10", "a2", "a1"]),
        ["a1", "a2", "a10"]
    );
    assert_eq!(sorted(doc! {"locale": "en", "numericOrdering": true}, &["a³", "a¹²"]), ["a¹²", "a³"]);
    assert_eq!(sorted(doc! {"locale": "en", "caseFirst": "upper"}, &["a", "A"]), ["A", "a"]);
    assert_eq!(sorted(doc! {"locale": "en", "caseFirst": "lower"}, &["A", "a"]), ["a", "A"]);
    assert!(equal(doc! {"locale": "en", "alternate": "shifted"}, "black-bird", "blackbird"));
    let spaces = || doc! {"locale": "en", "alternate": "shifted", "maxVariable": "space"};
    assert!(!equal(spaces(), "black-bird", "blackbird") && equal(spaces(), "black bird", "blackbird"));
}

#[test]
fn documents_that_are_no_collation_are_refused() {
    assert_eq!(refused(doc! {"strength": 2}), 40414);
    assert_eq!(refused(doc! {"locale": 1}), 14);
    assert_eq!(refused(doc! {"locale": "en", "unknown": 1}), 40415);
    assert_eq!(refused(doc! {"locale": "en", "strength": 6}), 51024);
    assert_eq!(refused(doc! {"locale": "en", "strength": "x"}), 14);
    for locale in
        ["invalid_xyz", "", "en-US", "EN", "en_us", "en_US_en", "xx", "en@collation=nonsense", "en@x=y"]
    {
        assert_eq!(refused(doc! {"locale": locale}), 2, "{locale}");
    }
    assert_eq!(refused(doc! {"locale": "en", "caseFirst": "x"}), 2);
    assert_eq!(refused(doc! {"locale": "en", "caseFirst": "upper", "strength": 2}), 2);
    assert_eq!(refused(doc! {"locale": "en", "backwards": true, "strength": 1}), 2);
    let simple = RawDocumentBuf::try_from(&doc! {"locale": "simple", "numericOrdering": true}).unwrap();
    assert!(Collation::parse(&simple).unwrap().is_none());
}

#[test]
fn a_collation_is_its_options() {
    let a = collation(doc! {"locale": "en", "strength": 3_i64});
    assert_eq!(a, collation(doc! {"locale": "en", "numericOrdering": bson::Bson::Null}));
    assert_ne!(a, collation(doc! {"locale": "en", "strength": 2}));
    assert_eq!(Collation::parse(a.to_document()).unwrap(), Some(a));
}

proptest! {
    #[test]
    fn keys_compare_as_the_strings_do(a in any_text(), b in any_text(), which in 0..5_usize) {
        let collation = collation([
            doc! {"locale": "en", "strength": 1},
            doc! {"locale": "sv", "strength": 2},
            doc! {"locale": "de", "numericOrdering": true},
            doc! {"locale": "fr_CA", "strength": 4, "alternate": "shifted"},
            doc! {"locale": "zh", "caseLevel": true},
        ][which].clone());
        let key = |text: &str| {
            let mut key = Vec::new();
            collation.sort_key(text, &mut key);
            key
        };
        prop_assert_eq!(key(&a).cmp(&key(&b)), collation.compare(&a, &b));
    }
}
