//! Small adapters that stages are made of.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;

use super::PIPELINE_BYTES_MAX;
use super::outside::Rows;
use crate::error::{ErrorCode, QueryError};
use crate::expression::Value;
use crate::limits::{DEPTH_MAX, DOCUMENT_BYTES_MAX};
use crate::raw::depth;

/// The most levels of a document between stages: some more than a stored one may have.
const ROW_DEPTH_MAX: usize = DEPTH_MAX + 8;

/// What a held document takes beside its bytes.
const HELD_BYTES: usize = 48;

/// No documents.
pub(super) fn none<E: 'static>() -> Rows<E> {
    Box::new(std::iter::empty())
}

/// Ends with the first error.
pub(super) fn until_error<E: Send + 'static>(rows: Rows<E>) -> Rows<E> {
    let mut rows = Some(rows);
    Box::new(std::iter::from_fn(move || {
        let item = rows.as_mut()?.next();
        if !matches!(item, Some(Ok(_))) {
            rows = None;
        }
        item
    }))
}

/// Rows that are made when the first of them is asked for.
pub(super) fn lazily<E, I>(make: impl FnOnce() -> Result<I, E> + Send + 'static) -> Rows<E>
where
    E: Send + 'static,
    I: Iterator<Item = Result<RawDocumentBuf, E>> + Send + 'static,
{
    let mut make = Some(make);
    let mut made: Option<I> = None;
    Box::new(std::iter::from_fn(move || {
        if let Some(make) = make.take() {
            match make() {
                Ok(rows) => made = Some(rows),
                Err(error) => return Some(Err(error)),
            }
        }
        made.as_mut()?.next()
    }))
}

/// Applies `step` to each document; it gives a document, or none.
pub(super) fn filter_map<E: Send + 'static>(
    mut rows: Rows<E>,
    mut step: impl FnMut(RawDocumentBuf) -> Result<Option<RawDocumentBuf>, E> + Send + 'static,
) -> Rows<E> {
    Box::new(std::iter::from_fn(move || {
        loop {
            match rows.next()?.and_then(&mut step) {
                Ok(Some(document)) => return Some(Ok(document)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// Documents that are held, one after the other.
pub(super) fn replay<E: Send + 'static>(held: &Arc<[RawDocumentBuf]>) -> Rows<E> {
    let held = Arc::clone(held);
    let mut next = 0;
    Box::new(std::iter::from_fn(move || {
        let document = held.get(next)?.clone();
        next += 1;
        Some(Ok(document))
    }))
}

/// Documents that a stage holds, within the bound.
#[derive(Debug)]
pub(super) struct Held {
    stage: &'static str,
    bytes: usize,
    pub(super) documents: Vec<RawDocumentBuf>,
}

impl Held {
    pub(super) fn new(stage: &'static str) -> Self {
        Self { stage, bytes: 0, documents: Vec::new() }
    }

    /// Takes a document.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimit` (292) beyond the bound.
    pub(super) fn push(&mut self, document: RawDocumentBuf) -> Result<(), QueryError> {
        self.bytes += document.as_bytes().len() + HELD_BYTES;
        check_memory(self.stage, self.bytes)?;
        self.documents.push(document);
        Ok(())
    }

    /// Takes all documents of `rows`.
    ///
    /// # Errors
    /// Those of the rows and of [`Held::push`].
    pub(super) fn fill<E: From<QueryError>>(&mut self, rows: Rows<E>) -> Result<(), E> {
        for document in rows {
            self.push(document?)?;
        }
        Ok(())
    }
}

/// Refuses what is beyond the memory that a stage may have.
///
/// # Errors
/// `QueryExceededMemoryLimit` (292), naming the stage.
pub(super) fn check_memory(stage: &str, bytes: usize) -> Result<(), QueryError> {
    if bytes > PIPELINE_BYTES_MAX {
        return Err(QueryError::new(
            ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT,
            format!(
                "PlanExecutor error during aggregation :: caused by :: Exceeded memory limit for {stage}, \
                 which may take {PIPELINE_BYTES_MAX} bytes; what does not fit is not written to disk"
            ),
        ));
    }
    Ok(())
}

/// A computed document as the next stage takes it; none if the value is no document.
///
/// # Errors
/// `BSONObjectTooLarge` (10334) and `Overflow` (15) for one that is too large or too deep.
pub(super) fn to_row(value: &Value<'_>) -> Result<Option<RawDocumentBuf>, QueryError> {
    let Some(document) = value.to_document()? else { return Ok(None) };
    check_row(&document)?;
    Ok(Some(document))
}

/// Refuses a document that is too large or too deep to be handed on.
///
/// # Errors
/// `BSONObjectTooLarge` (10334), `Overflow` (15).
pub(super) fn check_row(document: &RawDocumentBuf) -> Result<(), QueryError> {
    let bytes = document.as_bytes().len();
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(QueryError::new(
            ErrorCode::BSON_OBJECT_TOO_LARGE,
            format!(
                "BSONObj size: {bytes} is invalid. Size must be between 0 and {DOCUMENT_BYTES_MAX} bytes"
            ),
        ));
    }
    if depth(bson::RawBsonRef::Document(document), ROW_DEPTH_MAX + 1)? > ROW_DEPTH_MAX {
        return Err(QueryError::new(
            ErrorCode::OVERFLOW,
            format!("a document of the pipeline nests deeper than {ROW_DEPTH_MAX} levels"),
        ));
    }
    Ok(())
}
