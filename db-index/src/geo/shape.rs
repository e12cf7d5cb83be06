//! What a GeoJSON geometry is on the sphere: places, arcs and polygons, and how two of them lie to each other.

use super::{
    cell::Relation,
    ring::Polygon,
    vector::{Edge, TOLERANCE, Vector},
};

/// A geometry of any kind, taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Shape {
    pub(crate) points: Vec<Vector>,
    /// The arcs of all lines.
    pub(crate) lines: Vec<Edge>,
    pub(crate) polygons: Vec<Polygon>,
}

impl Shape {
    /// The one place that it is, if it is one.
    pub(crate) fn as_point(&self) -> Option<Vector> {
        match (self.points.as_slice(), self.lines.is_empty(), self.polygons.is_empty()) {
            ([point], true, true) => Some(*point),
            _ => None,
        }
    }

    /// The arcs of lines and the boundaries of polygons.
    fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.lines.iter().chain(self.polygons.iter().flat_map(Polygon::edges))
    }

    /// The angle from `place` to what is nearest of its points, lines and boundaries.
    pub(crate) fn boundary_distance(&self, place: Vector) -> f64 {
        let points = self.points.iter().map(|point| point.angle(place));
        points.chain(self.edges().map(|edge| edge.distance(place))).fold(f64::INFINITY, f64::min)
    }

    /// Whether a place is inside one of its polygons; of a boundary that is not certain.
    pub(crate) fn is_inside(&self, place: Vector) -> bool {
        self.polygons.iter().any(|polygon| polygon.is_inside(place))
    }

    /// The angle from `place` to the nearest place of the shape; none in an empty shape.
    pub(crate) fn distance(&self, place: Vector) -> f64 {
        if self.is_inside(place) { 0.0 } else { self.boundary_distance(place) }
    }

    /// How it lies to a cap.
    pub(crate) fn relation(&self, center: Vector, radius: f64) -> Relation {
        let straight = 2.0 * libm::sin(radius.min(std::f64::consts::PI) / 2.0) + TOLERANCE;
        let meets = self.points.iter().any(|point| point.angle(center) <= radius)
            || self.edges().any(|edge| {
                edge.middle.chord(center) <= edge.reach + straight && edge.distance(center) <= radius
            });
        if meets {
            Relation::Crossing
        } else if self.is_inside(center) {
            Relation::Inside
        } else {
            Relation::Outside
        }
    }

    /// Whether both have a place in common.
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.points.iter().any(|point| other.has_place(*point))
            || other.points.iter().any(|point| self.has_place(*point))
            || self.edges().any(|edge| other.edges().any(|other| edge.meets(other)))
            || self.has_place_inside(other)
            || other.has_place_inside(self)
    }

    /// Whether the other shape is within one or more of the polygons of this one, each of its parts within one of them.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let within = |test: &dyn Fn(&Polygon) -> bool| self.polygons.iter().any(test);
        other.points.iter().all(|point| within(&|polygon| polygon.contains(*point)))
            && other.lines.iter().all(|edge| within(&|polygon| polygon.contains_edge(edge)))
            && other.polygons.iter().all(|inner| within(&|polygon| contains_polygon(polygon, inner)))
    }

    /// Whether all of it is within an angle of `center`.
    pub(crate) fn is_within_cap(&self, center: Vector, radius: f64) -> bool {
        if self.lines.is_empty() && self.polygons.is_empty() {
            return self.points.iter().all(|point| center.angle(*point) <= radius);
        }
        // What is not in the cap is nearer to the place opposite.
        self.distance(-center) >= std::f64::consts::PI - radius - 1e-15
    }

    fn has_place(&self, place: Vector) -> bool {
        self.points.iter().any(|point| point.chord(place) <= TOLERANCE)
            || self.lines.iter().any(|edge| edge.touches(place))
            || self.polygons.iter().any(|polygon| polygon.contains(place))
    }

    /// Whether a corner of the other shape's arcs is inside a polygon of this one: as their boundaries do not meet, one
    /// place tells for the whole part.
    fn has_place_inside(&self, other: &Self) -> bool {
        if self.polygons.is_empty() {
            return false;
        }
        other.edges().any(|edge| self.is_inside(edge.from))
    }
}

fn contains_polygon(outer: &Polygon, inner: &Polygon) -> bool {
    inner.edges().all(|edge| outer.contains_edge(edge))
        && !outer.edges().any(|edge| inner.contains_strictly(edge.from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::ring::{Ring, Winding};

    fn square(x: f64, y: f64, size: f64) -> Ring {
        let places = [(x, y), (x + size, y), (x + size, y + size), (x, y + size)];
        let places = places.map(|(x, y)| Vector::from_degrees(x, y));
        Ring::new(&places, Winding::Smaller).unwrap()
    }

    fn polygon(outer: Ring, holes: Vec<Ring>) -> Shape {
        Shape { polygons: vec![Polygon::new(outer, holes).unwrap()], ..Shape::default() }
    }

    fn point(x: f64, y: f64) -> Shape {
        Shape { points: vec![Vector::from_degrees(x, y)], ..Shape::default() }
    }

    #[test]
    fn polygons_contain_what_is_in_them_and_their_boundary() {
        let region = polygon(square(0.0, 0.0, 10.0), vec![square(4.0, 4.0, 2.0)]);
        assert!(region.contains(&point(1.0, 1.0)));
        assert!(region.contains(&point(0.0, 0.0)));
        assert!(!region.contains(&point(5.0, 5.0)));
        assert!(!region.contains(&point(11.0, 5.0)));
        assert!(region.contains(&polygon(square(1.0, 1.0, 2.0), vec![])));
        assert!(!region.contains(&polygon(square(3.0, 3.0, 4.0), vec![])), "around the hole");
        assert!(region.contains(&polygon(square(3.0, 3.0, 4.0), vec![square(3.5, 3.5, 3.0)])));
        assert!(!region.contains(&polygon(square(8.0, 8.0, 4.0), vec![])));
        assert!(region.contains(&region.clone()));
    }

    #[test]
    fn intersection_is_of_insides_boundaries_and_points() {
        let region = polygon(square(0.0, 0.0, 10.0), vec![square(4.0, 4.0, 2.0)]);
        for (other, expected) in [
            (point(5.0, 5.0), false),
            (point(3.0, 3.0), true),
            (polygon(square(4.5, 4.5, 1.0), vec![]), false),
            (polygon(square(4.5, 4.5, 9.0), vec![]), true),
            (polygon(square(-5.0, -5.0, 30.0), vec![]), true),
            (polygon(square(10.0, 0.0, 3.0), vec![]), true),
            (polygon(square(20.0, 0.0, 3.0), vec![]), false),
        ] {
            assert_eq!(region.intersects(&other), expected);
            assert_eq!(other.intersects(&region), expected);
        }
    }

    #[test]
    fn caps_hold_shapes_of_any_size() {
        let center = Vector::from_degrees(5.0, 5.0);
        let region = polygon(square(0.0, 0.0, 10.0), vec![]);
        assert!(region.is_within_cap(center, 8.0_f64.to_radians()));
        assert!(!region.is_within_cap(center, 6.0_f64.to_radians()));
        assert!(!region.is_within_cap(-center, 175.5_f64.to_radians()));
        assert!(region.is_within_cap(-center, 180.0_f64.to_radians()));
    }
}
