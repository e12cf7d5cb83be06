//! Expiry: which documents a TTL index says have lived long enough, and deleting them at their place.
//!
//! A peer that votes logs the deletion ([`crate::engine`] says which one), with its clock and the documents that it found.
//! Every peer then asks the index as it is at that place: a document that was refreshed meanwhile stays, and so does
//! everything if the index is gone or was given a longer time. Nothing of that is a rejection.

use std::collections::BTreeSet;
use std::ops::Bound;

use bson::{DateTime, RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{Direction, covered_document, encode_value, prefix_end, skip_value, split_types};

use super::{Applier, Outcome};
use crate::error::{Error, Result};
use crate::view::catalog::{CollectionMeta, IndexMeta, id_of};
use crate::view::documents::{ChangeError, CollectionWriter, entries_of_index, id_key, id_types};
use crate::view::history::History;
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, keyspace};

/// How much one entry expires at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExpiryLimits {
    pub(crate) documents: usize,
    /// Bytes of the documents and their `_id`s.
    pub(crate) bytes: usize,
}

impl Applier<'_> {
    pub(super) fn expire(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        index: &str,
        now_ms: i64,
        ids: &[RawDocumentBuf],
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(meta) = self.catalog.collection(view, collection)? else { return Ok(outcome) };
        let Some(range) = meta.index(index).and_then(|index| expired_range(index, now_ms)) else {
            return Ok(outcome);
        };
        let Some(index) = meta.index(index) else { return Ok(outcome) };
        let mut writer = CollectionWriter::new(collection, std::sync::Arc::clone(&meta));
        for id in ids {
            let Some(key) = id_of(id).map(id_key) else { continue };
            let Some(stored) = writer.document(view, &key)? else { continue };
            let document = RawDocument::from_bytes(&stored).map_err(|_| damaged())?;
            let Ok(found) = entries_of_index(index, &key, &id_types(document), document) else { continue };
            if found.entries.range(range.clone()).next().is_none() {
                continue;
            }
            match writer.delete(view, &key, document) {
                Ok(()) => {
                    outcome.deleted += 1;
                    writer.put_history(view, &key, &History::default())?;
                }
                Err(ChangeError::Storage(error)) => return Err(error),
                Err(ChangeError::Rejected(_)) => {}
            }
        }
        writer.finish(view, self.catalog)?;
        Ok(outcome)
    }
}

/// The `{_id: …}`s of documents that have expired by `now_ms`; the first of them at least, whatever the limit of bytes.
pub(crate) fn expired(
    view: &impl ReadView,
    meta: &CollectionMeta,
    index: &IndexMeta,
    now_ms: i64,
    limits: &ExpiryLimits,
) -> Result<Vec<RawDocumentBuf>> {
    let Some(range) = expired_range(index, now_ms) else { return Ok(Vec::new()) };
    let (mut ids, mut seen, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    for item in view.range(range)? {
        let (key, types) = item?;
        let key = key.value().get(keyspace::PREFIX_BYTES..).unwrap_or_default();
        let (types, id_types) = split_types(types.value()).map_err(|_| damaged())?;
        let mut id_key = key;
        for field in index.definition.fields() {
            skip_value(&mut id_key, field.direction()).map_err(|_| damaged())?;
        }
        if !seen.insert(id_key.to_vec()) {
            continue;
        }
        let id =
            covered_document(&index.definition, &["_id"], key, types, id_types).map_err(|_| damaged())?;
        let document = view.get(&keyspace::document(meta.id, id_key))?;
        bytes += id.as_bytes().len() + document.map_or(0, |document| document.value().len());
        if ids.len() >= limits.documents || (bytes > limits.bytes && !ids.is_empty()) {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// The entries of a TTL index whose date is so long ago at `now_ms` that their documents have expired; none of an index
/// that has no such time. Of an array of dates it is the earliest that counts, as any of them is an entry.
fn expired_range(index: &IndexMeta, now_ms: i64) -> Option<keyspace::KeyBounds> {
    let seconds = i64::from(index.definition.expire_after_seconds()?);
    let [field] = index.definition.fields() else { return None };
    if !field.kind().is_plain() {
        return None; // its keys are no dates
    }
    let deadline = now_ms.saturating_sub(seconds.saturating_mul(1_000));
    let at = |ms: i64| {
        let mut key = keyspace::entries(index.id);
        let date = RawBsonRef::DateTime(DateTime::from_millis(ms));
        encode_value(date, field.direction(), &mut key, &mut Vec::new());
        key
    };
    let (first, last) = match field.direction() {
        Direction::Ascending => (at(i64::MIN), at(deadline)),
        Direction::Descending => (at(deadline), at(i64::MIN)),
    };
    Some((Bound::Included(first), prefix_end(&last).map_or(Bound::Unbounded, Bound::Excluded)))
}

fn damaged() -> Error {
    Error::data("an entry of a TTL index or its document is damaged")
}
