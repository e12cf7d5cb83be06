//! Stages that group.

use bson::RawBsonRef;

use super::*;

fn here(pipeline: RawBson, documents: &[RawDocumentBuf]) -> Vec<RawDocumentBuf> {
    run(pipeline, &[("here", documents.to_vec())]).unwrap()
}

#[test]
fn missing_and_null_are_one_group_but_apart_within_documents() {
    let documents = [rawdoc! {"a": null}, rawdoc! {}, rawdoc! {"a": 1}, rawdoc! {"a": 1.0}];
    assert_eq!(
        here(rawbson!([{"$group": {"_id": "$a", "n": {"$sum": 1}}}]), &documents),
        [rawdoc! {"_id": null, "n": 2}, rawdoc! {"_id": 1, "n": 2}]
    );
    assert_eq!(
        here(rawbson!([{"$group": {"_id": {"x": "$a"}}}]), &documents),
        [rawdoc! {"_id": {"x": null}}, rawdoc! {"_id": {}}, rawdoc! {"_id": {"x": 1}}]
    );
}

#[test]
fn counts_come_sorted() {
    let documents = [rawdoc! {"a": "x"}, rawdoc! {"a": "y"}, rawdoc! {"a": "y"}];
    assert_eq!(
        here(rawbson!([{"$sortByCount": "$a"}]), &documents),
        [rawdoc! {"_id": "y", "count": 2}, rawdoc! {"_id": "x", "count": 1}]
    );
    assert_eq!(here(rawbson!([{"$count": "n"}]), &documents), [rawdoc! {"n": 3}]);
    assert!(here(rawbson!([{"$count": "n"}]), &[]).is_empty());
}

#[test]
fn buckets_are_half_open_and_sorted() {
    let documents: Vec<_> = [25, 0, 10, 9].map(|number| rawdoc! {"a": number}).into();
    let bucket =
        |default| rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 10, 20], "default": default}}]);
    assert_eq!(
        here(bucket("other"), &documents),
        [
            rawdoc! {"_id": 0, "count": 2},
            rawdoc! {"_id": 10, "count": 1},
            rawdoc! {"_id": "other", "count": 1}
        ]
    );
    let without = rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 10, 20], "output": {"all": {"$push": "$a"}}}}]);
    assert_eq!(here(without.clone(), &documents[1..])[0], rawdoc! {"_id": 0, "all": [0, 9]});
    let error = run(without, &[("here", documents)]).unwrap_err();
    assert_eq!(error.code.0, 40066);
}

#[test]
fn graph_lookup_follows_until_nothing_new_is_found() {
    let there: Vec<_> = [(1, 2), (2, 3), (3, 1), (4, 1), (5, 9)]
        .map(|(id, to)| rawdoc! {"_id": id, "to": [to], "kind": id % 2})
        .into();
    let graph = |more: RawDocumentBuf| {
        let mut operand = rawdoc! {
            "from": "there", "startWith": "$start", "connectFromField": "to", "connectToField": "_id", "as": "found",
        };
        for (name, value) in crate::order::elements(&more) {
            operand.append(name, value);
        }
        let pipeline = rawbson!([{"$graphLookup": operand}]);
        let found = run(pipeline, &[("here", vec![rawdoc! {"start": 1}]), ("there", there.clone())]).unwrap();
        let ids = found[0].get_array("found").unwrap().into_iter().map(|document| {
            let RawBsonRef::Document(document) = document.unwrap() else { panic!("no document") };
            (document.get_i32("_id").unwrap(), document.get_i64("d").ok())
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(graph(rawdoc! {}), [(1, None), (2, None), (3, None)]);
    assert_eq!(graph(rawdoc! {"maxDepth": 1, "depthField": "d"}), [(1, Some(0)), (2, Some(1))]);
    assert_eq!(graph(rawdoc! {"restrictSearchWithMatch": {"kind": 1}}), [(1, None)]);
    for (operand, code) in [
        (rawbson!(1), 40327),
        (rawbson!({"from": "a"}), 40105),
        (rawbson!({"as": 1}), 40103),
        (rawbson!({"maxDepth": "x"}), 40100),
        (rawbson!({"maxDepth": -1}), 40101),
        (rawbson!({"maxDepth": 1.5}), 40102),
        (rawbson!({"restrictSearchWithMatch": 1}), 40185),
        (rawbson!({"other": 1}), 40104),
    ] {
        assert_eq!(refused(rawbson!([{"$graphLookup": operand.clone()}])), code, "{operand:?}");
    }
}

#[test]
fn strings_are_the_same_by_the_collation() {
    let context = QueryContext::default().with_collation(&rawdoc! {"locale": "en", "strength": 2}).unwrap();
    let settings = PipelineSettings { context, ..settings() };
    let here = [rawdoc! {"a": "x"}, rawdoc! {"a": "Y"}, rawdoc! {"a": "X"}, rawdoc! {"a": "y"}];
    let there = vec![rawdoc! {"_id": "Y", "to": "X"}, rawdoc! {"_id": "x", "to": "y"}];
    let run = |pipeline: RawBson| {
        let pipeline = Pipeline::parse(&stages(pipeline), &settings).unwrap();
        let collections = [("here".to_owned(), here.to_vec()), ("there".to_owned(), there.clone())];
        let outside = Arc::new(Memory { collections: collections.into(), is_indexed: false });
        pipeline
            .find_and_run(&outside, &Variables::default(), None)
            .unwrap()
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
    };
    assert_eq!(
        run(rawbson!([{"$group": {"_id": "$a", "n": {"$sum": 1}}}])),
        [rawdoc! {"_id": "x", "n": 2}, rawdoc! {"_id": "Y", "n": 2}]
    );
    assert_eq!(
        run(rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": ["X", "y", "z"]}}])),
        [rawdoc! {"_id": "X", "count": 2}, rawdoc! {"_id": "y", "count": 2}]
    );
    let names = |documents: Vec<RawDocumentBuf>| {
        documents.iter().map(|document| document.get_str("a").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(run(rawbson!([{"$match": {"a": "x"}}]))), ["x", "X"]);
    assert_eq!(
        names(run(rawbson!([{"$unwind": "$a"}, {"$match": {"$expr": {"$eq": ["$a", "Y"]}}}]))),
        ["Y", "y"]
    );
    assert_eq!(names(run(rawbson!([{"$unwind": "$a"}, {"$sort": {"a": 1}}]))), ["x", "X", "Y", "y"]);
    let found = run(rawbson!([
        {"$limit": 1},
        {"$lookup": {"from": "there", "localField": "a", "foreignField": "to", "as": "found"}},
        {"$graphLookup": {"from": "there", "startWith": "$a", "connectFromField": "to", "connectToField": "_id", "as": "all"}},
    ]));
    assert_eq!(
        found,
        [
            rawdoc! {"a": "x", "found": [{"_id": "Y", "to": "X"}], "all": [{"_id": "x", "to": "y"}, {"_id": "Y", "to": "X"}]}
        ]
    );
}

proptest! {
    /// Against a search of all groups for each document.
    #[test]
    fn groups_are_those_of_a_plain_search(
        documents in proptest::collection::vec(testing::small_document(), 0..20),
    ) {
        let mut expected: Vec<(RawBson, Vec<RawBson>)> = Vec::new();
        for document in &documents {
            let id = crate::path::field(document, "a").unwrap_or(RawBsonRef::Null);
            let value = crate::path::field(document, "b");
            let known = expected.iter().position(|(known, _)| crate::compare(known.as_raw_bson_ref(), id).is_eq());
            let place = known.unwrap_or_else(|| {
                expected.push((id.into(), Vec::new()));
                expected.len() - 1
            });
            expected[place].1.extend(value.map(RawBson::from));
        }
        let found = here(rawbson!([{"$group": {"_id": "$a", "all": {"$push": "$b"}}}]), &documents);
        prop_assert_eq!(found.len(), expected.len());
        for (found, (id, all)) in found.iter().zip(expected) {
            let mut array = bson::RawArrayBuf::new();
            for value in all {
                array.push(value);
            }
            let mut whole = RawDocumentBuf::new();
            whole.append(bson::raw::cstr!("_id"), id);
            whole.append(bson::raw::cstr!("all"), array);
            prop_assert_eq!(found.as_bytes(), whole.as_bytes());
        }
    }
}
