//! Values of the protocol: canonical Extended JSON.

use bson::{Bson, Document, RawDocument, RawDocumentBuf};
use serde_json::Value;

use crate::answer::{Answer, Stop};

/// A value as the protocol writes it.
pub(crate) fn read_value(json: &Value) -> Answer<Bson> {
    Bson::try_from(json.clone()).map_err(|error| Stop::Unsupported(format!("Extended JSON: {error}")))
}

/// A document as the protocol writes it; an absent one is empty.
pub(crate) fn read_document(json: &Value) -> Answer<Document> {
    if json.is_null() {
        return Ok(Document::new());
    }
    match read_value(json)? {
        Bson::Document(document) => Ok(document),
        other => Err(Stop::refused(
            14,
            format!("expected a document, not a value of type {:?}", other.element_type()),
        )),
    }
}

/// A document as the database takes it.
pub(crate) fn read_raw(json: &Value) -> Answer<RawDocumentBuf> {
    RawDocumentBuf::try_from(&read_document(json)?).map_err(not_bson)
}

/// The documents of a list.
pub(crate) fn read_documents(json: &Value) -> Answer<Vec<RawDocumentBuf>> {
    json.as_array().into_iter().flatten().map(read_raw).collect()
}

/// A value as the protocol reads it.
pub(crate) fn write_value(value: Bson) -> Value {
    value.into_canonical_extjson()
}

/// A document as the protocol reads it.
pub(crate) fn write_document(document: &RawDocument) -> Answer {
    Document::try_from(document).map(|document| write_value(Bson::Document(document))).map_err(not_bson)
}

fn not_bson(error: impl std::fmt::Display) -> Stop {
    Stop::refused(22, error.to_string())
}
