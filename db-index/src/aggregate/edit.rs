//! Fields of raw documents by dotted paths that lead through documents only: reading, setting, removing.

use bson::RawBsonRef;
use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

use crate::error::QueryError;
use crate::expression::field_path;
use crate::path;
use crate::raw::{Elements, Item, Writer};

/// A path such as `a.b`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Box<str>>);

impl Path {
    /// Parses a path without `$`.
    ///
    /// # Errors
    /// 40352 for an empty path, 40353 for one that ends in a dot, 15998 for another empty part, 16410 for a part that
    /// begins with `$`, 16411 for a NUL.
    pub(super) fn parse(text: &str) -> Result<Self, QueryError> {
        if text.is_empty() {
            return super::parse::error(40352, "FieldPath cannot be constructed with empty string");
        }
        Ok(Self(field_path(text)?))
    }

    /// The parts, one at least.
    pub(super) fn parts(&self) -> &[Box<str>] {
        &self.0
    }
}

/// The value at `path`. Arrays are not gone into.
pub(super) fn field<'d>(document: &'d RawDocument, path: &Path) -> Option<RawBsonRef<'d>> {
    let mut value = RawBsonRef::Document(document);
    for part in path.parts() {
        let RawBsonRef::Document(document) = value else { return None };
        value = path::field(document, part)?;
    }
    Some(value)
}

/// The document with `item` at `path`. Parents that are no documents become ones; a field that is there keeps its place.
///
/// # Errors
/// None for documents that have passed the guard.
pub(super) fn set(document: &RawDocument, path: &Path, item: Item<'_>) -> Result<RawDocumentBuf, QueryError> {
    let mut writer = Writer::with_capacity(document.as_bytes().len() + item.bytes.len() + 32);
    let root = writer.open_root();
    rewrite(Elements::of_document(document), path.parts(), Some(item), &mut writer)?;
    writer.close(root);
    Ok(writer.into_document())
}

/// The document without what is at `path`.
///
/// # Errors
/// None for documents that have passed the guard.
pub(super) fn remove(document: &RawDocument, path: &Path) -> Result<RawDocumentBuf, QueryError> {
    let mut writer = Writer::with_capacity(document.as_bytes().len());
    let root = writer.open_root();
    rewrite(Elements::of_document(document), path.parts(), None, &mut writer)?;
    writer.close(root);
    Ok(writer.into_document())
}

/// A document as an item.
pub(super) fn document_item(document: &RawDocument) -> Item<'_> {
    Item { kind: ElementType::EmbeddedDocument, bytes: document.as_bytes() }
}

/// The recursion is as deep as the path is long.
fn rewrite(
    elements: Elements<'_>,
    path: &[Box<str>],
    item: Option<Item<'_>>,
    writer: &mut Writer,
) -> Result<(), QueryError> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let mut found = false;
    for element in elements {
        let element = element?;
        if found || *element.key != **first {
            writer.copy(element.bytes);
            continue;
        }
        found = true;
        match (element.value()?, item) {
            (_, Some(item)) if rest.is_empty() => writer.element(first, item),
            (_, None) if rest.is_empty() => {}
            (RawBsonRef::Document(inner), item) => {
                let opened = writer.open(first, ElementType::EmbeddedDocument);
                rewrite(Elements::of_document(inner), rest, item, writer)?;
                writer.close(opened);
            }
            (_, Some(item)) => nest(path, item, writer),
            (_, None) => writer.copy(element.bytes),
        }
    }
    if let (false, Some(item)) = (found, item) {
        nest(path, item, writer);
    }
    Ok(())
}

/// Writes `item` at a path that is not there.
fn nest(path: &[Box<str>], item: Item<'_>, writer: &mut Writer) {
    let Some((last, parents)) = path.split_last() else { return };
    let opened: Vec<_> =
        parents.iter().map(|part| writer.open(part, ElementType::EmbeddedDocument)).collect();
    writer.element(last, item);
    for opened in opened.into_iter().rev() {
        writer.close(opened);
    }
}
