//! Percentiles of numbers that are all held: exact ones, for every method.
//!
//! MongoDB's `approximate` is a t-digest, which on few values equals `discrete`; here it is `discrete` on many as well.

use bson::raw::RawDocument;
use bson::{RawArrayBuf, RawBson, RawBsonRef};

use super::error;
use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;
use crate::number::Number;
use crate::order;
use crate::raw::type_name;

/// The operand of `$percentile` or `$median`, of accumulator and expression alike.
pub(crate) struct Specification<'d> {
    pub(crate) input: RawBsonRef<'d>,
    /// What is asked for; none for the median.
    pub(crate) points: Option<RawBsonRef<'d>>,
    pub(crate) method: Method,
}

impl<'d> Specification<'d> {
    /// Parses the operand of the operator `name`.
    ///
    /// # Errors
    /// 40414, 40415 and 14 for fields that are absent, unknown or of the wrong type, `BadValue` (2) for an unknown method.
    pub(crate) fn parse(name: &str, operand: &'d RawDocument) -> Result<Self, QueryError> {
        let is_median = name == "$median";
        let (mut input, mut points, mut method) = (None, None, None);
        for (key, value) in order::elements(operand) {
            match (key.as_str(), value) {
                ("input", value) => input = Some(value),
                ("p", value) if !is_median => points = Some(value),
                ("method", RawBsonRef::String(text)) => method = Some(Method::parse(text)?),
                ("method", other) => {
                    let found = type_name(other.element_type());
                    return error(
                        14,
                        format!(
                            "BSON field '{name}.method' is the wrong type '{found}', expected type 'string'"
                        ),
                    );
                }
                (other, _) => {
                    return error(40415, format!("BSON field '{name}.{other}' is an unknown field."));
                }
            }
        }
        let absent = |field: &str| {
            error(40414, format!("BSON field '{name}.{field}' is missing but a required field"))
        };
        let Some(input) = input else { return absent("input") };
        if !is_median && points.is_none() {
            return absent("p");
        }
        let Some(method) = method else { return absent("method") };
        Ok(Self { input, points, method })
    }
}

/// The percentiles that are asked for: an array of numbers from 0 to 1.
///
/// # Errors
/// 7750300 for one that is not constant, 7750301 for what is no array of numbers, 7750302 and 7750303 for its members.
pub(crate) fn points(constant: Option<&RawBson>) -> Result<Vec<f64>, QueryError> {
    const MESSAGE: &str =
        "The $percentile 'p' field must be an array of numbers from [0.0, 1.0], but found: ";
    let Some(points) = constant else {
        return error(7_750_300, "The $percentile 'p' field must be an array of constant values");
    };
    let found = type_name(points.element_type());
    let RawBsonRef::Array(points) = points.as_raw_bson_ref() else {
        return error(7_750_301, format!("{MESSAGE}{found}"));
    };
    let mut numbers = Vec::new();
    for point in order::array_elements(points) {
        let Some(number) = Number::from_raw(point).map(Number::to_f64) else {
            return error(7_750_302, format!("{MESSAGE}{}", type_name(point.element_type())));
        };
        if !(0.0..=1.0).contains(&number) {
            return error(7_750_303, format!("{MESSAGE}{number}"));
        }
        numbers.push(number);
    }
    if numbers.is_empty() {
        return error(7_750_301, format!("{MESSAGE}an empty array"));
    }
    Ok(numbers)
}

/// How a percentile between two values is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
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
    pub(crate) fn parse(name: &str) -> Result<Self, QueryError> {
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
pub(crate) fn percentile_between(
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
pub(crate) fn percentiles(numbers: &[f64], points: &[f64], method: Method) -> RawBson {
    let sorted = sorted(numbers);
    let mut array = RawArrayBuf::new();
    for point in points {
        array.push(at(&sorted, *point, method).map_or(RawBson::Null, RawBson::Double));
    }
    RawBson::Array(array)
}

/// The median of `numbers` in no order, null if there are none.
pub(crate) fn median(numbers: &[f64], method: Method) -> RawBson {
    at(&sorted(numbers), 0.5, method).map_or(RawBson::Null, RawBson::Double)
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// `$percentile` and `$median` as expressions: of a number, or of the numbers of an array.
pub(super) fn evaluate<'a>(
    scope: &mut Scope<'a>,
    input: &Value<'a>,
    points: Option<&[f64]>,
    method: Method,
) -> Result<Value<'a>, QueryError> {
    let numbers: Vec<f64> = match (input.as_number(), input.items()) {
        // The percentiles of one number are that number, a NaN too.
        (Some(number), _) => vec![number.to_f64()],
        (None, Some(items)) => {
            scope.step(items.len())?;
            let numbers = items.iter().filter_map(Value::as_number).filter(|number| !number.is_nan());
            sorted(&numbers.map(Number::to_f64).collect::<Vec<_>>())
        }
        (None, None) => Vec::new(),
    };
    let value = |point: f64| at(&numbers, point, method).map_or(Value::NULL, Value::double);
    match points {
        None => Ok(value(0.5)),
        Some(points) => scope.array(points.iter().map(|point| value(*point)).collect()),
    }
}
