//! Whether one condition follows from another: whether every document that a query is about is in a partial index.
//!
//! It is sound and not complete: it says yes only where it is certain. What it looks at is the tree of each side:
//!
//! * a conjunction follows if each of its parts does; an alternative if one of its branches does;
//! * from a conjunction follows what follows from one of its parts, or from two bounds of one field together; from an
//!   alternative what follows from each of its branches;
//! * a predicate follows from another one on the same path if every value that satisfies the one satisfies the other. Both
//!   ask for *some* value at the path that satisfies them, so that this is enough for arrays too.

use super::bounds::{Keys, predicate_bounds};
use crate::{
    expression::Relation,
    filter::{Node, Predicate},
    order::bracket,
    path::Path,
};

/// How many comparisons of one part with another are tried before the answer is no.
const STEPS_MAX: u32 = 10_000;

/// Whether every document that matches all of `given` matches `wanted`.
pub(super) fn implies(given: &[&Node], wanted: &Node) -> bool {
    let mut steps = STEPS_MAX;
    conjunction(given, wanted, &mut steps)
}

fn conjunction(given: &[&Node], wanted: &Node, steps: &mut u32) -> bool {
    match wanted {
        Node::And(parts) => return parts.iter().all(|part| conjunction(given, part, steps)),
        Node::Always(true) => return true,
        _ => {}
    }
    if given.iter().any(|node| one(node, wanted, steps)) {
        return true;
    }
    matches!(wanted, Node::Or(branches) if branches.iter().any(|branch| conjunction(given, branch, steps)))
}

/// Whether `wanted`, which is no conjunction, follows from `given`.
fn one(given: &Node, wanted: &Node, steps: &mut u32) -> bool {
    let Some(left) = steps.checked_sub(1) else { return false };
    *steps = left;
    match (given, wanted) {
        (Node::Always(false), _) => true,
        (Node::And(parts), _) => conjunction(&parts.iter().collect::<Vec<_>>(), wanted, steps),
        (Node::Or(branches), _) if !branches.is_empty() => {
            branches.iter().all(|branch| conjunction(&[branch], wanted, steps))
        }
        (Node::Field { path, predicate }, Node::Field { path: other, predicate: wanted }) => {
            path == other && predicate_implies(predicate, wanted)
        }
        (Node::Not(inner), Node::Field { path, predicate: Predicate::Exists }) => is_not_null(inner, path),
        _ => false,
    }
}

/// Whether the negation of `inner` says that there is something at `path`: where it is true of a missing field. A path of
/// several parts may also end in an array, where nothing is missing and nothing is found.
fn is_not_null(inner: &Node, path: &Path) -> bool {
    matches!(inner, Node::Field { path: own, predicate }
        if own == path && path.parts().len() == 1 && predicate.holds(None, &mut None))
}

/// Whether every value that satisfies `given` satisfies `wanted`.
fn predicate_implies(given: &Predicate, wanted: &Predicate) -> bool {
    match (given, wanted) {
        // A value that is not there satisfies nothing but what null does.
        (given, Predicate::Exists) => !given.holds(None, &mut None),
        (Predicate::Type(given), Predicate::Type(wanted)) => given.is_subset(*wanted),
        (Predicate::Eq(operand), Predicate::Type(wanted)) => {
            let bracket = bracket(operand.as_raw_bson_ref());
            !given.holds(None, &mut None) && wanted.has_bracket(bracket)
        }
        (
            Predicate::Gt(operand)
            | Predicate::Gte(operand)
            | Predicate::Lt(operand)
            | Predicate::Lte(operand),
            Predicate::Type(wanted),
        ) => {
            use crate::key::Bracket::{MaxKey, MinKey};
            let bracket = bracket(operand.as_raw_bson_ref());
            !matches!(bracket, MinKey | MaxKey)
                && !given.holds(None, &mut None)
                && wanted.has_bracket(bracket)
        }
        (Predicate::Eq(operand), wanted) if is_comparison(wanted) => {
            wanted.holds(Some(operand.as_raw_bson_ref()), &mut None)
                && (!given.holds(None, &mut None) || wanted.holds(None, &mut None))
        }
        (Predicate::In(members), wanted) if !members.has_patterns() && is_comparison(wanted) => {
            members.values().iter().all(|value| wanted.holds(Some(value.as_raw_bson_ref()), &mut None))
                && (!given.holds(None, &mut None) || wanted.holds(None, &mut None))
        }
        // Equal values are equal by every collation.
        (Predicate::Eq(operand), wanted @ Predicate::Collated(_)) => {
            wanted.holds(Some(operand.as_raw_bson_ref()), &mut None)
        }
        (Predicate::Collated(given), wanted @ Predicate::Collated(other))
            if given.collation() == other.collation() && !given.has_patterns() =>
        {
            matches!(given.relation(), Relation::Equal | Relation::In)
                && given
                    .operands()
                    .iter()
                    .all(|operand| wanted.holds(Some(operand.as_raw_bson_ref()), &mut None))
        }
        (given, wanted) if is_comparison(given) && is_comparison(wanted) => {
            let (given, wanted) =
                (predicate_bounds(given, Keys::Single), predicate_bounds(wanted, Keys::Single));
            wanted.exact && given.set.intersection(&wanted.set) == given.set
        }
        _ => false,
    }
}

/// Whether it depends on nothing but where the value stands in the total order.
fn is_comparison(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Eq(_) | Predicate::Gt(_) | Predicate::Gte(_) | Predicate::Lt(_) | Predicate::Lte(_) => {
            true
        }
        Predicate::In(members) => !members.has_patterns(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
