//! Points on the unit sphere, as vectors, and the few computations that everything spherical is made of.
//!
//! Index keys are computed here, so every function gives the same bits on every platform: the four operations and the
//! square root are exact by IEEE 754, and the transcendental functions are those of the `libm` crate, in Rust.

use std::ops::{Add, Neg, Sub};

/// The radius of the Earth in meters that distances are given by: the equatorial one, which MongoDB takes.
pub(crate) const EARTH_RADIUS_M: f64 = 6_378_100.0;

/// What is not told apart, as an angle: about six millimeters on the Earth.
pub(crate) const TOLERANCE: f64 = 1e-9;

/// A direction from the centre of the sphere; of length 1 where it stands for a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Vector {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) z: f64,
}

impl Vector {
    pub(crate) fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// The place at a longitude and a latitude in degrees.
    pub(crate) fn from_degrees(longitude: f64, latitude: f64) -> Self {
        let (longitude, latitude) = (longitude.to_radians(), latitude.to_radians());
        let width = libm::cos(latitude);
        Self::new(width * libm::cos(longitude), width * libm::sin(longitude), libm::sin(latitude))
    }

    pub(crate) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    fn plain_cross(self, other: Self) -> Self {
        Self::new(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// The cross product, times two: computed by sum and difference, which stays exact for places close to each other.
    pub(crate) fn cross(self, other: Self) -> Self {
        (self + other).plain_cross(other - self)
    }

    pub(crate) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The same direction with length 1; none for the zero vector and what is next to it.
    pub(crate) fn normalized(self) -> Option<Self> {
        let length = self.length();
        (length > 1e-150).then(|| Self::new(self.x / length, self.y / length, self.z / length))
    }

    /// The angle between two directions, 0 to π.
    pub(crate) fn angle(self, other: Self) -> f64 {
        // The doubled cross product of unit vectors against the doubled dot product.
        libm::atan2(self.cross(other).length(), 2.0 * self.dot(other))
    }

    /// The straight distance, through the sphere.
    pub(crate) fn chord(self, other: Self) -> f64 {
        (self - other).length()
    }

    /// Some place at a right angle to this one.
    pub(crate) fn orthogonal(self) -> Self {
        let axis = if self.x.abs() <= self.y.abs() && self.x.abs() <= self.z.abs() {
            Self::new(1.0, 0.0123, 0.0045)
        } else if self.y.abs() <= self.z.abs() {
            Self::new(0.0123, 1.0, 0.0045)
        } else {
            Self::new(0.0123, 0.0045, 1.0)
        };
        self.plain_cross(axis).normalized().unwrap_or(axis)
    }
}

impl Add for Vector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Neg for Vector {
    type Output = Self;

    fn neg(self) -> Self {
        Self::new(-self.x, -self.y, -self.z)
    }
}

/// The shorter arc of the great circle between two places, with a ball around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Edge {
    pub(crate) from: Vector,
    pub(crate) to: Vector,
    /// Perpendicular to both ends; not of length 1.
    normal: Vector,
    pub(crate) middle: Vector,
    /// How far the ends are from the middle, straight.
    pub(crate) reach: f64,
}

impl Edge {
    pub(crate) fn new(from: Vector, to: Vector) -> Self {
        let middle = (from + to).normalized().unwrap_or(from);
        Self { from, to, normal: from.cross(to), middle, reach: middle.chord(from).max(middle.chord(to)) }
    }

    /// On which side of the great circle a place is: positive to the left of the edge.
    pub(crate) fn side(&self, place: Vector) -> f64 {
        self.normal.dot(place)
    }

    /// The angle from `place` to the nearest place of the edge.
    pub(crate) fn distance(&self, place: Vector) -> f64 {
        let ends = || self.from.angle(place).min(self.to.angle(place));
        let Some(normal) = self.normal.normalized() else { return ends() };
        let is_between =
            normal.plain_cross(self.from).dot(place) > 0.0 && self.to.plain_cross(normal).dot(place) > 0.0;
        if is_between {
            libm::atan2(normal.dot(place).abs(), normal.plain_cross(place).length())
        } else {
            ends()
        }
    }

    /// Whether `place` lies on the edge, within the tolerance.
    pub(crate) fn touches(&self, place: Vector) -> bool {
        self.middle.chord(place) <= self.reach + TOLERANCE && self.distance(place) <= TOLERANCE
    }

    /// Whether the balls around both edges meet: if not, the edges do not.
    fn is_near(&self, other: &Self) -> bool {
        self.middle.chord(other.middle) <= self.reach + other.reach + TOLERANCE
    }

    /// Whether the insides of both edges cross at a point.
    pub(crate) fn crosses(&self, other: &Self) -> bool {
        // Of arcs with an end in common rounding would decide.
        if !self.is_near(other) || self.shares_end(other) {
            return false;
        }
        let (a, b) = (self.side(other.from), self.side(other.to));
        let (c, d) = (other.side(self.from), other.side(self.to));
        // All four triangles turn the same way; those of a crossing on the other side of the sphere do not.
        (a < 0.0 && b > 0.0 && c > 0.0 && d < 0.0) || (a > 0.0 && b < 0.0 && c < 0.0 && d > 0.0)
    }

    /// Whether an end of one is an end of the other.
    pub(crate) fn shares_end(&self, other: &Self) -> bool {
        [self.from, self.to].iter().any(|place| *place == other.from || *place == other.to)
    }

    /// Whether both edges have a place in common.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.is_near(other)
            && (self.crosses(other)
                || self.touches(other.from)
                || self.touches(other.to)
                || other.touches(self.from)
                || other.touches(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_great_circle() {
        let degree = Vector::from_degrees(0.0, 0.0).angle(Vector::from_degrees(1.0, 0.0));
        assert!((degree.to_degrees() - 1.0).abs() < 1e-12);
        let (paris, london) = (Vector::from_degrees(2.3522, 48.8566), Vector::from_degrees(-0.1276, 51.5072));
        let kilometers = paris.angle(london) * EARTH_RADIUS_M / 1000.0;
        assert!((kilometers - 344.0).abs() < 1.0, "{kilometers}");
        let (north, south) = (Vector::from_degrees(0.0, 90.0), Vector::from_degrees(0.0, -90.0));
        assert!((north.angle(south) - std::f64::consts::PI).abs() < 1e-12);
    }

    #[test]
    fn near_places_keep_their_distance() {
        let (a, b) = (Vector::from_degrees(13.4, 52.5), Vector::from_degrees(13.4, 52.500_000_1));
        assert!((a.angle(b).to_degrees() - 1e-7).abs() < 1e-12);
    }

    #[test]
    fn edges_cross_where_they_do_and_not_on_the_other_side_of_the_globe() {
        let at = Vector::from_degrees;
        let equator = Edge::new(at(-10.0, 0.0), at(10.0, 0.0));
        let meridian = Edge::new(at(0.0, -10.0), at(0.0, 10.0));
        assert!(equator.crosses(&meridian) && meridian.crosses(&equator));
        assert!(!equator.crosses(&Edge::new(at(180.0, -10.0), at(180.0, 10.0))));
        assert!(!equator.crosses(&Edge::new(at(11.0, -10.0), at(11.0, 10.0))));
        let from_it = Edge::new(at(3.0, 0.0), at(3.0, 5.0));
        assert!(!equator.crosses(&from_it) && equator.meets(&from_it));
    }

    #[test]
    fn the_distance_to_an_edge_is_that_to_its_nearest_place() {
        let at = Vector::from_degrees;
        let equator = Edge::new(at(-10.0, 0.0), at(10.0, 0.0));
        assert!((equator.distance(at(3.0, 4.0)).to_degrees() - 4.0).abs() < 1e-9);
        assert!((equator.distance(at(14.0, 0.0)).to_degrees() - 4.0).abs() < 1e-9);
        assert!((equator.distance(at(180.0, 0.0)).to_degrees() - 170.0).abs() < 1e-9);
    }
}
