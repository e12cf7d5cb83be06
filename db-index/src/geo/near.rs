//! `$near` and `$nearSphere`: distances from a place, within bounds, and rings of them that an index is asked for one after
//! the other.

use bson::{RawBsonRef, RawDocument};

use super::{
    Center,
    cell::Relation,
    flat::{self, Rectangle},
    geojson,
    grid::Grid,
    region,
    vector::EARTH_RADIUS_M,
};
use crate::{error::QueryError, number::Number, path::fields};

/// A condition on the distance of a location from a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NearTest {
    center: Center,
    /// What an angle, or a distance of the plane, is multiplied by for the caller.
    unit: f64,
    /// The least distance, as an angle or on the plane.
    low: f64,
    high: f64,
    /// Whether a location may be at the greatest distance itself.
    closed: bool,
}

impl NearTest {
    /// Reads the operand of `operator` (`$near` or `$nearSphere`) with the operators that stand beside it, which may bound
    /// the distance from an older pair.
    ///
    /// # Errors
    /// `BadValue` (2).
    pub(crate) fn parse(
        operator: &str,
        operand: RawBsonRef<'_>,
        beside: &RawDocument,
    ) -> Result<Self, QueryError> {
        let (mut center, mut bounds) = (None, (None, None));
        match operand {
            RawBsonRef::Document(inner) if fields(inner).any(|(name, _)| name == "$geometry") => {
                for (name, value) in fields(inner) {
                    match name {
                        "$geometry" => center = Some(region::center(value)?),
                        "$minDistance" => bounds.0 = Some(distance(name, value)?),
                        "$maxDistance" => bounds.1 = Some(distance(name, value)?),
                        _ => {
                            return Err(QueryError::bad_value(format!(
                                "invalid argument in geo near query: {name}"
                            )));
                        }
                    }
                }
                if matches!(center, Some(Center::Flat(_))) {
                    return Err(QueryError::bad_value("$near requires a GeoJSON point under $geometry"));
                }
            }
            operand => center = Some(region::center(operand)?),
        }
        for (name, value) in fields(beside) {
            match name {
                "$minDistance" => bounds.0 = Some(distance(name, value)?),
                "$maxDistance" => bounds.1 = Some(distance(name, value)?),
                _ => {}
            }
        }
        let center = center.ok_or_else(|| QueryError::bad_value(format!("{operator} needs a place")))?;
        let (center, unit) = match center {
            Center::Flat(pair) if operator == "$nearSphere" => (Center::Sphere(pair.on_sphere()?), 1.0),
            Center::Flat(_) => (center, 1.0),
            Center::Sphere(_) => (center, EARTH_RADIUS_M),
        };
        Ok(Self::new(center, unit, bounds.0, bounds.1))
    }

    /// The condition of a `$geoNear` stage, with distances in meters from GeoJSON, in radians from a pair on the sphere,
    /// and of the plane otherwise.
    ///
    /// # Errors
    /// `BadValue` (2).
    #[cfg(test)]
    pub(crate) fn of_stage(
        near: RawBsonRef<'_>,
        spherical: bool,
        low: Option<f64>,
        high: Option<f64>,
    ) -> Result<Self, QueryError> {
        let (center, unit) = match region::center(near)? {
            Center::Flat(pair) if spherical => (Center::Sphere(pair.on_sphere()?), 1.0),
            center @ Center::Flat(_) => (center, 1.0),
            center @ Center::Sphere(_) => (center, EARTH_RADIUS_M),
        };
        Ok(Self::new(center, unit, low, high))
    }

    fn new(center: Center, unit: f64, low: Option<f64>, high: Option<f64>) -> Self {
        let high = high.map_or(f64::INFINITY, |high| high / unit);
        Self { center, unit, low: low.unwrap_or(0.0) / unit, high, closed: true }
    }

    /// Whether distances are on the globe.
    pub(crate) fn is_spherical(&self) -> bool {
        matches!(self.center, Center::Sphere(_))
    }

    /// The distance of a stored value, as an angle or on the plane; none if it is no location.
    pub(crate) fn raw_distance(&self, value: RawBsonRef<'_>) -> Option<f64> {
        if !matches!(value, RawBsonRef::Document(_) | RawBsonRef::Array(_)) {
            return None;
        }
        match self.center {
            Center::Flat(center) => geojson::pair(value).map(|place| flat::distance(center, place)),
            Center::Sphere(center) => geojson::stored(value).ok().map(|shape| shape.distance(center)),
        }
    }

    /// A distance as the caller has it.
    pub(crate) fn to_unit(&self, distance: f64) -> f64 {
        distance * self.unit
    }

    /// Whether a distance is within the bounds.
    pub(crate) fn admits(&self, distance: f64) -> bool {
        self.low <= distance && (distance < self.high || self.closed && distance == self.high)
    }

    /// The part of the distances from `low` on and, but for the last of all, below `high`.
    pub(crate) fn ring(&self, low: f64, high: f64) -> Self {
        let is_last = high >= self.high;
        Self {
            low: self.low.max(low),
            high: self.high.min(high),
            closed: is_last && self.closed,
            ..self.clone()
        }
    }

    /// The greatest distance that a location can have.
    pub(crate) fn farthest(&self) -> f64 {
        match self.center {
            Center::Sphere(_) => self.high.min(std::f64::consts::PI),
            Center::Flat(_) => self.high,
        }
    }

    /// The least distance asked for.
    pub(crate) fn nearest(&self) -> f64 {
        self.low
    }

    /// Which cell names a location within the bounds has one of in a spherical index.
    pub(crate) fn cell_ranges(&self) -> Option<Vec<(i64, i64)>> {
        match self.center {
            Center::Sphere(center) => Some(region::ring_cells(center, self.low, self.high)),
            Center::Flat(_) => None,
        }
    }

    /// Which squares a location within the bounds has one of in a flat index.
    pub(crate) fn grid_ranges(&self, grid: &Grid) -> Option<Vec<(i64, i64)>> {
        let Center::Flat(center) = self.center else { return None };
        let around = Rectangle::around(center, self.high);
        Some(grid.ranges(|square| {
            if !around.meets(square) || square.farthest(center) < self.low {
                Relation::Outside
            } else {
                Relation::Crossing
            }
        }))
    }
}

fn distance(name: &str, value: RawBsonRef<'_>) -> Result<f64, QueryError> {
    let number = Number::from_raw(value).map(Number::to_f64).filter(|number| *number >= 0.0);
    number.ok_or_else(|| QueryError::bad_value(format!("{name} must be a non-negative number")))
}
