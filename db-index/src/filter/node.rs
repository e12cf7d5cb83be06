//! The compiled tree of a filter, and its test on a document, a value or an element.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use bson::{RawBson, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    context::Chance,
    error::QueryError,
    filter::{
        bits::BitTest, collated::Collated, expression::ExpressionTest, near::Nearness, pattern::Pattern,
        schema::Schema, types::TypeSet,
    },
    geo::GeoTest,
    number::Number,
    order::{self, Bracket},
    path::{Candidate, Flow, Leaf, Path, elements, walk_document, walk_value},
    text::TextQuery,
};

/// A node of a filter's tree.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// All of them; without any, everything matches.
    And(Vec<Node>),
    /// At least one of them.
    Or(Vec<Node>),
    /// None of them.
    Nor(Vec<Node>),
    /// The negation of the whole condition, over all candidates of its path.
    Not(Box<Node>),
    /// Everything or nothing, whatever the document.
    Always(bool),
    /// `$jsonSchema`: the whole document is valid.
    Schema(Box<Schema>),
    /// `$expr`: the expression is true of the whole document.
    Expression(Box<ExpressionTest>),
    /// `$sampleRate`: this share of the documents.
    Sample {
        /// From 0 to 1.
        rate: f64,
        /// What decides.
        chance: Chance,
    },
    /// `$near`: the document is at a distance within bounds. It stands among the conditions that all must hold.
    Near(Box<Nearness>),
    /// `$text`.
    Text(Box<TextQuery>),
    /// A predicate that some candidate of the path satisfies.
    Field {
        /// Where the candidates are.
        path: Path,
        /// What one of them satisfies.
        predicate: Predicate,
    },
}

/// What a single candidate is tested for.
#[derive(Debug, Clone)]
pub(crate) enum Predicate {
    /// `$eq`: equal by the total order; a missing field equals null.
    Eq(RawBson),
    /// `$gt`, within the operand's bracket.
    Gt(RawBson),
    /// `$gte`, within the operand's bracket.
    Gte(RawBson),
    /// `$lt`, within the operand's bracket.
    Lt(RawBson),
    /// `$lte`, within the operand's bracket.
    Lte(RawBson),
    /// `$in`.
    In(Members),
    /// One of these by a collation, with a string in the operand.
    Collated(Box<Collated>),
    /// `$exists: true`. (`$exists: false` is its negation.)
    Exists,
    /// `$type`.
    Type(TypeSet),
    /// `$size`.
    Size(usize),
    /// `$mod`.
    Mod {
        /// Not zero.
        divisor: i64,
        /// Carries the dividend's sign.
        remainder: i64,
    },
    /// A regular expression: strings that it matches, and stored expressions equal to it.
    Regex(Pattern),
    /// The four `$bits…` tests.
    Bits(BitTest),
    /// `$geoWithin` and `$geoIntersects`.
    Geo(Box<GeoTest>),
    /// `$elemMatch` with operators: some element satisfies the node as a single value.
    ElemMatchValue(Box<Node>),
    /// `$elemMatch` with a query: some object element (or array, read as an object) matches it.
    ElemMatchObject(Box<Node>),
}

/// The members of an `$in` list.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    /// In ascending total order, without equals.
    values: Vec<RawBson>,
    patterns: Vec<Pattern>,
}

/// What comes of a test beside its answer.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The place in an array by which the subject matched, if by any.
    pub(crate) position: Option<usize>,
    /// What an expression failed with: the answer means nothing then.
    pub(crate) failure: Option<QueryError>,
}

/// What a node is tested on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    /// A document; paths lead from its top.
    Document(&'a RawDocument),
    /// A single value, such as the element that `$elemMatch` looks at: paths are not looked at, arrays not opened.
    Value(RawBsonRef<'a>),
    /// A value as if it were the one field of a document, whatever the first part of a path calls it.
    Wrapped(RawBsonRef<'a>),
}

impl Members {
    /// Sorts `values` and drops equals among them.
    pub(crate) fn new(mut values: Vec<RawBson>, patterns: Vec<Pattern>) -> Self {
        values.sort_by(|a, b| order::compare(a.as_raw_bson_ref(), b.as_raw_bson_ref()));
        values.dedup_by(|a, b| order::compare(a.as_raw_bson_ref(), b.as_raw_bson_ref()).is_eq());
        Self { values, patterns }
    }

    /// The values, ascending in the total order, without equals.
    pub(crate) fn values(&self) -> &[RawBson] {
        &self.values
    }

    /// Whether regular expressions are among the members.
    pub(crate) fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    fn contain(&self, value: Option<RawBsonRef<'_>>) -> bool {
        let sought = value.unwrap_or(RawBsonRef::Null);
        self.values.binary_search_by(|member| order::compare(member.as_raw_bson_ref(), sought)).is_ok()
            || value.is_some_and(|value| self.patterns.iter().any(|pattern| pattern.matches(value)))
    }
}

impl Node {
    /// The conjunction of `nodes`; inner conjunctions are taken apart, a single node stands for itself.
    pub(crate) fn all(nodes: Vec<Node>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match (flat.pop(), flat.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                flat.push(last);
                Self::And(flat)
            }
            (None, _) => Self::And(flat),
        }
    }

    /// The negation.
    pub(crate) fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Whether `subject` matches. The position in `trace` is set to the place in the array by which it did, if by any; a later
    /// condition overrides an earlier one, and what stands under a negation does not count.
    pub(crate) fn matches(&self, subject: Subject<'_>, trace: &mut Trace) -> bool {
        match self {
            Self::And(nodes) => {
                let matched = nodes.iter().all(|node| node.matches(subject, trace));
                if !matched {
                    trace.position = None;
                }
                matched
            }
            Self::Or(nodes) => nodes.iter().any(|node| node.matches(subject, trace)),
            Self::Nor(nodes) => {
                let position = trace.position;
                let matched = nodes.iter().any(|node| node.matches(subject, trace));
                trace.position = position;
                !matched
            }
            Self::Not(node) => {
                let position = trace.position;
                let matched = node.matches(subject, trace);
                trace.position = position;
                !matched
            }
            Self::Always(answer) => *answer,
            Self::Schema(schema) => schema.admits(match subject {
                Subject::Document(document) => RawBsonRef::Document(document),
                Subject::Value(value) | Subject::Wrapped(value) => value,
            }),
            Self::Expression(test) => match subject {
                Subject::Document(document) => test.holds(document, trace),
                Subject::Value(_) | Subject::Wrapped(_) => false, // expressions are about whole documents
            },
            Self::Sample { rate, chance } => chance.next() < *rate,
            Self::Near(nearness) => match subject {
                Subject::Document(document) => nearness.holds(document),
                Subject::Value(_) | Subject::Wrapped(_) => false,
            },
            Self::Text(query) => match subject {
                Subject::Document(document) => query.score(document).is_some(),
                Subject::Value(_) | Subject::Wrapped(_) => false,
            },
            Self::Field { path, predicate } => {
                let mut visit = |candidate: Candidate<'_>| predicate.visit(candidate, &mut trace.position);
                let flow = match subject {
                    Subject::Document(document) => {
                        walk_document(document, path.parts(), predicate.leaf(), &mut visit)
                    }
                    Subject::Value(value) => visit(Candidate { value: Some(value), position: None }),
                    Subject::Wrapped(value) => {
                        let parts = path.parts().get(1..).unwrap_or_default();
                        walk_value(Some(value), parts, predicate.leaf(), &mut visit)
                    }
                };
                flow.is_break()
            }
        }
    }

    /// Whether an expression is among the conditions.
    pub(crate) fn has_expression(&self) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) | Self::Nor(nodes) => nodes.iter().any(Self::has_expression),
            Self::Not(node) => node.has_expression(),
            Self::Expression(_) | Self::Sample { .. } => true,
            _ => false,
        }
    }

    /// Whether a collation makes a difference to the answer.
    pub(crate) fn is_collated(&self) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) | Self::Nor(nodes) => nodes.iter().any(Self::is_collated),
            Self::Not(node) => node.is_collated(),
            Self::Always(_) | Self::Schema(_) | Self::Sample { .. } | Self::Near(_) | Self::Text(_) => false,
            Self::Expression(test) => test.collation().is_some(),
            Self::Field { predicate, .. } => match predicate {
                Predicate::Collated(_) => true,
                Predicate::ElemMatchValue(node) | Predicate::ElemMatchObject(node) => node.is_collated(),
                _ => false,
            },
        }
    }

    /// Whether an index whose strings are ordered by `own` tells of the condition what it tells of others: whether no string
    /// in it is compared in another way.
    pub(crate) fn suits(&self, own: Option<&Collation>) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) | Self::Nor(nodes) => nodes.iter().all(|node| node.suits(own)),
            Self::Not(node) => node.suits(own),
            Self::Always(_) | Self::Schema(_) | Self::Sample { .. } | Self::Near(_) | Self::Text(_) => true,
            Self::Expression(test) => test.suits(own),
            Self::Field { predicate, .. } => predicate.suits(own),
        }
    }

    /// Whether every platform and version answers alike: no regular expressions, schemas, geometry or texts.
    pub(crate) fn is_replayable(&self) -> bool {
        match self {
            Self::And(nodes) | Self::Or(nodes) | Self::Nor(nodes) => nodes.iter().all(Self::is_replayable),
            Self::Not(node) => node.is_replayable(),
            Self::Always(_) => true,
            Self::Schema(_) | Self::Sample { .. } | Self::Near(_) | Self::Text(_) => false,
            Self::Expression(test) => test.is_replayable(),
            Self::Field { predicate, .. } => match predicate {
                Predicate::Regex(_) | Predicate::Geo(_) => false,
                Predicate::In(members) => !members.has_patterns(),
                Predicate::Collated(collated) => !collated.has_patterns(),
                Predicate::ElemMatchValue(node) | Predicate::ElemMatchObject(node) => node.is_replayable(),
                _ => true,
            },
        }
    }
}

impl Predicate {
    fn suits(&self, own: Option<&Collation>) -> bool {
        let plain = |operand: &RawBson| own.is_none() || !order::holds_text(operand.as_raw_bson_ref());
        match self {
            Self::Eq(operand)
            | Self::Gt(operand)
            | Self::Gte(operand)
            | Self::Lt(operand)
            | Self::Lte(operand) => plain(operand),
            Self::In(members) => {
                members.values().iter().all(plain) && (own.is_none() || !members.has_patterns())
            }
            Self::Collated(collated) => own == Some(collated.collation()) && !collated.has_patterns(),
            Self::Regex(_) => own.is_none(),
            Self::ElemMatchValue(node) | Self::ElemMatchObject(node) => node.suits(own),
            Self::Exists
            | Self::Type(_)
            | Self::Size(_)
            | Self::Mod { .. }
            | Self::Bits(_)
            | Self::Geo(_) => true,
        }
    }

    /// What the walk does with an array at the end of the path.
    fn leaf(&self) -> Leaf {
        match self {
            Self::Size(_) | Self::ElemMatchValue(_) | Self::ElemMatchObject(_) => Leaf::Whole,
            _ => Leaf::Opened,
        }
    }

    /// Breaks at a candidate that satisfies the predicate and notes its position.
    fn visit(&self, candidate: Candidate<'_>, position: &mut Option<usize>) -> Flow {
        let mut inner = None;
        if !self.holds(candidate.value, &mut inner) {
            return ControlFlow::Continue(());
        }
        if let Some(place) = candidate.position.or(inner) {
            *position = Some(place);
        }
        ControlFlow::Break(())
    }

    /// Whether the value satisfies the predicate; `place` is set to the element that `$elemMatch` found.
    pub(crate) fn holds(&self, value: Option<RawBsonRef<'_>>, place: &mut Option<usize>) -> bool {
        match self {
            Self::Eq(operand) => equal(value, operand.as_raw_bson_ref()),
            Self::Gt(operand) => within(value, operand.as_raw_bson_ref(), false, Ordering::is_gt),
            Self::Gte(operand) => within(value, operand.as_raw_bson_ref(), true, Ordering::is_ge),
            Self::Lt(operand) => within(value, operand.as_raw_bson_ref(), false, Ordering::is_lt),
            Self::Lte(operand) => within(value, operand.as_raw_bson_ref(), true, Ordering::is_le),
            Self::In(members) => members.contain(value),
            Self::Collated(collated) => collated.holds(value),
            Self::Exists => value.is_some(),
            Self::Type(types) => value.is_some_and(|value| types.contains(value)),
            Self::Size(size) => match value {
                Some(RawBsonRef::Array(array)) => {
                    array.iter_elements().take(size.saturating_add(1)).count() == *size
                }
                _ => false,
            },
            Self::Mod { divisor, remainder } => value
                .and_then(Number::from_raw)
                .and_then(Number::truncated_to_i64)
                .is_some_and(|dividend| dividend.wrapping_rem(*divisor) == *remainder),
            Self::Regex(pattern) => value.is_some_and(|value| pattern.matches(value)),
            Self::Bits(test) => value.is_some_and(|value| test.matches(value)),
            Self::Geo(test) => value.is_some_and(|value| test.matches(value)),
            Self::ElemMatchValue(node) => find_element(value, place, |element| {
                node.matches(Subject::Value(element), &mut Trace::default())
            }),
            Self::ElemMatchObject(node) => find_element(value, place, |element| match element {
                RawBsonRef::Document(document) => {
                    node.matches(Subject::Document(document), &mut Trace::default())
                }
                RawBsonRef::Array(array) => RawDocument::from_bytes(array.as_bytes())
                    .is_ok_and(|document| node.matches(Subject::Document(document), &mut Trace::default())),
                _ => false,
            }),
        }
    }
}

fn find_element<'a>(
    value: Option<RawBsonRef<'a>>,
    place: &mut Option<usize>,
    test: impl FnMut(RawBsonRef<'a>) -> bool,
) -> bool {
    let Some(RawBsonRef::Array(array)) = value else {
        return false;
    };
    *place = elements(array).position(test);
    place.is_some()
}

/// Equality of the query language; a missing field equals null.
fn equal(value: Option<RawBsonRef<'_>>, operand: RawBsonRef<'_>) -> bool {
    match (value.unwrap_or(RawBsonRef::Null), operand) {
        (RawBsonRef::String(a), RawBsonRef::String(b)) => a == b,
        (value, operand) => order::compare(value, operand).is_eq(),
    }
}

/// A range predicate: only within the operand's bracket, but `MinKey` and `MaxKey` compare with everything. With NaN, only
/// NaN itself satisfies the inclusive ones.
fn within(
    value: Option<RawBsonRef<'_>>,
    operand: RawBsonRef<'_>,
    inclusive: bool,
    test: impl FnOnce(Ordering) -> bool,
) -> bool {
    let value = value.unwrap_or(RawBsonRef::Null);
    let bracket = order::bracket(operand);
    if !matches!(bracket, Bracket::MinKey | Bracket::MaxKey) {
        if order::bracket(value) != bracket {
            return false;
        }
        if let (Some(value), Some(operand)) = (Number::from_raw(value), Number::from_raw(operand)) {
            return match (value.is_nan(), operand.is_nan()) {
                (false, false) => test(value.compare(operand)),
                (a, b) => inclusive && a && b,
            };
        }
    }
    test(order::compare(value, operand))
}
