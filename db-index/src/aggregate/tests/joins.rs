//! Stages that read other collections.

use super::*;

fn join(pipeline: RawBson, here: Vec<RawDocumentBuf>, there: Vec<RawDocumentBuf>) -> Vec<RawDocumentBuf> {
    run(pipeline, &[("here", here), ("there", there)]).unwrap()
}

/// The `_id`s of what a lookup by `a` and `b` finds for one document.
fn found(local: RawDocumentBuf, foreign: &[RawDocumentBuf], from: &str, to: &str) -> Vec<i32> {
    let pipeline = rawbson!([
        {"$lookup": {"from": "there", "localField": from, "foreignField": to, "as": "found"}},
        {"$unwind": "$found"},
        {"$replaceWith": "$found"},
    ]);
    let documents = join(pipeline, vec![local], foreign.to_vec());
    documents.iter().map(|document| document.get_i32("_id").unwrap()).collect()
}

#[test]
fn lookup_by_equality_opens_arrays_and_takes_nothing_for_null() {
    let there = [
        rawdoc! {"_id": 0},
        rawdoc! {"_id": 1, "b": null},
        rawdoc! {"_id": 2, "b": [null, 1]},
        rawdoc! {"_id": 3, "b": []},
        rawdoc! {"_id": 4, "b": 1.0},
        rawdoc! {"_id": 5, "b": [[1, 2], 3]},
        rawdoc! {"_id": 6, "b": {"x": 1, "y": 2}},
    ];
    assert_eq!(found(rawdoc! {"a": 1}, &there, "a", "b"), [2, 4]);
    for nothing in [rawdoc! {}, rawdoc! {"a": null}, rawdoc! {"a": []}] {
        assert_eq!(found(nothing, &there, "a", "b"), [0, 1, 2]);
    }
    assert_eq!(found(rawdoc! {"a": [1, 3]}, &there, "a", "b"), [2, 4, 5]);
    assert_eq!(found(rawdoc! {"a": [[1, 2]]}, &there, "a", "b"), [5]);
    assert_eq!(found(rawdoc! {"a": {"x": 1, "y": 2}}, &there, "a", "b"), [6]);
    assert_eq!(found(rawdoc! {"a": {"y": 2, "x": 1}}, &there, "a", "b"), Vec::<i32>::new());
    assert_eq!(found(rawdoc! {"a": [{"c": 1}, {"c": [3]}, 7]}, &there, "a.c", "b"), [2, 4, 5]);
    assert_eq!(found(rawdoc! {"a": [9, 3]}, &there, "a.1", "b"), [5]);
    assert_eq!(found(rawdoc! {"a": 1}, &there, "a", "b.x"), [6]);
}

#[test]
fn a_regular_expression_equals_itself_only() {
    let regex = || {
        RawBson::RegularExpression(bson::Regex {
            pattern: bson::raw::cstr!("x").into(),
            options: bson::raw::cstr!("").into(),
        })
    };
    let mut local = RawDocumentBuf::new();
    local.append(bson::raw::cstr!("a"), regex());
    let mut other = rawdoc! {"_id": 1};
    other.append(bson::raw::cstr!("b"), regex());
    assert_eq!(found(local, &[rawdoc! {"_id": 0, "b": "x"}, other], "a", "b"), [1]);
}

#[test]
fn lookup_by_pipeline_knows_its_variables_and_the_outer_ones() {
    let pipeline = rawbson!([{"$lookup": {
        "from": "there", "let": {"x": "$a", "gone": "$nothing"},
        "pipeline": [
            {"$set": {"sum": {"$add": ["$$x", "$b"]}, "gone": {"$type": "$$gone"}}},
            {"$lookup": {"from": "there", "let": {"y": "$b"}, "pipeline": [
                {"$project": {"_id": 0, "z": {"$add": ["$$x", "$$y", "$b"]}}}
            ], "as": "inner"}},
        ],
        "as": "found",
    }}]);
    assert_eq!(
        join(pipeline, vec![rawdoc! {"a": 1}, rawdoc! {"a": 2}], vec![rawdoc! {"b": 10}]),
        [
            rawdoc! {"a": 1, "found": [{"b": 10, "sum": 11, "gone": "missing", "inner": [{"z": 21}]}]},
            rawdoc! {"a": 2, "found": [{"b": 10, "sum": 12, "gone": "missing", "inner": [{"z": 22}]}]},
        ]
    );
}

#[test]
fn lookup_by_both_filters_first() {
    let pipeline = rawbson!([{"$lookup": {
        "from": "there", "localField": "a", "foreignField": "b",
        "pipeline": [{"$sort": {"_id": -1}}, {"$limit": 1}], "as": "found.here",
    }}]);
    let there = vec![rawdoc! {"_id": 1, "b": 1}, rawdoc! {"_id": 2, "b": 1}, rawdoc! {"_id": 3, "b": 2}];
    assert_eq!(
        join(pipeline, vec![rawdoc! {"a": 1, "found": 5}], there),
        [rawdoc! {"a": 1, "found": {"here": [{"_id": 2, "b": 1}]}}]
    );
}

#[test]
fn lookup_in_documents_of_the_pipeline() {
    let pipeline = rawbson!([{"$lookup": {
        "localField": "a", "foreignField": "b",
        "pipeline": [{"$documents": [{"b": 1}, {"b": 2}]}, {"$set": {"c": 1}}], "as": "found",
    }}]);
    assert_eq!(
        join(pipeline, vec![rawdoc! {"a": 1}], vec![]),
        [rawdoc! {"a": 1, "found": [{"b": 1, "c": 1}]}]
    );
}

#[test]
fn an_unwound_lookup_is_as_the_array_unwound() {
    let lookup = rawdoc! {"$lookup": {"from": "there", "localField": "a", "foreignField": "b", "as": "x.y"}};
    let here = vec![
        rawdoc! {"_id": 1, "a": 1},
        rawdoc! {"_id": 2, "a": 7, "x": {"y": 1, "z": 2}},
        rawdoc! {"_id": 3, "a": 2},
    ];
    let there: Vec<_> = (0..6).map(|number| rawdoc! {"_id": number, "b": number % 3}).collect();
    for unwind in [
        rawdoc! {"$unwind": "$x.y"},
        rawdoc! {"$unwind": {"path": "$x.y", "includeArrayIndex": "i"}},
        rawdoc! {"$unwind": {"path": "$x.y", "includeArrayIndex": "i", "preserveNullAndEmptyArrays": true}},
    ] {
        let joined = join(rawbson!([lookup.clone(), unwind.clone()]), here.clone(), there.clone());
        // The stage between them does nothing but keep them apart.
        let apart = rawbson!([lookup.clone(), {"$replaceWith": "$$ROOT"}, unwind]);
        assert_eq!(joined, join(apart, here.clone(), there.clone()));
    }
}

#[test]
fn operands_of_lookup_are_checked() {
    for (operand, code) in [
        (rawbson!(1), 9),
        (rawbson!({"from": "b", "localField": "a", "foreignField": "b"}), 9),
        (rawbson!({"from": "b", "localField": "a", "as": "c"}), 9),
        (rawbson!({"from": "b", "as": "c"}), 9),
        (rawbson!({"pipeline": [], "as": "c"}), 9),
        (rawbson!({"from": "b", "localField": "a", "foreignField": "b", "as": 1}), 14),
        (rawbson!({"from": "b", "localField": "$a", "foreignField": "b", "as": "c"}), 16410),
        (rawbson!({"from": "b", "pipeline": 1, "as": "c"}), 14),
        (rawbson!({"from": "b", "pipeline": [], "let": 1, "as": "c"}), 14),
        (rawbson!({"from": "b", "pipeline": [{"$out": "d"}], "as": "c"}), 51047),
        (rawbson!({"from": "b", "pipeline": [], "as": "c", "other": 1}), 40415),
        (rawbson!({"from": "b", "pipeline": [], "let": {"A": 1}, "as": "c"}), 9),
    ] {
        assert_eq!(refused(rawbson!([{"$lookup": operand.clone()}])), code, "{operand:?}");
    }
}

#[test]
fn a_union_comes_after_the_input() {
    let pipeline = rawbson!([
        {"$unionWith": {"coll": "there", "pipeline": [{"$match": {"a": {"$gt": 1}}}]}},
        {"$unionWith": "here"},
    ]);
    assert_eq!(
        join(pipeline, vec![rawdoc! {"a": 0}], vec![rawdoc! {"a": 1}, rawdoc! {"a": 2}]),
        [rawdoc! {"a": 0}, rawdoc! {"a": 2}, rawdoc! {"a": 0}]
    );
    assert_eq!(refused(rawbson!([{"$unionWith": {"pipeline": []}}])), 9);
    assert_eq!(refused(rawbson!([{"$unionWith": {"coll": "a", "pipeline": [{"$out": "b"}]}}])), 31441);
}

#[test]
fn the_collections_read_are_told() {
    let pipeline = rawbson!([
        {"$lookup": {"from": "b", "pipeline": [{"$unionWith": "c"}], "as": "x"}},
        {"$facet": {"x": [{"$unionWith": "a"}]}},
    ]);
    let pipeline = Pipeline::parse(&stages(pipeline), &settings()).unwrap();
    assert_eq!(pipeline.collections(), ["a", "b", "c"]);
}

/// Documents in which equal values meet often, under one path or the other.
fn sides() -> impl Strategy<Value = (Vec<RawDocumentBuf>, Vec<RawDocumentBuf>)> {
    let side = || proptest::collection::vec(testing::small_document(), 0..12);
    (side(), side())
}

proptest! {
    #[test]
    fn a_table_finds_what_a_search_finds(
        (here, there) in sides(),
        local in proptest::sample::select(vec!["a", "a.b", "b", "a.0"]),
        foreign in proptest::sample::select(vec!["a", "a.b", "c", "a.0", "b.c"]),
    ) {
        let numbered = |documents: Vec<RawDocumentBuf>| -> Vec<RawDocumentBuf> {
            let with_id = |(index, document): (usize, RawDocumentBuf)| {
                let mut made = rawdoc! {"_id": index as i32};
                for (name, value) in crate::order::elements(&document) {
                    made.append(name, value);
                }
                made
            };
            documents.into_iter().enumerate().map(with_id).collect()
        };
        let collections = [("here", numbered(here)), ("there", numbered(there))];
        for inner in [rawbson!([]), rawbson!([{"$match": {"b": {"$ne": 1}}}, {"$project": {"c": 1}}])] {
            let pipeline = rawbson!([{"$lookup": {
                "from": "there", "localField": local, "foreignField": foreign, "pipeline": inner, "as": "found",
            }}]);
            let found = [true, false].map(|is_indexed| {
                let found = run_with(pipeline.clone(), &collections, is_indexed).unwrap();
                found.iter().map(|document| document.as_bytes().to_vec()).collect::<Vec<_>>()
            });
            prop_assert_eq!(&found[0], &found[1]);
        }
    }
}
