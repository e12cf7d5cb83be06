//! One way to read: the bounds of every field of an index, the ranges that they become, and what is left to test.

use super::{
    Branch, IndexInfo, Output, PlanRequest, Run, ScanDirection, Source,
    columns::{Column, ColumnBounds, Columns, Holds},
    interval::{IntervalSet, KeyRange},
    key_filter::KeyFilter,
};
use crate::{
    filter::Node,
    key::{Direction, prefix_end},
    sort::Sort,
};

/// The most ranges that combinations of values of several fields may come to; what goes beyond is tested on the keys.
const RANGES_MAX: usize = 10_000;
/// The most runs that are merged to serve a sort.
const RUNS_MAX: usize = 256;

/// A branch that reads an index, or the documents in the order of `_id`, for a filter and a sort.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub(super) struct Scan {
    pub(super) branch: Branch,
    /// Whether what it reads comes in the order of the sort, or there is none.
    pub(super) is_sorted: bool,
    /// Whether a document may have several of the entries read.
    pub(super) may_repeat: bool,
    /// Whether no document that matches is left out of the index.
    pub(super) is_complete: bool,
    /// How many leading fields the ranges bound.
    pub(super) fields_in_ranges: usize,
    /// Which conjuncts hold for whatever is read.
    pub(super) satisfied: Vec<bool>,
    /// Whether it is bounded by locations or texts.
    pub(super) is_special: bool,
}

/// What a sort gets from an index.
enum Service {
    /// Nothing.
    None,
    /// The entries come in the order of the sort, read this way.
    Ordered(ScanDirection),
    /// They do for each combination of values of so many leading fields.
    Runs(usize, ScanDirection),
}

/// Plans the reading of `index`, which is what `source` names, by these columns for documents that match all of
/// `conjuncts`.
pub(super) fn scan(
    source: Source,
    columns: &Columns,
    conjuncts: &[&Node],
    index: &IndexInfo<'_>,
    request: &PlanRequest<'_>,
) -> Scan {
    let ColumnBounds { sets: bounds, satisfied, is_complete } = columns.bounds(index, conjuncts);
    let columns = columns.columns.as_slice();
    let collation = index.definition.collation();
    let service = if request.sort.is_empty() || request.sort.collation() == collation {
        sort_service(request.sort, columns, &bounds)
    } else {
        Service::None
    };
    let (run_fields, mut direction, mut is_sorted) = match service {
        Service::None => (0, ScanDirection::Forward, false),
        Service::Ordered(direction) => (0, direction, true),
        Service::Runs(fields, direction) => (fields, direction, true),
    };
    let run_count = bounds
        .iter()
        .take(run_fields)
        .try_fold(1_usize, |count, set| count.checked_mul(set.intervals().len()));
    let run_fields = if run_count.is_some_and(|count| count <= RUNS_MAX) {
        run_fields
    } else {
        (is_sorted, direction) = (false, ScanDirection::Forward);
        0
    };
    let (mut runs, fields_in_ranges) = make_runs(columns, &bounds, run_fields);
    if bounds.iter().any(IntervalSet::is_empty) {
        runs.clear();
    }
    if direction == ScanDirection::Backward {
        for run in &mut runs {
            run.ranges.reverse();
        }
    }
    let intervals = bounds.iter().enumerate().skip(fields_in_ranges).filter(|(_, set)| !set.is_full());
    let intervals = intervals.map(|(field, set)| (field, set.clone())).collect();
    let open = conjuncts.iter().zip(&satisfied).filter(|(_, satisfied)| !**satisfied).map(|(node, _)| *node);
    // The keys of a collation do not give their strings back.
    let (decidable, mut undecided): (Vec<&Node>, Vec<&Node>) = open.partition(|_| collation.is_none());
    let (mut key_filter, others) = KeyFilter::new(columns, intervals, decidable);
    undecided.extend(others);
    let mut tests_documents = !undecided.is_empty();
    let mut covered =
        !tests_documents && covers(index, request.output) && (is_sorted || shows_sort_keys(request));
    if source == Source::Documents {
        // The document is at hand with its key.
        tests_documents |= key_filter.take().is_some();
        covered = false;
    }
    let may_repeat = columns
        .iter()
        .zip(&bounds)
        .any(|(column, set)| (column.is_many || column.holds == Holds::Paths) && !set.is_one_point());
    let mut special = columns.iter().zip(&bounds).filter(|(column, _)| column.holds == Holds::Special);
    let is_special = special.any(|(_, set)| !set.is_full());
    let columns = columns.iter().map(|column| (column.shown(), column.direction)).collect();
    let branch = Branch { source, direction, runs, key_filter, tests_documents, covered, bounds, columns };
    Scan { branch, is_sorted, may_repeat, is_complete, fields_in_ranges, satisfied, is_special }
}

fn sort_service(sort: &Sort, columns: &[Column], bounds: &[IntervalSet]) -> Service {
    let fields = || columns.iter().zip(bounds).enumerate();
    let is_values_of = |column: &Column, path: &str| column.holds == Holds::Values && column.path == path;
    let constant = |path: &str| {
        fields().any(|(_, (column, set))| is_values_of(column, path) && set.is_one_point() && !column.is_many)
    };
    // Bounds leave out some keys of a document with several; the first that is left need not be the one to sort by.
    let some_keys_only = fields().any(|(_, (column, set))| column.is_many && !set.is_full());
    let (mut direction, mut run_fields) = (None, 0);
    let mut rest = fields();
    'keys: for (path, wanted) in sort.keys() {
        let path = path.to_string();
        if constant(&path) {
            continue;
        }
        for (place, (column, set)) in rest.by_ref() {
            if is_values_of(column, &path) {
                let usable = !column.is_many || !some_keys_only && !column.has_place();
                if !usable || !agree(&mut direction, *wanted, column.direction) {
                    return Service::None;
                }
                continue 'keys;
            }
            if !set.is_one_point() {
                if direction.is_some() || set.is_empty() || !set.is_points() {
                    return Service::None;
                }
                run_fields = place + 1;
            }
        }
        // Entries of equal keys are in the order of `_id`.
        if path == "_id" && agree(&mut direction, *wanted, Direction::Ascending) {
            break;
        }
        return Service::None;
    }
    let direction = direction.unwrap_or(ScanDirection::Forward);
    if run_fields == 0 { Service::Ordered(direction) } else { Service::Runs(run_fields, direction) }
}

/// Whether the field can be read in the direction that the fields before it want; the first sets it.
fn agree(direction: &mut Option<ScanDirection>, wanted: Direction, own: Direction) -> bool {
    let way = if wanted == own { ScanDirection::Forward } else { ScanDirection::Backward };
    *direction.get_or_insert(way) == way
}

/// The ranges of the index, in its order: one run, or with `run_fields` one for each combination of values of so many
/// leading fields. Also how many fields the ranges bound.
fn make_runs(columns: &[Column], bounds: &[IntervalSet], run_fields: usize) -> (Vec<Run>, usize) {
    let fields: Vec<(Direction, &IntervalSet)> =
        columns.iter().map(|column| column.direction).zip(bounds).collect();
    let (leading, rest) = fields.split_at_checked(run_fields).unwrap_or((&[], &fields));
    let mut bases = vec![Vec::new()];
    for (direction, set) in leading {
        bases = product(&bases, *direction, set);
    }
    let mut fields_in_ranges = 0;
    let runs = bases.into_iter().map(|base| {
        let prefix_bytes = base.len();
        let (ranges, bounded) = make_ranges(base, rest);
        fields_in_ranges = run_fields + bounded;
        Run { prefix_bytes, ranges }
    });
    let runs = runs.collect();
    (runs, fields_in_ranges)
}

/// The ranges behind `base`, and how many of the fields they bound.
fn make_ranges(base: Vec<u8>, fields: &[(Direction, &IntervalSet)]) -> (Vec<KeyRange>, usize) {
    let mut bases = vec![base];
    let mut bounded = 0;
    for (direction, set) in fields {
        let count = bases.len().saturating_mul(set.intervals().len());
        if bounded > 0 && count > RANGES_MAX {
            break;
        }
        if !set.is_points() {
            if set.is_full() {
                break;
            }
            let ranges = bases.iter().flat_map(|base| {
                in_order(set, *direction).into_iter().filter_map(|interval| interval.range(base, *direction))
            });
            return (ranges.collect(), bounded + 1);
        }
        bases = product(&bases, *direction, set);
        bounded += 1;
    }
    let ranges = bases.into_iter().map(|base| KeyRange { end: prefix_end(&base), start: base });
    (ranges.collect(), bounded)
}

/// Every base followed by every point of `set`, in the order of the index.
fn product(bases: &[Vec<u8>], direction: Direction, set: &IntervalSet) -> Vec<Vec<u8>> {
    let points: Vec<Vec<u8>> =
        in_order(set, direction).into_iter().map(|interval| interval.point_key(direction)).collect();
    bases.iter().flat_map(|base| points.iter().map(|point| [base.as_slice(), point].concat())).collect()
}

fn in_order(set: &IntervalSet, direction: Direction) -> Vec<&super::interval::Interval> {
    match direction {
        Direction::Ascending => set.intervals().iter().collect(),
        Direction::Descending => set.intervals().iter().rev().collect(),
    }
}

/// Whether what is asked for has all that it is sorted by, or nothing is.
pub(super) fn shows_sort_keys(request: &PlanRequest<'_>) -> bool {
    match request.output {
        Output::Fields(fields) => {
            request.sort.keys().iter().all(|(path, _)| fields.iter().any(|field| path.is(field)))
        }
        Output::Documents | Output::Count => true,
    }
}

/// Whether the entries hold all that is asked for.
fn covers(index: &IndexInfo<'_>, output: Output<'_>) -> bool {
    let fields = index.definition.fields();
    match output {
        Output::Documents => false,
        Output::Count => true,
        Output::Fields(paths) => {
            index.multikey.is_empty()
                && index.definition.collation().is_none()
                && fields.iter().all(|field| field.kind().is_plain())
                && paths.iter().all(|path| {
                    *path == "_id" || !path.contains('.') && fields.iter().any(|field| field.path() == *path)
                })
        }
    }
}
