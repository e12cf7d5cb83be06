//! Calls as clients make them, short to write.

use bson::{RawBson, RawDocumentBuf};

use crate::engine::{DeleteRequest, Request, UpdateRequest};

/// Inserts documents, up to the first that fails.
pub(crate) fn insert(collection: &str, documents: Vec<RawDocumentBuf>) -> Request {
    Request::Insert { collection: collection.to_owned(), documents, ordered: true }
}

/// Updates all documents that match.
pub(crate) fn update(collection: &str, filter: RawDocumentBuf, update: RawDocumentBuf) -> UpdateRequest {
    UpdateRequest {
        collection: collection.to_owned(),
        filter,
        update: RawBson::Document(update),
        array_filters: Vec::new(),
        multi: true,
        upsert: None,
        replacement: false,
        strict: false,
        sort: None,
        hint: None,
        variables: None,
        collation: None,
        returning: None,
    }
}

/// Deletes the first document that matches.
pub(crate) fn delete(collection: &str, filter: RawDocumentBuf) -> DeleteRequest {
    DeleteRequest {
        collection: collection.to_owned(),
        filter,
        multi: false,
        sort: None,
        hint: None,
        variables: None,
        collation: None,
        returning: None,
    }
}

/// Creates an index.
pub(crate) fn create_index(collection: &str, definition: RawDocumentBuf) -> Request {
    Request::CreateIndexes { collection: collection.to_owned(), definitions: vec![definition] }
}
