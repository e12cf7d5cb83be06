//! Expressions on small documents.
#![allow(clippy::needless_pass_by_value)] // literals read better by value

mod dates;
mod numbers;

use bson::raw::RawDocumentBuf;
use bson::{Bson, DateTime, Decimal128, Document, bson, doc};
use proptest::prelude::*;

use super::calendar::Civil;
use super::zone::Zone;
use super::*;
use crate::testing::{any_document, any_value, small_document};

const NOW_MS: i64 = 1_700_000_000_000;

fn raw(document: Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn try_evaluate(expression: Bson, document: Document) -> Result<Option<Bson>, QueryError> {
    let expression = RawBson::try_from(expression).unwrap();
    let expression = Expression::parse(expression.as_raw_bson_ref(), &[])?;
    let value = expression.evaluate(&raw(document), &[], NOW_MS)?.to_raw_bson()?;
    Ok(value.map(|value| Bson::try_from(value).unwrap()))
}

/// `None` stands for missing.
#[track_caller]
fn check(expression: Bson, expected: impl Into<Option<Bson>>) {
    let document = doc! {"_id": 7, "n": 5, "s": "text", "a": [1, 2, 3], "o": {"x": 1, "y": {"z": [{"q": 1}, {"q": 2}, 5]}}, "null": Bson::Null};
    let value =
        try_evaluate(expression.clone(), document).unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(value, expected.into(), "{expression}");
}

#[track_caller]
fn check_refused(expression: Bson, code: i32) {
    match try_evaluate(expression.clone(), doc! {"a": [1], "s": "x"}) {
        Ok(value) => panic!("{expression} gave {value:?}"),
        Err(error) => assert_eq!(error.code.0, code, "{expression}: {error}"),
    }
}

fn decimal(text: &str) -> Decimal128 {
    text.parse().unwrap()
}

#[test]
fn literals_paths_and_variables() {
    check(bson!(5), bson!(5));
    check(bson!({"$literal": {"$add": [1]}}), bson!({"$add": [1]}));
    check(bson!("$n"), bson!(5));
    check(bson!("$nothing"), None);
    check(bson!("$o.y.z.q"), bson!([1, 2]));
    check(bson!("$a.x"), bson!([]));
    check(bson!("$$ROOT.n"), bson!(5));
    check(bson!("$$CURRENT.o.x"), bson!(1));
    check(bson!("$$REMOVE"), None);
    check(bson!("$$NOW"), Bson::DateTime(DateTime::from_millis(NOW_MS)));
    check(bson!({"x": "$n", "y": "$nothing", "z": ["$nothing", 1]}), bson!({"x": 5, "z": [Bson::Null, 1]}));
    check_refused(bson!("$$nobody"), 17276);
    check_refused(bson!("$"), 16872);
    check_refused(bson!("$a."), 40353);
    check_refused(bson!("$a..b"), 15998);
    check_refused(bson!({"$nonsense": 1}), 168);
    check_refused(bson!({"$add": [1], "x": 1}), 15983);
    check_refused(bson!({"a.b": 1}), 16405);
}

#[test]
fn callers_give_variables() {
    let expression = RawBson::try_from(bson!({"$add": ["$$base", "$n"]})).unwrap();
    let expression = Expression::parse(expression.as_raw_bson_ref(), &["base"]).unwrap();
    let document = raw(doc! {"n": 2});
    let value = expression.evaluate(&document, &[Value::int(40)], NOW_MS).unwrap();
    assert_eq!(value.to_raw_bson().unwrap(), Some(RawBson::Int32(42)));
}

#[test]
fn arithmetic_keeps_number_types() {
    check(bson!({"$add": [1, 2]}), bson!(3));
    check(bson!({"$add": [i32::MAX, 1]}), bson!(i64::from(i32::MAX) + 1));
    check(bson!({"$add": [i64::MAX, 1]}), bson!(9_223_372_036_854_775_808.0));
    check(bson!({"$add": [1, Bson::Null]}), Bson::Null);
    check(bson!({"$add": [DateTime::from_millis(5), 2]}), Bson::DateTime(DateTime::from_millis(7)));
    check(bson!({"$subtract": [DateTime::from_millis(5), DateTime::from_millis(2)]}), bson!(3_i64));
    check(bson!({"$multiply": [2, decimal("1.50")]}), bson!(decimal("3.00")));
    check(bson!({"$divide": [7, 2]}), bson!(3.5));
    check(bson!({"$mod": [-7, 3]}), bson!(-1));
    check(bson!({"$abs": -4}), bson!(4));
    check(bson!({"$round": [2.5]}), bson!(2.0));
    check(bson!({"$round": [2.675, 2]}), bson!(2.67));
    check(bson!({"$round": [1250, -2]}), bson!(1200));
    check(bson!({"$trunc": [-7.85, 1]}), bson!(-7.8));
    check(bson!({"$pow": [2, 10]}), bson!(1024));
    check(bson!({"$pow": [2, -1]}), bson!(0.5));
    check(bson!({"$bitXor": [5, 1_i64]}), bson!(4_i64));
    check_refused(bson!({"$add": ["x", 1]}), 14);
    check_refused(bson!({"$divide": [1, 0]}), 2);
    check_refused(bson!({"$mod": [1, 0]}), 16610);
    check_refused(bson!({"$abs": "x"}), 28765);
    check_refused(bson!({"$divide": [1]}), 16020);
}

#[test]
fn decimal_functions_have_all_their_digits() {
    check(bson!({"$ln": decimal("10")}), bson!(decimal("2.302585092994045684017991454684364")));
    check(bson!({"$exp": decimal("1")}), bson!(decimal("2.718281828459045235360287471352662")));
    check(bson!({"$sqrt": decimal("2")}), bson!(decimal("1.414213562373095048801688724209698")));
    check(bson!({"$log10": decimal("1000")}), bson!(decimal("3")));
    check(
        bson!({"$pow": [decimal("2"), decimal("0.5")]}),
        bson!(decimal("1.414213562373095048801688724209698")),
    );
    check(bson!({"$exp": decimal("-Infinity")}), bson!(decimal("0")));
    check(bson!({"$sqrt": decimal("16")}), bson!(decimal("4")));
}

#[test]
fn comparison_is_by_the_total_order() {
    check(bson!({"$gt": ["text", 5]}), bson!(true));
    check(bson!({"$eq": [1, 1.0]}), bson!(true));
    check(bson!({"$lt": ["$nothing", Bson::Null]}), bson!(true));
    check(bson!({"$cmp": [{"$concat": ["a", "b"]}, "ac"]}), bson!(-1));
    check(bson!({"$eq": [{"x": "$n"}, {"x": 5}]}), bson!(true));
    check(bson!({"$and": []}), bson!(true));
    check(bson!({"$or": [0, Bson::Null, "$nothing"]}), bson!(false));
    check(bson!({"$not": [[false]]}), bson!(false));
    check(bson!({"$ifNull": ["$nothing", "$null", 3]}), bson!(3));
    check(
        bson!({"$cond": {"if": {"$gte": ["$n", 5]}, "then": "y", "else": {"$divide": [1, 0]}}}),
        bson!("y"),
    );
    check(bson!({"$switch": {"branches": [{"case": false, "then": 1}], "default": 2}}), bson!(2));
    check_refused(bson!({"$switch": {"branches": [{"case": false, "then": 1}]}}), 40066);
}

#[test]
fn arrays_sets_and_objects() {
    check(bson!({"$map": {"input": "$a", "as": "e", "in": {"$multiply": ["$$e", 2]}}}), bson!([2, 4, 6]));
    check(bson!({"$filter": {"input": "$a", "cond": {"$gt": ["$$this", 1]}, "limit": 1}}), bson!([2]));
    check(
        bson!({"$reduce": {"input": "$a", "initialValue": 0, "in": {"$add": ["$$value", "$$this"]}}}),
        bson!(6),
    );
    check(
        bson!({"$let": {"vars": {"x": 2}, "in": {"$map": {"input": "$a", "in": {"$add": ["$$this", "$$x"]}}}}}),
        bson!([3, 4, 5]),
    );
    check(bson!({"$arrayElemAt": ["$a", -1]}), bson!(3));
    check(bson!({"$slice": ["$a", -2, 1]}), bson!([2]));
    check(bson!({"$range": [0, 10, 4]}), bson!([0, 4, 8]));
    check(
        bson!({"$zip": {"inputs": [[1, 2], [3]], "useLongestLength": true, "defaults": [0, 9]}}),
        bson!([[1, 3], [2, 9]]),
    );
    check(bson!({"$setUnion": [[2, 1], [2.0, 3]]}), bson!([1, 2, 3]));
    check(bson!({"$setDifference": ["$a", [2]]}), bson!([1, 3]));
    check(
        bson!({"$sortArray": {"input": [{"x": 2}, {"x": 1}], "sortBy": {"x": 1}}}),
        bson!([{"x": 1}, {"x": 2}]),
    );
    check(bson!({"$objectToArray": {"x": 1}}), bson!([{"k": "x", "v": 1}]));
    check(bson!({"$arrayToObject": [[["x", 1], ["y", 2]]]}), bson!({"x": 1, "y": 2}));
    check(
        bson!({"$mergeObjects": ["$o", {"x": 2, "w": 3}]}),
        bson!({"x": 2, "y": {"z": [{"q": 1}, {"q": 2}, 5]}, "w": 3}),
    );
    check(bson!({"$setField": {"field": "a.b", "input": {"x": 1}, "value": 2}}), bson!({"x": 1, "a.b": 2}));
    check(bson!({"$getField": {"field": "x", "input": "$o"}}), bson!(1));
    check(bson!({"$sum": ["$a", 4]}), bson!(4));
    check(bson!({"$sum": "$a"}), bson!(6));
    check(bson!({"$avg": "$a"}), bson!(2.0));
    check(bson!({"$max": [1, "x", Bson::Null]}), bson!("x"));
    check_refused(bson!({"$size": "$s"}), 17124);
    check_refused(bson!({"$arrayToObject": [[["x\0", 1]]]}), 4_940_400);
}

#[test]
fn strings_and_conversions() {
    check(bson!({"$concat": ["$s", "!"]}), bson!("text!"));
    check(bson!({"$substrCP": ["größe", 2, 2]}), bson!("öß"));
    check(bson!({"$indexOfCP": ["größe", "e"]}), bson!(4));
    check(bson!({"$split": ["a-b", "-"]}), bson!(["a", "b"]));
    check(bson!({"$trim": {"input": "  x "}}), bson!("x"));
    check(bson!({"$replaceAll": {"input": "aba", "find": "a", "replacement": "c"}}), bson!("cbc"));
    check(
        bson!({"$regexFind": {"input": "hello", "regex": "l(l)"}}),
        bson!({"match": "ll", "idx": 2, "captures": ["l"]}),
    );
    check(bson!({"$toUpper": "$s"}), bson!("TEXT"));
    check(bson!({"$toInt": "12"}), bson!(12));
    check(bson!({"$toString": 1.5}), bson!("1.5"));
    check(bson!({"$type": "$nothing"}), bson!("missing"));
    check(bson!({"$convert": {"input": "x", "to": "int", "onError": "bad"}}), bson!("bad"));
    check_refused(bson!({"$toInt": "1.5"}), 241);
    check_refused(bson!({"$substrBytes": ["é", 1, 1]}), 28656);
}

#[test]
fn dates_know_time_zones() {
    let summer = DateTime::from_millis(1_720_000_000_000); // 2024-07-03T09:46:40Z
    check(bson!({"$hour": {"date": summer, "timezone": "America/New_York"}}), bson!(5));
    check(bson!({"$hour": {"date": summer, "timezone": "+05:30"}}), bson!(15));
    check(
        bson!({"$dateToString": {"date": summer, "format": "%Y-%m-%d %H:%M %z", "timezone": "Europe/London"}}),
        bson!("2024-07-03 10:46 +0100"),
    );
    check(
        bson!({"$dateFromString": {"dateString": "2024-07-03T10:46:40", "timezone": "Europe/London"}}),
        Bson::DateTime(summer),
    );
    check(
        bson!({"$dateAdd": {"startDate": DateTime::from_millis(1_706_659_200_000), "unit": "month", "amount": 1}}),
        Bson::DateTime(DateTime::from_millis(1_709_164_800_000)),
    );
    check(
        bson!({"$dateDiff": {"startDate": DateTime::from_millis(0), "endDate": summer, "unit": "year"}}),
        bson!(54_i64),
    );
    check(
        bson!({"$dateTrunc": {"date": summer, "unit": "month"}}),
        Bson::DateTime(DateTime::from_millis(1_719_792_000_000)),
    );
    check(bson!({"$isoWeek": DateTime::from_millis(0)}), bson!(1));
    // Far beyond the table the yearly rule holds.
    let zone = Zone::parse("America/New_York").unwrap();
    assert_eq!(zone.offset_minutes(4_118_000_000_000), -240); // in June 2100
    assert_eq!(zone.offset_minutes(4_104_000_000_000), -300); // in January 2100
    check_refused(bson!({"$hour": {"date": summer, "timezone": "Nowhere/Town"}}), 40485);
}

#[test]
fn evaluation_is_bounded() {
    let doubling = bson!({"$reduce": {"input": {"$range": [0, 100]}, "initialValue": [1], "in": {"$concatArrays": ["$$value", "$$value"]}}});
    assert!(matches!(try_evaluate(doubling, doc! {}).unwrap_err().code.0, 50 | 146));
    let nested =
        bson!({"$reduce": {"input": {"$range": [0, 1000]}, "initialValue": 1, "in": {"a": "$$value"}}});
    assert_eq!(try_evaluate(nested, doc! {}).unwrap_err().code.0, 15);
    let long = bson!({"$map": {"input": {"$range": [0, 100_000]}, "in": {"$map": {"input": {"$range": [0, 100_000]}, "in": 1}}}});
    assert!(matches!(try_evaluate(long, doc! {}).unwrap_err().code.0, 50 | 146));
    let text = bson!({"$reduce": {"input": {"$range": [0, 60]}, "initialValue": "x", "in": {"$concat": ["$$value", "$$value"]}}});
    assert!(try_evaluate(text, doc! {}).is_err());
    let deep = (0..200).fold(bson!(1), |inner, _| bson!({"$not": [inner]}));
    assert_eq!(
        Expression::parse(RawBson::try_from(deep).unwrap().as_raw_bson_ref(), &[]).unwrap_err().code.0,
        15
    );
}

const OPERATORS: &[&str] = &[
    "$abs",
    "$add",
    "$ceil",
    "$divide",
    "$mod",
    "$multiply",
    "$round",
    "$subtract",
    "$trunc",
    "$exp",
    "$ln",
    "$log",
    "$pow",
    "$sqrt",
    "$atan2",
    "$cmp",
    "$not",
    "$arrayElemAt",
    "$arrayToObject",
    "$concatArrays",
    "$in",
    "$indexOfArray",
    "$objectToArray",
    "$reverseArray",
    "$size",
    "$slice",
    "$mergeObjects",
    "$setUnion",
    "$setEquals",
    "$setIntersection",
    "$concat",
    "$indexOfBytes",
    "$indexOfCP",
    "$split",
    "$substrBytes",
    "$substrCP",
    "$toLower",
    "$toInt",
    "$toLong",
    "$toDouble",
    "$toDecimal",
    "$toDate",
    "$toString",
    "$toBool",
    "$toObjectId",
    "$toUUID",
    "$sum",
    "$avg",
    "$min",
    "$max",
    "$stdDevPop",
    "$bitAnd",
    "$year",
    "$week",
    "$isoWeek",
    "$bsonSize",
    "$dateToString",
    "$dateAdd",
    "$dateTrunc",
    "$dateFromParts",
    "$zip",
    "$firstN",
    "$convert",
    "$range",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_operands_panic(place in 0..OPERATORS.len(), operands in proptest::collection::vec(any_value(), 0..4), document in any_document()) {
        let operands: Vec<Bson> = operands.into_iter().map(|value| Bson::try_from(value).unwrap_or(Bson::Null)).map(|value| bson!({"$literal": value})).collect();
        let names = ["date", "unit", "amount", "timezone", "input", "to", "n", "inputs", "startDate", "year", "month", "day"];
        let named: Document = names.iter().map(|name| (*name).to_owned()).zip(operands.iter().cycle().cloned()).collect();
        for operand in [Bson::Array(operands.clone()), Bson::Document(named)] {
            let expression = raw(doc! {"": {OPERATORS[place]: operand}});
            if let Ok(expression) = Expression::parse(expression.get("").unwrap().unwrap(), &[]) {
                let _ = expression.evaluate(&document, &[], NOW_MS).and_then(|value| value.to_raw_bson());
            }
        }
    }

    #[test]
    fn no_document_panics_as_an_expression(expression in any_document(), document in any_document()) {
        if let Ok(expression) = Expression::parse(RawBsonRef::Document(&expression), &[]) {
            let _ = expression.evaluate(&document, &[], NOW_MS);
        }
    }

    #[test]
    fn new_values_compare_like_stored_ones(a in small_document(), b in small_document()) {
        let rebuilt = |document| own(&Value::Raw(RawBsonRef::Document(document)));
        let expected = crate::order::compare_documents(&a, &b);
        let (new_a, new_b) = (rebuilt(&a), rebuilt(&b));
        prop_assert_eq!(new_a.compare(&new_b), expected);
        prop_assert_eq!(new_a.compare(&Value::Raw(RawBsonRef::Document(&b))), expected);
        prop_assert_eq!(new_a.to_document().unwrap().unwrap(), a);
    }

    #[test]
    fn the_calendar_goes_there_and_back(millis in -400_000_000_000_000_i64..400_000_000_000_000) {
        let civil = Civil::from_millis(millis);
        prop_assert_eq!(civil.to_millis(), Some(millis));
        let date = DateTime::from_millis(millis);
        // `bson` writes years from 0 to 9999 only.
        if (-62_167_219_200_000..253_402_300_800_000).contains(&millis)
            && let Ok(text) = date.try_to_rfc3339_string()
        {
            prop_assert_eq!(calendar::parse_iso(&text).map(|(millis, _)| millis), Some(millis));
        }
    }

    #[test]
    fn zones_go_there_and_back(millis in 0_i64..4_000_000_000_000, place in 0..4_usize) {
        let zone = Zone::parse(["America/New_York", "Asia/Kolkata", "Europe/Dublin", "Australia/Lord_Howe"][place]).unwrap();
        let back = zone.to_utc(zone.to_local(millis)).unwrap();
        // Only in the hour that is there twice may another moment come back.
        prop_assert!(back == millis || (back - millis).abs() <= 3_600_000);
        prop_assert_eq!(zone.to_local(back), zone.to_local(millis));
    }
}

/// The same value, newly made level by level.
fn own<'a>(value: &Value<'a>) -> Value<'a> {
    if let Some(items) = value.items() {
        return Value::array(items.iter().map(own).collect()).unwrap();
    }
    if let Some(fields) = value.fields() {
        return Value::document(fields.into_iter().map(|(key, value)| (key, own(&value))).collect()).unwrap();
    }
    match value.as_str() {
        Some(text) => Value::text(text),
        None => value.clone(),
    }
}

#[test]
fn a_zone_offset_out_of_range_is_no_date() {
    let text = bson!({"$dateFromString": {"dateString": "2020 +99999999999999999", "format": "%Y %Z"}});
    check_refused(text, 241);
}

#[test]
fn many_pieces_are_counted() {
    let text = ",".repeat(8 << 20);
    let error = try_evaluate(bson!({"$size": {"$split": ["$t", ","]}}), doc! {"t": text}).unwrap_err();
    assert!(matches!(error.code.0, 50 | 146), "{error}");
}

#[test]
fn percentiles_of_arrays_and_of_numbers() {
    let median = |input: Bson, method: &str| bson!({"$median": {"input": input, "method": method}});
    check(median(bson!("$a"), "approximate"), Bson::Double(2.0));
    check(median(bson!([1, 2, "x", f64::NAN]), "continuous"), Bson::Double(1.5));
    check(median(bson!("$n"), "discrete"), Bson::Double(5.0));
    check(median(bson!("$s"), "discrete"), Bson::Null);
    let percentile = |p: Bson| bson!({"$percentile": {"input": "$a", "p": p, "method": "approximate"}});
    check(percentile(bson!([0, 0.5, 1])), bson!([1.0, 2.0, 3.0]));
    check(bson!({"$percentile": {"input": [], "p": [0.1], "method": "discrete"}}), bson!([null]));
    check_refused(bson!({"$median": 1}), 7_436_201);
    check_refused(bson!({"$percentile": 1}), 7_436_200);
    check_refused(bson!({"$percentile": {"input": 1, "method": "discrete"}}), 40414);
    check_refused(percentile(bson!("$a")), 7_750_300);
    check_refused(percentile(bson!([2])), 7_750_303);
    check_refused(median(bson!(1), "x"), 2);
}

fn binary(subtype: bson::spec::BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary { subtype, bytes: bytes.to_vec() })
}

#[test]
fn binary_data_become_text_and_numbers_and_back() {
    use bson::spec::BinarySubtype::{Generic, Uuid};
    let literal = |value: Bson| bson!({"$literal": value});
    let convert = |input: Bson, more: Document| {
        let mut arguments = doc! {"input": literal(input)};
        arguments.extend(more);
        bson!({"$convert": arguments})
    };
    let hello = || binary(Generic, b"hello");
    check(convert(hello(), doc! {"to": "string", "format": "base64"}), bson!("aGVsbG8="));
    check(convert(hello(), doc! {"to": "string", "format": "hex"}), bson!("68656C6C6F"));
    check(convert(hello(), doc! {"to": "string", "format": "utf8"}), bson!("hello"));
    check(convert(hello(), doc! {"to": "string", "format": "auto"}), bson!("aGVsbG8="));
    check(bson!({"$toString": literal(hello())}), bson!("aGVsbG8="));
    check(convert(bson!("aGVsbG8="), doc! {"to": "binData", "format": "base64"}), hello());
    check(convert(bson!("68656c6c6f"), doc! {"to": "binData", "format": "hex"}), hello());
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let bytes: Vec<u8> = (0..16).map(|byte| byte * 0x11).collect();
    let to_uuid = doc! {"to": {"type": "binData", "subtype": 4}, "format": "uuid"};
    check(convert(bson!(uuid), to_uuid), binary(Uuid, &bytes));
    check(convert(binary(Uuid, &bytes), doc! {"to": "string", "format": "auto"}), bson!(uuid));
    check(convert(bson!(258), doc! {"to": "binData"}), binary(Generic, &[2, 1, 0, 0]));
    check(convert(bson!(258), doc! {"to": "binData", "byteOrder": "big"}), binary(Generic, &[0, 0, 1, 2]));
    check(convert(binary(Generic, &[2, 1]), doc! {"to": "int"}), bson!(258));
    check(convert(binary(Generic, &[0xff]), doc! {"to": "long"}), bson!(-1_i64));
    check(convert(binary(Generic, &1.5_f64.to_le_bytes()), doc! {"to": "double"}), bson!(1.5));
    check(convert(binary(Generic, &[1, 2, 3]), doc! {"to": "int", "onError": "none"}), bson!("none"));
    check(convert(bson!("%%"), doc! {"to": "binData", "format": "base64", "onError": 0}), bson!(0));
    check_refused(convert(hello(), doc! {"to": "string", "format": Bson::Null}), 4_341_115);
    check_refused(convert(hello(), doc! {"to": "string"}), 4_341_115);
    check_refused(convert(bson!("x"), doc! {"to": "binData"}), 4_341_115);
    check_refused(convert(bson!("x"), doc! {"to": "binData", "format": "nonsense"}), 4_341_125);
    check(bson!({"$subtype": literal(binary(Uuid, &bytes))}), bson!(4));
    check_refused(bson!({"$subtype": "x"}), 10_389_300);
}

#[test]
fn numbers_are_read_and_written_in_other_bases() {
    let convert =
        |input: Bson, to: &str, base: i32| bson!({"$convert": {"input": input, "to": to, "base": base}});
    check(convert(bson!("101"), "int", 2), bson!(5));
    check(convert(bson!("ff"), "long", 16), bson!(255_i64));
    check(convert(bson!("-17"), "int", 8), bson!(-15));
    check(convert(bson!(255), "string", 16), bson!("FF"));
    check(convert(bson!(-5), "string", 2), bson!("-101"));
    check(convert(bson!("12"), "int", 10), bson!(12));
    check_refused(convert(bson!("12"), "int", 2), 241);
    check_refused(convert(bson!("12"), "int", 3), 3_501_300);
}

#[test]
fn hashed_keys_are_those_of_the_server() {
    let date = DateTime::from_millis(1_360_707_177_211);
    check(bson!({"$toHashedIndexKey": date}), bson!(-4_185_544_074_338_741_873_i64));
    let of = |value: Bson| try_evaluate(bson!({"$toHashedIndexKey": {"$literal": value}}), doc! {}).unwrap();
    assert_eq!(of(bson!(1)), of(bson!(1.0)));
    assert_eq!(of(bson!(1)), of(bson!(1.9)));
    assert_ne!(of(bson!(1)), of(bson!("1")));
    assert_ne!(of(bson!({"a": 1})), of(bson!({"b": 1})));
}

#[test]
fn paths_collide_by_what_came_first() {
    let stage = |name: &str, operand: Bson| {
        let operand = RawBson::try_from(operand).unwrap();
        Reshape::parse(name, operand.as_raw_bson_ref(), &[]).unwrap_err().code.0
    };
    assert_eq!(stage("$project", bson!({"a.b": 1, "a": 1})), 31250);
    assert_eq!(stage("$project", bson!({"a": 1, "a.b": 1})), 31249);
    assert_eq!(stage("$unset", bson!(["a", "a.b"])), 31249);
    assert_eq!(stage("$set", bson!({"a": 1, "a.b": 1})), 40176);
}
