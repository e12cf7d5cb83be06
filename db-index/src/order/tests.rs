use std::cmp::Ordering;

use bson::{Binary, DateTime, RawBson, Timestamp, oid::ObjectId, rawbson, spec::BinarySubtype};
use proptest::prelude::*;

use super::*;
use crate::testing::{any_value, array_of, db_pointer, decimal};

fn order(a: &RawBson, b: &RawBson) -> Ordering {
    compare(a.as_raw_bson_ref(), b.as_raw_bson_ref())
}

#[track_caller]
fn assert_ascending(values: &[RawBson]) {
    for (i, a) in values.iter().enumerate() {
        for (j, b) in values.iter().enumerate() {
            assert_eq!(order(a, b), i.cmp(&j), "{a:?} against {b:?}");
        }
    }
}

fn binary(subtype: u8, bytes: &[u8]) -> RawBson {
    RawBson::Binary(Binary { subtype: BinarySubtype::from(subtype), bytes: bytes.to_vec() })
}

#[test]
fn brackets_order_values_of_different_types() {
    assert_ascending(&[
        RawBson::MinKey,
        RawBson::Undefined,
        RawBson::Null,
        rawbson!(f64::NAN),
        rawbson!(1e300),
        rawbson!(""),
        rawbson!({}),
        rawbson!([]),
        binary(0, &[]),
        RawBson::ObjectId(ObjectId::from_bytes([0; 12])),
        rawbson!(false),
        rawbson!(true),
        RawBson::DateTime(DateTime::from_millis(-5)),
        RawBson::DateTime(DateTime::from_millis(5)),
        RawBson::Timestamp(Timestamp { time: 1, increment: 0 }),
        RawBson::Timestamp(Timestamp { time: 1, increment: u32::MAX }),
        RawBson::Timestamp(Timestamp { time: 2, increment: 0 }),
        RawBson::RegularExpression(bson::Regex {
            pattern: bson::raw::cstr!("a").into(),
            options: bson::raw::cstr!("").into(),
        }),
        RawBson::RegularExpression(bson::Regex {
            pattern: bson::raw::cstr!("a").into(),
            options: bson::raw::cstr!("i").into(),
        }),
        db_pointer("zz", [0; 12]),
        db_pointer("aaa", [0; 12]),
        db_pointer("aaa", [1; 12]),
        RawBson::JavaScriptCode(String::new()),
        RawBson::JavaScriptCodeWithScope(bson::RawJavaScriptCodeWithScope {
            code: String::new(),
            scope: RawDocumentBuf::new(),
        }),
        RawBson::MaxKey,
    ]);
}

#[test]
fn numbers_compare_by_exact_value_across_types() {
    assert_ascending(&[
        rawbson!(f64::NAN),
        rawbson!(f64::NEG_INFINITY),
        RawBson::Decimal128(decimal("-1E+400")),
        rawbson!(f64::MIN),
        rawbson!(i64::MIN),
        rawbson!(-1),
        RawBson::Decimal128(decimal("-1E-400")),
        rawbson!(0),
        RawBson::Decimal128(decimal("1E-400")),
        rawbson!(5e-324),
        RawBson::Decimal128(decimal("0.1")),
        rawbson!(0.1),
        rawbson!(1_i64),
        rawbson!(9_007_199_254_740_992.0),
        rawbson!((1_i64 << 53) + 1),
        rawbson!(i64::MAX),
        rawbson!(9_223_372_036_854_775_808.0),
        rawbson!(f64::MAX),
        RawBson::Decimal128(decimal("1E+400")),
        rawbson!(f64::INFINITY),
    ]);
}

#[test]
fn equal_numbers_of_different_types_are_equal() {
    let classes = [
        vec![
            rawbson!(0),
            rawbson!(0_i64),
            rawbson!(0.0),
            rawbson!(-0.0),
            RawBson::Decimal128(decimal("-0E+5")),
        ],
        vec![rawbson!(100), rawbson!(100_i64), rawbson!(100.0), RawBson::Decimal128(decimal("1.0E+2"))],
        vec![rawbson!(f64::NAN), RawBson::Decimal128(decimal("NaN"))],
        vec![rawbson!(f64::INFINITY), RawBson::Decimal128(decimal("Infinity"))],
        vec![rawbson!("a"), RawBson::Symbol("a".into())],
    ];
    for class in classes {
        for (a, b) in class.iter().flat_map(|a| class.iter().map(move |b| (a, b))) {
            assert_eq!(order(a, b), Ordering::Equal, "{a:?} against {b:?}");
        }
    }
}

#[test]
fn binary_data_orders_by_length_then_subtype_then_bytes() {
    assert_ascending(&[
        binary(0, &[9]),
        binary(0, &[1, 2]),
        binary(0, &[1, 3]),
        binary(5, &[0, 0]),
        binary(128, &[0, 0]),
        binary(0, &[0, 0, 0]),
        binary(2, &[0, 0]), // counts its inner length too
    ]);
}

#[test]
fn documents_order_by_bracket_then_name_then_value_pair_by_pair() {
    assert_ascending(&[
        rawbson!({}),
        rawbson!({"b": 1}),
        rawbson!({"b": 1, "a": null}),
        rawbson!({"b": 2}),
        rawbson!({"c": 0}),
        rawbson!({"a": "x"}), // strings are above numbers, whatever the name
        rawbson!({"a": {"x": f64::NAN}}),
        rawbson!({"a": {"x": 5}}),
    ]);
}

#[test]
fn arrays_order_by_element_then_length() {
    assert_ascending(&[
        rawbson!([]),
        rawbson!([null]),
        rawbson!([1]),
        rawbson!([1, null]),
        rawbson!([2]),
        RawBson::Array(array_of(vec![rawbson!([1])])),
    ]);
}

#[test]
fn malformed_inner_bytes_end_the_document() {
    let bytes = [13, 0, 0, 0, 0x02, b'a', 0, 0xff, 0, 0, 0, 0, 0];
    let broken = RawDocument::from_bytes(&bytes).unwrap();
    assert_eq!(compare_documents(broken, &RawDocumentBuf::new()), Ordering::Equal);
}

proptest! {
    #[test]
    fn the_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(order(&a, &a), Ordering::Equal);
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        if order(&a, &b).is_le() && order(&b, &c).is_le() {
            prop_assert!(order(&a, &c).is_le());
        }
    }
}
