//! The filter of a partial index: which documents it holds.

use bson::{RawBsonRef, RawDocument};

use super::options::cannot_create;
use crate::{
    collation::Collation,
    context::QueryContext,
    error::{ErrorCode, QueryError},
    filter::{Filter, Node, Predicate},
    path::{elements, fields},
};

/// The filter of a partial index. Every peer must find the same documents with it for ever, so it is made of a few operators
/// that never change: comparisons, `$exists: true`, `$type`, `$in`, `$all`, `$and`, `$or`.
#[derive(Debug, Clone)]
pub(crate) struct PartialFilter(Filter);

impl PartialFilter {
    /// Compiles a `partialFilterExpression`.
    ///
    /// # Errors
    /// `CannotCreateIndex` (67) for another operator, 224 for `$expr`, and those of [`Filter::parse`].
    pub(super) fn parse(document: &RawDocument, collation: Option<&Collation>) -> Result<Self, QueryError> {
        if uses_expressions(document) {
            return Err(QueryError::new(
                ErrorCode::QUERY_FEATURE_NOT_ALLOWED,
                "$expr is not allowed in the partialFilterExpression of an index",
            ));
        }
        let context = QueryContext { collation: collation.cloned(), ..QueryContext::default() };
        let filter = Filter::parse_in(document, &context)?;
        check(filter.root())?;
        Ok(Self(filter))
    }

    /// The filter.
    pub(crate) fn filter(&self) -> &Filter {
        &self.0
    }
}

impl PartialEq for PartialFilter {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_document().as_bytes() == other.0.to_document().as_bytes()
    }
}

/// Whether `$expr` stands at the top of the filter or of a clause of it.
fn uses_expressions(document: &RawDocument) -> bool {
    fields(document).any(|(name, value)| match (name, value) {
        ("$expr", _) => true,
        ("$and" | "$or" | "$nor", RawBsonRef::Array(clauses)) => elements(clauses)
            .any(|clause| matches!(clause, RawBsonRef::Document(clause) if has_expression(clause))),
        _ => false,
    })
}

/// As [`uses_expressions`] for a clause; clauses within clauses are not searched, and refused for `$expr` all the same.
fn has_expression(clause: &RawDocument) -> bool {
    fields(clause).any(|(name, _)| name == "$expr")
}

fn check(node: &Node) -> Result<(), QueryError> {
    match node {
        Node::And(nodes) | Node::Or(nodes) => nodes.iter().try_for_each(check),
        Node::Field { predicate, .. } if is_allowed(predicate) => Ok(()),
        _ => Err(cannot_create(
            "Expression not supported in partial index: only comparisons, $exists: true, $type, $in, $all, $and and $or are",
        )),
    }
}

fn is_allowed(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Eq(_)
        | Predicate::Gt(_)
        | Predicate::Gte(_)
        | Predicate::Lt(_)
        | Predicate::Lte(_)
        | Predicate::Exists
        | Predicate::Type(_) => true,
        Predicate::In(members) => !members.has_patterns(),
        Predicate::Collated(collated) => !collated.has_patterns(),
        _ => false,
    }
}
