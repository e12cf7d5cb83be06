//! Stages that need one collection.

use super::*;

fn here(pipeline: RawBson, documents: &[RawDocumentBuf]) -> Vec<RawDocumentBuf> {
    run(pipeline, &[("here", documents.to_vec())]).unwrap()
}

#[test]
fn unwind_gives_a_document_for_each_element() {
    let documents = [
        rawdoc! {"_id": 1, "a": [1, [2], null]},
        rawdoc! {"_id": 2, "a": []},
        rawdoc! {"_id": 3, "a": null},
        rawdoc! {"_id": 4},
        rawdoc! {"_id": 5, "a": "x"},
    ];
    assert_eq!(
        here(rawbson!([{"$unwind": {"path": "$a", "includeArrayIndex": "i"}}]), &documents),
        [
            rawdoc! {"_id": 1, "a": 1, "i": 0_i64},
            rawdoc! {"_id": 1, "a": [2], "i": 1_i64},
            rawdoc! {"_id": 1, "a": null, "i": 2_i64},
            rawdoc! {"_id": 5, "a": "x", "i": null},
        ]
    );
    assert_eq!(
        here(rawbson!([{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": true}}]), &documents)[3..],
        [rawdoc! {"_id": 2}, rawdoc! {"_id": 3, "a": null}, rawdoc! {"_id": 4}, rawdoc! {"_id": 5, "a": "x"}]
    );
}

#[test]
fn unwind_follows_documents_and_no_arrays() {
    let documents = [rawdoc! {"a": {"b": [1, 2]}}, rawdoc! {"a": [{"b": [1]}]}];
    assert_eq!(
        here(rawbson!([{"$unwind": {"path": "$a.b", "includeArrayIndex": "a.c"}}]), &documents),
        [rawdoc! {"a": {"b": 1, "c": 0_i64}}, rawdoc! {"a": {"b": 2, "c": 1_i64}}]
    );
}

#[test]
fn operands_are_checked_with_the_servers_codes() {
    for (pipeline, code) in [
        (rawbson!([1]), 14),
        (rawbson!([{}]), 40323),
        (rawbson!([{"$match": {}, "$limit": 1}]), 40323),
        (rawbson!([{"$limit": -1}, {"$nothing": {}}]), 40324),
        (rawbson!([{"$sample": {"size": f64::NAN}}]), 28747),
        (rawbson!([{"$facet": {"": []}}]), 15998),
        (rawbson!([{"$match": 1}]), 15959),
        (rawbson!([{"$match": {"a": {"$near": [0, 0]}}}]), 5_626_500),
        (rawbson!([{"$limit": 1}, {"$match": {"$text": {"$search": "a"}}}]), 17313),
        (rawbson!([{"$facet": {"a": [{"$match": {"$text": {"$search": "a"}}}]}}]), 17313),
        (rawbson!([{"$sort": 1}]), 15973),
        (rawbson!([{"$sort": {}}]), 15976),
        (rawbson!([{"$sort": {"$natural": 1}}]), 16410),
        (rawbson!([{"$limit": 0}]), 15958),
        (rawbson!([{"$limit": -1}]), 5_107_201),
        (rawbson!([{"$limit": 1.5}]), 5_107_201),
        (rawbson!([{"$skip": "1"}]), 5_107_200),
        (rawbson!([{"$unwind": 1}]), 15981),
        (rawbson!([{"$unwind": "a"}]), 28818),
        (rawbson!([{"$unwind": ""}]), 28812),
        (rawbson!([{"$unwind": {"path": "$a", "other": 1}}]), 28811),
        (rawbson!([{"$unwind": {"path": "$a", "includeArrayIndex": "$i"}}]), 28822),
        (rawbson!([{"$facet": {}}]), 40169),
        (rawbson!([{"$facet": {"a": 1}}]), 40170),
        (rawbson!([{"$facet": {"a": ["x"]}}]), 40171),
        (rawbson!([{"$count": 1}]), 40156),
        (rawbson!([{"$count": ""}]), 40157),
        (rawbson!([{"$count": "$a"}]), 40158),
        (rawbson!([{"$count": "a.b"}]), 40160),
        (rawbson!([{"$sortByCount": {}}]), 40147),
        (rawbson!([{"$sortByCount": "a"}]), 40148),
        (rawbson!([{"$sortByCount": 1}]), 40149),
        (rawbson!([{"$group": 1}]), 15947),
        (rawbson!([{"$group": {"a": {"$sum": 1}}}]), 15955),
        (rawbson!([{"$group": {"_id": null, "a": 1}}]), 40234),
        (rawbson!([{"$group": {"_id": null, "a.b": {"$sum": 1}}}]), 40235),
        (rawbson!([{"$group": {"_id": null, "a": {"$nothing": 1}}}]), 15952),
        (rawbson!([{"$bucket": 1}]), 40201),
        (rawbson!([{"$bucket": {"groupBy": 1, "boundaries": [0, 1]}}]), 40202),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": 1}}]), 40200),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": ["$a", 1]}}]), 40191),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0]}}]), 40192),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, "a"]}}]), 40193),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [1, 1.0]}}]), 40194),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1], "default": "$a"}}]), 40195),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1], "default": 0}}]), 40199),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1], "output": 1}}]), 40196),
        (rawbson!([{"$bucket": {"groupBy": "$a", "boundaries": [0, 1], "other": 1}}]), 40197),
        (rawbson!([{"$bucket": {"groupBy": "$a"}}]), 40198),
        (rawbson!([{"$facet": {"a": [{"$facet": {"b": []}}]}}]), 40600),
        (rawbson!([{"$facet": {"a": [{"$out": "b"}]}}]), 40600),
        (rawbson!([{"$sample": {"size": 0}}]), 28747),
        (rawbson!([{"$limit": 1}, {"$documents": []}]), 40602),
        (rawbson!([{"$out": "a"}, {"$limit": 1}]), 40601),
        (rawbson!([{"$collStats": 1}]), 5_447_000),
        (rawbson!([{"$indexStats": {"a": 1}}]), 28803),
        (rawbson!([{"$merge": 1}]), 51182),
        (rawbson!([{"$merge": {"into": 1}}]), 51178),
        (rawbson!([{"$merge": {"into": "a", "whenMatched": [{"$match": {}}]}}]), 72),
        (rawbson!([{"$merge": {"into": "a", "let": {"b": 1}, "whenMatched": "merge"}}]), 51199),
    ] {
        assert_eq!(refused(pipeline.clone()), code, "{pipeline:?}");
    }
}

#[test]
fn pipelines_nest_so_deep_and_no_deeper() {
    let mut pipeline = rawbson!([]);
    for _ in 1..PIPELINE_DEPTH_MAX {
        pipeline = rawbson!([{"$unionWith": {"coll": "a", "pipeline": pipeline}}]);
    }
    assert!(Pipeline::parse(&stages(pipeline.clone()), &settings()).is_ok());
    assert_eq!(refused(rawbson!([{"$unionWith": {"coll": "a", "pipeline": pipeline}}])), 232);
}

#[test]
fn the_longest_pipeline_runs_on_a_small_stack() {
    for stage in [
        rawdoc! {"$unwind": "$a"},
        rawdoc! {"$sample": {"size": 1}},
        rawdoc! {"$redact": "$$KEEP"},
        rawdoc! {"$group": {"_id": "$_id", "a": {"$first": "$a"}}},
        rawdoc! {"$lookup": {"from": "there", "pipeline": [], "as": "b"}},
    ] {
        let mut pipeline = bson::RawArrayBuf::new();
        for _ in 0..PIPELINE_STAGES_MAX / 2 {
            pipeline.push(stage.clone());
            pipeline.push(rawdoc! {"$match": {"a": 1}});
        }
        let run = move || run(RawBson::Array(pipeline), &[("here", vec![rawdoc! {"_id": 1, "a": 1}])]);
        let thread = std::thread::Builder::new().stack_size(6 << 18).spawn(run).unwrap();
        assert_eq!(thread.join().unwrap().unwrap().len(), 1, "{stage:?}");
    }
}

#[test]
fn pipelines_within_one_another_count_together() {
    let inner = |count: usize| {
        let mut pipeline = bson::RawArrayBuf::new();
        (0..count).for_each(|_| pipeline.push(rawdoc! {"$sortByCount": "$a"}));
        rawbson!([{"$unionWith": {"coll": "a", "pipeline": pipeline.clone()}}, {"$unionWith": {"coll": "a", "pipeline": pipeline}}])
    };
    assert!(Pipeline::parse(&stages(inner(200)), &settings()).is_ok());
    assert_eq!(refused(inner(300)), 7_749_501);
}

#[test]
fn documents_cannot_grow_without_bound() {
    let mut pipeline = bson::RawArrayBuf::new();
    for _ in 0..40 {
        pipeline.push(rawdoc! {"$set": {"a": ["$a", "$a"]}});
    }
    let error = run(RawBson::Array(pipeline), &[("here", vec![rawdoc! {"a": 1}])]).unwrap_err();
    assert!(matches!(error.code.0, 10334 | 146 | 50 | 15), "{error:?}");
    let mut pipeline = bson::RawArrayBuf::new();
    for _ in 0..200 {
        pipeline.push(rawdoc! {"$replaceWith": {"a": "$$ROOT"}});
    }
    let error = run(RawBson::Array(pipeline), &[("here", vec![rawdoc! {"a": 1}])]).unwrap_err();
    assert_eq!(error.code, ErrorCode::OVERFLOW);
}

#[test]
fn facets_see_the_same_documents() {
    let documents = [rawdoc! {"a": 1}, rawdoc! {"a": 2}, rawdoc! {"a": 3}];
    assert_eq!(
        here(
            rawbson!([{"$facet": {
                "first": [{"$sort": {"a": -1}}, {"$limit": 1}],
                "some": [{"$match": {"a": {"$lt": 3}}}, {"$skip": 1}],
                "none": [{"$match": {"a": 9}}],
            }}]),
            &documents
        ),
        [rawdoc! {"first": [{"a": 3}], "some": [{"a": 2}], "none": []}]
    );
}

#[test]
fn samples_are_chosen_by_the_seed() {
    let documents: Vec<_> = (0..50).map(|number| rawdoc! {"a": number}).collect();
    let sample = |seed| {
        let settings = PipelineSettings {
            context: QueryContext { chance: crate::Chance::new(seed), ..QueryContext::default() },
            ..settings()
        };
        let pipeline = Pipeline::parse(&stages(rawbson!([{"$sample": {"size": 5}}])), &settings).unwrap();
        let input: Rows<QueryError> = Box::new(documents.clone().into_iter().map(Ok));
        pipeline.run(input, &Arc::new(Memory::default())).map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(sample(1).len(), 5);
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    assert_eq!(here(rawbson!([{"$sample": {"size": 100}}]), &documents).len(), 50);
}

#[test]
fn redact_judges_each_level() {
    let documents =
        [rawdoc! {"l": 1, "a": {"l": 5, "b": 1}, "c": [{"l": 1, "d": {"l": 9}}, {"l": 9}, 3, [{"l": 9}]]}];
    let pipeline = rawbson!([{"$redact": {"$cond": [{"$lte": ["$l", 3]}, "$$DESCEND", "$$PRUNE"]}}]);
    assert_eq!(here(pipeline, &documents), [rawdoc! {"l": 1, "c": [{"l": 1}, 3, []]}]);
    let by_root = rawbson!([{"$redact": {"$cond": [{"$eq": ["$$ROOT.l", 1]}, "$$DESCEND", "$$PRUNE"]}}]);
    assert_eq!(here(by_root, &documents), documents);
    let error = run(rawbson!([{"$redact": 1}]), &[("here", documents.to_vec())]).unwrap_err();
    assert_eq!(error.code.0, 17053);
}

#[test]
fn sources_bring_their_own_documents() {
    let documents = [rawdoc! {"_id": 1}];
    let of_no_collection = |stages: RawBson| {
        let RawBson::Array(stages) = stages else { panic!("not an array") };
        let pipeline = Pipeline::parse(&stages, &PipelineSettings::default())?;
        pipeline.run(rows::none(), &Arc::new(Memory::default())).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(
        of_no_collection(rawbson!([{"$documents": [{"a": {"$add": [1, 1]}}]}, {"$set": {"b": 1}}])).unwrap(),
        [rawdoc! {"a": 2, "b": 1}]
    );
    assert_eq!(here(rawbson!([{"$collStats": {"count": {}}}]), &documents), [rawdoc! {"count": 1_i64}]);
    assert_eq!(here(rawbson!([{"$indexStats": {}}]), &documents), [rawdoc! {"name": "_id_"}]);
    for (stages, code) in [
        (rawbson!([{"$documents": 1}]), 5_858_203),
        (rawbson!([{"$documents": [1]}]), 40228),
        (rawbson!([{"$match": {}}]), 73),
    ] {
        assert_eq!(of_no_collection(stages).unwrap_err().code.0, code);
    }
    assert_eq!(refused(rawbson!([{"$documents": []}])), 73);
}

#[test]
fn the_nearest_come_first_with_their_distance() {
    let documents = [
        rawdoc! {"_id": 1, "a": 1, "loc": {"type": "Point", "coordinates": [2, 0]}},
        rawdoc! {"_id": 2, "a": 1, "loc": [[9, 9], [0, 1]]},
        rawdoc! {"_id": 3, "a": 2, "loc": [0, 0]},
        rawdoc! {"_id": 4, "a": 1, "loc": [50, 50]},
        rawdoc! {"_id": 5, "a": 1},
    ];
    let near = rawbson!([
        {"$geoNear": {
            "near": {"type": "Point", "coordinates": [0, 0]}, "maxDistance": 300_000, "query": {"a": 1},
            "distanceField": "far.km", "distanceMultiplier": 0.001, "includeLocs": "where",
        }},
        {"$project": {"km": {"$round": ["$far.km", 0]}, "where": 1}},
    ]);
    assert_eq!(
        here(near, &documents),
        [
            rawdoc! {"_id": 2, "where": [0, 1], "km": 111.0},
            rawdoc! {"_id": 1, "where": {"type": "Point", "coordinates": [2, 0]}, "km": 223.0},
        ]
    );
    let flat = rawbson!([
        {"$geoNear": {"near": [3, 4], "key": "loc", "distanceField": "d", "minDistance": 1, "maxDistance": 10}},
        {"$match": {"_id": 3}},
    ]);
    assert_eq!(here(flat, &documents), [rawdoc! {"_id": 3, "a": 2, "loc": [0, 0], "d": 5.0}]);
    let elsewhere =
        rawbson!([{"$unionWith": {"coll": "there", "pipeline": [{"$geoNear": {"near": [0, 0]}}]}}]);
    assert_eq!(run(elsewhere, &[]).unwrap_err().code.0, 27);
    for (operand, code) in [
        (rawbson!(1), 10065),
        (rawbson!({"distanceField": "d"}), 16605),
        (rawbson!({"near": 1}), 16605),
        (rawbson!({"near": {"type": "Nothing", "coordinates": [0, 0]}}), 2),
        (rawbson!({"near": [0, 0], "distanceField": 1}), 16606),
        (rawbson!({"near": [0, 0], "includeLocs": 1}), 16607),
        (rawbson!({"near": [0, 0], "key": ""}), 2),
        (rawbson!({"near": [0, 0], "query": 1}), 14),
        (rawbson!({"near": [0, 0], "maxDistance": -1}), 2),
        (rawbson!({"near": [0, 0], "limit": 1}), 50858),
        (rawbson!({"near": [0, 0], "other": 1}), 40415),
    ] {
        assert_eq!(refused(rawbson!([{"$geoNear": operand.clone()}])), code, "{operand:?}");
    }
    assert_eq!(refused(rawbson!([{"$limit": 1}, {"$geoNear": {"near": [0, 0]}}])), 40602);
}

#[test]
fn merging_finds_and_updates() {
    let pipeline = rawbson!([{"$merge": {
        "into": "there", "on": ["a", "b.c"], "let": {"x": "$y"},
        "whenMatched": [{"$set": {"sum": {"$add": ["$n", "$$new.n", "$$x"]}}}],
    }}]);
    let pipeline = Pipeline::parse(&stages(pipeline), &settings()).unwrap();
    let Some(Target::Merge(target)) = pipeline.target() else { panic!("no target") };
    let new = rawdoc! {"a": 1, "b": {"c": 2}, "n": 10, "y": 100};
    assert_eq!(target.filter_for(&new).unwrap(), Some(rawdoc! {"a": {"$eq": 1}, "b.c": {"$eq": 2}}));
    let update = target.update_for(&new).unwrap().unwrap();
    let updated = update.apply(&rawdoc! {"_id": 7, "n": 1}, &crate::UpdateContext::default()).unwrap();
    assert_eq!(updated.document, rawdoc! {"_id": 7, "n": 1, "sum": 111});
    assert_eq!(target.filter_for(&rawdoc! {"a": 1}).unwrap_err().code.0, 51132);
    assert_eq!(target.filter_for(&rawdoc! {"a": [1]}).unwrap_err().code.0, 51185);
}
