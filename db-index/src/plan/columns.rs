//! The columns of an index as a plan reads it: the values that make up the key of an entry, and what is known of each.
//!
//! Mostly there is one for each field. A wildcard field has two, a path and a value, and is read for one path of the filter
//! at a time: it is as many indexes as the filter has paths that it holds.

use super::{
    IndexInfo,
    bounds::{Bounds, Keys, node_bounds, tightest},
    implication::implies,
    interval::IntervalSet,
    special,
};
use crate::{
    filter::{Node, Predicate},
    index::{FieldKind, IndexField, Reach, hash_key},
    key::{Bracket, Direction},
    path::{Part, array_index},
};

/// The most paths of a filter that a wildcard index is read for.
const PATHS_MAX: usize = 16;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// The values at the path.
    Values,
    /// Their hashes.
    Hashes,
    /// The paths of a wildcard field.
    Paths,
    /// What is computed of locations or texts, for conditions of their own.
    Special,
    /// What says nothing of any one path.
    Other,
}

/// One column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The dotted path that it is about.
    pub(super) path: String,
    pub(super) direction: Direction,
    pub(super) holds: Holds,
    /// Whether a document may have several keys in it.
    pub(super) is_many: bool,
}

/// The columns of an index, for one way to read it.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    /// What a wildcard field is read for.
    wildcard: Wildcard,
}

/// What the wildcard field of an index is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    /// There is none.
    None,
    /// The values at one path.
    Values,
    /// Whether there is anything at or below one path.
    Existence,
    /// Nothing; the other fields are.
    Any,
}

/// Whether a column with many keys is bounded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bounded {
    No,
    /// By conditions on whatever elements.
    ByAny,
    /// By conditions on the element that this `$elemMatch` looks at.
    ByElement(*const Node),
}

/// The sets of all columns, and what they leave to test.
pub(super) struct ColumnBounds {
    pub(super) sets: Vec<IntervalSet>,
    /// Which conjuncts hold for every entry within the sets.
    pub(super) satisfied: Vec<bool>,
    /// Whether no document that matches is left out of the index.
    pub(super) is_complete: bool,
}

impl Column {
    fn parts(&self) -> Vec<&str> {
        self.path.split('.').collect()
    }

    /// What an explanation calls it.
    pub(super) fn shown(&self) -> String {
        if self.holds == Holds::Paths { "$_path".to_owned() } else { self.path.clone() }
    }

    /// Whether a part of the path may name a place in an array.
    pub(super) fn has_place(&self) -> bool {
        self.path.split('.').any(|part| array_index(part).is_some())
    }
}

impl Columns {
    /// The one column of the documents in the order of `_id`.
    pub(super) fn on_id() -> Self {
        let column = Column {
            path: "_id".to_owned(),
            direction: Direction::Ascending,
            holds: Holds::Values,
            is_many: false,
        };
        Self { columns: vec![column], wildcard: Wildcard::None }
    }

    /// The ways to read an index for these conjuncts: one, or as many as there are paths for its wildcard field. None of an
    /// index of a kind that this planner does not read.
    pub(super) fn of(index: &IndexInfo<'_>, conjuncts: &[&Node]) -> Vec<Self> {
        let fields = index.definition.fields();
        let wildcard = fields.iter().enumerate().find(|(_, field)| field.kind() == FieldKind::Wildcard);
        let Some((place, field)) = wildcard else {
            return vec![Self::with(index, "", Wildcard::None)];
        };
        let mut ways = Vec::new();
        for path in filter_paths(conjuncts) {
            let parts: Vec<&str> = path.split('.').collect();
            let is_place = parts.iter().any(|part| array_index(part).is_some());
            if is_place && index.multikey.contains(place) {
                continue; // of the places in arrays a wildcard index knows nothing
            }
            let reach = index.definition.wildcard_reach(field, &parts);
            if matches!(reach, Reach::Inside | Reach::Itself) {
                ways.push(Self::with(index, &path, Wildcard::Values));
            }
            if reach == Reach::Inside {
                ways.push(Self::with(index, &path, Wildcard::Existence));
            }
        }
        if place > 0 {
            ways.push(Self::with(index, "", Wildcard::Any));
        }
        ways
    }

    fn with(index: &IndexInfo<'_>, wildcard_path: &str, wildcard: Wildcard) -> Self {
        let mut columns = Vec::with_capacity(index.definition.fields().len() + 1);
        for (place, field) in index.definition.fields().iter().enumerate() {
            let is_many = index.multikey.contains(place);
            let column = |path: &str, direction: Direction, holds: Holds| Column {
                path: path.to_owned(),
                direction,
                holds,
                is_many,
            };
            match field.kind() {
                FieldKind::Ascending | FieldKind::Descending => {
                    columns.push(column(field.path(), field.direction(), Holds::Values));
                }
                FieldKind::Hashed => columns.push(column(field.path(), field.direction(), Holds::Hashes)),
                FieldKind::Sphere | FieldKind::Flat | FieldKind::Text => {
                    columns.push(column(field.path(), field.direction(), Holds::Special));
                }
                FieldKind::Wildcard => {
                    let values = if wildcard == Wildcard::Values { Holds::Values } else { Holds::Other };
                    columns.push(column(wildcard_path, Direction::Ascending, Holds::Paths));
                    columns.push(column(wildcard_path, Direction::Ascending, values));
                }
            }
        }
        Self { columns, wildcard }
    }

    /// The bounds that the conjuncts set to the columns.
    pub(super) fn bounds(&self, index: &IndexInfo<'_>, conjuncts: &[&Node]) -> ColumnBounds {
        let mut satisfied = vec![false; conjuncts.len()];
        let mut is_complete = true;
        if let Some(partial) = index.definition.partial_filter() {
            is_complete = implies(conjuncts, partial.root());
            // The index holds no document that does not match its own filter.
            for (satisfied, node) in satisfied.iter_mut().zip(conjuncts) {
                *satisfied = implies(&[partial.root()], node);
            }
        }
        // Its keys tell nothing of strings that are compared otherwise than they were made.
        let suited: Vec<Option<&Node>> =
            conjuncts.iter().map(|node| node.suits(index.definition.collation()).then_some(*node)).collect();
        // Once a column with many keys is bounded, another one may be only by conditions on the same element: otherwise the
        // two may be met by different elements, of which there is no common entry.
        let mut bounded = Bounded::No;
        let mut sets = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            sets.push(match column.holds {
                Holds::Values if column.is_many => {
                    many_keys_set(column, &suited, &mut bounded, &mut satisfied)
                }
                Holds::Values => one_key_set(column, &suited, &mut satisfied),
                Holds::Hashes => hashed(&one_key_set(column, &suited, &mut vec![false; conjuncts.len()])),
                Holds::Paths => self.paths_set(column, conjuncts, &mut satisfied),
                // Each key stands in an entry with each tuple of the other columns, whatever elements those are of.
                Holds::Special => special::bounds(conjuncts, index.definition, &column.path),
                Holds::Other => IntervalSet::full(),
            });
        }
        let mut special =
            self.columns.iter().zip(&sets).filter(|(column, _)| column.holds == Holds::Special).peekable();
        // It holds the documents that have a location or a text.
        is_complete &= special.peek().is_none() || special.any(|(_, set)| !set.is_full());
        is_complete &= match self.wildcard {
            Wildcard::None => {
                !index.definition.is_sparse()
                    || requires_a_field(conjuncts, index.definition.fields(), &self.columns, &sets)
            }
            Wildcard::Values => self.has_what_wildcards_hold(&sets),
            Wildcard::Existence => conjuncts.iter().any(|node| self.asks_existence(node)),
            Wildcard::Any => true,
        };
        ColumnBounds { sets, satisfied, is_complete }
    }

    fn paths_set(&self, column: &Column, conjuncts: &[&Node], satisfied: &mut [bool]) -> IntervalSet {
        let point = || IntervalSet::point(bson::RawBsonRef::String(&column.path));
        match self.wildcard {
            Wildcard::Values => point(),
            Wildcard::Existence => {
                for (satisfied, node) in satisfied.iter_mut().zip(conjuncts) {
                    *satisfied |= self.asks_existence(node);
                }
                IntervalSet::union_of([point(), IntervalSet::string_prefix(&format!("{}.", column.path))])
            }
            Wildcard::Any | Wildcard::None => IntervalSet::full(),
        }
    }

    fn asks_existence(&self, node: &Node) -> bool {
        let column = self.columns.iter().find(|column| column.holds == Holds::Paths);
        matches!((node, column), (Node::Field { path, predicate: Predicate::Exists }, Some(column)) if path.is(&column.path))
    }

    /// Whether what is asked of the path of a wildcard field has keys in the index: a missing field has none, and of a
    /// document only what is in it has.
    fn has_what_wildcards_hold(&self, sets: &[IntervalSet]) -> bool {
        let values =
            self.columns.iter().zip(sets).skip_while(|(column, _)| column.holds != Holds::Paths).nth(1);
        let Some((_, set)) = values else { return false };
        let empty = IntervalSet::point(bson::RawBsonRef::Document(bson::RawDocumentBuf::new().as_ref()));
        let not_held = IntervalSet::union_of([
            IntervalSet::bracket(Bracket::Null),
            IntervalSet::bracket(Bracket::Object).intersection(&empty.complement()),
        ]);
        set.intersection(&not_held).is_empty()
    }
}

/// The set of a column in which a document has one key: all conditions together.
fn one_key_set(column: &Column, conjuncts: &[Option<&Node>], satisfied: &mut [bool]) -> IntervalSet {
    let path = column.parts();
    let found = conjuncts.iter().zip(satisfied);
    let found =
        found.filter_map(|(node, satisfied)| Some((node_bounds((*node)?, &path, Keys::Single)?, satisfied)));
    found.fold(IntervalSet::full(), |sum, (bounds, satisfied)| {
        *satisfied |= bounds.exact;
        sum.intersection(&bounds.set)
    })
}

/// The set of a column in which a document may have several keys: one condition at a time.
fn many_keys_set<'a>(
    column: &Column,
    conjuncts: &[Option<&'a Node>],
    bounded: &mut Bounded,
    satisfied: &mut [bool],
) -> IntervalSet {
    if column.has_place() {
        return IntervalSet::full(); // a place and a name at once: the entries tell too little
    }
    let path = column.parts();
    let found = conjuncts.iter().enumerate();
    let found = found.filter_map(|(number, node)| Some((number, node_bounds((*node)?, &path, Keys::Many)?)));
    let element = |bounds: &Bounds<'a>| bounds.element.map(std::ptr::from_ref);
    let allowed = found.filter(|(_, bounds)| match *bounded {
        Bounded::No => true,
        Bounded::ByElement(group) => element(bounds) == Some(group),
        Bounded::ByAny => false,
    });
    let allowed: Vec<_> = allowed.filter(|(_, bounds)| !bounds.set.is_full()).collect();
    let Some(best) = tightest(allowed.iter().map(|(_, bounds)| bounds.clone())) else {
        return IntervalSet::full();
    };
    *bounded = element(&best).map_or(Bounded::ByAny, Bounded::ByElement);
    let exact = allowed.iter().find(|(_, bounds)| bounds.set == best.set && bounds.exact);
    if let Some(satisfied) = exact.and_then(|(number, _)| satisfied.get_mut(*number)) {
        *satisfied = true;
    }
    best.set
}

/// The hashes of the values in `set`, if they are few enough to be listed.
fn hashed(set: &IntervalSet) -> IntervalSet {
    if set.is_full() || !set.is_points() {
        return IntervalSet::full();
    }
    let keys = set.intervals().iter().map(|interval| interval.point_key(Direction::Ascending));
    IntervalSet::union_of(keys.map(|key| IntervalSet::point(bson::RawBsonRef::Int64(hash_key(&key)))))
}

/// Whether a matching document has a value at one of the paths, so that a sparse index holds it.
fn requires_a_field(
    conjuncts: &[&Node],
    fields: &[IndexField],
    columns: &[Column],
    sets: &[IntervalSet],
) -> bool {
    let null = [Bracket::Null as u8];
    columns.iter().zip(sets).any(|(column, set)| column.holds == Holds::Values && !set.contains(&null))
        || conjuncts.iter().any(|node| {
            let Node::Field { path, predicate } = node else { return false };
            fields.iter().any(|field| path.is(field.path())) && !predicate.holds(None, &mut None)
        })
}

/// The paths that the conjuncts are about, each once.
fn filter_paths(conjuncts: &[&Node]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for node in conjuncts {
        collect_paths(node, "", &mut paths);
    }
    paths
}

fn collect_paths(node: &Node, above: &str, paths: &mut Vec<String>) {
    if paths.len() >= PATHS_MAX {
        return;
    }
    match node {
        Node::And(nodes) | Node::Or(nodes) | Node::Nor(nodes) => {
            for node in nodes {
                collect_paths(node, above, paths);
            }
        }
        Node::Not(inner) => collect_paths(inner, above, paths),
        Node::Field { path, predicate } => {
            let names: Vec<&str> = path.parts().iter().map(Part::name).collect();
            let mut own = names.join(".");
            if !above.is_empty() {
                own = format!("{above}.{own}");
            }
            if let Predicate::ElemMatchObject(inner) = predicate {
                collect_paths(inner, &own, paths);
            }
            if !paths.contains(&own) {
                paths.push(own);
            }
        }
        _ => {}
    }
}
