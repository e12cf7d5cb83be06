//! The values of a sequence: numbers, or dates that are a number of units apart.

use std::cmp::Ordering;

use bson::{RawBson, RawBsonRef};

use crate::aggregate::parse::error;
use crate::error::QueryError;
use crate::expression::Value;
use crate::expression::date::{Unit, shift};
use crate::number::Number;

/// A place in the sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stop {
    Number(Number),
    Date(i64),
}

/// How far it is from one place to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Number(Number),
    Units(i64, Unit),
}

impl Stop {
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.compare(*b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            // Numbers sort before dates.
            (Self::Number(_), Self::Date(_)) => Ordering::Less,
            (Self::Date(_), Self::Number(_)) => Ordering::Greater,
        }
    }

    pub(super) fn to_raw_bson(self) -> RawBson {
        match self {
            Self::Number(number) => number.to_raw_bson(),
            Self::Date(millis) => RawBson::DateTime(bson::DateTime::from_millis(millis)),
        }
    }
}

impl Step {
    /// The place that a document's value is.
    ///
    /// # Errors
    /// 5733201 for one that is neither number nor date, 6053600 for one that does not go with the unit.
    pub(super) fn stop(&self, value: Option<RawBsonRef<'_>>) -> Result<Stop, QueryError> {
        let stop = match value {
            Some(RawBsonRef::DateTime(date)) => Some(Stop::Date(date.timestamp_millis())),
            value => value.and_then(Number::from_raw).map(Stop::Number),
        };
        match (stop, self) {
            (None, _) => error(5_733_201, "Densify field type must be numeric or a date"),
            (Some(stop @ Stop::Number(_)), Self::Number(_))
            | (Some(stop @ Stop::Date(_)), Self::Units(..)) => Ok(stop),
            (Some(Stop::Number(_)), Self::Units(..)) => {
                error(6_053_600, "Encountered numeric densify value in collection when step has a date unit.")
            }
            (Some(Stop::Date(_)), Self::Number(_)) => error(
                6_053_600,
                "Encountered date densify value in collection when step does not have a date unit.",
            ),
        }
    }

    /// The place after `stop`.
    ///
    /// # Errors
    /// `Overflow` (15) for a date out of range.
    pub(super) fn after(&self, stop: &Stop) -> Result<Stop, QueryError> {
        self.moved(stop, true)
    }

    /// The place before `stop`.
    ///
    /// # Errors
    /// `Overflow` (15) for a date out of range.
    pub(super) fn before(&self, stop: &Stop) -> Result<Stop, QueryError> {
        self.moved(stop, false)
    }

    fn moved(&self, stop: &Stop, forward: bool) -> Result<Stop, QueryError> {
        match (stop, self) {
            (Stop::Number(number), Self::Number(step)) => {
                let (number, step) = (Value::number(*number), Value::number(*step));
                let moved = if forward { number.plus(&step)? } else { number.minus(&step)? };
                Ok(moved.as_number().map_or(*stop, Stop::Number))
            }
            (Stop::Date(millis), Self::Units(count, unit)) => {
                let count = if forward { Some(*count) } else { count.checked_neg() };
                match count.and_then(|count| shift(*millis, *unit, count)) {
                    Some(millis) => Ok(Stop::Date(millis)),
                    None => error(15, "date overflow in $densify"),
                }
            }
            _ => Ok(*stop),
        }
    }
}
