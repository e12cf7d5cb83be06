//! From conditions to intervals: which keys of an index field a matching document must have one of.
//!
//! The rule that everything here keeps: if a document matches the condition, one of its entries has a key in the set. A
//! set is *exact* if the reverse holds as well, so that nothing is left to test.

use bson::{RawBson, RawBsonRef};

use super::interval::{Cut, Interval, IntervalSet};
use crate::{
    collation::Collation,
    expression::{Comparison, Relation},
    filter::{Collated, Node, Predicate},
    key::{Bracket, Direction, encode_collated},
    number::Number,
    order::{array_elements, bracket},
    path::Part,
};

/// The keys that a condition asks for in one field.
#[derive(Debug, Clone)]
pub(crate) struct Bounds<'a> {
    pub(crate) set: IntervalSet,
    /// Whether a document with a key in the set is certain to match the whole condition.
    pub(crate) exact: bool,
    /// The `$elemMatch` that the condition stands under. Conditions under one and the same are about one element, so they
    /// may bound several fields of an entry together.
    pub(crate) element: Option<&'a Node>,
}

/// What is known of the keys of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// A document has one, which is the value at the path: no array was met.
    Single,
    /// A document may have several; an array at the end of the path has one for each element and none for itself.
    Many,
    /// The one value of an element that `$elemMatch` looks at.
    Element,
}

/// The bounds that `node` sets to the field at `path`, if it says anything of it.
pub(crate) fn node_bounds<'a>(node: &'a Node, path: &[&str], keys: Keys) -> Option<Bounds<'a>> {
    match node {
        Node::Field { path: own, predicate } => {
            let parts: &[Part] = own.parts();
            if parts.iter().map(Part::name).eq(path.iter().copied()) {
                return Some(predicate_bounds(predicate, keys));
            }
            // `$elemMatch` on an array that the path leads through.
            let Predicate::ElemMatchObject(inner) = predicate else { return None };
            let (outer, rest) = path.split_at_checked(parts.len())?;
            if keys == Keys::Single
                || rest.is_empty()
                || !parts.iter().map(Part::name).eq(outer.iter().copied())
            {
                return None;
            }
            let bounds = node_bounds(inner, rest, Keys::Many)?;
            Some(Bounds { set: bounds.set, exact: false, element: Some(node) })
        }
        Node::And(nodes) => all_bounds(nodes.iter().map(|node| node_bounds(node, path, keys)), keys),
        Node::Or(nodes) => {
            let branches =
                nodes.iter().map(|node| node_bounds(node, path, keys)).collect::<Option<Vec<_>>>()?;
            let exact = branches.iter().all(|branch| branch.exact);
            let set = IntervalSet::union_of(branches.into_iter().map(|branch| branch.set));
            Some(Bounds { set, exact, element: None })
        }
        Node::Not(inner) => negated_bounds(inner, path, keys),
        Node::Nor(nodes) => all_bounds(nodes.iter().map(|node| negated_bounds(node, path, keys)), keys),
        Node::Expression(test) => test
            .comparison()
            .and_then(|comparison| comparison_bounds(comparison, test.collation(), path, keys)),
        Node::Always(true) | Node::Schema(_) | Node::Sample { .. } | Node::Near(_) | Node::Text(_) => None,
        Node::Always(false) => Some(bounds(IntervalSet::empty(), true)),
    }
}

/// The bounds of a conjunction. On one value all of them hold; of several keys each condition may have its own, so only one
/// condition can be used.
fn all_bounds<'a>(parts: impl Iterator<Item = Option<Bounds<'a>>>, keys: Keys) -> Option<Bounds<'a>> {
    let mut exact = true;
    let mut found: Vec<Bounds<'a>> = Vec::new();
    for part in parts {
        match part {
            Some(part) => found.push(part),
            None => exact = false,
        }
    }
    if keys == Keys::Many {
        let whole = found.len() == 1 && exact;
        let mut best = tightest(found)?;
        best.exact &= whole;
        return Some(best);
    }
    let mut all = found.into_iter();
    let first = all.next()?;
    Some(all.fold(Bounds { exact: exact && first.exact, ..first }, |sum, part| Bounds {
        set: sum.set.intersection(&part.set),
        exact: sum.exact && part.exact,
        element: None,
    }))
}

/// The bounds that promise the fewest keys.
pub(crate) fn tightest<'a>(bounds: impl IntoIterator<Item = Bounds<'a>>) -> Option<Bounds<'a>> {
    bounds.into_iter().min_by_key(|bounds| looseness(&bounds.set))
}

/// Orders sets by how little they promise: points before ranges, closed ranges before half-open ones.
fn looseness(set: &IntervalSet) -> (u8, usize) {
    let rank = if set.is_points() {
        0
    } else if set.is_full() {
        4
    } else {
        1 + set.intervals().iter().map(Interval::open_ends).max().unwrap_or(0)
    };
    (rank, set.intervals().len())
}

fn negated_bounds<'a>(node: &'a Node, path: &[&str], keys: Keys) -> Option<Bounds<'a>> {
    if let Node::Field { path: own, predicate: Predicate::Exists } = node
        && own.parts().iter().map(Part::name).eq(path.iter().copied())
        && keys != Keys::Element
    {
        return Some(bounds(IntervalSet::point(RawBsonRef::Null), false));
    }
    // Of several keys one may be outside the set while another, inside, makes the condition true.
    if keys == Keys::Many {
        return None;
    }
    let inner = node_bounds(node, path, keys).filter(|inner| inner.exact)?;
    Some(bounds(inner.set.complement(), true))
}

fn bounds<'a>(set: IntervalSet, exact: bool) -> Bounds<'a> {
    Bounds { set, exact, element: None }
}

/// The bounds that a predicate sets to the field that it is about.
pub(super) fn predicate_bounds(predicate: &Predicate, keys: Keys) -> Bounds<'_> {
    match predicate {
        Predicate::Eq(operand) => equality_bounds(operand.as_raw_bson_ref(), keys),
        Predicate::Gt(operand) => range_bounds(operand.as_raw_bson_ref(), Side::Above, false, keys),
        Predicate::Gte(operand) => range_bounds(operand.as_raw_bson_ref(), Side::Above, true, keys),
        Predicate::Lt(operand) => range_bounds(operand.as_raw_bson_ref(), Side::Below, false, keys),
        Predicate::Lte(operand) => range_bounds(operand.as_raw_bson_ref(), Side::Below, true, keys),
        Predicate::In(members) => {
            let parts: Vec<Bounds<'_>> =
                members.values().iter().map(|value| equality_bounds(value.as_raw_bson_ref(), keys)).collect();
            let exact = !members.has_patterns() && parts.iter().all(|part| part.exact);
            let sets = parts.into_iter().map(|part| part.set);
            let patterns = members.has_patterns().then(|| brackets([Bracket::String, Bracket::Regex]));
            bounds(IntervalSet::union_of(sets.chain(patterns)), exact)
        }
        Predicate::Collated(collated) => collated_bounds(collated, keys),
        Predicate::Regex(pattern) => {
            let strings = match pattern.prefix() {
                Some(prefix) => IntervalSet::string_prefix(prefix),
                None => IntervalSet::bracket(Bracket::String),
            };
            bounds(IntervalSet::union_of([strings, IntervalSet::bracket(Bracket::Regex)]), false)
        }
        Predicate::Mod { .. } => bounds(IntervalSet::bracket(Bracket::Number), false),
        Predicate::Bits(_) => bounds(brackets([Bracket::Number, Bracket::Binary]), false),
        Predicate::ElemMatchValue(node) if keys == Keys::Many => {
            let set = element_bounds(node).unwrap_or_else(IntervalSet::full);
            bounds(set, false)
        }
        Predicate::Exists
        | Predicate::Type(_)
        | Predicate::Size(_)
        | Predicate::Geo(_)
        | Predicate::ElemMatchValue(_)
        | Predicate::ElemMatchObject(_) => bounds(IntervalSet::full(), false),
    }
}

/// The keys of the elements that satisfy `node`, whose paths are not looked at.
fn element_bounds(node: &Node) -> Option<IntervalSet> {
    match node {
        Node::Field { predicate, .. } => Some(predicate_bounds(predicate, Keys::Element).set),
        Node::And(nodes) => nodes.iter().filter_map(element_bounds).reduce(|a, b| a.intersection(&b)),
        Node::Or(nodes) => {
            nodes.iter().map(element_bounds).collect::<Option<Vec<_>>>().map(IntervalSet::union_of)
        }
        Node::Not(_)
        | Node::Nor(_)
        | Node::Always(_)
        | Node::Schema(_)
        | Node::Expression(_)
        | Node::Sample { .. }
        | Node::Near(_)
        | Node::Text(_) => None,
    }
}

/// The keys of the values that stand so to the constants of an expression, which compares whole values by the total order and
/// puts a missing one below null: the index has the key of null for it. Where arrays were met, the keys are those of elements
/// and say nothing.
fn comparison_bounds<'a>(
    comparison: &Comparison,
    collation: Option<&Collation>,
    path: &[&str],
    keys: Keys,
) -> Option<Bounds<'a>> {
    if keys != Keys::Single || !comparison.path.iter().map(|part| &**part).eq(path.iter().copied()) {
        return None;
    }
    if comparison.relation == Relation::In {
        let members = comparison.operands.iter().map(RawBson::as_raw_bson_ref);
        let points = members
            .map(|member| comparison_set(Relation::Equal, member, collation))
            .collect::<Option<Vec<_>>>()?;
        return Some(bounds(IntervalSet::union_of(points), false));
    }
    let operand = comparison.operands.first()?.as_raw_bson_ref();
    Some(bounds(comparison_set(comparison.relation, operand, collation)?, false))
}

fn comparison_set(
    relation: Relation,
    operand: RawBsonRef<'_>,
    collation: Option<&Collation>,
) -> Option<IntervalSet> {
    let (least, most) = (Cut::before(Vec::new()), Cut::after(Vec::new()));
    let is_null = match bracket(operand) {
        Bracket::Array | Bracket::Undefined => return None,
        other => other == Bracket::Null,
    };
    let key = collated_key(operand, collation);
    let (below, above) = (Cut::before(key.clone()), Cut::after(key));
    Some(match relation {
        Relation::Equal => IntervalSet::between(below, above),
        Relation::Greater => IntervalSet::between(above, most),
        Relation::GreaterOrEqual => IntervalSet::between(below, most),
        Relation::Less if !is_null => IntervalSet::between(least, below),
        Relation::Less | Relation::LessOrEqual => IntervalSet::between(least, above),
        Relation::In => return None,
    })
}

/// The bounds in an index of the same collation.
fn collated_bounds<'a>(collated: &Collated, keys: Keys) -> Bounds<'a> {
    let key = |operand| collated_key(operand, Some(collated.collation()));
    let point = |operand| {
        let key = key(operand);
        IntervalSet::between(Cut::before(key.clone()), Cut::after(key))
    };
    let operands = collated.operands().iter().map(RawBson::as_raw_bson_ref);
    if matches!(collated.relation(), Relation::Equal | Relation::In) {
        let mut exact = !collated.has_patterns();
        let mut sets = Vec::new();
        for operand in operands {
            sets.push(point(operand));
            if let RawBsonRef::Array(array) = operand
                && keys != Keys::Element
            {
                // As with the plain equality: the index has the elements of the array.
                sets.push(point(array_elements(array).next().unwrap_or(RawBsonRef::Undefined)));
                exact = false;
            }
            exact &= !matches!(operand, RawBsonRef::Null | RawBsonRef::Undefined) || keys == Keys::Single;
        }
        if collated.has_patterns() {
            sets.push(brackets([Bracket::String, Bracket::Regex]));
        }
        return bounds(IntervalSet::union_of(sets), exact);
    }
    let Some(operand) = operands.into_iter().next() else { return bounds(IntervalSet::empty(), true) };
    let bracket = bracket(operand);
    if bracket == Bracket::Array && keys == Keys::Many {
        return bounds(IntervalSet::full(), false);
    }
    let (lowest, highest) = (Cut::before_bracket(bracket), Cut::after_bracket(bracket));
    let set = match collated.relation() {
        Relation::GreaterOrEqual => IntervalSet::between(Cut::before(key(operand)), highest),
        Relation::Greater => IntervalSet::between(Cut::after(key(operand)), highest),
        Relation::LessOrEqual => IntervalSet::between(lowest, Cut::after(key(operand))),
        _ => IntervalSet::between(lowest, Cut::before(key(operand))),
    };
    bounds(set, true)
}

fn collated_key(value: RawBsonRef<'_>, collation: Option<&Collation>) -> Vec<u8> {
    let mut key = Vec::new();
    encode_collated(value, Direction::Ascending, collation, &mut key, &mut Vec::new());
    key
}

fn equality_bounds<'a>(operand: RawBsonRef<'_>, keys: Keys) -> Bounds<'a> {
    let point = IntervalSet::point(operand);
    match operand {
        RawBsonRef::Array(array) if keys != Keys::Element => {
            // The value may be the array itself, of which the index has the elements, or an element equal to it.
            let first = array_elements(array).next().unwrap_or(RawBsonRef::Undefined);
            bounds(IntervalSet::union_of([point, IntervalSet::point(first)]), false)
        }
        // A path that ends within an array has the key of null there without having a value.
        RawBsonRef::Null => bounds(point, keys == Keys::Single),
        RawBsonRef::Undefined => bounds(point, false),
        _ => bounds(point, true),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

fn range_bounds<'a>(operand: RawBsonRef<'_>, side: Side, inclusive: bool, keys: Keys) -> Bounds<'a> {
    let bracket = bracket(operand);
    match bracket {
        Bracket::MinKey | Bracket::MaxKey => {
            let outward = (bracket == Bracket::MinKey) == (side == Side::Below);
            return match (outward, inclusive) {
                (true, true) => bounds(IntervalSet::point(operand), true),
                (true, false) => bounds(IntervalSet::empty(), true),
                // Everything is inward, an array as a whole too, which has no key of its own.
                (false, _) if keys == Keys::Many => bounds(IntervalSet::full(), false),
                (false, true) => bounds(IntervalSet::full(), true),
                (false, false) => bounds(IntervalSet::point(operand).complement(), true),
            };
        }
        Bracket::Null | Bracket::Undefined => {
            return if inclusive {
                equality_bounds(operand, keys)
            } else {
                bounds(IntervalSet::empty(), true)
            };
        }
        Bracket::Array if keys == Keys::Many => return bounds(IntervalSet::full(), false),
        _ => {}
    }
    if Number::from_raw(operand).is_some_and(Number::is_nan) {
        let set = if inclusive { IntervalSet::point(operand) } else { IntervalSet::empty() };
        return bounds(set, true);
    }
    let (lowest, highest) = if bracket == Bracket::Number {
        // NaN is the lowest number and in no range.
        let infinity = RawBsonRef::Double(f64::INFINITY);
        (Cut::before_value(RawBsonRef::Double(f64::NEG_INFINITY)), Cut::after_value(infinity))
    } else {
        (Cut::before_bracket(bracket), Cut::after_bracket(bracket))
    };
    let set = match (side, inclusive) {
        (Side::Above, true) => IntervalSet::between(Cut::before_value(operand), highest),
        (Side::Above, false) => IntervalSet::between(Cut::after_value(operand), highest),
        (Side::Below, true) => IntervalSet::between(lowest, Cut::after_value(operand)),
        (Side::Below, false) => IntervalSet::between(lowest, Cut::before_value(operand)),
    };
    bounds(set, true)
}

fn brackets<const N: usize>(list: [Bracket; N]) -> IntervalSet {
    IntervalSet::union_of(list.into_iter().map(IntervalSet::bracket))
}
