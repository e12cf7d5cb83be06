//! The documents of a collection that came second under a key of a unique index and are kept in quarantine.

use std::ops::Bound;
use std::sync::Arc;

use bson::RawDocumentBuf;

use super::Collection;
use crate::error::{Error, Result};
use crate::view::catalog::CollectionMeta;
use crate::view::{ReadView, ViewSnapshot, keyspace};

/// A document in quarantine.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Quarantined {
    /// The index in which another document holds its key.
    pub index: String,
    /// The document. It is found, changed and deleted like any other.
    pub document: RawDocumentBuf,
}

impl<T> Collection<T> {
    /// The documents that were written apart from others of the same key, under a unique index with the option
    /// `onDuplicate: "quarantine"`: by index, and by their keys there. One with several such keys in an index is given once for
    /// each.
    ///
    /// A document leaves quarantine when it is given another key, when it is deleted, or when it is written while nobody
    /// holds its key any more.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn quarantined(&self) -> Result<QuarantineCursor> {
        // Which of two documents held a key does not follow from the documents.
        self.refuse_past("asked what was in quarantine")?;
        Ok(QuarantineCursor { opened: self.open()?, index: 0, after: None })
    }
}

/// Documents in quarantine, as one snapshot has them: see [`Collection::quarantined`].
pub struct QuarantineCursor {
    /// None once there are no more.
    opened: Option<(ViewSnapshot, Arc<CollectionMeta>)>,
    /// The position of the index that is being read.
    index: usize,
    /// The last mark that was read of it.
    after: Option<Vec<u8>>,
}

impl QuarantineCursor {
    fn read(&mut self) -> Result<Option<Quarantined>> {
        let Some((view, meta)) = &self.opened else { return Ok(None) };
        while let Some(index) = meta.indexes.get(self.index) {
            let entries = keyspace::entries(index.id);
            let (first, end) = keyspace::prefix_bounds(&keyspace::mark(&entries));
            let from = self.after.take().map_or(first, Bound::Excluded);
            let next = if index.definition.quarantines() {
                view.range((from, end))?.next().transpose()?
            } else {
                None
            };
            let Some((mark, _)) = next else {
                self.index += 1;
                continue;
            };
            let key = mark.value().to_vec();
            let values = key.get(keyspace::PREFIX_BYTES..).unwrap_or_default();
            let id_key = index.definition.id_key(values).map_err(|_| Error::data("a mark is damaged"))?;
            let stored = view.get(&keyspace::document(meta.id, id_key))?;
            let stored = stored.ok_or_else(|| Error::data("a document in quarantine is missing"))?;
            let document = RawDocumentBuf::from_bytes(stored.value().to_vec());
            let document = document.map_err(|_| Error::data("a stored document is damaged"))?;
            self.after = Some(key.clone());
            return Ok(Some(Quarantined { index: index.definition.name().to_owned(), document }));
        }
        Ok(None)
    }
}

impl Iterator for QuarantineCursor {
    type Item = Result<Quarantined>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if !matches!(read, Ok(Some(_))) {
            self.opened = None;
        }
        read.transpose()
    }
}

impl std::fmt::Debug for QuarantineCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuarantineCursor").field("index", &self.index).finish_non_exhaustive()
    }
}
