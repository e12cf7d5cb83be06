//! Which expressions every platform and version computes alike, so that a logged filter may hold them.
//!
//! Left out are functions of the platform (trigonometry, powers), what goes by tables that change (time zones, letters,
//! regular expressions), conversions to and from text, and chance.

use super::node::Node;

/// The operators of the table that are computed alike everywhere.
const STABLE: [&str; 56] = [
    "$abs",
    "$add",
    "$allElementsTrue",
    "$anyElementTrue",
    "$arrayElemAt",
    "$arrayToObject",
    "$binarySize",
    "$bitAnd",
    "$bitNot",
    "$bitOr",
    "$bitXor",
    "$bsonSize",
    "$ceil",
    "$cmp",
    "$concat",
    "$concatArrays",
    "$divide",
    "$eq",
    "$first",
    "$floor",
    "$getField",
    "$gt",
    "$gte",
    "$in",
    "$indexOfArray",
    "$indexOfBytes",
    "$indexOfCP",
    "$isArray",
    "$isNumber",
    "$last",
    "$lt",
    "$lte",
    "$max",
    "$mergeObjects",
    "$min",
    "$mod",
    "$multiply",
    "$ne",
    "$not",
    "$objectToArray",
    "$range",
    "$reverseArray",
    "$setDifference",
    "$setEquals",
    "$setField",
    "$setIntersection",
    "$setIsSubset",
    "$setUnion",
    "$size",
    "$slice",
    "$split",
    "$strLenBytes",
    "$strLenCP",
    "$substrBytes",
    "$subtract",
    "$type",
];

/// Whether `node` is made of such operators alone. The recursion is as deep as the expression.
pub(super) fn is_replayable(node: &Node) -> bool {
    let all = |nodes: &[Node]| nodes.iter().all(is_replayable);
    match node {
        Node::Constant(_) | Node::Missing | Node::Variable { .. } => true,
        Node::Now | Node::Random(_) => false,
        Node::Object(fields) => fields.iter().all(|(_, node)| is_replayable(node)),
        Node::Array(nodes) | Node::And(nodes) | Node::Or(nodes) | Node::IfNull(nodes) => all(nodes),
        Node::Call(operator, arguments) => STABLE.contains(&operator.name) && all(arguments),
        Node::CallNamed(operator, arguments) => {
            STABLE.contains(&operator.name) && arguments.iter().flatten().all(is_replayable)
        }
        Node::Condition(parts) => all(parts.as_slice()),
        Node::Switch { branches, default } => {
            branches.iter().all(|(case, then)| is_replayable(case) && is_replayable(then))
                && default.as_deref().is_none_or(is_replayable)
        }
        Node::Let { values, body } => all(values) && is_replayable(body),
        Node::Map { input, body, .. } => is_replayable(input) && is_replayable(body),
        Node::Filter { input, condition, limit, .. } => {
            is_replayable(input) && is_replayable(condition) && limit.as_deref().is_none_or(is_replayable)
        }
        Node::Reduce { input, initial, body, .. } => {
            [input, initial, body].into_iter().all(|node| is_replayable(node))
        }
        Node::SortArray { input, .. } | Node::Percentile { input, .. } => is_replayable(input),
    }
}
