//! Array operators.

use bson::Regex;
use bson::raw::cstr;

use super::*;

#[test]
fn push_appends_and_creates() {
    check(doc! {"a": [1]}, doc! {"$push": {"a": 2}}, doc! {"a": [1, 2]});
    check(doc! {}, doc! {"$push": {"a": [1, 2]}}, doc! {"a": [[1, 2]]});
    check(doc! {"a": [1]}, doc! {"$push": {"a": {"$each": [2, 3]}}}, doc! {"a": [1, 2, 3]});
    check(doc! {"a": {"b": [1]}}, doc! {"$push": {"a.b": 2}}, doc! {"a": {"b": [1, 2]}});
    check_kept(doc! {"a": [1]}, doc! {"$push": {"a": {"$each": []}}});
    check(doc! {}, doc! {"$push": {"a": {"$each": []}}}, doc! {"a": []});
    check_refused(doc! {"a": 1}, doc! {"$push": {"a": 2}}, 2);
    check_refused(doc! {"a": Bson::Null}, doc! {"$push": {"a": 2}}, 2);
}

#[test]
fn push_inserts_at_a_position() {
    let push = |position: i64| doc! {"$push": {"a": {"$each": [8, 9], "$position": position}}};
    check(doc! {"a": [1, 2, 3]}, push(0), doc! {"a": [8, 9, 1, 2, 3]});
    check(doc! {"a": [1, 2, 3]}, push(2), doc! {"a": [1, 2, 8, 9, 3]});
    check(doc! {"a": [1, 2, 3]}, push(99), doc! {"a": [1, 2, 3, 8, 9]});
    check(doc! {"a": [1, 2, 3]}, push(-1), doc! {"a": [1, 2, 8, 9, 3]});
    check(doc! {"a": [1, 2, 3]}, push(-3), doc! {"a": [8, 9, 1, 2, 3]});
    check(doc! {"a": [1, 2, 3]}, push(i64::MIN), doc! {"a": [8, 9, 1, 2, 3]});
    check_unparsed(doc! {"$push": {"a": {"$each": [], "$position": 1.5}}}, 2);
}

#[test]
fn push_sorts_then_slices() {
    let push = |modifiers: Document| {
        let mut each = doc! {"$each": [5, 1]};
        each.extend(modifiers);
        doc! {"$push": {"a": each}}
    };
    check(doc! {"a": [3]}, push(doc! {"$sort": 1}), doc! {"a": [1, 3, 5]});
    check(doc! {"a": [3]}, push(doc! {"$sort": -1, "$slice": 2}), doc! {"a": [5, 3]});
    check(doc! {"a": [3]}, push(doc! {"$slice": -2}), doc! {"a": [5, 1]});
    check(doc! {"a": [3]}, push(doc! {"$slice": 0}), doc! {"a": []});
    check(doc! {"a": [3]}, push(doc! {"$slice": i64::MIN}), doc! {"a": [3, 5, 1]});
    check(doc! {}, push(doc! {"$sort": 1, "$slice": -1}), doc! {"a": [5]});
    check_kept(doc! {"a": [1, 2]}, doc! {"$push": {"a": {"$each": [], "$sort": 1, "$slice": 2}}});
    check(
        doc! {"a": [{"n": 2, "t": "x"}, 7, {"n": 1, "t": "y"}]},
        doc! {"$push": {"a": {"$each": [{"n": 2, "t": "a"}], "$sort": {"n": -1, "t": 1}}}},
        doc! {"a": [{"n": 2, "t": "a"}, {"n": 2, "t": "x"}, {"n": 1, "t": "y"}, 7]},
    );
    check(
        doc! {"a": [{"n": {"m": 2}}, {"n": {"m": 1}}]},
        doc! {"$push": {"a": {"$each": [], "$sort": {"n.m": 1}}}},
        doc! {"a": [{"n": {"m": 1}}, {"n": {"m": 2}}]},
    );
    for sort in [bson!(0), bson!(2), bson!("1"), bson!({}), bson!({"a": 2}), bson!({"a.": 1}), bson!({"": 1})]
    {
        check_unparsed(push(doc! {"$sort": sort}), 2);
    }
    check_unparsed(push(doc! {"$slice": "1"}), 2);
    check_unparsed(push(doc! {"$slice": f64::INFINITY}), 2);
    check_unparsed(push(doc! {"$other": 1}), 2);
    check_unparsed(doc! {"$push": {"a": {"$each": 1}}}, 2);
}

#[test]
fn add_to_set_compares_by_value() {
    check(doc! {"a": [1, 2]}, doc! {"$addToSet": {"a": 3}}, doc! {"a": [1, 2, 3]});
    check_kept(doc! {"a": [1, 2]}, doc! {"$addToSet": {"a": 2.0}});
    check_kept(doc! {"a": [{"x": 1, "y": 2}]}, doc! {"$addToSet": {"a": {"x": 1, "y": 2}}});
    check(
        doc! {"a": [{"x": 1, "y": 2}]},
        doc! {"$addToSet": {"a": {"y": 2, "x": 1}}},
        doc! {"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]},
    );
    check(doc! {"a": [1]}, doc! {"$addToSet": {"a": {"$each": [2, 2.0, 1, 3]}}}, doc! {"a": [1, 2, 3]});
    check(doc! {}, doc! {"$addToSet": {"a": {"$each": [2, 2, 3]}}}, doc! {"a": [2, 3]});
    check(doc! {}, doc! {"$addToSet": {"a": [1]}}, doc! {"a": [[1]]});
    check_refused(doc! {"a": "x"}, doc! {"$addToSet": {"a": 1}}, 2);
    check_unparsed(doc! {"$addToSet": {"a": {"$each": 1}}}, 14);
    check_unparsed(doc! {"$addToSet": {"a": {"$each": [1], "$slice": 1}}}, 2);
}

#[test]
fn add_to_set_of_many_finds_duplicates_too() {
    let many: Vec<i32> = (0..200).collect();
    let more: Vec<f64> = (100..300).map(f64::from).collect();
    let updated = try_update(doc! {"a": many}, doc! {"$addToSet": {"a": {"$each": more}}}).unwrap();
    let array = decoded(&updated.document).get_array("a").unwrap().clone();
    assert_eq!(array.len(), 300);
    assert_eq!(array.get(200), Some(&Bson::Double(200.0)));
}

#[test]
fn pop_takes_an_end() {
    check(doc! {"a": [1, 2, 3]}, doc! {"$pop": {"a": 1}}, doc! {"a": [1, 2]});
    check(doc! {"a": [1, 2, 3]}, doc! {"$pop": {"a": -1.0}}, doc! {"a": [2, 3]});
    check_kept(doc! {"a": []}, doc! {"$pop": {"a": 1, "b": 1, "c.d": -1}});
    check_refused(doc! {"a": 1}, doc! {"$pop": {"a": 1}}, 14);
    check_refused(doc! {"a": 1}, doc! {"$pop": {"a.b": 1}}, 28);
    for operand in [bson!(0), bson!(2), bson!("1"), bson!(true), bson!(1.5)] {
        check_unparsed(doc! {"$pop": {"a": operand}}, 9);
    }
}

#[test]
fn pull_takes_out_what_matches() {
    check(doc! {"a": [1, 5, 2, 7]}, doc! {"$pull": {"a": {"$gte": 5}}}, doc! {"a": [1, 2]});
    check(doc! {"a": [1, 1.0, 2]}, doc! {"$pull": {"a": 1}}, doc! {"a": [2]});
    check(
        doc! {"a": [{"x": 1, "y": 2}, {"x": 2}, 5]},
        doc! {"$pull": {"a": {"y": 2, "x": 1}}},
        doc! {"a": [{"x": 2}, 5]},
    );
    check(doc! {"a": [[1, 2], [2, 1]]}, doc! {"$pull": {"a": [1, 2]}}, doc! {"a": [[2, 1]]});
    let starts_with_b = Regex { pattern: cstr!("^b").into(), options: cstr!("").into() };
    check(doc! {"a": ["ab", "ba", 3]}, doc! {"$pull": {"a": starts_with_b}}, doc! {"a": ["ab", 3]});
    check(doc! {"a": [{"b": [{"c": 1}]}]}, doc! {"$pull": {"a.0.b": {"c": 1}}}, doc! {"a": [{"b": []}]});
    check_kept(doc! {"a": [1], "b": 5}, doc! {"$pull": {"a": 2, "q.r": 1, "b.c": 1}});
    check_refused(doc! {"a": 1}, doc! {"$pull": {"a": 1}}, 2);
    check_unparsed(doc! {"$pull": {"a": {"$nonsense": 1}}}, 2);
}

#[test]
fn pull_all_takes_out_a_list() {
    check(
        doc! {"a": [1, 2.0, 3, 2, {"x": 1}]},
        doc! {"$pullAll": {"a": [{"x": 1}, 2, 9]}},
        doc! {"a": [1, 3]},
    );
    check_kept(doc! {"a": [1]}, doc! {"$pullAll": {"a": [], "b": [1]}});
    check_refused(doc! {"a": 1}, doc! {"$pullAll": {"a": [1]}}, 2);
    check_unparsed(doc! {"$pullAll": {"a": 1}}, 2);
}

#[test]
fn an_index_past_the_end_pads_with_nulls() {
    check(doc! {"a": [1]}, doc! {"$set": {"a.3": 9}}, doc! {"a": [1, Bson::Null, Bson::Null, 9]});
    check(doc! {"a": []}, doc! {"$set": {"a.1.b": 9, "a.2": 3}}, doc! {"a": [Bson::Null, {"b": 9}, 3]});
    check(doc! {"a": [1, 2]}, doc! {"$inc": {"a.1": 5, "a.0": 1}}, doc! {"a": [2, 7]});
    check_kept(doc! {"a": [1]}, doc! {"$unset": {"a.5": 1}, "$pull": {"a.7": 1}, "$pop": {"a.8": 1}});
    check_refused(doc! {"a": []}, doc! {"$set": {"a.1500001": 1}}, 2);
    check_refused(doc! {"a": []}, doc! {"$set": {"a.99999999999999999999": 1}}, 2);
    check_refused(doc! {"a": [1]}, doc! {"$set": {"a.b": 1}}, 28);
}

#[test]
fn the_positional_operator_takes_the_matched_index() {
    let apply = |update: Document, position: Option<usize>| {
        let update = parse(update).unwrap();
        assert!(update.needs_position());
        update
            .apply(&raw(doc! {"a": [{"b": 1}, {"b": 2}]}), &UpdateContext { positional: position, ..CONTEXT })
            .map(|updated| decoded(&updated.document))
    };
    assert_eq!(apply(doc! {"$set": {"a.$.b": 9}}, Some(1)).unwrap(), doc! {"a": [{"b": 1}, {"b": 9}]});
    assert_eq!(
        apply(doc! {"$set": {"a.$.b": 9, "a.1.c": 3}}, Some(1)).unwrap(),
        doc! {"a": [{"b": 1}, {"b": 9, "c": 3}]}
    );
    assert_eq!(apply(doc! {"$set": {"a.$": 1}}, None).unwrap_err().code.0, 2);
    assert_eq!(apply(doc! {"$set": {"a.$": 1, "a.1.c": 3}}, Some(1)).unwrap_err().code.0, 40);
    check_unparsed(doc! {"$set": {"a.$.b.$": 1}}, 2);
    check_unparsed(doc! {"$set": {"$": 1}}, 2);
    assert!(!parse(doc! {"$set": {"a.$[]": 1}}).unwrap().needs_position());
}

#[test]
fn every_element_or_the_filtered_ones() {
    check(doc! {"a": [1, 2]}, doc! {"$inc": {"a.$[]": 10}}, doc! {"a": [11, 12]});
    check(doc! {"a": [[1], [2, 3]]}, doc! {"$inc": {"a.$[].$[]": 1}}, doc! {"a": [[2], [3, 4]]});
    check_kept(doc! {"a": []}, doc! {"$set": {"a.$[].b": 1}});
    check_refused(doc! {"a": 1}, doc! {"$set": {"a.$[]": 1}}, 2);
    check_refused(doc! {}, doc! {"$set": {"a.$[]": 1}}, 2);
    let apply = |update: Document, filters: Vec<Document>| {
        parse_with(update, filters)?
            .apply(&raw(doc! {"a": [{"n": 1}, {"n": 5}], "b": [1, 2]}), &CONTEXT)
            .map(|updated| decoded(&updated.document))
    };
    assert_eq!(
        apply(doc! {"$set": {"a.$[x].m": 1}}, vec![doc! {"x.n": {"$gt": 2}}]).unwrap(),
        doc! {"a": [{"n": 1}, {"n": 5, "m": 1}], "b": [1, 2]}
    );
    assert_eq!(
        apply(
            doc! {"$set": {"a.$[x].m": 1, "a.$[y].k": 2, "b.$[z]": 0}},
            vec![doc! {"x.n": 5}, doc! {"y.n": {"$gt": 0}}, doc! {"z": 2}]
        )
        .unwrap(),
        doc! {"a": [{"n": 1, "k": 2}, {"n": 5, "k": 2, "m": 1}], "b": [1, 0]}
    );
    let code = |update: Document, filters: Vec<Document>| apply(update, filters).unwrap_err().code.0;
    assert_eq!(
        code(doc! {"$set": {"a.$[x].m": 1, "a.$[y].m": 2}}, vec![doc! {"x.n": 5}, doc! {"y.n": 5}]),
        40
    );
    assert_eq!(code(doc! {"$set": {"a.$[x]": 1}}, vec![]), 2);
    assert_eq!(code(doc! {"$set": {"a.$[x]": 1}}, vec![doc! {"x": 1}, doc! {"y": 1}]), 9);
    assert_eq!(code(doc! {"$set": {"a.$[x]": 1}}, vec![doc! {"x": 1}, doc! {"x": 2}]), 9);
    assert_eq!(code(doc! {"$set": {"a.$[x]": 1}}, vec![doc! {"x": 1, "y": 2}]), 9);
    assert_eq!(code(doc! {"$set": {}}, vec![doc! {"x": 1}]), 9);
    assert_eq!(code(doc! {"$set": {"$[x]": 1}}, vec![doc! {"x": 1}]), 2);
}
