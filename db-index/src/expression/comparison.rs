//! What the planner can use of an expression: a field compared with constants.

use bson::RawBson;

use super::node::Node;
use crate::order;

/// A comparison of the value at a path with a constant, by the total order of all types.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    /// The names on the way to the field.
    pub(crate) path: Vec<Box<str>>,
    pub(crate) relation: Relation,
    /// The constant; for [`Relation::In`] several.
    pub(crate) operands: Vec<RawBson>,
}

/// How a field stands to its constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Equal to one of several.
    In,
}

/// The comparison that `node` is.
pub(super) fn of(node: &Node) -> Option<Comparison> {
    let Node::Call(operator, arguments) = node else { return None };
    let [a, b] = arguments.as_slice() else { return None };
    if operator.name == "$in" {
        let (path, Node::Constant(RawBson::Array(members))) = (field(a)?, b) else { return None };
        let operands = order::array_elements(members).map(RawBson::from).collect();
        return Some(Comparison { path, relation: Relation::In, operands });
    }
    let relation = match operator.name {
        "$eq" => Relation::Equal,
        "$lt" => Relation::Less,
        "$lte" => Relation::LessOrEqual,
        "$gt" => Relation::Greater,
        "$gte" => Relation::GreaterOrEqual,
        _ => return None,
    };
    let (path, relation, operand) = match (a, b) {
        (a, Node::Constant(operand)) => (field(a)?, relation, operand),
        (Node::Constant(operand), b) => (field(b)?, relation.turned(), operand),
        _ => return None,
    };
    Some(Comparison { path, relation, operands: vec![operand.clone()] })
}

fn field(node: &Node) -> Option<Vec<Box<str>>> {
    match node {
        Node::Variable { slot: 0, path } if !path.is_empty() => Some(path.clone()),
        _ => None,
    }
}

impl Relation {
    /// The relation with the sides exchanged.
    fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}
