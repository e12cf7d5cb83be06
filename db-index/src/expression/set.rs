//! Sets: arrays without order and repetition.

use super::error;
use super::node::Scope;
use super::value::Value;
use crate::collation::Collation;
use crate::error::QueryError;

type Outcome<'a> = Result<Value<'a>, QueryError>;

/// The distinct values in order.
fn sorted_set<'a>(scope: &mut Scope<'a>, items: &[Value<'a>]) -> Result<Vec<Value<'a>>, QueryError> {
    scope.step(items.iter().fold(items.len(), |steps, item| steps.saturating_add(item.bulk())))?;
    let mut values: Vec<Value<'a>> = items.iter().map(null_for_missing).collect();
    values.sort_by(|a, b| a.compare_in(b, scope.collation));
    values.dedup_by(|later, first| later.compare_in(first, scope.collation).is_eq());
    Ok(values)
}

fn null_for_missing<'a>(value: &Value<'a>) -> Value<'a> {
    if value.is_missing() { Value::NULL } else { value.clone() }
}

fn holds(set: &[Value<'_>], value: &Value<'_>, collation: Option<&Collation>) -> bool {
    set.binary_search_by(|candidate| candidate.compare_in(value, collation)).is_ok()
}

pub(super) fn union<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut all = Vec::new();
    for value in arguments {
        if value.is_nullish() {
            return Ok(Value::NULL);
        }
        match value.items() {
            Some(items) => all.extend(items.iter().cloned()),
            None => {
                return error(
                    17043,
                    format!("all operands of $setUnion must be arrays, not {}", value.type_name()),
                );
            }
        }
    }
    let set = sorted_set(scope, &all)?;
    scope.array(set)
}

pub(super) fn intersection<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut common: Option<Vec<Value<'a>>> = None;
    for value in arguments {
        if value.is_nullish() {
            return Ok(Value::NULL);
        }
        let Some(items) = value.items() else {
            return error(
                17047,
                format!("all operands of $setIntersection must be arrays, not {}", value.type_name()),
            );
        };
        let set = sorted_set(scope, &items)?;
        common = Some(match common {
            None => set,
            Some(common) => common.into_iter().filter(|value| holds(&set, value, scope.collation)).collect(),
        });
    }
    scope.array(common.unwrap_or_default())
}

pub(super) fn difference<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [a, b] = arguments else { return Ok(Value::NULL) };
    if a.is_nullish() || b.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(left) = a.items() else {
        return error(
            17048,
            format!("both operands of $setDifference must be arrays; first is {}", a.type_name()),
        );
    };
    let Some(right) = b.items() else {
        return error(
            17049,
            format!("both operands of $setDifference must be arrays; second is {}", b.type_name()),
        );
    };
    let right = sorted_set(scope, &right)?;
    // In the order of the first operand, each value once.
    let mut taken: std::collections::BTreeSet<Ordered<'a>> = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for value in left.iter() {
        scope.step(1)?;
        if !holds(&right, value, scope.collation) && taken.insert(Ordered(value.clone(), scope.collation)) {
            kept.push(value.clone());
        }
    }
    scope.array(kept)
}

/// A value that sorts by the total order, with strings by the collation.
struct Ordered<'a>(Value<'a>, Option<&'a Collation>);

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered<'_> {}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.compare_in(&other.0, self.1)
    }
}

pub(super) fn equals<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let mut first: Option<Vec<Value<'a>>> = None;
    for value in arguments {
        let Some(items) = value.items() else {
            return error(
                17044,
                format!("all operands of $setEquals must be arrays, not {}", value.type_name()),
            );
        };
        let set = sorted_set(scope, &items)?;
        match &first {
            None => first = Some(set),
            Some(first) => {
                let equal = first.len() == set.len()
                    && first.iter().zip(&set).all(|(a, b)| a.compare_in(b, scope.collation).is_eq());
                if !equal {
                    return Ok(Value::bool(false));
                }
            }
        }
    }
    Ok(Value::bool(true))
}

pub(super) fn is_subset<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let [a, b] = arguments else { return Ok(Value::NULL) };
    let Some(left) = a.items() else {
        return error(
            17046,
            format!("both operands of $setIsSubset must be arrays; first is {}", a.type_name()),
        );
    };
    let Some(right) = b.items() else {
        return error(
            17042,
            format!("both operands of $setIsSubset must be arrays; second is {}", b.type_name()),
        );
    };
    let right = sorted_set(scope, &right)?;
    scope.step(left.len())?;
    Ok(Value::bool(left.iter().all(|value| holds(&right, value, scope.collation))))
}

pub(super) fn all_true<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = truths("$allElementsTrue", 17040, arguments)?;
    scope.step(items.len())?;
    Ok(Value::bool(items.iter().all(|truth| *truth)))
}

pub(super) fn any_true<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    let items = truths("$anyElementTrue", 17041, arguments)?;
    scope.step(items.len())?;
    Ok(Value::bool(items.iter().any(|truth| *truth)))
}

fn truths(operator: &str, code: i32, arguments: &[Value<'_>]) -> Result<Vec<bool>, QueryError> {
    match arguments.first().and_then(Value::items) {
        Some(items) => Ok(items.iter().map(Value::truthy).collect()),
        None => error(code, format!("{operator}'s argument must be an array")),
    }
}
