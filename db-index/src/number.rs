//! The four number types as one: exact comparison, and addition and multiplication by MongoDB's rules of result types.

use std::cmp::Ordering;

use bson::{RawBson, RawBsonRef};

use crate::{
    decimal::Decimal,
    error::{ErrorCode, QueryError},
};

#[cfg(test)]
mod tests;

/// A number of any BSON type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// `int`.
    Int32(i32),
    /// `long`.
    Int64(i64),
    /// `double`.
    Double(f64),
    /// `decimal`.
    Decimal(Decimal),
}

impl Number {
    /// The number that `value` is, if it is one.
    pub fn from_raw(value: RawBsonRef<'_>) -> Option<Self> {
        match value {
            RawBsonRef::Int32(value) => Some(Self::Int32(value)),
            RawBsonRef::Int64(value) => Some(Self::Int64(value)),
            RawBsonRef::Double(value) => Some(Self::Double(value)),
            RawBsonRef::Decimal128(value) => Some(Self::Decimal(Decimal::from_bson(value))),
            _ => None,
        }
    }

    /// The number as a BSON value of its own type.
    pub fn to_raw_bson(self) -> RawBson {
        match self {
            Self::Int32(value) => RawBson::Int32(value),
            Self::Int64(value) => RawBson::Int64(value),
            Self::Double(value) => RawBson::Double(value),
            Self::Decimal(value) => RawBson::Decimal128(value.to_bson()),
        }
    }

    /// Compares by exact mathematical value across types: NaN lowest and equal to NaN, -0 equal to 0.
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int32(a), Self::Int32(b)) => a.cmp(&b),
            (Self::Double(a), Self::Double(b)) => compare_doubles(a, b),
            (Self::Double(a), Self::Decimal(b)) => b.compare_f64(a).reverse(),
            (Self::Double(a), b) => compare_integer_double(b.integer(), a).reverse(),
            (Self::Decimal(a), Self::Double(b)) => a.compare_f64(b),
            (a, Self::Double(b)) => compare_integer_double(a.integer(), b),
            (Self::Decimal(_), _) | (_, Self::Decimal(_)) => self.to_decimal().compare(other.to_decimal()),
            (a, b) => a.integer().cmp(&b.integer()),
        }
    }

    /// Whether it is a NaN of either kind.
    pub fn is_nan(self) -> bool {
        match self {
            Self::Double(value) => value.is_nan(),
            Self::Decimal(value) => value.is_nan(),
            Self::Int32(_) | Self::Int64(_) => false,
        }
    }

    /// The sum. `int` overflows to `long`; a `double` makes a `double`, a `decimal` a `decimal`.
    ///
    /// # Errors
    /// `BadValue` (2) if a sum of integers is beyond 64 bits.
    pub fn checked_add(self, other: Self) -> Result<Self, QueryError> {
        match self.meet(other) {
            Pair::Integers(a, b, narrow) => integer_result(a.checked_add(b), narrow),
            Pair::Doubles(a, b) => Ok(Self::Double(a + b)),
            Pair::Decimals(a, b) => Ok(Self::Decimal(a + b)),
        }
    }

    /// The product, with the types of [`Number::checked_add`].
    ///
    /// # Errors
    /// `BadValue` (2) if a product of integers is beyond 64 bits.
    pub fn checked_mul(self, other: Self) -> Result<Self, QueryError> {
        match self.meet(other) {
            Pair::Integers(a, b, narrow) => integer_result(a.checked_mul(b), narrow),
            Pair::Doubles(a, b) => Ok(Self::Double(a * b)),
            Pair::Decimals(a, b) => Ok(Self::Decimal(a * b)),
        }
    }

    /// Zero of the same type, as `$mul` puts where the field is missing.
    #[must_use]
    pub fn zero_of_same_type(self) -> Self {
        match self {
            Self::Int32(_) => Self::Int32(0),
            Self::Int64(_) => Self::Int64(0),
            Self::Double(_) => Self::Double(0.0),
            Self::Decimal(_) => Self::Decimal(Decimal::ZERO),
        }
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int32(value) => f64::from(value),
            Self::Int64(value) => value as f64,
            Self::Double(value) => value,
            Self::Decimal(value) => value.to_f64(),
        }
    }

    /// The number as a decimal; a double is taken at 15 digits, as MongoDB does.
    pub fn to_decimal(self) -> Decimal {
        match self {
            Self::Int32(value) => Decimal::from_i64(i64::from(value)),
            Self::Int64(value) => Decimal::from_i64(value),
            Self::Double(value) => Decimal::from_f64(value),
            Self::Decimal(value) => value,
        }
    }

    /// The value as a 64-bit integer, if it is a whole number in range.
    pub fn to_i64_exact(self) -> Option<i64> {
        match self {
            Self::Int32(value) => Some(i64::from(value)),
            Self::Int64(value) => Some(value),
            Self::Double(value) => (value.trunc() == value).then(|| truncate_double(value))?,
            Self::Decimal(value) => value.to_i64_exact(),
        }
    }

    /// The value without its fraction, if that is in the range of 64-bit integers; none for NaN and infinities.
    pub fn truncated_to_i64(self) -> Option<i64> {
        match self {
            Self::Double(value) => truncate_double(value),
            Self::Decimal(value) => value.truncated_to_i64(),
            integer => Some(integer.integer()),
        }
    }

    /// The value of an integer type; 0 for the others, which callers have sorted out.
    fn integer(self) -> i64 {
        match self {
            Self::Int32(value) => i64::from(value),
            Self::Int64(value) => value,
            Self::Double(_) | Self::Decimal(_) => 0,
        }
    }

    fn meet(self, other: Self) -> Pair {
        match (self, other) {
            (Self::Decimal(_), _) | (_, Self::Decimal(_)) => {
                Pair::Decimals(self.to_decimal(), other.to_decimal())
            }
            (Self::Double(_), _) | (_, Self::Double(_)) => Pair::Doubles(self.to_f64(), other.to_f64()),
            (Self::Int32(a), Self::Int32(b)) => Pair::Integers(i64::from(a), i64::from(b), true),
            (a, b) => Pair::Integers(a.integer(), b.integer(), false),
        }
    }
}

/// Two numbers brought to the type of their result.
enum Pair {
    /// The flag says that both were `int`, so that the result is one if it fits.
    Integers(i64, i64, bool),
    Doubles(f64, f64),
    Decimals(Decimal, Decimal),
}

fn integer_result(result: Option<i64>, narrow: bool) -> Result<Number, QueryError> {
    let value = result.ok_or_else(|| {
        QueryError::new(ErrorCode::BAD_VALUE, "the result of integer arithmetic exceeds 64 bits")
    })?;
    Ok(match i32::try_from(value) {
        Ok(small) if narrow => Number::Int32(small),
        _ => Number::Int64(value),
    })
}

fn compare_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn compare_integer_double(a: i64, b: f64) -> Ordering {
    if b.is_nan() {
        return Ordering::Greater;
    }
    match truncate_double(b) {
        Some(whole) => a.cmp(&whole).then_with(|| {
            let fraction = b - b.trunc();
            0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal)
        }),
        None if b > 0.0 => Ordering::Less,
        None => Ordering::Greater,
    }
}

fn truncate_double(value: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0; // 2^63, exactly
    (-END..END).contains(&value).then_some(value as i64)
}
