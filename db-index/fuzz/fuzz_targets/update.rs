//! An update on the first line, documents on the others.
#![no_main]

use db_index::{Update, UpdateContext, UpdateOptions, check_document};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let Some((source, documents)) = lines.split_first() else { return };
    let Ok(update) = Update::parse(source, &UpdateOptions::default()) else { return };
    let context = UpdateContext { now_ms: 1_700_000_000_000, ..UpdateContext::default() };
    for document in documents {
        let Ok(updated) = update.apply(document, &context) else { continue };
        check_document(updated.document.as_bytes()).expect("what an update makes keeps the limits");
        if let Ok(resolved) = update.resolve(&context) {
            let again = resolved.apply(document, &UpdateContext::default());
            assert_eq!(again.map(|again| again.document), Ok(updated.document), "the replay differs");
        }
    }
});
