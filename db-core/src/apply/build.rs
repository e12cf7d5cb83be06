//! Building an index over the documents that are there: their entries are gathered in runs of bounded memory, and each run is
//! written in the order of its keys. All entries of up to about a million documents are one run, which the storage takes page
//! by page. Of documents that collide in a unique index whose duplicates are kept, the one with the lowest `_id` holds the key and
//! the others are put into quarantine, whatever the runs.

use bson::RawDocument;
use db_index::{ErrorCode, IndexDefinition, QueryError};

use super::{Applier, IndexBuild};
use crate::error::{Error, Result};
use crate::view::catalog::{CollectionMeta, IndexMeta};
use crate::view::documents::{ChangeError, each_entry, id_types};
use crate::view::journal::ViewWriter;
use crate::view::statistics::{Size, Statistics};
use crate::view::{ReadView, keyspace};

/// How much memory a run of entries may take, but for what one document adds.
const RUN_BYTES_MAX: usize = if cfg!(test) { 16 * 1024 } else { 64 * 1024 * 1024 };
/// After how many documents it is said how far the build has come.
const PROGRESS_DOCUMENTS: u64 = 20_000;

impl Applier<'_> {
    /// Writes the entries of every document that is there. A document that cannot be indexed counts before duplicates, wherever
    /// it stands: what a build fails with must not depend on how much memory it takes.
    pub(super) fn build(
        &self,
        view: &mut ViewWriter<'_, '_>,
        collection: &str,
        meta: &CollectionMeta,
        index: &mut IndexMeta,
    ) -> Result<(), ChangeError> {
        let prefix = keyspace::documents(meta.id);
        let mut statistics = Statistics::of(view, meta.id)?;
        let mut progress = IndexBuild {
            collection: collection.to_owned(),
            index: index.definition.name().to_owned(),
            documents: 0,
            documents_total: statistics.documents.count,
            entries: 0,
        };
        let entries = keyspace::entries(index.id);
        view.note_fresh(&entries)?;
        if index.definition.quarantines() {
            view.note_fresh(&keyspace::mark(&entries))?;
        }
        let mut from = keyspace::prefix_bounds(&prefix);
        let (mut run, mut size, mut is_duplicate) = (Run::default(), Size::default(), false);
        loop {
            let mut last = None;
            for item in view.range(from.clone())? {
                if progress.documents.is_multiple_of(PROGRESS_DOCUMENTS) {
                    self.observer.index_build(&progress);
                }
                progress.documents += 1;
                let (key, document) = item?;
                let document = RawDocument::from_bytes(document.value())
                    .map_err(|_| Error::data("a stored document is damaged"))?;
                let id_key = key.value().get(prefix.len()..).unwrap_or_default();
                let multikey = each_entry(index, id_key, &id_types(document), document, |key, types| {
                    run.push(key, types, id_key.len());
                })?;
                index.multikey = index.multikey.union(multikey);
                if run.bytes() >= RUN_BYTES_MAX {
                    last = Some(key.value().to_vec());
                    break;
                }
            }
            if !is_duplicate {
                run.sort();
                size.count += run.entries.len() as u64;
                size.bytes += run.keys.len() as u64;
                if index.definition.is_unique() {
                    // Runs come by ascending `_id`s, and so do the entries of one key within a run.
                    let quarantines = index.definition.quarantines();
                    let marks = run.duplicates(view, quarantines)?;
                    is_duplicate = !quarantines && !marks.is_empty();
                    if quarantines {
                        view.put_fresh(marks.iter().map(|mark| (&mark[..], &[][..])))?;
                    }
                }
                view.put_fresh(run.iter())?;
                progress.entries = size.count;
                self.observer.index_build(&progress);
            }
            run.clear();
            match last {
                Some(last) => from.0 = std::ops::Bound::Excluded(last),
                None => break,
            }
        }
        if is_duplicate {
            return Err(duplicate(&index.definition).into());
        }
        statistics.set_index(index.id, size);
        Ok(statistics.store(view, meta.id)?)
    }
}

/// Index entries that wait to be written.
#[derive(Default)]
struct Run {
    /// Key and types of one after the other.
    keys: Vec<u8>,
    entries: Vec<Held>,
}

/// Where an entry lies in a run.
#[derive(Clone, Copy)]
struct Held {
    /// The bytes of the key behind those that all keys begin with: they tell most entries apart.
    head: u64,
    start: u32,
    key_bytes: u32,
    types_bytes: u32,
    /// How many bytes at the end of the key are the document's `_id`.
    id_bytes: u32,
}

impl Run {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        self.keys.len() + self.entries.len() * size_of::<Held>()
    }

    fn push(&mut self, key: &[u8], types: &[u8], id_bytes: usize) {
        let mut head = [0; 8];
        for (byte, of_key) in head.iter_mut().zip(key.iter().skip(keyspace::PREFIX_BYTES)) {
            *byte = *of_key;
        }
        self.entries.push(Held {
            head: u64::from_be_bytes(head),
            start: self.keys.len() as u32,
            key_bytes: key.len() as u32,
            types_bytes: types.len() as u32,
            id_bytes: id_bytes as u32,
        });
        self.keys.extend_from_slice(key);
        self.keys.extend_from_slice(types);
    }

    fn sort(&mut self) {
        let keys = &self.keys;
        self.entries.sort_unstable_by(|a, b| {
            a.head.cmp(&b.head).then_with(|| slice(keys, a.key_range()).cmp(slice(keys, b.key_range())))
        });
    }

    /// Keys and types, in the order they were sorted into.
    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|held| {
            let (start, end) = held.key_range();
            (slice(&self.keys, (start, end)), slice(&self.keys, (end, end + held.types_bytes as usize)))
        })
    }

    /// The marks of the entries whose values are those of one before, in the sorted run or in the view; only the first of them
    /// unless `all` are asked for.
    fn duplicates(&self, view: &impl ReadView, all: bool) -> Result<Vec<Vec<u8>>> {
        let is_first = match self.iter().next() {
            Some((key, _)) => {
                let prefix = key.get(..keyspace::PREFIX_BYTES).unwrap_or_default();
                view.range(keyspace::prefix_bounds(prefix))?.next().is_none()
            }
            None => true,
        };
        let mut before: Option<&[u8]> = None;
        let mut duplicates = Vec::new();
        for held in &self.entries {
            let (start, end) = held.key_range();
            let values = slice(&self.keys, (start, end.saturating_sub(held.id_bytes as usize)));
            let is_duplicate = before == Some(values)
                || (!is_first && view.range(keyspace::prefix_bounds(values))?.next().is_some());
            before = Some(values);
            if is_duplicate {
                duplicates.push(keyspace::mark(slice(&self.keys, (start, end))));
                if !all {
                    break;
                }
            }
        }
        Ok(duplicates)
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.entries.clear();
    }
}

impl Held {
    fn key_range(&self) -> (usize, usize) {
        let start = self.start as usize;
        (start, start + self.key_bytes as usize)
    }
}

fn slice(bytes: &[u8], (start, end): (usize, usize)) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

fn duplicate(index: &IndexDefinition) -> QueryError {
    let message =
        format!("E11000 duplicate key error index: {}: documents that are there share a key", index.name());
    QueryError::new(ErrorCode::DUPLICATE_KEY, message)
}

const _: () = assert!(RUN_BYTES_MAX + db_index::INDEX_BYTES_PER_DOCUMENT_MAX * 2 <= u32::MAX as usize);
