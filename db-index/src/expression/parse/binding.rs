//! The forms that give names to values: `$let`, `$map`, `$filter`, `$reduce`.

use bson::RawBsonRef;

use super::{Parser, check_variable_name, variable_name};
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::node::Node;
use crate::order;

impl Parser<'_> {
    pub(super) fn bindings(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(16874, "$let only supports an object as its argument");
        };
        let (mut variables, mut body) = (None, None);
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "vars" => variables = Some(value),
                "in" => body = Some(value),
                other => return error(16875, format!("unrecognized parameter to $let: {other}")),
            }
        }
        let Some(variables) = variables else { return error(16876, "missing 'vars' parameter to $let") };
        let Some(body) = body else { return error(16877, "missing 'in' parameter to $let") };
        let RawBsonRef::Document(variables) = variables else {
            return error(10065, "invalid parameter: expected an object (vars)");
        };
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in order::elements(variables) {
            check_variable_name(name.as_str())?;
            names.push(name.as_str().into());
            values.push(self.value(value)?);
        }
        let body = self.with_names(names, body)?;
        Ok(Node::Let { values, body: Box::new(body) })
    }

    /// Compiles `value` where some more variables are known.
    fn with_names(&mut self, names: Vec<Box<str>>, value: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let before = self.names.len();
        self.names.extend(names);
        let node = self.value(value);
        self.names.truncate(before);
        node
    }

    /// The names of the element and, if it is asked for, its index.
    fn element_names(
        as_name: Option<RawBsonRef<'_>>,
        index_name: Option<RawBsonRef<'_>>,
    ) -> Result<Vec<Box<str>>, QueryError> {
        let mut names = vec![match as_name {
            Some(name) => variable_name(name)?,
            None => "this".into(),
        }];
        if let Some(name) = index_name {
            names.push(variable_name(name)?);
        }
        Ok(names)
    }

    pub(super) fn map(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(16878, "$map only supports an object as its argument");
        };
        let [mut input, mut as_name, mut body, mut index] = [None; 4];
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "input" => input = Some(value),
                "as" => as_name = Some(value),
                "in" => body = Some(value),
                "arrayIndexAs" => index = Some(value),
                other => return error(16879, format!("unrecognized parameter to $map: {other}")),
            }
        }
        let Some(input) = input else { return error(16880, "missing 'input' parameter to $map") };
        let Some(body) = body else { return error(16882, "missing 'in' parameter to $map") };
        let input = Box::new(self.value(input)?);
        let body = self.with_names(Self::element_names(as_name, index)?, body)?;
        Ok(Node::Map { input, with_index: index.is_some(), body: Box::new(body) })
    }

    pub(super) fn filter(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(28646, "$filter only supports an object as its argument");
        };
        let [mut input, mut as_name, mut condition, mut limit, mut index] = [None; 5];
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "input" => input = Some(value),
                "as" => as_name = Some(value),
                "cond" => condition = Some(value),
                "limit" => limit = Some(value),
                "arrayIndexAs" => index = Some(value),
                other => return error(28647, format!("unrecognized parameter to $filter: {other}")),
            }
        }
        let Some(input) = input else { return error(28648, "missing 'input' parameter to $filter") };
        let Some(condition) = condition else { return error(28650, "missing 'cond' parameter to $filter") };
        let input = Box::new(self.value(input)?);
        let condition = self.with_names(Self::element_names(as_name, index)?, condition)?;
        let limit = match limit {
            Some(limit) => Some(Box::new(self.value(limit)?)),
            None => None,
        };
        Ok(Node::Filter { input, with_index: index.is_some(), condition: Box::new(condition), limit })
    }

    pub(super) fn reduce(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(40075, "$reduce requires an object as an argument");
        };
        let [mut input, mut initial, mut body, mut index, mut as_name, mut value_as] = [None; 6];
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "input" => input = Some(value),
                "initialValue" => initial = Some(value),
                "in" => body = Some(value),
                "arrayIndexAs" => index = Some(value),
                "as" => as_name = Some(value),
                "valueAs" => value_as = Some(value),
                other => return error(40076, format!("$reduce found an unknown argument: {other}")),
            }
        }
        let Some(input) = input else { return error(40077, "$reduce requires 'input' to be specified") };
        let Some(initial) = initial else {
            return error(40078, "$reduce requires 'initialValue' to be specified");
        };
        let Some(body) = body else { return error(40079, "$reduce requires 'in' to be specified") };
        let input = Box::new(self.value(input)?);
        let initial = Box::new(self.value(initial)?);
        let mut names = Self::element_names(as_name, index)?;
        let value_name = match value_as {
            Some(name) => variable_name(name)?,
            None => "value".into(),
        };
        names.insert(1, value_name);
        let body = self.with_names(names, body)?;
        Ok(Node::Reduce { input, initial, with_index: index.is_some(), body: Box::new(body) })
    }
}
