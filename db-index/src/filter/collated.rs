//! Comparisons of strings by a collation. A comparison that no string has a part in is none of these: it is the plain one.

use std::cmp::Ordering;

use bson::{RawBson, RawBsonRef};

use crate::{
    collation::Collation,
    expression::Relation,
    filter::{node::Predicate, pattern::Pattern},
    order,
};

/// A comparison by a collation with an operand in which there is a string.
#[derive(Debug, Clone)]
pub(crate) struct Collated {
    collation: Collation,
    relation: Relation,
    /// One; for [`Relation::In`] any number, in ascending order by the collation, without equals.
    operands: Vec<RawBson>,
    /// Regular expressions among the members of an `$in`.
    patterns: Vec<Pattern>,
}

impl Collated {
    /// The comparison of a value with `operand`, as a predicate.
    pub(super) fn predicate(collation: &Collation, relation: Relation, operand: RawBson) -> Predicate {
        let (collation, operands) = (collation.clone(), vec![operand]);
        Predicate::Collated(Box::new(Self { collation, relation, operands, patterns: Vec::new() }))
    }

    /// Membership in a list.
    pub(super) fn members(
        collation: &Collation,
        mut operands: Vec<RawBson>,
        patterns: Vec<Pattern>,
    ) -> Predicate {
        let compare = |a: &RawBson, b: &RawBson| {
            order::compare_collated(a.as_raw_bson_ref(), b.as_raw_bson_ref(), Some(collation))
        };
        operands.sort_by(compare);
        operands.dedup_by(|a, b| compare(a, b).is_eq());
        let collation = collation.clone();
        Predicate::Collated(Box::new(Self { collation, relation: Relation::In, operands, patterns }))
    }

    pub(crate) fn collation(&self) -> &Collation {
        &self.collation
    }

    pub(crate) fn relation(&self) -> Relation {
        self.relation
    }

    pub(crate) fn operands(&self) -> &[RawBson] {
        &self.operands
    }

    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Whether the value satisfies the comparison.
    pub(super) fn holds(&self, value: Option<RawBsonRef<'_>>) -> bool {
        let sought = value.unwrap_or(RawBsonRef::Null);
        let compare = |operand: &RawBson| {
            order::compare_collated(sought, operand.as_raw_bson_ref(), Some(&self.collation))
        };
        if self.relation == Relation::In {
            return self.operands.binary_search_by(|operand| compare(operand).reverse()).is_ok()
                || value.is_some_and(|value| self.patterns.iter().any(|pattern| pattern.matches(value)));
        }
        let Some(operand) = self.operands.first() else { return false };
        // Equals are of one bracket anyway.
        if order::bracket(sought) != order::bracket(operand.as_raw_bson_ref()) {
            return false;
        }
        let order = compare(operand);
        match self.relation {
            Relation::Equal | Relation::In => order == Ordering::Equal,
            Relation::Less => order.is_lt(),
            Relation::LessOrEqual => order.is_le(),
            Relation::Greater => order.is_gt(),
            Relation::GreaterOrEqual => order.is_ge(),
        }
    }

    /// The value that a matching document has, but for the collation.
    pub(super) fn fact(&self) -> Option<RawBsonRef<'_>> {
        match (self.relation, self.operands.as_slice()) {
            (Relation::Equal, [only]) => Some(only.as_raw_bson_ref()),
            (Relation::In, [only]) if self.patterns.is_empty() => Some(only.as_raw_bson_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
