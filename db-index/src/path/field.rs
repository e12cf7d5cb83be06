//! Finding one field of a document: what scans spend most of their time on.
//!
//! `bson`'s iterator checks every name to be UTF-8 and makes a value of every element. Documents that come here have passed
//! [`check_document`](crate::check_document), so names are compared as bytes and the values before the one sought are passed
//! over. Whatever is rare is left to `bson`.

use bson::oid::ObjectId;
use bson::{RawBsonRef, RawDocument};

/// The value of field `name` of `document`: the first, should there be several.
pub(crate) fn field<'a>(document: &'a RawDocument, name: &str) -> Option<RawBsonRef<'a>> {
    match seek(document.as_bytes(), name.as_bytes()) {
        Some(Sought::Missing) => None,
        Some(Sought::Value(tag, bytes)) => value(tag, bytes).or_else(|| by_iterator(document, name)),
        None => by_iterator(document, name),
    }
}

/// What a search came to.
enum Sought<'a> {
    /// There is no such field.
    Missing,
    /// The type of the value and the bytes from its beginning on.
    Value(u8, &'a [u8]),
}

/// None if the search met what only `bson` can tell.
fn seek<'a>(document: &'a [u8], name: &[u8]) -> Option<Sought<'a>> {
    let mut rest = document.get(4..)?;
    loop {
        let (tag, named) = rest.split_first()?;
        if *tag == 0 {
            return Some(Sought::Missing);
        }
        let name_bytes = named.iter().position(|byte| *byte == 0)?;
        let value = named.get(name_bytes + 1..)?;
        if named.get(..name_bytes)? == name {
            return Some(Sought::Value(*tag, value));
        }
        rest = value.get(value_bytes(*tag, value)?..)?;
    }
}

/// How many bytes the value of type `tag` at the beginning of `bytes` takes.
fn value_bytes(tag: u8, bytes: &[u8]) -> Option<usize> {
    match tag {
        0x01 | 0x09 | 0x11 | 0x12 => Some(8),
        0x02 | 0x0d | 0x0e => length(bytes)?.checked_add(4),
        0x03 | 0x04 => length(bytes),
        0x05 => length(bytes)?.checked_add(5),
        0x07 => Some(12),
        0x08 => Some(1),
        0x0a => Some(0),
        0x10 => Some(4),
        0x13 => Some(16),
        _ => None,
    }
}

/// The value of type `tag` at the beginning of `bytes`, if it is of a common type and well-formed.
fn value(tag: u8, bytes: &[u8]) -> Option<RawBsonRef<'_>> {
    Some(match tag {
        0x01 => RawBsonRef::Double(f64::from_le_bytes(array(bytes)?)),
        0x02 => {
            let text = bytes.get(4..4_usize.checked_add(length(bytes)?)?)?;
            let (0, text) = text.split_last()? else { return None };
            RawBsonRef::String(std::str::from_utf8(text).ok()?)
        }
        0x03 => RawBsonRef::Document(RawDocument::from_bytes(bytes.get(..length(bytes)?)?).ok()?),
        0x07 => RawBsonRef::ObjectId(ObjectId::from_bytes(array(bytes)?)),
        0x0a => RawBsonRef::Null,
        0x10 => RawBsonRef::Int32(i32::from_le_bytes(array(bytes)?)),
        0x12 => RawBsonRef::Int64(i64::from_le_bytes(array(bytes)?)),
        _ => return None,
    })
}

fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(array(bytes)?)).ok()
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}

fn by_iterator<'a>(document: &'a RawDocument, name: &str) -> Option<RawBsonRef<'a>> {
    for element in document.iter_elements() {
        let element = element.ok()?;
        if element.key().as_str() == name {
            return element.value().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bson::{RawBson, RawDocumentBuf};
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    /// The bytes of what was found, for a NaN is never equal to itself.
    fn bytes(value: Option<RawBsonRef<'_>>) -> Option<Vec<u8>> {
        value.map(|value| {
            let mut document = RawDocumentBuf::new();
            document.append(bson::raw::cstr!("value"), RawBson::from(value));
            document.into_bytes()
        })
    }

    proptest! {
        #[test]
        fn every_field_is_found_as_the_iterator_finds_it(document in testing::any_document()) {
            for name in ["a", "b", "ab", "_id", "", "none"] {
                prop_assert_eq!(bytes(field(&document, name)), bytes(by_iterator(&document, name)));
            }
            for element in document.iter_elements() {
                let name = element.unwrap().key().as_str().to_owned();
                prop_assert_eq!(bytes(field(&document, &name)), bytes(by_iterator(&document, &name)));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            tail in proptest::collection::vec(prop_oneof![0_u8..20, Just(b'a'), any::<u8>()], 0..60),
        ) {
            let length = (tail.len() + 5) as i32;
            let bytes = [&length.to_le_bytes()[..], &tail, &[0]].concat();
            let document = RawDocument::from_bytes(&bytes).unwrap();
            let _ = field(document, "a");
        }
    }
}
