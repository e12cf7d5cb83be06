//! Choosing among the ways to read: the documents, one index, an index for each alternative of a `$or`, two indexes for
//! what is in both.

use super::{
    Combination, Hint, IndexInfo, Output, Plan, PlanRequest, ScanDirection, Source,
    columns::Columns,
    cost::{self, COUNTED_MAX, Counted, cost},
    interval::IntervalSet,
    scan::{Scan, scan, shows_sort_keys},
};
use crate::{
    error::{ErrorCode, QueryError},
    filter::{Nearness, Node},
    index::{FieldKind, IndexDefinition, MultikeyFields},
    key::Direction,
    sort::Sort,
};

/// From how many documents on it pays to count keys before one of several indexes is taken.
const COUNTING_PAYS: u64 = 200;
/// Which share of the documents is much to read by an index without having counted them.
const MUCH: f64 = 0.1;
/// The most alternatives of a `$or`, times the indexes there are, that are looked through for an index for each.
const ALTERNATIVES_MAX: usize = 4096;

/// The cheapest plan.
///
/// # Errors
/// `BadValue` (2) for a hint that no index answers to, 291 for one at a wildcard index that cannot answer the filter.
pub(super) fn best(request: &PlanRequest<'_>) -> Result<Plan, QueryError> {
    let mut plans = Choice::new(request).plans()?.into_iter();
    let first = plans.next().ok_or_else(no_plan)?;
    Ok(plans.fold(first, |best, plan| if plan.cost < best.cost { plan } else { best }))
}

/// All plans, the cheapest first.
///
/// # Errors
/// As [`best`].
pub(super) fn all(request: &PlanRequest<'_>) -> Result<Vec<Plan>, QueryError> {
    let mut plans = Choice::new(request).plans()?;
    plans.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    Ok(plans)
}

/// A question, and what stays the same while plans for it are made.
struct Choice<'a> {
    request: &'a PlanRequest<'a>,
    conjuncts: Vec<&'a Node>,
    id_index: IndexDefinition,
}

/// An index read in one way.
struct Way<'a> {
    source: Source,
    index: IndexInfo<'a>,
    scan: Scan,
    counted: Counted,
    cost: f64,
}

impl<'a> Choice<'a> {
    fn new(request: &'a PlanRequest<'a>) -> Self {
        Self { request, conjuncts: conjuncts(request.filter.root()), id_index: IndexDefinition::on_id() }
    }

    /// The plans to choose from: one, where nothing can be better or the caller insists on it.
    fn plans(&self) -> Result<Vec<Plan>, QueryError> {
        let nearness = self.conjuncts.iter().find_map(|node| match node {
            Node::Near(nearness) => Some(nearness.as_ref()),
            _ => None,
        });
        if let Some(nearness) = nearness {
            return self.by_nearness(nearness).map(|plan| vec![plan]);
        }
        let documents = || self.documents(&self.conjuncts, self.request);
        if let Some(direction) = self.request.sort.natural() {
            return Ok(vec![read_in(documents().plan(), direction)]);
        }
        if let Some(hint) = self.request.hint {
            return self.hinted(hint).map(|plan| vec![plan]);
        }
        let documents = documents();
        if let [id] = documents.scan.branch.bounds.as_slice()
            && id.is_one_point()
        {
            return Ok(vec![documents.plan()]); // at most one document, found at once
        }
        // Unique indexes first: one of them may find the one document at once as well.
        let mut readable: Vec<(usize, &IndexInfo<'a>)> =
            self.request.indexes.iter().enumerate().filter(|(_, index)| self.is_of_use(index)).collect();
        readable.sort_by_key(|(_, index)| !index.definition.is_unique());
        let mut found = Vec::new();
        for (place, index) in readable.iter().copied() {
            for way in ways(Source::Index(place), index, &self.conjuncts, self.request) {
                let serves_sort = way.scan.is_sorted && !self.request.sort.is_empty();
                if !way.scan.is_complete
                    || way.scan.fields_in_ranges == 0 && !serves_sort && !way.scan.branch.covered
                {
                    continue;
                }
                if index.definition.is_unique() && way.is_one_key() {
                    let mut plan = way.plan();
                    plan.sorts = false; // one document is in any order
                    return Ok(vec![plan]);
                }
                found.push(way);
            }
        }
        count_keys(&mut found, &self.conjuncts, self.request);
        let mut plans: Vec<Plan> = found.iter().map(Way::plan).collect();
        plans.extend(self.intersection(&found));
        plans.extend(self.alternatives(&readable));
        plans.push(documents.plan());
        Ok(plans)
    }

    /// The plan for a hint.
    fn hinted(&self, hint: &Hint) -> Result<Plan, QueryError> {
        let documents = || self.documents(&self.conjuncts, self.request).plan();
        if let Hint::Natural(direction) = hint {
            let plan = documents();
            return Ok(if self.request.sort.is_empty() { read_in(plan, *direction) } else { plan });
        }
        if hint.names(&self.id_index) {
            return Ok(documents());
        }
        let hinted = (self.request.indexes.iter().enumerate())
            .find(|(_, index)| !index.definition.is_hidden() && hint.names(index.definition));
        let (place, index) = hinted.ok_or_else(|| {
            QueryError::bad_value(
                "error processing query: hint provided does not correspond to an existing index",
            )
        })?;
        let searches = |node: &&Node| matches!(node, Node::Text(_));
        if index.definition.text().is_some() && !self.conjuncts.iter().any(searches) {
            return Err(QueryError::bad_value("bad hint: a text index answers $text alone"));
        }
        let is_wildcard = index.definition.fields().iter().any(|field| field.kind() == FieldKind::Wildcard);
        let found = ways(Source::Index(place), index, &self.conjuncts, self.request);
        // A hint may lose documents that an index does not hold; of a wildcard index there would be no sense in what is left.
        let usable = found.iter().filter(|way| way.scan.is_complete || !is_wildcard);
        if let Some(way) = usable.min_by(|a, b| a.cost.total_cmp(&b.cost)) {
            return Ok(way.plan());
        }
        if is_wildcard {
            let unions = self.alternatives(&[(place, index)]);
            return unions.into_iter().min_by(|a, b| a.cost.total_cmp(&b.cost)).ok_or_else(no_plan);
        }
        Ok(documents())
    }

    /// The plan for what is near: by an index of the locations, and no other way.
    fn by_nearness(&self, nearness: &Nearness) -> Result<Plan, QueryError> {
        let kind = if nearness.test.is_spherical() { FieldKind::Sphere } else { FieldKind::Flat };
        let serves = |definition: &IndexDefinition| {
            !definition.is_hidden()
                && definition
                    .fields()
                    .iter()
                    .any(|field| field.kind() == kind && nearness.path.is(field.path()))
                && self.request.hint.is_none_or(|hint| hint.names(definition))
        };
        let indexes = self.request.indexes.iter().enumerate().filter(|(_, index)| serves(index.definition));
        let found = indexes
            .flat_map(|(place, index)| ways(Source::Index(place), index, &self.conjuncts, self.request))
            .filter(|way| way.scan.is_complete);
        found.min_by(|a, b| a.cost.total_cmp(&b.cost)).map(|way| way.plan()).ok_or_else(|| {
            QueryError::new(
                ErrorCode::NO_QUERY_EXECUTION_PLANS,
                format!(
                    "error processing query: planner returned error :: caused by :: unable to find index for \
                     $geoNear query: no {} index on '{}'",
                    if kind == FieldKind::Sphere { "2dsphere" } else { "2d" },
                    nearness.path
                ),
            )
        })
    }

    /// Whether an index may be of use at all: a query names the first of its fields, or wants nothing else.
    fn is_of_use(&self, index: &IndexInfo<'_>) -> bool {
        if index.definition.is_hidden() {
            return false;
        }
        let Some(first) = index.definition.fields().first() else { return false };
        let Some(part) = first.parts().first().filter(|_| first.kind() != FieldKind::Wildcard) else {
            return true;
        };
        !matches!(self.request.output, Output::Documents)
            || self.conjuncts.iter().any(|node| names(node, part))
            || self
                .request
                .sort
                .keys()
                .iter()
                .any(|(path, _)| path.parts().first().is_some_and(|own| own.name() == part))
    }

    fn documents(&self, conjuncts: &[&Node], request: &PlanRequest<'_>) -> Way<'_> {
        let index = IndexInfo {
            definition: &self.id_index,
            multikey: MultikeyFields::default(),
            entries: request.documents,
        };
        let columns = Columns::on_id();
        let scan = scan(Source::Documents, &columns, conjuncts, &index, request);
        let cost = cost(&index, conjuncts, &scan, Counted::Not, request);
        Way { source: Source::Documents, index, scan, counted: Counted::Not, cost }
    }

    /// Two indexes, each read at one value of all its fields, whose entries then are in the order of `_id`.
    fn intersection(&self, ways: &[Way<'_>]) -> Option<Plan> {
        let keys = |way: &Way<'_>| cost::keys(&way.index, &way.scan, way.counted);
        let pays = |way: &&Way<'_>| {
            way.is_one_key()
                && way.scan.branch.key_filter.is_none()
                && !matches!(way.counted, Counted::Exactly(few) if few < COUNTED_MAX)
        };
        let mut points: Vec<&Way<'_>> = ways.iter().filter(pays).collect();
        points.sort_by(|a, b| keys(a).total_cmp(&keys(b)));
        let first = *points.first()?;
        let other = |way: &&&Way<'_>| {
            way.source != first.source
                && way.scan.satisfied.iter().zip(&first.scan.satisfied).any(|(own, known)| *own && !*known)
        };
        let second = *points.iter().skip(1).find(other)?;
        let mut branches = vec![first.scan.branch.clone(), second.scan.branch.clone()];
        let mut satisfied = first.scan.satisfied.iter().zip(&second.scan.satisfied);
        let is_open = satisfied.any(|(a, b)| !(*a || *b));
        for branch in &mut branches {
            branch.direction = ScanDirection::Forward;
            branch.covered = false;
            branch.tests_documents = is_open;
        }
        let cost = cost::intersection(keys(first), keys(second), self.request.documents as f64);
        let sorts = !self.request.sort.is_empty();
        let common = keys(first) * keys(second) / (self.request.documents as f64).max(1.0);
        let sorting = if sorts { cost::sorting(common) } else { 0.0 };
        Some(Plan {
            branches,
            combination: Combination::Intersection,
            sorts,
            deduplicates: false,
            cost: cost + sorting,
        })
    }

    /// Plans for a `$or` of which every branch has bounds of its own in some index: one after the other, and merged where
    /// each of them comes in the order of the sort.
    fn alternatives(&self, readable: &[(usize, &IndexInfo<'a>)]) -> Vec<Plan> {
        let found = self.conjuncts.iter().enumerate().find_map(|(place, node)| match node {
            Node::Or(nodes) if nodes.len() > 1 && nodes.len() * readable.len() <= ALTERNATIVES_MAX => {
                Some((place, nodes))
            }
            _ => None,
        });
        let Some((place, alternatives)) = found else { return Vec::new() };
        let sorts = !self.request.sort.is_empty();
        let unsorted = PlanRequest { sort: &Sort::default(), limit: None, ..*self.request };
        let mut sequence = Some(Plan::union(Combination::Sequence, sorts));
        let mut merged = sorts.then(|| Plan::union(Combination::Merge, false));
        for alternative in alternatives {
            let rest = self.conjuncts.iter().enumerate().filter(|(other, _)| *other != place);
            let own: Vec<&Node> =
                conjuncts(alternative).into_iter().chain(rest.map(|(_, node)| *node)).collect();
            add_best(&mut sequence, self.best_way(readable, &own, &unsorted, |_| true));
            if merged.is_some() {
                let way = self.best_way(readable, &own, self.request, |scan| {
                    scan.is_sorted && (shows_sort_keys(self.request) || !scan.branch.covered)
                });
                add_best(&mut merged, way);
            }
        }
        if let Some(sequence) = &mut sequence
            && sorts
        {
            sequence.cost += cost::sorting(sequence.cost / 4.0);
        }
        sequence.into_iter().chain(merged).collect()
    }

    /// The cheapest way to read for one alternative, by an index that bounds it.
    fn best_way(
        &self,
        readable: &[(usize, &IndexInfo<'a>)],
        conjuncts: &[&Node],
        request: &PlanRequest<'_>,
        takes: impl Fn(&Scan) -> bool,
    ) -> Option<Plan> {
        let mut found: Vec<Way<'_>> = (readable.iter())
            .flat_map(|(place, index)| ways(Source::Index(*place), index, conjuncts, request))
            .chain([self.documents(conjuncts, request)])
            .filter(|way| way.scan.is_complete && way.scan.fields_in_ranges > 0 && takes(&way.scan))
            .collect();
        count_keys(&mut found, conjuncts, request);
        found.iter().min_by(|a, b| a.cost.total_cmp(&b.cost)).map(Way::plan)
    }
}

/// The ways to read one index.
fn ways<'i>(
    source: Source,
    index: &IndexInfo<'i>,
    conjuncts: &[&Node],
    request: &PlanRequest<'_>,
) -> Vec<Way<'i>> {
    let ways = Columns::of(index, conjuncts).into_iter().map(|columns| {
        let scan = scan(source, &columns, conjuncts, index, request);
        let cost = cost(index, conjuncts, &scan, Counted::Not, request);
        Way { source, index: *index, scan, counted: Counted::Not, cost }
    });
    ways.collect()
}

/// Counts the keys of several ways, or of one that may read much, if there are enough documents for that to pay.
fn count_keys(ways: &mut [Way<'_>], conjuncts: &[&Node], request: &PlanRequest<'_>) {
    let Some(counts) = request.counts.filter(|_| request.documents >= COUNTING_PAYS) else { return };
    let mut bounded = ways.iter().filter(|way| way.scan.fields_in_ranges > 0);
    let reads_much =
        |way: &Way<'_>| cost::keys(&way.index, &way.scan, Counted::Not) > request.documents as f64 * MUCH;
    if !bounded.next().is_some_and(reads_much) && bounded.next().is_none() {
        return;
    }
    for way in ways.iter_mut().filter(|way| way.scan.fields_in_ranges > 0) {
        way.counted = cost::count(&way.scan, counts);
        way.cost = cost(&way.index, conjuncts, &way.scan, way.counted, request);
    }
}

impl Way<'_> {
    fn plan(&self) -> Plan {
        Plan {
            branches: vec![self.scan.branch.clone()],
            combination: Combination::Sequence,
            sorts: !self.scan.is_sorted,
            deduplicates: self.scan.may_repeat,
            cost: self.cost,
        }
    }

    /// Whether it reads the entries of one key of the index.
    fn is_one_key(&self) -> bool {
        let branch = &self.scan.branch;
        branch.bounds.iter().all(IntervalSet::is_one_point)
            && self.scan.fields_in_ranges == branch.bounds.len()
            && branch.runs.len() == 1
            && branch.runs.iter().all(|run| run.ranges.len() == 1)
    }
}

impl Plan {
    /// A plan of no branch yet, whose documents may turn up in several.
    fn union(combination: Combination, sorts: bool) -> Self {
        Self { branches: Vec::new(), combination, sorts, deduplicates: true, cost: 0.0 }
    }
}

/// Adds the way of an alternative; without one there is no union.
fn add_best(union: &mut Option<Plan>, way: Option<Plan>) {
    match (union.as_mut(), way) {
        (Some(plan), Some(way)) => {
            plan.cost += way.cost;
            plan.branches.extend(way.branches);
        }
        _ => *union = None,
    }
}

/// Reads a plan's documents in this direction.
fn read_in(mut plan: Plan, direction: Direction) -> Plan {
    for branch in &mut plan.branches {
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
    plan
}

/// The conditions that all must hold.
fn conjuncts(root: &Node) -> Vec<&Node> {
    match root {
        Node::And(nodes) => nodes.iter().flat_map(conjuncts).collect(),
        node => vec![node],
    }
}

/// Whether a condition is about a path that begins with `part`.
fn names(node: &Node, part: &str) -> bool {
    match node {
        Node::And(nodes) | Node::Or(nodes) | Node::Nor(nodes) => nodes.iter().any(|node| names(node, part)),
        Node::Not(inner) => names(inner, part),
        Node::Field { path, .. } => path.parts().first().is_some_and(|own| own.name() == part),
        _ => true,
    }
}

fn no_plan() -> QueryError {
    QueryError::new(
        ErrorCode::NO_QUERY_EXECUTION_PLANS,
        "error processing query: $hint: refusing to build whole-index solution, because it's a wildcard index",
    )
}
