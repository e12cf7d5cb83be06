//! An expression in the field `e` of the first line, documents on the others.
#![no_main]

use db_index::Expression;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(lines) = db_index_fuzz::documents(data) else { return };
    let Some((source, documents)) = lines.split_first() else { return };
    let Ok(Some(source)) = source.get("e") else { return };
    let Ok(expression) = Expression::parse(source, &[]) else { return };
    for document in documents {
        let value = expression.evaluate(document, &[], 1_700_000_000_000);
        if let Ok(value) = value {
            let _ = value.to_raw_bson();
        }
    }
});
