//! The planner: how to read as little as possible for a filter, a sort and what is wanted of the documents.
//!
//! A plan reads the documents in the order of `_id`, or the entries of an index, in one or several byte ranges. Its one law
//! is that it changes nothing: whatever index it takes, the documents are those that a full scan gives. (Only a hint may
//! force a sparse index that leaves documents out.)
//!
//! The key space of an index, as plans see it: the key of an entry ([`IndexEntry`](crate::IndexEntry)) followed by the
//! ascending key of the document's `_id`. The key space of the documents: the ascending key of `_id`.

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};

use crate::{
    error::{ErrorCode, QueryError},
    filter::{Filter, Node},
    index::{IndexDefinition, MultikeyFields},
    key::Direction,
    number::Number,
    sort::Sort,
};

mod bounds;
mod covered;
mod explain;
mod implication;
mod interval;
mod key_filter;
mod scan;
#[cfg(test)]
mod tests;

pub use covered::covered_document;
pub use interval::KeyRange;
pub use key_filter::KeyFilter;

use interval::IntervalSet;
use scan::{Scan, node_selectivity, scan, set_selectivity};

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
}

/// How to read.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to read, one branch after the other; several for a `$or`.
    pub branches: Vec<Branch>,
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
            Self::Keys(keys) => {
                IndexDefinition::parse(keys, RawDocument::from_bytes(&[5, 0, 0, 0, 0]).unwrap_or(keys))
                    .is_ok_and(|wanted| wanted.fields() == definition.fields())
            }
            Self::Natural(_) => false,
        }
    }
}

impl Plan {
    /// Plans the cheapest way that it knows.
    ///
    /// # Errors
    /// `BadValue` (2) for a hint that no index answers to.
    pub fn new(request: &PlanRequest<'_>) -> Result<Self, QueryError> {
        let conjuncts = conjuncts(request.filter.root());
        let id_index = IndexDefinition::on_id();
        let documents = IndexInfo {
            definition: &id_index,
            multikey: MultikeyFields::default(),
            entries: request.documents,
        };
        let scan_documents = || Self::of_scan(Source::Documents, &documents, &conjuncts, request).0;
        if let Some(direction) = request.sort.natural() {
            return Ok(scan_documents().read_in(direction));
        }
        if let Some(hint) = request.hint {
            if let Hint::Natural(direction) = hint {
                let plan = scan_documents();
                return Ok(if request.sort.is_empty() { plan.read_in(*direction) } else { plan });
            }
            if hint.names(&id_index) {
                return Ok(scan_documents());
            }
            let hinted = (request.indexes.iter().enumerate())
                .find(|(_, index)| !index.definition.is_hidden() && hint.names(index.definition));
            let (place, index) = hinted.ok_or_else(|| {
                QueryError::bad_value(
                    "error processing query: hint provided does not correspond to an existing index",
                )
            })?;
            if !is_readable(index) {
                return Ok(scan_documents());
            }
            return Ok(Self::of_scan(Source::Index(place), index, &conjuncts, request).0);
        }
        let mut best = scan_documents();
        let by_id = best
            .branches
            .first()
            .is_some_and(|branch| matches!(branch.bounds.as_slice(), [id] if id.is_one_point()));
        if by_id {
            return Ok(best); // at most one document, found at once
        }
        for (place, index) in request.indexes.iter().enumerate().filter(|(_, index)| is_readable(index)) {
            let (plan, scan) = Self::of_scan(Source::Index(place), index, &conjuncts, request);
            let serves_sort = scan.is_sorted && !request.sort.is_empty();
            if scan.is_complete
                && (scan.fields_in_ranges > 0 || serves_sort || scan.branch.covered)
                && plan.cost < best.cost
            {
                best = plan;
            }
        }
        if let Some(union) = Self::of_alternatives(&conjuncts, &documents, request)
            && union.cost < best.cost
        {
            best = union;
        }
        Ok(best)
    }

    /// Whether the documents come from more than one place or in more than one way that an index decided.
    pub fn uses_index(&self) -> bool {
        self.branches.iter().any(|branch| branch.source != Source::Documents)
    }

    fn of_scan(
        source: Source,
        index: &IndexInfo<'_>,
        conjuncts: &[&Node],
        request: &PlanRequest<'_>,
    ) -> (Self, Scan) {
        let scan = scan(source, conjuncts, index, request);
        let sorts = !request.sort.is_empty() && !scan.is_sorted;
        let cost = cost(index, conjuncts, &scan, sorts, request);
        (Self { branches: vec![scan.branch.clone()], sorts, deduplicates: scan.may_repeat, cost }, scan)
    }

    /// A plan for a `$or` of which every branch has bounds of its own in some index.
    fn of_alternatives(
        conjuncts: &[&Node],
        documents: &IndexInfo<'_>,
        request: &PlanRequest<'_>,
    ) -> Option<Self> {
        let (place, alternatives) = conjuncts.iter().enumerate().find_map(|(place, node)| match node {
            Node::Or(nodes) if nodes.len() > 1 => Some((place, nodes)),
            _ => None,
        })?;
        let rest =
            || conjuncts.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, node)| *node);
        let sorts = !request.sort.is_empty();
        let unsorted = Sort::default();
        let request = PlanRequest { sort: &unsorted, ..*request };
        let mut plan = Self { branches: Vec::new(), sorts, deduplicates: true, cost: 0.0 };
        for alternative in alternatives {
            let own: Vec<&Node> = self::conjuncts(alternative).into_iter().chain(rest()).collect();
            let readable = request.indexes.iter().enumerate().filter(|(_, index)| is_readable(index));
            let sources = readable.map(|(place, index)| (Source::Index(place), index));
            let scans = sources.chain([(Source::Documents, documents)]).filter_map(|(source, index)| {
                let (plan, scan) = Self::of_scan(source, index, &own, &request);
                (scan.is_complete && scan.fields_in_ranges > 0).then_some(plan)
            });
            let best = scans.min_by(|a, b| a.cost.total_cmp(&b.cost))?;
            plan.cost += best.cost + if sorts { best.cost * SORT_SHARE } else { 0.0 };
            plan.branches.extend(best.branches);
        }
        Some(plan)
    }

    fn read_in(mut self, direction: Direction) -> Self {
        for branch in &mut self.branches {
            let way = match direction {
                Direction::Ascending => ScanDirection::Forward,
                Direction::Descending => ScanDirection::Backward,
            };
            if branch.direction != way {
                branch.direction = way;
                for run in &mut branch.runs {
                    run.ranges.reverse();
                }
            }
        }
        self
    }
}

/// Whether a query may read the index.
fn is_readable(index: &IndexInfo<'_>) -> bool {
    !index.definition.is_hidden() && index.definition.fields().iter().all(|field| field.kind().is_plain())
}

/// What sorting adds to the cost of reading, where what is to be sorted is not known any better.
const SORT_SHARE: f64 = 1.0;

/// The conditions that all must hold.
fn conjuncts(root: &Node) -> Vec<&Node> {
    match root {
        Node::And(nodes) => nodes.iter().flat_map(conjuncts).collect(),
        node => vec![node],
    }
}

/// A guess at the work, in entries read.
fn cost(
    index: &IndexInfo<'_>,
    conjuncts: &[&Node],
    scan: &Scan,
    sorts: bool,
    request: &PlanRequest<'_>,
) -> f64 {
    const READ_DOCUMENT: f64 = 2.0;
    const FETCH_DOCUMENT: f64 = 3.0;
    const SEEK: f64 = 1.0;
    let branch = &scan.branch;
    if branch.runs.is_empty() {
        return 0.0;
    }
    let (in_ranges, in_keys) =
        branch.bounds.split_at_checked(scan.fields_in_ranges).unwrap_or((&branch.bounds, &[]));
    let points = in_keys.is_empty() && in_ranges.iter().all(IntervalSet::is_points);
    let ranges: usize = branch.runs.iter().map(|run| run.ranges.len()).sum();
    let share: f64 = in_ranges.iter().map(set_selectivity).product();
    let keys = if points && (index.definition.is_unique() || branch.source == Source::Documents) {
        ranges as f64
    } else {
        (index.entries as f64 * share).max(1.0)
    };
    let conditions =
        branch.key_filter.as_ref().map_or(0, |filter| filter.len().saturating_sub(in_keys.len()));
    let fetched =
        keys * in_keys.iter().map(set_selectivity).product::<f64>() * 0.5_f64.powi(conditions as i32);
    let matching =
        request.documents as f64 * conjuncts.iter().map(|node| node_selectivity(node)).product::<f64>();
    let results = fetched.min(matching).max(1.0);
    let reading = SEEK * ranges as f64
        + match branch.source {
            Source::Documents => keys * READ_DOCUMENT,
            Source::Index(_) if branch.covered => keys,
            Source::Index(_) => keys + fetched * FETCH_DOCUMENT,
        };
    match request.limit {
        _ if sorts => reading + results * (FETCH_DOCUMENT + 0.1 * results.log2()),
        Some(limit) if (limit as f64) < results => reading * limit as f64 / results,
        _ => reading,
    }
}
