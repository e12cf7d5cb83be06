//! `$near` and `$nearSphere` in filters: a condition on the distance of a document, of which the nearest location counts.

use std::ops::ControlFlow;

use bson::RawDocument;

use crate::{
    error::QueryError,
    filter::{Filter, node::Node},
    geo::NearTest,
    path::{Candidate, Leaf, Path, walk_document},
};

/// How far a document may be away, by the locations at a path.
#[derive(Debug, Clone)]
pub(crate) struct Nearness {
    pub(crate) path: Path,
    pub(crate) test: NearTest,
}

impl Nearness {
    /// The distance of the nearest location, as an angle or on the plane; none without a location.
    pub(crate) fn raw_distance(&self, document: &RawDocument) -> Option<f64> {
        let mut nearest: Option<f64> = None;
        let _ = walk_document(document, self.path.parts(), Leaf::Opened, &mut |candidate: Candidate<'_>| {
            if let Some(distance) = candidate.value.and_then(|value| self.test.raw_distance(value)) {
                nearest = Some(nearest.map_or(distance, |nearest| nearest.min(distance)));
            }
            ControlFlow::Continue(())
        });
        nearest
    }

    /// Whether the document is within the bounds.
    pub(super) fn holds(&self, document: &RawDocument) -> bool {
        self.raw_distance(document).is_some_and(|distance| self.test.admits(distance))
    }
}

/// The least width of a ring: about 64 meters on the globe, or as many units of the plane.
const WIDTH_MIN: (f64, f64) = (1e-5, 0.01);
/// Beyond this distance on the plane everything is one ring.
const PLANE: f64 = 1e9;
/// How many documents a ring should have, so that few are held and few rings are read.
const RING_DOCUMENTS: (usize, usize) = (50, 2000);

/// A filter on distances taken apart into rings, from the nearest on. What matches the filter matches exactly one ring's.
#[derive(Debug, Clone)]
pub struct NearRings {
    filter: Filter,
    low: f64,
    width: f64,
    is_done: bool,
}

impl NearRings {
    /// The rings of `filter`; none if it has no condition on distances.
    pub fn new(filter: &Filter) -> Option<Self> {
        let test = &find(filter.root())?.test;
        let width = if test.is_spherical() { WIDTH_MIN.0 } else { WIDTH_MIN.1 };
        Some(Self { filter: filter.clone(), low: test.nearest(), width, is_done: false })
    }

    /// The filter of the next ring; none after the last. `found` is how many documents the ring before had, by which the
    /// width is chosen.
    pub fn next_ring(&mut self, found: usize) -> Option<Filter> {
        let test = find(self.filter.root()).filter(|_| !self.is_done)?.test.clone();
        if found < RING_DOCUMENTS.0 {
            self.width *= 4.0;
        } else if found > RING_DOCUMENTS.1 {
            self.width /= 2.0;
        }
        let high = self.low + self.width;
        let farthest = test.farthest().min(PLANE);
        self.is_done = high >= farthest || high <= self.low;
        let ring = test.ring(self.low, if self.is_done { f64::INFINITY } else { high });
        self.low = high;
        Some(self.filter.with_root(replaced(self.filter.root(), &ring)))
    }
}

/// The condition on a distance among those that all must hold.
pub(super) fn find(root: &Node) -> Option<&Nearness> {
    match root {
        Node::Near(nearness) => Some(nearness),
        Node::And(nodes) => nodes.iter().find_map(find),
        _ => None,
    }
}

/// The same tree with another condition in its place.
pub(super) fn replaced(root: &Node, test: &NearTest) -> Node {
    match root {
        Node::Near(nearness) => {
            Node::Near(Box::new(Nearness { path: nearness.path.clone(), test: test.clone() }))
        }
        Node::And(nodes) => Node::And(nodes.iter().map(|node| replaced(node, test)).collect()),
        other => other.clone(),
    }
}

/// Refuses conditions on distances but for one among those that all must hold, of `count` in the whole tree.
///
/// # Errors
/// `BadValue` (2).
pub(super) fn check(root: &Node, count: usize) -> Result<(), QueryError> {
    match count {
        0 => Ok(()),
        1 if find(root).is_some() => Ok(()),
        1 => Err(QueryError::bad_value("geo $near must be top-level expr")),
        _ => Err(QueryError::bad_value("Too many geoNear expressions")),
    }
}
