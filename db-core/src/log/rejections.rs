//! What of an entry did not hold at its place.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bson::{RawDocument, RawDocumentBuf, rawdoc};

use super::RejectedOperation;
use crate::error::{Error, Result};
use crate::ids::EntryHash;
use crate::limits;
use crate::view::catalog::{self, REJECTED};
use crate::view::documents::id_key;
use crate::view::{ReadView, ViewSnapshot, keyspace, settled};

/// What `system.rejected` says of entries.
pub(crate) struct Rejections<'a> {
    view: &'a ViewSnapshot,
    /// The collection, if anything was ever rejected.
    collection: Option<u32>,
    /// What is listed no more of the entry that was asked for last: an entry can have very many operations.
    dismissed: RefCell<Option<(EntryHash, BTreeMap<u64, RawDocumentBuf>)>>,
}

impl<'a> Rejections<'a> {
    /// Those of this view.
    pub(crate) fn open(view: &'a ViewSnapshot) -> Result<Self> {
        let collection = catalog::collection(view, REJECTED)?.map(|meta| meta.id);
        Ok(Self { view, collection, dismissed: RefCell::default() })
    }

    /// What of an entry did not hold, the first [`limits::LOG_PARTS_MAX`] operations, also where it is listed no more.
    pub(crate) fn of(&self, entry: &EntryHash) -> Result<Vec<RejectedOperation>> {
        let mut all = self.listed(entry)?;
        let dismissed = settled::dismissed(self.view, entry)?;
        if !dismissed.is_empty() {
            all.extend(dismissed.iter().map(|document| read_rejection(document)));
            all.sort_by_key(|rejected| rejected.operation);
            all.truncate(limits::LOG_PARTS_MAX);
        }
        Ok(all)
    }

    fn listed(&self, entry: &EntryHash) -> Result<Vec<RejectedOperation>> {
        let Some(collection) = self.collection else { return Ok(Vec::new()) };
        let key = |operation: i64| key_of(collection, entry, operation);
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

/// Codes with which an operation is refused as a whole, at its first part: `Unauthorized`, `InvalidNamespace`.
const REFUSED_WHOLE: [i32; 2] = [13, 73];

impl Rejections<'_> {
    /// What the list said of an operation until that was taken off it.
    fn dismissed(&self, entry: &EntryHash, operation: u64) -> Result<Option<RawDocumentBuf>> {
        let mut last = self.dismissed.borrow_mut();
        if last.as_ref().is_none_or(|(of, _)| of != entry) {
            let all = settled::dismissed(self.view, entry)?.into_iter();
            *last = Some((*entry, all.map(|one| (read_rejection(&one).operation, one)).collect()));
        }
        Ok(last.as_ref().and_then(|(_, all)| all.get(&operation).cloned()))
    }

    /// Why a part of an operation did not hold; none if it did.
    pub(crate) fn code(&self, entry: &EntryHash, operation: usize, part: usize) -> Result<Option<i32>> {
        let Some(collection) = self.collection else { return Ok(None) };
        let Some(key) = key_of(collection, entry, operation as i64) else { return Ok(None) };
        let mut stored = self.view.get(&key)?.map(|stored| stored.value().to_vec());
        if stored.is_none() {
            stored = self.dismissed(entry, operation as u64)?.map(RawDocumentBuf::into_bytes);
        }
        let Some(stored) = stored else { return Ok(None) };
        let document =
            RawDocument::from_bytes(&stored).map_err(|_| Error::data("a stored document is damaged"))?;
        let rejected = document.get_array("parts").into_iter().flatten().flatten().filter_map(|rejected| {
            let rejected = rejected.as_document()?;
            Some((rejected.get_i64("part").ok()?, rejected.get_i32("code").ok()?))
        });
        let mut all = rejected.filter(|(at, code)| {
            usize::try_from(*at) == Ok(part) || (*at == 0 && REFUSED_WHOLE.contains(code))
        });
        Ok(all.next().map(|(_, code)| code))
    }
}

/// The key of what the list of rejections says of one operation.
fn key_of(collection: u32, entry: &EntryHash, operation: i64) -> Option<Vec<u8>> {
    let entry =
        bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: entry.as_bytes().to_vec() };
    let document = rawdoc! { "_id": { "entry": entry, "operation": operation } };
    catalog::id_of(&document).map(|id| keyspace::document(collection, &id_key(id)))
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
