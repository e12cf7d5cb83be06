use bson::{Bson, Document, bson, doc};
use proptest::prelude::*;

use crate::aggregate::tests;
use crate::error::QueryError;

fn buckets(stage: Bson, keys: &[Bson]) -> Result<Vec<Document>, QueryError> {
    let documents = keys
        .iter()
        .enumerate()
        .map(|(id, x)| {
            bson::raw::RawDocumentBuf::try_from(&doc! { "_id": id as i32, "x": x.clone() }).unwrap()
        })
        .collect();
    let pipeline = bson::RawBson::try_from(bson!([{ "$bucketAuto": stage }])).unwrap();
    let output = tests::run(pipeline, &[("here", documents)])?;
    Ok(output.iter().map(|document| Document::try_from(document).unwrap()).collect())
}

fn bounds(stage: Bson, keys: &[Bson]) -> Vec<(Bson, Bson, i32)> {
    buckets(stage, keys)
        .unwrap()
        .iter()
        .map(|bucket| {
            let id = bucket.get_document("_id").unwrap();
            let bound = |name: &str| id.get(name).unwrap().clone();
            (bound("min"), bound("max"), bucket.get_i32("count").unwrap())
        })
        .collect()
}

fn ints(keys: &[i32]) -> Vec<Bson> {
    keys.iter().copied().map(Bson::Int32).collect()
}

#[test]
fn equal_keys_stay_together() {
    let stage = bson!({ "groupBy": "$x", "buckets": 3 });
    let found = bounds(stage, &ints(&[1, 2, 3, 3, 4, 5]));
    assert_eq!(found, [(bson!(1), bson!(3), 2), (bson!(3), bson!(4), 2), (bson!(4), bson!(5), 2)]);
    let found = bounds(bson!({ "groupBy": "$x", "buckets": 4 }), &ints(&[1, 1, 2, 2]));
    assert_eq!(found, [(bson!(1), bson!(2), 2), (bson!(2), bson!(2), 2)]);
    assert!(bounds(bson!({ "groupBy": "$x", "buckets": 4 }), &[]).is_empty());
}

#[test]
fn bounds_follow_a_granularity() {
    let stage = |granularity: &str, buckets: i32| bson!({ "groupBy": "$x", "buckets": buckets, "granularity": granularity });
    assert_eq!(
        bounds(stage("R5", 3), &ints(&[1, 10, 100, 1000])),
        [(bson!(0.63), bson!(1.6), 1), (bson!(1.6), bson!(16.0), 1), (bson!(16.0), bson!(1600.0), 2)]
    );
    assert_eq!(
        bounds(stage("POWERSOF2", 2), &ints(&[0, 1, 2, 5])),
        [(bson!(0), bson!(2), 2), (bson!(2), bson!(8), 2)]
    );
    assert_eq!(
        bounds(stage("1-2-5", 2), &ints(&[0, 0, 7, 8])),
        [(bson!(0), bson!(5.0), 2), (bson!(5.0), bson!(10.0), 2)]
    );
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    assert_eq!(
        bounds(stage("R5", 1), &[decimal("1"), decimal("1000")]),
        [(decimal("0.63"), decimal("1600"), 2)]
    );
    assert_eq!(
        bounds(stage("1-2-5", 1), &[decimal("3E-6100")]),
        [(decimal("2.0E-6100"), decimal("5.0E-6100"), 1)]
    );
    assert_eq!(bounds(stage("E6", 1), &[bson!(0.8)]), [(bson!(0.68), bson!(1.0), 1)]);
}

#[test]
fn accumulators_see_documents_as_they_came() {
    let stage = bson!({ "groupBy": "$x", "buckets": 1, "output": { "ids": { "$push": "$_id" } } });
    let found = buckets(stage, &ints(&[3, 1, 2])).unwrap();
    assert_eq!(found[0].get("ids"), Some(&bson!([0, 1, 2])));
}

#[test]
fn what_does_not_fit_has_its_code() {
    let by = |more: Document| {
        let mut stage = doc! { "groupBy": "$x", "buckets": 1 };
        stage.extend(more);
        Bson::Document(stage)
    };
    for (stage, key, expected) in [
        (bson!(1), bson!(1), 40240),
        (bson!({ "groupBy": "x", "buckets": 1 }), bson!(1), 40239),
        (bson!({ "groupBy": { "a": 1 }, "buckets": 1 }), bson!(1), 40239),
        (by(doc! { "buckets": "1" }), bson!(1), 40241),
        (by(doc! { "buckets": 1.5 }), bson!(1), 40242),
        (by(doc! { "buckets": 0 }), bson!(1), 40243),
        (by(doc! { "output": 1 }), bson!(1), 40244),
        (by(doc! { "output": { "a": 1 } }), bson!(1), 40234),
        (by(doc! { "x": 1 }), bson!(1), 40245),
        (bson!({ "groupBy": "$x" }), bson!(1), 40246),
        (by(doc! { "granularity": 1 }), bson!(1), 40261),
        (by(doc! { "granularity": "R7" }), bson!(1), 40257),
        (by(doc! { "granularity": "R5" }), bson!("a"), 40258),
        (by(doc! { "granularity": "R5" }), bson!(f64::NAN), 40259),
        (by(doc! { "granularity": "R5" }), bson!(-1), 40260),
        (by(doc! { "output": { "a": { "$minN": { "n": "$x", "input": 1 } } } }), bson!(1), 4_544_714),
    ] {
        assert_eq!(buckets(stage.clone(), &[key]).unwrap_err().code.0, expected, "{stage}");
    }
}

proptest! {
    #[test]
    fn buckets_are_disjoint_and_hold_everything(
        keys in proptest::collection::vec(0..40_i32, 0..30),
        count in 1..8_i32,
        granularity in proptest::sample::select(vec![None, Some("R5"), Some("E24"), Some("1-2-5"), Some("POWERSOF2"), Some("R80")]),
    ) {
        let mut stage = doc! { "groupBy": "$x", "buckets": count };
        if let Some(name) = granularity {
            stage.insert("granularity", name);
        }
        let found = bounds(stage.into(), &ints(&keys));
        prop_assert!(found.len() <= count as usize);
        prop_assert_eq!(found.iter().map(|(_, _, count)| *count as usize).sum::<usize>(), keys.len());
        let number = |bound: &Bson| bound.as_f64().or(bound.as_i32().map(f64::from)).or(bound.as_i64().map(|n| n as f64)).unwrap();
        for (index, (min, max, size)) in found.iter().enumerate() {
            let last = index + 1 == found.len() && granularity.is_none();
            let within = keys.iter().map(|key| f64::from(*key)).filter(|key| {
                *key >= number(min) && (*key < number(max) || last && *key <= number(max) || number(max) == 0.0 && *key == 0.0)
            });
            prop_assert_eq!(within.count(), *size as usize);
        }
    }
}
