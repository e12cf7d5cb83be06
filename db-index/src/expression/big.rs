//! Functions of decimals to all their digits, by fixed-point arithmetic on large integers.
//!
//! Sixty digits after the point leave more than twenty to spare, so that the last of the thirty-four is right but where a
//! result lies within 10^-20 of the middle between two decimals.

use num_bigint::{BigInt, BigUint, Sign};

use crate::decimal::Decimal;

/// Digits after the point.
const PLACES: u32 = 60;

/// Results beyond these powers of e leave the range of decimals either way.
const EXPONENT_MAX: i64 = 14_300;

fn power_of_ten(places: u32) -> BigInt {
    BigInt::from(10).pow(places)
}

fn one() -> BigInt {
    power_of_ten(PLACES)
}

fn is_negative(value: &BigInt) -> bool {
    value.sign() == Sign::Minus
}

fn is_zero(value: &BigInt) -> bool {
    value.sign() == Sign::NoSign
}

/// A value as `mantissa · 10^exponent`.
fn parts(value: Decimal) -> Option<(BigInt, i32)> {
    let Decimal::Finite { negative, coefficient, exponent } = value else { return None };
    let mantissa = BigInt::from(coefficient);
    Some((if negative { -mantissa } else { mantissa }, exponent))
}

/// The decimal nearest to `mantissa · 10^exponent`, without zeros at its end.
fn rounded(mantissa: &BigInt, exponent: i64) -> Decimal {
    let negative = is_negative(mantissa);
    let mut digits = mantissa.magnitude().to_string();
    let mut exponent = exponent;
    if digits.len() > 34 {
        let surplus = digits.len() - 34;
        let unit = BigUint::from(10_u32).pow(surplus as u32);
        let half = &unit / 2_u32;
        digits = ((mantissa.magnitude() + half) / &unit).to_string();
        exponent += surplus as i64;
    }
    let kept = digits.trim_end_matches('0');
    exponent += (digits.len() - kept.len()) as i64;
    let kept = if kept.is_empty() { "0" } else { kept };
    let text = format!("{}{kept}E{exponent}", if negative { "-" } else { "" });
    match text.parse() {
        Ok(value) => Decimal::from_bson(value),
        // Beyond the range of exponents.
        Err(_) if exponent > 0 => Decimal::Infinity { negative },
        Err(_) => Decimal::ZERO,
    }
}

/// `2 · atanh(numerator / denominator)`, fixed-point.
fn twice_atanh(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let ratio = numerator * one() / denominator;
    let square = &ratio * &ratio / one();
    let (mut term, mut sum) = (ratio.clone(), ratio);
    let mut divisor = 1_u32;
    while !is_zero(&term) {
        term = &term * &square / one();
        divisor += 2;
        sum += &term / divisor;
    }
    sum * 2
}

fn ln_ten() -> BigInt {
    // ln 10 = 3 ln 2 + ln 1.25, both by quickly converging series.
    let ln_two = twice_atanh(&BigInt::from(1), &BigInt::from(3));
    ln_two * 3 + twice_atanh(&BigInt::from(1), &BigInt::from(9))
}

/// The natural logarithm of a positive finite number, fixed-point.
fn ln_fixed(value: Decimal) -> Option<BigInt> {
    let (mantissa, exponent) = parts(value)?;
    let digits = mantissa.magnitude().to_string().len() as i64;
    // The value is fraction · 10^power with a fraction from 0.1 to 1.
    let power = i64::from(exponent) + digits;
    let fraction = mantissa * power_of_ten(PLACES) / power_of_ten(digits as u32);
    // Brought near 1 by factors of two, which the series then takes quickly.
    let (mut fraction, mut twos) = (fraction, 0);
    while fraction < &one() * 3 / 4 {
        fraction *= 2;
        twos += 1;
    }
    let ln_two = twice_atanh(&BigInt::from(1), &BigInt::from(3));
    let series = twice_atanh(&(&fraction - one()), &(&fraction + one()));
    Some(series - ln_two * twos + ln_ten() * power)
}

/// e to a fixed-point power, as a decimal.
fn exp_fixed(power: &BigInt) -> Decimal {
    let limit = one() * EXPONENT_MAX;
    if power > &limit {
        return Decimal::Infinity { negative: false };
    }
    if power < &-limit {
        return Decimal::ZERO;
    }
    // e^x = 10^k · e^r with r small, and e^r = (e^(r/256))^256.
    let ten = ln_ten();
    let mut tens = power / &ten;
    let mut rest = power - &tens * &ten;
    if is_negative(&rest) {
        rest += &ten;
        tens -= 1;
    }
    let rest = rest / 256;
    let (mut term, mut sum) = (one(), one());
    let mut step = 0_u32;
    while !is_zero(&term) {
        step += 1;
        term = &term * &rest / one() / step;
        sum += &term;
    }
    for _ in 0..8 {
        sum = &sum * &sum / one();
    }
    let tens: i64 = tens.try_into().unwrap_or(0);
    rounded(&sum, tens - i64::from(PLACES))
}

/// The natural logarithm of a positive number.
pub(super) fn ln(value: Decimal) -> Decimal {
    match ln_fixed(value) {
        Some(result) => rounded(&result, -i64::from(PLACES)),
        None => value,
    }
}

/// The logarithm of a positive number to a positive base that is not 1.
pub(super) fn log(value: Decimal, base: Decimal) -> Decimal {
    match (ln_fixed(value), ln_fixed(base)) {
        (Some(value), Some(base)) if !is_zero(&base) => rounded(&(value * one() / base), -i64::from(PLACES)),
        _ => value,
    }
}

/// e to the power of a number.
pub(super) fn exp(value: Decimal) -> Decimal {
    match value {
        Decimal::Infinity { negative: true } => Decimal::ZERO,
        Decimal::Infinity { negative: false } | Decimal::Nan => value,
        Decimal::Finite { .. } => match fixed(value) {
            Some(power) => exp_fixed(&power),
            None if value.is_negative() => Decimal::ZERO,
            None => Decimal::Infinity { negative: false },
        },
    }
}

/// A number in fixed-point; none if it is too large to be an exponent.
fn fixed(value: Decimal) -> Option<BigInt> {
    let (mantissa, exponent) = parts(value)?;
    let shift = i64::from(exponent) + i64::from(PLACES);
    if is_zero(&mantissa) {
        return Some(mantissa);
    }
    if mantissa.magnitude().to_string().len() as i64 + i64::from(exponent) > 10 {
        return None;
    }
    let scale = power_of_ten(u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX).min(20_000));
    Some(if shift >= 0 { mantissa * scale } else { mantissa / scale })
}

/// A positive number to any power.
pub(super) fn pow(base: Decimal, exponent: Decimal) -> Option<Decimal> {
    let (exponent, shift) = parts(exponent)?;
    let product = ln_fixed(base)? * exponent;
    let scale = power_of_ten(shift.unsigned_abs());
    Some(exp_fixed(&if shift >= 0 { product * scale } else { product / scale }))
}

/// The square root of a number that is not negative.
pub(super) fn sqrt(value: Decimal) -> Decimal {
    let Some((mantissa, exponent)) = parts(value) else { return value };
    if is_zero(&mantissa) {
        return value;
    }
    let exponent = i64::from(exponent);
    let odd = exponent.rem_euclid(2);
    let scaled = mantissa * power_of_ten(2 * PLACES + odd as u32);
    rounded(&scaled.sqrt(), (exponent - odd) / 2 - i64::from(PLACES))
}
