//! `$ceil`, `$floor`, `$round` and `$trunc`.

use super::single;
use crate::decimal::{Decimal, digit_count};
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::node::Scope;
use crate::expression::value::Value;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// How a number is brought to fewer digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    HalfEven,
    TowardZero,
    Up,
    Down,
}

pub(in crate::expression) fn ceil<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(match single("$ceil", arguments)? {
        Err(value) => value,
        Ok(Number::Double(value)) => Value::double(value.ceil()),
        Ok(Number::Decimal(value)) => Value::number(Number::Decimal(quantized(value, Rounding::Up))),
        Ok(integer) => Value::number(integer),
    })
}

pub(in crate::expression) fn floor<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(match single("$floor", arguments)? {
        Err(value) => value,
        Ok(Number::Double(value)) => Value::double(value.floor()),
        Ok(Number::Decimal(value)) => Value::number(Number::Decimal(quantized(value, Rounding::Down))),
        Ok(integer) => Value::number(integer),
    })
}

pub(in crate::expression) fn round<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    to_place("$round", Rounding::HalfEven, arguments)
}

pub(in crate::expression) fn trunc<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    to_place("$trunc", Rounding::TowardZero, arguments)
}

fn to_place<'a>(operator: &str, rounding: Rounding, arguments: &[Value<'a>]) -> Outcome<'a> {
    let place = match arguments.get(1) {
        None => 0,
        Some(place) if place.is_nullish() => return Ok(Value::NULL),
        Some(place) => {
            let Some(number) = place.as_number() else {
                return error(
                    16004,
                    format!("{operator} needs a number of digits, not {}", place.type_name()),
                );
            };
            let Some(digits) = number.to_i64_exact() else {
                return error(51082, format!("{operator} needs a whole number of digits"));
            };
            if !(-20..=100).contains(&digits) {
                return error(51083, format!("{operator} cannot be applied with a precision of {digits}"));
            }
            digits as i32
        }
    };
    let Some(value) = arguments.first() else { return Ok(Value::NULL) };
    let number = match value.as_number() {
        Some(number) => number,
        None if value.is_nullish() => return Ok(Value::NULL),
        None => {
            return error(
                51081,
                format!("{operator} only supports numeric types, not {}", value.type_name()),
            );
        }
    };
    Ok(match number {
        Number::Double(value) => Value::double(round_double(value, place, rounding)),
        Number::Decimal(value) => Value::number(Number::Decimal(placed(value, place, rounding))),
        Number::Int32(value) if place < 0 => {
            Value::int_or_long(i64::try_from(round_integer(i128::from(value), place, rounding)).unwrap_or(0))
        }
        Number::Int64(value) if place < 0 => {
            match i64::try_from(round_integer(i128::from(value), place, rounding)) {
                Ok(value) => Value::long(value),
                Err(_) => return error(51080, format!("the result of {operator} exceeds 64 bits")),
            }
        }
        integer => Value::number(integer),
    })
}

fn round_integer(value: i128, place: i32, rounding: Rounding) -> i128 {
    let unit = 10_i128.pow(place.unsigned_abs().min(30));
    let (quotient, rest) = (value / unit, value % unit);
    let away = value.signum();
    let step = match rounding {
        Rounding::TowardZero => 0,
        Rounding::Up => i128::from(rest > 0),
        Rounding::Down => -i128::from(rest < 0),
        Rounding::HalfEven => match (rest.abs() * 2).cmp(&unit) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => away * (quotient.abs() % 2),
            std::cmp::Ordering::Greater => away,
        },
    };
    (quotient + step) * unit
}

/// Rounds by the exact decimal digits of the double.
fn round_double(value: f64, place: i32, rounding: Rounding) -> f64 {
    if !value.is_finite() {
        return value;
    }
    if place == 0 {
        return if rounding == Rounding::TowardZero { value.trunc() } else { value.round_ties_even() };
    }
    let digits = if place > 0 && rounding == Rounding::HalfEven {
        format!("{value:.0$}", place.unsigned_abs() as usize)
    } else if place > 0 {
        let exact = format!("{value:.1080}");
        let point = exact.find('.').unwrap_or(exact.len());
        exact.get(..point + 1 + place.unsigned_abs() as usize).unwrap_or(&exact).to_owned()
    } else {
        let whole = format!("{:.0}", value.trunc());
        match whole.parse::<i128>() {
            Ok(whole) => {
                // A fraction breaks a tie: it goes into one more digit.
                let sticky = i128::from(value.fract() != 0.0) * if value < 0.0 { -1 } else { 1 };
                match whole.checked_mul(10) {
                    Some(scaled) => (round_integer(scaled + sticky, place - 1, rounding) / 10).to_string(),
                    None => whole.to_string(),
                }
            }
            Err(_) => return value,
        }
    };
    let rounded: f64 = digits.parse().unwrap_or(value);
    if rounded == 0.0 { rounded.copysign(value) } else { rounded }
}

/// Rounds to `place` digits after the point.
pub(super) fn round_decimal(value: Decimal, place: i32, rounding: Rounding) -> Decimal {
    let Decimal::Finite { negative, coefficient, exponent } = value else { return value };
    let surplus = -place - exponent;
    if surplus <= 0 {
        return value;
    }
    let (quotient, rest, unit) = match 10_u128.checked_pow(surplus.unsigned_abs()) {
        Some(unit) => (coefficient / unit, coefficient % unit, unit),
        // All digits are below the place, and far below half of it.
        None => (0, u128::from(coefficient != 0), u128::MAX),
    };
    let up = match rounding {
        Rounding::TowardZero => false,
        Rounding::Up => rest > 0 && !negative,
        Rounding::Down => rest > 0 && negative,
        Rounding::HalfEven => match rest.cmp(&(unit / 2)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => unit % 2 == 1 || quotient % 2 == 1,
            std::cmp::Ordering::Greater => true,
        },
    };
    Decimal::Finite { negative, coefficient: quotient + u128::from(up), exponent: -place }
}

/// Rounds to exactly `place` digits after the point, with zeros where there are fewer; a value that has too many digits before
/// the point for that has all 34 of its digits written out.
fn placed(value: Decimal, place: i32, rounding: Rounding) -> Decimal {
    let rounded = round_decimal(value, place, rounding);
    let Decimal::Finite { negative, coefficient, exponent } = rounded else { return rounded };
    if coefficient == 0 {
        return Decimal::Finite { negative, coefficient, exponent: -place };
    }
    let spare = 34_u32.saturating_sub(digit_count(coefficient));
    let zeros = u32::try_from(exponent + place).unwrap_or(0).min(spare);
    match 10_u128.checked_pow(zeros).and_then(|unit| coefficient.checked_mul(unit)) {
        Some(coefficient) => {
            Decimal::Finite { negative, coefficient, exponent: exponent - zeros.cast_signed() }
        }
        None => rounded,
    }
}

/// The whole number at exponent 0; NaN where its digits are too many, as IEEE 754's `quantize` has it.
fn quantized(value: Decimal, rounding: Rounding) -> Decimal {
    match round_decimal(value, 0, rounding) {
        Decimal::Finite { negative, coefficient, exponent } => {
            let scaled =
                10_u128.checked_pow(exponent.unsigned_abs()).and_then(|unit| coefficient.checked_mul(unit));
            match scaled {
                Some(coefficient) if coefficient < 10_u128.pow(34) => {
                    Decimal::Finite { negative, coefficient, exponent: 0 }
                }
                None if coefficient == 0 => Decimal::Finite { negative, coefficient, exponent: 0 },
                _ => Decimal::Nan,
            }
        }
        Decimal::Infinity { .. } | Decimal::Nan => Decimal::Nan,
    }
}
