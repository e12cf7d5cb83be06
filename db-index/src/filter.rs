//! Filters: MongoDB's query documents, compiled once into a small tree and tested on raw BSON.
//!
//! The tree can be read by the planner. What it compares by is the query comparison, which brackets by type and treats
//! NaN apart; sorting and indexes use the total order of [`crate::order`].

mod bits;
mod collated;
mod element;
mod expression;
mod facts;
mod near;
mod node;
mod parse;
mod pattern;
mod schema;
mod types;

use bson::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, raw::cstr};

use crate::{
    collation::Collation,
    context::QueryContext,
    error::{ErrorCode, QueryError},
    guard,
    text::TextQuery,
};

pub(crate) use collated::Collated;
pub use element::ElementFilter;
pub use near::NearRings;
pub(crate) use near::Nearness;
pub(crate) use node::{Node, Predicate, Subject, Trace};
pub(crate) use pattern::Pattern;
pub(crate) use types::truthy;

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    source: RawDocumentBuf,
    root: Node,
    /// How it compares strings.
    collation: Option<Collation>,
}

/// The name under which a filter that is logged holds its collation.
const COLLATION: &str = "$collation";

impl Filter {
    /// Compiles `document`.
    ///
    /// # Errors
    /// MongoDB's error for an unknown operator or an operand of the wrong kind, `BadValue` (2) mostly; the same code
    /// for filters beyond the bounds on depth and size; `NotImplemented` (238) for what is left out by intent.
    pub fn parse(document: &RawDocument) -> Result<Self, QueryError> {
        Self::parse_in(document, &QueryContext::default())
    }

    /// As [`Filter::parse`], in surroundings that `$expr` and `$sampleRate` may look at.
    ///
    /// # Errors
    /// Those of [`Filter::parse`].
    pub fn parse_in(document: &RawDocument, context: &QueryContext) -> Result<Self, QueryError> {
        guard::check_document(document.as_bytes())?;
        let root = parse::filter(document, context)?;
        let source = if root.has_expression() {
            let closed = expression::closed(document, context);
            guard::check_document(closed.as_bytes())?;
            closed
        } else {
            document.to_owned()
        };
        Ok(Self { source, root, collation: context.collation.clone() })
    }

    /// Compiles a filter as it is logged: what [`Filter::to_document`] gives for [`Filter::replayable`]. Beside a query document's
    /// fields it may hold the collation by which it compares; a query document may not.
    ///
    /// # Errors
    /// Those of [`Filter::parse`] and of [`Collation::parse`].
    pub fn parse_logged(document: &RawDocument) -> Result<Self, QueryError> {
        guard::check_document(document.as_bytes())?;
        let collation = match document.get(COLLATION) {
            Ok(Some(RawBsonRef::Document(collation))) => collation,
            Ok(Some(_)) => {
                let message = format!("{COLLATION} must be an object");
                return Err(QueryError::new(ErrorCode::TYPE_MISMATCH, message));
            }
            _ => return Self::parse(document),
        };
        let context = QueryContext::default().with_collation(collation)?;
        let filter = Self::parse_in(&without_collation(document), &context)?;
        Ok(Self { source: document.to_owned(), ..filter })
    }

    /// The filter that a document matches if it matches both.
    ///
    /// # Errors
    /// Those of [`check_document`](crate::check_document), if together they are too large.
    pub fn and(&self, other: &Self) -> Result<Self, QueryError> {
        if other.is_empty() {
            return Ok(self.clone());
        }
        if self.is_empty() {
            return Ok(other.clone());
        }
        let mut clauses = RawArrayBuf::new();
        clauses.push(&*self.source);
        clauses.push(&*other.source);
        let mut source = RawDocumentBuf::new();
        source.append(cstr!("$and"), clauses);
        guard::check_document(source.as_bytes())?;
        let root = Node::And(vec![self.root.clone(), other.root.clone()]);
        Ok(Self { source, root, collation: self.collation.clone().or_else(|| other.collation.clone()) })
    }

    /// The filter that every document matches.
    pub fn all() -> Self {
        Self { source: RawDocumentBuf::new(), root: Node::And(Vec::new()), collation: None }
    }

    /// Compiles an `$elemMatch` on a field: the node finds the place of the element when tested on the field's value.
    pub(crate) fn element_match(
        name: &str,
        operand: RawBsonRef<'_>,
        context: &QueryContext,
    ) -> Result<Node, QueryError> {
        let mut condition = RawDocumentBuf::new();
        condition.append(bson::raw::cstr!("$elemMatch"), operand);
        parse::condition(name, RawBsonRef::Document(&condition), context)
    }

    /// Whether `document` matches.
    ///
    /// # Errors
    /// Those of [`Expression::evaluate`](crate::Expression::evaluate), if the filter has an `$expr`.
    pub fn matches(&self, document: &RawDocument) -> Result<bool, QueryError> {
        let mut trace = Trace::default();
        let matched = self.root.matches(Subject::Document(document), &mut trace);
        trace.failure.map_or(Ok(matched), Err)
    }

    /// Tests `document` and gives the place in an array by which it matched: what the positional operator `$` of an
    /// update or a projection stands for. `None` if the document does not match or no array was gone through by a
    /// positive condition.
    pub fn matched_array_index(&self, document: &RawDocument) -> Option<usize> {
        let mut trace = Trace::default();
        let matched = self.root.matches(Subject::Document(document), &mut trace);
        trace.position.filter(|_| matched && trace.failure.is_none())
    }

    /// Whether `$expr` or `$sampleRate` is among the conditions: such a filter is no condition of an upsert, of array elements or
    /// of an index.
    pub fn has_expression(&self) -> bool {
        self.root.has_expression()
    }

    /// Whether the filter asks for what is near: such a find comes in the order of distances unless it has an order of its
    /// own, and needs a geospatial index.
    pub fn nearness(&self) -> Option<Near<'_>> {
        near::find(&self.root).map(Near)
    }

    /// How well a document matches the `$text` among the conditions that all must hold; none if there is no such condition
    /// or it does not match.
    pub fn text_score(&self, document: &RawDocument) -> Option<f64> {
        text_query(&self.root)?.score(document)
    }

    /// Whether there is a `$text` among the conditions that all must hold.
    pub fn has_text(&self) -> bool {
        text_query(&self.root).is_some()
    }

    /// The document that this filter was compiled from; what it took from its surroundings is written out in it.
    pub fn to_document(&self) -> &RawDocument {
        &self.source
    }

    /// The same filter with another tree.
    fn with_root(&self, root: Node) -> Self {
        Self { source: self.source.clone(), root, collation: self.collation.clone() }
    }

    /// Whether every document matches.
    pub fn is_empty(&self) -> bool {
        matches!(&self.root, Node::And(nodes) if nodes.is_empty())
    }

    /// The tree, for the planner.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    /// Whether every platform and version answers alike: whether it may be the guard of a logged update.
    pub fn is_replayable(&self) -> bool {
        self.root.is_replayable()
    }

    /// The strongest conjunction of this filter's clauses that every platform and version computes alike: comparison,
    /// element, array, bitwise and logical operators, and expressions of such. It is what an update's logged filter may hold.
    ///
    /// # Errors
    /// None in practice: the clauses were compiled before.
    pub fn replayable(&self) -> Result<Self, QueryError> {
        let is_replayable = self.root.is_replayable();
        if is_replayable && (self.collation.is_none() || !self.root.is_collated()) {
            return Ok(self.clone());
        }
        let source = without_collation(&self.source);
        let mut kept = if is_replayable { source } else { facts::replayable(&source)? };
        if let Some(collation) = &self.collation
            && !kept.is_empty()
        {
            kept.append(cstr!("$collation"), collation.to_document());
        }
        Self::parse_logged(&kept)
    }

    /// The value that `_id` must equal, if the filter fixes it.
    pub fn id_equality(&self) -> Option<RawBsonRef<'_>> {
        facts::id_equality(&self.root)
    }

    /// The paths that the filter fixes by equality, with their values, in the filter's order: what an upsert puts into
    /// the new document before it applies the update.
    ///
    /// # Errors
    /// `NotSingleValueField` (54) if two different values are asked for one path, or a path and its prefix are fixed.
    pub fn equality_facts(&self) -> Result<Vec<(String, RawBsonRef<'_>)>, QueryError> {
        facts::equality_facts(&self.root)
    }
}

/// The conditions of a filter as it is logged.
fn without_collation(document: &RawDocument) -> RawDocumentBuf {
    let mut conditions = RawDocumentBuf::new();
    for (name, value) in crate::order::elements(document) {
        if name.as_str() != COLLATION {
            conditions.append(name, value);
        }
    }
    conditions
}

fn text_query(root: &Node) -> Option<&TextQuery> {
    match root {
        Node::Text(query) => Some(query),
        Node::And(nodes) => nodes.iter().find_map(text_query),
        _ => None,
    }
}

/// The condition of a filter on distances.
#[derive(Debug, Clone, Copy)]
pub struct Near<'a>(&'a Nearness);

impl Near<'_> {
    /// The path of the locations.
    pub fn path(&self) -> String {
        self.0.path.to_string()
    }

    /// Whether distances are on the globe, so that a `2dsphere` index is asked for; if not, a `2d` index.
    pub fn is_spherical(&self) -> bool {
        self.0.test.is_spherical()
    }

    /// The distance of a document: of its nearest location, in meters, radians or units of the plane as the filter has it.
    /// None without a location.
    pub fn distance(&self, document: &RawDocument) -> Option<f64> {
        self.0.raw_distance(document).map(|distance| self.0.test.to_unit(distance))
    }
}

#[cfg(test)]
mod tests;
