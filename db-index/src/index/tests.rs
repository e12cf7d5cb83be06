use bson::{RawBson, RawDocumentBuf, rawdoc};
use proptest::prelude::*;

use super::*;
use crate::{key::decode_field, testing::small_document};

fn index(keys: &RawDocumentBuf) -> IndexDefinition {
    IndexDefinition::parse(keys, &rawdoc! {}).unwrap()
}

/// The keys of a document, decoded, in the order of the index; "missing" for a missing field.
fn keys(definition: &IndexDefinition, document: &RawDocumentBuf) -> Vec<Vec<RawBson>> {
    let decode = |entry: &IndexEntry| {
        let (mut key, mut types) = (entry.key.as_slice(), entry.types.as_slice());
        let values = definition.fields().iter().map(|field| {
            decode_field(&mut key, &mut types, field.direction()).unwrap().unwrap_or("missing".into())
        });
        values.collect()
    };
    definition.entries(document).unwrap().entries.iter().map(decode).collect()
}

#[track_caller]
fn assert_keys(
    pattern: &RawDocumentBuf,
    document: &RawDocumentBuf,
    expected: &[Vec<RawBson>],
    multikey: u32,
) {
    let definition = index(pattern);
    assert_eq!(keys(&definition, document), expected);
    assert_eq!(definition.entries(document).unwrap().multikey, MultikeyFields(multikey));
}

fn int(value: i32) -> RawBson {
    RawBson::Int32(value)
}

fn missing() -> RawBson {
    "missing".into()
}

#[test]
fn a_definition_is_written_back_as_it_was_read() {
    let definition = IndexDefinition::parse(
        &rawdoc! { "a": 1, "b.c": -1.0 },
        &rawdoc! { "unique": true, "sparse": 1, "v": 2, "background": true },
    )
    .unwrap();
    assert_eq!(definition.name(), "a_1_b.c_-1");
    assert!(definition.is_unique() && definition.is_sparse());
    let document = definition.to_document();
    let expected = rawdoc! { "v": 2, "key": { "a": 1, "b.c": -1 }, "name": "a_1_b.c_-1", "unique": true, "sparse": true };
    assert_eq!(document, expected);
    assert_eq!(IndexDefinition::from_document(&document), Ok(definition));
}

#[test]
fn the_index_on_id_is_what_its_pattern_says() {
    assert_eq!(index(&rawdoc! { "_id": 1 }), IndexDefinition::on_id());
    assert!(IndexDefinition::on_id().is_id_index());
    assert!(!index(&rawdoc! { "_id": -1, "a": 1 }).is_id_index());
}

#[test]
fn bad_definitions_are_refused() {
    for keys in [
        rawdoc! {},
        rawdoc! { "a": 0 },
        rawdoc! { "a": f64::NAN },
        rawdoc! { "a": true },
        rawdoc! { "a": "text" },
        rawdoc! { "a": "unheard" },
        rawdoc! { "": 1 },
        rawdoc! { "a..b": 1 },
        rawdoc! { "a.": 1 },
        rawdoc! { "$a": 1 },
        rawdoc! { "a.$b": 1 },
        rawdoc! { "$**": 1 },
    ] {
        let error = IndexDefinition::parse(&keys, &rawdoc! {}).unwrap_err();
        assert_eq!(error.code, ErrorCode::CANNOT_CREATE_INDEX, "{keys:?}");
    }
    let many = (0..=INDEX_FIELDS_MAX).fold(RawDocumentBuf::new(), |mut keys, field| {
        keys.append(CString::try_from(format!("f{field}")).unwrap(), 1);
        keys
    });
    assert_eq!(IndexDefinition::parse(&many, &rawdoc! {}).unwrap_err().code, ErrorCode::CANNOT_CREATE_INDEX);
    for (options, code) in [
        (rawdoc! { "name": "" }, ErrorCode::CANNOT_CREATE_INDEX),
        (rawdoc! { "name": 5 }, ErrorCode::TYPE_MISMATCH),
        (rawdoc! { "unique": "yes" }, ErrorCode::TYPE_MISMATCH),
        (rawdoc! { "unheard": 1 }, ErrorCode::INVALID_INDEX_SPECIFICATION_OPTION),
    ] {
        assert_eq!(IndexDefinition::parse(&rawdoc! { "a": 1 }, &options).unwrap_err().code, code);
    }
    let sparse = IndexDefinition::parse(&rawdoc! { "_id": 1 }, &rawdoc! { "sparse": true });
    assert_eq!(sparse.unwrap_err().code, ErrorCode::INVALID_INDEX_SPECIFICATION_OPTION);
    assert_eq!(
        IndexDefinition::from_document(&rawdoc! { "key": 1 }).unwrap_err().code,
        ErrorCode::FAILED_TO_PARSE
    );
}

#[test]
fn the_index_on_id_and_its_name_stand_alone() {
    let refused = |keys: RawDocumentBuf, options: RawDocumentBuf| {
        IndexDefinition::parse(&keys, &options).unwrap_err().code
    };
    assert_eq!(refused(rawdoc! { "_id": -1 }, rawdoc! {}), ErrorCode::BAD_VALUE);
    assert_eq!(refused(rawdoc! { "a": 1 }, rawdoc! { "name": "_id_" }), ErrorCode::BAD_VALUE);
    assert_eq!(index(&rawdoc! { "_id": -1, "a": 1 }).name(), "_id_-1_a_1");
}

#[test]
fn creating_an_index_again_is_nothing_or_a_conflict() {
    let a = index(&rawdoc! { "a": 1 });
    let named =
        |keys: RawDocumentBuf, name: &str| IndexDefinition::parse(&keys, &rawdoc! { "name": name }).unwrap();
    let unique = IndexDefinition::parse(&rawdoc! { "a": 1 }, &rawdoc! { "unique": true }).unwrap();
    assert_eq!(index(&rawdoc! { "a": 2.5 }).is_same_as(&a), Ok(true));
    assert_eq!(index(&rawdoc! { "a": -1 }).is_same_as(&a), Ok(false));
    assert_eq!(index(&rawdoc! { "a": 1, "b": 1 }).is_same_as(&a), Ok(false));
    assert_eq!(
        named(rawdoc! { "a": 1 }, "x").is_same_as(&a).unwrap_err().code,
        ErrorCode::INDEX_OPTIONS_CONFLICT
    );
    assert_eq!(unique.is_same_as(&a).unwrap_err().code, ErrorCode::INDEX_KEY_SPECS_CONFLICT);
    let beside =
        IndexDefinition::parse(&rawdoc! { "a": 1 }, &rawdoc! { "unique": true, "name": "x" }).unwrap();
    assert_eq!(beside.is_same_as(&a), Ok(false));
    assert_eq!(
        named(rawdoc! { "b": 1 }, "a_1").is_same_as(&a).unwrap_err().code,
        ErrorCode::INDEX_KEY_SPECS_CONFLICT
    );
}

#[test]
fn without_arrays_there_is_one_entry() {
    let pattern = rawdoc! { "a": 1, "b.c": -1 };
    assert_keys(&pattern, &rawdoc! { "b": { "c": 2 }, "a": 1 }, &[vec![int(1), int(2)]], 0);
    assert_keys(&pattern, &rawdoc! { "b": 5 }, &[vec![missing(), missing()]], 0);
    assert_keys(&pattern, &rawdoc! { "a": null }, &[vec![RawBson::Null, missing()]], 0);
}

#[test]
fn an_array_gives_one_entry_for_each_distinct_element() {
    let a = rawdoc! { "a": 1 };
    assert_keys(
        &a,
        &rawdoc! { "a": [3, 1, 3.0, [1]] },
        &[vec![int(1)], vec![int(3)], vec![bson::rawbson!([1])]],
        1,
    );
    assert_keys(&a, &rawdoc! { "a": [] }, &[vec![RawBson::Undefined]], 1);
    assert_keys(
        &rawdoc! { "b": 1, "a": -1 },
        &rawdoc! { "a": [1, 2] },
        &[vec![missing(), int(2)], vec![missing(), int(1)]],
        2,
    );
}

#[test]
fn paths_lead_through_arrays_of_documents() {
    let path = rawdoc! { "a.b": 1 };
    assert_keys(
        &path,
        &rawdoc! { "a": [{ "b": 2 }, { "b": [1, 3] }] },
        &[vec![int(1)], vec![int(2)], vec![int(3)]],
        1,
    );
    assert_keys(
        &path,
        &rawdoc! { "a": [{ "c": 2 }, { "b": 1 }, 7, [{ "b": 9 }]] },
        &[vec![missing()], vec![int(1)]],
        1,
    );
    assert_keys(&path, &rawdoc! { "a": [] }, &[vec![missing()]], 1);
    assert_keys(&path, &rawdoc! { "a": { "b": [] } }, &[vec![RawBson::Undefined]], 1);
    assert_keys(&rawdoc! { "a.1": 1 }, &rawdoc! { "a": [4, 5] }, &[vec![int(5)]], 1);
    assert_keys(&rawdoc! { "a.1.b": 1 }, &rawdoc! { "a": [4, { "b": 6 }] }, &[vec![int(6)]], 1);
}

#[test]
fn fields_of_one_array_are_taken_element_by_element() {
    let pattern = rawdoc! { "a.x": 1, "a.y": 1 };
    let document = rawdoc! { "a": [{ "x": 1, "y": 2 }, { "x": 3 }] };
    assert_keys(&pattern, &document, &[vec![int(1), int(2)], vec![int(3), missing()]], 3);
}

#[test]
fn parallel_arrays_are_refused() {
    for (pattern, document) in [
        (rawdoc! { "a": 1, "b": 1 }, rawdoc! { "a": [1], "b": [2] }),
        (rawdoc! { "a": 1, "b": 1 }, rawdoc! { "a": [1], "b": [] }),
        (rawdoc! { "a.x": 1, "a.y": 1 }, rawdoc! { "a": [{ "x": [1], "y": [1] }] }),
    ] {
        let error = index(&pattern).entries(&document).unwrap_err();
        assert_eq!(error.code, ErrorCode::CANNOT_INDEX_PARALLEL_ARRAYS);
    }
}

#[test]
fn a_sparse_index_leaves_out_what_has_none_of_its_fields() {
    let sparse = IndexDefinition::parse(&rawdoc! { "a": 1, "b": 1 }, &rawdoc! { "sparse": true }).unwrap();
    assert!(keys(&sparse, &rawdoc! { "c": 1 }).is_empty());
    assert_eq!(keys(&sparse, &rawdoc! { "a": null }), vec![vec![RawBson::Null, missing()]]);
    let path = IndexDefinition::parse(&rawdoc! { "a.b": 1 }, &rawdoc! { "sparse": true }).unwrap();
    assert_eq!(keys(&path, &rawdoc! { "a": [{ "b": 1 }, {}] }), vec![vec![int(1)]]);
}

#[test]
fn keys_that_multiply_are_bounded() {
    let text = "x".repeat(1_000_000);
    let inner = crate::testing::array_of((0..100).map(int).collect());
    let document = rawdoc! { "a": [{ "b": inner, "t": text }] };
    let error = index(&rawdoc! { "a": 1, "a.b": 1 }).entries(&document).unwrap_err();
    assert_eq!(error.code, ErrorCode::KEY_TOO_LONG);
}

proptest! {
    #[test]
    fn entries_are_sorted_distinct_and_decode(document in small_document()) {
        for pattern in [rawdoc! { "a": 1 }, rawdoc! { "a.b": 1, "c": -1 }, rawdoc! { "a.0": 1 }, rawdoc! { "b": -1, "a.b.c": 1 }] {
            let definition = index(&pattern);
            if let Ok(IndexEntries { entries, multikey }) = definition.entries(&document) {
                prop_assert!(entries.is_sorted_by(|a, b| a.key < b.key));
                prop_assert!(!entries.is_empty());
                prop_assert!(entries.len() == 1 || !multikey.is_empty());
                prop_assert_eq!(keys(&definition, &document).len(), entries.len());
            }
        }
    }
}
