//! Arithmetic on values that are known, by the rules of the operators.

use super::arithmetic;
use super::node::Scope;
use super::value::Value;
use crate::error::QueryError;

type Outcome<'a> = Result<Value<'a>, QueryError>;

impl<'a> Value<'a> {
    /// `$add` of both.
    ///
    /// # Errors
    /// Those of the operator.
    pub(crate) fn plus(&self, other: &Self) -> Outcome<'a> {
        arithmetic::add(&mut scope(), &[self.clone(), other.clone()])
    }

    /// `$subtract` of `other` from this.
    ///
    /// # Errors
    /// Those of the operator.
    pub(crate) fn minus(&self, other: &Self) -> Outcome<'a> {
        arithmetic::subtract(&mut scope(), &[self.clone(), other.clone()])
    }

    /// `$multiply` of both.
    ///
    /// # Errors
    /// Those of the operator.
    pub(crate) fn times(&self, other: &Self) -> Outcome<'a> {
        arithmetic::multiply(&mut scope(), &[self.clone(), other.clone()])
    }

    /// `$divide` of this by `other`.
    ///
    /// # Errors
    /// Those of the operator: `BadValue` (2) for zero.
    pub(crate) fn over(&self, other: &Self) -> Outcome<'a> {
        arithmetic::divide(&mut scope(), &[self.clone(), other.clone()])
    }
}

fn scope<'a>() -> Scope<'a> {
    Scope::new(Value::Missing, 0, None)
}
