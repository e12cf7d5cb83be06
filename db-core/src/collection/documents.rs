//! Documents on their way in: made raw, checked at the door, given an `_id`.

use bson::oid::ObjectId;
use bson::{Document, RawArrayBuf, RawBson, RawDocument, RawDocumentBuf};
use db_index::check_document;
use serde::Serialize;

use crate::engine::with_id_in_front;
use crate::error::{Error, ErrorKind, Result};

/// What can be given where a filter or another document is asked for.
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

/// What can be given where an update is asked for: a document of operators, or a pipeline of stages.
pub trait ToUpdate {
    /// The update as raw BSON: a document or an array.
    ///
    /// # Errors
    /// `Invalid` if it cannot be written as BSON.
    fn to_update(self) -> Result<RawBson>;
}

impl<D: ToRawDocument> ToUpdate for D {
    fn to_update(self) -> Result<RawBson> {
        self.to_raw_document().map(RawBson::Document)
    }
}

impl ToUpdate for Vec<Document> {
    fn to_update(self) -> Result<RawBson> {
        pipeline(self)
    }
}

impl ToUpdate for Vec<RawDocumentBuf> {
    fn to_update(self) -> Result<RawBson> {
        pipeline(self)
    }
}

impl<const STAGES: usize> ToUpdate for [Document; STAGES] {
    fn to_update(self) -> Result<RawBson> {
        pipeline(self)
    }
}

fn pipeline<D: ToRawDocument>(stages: impl IntoIterator<Item = D>) -> Result<RawBson> {
    array(stages).map(RawBson::Array)
}

fn array<D: ToRawDocument>(documents: impl IntoIterator<Item = D>) -> Result<RawArrayBuf> {
    let mut array = RawArrayBuf::new();
    for document in documents {
        array.push(document.to_raw_document()?);
    }
    Ok(array)
}

/// The stages of an aggregation from a caller, checked.
pub(crate) fn checked_pipeline<D: ToRawDocument>(stages: impl IntoIterator<Item = D>) -> Result<RawArrayBuf> {
    let stages = array(stages)?;
    check_document(stages.as_bytes())?;
    Ok(stages)
}

/// An update from a caller, checked.
pub(super) fn checked_update(update: impl ToUpdate) -> Result<RawBson> {
    let update = update.to_update()?;
    match &update {
        RawBson::Document(document) => check_document(document.as_bytes())?,
        // The bytes of an array are those of a document.
        RawBson::Array(stages) => check_document(stages.as_bytes())?,
        _ => return Err(Error::invalid("an update is a document or a pipeline").with_code(9)),
    };
    Ok(update)
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

pub(crate) fn not_bson(error: bson::error::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("the value cannot be read or written as BSON: {error}"))
        .with_source(error)
}
