//! A filter on the first line, documents on the others.
#![no_main]

use bson::{RawArrayBuf, rawdoc};
use db_index::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let Some((source, documents)) = lines.split_first() else { return };
    let Ok(filter) = Filter::parse(source) else { return };
    let mut clauses = RawArrayBuf::new();
    clauses.push(source.clone());
    // What cannot stand inside `$nor` is refused, not misread.
    let negation = Filter::parse(&rawdoc! { "$nor": clauses });
    for document in documents {
        let matches = filter.matches(document);
        if let (Ok(matches), Ok(negation)) = (matches, &negation) {
            assert_ne!(negation.matches(document).ok(), Some(matches), "$nor does not negate");
        }
    }
});
