//! Decimals from text.

use num_bigint::BigUint;

use super::{Decimal, round};

/// How many digits are read one by one; of those that follow it only counts whether they are all zero.
const DIGITS_READ: usize = 40;

impl Decimal {
    /// The decimal that `text` names, as MongoDB reads it: digits with a point and an exponent, of which 34 are kept, or
    /// `inf`, `infinity` and `nan` in any case. None for other text, and for numbers out of the format's range.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if ["inf", "infinity"].iter().any(|name| rest.eq_ignore_ascii_case(name)) {
            return Some(Self::Infinity { negative });
        }
        if rest.eq_ignore_ascii_case("nan") {
            return Some(Self::Nan);
        }
        let (mantissa, power) = match rest.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, exponent(power)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let digits: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).skip_while(|byte| *byte == b'0').collect();
        let (read, beyond) = digits.split_at(digits.len().min(DIGITS_READ));
        let mut kept = read.to_vec();
        let mut power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        if !beyond.is_empty() {
            // One digit more tells a tie from what is above it.
            kept.push(if beyond.iter().any(|digit| *digit != b'0') { b'1' } else { b'0' });
            power = power.checked_add(i64::try_from(beyond.len() - 1).ok()?)?;
        }
        let coefficient = BigUint::parse_bytes(&kept, 10).unwrap_or_default();
        let is_zero = coefficient == BigUint::ZERO;
        let value = round(negative, coefficient, power);
        (value.is_finite() && value.is_zero() == is_zero).then_some(value)
    }
}

/// An exponent; one of many digits is as good as a very large one.
fn exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(1 << 40).min(1 << 40);
    Some(if negative { -size } else { size })
}
