//! Windows as pipelines: examples, and every sliding window against one that is computed anew.

mod property;

use bson::{Bson, Document, bson, doc};

use crate::aggregate::tests;
use crate::error::QueryError;

pub(super) fn aggregate(stage: Bson, documents: &[Document]) -> Result<Vec<Document>, QueryError> {
    let raw = |document: &Document| bson::raw::RawDocumentBuf::try_from(document).unwrap();
    let pipeline = bson::RawBson::try_from(Bson::Array(vec![stage])).unwrap();
    let output = tests::run(pipeline, &[("here", documents.iter().map(raw).collect())])?;
    Ok(output.iter().map(|document| Document::try_from(document).unwrap()).collect())
}

/// The values of `r` for documents with these `v`, which are sorted by `_id`.
fn over(values: &[Bson], function: Document) -> Vec<Bson> {
    let documents: Vec<Document> =
        values.iter().enumerate().map(|(id, value)| doc! { "_id": id as i32, "v": value.clone() }).collect();
    let stage = bson!({ "$setWindowFields": { "sortBy": { "_id": 1 }, "output": { "r": function } } });
    let output = aggregate(stage, &documents).unwrap();
    output.into_iter().map(|document| document.get("r").cloned().unwrap_or(Bson::Undefined)).collect()
}

fn ints(range: std::ops::RangeInclusive<i32>) -> Vec<Bson> {
    range.map(Bson::Int32).collect()
}

fn code(stage: Bson) -> i32 {
    let documents = [doc! { "_id": 1, "v": 1 }];
    aggregate(bson!({ "$setWindowFields": stage }), &documents).unwrap_err().code.0
}

#[test]
fn sums_move_with_their_window() {
    let sum = |window: Document| over(&ints(1..=5), doc! { "$sum": "$v", "window": window });
    assert_eq!(sum(doc! { "documents": [-1, 1] }), bson_ints(&[3, 6, 9, 12, 9]));
    assert_eq!(sum(doc! { "documents": [1, 2] }), bson_ints(&[5, 7, 9, 5, 0]));
    assert_eq!(sum(doc! { "documents": [-9, -4] }), bson_ints(&[0, 0, 0, 0, 1]));
    assert_eq!(sum(doc! { "documents": ["unbounded", "current"] }), bson_ints(&[1, 3, 6, 10, 15]));
    assert_eq!(sum(doc! { "documents": ["current", "unbounded"] }), bson_ints(&[15, 14, 12, 9, 5]));
    assert_eq!(sum(doc! {}), bson_ints(&[15; 5]));
    assert_eq!(sum(doc! { "range": [-1, 0] }), bson_ints(&[1, 3, 5, 7, 9]));
    assert_eq!(sum(doc! { "range": ["current", 1.5] }), bson_ints(&[3, 5, 7, 9, 5]));
}

fn bson_ints(values: &[i32]) -> Vec<Bson> {
    values.iter().copied().map(Bson::Int32).collect()
}

#[test]
fn partitions_are_apart_and_in_order() {
    let documents = [
        doc! { "_id": 1, "p": "b", "v": 1 },
        doc! { "_id": 2, "p": "a", "v": 2 },
        doc! { "_id": 3, "v": 4 },
        doc! { "_id": 4, "p": null, "v": 8 },
        doc! { "_id": 5, "p": "a", "v": 16 },
    ];
    let stage = bson!({ "$setWindowFields": {
        "partitionBy": "$p", "sortBy": { "_id": -1 },
        "output": { "s.total": { "$sum": "$v" }, "n": { "$documentNumber": {} } },
    } });
    let output = aggregate(stage, &documents).unwrap();
    let seen: Vec<(i32, i32, i32)> = output
        .iter()
        .map(|document| {
            let sum = document.get_document("s").unwrap().get_i32("total").unwrap();
            (document.get_i32("_id").unwrap(), sum, document.get_i32("n").unwrap())
        })
        .collect();
    assert_eq!(seen, [(4, 12, 1), (3, 12, 2), (5, 18, 1), (2, 18, 2), (1, 1, 1)]);
}

#[test]
fn ranges_of_time_are_counted_in_units() {
    let day = |day: i64| Bson::DateTime(bson::DateTime::from_millis(day * 86_400_000));
    let documents: Vec<Document> =
        [0, 1, 3, 4, 40].iter().map(|at| doc! { "_id": *at as i32, "t": day(*at) }).collect();
    let stage = |window: Document| {
        bson!({ "$setWindowFields": {
            "sortBy": { "t": 1 }, "output": { "r": { "$push": "$_id", "window": window } },
        } })
    };
    let pushed = |window: Document| -> Vec<Bson> {
        let output = aggregate(stage(window), &documents).unwrap();
        output.iter().map(|document| document.get("r").unwrap().clone()).collect()
    };
    assert_eq!(
        pushed(doc! { "range": [-1, 0], "unit": "day" }),
        [bson!([0]), bson!([0, 1]), bson!([3]), bson!([3, 4]), bson!([40])]
    );
    assert_eq!(
        pushed(doc! { "range": [1, 1], "unit": "month" }),
        [bson!([]), bson!([]), bson!([]), bson!([]), bson!([])]
    );
    let error = |window: Document| aggregate(stage(window), &documents).unwrap_err().code.0;
    assert_eq!(error(doc! { "range": [-1, 0] }), 5_429_413);
    let numbers = bson!({ "$setWindowFields": { "sortBy": { "_id": 1 }, "output": {
        "r": { "$sum": 1, "window": { "range": [0, 1], "unit": "day" } } } } });
    assert_eq!(aggregate(numbers, &documents).unwrap_err().code.0, 5_429_513);
    assert_eq!(
        aggregate(
            bson!({ "$setWindowFields": { "sortBy": { "x": 1 }, "output": {
                "r": { "$sum": 1, "window": { "range": [0, 1] } } } } }),
            &documents
        )
        .unwrap_err()
        .code
        .0,
        5_429_414
    );
}

#[test]
fn documents_go_before_and_after() {
    let values = ints(1..=3);
    assert_eq!(
        over(&values, doc! { "$shift": { "output": "$v", "by": 1 } }),
        [bson!(2), bson!(3), Bson::Null]
    );
    assert_eq!(
        over(&values, doc! { "$shift": { "output": "$v", "by": -1, "default": "none" } }),
        [bson!("none"), bson!(1), bson!(2)]
    );
    assert_eq!(
        over(&values, doc! { "$first": "$v", "window": { "documents": [-1, 0] } }),
        bson_ints(&[1, 1, 2])
    );
    assert_eq!(
        over(&values, doc! { "$last": "$v", "window": { "documents": [1, 2] } }),
        [bson!(3), bson!(3), Bson::Null]
    );
}

#[test]
fn ranks_count_ties() {
    let documents: Vec<Document> =
        [5, 7, 5, 9].iter().enumerate().map(|(id, v)| doc! { "_id": id as i32, "v": *v }).collect();
    let stage = bson!({ "$setWindowFields": { "sortBy": { "v": 1 }, "output": {
        "rank": { "$rank": {} }, "dense": { "$denseRank": {} }, "number": { "$documentNumber": {} },
    } } });
    let output = aggregate(stage, &documents).unwrap();
    let of =
        |name: &str| -> Vec<i64> { output.iter().map(|document| document.get_i64(name).unwrap()).collect() };
    assert_eq!(of("rank"), [1, 1, 3, 4]);
    assert_eq!(of("dense"), [1, 1, 2, 3]);
    let numbers: Vec<i32> = output.iter().map(|document| document.get_i32("number").unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[test]
fn slopes_and_areas() {
    let values = [bson!(0), bson!(2), bson!(6)];
    let derivative = doc! { "$derivative": { "input": "$v" }, "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, derivative), [Bson::Null, bson!(2.0), bson!(4.0)]);
    let integral =
        doc! { "$integral": { "input": "$v" }, "window": { "documents": ["unbounded", "current"] } };
    assert_eq!(over(&values, integral), [bson!(0), bson!(1.0), bson!(5.0)]);
    let moving = doc! { "$integral": { "input": "$v" }, "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, moving), [bson!(0), bson!(1.0), bson!(4.0)]);
}

#[test]
fn gaps_are_filled() {
    let values = [Bson::Null, bson!(1), Bson::Null, Bson::Null, bson!(7), Bson::Null];
    assert_eq!(
        over(&values, doc! { "$locf": "$v" }),
        [Bson::Null, bson!(1), bson!(1), bson!(1), bson!(7), bson!(7)]
    );
    assert_eq!(
        over(&values, doc! { "$linearFill": "$v" }),
        [Bson::Null, bson!(1), bson!(3.0), bson!(5.0), bson!(7), Bson::Null]
    );
    let again = [doc! { "_id": 1, "x": 1 }, doc! { "_id": 2, "x": 1 }];
    let stage =
        bson!({ "$setWindowFields": { "sortBy": { "x": 1 }, "output": { "r": { "$linearFill": "$v" } } } });
    assert_eq!(aggregate(stage, &again).unwrap_err().code.0, 6_050_106);
}

#[test]
fn moving_averages_and_scales() {
    let values = [bson!(4), bson!("x"), bson!(8)];
    assert_eq!(
        over(&values, doc! { "$expMovingAvg": { "input": "$v", "N": 1 } }),
        [bson!(4.0), bson!(4.0), bson!(8.0)]
    );
    assert_eq!(
        over(&values, doc! { "$expMovingAvg": { "input": "$v", "alpha": 0.5 } }),
        [bson!(4.0), bson!(4.0), bson!(6.0)]
    );
    let values = ints(1..=3);
    assert_eq!(
        over(&values, doc! { "$minMaxScaler": { "input": "$v" } }),
        [bson!(0.0), bson!(0.5), bson!(1.0)]
    );
    let scaled =
        doc! { "$minMaxScaler": { "input": "$v", "min": 10, "max": 20 }, "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, scaled), [bson!(10), bson!(20.0), bson!(20.0)]);
}

#[test]
fn covariances_pair_numbers() {
    let values = [bson!([1, 2]), bson!([2, "x"]), bson!([3, 6])];
    let pop = doc! { "$covariancePop": "$v" };
    assert_eq!(over(&values, pop), [bson!(2.0), bson!(2.0), bson!(2.0)]);
    let sample = doc! { "$covarianceSamp": "$v", "window": { "documents": ["unbounded", "current"] } };
    assert_eq!(over(&values, sample), [Bson::Null, Bson::Null, bson!(4.0)]);
}

#[test]
fn infinities_leave_with_their_documents() {
    let values = [bson!(1), bson!(f64::INFINITY), bson!(2), bson!(3)];
    let sum = doc! { "$sum": "$v", "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, sum), [bson!(1), bson!(f64::INFINITY), bson!(f64::INFINITY), bson!(5)]);
    let average = doc! { "$avg": "$v", "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, average), [bson!(1.0), bson!(f64::INFINITY), bson!(f64::INFINITY), bson!(2.5)]);
}

#[test]
fn what_does_not_parse_has_its_code() {
    for (stage, expected) in [
        (bson!(1), 9),
        (bson!({}), 40414),
        (bson!({ "output": 1 }), 14),
        (bson!({ "output": {}, "sortBy": 1 }), 14),
        (bson!({ "output": {}, "x": 1 }), 40415),
        (bson!({ "output": {}, "partitionBy": [1] }), 14),
        (bson!({ "output": { "a": { "$sum": 1 }, "a.b": { "$sum": 1 } } }), 6_307_900),
        (bson!({ "output": { "a": 1 } }), 9),
        (bson!({ "output": { "a": { "b": 1 } } }), 9),
        (bson!({ "output": { "a": { "$summ": 1 } } }), 9),
        (bson!({ "output": { "a": { "$sum": 1, "$avg": 1 } } }), 9),
        (bson!({ "output": { "a": { "$sum": 1, "x": 1 } } }), 9),
        (bson!({ "output": { "a": { "$sum": 1, "window": { "documents": [0, 1] } } } }), 5_339_901),
        (bson!({ "output": { "a": { "$sum": 1, "window": { "range": [0, 1] } } } }), 5_339_902),
        (
            bson!({ "sortBy": { "a": -1 }, "output": { "a": { "$sum": 1, "window": { "range": [0, 1] } } } }),
            8_947_401,
        ),
        (
            bson!({ "sortBy": { "a": 1 }, "output": { "a": { "$sum": 1, "window": { "documents": [1, 0] } } } }),
            5_339_900,
        ),
        (
            bson!({ "sortBy": { "a": 1 }, "output": { "a": { "$mergeObjects": "$v", "window": { "documents": [0, 1] } } } }),
            5_461_500,
        ),
        (bson!({ "output": { "a": { "$rank": {} } } }), 5_371_602),
        (bson!({ "sortBy": { "a": 1 }, "output": { "a": { "$rank": 1 } } }), 5_371_603),
        (bson!({ "sortBy": { "a": 1 }, "output": { "a": { "$rank": {}, "window": {} } } }), 5_371_601),
        (bson!({ "output": { "a": { "$linearFill": "$v" } } }), 605_001),
        (
            bson!({ "sortBy": { "a": 1 }, "output": { "a": { "$integral": { "input": 1, "unit": "month" } } } }),
            5_490_710,
        ),
        (bson!({ "output": { "a": { "$minN": { "n": "x", "input": 1 } } } }), 5_787_902),
    ] {
        assert_eq!(code(stage.clone()), expected, "{stage}");
    }
}

#[test]
fn fill_sets_what_is_missing() {
    let documents = [
        doc! { "_id": 1, "p": "a", "v": 1 },
        doc! { "_id": 2, "p": "a", "v": null },
        doc! { "_id": 3, "p": "a", "v": 5 },
        doc! { "_id": 4, "p": "b" },
    ];
    let fill = |stage: Bson| aggregate(bson!({ "$fill": stage }), &documents);
    let values = |stage: Bson| -> Vec<Bson> {
        fill(stage).unwrap().iter().map(|document| document.get("v").unwrap().clone()).collect()
    };
    let linear = bson!({ "sortBy": { "_id": 1 }, "partitionByFields": ["p"], "output": { "v": { "method": "linear" } } });
    assert_eq!(values(linear), [bson!(1), bson!(3.0), bson!(5), Bson::Null]);
    let carried = bson!({ "sortBy": { "_id": 1 }, "output": { "v": { "method": "locf" } } });
    assert_eq!(values(carried), bson_ints(&[1, 1, 5, 5]));
    assert_eq!(values(bson!({ "output": { "v": { "value": "$_id" } } })), bson_ints(&[1, 2, 5, 4]));
    for (stage, expected) in [
        (bson!(1), 9),
        (bson!({ "output": {} }), 6_050_203),
        (bson!({ "output": { "v": 1 } }), 6_050_200),
        (bson!({ "output": { "v": { "method": "locf", "value": 1 } } }), 6_050_201),
        (bson!({ "output": { "v": { "method": "x" } } }), 6_050_202),
        (
            bson!({ "partitionBy": "$p", "partitionByFields": ["p"], "output": { "v": { "value": 1 } } }),
            6_050_204,
        ),
        (bson!({ "output": { "v": { "method": "linear" } } }), 605_001),
        (bson!({}), 40414),
    ] {
        assert_eq!(fill(stage.clone()).unwrap_err().code.0, expected, "{stage}");
    }
}

#[test]
fn a_single_deviation_is_nothing_and_infinity_has_none() {
    let values = [bson!(1), bson!(f64::INFINITY), bson!(2), bson!(4)];
    let deviation = doc! { "$stdDevPop": "$v", "window": { "documents": [-1, 0] } };
    assert_eq!(over(&values, deviation), [bson!(0), Bson::Null, Bson::Null, bson!(1.0)]);
}

#[test]
fn infinite_pairs_decide_a_covariance() {
    let covariance = |values: &[Bson]| over(values, doc! { "$covariancePop": "$v" }).swap_remove(0);
    let pairs = [bson!([1, 2]), bson!([2, 4])];
    let with = |pair: Bson| [&pairs[..], &[pair]].concat();
    assert_eq!(covariance(&with(bson!([f64::INFINITY, 1]))), bson!(f64::INFINITY));
    assert_eq!(covariance(&with(bson!([1, f64::NEG_INFINITY]))), bson!(f64::NEG_INFINITY));
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    assert_eq!(covariance(&with(bson!([decimal("Infinity"), 1]))), decimal("Infinity"));
    for nan in [bson!([f64::INFINITY, f64::NEG_INFINITY]), bson!([decimal("NaN"), 1])] {
        assert!(matches!(covariance(&with(nan)), Bson::Double(value) if value.is_nan()));
    }
}
