//! Series of preferred numbers, to which the bounds of buckets are rounded.

use bson::RawBson;

use crate::aggregate::parse::error;
use crate::decimal::{Decimal, digit_count};
use crate::error::QueryError;
use crate::number::Number;

/// A series.
#[derive(Debug, Clone, Copy)]
pub(super) enum Granularity {
    /// The numbers of one decade, which repeat in each with ten times the value.
    Decade(&'static [u16]),
    PowersOfTwo,
}

// Renard's series (ISO 3), each rounded as MongoDB rounds them.
const R5: &[u16] = &[10, 16, 25, 40, 63];
const R10: &[u16] = &[100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
const R20: &[u16] =
    &[100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900];
const R40: &[u16] = &[
    100, 106, 112, 118, 125, 132, 140, 150, 160, 170, 180, 190, 200, 212, 224, 236, 250, 265, 280, 300, 315,
    355, 375, 400, 425, 450, 475, 500, 530, 560, 600, 630, 670, 710, 750, 800, 850, 900, 950,
];
const R80: &[u16] = &[
    103, 109, 115, 122, 128, 136, 145, 155, 165, 175, 185, 195, 206, 218, 230, 243, 258, 272, 290, 307, 325,
    345, 365, 387, 412, 437, 462, 487, 515, 545, 575, 615, 650, 690, 730, 775, 825, 875, 925, 975,
];
const ONE_TWO_FIVE: &[u16] = &[10, 20, 50];
// The E series of components (IEC 60063).
const E6: &[u16] = &[10, 15, 22, 33, 47, 68];
const E12: &[u16] = &[10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82];
const E24: &[u16] =
    &[10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91];
const E48: &[u16] = &[
    100, 105, 110, 115, 121, 127, 133, 140, 147, 154, 162, 169, 178, 187, 196, 205, 215, 226, 237, 249, 261,
    274, 287, 301, 316, 332, 348, 365, 383, 402, 422, 442, 464, 487, 511, 536, 562, 590, 619, 649, 681, 715,
    750, 787, 825, 866, 909, 953,
];
const E96: &[u16] = &[
    100, 102, 105, 107, 110, 113, 115, 118, 121, 124, 127, 130, 133, 137, 140, 143, 147, 150, 154, 158, 162,
    165, 169, 174, 178, 182, 187, 191, 196, 200, 205, 210, 215, 221, 226, 232, 237, 243, 249, 255, 261, 267,
    274, 280, 287, 294, 301, 309, 316, 324, 332, 340, 348, 357, 365, 374, 383, 392, 402, 412, 422, 432, 442,
    453, 464, 475, 487, 499, 511, 523, 536, 549, 562, 576, 590, 604, 619, 634, 649, 665, 681, 698, 715, 732,
    750, 768, 787, 806, 825, 845, 866, 887, 909, 931, 953, 976,
];
const E192: &[u16] = &[
    100, 101, 102, 104, 105, 106, 107, 109, 110, 111, 113, 114, 115, 117, 118, 120, 121, 123, 124, 126, 127,
    129, 130, 132, 133, 135, 137, 138, 140, 142, 143, 145, 147, 149, 150, 152, 154, 156, 158, 160, 162, 164,
    165, 167, 169, 172, 174, 176, 178, 180, 182, 184, 187, 189, 191, 193, 196, 198, 200, 203, 205, 208, 210,
    213, 215, 218, 221, 223, 226, 229, 232, 234, 237, 240, 243, 246, 249, 252, 255, 258, 261, 264, 267, 271,
    274, 277, 280, 284, 287, 291, 294, 298, 301, 305, 309, 312, 316, 320, 324, 328, 332, 336, 340, 344, 348,
    352, 357, 361, 365, 370, 374, 379, 383, 388, 392, 397, 402, 407, 412, 417, 422, 427, 432, 437, 442, 448,
    453, 459, 464, 470, 475, 481, 487, 493, 499, 505, 511, 517, 523, 530, 536, 542, 549, 556, 562, 569, 576,
    583, 590, 597, 604, 612, 619, 626, 634, 642, 649, 657, 665, 673, 681, 690, 698, 706, 715, 723, 732, 741,
    750, 759, 768, 777, 787, 796, 806, 816, 825, 835, 845, 856, 866, 876, 887, 898, 909, 920, 931, 942, 953,
    965, 976, 988,
];

impl Granularity {
    /// The series of this name.
    ///
    /// # Errors
    /// 40257 for an unknown one.
    pub(super) fn parse(name: &str) -> Result<Self, QueryError> {
        Ok(Self::Decade(match name {
            "R5" => R5,
            "R10" => R10,
            "R20" => R20,
            "R40" => R40,
            "R80" => R80,
            "1-2-5" => ONE_TWO_FIVE,
            "E6" => E6,
            "E12" => E12,
            "E24" => E24,
            "E48" => E48,
            "E96" => E96,
            "E192" => E192,
            "POWERSOF2" => return Ok(Self::PowersOfTwo),
            _ => return error(40257, format!("Unknown rounding granularity '{name}'")),
        }))
    }

    /// The least number of the series above `value`, which is a number and not negative. Zero stays zero.
    pub(super) fn round_up(self, value: &RawBson) -> RawBson {
        self.round(value, true)
    }

    /// The greatest number of the series below `value`, which is a number and not negative. Zero stays zero.
    pub(super) fn round_down(self, value: &RawBson) -> RawBson {
        self.round(value, false)
    }

    fn round(self, value: &RawBson, up: bool) -> RawBson {
        let Some(number) = Number::from_raw(value.as_raw_bson_ref()) else { return value.clone() };
        let is_zero = number.compare(Number::Int32(0)).is_eq();
        let is_infinite = number.to_f64().is_infinite();
        if is_zero || is_infinite {
            return value.clone();
        }
        match (self, number) {
            (Self::PowersOfTwo, number) => power_of_two(number, up),
            (Self::Decade(series), Number::Decimal(number)) => {
                Number::Decimal(in_decades(&decimals(series), number, up)).to_raw_bson()
            }
            (Self::Decade(series), number) => {
                let series: Vec<f64> = series.iter().map(|number| f64::from(*number)).collect();
                RawBson::Double(in_decades(&series, number.to_f64(), up))
            }
        }
    }
}

fn decimals(series: &[u16]) -> Vec<Decimal> {
    series.iter().map(|number| Decimal::from_i64(i64::from(*number))).collect()
}

/// The arithmetic of decades, on doubles and on decimals.
trait Scale: Copy + std::ops::Mul<Output = Self> + std::ops::Div<Output = Self> {
    fn ten() -> Self;
    /// A power of ten by which a series that begins with `first` comes near to this number.
    fn scale_near(self, first: Self) -> Self;
    fn is_below(self, other: Self) -> bool;
}

impl Scale for f64 {
    fn ten() -> Self {
        10.0
    }

    fn scale_near(self, _: Self) -> Self {
        // A double is no more than a few hundred decades from one, and is multiplied that often as in MongoDB.
        1.0
    }

    fn is_below(self, other: Self) -> bool {
        self < other
    }
}

impl Scale for Decimal {
    fn ten() -> Self {
        Self::from_i64(10)
    }

    fn scale_near(self, first: Self) -> Self {
        let magnitude = |number: Self| match number {
            Self::Finite { coefficient, exponent, .. } => {
                i64::from(exponent) + i64::from(digit_count(coefficient))
            }
            _ => 0,
        };
        let decades = (magnitude(self) - magnitude(first)).clamp(-6000, 6000);
        // Written out while that can be, so that bounds have the exponents that multiplication gives them.
        match u32::try_from(decades) {
            Ok(decades) if decades <= 30 => {
                Self::Finite { negative: false, coefficient: 10_u128.pow(decades), exponent: 0 }
            }
            _ => Self::Finite { negative: false, coefficient: 1, exponent: decades as i32 },
        }
    }

    fn is_below(self, other: Self) -> bool {
        self.compare(other).is_lt()
    }
}

/// How many decades are tried: more than a double has.
const ROUNDS_MAX: usize = 800;

/// The next number above or below. The decade is found by steps of ten, so that its numbers are those that repeated
/// multiplication gives; between the decades lies the first number of the upper one, or the last of the lower one.
fn in_decades<S: Scale>(series: &[S], number: S, up: bool) -> S {
    let (Some(first), Some(last)) = (series.first().copied(), series.last().copied()) else { return number };
    let mut scale = number.scale_near(first);
    for _ in 0..ROUNDS_MAX {
        let (least, greatest) = (first * scale, last * scale);
        if up {
            if !number.is_below(greatest) {
                // Beyond this decade, but perhaps not within the next.
                let next = scale * S::ten();
                if number.is_below(first * next) {
                    return first * next;
                }
                scale = next;
            } else if number.is_below(least) {
                let next = scale / S::ten();
                if !number.is_below(last * next) {
                    return least;
                }
                scale = next;
            } else {
                break;
            }
        } else if !least.is_below(number) {
            let next = scale / S::ten();
            if (last * next).is_below(number) {
                return last * next;
            }
            scale = next;
        } else if greatest.is_below(number) {
            let next = scale * S::ten();
            if !(first * next).is_below(number) {
                return greatest;
            }
            scale = next;
        } else {
            break;
        }
    }
    let scaled = series.iter().map(|member| *member * scale);
    let found = if up {
        scaled.into_iter().find(|member| number.is_below(*member))
    } else {
        scaled.filter(|member| member.is_below(number)).last()
    };
    found.unwrap_or(number)
}

/// The next power of two above or below, in the type that `$pow` gives.
fn power_of_two(number: Number, up: bool) -> RawBson {
    let exponent = match number.to_i64_exact() {
        Some(whole) if !matches!(number, Number::Decimal(_) | Number::Double(_)) => {
            let floor = i64::from(whole.max(1).ilog2());
            if up { floor + 1 } else { floor - i64::from(whole.count_ones() == 1) }
        }
        _ => {
            let logarithm = number.to_f64().log2();
            if up { logarithm.floor() as i64 + 1 } else { logarithm.ceil() as i64 - 1 }
        }
    };
    let power = |exponent: i64| 2.0_f64.powi(exponent.clamp(-1100, 1100) as i32);
    if matches!(number, Number::Decimal(_)) {
        let mut result = Decimal::from_i64(1);
        for _ in 0..exponent.unsigned_abs().min(30_000) {
            let two = Decimal::from_i64(2);
            result = if exponent > 0 { result * two } else { result / two };
        }
        return Number::Decimal(result).to_raw_bson();
    }
    match u32::try_from(exponent).ok().and_then(|exponent| 2_i64.checked_pow(exponent)) {
        Some(whole) => i32::try_from(whole).map_or(RawBson::Int64(whole), RawBson::Int32),
        None => RawBson::Double(power(exponent)),
    }
}
