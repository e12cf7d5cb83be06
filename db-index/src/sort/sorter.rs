//! Sorting in memory: everything, or only the first so many, within a bound on bytes.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bson::RawDocument;

use crate::{
    error::{ErrorCode, QueryError},
    sort::{Sort, SortKey},
};

/// The memory that a sort takes unless told otherwise: MongoDB's default.
pub const SORT_BYTES_MAX: usize = 100 * 1024 * 1024;

/// What an entry takes beside its document and its key.
const ENTRY_BYTES: usize = 64;

/// Collects items by the sort keys of their documents and gives them back in order. Equal keys keep the order in which
/// they came.
///
/// With a limit, only as many items are held as will be given back.
#[derive(Debug)]
pub struct Sorter<T> {
    sort: Sort,
    limit: usize,
    bytes_max: usize,
    bytes: usize,
    arrivals: u64,
    /// The greatest first, so that a better one can take its place.
    entries: BinaryHeap<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    key: SortKey,
    arrival: u64,
    bytes: usize,
    item: T,
}

impl<T> Sorter<T> {
    /// A sorter by `sort` that gives back the first `limit` items (all without one) and holds at most `bytes_max` bytes.
    pub fn new(sort: Sort, limit: Option<usize>, bytes_max: usize) -> Self {
        Self {
            sort,
            limit: limit.unwrap_or(usize::MAX),
            bytes_max,
            bytes: 0,
            arrivals: 0,
            entries: BinaryHeap::new(),
        }
    }

    /// Takes a document; `item` is called only if it may be among the first.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimit` (292) beyond the bound, `BadValue` (2) for a document that cannot be sorted (see
    /// [`Sort::key`]).
    pub fn push(&mut self, document: &RawDocument, item: impl FnOnce() -> T) -> Result<(), QueryError> {
        let key = self.sort.key(document)?;
        self.arrivals += 1;
        if self.entries.len() >= self.limit {
            match self.entries.peek() {
                // One that came earlier goes before an equal.
                Some(greatest) if key < greatest.key => {}
                _ => return Ok(()),
            }
            if let Some(greatest) = self.entries.pop() {
                self.bytes -= greatest.bytes;
            }
        }
        let bytes = document.as_bytes().len() + key.as_bytes().len() + ENTRY_BYTES;
        self.bytes += bytes;
        if self.bytes > self.bytes_max {
            return Err(QueryError::new(
                ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT,
                format!(
                    "sort exceeded the memory limit of {} bytes; create an index that serves the sort, or ask for fewer documents",
                    self.bytes_max
                ),
            ));
        }
        self.entries.push(Entry { key, arrival: self.arrivals, bytes, item: item() });
        Ok(())
    }

    /// The items in order.
    pub fn into_sorted(self) -> impl Iterator<Item = T> {
        self.entries.into_sorted_vec().into_iter().map(|entry| entry.item)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(self.arrival.cmp(&other.arrival))
    }
}
