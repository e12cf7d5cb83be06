//! MongoDB's total order over all BSON values: what sorts, indexes, `$min`/`$max` and `$addToSet` compare by.
//!
//! Query predicates bracket by type and treat NaN apart; they are built on this order, in `filter`.

use std::cmp::Ordering;

use bson::{
    RawArray, RawBsonRef, RawDocument, RawDocumentBuf, oid::ObjectId, raw::CStr, spec::BinarySubtype,
};

use crate::collation::Collation;
use crate::number::Number;

#[cfg(test)]
mod tests;

/// The canonical bracket of a value's type; values of different brackets compare by their brackets alone.
///
/// The numbers are part of the key format (see `key`): never change them, and keep 0 and 255 free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Bracket {
    /// The value below all others.
    MinKey = 1,
    /// The deprecated `undefined`; also the sort and index key of an empty array.
    Undefined = 3,
    /// `null`, and a missing field.
    Null = 5,
    /// `int`, `long`, `double` and `decimal`.
    Number = 10,
    /// Strings and symbols.
    String = 15,
    /// Embedded documents.
    Object = 20,
    /// Arrays compared as whole values.
    Array = 25,
    /// Binary data of every subtype.
    Binary = 30,
    /// Object ids.
    ObjectId = 35,
    /// Booleans.
    Boolean = 40,
    /// Dates.
    DateTime = 45,
    /// Internal timestamps.
    Timestamp = 47,
    /// Regular expressions.
    Regex = 50,
    /// The deprecated database pointer.
    DbPointer = 55,
    /// JavaScript code.
    Code = 60,
    /// JavaScript code with a scope.
    CodeWithScope = 65,
    /// The value above all others.
    MaxKey = 127,
}

/// The bracket of `value`.
pub fn bracket(value: RawBsonRef<'_>) -> Bracket {
    match value {
        RawBsonRef::MinKey => Bracket::MinKey,
        RawBsonRef::Undefined => Bracket::Undefined,
        RawBsonRef::Null => Bracket::Null,
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) | RawBsonRef::Double(_) | RawBsonRef::Decimal128(_) => {
            Bracket::Number
        }
        RawBsonRef::String(_) | RawBsonRef::Symbol(_) => Bracket::String,
        RawBsonRef::Document(_) => Bracket::Object,
        RawBsonRef::Array(_) => Bracket::Array,
        RawBsonRef::Binary(_) => Bracket::Binary,
        RawBsonRef::ObjectId(_) => Bracket::ObjectId,
        RawBsonRef::Boolean(_) => Bracket::Boolean,
        RawBsonRef::DateTime(_) => Bracket::DateTime,
        RawBsonRef::Timestamp(_) => Bracket::Timestamp,
        RawBsonRef::RegularExpression(_) => Bracket::Regex,
        RawBsonRef::DbPointer(_) => Bracket::DbPointer,
        RawBsonRef::JavaScriptCode(_) => Bracket::Code,
        RawBsonRef::JavaScriptCodeWithScope(_) => Bracket::CodeWithScope,
        RawBsonRef::MaxKey => Bracket::MaxKey,
    }
}

/// Compares two values in the total order. A missing value is given as `Null`.
///
/// Equal values may differ in representation: `1`, `1.0` and decimal `1.00` are equal, so are `0.0` and `-0.0`, every
/// NaN, and a string and the symbol of the same text. Bytes that the guard would have refused are read as the end of the
/// document they stand in.
pub fn compare(a: RawBsonRef<'_>, b: RawBsonRef<'_>) -> Ordering {
    use RawBsonRef as V;
    match (a, b) {
        (V::Int32(a), V::Int32(b)) => a.cmp(&b),
        (V::String(a) | V::Symbol(a), V::String(b) | V::Symbol(b))
        | (V::JavaScriptCode(a), V::JavaScriptCode(b)) => a.as_bytes().cmp(b.as_bytes()),
        (V::ObjectId(a), V::ObjectId(b)) => a.bytes().cmp(&b.bytes()),
        (V::Boolean(a), V::Boolean(b)) => a.cmp(&b),
        (V::DateTime(a), V::DateTime(b)) => a.timestamp_millis().cmp(&b.timestamp_millis()),
        (V::Timestamp(a), V::Timestamp(b)) => (a.time, a.increment).cmp(&(b.time, b.increment)),
        (V::Document(a), V::Document(b)) => compare_documents(a, b),
        (V::Array(a), V::Array(b)) => compare_arrays(a, b),
        (V::Binary(a), V::Binary(b)) => binary_length(a.subtype, a.bytes)
            .cmp(&binary_length(b.subtype, b.bytes))
            .then_with(|| u8::from(a.subtype).cmp(&u8::from(b.subtype)))
            .then_with(|| a.bytes.cmp(b.bytes)),
        (V::RegularExpression(a), V::RegularExpression(b)) => (a.pattern.as_str().as_bytes())
            .cmp(b.pattern.as_str().as_bytes())
            .then_with(|| a.options.as_str().as_bytes().cmp(b.options.as_str().as_bytes())),
        (V::JavaScriptCodeWithScope(a), V::JavaScriptCodeWithScope(b)) => {
            a.code.as_bytes().cmp(b.code.as_bytes()).then_with(|| compare_documents(a.scope, b.scope))
        }
        (V::DbPointer(_), V::DbPointer(_)) => {
            let ((a_name, a_id), (b_name, b_id)) = (db_pointer_parts(a), db_pointer_parts(b));
            (a_name.len().cmp(&b_name.len()))
                .then_with(|| a_name.as_bytes().cmp(b_name.as_bytes()))
                .then_with(|| a_id.bytes().cmp(&b_id.bytes()))
        }
        _ => match (Number::from_raw(a), Number::from_raw(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => bracket(a).cmp(&bracket(b)),
        },
    }
}

/// Compares two values in the total order with strings by `collation`. The recursion is as deep as the values.
pub fn compare_collated(a: RawBsonRef<'_>, b: RawBsonRef<'_>, collation: Option<&Collation>) -> Ordering {
    use RawBsonRef as V;
    let Some(collation) = collation else { return compare(a, b) };
    let within = |a: RawBsonRef<'_>, b: RawBsonRef<'_>| compare_collated(a, b, Some(collation));
    match (a, b) {
        (V::String(a) | V::Symbol(a), V::String(b) | V::Symbol(b)) => collation.compare(a, b),
        (V::Document(a), V::Document(b)) => compare_documents_by(a, b, within),
        (V::Array(a), V::Array(b)) => compare_arrays_by(a, b, within),
        (V::JavaScriptCodeWithScope(a), V::JavaScriptCodeWithScope(b)) => {
            let code = a.code.as_bytes().cmp(b.code.as_bytes());
            code.then_with(|| compare_documents_by(a.scope, b.scope, within))
        }
        _ => compare(a, b),
    }
}

/// Whether a collation makes a difference to the value: whether there is a string in it.
pub(crate) fn holds_text(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::String(_) | RawBsonRef::Symbol(_) => true,
        RawBsonRef::Document(document) => elements(document).any(|(_, value)| holds_text(value)),
        RawBsonRef::Array(array) => array_elements(array).any(holds_text),
        RawBsonRef::JavaScriptCodeWithScope(code) => elements(code.scope).any(|(_, value)| holds_text(value)),
        _ => false,
    }
}

/// Compares two documents in the total order: pair by pair, first the values' brackets, then the names, then the values.
pub fn compare_documents(a: &RawDocument, b: &RawDocument) -> Ordering {
    compare_documents_by(a, b, compare)
}

fn compare_documents_by(
    a: &RawDocument,
    b: &RawDocument,
    compare: impl Fn(RawBsonRef<'_>, RawBsonRef<'_>) -> Ordering,
) -> Ordering {
    let (mut left, mut right) = (elements(a), elements(b));
    loop {
        let ((left_key, left_value), (right_key, right_value)) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => (left, right),
        };
        let order = bracket(left_value)
            .cmp(&bracket(right_value))
            .then_with(|| left_key.as_str().as_bytes().cmp(right_key.as_str().as_bytes()))
            .then_with(|| compare(left_value, right_value));
        if order.is_ne() {
            return order;
        }
    }
}

/// Compares two arrays as whole values: element by element, then by length.
pub fn compare_arrays(a: &RawArray, b: &RawArray) -> Ordering {
    compare_arrays_by(a, b, compare)
}

fn compare_arrays_by(
    a: &RawArray,
    b: &RawArray,
    compare: impl Fn(RawBsonRef<'_>, RawBsonRef<'_>) -> Ordering,
) -> Ordering {
    let mut right = array_elements(b);
    for left_value in array_elements(a) {
        match right.next() {
            None => return Ordering::Greater,
            Some(right_value) => match compare(left_value, right_value) {
                Ordering::Equal => {}
                order => return order,
            },
        }
    }
    if right.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// The elements of a document up to its end or its first malformed one.
pub(crate) fn elements(document: &RawDocument) -> impl Iterator<Item = (&CStr, RawBsonRef<'_>)> {
    document.iter_elements().map_while(|element| {
        let element = element.ok()?;
        Some((element.key(), element.value().ok()?))
    })
}

/// The values of an array up to its end or its first malformed one.
pub(crate) fn array_elements(array: &RawArray) -> impl Iterator<Item = RawBsonRef<'_>> {
    array.iter_elements().map_while(|element| element.ok()?.value().ok())
}

/// The length that binary data has in BSON: subtype 2 carries a second length inside.
pub(crate) fn binary_length(subtype: BinarySubtype, bytes: &[u8]) -> usize {
    bytes.len() + if matches!(subtype, BinarySubtype::BinaryOld) { 4 } else { 0 }
}

/// Namespace and id of a database pointer, which `bson` gives no access to but through its bytes.
pub(crate) fn db_pointer_parts(value: RawBsonRef<'_>) -> (String, ObjectId) {
    let mut holder = RawDocumentBuf::new();
    holder.append(bson::raw::cstr!(""), value);
    // length (4), type (1), empty key (1), string length (4), namespace, NUL, id (12), end (1)
    let bytes = holder.as_bytes();
    let parts = || {
        let value = bytes.get(10..bytes.len().checked_sub(1)?)?;
        let (name, id) = value.split_at_checked(value.len().checked_sub(12)?)?;
        let name = std::str::from_utf8(name.strip_suffix(&[0])?).ok()?;
        Some((name.to_owned(), ObjectId::from_bytes(id.try_into().ok()?)))
    };
    parts().unwrap_or_default()
}
