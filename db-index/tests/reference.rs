//! The operators and stages that the reference names are known to the parsers.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::collections::BTreeSet;

use bson::{RawArrayBuf, RawBson, RawDocumentBuf, rawdoc};
use db_index::{Filter, Pipeline, PipelineSettings, QueryError, Update, UpdateOptions};

const REFERENCE: &str = include_str!("../docs/reference.md");

/// The names in a part of the reference, between its heading and the next one.
fn names(heading: &str) -> BTreeSet<&'static str> {
    let part = REFERENCE.split("\n# ").find(|part| part.starts_with(heading)).unwrap();
    part.split('`')
        .filter(|word| word.starts_with('$') && word.len() > 2 && !word.starts_with("$$"))
        .collect()
}

fn single(name: &str, operand: impl Into<RawBson>) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::CString::try_from(name).unwrap(), operand.into());
    document
}

/// How a pipeline of one stage is refused, if it is.
fn refusal_of_stage(stage: RawDocumentBuf) -> Option<QueryError> {
    let mut stages = RawArrayBuf::new();
    stages.push(stage);
    let settings = PipelineSettings { collection: "c".to_owned(), ..PipelineSettings::default() };
    Pipeline::parse(&stages, &settings).err()
}

/// The code with which a pipeline of one stage is refused, if it is.
fn code_of_stage(stage: RawDocumentBuf) -> Option<i32> {
    refusal_of_stage(stage).map(|error| error.code.0)
}

/// Operands of the wrong type are refused, but not as if there were no such operator.
fn says_unknown(refused: Option<QueryError>) -> bool {
    refused.is_some_and(|error| {
        ["unknown", "unrecognized", "unexpected"]
            .iter()
            .any(|word| error.message.to_lowercase().contains(word))
    })
}

fn is_filter_operator(name: &str) -> bool {
    let operand = || single(name, RawBson::Null);
    let shape = rawdoc! { "a": { "$geoWithin": operand() } };
    [operand(), rawdoc! { "a": operand() }, shape]
        .iter()
        .any(|filter| !says_unknown(Filter::parse(filter).err()))
}

#[test]
fn every_filter_operator_of_the_reference_is_known() {
    for name in names("Filters").into_iter().filter(|name| *name != "$meta") {
        assert!(is_filter_operator(name), "{name}");
    }
    assert!(!is_filter_operator("$unheardOf"));
}

fn is_update_operator(name: &str) -> bool {
    let options = UpdateOptions::default();
    let modifiers = {
        let mut modifiers = single(name, RawBson::Null);
        modifiers.append(bson::raw::cstr!("$each"), RawArrayBuf::new());
        rawdoc! { "$push": { "a": modifiers } }
    };
    let mut stages = RawArrayBuf::new();
    stages.push(single(name, RawBson::Null));
    let pipeline = rawdoc! { "u": stages };
    let pipeline = Update::parse_value(pipeline.get("u").unwrap().unwrap(), &options);
    name == "$each"
        || !says_unknown(Update::parse(&single(name, rawdoc! { "a": RawBson::Null }), &options).err())
        || !says_unknown(Update::parse(&modifiers, &options).err())
        || pipeline.err().is_none_or(|error| error.code.0 != 72)
}

#[test]
fn every_update_operator_of_the_reference_is_known() {
    for name in names("Updates").into_iter().filter(|name| !name.contains('[')) {
        assert!(is_update_operator(name), "{name}");
    }
    assert!(!is_update_operator("$unheardOf"));
}

fn is_accumulator(name: &str) -> bool {
    let operand = || single(name, RawBson::Null);
    let group = rawdoc! { "$group": { "_id": 1, "a": operand() } };
    let windows = rawdoc! { "$setWindowFields": { "sortBy": { "a": 1 }, "output": { "a": operand() } } };
    [group, windows].into_iter().any(|stage| {
        refusal_of_stage(stage).is_none_or(|error| error.code.0 != 15952 && !says_unknown(Some(error)))
    })
}

#[test]
fn every_accumulator_of_the_reference_is_known() {
    for name in names("Accumulators") {
        assert!(is_accumulator(name), "{name}");
    }
    assert!(!is_accumulator("$unheardOf"));
}

#[test]
fn every_stage_of_the_reference_is_known() {
    for name in names("Stages") {
        // An operand of the wrong type is refused, but not as an unknown stage.
        assert_ne!(code_of_stage(single(name, RawBson::Null)), Some(40324), "{name}");
    }
    assert_eq!(code_of_stage(single("$unheardOf", RawBson::Null)), Some(40324));
}

#[test]
fn every_expression_of_the_reference_is_known() {
    for name in names("Expressions").into_iter().filter(|name| *name != "$let") {
        let stage = single("$project", rawdoc! { "x": single(name, RawBson::Null) });
        assert_ne!(code_of_stage(stage), Some(168), "{name}");
    }
    let unknown = single("$project", rawdoc! { "x": single("$unheardOf", RawBson::Null) });
    assert_eq!(code_of_stage(unknown), Some(168));
}
