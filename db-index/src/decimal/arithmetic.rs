//! Decimal arithmetic by IEEE 754: exact results, then rounded once.

use std::{
    cmp::Ordering,
    ops::{Add, Div, Mul, Neg, Rem, Sub},
};

use num_bigint::BigUint;

use super::{DIGITS_MAX, Decimal, EXPONENT_MIN, digit_count, power_of_ten, round};

impl Add for Decimal {
    type Output = Self;

    /// The sum, by IEEE 754: exact, then rounded; the preferred exponent is the lower of the two.
    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Infinity { negative: a }, Self::Infinity { negative: b }) => {
                if a == b {
                    self
                } else {
                    Self::Nan
                }
            }
            (Self::Infinity { .. }, _) => self,
            (_, Self::Infinity { .. }) => other,
            (
                Self::Finite { negative: a_negative, coefficient: a, exponent: a_exponent },
                Self::Finite { negative: b_negative, coefficient: b, exponent: b_exponent },
            ) => {
                if a_exponent >= b_exponent {
                    add_finite((a_negative, a, a_exponent), (b_negative, b, b_exponent))
                } else {
                    add_finite((b_negative, b, b_exponent), (a_negative, a, a_exponent))
                }
            }
        }
    }
}

impl Sub for Decimal {
    type Output = Self;

    /// The difference, by IEEE 754.
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Decimal {
    type Output = Self;

    /// The value with its sign turned; NaN stays.
    fn neg(self) -> Self {
        match self {
            Self::Nan => Self::Nan,
            Self::Infinity { negative } => Self::Infinity { negative: !negative },
            Self::Finite { negative, coefficient, exponent } => {
                Self::Finite { negative: !negative, coefficient, exponent }
            }
        }
    }
}

impl Mul for Decimal {
    type Output = Self;

    /// The product, by IEEE 754; the preferred exponent is the sum of the two.
    fn mul(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (
                Self::Finite { negative: a_negative, coefficient: a, exponent: a_exponent },
                Self::Finite { negative: b_negative, coefficient: b, exponent: b_exponent },
            ) => {
                let product = match a.checked_mul(b) {
                    Some(product) => BigUint::from(product),
                    None => BigUint::from(a) * BigUint::from(b),
                };
                round(a_negative != b_negative, product, i64::from(a_exponent) + i64::from(b_exponent))
            }
            _ if self.is_zero() || other.is_zero() => Self::Nan,
            _ => Self::Infinity { negative: self.is_negative() != other.is_negative() },
        }
    }
}

impl Div for Decimal {
    type Output = Self;

    /// The quotient, by IEEE 754; the preferred exponent is the difference of the two. A finite number by zero is an
    /// infinity, zero by zero is NaN: callers that must refuse a division by zero test for it first.
    fn div(self, other: Self) -> Self {
        let negative = self.is_negative() != other.is_negative();
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) | (Self::Infinity { .. }, Self::Infinity { .. }) => Self::Nan,
            (Self::Infinity { .. }, _) => Self::Infinity { negative },
            (_, Self::Infinity { .. }) => Self::Finite { negative, coefficient: 0, exponent: EXPONENT_MIN },
            (
                Self::Finite { coefficient: a, exponent: a_exponent, .. },
                Self::Finite { coefficient: b, exponent: b_exponent, .. },
            ) => {
                let preferred = i64::from(a_exponent) - i64::from(b_exponent);
                match (a, b) {
                    (0, 0) => Self::Nan,
                    (_, 0) => Self::Infinity { negative },
                    (0, _) => round(negative, BigUint::ZERO, preferred),
                    _ => div_finite(negative, a, b, preferred),
                }
            }
        }
    }
}

impl Rem for Decimal {
    type Output = Self;

    /// The remainder of the division truncated toward zero: it has the sign of `self`. By zero, or of an infinity: NaN.
    fn rem(self, other: Self) -> Self {
        let (
            Self::Finite { negative, coefficient: a, exponent: a_exponent },
            Self::Finite { coefficient: b, exponent: b_exponent, .. },
        ) = (self, other)
        else {
            let finite_by_infinity = matches!((self, other), (Self::Finite { .. }, Self::Infinity { .. }));
            return if finite_by_infinity { self } else { Self::Nan };
        };
        if b == 0 {
            return Self::Nan;
        }
        let shift = a_exponent.abs_diff(b_exponent);
        let exponent = i64::from(a_exponent.min(b_exponent));
        if a_exponent >= b_exponent {
            let modulus = BigUint::from(b);
            let power = BigUint::from(10_u8).modpow(&BigUint::from(shift), &modulus);
            round(negative, BigUint::from(a) * power % modulus, exponent)
        } else if shift > DIGITS_MAX {
            self // the divisor is the greater one
        } else {
            round(negative, BigUint::from(a) % (BigUint::from(b) * power_of_ten(shift)), exponent)
        }
    }
}

/// Adds two finite numbers; `high` has the exponent that is not the lower.
fn add_finite(high: (bool, u128, i32), low: (bool, u128, i32)) -> Decimal {
    let (high_negative, high_coefficient, high_exponent) = high;
    let (low_negative, low_coefficient, low_exponent) = low;
    let shift = high_exponent.abs_diff(low_exponent);
    if high_coefficient == 0 || low_coefficient == 0 {
        return add_zero(high, low, shift);
    }
    // Beyond this many digits the lower number can only break a tie: any nonzero digit far enough down does the same.
    let shift_max = 3 * DIGITS_MAX;
    let (shift, low_coefficient, exponent) = if shift > shift_max {
        (shift_max, 1, i64::from(high_exponent) - i64::from(shift_max))
    } else {
        (shift, low_coefficient, i64::from(low_exponent))
    };
    let high = BigUint::from(high_coefficient) * power_of_ten(shift);
    let low = BigUint::from(low_coefficient);
    if high_negative == low_negative {
        return round(high_negative, high + low, exponent);
    }
    match high.cmp(&low) {
        Ordering::Greater => round(high_negative, high - low, exponent),
        Ordering::Less => round(low_negative, low - high, exponent),
        Ordering::Equal => round(false, BigUint::ZERO, exponent),
    }
}

/// The sum where one operand is a zero, whose exponent still counts.
fn add_zero(high: (bool, u128, i32), low: (bool, u128, i32), shift: u32) -> Decimal {
    let (negative, coefficient, exponent) = if low.1 != 0 {
        low
    } else if high.1 != 0 {
        let shift = shift.min(DIGITS_MAX - digit_count(high.1));
        (high.0, high.1 * 10_u128.pow(shift), high.2 - shift as i32)
    } else {
        (high.0 && low.0, 0, low.2)
    };
    Decimal::Finite { negative, coefficient, exponent }
}

/// Divides two nonzero coefficients, the quotient's exponent as near to `preferred` as its digits allow.
fn div_finite(negative: bool, a: u128, b: u128, preferred: i64) -> Decimal {
    let shift = (DIGITS_MAX + 2 + digit_count(b)).saturating_sub(digit_count(a));
    let numerator = BigUint::from(a) * power_of_ten(shift);
    let divisor = BigUint::from(b);
    let (mut quotient, remainder) = (&numerator / &divisor, &numerator % &divisor);
    let mut exponent = preferred - i64::from(shift);
    if remainder == BigUint::ZERO {
        let ten = BigUint::from(10_u8);
        while exponent < preferred && &quotient % &ten == BigUint::ZERO {
            quotient /= &ten;
            exponent += 1;
        }
    } else {
        // One digit more that says "not exact" decides ties rightly.
        quotient = quotient * 10_u8 + 1_u8;
        exponent -= 1;
    }
    round(negative, quotient, exponent)
}
