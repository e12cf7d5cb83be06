//! Geometry: GeoJSON and older pairs, on the globe and on the plane, and the cells by which indexes know locations.
//!
//! On the globe edges are arcs of great circles and distances are along them. What the planar crates compute is wrong for
//! large shapes and at the poles and the antimeridian, so this is written by itself: places are unit vectors, and all
//! predicates come down to the sign of a triple product.

mod cell;
mod flat;
mod geojson;
mod grid;
mod near;
mod region;
mod ring;
mod shape;
mod vector;

use bson::RawBsonRef;

use crate::error::{ErrorCode, QueryError};

pub(crate) use grid::Grid;
pub(crate) use near::NearTest;
pub(crate) use region::GeoTest;

use geojson::Pair;
use vector::Vector;

/// A place that distances are measured from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Center {
    Sphere(Vector),
    Flat(Pair),
}

/// The names of the cells that a spherical index knows a stored value by.
///
/// # Errors
/// 16755 for a value that is no location.
pub(crate) fn sphere_cells(value: RawBsonRef<'_>) -> Result<Vec<i64>, QueryError> {
    let shape = geojson::stored(value).map_err(|error| {
        QueryError::new(ErrorCode::GEO_KEYS, format!("Can't extract geo keys: {}", error.message))
    })?;
    Ok(region::location_cells(&shape))
}

/// The names of the squares that a flat index knows a stored value by: a place, or an array of places.
///
/// # Errors
/// 13026 for a value that is no place, 13027 for one that is not on the grid.
pub(crate) fn grid_cells(grid: &Grid, value: RawBsonRef<'_>) -> Result<Vec<i64>, QueryError> {
    let is_place = |value: RawBsonRef<'_>| matches!(value, RawBsonRef::Array(_) | RawBsonRef::Document(_));
    let no_place = || {
        QueryError::new(ErrorCode::NO_POINT, "location object expected, location array not in correct format")
    };
    let mut cells = match (geojson::pair(value), value) {
        (Some(place), _) => vec![grid.cell(place)?],
        (None, RawBsonRef::Array(list)) => crate::path::elements(list)
            .map(|place| {
                grid.cell(
                    Some(place)
                        .filter(|place| is_place(*place))
                        .and_then(geojson::pair)
                        .ok_or_else(no_place)?,
                )
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(no_place()),
    };
    cells.sort_unstable();
    cells.dedup();
    Ok(cells)
}

#[cfg(test)]
mod tests;
