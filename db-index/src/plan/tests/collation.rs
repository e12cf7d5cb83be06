//! Indexes with a collation change no answer, and serve the queries of their own collation.

use proptest::{collection::vec, sample::select};

use super::{
    property::{documents, filter, holds_all, key_pattern},
    *,
};
use crate::{Collation, QueryContext};

const COLLATIONS: [Option<i32>; 3] = [None, Some(1), Some(2)];

fn specification(strength: i32) -> RawDocumentBuf {
    rawdoc! { "locale": "en", "strength": strength }
}

fn context(strength: Option<i32>) -> QueryContext {
    let collation = strength.and_then(|strength| Collation::parse(&specification(strength)).unwrap());
    QueryContext { collation, ..QueryContext::default() }
}

fn collated_index(keys: &RawDocumentBuf, strength: Option<i32>) -> IndexDefinition {
    let mut options = rawdoc! {};
    if let Some(strength) = strength {
        options.append(bson::raw::cstr!("collation"), specification(strength));
        options.append(bson::raw::cstr!("name"), format!("of strength {strength} by {keys:?}"));
    }
    IndexDefinition::parse(keys, &options).unwrap()
}

fn names() -> Collection {
    let mut collection = Collection::with_indexes(vec![collated_index(&rawdoc! { "a": 1 }, Some(2))]);
    for (number, name) in ["apple", "Apple", "banana", "Banana", "cherry"].into_iter().enumerate() {
        collection.insert(rawdoc! { "_id": number as i32, "a": name });
    }
    collection
}

fn ask_by(
    collection: &Collection,
    filter: &RawDocumentBuf,
    sort: &RawDocumentBuf,
    strength: Option<i32>,
) -> Answer {
    let context = context(strength);
    let filter = Filter::parse_in(filter, &context).unwrap();
    let sort = Sort::parse(sort).unwrap().by(context.collation.as_ref());
    let infos = collection.infos();
    let request = request(&filter, &sort, &infos, collection.documents.len());
    let answer = collection.run(&Plan::new(&request).unwrap(), &request);
    check_answer(collection, &request, &answer).unwrap();
    answer
}

#[test]
fn an_index_serves_its_own_collation_only() {
    let collection = names();
    let by_name = rawdoc! { "a": "APPLE" };
    let served = ask_by(&collection, &by_name, &rawdoc! {}, Some(2));
    assert_eq!((served.documents.len(), served.keys_examined), (2, 2));
    let otherwise = ask_by(&collection, &by_name, &rawdoc! {}, Some(1));
    assert_eq!((otherwise.documents.len(), otherwise.documents_examined), (2, 5));
    let plain = ask_by(&collection, &rawdoc! { "a": "apple" }, &rawdoc! {}, None);
    assert_eq!((plain.documents.len(), plain.documents_examined), (1, 5));
    let range =
        ask_by(&collection, &rawdoc! { "a": { "$gt": "Apple", "$lt": "CHERRY" } }, &rawdoc! {}, Some(2));
    assert_eq!((range.documents.len(), range.keys_examined), (2, 2));
    let numbers = ask_by(&collection, &rawdoc! { "a": { "$gt": 5 } }, &rawdoc! {}, None);
    assert_eq!(numbers.documents_examined, 0, "numbers are the same by every collation");
    let expression = rawdoc! { "$expr": { "$eq": ["$a", "CHERRY"] } };
    let by_expression = ask_by(&collection, &expression, &rawdoc! {}, Some(2));
    assert_eq!((by_expression.documents.len(), by_expression.keys_examined), (1, 1));
}

#[test]
fn a_sort_is_served_by_its_own_collation_only() {
    let collection = names();
    let sorts = |strength| {
        let context = context(strength);
        let sort = Sort::parse(&rawdoc! { "a": 1 }).unwrap().by(context.collation.as_ref());
        let (filter, infos) = (Filter::parse(&rawdoc! { "a": { "$gte": 0 } }).unwrap(), collection.infos());
        let request = request(&filter, &sort, &infos, 5);
        Plan::new(&request).unwrap().sorts
    };
    assert_eq!(COLLATIONS.map(sorts), [true, true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_collated_index_never_changes_the_answer(
        documents in documents(), filter in filter(), sort in prop_oneof![1 => Just(rawdoc! {}), 2 => key_pattern()],
        keys in vec((key_pattern(), select(COLLATIONS.to_vec())), 1..4), asked in select(COLLATIONS.to_vec()),
        limit in prop_oneof![Just(None), (1..5_u64).prop_map(Some)],
    ) {
        let mut seen = BTreeSet::new();
        let indexes = keys.iter().map(|(keys, strength)| collated_index(keys, *strength));
        let indexes = indexes.filter(|index| seen.insert(index.name().to_owned()));
        let mut collection = Collection::with_indexes(indexes.collect());
        for (number, document) in documents.into_iter().enumerate() {
            let mut own = rawdoc! { "_id": number as i32 };
            for element in &document {
                let (name, value) = element.unwrap();
                own.append(name, value);
            }
            collection.insert(own);
        }
        let bson::RawBson::Document(filter) = filter else { unreachable!() };
        let context = context(asked);
        let Ok(filter) = Filter::parse_in(&filter, &context) else { return Ok(()) };
        let sort = Sort::parse(&sort).unwrap().by(context.collation.as_ref());
        if collection.documents.values().any(|document| sort.key(document).is_err()) {
            return Ok(()); // parallel arrays cannot be sorted by
        }
        let infos = collection.infos();
        let request = PlanRequest { limit, ..request(&filter, &sort, &infos, collection.documents.len()) };
        let plan = Plan::new(&request).unwrap();
        check_answer(&collection, &request, &collection.run(&plan, &request))?;
        for index in infos.iter().filter(|index| holds_all(index.definition)) {
            let hint = Hint::Name(index.definition.name().to_owned());
            let request = PlanRequest { hint: Some(&hint), ..request };
            let plan = Plan::new(&request).unwrap();
            check_answer(&collection, &request, &collection.run(&plan, &request))?;
        }
    }
}
