//! Conditions on array elements: the operand of `$pull` and the entries of an update's array filters.

use bson::{RawBson, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    context::QueryContext,
    error::{ErrorCode, QueryError},
    filter::{
        Filter,
        node::{Node, Subject, Trace},
        parse::{self, is_operator_document},
    },
    order,
    path::fields,
};

/// A compiled condition on one array element.
#[derive(Debug, Clone)]
pub struct ElementFilter {
    condition: Condition,
}

#[derive(Debug, Clone)]
enum Condition {
    /// The element equals the value.
    Equal(RawBson, Option<Collation>),
    /// The element is an object that matches the query.
    Object(Filter),
    /// The element would match as the only field of a document.
    Wrapped(Node),
}

impl ElementFilter {
    /// Compiles the operand of `$pull`: operators (`{$gte: 6}`) or a regular expression are tested on the element, any
    /// other object is a query on object elements, anything else is a value to equal.
    ///
    /// # Errors
    /// Those of [`Filter::parse`].
    pub fn parse_pull(operand: RawBsonRef<'_>, context: &QueryContext) -> Result<Self, QueryError> {
        let condition = match operand {
            RawBsonRef::Document(query) if !is_operator_document(query) || is_logical(query) => {
                Condition::Object(without_expressions(Filter::parse_in(query, context)?, "a $pull")?)
            }
            RawBsonRef::Document(_) | RawBsonRef::RegularExpression(_) => {
                Condition::Wrapped(parse::condition("", operand, context)?)
            }
            value => Condition::Equal(RawBson::from(value), context.collation.clone()),
        };
        Ok(Self { condition })
    }

    /// Compiles one entry of an update's array filters (`{"grade.score": {$lt: 60}}`) and gives the identifier that it
    /// is for (`grade`).
    ///
    /// # Errors
    /// `FailedToParse` (9) if it names no identifier or more than one, `BadValue` (2) for an identifier that is not
    /// alphanumeric from a lower-case letter on; those of [`Filter::parse`].
    pub fn parse_array_filter(
        document: &RawDocument,
        context: &QueryContext,
    ) -> Result<(String, Self), QueryError> {
        let filter = without_expressions(Filter::parse_in(document, context)?, "arrayFilters")?;
        let mut identifier = None;
        name_of(filter.root(), &mut identifier)?;
        let Some(identifier) = identifier else {
            return Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                "cannot use an expression without a top-level field name in arrayFilters",
            ));
        };
        let starts_well = identifier.starts_with(|first: char| first.is_ascii_lowercase());
        if !starts_well || !identifier.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(QueryError::bad_value(format!(
                "the top-level field name in arrayFilters must be alphanumeric, from a lower-case letter on, found '{identifier}'"
            )));
        }
        Ok((identifier.to_owned(), Self { condition: Condition::Wrapped(filter.root().clone()) }))
    }

    /// Whether `element` satisfies the condition.
    pub fn matches(&self, element: RawBsonRef<'_>) -> bool {
        match (&self.condition, element) {
            (Condition::Equal(value, collation), element) => {
                order::compare_collated(value.as_raw_bson_ref(), element, collation.as_ref()).is_eq()
            }
            (Condition::Object(filter), RawBsonRef::Document(document)) => {
                filter.root().matches(Subject::Document(document), &mut Trace::default())
            }
            (Condition::Object(_), _) => false,
            (Condition::Wrapped(node), element) => {
                node.matches(Subject::Wrapped(element), &mut Trace::default())
            }
        }
    }

    /// Whether every platform and version answers alike, so that an update with this condition may be replayed.
    pub fn is_replayable(&self) -> bool {
        match &self.condition {
            Condition::Equal(..) => true,
            Condition::Object(filter) => filter.root().is_replayable(),
            Condition::Wrapped(node) => node.is_replayable(),
        }
    }
}

/// Refuses what is about whole documents and may fail.
fn without_expressions(filter: Filter, place: &str) -> Result<Filter, QueryError> {
    if filter.has_expression() {
        let message = format!("$expr is not allowed in {place}");
        return Err(QueryError::new(ErrorCode::QUERY_FEATURE_NOT_ALLOWED, message));
    }
    Ok(filter)
}

fn is_logical(document: &RawDocument) -> bool {
    fields(document)
        .next()
        .is_some_and(|(name, _)| matches!(name, "$and" | "$or" | "$nor" | "$comment" | "$expr"))
}

/// The first part of every path below `node`, which must be one and the same.
fn name_of<'a>(node: &'a Node, name: &mut Option<&'a str>) -> Result<(), QueryError> {
    match node {
        Node::And(nodes) | Node::Or(nodes) | Node::Nor(nodes) => {
            nodes.iter().try_for_each(|node| name_of(node, name))
        }
        Node::Not(node) => name_of(node, name),
        Node::Always(_)
        | Node::Schema(_)
        | Node::Expression(_)
        | Node::Sample { .. }
        | Node::Near(_)
        | Node::Text(_) => Ok(()),
        Node::Field { path, .. } => {
            let first = path.parts().first().map_or("", |part| part.name());
            match *name {
                Some(known) if known != first => Err(QueryError::new(
                    ErrorCode::FAILED_TO_PARSE,
                    format!(
                        "expected a single top-level field name in arrayFilters, found '{known}' and '{first}'"
                    ),
                )),
                _ => {
                    *name = Some(first);
                    Ok(())
                }
            }
        }
    }
}
