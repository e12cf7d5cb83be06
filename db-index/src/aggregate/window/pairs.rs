//! Windows over pairs of numbers: covariances and integrals.

use bson::{RawBson, RawBsonRef};

use super::error;
use super::partition::value_of;
use super::slide::{Held, Slide};
use super::sum::{RunningSum, is_finite};
use crate::aggregate::accumulator::Input;
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::expression::Value;
use crate::number::Number;

/// `$covariancePop` and `$covarianceSamp`.
#[derive(Debug)]
pub(super) struct Covariance {
    of_sample: bool,
    count: i64,
    means: (RunningMean, RunningMean),
    products: RunningSum,
}

#[derive(Debug, Clone, Copy)]
struct RunningMean(RunningSum);

impl RunningMean {
    fn value(&self) -> Value<'static> {
        let sum = self.0.sum();
        if self.0.count() == 0 {
            return Value::double(0.0);
        }
        match sum {
            Number::Decimal(sum) => {
                Value::number(Number::Decimal(sum / Decimal::from_i64(self.0.count() as i64)))
            }
            sum => Value::double(sum.to_f64() / self.0.count() as f64),
        }
    }
}

impl Covariance {
    pub(super) fn new(of_sample: bool) -> Self {
        let mean = RunningMean(RunningSum::ZERO);
        Self { of_sample, count: 0, means: (mean, mean), products: RunningSum::ZERO }
    }

    /// Adds the product of two distances to the products, or takes it out.
    fn change(&mut self, (x, y): (&Value<'_>, &Value<'_>), adding: bool) -> Result<(), QueryError> {
        if let Some(product) = x.times(y)?.as_number() {
            if adding { self.products.add(product) } else { self.products.remove(product) }
        }
        Ok(())
    }
}

/// The two numbers of an input.
fn pair(input: &Input) -> Option<(Number, Number)> {
    let Some(RawBson::Array(array)) = &input.value else { return None };
    let mut items = crate::order::array_elements(array);
    match (items.next(), items.next(), items.next()) {
        (Some(x), Some(y), None) => Some((Number::from_raw(x)?, Number::from_raw(y)?)),
        _ => None,
    }
}

/// What a pair with a NaN or an infinity comes to.
fn special_product(x: Number, y: Number) -> Option<Number> {
    if is_finite(x) && is_finite(y) {
        return None;
    }
    let sign = |number: Number| {
        if is_finite(number) { 0 } else { number.compare(Number::Int32(0)) as i32 }
    };
    let product = match (sign(x), sign(y)) {
        _ if x.is_nan() || y.is_nan() => f64::NAN,
        (a, b) if a * b < 0 => f64::NAN,
        (a, b) if a + b > 0 => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    };
    // A NaN does not tell its type.
    let decimal = [x, y].into_iter().any(|number| matches!(number, Number::Decimal(_)) && !number.is_nan());
    Some(if decimal { Number::Decimal(Decimal::from_f64(product)) } else { Number::Double(product) })
}

impl Slide for Covariance {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        let Some((x, y)) = pair(input) else { return Ok(()) };
        if let Some(special) = special_product(x, y) {
            self.products.add(special);
            return Ok(());
        }
        let from_x = Value::number(x).minus(&self.means.0.value())?;
        self.means.0.0.add(x);
        self.means.1.0.add(y);
        self.count += 1;
        // A single pair is at no distance from the means.
        if self.count == 1 {
            return Ok(());
        }
        let from_y = Value::number(y).minus(&self.means.1.value())?;
        self.change((&from_x, &from_y), true)
    }

    fn remove(&mut self, input: &Input, _: &Held) -> Result<(), QueryError> {
        let Some((x, y)) = pair(input) else { return Ok(()) };
        if let Some(special) = special_product(x, y) {
            self.products.remove(special);
            return Ok(());
        }
        self.count -= 1;
        if self.count == 0 && !self.products.is_special() {
            *self = Self::new(self.of_sample);
            return Ok(());
        }
        self.means.0.0.remove(x);
        let from_x = Value::number(x).minus(&self.means.0.value())?;
        let from_y = Value::number(y).minus(&self.means.1.value())?;
        self.change((&from_x, &from_y), false)?;
        self.means.1.0.remove(y);
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        if self.count == 1 && !self.of_sample {
            return Ok(Some(RawBson::Double(0.0)));
        }
        let count = self.count - i64::from(self.of_sample);
        if count <= 0 {
            return Ok(Some(RawBson::Null));
        }
        Ok(Some(match self.products.sum() {
            Number::Decimal(sum) => Number::Decimal(sum / Decimal::from_i64(count)).to_raw_bson(),
            sum => RawBson::Double(sum.to_f64() / count as f64),
        }))
    }
}

/// `$integral`: trapezoids between neighbours in the window.
#[derive(Debug)]
pub(super) struct Integral {
    unit_ms: Option<i64>,
    sum: RunningSum,
    nans: usize,
    last: Option<RawBson>,
}

impl Integral {
    pub(super) fn new(unit_ms: Option<i64>) -> Self {
        Self { unit_ms, sum: RunningSum::ZERO, nans: 0, last: None }
    }

    /// Refuses a point that is no pair of sort value and number; tells whether one of both is NaN.
    fn check(&self, point: &Value<'_>) -> Result<bool, QueryError> {
        let (x, y) = coordinates(point);
        let date = is_date(&x);
        if y.as_number().is_none() || !date && x.as_number().is_none() {
            return error(
                5_423_900,
                "The input value of $integral window function must be a vector of 2 value, the first value must be numeric or date type and the second must be numeric.",
            );
        }
        if self.unit_ms.is_some() && !date {
            return error(5_423_901, "$integral with 'unit' expects the sortBy field to be a Date");
        }
        if self.unit_ms.is_none() && date {
            return error(5_423_902, "$integral (with no 'unit') expects the sortBy field to be numeric");
        }
        Ok([x, y].iter().filter_map(Value::as_number).any(Number::is_nan))
    }
}

fn is_date(value: &Value<'_>) -> bool {
    matches!(value, Value::Raw(RawBsonRef::DateTime(_)))
}

fn coordinates<'a>(point: &Value<'a>) -> (Value<'a>, Value<'a>) {
    let mut items = point.items().unwrap_or_default().into_owned().into_iter();
    (items.next().unwrap_or(Value::Missing), items.next().unwrap_or(Value::Missing))
}

/// The area between two neighbours; 0 where there is none to speak of.
fn trapezoid(left: &Value<'_>, right: &Value<'_>) -> Result<Number, QueryError> {
    let ((x1, y1), (x2, y2)) = (coordinates(left), coordinates(right));
    let nan = [&x1, &y1, &x2, &y2].into_iter().filter_map(Value::as_number).any(Number::is_nan);
    let alike = is_date(&x1) == is_date(&x2);
    if nan || !alike {
        return Ok(Number::Int32(0));
    }
    let area = y1.plus(&y2)?.times(&x2.minus(&x1)?)?.over(&Value::double(2.0))?;
    Ok(area.as_number().unwrap_or(Number::Int32(0)))
}

impl Slide for Integral {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        let point = value_of(input.value.as_ref());
        self.nans += usize::from(self.check(&point)?);
        if let Some(last) = &self.last {
            let area = trapezoid(&value_of(Some(last)), &point)?;
            self.sum.add(area);
        }
        self.last.clone_from(&input.value);
        Ok(())
    }

    fn remove(&mut self, input: &Input, held: &Held) -> Result<(), QueryError> {
        let point = value_of(input.value.as_ref());
        self.nans = self.nans.saturating_sub(usize::from(self.check(&point)?));
        if let Some(next) = held.front() {
            let area = trapezoid(&point, &value_of(next.value.as_ref()))?;
            self.sum.remove(area);
        } else {
            (self.last, self.sum) = (None, RunningSum::ZERO);
        }
        Ok(())
    }

    fn value(&self, _: &Held) -> Result<Option<RawBson>, QueryError> {
        if self.last.is_none() {
            return Ok(Some(RawBson::Null));
        }
        if self.nans > 0 {
            return Ok(Some(RawBson::Double(f64::NAN)));
        }
        let sum = Value::number(self.sum.sum());
        match self.unit_ms {
            Some(unit) => sum.over(&Value::long(unit))?.to_raw_bson(),
            None => sum.to_raw_bson(),
        }
    }
}
