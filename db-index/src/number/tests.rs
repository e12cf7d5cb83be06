use bson::rawbson;

use super::*;
use crate::testing::decimal;

fn number(value: &RawBson) -> Number {
    Number::from_raw(value.as_raw_bson_ref()).unwrap()
}

#[test]
fn integers_widen_and_then_fail() {
    let int = Number::Int32(i32::MAX);
    assert_eq!(int.checked_add(Number::Int32(1)), Ok(Number::Int64(2_147_483_648)));
    assert_eq!(int.checked_mul(Number::Int32(1)), Ok(int));
    assert_eq!(Number::Int32(1).checked_add(Number::Int64(1)), Ok(Number::Int64(2)));
    for result in [
        Number::Int64(i64::MAX).checked_add(Number::Int32(1)),
        Number::Int64(i64::MIN).checked_mul(Number::Int32(-1)),
    ] {
        assert_eq!(result.unwrap_err().code, ErrorCode::BAD_VALUE);
    }
}

#[test]
fn the_result_has_the_wider_type() {
    assert_eq!(Number::Int32(1).checked_add(Number::Double(0.5)), Ok(Number::Double(1.5)));
    assert_eq!(Number::Int64(3).checked_mul(Number::Double(0.5)), Ok(Number::Double(1.5)));
    let cent = number(&RawBson::Decimal128(decimal("0.01")));
    assert_eq!(
        Number::Int32(5).checked_add(cent).unwrap().to_raw_bson(),
        RawBson::Decimal128(decimal("5.01"))
    );
    let sum = Number::Double(0.1).checked_add(cent).unwrap();
    assert_eq!(sum.to_raw_bson(), RawBson::Decimal128(decimal("0.110000000000000")));
}

#[test]
fn what_is_no_number_is_none() {
    for value in [rawbson!(true), rawbson!("1"), RawBson::Null, rawbson!([1])] {
        assert_eq!(Number::from_raw(value.as_raw_bson_ref()), None);
    }
}

#[test]
fn whole_numbers_convert_to_integers() {
    assert_eq!(Number::Double(3.0).to_i64_exact(), Some(3));
    assert_eq!(Number::Double(-0.0).to_i64_exact(), Some(0));
    assert_eq!(Number::Double(3.5).to_i64_exact(), None);
    assert_eq!(Number::Double(-3.5).truncated_to_i64(), Some(-3));
    assert_eq!(Number::Double(f64::NAN).truncated_to_i64(), None);
    assert_eq!(Number::Double(9_223_372_036_854_775_808.0).truncated_to_i64(), None);
    assert_eq!(Number::Double(-9_223_372_036_854_775_808.0).to_i64_exact(), Some(i64::MIN));
}
