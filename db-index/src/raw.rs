//! Raw BSON read element by element and written element by element, so that what an update does not touch is copied as bytes.

use bson::RawBsonRef;
use bson::raw::{RawArray, RawDocument, RawDocumentBuf, RawElement, RawIter};
use bson::spec::ElementType;

use crate::error::{ErrorCode, QueryError};
use crate::limits::DOCUMENT_BYTES_MAX;

/// One element of a document or array, with its bytes at hand.
#[derive(Clone)]
pub(crate) struct Element<'a> {
    pub(crate) key: &'a str,
    pub(crate) kind: ElementType,
    /// The whole element: type byte, key, value.
    pub(crate) bytes: &'a [u8],
    raw: RawElement<'a>,
}

impl<'a> Element<'a> {
    /// The decoded value.
    pub(crate) fn value(&self) -> Result<RawBsonRef<'a>, QueryError> {
        self.raw.value().map_err(|error| malformed(&error))
    }

    /// The value as type and bytes.
    pub(crate) fn item(&self) -> Item<'a> {
        Item { kind: self.kind, bytes: self.bytes.get(self.key.len() + 2..).unwrap_or_default() }
    }
}

/// A value as type and bytes: what can be moved without being understood.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) kind: ElementType,
    pub(crate) bytes: &'a [u8],
}

/// Walks the elements of a document.
pub(crate) struct Elements<'a> {
    bytes: &'a [u8],
    offset: usize,
    iter: RawIter<'a>,
}

impl<'a> Elements<'a> {
    pub(crate) fn of_document(document: &'a RawDocument) -> Self {
        Self { bytes: document.as_bytes(), offset: 4, iter: document.iter_elements() }
    }

    pub(crate) fn of_array(array: &'a RawArray) -> Self {
        Self { bytes: array.as_bytes(), offset: 4, iter: array.iter_elements() }
    }

    /// What has not been walked yet, without the final zero.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..self.bytes.len().saturating_sub(1)).unwrap_or_default()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.iter.next()? {
            Ok(raw) => raw,
            Err(error) => return Some(Err(malformed(&error))),
        };
        let key = raw.key().as_str();
        let end = self.offset + key.len() + 2 + raw.size();
        let bytes = self.bytes.get(self.offset..end).unwrap_or_default();
        self.offset = end;
        Some(Ok(Element { key, kind: raw.element_type(), bytes, raw }))
    }
}

/// How many levels of documents and arrays a value has, counted up to `limit`.
pub(crate) fn depth(value: RawBsonRef<'_>, limit: usize) -> Result<usize, QueryError> {
    let elements = match value {
        RawBsonRef::Document(document) => Elements::of_document(document),
        RawBsonRef::Array(array) => Elements::of_array(array),
        RawBsonRef::JavaScriptCodeWithScope(code) => Elements::of_document(code.scope),
        _ => return Ok(0),
    };
    let mut deepest = 0;
    if limit > 1 {
        for element in elements {
            deepest = deepest.max(depth(element?.value()?, limit - 1)?);
        }
    }
    Ok(deepest + 1)
}

/// The values of an array as items.
pub(crate) fn array_items(array: &RawArray) -> Result<Vec<Item<'_>>, QueryError> {
    Elements::of_array(array).map(|element| element.map(|element| element.item())).collect()
}

/// A value that an update carries, kept as its raw bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    /// A document of this one value under an empty key.
    wrapped: RawDocumentBuf,
}

impl Operand {
    pub(crate) fn of(item: Item<'_>) -> Self {
        let mut writer = Writer::with_capacity(item.bytes.len() + 8);
        let root = writer.open_root();
        writer.element("", item);
        writer.close(root);
        Self { wrapped: writer.into_document() }
    }

    pub(crate) fn item(&self) -> Item<'_> {
        let bytes = self.wrapped.as_bytes();
        let kind = bytes.get(4).copied().and_then(ElementType::from).unwrap_or(ElementType::Null);
        Item { kind, bytes: bytes.get(6..bytes.len().saturating_sub(1)).unwrap_or_default() }
    }

    pub(crate) fn value(&self) -> Result<RawBsonRef<'_>, QueryError> {
        match self.wrapped.iter().next() {
            Some(Ok((_, value))) => Ok(value),
            Some(Err(error)) => Err(malformed(&error)),
            None => Ok(RawBsonRef::Null),
        }
    }
}

/// Where an opened document or array began, to set its length when it is closed.
#[derive(Clone, Copy)]
#[must_use]
pub(crate) struct Opened(usize);

/// Writes BSON into one buffer.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(crate) fn open_root(&mut self) -> Opened {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        Opened(start)
    }

    /// Starts an embedded document or array under `key`.
    pub(crate) fn open(&mut self, key: &str, kind: ElementType) -> Opened {
        self.head(key, kind);
        self.open_root()
    }

    pub(crate) fn close(&mut self, opened: Opened) {
        self.bytes.push(0);
        let length = u32::try_from(self.bytes.len() - opened.0).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(slot) = self.bytes.get_mut(opened.0..opened.0 + 4) {
            slot.copy_from_slice(&length);
        }
    }

    pub(crate) fn element(&mut self, key: &str, item: Item<'_>) {
        self.head(key, item.kind);
        self.bytes.extend_from_slice(item.bytes);
    }

    /// An element with fixed-size value bytes.
    pub(crate) fn scalar(&mut self, key: &str, kind: ElementType, bytes: &[u8]) {
        self.element(key, Item { kind, bytes });
    }

    /// An element of an array.
    pub(crate) fn indexed(&mut self, index: usize, item: Item<'_>) {
        self.bytes.push(item.kind as u8);
        push_decimal(&mut self.bytes, index);
        self.bytes.push(0);
        self.bytes.extend_from_slice(item.bytes);
    }

    /// Whole elements as they stand.
    pub(crate) fn copy(&mut self, elements: &[u8]) {
        self.bytes.extend_from_slice(elements);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was written since the buffer had `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// The bytes from `start` on.
    pub(crate) fn written(&self, start: usize) -> &[u8] {
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Refuses a document that has outgrown the limit, while it is being written.
    pub(crate) fn check_size(&self) -> Result<(), QueryError> {
        if self.bytes.len() > DOCUMENT_BYTES_MAX { Err(too_large(self.bytes.len())) } else { Ok(()) }
    }

    /// The finished document: the root must have been closed.
    pub(crate) fn into_document(self) -> RawDocumentBuf {
        RawDocumentBuf::from_bytes(self.bytes).unwrap_or_default()
    }

    fn head(&mut self, key: &str, kind: ElementType) {
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.push(0);
    }
}

/// The decimal digits of an array index.
pub(crate) fn decimal(index: usize) -> String {
    index.to_string()
}

fn push_decimal(bytes: &mut Vec<u8>, mut number: usize) {
    let start = bytes.len();
    loop {
        bytes.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = bytes.get_mut(start..) {
        digits.reverse();
    }
}

/// An error for bytes that are no BSON after all.
pub(crate) fn malformed(error: &bson::error::Error) -> QueryError {
    QueryError::new(ErrorCode::INVALID_BSON, format!("malformed document: {error}"))
}

/// The error for a document beyond the size limit.
pub(crate) fn too_large(bytes: usize) -> QueryError {
    QueryError::new(
        ErrorCode::BSON_OBJECT_TOO_LARGE,
        format!("the updated document would have {bytes} bytes or more; the limit is {DOCUMENT_BYTES_MAX}"),
    )
}

/// MongoDB's name of a type, for messages.
pub(crate) fn type_name(kind: ElementType) -> &'static str {
    match kind {
        ElementType::Double => "double",
        ElementType::String => "string",
        ElementType::EmbeddedDocument => "object",
        ElementType::Array => "array",
        ElementType::Binary => "binData",
        ElementType::Undefined => "undefined",
        ElementType::ObjectId => "objectId",
        ElementType::Boolean => "bool",
        ElementType::DateTime => "date",
        ElementType::Null => "null",
        ElementType::RegularExpression => "regex",
        ElementType::DbPointer => "dbPointer",
        ElementType::JavaScriptCode => "javascript",
        ElementType::Symbol => "symbol",
        ElementType::JavaScriptCodeWithScope => "javascriptWithScope",
        ElementType::Int32 => "int",
        ElementType::Timestamp => "timestamp",
        ElementType::Int64 => "long",
        ElementType::Decimal128 => "decimal",
        ElementType::MaxKey => "maxKey",
        ElementType::MinKey => "minKey",
    }
}
