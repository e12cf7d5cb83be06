//! When this device's own log goes further than what is here: its store was restored from a backup, or copied.
//!
//! Whatever it signed then would fork its log. So once a peer has shown an entry of ours that is not here (with our
//! signature: nobody can make that up), nothing is signed with that key until the entry has come, the user gives it up, or
//! goes on with another key ([`super::rotation`]), which forks nothing.

use super::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{EntryHash, WriterKey};

/// The end of a log of our own that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingEnd {
    pub(super) writer: WriterKey,
    pub(super) head: EntryHash,
}

impl Batch<'_, '_> {
    /// Notes the end of a log of our own as a peer has shown it. The mark outlives the process.
    pub(crate) fn note_own_head(&mut self, writer: &WriterKey, head: &EntryHash) -> Result<()> {
        if self.tables.number_of(head)?.is_none() {
            tracing::error!(
                writer = %writer.short(),
                head = %head.short(),
                "a peer holds entries of this device's own log that are not here: nothing is written until they are fetched"
            );
            self.state.missing_end = Some(MissingEnd { writer: *writer, head: *head });
            self.tables.put_missing_end(Some((writer, head)))?;
        }
        Ok(())
    }

    /// Whether this log of our own is here as far as anybody has shown.
    pub(super) fn own_log_is_whole(&mut self, writer: &WriterKey) -> Result<bool> {
        let Some(end) = self.state.missing_end.filter(|end| end.writer == *writer) else { return Ok(true) };
        if self.tables.number_of(&end.head)?.is_none() {
            return Ok(false);
        }
        tracing::info!("the missing entries of this device's own log have been fetched");
        self.give_up_own_entries()?;
        Ok(true)
    }

    /// Goes on from what is here of our own log. If what is missing comes later, the log is forked.
    pub(super) fn give_up_own_entries(&mut self) -> Result<()> {
        self.state.missing_end = None;
        self.tables.put_missing_end(None)
    }
}

/// Why a call is refused while our own log is not whole.
pub(super) fn own_log_goes_further() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "this device has written entries that its store does not hold: it was restored from a backup or copied; connect to \
         the peers that hold them, or go on with a new key (`combdb writers rotate`)",
    )
}
