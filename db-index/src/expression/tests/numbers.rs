//! Arithmetic and conversions at the edges of the number types.

use super::*;

#[test]
fn sums_go_by_the_widest_type_so_far() {
    check(bson!({"$add": [0.1, 0.2, 0.3]}), bson!(0.1 + 0.2 + 0.3));
    check(bson!({"$add": [i32::MAX, 1, -1]}), bson!(i32::MAX));
    check(bson!({"$add": [i32::MAX, 1]}), bson!(i64::from(i32::MAX) + 1));
    check(bson!({"$add": [i64::MAX, 1, -1]}), bson!(i64::MAX as f64));
    check(bson!({"$add": [0.1, decimal("0.2")]}), Bson::Decimal128(decimal("0.300000000000000")));
    check(bson!({"$add": [decimal("0.2"), 0.1, 1]}), Bson::Decimal128(decimal("1.300000000000000")));
    let date = |millis| Bson::DateTime(DateTime::from_millis(millis));
    check(bson!({"$add": [date(0), 1.5, 1.5]}), date(4));
    check(bson!({"$add": [1.5, 1.5, date(0)]}), date(3));
    check(bson!({"$add": [date(0), Bson::Null, "x"]}), Bson::Null);
    check_refused(bson!({"$add": [date(0), f64::NAN]}), 15);
    check_refused(bson!({"$add": [date(0), date(1)]}), 16612);
}

#[test]
fn rounded_decimals_have_all_places() {
    for (value, place, expected) in [
        ("1.5", 3, "1.500"),
        ("1.25", 1, "1.2"),
        ("0", 2, "0.00"),
        ("1.298", 100, "1.298000000000000000000000000000000"),
        ("23.298", -1, "2E+1"),
        ("1E+3", 0, "1000"),
        ("1E+40", 0, "1.000000000000000000000000000000000E+40"),
    ] {
        check(bson!({"$round": [decimal(value), place]}), Bson::Decimal128(decimal(expected)));
    }
}

#[test]
fn what_is_checked_first() {
    check(bson!({"$atan2": [Bson::Null, "x"]}), Bson::Null);
    check_refused(bson!({"$atan2": ["x", Bson::Null]}), 51044);
    check_refused(bson!({"$bitNot": 1.5}), 14);
    check_refused(bson!({"$bitNot": "x"}), 28765);
    check_refused(bson!({"$mod": [decimal("5"), 0]}), 5_733_415);
    check_refused(bson!({"$convert": {"input": Bson::Null, "to": "nothing"}}), 2);
    check(bson!({"$convert": {"input": 5, "to": Bson::Null}}), Bson::Null);
    check(
        bson!({"$convert": {"input": 5, "to": "string", "format": Bson::Null, "base": Bson::Null}}),
        bson!("5"),
    );
}

#[test]
fn degrees_of_decimals_are_exact() {
    let number = |text: &str| Bson::Decimal128(decimal(text));
    check(bson!({"$degreesToRadians": decimal("180")}), number("3.141592653589793238462643383279503"));
    check(bson!({"$radiansToDegrees": decimal("1")}), number("57.29577951308232087679815481410517"));
}

#[test]
fn conversions_keep_to_the_bounds() {
    check_refused(bson!({"$toInt": 2_147_483_647.9}), 241);
    check_refused(bson!({"$toInt": -2_147_483_648.5}), 241);
    check(bson!({"$toInt": decimal("2147483647.9")}), bson!(i32::MAX));
    check_refused(bson!({"$toDouble": decimal("1E-400")}), 241);
    check_refused(bson!({"$toDouble": decimal("1E+400")}), 241);
    check(bson!({"$toDouble": decimal("0E-400")}), bson!(0.0));
    check(bson!({"$toString": 1e15}), bson!("1000000000000000"));
    check(bson!({"$toString": 1e16}), bson!("1e+16"));
    check(bson!({"$toString": 0.0001}), bson!("0.0001"));
    check(bson!({"$toString": 0.000_01}), bson!("1e-05"));
    check(bson!({"$toString": -0.0}), bson!("-0"));
    check_refused(bson!({"$toString": Bson::Symbol("x".to_owned())}), 241);
}

#[test]
fn decimals_are_read_from_text() {
    for (text, expected) in [
        ("1.50", "1.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("+1e3", "1E+3"),
        ("-Infinity", "-Infinity"),
        ("nan", "NaN"),
        ("0.1000000000000000055511151231257827021181583404541015625", "0.1000000000000000055511151231257827"),
        ("12345678901234567890123456789012345", "1.234567890123456789012345678901234E+34"),
        ("123456789012345678901234567890123450000000001", "1.234567890123456789012345678901235E+44"),
    ] {
        check(bson!({"$toDecimal": text}), Bson::Decimal128(decimal(expected)));
    }
    for text in ["", ".", "1e", "e5", "1 ", " 1", "0x1", "1.2.3", "1E+7000", "1E-7000", "--1", "Inf y"] {
        check_refused(bson!({"$toDecimal": text}), 241);
    }
}

#[test]
fn what_is_the_same_for_all_documents_is_refused_by_other_codes() {
    check_refused(bson!({"$setEquals": [[1], 5]}), 5_887_502);
    check_refused(bson!({"$setEquals": ["$s", [1]]}), 17044);
    check_refused(bson!({"$setEquals": ["$a", "$s"]}), 17044);
    check(bson!({"$setEquals": [["x"], "$a", "$s"]}), bson!(false));
    let set = |field: Bson| bson!({"$setField": {"field": field, "input": {}, "value": 1}});
    check_refused(set(bson!("$s")), 4_161_108);
    check_refused(set(bson!("$$ROOT")), 4_161_108);
    check_refused(set(bson!({"$concat": ["x", "$s"]})), 4_161_106);
    check_refused(set(bson!(5)), 4_161_107);
    check(set(bson!({"$concat": ["x", "y"]})), bson!({"xy": 1}));
    check(set(bson!({"$literal": "$s"})), bson!({"$s": 1}));
    check_refused(bson!({"$indexOfArray": [[1], 1, -1]}), 9_711_601);
    check_refused(bson!({"$arrayToObject": [[{"k": "a", "v": 1}, 5]]}), 40391);
}
