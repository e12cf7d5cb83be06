//! Arbitrary bytes: what the guard admits can be read, compared and indexed without a further check.
#![no_main]

use db_index::{IndexDefinition, check_document, compare_documents};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(document) = check_document(data) else { return };
    bson::Document::try_from(document).expect("what the guard admits can be decoded");
    assert!(compare_documents(document, document).is_eq());
    let index = IndexDefinition::parse(&bson::rawdoc! { "a": 1, "b.c": -1 }, &bson::rawdoc! {}).expect("an index");
    let _ = index.entries(document);
});
