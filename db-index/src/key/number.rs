//! Keys of numbers: one order over four types.
//!
//! The key is the greatest double not above the number, and a mark whether it is the number itself. If not, the digits
//! follow that tell numbers of the same floor apart: the decimal exponent (2, big-endian, biased), then the significant
//! digits two to a byte (1 to 100), then 0; all bits turned for negative numbers.
//!
//! Types: 0 for the type that the value suggests (`int` if it fits, else `double` if the floor is exact, else `long` if it
//! fits, else the shortest `decimal`), else one of the marks below and what it needs.

use bson::{Decimal128, RawBson};

use super::{
    TYPE_PLAIN,
    decode::{KeyError, Reader, Types},
};
use crate::{
    decimal::{Decimal, digit_count, double_parts},
    number::Number,
};

const LONG: u8 = 1;
const DOUBLE: u8 = 2;
const NEGATIVE_ZERO: u8 = 3;
/// A NaN of other bits than the usual ones: they follow (8, big-endian).
const NAN_BITS: u8 = 4;
/// A zero: sign and biased exponent follow (2, big-endian).
const DECIMAL_ZERO: u8 = 5;
const DECIMAL_INFINITY: u8 = 6;
const DECIMAL_NAN: u8 = 7;
/// A decimal in another encoding than the canonical one: its 16 bytes follow.
const DECIMAL_BITS: u8 = 8;
/// Plus how many zeros the coefficient ends in: 0 to 33.
const DECIMAL: u8 = 0x40;

const EXACT: u8 = 0;
const DIGITS: u8 = 1;
const EXPONENT_BIAS: i32 = 0x2000;
const NAN: u64 = 0x7ff8_0000_0000_0000;

pub(super) fn put_integer(value: i64, is_int: bool, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    let nearest = value as f64;
    let exact = value.unsigned_abs() <= 1 << 53 || Number::Double(nearest).to_i64_exact() == Some(value);
    if exact {
        put_floor(nearest, key);
        key.push(EXACT);
        types.push(if is_int { TYPE_PLAIN } else { LONG });
    } else {
        let above = Number::Double(nearest).compare(Number::Int64(value)).is_gt();
        put_floor(if above { nearest.next_down() } else { nearest }, key);
        put_digits(value < 0, u128::from(value.unsigned_abs()), 0, key);
        types.push(TYPE_PLAIN);
    }
}

pub(super) fn put_double(value: f64, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    put_floor(value, key);
    key.push(EXACT);
    if value.to_bits() == NAN {
        types.push(TYPE_PLAIN);
    } else if value.is_nan() {
        types.push(NAN_BITS);
        types.extend_from_slice(&value.to_bits().to_be_bytes());
    } else if value == 0.0 && value.is_sign_negative() {
        types.push(NEGATIVE_ZERO);
    } else {
        types.push(if suggests_int(value) { DOUBLE } else { TYPE_PLAIN });
    }
}

pub(super) fn put_decimal(value: Decimal128, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    let decimal = Decimal::from_bson(value);
    let floor = decimal.floor_to_f64();
    put_floor(floor, key);
    let mut suggested = false;
    match decimal {
        Decimal::Finite { negative, coefficient, exponent } if decimal.compare_f64(floor).is_ne() => {
            put_digits(negative, coefficient, exponent, key);
            suggested = coefficient % 10 != 0 && decimal.to_i64_exact().is_none();
        }
        _ => key.push(EXACT),
    }
    if decimal.to_bson() != value {
        types.push(DECIMAL_BITS);
        types.extend_from_slice(&value.bytes());
        return;
    }
    match decimal {
        Decimal::Nan => types.push(DECIMAL_NAN),
        Decimal::Infinity { .. } => types.push(DECIMAL_INFINITY),
        Decimal::Finite { negative, coefficient: 0, exponent } => {
            types.push(DECIMAL_ZERO);
            let biased = (exponent + EXPONENT_BIAS) as u16;
            types.extend_from_slice(&(u16::from(negative) << 15 | biased).to_be_bytes());
        }
        Decimal::Finite { .. } if suggested => types.push(TYPE_PLAIN),
        Decimal::Finite { coefficient, exponent, .. } => {
            let (_, stripped) = strip_zeros(coefficient, exponent);
            types.push(DECIMAL + (stripped - exponent) as u8);
        }
    }
}

/// Reads what follows the bracket byte of a number.
pub(super) fn take_number(key: &mut Reader<'_>, types: &mut Types<'_>) -> Result<RawBson, KeyError> {
    let floor = double_of_ordered(u64::from_be_bytes(key.take()?));
    let digits = match key.byte()? {
        EXACT => None,
        DIGITS => Some(take_digits(floor < 0.0, key)?),
        _ => return Err(KeyError("unknown mark of a number")),
    };
    let malformed = KeyError("types that do not fit the number");
    match types.byte() {
        TYPE_PLAIN => match digits {
            None if suggests_int(floor) => Ok(RawBson::Int32(floor as i32)),
            None => Ok(RawBson::Double(floor)),
            Some(decimal) => Ok(match decimal.to_i64_exact() {
                Some(long) => RawBson::Int64(long),
                None => RawBson::Decimal128(decimal.to_bson()),
            }),
        },
        LONG => Number::Double(floor).to_i64_exact().map(RawBson::Int64).ok_or(malformed),
        DOUBLE => Ok(RawBson::Double(floor)),
        NEGATIVE_ZERO => Ok(RawBson::Double(-0.0)),
        NAN_BITS => Ok(RawBson::Double(f64::from_bits(u64::from_be_bytes(types.take())))),
        DECIMAL_ZERO => {
            let bits = u16::from_be_bytes(types.take());
            let exponent = i32::from(bits & 0x7fff) - EXPONENT_BIAS;
            Ok(decimal(Decimal::Finite { negative: bits >> 15 == 1, coefficient: 0, exponent }))
        }
        DECIMAL_INFINITY => Ok(decimal(Decimal::Infinity { negative: floor < 0.0 })),
        DECIMAL_NAN => Ok(decimal(Decimal::Nan)),
        DECIMAL_BITS => Ok(RawBson::Decimal128(Decimal128::from_bytes(types.take()))),
        mark => {
            let zeros = mark.checked_sub(DECIMAL).filter(|zeros| *zeros < 34).ok_or(malformed)?;
            let shortest = match digits {
                Some(decimal) => decimal,
                None => decimal_of_double(floor).ok_or(malformed)?,
            };
            let Decimal::Finite { negative, coefficient, exponent } = shortest else { return Err(malformed) };
            let coefficient = coefficient.checked_mul(10_u128.pow(u32::from(zeros))).ok_or(malformed)?;
            Ok(decimal(Decimal::Finite { negative, coefficient, exponent: exponent - i32::from(zeros) }))
        }
    }
}

/// Passes over what follows the bracket byte of a number.
pub(super) fn skip_number(key: &mut Reader<'_>) -> Result<(), KeyError> {
    let floor = double_of_ordered(u64::from_be_bytes(key.take()?));
    if key.byte()? == DIGITS {
        take_digits(floor < 0.0, key)?;
    }
    Ok(())
}

fn decimal(value: Decimal) -> RawBson {
    RawBson::Decimal128(value.to_bson())
}

fn suggests_int(value: f64) -> bool {
    value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX) && value.trunc() == value
}

/// Appends the double so that bytes order as numbers: NaN lowest and all alike, one zero.
fn put_floor(value: f64, key: &mut Vec<u8>) {
    let ordered = if value.is_nan() {
        0
    } else {
        let bits = if value == 0.0 { 0 } else { value.to_bits() };
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    };
    key.extend_from_slice(&ordered.to_be_bytes());
}

fn double_of_ordered(ordered: u64) -> f64 {
    match ordered {
        0 => f64::from_bits(NAN),
        _ if ordered >> 63 == 1 => f64::from_bits(ordered & !(1 << 63)),
        _ => f64::from_bits(!ordered),
    }
}

fn put_digits(negative: bool, coefficient: u128, exponent: i32, key: &mut Vec<u8>) {
    key.push(DIGITS);
    let start = key.len();
    let (coefficient, exponent) = strip_zeros(coefficient, exponent);
    let digits = digit_count(coefficient);
    key.extend_from_slice(&((exponent + digits as i32 + EXPONENT_BIAS) as u16).to_be_bytes());
    let (mut rest, pairs) =
        if digits.is_multiple_of(2) { (coefficient, digits / 2) } else { (coefficient * 10, digits / 2 + 1) };
    let first = key.len();
    for _ in 0..pairs {
        key.push((rest % 100) as u8 + 1);
        rest /= 100;
    }
    if let Some(pairs) = key.get_mut(first..) {
        pairs.reverse();
    }
    key.push(0);
    if negative {
        key.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
}

/// The number whose digits follow, its coefficient without zeros at the end.
fn take_digits(negative: bool, key: &mut Reader<'_>) -> Result<Decimal, KeyError> {
    let mask = if negative { 0xff } else { 0 };
    let biased = u16::from_be_bytes([key.byte()? ^ mask, key.byte()? ^ mask]);
    let (mut coefficient, mut digits) = (0_u128, 0);
    loop {
        match key.byte()? ^ mask {
            0 => break,
            pair @ 1..=100 if digits < 34 => {
                coefficient = coefficient * 100 + u128::from(pair - 1);
                digits += 2;
            }
            _ => return Err(KeyError("bad digits of a number")),
        }
    }
    let (coefficient, exponent) = strip_zeros(coefficient, i32::from(biased) - EXPONENT_BIAS - digits);
    Ok(Decimal::Finite { negative, coefficient, exponent })
}

/// Moves zeros at the end of a coefficient into the exponent.
fn strip_zeros(mut coefficient: u128, mut exponent: i32) -> (u128, i32) {
    while coefficient != 0 && coefficient.is_multiple_of(10) {
        coefficient /= 10;
        exponent += 1;
    }
    (coefficient, exponent)
}

/// The shortest decimal of exactly this value, if 34 digits are enough.
fn decimal_of_double(value: f64) -> Option<Decimal> {
    let (mantissa, mut twos) = double_parts(value);
    if !value.is_finite() || mantissa == 0 {
        return None;
    }
    let mut coefficient = u128::from(mantissa >> mantissa.trailing_zeros());
    twos += mantissa.trailing_zeros() as i32;
    let mut exponent = 0;
    if twos < 0 {
        coefficient = coefficient.checked_mul(5_u128.checked_pow(twos.unsigned_abs())?)?;
        exponent = twos;
    } else {
        while twos > 0 && coefficient % 5 == 0 {
            coefficient /= 5;
            twos -= 1;
            exponent += 1;
        }
        if twos.unsigned_abs() >= coefficient.leading_zeros() {
            return None;
        }
        coefficient <<= twos;
    }
    let (coefficient, exponent) = strip_zeros(coefficient, exponent);
    Some(Decimal::Finite { negative: value < 0.0, coefficient, exponent })
}
