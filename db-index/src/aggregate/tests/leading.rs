//! What is pushed down to the find.

use super::*;

fn leading(pipeline: RawBson) -> (Leading, Vec<&'static str>) {
    let pipeline = Pipeline::parse(&stages(pipeline), &settings()).unwrap();
    (pipeline.leading().clone(), pipeline.stage_names())
}

#[test]
fn filters_sort_skip_and_limit_lead() {
    let (leading, rest) = leading(rawbson!([
        {"$match": {"a": 1}}, {"$sort": {"b": 1}}, {"$match": {"c": 2}},
        {"$skip": 2}, {"$limit": 10}, {"$skip": 3}, {"$limit": 100},
        {"$match": {"d": 1}}, {"$limit": 1},
    ]));
    assert_eq!(leading.filter.to_document(), &*rawdoc! {"$and": [{"a": 1}, {"c": 2}]});
    assert_eq!(leading.sort, crate::Sort::parse(&rawdoc! {"b": 1}).unwrap());
    assert_eq!((leading.skip, leading.limit), (5, Some(7)));
    assert_eq!(rest, ["$match", "$limit"]);
}

#[test]
fn a_sort_after_a_limit_does_not_lead() {
    let (leading, rest) = leading(rawbson!([{"$limit": 3}, {"$sort": {"a": 1}}, {"$match": {"a": 1}}]));
    assert!(leading.sort.is_empty() && leading.filter.is_empty());
    assert_eq!(leading.limit, Some(3));
    assert_eq!(rest, ["$match", "$sort"]);
}

#[test]
fn the_fields_that_are_looked_at_are_told_where_they_can_be() {
    let fields = |pipeline| leading(pipeline).0.fields.map(|fields| fields.join(" "));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(fields(rawbson!([{"$match": {"a.b": 1}}])), None);
    assert_eq!(
        fields(
            rawbson!([{"$match": {"$or": [{"a.b": 1}, {"$expr": {"$gt": ["$c.d", "$$ROOT.e"]}}]}}, {"$count": "n"}])
        ),
        some("a c e")
    );
    assert_eq!(fields(rawbson!([{"$count": "n"}])), some(""));
    assert_eq!(
        fields(
            rawbson!([{"$sort": {"a": 1}}, {"$group": {"_id": "$b.c", "n": {"$top": {"sortBy": {"d": 1}, "output": "$e"}}}}])
        ),
        some("a b d e")
    );
    assert_eq!(fields(rawbson!([{"$group": {"_id": "$a", "all": {"$push": "$$ROOT"}}}])), None);
    assert_eq!(fields(rawbson!([{"$group": {"_id": {"$getField": "a"}}}])), None);
    assert_eq!(fields(rawbson!([{"$project": {"a.b": 1, "c": "$d", "_id": 0}}])), some("a c d"));
    assert_eq!(fields(rawbson!([{"$project": {"a": {"b": {"$add": ["$c", 1]}}}}])), some("a c _id"));
    assert_eq!(fields(rawbson!([{"$project": {"a": 0}}, {"$sortByCount": "$b"}])), some("b"));
    assert_eq!(
        fields(
            rawbson!([{"$unwind": {"path": "$a.b", "includeArrayIndex": "i"}}, {"$replaceWith": {"c": "$d"}}])
        ),
        some("a i d")
    );
    assert_eq!(fields(rawbson!([{"$facet": {"a": []}}])), None);
}

fn any_stage() -> impl Strategy<Value = RawDocumentBuf> {
    prop_oneof![
        2 => (0..4_i32).prop_map(|bound| rawdoc! {"$match": {"a": {"$gte": bound}}}),
        2 => testing::small_value().prop_map(|value| rawdoc! {"$match": {"b": {"$ne": value}}}),
        2 => proptest::bool::ANY.prop_map(|up| rawdoc! {"$sort": {"a": if up { 1 } else { -1 }, "_id": 1}}),
        1 => (0..6_i32).prop_map(|count| rawdoc! {"$skip": count}),
        1 => (1..9_i32).prop_map(|count| rawdoc! {"$limit": count}),
        1 => Just(rawdoc! {"$set": {"b": "$a"}}),
        1 => Just(rawdoc! {"$project": {"a": 1, "b": "$c"}}),
        1 => Just(rawdoc! {"$group": {"_id": "$_id", "a": {"$push": "$b"}}}),
        1 => Just(rawdoc! {"$unwind": "$a"}),
    ]
}

proptest! {
    /// Barriers between all stages keep them from being moved or joined.
    #[test]
    fn pushing_down_changes_nothing(
        documents in proptest::collection::vec(testing::small_document(), 0..20),
        pipeline in proptest::collection::vec(any_stage(), 0..6),
    ) {
        let documents: Vec<_> = documents
            .into_iter()
            .enumerate()
            .map(|(index, document)| {
                let mut made = rawdoc! {"_id": index as i32};
                for (name, value) in crate::order::elements(&document) {
                    made.append(name, value);
                }
                made
            })
            .collect();
        let (mut joined, mut apart) = (bson::RawArrayBuf::new(), bson::RawArrayBuf::new());
        for stage in pipeline {
            joined.push(stage.clone());
            apart.push(rawdoc! {"$unwind": "$_id"});
            apart.push(stage);
        }
        let collections = [("here", documents)];
        let joined = run(RawBson::Array(joined), &collections).unwrap();
        let apart = run(RawBson::Array(apart), &collections).unwrap();
        let bytes = |documents: &[RawDocumentBuf]| documents.iter().map(|document| document.as_bytes().to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&joined), bytes(&apart));
    }
}

#[test]
fn a_sort_by_the_score_of_a_search_follows_it() {
    let index = crate::IndexDefinition::parse(&rawdoc! {"a": "text"}, &rawdoc! {}).unwrap();
    let context = QueryContext::default().with_text(index.text().cloned());
    let settings = PipelineSettings { collection: "a".to_owned(), context };
    let code =
        |pipeline: RawBson| Pipeline::parse(&stages(pipeline), &settings).map_err(|error| error.code.0).err();
    let search = || rawdoc! {"$match": {"$text": {"$search": "x"}}};
    let by_score = || rawdoc! {"$sort": {"score": {"$meta": "textScore"}}};
    assert_eq!(code(rawbson!([search(), by_score(), {"$limit": 3}])), None);
    assert_eq!(code(rawbson!([by_score()])), Some(40218));
    assert_eq!(code(rawbson!([search(), {"$unwind": "$a"}, by_score()])), Some(238));
    assert_eq!(code(rawbson!([search(), {"$project": {"s": {"$meta": "textScore"}}}])), Some(238));
}
