//! What reading by a plan costs: from keys that were counted, and shares that are guessed.

use super::{
    IndexInfo, KeyCounts, PlanRequest, Source,
    interval::{Interval, IntervalSet},
    scan::Scan,
};
use crate::{
    expression::Relation,
    filter::{Node, Predicate},
};

/// How many keys are counted of one way to read at most.
pub(super) const COUNTED_MAX: usize = 100;

/// The costs of an entry that is read, a document read along with its key, one that is looked up, and a range that is begun.
const READ_DOCUMENT: f64 = 2.0;
const FETCH_DOCUMENT: f64 = 3.0;
const SEEK: f64 = 1.0;

/// How many keys a scan reads, as far as it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Not,
    Exactly(usize),
    /// There are at least so many, and more were not counted.
    AtLeast(usize),
}

/// Counts the keys of a scan.
pub(super) fn count(scan: &Scan, counts: &dyn KeyCounts) -> Counted {
    let mut total = 0;
    for (number, range) in scan.branch.runs.iter().flat_map(|run| &run.ranges).enumerate() {
        let left = COUNTED_MAX.saturating_sub(total);
        if left == 0 || number >= COUNTED_MAX {
            return Counted::AtLeast(total);
        }
        match counts.count(scan.branch.source, range, left) {
            Some(found) => total += found,
            None => return Counted::Not,
        }
    }
    if total >= COUNTED_MAX { Counted::AtLeast(total) } else { Counted::Exactly(total) }
}

/// How many keys a scan reads.
pub(super) fn keys(index: &IndexInfo<'_>, scan: &Scan, counted: Counted) -> f64 {
    let (in_ranges, in_keys) = split(scan);
    let ranges: usize = scan.branch.runs.iter().map(|run| run.ranges.len()).sum();
    let points = in_keys.is_empty() && in_ranges.iter().all(IntervalSet::is_points);
    let is_unique = index.definition.is_unique() || scan.branch.source == Source::Documents;
    let share = in_ranges.iter().map(set_selectivity).product::<f64>();
    let share = if scan.is_special { share.min(SPECIAL) } else { share };
    let guess = if points && is_unique { ranges as f64 } else { (index.entries as f64 * share).max(1.0) };
    match counted {
        Counted::Not => guess,
        Counted::Exactly(keys) => keys as f64,
        Counted::AtLeast(keys) => guess.max(keys as f64),
    }
}

/// The cost of a scan, with what is sorted afterwards, as far as it is read.
pub(super) fn cost(
    index: &IndexInfo<'_>,
    conjuncts: &[&Node],
    scan: &Scan,
    counted: Counted,
    request: &PlanRequest<'_>,
) -> f64 {
    let branch = &scan.branch;
    if branch.runs.is_empty() {
        return 0.0;
    }
    let (_, in_keys) = split(scan);
    let ranges: usize = branch.runs.iter().map(|run| run.ranges.len()).sum();
    let keys = keys(index, scan, counted);
    let conditions =
        branch.key_filter.as_ref().map_or(0, |filter| filter.len().saturating_sub(in_keys.len()));
    let conditions = i32::try_from(conditions).unwrap_or(i32::MAX);
    let fetched = keys * in_keys.iter().map(set_selectivity).product::<f64>() * 0.5_f64.powi(conditions);
    let matching =
        request.documents as f64 * conjuncts.iter().map(|node| node_selectivity(node)).product::<f64>();
    let results = fetched.min(matching).max(1.0);
    let reading = SEEK * ranges as f64
        + match branch.source {
            Source::Documents => keys * READ_DOCUMENT,
            Source::Index(_) if branch.covered => keys,
            Source::Index(_) => keys + fetched * FETCH_DOCUMENT,
        };
    let sorts = !request.sort.is_empty() && !scan.is_sorted;
    match request.limit {
        _ if sorts => reading + sorting(results),
        Some(limit) if (limit as f64) < results => reading * limit as f64 / results,
        _ => reading,
    }
}

/// The cost of sorting so many documents.
pub(super) fn sorting(documents: f64) -> f64 {
    documents * (FETCH_DOCUMENT + 0.1 * documents.max(1.0).log2())
}

/// The cost of reading two indexes of so many keys for what is in both, where there are so many documents.
pub(super) fn intersection(first: f64, second: f64, documents: f64) -> f64 {
    2.0 * SEEK + first + second + FETCH_DOCUMENT * first * second / documents.max(1.0)
}

/// The sets that the ranges bound, and the others.
fn split(scan: &Scan) -> (&[IntervalSet], &[IntervalSet]) {
    let bounds = &scan.branch.bounds;
    bounds.split_at_checked(scan.fields_in_ranges).unwrap_or((bounds, &[]))
}

/// A guess at the share of documents that match `node`.
fn node_selectivity(node: &Node) -> f64 {
    match node {
        Node::And(nodes) => nodes.iter().map(node_selectivity).product(),
        Node::Or(nodes) => nodes.iter().map(node_selectivity).sum::<f64>().min(1.0),
        Node::Always(answer) => f64::from(u8::from(*answer)),
        Node::Field { predicate, .. } => match predicate {
            Predicate::Eq(_) => POINT,
            Predicate::In(members) => (POINT * members.values().len() as f64).min(1.0),
            Predicate::Gt(_) | Predicate::Gte(_) | Predicate::Lt(_) | Predicate::Lte(_) => HALF_OPEN,
            Predicate::Collated(collated) => match collated.relation() {
                Relation::Equal | Relation::In => (POINT * collated.operands().len() as f64).min(1.0),
                _ => HALF_OPEN,
            },
            Predicate::ElemMatchValue(node) | Predicate::ElemMatchObject(node) => node_selectivity(node),
            Predicate::Geo(_) => SPECIAL,
            _ => OTHER,
        },
        Node::Near(_) | Node::Text(_) => SPECIAL,
        Node::Schema(_) => OTHER,
        Node::Expression(test) => match test.comparison().map(|comparison| comparison.relation) {
            Some(Relation::Equal) => POINT,
            Some(Relation::In) | None => OTHER,
            Some(_) => HALF_OPEN,
        },
        Node::Sample { rate, .. } => *rate,
        Node::Nor(_) | Node::Not(_) => 1.0,
    }
}

/// A guess at the share of entries whose field is in `set`.
fn set_selectivity(set: &IntervalSet) -> f64 {
    let share = |interval: &Interval| match interval.open_ends() {
        _ if interval.is_point() => POINT,
        0 => CLOSED,
        1 => HALF_OPEN,
        _ => OTHER,
    };
    if set.is_full() { 1.0 } else { set.intervals().iter().map(share).sum::<f64>().min(1.0) }
}

const POINT: f64 = 0.01;
const CLOSED: f64 = 0.1;
const HALF_OPEN: f64 = 0.2;
const OTHER: f64 = 0.5;
/// What locations and texts are asked for.
const SPECIAL: f64 = 0.02;
