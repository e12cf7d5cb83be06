//! Arrays.

use std::cmp::Ordering;

use bson::RawBsonRef;

use super::error;
use super::node::Scope;
use super::value::Value;
use crate::collation::Collation;
use crate::error::QueryError;
use crate::number::Number;
use crate::order;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// The most elements of a `$range`.
const RANGE_MAX: usize = 4_000_000;

fn whole_i32(value: &Value<'_>) -> Option<i32> {
    value.as_number().and_then(Number::to_i64_exact).and_then(|value| i32::try_from(value).ok())
}

pub(super) fn element_at<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [array, index] = arguments else { return Ok(Value::NULL) };
    if array.is_nullish() || index.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(items) = array.items() else {
        return error(
            28689,
            format!("$arrayElemAt's first argument must be an array, but is {}", array.type_name()),
        );
    };
    if index.as_number().is_none() {
        return error(
            28690,
            format!("$arrayElemAt's second argument must be a number, but is {}", index.type_name()),
        );
    }
    let Some(index) = whole_i32(index) else {
        return error(28691, "$arrayElemAt's second argument must be representable as a 32-bit integer");
    };
    let place =
        if index < 0 { items.len().checked_sub(index.unsigned_abs() as usize) } else { Some(index as usize) };
    Ok(place.and_then(|place| items.get(place)).cloned().unwrap_or(Value::Missing))
}

pub(super) fn first<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    end("$first", arguments, |items| items.first().cloned())
}

pub(super) fn last<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    end("$last", arguments, |items| items.last().cloned())
}

fn end<'a>(
    operator: &str,
    arguments: &[Value<'a>],
    pick: impl Fn(&[Value<'a>]) -> Option<Value<'a>>,
) -> Outcome<'a> {
    let Some(array) = arguments.first().filter(|array| !array.is_nullish()) else { return Ok(Value::NULL) };
    match array.items() {
        Some(items) => Ok(pick(&items).unwrap_or(Value::Missing)),
        None => error(28689, format!("{operator}'s argument must be an array, but is {}", array.type_name())),
    }
}

pub(super) fn concat<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut all = Vec::new();
    for value in arguments {
        if value.is_nullish() {
            return Ok(Value::NULL);
        }
        match value.items() {
            Some(items) => {
                scope.step(items.len())?;
                all.extend(items.iter().cloned());
            }
            None => {
                return error(
                    28664,
                    format!("$concatArrays only supports arrays, not {}", value.type_name()),
                );
            }
        }
    }
    scope.array(all)
}

pub(super) fn contains<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [value, array] = arguments else { return Ok(Value::NULL) };
    let Some(items) = array.items() else {
        return error(
            40081,
            format!("$in requires an array as a second argument, found: {}", array.type_name()),
        );
    };
    scope.step(items.len().saturating_mul(1 + value.bulk()))?;
    let collation = scope.collation;
    Ok(Value::bool(items.iter().any(|item| item.compare_in(value, collation).is_eq())))
}

/// The bounds of a search: start and end, from the third argument on.
pub(super) fn search_bounds(
    operator: &str,
    code: i32,
    arguments: &[Value<'_>],
    length: usize,
) -> Result<(usize, usize), QueryError> {
    let bound = |place: usize, name: &str, default: usize| -> Result<usize, QueryError> {
        let Some(value) = arguments.get(place) else { return Ok(default) };
        let Some(number) = whole_i32(value) else {
            return error(
                code,
                format!(
                    "{operator} requires an integral {name} index, found a value of type {}",
                    value.type_name()
                ),
            );
        };
        let negative = if operator == "$indexOfArray" { 9_711_601 } else { 40097 };
        usize::try_from(number)
            .or_else(|_| error(negative, format!("{operator} requires a nonnegative {name} index")))
    };
    Ok((bound(2, "starting", 0)?, bound(3, "ending", length)?.min(length)))
}

pub(super) fn index_of<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [array, wanted, ..] = arguments else { return Ok(Value::NULL) };
    if array.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(items) = array.items() else {
        return error(
            40090,
            format!("$indexOfArray requires an array as a first argument, found: {}", array.type_name()),
        );
    };
    let (start, end) = search_bounds("$indexOfArray", 9_711_600, arguments, items.len())?;
    scope.step(items.len().saturating_mul(1 + wanted.bulk()))?;
    let is_wanted = |item: &Value<'_>| item.compare_in(wanted, scope.collation).is_eq();
    let found = items.get(start..end).and_then(|range| range.iter().position(is_wanted));
    Ok(Value::int(found.map_or(-1, |place| (start + place) as i32)))
}

#[allow(clippy::unnecessary_wraps)] // the operators of the table have one signature
pub(super) fn is_array<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(arguments.first().is_some_and(Value::is_array)))
}

pub(super) fn range<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let bound = |place: usize, codes: (i32, i32), name: &str| -> Result<i64, QueryError> {
        let Some(value) = arguments.get(place) else { return Ok(1) };
        if value.as_number().is_none() {
            return error(
                codes.0,
                format!("$range requires a numeric {name} value, found {}", value.type_name()),
            );
        }
        match whole_i32(value) {
            Some(value) => Ok(i64::from(value)),
            None => error(codes.1, format!("$range requires a {name} value that is a 32-bit integer")),
        }
    };
    let start = bound(0, (34443, 34444), "starting")?;
    let end = bound(1, (34445, 34446), "ending")?;
    let step = bound(2, (34447, 34448), "step")?;
    if step == 0 {
        return error(34449, "$range requires a non-zero step value");
    }
    let mut values = Vec::new();
    let mut at = start;
    while if step > 0 { at < end } else { at > end } {
        if values.len() >= RANGE_MAX {
            return error(146, format!("$range would make more than {RANGE_MAX} values"));
        }
        values.push(Value::int_or_long(at));
        at += step;
    }
    scope.array(values)
}

pub(super) fn reverse<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let Some(array) = arguments.first().filter(|array| !array.is_nullish()) else { return Ok(Value::NULL) };
    match array.items() {
        Some(items) => scope.array(items.iter().rev().cloned().collect()),
        None => error(
            34435,
            format!("the argument to $reverseArray must be an array, but was {}", array.type_name()),
        ),
    }
}

pub(super) fn size<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match arguments.first().and_then(Value::item_count) {
        Some(count) => Ok(Value::int(i32::try_from(count).unwrap_or(i32::MAX))),
        None => error(
            17124,
            format!(
                "the argument to $size must be an array, but was of type: {}",
                arguments.first().map_or("missing", Value::type_name)
            ),
        ),
    }
}

pub(super) fn slice<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [array, second, rest @ ..] = arguments else { return Ok(Value::NULL) };
    if array.is_nullish() || second.is_nullish() || rest.first().is_some_and(Value::is_nullish) {
        return Ok(Value::NULL);
    }
    let Some(items) = array.items() else {
        return error(
            28724,
            format!("first argument to $slice must be an array, but is of type: {}", array.type_name()),
        );
    };
    let number = |value: &Value<'_>, codes: (i32, i32), which: &str| -> Result<i64, QueryError> {
        if value.as_number().is_none() {
            return error(
                codes.0,
                format!("{which} argument to $slice must be numeric, not {}", value.type_name()),
            );
        }
        match whole_i32(value) {
            Some(value) => Ok(i64::from(value)),
            None => {
                error(codes.1, format!("{which} argument to $slice can't be represented as a 32-bit integer"))
            }
        }
    };
    let length = items.len() as i64;
    let second = number(second, (28725, 28726), "second")?;
    let (start, end) = match rest.first() {
        None if second >= 0 => (0, second.min(length)),
        None => ((length + second).max(0), length),
        Some(third) => {
            let count = number(third, (28727, 28728), "third")?;
            if count <= 0 {
                return error(28729, "third argument to $slice must be positive");
            }
            let start = if second < 0 { (length + second).max(0) } else { second.min(length) };
            (start, (start + count).min(length))
        }
    };
    scope.array(items.get(start as usize..end as usize).unwrap_or_default().to_vec())
}

pub(super) fn zip<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let [Some(inputs), longest, defaults] = arguments else { return Ok(Value::NULL) };
    let longest = match longest {
        None => false,
        Some(Value::Raw(RawBsonRef::Boolean(longest))) => *longest,
        Some(_) => return error(34463, "useLongestLength must be a bool"),
    };
    let Some(inputs) = inputs.items() else { return error(34461, "inputs must be an array of expressions") };
    if inputs.is_empty() {
        return error(34465, "$zip requires at least one input array");
    }
    let defaults = match defaults {
        None => None,
        Some(defaults) => match defaults.items() {
            Some(items) => Some(items),
            None => return error(34462, "defaults must be an array of expressions"),
        },
    };
    if let Some(defaults) = &defaults {
        if !longest {
            return error(34466, "cannot specify defaults unless useLongestLength is true");
        }
        if defaults.len() != inputs.len() {
            return error(34467, "defaults and inputs must have the same length");
        }
    }
    let mut columns = Vec::with_capacity(inputs.len());
    for input in inputs.iter() {
        if input.is_nullish() {
            return Ok(Value::NULL);
        }
        match input.items() {
            Some(items) => columns.push(items.into_owned()),
            None => {
                return error(
                    34468,
                    format!("$zip found a non-array expression in input: {}", input.type_name()),
                );
            }
        }
    }
    let lengths = columns.iter().map(Vec::len);
    let rows = if longest { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let mut zipped = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut values = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            let default =
                || defaults.as_ref().and_then(|defaults| defaults.get(place)).cloned().unwrap_or(Value::NULL);
            values.push(column.get(row).cloned().unwrap_or_else(default));
        }
        zipped.push(scope.array(values)?);
    }
    scope.array(zipped)
}

/// The count of `$firstN` and its like.
pub(super) fn count_of(operator: &str, n: &Value<'_>) -> Result<usize, QueryError> {
    match n.as_number().map(Number::to_i64_exact) {
        None => error(5_787_902, format!("'n' of {operator} must be a number, not {}", n.type_name())),
        Some(None) => error(5_787_903, format!("'n' of {operator} must be a whole number")),
        Some(Some(n)) if n <= 0 => error(5_787_908, format!("'n' of {operator} must be greater than 0")),
        Some(Some(n)) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
    }
}

pub(super) fn first_n<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    some_of(scope, "$firstN", arguments, |items, n| {
        items.get(..n.min(items.len())).unwrap_or_default().to_vec()
    })
}

pub(super) fn last_n<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    some_of(scope, "$lastN", arguments, |items, n| {
        items.get(items.len().saturating_sub(n)..).unwrap_or_default().to_vec()
    })
}

pub(super) fn some_of<'a>(
    scope: &mut Scope<'a>,
    operator: &str,
    arguments: &[Option<Value<'a>>],
    pick: impl Fn(&[Value<'a>], usize) -> Vec<Value<'a>>,
) -> Outcome<'a> {
    let [Some(n), Some(input)] = arguments else { return Ok(Value::NULL) };
    let n = count_of(operator, n)?;
    match input.items() {
        Some(items) => {
            scope.step(items.len())?;
            scope.array(pick(&items, n))
        }
        None => {
            error(5_788_200, format!("the input of {operator} must be an array, not {}", input.type_name()))
        }
    }
}

/// What `$sortArray` sorts by.
#[derive(Debug, Clone)]
pub(super) enum SortBy {
    Whole { descending: bool },
    Fields(Vec<(Vec<Box<str>>, bool)>),
}

impl SortBy {
    pub(super) fn parse(specification: RawBsonRef<'_>) -> Result<Self, QueryError> {
        let descending = |value: RawBsonRef<'_>| match Number::from_raw(value).and_then(Number::to_i64_exact)
        {
            Some(1) => Ok(false),
            Some(-1) => Ok(true),
            _ => error(2_942_507, "the $sort element value must be either 1 or -1"),
        };
        match specification {
            RawBsonRef::Document(fields) => {
                let mut keys = Vec::new();
                for (path, direction) in order::elements(fields) {
                    let path = path.as_str();
                    if path.is_empty() {
                        return error(2_942_505, "a sort path must not be empty");
                    }
                    if path.split('.').any(str::is_empty) {
                        return error(15998, format!("a sort path may not have an empty part: '{path}'"));
                    }
                    keys.push((path.split('.').map(Into::into).collect(), descending(direction)?));
                }
                if keys.is_empty() {
                    return error(2_942_508, "the sort specification must not be empty");
                }
                Ok(Self::Fields(keys))
            }
            number if Number::from_raw(number).is_some() => {
                Ok(Self::Whole { descending: descending(number)? })
            }
            _ => error(2_942_507, "the sort specification must be 1, -1 or a document of fields"),
        }
    }
}

pub(super) fn sort<'a>(scope: &mut Scope<'a>, input: &Value<'a>, by: &SortBy) -> Outcome<'a> {
    if input.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(items) = input.items() else {
        return error(
            2_942_504,
            format!("the input argument to $sortArray must be an array, not {}", input.type_name()),
        );
    };
    scope.step(items.iter().fold(4 * items.len(), |steps, item| steps.saturating_add(4 * item.bulk())))?;
    let collation = scope.collation;
    let mut keyed = Vec::with_capacity(items.len());
    for item in items.iter() {
        let keys = match by {
            SortBy::Whole { .. } => vec![item.clone()],
            SortBy::Fields(fields) => fields
                .iter()
                .map(|(path, descending)| Ok(sort_key(&item.at(path)?, *descending, collation)))
                .collect::<Result<_, QueryError>>()?,
        };
        keyed.push((keys, item.clone()));
    }
    keyed.sort_by(|(a, _), (b, _)| {
        for (place, (a, b)) in a.iter().zip(b).enumerate() {
            let descending = match by {
                SortBy::Whole { descending } => *descending,
                SortBy::Fields(fields) => fields.get(place).is_some_and(|(_, descending)| *descending),
            };
            let ordering = if descending { b.compare_in(a, collation) } else { a.compare_in(b, collation) };
            if ordering.is_ne() {
                return ordering;
            }
        }
        Ordering::Equal
    });
    scope.array(keyed.into_iter().map(|(_, item)| item).collect())
}

/// The least or greatest element of an array stands for it; null for missing.
fn sort_key<'a>(value: &Value<'a>, descending: bool, collation: Option<&Collation>) -> Value<'a> {
    if value.is_missing() {
        return Value::NULL;
    }
    let Some(items) = value.items() else { return value.clone() };
    let extreme = if descending {
        items.iter().max_by(|a, b| a.compare_in(b, collation))
    } else {
        items.iter().min_by(|a, b| a.compare_in(b, collation))
    };
    extreme.cloned().unwrap_or(Value::Raw(RawBsonRef::Undefined))
}
