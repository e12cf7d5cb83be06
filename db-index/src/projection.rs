//! Projections: which fields of a document an answer shows.
//!
//! A specification is compiled into a tree of field names once and applied to raw BSON in one pass, in the document's
//! order of fields. Fields that are computed come behind those that are shown, in the order of the specification.

mod apply;
mod parse;

use bson::{RawDocument, RawDocumentBuf};

use crate::{
    context::QueryContext,
    error::QueryError,
    expression::Expression,
    filter::{Filter, Node as FilterNode},
};

/// A compiled projection.
#[derive(Debug, Clone)]
pub struct Projection {
    fields: Fields,
    kind: Kind,
    /// Whether `_id` is shown, where nothing else says so.
    id: bool,
    /// The filter that says which element the positional operator stands for.
    positional: Option<Filter>,
    /// What computed fields are computed by, once for each document.
    computed: Vec<Expression>,
    /// The fields that show the score of a search.
    scores: Vec<Box<str>>,
}

/// Whether the fields named are those shown or those hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inclusion,
    Exclusion,
}

/// Field names at one level, each with what becomes of it.
type Fields = Vec<(Box<str>, Node)>;

/// What becomes of a field.
#[derive(Debug, Clone)]
enum Node {
    /// It is shown (inclusion) or hidden (exclusion).
    Leaf,
    /// Its fields are looked at, within arrays too. `positional` if the way to the positional operator leads through, `computed`
    /// if a computed field lies below.
    Children { fields: Fields, positional: bool, computed: bool },
    /// It gets the value of the expression of this number.
    Computed(usize),
    /// `$slice`: a part of the array; a negative `skip` counts from the end.
    Slice { skip: i64, limit: i64 },
    /// `$elemMatch`: the first element that matches.
    ElemMatch(FilterNode),
    /// `name.$`: the element by which the filter matched.
    Positional,
}

impl Projection {
    /// Compiles `document`; `filter` is that of the same query, for the positional operator.
    ///
    /// # Errors
    /// MongoDB's codes: 31253 and 31254 for inclusion and exclusion mixed, 31252 and 31310 for computed fields among exclusions,
    /// 31249 and 31250 for paths in one another's way, 28667 and 28724 for `$slice`, 31274 and 31275 for `$elemMatch`, 31276,
    /// 31394 and 31395 for the positional operator, 15998, 16410, 40352 and 40353 for malformed paths, 31325 for operators
    /// that there are not; those of [`Expression::parse`]; 17308 for `$meta` of what there is not.
    pub fn parse(document: &RawDocument, filter: Option<&Filter>) -> Result<Self, QueryError> {
        Self::parse_in(document, filter, &QueryContext::default())
    }

    /// As [`Projection::parse`], in surroundings that computed fields may look at.
    ///
    /// # Errors
    /// Those of [`Projection::parse`].
    pub fn parse_in(
        document: &RawDocument,
        filter: Option<&Filter>,
        context: &QueryContext,
    ) -> Result<Self, QueryError> {
        parse::projection(document, filter, context)
    }

    /// The part of `document` that this projection shows.
    ///
    /// # Errors
    /// 51246 and 51247 if the positional operator finds no element of an array; those of [`Expression::evaluate`], and
    /// `BSONObjectTooLarge` (10334) or `Overflow` (15), for computed fields.
    pub fn apply(&self, document: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
        apply::project(self, document)
    }

    /// Whether the score of a search is shown, which documents must carry ([`with_text_score`](crate::with_text_score)).
    pub fn uses_text_score(&self) -> bool {
        !self.scores.is_empty()
    }

    /// Whether documents are shown as they are.
    pub fn is_empty(&self) -> bool {
        self.kind == Kind::Exclusion && self.fields.is_empty() && self.id
    }

    /// The paths shown, `_id` among them unless it is hidden, if that is all there is to know: a query can then be
    /// answered from an index that holds them. `None` for exclusions and operators.
    pub fn fields(&self) -> Option<Vec<String>> {
        if self.kind == Kind::Exclusion || self.uses_text_score() {
            return None;
        }
        let mut paths = Vec::new();
        if self.id && !self.fields.iter().any(|(name, _)| &**name == "_id") {
            paths.push("_id".to_owned());
        }
        collect_paths(&self.fields, "", &mut paths).then_some(paths)
    }
}

/// Whether only plain fields were found.
fn collect_paths(fields: &Fields, prefix: &str, paths: &mut Vec<String>) -> bool {
    fields.iter().all(|(name, node)| match node {
        Node::Leaf => {
            paths.push(format!("{prefix}{name}"));
            true
        }
        Node::Children { fields, positional: false, .. } => {
            collect_paths(fields, &format!("{prefix}{name}."), paths)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
