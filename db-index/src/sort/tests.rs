#![allow(clippy::needless_pass_by_value)] // reads better with literals

use bson::{Bson, Document, RawDocumentBuf, doc};
use proptest::prelude::*;

use super::*;
use crate::testing::{small_document, small_value};

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

fn sort(document: Document) -> Sort {
    Sort::parse(&raw(&document)).unwrap()
}

fn code(document: Document) -> i32 {
    Sort::parse(&raw(&document)).unwrap_err().code.0
}

fn sorted(by: Document, documents: &[Document]) -> Vec<Document> {
    let mut sorter = Sorter::new(sort(by), None, SORT_BYTES_MAX);
    for document in documents {
        sorter.push(&raw(document), || document.clone()).unwrap();
    }
    sorter.into_sorted().collect()
}

#[test]
fn specifications_are_checked() {
    assert_eq!(code(doc! {"a": "asc"}), 15974);
    assert_eq!(code(doc! {"a": 0}), 15975);
    assert_eq!(code(doc! {"a": 2.0}), 15975);
    assert_eq!(code(doc! {"a": 0.5}), 15975);
    assert_eq!(code(doc! {"a": f64::NAN}), 15975);
    assert_eq!(code(doc! {"$a": 1}), 16410);
    assert_eq!(code(doc! {"": 1}), 40352);
    assert_eq!(code(doc! {"a.": 1}), 40353);
    assert_eq!(code(doc! {"a..b": 1}), 15998);
    assert_eq!(code((0..33).map(|number| (number.to_string(), Bson::Int32(1))).collect()), 13103);
    assert_eq!(code(doc! {"a": 1, "$natural": 1}), 2);
    assert_eq!(Sort::parse_stage(&raw(&doc! {})).unwrap_err().code.0, 15976);
    assert!(Sort::parse(&raw(&doc! {})).unwrap().is_empty());
    assert_eq!(sort(doc! {"$natural": -1}).natural(), Some(Direction::Descending));
    let rounded: bson::Decimal128 = "1.2".parse().unwrap();
    assert_eq!(sort(doc! {"a": rounded}).keys()[0].1, Direction::Ascending);
}

#[test]
fn keys_weigh_from_the_first_to_the_last() {
    let documents = [doc! {"a": 1, "b": 1}, doc! {"a": 2, "b": 1}, doc! {"a": 1, "b": 2}];
    assert_eq!(
        sorted(doc! {"a": 1, "b": -1}, &documents),
        [documents[2].clone(), documents[0].clone(), documents[1].clone()]
    );
}

#[test]
fn arrays_sort_by_their_least_or_greatest_element() {
    let documents = [doc! {"a": [3, 1]}, doc! {"a": 2}, doc! {"a": [0, 9]}];
    let [x, y, z] = documents.clone();
    assert_eq!(sorted(doc! {"a": 1}, &documents), [z.clone(), x.clone(), y.clone()]);
    assert_eq!(sorted(doc! {"a": -1}, &documents), [z, x, y]);
}

#[test]
fn an_empty_array_is_below_null_and_missing() {
    let documents =
        [doc! {"a": null}, doc! {"a": []}, doc! {"a": Bson::MinKey}, doc! {"b": 1}, doc! {"a": [null]}];
    let [null, empty, least, missing, inside] = documents.clone();
    assert_eq!(
        sorted(doc! {"a": 1}, &documents),
        [least.clone(), empty.clone(), null.clone(), missing.clone(), inside.clone()]
    );
    assert_eq!(sorted(doc! {"a": -1}, &documents), [null, missing, inside, empty, least]);
}

#[test]
fn inner_arrays_and_scalars_on_the_way_are_not_opened() {
    let compare =
        |by: Document, a: Document, b: Document| sort(by).compare_documents(&raw(&a), &raw(&b)).unwrap();
    assert!(compare(doc! {"a": 1}, doc! {"a": [[1]]}, doc! {"a": 100}).is_gt());
    assert!(compare(doc! {"a.b": 1}, doc! {"a": 42}, doc! {}).is_eq());
    assert!(compare(doc! {"a.b": 1}, doc! {"a": [[{"b": 1}]]}, doc! {}).is_eq());
    assert!(compare(doc! {"a.b": 1}, doc! {"a": []}, doc! {}).is_eq());
    assert!(compare(doc! {"a.1": 1}, doc! {"a": [9, 1]}, doc! {"a": [0, 2]}).is_lt());
}

#[test]
fn keys_through_one_array_are_taken_from_one_element() {
    let compare = |a: Document, b: Document| {
        sort(doc! {"a.b": 1, "a.c": -1}).compare_documents(&raw(&a), &raw(&b)).unwrap()
    };
    assert!(compare(doc! {"a": [{"b": 1, "c": 1}, {"b": 2, "c": 9}]}, doc! {"a": {"b": 1, "c": 5}}).is_gt());
    assert!(compare(doc! {"a": [{"b": 1, "c": 1}, {"b": 1, "c": 9}]}, doc! {"a": {"b": 1, "c": 5}}).is_lt());
}

#[test]
fn parallel_arrays_are_refused() {
    let by = sort(doc! {"a": 1, "b": 1});
    assert!(by.key(&raw(&doc! {"a": [1, 2], "b": 1})).is_ok());
    assert_eq!(by.key(&raw(&doc! {"a": [1, 2], "b": [1]})).unwrap_err().code, ErrorCode::BAD_VALUE);
    assert!(sort(doc! {"a.b": 1, "a.c": 1}).key(&raw(&doc! {"a": [{"b": [1], "c": [2]}]})).is_err());
}

#[test]
fn a_sort_beyond_its_memory_is_refused_unless_a_limit_keeps_it_small() {
    let document = raw(&doc! {"a": 1, "text": "x".repeat(1000)});
    let mut unlimited = Sorter::new(sort(doc! {"a": 1}), None, 10_000);
    let refused = (0..20).find_map(|number| unlimited.push(&document, || number).err()).unwrap();
    assert_eq!(refused.code, ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT);
    let mut limited = Sorter::new(sort(doc! {"a": 1}), Some(3), 10_000);
    for number in 0..20 {
        limited.push(&document, || number).unwrap();
    }
    assert_eq!(limited.into_sorted().collect::<Vec<_>>(), [0, 1, 2]);
}

fn any_sort() -> impl Strategy<Value = Sort> {
    proptest::sample::subsequence(vec!["a", "a.b", "b", "c", "a.0", "b.c"], 1..4)
        .prop_flat_map(|paths| {
            let count = paths.len();
            (Just(paths), proptest::collection::vec(any::<bool>(), count))
        })
        .prop_map(|(paths, ascending)| {
            paths
                .into_iter()
                .zip(ascending)
                .map(|(path, up)| (path, if up { 1 } else { -1 }))
                .collect::<Vec<_>>()
        })
        .prop_map(|keys| {
            sort(keys.into_iter().map(|(path, way)| (path.to_owned(), Bson::Int32(way))).collect())
        })
}

proptest! {
    #[test]
    fn keys_order_as_documents_do(sort in any_sort(), a in small_document(), b in small_document()) {
        if let (Ok(left), Ok(right)) = (sort.key(&a), sort.key(&b)) {
            prop_assert_eq!(left.cmp(&right), sort.compare_documents(&a, &b).unwrap());
        }
    }

    #[test]
    fn a_limit_gives_the_beginning_of_the_whole(
        sort in any_sort(),
        documents in proptest::collection::vec(small_document(), 0..12),
        limit in 0..6_usize,
    ) {
        let run = |limit| {
            let mut sorter = Sorter::new(sort.clone(), limit, SORT_BYTES_MAX);
            for (place, document) in documents.iter().enumerate() {
                let _ = sorter.push(document, || place);
            }
            sorter.into_sorted().collect::<Vec<_>>()
        };
        let mut whole = run(None);
        whole.truncate(limit);
        prop_assert_eq!(run(Some(limit)), whole);
    }

    #[test]
    fn a_scalar_sorts_by_the_total_order(a in small_value(), b in small_value()) {
        // An array sorts by one of its elements, which this is not about.
        let scalar = |value: bson::RawBson| if value.as_array().is_some() { bson::RawBson::Null } else { value };
        let (a, b) = (scalar(a), scalar(b));
        let sort = sort(doc! {"v": 1});
        let (left, right) = (bson::rawdoc! {"v": a.clone()}, bson::rawdoc! {"v": b.clone()});
        prop_assert_eq!(
            sort.compare_documents(&left, &right).unwrap(),
            order::compare(a.as_raw_bson_ref(), b.as_raw_bson_ref())
        );
    }
}
