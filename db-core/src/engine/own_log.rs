//! When this device's own log goes further than what is here: its store was restored from a backup, or copied.
//!
//! Whatever it signed then would fork its log. So once a peer has shown an entry of ours that is not here (with our
//! signature: nobody can make that up), nothing is signed with that key until the entry has come, the user gives it up, or
//! goes on with another key ([`super::rotation`]), which forks nothing.

use super::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::WriterKey;
use crate::log_reader::Tip;

/// The ends of logs of our own that are not here: of each log the farthest that anybody has shown.
#[derive(Debug, Clone, Default)]
pub(super) struct MissingEnds(Vec<Tip>);

impl MissingEnds {
    /// As they were stored.
    pub(super) fn restored(ends: Vec<Tip>) -> Self {
        Self(ends)
    }

    /// The end of this log that is not here.
    pub(super) fn of(&self, writer: &WriterKey) -> Option<&Tip> {
        self.0.iter().find(|end| end.writer == *writer)
    }

    fn forget(&mut self, writer: &WriterKey) {
        self.0.retain(|end| end.writer != *writer);
    }
}

impl Batch<'_, '_> {
    /// Notes the end of a log of our own as a peer has shown it. The mark outlives the process.
    pub(crate) fn note_own_head(&mut self, end: &Tip) -> Result<()> {
        // Another peer may have shown more: what that one lacks too must not stand for the whole.
        let is_known =
            self.state.missing_ends.of(&end.writer).is_some_and(|known| known.length >= end.length);
        if self.tables.number_of(&end.head)?.is_some() || is_known {
            return Ok(());
        }
        tracing::error!(
            writer = %end.writer.short(),
            head = %end.head.short(),
            "a peer holds entries of this device's own log that are not here: nothing is written until they are fetched"
        );
        self.state.missing_ends.forget(&end.writer);
        self.state.missing_ends.0.push(*end);
        self.tables.put_missing_ends(&self.state.missing_ends.0)
    }

    /// Whether this log of our own is here as far as anybody has shown.
    pub(super) fn own_log_is_whole(&mut self, writer: &WriterKey) -> Result<bool> {
        let Some(end) = self.state.missing_ends.of(writer) else { return Ok(true) };
        if self.tables.number_of(&end.head)?.is_none() {
            return Ok(false);
        }
        tracing::info!("the missing entries of this device's own log have been fetched");
        self.give_up(writer)?;
        Ok(true)
    }

    /// Goes on from what is here of this log of our own. If what is missing comes later, the log is forked.
    pub(super) fn give_up(&mut self, writer: &WriterKey) -> Result<()> {
        self.state.missing_ends.forget(writer);
        self.tables.put_missing_ends(&self.state.missing_ends.0)
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
