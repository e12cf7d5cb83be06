//! Comparison and boolean operators. Comparison is by the total order of all types; missing is below null.

use std::cmp::Ordering;

use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;

type Outcome<'a> = Result<Value<'a>, QueryError>;

fn compare<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Result<Ordering, QueryError> {
    let [a, b] = arguments else { return Ok(Ordering::Equal) };
    scope.step(a.bulk().min(b.bulk()))?;
    Ok(a.compare_in(b, scope.collation))
}

pub(super) fn cmp<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::int(compare(scope, arguments)? as i32))
}

pub(super) fn eq<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_eq()))
}

pub(super) fn ne<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_ne()))
}

pub(super) fn gt<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_gt()))
}

pub(super) fn gte<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_ge()))
}

pub(super) fn lt<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_lt()))
}

pub(super) fn lte<'a>(scope: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(scope, arguments)?.is_le()))
}

#[allow(clippy::unnecessary_wraps)] // the operators of the table have one signature
pub(super) fn not<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(!arguments.first().is_some_and(Value::truthy)))
}
