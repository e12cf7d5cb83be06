//! Paths, conflicts, limits and the update document as a whole.

use super::*;

#[test]
fn paths_are_checked_without_a_document() {
    for path in ["", "a.", ".a", "a..b", "."] {
        check_unparsed(doc! {"$set": {path: 1}}, 56);
    }
    for path in ["$", "$[]", "$[x]"] {
        check_unparsed(doc! {"$set": {path: 1}}, 2);
    }
    check_unparsed(doc! {"$set": {vec!["a"; 65].join("."): 1}}, 2);
}

#[test]
fn dollar_names_are_written_below_the_top_level_only() {
    check(doc! {}, doc! {"$set": {"a.$id": 1, "a.$b.c": 2}}, doc! {"a": {"$b": {"c": 2}, "$id": 1}});
    for path in ["$a", "$set", "$a.b"] {
        check_refused(doc! {}, doc! {"$set": {path: 1}}, 52);
    }
    check_refused(doc! {"$a": 1}, doc! {"$inc": {"$a": 1}}, 52);
    check_refused(doc! {"a": 1}, doc! {"$rename": {"a": "$b"}}, 52);
    check_kept(doc! {"$a": 1}, doc! {"$max": {"$a": 1}, "$unset": {"$b": 1}});
    check(doc! {"$a": 1}, doc! {"$unset": {"$a": 1}}, doc! {});
    let update = parse(doc! {"$set": {"$a": 1}}).unwrap();
    assert!(update.apply(&RawDocumentBuf::new(), &UpdateContext { is_insert: true, ..CONTEXT }).is_ok());
}

#[test]
fn conflicting_paths_are_refused() {
    check_unparsed(doc! {"$set": {"a": 1}, "$inc": {"a": 1}}, 40);
    check_unparsed(doc! {"$set": {"a.b": 1, "a": 1}}, 40);
    check_unparsed(doc! {"$set": {"a": 1, "a.b.c": 1}}, 40);
    check_unparsed(doc! {"$unset": {"a.b": 1}, "$push": {"a.b.0": 1}}, 40);
    check_unparsed(doc! {"$set": {"a.$[]": 1, "a.0": 1}}, 40);
    check(doc! {}, doc! {"$set": {"a.b": 1, "a.c": 2, "ab": 3}}, doc! {"a": {"b": 1, "c": 2}, "ab": 3});
    check_refused(doc! {"a": [1]}, doc! {"$set": {"a.0": 1, "a.00": 2}}, 40);
}

#[test]
fn update_documents_are_of_one_kind() {
    check_unparsed(doc! {"$set": {"a": 1}, "b": 1}, 9);
    check_unparsed(doc! {"$nonsense": {"a": 1}}, 9);
    check_unparsed(doc! {"$set": 5}, 9);
    check_unparsed(doc! {"$rename": [1]}, 9);
    check_kept(doc! {"a": 1}, doc! {"$set": {}, "$inc": {}});
    let value = |value: Bson| {
        let value = RawBson::try_from(value).unwrap();
        Update::parse_value(value.as_raw_bson_ref(), &UpdateOptions::default())
            .map(|update| update.is_replacement())
    };
    assert_eq!(value(bson!({"a": 1})), Ok(true));
    assert_eq!(value(bson!({"$set": {"a": 1}})), Ok(false));
    assert_eq!(value(bson!([{"$out": "x"}])).unwrap_err().code.0, 72);
    assert_eq!(value(bson!([{"$set": {"a": 1}}])), Ok(false));
    assert_eq!(value(bson!(1)).unwrap_err().code.0, 9);
}

#[test]
fn a_scalar_has_no_fields() {
    check_refused(doc! {"a": 5}, doc! {"$set": {"a.b": 1}}, 28);
    check_refused(doc! {"a": Bson::Null}, doc! {"$inc": {"a.b.c": 1}}, 28);
    check_refused(doc! {"a": {"b": "x"}}, doc! {"$push": {"a.b.c": 1}}, 28);
}

#[test]
fn nothing_is_half_applied() {
    let document = doc! {"a": 1, "b": "x"};
    check_refused(document.clone(), doc! {"$set": {"a": 2}, "$inc": {"b": 1}}, 14);
}

#[test]
fn the_result_keeps_the_limits() {
    let nested = (0..60).fold(bson!(1), |value, _| bson!({"a": value}));
    check_refused(doc! {"x": {"y": {"z": 1}}}, doc! {"$set": {"x.y.w": {"v": {"u": nested.clone()}}}}, 15);
    assert!(try_update(doc! {}, doc! {"$set": {"x": nested}}).is_ok());
    let text = "x".repeat(6 << 20);
    check_refused(doc! {"a": [1, 2, 3, 4]}, doc! {"$set": {"a.$[]": text.clone()}}, 10334);
    check_refused(doc! {"a": [text.clone(), text.clone()]}, doc! {"$push": {"a": text.clone()}}, 10334);
    check_refused(doc! {"_id": text.clone(), "a": &text}, doc! {"b": &text, "c": &text}, 10334);
    check_refused(doc! {"a": []}, doc! {"$set": {"a.1200000": 1}}, 15);
}

#[test]
fn touched_paths_end_where_a_document_decides() {
    let update = parse_with(
        doc! {"$set": {"a.b": 1, "c.$[x].d": 1}, "$rename": {"e": "f.g"}, "$setOnInsert": {"h": 1}, "$push": {"i.$[]": 1}},
        vec![doc! {"x": 1}],
    )
    .unwrap();
    assert_eq!(update.touched_paths(), ["a.b", "c", "e", "f.g", "i"]);
    assert_eq!(parse(doc! {"_id": 1, "q": 2}).unwrap().touched_paths(), ["_id", "q"]);
}
