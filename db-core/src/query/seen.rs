//! The `_id`s that a query has given, where a document may turn up twice.

use std::collections::BTreeSet;

use db_index::{ErrorCode, QueryError};

use crate::error::Result;

/// The memory that they may take together: MongoDB's bound on a stage of a query.
const BYTES_MAX: usize = 100 * 1024 * 1024;
/// What one takes beside its bytes.
const ENTRY_BYTES: usize = 64;

/// Keys of `_id`s, within a bound.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Seen {
    pub(super) fn contains(&self, id_key: &[u8]) -> bool {
        self.ids.contains(id_key)
    }

    /// Adds one; false if it was there.
    ///
    /// # Errors
    /// `QueryExceededMemoryLimit` (292) beyond the bound.
    pub(super) fn insert(&mut self, id_key: &[u8]) -> Result<bool> {
        self.insert_within(id_key, BYTES_MAX)
    }

    fn insert_within(&mut self, id_key: &[u8], bytes_max: usize) -> Result<bool> {
        if self.ids.contains(id_key) {
            return Ok(false);
        }
        self.bytes += id_key.len() + ENTRY_BYTES;
        if self.bytes > bytes_max {
            return Err(QueryError::new(
                ErrorCode::QUERY_EXCEEDED_MEMORY_LIMIT,
                "the query finds too many documents through several index entries or alternatives: memory limit exceeded",
            )
            .into());
        }
        self.ids.insert(id_key.to_vec());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.insert_within(&[1; 36], 200).unwrap());
        assert!(!seen.insert_within(&[1; 36], 200).unwrap());
        assert!(seen.insert_within(&[2; 36], 200).unwrap());
        assert_eq!(seen.insert_within(&[3; 36], 200).unwrap_err().code(), Some(292));
    }
}
