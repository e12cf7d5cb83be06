//! What of an entry did not hold at its place.

use bson::{RawDocument, rawdoc};

use super::RejectedOperation;
use crate::error::{Error, Result};
use crate::ids::EntryHash;
use crate::limits;
use crate::view::catalog::{self, REJECTED};
use crate::view::documents::id_key;
use crate::view::{ReadView, ViewSnapshot, keyspace};

/// What `system.rejected` says of entries.
pub(crate) struct Rejections<'a> {
    view: &'a ViewSnapshot,
    /// The collection, if anything was ever rejected.
    collection: Option<u32>,
}

impl<'a> Rejections<'a> {
    /// Those of this view.
    pub(crate) fn open(view: &'a ViewSnapshot) -> Result<Self> {
        Ok(Self { view, collection: catalog::collection(view, REJECTED)?.map(|meta| meta.id) })
    }

    /// What of an entry did not hold, the first [`limits::LOG_PARTS_MAX`] operations.
    pub(crate) fn of(&self, entry: &EntryHash) -> Result<Vec<RejectedOperation>> {
        let Some(collection) = self.collection else { return Ok(Vec::new()) };
        let key = |operation: i64| {
            let entry = bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: entry.as_bytes().to_vec(),
            };
            let document = rawdoc! { "_id": { "entry": entry, "operation": operation } };
            catalog::id_of(&document).map(|id| keyspace::document(collection, &id_key(id)))
        };
        let (Some(low), Some(high)) = (key(0), key(i64::MAX)) else { return Ok(Vec::new()) };
        let bounds = (std::ops::Bound::Included(low), std::ops::Bound::Included(high));
        let found = ReadView::range(self.view, bounds)?.take(limits::LOG_PARTS_MAX);
        let read = |stored: &[u8]| {
            let document = RawDocument::from_bytes(stored);
            document.map(read_rejection).map_err(|_| Error::data("a stored document is damaged"))
        };
        found.map(|item| read(item?.1.value())).collect()
    }
}

fn read_rejection(document: &RawDocument) -> RejectedOperation {
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let id = document.get_document("_id");
    let parts = document.get_array("parts").into_iter().flatten().flatten();
    let parts = parts.filter_map(|part| {
        let part = part.as_document()?;
        Some((number(part.get_i64("part").ok()?), part.get_i32("code").ok()?))
    });
    RejectedOperation {
        operation: id.ok().and_then(|id| id.get_i64("operation").ok()).map(number).unwrap_or_default(),
        count: document.get_i64("count").map(number).unwrap_or_default(),
        parts: parts.take(limits::LOG_PARTS_MAX).collect(),
    }
}
