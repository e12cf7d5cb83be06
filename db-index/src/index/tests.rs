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
        rawdoc! { "a": "text", "b": 1, "c": "text" },
        rawdoc! { "a": 1, "b": "2d" },
        rawdoc! { "a": "2dsphere", "b": "text" },
        rawdoc! { "a": "2dsphere", "b": "hashed" },
        rawdoc! { "a": "unheard" },
        rawdoc! { "": 1 },
        rawdoc! { "a..b": 1 },
        rawdoc! { "a.": 1 },
        rawdoc! { "$a": 1 },
        rawdoc! { "a.$b": 1 },
        rawdoc! { "$**": 0 },
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

fn options(keys: &RawDocumentBuf, options: &RawDocumentBuf) -> Result<IndexDefinition, QueryError> {
    IndexDefinition::parse(keys, options)
}

#[test]
fn options_are_written_back_as_they_were_read() {
    let partial = rawdoc! { "a": { "$gt": 5 }, "$or": [{ "b": 1 }, { "b": { "$exists": true } }] };
    let given = rawdoc! {
        "name": "x", "unique": true, "partialFilterExpression": partial.clone(), "expireAfterSeconds": 60.5, "hidden": true,
        "collation": { "locale": "de" },
    };
    let definition = options(&rawdoc! { "a": 1 }, &given).unwrap();
    assert!(definition.is_hidden() && definition.is_unique());
    assert_eq!(definition.expire_after_seconds(), Some(60));
    assert_eq!(definition.partial_filter().unwrap().to_document(), &*partial);
    let collation = definition.collation().unwrap().to_document();
    assert_eq!(collation.get_str("locale").unwrap(), "de");
    assert_eq!(IndexDefinition::from_document(&definition.to_document()), Ok(definition));
    let hashed = index(&rawdoc! { "a": "hashed", "b": -1 });
    assert_eq!(hashed.name(), "a_hashed_b_-1");
    assert_eq!(IndexDefinition::from_document(&hashed.to_document()), Ok(hashed));
    let projected = rawdoc! { "wildcardProjection": { "a": 0 } };
    let wildcard = options(&rawdoc! { "a": 1, "$**": 1 }, &projected).unwrap();
    assert_eq!(wildcard.name(), "a_1_$**_1");
    assert_eq!(IndexDefinition::from_document(&wildcard.to_document()), Ok(wildcard));
}

#[test]
fn bad_options_are_refused_with_their_codes() {
    let a = rawdoc! { "a": 1 };
    let wildcard = rawdoc! { "$**": 1 };
    for (keys, given, code) in [
        (&a, rawdoc! { "hidden": 1 }, 14),
        (&a, rawdoc! { "partialFilterExpression": 1 }, 14),
        (&a, rawdoc! { "partialFilterExpression": { "a": { "$ne": 1 } } }, 67),
        (&a, rawdoc! { "partialFilterExpression": { "a": { "$exists": false } } }, 67),
        (&a, rawdoc! { "partialFilterExpression": { "$nor": [{ "a": 1 }] } }, 67),
        (&a, rawdoc! { "partialFilterExpression": { "$expr": { "$eq": ["$a", 1] } } }, 224),
        (&a, rawdoc! { "partialFilterExpression": { "a": { "$gt": 1 } }, "sparse": true }, 67),
        (&a, rawdoc! { "expireAfterSeconds": "1" }, 67),
        (&a, rawdoc! { "expireAfterSeconds": -1 }, 67),
        (&a, rawdoc! { "expireAfterSeconds": f64::INFINITY }, 67),
        (&rawdoc! { "a": 1, "b": 1 }, rawdoc! { "expireAfterSeconds": 1 }, 67),
        (&a, rawdoc! { "collation": "de" }, 14),
        (&a, rawdoc! { "collation": {} }, 2),
        (&a, rawdoc! { "collation": { "locale": 1 } }, 14),
        (&a, rawdoc! { "v": 0 }, 67),
        (&a, rawdoc! { "nonsense": 1 }, 197),
        (&rawdoc! { "_id": 1 }, rawdoc! { "hidden": true }, 197),
        (&rawdoc! { "_id": 1 }, rawdoc! { "partialFilterExpression": { "a": 1 } }, 197),
        (&rawdoc! { "_id": 1 }, rawdoc! { "expireAfterSeconds": 1 }, 197),
        (&rawdoc! { "a": "hashed" }, rawdoc! { "unique": true }, 16764),
        (&rawdoc! { "a": "hashed", "b": "hashed" }, rawdoc! {}, 31303),
        (&wildcard, rawdoc! { "unique": true }, 67),
        (&wildcard, rawdoc! { "sparse": true }, 67),
        (&wildcard, rawdoc! { "expireAfterSeconds": 1 }, 67),
        (&wildcard, rawdoc! { "wildcardProjection": {} }, 9),
        (&wildcard, rawdoc! { "wildcardProjection": 1 }, 14),
        (&wildcard, rawdoc! { "wildcardProjection": { "a": RawBson::Null } }, 51271),
        (&wildcard, rawdoc! { "wildcardProjection": { "a": 1, "b": 0 } }, 31254),
        (&rawdoc! { "a.$**": 1 }, rawdoc! { "wildcardProjection": { "b": 1 } }, 9),
        (&a, rawdoc! { "wildcardProjection": { "b": 1 } }, 2),
        (&rawdoc! { "a": 1, "$**": 1 }, rawdoc! {}, 67),
        (&rawdoc! { "a": 1, "$**": 1 }, rawdoc! { "wildcardProjection": { "b": 0 } }, 67),
        (&rawdoc! { "$**": -1 }, rawdoc! {}, 67),
        (&rawdoc! { "$**": "hashed" }, rawdoc! {}, 67),
        (&rawdoc! { "a.$**.b": 1 }, rawdoc! {}, 67),
    ] {
        assert_eq!(options(keys, &given).unwrap_err().code.0, code, "{keys:?} {given:?}");
    }
}

#[test]
fn options_tell_indexes_on_the_same_keys_apart() {
    let of = |given: RawDocumentBuf| options(&rawdoc! { "a": 1 }, &given).unwrap();
    let plain = of(rawdoc! { "name": "x" });
    let partial = |bound: i32, name: &str| {
        of(rawdoc! { "name": name, "partialFilterExpression": { "a": { "$gt": bound } } })
    };
    assert_eq!(partial(1, "y").is_same_as(&plain), Ok(false));
    assert_eq!(partial(1, "y").is_same_as(&partial(2, "z")), Ok(false));
    assert_eq!(partial(1, "y").is_same_as(&partial(1, "y")), Ok(true));
    assert_eq!(partial(1, "x").is_same_as(&plain).unwrap_err().code.0, 86);
    assert_eq!(partial(1, "y").is_same_as(&partial(1, "z")).unwrap_err().code.0, 85);
    assert_eq!(of(rawdoc! { "name": "x", "hidden": true }).is_same_as(&plain), Ok(true));
    assert_eq!(
        of(rawdoc! { "name": "x", "expireAfterSeconds": 5 }).is_same_as(&plain).unwrap_err().code.0,
        85
    );
}

#[test]
fn a_partial_index_holds_what_matches_its_filter() {
    let partial = rawdoc! { "partialFilterExpression": { "b": { "$gt": 5 } } };
    let definition = options(&rawdoc! { "a": 1 }, &partial).unwrap();
    assert_eq!(keys(&definition, &rawdoc! { "a": 1, "b": 6 }), vec![vec![int(1)]]);
    assert!(keys(&definition, &rawdoc! { "a": 1, "b": 5 }).is_empty());
    assert!(keys(&definition, &rawdoc! { "a": [1] }).is_empty());
}

#[test]
fn equal_values_have_one_hash_and_arrays_none() {
    let definition = index(&rawdoc! { "b": 1, "a": "hashed" });
    let key = |document: RawDocumentBuf| definition.entries(&document).unwrap().entries[0].key.clone();
    assert_eq!(key(rawdoc! { "a": 1 }), key(rawdoc! { "a": 1.0 }));
    assert_eq!(key(rawdoc! {}), key(rawdoc! { "a": RawBson::Null }));
    assert_ne!(key(rawdoc! { "a": 1 }), key(rawdoc! { "a": 2 }));
    for document in [rawdoc! { "a": [1] }, rawdoc! { "a": [] }, rawdoc! { "b": [1] }] {
        assert_eq!(definition.entries(&document).unwrap_err().code.0, 16766);
    }
}

/// The paths and values of a wildcard index, as they follow one another in its keys.
fn paths(definition: &IndexDefinition, document: &RawDocumentBuf) -> Vec<Vec<RawBson>> {
    let decode = |entry: &IndexEntry| {
        let (mut key, mut types) = (entry.key.as_slice(), entry.types.as_slice());
        let columns = definition.columns();
        columns
            .map(|direction| {
                decode_field(&mut key, &mut types, direction).unwrap().unwrap_or("missing".into())
            })
            .collect()
    };
    definition.entries(document).unwrap().entries.iter().map(decode).collect()
}

#[test]
fn a_wildcard_field_holds_every_path_and_its_values() {
    let document =
        rawdoc! { "_id": 1, "a": { "b": 1, "c": {} }, "d": [2, { "e": 3 }, [4]], "f": [], "x.y": 1 };
    let pair = |path: &str, value: RawBson| vec![RawBson::from(path), value];
    let all = vec![
        pair("a.b", int(1)),
        pair("a.c", rawdoc! {}.into()),
        pair("d", int(2)),
        pair("d", bson::rawbson!([4])),
        pair("d.e", int(3)),
        pair("f", RawBson::Undefined),
    ];
    assert_eq!(paths(&index(&rawdoc! { "$**": 1 }), &document), all);
    assert_eq!(paths(&index(&rawdoc! { "a.$**": 1 }), &document), all[..2]);
    assert!(paths(&index(&rawdoc! { "z.$**": 1 }), &document).is_empty());
    let projected = |projection: RawDocumentBuf| {
        let given = rawdoc! { "wildcardProjection": projection };
        paths(&options(&rawdoc! { "$**": 1 }, &given).unwrap(), &document)
    };
    assert_eq!(projected(rawdoc! { "a": 1, "f": 1 }), [&all[..2], &all[5..]].concat());
    assert_eq!(projected(rawdoc! { "a.b": 0, "d": 0 }), [&all[1..2], &all[5..]].concat());
    assert_eq!(projected(rawdoc! { "_id": 1, "f": 1 }), vec![pair("_id", int(1)), all[5].clone()]);
}

#[test]
fn a_compound_wildcard_index_holds_documents_without_any_path() {
    let given = rawdoc! { "wildcardProjection": { "a": 0 } };
    let definition = options(&rawdoc! { "a": 1, "$**": 1 }, &given).unwrap();
    assert_eq!(paths(&definition, &rawdoc! { "a": 1, "b": 2 }), vec![vec![int(1), "b".into(), int(2)]]);
    assert_eq!(paths(&definition, &rawdoc! { "a": 1 }), vec![vec![int(1), RawBson::MinKey, RawBson::MinKey]]);
    assert_eq!(definition.entries(&rawdoc! { "a": [1] }).unwrap_err().code.0, 7_246_301);
}

#[test]
fn text_indexes_have_one_field_for_all_texts_and_are_written_back() {
    let options = rawdoc! { "weights": { "b": 3 }, "default_language": "french" };
    let definition =
        IndexDefinition::parse(&rawdoc! { "n": 1, "a": "text", "b.c": "text", "z": -1 }, &options).unwrap();
    assert_eq!(definition.name(), "n_1_a_text_b.c_text_z_-1");
    assert_eq!(definition.key_pattern(), rawdoc! { "n": 1, "_fts": "text", "_ftsx": 1, "z": -1 });
    let stored = definition.to_document();
    assert_eq!(IndexDefinition::from_document(&stored).unwrap(), definition);
    assert_eq!(stored.get_document("weights").unwrap().to_owned(), rawdoc! { "a": 1, "b": 3, "b.c": 1 });
    let other = IndexDefinition::parse(&rawdoc! { "x": "text" }, &rawdoc! {}).unwrap();
    assert_eq!(other.is_same_as(&definition).unwrap_err().code, ErrorCode::INDEX_OPTIONS_CONFLICT);
    let document = rawdoc! { "n": 7, "a": "les chats", "b": { "c": ["chat noir"] }, "z": 1 };
    assert_eq!(definition.entries(&document).unwrap().entries.len(), 2);
    assert!(definition.entries(&rawdoc! { "n": 7, "a": "les" }).unwrap().entries.is_empty());
}

#[test]
fn geospatial_indexes_hold_the_documents_with_locations() {
    let sphere = index(&rawdoc! { "a.at": "2dsphere", "n": 1 });
    let point = |x: f64, y: f64| rawdoc! { "type": "Point", "coordinates": [x, y] };
    let two = rawdoc! { "a": [{ "at": point(1.0, 2.0) }, { "at": [3, 4] }, { "at": null }], "n": 5 };
    assert_eq!(sphere.entries(&two).unwrap().entries.len(), 2);
    for without in [rawdoc! { "n": 1 }, rawdoc! { "a": { "at": null } }, rawdoc! { "a": { "at": [] } }] {
        assert!(sphere.entries(&without).unwrap().entries.is_empty(), "{without:?}");
    }
    for bad in
        [rawdoc! { "a": { "at": 5 } }, rawdoc! { "a": { "at": [500, 1] } }, rawdoc! { "a": { "at": {} } }]
    {
        assert_eq!(sphere.entries(&bad).unwrap_err().code.0, 16755, "{bad:?}");
    }
    let flat = IndexDefinition::parse(&rawdoc! { "at": "2d" }, &rawdoc! { "min": -10, "max": 10, "bits": 8 })
        .unwrap();
    assert_eq!(IndexDefinition::from_document(&flat.to_document()).unwrap(), flat);
    assert_eq!(flat.entries(&rawdoc! { "at": [[1, 2], [3, 4]] }).unwrap().entries.len(), 2);
    assert_eq!(flat.entries(&rawdoc! { "at": [11, 2] }).unwrap_err().code.0, 13027);
    assert!(flat.entries(&rawdoc! { "x": 1 }).unwrap().entries.is_empty());
    for (options, code) in
        [(rawdoc! { "bits": 0 }, 72), (rawdoc! { "bits": "x" }, 14), (rawdoc! { "min": 5, "max": 5 }, 72)]
    {
        assert_eq!(IndexDefinition::parse(&rawdoc! { "at": "2d" }, &options).unwrap_err().code.0, code);
    }
}
