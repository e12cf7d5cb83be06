//! Closed rings on the sphere, and polygons with holes.

use super::vector::{Edge, TOLERANCE, Vector};

/// The most pairs of edges that are looked at for a ring that crosses itself; what is left of a larger ring is trusted.
const PAIRS_MAX: usize = 4_000_000;
/// A ring within a cap of this radius has all its surroundings outside.
const SMALL: f64 = 1.4;

/// Which of the two sides of a ring is its inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Winding {
    /// The smaller one, as GeoJSON is read by default.
    Smaller,
    /// What lies to the left.
    Left,
}

/// A closed line that does not cross itself, and which side of it is inside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ring {
    edges: Vec<Edge>,
    /// A cap that holds the inside; none if it may be larger than half of the sphere.
    cap: Option<(Vector, f64)>,
    /// Places of which it is known whether they are inside.
    references: Vec<(Vector, bool)>,
}

/// A ring without the insides of other rings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Polygon {
    outer: Ring,
    holes: Vec<Ring>,
}

impl Ring {
    /// The ring through `places`, of which the last is not the first again.
    ///
    /// # Errors
    /// In words, for fewer than three different places, for neighbours that are the same or opposite, and for a ring that
    /// crosses itself or comes to a vertex twice.
    pub(crate) fn new(places: &[Vector], winding: Winding) -> Result<Self, &'static str> {
        if places.len() < 3 {
            return Err("Loop must have at least 3 different vertices");
        }
        let next = places.iter().cycle().skip(1);
        let edges: Vec<Edge> = places.iter().zip(next).map(|(from, to)| Edge::new(*from, *to)).collect();
        for edge in &edges {
            if edge.from == edge.to {
                return Err("Loop is not valid: it has duplicate adjacent vertices");
            }
            if edge.from.dot(edge.to) < -1.0 + 1e-15 {
                return Err("Loop is not valid: it has antipodal adjacent vertices");
            }
        }
        if crosses_itself(&edges) {
            return Err("Loop is not valid: its edges cross");
        }
        let mut ring = Self { edges, cap: None, references: Vec::new() };
        ring.find_references(places, winding);
        Ok(ring)
    }

    pub(crate) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Whether `place` is inside; of what lies on the ring itself that is not certain.
    pub(crate) fn contains(&self, place: Vector) -> bool {
        if self.cap.is_some_and(|(center, radius)| center.angle(place) > radius) {
            return false;
        }
        // The farther from the line through the reference and the centre, the better the arc to it is defined.
        let slant = |reference: &Vector| reference.dot(place).abs();
        let best = self.references.iter().min_by(|(a, _), (b, _)| slant(a).total_cmp(&slant(b)));
        best.is_some_and(|(reference, inside)| *inside != self.is_crossed_oddly(*reference, place, None))
    }

    /// Whether the arc between two places crosses the ring an odd number of times, one of its edges left out.
    ///
    /// A vertex on the great circle of the arc counts to its left, for both edges that meet there.
    fn is_crossed_oddly(&self, from: Vector, to: Vector, without: Option<usize>) -> bool {
        let normal = from.cross(to);
        let mut odd = false;
        for (number, edge) in self.edges.iter().enumerate() {
            let (start, end) = (normal.dot(edge.from) >= 0.0, normal.dot(edge.to) >= 0.0);
            if start == end || without == Some(number) {
                continue;
            }
            let (a, b) = (edge.side(from), edge.side(to));
            // Otherwise the edge is crossed by the rest of the great circle.
            odd ^= if start { a < 0.0 && b > 0.0 } else { a > 0.0 && b < 0.0 };
        }
        odd
    }

    fn find_references(&mut self, places: &[Vector], winding: Winding) {
        let sum = places.iter().fold(Vector::new(0.0, 0.0, 0.0), |sum, place| sum + *place);
        let cap = sum.normalized().map(|center| {
            let radius = places.iter().map(|place| center.angle(*place)).fold(0.0, f64::max);
            (center, radius + TOLERANCE)
        });
        let cap = cap.filter(|(_, radius)| *radius < SMALL);
        let left_is_smaller = winding == Winding::Smaller || self.left_area() <= std::f64::consts::TAU;
        if let Some((center, _)) = cap {
            let is_inside = !left_is_smaller;
            let reference = center.orthogonal();
            self.references = vec![(reference, is_inside)];
            if is_inside {
                // What is asked for may be anywhere, also beside the reference or opposite to it.
                let second = center.cross(reference).normalized().unwrap_or(reference);
                self.references.push((second, is_inside));
            } else {
                self.cap = cap;
            }
            return;
        }
        let left_is_inside = winding == Winding::Left || self.left_area() <= std::f64::consts::TAU;
        let candidates = [(0.12, 0.34, 0.93), (0.91, -0.21, 0.33), (-0.37, 0.89, 0.15), (0.5, 0.6, -0.62)];
        for (x, y, z) in candidates {
            let Some(reference) = Vector::new(x, y, z).normalized() else { continue };
            if let Some(left) = self.is_left(reference) {
                self.references.push((reference, left == left_is_inside));
            }
        }
    }

    /// Whether `place` is to the left of the ring; none if it is too close to tell.
    fn is_left(&self, place: Vector) -> Option<bool> {
        if self.edges.iter().any(|edge| edge.touches(place)) {
            return None;
        }
        let edges = self.edges.iter().enumerate();
        let (number, edge) =
            edges.max_by(|(_, a), (_, b)| a.side(place).abs().total_cmp(&b.side(place).abs()))?;
        // The arc to the middle of the edge arrives at the side on which it began.
        Some((edge.side(place) > 0.0) != self.is_crossed_oddly(place, edge.middle, Some(number)))
    }

    /// The area to the left of the ring, 0 to 4π, as the sum of the triangles from its first vertex.
    fn left_area(&self) -> f64 {
        let Some(first) = self.edges.first().map(|edge| edge.from) else { return 0.0 };
        let sum: f64 = self
            .edges
            .iter()
            .map(|edge| {
                let (a, b) = (edge.from, edge.to);
                // The side is taken by a doubled cross product.
                let volume = edge.side(first) / 2.0;
                2.0 * libm::atan2(volume, 1.0 + first.dot(a) + a.dot(b) + b.dot(first))
            })
            .sum();
        sum.rem_euclid(2.0 * std::f64::consts::TAU)
    }
}

impl Polygon {
    /// # Errors
    /// In words, if a hole is not within the outer ring.
    pub(crate) fn new(outer: Ring, holes: Vec<Ring>) -> Result<Self, &'static str> {
        for hole in &holes {
            let is_inside =
                |place: Vector| outer.edges().iter().any(|edge| edge.touches(place)) || outer.contains(place);
            if !hole.edges().first().is_none_or(|edge| is_inside(edge.from)) {
                return Err(
                    "Secondary loops not contained by first exterior loop - secondary loops must be holes",
                );
            }
        }
        Ok(Self { outer, holes })
    }

    /// All edges, of the outer ring and of the holes.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.outer.edges().iter().chain(self.holes.iter().flat_map(Ring::edges))
    }

    /// Whether `place` is inside; of what lies on the boundary that is not certain.
    pub(crate) fn is_inside(&self, place: Vector) -> bool {
        self.outer.contains(place) && !self.holes.iter().any(|hole| hole.contains(place))
    }

    /// Whether `place` lies on the boundary.
    pub(crate) fn is_on_boundary(&self, place: Vector) -> bool {
        self.edges().any(|edge| edge.touches(place))
    }

    /// Whether `place` is inside or on the boundary.
    pub(crate) fn contains(&self, place: Vector) -> bool {
        let is_far = self.outer.cap.is_some_and(|(center, radius)| center.angle(place) > radius + TOLERANCE);
        !is_far && (self.is_inside(place) || self.is_on_boundary(place))
    }

    /// Whether `place` is inside and not on the boundary.
    pub(crate) fn contains_strictly(&self, place: Vector) -> bool {
        self.is_inside(place) && !self.is_on_boundary(place)
    }

    /// Whether the whole arc is inside or on the boundary.
    pub(crate) fn contains_edge(&self, edge: &Edge) -> bool {
        if !self.contains(edge.from) || !self.contains(edge.to) {
            return false;
        }
        // Between the places where the boundary touches the arc it stays on one side.
        let mut stops = vec![edge.from, edge.to];
        for own in self.edges() {
            if own.crosses(edge)
                && !own.touches(edge.from)
                && !own.touches(edge.to)
                && !edge.touches(own.from)
                && !edge.touches(own.to)
            {
                return false;
            }
            if edge.touches(own.from) {
                stops.push(own.from);
            }
        }
        stops.sort_by(|a, b| a.chord(edge.from).total_cmp(&b.chord(edge.from)));
        let pairs = stops.iter().zip(stops.iter().skip(1));
        pairs.filter(|(a, b)| a.chord(**b) > TOLERANCE).all(|(a, b)| self.contains(Edge::new(*a, *b).middle))
    }
}

/// Whether edges cross, or a vertex is come to twice. The edges are swept by the balls
/// around them, along one axis.
fn crosses_itself(edges: &[Edge]) -> bool {
    let count = edges.len();
    let mut order: Vec<(f64, f64, usize, &Edge)> = edges
        .iter()
        .enumerate()
        .map(|(number, edge)| (edge.middle.x - edge.reach, edge.middle.x + edge.reach, number, edge))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut pairs = 0;
    for (place, (_, end, number, edge)) in order.iter().enumerate() {
        for (_, _, other_number, other) in order.iter().skip(place + 1).take_while(|(begin, ..)| begin <= end)
        {
            pairs += 1;
            if pairs > PAIRS_MAX {
                return false;
            }
            let apart = number.abs_diff(*other_number);
            let is_neighbour = apart == 1 || apart == count - 1;
            if edge.crosses(other) || !is_neighbour && edge.shares_end(other) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(places: &[(f64, f64)], winding: Winding) -> Ring {
        let places: Vec<Vector> = places.iter().map(|(x, y)| Vector::from_degrees(*x, *y)).collect();
        Ring::new(&places, winding).unwrap()
    }

    #[test]
    fn small_rings_hold_what_they_surround_whichever_way_they_turn() {
        let mut places = vec![(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 3.0), (0.0, 10.0)];
        for _ in 0..2 {
            let ring = ring(&places, Winding::Smaller);
            assert!(ring.contains(Vector::from_degrees(2.0, 2.0)));
            assert!(ring.contains(Vector::from_degrees(9.0, 7.0)));
            assert!(!ring.contains(Vector::from_degrees(5.0, 6.0)));
            assert!(!ring.contains(Vector::from_degrees(-175.0, -2.0)));
            places.reverse();
        }
    }

    #[test]
    fn strict_winding_takes_what_lies_to_the_left() {
        let mut places = vec![(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)];
        assert!(ring(&places, Winding::Left).contains(Vector::from_degrees(5.0, 5.0)));
        places.reverse();
        let rest = ring(&places, Winding::Left);
        for (x, y) in [(-5.0, 5.0), (100.0, -60.0), (-175.0, -5.0), (20.0, 5.0), (0.0, 90.0)] {
            assert!(rest.contains(Vector::from_degrees(x, y)), "{x} {y}");
        }
        assert!(!rest.contains(Vector::from_degrees(5.0, 5.0)));
    }

    #[test]
    fn rings_around_most_of_the_globe_have_the_smaller_side_inside() {
        // A band along a wavy line near the equator: the smaller side is that of the south pole.
        let wavy: Vec<(f64, f64)> =
            (0..36).map(|i| (f64::from(i) * 10.0 - 180.0, if i % 2 == 0 { -12.0 } else { 2.0 })).collect();
        let ring = ring(&wavy, Winding::Smaller);
        assert!(ring.contains(Vector::from_degrees(13.0, -60.0)));
        assert!(ring.contains(Vector::from_degrees(0.0, -90.0)));
        assert!(!ring.contains(Vector::from_degrees(13.0, 60.0)));
        assert!(!ring.contains(Vector::from_degrees(0.0, 90.0)));
    }

    #[test]
    fn rings_that_cross_themselves_are_refused() {
        let at = |places: &[(f64, f64)]| {
            let places: Vec<Vector> = places.iter().map(|(x, y)| Vector::from_degrees(*x, *y)).collect();
            Ring::new(&places, Winding::Smaller)
        };
        assert!(at(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]).is_err());
        assert!(at(&[(0.0, 0.0), (10.0, 0.0)]).is_err());
        assert!(at(&[(0.0, 0.0), (0.0, 0.0), (10.0, 0.0), (3.0, 3.0)]).is_err());
    }

    #[test]
    fn an_arc_between_the_arms_of_a_polygon_is_not_inside() {
        let outer = ring(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 3.0), (0.0, 10.0)], Winding::Smaller);
        let polygon = Polygon::new(outer, Vec::new()).unwrap();
        let at = Vector::from_degrees;
        assert!(!polygon.contains_edge(&Edge::new(at(0.0, 10.0), at(10.0, 10.0))));
        assert!(polygon.contains_edge(&Edge::new(at(0.0, 0.0), at(10.0, 0.0))));
        assert!(polygon.contains_edge(&Edge::new(at(0.0, 0.0), at(5.0, 3.0))));
        assert!(!polygon.contains_edge(&Edge::new(at(1.0, 7.0), at(9.0, 7.0))));
    }
}
