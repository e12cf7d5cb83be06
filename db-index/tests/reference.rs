//! The stages and expressions that the reference names are known to the parsers.
#![allow(clippy::unwrap_used)] // a test that meets the unexpected ends there

use std::collections::BTreeSet;

use bson::{RawArrayBuf, RawBson, RawDocumentBuf, rawdoc};
use db_index::{Pipeline, PipelineSettings};

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

/// The code with which a pipeline of one stage is refused, if it is.
fn code_of_stage(stage: RawDocumentBuf) -> Option<i32> {
    let mut stages = RawArrayBuf::new();
    stages.push(stage);
    let settings = PipelineSettings { collection: "c".to_owned(), ..PipelineSettings::default() };
    Pipeline::parse(&stages, &settings).err().map(|error| error.code.0)
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
