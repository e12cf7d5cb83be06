//! The accumulators that are expressions too: over their arguments, or over the elements of a single array.

use std::borrow::Cow;

use super::arithmetic::Total;
use super::array::some_of;
use super::node::Scope;
use super::value::Value;
use crate::collation::Collation;
use crate::decimal::Decimal;
use crate::error::QueryError;
use crate::number::Number;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// What the operator goes over.
fn operands<'v, 'a>(
    scope: &mut Scope<'a>,
    arguments: &'v [Value<'a>],
) -> Result<Cow<'v, [Value<'a>]>, QueryError> {
    let operands = match arguments {
        [one] => one.items().unwrap_or(Cow::Borrowed(arguments)),
        _ => Cow::Borrowed(arguments),
    };
    scope.step(operands.len())?;
    Ok(operands)
}

pub(super) fn sum<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut total = Total::ZERO;
    for number in operands(scope, arguments)?.iter().filter_map(Value::as_number) {
        total.add(number);
    }
    Ok(Value::number(total.result()))
}

pub(super) fn avg<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut total = Total::ZERO;
    let mut count = 0_u32;
    for number in operands(scope, arguments)?.iter().filter_map(Value::as_number) {
        total.add(number);
        count += 1;
    }
    if count == 0 {
        return Ok(Value::NULL);
    }
    Ok(Value::number(match total.result() {
        Number::Decimal(sum) => Number::Decimal(sum / Decimal::from_i64(i64::from(count))),
        sum => Number::Double(sum.to_f64() / f64::from(count)),
    }))
}

pub(super) fn min<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let operands = operands(scope, arguments)?;
    let present = operands.iter().filter(|value| !value.is_nullish());
    let least = present.min_by(|a, b| a.compare_in(b, scope.collation));
    Ok(least.cloned().unwrap_or(Value::NULL))
}

pub(super) fn max<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut greatest: Option<Value<'a>> = None;
    for value in operands(scope, arguments)?.iter().filter(|value| !value.is_nullish()) {
        // The first of equal ones stays.
        if greatest.as_ref().is_none_or(|greatest| value.compare_in(greatest, scope.collation).is_gt()) {
            greatest = Some(value.clone());
        }
    }
    Ok(greatest.unwrap_or(Value::NULL))
}

pub(super) fn min_n<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let collation = scope.collation;
    some_of(scope, "$minN", arguments, |items, n| extremes(items, n, false, collation))
}

pub(super) fn max_n<'a>(scope: &mut Scope<'a>, arguments: &[Option<Value<'a>>]) -> Outcome<'a> {
    let collation = scope.collation;
    some_of(scope, "$maxN", arguments, |items, n| extremes(items, n, true, collation))
}

fn extremes<'a>(
    items: &[Value<'a>],
    n: usize,
    greatest: bool,
    collation: Option<&Collation>,
) -> Vec<Value<'a>> {
    let mut items: Vec<Value<'a>> = items.iter().filter(|item| !item.is_nullish()).cloned().collect();
    items.sort_by(|a, b| if greatest { b.compare_in(a, collation) } else { a.compare_in(b, collation) });
    items.truncate(n);
    items
}

pub(super) fn deviation_of_population<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    deviation(scope, arguments, 0)
}

pub(super) fn deviation_of_sample<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    deviation(scope, arguments, 1)
}

/// Welford's running variance.
fn deviation<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>], less: u32) -> Outcome<'a> {
    let (mut count, mut mean, mut squares) = (0_u32, 0.0, 0.0);
    for number in operands(scope, arguments)?.iter().filter_map(Value::as_number) {
        count += 1;
        let value = number.to_f64();
        let delta = value - mean;
        mean += delta / f64::from(count);
        squares += delta * (value - mean);
    }
    if count <= less {
        return Ok(Value::NULL);
    }
    Ok(Value::double((squares / f64::from(count - less)).sqrt()))
}
