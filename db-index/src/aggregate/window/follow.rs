//! Window functions that go from document to document: ranks, filled gaps, moving averages, slopes.

use bson::{RawBson, RawBsonRef};

use super::bounds::Frames;
use super::error;
use super::partition::{Partition, value_of};
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::number::Number;
use crate::sort::{Sort, SortKey};

/// `$rank`, `$denseRank`, `$documentNumber`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RankKind {
    Rank,
    DenseRank,
    DocumentNumber,
}

/// The ranks of a partition.
#[derive(Debug)]
pub(super) struct Ranks {
    kind: RankKind,
    last: Option<SortKey>,
    rank: i64,
    documents: i64,
}

impl Ranks {
    pub(super) fn new(kind: RankKind) -> Self {
        Self { kind, last: None, rank: 0, documents: 0 }
    }

    pub(super) fn next(
        &mut self,
        sort: &Sort,
        partition: &Partition,
        at: usize,
    ) -> Result<Option<RawBson>, QueryError> {
        self.documents += 1;
        if self.kind == RankKind::DocumentNumber {
            // An int as long as it fits, while ranks are longs throughout.
            return Ok(Some(match i32::try_from(self.documents) {
                Ok(number) => RawBson::Int32(number),
                Err(_) => RawBson::Int64(self.documents),
            }));
        }
        let key = sort.key(partition.document(at))?;
        if self.last.as_ref() != Some(&key) {
            self.rank = if self.kind == RankKind::Rank { self.documents } else { self.rank + 1 };
            self.last = Some(key);
        }
        Ok(Some(RawBson::Int64(self.rank)))
    }
}

/// `$expMovingAvg`.
#[derive(Debug)]
pub(super) struct MovingAverage {
    alpha: Decimal,
    current: Option<Decimal>,
    is_decimal: bool,
}

impl MovingAverage {
    pub(super) fn new(alpha: Decimal) -> Self {
        Self { alpha, current: None, is_decimal: false }
    }

    pub(super) fn next(&mut self, input: Option<&RawBson>) -> RawBson {
        if let Some(number) = value_of(input).as_number() {
            self.is_decimal |= matches!(number, Number::Decimal(_));
            let value = number.to_decimal();
            self.current = Some(match self.current {
                None => value,
                Some(current) => value * self.alpha + current * (Decimal::from_i64(1) - self.alpha),
            });
        }
        match self.current {
            None => RawBson::Null,
            Some(current) if self.is_decimal => Number::Decimal(current).to_raw_bson(),
            Some(current) => RawBson::Double(current.to_f64()),
        }
    }
}

/// `$linearFill`: gaps filled between the known values around them.
#[derive(Debug, Default)]
pub(super) struct LinearFill {
    last: Option<RawBson>,
    /// The known points before and after the present document, with the place of the latter.
    before: Option<Point>,
    after: Option<(usize, Point)>,
    /// Up to where no known point follows.
    searched: usize,
}

#[derive(Debug, Clone)]
struct Point {
    x: RawBson,
    y: RawBson,
}

impl LinearFill {
    pub(super) fn next(
        &mut self,
        input: &Expression,
        partition: &Partition,
        at: usize,
    ) -> Result<Option<RawBson>, QueryError> {
        let value = partition.evaluate(input, at)?;
        let known = value_of(value.as_ref());
        if known.as_number().is_none() && !known.is_nullish() {
            return error(
                14,
                format!("Value to be filled must be numeric or nullish, but found {}", known.type_name()),
            );
        }
        let x = partition.sort_value(at);
        self.check_order(&x)?;
        let x_owned = x.to_raw_bson()?.unwrap_or(RawBson::Null);
        self.last = Some(x_owned.clone());
        if !known.is_nullish() {
            if let Some(y) = value.clone() {
                self.before = Some(Point { x: x_owned, y });
            }
            return Ok(value);
        }
        let Some(before) = self.before.clone() else { return Ok(Some(RawBson::Null)) };
        if self.after.as_ref().is_none_or(|(place, _)| *place < at) {
            self.find_after(input, partition, at)?;
        }
        let Some((_, after)) = &self.after else { return Ok(Some(RawBson::Null)) };
        let [x1, y1, x2, y2] = [&before.x, &before.y, &after.x, &after.y].map(|value| value_of(Some(value)));
        let slope = y2.minus(&y1)?.over(&x2.minus(&x1)?)?;
        y1.plus(&x.minus(&x1)?.times(&slope)?)?.to_raw_bson()
    }

    fn check_order(&self, x: &Value<'_>) -> Result<(), QueryError> {
        let is_date = |value: &Value<'_>| {
            matches!(
                value,
                Value::Raw(RawBsonRef::DateTime(_) | RawBsonRef::Timestamp(_) | RawBsonRef::ObjectId(_))
            )
        };
        if x.as_number().is_none() && !is_date(x) {
            return error(
                14,
                format!("Value of the sortBy field must be numeric or a date, but found {}", x.type_name()),
            );
        }
        let Some(last) = &self.last else { return Ok(()) };
        let last = value_of(Some(last));
        if last.compare(x).is_eq() {
            return error(6_050_106, "There can be no repeated values in the sort field");
        }
        if is_date(&last) != is_date(x) {
            return error(
                14,
                format!(
                    "Conflicting sort value types, previously received type {}, but found {}",
                    last.type_name(),
                    x.type_name()
                ),
            );
        }
        Ok(())
    }

    /// Looks for the next known point; each document is looked at once.
    fn find_after(&mut self, input: &Expression, partition: &Partition, at: usize) -> Result<(), QueryError> {
        self.after = None;
        for index in self.searched.max(at + 1)..partition.len() {
            self.searched = index + 1;
            let y = partition.evaluate(input, index)?;
            let x = partition.sort_value(index);
            if let Some(y) = y
                && !value_of(Some(&y)).is_nullish()
                && !x.is_nullish()
            {
                let x = x.to_raw_bson()?.unwrap_or(RawBson::Null);
                self.after = Some((index, Point { x, y }));
                break;
            }
        }
        Ok(())
    }
}

/// `$locf`: the last value that was there.
#[derive(Debug, Default)]
pub(super) struct CarryForward(Option<RawBson>);

impl CarryForward {
    pub(super) fn next(&mut self, input: Option<RawBson>) -> RawBson {
        if input.as_ref().is_some_and(|value| !value_of(Some(value)).is_nullish()) {
            self.0 = input;
        }
        self.0.clone().unwrap_or(RawBson::Null)
    }
}

/// `$derivative`: the slope between the ends of a window.
///
/// # Errors
/// 5624900 to 5624903 for values of the wrong type.
pub(super) fn derivative(
    input: &Expression,
    unit_ms: Option<i64>,
    frames: &mut Frames,
    partition: &Partition,
    at: usize,
) -> Result<Option<RawBson>, QueryError> {
    let (start, end) = frames.of(partition, at)?;
    let Some(last) = end.checked_sub(1).filter(|last| *last >= start) else { return Ok(Some(RawBson::Null)) };
    let (left, right) = (partition.sort_value(start), partition.sort_value(last));
    let is_date = |value: &Value<'_>| matches!(value, Value::Raw(RawBsonRef::DateTime(_)));
    if unit_ms.is_some() {
        if !is_date(&left) || !is_date(&right) {
            return error(5_624_900, "$derivative with 'unit' expects the sortBy field to be a Date");
        }
    } else if is_date(&left) || is_date(&right) {
        return error(5_624_901, "$derivative where the sortBy is a Date requires an 'unit'");
    } else if left.as_number().is_none() || right.as_number().is_none() {
        return error(5_624_902, "$derivative (with no 'unit') expects the sortBy field to be numeric");
    }
    let run = right.minus(&left)?;
    let (from, to) = (partition.evaluate(input, start)?, partition.evaluate(input, last)?);
    let rise = value_of(to.as_ref()).minus(&value_of(from.as_ref()))?;
    if rise.is_nullish() {
        return error(5_624_903, "$derivative input must not be null or missing");
    }
    // A window of one document has no slope.
    if run.as_number().is_some_and(|run| run.compare(Number::Int32(0)).is_eq()) {
        return Ok(Some(RawBson::Null));
    }
    let slope = rise.over(&run)?;
    match unit_ms {
        Some(unit) => slope.times(&Value::long(unit))?.to_raw_bson(),
        None => slope.to_raw_bson(),
    }
}

/// `$first`, `$last` and `$shift`: the value of one document of the window, or what stands for it if there is none.
pub(super) fn one_of_window(
    input: &Expression,
    last: bool,
    otherwise: &RawBson,
    frames: &mut Frames,
    partition: &Partition,
    at: usize,
) -> Result<Option<RawBson>, QueryError> {
    let (start, end) = frames.of(partition, at)?;
    if start == end {
        return Ok(Some(otherwise.clone()));
    }
    partition.evaluate(input, if last { end - 1 } else { start })
}
