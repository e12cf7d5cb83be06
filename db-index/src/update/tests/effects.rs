//! What is logged in the place of an update: resolved dates, plain effects.

use bson::raw::cstr;
use bson::{DateTime, Regex, Timestamp};

use super::*;

#[test]
fn current_date_resolves_to_set() {
    let update = parse(
        doc! {"$inc": {"n": 1}, "$currentDate": {"d": true, "t": {"$type": "timestamp"}}, "$set": {"s": 1}},
    )
    .unwrap();
    assert!(!update.is_replayable());
    let resolved = update.resolve(&CONTEXT).unwrap();
    assert!(resolved.is_replayable());
    let date = DateTime::from_millis(CONTEXT.now_ms);
    let timestamp = Timestamp { time: 1_700_000_000, increment: 1 };
    assert_eq!(
        decoded(resolved.to_document()),
        doc! {"$set": {"s": 1, "d": date, "t": timestamp}, "$inc": {"n": 1}}
    );
    let later = UpdateContext { now_ms: 0, ..CONTEXT };
    let document = raw(doc! {"_id": 1});
    assert_eq!(resolved.apply(&document, &later).unwrap(), update.apply(&document, &CONTEXT).unwrap());
}

#[test]
fn an_update_without_dates_stays_as_it_is() {
    let update = parse(doc! {"$inc": {"n": 1}}).unwrap();
    assert_eq!(update.resolve(&CONTEXT).unwrap().to_document(), update.to_document());
    assert!(update.is_replayable());
    let pattern = Regex { pattern: cstr!("a").into(), options: cstr!("").into() };
    assert!(!parse(doc! {"$pull": {"a": pattern.clone()}}).unwrap().is_replayable());
    assert!(!parse_with(doc! {"$set": {"a.$[x]": 1}}, vec![doc! {"x": pattern}]).unwrap().is_replayable());
}

#[track_caller]
fn check_effects(before: Document, after: Document, expected: Document) {
    let effects = plain_effects(&raw(before.clone()), &raw(after.clone())).unwrap();
    assert_eq!(decoded(&effects), expected);
    let updated =
        Update::parse(&effects, &UpdateOptions::default()).unwrap().apply(&raw(before), &CONTEXT).unwrap();
    assert_eq!(decoded(&updated.document), after);
}

#[test]
fn effects_name_the_fields_that_differ() {
    check_effects(
        doc! {"_id": 1, "a": 1, "b": {"x": 1, "y": 2}, "c": [1, 2], "d": 4},
        doc! {"_id": 1, "a": 1, "b": {"x": 1, "y": 3}, "c": [1], "e": 5},
        doc! {"$set": {"b.y": 3, "c": [1], "e": 5}, "$unset": {"d": true}},
    );
    check_effects(doc! {"a": {"b.c": 1}}, doc! {"a": {"b.c": 2}}, doc! {"$set": {"a": {"b.c": 2}}});
    check_effects(doc! {"_id": 1}, doc! {"_id": 1, "z": 1, "a": 1}, doc! {"_id": 1, "z": 1, "a": 1});
    check_effects(doc! {"_id": 1}, doc! {"_id": 1}, doc! {"$set": {}});
}

#[test]
fn a_replacement_tells_the_fields_that_it_changed() {
    let before = raw(doc! {"_id": 1, "a": 1, "b": 2, "c": 3});
    let after = raw(doc! {"_id": 1, "c": 3, "b": 2.0, "d": 4});
    assert_eq!(changed_fields(&before, &after).unwrap(), ["b", "d", "a"]);
}
