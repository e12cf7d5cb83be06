//! What an index key decides by itself, before the document is fetched.

use bson::RawBson;

use super::{
    columns::{Column, Holds},
    interval::IntervalSet,
};
use crate::{
    filter::{Node, Predicate},
    key::{Direction, KeyError, decode_field, skip_value},
};

/// A test on the entries of one index: an entry that fails it belongs to no document that matches the filter, or does not
/// stand for it.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    directions: Vec<Direction>,
    /// Fields whose key must be in a set.
    intervals: Vec<(usize, IntervalSet)>,
    /// Conditions on the values of fields of which a document has one each.
    conditions: Vec<KeyNode>,
    /// One more than the last field that a condition looks at.
    decoded_fields: usize,
}

/// A filter's node over the fields of an index.
#[derive(Debug, Clone)]
enum KeyNode {
    All(Vec<KeyNode>),
    Any(Vec<KeyNode>),
    Not(Box<KeyNode>),
    Always(bool),
    Field(usize, Predicate),
}

impl KeyFilter {
    /// A filter of these intervals, and of those among `nodes` that the index can decide; the others are given back.
    /// None if there is nothing to test.
    pub(super) fn new<'a>(
        columns: &[Column],
        intervals: Vec<(usize, IntervalSet)>,
        nodes: impl IntoIterator<Item = &'a Node>,
    ) -> (Option<Self>, Vec<&'a Node>) {
        let (mut conditions, mut undecided, mut decoded_fields) = (Vec::new(), Vec::new(), 0);
        for node in nodes {
            let mut last = 0;
            match compile(node, columns, &mut last) {
                Some(condition) => {
                    conditions.push(condition);
                    decoded_fields = decoded_fields.max(last);
                }
                None => undecided.push(node),
            }
        }
        let filter = (!intervals.is_empty() || !conditions.is_empty()).then(|| Self {
            directions: columns.iter().map(|column| column.direction).collect(),
            intervals,
            conditions,
            decoded_fields,
        });
        (filter, undecided)
    }

    /// Whether an entry with this key and these types (of the indexed fields, without those of `_id`) passes.
    ///
    /// # Errors
    /// If they are no entry of the index.
    pub fn matches(&self, key: &[u8], types: &[u8]) -> Result<bool, KeyError> {
        Ok(self.matches_intervals(key)? && self.matches_conditions(key, types)?)
    }

    /// How many conditions it tests.
    pub(super) fn len(&self) -> usize {
        self.intervals.len() + self.conditions.len()
    }

    fn matches_intervals(&self, mut key: &[u8]) -> Result<bool, KeyError> {
        let mut wanted = self.intervals.iter().peekable();
        for (field, direction) in self.directions.iter().enumerate() {
            let Some((next, set)) = wanted.peek() else { break };
            let start = key;
            skip_value(&mut key, *direction)?;
            if *next == field {
                let own = start.get(..start.len() - key.len()).unwrap_or_default();
                let inside = match direction {
                    Direction::Ascending => set.contains(own),
                    Direction::Descending => set.contains(&own.iter().map(|byte| !byte).collect::<Vec<u8>>()),
                };
                if !inside {
                    return Ok(false);
                }
                wanted.next();
            }
        }
        Ok(true)
    }

    fn matches_conditions(&self, mut key: &[u8], mut types: &[u8]) -> Result<bool, KeyError> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let mut values = Vec::with_capacity(self.decoded_fields);
        for direction in self.directions.iter().take(self.decoded_fields) {
            values.push(decode_field(&mut key, &mut types, *direction)?);
        }
        Ok(self.conditions.iter().all(|condition| condition.matches(&values)))
    }
}

impl KeyNode {
    fn matches(&self, values: &[Option<RawBson>]) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(values)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(values)),
            Self::Not(node) => !node.matches(values),
            Self::Always(answer) => *answer,
            Self::Field(field, predicate) => {
                let value = values.get(*field).and_then(Option::as_ref).map(RawBson::as_raw_bson_ref);
                predicate.holds(value, &mut None)
            }
        }
    }
}

/// The node over the fields of the index, if each path in it is that of a field of which every document has one value.
fn compile(node: &Node, columns: &[Column], last: &mut usize) -> Option<KeyNode> {
    let mut compile_all =
        |nodes: &[Node]| nodes.iter().map(|node| compile(node, columns, last)).collect::<Option<Vec<_>>>();
    Some(match node {
        Node::And(nodes) => KeyNode::All(compile_all(nodes)?),
        Node::Or(nodes) => KeyNode::Any(compile_all(nodes)?),
        Node::Nor(nodes) => KeyNode::Not(Box::new(KeyNode::Any(compile_all(nodes)?))),
        Node::Not(inner) => KeyNode::Not(Box::new(compile(inner, columns, last)?)),
        Node::Always(answer) => KeyNode::Always(*answer),
        Node::Schema(_) | Node::Expression(_) | Node::Sample { .. } | Node::Near(_) | Node::Text(_) => {
            return None;
        }
        Node::Field { path, predicate } => {
            let is_own = |column: &Column| column.holds == Holds::Values && path.is(&column.path);
            let field = columns.iter().position(is_own)?;
            if columns.get(field)?.is_many {
                return None;
            }
            *last = (*last).max(field + 1);
            KeyNode::Field(field, predicate.clone())
        }
    })
}
