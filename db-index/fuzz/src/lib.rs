//! How the targets read their input: lines of JSON, since text with a dictionary is mutated into meaningful queries where
//! bytes with lengths in them are not.

use bson::{Document, RawDocumentBuf};
use serde_json::Value;

/// The documents in `data`, one a line in Extended JSON, each as the guard at the door admits it.
///
/// None if a line is not a document.
pub fn documents(data: &[u8]) -> Option<Vec<RawDocumentBuf>> {
    let text = std::str::from_utf8(data).ok()?;
    text.lines().map(document).collect()
}

fn document(line: &str) -> Option<RawDocumentBuf> {
    let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
    let document = Document::try_from(fields).ok()?;
    let document = RawDocumentBuf::try_from(&document).ok()?;
    db_index::check_document(document.as_bytes()).ok()?;
    Some(document)
}
