//! Sums, averages and deviations.

use bson::RawBson;

use super::double;
use crate::decimal::Decimal;
use crate::expression::arithmetic::Total;
use crate::number::Number;

/// The sum and the count of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    total: Total,
    count: i64,
}

impl Sum {
    pub(super) const ZERO: Self = Self { total: Total::ZERO, count: 0 };

    pub(super) fn add(&mut self, number: Number) {
        self.total.add(number);
        self.count += 1;
    }

    /// The sum in the widest type that was added, 0 of none.
    pub(super) fn sum(&self) -> RawBson {
        self.total.result().to_raw_bson()
    }

    /// The average, null of none.
    pub(super) fn average(&self) -> RawBson {
        if self.count == 0 {
            return RawBson::Null;
        }
        match self.total.result() {
            Number::Decimal(sum) => Number::Decimal(sum / Decimal::from_i64(self.count)).to_raw_bson(),
            sum => double(sum.to_f64() / self.count as f64),
        }
    }
}

/// Welford's running variance ("Note on a method for calculating corrected sums of squares and products", 1962).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deviation {
    count: i64,
    mean: f64,
    squares: f64,
}

impl Deviation {
    pub(super) fn add(&mut self, number: Number) {
        let value = number.to_f64();
        self.count += 1;
        let delta = value - self.mean;
        // Nothing changes, and an infinite mean must not become NaN by it.
        if delta != 0.0 {
            self.mean += delta / self.count as f64;
            self.squares += delta * (value - self.mean);
        }
    }

    /// The standard deviation; null of too few.
    pub(super) fn result(&self, of_sample: bool) -> RawBson {
        let count = self.count - i64::from(of_sample);
        if count <= 0 { RawBson::Null } else { double((self.squares / count as f64).sqrt()) }
    }
}
