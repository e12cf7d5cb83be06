//! The planner: how to read as little as possible for a filter, a sort and what is wanted of the documents.
//!
//! A plan reads the documents in the order of `_id`, or the entries of an index, in one or several byte ranges. Its one law
//! is that it changes nothing: whatever index it takes, the documents are those that a full scan gives. (Only a hint may
//! force a sparse index that leaves documents out.)
//!
//! The key space of an index, as plans see it: the key of an entry ([`IndexEntry`](crate::IndexEntry)) followed by the
//! ascending key of the document's `_id`. The key space of the documents: the ascending key of `_id`.

use std::fmt;

use bson::{RawBsonRef, RawDocumentBuf};

use crate::{
    error::{ErrorCode, QueryError},
    filter::Filter,
    index::{IndexDefinition, MultikeyFields},
    key::Direction,
    number::Number,
    sort::Sort,
};

mod bounds;
mod choice;
mod columns;
mod cost;
mod covered;
mod explain;
mod implication;
mod interval;
mod key_filter;
mod scan;
mod special;
#[cfg(test)]
mod tests;

pub use covered::covered_document;
pub use interval::KeyRange;
pub use key_filter::KeyFilter;

use interval::IntervalSet;

/// What the planner knows of an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexInfo<'a> {
    /// Its definition.
    pub definition: &'a IndexDefinition,
    /// The fields that have met an array in any document that was ever indexed.
    pub multikey: MultikeyFields,
    /// How many entries it has.
    pub entries: u64,
}

/// What is wanted of the documents found.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// All of them.
    Documents,
    /// Only these fields.
    Fields(&'a [&'a str]),
    /// Nothing: they are counted.
    Count,
}

/// The index, or the order, that the caller insists on.
#[derive(Debug, Clone, PartialEq)]
pub enum Hint {
    /// The index of this name.
    Name(String),
    /// The index of this key pattern.
    Keys(RawDocumentBuf),
    /// No index: the documents in the order of `_id`.
    Natural(Direction),
}

/// The question put to the planner.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// Which documents.
    pub filter: &'a Filter,
    /// In which order.
    pub sort: &'a Sort,
    /// What of them.
    pub output: Output<'a>,
    /// How many at most, those to be skipped included.
    pub limit: Option<u64>,
    /// By which index.
    pub hint: Option<&'a Hint>,
    /// The indexes that there are, that on `_id` left out.
    pub indexes: &'a [IndexInfo<'a>],
    /// How many documents there are.
    pub documents: u64,
    /// What can look how many keys there are; without it shares are guessed.
    pub counts: Option<&'a dyn KeyCounts>,
}

/// Looks at the keys that there are, so that a plan is chosen by what it would read.
pub trait KeyCounts: fmt::Debug {
    /// How many keys of `source` are in `range`, counted up to `most`; none if that cannot be told.
    fn count(&self, source: Source, range: &KeyRange, most: usize) -> Option<usize>;
}

/// Where a branch of a plan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The documents.
    Documents,
    /// The index at this place of the request.
    Index(usize),
}

/// Which way ranges are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanDirection {
    /// From the least key on.
    Forward,
    /// From the greatest key down.
    Backward,
}

/// Ranges whose keys come in order when they are read one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How many bytes all keys of the run have in common; runs are merged by the bytes behind.
    pub prefix_bytes: usize,
    /// The ranges in the order in which they are read, each in the direction of the branch.
    pub ranges: Vec<KeyRange>,
}

/// One source and what to read of it.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Where.
    pub source: Source,
    /// Which way.
    pub direction: ScanDirection,
    /// What. No run: nothing can match. Several: they are merged, always taking on from the run whose next key is first
    /// (last, when reading backward) by the bytes behind its prefix.
    pub runs: Vec<Run>,
    /// What an entry must pass before its document is fetched.
    pub key_filter: Option<KeyFilter>,
    /// Whether the whole filter must be tested on the document.
    pub tests_documents: bool,
    /// Whether the entries answer without the documents ([`covered_document`]).
    pub covered: bool,
    bounds: Vec<IntervalSet>,
    /// What the bounds are about, for an explanation: the path and the direction of each column of the key.
    columns: Vec<(String, Direction)>,
}

/// How the documents of several branches come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// One branch after the other.
    Sequence,
    /// Every branch is in the order of the sort; they are merged by it.
    Merge,
    /// What is in all branches, each of which comes in the order of `_id`. It is tested as the first one says.
    Intersection,
}

/// How to read.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to read; several branches for a `$or` or an intersection.
    pub branches: Vec<Branch>,
    /// How the branches come together.
    pub combination: Combination,
    /// Whether the documents must be sorted afterwards.
    pub sorts: bool,
    /// Whether a document may turn up more than once, so that the `_id`s seen must be kept.
    pub deduplicates: bool,
    cost: f64,
}

impl Hint {
    /// Reads a hint: the name of an index, its key pattern, or `{$natural: 1}`.
    ///
    /// # Errors
    /// `FailedToParse` (9) for another type, `BadValue` (2) for a `$natural` other than 1 and -1.
    pub fn parse(value: RawBsonRef<'_>) -> Result<Self, QueryError> {
        match value {
            RawBsonRef::String(name) => Ok(Self::Name(name.to_owned())),
            RawBsonRef::Document(keys) => match keys.get("$natural") {
                Ok(Some(direction)) => match Number::from_raw(direction).and_then(Number::to_i64_exact) {
                    Some(1) => Ok(Self::Natural(Direction::Ascending)),
                    Some(-1) => Ok(Self::Natural(Direction::Descending)),
                    _ => Err(QueryError::bad_value("$natural hint must be 1 or -1")),
                },
                _ => Ok(Self::Keys(keys.to_owned())),
            },
            _ => Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, "Hint must be a string or an object")),
        }
    }

    /// Whether `definition` is the index that is meant.
    fn names(&self, definition: &IndexDefinition) -> bool {
        match self {
            Self::Name(name) => definition.name() == name,
            Self::Keys(keys) => definition.has_keys(keys),
            Self::Natural(_) => false,
        }
    }
}

impl Plan {
    /// Plans the cheapest way that it knows.
    ///
    /// # Errors
    /// `BadValue` (2) for a hint that no index answers to, 291 for one at a wildcard index that cannot answer the filter.
    pub fn new(request: &PlanRequest<'_>) -> Result<Self, QueryError> {
        choice::best(request)
    }

    /// Whether the documents come from more than one place or in more than one way that an index decided.
    pub fn uses_index(&self) -> bool {
        self.branches.iter().any(|branch| branch.source != Source::Documents)
    }
}
