//! Percentiles of numbers that are all held: exact ones, for every method.
//!
//! MongoDB's `approximate` is a t-digest, which on few values equals `discrete`; here it is `discrete` on many as well.

use bson::{RawArrayBuf, RawBson};

use super::double;
use crate::error::QueryError;

/// How a percentile between two values is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aggregate) enum Method {
    /// The lower value.
    Discrete,
    /// A value between both.
    Continuous,
}

impl Method {
    /// The method of this name.
    ///
    /// # Errors
    /// `BadValue` (2) for an unknown name.
    pub(in crate::aggregate) fn parse(name: &str) -> Result<Self, QueryError> {
        match name {
            "approximate" | "discrete" => Ok(Self::Discrete),
            "continuous" => Ok(Self::Continuous),
            _ => Err(QueryError::bad_value(
                "Currently only 'approximate', 'discrete', and 'continuous' can be used as percentile 'method'.",
            )),
        }
    }
}

/// The percentile `point` (from 0 to 1) of `count` numbers in order, which `number` gives by their ranks; none of none.
pub(in crate::aggregate) fn percentile_between(
    count: usize,
    number: impl Fn(usize) -> Option<f64>,
    point: f64,
    method: Method,
) -> Option<f64> {
    let last = count.checked_sub(1)?;
    match method {
        Method::Discrete => {
            let rank = (point * count as f64).ceil() as usize;
            number(rank.saturating_sub(1).min(last))
        }
        Method::Continuous => {
            let rank = point * last as f64;
            let (below, above) = (rank.floor(), rank.ceil());
            let lower = number((below as usize).min(last))?;
            let upper = number((above as usize).min(last))?;
            // Equal values stay what they are, infinite ones too.
            if below == above || lower == upper {
                return Some(lower);
            }
            Some((above - rank) * lower + (rank - below) * upper)
        }
    }
}

/// The percentile of numbers in order.
fn at(sorted: &[f64], point: f64, method: Method) -> Option<f64> {
    percentile_between(sorted.len(), |rank| sorted.get(rank).copied(), point, method)
}

/// The percentiles of `numbers` in no order, null for each if there are none.
pub(super) fn percentiles(numbers: &[f64], points: &[f64], method: Method) -> RawBson {
    let sorted = sorted(numbers);
    let mut array = RawArrayBuf::new();
    for point in points {
        array.push(at(&sorted, *point, method).map_or(RawBson::Null, double));
    }
    RawBson::Array(array)
}

/// The median of `numbers` in no order, null if there are none.
pub(super) fn median(numbers: &[f64], method: Method) -> RawBson {
    at(&sorted(numbers), 0.5, method).map_or(RawBson::Null, double)
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}
