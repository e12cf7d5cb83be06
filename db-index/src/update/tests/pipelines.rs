//! Updates by a pipeline.

use bson::RawBson;

use super::*;

fn try_pipeline(document: Document, stages: Bson) -> Result<Updated, QueryError> {
    let stages = RawBson::try_from(stages).unwrap();
    let update = Update::parse_value(stages.as_raw_bson_ref(), &UpdateOptions::default())?;
    assert!(!update.is_replayable());
    update.apply(&raw(document), &CONTEXT)
}

#[track_caller]
fn check_pipeline(document: Document, stages: Bson, expected: Document) {
    let updated =
        try_pipeline(document.clone(), stages.clone()).unwrap_or_else(|error| panic!("{stages}: {error}"));
    assert_eq!(decoded(&updated.document), expected, "{stages} on {document}");
    assert_eq!(updated.changed, document != expected);
    // What is logged for it leads to the same document.
    let effects = plain_effects(&raw(document.clone()), &updated.document).unwrap();
    let replayed =
        Update::parse(&effects, &UpdateOptions::default()).unwrap().apply(&raw(document), &CONTEXT).unwrap();
    assert_eq!(replayed.document, updated.document);
}

#[track_caller]
fn check_pipeline_refused(stages: Bson, code: i32) {
    match try_pipeline(doc! {"_id": 1, "a": 1}, stages.clone()) {
        Ok(updated) => panic!("{stages} gave {}", decoded(&updated.document)),
        Err(error) => assert_eq!(error.code.0, code, "{stages}: {error}"),
    }
}

#[test]
fn stages_compute_from_the_document() {
    let document = doc! {"_id": 1, "a": 2, "b": {"x": 1}, "c": [{"y": 1}, 5]};
    check_pipeline(
        document.clone(),
        bson!([{"$set": {"sum": {"$add": ["$a", "$b.x"]}, "b.z": "$a"}}, {"$unset": "a"}]),
        doc! {"_id": 1, "b": {"x": 1, "z": 2}, "c": [{"y": 1}, 5], "sum": 3},
    );
    check_pipeline(
        document.clone(),
        bson!([{"$set": {"c": {"z": "$a"}, "a": "$$REMOVE"}}]),
        doc! {"_id": 1, "b": {"x": 1}, "c": [{"y": 1, "z": 2}, {"z": 2}]},
    );
    check_pipeline(document.clone(), bson!([{"$set": {"a": 2}}]), document.clone());
    check_pipeline(document.clone(), bson!([{"$replaceWith": "$b"}]), doc! {"_id": 1, "x": 1});
    check_pipeline(
        document.clone(),
        bson!([{"$project": {"a": 1, "n": {"$literal": 1}}}]),
        doc! {"_id": 1, "a": 2, "n": 1},
    );
    check_pipeline(
        document.clone(),
        bson!([{"$project": {"b": {"x": 0}, "c.y": 0}}]),
        doc! {"_id": 1, "a": 2, "b": {}, "c": [{}, 5]},
    );
    check_pipeline(document, bson!([{"$project": {"c.y": 1, "_id": 0}}]), doc! {"_id": 1, "c": [{"y": 1}]});
}

#[test]
fn variables_of_let_are_known() {
    let stages = RawBson::try_from(bson!([{"$set": {"a": {"$add": ["$a", "$$by"]}}}])).unwrap();
    let context = QueryContext::default().with_variables(&raw(doc! {"by": {"$add": [1, 2]}})).unwrap();
    let RawBson::Array(stages) = stages else { panic!("an array") };
    let update = Update::parse_pipeline(&stages, &context).unwrap();
    assert_eq!(decoded(&update.apply(&raw(doc! {"a": 1}), &CONTEXT).unwrap().document), doc! {"a": 4});
}

#[test]
fn bad_pipelines_are_refused() {
    check_pipeline_refused(bson!([{"$match": {"a": 1}}]), 72);
    check_pipeline_refused(bson!([{"$set": {"a": 1}, "$unset": "b"}]), 40323);
    check_pipeline_refused(bson!([1]), 14);
    check_pipeline_refused(bson!([{"$set": {}}]), 40177);
    check_pipeline_refused(bson!([{"$set": {"a": 1, "a.b": 2}}]), 40176);
    check_pipeline_refused(bson!([{"$set": {"_id": 2}}]), 66);
    check_pipeline_refused(bson!([{"$replaceWith": "$a"}]), 40228);
    check_pipeline_refused(bson!([{"$project": {"a": 1, "b": 0}}]), 31254);
    check_pipeline_refused(bson!([{"$unset": []}]), 31119);
    check_pipeline_refused(bson!([{"$set": {"x": {"$divide": [1, 0]}}}]), 2);
}

#[test]
fn an_upsert_may_be_a_pipeline() {
    let stages = RawBson::try_from(bson!([{"$set": {"b": {"$add": ["$a", 1]}}}])).unwrap();
    let update = Update::parse_value(stages.as_raw_bson_ref(), &UpdateOptions::default()).unwrap();
    let filter = Filter::parse(&raw(doc! {"_id": 7, "a": 1})).unwrap();
    let document = upsert_document(&filter, &update, &CONTEXT).unwrap();
    assert_eq!(decoded(&document), doc! {"_id": 7, "a": 1, "b": 2});
}
