//! Geospatial queries through the API: by index and without, nearest first, in updates and deletes.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use bson::{Bson, Document, doc};
use db_core::{Collection, Find, Hint, IndexChange, IndexModel, Store};
use proptest::prelude::*;

fn collection(documents: impl IntoIterator<Item = Document>) -> Collection<Document> {
    let places = Store::in_memory().unwrap().create_database("test").unwrap().collection("places");
    let documents: Vec<Document> = documents.into_iter().collect();
    if !documents.is_empty() {
        places.insert_many(documents).run().unwrap();
    }
    places
}

fn point(x: f64, y: f64) -> Bson {
    doc! { "type": "Point", "coordinates": [x, y] }.into()
}

fn cities() -> Vec<Document> {
    [
        ("Berlin", 13.405, 52.52),
        ("Paris", 2.3522, 48.8566),
        ("London", -0.1276, 51.5072),
        ("Tokyo", 139.6917, 35.6895),
        ("Suva", 178.4419, -18.1416),
        ("Apia", -171.7667, -13.8333),
        ("Sydney", 151.2093, -33.8688),
    ]
    .map(|(name, x, y)| doc! { "_id": name, "at": point(x, y), "flat": [x, y], "size": name.len() as i32 })
    .into()
}

fn ids(find: Find<Document>) -> Vec<Bson> {
    find.run().unwrap().map(|document| document.unwrap().get("_id").unwrap().clone()).collect()
}

fn keys_examined(find: Find<Document>) -> i64 {
    let explained = find.explain().unwrap();
    explained.get_document("executionStats").unwrap().get_i64("totalKeysExamined").unwrap()
}

fn near(x: f64, y: f64) -> Document {
    doc! { "at": { "$near": { "$geometry": point(x, y) } } }
}

#[test]
fn what_is_near_comes_nearest_first_and_needs_an_index() {
    let places = collection(cities());
    assert_eq!(places.find(near(0.0, 0.0)).run().err().unwrap().code(), Some(291));
    places.create_index(doc! { "at": "2dsphere" }).run().unwrap();
    let order = ["Paris", "London", "Berlin", "Tokyo", "Apia", "Suva", "Sydney"].map(Bson::from);
    assert_eq!(ids(places.find(near(2.0, 49.0))), order);
    assert_eq!(ids(places.find(near(2.0, 49.0)).skip(1).limit(2)), order[1..3]);
    assert_eq!(ids(places.find(near(2.0, 49.0)).sort(doc! { "_id": 1 }))[0], Bson::from("Apia"));
    // Across the antimeridian.
    assert_eq!(ids(places.find(near(-179.0, -16.0)).limit(2)), ["Suva", "Apia"].map(Bson::from));
    let bounded = doc! { "at": { "$nearSphere": { "$geometry": point(2.0, 49.0), "$minDistance": 100_000, "$maxDistance": 1e6 } } };
    assert_eq!(ids(places.find(bounded.clone())), ["London", "Berlin"].map(Bson::from));
    assert_eq!(places.count_documents(bounded).run().unwrap(), 2);
    let with_more = doc! { "at": { "$near": { "$geometry": point(2.0, 49.0) } }, "size": 5 };
    assert_eq!(ids(places.find(with_more)), ["Paris", "Tokyo"].map(Bson::from));
    let radians = doc! { "at": { "$nearSphere": [2, 49], "$maxDistance": 0.1 } };
    assert_eq!(ids(places.find(radians)), ["Paris", "London"].map(Bson::from));
    let by_id = doc! { "_id": "Tokyo", "at": { "$near": { "$geometry": point(2.0, 49.0) } } };
    assert_eq!(ids(places.find(by_id)), ["Tokyo"].map(Bson::from));
}

#[test]
fn a_flat_index_serves_pairs() {
    let places = collection(cities());
    let near = || doc! { "flat": { "$near": [0, 50], "$maxDistance": 15 } };
    assert_eq!(places.find(near()).run().err().unwrap().code(), Some(291));
    places.create_index(doc! { "flat": "2d" }).run().unwrap();
    assert_eq!(ids(places.find(near())), ["London", "Paris", "Berlin"].map(Bson::from));
    assert_eq!(ids(places.find(doc! { "flat": { "$near": [0, 50] } })).len(), 7);
    let in_box = doc! { "flat": { "$geoWithin": { "$box": [[-5, 45], [5, 55]] } } };
    assert_eq!(places.count_documents(in_box.clone()).run().unwrap(), 2);
    assert!(keys_examined(places.find(in_box)) <= 3);
    places.insert_one(doc! { "_id": "nowhere" }).run().unwrap();
    let hinted = places.count_documents(doc! {}).hint(Hint::Keys(doc! { "flat": "2d" }));
    assert_eq!(hinted.run().unwrap(), 7);
    assert_eq!(places.insert_one(doc! { "flat": [181, 0] }).run().unwrap_err().code(), Some(13027));
}

#[test]
fn documents_without_locations_are_left_out_and_bad_ones_refused() {
    let places = collection(cities());
    places.create_index(doc! { "at": "2dsphere", "size": 1 }).run().unwrap();
    places.insert_one(doc! { "_id": "nowhere" }).run().unwrap();
    for bad in [doc! { "at": 5 }, doc! { "at": { "type": "Point", "coordinates": [500, 0] } }] {
        assert_eq!(places.insert_one(bad).run().unwrap_err().code(), Some(16755));
    }
    assert_eq!(places.count_documents(doc! { "size": { "$exists": false } }).run().unwrap(), 1);
    let around = doc! { "at": { "$geoWithin": { "$centerSphere": [[2, 49], 0.1] } }, "size": 6 };
    assert_eq!(ids(places.find(around.clone())), ["London"].map(Bson::from));
    assert!(keys_examined(places.find(around)) <= 3);
}

#[test]
fn updates_and_deletes_choose_by_location() {
    let places = collection(cities());
    places.create_index(doc! { "at": "2dsphere" }).run().unwrap();
    let europe = doc! { "at": { "$geoWithin": { "$centerSphere": [[5, 50], 0.2] } } };
    let updated = places.update_many(europe.clone(), doc! { "$set": { "europe": true } }).run().unwrap();
    assert_eq!(updated.modified_count, 3);
    let nearest = places.find_one_and_delete(near(140.0, 36.0)).run().unwrap().unwrap();
    assert_eq!(nearest.get_str("_id").unwrap(), "Tokyo");
    assert_eq!(places.delete_many(europe).run().unwrap().deleted_count, 3);
    assert_eq!(ids(places.find(near(0.0, 0.0))).len(), 3);
}

fn location() -> impl Strategy<Value = Bson> {
    let place = || (-180.0..180.0_f64, -89.0..89.0_f64);
    prop_oneof![
        4 => place().prop_map(|(x, y)| point(x, y)),
        2 => (-3.0..3.0_f64, 46.0..49.0_f64).prop_map(|(x, y)| Bson::from(vec![x, y])),
        1 => (place(), place()).prop_map(|(a, b)| {
            Bson::from(doc! { "type": "LineString", "coordinates": [[a.0, a.1], [b.0, b.1]] })
        }),
        1 => (-170.0..170.0_f64, -80.0..80.0_f64, 0.001..9.0_f64).prop_map(|(x, y, size)| {
            let ring = vec![vec![x, y], vec![x + size, y], vec![x, y + size], vec![x, y]];
            Bson::from(doc! { "type": "Polygon", "coordinates": [ring] })
        }),
        1 => Just(Bson::Null),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_scan_finds(
        locations in prop::collection::vec(location(), 1..60), x in -180.0..180.0_f64, y in -89.0..89.0_f64,
        radius in 0.0..3.0_f64, asked in location(),
    ) {
        let documents: Vec<Document> =
            locations.into_iter().enumerate().map(|(n, at)| doc! { "_id": n as i32, "at": at, "n": (n % 3) as i32 }).collect();
        let (plain, indexed) = (collection(documents.clone()), collection(documents));
        for keys in [doc! { "at": "2dsphere" }, doc! { "n": 1, "at": "2dsphere" }] {
            indexed.create_index(keys).run().unwrap();
        }
        let mut filters = vec![
            doc! { "at": { "$geoWithin": { "$centerSphere": [[x, y], radius] } } },
            doc! { "n": 1, "at": { "$geoWithin": { "$centerSphere": [[x, y], radius] } } },
            doc! { "at": { "$not": { "$geoWithin": { "$centerSphere": [[x, y], radius] } } } },
            doc! { "$or": [{ "at": { "$geoWithin": { "$centerSphere": [[x, y], radius] } } }, { "_id": 3 }] },
        ];
        if let Bson::Document(shape) = asked {
            filters.push(doc! { "at": { "$geoIntersects": { "$geometry": shape.clone() } } });
            if shape.get_str("type").is_ok_and(|kind| kind == "Polygon") {
                filters.push(doc! { "at": { "$geoWithin": { "$geometry": shape } } });
            }
        }
        let sorted = |places: &Collection<Document>, filter: &Document| ids(places.find(filter.clone()).sort(doc! { "_id": 1 }));
        for filter in &filters {
            prop_assert_eq!(sorted(&plain, filter), sorted(&indexed, filter), "{}", filter);
        }
        let everywhere = doc! { "at": { "$geoWithin": { "$centerSphere": [[x, y], 4] } } };
        let by_distance = ids(indexed.find(near(x, y)));
        prop_assert_eq!(by_distance.len(), sorted(&plain, &everywhere).len());
        // Each prefix of the order is what lies within the distance of its last one.
        let meters = radius * 6_378_100.0;
        let within = doc! { "at": { "$near": { "$geometry": point(x, y), "$maxDistance": meters } } };
        let beyond = doc! { "at": { "$near": { "$geometry": point(x, y), "$minDistance": meters } } };
        let (within, beyond) = (ids(indexed.find(within)), ids(indexed.find(beyond)));
        prop_assert_eq!(&by_distance[..within.len()], within.as_slice());
        prop_assert_eq!(&by_distance[by_distance.len() - beyond.len()..], beyond.as_slice());
    }
}

#[test]
fn geo_near_finds_the_one_index_of_locations_by_itself() {
    let places: Collection<Document> =
        Store::in_memory().unwrap().create_database("t").unwrap().collection("p");
    let at = |id: i32, x: f64, y: f64| doc! { "_id": id, "at": { "type": "Point", "coordinates": [x, y] }, "flat": [x, y] };
    places.insert_many([at(1, 2.0, 48.0), at(2, 13.0, 52.0)]).run().unwrap();
    let nearest = |more: Document| {
        let mut near =
            doc! { "near": { "type": "Point", "coordinates": [13.0, 51.0] }, "distanceField": "d" };
        near.extend(more);
        let found = places.aggregate([doc! { "$geoNear": near }]).run()?;
        found.map(|document| Ok(document?.get_i32("_id").unwrap())).collect::<db_core::Result<Vec<i32>>>()
    };
    assert_eq!(nearest(doc! {}).unwrap_err().code(), Some(27));
    places.create_index(doc! { "at": "2dsphere" }).run().unwrap();
    assert_eq!(nearest(doc! {}).unwrap(), [2, 1]);
    assert_eq!(nearest(doc! { "query": { "_id": 1 } }).unwrap(), [1]);
    // Of several it must be said which is meant; a hidden one does not count.
    places.create_index(IndexModel::new(doc! { "other": "2dsphere" })).run().unwrap();
    assert_eq!(nearest(doc! {}).unwrap_err().code(), Some(27));
    assert_eq!(nearest(doc! { "key": "at" }).unwrap(), [2, 1]);
    places.change_index("other_2dsphere", &IndexChange::default().hidden(true)).run().unwrap();
    assert_eq!(nearest(doc! {}).unwrap(), [2, 1]);
    // One on a plane is meant before one on the globe.
    places.create_index(doc! { "flat": "2d" }).run().unwrap();
    assert_eq!(nearest(doc! { "near": [2.0, 47.0] }).unwrap(), [1, 2]);
}
