//! Sums from which numbers are taken out again, and what is made of them: averages and deviations.

use bson::RawBson;

use super::slide::{Held, Slide};
use crate::aggregate::accumulator::Input;
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::expression::arithmetic::Total;
use crate::number::Number;

/// A sum of numbers that come and go.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunningSum {
    total: Total,
    nans: usize,
    positive_infinities: usize,
    negative_infinities: usize,
    doubles: usize,
    decimals: usize,
    count: usize,
}

impl RunningSum {
    pub(super) const ZERO: Self = Self {
        total: Total::ZERO,
        nans: 0,
        positive_infinities: 0,
        negative_infinities: 0,
        doubles: 0,
        decimals: 0,
        count: 0,
    };

    pub(super) fn add(&mut self, number: Number) {
        self.update(number, |count| *count += 1);
        if is_finite(number) {
            self.total.add(number);
        }
    }

    /// Takes out a number that was added.
    pub(super) fn remove(&mut self, number: Number) {
        self.update(number, |count| *count = count.saturating_sub(1));
        if is_finite(number) {
            self.total.subtract(number);
        }
        if self.count == 0 {
            *self = Self::ZERO;
        }
    }

    fn update(&mut self, number: Number, step: impl Fn(&mut usize)) {
        step(&mut self.count);
        match number {
            Number::Double(_) => step(&mut self.doubles),
            Number::Decimal(_) => step(&mut self.decimals),
            Number::Int32(_) | Number::Int64(_) => {}
        }
        if number.is_nan() {
            step(&mut self.nans);
        } else if !is_finite(number) {
            let positive = number.compare(Number::Int32(0)).is_gt();
            step(if positive { &mut self.positive_infinities } else { &mut self.negative_infinities });
        }
    }

    /// The sum, in the widest type of those that are left; whole numbers in the narrowest that holds them.
    pub(super) fn sum(&self) -> Number {
        if let Some(special) = self.special() {
            return if self.decimals > 0 {
                Number::Decimal(Decimal::from_f64(special))
            } else {
                Number::Double(special)
            };
        }
        match self.total.result() {
            Number::Decimal(sum) if self.decimals == 0 => match sum.to_i64_exact() {
                Some(whole) if self.doubles == 0 => narrow(whole),
                _ => Number::Double(sum.to_f64()),
            },
            Number::Double(sum) if self.doubles == 0 => {
                Number::Double(sum.round()).to_i64_exact().map_or(Number::Double(sum), narrow)
            }
            Number::Int64(sum) => narrow(sum),
            sum => sum,
        }
    }

    /// Whether a NaN or an infinity is among the numbers.
    pub(super) fn is_special(&self) -> bool {
        self.special().is_some()
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn special(&self) -> Option<f64> {
        if self.nans > 0 || self.positive_infinities > 0 && self.negative_infinities > 0 {
            Some(f64::NAN)
        } else if self.positive_infinities > 0 {
            Some(f64::INFINITY)
        } else if self.negative_infinities > 0 {
            Some(f64::NEG_INFINITY)
        } else {
            None
        }
    }
}

fn narrow(whole: i64) -> Number {
    i32::try_from(whole).map_or(Number::Int64(whole), Number::Int32)
}

pub(super) fn is_finite(number: Number) -> bool {
    match number {
        Number::Double(value) => value.is_finite(),
        Number::Decimal(value) => value.is_finite(),
        Number::Int32(_) | Number::Int64(_) => true,
    }
}

/// `$sum` and `$avg`.
#[derive(Debug)]
pub(super) struct Sum {
    numbers: RunningSum,
    is_average: bool,
}

/// `$count`.
#[derive(Debug, Default)]
pub(super) struct Count;

impl Sum {
    pub(super) fn new(is_average: bool) -> Self {
        Self { numbers: RunningSum::ZERO, is_average }
    }

    fn average(&self) -> RawBson {
        if self.numbers.count == 0 {
            return RawBson::Null;
        }
        let count = self.numbers.count as i64;
        match self.numbers.sum() {
            Number::Decimal(sum) if sum.is_finite() => {
                Number::Decimal(sum / Decimal::from_i64(count)).to_raw_bson()
            }
            Number::Decimal(sum) => Number::Decimal(sum).to_raw_bson(),
            sum => RawBson::Double(sum.to_f64() / count as f64),
        }
    }
}

fn number_of(input: &Input) -> Option<Number> {
    input.value.as_ref().and_then(|value| Number::from_raw(value.as_raw_bson_ref()))
}

impl Slide for Sum {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        if let Some(number) = number_of(input) {
            self.numbers.add(number);
        }
        Ok(())
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        if let Some(number) = number_of(input) {
            self.numbers.remove(number);
        }
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        Ok(Some(if self.is_average { self.average() } else { self.numbers.sum().to_raw_bson() }))
    }
}

impl Slide for Count {
    fn add(&mut self, _: &Input) -> Result<(), QueryError> {
        Ok(())
    }

    fn remove(&mut self, _: &Input, _: &Held) -> Result<(), QueryError> {
        Ok(())
    }

    fn value(&self, held: &Held) -> Result<Option<RawBson>, QueryError> {
        Ok(Some(narrow(held.len() as i64).to_raw_bson()))
    }
}

/// `$stdDevPop` and `$stdDevSamp` of numbers that come and go: the sum of squared differences is brought up to date with
/// each of them (after Chan, Golub and `LeVeque`, "Updating formulae and a pairwise algorithm for computing sample
/// variances", 1979).
#[derive(Debug)]
pub(super) struct Deviation {
    of_sample: bool,
    sum: Total,
    squares: Total,
    count: i64,
    not_finite: i64,
}

impl Deviation {
    pub(super) fn new(of_sample: bool) -> Self {
        Self { of_sample, sum: Total::ZERO, squares: Total::ZERO, count: 0, not_finite: 0 }
    }

    fn update(&mut self, input: &Input, step: i64) {
        let Some(number) = number_of(input) else { return };
        let value = number.to_f64();
        if !is_finite(number) {
            self.not_finite += step;
            return;
        }
        let before = self.count;
        self.count += step;
        if self.count == 0 {
            (self.sum, self.squares) = (Total::ZERO, Total::ZERO);
            return;
        }
        let distance = before as f64 * value - self.sum.result().to_f64();
        self.sum.add(Number::Double(value * step as f64));
        if before > 0 {
            let change = distance * distance * step as f64 / (self.count as f64 * before as f64);
            self.squares.add(Number::Double(change));
        }
    }
}

impl Slide for Deviation {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        self.update(input, 1);
        Ok(())
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        self.update(input, -1);
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        // A window that only grows gives NaN here, and one that moves gives null, as in MongoDB.
        let count = self.count - i64::from(self.of_sample);
        if self.not_finite > 0 || count <= 0 {
            return Ok(Some(RawBson::Null));
        }
        // What is taken out may leave a little less than nothing.
        let squares = self.squares.result().to_f64();
        if squares < 0.0 || self.count == 1 {
            return Ok(Some(RawBson::Int32(0)));
        }
        Ok(Some(RawBson::Double((squares / count as f64).sqrt())))
    }
}
