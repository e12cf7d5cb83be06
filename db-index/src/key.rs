//! Order-preserving keys: bytes that compare as the values do, and that give the exact values back.
//!
//! A value becomes two byte strings. Its *key* compares bytewise as [`compare`](crate::compare) compares values: equal
//! values have equal keys, and no key is a proper prefix of another, so the keys of several fields can be joined. Its
//! *types* hold what the order ignores (the type of a number, the sign of a zero, a decimal's trailing zeros, symbol or
//! string, null or missing), so that both together give back the exact value.
//!
//! ```text
//! value            key                                                              types
//! ---------------  ---------------------------------------------------------------  --------------------
//! any              bracket byte, then:
//! null, missing                                                                      0 | 1
//! number           floor: double not above it (8, ordered), 0 if exact,              see `number`
//!                  else 1, then its digits
//! string, symbol   text                                                              0 string | 1 symbol
//! object           fields: (bracket byte, name, NUL, rest of the value's key)*, 0    of each value
//! array            (value)*, 0                                                       of each value
//! binary           length in BSON (4, big-endian), subtype, bytes
//! object id, bool  their 12 bytes, their 1 byte
//! date             milliseconds, sign bit turned (8, big-endian)
//! timestamp        time (4, big-endian), increment (4, big-endian)
//! regex            pattern, NUL, options, NUL
//! database pointer length of the namespace (4, big-endian), namespace, id
//! code             text
//! code with scope  text, then as object
//! ```
//! *text* is UTF-8 in which 0 and 1 are written as `1 1` and `1 2`, ended by 0. A descending key has all its bits turned.
//! Types that have run out read as zeros, so zeros at their end need not be kept: [`trim_types`].

use bson::{RawArray, RawBsonRef, RawDocument};

use crate::collation::Collation;
use crate::order::{array_elements, binary_length, bracket, db_pointer_parts, elements};

mod decode;
mod number;
#[cfg(test)]
mod tests;

pub(crate) use crate::order::Bracket;
pub use decode::{KeyError, decode_field, decode_value, skip_value};

/// Which way a field of an index or a sort runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the least value up; 1 in a key pattern.
    Ascending,
    /// From the greatest value down; -1 in a key pattern.
    Descending,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }

    /// What each byte of a key is combined with by exclusive or.
    pub(crate) fn mask(self) -> u8 {
        match self {
            Self::Ascending => 0,
            Self::Descending => 0xff,
        }
    }
}

/// Types byte of a plain `null`, a string and so on: what trimming may drop.
pub(crate) const TYPE_PLAIN: u8 = 0;
pub(crate) const TYPE_MISSING: u8 = 1;
pub(crate) const TYPE_SYMBOL: u8 = 1;

/// Appends the key and the types of `value`.
///
/// The value must have passed the guard: malformed inner bytes end the document they stand in, and recursion goes as deep
/// as the value does.
pub fn encode_value(value: RawBsonRef<'_>, direction: Direction, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    encode_collated(value, direction, None, key, types);
}

/// As [`encode_value`], with strings by `collation`: their place is taken by the collation's sort key, so that the value cannot be
/// had back from the key. Equal strings have equal keys.
pub fn encode_collated(
    value: RawBsonRef<'_>,
    direction: Direction,
    collation: Option<&Collation>,
    key: &mut Vec<u8>,
    types: &mut Vec<u8>,
) {
    let start = key.len();
    put_value(value, collation, key, types);
    invert(key, start, direction);
}

/// Appends the key of a missing field, which is that of null; the types tell the two apart.
pub fn encode_missing(direction: Direction, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    key.push(Bracket::Null as u8 ^ direction.mask());
    types.push(TYPE_MISSING);
}

/// Drops the zeros at the end of the types of one entry, which are read as zeros again without being there.
pub fn trim_types(types: &mut Vec<u8>) {
    let length = types.iter().rposition(|byte| *byte != TYPE_PLAIN).map_or(0, |last| last + 1);
    types.truncate(length);
}

/// Joins the trimmed types of an entry's fields with those of its `_id`; mostly there is nothing to join.
///
/// ```text
/// nothing                                        both are empty
/// length of the fields' types (4, big-endian), the fields' types, the types of `_id`
/// ```
pub fn join_types(types: &[u8], id_types: &[u8]) -> Vec<u8> {
    if types.is_empty() && id_types.is_empty() {
        return Vec::new();
    }
    let mut joined = Vec::with_capacity(4 + types.len() + id_types.len());
    put_length(types.len(), &mut joined);
    joined.extend_from_slice(types);
    joined.extend_from_slice(id_types);
    joined
}

/// Takes apart what [`join_types`] has joined: the types of the fields and those of `_id`.
///
/// # Errors
/// If the bytes are not what that made.
pub fn split_types(joined: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    if joined.is_empty() {
        return Ok((&[], &[]));
    }
    let parts = joined
        .split_first_chunk()
        .and_then(|(length, rest)| rest.split_at_checked(u32::from_be_bytes(*length) as usize));
    parts.ok_or(KeyError("types that are not joined"))
}

/// The first byte of the key of every value of `bracket`, and of no other.
pub fn bracket_prefix(bracket: Bracket, direction: Direction) -> u8 {
    bracket as u8 ^ direction.mask()
}

/// Appends what the keys of all strings that begin with `text` begin with.
pub fn encode_string_prefix(text: &str, direction: Direction, key: &mut Vec<u8>) {
    let start = key.len();
    key.push(Bracket::String as u8);
    put_escaped(text.as_bytes(), key);
    invert(key, start, direction);
}

/// The least byte string above all that begin with `prefix`; none if there is no such string.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn invert(key: &mut [u8], start: usize, direction: Direction) {
    if direction == Direction::Descending {
        key.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
}

fn put_value(value: RawBsonRef<'_>, collation: Option<&Collation>, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    key.push(bracket(value) as u8);
    put_body(value, collation, key, types);
}

/// Appends the key of `value` without its bracket byte.
fn put_body(value: RawBsonRef<'_>, collation: Option<&Collation>, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    match value {
        RawBsonRef::MinKey | RawBsonRef::MaxKey | RawBsonRef::Undefined => {}
        RawBsonRef::Null => types.push(TYPE_PLAIN),
        RawBsonRef::Int32(value) => number::put_integer(i64::from(value), true, key, types),
        RawBsonRef::Int64(value) => number::put_integer(value, false, key, types),
        RawBsonRef::Double(value) => number::put_double(value, key, types),
        RawBsonRef::Decimal128(value) => number::put_decimal(value, key, types),
        RawBsonRef::String(text) => {
            put_collated(text, collation, key);
            types.push(TYPE_PLAIN);
        }
        RawBsonRef::Symbol(text) => {
            put_collated(text, collation, key);
            types.push(TYPE_SYMBOL);
        }
        RawBsonRef::JavaScriptCode(text) => put_text(text, key),
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            put_text(code.code, key);
            put_document(code.scope, collation, key, types);
        }
        RawBsonRef::Document(document) => put_document(document, collation, key, types),
        RawBsonRef::Array(array) => put_array(array, collation, key, types),
        RawBsonRef::Binary(binary) => {
            put_length(binary_length(binary.subtype, binary.bytes), key);
            key.push(binary.subtype.into());
            key.extend_from_slice(binary.bytes);
        }
        RawBsonRef::ObjectId(id) => key.extend_from_slice(&id.bytes()),
        RawBsonRef::Boolean(value) => key.push(u8::from(value)),
        RawBsonRef::DateTime(date) => {
            key.extend_from_slice(&(date.timestamp_millis() as u64 ^ 1 << 63).to_be_bytes());
        }
        RawBsonRef::Timestamp(timestamp) => {
            key.extend_from_slice(&timestamp.time.to_be_bytes());
            key.extend_from_slice(&timestamp.increment.to_be_bytes());
        }
        RawBsonRef::RegularExpression(regex) => {
            for text in [regex.pattern, regex.options] {
                key.extend_from_slice(text.as_str().as_bytes());
                key.push(0);
            }
        }
        RawBsonRef::DbPointer(_) => {
            let (namespace, id) = db_pointer_parts(value);
            put_length(namespace.len(), key);
            key.extend_from_slice(namespace.as_bytes());
            key.extend_from_slice(&id.bytes());
        }
    }
}

fn put_document(
    document: &RawDocument,
    collation: Option<&Collation>,
    key: &mut Vec<u8>,
    types: &mut Vec<u8>,
) {
    for (name, value) in elements(document) {
        key.push(bracket(value) as u8);
        key.extend_from_slice(name.as_str().as_bytes());
        key.push(0);
        put_body(value, collation, key, types);
    }
    key.push(0);
}

fn put_array(array: &RawArray, collation: Option<&Collation>, key: &mut Vec<u8>, types: &mut Vec<u8>) {
    for value in array_elements(array) {
        put_value(value, collation, key, types);
    }
    key.push(0);
}

fn put_collated(text: &str, collation: Option<&Collation>, key: &mut Vec<u8>) {
    let Some(collation) = collation else { return put_text(text, key) };
    let mut sort_key = Vec::with_capacity(2 * text.len());
    collation.sort_key(text, &mut sort_key);
    put_escaped(&sort_key, key);
    key.push(0);
}

fn put_text(text: &str, key: &mut Vec<u8>) {
    put_escaped(text.as_bytes(), key);
    key.push(0);
}

fn put_escaped(text: &[u8], key: &mut Vec<u8>) {
    if text.iter().all(|byte| *byte > 1) {
        key.extend_from_slice(text);
        return;
    }
    for byte in text {
        match byte {
            0 | 1 => key.extend_from_slice(&[1, byte + 1]),
            byte => key.push(*byte),
        }
    }
}

fn put_length(length: usize, key: &mut Vec<u8>) {
    key.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}
