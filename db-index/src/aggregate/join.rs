//! What `$lookup` and `$graphLookup` have in common: the values that a path reaches, and the filter that finds their equals.

use std::collections::BTreeMap;

use bson::raw::{RawArrayBuf, RawDocument, RawDocumentBuf};
use bson::{RawBson, RawBsonRef};

use super::edit::Path;
use crate::collation::Collation;
use crate::error::QueryError;
use crate::key::{Direction, encode_collated};
use crate::order;
use crate::path::field;

/// Values, each once by the total order, with the key that it is known by.
pub(super) type Values = BTreeMap<Vec<u8>, RawBson>;

/// Adds a value.
pub(super) fn insert(values: &mut Values, value: RawBsonRef<'_>, collation: Option<&Collation>) {
    values.entry(key(value, collation)).or_insert_with(|| value.into());
}

/// The key that a value is known by.
pub(super) fn key(value: RawBsonRef<'_>, collation: Option<&Collation>) -> Vec<u8> {
    let mut key = Vec::new();
    encode_collated(value, Direction::Ascending, collation, &mut key, &mut Vec::new());
    key
}

/// Hands every value that `path` reaches to `visit`: arrays are gone through, the last one opened, and numbers behind an
/// array are places in it. What is missing is passed over.
pub(super) fn values_at<'d>(document: &'d RawDocument, path: &Path, visit: &mut impl FnMut(RawBsonRef<'d>)) {
    walk(document, path.parts(), visit);
}

/// The recursion is as deep as the path is long.
fn walk<'d>(document: &'d RawDocument, path: &[Box<str>], visit: &mut impl FnMut(RawBsonRef<'d>)) {
    let Some((first, mut rest)) = path.split_first() else { return };
    let Some(mut value) = field(document, first) else { return };
    while let (RawBsonRef::Array(array), Some((part, behind))) = (value, rest.split_first()) {
        let Some(index) = place(part) else { break };
        let Some(element) = order::array_elements(array).nth(index) else { return };
        (value, rest) = (element, behind);
    }
    match value {
        RawBsonRef::Array(array) if rest.is_empty() => order::array_elements(array).for_each(visit),
        value if rest.is_empty() => visit(value),
        RawBsonRef::Document(document) => walk(document, rest, visit),
        RawBsonRef::Array(array) => {
            for element in order::array_elements(array) {
                if let RawBsonRef::Document(document) = element {
                    walk(document, rest, visit);
                }
            }
        }
        _ => {}
    }
}

/// The place in an array that a part of a path names: digits without needless zeros.
fn place(part: &str) -> Option<usize> {
    let is_number = !part.is_empty()
        && part.bytes().all(|byte| byte.is_ascii_digit())
        && (part.len() == 1 || !part.starts_with('0'));
    is_number.then(|| part.parse().ok()).flatten()
}

/// The filter for documents in which `field` equals one of `values`.
///
/// # Errors
/// None for field paths that were checked.
pub(super) fn equality<'v>(
    field: &str,
    values: impl Iterator<Item = RawBsonRef<'v>>,
) -> Result<RawDocumentBuf, QueryError> {
    let (mut members, mut apart) = (RawArrayBuf::new(), Vec::new());
    for value in values {
        match value {
            RawBsonRef::Undefined => {} // can be compared with by no filter
            value if is_plain(value) => members.push(value),
            value => apart.push(condition(field, bson::raw::cstr!("$eq"), value.into())?),
        }
    }
    let members = condition(field, bson::raw::cstr!("$in"), RawBson::Array(members))?;
    if apart.is_empty() {
        return Ok(members);
    }
    let mut clauses = RawArrayBuf::new();
    apart.into_iter().chain([members]).for_each(|clause| clauses.push(clause));
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("$or"), clauses);
    Ok(document)
}

/// Whether a value as member of an `$in` stands for itself alone.
fn is_plain(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::RegularExpression(_) => false,
        RawBsonRef::Document(document) => {
            order::elements(document).next().is_none_or(|(name, _)| !name.as_str().starts_with('$'))
        }
        _ => true,
    }
}

/// `{field: {operator: operand}}`.
fn condition(
    field: &str,
    operator: &bson::raw::CStr,
    operand: RawBson,
) -> Result<RawDocumentBuf, QueryError> {
    let name = bson::raw::CString::try_from(field.to_owned())
        .map_err(|error| QueryError::bad_value(format!("no field can be named so: {error}")))?;
    let mut inner = RawDocumentBuf::new();
    inner.append(operator, operand);
    let mut document = RawDocumentBuf::new();
    document.append(name, inner);
    Ok(document)
}
