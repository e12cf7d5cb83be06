//! Field operators.

use bson::{DateTime, Decimal128, Timestamp};

use super::*;

#[test]
fn set_replaces_in_place_and_appends_in_order_of_names() {
    check(
        doc! {"_id": 1, "a": 1, "b": 2},
        doc! {"$set": {"z": 1, "c": 1, "a": 9}},
        doc! {"_id": 1, "a": 9, "b": 2, "c": 1, "z": 1},
    );
    check(
        doc! {"_id": 1},
        doc! {"$set": {"10": 1, "9": 1, "b": 1, "1": 1}},
        doc! {"_id": 1, "1": 1, "9": 1, "10": 1, "b": 1},
    );
    check(doc! {"a": {"x": 1}}, doc! {"$set": {"a.y.z": 2}}, doc! {"a": {"x": 1, "y": {"z": 2}}});
    check(doc! {"_id": 1}, doc! {"$set": {"arr.0": 1}}, doc! {"_id": 1, "arr": {"0": 1}});
}

#[test]
fn set_of_the_same_bytes_changes_nothing() {
    check_kept(doc! {"a": 1, "b": {"c": [1, 2]}}, doc! {"$set": {"a": 1, "b.c": [1, 2]}});
    let other_type = try_update(doc! {"a": 1}, doc! {"$set": {"a": 1.0}}).unwrap();
    assert!(other_type.changed);
}

#[test]
fn unset_removes_fields_and_nulls_elements() {
    check(doc! {"a": 1, "b": 2}, doc! {"$unset": {"a": "", "zz": ""}}, doc! {"b": 2});
    check(doc! {"a": [1, 2, 3]}, doc! {"$unset": {"a.1": ""}}, doc! {"a": [1, Bson::Null, 3]});
    check_kept(doc! {"a": [1], "b": 5}, doc! {"$unset": {"a.7": 1, "a.x": 1, "b.c": 1, "q.r": 1}});
    check(doc! {"a": {"b": 1}}, doc! {"$unset": {"a.b": 1}}, doc! {"a": {}});
}

#[test]
fn inc_follows_the_rules_of_number_types() {
    check(doc! {"a": 1}, doc! {"$inc": {"a": 2}}, doc! {"a": 3});
    check(doc! {"a": i32::MAX}, doc! {"$inc": {"a": 1}}, doc! {"a": i64::from(i32::MAX) + 1});
    check(doc! {"a": 1}, doc! {"$inc": {"a": 1_i64}}, doc! {"a": 2_i64});
    check(doc! {"a": 1}, doc! {"$inc": {"a": 0.5}}, doc! {"a": 1.5});
    let tenth: Decimal128 = "0.1".parse().unwrap();
    check(doc! {"a": 1}, doc! {"$inc": {"a": tenth}}, doc! {"a": "1.1".parse::<Decimal128>().unwrap()});
    check(doc! {}, doc! {"$inc": {"a.b": 7}}, doc! {"a": {"b": 7}});
    check_kept(doc! {"a": 1}, doc! {"$inc": {"a": 0}});
    check_refused(doc! {"a": i64::MAX}, doc! {"$inc": {"a": 1}}, 2);
    check_refused(doc! {"a": "x"}, doc! {"$inc": {"a": 1}}, 14);
    check_refused(doc! {"a": Bson::Null}, doc! {"$inc": {"a": 1}}, 14);
    check_unparsed(doc! {"$inc": {"a": "1"}}, 14);
    check_unparsed(doc! {"$inc": {"a": Bson::Null}}, 14);
}

#[test]
fn a_computed_nan_has_one_form() {
    for (value, operand) in
        [(f64::INFINITY, f64::NEG_INFINITY), (-f64::NAN, 1.0), (f64::from_bits(0x7ff0_0000_0000_0001), 1.0)]
    {
        let updated = try_update(doc! {"a": value}, doc! {"$inc": {"a": operand}}).unwrap();
        assert_eq!(updated.document.get_f64("a").unwrap().to_bits(), 0x7ff8_0000_0000_0000);
    }
}

#[test]
fn mul_multiplies_and_starts_at_zero() {
    check(doc! {"a": 3}, doc! {"$mul": {"a": 4}}, doc! {"a": 12});
    check(doc! {"a": 3}, doc! {"$mul": {"a": 0.5}}, doc! {"a": 1.5});
    check(doc! {}, doc! {"$mul": {"a": 5_i64, "b": 2.5, "c": 1}}, doc! {"a": 0_i64, "b": 0.0, "c": 0});
    check(doc! {"a": 1 << 20}, doc! {"$mul": {"a": 1 << 20}}, doc! {"a": 1_i64 << 40});
    check_refused(doc! {"a": i64::MAX}, doc! {"$mul": {"a": 2_i64}}, 2);
    check_refused(doc! {"a": [1]}, doc! {"$mul": {"a": 2}}, 14);
    check_unparsed(doc! {"$mul": {"a": true}}, 14);
}

#[test]
fn min_and_max_compare_across_types() {
    check(doc! {"a": 5}, doc! {"$min": {"a": 3}}, doc! {"a": 3});
    check_kept(doc! {"a": 5}, doc! {"$min": {"a": 7}});
    check(doc! {"a": 5}, doc! {"$max": {"a": "text"}}, doc! {"a": "text"});
    check(doc! {"a": 5}, doc! {"$min": {"a": Bson::Null}}, doc! {"a": Bson::Null});
    check_kept(doc! {"a": 0}, doc! {"$max": {"a": -0.0}});
    check_kept(doc! {"a": 2}, doc! {"$min": {"a": 2.0}});
    check(doc! {}, doc! {"$max": {"a": 1}, "$min": {"b": 2}}, doc! {"a": 1, "b": 2});
    check_unparsed(doc! {"$min": {"a": 1}, "$max": {"a": 2}}, 40);
}

#[test]
fn bit_combines_integers() {
    check(doc! {"a": 13}, doc! {"$bit": {"a": {"and": 10}}}, doc! {"a": 8});
    check(doc! {"a": 5}, doc! {"$bit": {"a": {"or": 2, "xor": 1}}}, doc! {"a": 6});
    check(doc! {"a": 5}, doc! {"$bit": {"a": {"xor": 1_i64}}}, doc! {"a": 4_i64});
    check(doc! {}, doc! {"$bit": {"a": {"or": 3}, "b": {"and": 1_i64}}}, doc! {"a": 3, "b": 0_i64});
    check_refused(doc! {"a": 1.0}, doc! {"$bit": {"a": {"and": 1}}}, 2);
    for operand in [bson!({}), bson!({"nand": 1}), bson!({"and": 1.0}), bson!(1)] {
        check_unparsed(doc! {"$bit": {"a": operand}}, 2);
    }
}

#[test]
fn current_date_takes_the_time_of_the_context() {
    let date = DateTime::from_millis(CONTEXT.now_ms);
    let timestamp = Timestamp { time: 1_700_000_000, increment: 1 };
    check(
        doc! {"a": 0},
        doc! {"$currentDate": {"a": true, "b": {"$type": "date"}, "c": {"$type": "timestamp"}, "d": false}},
        doc! {"a": date, "b": date, "c": timestamp, "d": date},
    );
    for operand in [bson!(1), bson!({"$type": "Date"}), bson!({"$type": 9}), bson!({"x": "date"})] {
        check_unparsed(doc! {"$currentDate": {"a": operand}}, 2);
    }
}

#[test]
fn rename_moves_a_value() {
    check(doc! {"a": 1, "b": 2}, doc! {"$rename": {"a": "c"}}, doc! {"b": 2, "c": 1});
    check(doc! {"a": 1, "b": 2}, doc! {"$rename": {"a": "b"}}, doc! {"b": 1});
    check(
        doc! {"a": {"b": [1]}, "c": 2},
        doc! {"$rename": {"a.b": "x.y"}},
        doc! {"a": {}, "c": 2, "x": {"y": [1]}},
    );
    check_kept(doc! {"a": 1}, doc! {"$rename": {"q": "r.s", "q2.x": "a.b"}});
    check_refused(doc! {"a": [{"b": 1}]}, doc! {"$rename": {"a.0.b": "c"}}, 2);
    check_refused(doc! {"a": [{"b": 1}], "c": 1}, doc! {"$rename": {"c": "a.0.z"}}, 2);
    check_refused(doc! {"a": 5}, doc! {"$rename": {"a.b": "c"}}, 28);
    check_refused(doc! {"a": 5, "c": 1}, doc! {"$rename": {"c": "a.b"}}, 28);
    check_unparsed(doc! {"$rename": {"a": "a"}}, 2);
    check_unparsed(doc! {"$rename": {"a": "a.b"}}, 2);
    check_unparsed(doc! {"$rename": {"a.$": "b"}}, 2);
    check_unparsed(doc! {"$rename": {"a": "b.$[]"}}, 2);
    check_unparsed(doc! {"$rename": {"a": 1}}, 2);
    check_unparsed(doc! {"$rename": {"a": ""}}, 56);
    check_unparsed(doc! {"$rename": {"a": "b\0"}}, 2);
    check_unparsed(doc! {"$rename": {"a": "b"}, "$set": {"a.x": 1}}, 40);
}

#[test]
fn set_on_insert_is_only_for_inserts() {
    check_kept(doc! {"a": 5}, doc! {"$setOnInsert": {"b": 1, "a.c": 1}});
    let update = parse(doc! {"$setOnInsert": {"b": 1}, "$inc": {"a": 1}}).unwrap();
    let inserted =
        update.apply(&raw(doc! {"_id": 1}), &UpdateContext { is_insert: true, ..CONTEXT }).unwrap();
    assert_eq!(decoded(&inserted.document), doc! {"_id": 1, "a": 1, "b": 1});
    check_unparsed(doc! {"$setOnInsert": {"a": 1}, "$set": {"a.b": 1}}, 40);
}

#[test]
fn the_id_stays() {
    check_kept(doc! {"_id": 1}, doc! {"$set": {"_id": 1}});
    check_refused(doc! {"_id": 1}, doc! {"$set": {"_id": 2}}, 66);
    check_refused(doc! {"_id": 1}, doc! {"$unset": {"_id": 1}}, 66);
    check_refused(doc! {"_id": 1}, doc! {"$inc": {"_id": 1}}, 66);
    check_refused(doc! {"_id": 1}, doc! {"$rename": {"_id": "b"}}, 66);
    check_refused(doc! {"_id": 1, "b": 2}, doc! {"$rename": {"b": "_id"}}, 66);
    check_refused(doc! {"_id": {"x": 1}}, doc! {"$set": {"_id.x": 2}}, 66);
    check_refused(doc! {"_id": {"x": 1}}, doc! {"$set": {"_id.y": 2}}, 66);
    check(doc! {"_id": 1, "a": {"_id": 1}}, doc! {"$set": {"a._id": 2}}, doc! {"_id": 1, "a": {"_id": 2}});
}

#[test]
fn a_replacement_keeps_the_id_in_front() {
    let replaced = try_update(doc! {"_id": 1, "a": 1}, doc! {"b": 2}).unwrap();
    assert_eq!((decoded(&replaced.document), replaced.changed), (doc! {"_id": 1, "b": 2}, true));
    let replaced = try_update(doc! {"_id": 1, "a": 1}, doc! {"b": 2, "_id": 1.0}).unwrap();
    assert_eq!(decoded(&replaced.document), doc! {"_id": 1, "b": 2});
    assert!(try_update(doc! {"_id": 1}, doc! {"_id": 1}).unwrap().changed);
    check_refused(doc! {"_id": 1}, doc! {"_id": 2}, 66);
    check_refused(doc! {"_id": {"a": 1, "b": 2}}, doc! {"_id": {"b": 2, "a": 1}}, 66);
    check_unparsed(doc! {"_id": [1]}, 53);
    check_unparsed(doc! {"a": 1, "$set": {"b": 1}}, 9);
    assert_eq!(
        Update::parse(&raw(doc! {"a": 1}), &UpdateOptions { multi: true, ..Default::default() })
            .unwrap_err()
            .code
            .0,
        9
    );
    assert_eq!(parse_with(doc! {"a": 1}, vec![doc! {"x": 1}]).unwrap_err().code.0, 9);
}
