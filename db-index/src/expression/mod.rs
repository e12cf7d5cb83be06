//! The aggregation expression language: expressions compiled once into a small tree and evaluated on raw BSON.
//!
//! They serve computed projections, `$expr`, update pipelines and aggregation stages. An evaluation is bounded in steps
//! and bytes ([`EXPRESSION_STEPS_MAX`], [`EXPRESSION_BYTES_MAX`]); it depends on the document, the variables and the given time alone.

pub(crate) mod arithmetic;
mod array;
mod big;
mod calendar;
mod comparison;
mod compute;
mod convert;
pub(crate) mod date;
mod hash;
mod logic;
mod node;
mod object;
mod parse;
pub(crate) mod percentile;
mod replay;
mod reshape;
mod set;
mod statistics;
mod table;
mod text;
mod transcendental;
mod value;
mod zone;

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use self::node::{Node, Scope};
use crate::collation::Collation;
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};

pub(crate) use comparison::{Comparison, Relation};
pub(crate) use parse::{check_variable_name, field_path};

pub use node::{EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX};
pub use reshape::{Reshape, constant_variables};
pub use value::{Fields, Items, Value};

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    root: Node,
    /// The names of the variables that the caller gives, in the order of their values.
    variables: Vec<Box<str>>,
    collation: Option<Collation>,
}

impl Expression {
    /// Compiles an expression: a literal, a `"$field.path"`, a `"$$variable"`, an operator or a document or array of
    /// expressions. `variables` are the names of those that the caller will give values for.
    ///
    /// # Errors
    /// MongoDB's codes: 168 for unknown operators, 17276 for unknown variables, 16020 and 28667 for numbers of
    /// arguments, those of field paths, and those of the operators' operands.
    pub fn parse(expression: RawBsonRef<'_>, variables: &[&str]) -> Result<Self, QueryError> {
        let variables: Vec<Box<str>> = variables.iter().map(|name| (*name).into()).collect();
        Ok(Self { root: parse::expression(expression, &variables, None)?, variables, collation: None })
    }

    /// As [`Expression::parse`], in surroundings that are known: the variables of the context, `$$NOW` and what is computed of
    /// them become constants, and `$rand` draws from its chance. `variables` are further ones, whose values come later.
    ///
    /// # Errors
    /// Those of [`Expression::parse`].
    pub fn parse_in(
        expression: RawBsonRef<'_>,
        variables: &[&str],
        context: &QueryContext,
    ) -> Result<Self, QueryError> {
        let variables: Vec<Box<str>> = variables.iter().map(|name| (*name).into()).collect();
        let root = parse::expression(expression, &variables, Some(context))?;
        Ok(Self { root, variables, collation: context.collation.clone() })
    }

    /// The value of the expression for `document`, with a value for each of its variables.
    ///
    /// # Errors
    /// Those of the operators; `ExceededMemoryLimit` (146) or `MaxTimeMSExpired` (50) beyond the bounds.
    pub fn evaluate<'a>(
        &'a self,
        document: &'a RawDocument,
        variables: &[Value<'a>],
        now_ms: i64,
    ) -> Result<Value<'a>, QueryError> {
        self.evaluate_on(Value::Raw(RawBsonRef::Document(document)), variables, now_ms)
    }

    /// As [`Expression::evaluate`], on a value that may be computed itself.
    ///
    /// # Errors
    /// Those of [`Expression::evaluate`].
    pub fn evaluate_on<'a>(
        &'a self,
        root: Value<'a>,
        variables: &[Value<'a>],
        now_ms: i64,
    ) -> Result<Value<'a>, QueryError> {
        let mut scope = Scope::new(root, now_ms, self.collation.as_ref());
        scope.variables.extend(
            self.variables
                .iter()
                .enumerate()
                .map(|(index, _)| variables.get(index).cloned().unwrap_or(Value::Missing)),
        );
        self.root.evaluate(&mut scope)
    }

    /// How strings are compared.
    pub(crate) fn collation(&self) -> Option<&Collation> {
        self.collation.as_ref()
    }

    /// Whether every platform and version computes alike: whether it may be part of a logged filter.
    pub(crate) fn is_replayable(&self) -> bool {
        replay::is_replayable(&self.root)
    }

    /// The conditions that all must hold for the expression to be true.
    pub(crate) fn conjuncts(self) -> Vec<Self> {
        let Self { root, variables, collation } = self;
        let mut conditions = Vec::new();
        flatten(root, &mut conditions);
        let whole = |root| Self { root, variables: variables.clone(), collation: collation.clone() };
        conditions.into_iter().map(whole).collect()
    }

    /// The comparison of a field with constants, if it is nothing else.
    pub(crate) fn comparison(&self) -> Option<Comparison> {
        comparison::of(&self.root)
    }

    /// The value, if it is the same for every document.
    pub fn constant(&self) -> Option<&RawBson> {
        match &self.root {
            Node::Constant(value) => Some(value),
            _ => None,
        }
    }
}

impl Value<'_> {
    /// Whether the value counts as true: everything but false, zero, null, undefined and missing.
    pub fn is_true(&self) -> bool {
        self.truthy()
    }
}

fn flatten(node: Node, conditions: &mut Vec<Node>) {
    match node {
        Node::And(nodes) => nodes.into_iter().for_each(|node| flatten(node, conditions)),
        node => conditions.push(node),
    }
}

/// An error with a code of the expression language.
fn error<T>(code: i32, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::new(ErrorCode(code), message))
}

#[cfg(test)]
mod tests;
