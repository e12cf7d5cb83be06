//! Powers, roots, logarithms and trigonometry.
//!
//! Doubles go through the platform's functions: like everything here they are for reading, never for replay.
#![allow(clippy::unnecessary_wraps)] // the operators of the table have one signature

use super::arithmetic::single;
use super::node::Scope;
use super::value::Value;
use super::{big, error};
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// A function of one number that gives a double, or a decimal for a decimal.
fn map<'a>(
    operator: &str,
    arguments: &[Value<'a>],
    function: impl Fn(f64) -> f64,
    domain: impl Fn(f64) -> Result<(), QueryError>,
) -> Outcome<'a> {
    map_exactly(operator, arguments, function, |value, double| long_decimal(double(value.to_f64())), domain)
}

/// The same with a function of its own for decimals.
fn map_exactly<'a, F: Fn(f64) -> f64>(
    operator: &str,
    arguments: &[Value<'a>],
    function: F,
    of_decimal: impl Fn(Decimal, &F) -> Decimal,
    domain: impl Fn(f64) -> Result<(), QueryError>,
) -> Outcome<'a> {
    let number = match single(operator, arguments)? {
        Ok(number) => number,
        Err(value) => return Ok(value),
    };
    if !number.is_nan() {
        // A small decimal must not turn into the zero that a function refuses.
        let value = number.to_f64();
        let sign = f64::from(number.compare(Number::Int32(0)) as i8);
        domain(if value == 0.0 { sign } else { value })?;
    }
    Ok(match number {
        // No decimal above zero, so the server goes on with doubles.
        Number::Decimal(Decimal::Nan) if matches!(operator, "$ln" | "$log10") => Value::double(f64::NAN),
        Number::Decimal(Decimal::Nan) => Value::number(number),
        Number::Decimal(value) => Value::number(Number::Decimal(of_decimal(value, &function))),
        number => Value::double(function(number.to_f64())),
    })
}

/// A double, as a decimal if `like` is one.
fn of_kind<'a>(like: Number, value: f64) -> Value<'a> {
    match like {
        Number::Decimal(_) => Value::number(Number::Decimal(long_decimal(value))),
        _ => Value::double(value),
    }
}

/// A double as a decimal with all the digits that tell it apart.
fn long_decimal(value: f64) -> Decimal {
    format!("{value:e}").parse().map_or_else(|_| Decimal::from_f64(value), Decimal::from_bson)
}

fn everywhere(_: f64) -> Result<(), QueryError> {
    Ok(())
}

pub(super) fn exp<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly("$exp", arguments, f64::exp, |value, _| big::exp(value), everywhere)
}

pub(super) fn sqrt<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly(
        "$sqrt",
        arguments,
        f64::sqrt,
        |value, _| big::sqrt(value),
        |value| {
            if value < 0.0 {
                error(28714, "$sqrt's argument must be greater than or equal to 0")
            } else {
                Ok(())
            }
        },
    )
}

pub(super) fn ln<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly(
        "$ln",
        arguments,
        f64::ln,
        |value, _| big::ln(value),
        |value| {
            if value <= 0.0 { error(28766, "$ln's argument must be a positive number") } else { Ok(()) }
        },
    )
}

pub(super) fn log10<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly(
        "$log10",
        arguments,
        f64::log10,
        |value, _| big::log(value, Decimal::from_i64(10)),
        |value| {
            if value <= 0.0 { error(28761, "$log10's argument must be a positive number") } else { Ok(()) }
        },
    )
}

pub(super) fn log<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [argument, base] = arguments else { return Ok(Value::NULL) };
    if argument.is_nullish() || base.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(number) = argument.as_number() else {
        return error(28756, format!("$log's argument must be numeric, not {}", argument.type_name()));
    };
    let Some(base) = base.as_number() else {
        return error(28757, format!("$log's base must be numeric, not {}", base.type_name()));
    };
    let (x, b) = (number.to_f64(), base.to_f64());
    if x <= 0.0 {
        return error(28758, "$log's argument must be a positive number");
    }
    if b <= 0.0 || b == 1.0 {
        return error(28759, "$log's base must be a positive number not equal to 1");
    }
    if matches!(number, Number::Decimal(_)) || matches!(base, Number::Decimal(_)) {
        let (number, base) = (number.to_decimal(), base.to_decimal());
        if number.is_nan() || base.is_nan() {
            return Ok(Value::double(f64::NAN));
        }
        return Ok(Value::number(Number::Decimal(big::log(number, base))));
    }
    Ok(Value::double(x.ln() / b.ln()))
}

pub(super) fn pow<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [base, exponent] = arguments else { return Ok(Value::NULL) };
    if base.is_nullish() || exponent.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(base) = base.as_number() else {
        return error(28762, format!("$pow's base must be numeric, not {}", base.type_name()));
    };
    let Some(exponent) = exponent.as_number() else {
        return error(28763, format!("$pow's exponent must be numeric, not {}", exponent.type_name()));
    };
    if base.compare(Number::Int32(0)).is_eq()
        && !exponent.is_nan()
        && exponent.compare(Number::Int32(0)).is_lt()
    {
        return error(28764, "$pow cannot take a base of 0 and a negative exponent");
    }
    if matches!(base, Number::Decimal(_)) || matches!(exponent, Number::Decimal(_)) {
        return Ok(Value::number(Number::Decimal(decimal_power(base, exponent))));
    }
    if let (Number::Int32(_) | Number::Int64(_), Number::Int32(_) | Number::Int64(_)) = (base, exponent)
        && let (Some(whole), Some(times)) = (base.to_i64_exact(), exponent.to_i64_exact())
        && let Some(power) = whole_power(whole, times)
    {
        let both_small = matches!((base, exponent), (Number::Int32(_), Number::Int32(_)));
        return Ok(if both_small { Value::int_or_long(power) } else { Value::long(power) });
    }
    Ok(Value::double(base.to_f64().powf(exponent.to_f64())))
}

/// The power if it is a whole number of 64 bits.
fn whole_power(base: i64, exponent: i64) -> Option<i64> {
    match (base, u32::try_from(exponent)) {
        (1, _) => Some(1),
        (-1, _) => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        (_, Ok(exponent)) => base.checked_pow(exponent),
        (0, Err(_)) if exponent > 0 => Some(0),
        _ => None,
    }
}

fn decimal_power(base: Number, exponent: Number) -> Decimal {
    match exponent.to_i64_exact() {
        Some(times) if times.unsigned_abs() <= 10_000 => {
            let mut power = Decimal::from_i64(1);
            let mut square = base.to_decimal();
            let mut left = times.unsigned_abs();
            while left > 0 {
                if left % 2 == 1 {
                    power = power * square;
                }
                square = square * square;
                left /= 2;
            }
            if times < 0 { Decimal::from_i64(1) / power } else { power }
        }
        _ if base.compare(Number::Int32(0)).is_gt() => big::pow(base.to_decimal(), exponent.to_decimal())
            .unwrap_or_else(|| long_decimal(base.to_f64().powf(exponent.to_f64()))),
        _ => long_decimal(base.to_f64().powf(exponent.to_f64())),
    }
}

/// Trigonometric functions refuse what lies outside of their domain.
fn within(operator: &'static str, low: f64, high: f64) -> impl Fn(f64) -> Result<(), QueryError> {
    move |value| {
        if value < low || value > high {
            return error(
                50989,
                format!("cannot apply {operator} to {value}, value must be in [{low},{high}]"),
            );
        }
        Ok(())
    }
}

pub(super) fn sin<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$sin", arguments, f64::sin, within("$sin", f64::MIN, f64::MAX))
}

pub(super) fn cos<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$cos", arguments, f64::cos, within("$cos", f64::MIN, f64::MAX))
}

pub(super) fn tan<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$tan", arguments, f64::tan, within("$tan", f64::MIN, f64::MAX))
}

pub(super) fn asin<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$asin", arguments, f64::asin, within("$asin", -1.0, 1.0))
}

pub(super) fn acos<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$acos", arguments, f64::acos, within("$acos", -1.0, 1.0))
}

pub(super) fn atan<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$atan", arguments, f64::atan, everywhere)
}

pub(super) fn sinh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$sinh", arguments, f64::sinh, everywhere)
}

pub(super) fn cosh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$cosh", arguments, f64::cosh, everywhere)
}

pub(super) fn tanh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$tanh", arguments, f64::tanh, everywhere)
}

pub(super) fn asinh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$asinh", arguments, f64::asinh, everywhere)
}

pub(super) fn acosh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$acosh", arguments, f64::acosh, within("$acosh", 1.0, f64::INFINITY))
}

pub(super) fn atanh<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map("$atanh", arguments, f64::atanh, within("$atanh", -1.0, 1.0))
}

/// π/180 and 180/π to all the digits of a decimal.
const DEGREE: Decimal = decimal_constant(1_745_329_251_994_329_576_923_690_768_488_613, -35);
const RADIAN: Decimal = decimal_constant(5_729_577_951_308_232_087_679_815_481_410_517, -32);

const fn decimal_constant(coefficient: u128, exponent: i32) -> Decimal {
    Decimal::Finite { negative: false, coefficient, exponent }
}

pub(super) fn degrees_to_radians<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly("$degreesToRadians", arguments, f64::to_radians, |value, _| value * DEGREE, everywhere)
}

pub(super) fn radians_to_degrees<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    map_exactly("$radiansToDegrees", arguments, f64::to_degrees, |value, _| value * RADIAN, everywhere)
}

pub(super) fn sigmoid<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    if let Some(value) = arguments.first()
        && !value.is_nullish()
        && value.as_number().is_none()
    {
        return error(14, format!("$sigmoid only supports numeric types, not {}", value.type_name()));
    }
    map("$sigmoid", arguments, |value| 1.0 / (1.0 + (-value).exp()), everywhere)
}

pub(super) fn atan2<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [y, x] = arguments else { return Ok(Value::NULL) };
    match (y.as_number(), x.as_number()) {
        (Some(y), Some(x)) => {
            let like = if matches!(x, Number::Decimal(_)) { x } else { y };
            Ok(of_kind(like, y.to_f64().atan2(x.to_f64())))
        }
        (None, _) if y.is_nullish() => Ok(Value::NULL),
        (Some(_), None) if x.is_nullish() => Ok(Value::NULL),
        (None, _) => error(51044, format!("$atan2 only supports numeric types, not {}", y.type_name())),
        (_, None) => error(51045, format!("$atan2 only supports numeric types, not {}", x.type_name())),
    }
}
