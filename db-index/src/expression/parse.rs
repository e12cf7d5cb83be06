//! From BSON to the expression tree.

mod binding;

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use super::array::SortBy;
use super::date;
use super::error;
use super::node::{Node, Scope, constant};
use super::percentile::{self, Specification};
use super::table::{self, Named, Operator};
use super::value::Value;
use crate::collation::Collation;
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::order;
use crate::text;

/// The most levels of an expression.
const DEPTH_MAX: usize = 100;

/// Compiles an expression in which `variables` are known, from slot 1 on. With a `context`, what it fixes becomes constant.
pub(super) fn expression(
    value: RawBsonRef<'_>,
    variables: &[Box<str>],
    context: Option<&QueryContext>,
) -> Result<Node, QueryError> {
    let mut parser = Parser { names: Vec::from(["ROOT".into()]), depth: 0, context };
    parser.names.extend(variables.iter().cloned());
    parser.value(value)
}

struct Parser<'c> {
    /// The names of the variables in scope, by slot.
    names: Vec<Box<str>>,
    depth: usize,
    context: Option<&'c QueryContext>,
}

impl Parser<'_> {
    fn value(&mut self, value: RawBsonRef<'_>) -> Result<Node, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::new(
                ErrorCode::OVERFLOW,
                format!("an expression may nest {DEPTH_MAX} levels deep"),
            ));
        }
        let node = match value {
            RawBsonRef::String(text) if text.starts_with('$') => self.reference(text),
            RawBsonRef::Document(document) => self.document(document),
            RawBsonRef::Array(array) => {
                let nodes: Vec<Node> =
                    order::array_elements(array).map(|item| self.value(item)).collect::<Result<_, _>>()?;
                Ok(self.folded(Node::Array(nodes)))
            }
            literal => Ok(constant(literal)),
        };
        self.depth -= 1;
        node
    }

    /// `"$a.b"` or `"$$name.a.b"`.
    fn reference(&mut self, text: &str) -> Result<Node, QueryError> {
        let Some(variable) = text.strip_prefix("$$") else {
            let path = text.strip_prefix('$').unwrap_or(text);
            return Ok(Node::Variable { slot: 0, path: field_path(path)? });
        };
        let (name, path) = match variable.split_once('.') {
            Some((name, path)) => (name, field_path(path)?),
            None => (variable, Vec::new()),
        };
        if name.is_empty() {
            return error(9, "empty variable names are not allowed");
        }
        if !name.starts_with(|first: char| first.is_ascii_alphabetic() || !first.is_ascii()) {
            return error(9, format!("'{name}' starts with an invalid character for a variable name"));
        }
        if let Some(slot) = self.names.iter().rposition(|known| **known == *name) {
            return Ok(Node::Variable { slot, path });
        }
        if let Some(context) = self.context {
            if let Some((_, value)) = context.variables.iter().find(|(known, _)| *known == *name) {
                let value = Value::Raw(value.as_raw_bson_ref()).at(&path)?;
                return Ok(value.to_raw_bson()?.map_or(Node::Missing, Node::Constant));
            }
            if name == "NOW" {
                let now = RawBson::DateTime(bson::DateTime::from_millis(context.now_ms));
                return Ok(if path.is_empty() { Node::Constant(now) } else { Node::Missing });
            }
        }
        match name {
            "CURRENT" => Ok(Node::Variable { slot: 0, path }),
            "REMOVE" => Ok(Node::Missing),
            "NOW" => Ok(Node::Now),
            _ => error(17276, format!("use of undefined variable: {name}")),
        }
    }

    fn document(&mut self, document: &RawDocument) -> Result<Node, QueryError> {
        let mut fields = order::elements(document);
        let Some((first, operand)) = fields.next() else { return Ok(Node::Object(Vec::new())) };
        let name = first.as_str();
        if name.starts_with('$') {
            if fields.next().is_some() {
                return error(
                    15983,
                    format!("an expression document must have one field: '{name}' is followed by others"),
                );
            }
            return self.operator(name, operand);
        }
        let mut nodes = Vec::new();
        for (name, value) in order::elements(document) {
            let name = name.as_str();
            check_object_field(name)?;
            nodes.push((name.into(), self.value(value)?));
        }
        Ok(self.folded(Node::Object(nodes)))
    }

    fn operator(&mut self, name: &str, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        Ok(match name {
            "$literal" | "$const" => constant(operand),
            "$expr" => return self.value(operand),
            "$meta" => {
                text::parse_meta(operand)?;
                return error(
                    238,
                    "$meta is not supported in expressions, only at the top of a find's projection",
                );
            }
            "$and" => Node::And(self.arguments(operand)?),
            "$or" => Node::Or(self.arguments(operand)?),
            "$ifNull" => {
                let nodes = self.arguments(operand)?;
                if nodes.len() < 2 {
                    return error(1_257_300, "$ifNull needs at least two arguments");
                }
                Node::IfNull(nodes)
            }
            "$cond" => self.condition(operand)?,
            "$switch" => self.switch(operand)?,
            "$let" => self.bindings(operand)?,
            "$map" => self.map(operand)?,
            "$filter" => self.filter(operand)?,
            "$reduce" => self.reduce(operand)?,
            "$sortArray" => self.sort_array(operand)?,
            "$median" | "$percentile" => self.percentile(name, operand)?,
            "$rand" => self.random(operand)?,
            _ => {
                let node = if let Some(operator) = table::operator(name) {
                    self.call(operator, operand)?
                } else if let Some(named) = table::named_operator(name) {
                    self.call_named(named, operand)?
                } else {
                    return error(168, format!("unrecognized expression '{name}'"));
                };
                self.folded(node)
            }
        })
    }

    fn folded(&self, node: Node) -> Node {
        folded(node, self.context.and_then(|context| context.collation.as_ref()))
    }

    /// The arguments of an operator: the elements of an array, or one value.
    fn arguments(&mut self, operand: RawBsonRef<'_>) -> Result<Vec<Node>, QueryError> {
        match operand {
            RawBsonRef::Array(array) => order::array_elements(array).map(|item| self.value(item)).collect(),
            one => Ok(vec![self.value(one)?]),
        }
    }

    fn call(&mut self, operator: &'static Operator, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let arguments = self.arguments(operand)?;
        let (least, most) = operator.arguments;
        if arguments.len() < least || arguments.len() > most {
            let name = operator.name;
            let given = arguments.len();
            return if least == most {
                error(
                    16020,
                    format!("expression {name} takes exactly {least} arguments, {given} were passed in"),
                )
            } else {
                error(
                    28667,
                    format!("expression {name} takes {least} to {most} arguments, {given} were passed in"),
                )
            };
        }
        if operator.name == "$setEquals"
            && arguments
                .iter()
                .any(|argument| matches!(argument, Node::Constant(value) if value.as_array().is_none()))
        {
            return error(5_887_502, "all operands of $setEquals must be arrays");
        }
        Ok(Node::Call(operator, arguments))
    }

    fn call_named(&mut self, operator: &'static Named, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let mut arguments: Vec<Option<Node>> = operator.arguments.iter().map(|_| None).collect();
        let RawBsonRef::Document(given) = operand else {
            // Some take a single value instead.
            if let (true, Some(first)) = (operator.takes_one, arguments.first_mut()) {
                let operand = match operand {
                    RawBsonRef::Array(array) => {
                        match (order::array_elements(array).count(), operator.codes.not_one) {
                            (1, _) => order::array_elements(array).next().unwrap_or(operand),
                            (count, Some(code)) => {
                                return error(
                                    code,
                                    format!("{} accepts exactly one argument, got {count}", operator.name),
                                );
                            }
                            _ => operand,
                        }
                    }
                    operand => operand,
                };
                *first = Some(self.value(operand)?);
                return Ok(Node::CallNamed(operator, arguments));
            }
            return error(
                operator.codes.not_a_document,
                format!("{} needs a document of arguments", operator.name),
            );
        };
        let is_named = order::elements(given)
            .next()
            .is_none_or(|(key, _)| operator.arguments.iter().any(|(name, _)| key.as_str() == *name));
        if operator.takes_one && !is_named {
            if let Some(first) = arguments.first_mut() {
                *first = Some(self.value(operand)?);
            }
            return Ok(Node::CallNamed(operator, arguments));
        }
        for (key, value) in order::elements(given) {
            let place = operator.arguments.iter().position(|(name, _)| key.as_str() == *name);
            match place.and_then(|place| arguments.get_mut(place)) {
                Some(slot) => *slot = Some(self.value(value)?),
                None => {
                    return error(
                        operator.codes.unknown,
                        format!("{} found an unknown argument: {}", operator.name, key.as_str()),
                    );
                }
            }
        }
        for ((name, required), argument) in operator.arguments.iter().zip(&arguments) {
            if let (Some(code), None) = (required, argument) {
                return error(*code, format!("{} requires '{name}' to be given", operator.name));
            }
        }
        if matches!(operator.name, "$setField" | "$unsetField")
            && let Some(Some(name)) = arguments.first()
        {
            check_field_name(operator.name, name)?;
        }
        if arguments.iter().flatten().all(|argument| matches!(argument, Node::Constant(_))) {
            return Ok(Node::CallNamed(operator, arguments));
        }
        for ((name, _), argument) in operator.arguments.iter().zip(&arguments) {
            if let Some(Node::Constant(value)) = argument
                && operator.arguments.iter().any(|(name, _)| *name == "timezone")
                && date::check_constant(operator.name, name, &Value::Raw(value.as_raw_bson_ref()))?
            {
                return Ok(Node::Constant(RawBson::Null));
            }
        }
        Ok(Node::CallNamed(operator, arguments))
    }

    fn random(&self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let is_empty = match operand {
            RawBsonRef::Document(document) => document.is_empty(),
            RawBsonRef::Array(array) => order::array_elements(array).next().is_none(),
            _ => false,
        };
        if !is_empty {
            return error(3_040_501, "$rand does not currently accept arguments");
        }
        Ok(Node::Random(self.context.map(|context| context.chance.clone()).unwrap_or_default()))
    }

    fn condition(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        if let RawBsonRef::Document(document) = operand {
            let [mut condition, mut then, mut otherwise] = [None, None, None];
            for (name, value) in order::elements(document) {
                let slot = match name.as_str() {
                    "if" => &mut condition,
                    "then" => &mut then,
                    "else" => &mut otherwise,
                    other => return error(17083, format!("unrecognized parameter to $cond: {other}")),
                };
                *slot = Some(self.value(value)?);
            }
            let required = |slot: Option<Node>, code, name| match slot {
                Some(node) => Ok(node),
                None => error(code, format!("missing '{name}' parameter to $cond")),
            };
            return Ok(Node::Condition(Box::new([
                required(condition, 17080, "if")?,
                required(then, 17081, "then")?,
                required(otherwise, 17082, "else")?,
            ])));
        }
        match <[Node; 3]>::try_from(self.arguments(operand)?) {
            Ok(parts) => Ok(Node::Condition(Box::new(parts))),
            Err(parts) => error(
                16020,
                format!("expression $cond takes exactly 3 arguments, {} were passed in", parts.len()),
            ),
        }
    }

    fn switch(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(40060, "$switch requires an object as an argument");
        };
        let (mut branches, mut default) = (Vec::new(), None);
        for (name, value) in order::elements(document) {
            match (name.as_str(), value) {
                ("branches", RawBsonRef::Array(array)) => {
                    for branch in order::array_elements(array) {
                        branches.push(self.branch(branch)?);
                    }
                }
                ("branches", _) => return error(40061, "$switch expected an array for 'branches'"),
                ("default", value) => default = Some(Box::new(self.value(value)?)),
                (other, _) => return error(40067, format!("$switch found an unknown argument: {other}")),
            }
        }
        if branches.is_empty() {
            return error(40068, "$switch requires at least one branch");
        }
        Ok(Node::Switch { branches, default })
    }

    fn branch(&mut self, branch: RawBsonRef<'_>) -> Result<(Node, Node), QueryError> {
        let RawBsonRef::Document(branch) = branch else {
            return error(40062, "$switch expected each branch to be an object");
        };
        let (mut case, mut then) = (None, None);
        for (name, value) in order::elements(branch) {
            match name.as_str() {
                "case" => case = Some(self.value(value)?),
                "then" => then = Some(self.value(value)?),
                other => {
                    return error(40063, format!("$switch found an unknown argument to a branch: {other}"));
                }
            }
        }
        match (case, then) {
            (Some(case), Some(then)) => Ok((case, then)),
            (None, _) => error(40064, "$switch requires each branch have a 'case' expression"),
            (_, None) => error(40065, "$switch requires each branch have a 'then' expression"),
        }
    }

    fn sort_array(&mut self, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(2_942_500, "$sortArray requires an object as an argument");
        };
        let [mut input, mut by] = [None; 2];
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "input" => input = Some(value),
                "sortBy" => by = Some(value),
                other => return error(2_942_501, format!("$sortArray found an unknown argument: {other}")),
            }
        }
        let Some(input) = input else {
            return error(2_942_502, "$sortArray requires 'input' to be specified");
        };
        let Some(by) = by else { return error(2_942_503, "$sortArray requires 'sortBy' to be specified") };
        Ok(Node::SortArray { input: Box::new(self.value(input)?), by: SortBy::parse(by)? })
    }

    fn percentile(&mut self, name: &str, operand: RawBsonRef<'_>) -> Result<Node, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let code = if name == "$median" { 7_436_201 } else { 7_436_200 };
            return error(code, "specification must be an object");
        };
        let given = Specification::parse(name, operand)?;
        let input = Box::new(self.value(given.input)?);
        let points = match given.points {
            None => None,
            Some(points) => Some(match self.value(points)? {
                Node::Constant(points) => percentile::points(Some(&points))?,
                _ => percentile::points(None)?,
            }),
        };
        Ok(Node::Percentile { input, points, method: given.method })
    }
}

/// The name of a field that is set is the same for every document.
fn check_field_name(operator: &str, name: &Node) -> Result<(), QueryError> {
    match name {
        Node::Constant(RawBson::String(_)) => Ok(()),
        Node::Constant(_) => error(4_161_107, format!("{operator} requires 'field' to evaluate to a string")),
        Node::Variable { .. } | Node::Now | Node::Missing => error(
            4_161_108,
            format!("{operator} does not take a path or a variable for 'field': use $literal for the name"),
        ),
        _ => error(4_161_106, format!("{operator} requires 'field' to evaluate to a constant")),
    }
}

/// The node's value as a constant, if it is made of constants alone and cheap; what fails is left to the evaluation.
fn folded(node: Node, collation: Option<&Collation>) -> Node {
    let is_constant = |node: &Node| matches!(node, Node::Constant(_));
    let all = match &node {
        Node::Object(fields) => fields.iter().all(|(_, node)| is_constant(node)),
        Node::Array(nodes) | Node::Call(_, nodes) => nodes.iter().all(is_constant),
        // Without an input it looks at the document.
        Node::CallNamed(operator, _) if operator.name == "$getField" => false,
        Node::CallNamed(_, arguments) => arguments.iter().flatten().all(is_constant),
        _ => false,
    };
    if !all {
        return node;
    }
    let value = node.evaluate(&mut Scope::cheap(collation)).and_then(|value| value.to_raw_bson());
    match value {
        Ok(Some(value)) => Node::Constant(value),
        Ok(None) => Node::Missing,
        Err(_) => node,
    }
}

/// Splits a field path of the expression language.
pub(crate) fn field_path(path: &str) -> Result<Vec<Box<str>>, QueryError> {
    if path.is_empty() {
        return error(16872, "'$' by itself is not a valid field path");
    }
    if path.ends_with('.') {
        return error(40353, format!("a field path must not end with a '.': '{path}'"));
    }
    let mut parts = Vec::new();
    for part in path.split('.') {
        if part.is_empty() {
            return error(15998, format!("a field path may not have an empty part: '{path}'"));
        }
        if part.starts_with('$') {
            return error(16410, format!("field path parts may not start with '$': '{path}'"));
        }
        if part.contains('\0') {
            return error(16411, "field path parts may not contain null bytes");
        }
        parts.push(part.into());
    }
    if parts.len() > DEPTH_MAX * 2 {
        return Err(QueryError::new(ErrorCode::OVERFLOW, "the field path has too many parts"));
    }
    Ok(parts)
}

fn check_object_field(name: &str) -> Result<(), QueryError> {
    if name.starts_with('$') {
        return error(
            16410,
            format!("field names of an expression document may not start with '$': '{name}'"),
        );
    }
    if name.contains('.') {
        return error(16405, format!("field names of an expression document may not contain dots: '{name}'"));
    }
    if name.is_empty() {
        return error(15998, "a field name of an expression document may not be empty");
    }
    Ok(())
}

fn variable_name(name: RawBsonRef<'_>) -> Result<Box<str>, QueryError> {
    let RawBsonRef::String(name) = name else { return error(9, "a variable name must be a string") };
    check_variable_name(name)?;
    Ok(name.into())
}

/// Refuses a name that no variable can have.
pub(crate) fn check_variable_name(name: &str) -> Result<(), QueryError> {
    // `CURRENT` is the one system variable that may be set anew.
    if name == "CURRENT" {
        return Ok(());
    }
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase() || !first.is_ascii());
    let goes_on =
        name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii());
    if starts_well && goes_on { Ok(()) } else { error(9, format!("'{name}' is not a valid variable name")) }
}
