use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::testing::any_decimal;

fn parse(text: &str) -> Decimal {
    Decimal::from_bson(text.parse().unwrap())
}

#[track_caller]
fn assert_is(value: Decimal, text: &str) {
    assert_eq!(value.to_bson().to_string(), text);
}

/// The value as an integer multiple of 10^-6176 (or 2^-1074 and 10^-6176 together for doubles).
fn scaled(value: Decimal) -> BigInt {
    let Decimal::Finite { negative, coefficient, exponent } = value else { panic!("not finite") };
    let magnitude = BigInt::from(coefficient) * BigInt::from(10).pow((exponent + 6176) as u32);
    if negative { -magnitude } else { magnitude }
}

#[test]
fn sums_have_the_lower_exponent_and_round_half_to_even() {
    for (a, b, sum) in [
        ("1", "1", "2"),
        ("1.10", "2.3", "3.40"),
        ("0.1", "0.2", "0.3"),
        ("1E+2", "1", "101"),
        ("1E+2", "0E-3", "100.000"),
        ("0E+3", "1", "1"),
        ("0", "-0", "0"),
        ("-0", "-0", "-0"),
        ("1", "-1.00", "0.00"),
        ("9999999999999999999999999999999999", "1", "1.000000000000000000000000000000000E+34"),
        ("1000000000000000000000000000000000", "0.5", "1000000000000000000000000000000000"),
        ("1000000000000000000000000000000001", "0.5", "1000000000000000000000000000000002"),
        ("1000000000000000000000000000000000", "0.50000001", "1000000000000000000000000000000001"),
        ("1E+40", "1E-40", "1.000000000000000000000000000000000E+40"),
        ("1E+40", "-1E-200", "1.000000000000000000000000000000000E+40"),
        ("9999999999999999999999999999999999E+6111", "9999999999999999999999999999999999E+6111", "Infinity"),
        ("Infinity", "-Infinity", "NaN"),
        ("Infinity", "1", "Infinity"),
        ("NaN", "1", "NaN"),
    ] {
        assert_is(parse(a) + parse(b), sum);
        assert_is(parse(b) + parse(a), sum);
    }
    assert_is(parse("1.3") - parse("1.07"), "0.23");
}

#[test]
fn products_add_exponents_and_underflow_gradually() {
    for (a, b, product) in [
        ("1.20", "3", "3.60"),
        ("-7", "0", "-0"),
        ("1E-6000", "1E-176", "1E-6176"),
        ("1E-6000", "1E-177", "0E-6176"),
        ("6E-6000", "1E-177", "1E-6176"),
        ("5E-6000", "1E-177", "0E-6176"),
        ("1E+6000", "1E+111", "1E+6111"),
        ("1E+6000", "1E+114", "1.000E+6114"),
        ("1E+6000", "1E+145", "Infinity"),
        ("0E+6000", "1E+145", "0E+6111"),
        (
            "9999999999999999999999999999999999",
            "9999999999999999999999999999999999",
            "9.999999999999999999999999999999998E+67",
        ),
        ("Infinity", "0", "NaN"),
        ("-Infinity", "2", "-Infinity"),
    ] {
        assert_is(parse(a) * parse(b), product);
    }
}

#[test]
fn quotients_and_remainders_follow_the_standard() {
    for (a, b, quotient) in [
        ("1", "3", "0.3333333333333333333333333333333333"),
        ("2", "3", "0.6666666666666666666666666666666667"),
        ("2.40", "2", "1.20"),
        ("1000", "100", "10"),
        ("1", "8", "0.125"),
        ("1E+3", "1E+1", "1E+2"),
        ("1", "0", "Infinity"),
        ("0", "0", "NaN"),
        ("1", "Infinity", "0E-6176"),
    ] {
        assert_is(parse(a) / parse(b), quotient);
    }
    for (a, b, remainder) in [
        ("7", "3", "1"),
        ("-7", "3", "-1"),
        ("1E+6000", "7", "1"),
        ("5", "1E+40", "5"),
        ("2.1", "3", "2.1"),
        ("10.5", "0.25", "0.00"),
        ("5", "Infinity", "5"),
        ("5", "0", "NaN"),
    ] {
        assert_is(parse(a) % parse(b), remainder);
    }
}

#[test]
fn doubles_become_decimals_of_fifteen_digits() {
    for (value, text) in [
        (0.1, "0.100000000000000"),
        (1.0, "1.00000000000000"),
        (-9_999_999.5, "-9999999.50000000"),
        (1e300, "1.00000000000000E+300"),
        (5e-324, "4.94065645841247E-324"),
        (0.0, "0"),
        (-0.0, "-0"),
        (f64::INFINITY, "Infinity"),
        (f64::NAN, "NaN"),
    ] {
        assert_is(Decimal::from_f64(value), text);
    }
}

#[test]
fn conversions_to_integers_truncate_or_ask_for_whole_numbers() {
    assert_eq!(parse("1E+3").to_i64_exact(), Some(1000));
    assert_eq!(parse("-12.00").to_i64_exact(), Some(-12));
    assert_eq!(parse("12.5").to_i64_exact(), None);
    assert_eq!(parse("-12.5").truncated_to_i64(), Some(-12));
    assert_eq!(parse("1E-300").truncated_to_i64(), Some(0));
    assert_eq!(parse("9223372036854775807").to_i64_exact(), Some(i64::MAX));
    assert_eq!(parse("-9223372036854775808").to_i64_exact(), Some(i64::MIN));
    assert_eq!(parse("9223372036854775808").to_i64_exact(), None);
    assert_eq!(parse("1E+6000").truncated_to_i64(), None);
    assert_eq!(parse("NaN").truncated_to_i64(), None);
}

#[test]
fn the_floor_to_a_double_is_never_above() {
    assert_eq!(parse("0.1").floor_to_f64(), 0.1_f64.next_down());
    assert_eq!(parse("-1E-6000").floor_to_f64(), -5e-324);
    assert_eq!(parse("1E-6000").floor_to_f64(), 0.0);
    assert_eq!(parse("1E+6000").floor_to_f64(), f64::MAX);
    assert_eq!(parse("-1E+6000").floor_to_f64(), f64::NEG_INFINITY);
    assert_eq!(parse("1.5").floor_to_f64(), 1.5);
}

proptest! {
    #[test]
    fn decoding_agrees_with_the_text_form(value in any_decimal()) {
        let again = Decimal::from_bson(value).to_bson();
        prop_assert_eq!(again.to_string(), value.to_string());
    }

    #[test]
    fn comparison_is_exact(a in any_decimal(), b in any_decimal()) {
        let (a, b) = (Decimal::from_bson(a), Decimal::from_bson(b));
        if let (Decimal::Finite { .. }, Decimal::Finite { .. }) = (a, b) {
            prop_assert_eq!(a.compare(b), scaled(a).cmp(&scaled(b)));
        }
    }

    #[test]
    fn comparison_with_doubles_is_exact(a in any_decimal(), b in any::<f64>(), near in any::<bool>()) {
        let a = Decimal::from_bson(a);
        let b = if near { a.to_f64() } else { b };
        if let Decimal::Finite { .. } = a && b.is_finite() {
            let (mantissa, exponent) = double_parts(b);
            let magnitude = (BigInt::from(mantissa) * BigInt::from(10).pow(6176)) << (exponent + 1074) as u32;
            let double = if b < 0.0 { -magnitude } else { magnitude };
            prop_assert_eq!(a.compare_f64(b), (scaled(a) << 1074_u32).cmp(&double));
        }
    }

    #[test]
    fn sums_and_products_are_within_half_a_unit(a in any_decimal(), b in any_decimal()) {
        let (a, b) = (Decimal::from_bson(a), Decimal::from_bson(b));
        let (Decimal::Finite { exponent: a_exponent, .. }, Decimal::Finite { exponent: b_exponent, .. }) = (a, b)
        else { return Ok(()) };
        if let sum @ Decimal::Finite { exponent, .. } = a + b {
            let unit = BigInt::from(10).pow((exponent + 6176) as u32);
            let error = scaled(a) + scaled(b) - scaled(sum);
            let error = if error < BigInt::ZERO { -error } else { error };
            prop_assert!(error * 2 <= unit);
            prop_assert!(exponent >= a_exponent.min(b_exponent));
        }
        if let product @ Decimal::Finite { exponent, .. } = a * b {
            let unit = BigInt::from(10).pow((exponent + 6176) as u32) * BigInt::from(10).pow(6176);
            let error = scaled(a) * scaled(b) - scaled(product) * BigInt::from(10).pow(6176);
            let error = if error < BigInt::ZERO { -error } else { error };
            prop_assert!(error * 2 <= unit);
            prop_assert!(exponent >= (a_exponent + b_exponent).clamp(EXPONENT_MIN, EXPONENT_MAX));
        }
    }
}
