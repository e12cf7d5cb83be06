//! The operators on values, and that indexes hold what they find.

use bson::{Bson, RawDocumentBuf, doc};
use proptest::prelude::*;

use super::*;

fn with<T>(value: impl Into<Bson>, read: impl FnOnce(RawBsonRef<'_>) -> T) -> T {
    let document = RawDocumentBuf::try_from(&doc! { "v": value.into() }).unwrap();
    read(document.get("v").unwrap().unwrap())
}

fn test(operator: &str, operand: impl Into<Bson>) -> Result<GeoTest, QueryError> {
    with(operand, |operand| GeoTest::parse(operator, operand))
}

fn matches(test: &GeoTest, value: impl Into<Bson>) -> bool {
    with(value, |value| test.matches(value))
}

fn point(x: f64, y: f64) -> Bson {
    doc! { "type": "Point", "coordinates": [x, y] }.into()
}

fn polygon(corners: &[(f64, f64)]) -> Bson {
    let ring: Vec<Bson> = corners.iter().chain(corners.first()).map(|(x, y)| vec![*x, *y].into()).collect();
    doc! { "type": "Polygon", "coordinates": [ring] }.into()
}

#[test]
fn shapes_of_the_plane_hold_pairs_and_points() {
    let square = test("$geoWithin", doc! { "$box": [[0, 0], [10, 10]] }).unwrap();
    assert!(matches(&square, vec![1.0, 2.0]));
    assert!(matches(&square, doc! { "lng": 10, "lat": 10 }));
    assert!(matches(&square, point(3.0, 3.0)));
    assert!(!matches(&square, vec![11.0, 2.0]));
    assert!(!matches(&square, polygon(&[(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)])));
    let circle = test("$within", doc! { "$center": [[0, 0], 5] }).unwrap();
    assert!(matches(&circle, vec![3, 4]) && !matches(&circle, vec![4, 4]));
}

#[test]
fn arcs_bulge_towards_the_pole() {
    // At 45 degrees between two places of latitude 60, the great circle runs far north of the parallel.
    let band = test(
        "$geoWithin",
        doc! { "$geometry": polygon(&[(-45.0, 0.0), (45.0, 0.0), (45.0, 60.0), (-45.0, 60.0)]) },
    );
    let band = band.unwrap();
    assert!(matches(&band, point(0.0, 65.0)));
    assert!(!matches(&band, point(0.0, 69.0)));
    let flat = test("$geoWithin", doc! { "$polygon": [[-45, 0], [45, 0], [45, 60], [-45, 60]] }).unwrap();
    assert!(!matches(&flat, point(0.0, 65.0)));
}

#[test]
fn polygons_may_cross_the_antimeridian_and_hold_a_pole() {
    let pacific = test(
        "$geoWithin",
        doc! { "$geometry": polygon(&[(170.0, -10.0), (-170.0, -10.0), (-170.0, 10.0), (170.0, 10.0)]) },
    )
    .unwrap();
    assert!(matches(&pacific, point(180.0, 0.0)) && matches(&pacific, vec![-175, 5]));
    assert!(!matches(&pacific, point(165.0, 0.0)) && !matches(&pacific, point(0.0, 0.0)));
    let arctic = test(
        "$geoWithin",
        doc! { "$geometry": polygon(&[(0.0, 70.0), (90.0, 70.0), (180.0, 70.0), (-90.0, 70.0)]) },
    )
    .unwrap();
    assert!(matches(&arctic, point(45.0, 89.0)) && !matches(&arctic, point(45.0, 60.0)));
}

#[test]
fn a_strictly_wound_polygon_may_be_most_of_the_globe() {
    let crs = doc! { "type": "name", "properties": { "name": "urn:x-mongodb:crs:strictwinding:EPSG:4326" } };
    let outside = doc! { "$geometry": { "type": "Polygon", "crs": crs.clone(),
    "coordinates": [[[-10, -10], [-10, 10], [10, 10], [10, -10], [-10, -10]]] } };
    let outside = test("$geoWithin", outside).unwrap();
    assert!(matches(&outside, point(100.0, 0.0)) && !matches(&outside, point(0.0, 0.0)));
}

#[test]
fn circles_on_the_globe_are_measured_along_it() {
    let circle =
        test("$geoWithin", doc! { "$centerSphere": [[2.3522, 48.8566], 350_000.0 / vector::EARTH_RADIUS_M] })
            .unwrap();
    assert!(matches(&circle, point(-0.1276, 51.5072)), "London from Paris");
    assert!(!matches(&circle, point(13.405, 52.52)), "Berlin from Paris");
}

#[test]
fn intersections_need_no_containment() {
    let square = test(
        "$geoIntersects",
        doc! { "$geometry": polygon(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]) },
    )
    .unwrap();
    assert!(matches(&square, doc! { "type": "LineString", "coordinates": [[-5, 5], [15, 5]] }));
    assert!(!matches(&square, doc! { "type": "LineString", "coordinates": [[-5, 15], [15, 15]] }));
    assert!(matches(&square, polygon(&[(9.0, 9.0), (20.0, 9.0), (20.0, 20.0)])));
    assert!(matches(&square, vec![5, 5]));
    let place = test("$geoIntersects", doc! { "$geometry": point(5.0, 5.0) }).unwrap();
    assert!(matches(&place, polygon(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)])));
    assert!(matches(&place, vec![5, 5]) && !matches(&place, vec![5, 6]));
}

#[test]
fn operands_of_the_wrong_form_are_refused() {
    for (operator, operand) in [
        ("$geoWithin", bson::bson!([1, 2])),
        ("$geoWithin", bson::bson!({})),
        ("$geoWithin", bson::bson!({ "$sphere": 1 })),
        ("$geoWithin", bson::bson!({ "$geometry": { "type": "Point", "coordinates": [1, 2] } })),
        ("$geoWithin", bson::bson!({ "$center": [[1, 2], (-1)] })),
        ("$geoWithin", bson::bson!({ "$centerSphere": [[200, 2], 1] })),
        ("$geoWithin", bson::bson!({ "$polygon": [[1, 2], [3, 4]] })),
        ("$geoIntersects", bson::bson!({ "$box": [[1, 2], [3, 4]] })),
        ("$geoIntersects", bson::bson!({ "$geometry": { "type": "Nothing" } })),
    ] {
        assert_eq!(test(operator, operand.clone()).unwrap_err().code.0, 2, "{operand}");
    }
}

fn near(operator: &str, operand: impl Into<Bson>) -> NearTest {
    let beside = RawDocumentBuf::try_from(&doc! { "$maxDistance": 10 }).unwrap();
    with(operand, |operand| NearTest::parse(operator, operand, &beside)).unwrap()
}

#[test]
fn distances_are_in_meters_radians_or_units_of_the_plane() {
    let distance =
        |test: &NearTest, value: Bson| with(value, |value| test.raw_distance(value)).map(|d| test.to_unit(d));
    let meters = near("$near", doc! { "$geometry": point(0.0, 0.0), "$minDistance": 5 });
    let degree = vector::EARTH_RADIUS_M.to_radians();
    assert!((distance(&meters, point(0.0, 1.0)).unwrap() - degree).abs() < 1e-6);
    assert!(meters.admits(7.0 / vector::EARTH_RADIUS_M) && !meters.admits(4.0 / vector::EARTH_RADIUS_M));
    assert!(!meters.admits(11.0 / vector::EARTH_RADIUS_M));
    let radians = near("$nearSphere", vec![0, 0]);
    assert!((distance(&radians, point(0.0, 90.0)).unwrap() - std::f64::consts::FRAC_PI_2).abs() < 1e-12);
    let plane = near("$near", vec![0, 0]);
    assert_eq!(distance(&plane, vec![3, 4].into()), Some(5.0));
    let square = polygon(&[(1.0, -1.0), (3.0, -1.0), (3.0, 1.0), (1.0, 1.0)]);
    assert!((distance(&meters, square).unwrap() - degree).abs() < 1e-3 * degree, "the nearest edge counts");
}

fn geometry() -> impl Strategy<Value = Bson> {
    let place = || (-180.0..180.0_f64, -89.0..89.0_f64);
    let size = (-6.0..1.6_f64).prop_map(|exponent| 10_f64.powf(exponent));
    let line = (place(), place()).prop_map(|(a, b)| {
        Bson::from(doc! { "type": "LineString", "coordinates": [[a.0, a.1], [b.0, b.1]] })
    });
    let area = (place(), size, 3..9_u32).prop_map(|((x, y), size, corners)| {
        let (x, y) = (x.clamp(-170.0, 170.0), y.clamp(-80.0, 80.0));
        let size = size.min(80.0 - y.abs().min(79.0)).min(9.0);
        let corner = |number: u32| {
            let turn = f64::from(number) * std::f64::consts::TAU / f64::from(corners);
            (x + size * turn.cos(), y + size * turn.sin())
        };
        polygon(&(0..corners).map(corner).collect::<Vec<_>>())
    });
    prop_oneof![
        place().prop_map(|(x, y)| point(x, y)),
        place().prop_map(|(x, y)| Bson::from(vec![x, y])),
        line,
        area,
    ]
}

fn is_found(ranges: &[(i64, i64)], cells: &[i64]) -> bool {
    cells.iter().any(|cell| ranges.iter().any(|(low, high)| low <= cell && cell <= high))
}

proptest! {
    #[test]
    fn what_matches_has_a_cell_in_the_ranges(stored in geometry(), asked in geometry(), radius in 0.0..3.2_f64, low in 0.0..2.0_f64) {
        let Ok(cells) = with(stored.clone(), sphere_cells) else { return Ok(()) };
        prop_assert!(!cells.is_empty() && cells.len() <= 20);
        let mut tests = Vec::new();
        if let Bson::Document(_) = &asked {
            tests.extend(test("$geoIntersects", doc! { "$geometry": asked.clone() }));
            tests.extend(test("$geoWithin", doc! { "$geometry": asked.clone() }));
        }
        tests.extend(test("$geoWithin", doc! { "$centerSphere": [[12.5, 41.9], radius] }));
        for test in tests {
            if matches(&test, stored.clone()) {
                prop_assert!(is_found(&test.cell_ranges().unwrap(), &cells), "{stored} {test:?}");
            }
        }
        let near = with(vec![12.5, 41.9], |place| NearTest::of_stage(place, true, Some(low), Some(low + radius))).unwrap();
        let distance = with(stored.clone(), |value| near.raw_distance(value)).unwrap();
        if near.admits(distance) {
            prop_assert!(is_found(&near.cell_ranges().unwrap(), &cells), "{stored} at {distance}");
        }
    }

    #[test]
    fn what_matches_on_the_plane_has_a_square_in_the_ranges(
        x in -180.0..180.0_f64, y in -180.0..180.0_f64, radius in 0.0..200.0_f64, low in 0.0..100.0_f64,
    ) {
        let grid = Grid::default();
        let cells = with(vec![x, y], |value| grid_cells(&grid, value)).unwrap();
        for operand in [
            doc! { "$center": [[10, 20], radius] }, doc! { "$box": [[10, 20], [10.0 + radius, 20.0 - radius]] },
            doc! { "$polygon": [[10, 20], [10.0 + radius, 20.0 - radius], [3.0, 10.0 + radius]] },
        ] {
            let test = test("$geoWithin", operand).unwrap();
            if matches(&test, vec![x, y]) {
                prop_assert!(is_found(&test.grid_ranges(&grid).unwrap(), &cells));
            }
        }
        let near = with(vec![10, 20], |place| NearTest::of_stage(place, false, Some(low), Some(low + radius))).unwrap();
        if near.admits(with(vec![x, y], |value| near.raw_distance(value)).unwrap()) {
            prop_assert!(is_found(&near.grid_ranges(&grid).unwrap(), &cells));
        }
    }

    #[test]
    fn containment_implies_intersection(stored in geometry(), asked in geometry()) {
        let Bson::Document(_) = &asked else { return Ok(()) };
        let within = test("$geoWithin", doc! { "$geometry": asked.clone() });
        let meets = test("$geoIntersects", doc! { "$geometry": asked });
        if let (Ok(within), Ok(meets)) = (within, meets) {
            prop_assert!(!matches(&within, stored.clone()) || matches(&meets, stored));
        }
    }
}
