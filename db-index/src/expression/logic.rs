//! Comparison and boolean operators. Comparison is by the total order of all types; missing is below null.
#![allow(clippy::unnecessary_wraps)] // the operators of the table have one signature

use std::cmp::Ordering;

use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;

type Outcome<'a> = Result<Value<'a>, QueryError>;

fn compare(arguments: &[Value<'_>]) -> Ordering {
    match arguments {
        [a, b] => a.compare(b),
        _ => Ordering::Equal,
    }
}

pub(super) fn cmp<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::int(compare(arguments) as i32))
}

pub(super) fn eq<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_eq()))
}

pub(super) fn ne<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_ne()))
}

pub(super) fn gt<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_gt()))
}

pub(super) fn gte<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_ge()))
}

pub(super) fn lt<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_lt()))
}

pub(super) fn lte<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(compare(arguments).is_le()))
}

pub(super) fn not<'a>(_: &mut Scope<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    Ok(Value::bool(!arguments.first().is_some_and(Value::truthy)))
}
