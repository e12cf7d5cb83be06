//! Every sliding window equals the window computed anew: the accumulator over the documents that the bounds name.

use bson::{Bson, Document, bson, doc};
use proptest::prelude::*;
use proptest::sample::select;

use super::aggregate;

const FUNCTIONS: &[&str] = &[
    "$sum",
    "$avg",
    "$min",
    "$max",
    "$push",
    "$addToSet",
    "$count",
    "$stdDevPop",
    "$stdDevSamp",
    "$firstN",
    "$lastN",
    "$minN",
    "$maxN",
    "$top",
    "$bottomN",
    "$topN",
    "$median",
    "$percentile",
];

fn operand(name: &str) -> Bson {
    match name {
        "$count" => bson!({}),
        "$firstN" | "$lastN" | "$minN" | "$maxN" => bson!({ "n": 2, "input": "$v" }),
        "$top" => bson!({ "sortBy": { "s": -1 }, "output": "$v" }),
        "$topN" | "$bottomN" => bson!({ "n": 2, "sortBy": { "s": 1, "_id": 1 }, "output": "$v" }),
        "$median" => bson!({ "input": "$v", "method": "continuous" }),
        "$percentile" => bson!({ "input": "$v", "p": [0.1, 0.9], "method": "discrete" }),
        _ => bson!("$v"),
    }
}

fn any_value() -> impl Strategy<Value = Option<Bson>> {
    prop_oneof![
        6 => (-5..6_i32).prop_map(|number| Some(Bson::Int32(number))),
        2 => (-5..6_i64).prop_map(|number| Some(Bson::Int64(number))),
        2 => select(vec![0.5, -1.25, 3.0]).prop_map(|number| Some(Bson::Double(number))),
        1 => select(vec!["1.5", "-2"]).prop_map(|text: &str| Some(Bson::Decimal128(text.parse().unwrap()))),
        1 => select(vec!["a", "b"]).prop_map(|text: &str| Some(Bson::String(text.to_owned()))),
        1 => Just(Some(Bson::Null)),
        1 => Just(None),
    ]
}

fn any_documents() -> impl Strategy<Value = Vec<Document>> {
    let document = (any_value(), 0..4_i32, 0..3_i32);
    proptest::collection::vec(document, 1..12).prop_map(|rows| {
        let mut x = 0;
        rows.into_iter()
            .enumerate()
            .map(|(id, (value, s, step))| {
                x += step;
                let mut document = doc! { "_id": id as i32, "x": x, "s": s };
                if let Some(value) = value {
                    document.insert("v", value);
                }
                document
            })
            .collect()
    })
}

fn any_bound() -> impl Strategy<Value = Bson> {
    prop_oneof![Just(bson!("unbounded")), Just(bson!("current")), (-4..5_i32).prop_map(Bson::Int32)]
}

fn number(bound: &Bson) -> Option<i32> {
    match bound {
        Bson::Int32(number) => Some(*number),
        Bson::String(text) if text == "current" => Some(0),
        _ => None,
    }
}

/// The documents in the window of document `at`, as the definition has it.
fn frame(documents: &[Document], at: usize, kind: &str, lower: &Bson, upper: &Bson) -> Vec<Document> {
    let x = |index: usize| documents[index].get_i32("x").unwrap();
    let holds = |index: usize| {
        let place = index as i32 - at as i32;
        let distance = x(index) - x(at);
        let side = |bound: &Bson, sign: i32| match number(bound) {
            None => true,
            // `current` is the document and not its value.
            Some(by) if kind == "documents" || matches!(bound, Bson::String(_)) => sign * place <= sign * by,
            Some(by) => sign * distance <= sign * by,
        };
        side(lower, -1) && side(upper, 1)
    };
    (0..documents.len()).filter(|index| holds(*index)).map(|index| documents[index].clone()).collect()
}

/// What the function gives over these documents as one whole window.
fn anew(name: &str, documents: &[Document]) -> Bson {
    let mut function = Document::new();
    function.insert(name, operand(name));
    let stage = bson!({ "$setWindowFields": { "sortBy": { "_id": 1 }, "output": { "r": function } } });
    let output = aggregate(stage, documents).unwrap();
    output.last().and_then(|document| document.get("r")).cloned().unwrap_or_else(|| match name {
        "$sum" | "$count" => Bson::Int32(0),
        "$push" | "$addToSet" | "$firstN" | "$lastN" | "$minN" | "$maxN" | "$topN" | "$bottomN" => bson!([]),
        "$percentile" => bson!([null, null]),
        _ => Bson::Null,
    })
}

fn as_double(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        Bson::Decimal128(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// Whether both are the same but for rounding and the type of numbers.
fn alike(a: &Bson, b: &Bson) -> bool {
    match (a, b) {
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        _ => match (as_double(a), as_double(b)) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-6,
            _ => a == b,
        },
    }
}

proptest! {
    #[test]
    fn every_sliding_window_equals_one_computed_anew(
        documents in any_documents(),
        name in select(FUNCTIONS),
        kind in select(vec!["documents", "range"]),
        (lower, upper) in (any_bound(), any_bound()),
    ) {
        prop_assume!(match (number(&lower), number(&upper)) {
            (Some(lower), Some(upper)) => lower <= upper,
            _ => true,
        });
        let mut window = Document::new();
        window.insert(kind, bson!([lower.clone(), upper.clone()]));
        let mut function = doc! { "window": window };
        function.insert(name, operand(name));
        let stage = bson!({ "$setWindowFields": { "sortBy": { "x": 1 }, "output": { "r": function } } });
        let output = aggregate(stage, &documents).unwrap();
        for (at, document) in output.iter().enumerate() {
            let expected = anew(name, &frame(&documents, at, kind, &lower, &upper));
            let found = document.get("r").unwrap();
            prop_assert!(alike(found, &expected), "{name} of document {at}: {found} but {expected}");
        }
    }

    #[test]
    fn sliding_covariances_equal_the_textbook(
        pairs in proptest::collection::vec((-9..10_i32, -9..10_i32), 1..12),
        width in 0..5_i32,
    ) {
        let documents: Vec<Document> = pairs
            .iter()
            .enumerate()
            .map(|(id, (x, y))| doc! { "_id": id as i32, "x": *x, "y": *y })
            .collect();
        let stage = bson!({ "$setWindowFields": { "sortBy": { "_id": 1 }, "output": {
            "r": { "$covariancePop": ["$x", "$y"], "window": { "documents": [-width, 0] } },
        } } });
        for (at, document) in aggregate(stage, &documents).unwrap().iter().enumerate() {
            let window = &pairs[at.saturating_sub(width as usize)..=at];
            let count = window.len() as f64;
            let mean = |of: &dyn Fn(&(i32, i32)) -> i32| window.iter().map(|pair| f64::from(of(pair))).sum::<f64>() / count;
            let (x, y) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
            let expected =
                window.iter().map(|pair| (f64::from(pair.0) - x) * (f64::from(pair.1) - y)).sum::<f64>() / count;
            prop_assert!((document.get_f64("r").unwrap() - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn sliding_integrals_equal_the_sum_of_trapezoids(
        values in proptest::collection::vec((-9..10_i32, 0..3_i32), 1..12),
        width in 0..5_i32,
    ) {
        let mut x = 0;
        let points: Vec<(i32, i32)> = values.iter().map(|(y, step)| { x += step; (x, *y) }).collect();
        let documents: Vec<Document> = points
            .iter()
            .enumerate()
            .map(|(id, (x, y))| doc! { "_id": id as i32, "x": *x, "y": *y })
            .collect();
        let stage = bson!({ "$setWindowFields": { "sortBy": { "x": 1 }, "output": {
            "r": { "$integral": { "input": "$y" }, "window": { "documents": [-width, 0] } },
        } } });
        for (at, document) in aggregate(stage, &documents).unwrap().iter().enumerate() {
            let window = &points[at.saturating_sub(width as usize)..=at];
            let expected: f64 = window
                .windows(2)
                .map(|two| f64::from((two[1].0 - two[0].0) * (two[1].1 + two[0].1)) / 2.0)
                .sum();
            prop_assert!((as_double(document.get("r").unwrap()).unwrap() - expected).abs() < 1e-9);
        }
    }
}

#[test]
fn a_wide_window_over_many_documents_is_no_square() {
    let documents: Vec<Document> =
        (0..20_000).map(|id| doc! { "_id": id, "v": (id * 7919) % 10_007 }).collect();
    let window = doc! { "documents": [-10_000, 0] };
    let stage = bson!({ "$setWindowFields": { "sortBy": { "_id": 1 }, "output": {
        "max": { "$max": "$v", "window": window.clone() },
        "median": { "$median": { "input": "$v", "method": "discrete" }, "window": window.clone() },
        "bottom": { "$bottom": { "sortBy": { "v": 1 }, "output": "$v" }, "window": window },
    } } });
    let output = aggregate(stage, &documents).unwrap();
    let last: Vec<i32> = (9_999..20_000).map(|id| (id * 7919) % 10_007).collect();
    let document = output.last().unwrap();
    assert_eq!(document.get_i32("max").ok(), last.iter().max().copied());
    assert_eq!(document.get_i32("bottom").ok(), last.iter().max().copied());
    let mut sorted = last.clone();
    sorted.sort_unstable();
    assert_eq!(document.get_f64("median").ok(), sorted.get(5_000).map(|value| f64::from(*value)));
}

proptest! {
    /// Whatever the documents are: there is an answer with as many documents, or an error.
    #[test]
    fn no_documents_break_a_window(
        documents in proptest::collection::vec(crate::testing::small_document(), 0..8),
        name in select(vec![
            "$sum", "$avg", "$stdDevPop", "$covariancePop", "$max", "$addToSet", "$setUnion", "$concatArrays", "$push",
            "$first", "$locf", "$linearFill", "$integral", "$derivative", "$expMovingAvg", "$minMaxScaler", "$rank",
            "$mergeObjects",
        ]),
        kind in select(vec!["documents", "range"]),
        (lower, upper) in (any_bound(), any_bound()),
    ) {
        let operand = match name {
            "$integral" | "$derivative" | "$minMaxScaler" => bson!({ "input": "$a" }),
            "$expMovingAvg" => bson!({ "input": "$a", "N": 2 }),
            "$covariancePop" => bson!(["$a", "$b"]),
            "$rank" => bson!({}),
            _ => bson!("$a"),
        };
        let mut function = Document::new();
        function.insert(name, operand);
        if !["$locf", "$linearFill", "$expMovingAvg", "$rank"].contains(&name) {
            let mut window = Document::new();
            window.insert(kind, bson!([lower, upper]));
            function.insert("window", window);
        }
        let stage = bson!([{ "$setWindowFields": {
            "partitionBy": "$c", "sortBy": { "b": 1 }, "output": { "r": function },
        } }]);
        let pipeline = bson::RawBson::try_from(stage).unwrap();
        let count = documents.len();
        if let Ok(output) = crate::aggregate::tests::run(pipeline, &[("here", documents)]) {
            prop_assert_eq!(output.len(), count);
        }
    }
}
