//! Documents in quarantine: those that came second under a key of a unique index whose duplicates are kept.
//!
//! Such a document stands in its collection and in all indexes, so that queries find it, but does not hold the key: another
//! one does. Each of its entries of that kind has a mark, under the entry's key in a key space of its own. A mark goes with
//! its entry, or when the document is written while nobody holds the key any more.

use std::collections::BTreeSet;

use super::documents::{ChangeError, CollectionWriter, EntriesOfIndex};
use super::journal::ViewWriter;
use super::{ReadView, duplicate, keyspace};
use crate::error::Result;

/// What looking whether another document holds a key counts as, in bytes: an entry and its mark are read.
const LOOK_BYTES: usize = 256;

impl CollectionWriter {
    /// The keys among these entries of one document that are to be marked.
    ///
    /// # Errors
    /// `DuplicateKey` if another document holds one of the keys in a unique index, and this one cannot be kept beside it: as the
    /// index says, and at its origin, where its author can still be told.
    pub(super) fn duplicates(
        &self,
        view: &mut ViewWriter<'_, '_>,
        id_key: &[u8],
        entries: &[EntriesOfIndex],
    ) -> Result<BTreeSet<Vec<u8>>, ChangeError> {
        let mut duplicates = BTreeSet::new(); // a document may have hundreds of thousands of entries
        for (index, entries) in self.indexes().iter().zip(entries).filter(|(_, entries)| entries.unique) {
            for (key, types) in &entries.entries {
                if !is_held(view, key, id_key.len(), entries.quarantines)? {
                    continue;
                }
                let is_marked = entries.quarantines && view.get(&keyspace::mark(key))?.is_some();
                if !(is_marked || entries.quarantines && self.quarantines()) {
                    let entry = key.get(keyspace::PREFIX_BYTES..).unwrap_or_default();
                    return Err(duplicate::of_entry(self.name(), &index.definition, entry, types).into());
                }
                duplicates.insert(key.clone());
            }
        }
        Ok(duplicates)
    }
}

/// Marks those of a document's entries that are duplicates, and takes the marks from the others; whether one is new.
pub(super) fn mark(
    view: &mut ViewWriter<'_, '_>,
    entries: &[Vec<u8>],
    duplicates: &BTreeSet<Vec<u8>>,
) -> Result<bool> {
    let mut is_new = false;
    for key in entries {
        let mark = keyspace::mark(key);
        let (is_marked, has_to_be) = (view.get(&mark)?.is_some(), duplicates.contains(key));
        if has_to_be && !is_marked {
            view.put(&mark, &[])?;
            is_new = true;
        } else if is_marked && !has_to_be {
            view.delete(&mark)?;
        }
    }
    Ok(is_new)
}

/// The keys of a document's entries in indexes whose duplicates are kept.
pub(super) fn keys_to_mark(entries: &[EntriesOfIndex]) -> Vec<Vec<u8>> {
    let entries = entries.iter().filter(|entries| entries.quarantines);
    entries.flat_map(|entries| entries.entries.keys().cloned()).collect()
}

/// Whether another document holds the values of this key.
fn is_held(
    view: &mut ViewWriter<'_, '_>,
    key: &[u8],
    id_bytes: usize,
    quarantines: bool,
) -> Result<bool, ChangeError> {
    let values = key.get(..key.len().saturating_sub(id_bytes)).unwrap_or_default();
    // Any number of others may be in quarantine before the one that holds the key.
    view.work().check()?;
    let (mut is_held, mut looks) = (false, 0);
    for item in view.range(keyspace::prefix_bounds(values))? {
        let (stored, _) = item?;
        if stored.value() == key {
            continue;
        }
        looks += usize::from(quarantines);
        if !quarantines || view.get(&keyspace::mark(stored.value()))?.is_none() {
            is_held = true;
            break;
        }
    }
    view.work().add(looks * LOOK_BYTES);
    Ok(is_held)
}
