//! Reading locations: GeoJSON objects, and the older pairs `[x, y]` and `{x: .., y: ..}`.

use bson::{RawArray, RawBsonRef, RawDocument};

use super::{
    ring::{Polygon, Ring, Winding},
    shape::Shape,
    vector::{Edge, Vector},
};
use crate::{
    error::QueryError,
    number::Number,
    path::{elements, fields},
};

/// The coordinate systems that mean longitude and latitude on the globe.
const CRS_PLAIN: [&str; 2] = ["EPSG:4326", "urn:ogc:def:crs:OGC:1.3:CRS84"];
/// The one that has the inside of a polygon to the left of its ring.
const CRS_STRICT: &str = "urn:x-mongodb:crs:strictwinding:EPSG:4326";

/// A place given by two numbers: on the plane as they are, on the globe as longitude and latitude in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl Pair {
    /// The place on the globe.
    ///
    /// # Errors
    /// `BadValue` (2) out of the bounds of longitudes and latitudes.
    pub(crate) fn on_sphere(self) -> Result<Vector, QueryError> {
        let Self { x, y } = self;
        if (-180.0..=180.0).contains(&x) && (-90.0..=90.0).contains(&y) {
            Ok(Vector::from_degrees(x, y))
        } else {
            Err(QueryError::bad_value(format!("Longitude/latitude is out of bounds, lng: {x} lat: {y}")))
        }
    }
}

/// Whether a value looks like GeoJSON: an object with a `type` that is a string.
pub(crate) fn is_geojson(document: &RawDocument) -> bool {
    matches!(document.get("type"), Ok(Some(RawBsonRef::String(_))))
}

/// Reads an older pair: an array or an object of two numbers; what follows them is not looked at.
pub(crate) fn legacy_pair(value: RawBsonRef<'_>) -> Option<Pair> {
    let mut numbers: Box<dyn Iterator<Item = RawBsonRef<'_>>> = match value {
        RawBsonRef::Array(array) => Box::new(elements(array)),
        RawBsonRef::Document(document) => Box::new(fields(document).map(|(_, value)| value)),
        _ => return None,
    };
    let mut next =
        || numbers.next().and_then(Number::from_raw).map(Number::to_f64).filter(|number| number.is_finite());
    Some(Pair { x: next()?, y: next()? })
}

/// Reads a place of any form: an older pair or a GeoJSON point.
pub(crate) fn pair(value: RawBsonRef<'_>) -> Option<Pair> {
    match value {
        RawBsonRef::Document(document) if is_geojson(document) => match document.get("type") {
            Ok(Some(RawBsonRef::String("Point"))) => position(document.get("coordinates").ok()??).ok(),
            _ => None,
        },
        value => legacy_pair(value),
    }
}

/// Reads a stored location as it is on the globe: GeoJSON, or an older pair of longitude and latitude.
///
/// # Errors
/// `BadValue` (2) for what is no location, or one that cannot be on the globe.
pub(crate) fn stored(value: RawBsonRef<'_>) -> Result<Shape, QueryError> {
    match value {
        RawBsonRef::Document(document) if is_geojson(document) => {
            if is_strict(document)? {
                return Err(QueryError::bad_value(format!(
                    "can't index or store geometry with {CRS_STRICT}"
                )));
            }
            geometry(document)
        }
        value => {
            let pair = legacy_pair(value)
                .ok_or_else(|| QueryError::bad_value("Point must be an array or object of two numbers"))?;
            Ok(Shape { points: vec![pair.on_sphere()?], ..Shape::default() })
        }
    }
}

/// Reads a GeoJSON object.
///
/// # Errors
/// `BadValue` (2).
pub(crate) fn geometry(document: &RawDocument) -> Result<Shape, QueryError> {
    let winding = if is_strict(document)? { Winding::Left } else { Winding::Smaller };
    let mut shape = Shape::default();
    match document.get("type") {
        Ok(Some(RawBsonRef::String("GeometryCollection"))) => {
            let Ok(Some(RawBsonRef::Array(members))) = document.get("geometries") else {
                return Err(QueryError::bad_value("GeometryCollection geometries must be an array"));
            };
            let mut is_empty = true;
            for member in elements(members) {
                let RawBsonRef::Document(member) = member else {
                    return Err(QueryError::bad_value("Element of \"geometries\" is not an object"));
                };
                is_empty = false;
                add(member, Winding::Smaller, &mut shape)?;
            }
            if is_empty {
                return Err(QueryError::bad_value(
                    "GeometryCollection geometries must have at least 1 element",
                ));
            }
        }
        _ => add(document, winding, &mut shape)?,
    }
    Ok(shape)
}

/// Adds a geometry that is no collection.
fn add(document: &RawDocument, winding: Winding, shape: &mut Shape) -> Result<(), QueryError> {
    let Ok(Some(RawBsonRef::String(kind))) = document.get("type") else {
        return Err(QueryError::bad_value("GeoJSON type must be a string"));
    };
    let Ok(Some(RawBsonRef::Array(coordinates))) = document.get("coordinates") else {
        return Err(QueryError::bad_value("GeoJSON coordinates must be an array"));
    };
    let value = RawBsonRef::Array(coordinates);
    if winding == Winding::Left && kind != "Polygon" {
        return Err(QueryError::bad_value(format!(
            "strict winding order is only supported by Polygon, not {kind}"
        )));
    }
    match kind {
        "Point" => shape.points.push(position(value)?.on_sphere()?),
        "MultiPoint" => shape.points.extend(positions(value, "MultiPoint", 1)?),
        "LineString" => add_line(value, shape)?,
        "MultiLineString" => each(coordinates, "MultiLineString", |line| add_line(line, shape))?,
        "Polygon" => shape.polygons.push(polygon(value, winding)?),
        "MultiPolygon" => each(coordinates, "MultiPolygon", |value| {
            shape.polygons.push(polygon(value, winding)?);
            Ok(())
        })?,
        _ => return Err(QueryError::bad_value(format!("unknown GeoJSON type: {kind}"))),
    }
    Ok(())
}

fn each(
    array: &RawArray,
    kind: &str,
    mut take: impl FnMut(RawBsonRef<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let mut is_empty = true;
    for member in elements(array) {
        is_empty = false;
        take(member)?;
    }
    if is_empty {
        return Err(QueryError::bad_value(format!("{kind} coordinates must have at least 1 element")));
    }
    Ok(())
}

/// A GeoJSON position: longitude, latitude and perhaps more, which is not looked at.
fn position(value: RawBsonRef<'_>) -> Result<Pair, QueryError> {
    let pair = match value {
        RawBsonRef::Array(_) => legacy_pair(value),
        _ => None,
    };
    pair.ok_or_else(|| {
        QueryError::bad_value("Point must only contain numeric elements, at least two of them")
    })
}

fn positions(value: RawBsonRef<'_>, kind: &str, least: usize) -> Result<Vec<Vector>, QueryError> {
    let RawBsonRef::Array(array) = value else {
        return Err(QueryError::bad_value(format!("{kind} coordinates must be an array of coordinates")));
    };
    let places = elements(array).map(|place| position(place)?.on_sphere()).collect::<Result<Vec<_>, _>>()?;
    if places.len() < least {
        return Err(QueryError::bad_value(format!("{kind} coordinates must have at least {least} elements")));
    }
    Ok(places)
}

fn add_line(value: RawBsonRef<'_>, shape: &mut Shape) -> Result<(), QueryError> {
    let mut places = positions(value, "LineString", 2)?;
    places.dedup();
    if places.len() < 2 {
        return Err(QueryError::bad_value("GeoJSON LineString must have at least 2 vertices"));
    }
    for (from, to) in places.iter().zip(places.iter().skip(1)) {
        if from.dot(*to) < -1.0 + 1e-15 {
            return Err(QueryError::bad_value("GeoJSON LineString has antipodal adjacent vertices"));
        }
        shape.lines.push(Edge::new(*from, *to));
    }
    Ok(())
}

fn polygon(value: RawBsonRef<'_>, winding: Winding) -> Result<Polygon, QueryError> {
    let RawBsonRef::Array(array) = value else {
        return Err(QueryError::bad_value("Polygon coordinates must be an array"));
    };
    let mut rings = elements(array).map(|value| ring(value, winding)).collect::<Result<Vec<_>, _>>()?;
    if rings.is_empty() {
        return Err(QueryError::bad_value("Polygon has no loops."));
    }
    if winding == Winding::Left && rings.len() > 1 {
        return Err(QueryError::bad_value("Only one simple loop is allowed in a big polygon"));
    }
    let outer = rings.remove(0);
    Polygon::new(outer, rings).map_err(QueryError::bad_value)
}

fn ring(value: RawBsonRef<'_>, winding: Winding) -> Result<Ring, QueryError> {
    let mut places = positions(value, "Polygon loop", 4)?;
    if places.first() != places.last() {
        return Err(QueryError::bad_value("Loop is not closed: its last position must be its first"));
    }
    places.pop();
    places.dedup();
    Ring::new(&places, winding).map_err(QueryError::bad_value)
}

/// Whether the geometry asks for strict winding.
///
/// # Errors
/// `BadValue` (2) for a coordinate system that is not known.
fn is_strict(document: &RawDocument) -> Result<bool, QueryError> {
    let crs = match document.get("crs") {
        Ok(None) => return Ok(false),
        Ok(Some(RawBsonRef::Document(crs))) => crs,
        _ => return Err(QueryError::bad_value("GeoJSON CRS must be an object")),
    };
    if !matches!(crs.get("type"), Ok(Some(RawBsonRef::String("name")))) {
        return Err(QueryError::bad_value("GeoJSON CRS must have field \"type\": \"name\""));
    }
    let name = match crs.get("properties") {
        Ok(Some(RawBsonRef::Document(properties))) => properties.get("name"),
        _ => return Err(QueryError::bad_value("CRS must have field \"properties\" which is an object")),
    };
    match name {
        Ok(Some(RawBsonRef::String(name))) if CRS_PLAIN.contains(&name) => Ok(false),
        Ok(Some(RawBsonRef::String(CRS_STRICT))) => Ok(true),
        Ok(Some(RawBsonRef::String(name))) => Err(QueryError::bad_value(format!("Unknown CRS name: {name}"))),
        _ => Err(QueryError::bad_value("In CRS, \"properties.name\" must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    fn read(document: &Document) -> Result<Shape, QueryError> {
        geometry(&RawDocumentBuf::try_from(document).unwrap())
    }

    #[test]
    fn every_type_is_read() {
        let ring = vec![vec![0, 0], vec![4, 0], vec![4, 4], vec![0, 0]];
        for (kind, coordinates, counts) in [
            ("Point", bson::bson!([1, 2.5, 100]), (1, 0, 0)),
            ("MultiPoint", bson::bson!([[1, 2], [3, 4]]), (2, 0, 0)),
            ("LineString", bson::bson!([[1, 2], [3, 4], [5, 5]]), (0, 2, 0)),
            ("MultiLineString", bson::bson!([[[1, 2], [3, 4]], [[5, 5], [6, 6]]]), (0, 2, 0)),
            ("Polygon", bson::bson!([ring.clone()]), (0, 0, 1)),
            (
                "MultiPolygon",
                bson::bson!([[ring.clone()], [[[10, 10], [12, 10], [12, 12], [10, 10]]]]),
                (0, 0, 2),
            ),
        ] {
            let shape = read(&doc! { "type": kind, "coordinates": coordinates }).unwrap();
            assert_eq!((shape.points.len(), shape.lines.len(), shape.polygons.len()), counts, "{kind}");
        }
        let members = bson::bson!([
            { "type": "Point", "coordinates": [1, 1] }, { "type": "LineString", "coordinates": [[1, 1], [2, 2]] },
        ]);
        let shape = read(&doc! { "type": "GeometryCollection", "geometries": members }).unwrap();
        assert_eq!((shape.points.len(), shape.lines.len()), (1, 1));
    }

    #[test]
    fn what_is_no_geometry_is_refused() {
        for bad in [
            doc! { "type": "Point", "coordinates": [181, 0] },
            doc! { "type": "Point", "coordinates": [0, 90.5] },
            doc! { "type": "Point", "coordinates": [0] },
            doc! { "type": "Point", "coordinates": [f64::NAN, 0] },
            doc! { "type": "Point", "coordinates": ["a", 0] },
            doc! { "type": "Point" },
            doc! { "type": "Circle", "coordinates": [0, 0] },
            doc! { "type": "LineString", "coordinates": [[0, 0]] },
            doc! { "type": "LineString", "coordinates": [[0, 0], [180, 0]] },
            doc! { "type": "Polygon", "coordinates": [] },
            doc! { "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]] },
            doc! { "type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]] },
            doc! { "type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]] },
            doc! { "type": "GeometryCollection", "geometries": [] },
            doc! { "type": "GeometryCollection", "geometries": [{ "type": "GeometryCollection", "geometries": [] }] },
            doc! { "type": "Point", "coordinates": [0, 0], "crs": { "type": "name", "properties": { "name": "EPSG:1" } } },
        ] {
            assert_eq!(read(&bad).unwrap_err().code.0, 2, "{bad}");
        }
    }

    #[test]
    fn pairs_are_read_from_arrays_and_objects() {
        let document = RawDocumentBuf::try_from(&doc! {
            "a": [1, 2], "b": { "lng": 1.0, "lat": 2_i64 }, "c": { "type": "Point", "coordinates": [1, 2] }, "d": [1],
            "e": "no", "f": ["x", 2],
        })
        .unwrap();
        let read = |name: &str| pair(document.get(name).unwrap().unwrap());
        for name in ["a", "b", "c"] {
            assert_eq!(read(name), Some(Pair { x: 1.0, y: 2.0 }));
        }
        for name in ["d", "e", "f"] {
            assert_eq!(read(name), None);
        }
    }
}
