use bson::{Bson, DateTime, Document, bson, doc};
use proptest::prelude::*;

use crate::aggregate::tests;
use crate::error::QueryError;

fn densify(stage: Bson, documents: &[Document]) -> Result<Vec<Document>, QueryError> {
    let documents =
        documents.iter().map(|document| bson::raw::RawDocumentBuf::try_from(document).unwrap()).collect();
    let pipeline = bson::RawBson::try_from(bson!([{ "$densify": stage }])).unwrap();
    let output = tests::run(pipeline, &[("here", documents)])?;
    Ok(output.iter().map(|document| Document::try_from(document).unwrap()).collect())
}

fn values(documents: &[Document], field: &str) -> Vec<i32> {
    documents.iter().map(|document| document.get_i32(field).unwrap()).collect()
}

fn at(values: &[i32]) -> Vec<Document> {
    values.iter().map(|value| doc! { "x": *value }).collect()
}

#[test]
fn steps_between_documents_are_made() {
    let full = bson!({ "field": "x", "range": { "step": 2, "bounds": "full" } });
    assert_eq!(values(&densify(full.clone(), &at(&[1, 4, 7])).unwrap(), "x"), [1, 3, 4, 5, 7]);
    let missing = [doc! { "_id": 1 }, doc! { "x": null }, doc! { "x": 1 }];
    assert_eq!(densify(full.clone(), &missing).unwrap().len(), 3);
    assert!(densify(full, &[]).unwrap().is_empty());
}

#[test]
fn explicit_bounds_leave_out_their_end() {
    let range =
        |lower: i32, upper: i32| bson!({ "field": "x", "range": { "step": 1, "bounds": [lower, upper] } });
    assert_eq!(values(&densify(range(0, 3), &[]).unwrap(), "x"), [0, 1, 2]);
    assert_eq!(values(&densify(range(2, 5), &at(&[0, 3, 9])).unwrap(), "x"), [0, 2, 3, 4, 9]);
    assert_eq!(values(&densify(range(2, 4), &at(&[2])).unwrap(), "x"), [2, 3]);
    assert_eq!(values(&densify(range(2, 4), &at(&[7])).unwrap(), "x"), [2, 3, 7]);
}

#[test]
fn partitions_have_their_own_steps() {
    let documents = [
        doc! { "p": "a", "x": 1 },
        doc! { "p": "b", "x": 2 },
        doc! { "p": "a", "x": 3 },
        doc! { "p": "b", "x": 5 },
    ];
    let of = |bounds: Bson, name: &str| {
        let stage =
            bson!({ "field": "x", "partitionByFields": ["p"], "range": { "step": 1, "bounds": bounds } });
        let mut found: Vec<i32> = densify(stage, &documents)
            .unwrap()
            .iter()
            .filter(|document| document.get_str("p").unwrap() == name)
            .map(|document| document.get_i32("x").unwrap())
            .collect();
        found.sort_unstable();
        found
    };
    assert_eq!(of(bson!("partition"), "a"), [1, 2, 3]);
    assert_eq!(of(bson!("partition"), "b"), [2, 3, 4, 5]);
    assert_eq!(of(bson!("full"), "a"), [1, 2, 3, 4, 5]);
    assert_eq!(of(bson!("full"), "b"), [1, 2, 3, 4, 5]);
    assert_eq!(of(bson!([0, 4]), "a"), [0, 1, 2, 3]);
    assert_eq!(of(bson!([0, 4]), "b"), [0, 1, 2, 3, 5]);
}

#[test]
fn dates_step_by_units() {
    let day = |day: &str| Bson::DateTime(DateTime::parse_rfc3339_str(format!("{day}T00:00:00Z")).unwrap());
    let documents = [doc! { "t": day("2024-01-31") }, doc! { "t": day("2024-04-30") }];
    let stage = bson!({ "field": "t", "range": { "step": 1, "unit": "month", "bounds": "full" } });
    let found: Vec<Bson> = densify(stage, &documents)
        .unwrap()
        .iter()
        .map(|document| document.get("t").unwrap().clone())
        .collect();
    assert_eq!(
        found,
        [day("2024-01-31"), day("2024-02-29"), day("2024-03-29"), day("2024-04-29"), day("2024-04-30")]
    );
}

#[test]
fn nested_fields_are_made_with_their_parents() {
    let stage = bson!({ "field": "a.x", "partitionByFields": ["b.p"], "range": { "step": 1, "bounds": "partition" } });
    let documents = [doc! { "a": { "x": 1 }, "b": { "p": 7 } }, doc! { "a": { "x": 3 }, "b": { "p": 7 } }];
    let output = densify(stage, &documents).unwrap();
    assert_eq!(output[1], doc! { "b": { "p": 7 }, "a": { "x": 2 } });
}

#[test]
fn what_does_not_fit_has_its_code() {
    let day = DateTime::from_millis(0);
    let range = |range: Document| bson!({ "field": "x", "range": range });
    for (stage, expected) in [
        (bson!(1), 9),
        (bson!({ "range": { "step": 1, "bounds": "full" } }), 40414),
        (bson!({ "field": 1 }), 14),
        (bson!({ "field": "x", "y": 1 }), 40415),
        (range(doc! { "bounds": "full" }), 40414),
        (range(doc! { "step": 0, "bounds": "full" }), 5_733_401),
        (range(doc! { "step": 1.5, "unit": "day", "bounds": "full" }), 6_586_400),
        (range(doc! { "step": 1, "unit": "x", "bounds": "full" }), 9),
        (range(doc! { "step": 1, "bounds": "all" }), 5_946_802),
        (range(doc! { "step": 1, "bounds": 1 }), 5_733_404),
        (range(doc! { "step": 1, "bounds": [1] }), 5_733_403),
        (range(doc! { "step": 1, "bounds": [2, 1] }), 5_733_402),
        (range(doc! { "step": 1, "bounds": [1, day] }), 5_733_406),
        (range(doc! { "step": 1, "bounds": [1, 2.0] }), 5_876_900),
        (range(doc! { "step": 1, "unit": "day", "bounds": [1, 2] }), 5_733_409),
        (range(doc! { "step": 1, "bounds": [day, day] }), 5_733_410),
        (range(doc! { "step": 1, "bounds": ["a", "b"] }), 5_946_800),
        (range(doc! { "step": 1, "bounds": "partition" }), 5_733_408),
        (
            bson!({ "field": "x", "partitionByFields": ["x.y"], "range": { "step": 1, "bounds": "full" } }),
            8_993_000,
        ),
        (
            bson!({ "field": "x.y", "partitionByFields": ["x"], "range": { "step": 1, "bounds": "full" } }),
            9_554_500,
        ),
    ] {
        assert_eq!(densify(stage.clone(), &at(&[1])).unwrap_err().code.0, expected, "{stage}");
    }
    let full = range(doc! { "step": 1, "bounds": "full" });
    assert_eq!(densify(full.clone(), &[doc! { "x": "a" }]).unwrap_err().code.0, 5_733_201);
    assert_eq!(densify(full.clone(), &[doc! { "x": day }]).unwrap_err().code.0, 6_053_600);
    assert_eq!(densify(full, &at(&[0, 600_000])).unwrap_err().code.0, 5_897_900);
}

proptest! {
    #[test]
    fn every_step_of_a_full_range_is_there_once(
        mut present in proptest::collection::vec(0..40_i32, 1..12),
        step in 1..6_i32,
    ) {
        let stage = bson!({ "field": "x", "range": { "step": step, "bounds": "full" } });
        let found = values(&densify(stage, &at(&present)).unwrap(), "x");
        present.sort_unstable();
        let (least, greatest) = (present[0], *present.last().unwrap());
        let mut expected = present.clone();
        expected.extend((least..=greatest).step_by(step as usize).filter(|value| !present.contains(value)));
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn every_step_of_an_explicit_range_is_there_once(
        mut present in proptest::collection::vec(0..30_i32, 0..8),
        (lower, width) in (5..15_i32, 0..12_i32),
        step in 1..4_i32,
    ) {
        let stage = bson!({ "field": "x", "range": { "step": step, "bounds": [lower, lower + width] } });
        let found = values(&densify(stage, &at(&present)).unwrap(), "x");
        present.sort_unstable();
        let mut expected = present.clone();
        expected.extend((lower..lower + width).step_by(step as usize).filter(|value| !present.contains(value)));
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }
}
