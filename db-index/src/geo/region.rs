//! `$geoWithin` and `$geoIntersects`: what they ask for, their test on a value, and which keys of an index can pass it.

use bson::{RawBsonRef, RawDocument};

use super::{
    Center,
    cell::{Cell, LEVEL_MAX, Relation, covering},
    flat::{FlatRegion, Rectangle},
    geojson::{self, Pair, legacy_pair},
    grid::Grid,
    shape::Shape,
    vector::Vector,
};
use crate::{
    error::QueryError,
    number::Number,
    path::{elements, fields},
};

/// The most cells that a query's region is covered by.
const CELLS_MAX: usize = 32;

/// A condition on one location.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GeoTest {
    /// `$geoWithin`: it lies in the region, all of it.
    Within(Region),
    /// `$geoIntersects`: it has a place in common with the shape.
    Intersects(Shape),
}

/// Where `$geoWithin` looks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Region {
    /// Within one of the polygons of a shape.
    Shape(Shape),
    /// Within an angle of a place.
    Cap(Vector, f64),
    /// In a part of the plane.
    Flat(FlatRegion),
}

impl GeoTest {
    /// Reads the operand of `operator`.
    ///
    /// # Errors
    /// `BadValue` (2).
    pub(crate) fn parse(operator: &str, operand: RawBsonRef<'_>) -> Result<Self, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            return Err(QueryError::bad_value(format!(
                "{operator} expected an object: geo query doesn't have any geometry"
            )));
        };
        let is_intersection = operator == "$geoIntersects";
        let mut test = None;
        for (name, value) in fields(operand) {
            if name == "$uniqueDocs" {
                continue; // deprecated, means nothing
            }
            if test.is_some() {
                return Err(QueryError::bad_value(format!("{operator} takes one shape")));
            }
            test = Some(match name {
                "$geometry" => {
                    let shape = geometry(value)?;
                    if is_intersection {
                        Self::Intersects(shape)
                    } else if shape.polygons.is_empty() {
                        return Err(QueryError::bad_value(format!(
                            "{operator} not supported with provided geometry: only polygons have an inside"
                        )));
                    } else {
                        Self::Within(Region::Shape(shape))
                    }
                }
                _ if is_intersection => {
                    return Err(QueryError::bad_value(format!(
                        "{operator} not supported with provided geometry: {name}"
                    )));
                }
                "$centerSphere" => {
                    let (center, radius) = circle(name, value)?;
                    Self::Within(Region::Cap(center.on_sphere()?, radius))
                }
                "$center" => {
                    let (center, radius) = circle(name, value)?;
                    Self::Within(Region::Flat(FlatRegion::Center { center, radius }))
                }
                "$box" => Self::Within(Region::Flat(FlatRegion::Box(rectangle(value)?))),
                "$polygon" => Self::Within(Region::Flat(FlatRegion::Polygon(corners(value)?))),
                _ => return Err(QueryError::bad_value(format!("unknown geo specifier: {name}"))),
            });
        }
        test.ok_or_else(|| QueryError::bad_value(format!("{operator}: geo query doesn't have any geometry")))
    }

    /// Whether a stored value is a location that meets the condition.
    pub(crate) fn matches(&self, value: RawBsonRef<'_>) -> bool {
        if !matches!(value, RawBsonRef::Document(_) | RawBsonRef::Array(_)) {
            return false;
        }
        if let Self::Within(Region::Flat(region)) = self {
            return geojson::pair(value).is_some_and(|place| region.contains(place));
        }
        let Ok(shape) = geojson::stored(value) else { return false };
        match self {
            Self::Within(Region::Shape(region)) => region.contains(&shape),
            Self::Within(Region::Cap(center, radius)) => shape.is_within_cap(*center, *radius),
            Self::Within(Region::Flat(_)) => false,
            Self::Intersects(other) => other.intersects(&shape),
        }
    }

    /// Which cell names a matching location has one of in a spherical index; none if such an index does not serve.
    pub(crate) fn cell_ranges(&self) -> Option<Vec<(i64, i64)>> {
        match self {
            Self::Within(Region::Shape(shape)) | Self::Intersects(shape) => {
                Some(cell_ranges(|center, radius| shape.relation(center, radius)))
            }
            Self::Within(Region::Cap(center, radius)) => Some(ring_cells(*center, 0.0, *radius)),
            Self::Within(Region::Flat(_)) => None,
        }
    }

    /// Which squares a matching location has one of in a flat index; none if such an index does not serve.
    pub(crate) fn grid_ranges(&self, grid: &Grid) -> Option<Vec<(i64, i64)>> {
        let Self::Within(Region::Flat(region)) = self else { return None };
        let bounds = region.bounds();
        Some(grid.ranges(|square| {
            if !bounds.meets(square) {
                Relation::Outside
            } else if matches!(region, FlatRegion::Box(_)) && bounds.holds(square) {
                Relation::Inside
            } else {
                Relation::Crossing
            }
        }))
    }
}

/// The cells that what is at a distance between two angles of `center` has one of.
pub(super) fn ring_cells(center: Vector, low: f64, high: f64) -> Vec<(i64, i64)> {
    cell_ranges(|place, radius| {
        let distance = center.angle(place);
        if distance > high + radius || distance + radius < low {
            Relation::Outside
        } else if distance + radius < high && distance > low + radius {
            Relation::Inside
        } else {
            Relation::Crossing
        }
    })
}

/// The cells of a covering with all within them, and all that they are within: a large location is known by large cells.
fn cell_ranges(relation: impl Fn(Vector, f64) -> Relation) -> Vec<(i64, i64)> {
    let cells = covering(CELLS_MAX, LEVEL_MAX, relation);
    let mut ranges: Vec<(i64, i64)> = cells.iter().map(|cell| cell.range()).collect();
    for cell in cells {
        ranges.extend(
            std::iter::successors(cell.parent(), |cell| Cell::parent(*cell))
                .map(|cell| (cell.id(), cell.id())),
        );
    }
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// The cells that a spherical index knows a location by.
pub(crate) fn location_cells(shape: &Shape) -> Vec<i64> {
    const CELLS_PER_LOCATION_MAX: usize = 20;
    /// About ten meters: finer cells would tell little more of what has an extent.
    const LEVEL: u32 = 20;
    if shape.lines.is_empty() && shape.polygons.is_empty() && shape.points.len() <= CELLS_PER_LOCATION_MAX {
        let mut cells: Vec<i64> = shape.points.iter().map(|point| Cell::leaf(*point).id()).collect();
        cells.sort_unstable();
        cells.dedup();
        return cells;
    }
    let cells = covering(CELLS_PER_LOCATION_MAX, LEVEL, |center, radius| shape.relation(center, radius));
    cells.into_iter().map(Cell::id).collect()
}

/// The operand of `$geometry`.
pub(super) fn geometry(value: RawBsonRef<'_>) -> Result<Shape, QueryError> {
    match value {
        RawBsonRef::Document(document) => geojson::geometry(document),
        _ => Err(QueryError::bad_value("$geometry must be a GeoJSON object")),
    }
}

/// A place that something is near to: GeoJSON under `$geometry`, or an older pair.
pub(super) fn center(value: RawBsonRef<'_>) -> Result<Center, QueryError> {
    let document: &RawDocument = match value {
        RawBsonRef::Document(document) => document,
        value => return pair(value).map(Center::Flat),
    };
    if !geojson::is_geojson(document) {
        return pair(value).map(Center::Flat);
    }
    match geojson::geometry(document)?.as_point() {
        Some(point) => Ok(Center::Sphere(point)),
        None => Err(QueryError::bad_value(
            "invalid point in geo near query $geometry argument: it must be a GeoJSON Point",
        )),
    }
}

fn pair(value: RawBsonRef<'_>) -> Result<Pair, QueryError> {
    legacy_pair(value).ok_or_else(|| QueryError::bad_value("Point must only contain two numeric elements"))
}

fn circle(name: &str, value: RawBsonRef<'_>) -> Result<(Pair, f64), QueryError> {
    let RawBsonRef::Array(list) = value else {
        return Err(QueryError::bad_value(format!("{name} must be an array of a centre and a radius")));
    };
    let mut members = elements(list);
    let (Some(center), Some(radius), None) = (members.next(), members.next(), members.next()) else {
        return Err(QueryError::bad_value(format!("{name} takes a centre and a radius")));
    };
    let radius = Number::from_raw(radius).map(Number::to_f64).filter(|radius| *radius >= 0.0);
    let radius = radius.ok_or_else(|| QueryError::bad_value("radius must be a non-negative number"))?;
    Ok((pair(center)?, radius))
}

fn rectangle(value: RawBsonRef<'_>) -> Result<Rectangle, QueryError> {
    let RawBsonRef::Array(list) = value else {
        return Err(QueryError::bad_value("$box must be an array of two corners"));
    };
    let mut members = elements(list);
    let (Some(a), Some(b)) = (members.next(), members.next()) else {
        return Err(QueryError::bad_value("$box takes two corners"));
    };
    let (a, b) = (pair(a)?, pair(b)?);
    Ok(Rectangle {
        low: Pair { x: a.x.min(b.x), y: a.y.min(b.y) },
        high: Pair { x: a.x.max(b.x), y: a.y.max(b.y) },
    })
}

fn corners(value: RawBsonRef<'_>) -> Result<Vec<Pair>, QueryError> {
    let corners: Vec<Pair> = match value {
        RawBsonRef::Array(list) => elements(list).map(pair).collect::<Result<_, _>>()?,
        RawBsonRef::Document(named) => {
            fields(named).map(|(_, value)| pair(value)).collect::<Result<_, _>>()?
        }
        _ => return Err(QueryError::bad_value("$polygon must be an array of places")),
    };
    if corners.len() < 3 {
        return Err(QueryError::bad_value("Polygon must have at least 3 points"));
    }
    Ok(corners)
}
