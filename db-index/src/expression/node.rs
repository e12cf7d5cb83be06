//! The tree of a compiled expression and its evaluation.

use std::borrow::Cow;

use bson::{RawBson, RawBsonRef};

use super::array::{self, SortBy};
use super::error;
use super::percentile;
use super::table::{Named, Operator};
use super::value::Value;
use crate::collation::Collation;
use crate::context::Chance;
use crate::error::QueryError;

/// The most tree nodes that one evaluation may visit.
pub const EXPRESSION_STEPS_MAX: u64 = 20_000_000;

/// The most bytes of values that one evaluation may make.
pub const EXPRESSION_BYTES_MAX: usize = 100 * 1024 * 1024;

/// What a value takes besides its text or elements.
const VALUE_BYTES: usize = 48;

/// One place of the tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(RawBson),
    /// `$$REMOVE`.
    Missing,
    /// `$$NOW`, where it is not known yet.
    Now,
    /// `$rand`.
    Random(Chance),
    /// A variable and a field path into it. Variable 0 is the document.
    Variable {
        slot: usize,
        path: Vec<Box<str>>,
    },
    Object(Vec<(Box<str>, Node)>),
    Array(Vec<Node>),
    /// An operator that wants the values of all arguments.
    Call(&'static Operator, Vec<Node>),
    /// An operator with named arguments, some of them absent.
    CallNamed(&'static Named, Vec<Option<Node>>),
    And(Vec<Node>),
    Or(Vec<Node>),
    IfNull(Vec<Node>),
    Condition(Box<[Node; 3]>),
    Switch {
        branches: Vec<(Node, Node)>,
        default: Option<Box<Node>>,
    },
    Let {
        values: Vec<Node>,
        body: Box<Node>,
    },
    Map {
        input: Box<Node>,
        with_index: bool,
        body: Box<Node>,
    },
    Filter {
        input: Box<Node>,
        with_index: bool,
        condition: Box<Node>,
        limit: Option<Box<Node>>,
    },
    Reduce {
        input: Box<Node>,
        initial: Box<Node>,
        with_index: bool,
        body: Box<Node>,
    },
    SortArray {
        input: Box<Node>,
        by: SortBy,
    },
    /// `$percentile`, or `$median` without points.
    Percentile {
        input: Box<Node>,
        points: Option<Vec<f64>>,
        method: percentile::Method,
    },
}

/// The state of one evaluation.
pub(super) struct Scope<'a> {
    pub(super) variables: Vec<Value<'a>>,
    pub(super) now_ms: i64,
    /// How strings are compared.
    pub(super) collation: Option<&'a Collation>,
    steps: u64,
    bytes: usize,
}

impl<'a> Scope<'a> {
    pub(super) fn new(root: Value<'a>, now_ms: i64, collation: Option<&'a Collation>) -> Self {
        Self { variables: vec![root], now_ms, collation, steps: 0, bytes: 0 }
    }

    /// For what is computed of constants when an expression is compiled: with little to spend.
    pub(super) fn cheap(collation: Option<&'a Collation>) -> Self {
        const STEPS: u64 = 1000;
        const BYTES: usize = 100_000;
        let (steps, bytes) = (EXPRESSION_STEPS_MAX - STEPS, EXPRESSION_BYTES_MAX - BYTES);
        Self { variables: Vec::new(), now_ms: 0, collation, steps, bytes }
    }

    /// Counts work that is done within one operator.
    pub(super) fn step(&mut self, steps: usize) -> Result<(), QueryError> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > EXPRESSION_STEPS_MAX {
            return error(50, format!("the expression takes more than {EXPRESSION_STEPS_MAX} steps"));
        }
        Ok(())
    }

    /// Counts bytes of new values.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > EXPRESSION_BYTES_MAX {
            return error(
                146,
                format!("the expression makes more than {EXPRESSION_BYTES_MAX} bytes of values"),
            );
        }
        Ok(())
    }

    /// A new array, counted.
    pub(super) fn array(&mut self, values: Vec<Value<'a>>) -> Result<Value<'a>, QueryError> {
        self.step(values.len())?;
        self.charge(VALUE_BYTES * values.len())?;
        Value::array(values)
    }

    /// A new string, counted.
    pub(super) fn text(&mut self, text: &str) -> Result<Value<'a>, QueryError> {
        self.charge(VALUE_BYTES + text.len())?;
        Ok(Value::text(text))
    }
}

impl Node {
    /// The value of this place.
    pub(super) fn evaluate<'a>(&'a self, scope: &mut Scope<'a>) -> Result<Value<'a>, QueryError> {
        scope.step(1)?;
        match self {
            Self::Constant(value) => Ok(Value::Raw(value.as_raw_bson_ref())),
            Self::Missing => Ok(Value::Missing),
            Self::Now => Ok(Value::date(scope.now_ms)),
            Self::Random(chance) => Ok(Value::double(chance.next())),
            Self::Variable { slot, path } => match scope.variables.get(*slot) {
                Some(value) => value.at(path),
                None => Ok(Value::Missing),
            },
            Self::Object(fields) => {
                let mut values = Vec::with_capacity(fields.len());
                for (name, node) in fields {
                    values.push((Cow::Borrowed(&**name), node.evaluate(scope)?));
                }
                scope.charge(48 * values.len())?;
                Value::document(values)
            }
            Self::Array(nodes) => {
                let values = evaluate_all(nodes, scope)?;
                scope.array(values)
            }
            Self::Call(operator, arguments) => {
                let values = evaluate_all(arguments, scope)?;
                (operator.run)(scope, &values)
            }
            Self::CallNamed(operator, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(match argument {
                        Some(node) => Some(node.evaluate(scope)?),
                        None => None,
                    });
                }
                (operator.run)(scope, &values)
            }
            Self::And(nodes) => {
                for node in nodes {
                    if !node.evaluate(scope)?.truthy() {
                        return Ok(Value::bool(false));
                    }
                }
                Ok(Value::bool(true))
            }
            Self::Or(nodes) => {
                for node in nodes {
                    if node.evaluate(scope)?.truthy() {
                        return Ok(Value::bool(true));
                    }
                }
                Ok(Value::bool(false))
            }
            Self::IfNull(nodes) => {
                let mut value = Value::Missing;
                for node in nodes {
                    value = node.evaluate(scope)?;
                    if !value.is_nullish() {
                        break;
                    }
                }
                Ok(value)
            }
            Self::Condition(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.evaluate(scope)?.truthy() {
                    then.evaluate(scope)
                } else {
                    otherwise.evaluate(scope)
                }
            }
            Self::Switch { branches, default } => {
                for (case, then) in branches {
                    if case.evaluate(scope)?.truthy() {
                        return then.evaluate(scope);
                    }
                }
                match default {
                    Some(default) => default.evaluate(scope),
                    None => error(40066, "$switch found no matching branch and has no default"),
                }
            }
            Self::Let { values, body } => {
                let values = evaluate_all(values, scope)?;
                with_variables(scope, values, body)
            }
            Self::Map { input, with_index, body } => {
                let input = input.evaluate(scope)?;
                if input.is_nullish() {
                    return Ok(Value::NULL);
                }
                let Some(items) = input.items() else {
                    return error(
                        16883,
                        format!("input to $map must be an array, not {}", input.type_name()),
                    );
                };
                let mut mapped = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    mapped.push(with_variables(
                        scope,
                        element_variables(item.clone(), index, *with_index),
                        body,
                    )?);
                }
                scope.array(mapped)
            }
            Self::Filter { input, with_index, condition, limit } => {
                evaluate_filter(input, *with_index, condition, limit.as_deref(), scope)
            }
            Self::Reduce { input, initial, with_index, body } => {
                let input = input.evaluate(scope)?;
                if input.is_nullish() {
                    return Ok(Value::NULL);
                }
                let Some(items) = input.items() else {
                    return error(
                        40080,
                        format!("$reduce requires that 'input' be an array, not {}", input.type_name()),
                    );
                };
                let mut value = initial.evaluate(scope)?;
                for (index, item) in items.iter().enumerate() {
                    let mut variables = vec![item.clone(), value];
                    if *with_index {
                        variables.push(Value::int_or_long(index as i64));
                    }
                    value = with_variables(scope, variables, body)?;
                }
                Ok(value)
            }
            Self::SortArray { input, by } => {
                let input = input.evaluate(scope)?;
                array::sort(scope, &input, by)
            }
            Self::Percentile { input, points, method } => {
                let input = input.evaluate(scope)?;
                percentile::evaluate(scope, &input, points.as_deref(), *method)
            }
        }
    }
}

/// A literal as a constant.
pub(super) fn constant(value: RawBsonRef<'_>) -> Node {
    Node::Constant(value.into())
}

fn evaluate_all<'a>(nodes: &'a [Node], scope: &mut Scope<'a>) -> Result<Vec<Value<'a>>, QueryError> {
    nodes.iter().map(|node| node.evaluate(scope)).collect()
}

fn with_variables<'a>(
    scope: &mut Scope<'a>,
    values: Vec<Value<'a>>,
    body: &'a Node,
) -> Result<Value<'a>, QueryError> {
    let before = scope.variables.len();
    scope.variables.extend(values);
    let result = body.evaluate(scope);
    scope.variables.truncate(before);
    result
}

fn element_variables(item: Value<'_>, index: usize, with_index: bool) -> Vec<Value<'_>> {
    let mut variables = vec![item];
    if with_index {
        variables.push(Value::int_or_long(index as i64));
    }
    variables
}

fn evaluate_filter<'a>(
    input: &'a Node,
    with_index: bool,
    condition: &'a Node,
    limit: Option<&'a Node>,
    scope: &mut Scope<'a>,
) -> Result<Value<'a>, QueryError> {
    let input = input.evaluate(scope)?;
    if input.is_nullish() {
        return Ok(Value::NULL);
    }
    let Some(items) = input.items() else {
        return error(28651, format!("input to $filter must be an array, not {}", input.type_name()));
    };
    let mut left = usize::MAX;
    if let Some(limit) = limit {
        let limit = limit.evaluate(scope)?;
        if !limit.is_nullish() {
            let Some(number) = limit.as_number().and_then(crate::number::Number::to_i64_exact) else {
                return error(327_391, "$filter: limit must be a whole number of 32 bits");
            };
            match i32::try_from(number) {
                Ok(number) if number > 0 => left = number as usize,
                Ok(_) => return error(327_392, "$filter: limit must be greater than 0"),
                Err(_) => return error(327_391, "$filter: limit must be a whole number of 32 bits"),
            }
        }
    }
    let mut kept = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if left == 0 {
            break;
        }
        let variables = element_variables(item.clone(), index, with_index);
        if with_variables(scope, variables, condition)?.truthy() {
            kept.push(item.clone());
            left -= 1;
        }
    }
    scope.array(kept)
}
