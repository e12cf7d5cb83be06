use bson::raw::RawDocumentBuf;
use bson::{Bson, Document, bson, doc};

use super::AccumulatorExpression;
use crate::error::QueryError;
use crate::expression::Expression;

fn parse(spec: Bson) -> Result<AccumulatorExpression, QueryError> {
    let spec = RawDocumentBuf::try_from(&doc! { "f": spec }).unwrap();
    let value = spec.get("f").unwrap().unwrap();
    AccumulatorExpression::parse_field("f", value, &|value| Expression::parse(value, &[]))
}

fn in_group(spec: Bson, group: &Document, documents: &[Document]) -> Result<Option<Bson>, QueryError> {
    let expression = parse(spec)?;
    let group = RawDocumentBuf::try_from(group).unwrap();
    let mut state = expression.start(Some(&group), &[], 0)?;
    let mut by_input = expression.start(Some(&group), &[], 0)?;
    for document in documents {
        let document = RawDocumentBuf::try_from(document).unwrap();
        state.add(&expression, &document, &[], 0)?;
        by_input.add_input(&expression.input(&document, &[], 0)?)?;
    }
    let value = state.finish()?;
    // As text, for a NaN is never equal to itself.
    let (other, same) = (format!("{:?}", by_input.finish()?), format!("{value:?}"));
    assert_eq!(other, same, "kept inputs give the same value");
    Ok(value.map(|value| Bson::try_from(value).unwrap()))
}

fn accumulate(spec: Bson, documents: &[Document]) -> Bson {
    in_group(spec, &doc! {}, documents).unwrap().unwrap()
}

fn of(values: &[Bson]) -> Vec<Document> {
    values.iter().map(|value| doc! { "v": value.clone() }).collect()
}

fn code(spec: Bson, documents: &[Document]) -> i32 {
    in_group(spec, &doc! {}, documents).unwrap_err().code.0
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse().unwrap())
}

#[test]
fn sums_take_the_widest_type_and_ignore_what_is_no_number() {
    let sum = |values: &[Bson]| accumulate(bson!({ "$sum": "$v" }), &of(values));
    assert_eq!(sum(&[]), Bson::Int32(0));
    assert_eq!(sum(&[bson!("a"), Bson::Null, bson!([1])]), Bson::Int32(0));
    assert_eq!(sum(&[bson!(1), bson!(2)]), Bson::Int32(3));
    assert_eq!(sum(&[bson!(i32::MAX), bson!(1)]), Bson::Int64(2_147_483_648));
    assert_eq!(sum(&[bson!(1), bson!(2_i64)]), Bson::Int64(3));
    assert_eq!(sum(&[bson!(i64::MAX), bson!(1)]), Bson::Double(9_223_372_036_854_775_808.0));
    assert_eq!(sum(&[bson!(i64::MAX), bson!(1), bson!(-1)]), Bson::Int64(i64::MAX));
    assert_eq!(sum(&[bson!(0.1), bson!(0.2), bson!(0.3)]), Bson::Double(0.6));
    assert_eq!(sum(&[bson!(1e100), bson!(1.0), bson!(-1e100)]), Bson::Double(1.0));
    assert_eq!(sum(&[bson!(f64::INFINITY), bson!(1)]), Bson::Double(f64::INFINITY));
    assert!(matches!(
        sum(&[bson!(f64::INFINITY), bson!(f64::NEG_INFINITY)]),
        Bson::Double(value) if value.is_nan()
    ));
    assert_eq!(sum(&[decimal("1.50"), bson!(2)]), decimal("3.50"));
    assert_eq!(sum(&[decimal("1"), bson!(0.5)]), decimal("1.5"));
    assert_eq!(sum(&[decimal("0"), bson!(0.1)]), decimal("0.1000000000000000055511151231257827"));
    assert_eq!(sum(&[decimal("1E+2")]), decimal("100"));
}

#[test]
fn averages_are_doubles_or_decimals() {
    let average = |values: &[Bson]| accumulate(bson!({ "$avg": "$v" }), &of(values));
    assert_eq!(average(&[bson!("a")]), Bson::Null);
    assert_eq!(average(&[bson!(1), bson!(2), Bson::Null]), Bson::Double(1.5));
    assert_eq!(average(&[decimal("10"), bson!(20)]), decimal("15"));
}

#[test]
fn deviations_need_one_or_two_numbers() {
    let pop = |values: &[Bson]| accumulate(bson!({ "$stdDevPop": "$v" }), &of(values));
    let sample = |values: &[Bson]| accumulate(bson!({ "$stdDevSamp": "$v" }), &of(values));
    assert_eq!(pop(&[]), Bson::Null);
    assert_eq!(pop(&[bson!(7)]), Bson::Double(0.0));
    assert_eq!(sample(&[bson!(7)]), Bson::Null);
    assert_eq!(pop(&[bson!(2), bson!(4), bson!("x")]), Bson::Double(1.0));
    assert_eq!(sample(&[bson!(2), bson!(4)]), Bson::Double(2.0_f64.sqrt()));
}

#[test]
fn extremes_compare_across_types_and_pass_over_null() {
    let values = [bson!("a"), Bson::Null, bson!(3), bson!([1]), bson!(3.0)];
    assert_eq!(accumulate(bson!({ "$min": "$v" }), &of(&values)), Bson::Int32(3));
    assert_eq!(accumulate(bson!({ "$max": "$v" }), &of(&values)), bson!([1]));
    assert_eq!(accumulate(bson!({ "$max": "$v" }), &of(&[Bson::Null])), Bson::Null);
    let least = accumulate(bson!({ "$minN": { "n": 2, "input": "$v" } }), &of(&values));
    assert_eq!(least, bson!([3, 3.0]));
    let greatest = accumulate(bson!({ "$maxN": { "n": 2, "input": "$v" } }), &of(&values));
    assert_eq!(greatest, bson!([[1], "a"]));
}

#[test]
fn ends_by_arrival() {
    let documents = [doc! { "v": 1 }, doc! {}, doc! { "v": 3 }];
    assert_eq!(accumulate(bson!({ "$first": "$v" }), &documents), Bson::Int32(1));
    assert_eq!(accumulate(bson!({ "$last": "$v" }), &documents), Bson::Int32(3));
    assert_eq!(in_group(bson!({ "$first": "$v" }), &doc! {}, &[doc! {}]).unwrap(), None);
    let two = |name: &str| {
        let mut spec = Document::new();
        spec.insert(name, doc! { "n": 2, "input": "$v" });
        accumulate(spec.into(), &documents)
    };
    assert_eq!(two("$firstN"), bson!([1, null]));
    assert_eq!(two("$lastN"), bson!([null, 3]));
}

#[test]
fn ends_of_a_sort_keep_the_first_of_equals() {
    let documents =
        [doc! { "s": 2, "v": "a" }, doc! { "s": 1, "v": "b" }, doc! { "s": 1, "v": "c" }, doc! { "s": 2 }];
    let ends = |spec: Bson| accumulate(spec, &documents);
    assert_eq!(ends(bson!({ "$top": { "sortBy": { "s": 1 }, "output": "$v" } })), bson!("b"));
    assert_eq!(ends(bson!({ "$bottom": { "sortBy": { "s": 1 }, "output": "$v" } })), bson!("a"));
    assert_eq!(
        ends(bson!({ "$topN": { "n": 3, "sortBy": { "s": 1 }, "output": "$v" } })),
        bson!(["b", "c", "a"])
    );
    assert_eq!(
        ends(bson!({ "$bottomN": { "n": 3, "sortBy": { "s": 1 }, "output": "$v" } })),
        bson!(["c", "a", null])
    );
    assert_eq!(
        ends(bson!({ "$topN": { "n": 9, "sortBy": { "s": -1, "v": 1 }, "output": ["$v", "$s"] } })),
        bson!([[null, 2], ["a", 2], ["b", 1], ["c", 1]])
    );
}

#[test]
fn collections_keep_null_and_leave_out_missing() {
    let documents = [doc! { "v": 2 }, doc! {}, doc! { "v": null }, doc! { "v": 2.0 }, doc! { "v": "x" }];
    assert_eq!(accumulate(bson!({ "$push": "$v" }), &documents), bson!([2, null, 2.0, "x"]));
    assert_eq!(accumulate(bson!({ "$addToSet": "$v" }), &documents), bson!([null, 2, "x"]));
    assert_eq!(accumulate(bson!({ "$count": {} }), &documents), Bson::Int32(5));
    let arrays = [doc! { "v": [3, 1] }, doc! {}, doc! { "v": [1, [2]] }];
    assert_eq!(accumulate(bson!({ "$concatArrays": "$v" }), &arrays), bson!([3, 1, 1, [2]]));
    assert_eq!(accumulate(bson!({ "$setUnion": "$v" }), &arrays), bson!([1, 3, [2]]));
    assert_eq!(code(bson!({ "$setUnion": "$v" }), &[doc! { "v": 1 }]), 14);
    assert_eq!(code(bson!({ "$concatArrays": "$v" }), &[doc! { "v": null }]), 14);
}

#[test]
fn merged_documents_keep_the_last_value_in_the_first_place() {
    let documents =
        [doc! { "v": { "a": 1, "b": 2 } }, doc! { "v": null }, doc! { "v": { "c": 3, "a": "x" } }];
    assert_eq!(accumulate(bson!({ "$mergeObjects": "$v" }), &documents), bson!({ "a": "x", "b": 2, "c": 3 }));
    assert_eq!(accumulate(bson!({ "$mergeObjects": "$v" }), &[]), bson!({}));
    assert_eq!(code(bson!({ "$mergeObjects": "$v" }), &[doc! { "v": 1 }]), 40400);
}

#[test]
fn percentiles_are_values_or_between_them() {
    let documents = of(&[bson!(40), bson!(10), bson!("x"), bson!(20.0), decimal("30"), bson!(f64::NAN)]);
    let run = |spec: Bson| accumulate(spec, &documents);
    assert_eq!(run(bson!({ "$median": { "input": "$v", "method": "approximate" } })), Bson::Double(20.0));
    assert_eq!(run(bson!({ "$median": { "input": "$v", "method": "continuous" } })), Bson::Double(25.0));
    let percentiles =
        bson!({ "$percentile": { "input": "$v", "p": [0, 0.5, 0.51, 1], "method": "approximate" } });
    assert_eq!(run(percentiles.clone()), bson!([10.0, 20.0, 30.0, 40.0]));
    assert_eq!(accumulate(percentiles, &[]), bson!([null, null, null, null]));
}

#[test]
fn the_count_may_depend_on_the_group() {
    let spec = bson!({ "$firstN": { "n": { "$cond": [{ "$eq": ["$k", "A"] }, 1, 2] }, "input": "$v" } });
    let documents = of(&[bson!(1), bson!(2), bson!(3)]);
    assert_eq!(in_group(spec.clone(), &doc! { "k": "A" }, &documents).unwrap(), Some(bson!([1])));
    assert_eq!(in_group(spec, &doc! { "k": "B" }, &documents).unwrap(), Some(bson!([1, 2])));
}

#[test]
fn what_does_not_parse_has_its_code() {
    for (spec, expected) in [
        (bson!(1), 40234),
        (bson!({}), 40234),
        (bson!({ "a": 1 }), 40234),
        (bson!({ "$sum": 1, "$avg": 1 }), 40238),
        (bson!({ "$sum": ["$a", "$b"] }), 40237),
        (bson!({ "$unknown": 1 }), 15952),
        (bson!({ "$count": 1 }), 14),
        (bson!({ "$firstN": 1 }), 5_787_801),
        (bson!({ "$minN": 1 }), 5_787_900),
        (bson!({ "$minN": { "input": 1 } }), 5_787_906),
        (bson!({ "$minN": { "n": 1 } }), 5_787_907),
        (bson!({ "$minN": { "n": 1, "input": 1, "x": 1 } }), 5_787_901),
        (bson!({ "$minN": { "n": "a", "input": 1 } }), 5_787_902),
        (bson!({ "$minN": { "n": 1.5, "input": 1 } }), 5_787_903),
        (bson!({ "$minN": { "n": 0, "input": 1 } }), 5_787_908),
        (bson!({ "$top": 1 }), 5_788_001),
        (bson!({ "$top": { "n": 1, "output": 1, "sortBy": { "a": 1 } } }), 5_788_002),
        (bson!({ "$topN": { "output": 1, "sortBy": { "a": 1 } } }), 5_788_003),
        (bson!({ "$top": { "sortBy": { "a": 1 } } }), 5_788_004),
        (bson!({ "$top": { "output": 1 } }), 5_788_005),
        (bson!({ "$median": 1 }), 7_436_100),
        (bson!({ "$percentile": 1 }), 7_429_703),
        (bson!({ "$percentile": { "input": 1, "method": "approximate" } }), 40414),
        (bson!({ "$median": { "input": 1, "method": "x" } }), 2),
        (bson!({ "$median": { "input": 1, "method": "approximate", "p": [1] } }), 40415),
        (bson!({ "$percentile": { "input": 1, "p": "$a", "method": "approximate" } }), 7_750_300),
        (bson!({ "$percentile": { "input": 1, "p": [], "method": "approximate" } }), 7_750_301),
        (bson!({ "$percentile": { "input": 1, "p": ["a"], "method": "approximate" } }), 7_750_302),
        (bson!({ "$percentile": { "input": 1, "p": [2], "method": "approximate" } }), 7_750_303),
    ] {
        assert_eq!(code(spec.clone(), &[]), expected, "{spec}");
    }
}
