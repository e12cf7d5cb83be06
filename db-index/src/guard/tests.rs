use bson::{RawBson, RawDocumentBuf, raw::cstr, rawdoc};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::testing::{any_document, array_of, db_pointer};

#[track_caller]
fn assert_refused(bytes: &[u8], code: ErrorCode, text: &str) {
    let error = check_document(bytes).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(text), "{error}");
}

/// A document of these element bytes, with the right length.
fn framed(elements: &[u8]) -> Vec<u8> {
    let mut bytes = (elements.len() as i32 + 5).to_le_bytes().to_vec();
    bytes.extend(elements);
    bytes.push(0);
    bytes
}

/// A document whose field `a` holds a document, and so on, `levels` in all.
fn nested(levels: usize, tag: u8) -> Vec<u8> {
    let mut bytes = framed(&[]);
    for _ in 1..levels {
        bytes = framed(&[&[tag, b'a', 0], bytes.as_slice()].concat());
    }
    bytes
}

/// Visits every value at every level; fails where iteration does.
fn visit(document: &RawDocument) {
    for element in document.iter_elements() {
        match element.unwrap().value().unwrap() {
            RawBsonRef::Document(inner) => visit(inner),
            RawBsonRef::Array(inner) => visit(RawDocument::from_bytes(inner.as_bytes()).unwrap()),
            RawBsonRef::JavaScriptCodeWithScope(code) => visit(code.scope),
            _ => {}
        }
    }
}

#[test]
fn truncated_and_extended_documents_are_refused() {
    let bytes = rawdoc! { "a": "text", "b": { "c": [1, 2.5] } }.into_bytes();
    assert!(check_document(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(check_document(&bytes[..length]).is_err());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_refused(&longer, ErrorCode::INVALID_BSON, "length");
}

#[test]
fn wrong_inner_bytes_are_refused_with_their_path() {
    let inside = |elements: &[u8]| framed(&[&[0x03, b'o', 0], framed(elements).as_slice()].concat());
    for (elements, text) in [
        (&[0x08, b'b', 0, 2][..], "at 'o.b': a boolean"),
        (&[0x06, 0xff, 0], "UTF-8"),
        (&[0x02, b's', 0, 2, 0, 0, 0, 0xff, 0], "at 'o.s': text is not UTF-8"),
        (&[0x02, b's', 0, 1, 0, 0, 0, 7], "at 'o.s': a string is not terminated"),
        (&[0x02, b's', 0, 0, 0, 0, 0], "at 'o.s': a string is not terminated"),
        (&[0x02, b's', 0, 0xff, 0xff, 0xff, 0xff], "at 'o.s': a length is negative"),
        (&[0x02, b's', 0, 0xff, 0xff, 0xff, 0x7f], "at 'o.s': a value goes beyond"),
        (&[0x05, b'x', 0, 9, 0, 0, 0, 0], "at 'o.x': a value goes beyond"),
        (&[0x05, b'x', 0, 5, 0, 0, 0, 2, 9, 0, 0, 0, 1], "at 'o.x': the inner length"),
        (&[0x03, b'd', 0, 4, 0, 0, 0], "at 'o.d': the length of a document"),
        (&[0x04, b'd', 0, 6, 0, 0, 0, 0], "at 'o.d': the length of a document"),
        (&[0x04, b'd', 0, 6, 0, 0, 0, 0, 0], "at 'o.d.d': a document ends before"),
        (&[0x0b, b'r', 0, b'a', 0, b'i'], "at 'o.r': a name is not terminated"),
        (&[0x0c, b'p', 0, 1, 0, 0, 0, 0, 1, 2], "at 'o.p': a value goes beyond"),
        (&[0x0f, b'c', 0, 15, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0], "code with scope"),
        (&[0x10, b'i', 0, 1, 2, 3], "at 'o.i': a value goes beyond"),
        (&[0x14, b'u', 0], "at 'o.u': unknown element type"),
        (&[0x0a, b'n'], "a name is not terminated"),
        (&[0x0a, b'n', 0, 0x0a, b'm', 0, 0x0a, b'n', 0], "at 'o.n': a field name occurs twice"),
        (&[0], "ends before"),
    ] {
        assert_refused(&inside(elements), ErrorCode::INVALID_BSON, text);
    }
    assert!(check_document(&inside(&[0x0f, b'c', 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 0])).is_ok());
}

#[test]
fn duplicates_are_found_among_many_names_and_allowed_across_levels() {
    let mut document = RawDocumentBuf::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"] {
        document.append(bson::raw::CString::try_from(name).unwrap(), rawdoc! { "a": 1, "b": 2 });
    }
    assert!(check_document(document.as_bytes()).is_ok());
    document.append(cstr!("c"), 1);
    assert_refused(document.as_bytes(), ErrorCode::INVALID_BSON, "at 'c': a field name occurs twice");
}

#[test]
fn depth_is_bounded_for_documents_arrays_and_scopes() {
    for tag in [0x03, 0x04] {
        assert!(check_document(&nested(DEPTH_MAX, tag)).is_ok());
        assert_refused(&nested(DEPTH_MAX + 1, tag), ErrorCode::OVERFLOW, "64 levels");
        assert_refused(&nested(2_000, tag), ErrorCode::OVERFLOW, "64 levels");
    }
    let mut bytes = framed(&[]);
    for _ in 0..DEPTH_MAX {
        let scope = bytes;
        let length = (4 + 5 + scope.len() as i32).to_le_bytes();
        bytes = framed(&[&[0x0f, b'a', 0], &length[..], &[1, 0, 0, 0, 0], &scope].concat());
    }
    assert_refused(&bytes, ErrorCode::OVERFLOW, "64 levels");
}

#[test]
fn size_and_element_count_are_bounded() {
    let large = RawBson::Binary(bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: vec![0; DOCUMENT_BYTES_MAX - 13],
    });
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("a"), large);
    assert_eq!(document.as_bytes().len(), DOCUMENT_BYTES_MAX);
    assert!(check_document(document.as_bytes()).is_ok());
    document.append(cstr!("b"), RawBson::Null);
    assert_refused(document.as_bytes(), ErrorCode::BSON_OBJECT_TOO_LARGE, "larger than the limit");

    let array =
        |count: usize| framed(&[&[0x04, b'a', 0], framed(&[0x0a, 0].repeat(count)).as_slice()].concat());
    assert!(check_document(&array(ELEMENTS_MAX - 1)).is_ok());
    assert_refused(&array(ELEMENTS_MAX), ErrorCode::OVERFLOW, "elements");
}

#[test]
fn ids_of_some_types_are_refused() {
    for (id, code) in [
        (RawBson::Array(array_of(vec![])), ErrorCode::INVALID_ID_FIELD),
        (RawBson::Undefined, ErrorCode::INVALID_ID_FIELD),
        (
            RawBson::RegularExpression(bson::Regex { pattern: cstr!("a").into(), options: cstr!("").into() }),
            ErrorCode::INVALID_ID_FIELD,
        ),
        (RawBson::Document(rawdoc! { "a": 1, "$b": 1 }), ErrorCode::DOLLAR_PREFIXED_FIELD_NAME),
    ] {
        let document = rawdoc! { "x": 1, "_id": id };
        assert_eq!(check_storable(&document).unwrap_err().code, code);
    }
    let document = rawdoc! { "$x": 1, "a.b": { "$c": 1 }, "_id": db_pointer("n", [1; 12]) };
    assert!(matches!(check_storable(&document), Ok(Some(RawBsonRef::DbPointer(_)))));
    assert_eq!(check_storable(&rawdoc! {}), Ok(None));
}

proptest! {
    #[test]
    fn whatever_bson_builds_is_accepted(document in any_document()) {
        prop_assert!(check_document(document.as_bytes()).is_ok());
        visit(&document);
    }

    #[test]
    fn what_is_accepted_can_be_read_throughout(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(document) = check_document(&bytes) {
            visit(document);
        }
        let elements = framed(&bytes);
        if let Ok(document) = check_document(&elements) {
            visit(document);
        }
    }

    #[test]
    fn changed_bytes_are_refused_or_can_be_read(
        document in any_document(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = document.into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(document) = check_document(&bytes) {
            visit(document);
            let _ = crate::order::compare_documents(document, document);
            prop_assert!(bson::Document::try_from(document).is_ok());
        }
    }
}
