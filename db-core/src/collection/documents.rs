//! Documents on their way in: made raw, checked at the door, given an `_id`.

use bson::oid::ObjectId;
use bson::{Document, RawDocument, RawDocumentBuf};
use db_index::check_document;
use serde::Serialize;

use crate::engine::with_id_in_front;
use crate::error::{Error, ErrorKind, Result};

/// What can be given where a filter, an update or another document is asked for.
pub trait ToRawDocument {
    /// The document as raw BSON.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written as BSON.
    fn to_raw_document(self) -> Result<RawDocumentBuf>;
}

impl ToRawDocument for Document {
    fn to_raw_document(self) -> Result<RawDocumentBuf> {
        (&self).to_raw_document()
    }
}

impl ToRawDocument for &Document {
    fn to_raw_document(self) -> Result<RawDocumentBuf> {
        RawDocumentBuf::try_from(self).map_err(not_bson)
    }
}

impl ToRawDocument for RawDocumentBuf {
    fn to_raw_document(self) -> Result<RawDocumentBuf> {
        Ok(self)
    }
}

impl ToRawDocument for &RawDocument {
    fn to_raw_document(self) -> Result<RawDocumentBuf> {
        Ok(self.to_owned())
    }
}

/// A document from a caller, checked: whatever comes in is hostile until then.
pub(super) fn checked(document: impl ToRawDocument) -> Result<RawDocumentBuf> {
    let document = document.to_raw_document()?;
    check_document(document.as_bytes())?;
    Ok(document)
}

/// A value to store, as a checked document.
pub(super) fn serialized(value: &impl Serialize) -> Result<RawDocumentBuf> {
    checked(bson::serialize_to_raw_document_buf(value).map_err(not_bson)?)
}

/// A value to insert, as a checked document with its `_id` in front.
pub(super) fn to_insert(value: &impl Serialize) -> Result<RawDocumentBuf> {
    Ok(with_id_in_front(serialized(value)?, ObjectId::new()))
}

pub(super) fn not_bson(error: bson::error::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("the value cannot be read or written as BSON: {error}"))
        .with_source(error)
}
