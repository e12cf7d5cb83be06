//! Documents made by upserts.

use super::*;

fn upsert(filter: Document, update: Document) -> Result<Document, QueryError> {
    let filter = Filter::parse(&raw(filter)).unwrap();
    upsert_document(&filter, &parse(update)?, &CONTEXT).map(|document| decoded(&document))
}

#[track_caller]
fn check_upsert(filter: Document, update: Document, expected: Document) {
    assert_eq!(upsert(filter, update).unwrap(), expected);
}

#[test]
fn equality_facts_of_the_filter_come_first() {
    check_upsert(doc! {"_id": 1, "a": 2}, doc! {"$set": {"b": 3}}, doc! {"_id": 1, "a": 2, "b": 3});
    check_upsert(
        doc! {"a.b": 2, "_id": 7, "c": {"$gt": 1}},
        doc! {"$inc": {"n": 1}},
        doc! {"_id": 7, "a": {"b": 2}, "n": 1},
    );
    check_upsert(
        doc! {"$and": [{"x": {"$eq": 1}}, {"y": {"$in": [2]}}]},
        doc! {"$setOnInsert": {"z": 3}},
        doc! {"x": 1, "y": 2, "z": 3},
    );
    check_upsert(doc! {"a.0": 1}, doc! {"$set": {"a.1": 2}}, doc! {"a": {"0": 1, "1": 2}});
    check_upsert(doc! {"a": [1, 2]}, doc! {"$push": {"a": 3}}, doc! {"a": [1, 2, 3]});
    check_upsert(doc! {"n": 5}, doc! {"$inc": {"n": 1}}, doc! {"n": 6});
}

#[test]
fn the_id_comes_from_filter_or_update() {
    check_upsert(doc! {"a": 1}, doc! {"$set": {"_id": 3}}, doc! {"_id": 3, "a": 1});
    check_upsert(doc! {"a": 1}, doc! {"$setOnInsert": {"_id": 3}}, doc! {"_id": 3, "a": 1});
    check_upsert(doc! {"_id": 3, "a": 1}, doc! {"b": 1}, doc! {"_id": 3, "b": 1});
    check_upsert(doc! {"a": 1}, doc! {"b": 1, "_id": 4}, doc! {"_id": 4, "b": 1});
    check_upsert(doc! {"a": 1}, doc! {"b": 1}, doc! {"b": 1});
    let code = |filter, update| upsert(filter, update).unwrap_err().code.0;
    assert_eq!(code(doc! {"_id": 3}, doc! {"$set": {"_id": 4}}), 66);
    assert_eq!(code(doc! {"_id": 3}, doc! {"_id": 4}), 66);
    assert_eq!(code(doc! {"_id": {"a": 1, "b": 2}}, doc! {"_id": {"b": 2, "a": 1}}), 66);
    assert_eq!(code(doc! {}, doc! {"$set": {"_id": [1]}}), 53);
}

#[test]
fn facts_that_disagree_are_refused() {
    let code = |filter, update| upsert(filter, update).unwrap_err().code.0;
    assert_eq!(code(doc! {"$and": [{"a": 1}, {"a": 2}]}, doc! {"$set": {"b": 1}}), 54);
    assert_eq!(code(doc! {"a.b": 1, "a": {"b": 1}}, doc! {"$set": {"c": 1}}), 54);
    assert_eq!(code(doc! {"a": 1}, doc! {"$set": {"a.b": 1}}), 28);
    assert_eq!(code(doc! {"a": 1}, doc! {"$set": {"a.$": 1}}), 2);
    assert_eq!(code(doc! {"a": [1]}, doc! {"$set": {"a.$": 1}}), 2);
}
