//! The bounds of geospatial and text fields: cells and terms of which a matching document has one.

use bson::RawBsonRef;

use super::interval::{Cut, IntervalSet};
use crate::{
    filter::{Node, Predicate},
    index::{FieldKind, IndexDefinition, IndexField},
    path::{Part, Path},
};

/// The keys of the field at `path`, which is of a geospatial or a text kind, that documents which match all of `conjuncts` have one of:
/// by the condition that promises the fewest. Such bounds are never exact.
pub(super) fn bounds(conjuncts: &[&Node], definition: &IndexDefinition, path: &str) -> IntervalSet {
    let Some(field) = definition.fields().iter().find(|field| field.path() == path) else {
        return IntervalSet::full();
    };
    let sets = conjuncts.iter().filter_map(|node| condition(node, definition, field));
    // A condition on distances comes first: its rings are what the index is read for.
    let near = |(is_near, set): &(bool, IntervalSet)| (!is_near, set.intervals().len());
    sets.min_by_key(near).map_or_else(IntervalSet::full, |(_, set)| set)
}

fn condition(node: &Node, definition: &IndexDefinition, field: &IndexField) -> Option<(bool, IntervalSet)> {
    let is_own =
        |path: &Path| path.parts().iter().map(Part::name).eq(field.parts().iter().map(String::as_str));
    let ranges = match (node, field.kind()) {
        (Node::Text(query), FieldKind::Text) => {
            let terms = query.keys().map(|term| IntervalSet::point(RawBsonRef::String(term)));
            return Some((false, IntervalSet::union_of(terms)));
        }
        (Node::Field { path, predicate: Predicate::Geo(test) }, FieldKind::Sphere) if is_own(path) => {
            test.cell_ranges()?
        }
        (Node::Field { path, predicate: Predicate::Geo(test) }, FieldKind::Flat) if is_own(path) => {
            test.grid_ranges(&definition.grid())?
        }
        (Node::Near(nearness), FieldKind::Sphere) if is_own(&nearness.path) => nearness.test.cell_ranges()?,
        (Node::Near(nearness), FieldKind::Flat) if is_own(&nearness.path) => {
            nearness.test.grid_ranges(&definition.grid())?
        }
        _ => return None,
    };
    let sets = ranges.into_iter().map(|(low, high)| {
        let (low, high) = (RawBsonRef::Int64(low), RawBsonRef::Int64(high));
        IntervalSet::between(Cut::before_value(low), Cut::after_value(high))
    });
    Some((matches!(node, Node::Near(_)), IntervalSet::union_of(sets)))
}
