//! What is near, nearest first: the filter is asked ring by ring, and the documents of a ring are sorted.

use std::collections::VecDeque;

use bson::RawDocumentBuf;
use db_index::{ErrorCode, Filter, NearRings, QueryError, SORT_BYTES_MAX};

use crate::error::Result;

/// A find that comes in the order of distances.
pub(super) struct Nearest {
    rings: NearRings,
    /// The documents of the ring being read, with their distances.
    ring: Vec<(f64, RawDocumentBuf)>,
    bytes: usize,
    /// Those of the ring before that have not been given yet.
    ready: VecDeque<RawDocumentBuf>,
}

impl Nearest {
    /// The rings of a filter; none if it does not ask for what is near.
    pub(super) fn new(filter: &Filter) -> Option<Self> {
        let rings = NearRings::new(filter)?;
        Some(Self { rings, ring: Vec::new(), bytes: 0, ready: VecDeque::new() })
    }

    /// The next document of the rings read so far.
    pub(super) fn pop(&mut self) -> Option<RawDocumentBuf> {
        self.ready.pop_front()
    }

    /// Takes a document of the ring that `filter` is about.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimit` (292) if a ring holds too much to sort.
    pub(super) fn push(&mut self, filter: &Filter, document: RawDocumentBuf) -> Result<()> {
        self.bytes += document.as_bytes().len() + size_of::<(f64, RawDocumentBuf)>();
        if self.bytes > SORT_BYTES_MAX {
            let message =
                format!("too many documents at one distance to sort them within {SORT_BYTES_MAX} bytes");
            return Err(QueryError::new(ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT, message).into());
        }
        let distance = filter.nearness().and_then(|near| near.distance(&document));
        self.ring.push((distance.unwrap_or(f64::INFINITY), document));
        Ok(())
    }

    /// Ends the ring and gives the filter of the next one; none after the last.
    pub(super) fn next_ring(&mut self) -> Option<Filter> {
        let found = self.ring.len();
        self.ring.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.ready.extend(self.ring.drain(..).map(|(_, document)| document));
        self.bytes = 0;
        self.rings.next_ring(found)
    }
}
