//! Decimal128 as a number: decoding, exact comparison and IEEE 754 arithmetic, rounding half to even at 34 digits.

use std::cmp::Ordering;

use bson::Decimal128;
use num_bigint::BigUint;

mod arithmetic;
mod parse;
#[cfg(test)]
mod tests;

/// The most digits of a coefficient.
const DIGITS_MAX: u32 = 34;
/// The lowest exponent of the coefficient's last digit.
const EXPONENT_MIN: i32 = -6176;
/// The highest exponent of the coefficient's last digit.
const EXPONENT_MAX: i32 = 6111;

/// 10^34, the first coefficient that does not fit.
const COEFFICIENT_END: u128 = 10_u128.pow(DIGITS_MAX);
const EXPONENT_BIAS: i32 = 6176;
/// The significant digits that a double is taken to have.
const DOUBLE_DIGITS: u32 = 15;

/// A decoded Decimal128: `± coefficient · 10^exponent`, an infinity, or not a number.
///
/// `coefficient` < 10^34 and `exponent` within -6176..=6111 in every value that this module makes.
/// Equality of this type is of representation (`1.0` differs from `1.00`); numbers compare by [`Decimal::compare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// A finite number; zero has a sign and an exponent too.
    Finite {
        /// Whether the sign bit is set.
        negative: bool,
        /// The digits, below 10^34.
        coefficient: u128,
        /// The power of ten of the last digit.
        exponent: i32,
    },
    /// An infinity.
    Infinity {
        /// Whether it is the one below all numbers.
        negative: bool,
    },
    /// Not a number, of any kind.
    Nan,
}

impl Decimal {
    /// Zero with exponent 0.
    pub const ZERO: Self = Self::Finite { negative: false, coefficient: 0, exponent: 0 };

    /// Decodes the BID format. A coefficient out of range reads as zero, as the standard has it.
    pub fn from_bson(value: Decimal128) -> Self {
        let bits = u128::from_le_bytes(value.bytes());
        let negative = bits >> 127 == 1;
        let combination = (bits >> 122) & 0b1_1111;
        if combination == 0b1_1111 {
            return Self::Nan;
        }
        if combination == 0b1_1110 {
            return Self::Infinity { negative };
        }
        // With both upper bits set the coefficient begins with binary 100 and so is beyond 10^34 - 1: it reads as zero.
        let (biased, coefficient) = if combination >> 3 == 0b11 {
            ((bits >> 111) & 0x3fff, 0)
        } else {
            ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1))
        };
        let coefficient = if coefficient < COEFFICIENT_END { coefficient } else { 0 };
        Self::Finite { negative, coefficient, exponent: biased as i32 - EXPONENT_BIAS }
    }

    /// Encodes to BID. A NaN becomes the canonical quiet one; a value whose parts are out of range is rounded into it.
    pub fn to_bson(self) -> Decimal128 {
        let sign = |negative: bool| u128::from(negative) << 127;
        let bits = match self {
            Self::Nan => 0b1_1111 << 122,
            Self::Infinity { negative } => sign(negative) | 0b1_1110 << 122,
            Self::Finite { negative, coefficient, exponent }
                if coefficient < COEFFICIENT_END && (EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent) =>
            {
                sign(negative) | ((exponent + EXPONENT_BIAS) as u128) << 113 | coefficient
            }
            Self::Finite { negative, coefficient, exponent } => {
                return round(negative, BigUint::from(coefficient), i64::from(exponent)).to_bson();
            }
        };
        Decimal128::from_bytes(bits.to_le_bytes())
    }

    /// The integer, with exponent 0.
    pub fn from_i64(value: i64) -> Self {
        Self::Finite { negative: value < 0, coefficient: u128::from(value.unsigned_abs()), exponent: 0 }
    }

    /// Converts a double as MongoDB does for arithmetic: to 15 significant digits, so that 0.1 becomes
    /// 0.100000000000000. Zero keeps its sign, infinities and NaN stay.
    pub fn from_f64(value: f64) -> Self {
        if value == 0.0 {
            return Self::Finite { negative: value.is_sign_negative(), coefficient: 0, exponent: 0 };
        }
        let negative = value.is_sign_negative();
        // First to the format, then to fifteen digits: two roundings, because MongoDB does two.
        match Self::from_f64_exact(value) {
            Self::Finite { coefficient, exponent, .. } => {
                let digits = digit_count(coefficient);
                let (coefficient, exponent) = match digits.checked_sub(DOUBLE_DIGITS) {
                    None | Some(0) => {
                        let shift = DOUBLE_DIGITS - digits;
                        (BigUint::from(coefficient * 10_u128.pow(shift)), exponent - shift as i32)
                    }
                    Some(drop) => {
                        (divide_half_even(&BigUint::from(coefficient), drop), exponent + drop as i32)
                    }
                };
                let carried = coefficient == BigUint::from(10_u64.pow(DOUBLE_DIGITS));
                let (coefficient, exponent) =
                    if carried { (coefficient / 10_u8, exponent + 1) } else { (coefficient, exponent) };
                round(negative, coefficient, i64::from(exponent))
            }
            other => other,
        }
    }

    /// Converts a double as exactly as the format can, to 34 significant digits, as MongoDB does for sums: 0.1 becomes
    /// 0.1000000000000000055511151231257827.
    pub(crate) fn from_f64_exact(value: f64) -> Self {
        if value.is_nan() {
            return Self::Nan;
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return Self::Infinity { negative };
        }
        if value == 0.0 {
            return Self::Finite { negative, coefficient: 0, exponent: 0 };
        }
        let (mantissa, exponent) = double_parts(value);
        // Without the trailing zero bits, 0.5 has one digit and not many.
        let zeros = mantissa.trailing_zeros().min(exponent.min(0).unsigned_abs());
        let (mantissa, exponent) = (mantissa >> zeros, exponent + zeros as i32);
        if exponent >= 0 {
            round(negative, BigUint::from(mantissa) << exponent.unsigned_abs(), 0)
        } else {
            let scaled = BigUint::from(mantissa) * BigUint::from(5_u8).pow(exponent.unsigned_abs());
            round(negative, scaled, i64::from(exponent))
        }
    }

    /// The nearest double, ties to even.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Nan => f64::NAN,
            Self::Infinity { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Self::Finite { negative, coefficient, exponent } => {
                let magnitude = magnitude_to_f64(coefficient, exponent);
                if negative { -magnitude } else { magnitude }
            }
        }
    }

    /// The value as a 64-bit integer, if it is a whole number in range.
    pub fn to_i64_exact(self) -> Option<i64> {
        let truncated = self.truncated_to_i64()?;
        self.compare(Self::from_i64(truncated)).is_eq().then_some(truncated)
    }

    /// The value without its fraction, if that is in the range of 64-bit integers.
    pub fn truncated_to_i64(self) -> Option<i64> {
        let Self::Finite { negative, coefficient, exponent } = self else { return None };
        let magnitude = if coefficient == 0 {
            0
        } else if let Ok(exponent) = u32::try_from(exponent) {
            coefficient.checked_mul(10_u128.checked_pow(exponent)?)?
        } else {
            10_u128.checked_pow(exponent.unsigned_abs()).map_or(0, |divisor| coefficient / divisor)
        };
        let magnitude = i128::try_from(magnitude).ok()?;
        i64::try_from(if negative { -magnitude } else { magnitude }).ok()
    }

    /// Whether it is NaN.
    pub fn is_nan(self) -> bool {
        self == Self::Nan
    }

    /// Whether it is neither NaN nor infinite.
    pub(crate) fn is_finite(self) -> bool {
        matches!(self, Self::Finite { .. })
    }

    /// Compares exact values: NaN lowest and equal to itself, -0 equal to 0, exponents of no account.
    pub fn compare(self, other: Self) -> Ordering {
        let (class, other_class) = (self.class(), other.class());
        if class != other_class {
            return class.cmp(&other_class);
        }
        match (self, other) {
            (
                Self::Finite { negative, coefficient: c, exponent: e },
                Self::Finite { coefficient: d, exponent: f, .. },
            ) if c != 0 => {
                let order = compare_magnitudes(c, e, d, f);
                if negative { order.reverse() } else { order }
            }
            _ => Ordering::Equal,
        }
    }

    /// Compares with a double, exactly: decimal 0.1 is below double 0.1, which is a little more than a tenth.
    pub fn compare_f64(self, other: f64) -> Ordering {
        let other_class = if other.is_nan() {
            Class::Nan
        } else if other == 0.0 {
            Class::Zero
        } else {
            match (other.is_infinite(), other < 0.0) {
                (true, true) => Class::NegativeInfinity,
                (true, false) => Class::PositiveInfinity,
                (false, true) => Class::Negative,
                (false, false) => Class::Positive,
            }
        };
        let class = self.class();
        if class != other_class {
            return class.cmp(&other_class);
        }
        match self {
            Self::Finite { negative, coefficient, exponent } if coefficient != 0 => {
                let (mantissa, binary_exponent) = double_parts(other);
                let order = compare_with_binary(coefficient, exponent, mantissa, binary_exponent);
                if negative { order.reverse() } else { order }
            }
            _ => Ordering::Equal,
        }
    }

    /// The greatest double that is not above the value; NaN for NaN.
    pub(crate) fn floor_to_f64(self) -> f64 {
        let nearest = self.to_f64();
        if self.compare_f64(nearest).is_lt() { nearest.next_down() } else { nearest }
    }

    /// Whether the sign bit is set; false for NaN.
    pub fn is_negative(self) -> bool {
        match self {
            Self::Nan => false,
            Self::Infinity { negative } | Self::Finite { negative, .. } => negative,
        }
    }

    /// Whether it is a zero of either sign.
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Finite { coefficient: 0, .. })
    }

    fn class(self) -> Class {
        match self {
            Self::Nan => Class::Nan,
            Self::Infinity { negative: true } => Class::NegativeInfinity,
            Self::Infinity { negative: false } => Class::PositiveInfinity,
            Self::Finite { coefficient: 0, .. } => Class::Zero,
            Self::Finite { negative: true, .. } => Class::Negative,
            Self::Finite { negative: false, .. } => Class::Positive,
        }
    }
}

/// Where a number stands before its magnitude counts, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Nan,
    NegativeInfinity,
    Negative,
    Zero,
    Positive,
    PositiveInfinity,
}

/// How many decimal digits `value` has; 0 has none.
pub(crate) fn digit_count(value: u128) -> u32 {
    value.checked_ilog10().map_or(0, |log| log + 1)
}

/// Mantissa and binary exponent of a finite double, its sign left out.
pub(crate) fn double_parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) & 0x7ff {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased as i32 - 1075),
    }
}

fn power_of_ten(exponent: u32) -> BigUint {
    BigUint::from(10_u8).pow(exponent)
}

fn magnitude_to_f64(coefficient: u128, exponent: i32) -> f64 {
    if coefficient == 0 {
        return 0.0;
    }
    // The standard library's parser rounds correctly.
    format!("{coefficient}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// Compares `c·10^e` with `d·10^f`, both coefficients nonzero.
fn compare_magnitudes(c: u128, e: i32, d: u128, f: i32) -> Ordering {
    // The exponent of the first digit decides unless it is the same; then the shift is at most 33 digits.
    let (c_digits, d_digits) = (digit_count(c), digit_count(d));
    let (c_top, d_top) = (e + c_digits as i32, f + d_digits as i32);
    c_top.cmp(&d_top).then_with(|| {
        let scale =
            |value: u128, digits: u32| value.saturating_mul(10_u128.pow(38_u32.saturating_sub(digits)));
        scale(c, c_digits).cmp(&scale(d, d_digits))
    })
}

/// Compares `c·10^q` with `m·2^e`, `c` and `m` nonzero.
fn compare_with_binary(c: u128, q: i32, m: u64, e: i32) -> Ordering {
    // Bounds on the binary logarithms settle nearly every case: 10^q lies between 2^n and 2^(n+1) for n = ⌊q·log2 10⌋.
    let log_of_power = (i128::from(q) * 33_219_280_948_873_623).div_euclid(10_000_000_000_000_000) as i64;
    let decimal_low = i64::from(c.ilog2()) + log_of_power;
    let binary_low = i64::from(m.ilog2()) + i64::from(e);
    if decimal_low > binary_low {
        return Ordering::Greater;
    }
    if decimal_low + 2 <= binary_low {
        return Ordering::Less;
    }
    // Both sides as integers: fives on the side where their exponent is positive, and the net power of two likewise.
    let (five_left, five_right) = if q >= 0 { (q.unsigned_abs(), 0) } else { (0, q.unsigned_abs()) };
    let twos = q - e; // c·5^q·2^(q-e) against m
    let (two_left, two_right) = if twos >= 0 { (twos.unsigned_abs(), 0) } else { (0, twos.unsigned_abs()) };
    let small = |base: u128, five: u32, two: u32| {
        let value = base.checked_mul(5_u128.checked_pow(five)?)?;
        (two <= value.leading_zeros()).then(|| value << two)
    };
    if let (Some(left), Some(right)) =
        (small(c, five_left, two_left), small(u128::from(m), five_right, two_right))
    {
        return left.cmp(&right);
    }
    let big = |base: BigUint, five: u32, two: u32| (base * BigUint::from(5_u8).pow(five)) << two;
    big(BigUint::from(c), five_left, two_left).cmp(&big(BigUint::from(m), five_right, two_right))
}

/// Brings `± coefficient · 10^exponent` into the format: half to even, gradual underflow, overflow to an infinity.
fn round(negative: bool, mut coefficient: BigUint, mut exponent: i64) -> Decimal {
    let end = BigUint::from(COEFFICIENT_END);
    let digits = big_digit_count(&coefficient);
    let excess = digits.saturating_sub(u64::from(DIGITS_MAX)) as i64;
    let drop = excess.max(i64::from(EXPONENT_MIN) - exponent);
    if drop > 0 {
        coefficient =
            if drop as u64 > digits { BigUint::ZERO } else { divide_half_even(&coefficient, drop as u32) };
        exponent += drop;
        if coefficient >= end {
            coefficient /= 10_u8;
            exponent += 1;
        }
    }
    let mut coefficient = u128::try_from(&coefficient).unwrap_or(0);
    let over = exponent - i64::from(EXPONENT_MAX);
    if over > 0 {
        if coefficient != 0 {
            if over > i64::from(DIGITS_MAX - digit_count(coefficient)) {
                return Decimal::Infinity { negative };
            }
            coefficient *= 10_u128.pow(over as u32);
        }
        exponent = i64::from(EXPONENT_MAX);
    }
    Decimal::Finite { negative, coefficient, exponent: exponent as i32 }
}

/// Divides by `10^digits`, ties to the even neighbour.
fn divide_half_even(value: &BigUint, digits: u32) -> BigUint {
    let divisor = power_of_ten(digits);
    let (quotient, remainder) = (value / &divisor, value % &divisor);
    match (remainder * 2_u8).cmp(&divisor) {
        Ordering::Less => quotient,
        Ordering::Equal if !quotient.bit(0) => quotient,
        _ => quotient + 1_u8,
    }
}

fn big_digit_count(value: &BigUint) -> u64 {
    match u128::try_from(value) {
        Ok(small) => u64::from(digit_count(small)),
        Err(_) => value.to_str_radix(10).len() as u64,
    }
}
