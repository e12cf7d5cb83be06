//! Sums, products, quotients, rounding and bits.

mod add;
mod rounding;

use bson::RawBsonRef;

use self::rounding::{Rounding, round_decimal};

use super::error;
use super::node::Scope;
use super::value::Value;
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::number::Number;

pub(super) use add::add;
pub(super) use rounding::{ceil, floor, round, trunc};

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// A running sum that loses no small addends to large ones: doubles with a compensation, integers exactly as long as
/// they are alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total {
    integers: i128,
    /// Sum and compensation.
    doubles: (f64, f64),
    decimal: Decimal,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Int,
    Long,
    Double,
    Decimal,
}

impl Total {
    pub(crate) const ZERO: Self =
        Self { integers: 0, doubles: (0.0, 0.0), decimal: Decimal::ZERO, kind: Kind::Int };

    pub(crate) fn add(&mut self, number: Number) {
        let kind = match number {
            Number::Int32(value) => {
                self.integers += i128::from(value);
                Kind::Int
            }
            Number::Int64(value) => {
                self.integers += i128::from(value);
                Kind::Long
            }
            Number::Double(value) => {
                self.add_double(value);
                Kind::Double
            }
            Number::Decimal(value) => {
                self.decimal = self.decimal + value;
                Kind::Decimal
            }
        };
        self.kind = self.kind.max(kind);
    }

    /// Takes out a number that was added. The type of the result stays as wide as it was.
    pub(crate) fn subtract(&mut self, number: Number) {
        match number {
            Number::Int32(value) => self.integers -= i128::from(value),
            Number::Int64(value) => self.integers -= i128::from(value),
            Number::Double(value) => self.add_double(-value),
            Number::Decimal(value) => self.decimal = self.decimal - value,
        }
    }

    fn add_double(&mut self, value: f64) {
        let (sum, compensation) = self.doubles;
        let next = sum + value;
        // Knuth's two-sum: what the addition rounded away.
        let shadow = next - sum;
        let lost = (sum - (next - shadow)) + (value - shadow);
        self.doubles = (next, if lost.is_finite() { compensation + lost } else { compensation });
    }

    fn as_double(mut self) -> f64 {
        // Integers beyond 53 bits go in as two exact halves.
        let high = (self.integers >> 32) << 32;
        self.add_double(high as f64);
        self.add_double((self.integers - high) as f64);
        let (sum, compensation) = self.doubles;
        if sum.is_finite() { sum + compensation } else { sum }
    }

    /// The sum in the widest of the types that were added; integers beyond 64 bits become a double.
    pub(crate) fn result(self) -> Number {
        match self.kind {
            Kind::Int => match i32::try_from(self.integers) {
                Ok(value) => Number::Int32(value),
                Err(_) => self.long_or_double(),
            },
            Kind::Long => self.long_or_double(),
            Kind::Double => Number::Double(self.as_double()),
            Kind::Decimal => {
                // Doubles go in exactly: only single ones are cut to fifteen digits.
                let mut sum = self.decimal + decimal_of(self.integers);
                if self.doubles != (0.0, 0.0) {
                    sum = sum + Decimal::from_f64_exact(self.doubles.0);
                    sum = if sum.is_finite() { sum + Decimal::from_f64_exact(self.doubles.1) } else { sum };
                }
                Number::Decimal(sum)
            }
        }
    }

    fn long_or_double(self) -> Number {
        i64::try_from(self.integers).map_or_else(|_| Number::Double(self.as_double()), Number::Int64)
    }
}

fn decimal_of(integer: i128) -> Decimal {
    if let Ok(value) = i64::try_from(integer) {
        return Decimal::from_i64(value);
    }
    // A sum of fewer than 2^62 longs has at most 126 bits: two parts hold it.
    let base = 1_i128 << 62;
    let high = i64::try_from(integer / base).unwrap_or(i64::MAX);
    let low = i64::try_from(integer % base).unwrap_or(0);
    Decimal::from_i64(high) * Decimal::from_i64(1 << 62) + Decimal::from_i64(low)
}

fn date_millis(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Raw(RawBsonRef::DateTime(date)) => Some(date.timestamp_millis()),
        _ => None,
    }
}

fn rounded_i64(number: Number) -> Option<i64> {
    match number {
        Number::Double(value) => Number::Double(value.round()).to_i64_exact(),
        Number::Decimal(value) => round_decimal(value, 0, Rounding::HalfEven).to_i64_exact(),
        integer => integer.to_i64_exact(),
    }
}

pub(super) fn subtract<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [a, b] = arguments else { return Ok(Value::NULL) };
    if let (Some(a), Some(b)) = (a.as_number(), b.as_number()) {
        return Ok(Value::number(match (a, b) {
            (Number::Decimal(_), _) | (_, Number::Decimal(_)) => {
                Number::Decimal(a.to_decimal() - b.to_decimal())
            }
            (Number::Double(_), _) | (_, Number::Double(_)) => Number::Double(a.to_f64() - b.to_f64()),
            (Number::Int32(a), Number::Int32(b)) => {
                return Ok(Value::int_or_long(i64::from(a) - i64::from(b)));
            }
            _ => match (a.to_i64_exact(), b.to_i64_exact()) {
                (Some(x), Some(y)) => {
                    x.checked_sub(y).map_or_else(|| Number::Double(a.to_f64() - b.to_f64()), Number::Int64)
                }
                _ => Number::Double(a.to_f64() - b.to_f64()),
            },
        }));
    }
    if a.is_nullish() || b.is_nullish() {
        return Ok(Value::NULL);
    }
    match (date_millis(a), date_millis(b), b.as_number()) {
        (Some(a), Some(b), _) => match a.checked_sub(b) {
            Some(difference) => Ok(Value::long(difference)),
            None => error(15, "overflow in $subtract of dates"),
        },
        (Some(a), None, Some(b)) => match rounded_i64(b).and_then(|b| a.checked_sub(b)) {
            Some(millis) => Ok(Value::date(millis)),
            None => error(15, "date overflow in $subtract"),
        },
        _ => error(14, format!("can't $subtract {} from {}", b.type_name(), a.type_name())),
    }
}

pub(super) fn multiply<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut product = Number::Int32(1);
    for value in arguments {
        let Some(number) = value.as_number() else {
            if value.is_nullish() {
                return Ok(Value::NULL);
            }
            return error(14, format!("$multiply only supports numeric types, not {}", value.type_name()));
        };
        product = product
            .checked_mul(number)
            .unwrap_or_else(|_| Number::Double(product.to_f64() * number.to_f64()));
    }
    Ok(Value::number(product))
}

/// Both numbers, or the null or the error that stands for the result.
fn pair<'a>(
    operator: &str,
    code: i32,
    arguments: &[Value<'a>],
) -> Result<Result<(Number, Number), Value<'a>>, QueryError> {
    let [a, b] = arguments else { return Ok(Err(Value::NULL)) };
    if let (Some(a), Some(b)) = (a.as_number(), b.as_number()) {
        return Ok(Ok((a, b)));
    }
    if a.is_nullish() || b.is_nullish() {
        return Ok(Err(Value::NULL));
    }
    error(
        code,
        format!("{operator} only supports numeric types, not {} and {}", a.type_name(), b.type_name()),
    )
}

fn is_zero(number: Number) -> bool {
    number.compare(Number::Int32(0)).is_eq()
}

pub(super) fn divide<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (a, b) = match pair("$divide", 14, arguments)? {
        Ok(pair) => pair,
        Err(value) => return Ok(value),
    };
    if is_zero(b) {
        return error(2, "can't $divide by zero");
    }
    Ok(Value::number(match (a, b) {
        (Number::Decimal(_), _) | (_, Number::Decimal(_)) => Number::Decimal(a.to_decimal() / b.to_decimal()),
        _ => Number::Double(a.to_f64() / b.to_f64()),
    }))
}

pub(super) fn modulo<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let (a, b) = match pair("$mod", 16611, arguments)? {
        Ok(pair) => pair,
        Err(value) => return Ok(value),
    };
    if is_zero(b) {
        let is_decimal = matches!(a, Number::Decimal(_)) || matches!(b, Number::Decimal(_));
        return error(if is_decimal { 5_733_415 } else { 16610 }, "can't $mod by zero");
    }
    Ok(Value::number(match (a, b) {
        (Number::Decimal(_), _) | (_, Number::Decimal(_)) => Number::Decimal(a.to_decimal() % b.to_decimal()),
        (Number::Double(_), _) | (_, Number::Double(_)) => Number::Double(a.to_f64() % b.to_f64()),
        (Number::Int32(a), Number::Int32(b)) => Number::Int32(a.wrapping_rem(b)),
        _ => Number::Int64(a.to_i64_exact().unwrap_or(0).wrapping_rem(b.to_i64_exact().unwrap_or(1))),
    }))
}

/// The one number, or the null or error that stands for the result.
pub(super) fn single<'a>(
    operator: &str,
    arguments: &[Value<'a>],
) -> Result<Result<Number, Value<'a>>, QueryError> {
    let Some(value) = arguments.first() else { return Ok(Err(Value::NULL)) };
    match value.as_number() {
        Some(number) => Ok(Ok(number)),
        None if value.is_nullish() => Ok(Err(Value::NULL)),
        None => error(28765, format!("{operator} only supports numeric types, not {}", value.type_name())),
    }
}

pub(super) fn abs<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(match single("$abs", arguments)? {
        Err(value) => value,
        Ok(Number::Int32(value)) => Value::int_or_long(i64::from(value).abs()),
        Ok(Number::Int64(value)) => match value.checked_abs() {
            Some(value) => Value::long(value),
            None => return error(28680, "can't take $abs of long long min"),
        },
        Ok(Number::Double(value)) => Value::double(value.abs()),
        Ok(Number::Decimal(value)) => {
            Value::number(Number::Decimal(if value.is_negative() { -value } else { value }))
        }
    })
}

pub(super) fn bit_and<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    bits("$bitAnd", -1, |a, b| a & b, arguments)
}

pub(super) fn bit_or<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    bits("$bitOr", 0, |a, b| a | b, arguments)
}

pub(super) fn bit_xor<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    bits("$bitXor", 0, |a, b| a ^ b, arguments)
}

fn bits<'a>(
    operator: &str,
    start: i64,
    combine: fn(i64, i64) -> i64,
    arguments: &[Value<'a>],
) -> Outcome<'a> {
    let (mut result, mut wide) = (start, false);
    for value in arguments {
        result = match value {
            Value::Raw(RawBsonRef::Int32(value)) => combine(result, i64::from(*value)),
            Value::Raw(RawBsonRef::Int64(value)) => {
                wide = true;
                combine(result, *value)
            }
            value if value.is_nullish() => return Ok(Value::NULL),
            value => {
                return error(
                    14,
                    format!("{operator} only supports int and long operands, not {}", value.type_name()),
                );
            }
        };
    }
    Ok(if wide { Value::long(result) } else { Value::int(result as i32) })
}

pub(super) fn bit_not<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match arguments.first() {
        Some(Value::Raw(RawBsonRef::Int32(value))) => Ok(Value::int(!value)),
        Some(Value::Raw(RawBsonRef::Int64(value))) => Ok(Value::long(!value)),
        Some(value) if !value.is_nullish() => {
            let code = if value.as_number().is_some() { 14 } else { 28765 };
            error(code, format!("$bitNot only supports int and long, not {}", value.type_name()))
        }
        _ => Ok(Value::NULL),
    }
}
