//! What stood under keys, gathered in memory within a bound.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use db_index::{ErrorCode, QueryError};

use crate::error::Result;
use crate::limits;
use crate::storage::{self, ChangesSnapshot, OrderSnapshot};
use crate::view::keyspace;
use crate::view::overlay::Changes;

/// MongoDB's `QueryExceededMemoryLimitNoDiskUseAllowed`.
const TOO_LARGE: ErrorCode = ErrorCode(292);
/// What a changed key costs beside its bytes.
const CHANGE_BYTES: usize = 128;

/// What stands under keys in the past, if anything does.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) keys: BTreeMap<Vec<u8>, Option<Arc<[u8]>>>,
    bytes: usize,
}

impl Gathered {
    /// Takes of each key that `takes` says what stood there before the first of the kept changes from position `next` on.
    pub(super) fn read_changes(
        &mut self,
        changes: &ChangesSnapshot,
        next: u64,
        takes: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        changes.rows_from((next, 0), |_, row| {
            storage::read_changes(row, |key, before| {
                if takes(key) && !self.keys.contains_key(key) {
                    self.put(key.to_vec(), before)?;
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Takes what these entries of the tail, in their order, have overwritten of what queries read.
    pub(super) fn read_undo(&mut self, order: &OrderSnapshot, numbers: &[u64]) -> Result<()> {
        for number in numbers {
            order.undo_parts(*number, |part| {
                for (key, before) in part.changes().filter(|(key, _)| keyspace::is_queried(key)) {
                    if !self.keys.contains_key(key) {
                        self.put(key.to_vec(), before)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Says what stands under a key.
    ///
    /// # Errors
    /// 292 if all of it takes more than [`limits::PAST_BYTES_MAX`].
    pub(super) fn put(&mut self, key: Vec<u8>, value: Option<&[u8]>) -> Result<()> {
        let size = |key: &[u8], value: Option<&[u8]>| CHANGE_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        self.bytes += size(&key, value);
        if let Some(other) = self.keys.get(&key) {
            self.bytes = self.bytes.saturating_sub(size(&key, other.as_deref()));
        }
        self.keys.insert(key, value.map(Arc::from));
        if self.bytes > limits::PAST_BYTES_MAX {
            let message = format!(
                "what was changed since is too much to be held in memory: read a later state; bytes_max={}",
                limits::PAST_BYTES_MAX
            );
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        Ok(())
    }

    /// The keys of the documents that may have been others.
    pub(super) fn documents(&self) -> Vec<Vec<u8>> {
        let documents = self.keys.range::<Vec<u8>, _>(keyspace::all_documents());
        documents.map(|(key, _)| key.clone()).collect()
    }

    /// To be put on top of a view.
    pub(super) fn into_changes(self) -> Changes {
        Changes::new(self.keys)
    }
}
