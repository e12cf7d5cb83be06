//! The difference between two versions of a document as an update of plain effects.

use std::collections::BTreeMap;

use bson::RawBsonRef;
use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

use super::{Update, UpdateContext, UpdateOptions};
use crate::error::QueryError;
use crate::raw::{Element, Elements, Item, Writer};

/// The update that turns `before` into `after` with `$set` and `$unset` alone: what is logged for an update that cannot be
/// replayed. Fields of embedded documents are set one by one, arrays as a whole. Where paths cannot say it (names with dots
/// or dollars, new fields in an order of their own), it is `after` itself, a replacement.
///
/// # Errors
/// `InvalidBSON` (22) for documents that never passed the guard.
pub fn plain_effects(before: &RawDocument, after: &RawDocument) -> Result<RawDocumentBuf, QueryError> {
    let mut difference = Difference::default();
    let told = difference.documents("", before, after)?;
    let update = difference.into_update();
    let same = told
        && Update::parse(&update, &UpdateOptions::default())
            .and_then(|update| update.apply(before, &UpdateContext::default()))
            .is_ok_and(|updated| updated.document.as_bytes() == after.as_bytes());
    Ok(if same { update } else { after.to_owned() })
}

#[derive(Default)]
struct Difference<'d> {
    set: Vec<(String, Item<'d>)>,
    unset: Vec<String>,
}

impl<'d> Difference<'d> {
    /// Notes how the documents at `prefix` differ. Says whether paths can express it.
    fn documents(
        &mut self,
        prefix: &str,
        before: &'d RawDocument,
        after: &'d RawDocument,
    ) -> Result<bool, QueryError> {
        let mut old: BTreeMap<&str, Element<'d>> = Elements::of_document(before)
            .map(|element| element.map(|element| (element.key, element)))
            .collect::<Result<_, _>>()?;
        for element in Elements::of_document(after) {
            let element = element?;
            let before = old.remove(element.key);
            if before.as_ref().is_some_and(|before| before.bytes == element.bytes) {
                continue;
            }
            let Some(path) = path_below(prefix, element.key) else { return Ok(false) };
            if let Some(before) = before
                && let (RawBsonRef::Document(before), RawBsonRef::Document(after)) =
                    (before.value()?, element.value()?)
            {
                let (sets, unsets) = (self.set.len(), self.unset.len());
                if self.documents(&path, before, after)? {
                    continue;
                }
                self.set.truncate(sets);
                self.unset.truncate(unsets);
            }
            self.set.push((path, element.item()));
        }
        for key in old.into_keys() {
            let Some(path) = path_below(prefix, key) else { return Ok(false) };
            self.unset.push(path);
        }
        Ok(true)
    }

    fn into_update(self) -> RawDocumentBuf {
        let mut writer = Writer::with_capacity(64);
        let root = writer.open_root();
        let set = writer.open("$set", ElementType::EmbeddedDocument);
        for (path, item) in self.set {
            writer.element(&path, item);
        }
        writer.close(set);
        if !self.unset.is_empty() {
            let unset = writer.open("$unset", ElementType::EmbeddedDocument);
            for path in self.unset {
                writer.scalar(&path, ElementType::Boolean, &[1]);
            }
            writer.close(unset);
        }
        writer.close(root);
        writer.into_document()
    }
}

fn path_below(prefix: &str, key: &str) -> Option<String> {
    if key.is_empty() || key.contains('.') || key.starts_with('$') {
        return None;
    }
    Some(if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") })
}
