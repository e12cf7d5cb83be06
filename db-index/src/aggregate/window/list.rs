//! Windows whose values stay in the order of the documents.

use bson::{RawBson, RawBsonRef};

use super::error;
use super::partition::value_of;
use super::slide::{Held, Slide};
use crate::aggregate::accumulator::{Input, array};
use crate::error::QueryError;
use crate::raw::type_name;

/// Which of the values are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// `$push`: those that are there.
    All,
    /// `$concatArrays`: their elements.
    Elements,
    /// `$firstN`.
    First(usize),
    /// `$lastN`.
    Last(usize),
}

impl Slide for List {
    fn add(&mut self, input: &Input) -> Result<(), QueryError> {
        if *self == Self::Elements {
            elements("$concatArrays", input)?;
        }
        Ok(())
    }

    fn remove(&mut self, _: &Input, _: &Held) -> Result<(), QueryError> {
        Ok(())
    }

    fn value(&self, held: &Held) -> Result<Option<RawBson>, QueryError> {
        let or_null = |input: &'_ Input| -> RawBson { input.value.clone().unwrap_or(RawBson::Null) };
        let values: Vec<RawBson> = match self {
            Self::All => held.iter().filter_map(|input| input.value.clone()).collect(),
            Self::Elements => {
                let mut all = Vec::new();
                for input in held {
                    all.extend(elements("$concatArrays", input)?);
                }
                all
            }
            Self::First(count) => held.iter().take(*count).map(or_null).collect(),
            Self::Last(count) => held.iter().skip(held.len().saturating_sub(*count)).map(or_null).collect(),
        };
        array(values.iter().map(RawBson::as_raw_bson_ref)).map(Some)
    }
}

/// The elements of an array; none of a missing one.
///
/// # Errors
/// `TypeMismatch` (14) for anything else.
pub(super) fn elements(name: &str, input: &Input) -> Result<Vec<RawBson>, QueryError> {
    match input.value.as_ref().map(RawBson::as_raw_bson_ref) {
        None => Ok(Vec::new()),
        Some(RawBsonRef::Array(items)) => Ok(crate::order::array_elements(items).map(Into::into).collect()),
        Some(other) => {
            let found = type_name(other.element_type());
            error(14, format!("{name} requires array inputs, but input is of type {found}"))
        }
    }
}

/// `$minMaxScaler`: where the current document lies between the least and the greatest number of its window.
///
/// # Errors
/// 10487000 for an input that is no number.
pub(super) fn scaled(
    current: Option<&RawBson>,
    (least, greatest): (&RawBson, &RawBson),
    (min, max): (&RawBson, &RawBson),
) -> Result<Option<RawBson>, QueryError> {
    let current = value_of(current);
    if current.as_number().is_none() {
        return error(
            10_487_000,
            format!(
                "'input' argument to $minMaxScaler must evaluate to a numeric type, got: {}",
                current.type_name()
            ),
        );
    }
    let [least, greatest, min, max] = [least, greatest, min, max].map(|value| value_of(Some(value)));
    if least.compare(&greatest).is_eq() {
        return min.to_raw_bson();
    }
    let share = current.minus(&least)?.over(&greatest.minus(&least)?)?;
    share.times(&max.minus(&min)?)?.plus(&min)?.to_raw_bson()
}
