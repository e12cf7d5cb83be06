//! Whole replacement of a document.

use bson::raw::{RawDocument, RawDocumentBuf};

use super::UpdateOptions;
use super::rewrite::immutable_id;
use crate::error::{ErrorCode, QueryError};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::raw::{Element, Elements, Writer, too_large};
use crate::{guard, order};

/// Refuses what cannot be a replacement.
pub(super) fn check(document: &RawDocument, options: &UpdateOptions) -> Result<(), QueryError> {
    let failed = |message: String| Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, message));
    if options.multi {
        return failed("multi update is not supported for a replacement".to_owned());
    }
    if !options.array_filters.is_empty() {
        return failed("array filters may not be specified for a replacement".to_owned());
    }
    for element in Elements::of_document(document) {
        let element = element?;
        if element.key.starts_with('$') {
            return failed(format!("a replacement cannot have the operator-like field '{}'", element.key));
        }
    }
    guard::check_storable(document).map(drop)
}

/// The replacement with the `_id` of `current` in front.
pub(super) fn apply(replacement: &RawDocument, current: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let id = find_id(current)?;
    let mut writer = Writer::with_capacity(replacement.as_bytes().len() + 32);
    let root = writer.open_root();
    match (&id, find_id(replacement)?) {
        (Some(id), given) => {
            if let Some(given) = given
                && order::compare(id.value()?, given.value()?).is_ne()
            {
                return Err(immutable_id());
            }
            // The stored one, not an equal number of another type: it is the document's name.
            writer.copy(id.bytes);
        }
        (None, Some(given)) => writer.copy(given.bytes),
        (None, None) => {}
    }
    for element in Elements::of_document(replacement) {
        let element = element?;
        if element.key != "_id" {
            writer.copy(element.bytes);
        }
    }
    writer.close(root);
    if writer.len() > DOCUMENT_BYTES_MAX {
        return Err(too_large(writer.len()));
    }
    Ok(writer.into_document())
}

/// The element `_id` of a document.
pub(super) fn find_id(document: &RawDocument) -> Result<Option<Element<'_>>, QueryError> {
    for element in Elements::of_document(document) {
        let element = element?;
        if element.key == "_id" {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

/// The top-level fields in which two versions of a document differ: set to another value, added or removed.
///
/// They are what a replacement changed, and what it writes when it is merged with concurrent changes. In the order of
/// `after`, the removed ones last.
///
/// # Errors
/// `InvalidBSON` (22) for documents that never passed the guard.
pub fn changed_fields<'d>(
    before: &'d RawDocument,
    after: &'d RawDocument,
) -> Result<Vec<&'d str>, QueryError> {
    let old: std::collections::BTreeMap<&str, &[u8]> = Elements::of_document(before)
        .map(|element| element.map(|element| (element.key, element.bytes)))
        .collect::<Result<_, _>>()?;
    let mut left = old.clone();
    let mut changed = Vec::new();
    for element in Elements::of_document(after) {
        let element = element?;
        left.remove(element.key);
        if old.get(element.key) != Some(&element.bytes) {
            changed.push(element.key);
        }
    }
    for element in Elements::of_document(before) {
        let element = element?;
        if left.contains_key(element.key) {
            changed.push(element.key);
        }
    }
    Ok(changed)
}
