//! One way to read: the bounds of every field of an index, the ranges that they become, and what is left to test.

use super::{
    Branch, IndexInfo, Output, PlanRequest, Run, ScanDirection, Source,
    bounds::{Bounds, Keys, node_bounds, tightest},
    implication::implies,
    interval::{IntervalSet, KeyRange},
    key_filter::KeyFilter,
};
use crate::{
    expression::Relation,
    filter::{Node, Predicate},
    index::{IndexDefinition, IndexField, MultikeyFields},
    key::{Direction, prefix_end},
    path::array_index,
    sort::Sort,
};

/// The most ranges that combinations of values of several fields may come to; what goes beyond is tested on the keys.
const RANGES_MAX: usize = 10_000;
/// The most runs that are merged to serve a sort.
const RUNS_MAX: usize = 256;

/// A branch that reads an index, or the documents in the order of `_id`, for a filter and a sort.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) branch: Branch,
    /// Whether what it reads comes in the order of the sort.
    pub(super) is_sorted: bool,
    /// Whether a document may have several of the entries read.
    pub(super) may_repeat: bool,
    /// Whether no document that matches is left out of the index.
    pub(super) is_complete: bool,
    /// How many leading fields the ranges bound.
    pub(super) fields_in_ranges: usize,
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

/// Plans the reading of `index`, which is what `source` names, for documents that match all of `conjuncts`.
pub(super) fn scan(
    source: Source,
    conjuncts: &[&Node],
    index: &IndexInfo<'_>,
    request: &PlanRequest<'_>,
) -> Scan {
    let IndexInfo { definition, multikey, .. } = *index;
    let (bounds, mut satisfied) = field_bounds(conjuncts, definition, multikey);
    if let Some(partial) = definition.partial_filter() {
        // The index holds no document that does not match its own filter.
        for (satisfied, node) in satisfied.iter_mut().zip(conjuncts) {
            *satisfied |= implies(&[partial.root()], node);
        }
    }
    let holds_all = definition.partial_filter().is_none_or(|partial| implies(conjuncts, partial.root()));
    let is_complete =
        holds_all && (!definition.is_sparse() || requires_a_field(conjuncts, definition, &bounds));
    let (run_fields, mut direction, mut is_sorted) =
        match sort_service(request.sort, definition, &bounds, multikey) {
            _ if request.sort.collation() != definition.collation() => (0, ScanDirection::Forward, false),
            Service::None => (0, ScanDirection::Forward, false),
            Service::Ordered(direction) => (0, direction, true),
            Service::Runs(fields, direction) => (fields, direction, true),
        };
    let (mut runs, mut fields_in_ranges) = make_runs(definition, &bounds, run_fields);
    if runs.len() > RUNS_MAX {
        (is_sorted, direction) = (false, ScanDirection::Forward);
        (runs, fields_in_ranges) = make_runs(definition, &bounds, 0);
    }
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
    let (decidable, mut undecidable): (Vec<&Node>, Vec<&Node>) =
        open.partition(|_| definition.collation().is_none());
    let (mut key_filter, undecided) = KeyFilter::new(definition, multikey, intervals, decidable);
    undecidable.extend(undecided);
    let undecided = undecidable;
    let mut tests_documents = !undecided.is_empty();
    // The keys of a collation do not give their strings back.
    let gives_values = definition.collation().is_none() || matches!(request.output, Output::Count);
    let mut covered =
        !tests_documents && multikey.is_empty() && gives_values && covers(definition, request.output);
    if source == Source::Documents {
        // The document is at hand with its key.
        tests_documents |= key_filter.take().is_some();
        covered = false;
    }
    let pinned = |field: usize| bounds.get(field).is_some_and(IntervalSet::is_one_point);
    let may_repeat = (0..definition.fields().len()).any(|field| multikey.contains(field) && !pinned(field));
    let branch = Branch { source, direction, runs, key_filter, tests_documents, covered, bounds };
    Scan { branch, is_sorted, may_repeat, is_complete, fields_in_ranges }
}

/// The set of each field, and which conjuncts hold for every entry within the sets.
fn field_bounds(
    conjuncts: &[&Node],
    definition: &IndexDefinition,
    multikey: MultikeyFields,
) -> (Vec<IntervalSet>, Vec<bool>) {
    let mut satisfied = vec![false; conjuncts.len()];
    let suits: Vec<bool> = conjuncts.iter().map(|node| node.suits(definition.collation())).collect();
    // Once a field with many keys is bounded, another one may be only by conditions on the same element: otherwise the two
    // may be met by different elements, of which there is no common entry.
    let mut bounded: Option<Option<*const Node>> = None;
    let sets = definition.fields().iter().enumerate().map(|(place, field)| {
        let path: Vec<&str> = field.parts().iter().map(String::as_str).collect();
        let many = multikey.contains(place);
        let keys = if many { Keys::Many } else { Keys::Single };
        if many && has_place(field) {
            return IntervalSet::full(); // a place and a name at once: the entries tell too little
        }
        let found = conjuncts
            .iter()
            .enumerate()
            .filter(|(number, _)| suits.get(*number).is_some_and(|suits| *suits))
            .filter_map(|(number, node)| Some((number, node_bounds(node, &path, keys)?)));
        if !many {
            return found.fold(IntervalSet::full(), |sum, (number, bounds)| {
                mark(&mut satisfied, number, &bounds);
                sum.intersection(&bounds.set)
            });
        }
        let element = |bounds: &Bounds<'_>| bounds.element.map(std::ptr::from_ref);
        let allowed = found.filter(|(_, bounds)| match bounded {
            None => true,
            Some(group) => group.is_some() && element(bounds) == group,
        });
        let allowed: Vec<_> = allowed.filter(|(_, bounds)| !bounds.set.is_full()).collect();
        let Some(best) = tightest(allowed.iter().map(|(_, bounds)| bounds.clone())) else {
            return IntervalSet::full();
        };
        bounded = Some(element(&best));
        if let Some((number, bounds)) =
            allowed.iter().find(|(_, bounds)| bounds.set == best.set && bounds.exact)
        {
            mark(&mut satisfied, *number, bounds);
        }
        best.set
    });
    let sets = sets.collect();
    (sets, satisfied)
}

fn mark(satisfied: &mut [bool], number: usize, bounds: &Bounds<'_>) {
    if let Some(satisfied) = satisfied.get_mut(number) {
        *satisfied |= bounds.exact;
    }
}

/// Whether a part of the path may name a place in an array.
fn has_place(field: &IndexField) -> bool {
    field.parts().iter().any(|part| array_index(part).is_some())
}

/// Whether a matching document has a value at one of the paths, so that a sparse index holds it.
fn requires_a_field(conjuncts: &[&Node], definition: &IndexDefinition, bounds: &[IntervalSet]) -> bool {
    let null = [crate::key::Bracket::Null as u8];
    bounds.iter().any(|set| !set.contains(&null))
        || conjuncts.iter().any(|node| {
            let Node::Field { path, predicate } = node else { return false };
            let is_field = definition.fields().iter().any(|field| path.is(field.path()));
            is_field && !predicate.holds(None, &mut None)
        })
}

fn sort_service(
    sort: &Sort,
    definition: &IndexDefinition,
    bounds: &[IntervalSet],
    multikey: MultikeyFields,
) -> Service {
    let fields = || definition.fields().iter().zip(bounds).enumerate();
    let constant = |path: &str| {
        fields().any(|(place, (field, set))| {
            field.path() == path && set.is_one_point() && !multikey.contains(place)
        })
    };
    // Bounds leave out some keys of a document with several; the first that is left need not be the one to sort by.
    let some_keys_only = fields().any(|(place, (_, set))| multikey.contains(place) && !set.is_full());
    let (mut direction, mut run_fields) = (None, 0);
    let mut rest = fields();
    'keys: for (path, wanted) in sort.keys() {
        let path = path.to_string();
        if constant(&path) {
            continue;
        }
        for (place, (field, set)) in rest.by_ref() {
            if field.path() == path {
                let usable = !multikey.contains(place) || !some_keys_only && !has_place(field);
                if !usable || !agree(&mut direction, *wanted, field.direction()) {
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
fn make_runs(definition: &IndexDefinition, bounds: &[IntervalSet], run_fields: usize) -> (Vec<Run>, usize) {
    let fields: Vec<(Direction, &IntervalSet)> =
        definition.fields().iter().map(IndexField::direction).zip(bounds).collect();
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

/// Whether the entries hold all that is asked for.
fn covers(definition: &IndexDefinition, output: Output<'_>) -> bool {
    match output {
        Output::Documents => false,
        Output::Count => true,
        Output::Fields(paths) => paths.iter().all(|path| {
            *path == "_id"
                || !path.contains('.') && definition.fields().iter().any(|field| field.path() == *path)
        }),
    }
}

/// A guess at the share of documents that match `node`.
pub(super) fn node_selectivity(node: &Node) -> f64 {
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
            _ => OTHER,
        },
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
pub(super) fn set_selectivity(set: &IntervalSet) -> f64 {
    let share = |interval: &super::interval::Interval| match interval.open_ends() {
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
