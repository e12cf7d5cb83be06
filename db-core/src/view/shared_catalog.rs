//! Catalog records that readers have read: a find pays for reading one only after it has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::catalog::CollectionMeta;
use super::{ReadView, keyspace};
use crate::error::Result;

/// The collections that were looked for last, shared by the readers of a database, whatever snapshot each of them has.
#[derive(Debug, Default)]
pub(crate) struct SharedCatalog(Mutex<BTreeMap<String, Known>>);

/// A record and what it says: it says the same in every snapshot that holds the same bytes.
#[derive(Debug)]
struct Known {
    record: Vec<u8>,
    meta: Arc<CollectionMeta>,
}

impl SharedCatalog {
    /// The collection called `name`, if it exists in `view`.
    pub(crate) fn collection(&self, view: &impl ReadView, name: &str) -> Result<Option<Arc<CollectionMeta>>> {
        let stored = view.get(&keyspace::collection(name))?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = stored else {
            known.remove(name);
            return Ok(None);
        };
        if let Some(same) = known.get(name).filter(|known| known.record == stored.value()) {
            return Ok(Some(Arc::clone(&same.meta)));
        }
        let (record, meta) = (stored.value().to_vec(), Arc::new(CollectionMeta::decode(stored.value())?));
        known.insert(name.to_owned(), Known { record, meta: Arc::clone(&meta) });
        Ok(Some(meta))
    }
}
