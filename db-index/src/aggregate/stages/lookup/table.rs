//! The other collection of a `$lookup` as a table by the values of a field: read once, where no index finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::RawDocumentBuf;

use crate::aggregate::join::{self, Values};
use crate::aggregate::outside::Rows;
use crate::collation::Collation;
use crate::error::QueryError;
use crate::path::{Leaf, Path, walk_document};

/// The most bytes that a table may take; a larger collection is searched for each document.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a document and a place in the table take beside their bytes.
const ENTRY_BYTES: usize = 64;

/// Documents by the values that a path reaches in them.
#[derive(Debug)]
pub(super) struct Table {
    documents: Vec<RawDocumentBuf>,
    /// The places of the documents that have a value, by its key.
    places: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl Table {
    /// Reads `rows`; none if they are too much for a table.
    ///
    /// # Errors
    /// Those of the rows; `Overflow` (15) for a path that is too long.
    pub(super) fn read<E: From<QueryError>>(
        rows: Rows<E>,
        path: &str,
        collation: Option<&Collation>,
    ) -> Result<Option<Self>, E> {
        let path = Path::parse(path)?;
        let (mut table, mut bytes) = (Self { documents: Vec::new(), places: BTreeMap::new() }, 0);
        for row in rows {
            let document = row?;
            let place = table.documents.len();
            // The candidates are those that a filter on the path would test.
            let _ = walk_document(&document, path.parts(), Leaf::Opened, &mut |candidate| {
                let key = join::key(candidate.value.unwrap_or(RawBsonRef::Null), collation);
                bytes += key.len() + ENTRY_BYTES;
                let places = table.places.entry(key).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
                ControlFlow::Continue(())
            });
            bytes += document.as_bytes().len() + ENTRY_BYTES;
            table.documents.push(document);
            if bytes > TABLE_BYTES_MAX {
                return Ok(None);
            }
        }
        Ok(Some(table))
    }

    /// The documents that have one of `values`, in the order in which they were read.
    pub(super) fn rows<E: Send + 'static>(self: &Arc<Self>, values: &Values) -> Rows<E> {
        let known = |(key, value): (&Vec<u8>, &bson::RawBson)| {
            // Nothing equals undefined, as in a filter.
            let is_undefined = matches!(value, bson::RawBson::Undefined);
            self.places.get(key).filter(|_| !is_undefined)
        };
        let places: BTreeSet<usize> = values.iter().filter_map(known).flatten().copied().collect();
        let (table, mut places) = (Arc::clone(self), places.into_iter());
        Box::new(std::iter::from_fn(move || table.documents.get(places.next()?).cloned().map(Ok)))
    }
}
