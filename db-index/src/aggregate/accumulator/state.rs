//! The states of accumulators.

use std::cmp::Ordering;
use std::collections::VecDeque;

use bson::{RawBson, RawBsonRef};

use super::collect::{Merged, Set, array};
use super::numeric::{Deviation, Sum};
use super::pick::Best;
use super::{ACCUMULATOR_BYTES_MAX, Kind, error};
use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::expression::Value;
use crate::expression::percentile::{Method, median, percentiles};
use crate::order;
use crate::sort::SortKey;

/// What a held value takes beside its bytes.
const VALUE_BYTES: usize = 40;

/// A value that sorts by the total order, with strings by the collation.
#[derive(Debug, Clone)]
pub(in crate::aggregate) struct Owned(
    pub(in crate::aggregate) RawBson,
    pub(in crate::aggregate) Option<Collation>,
);

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Owned {}

impl PartialOrd for Owned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Owned {
    fn cmp(&self, other: &Self) -> Ordering {
        order::compare_collated(self.0.as_raw_bson_ref(), other.0.as_raw_bson_ref(), self.1.as_ref())
    }
}

/// How many bytes a held value takes.
pub(in crate::aggregate) fn held_bytes(value: &RawBson) -> usize {
    VALUE_BYTES
        + match value {
            RawBson::String(text) | RawBson::Symbol(text) | RawBson::JavaScriptCode(text) => text.len(),
            RawBson::Document(document) => document.as_bytes().len(),
            RawBson::Array(array) => array.as_bytes().len(),
            RawBson::Binary(binary) => binary.bytes.len(),
            RawBson::JavaScriptCodeWithScope(code) => code.code.len() + code.scope.as_bytes().len(),
            RawBson::RegularExpression(regex) => regex.pattern.as_str().len() + regex.options.as_str().len(),
            _ => 0,
        }
}

#[derive(Debug)]
pub(super) enum State {
    Sum(Sum),
    Avg(Sum),
    Count(i64),
    StdDev(Deviation, bool),
    Min(Option<RawBson>),
    Max(Option<RawBson>),
    /// The value of the first document, and whether there was one.
    First(Option<RawBson>, bool),
    Last(Option<RawBson>),
    FirstN(Vec<RawBson>, usize, usize),
    LastN(VecDeque<RawBson>, usize, usize),
    MinN(Best<Owned>),
    MaxN(Best<Owned>),
    End(Best<SortKey>),
    EndN(Best<SortKey>),
    List(&'static str, Vec<RawBson>, usize),
    Set(&'static str, Set),
    Merged(Merged),
    Percentile(Vec<f64>, Vec<f64>, Method),
    Median(Vec<f64>, Method),
}

impl State {
    /// A state for at most `count` values, where that counts.
    pub(super) fn new(kind: &Kind, count: usize) -> Self {
        match kind {
            Kind::Sum => Self::Sum(Sum::ZERO),
            Kind::Avg => Self::Avg(Sum::ZERO),
            Kind::Count => Self::Count(0),
            Kind::StdDev { of_sample } => Self::StdDev(Deviation::default(), *of_sample),
            Kind::Min => Self::Min(None),
            Kind::Max => Self::Max(None),
            Kind::First => Self::First(None, false),
            Kind::Last => Self::Last(None),
            Kind::FirstN => Self::FirstN(Vec::new(), count, 0),
            Kind::LastN => Self::LastN(VecDeque::new(), count, 0),
            Kind::MinN => Self::MinN(Best::new(count, false)),
            Kind::MaxN => Self::MaxN(Best::new(count, true)),
            Kind::End { bottom, .. } => Self::End(Best::new(1, *bottom)),
            Kind::EndN { bottom, .. } => Self::EndN(Best::new(count, *bottom)),
            Kind::Push => Self::List("$push", Vec::new(), 0),
            Kind::ConcatArrays => Self::List("$concatArrays", Vec::new(), 0),
            Kind::AddToSet => Self::Set("$addToSet", Set::default()),
            Kind::SetUnion => Self::Set("$setUnion", Set::default()),
            Kind::MergeObjects => Self::Merged(Merged::default()),
            Kind::Percentile { points, method } => Self::Percentile(Vec::new(), points.clone(), *method),
            Kind::Median { method } => Self::Median(Vec::new(), *method),
        }
    }

    /// Takes a value, with its sort key if there is a sort.
    pub(super) fn add(
        &mut self,
        value: &Value<'_>,
        key: Option<SortKey>,
        collation: Option<&Collation>,
    ) -> Result<(), QueryError> {
        match self {
            Self::Sum(sum) | Self::Avg(sum) => {
                if let Some(number) = value.as_number() {
                    sum.add(number);
                }
            }
            Self::Count(count) => *count += 1,
            Self::StdDev(deviation, _) => {
                if let Some(number) = value.as_number() {
                    deviation.add(number);
                }
            }
            Self::Min(least) => replace_if(least, value, Ordering::Less, collation)?,
            Self::Max(greatest) => replace_if(greatest, value, Ordering::Greater, collation)?,
            Self::First(first, seen) => {
                if !*seen {
                    (*first, *seen) = (value.to_raw_bson()?, true);
                }
            }
            Self::Last(last) => *last = value.to_raw_bson()?,
            Self::FirstN(values, count, bytes) => {
                if values.len() < *count {
                    let value = value_or_null(value)?;
                    *bytes += held_bytes(&value);
                    values.push(value);
                }
            }
            Self::LastN(values, count, bytes) => {
                if values.len() >= *count
                    && let Some(gone) = values.pop_front()
                {
                    *bytes -= held_bytes(&gone);
                }
                let value = value_or_null(value)?;
                *bytes += held_bytes(&value);
                values.push_back(value);
            }
            Self::MinN(best) | Self::MaxN(best) => {
                if !value.is_nullish() {
                    best.add(Owned(value_or_null(value)?, collation.cloned()), || Ok::<_, QueryError>(None))?;
                }
            }
            Self::End(best) | Self::EndN(best) => {
                if let Some(key) = key {
                    best.add(key, || value_or_null(value).map(Some))?;
                }
            }
            Self::List(name @ "$push", values, bytes) => {
                if let Some(value) = value.to_raw_bson()? {
                    *bytes += held_bytes(&value);
                    check_memory(name, *bytes)?;
                    values.push(value);
                }
            }
            Self::List(name, values, bytes) => {
                for value in items(name, value)? {
                    *bytes += held_bytes(&value);
                    check_memory(name, *bytes)?;
                    values.push(value);
                }
            }
            Self::Set(name @ "$addToSet", set) => {
                if let Some(value) = value.to_raw_bson()? {
                    set.add(value, collation);
                    check_memory(name, set.bytes())?;
                }
            }
            Self::Set(name, set) => {
                for value in items(name, value)? {
                    set.add(value, collation);
                    check_memory(name, set.bytes())?;
                }
            }
            Self::Merged(merged) => {
                merged.add(value)?;
                check_memory("$mergeObjects", merged.bytes())?;
            }
            Self::Percentile(numbers, ..) | Self::Median(numbers, _) => {
                if let Some(number) = value.as_number().filter(|number| !number.is_nan()) {
                    numbers.push(number.to_f64());
                    check_memory("$percentile", 8 * numbers.len())?;
                }
            }
        }
        Ok(())
    }

    /// The value; none if it is missing.
    pub(super) fn value(&self) -> Result<Option<RawBson>, QueryError> {
        Ok(Some(match self {
            Self::Sum(sum) => sum.sum(),
            Self::Avg(sum) => sum.average(),
            Self::Count(count) => i32::try_from(*count).map_or(RawBson::Int64(*count), RawBson::Int32),
            Self::StdDev(deviation, of_sample) => deviation.result(*of_sample),
            Self::Min(value) | Self::Max(value) => value.clone().unwrap_or(RawBson::Null),
            Self::First(value, _) | Self::Last(value) => return Ok(value.clone()),
            Self::FirstN(values, ..) | Self::List(_, values, _) => array(refs(values))?,
            Self::LastN(values, ..) => array(refs(values))?,
            Self::MinN(best) => array(best.entries().map(|(key, _)| key.0.as_raw_bson_ref()))?,
            Self::MaxN(best) => array(best.entries().rev().map(|(key, _)| key.0.as_raw_bson_ref()))?,
            Self::End(best) => {
                best.entries().next().and_then(|(_, value)| value.cloned()).unwrap_or(RawBson::Null)
            }
            Self::EndN(best) => array(
                best.entries().map(|(_, value)| value.map_or(RawBsonRef::Null, RawBson::as_raw_bson_ref)),
            )?,
            Self::Set(_, set) => array(set.values())?,
            Self::Merged(merged) => RawBson::Document(merged.document()?),
            Self::Percentile(numbers, points, method) => percentiles(numbers, points, *method),
            Self::Median(numbers, method) => median(numbers, *method),
        }))
    }

    /// How many bytes the state takes.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Sum(_) | Self::Avg(_) | Self::Count(_) | Self::StdDev(..) => 0,
                Self::Min(value) | Self::Max(value) | Self::First(value, _) | Self::Last(value) => {
                    value.as_ref().map_or(0, held_bytes)
                }
                Self::FirstN(_, _, bytes) | Self::LastN(_, _, bytes) | Self::List(_, _, bytes) => *bytes,
                Self::MinN(best) | Self::MaxN(best) => best.bytes(),
                Self::End(best) | Self::EndN(best) => best.bytes(),
                Self::Set(_, set) => set.bytes(),
                Self::Merged(merged) => merged.bytes(),
                Self::Percentile(numbers, ..) | Self::Median(numbers, _) => 8 * numbers.len(),
            }
    }
}

fn refs<'v>(values: impl IntoIterator<Item = &'v RawBson>) -> impl Iterator<Item = RawBsonRef<'v>> {
    values.into_iter().map(RawBson::as_raw_bson_ref)
}

fn value_or_null(value: &Value<'_>) -> Result<RawBson, QueryError> {
    Ok(value.to_raw_bson()?.unwrap_or(RawBson::Null))
}

/// Keeps `value` if it compares to the kept one as wanted; null and missing count for nothing.
fn replace_if(
    kept: &mut Option<RawBson>,
    value: &Value<'_>,
    wanted: Ordering,
    collation: Option<&Collation>,
) -> Result<(), QueryError> {
    if value.is_nullish() {
        return Ok(());
    }
    let better = match kept {
        Some(kept) => value.compare_in(&Value::Raw(kept.as_raw_bson_ref()), collation) == wanted,
        None => true,
    };
    if better {
        *kept = value.to_raw_bson()?;
    }
    Ok(())
}

/// The elements of an array; none of a missing one.
fn items(name: &str, value: &Value<'_>) -> Result<Vec<RawBson>, QueryError> {
    if value.is_missing() {
        return Ok(Vec::new());
    }
    let Some(items) = value.items() else {
        return error(
            14,
            format!("{name} requires array inputs, but input is of type {}", value.type_name()),
        );
    };
    items.iter().map(value_or_null).collect()
}

fn check_memory(name: &str, bytes: usize) -> Result<(), QueryError> {
    if bytes > ACCUMULATOR_BYTES_MAX {
        return Err(QueryError::new(
            ErrorCode(146),
            format!(
                "{name} used too much memory and cannot spill to disk. Memory limit: {ACCUMULATOR_BYTES_MAX} bytes"
            ),
        ));
    }
    Ok(())
}
