//! Receipts: what becomes of a write after the call has returned. It is durable at once, ordered soon, and confirmed when a
//! majority of the indexers has settled its place; there it holds, or is rejected.
//!
//! A receipt holds nothing but the entry's hash: what it tells is read from the order and from `system.rejected`, and so it
//! is the same after a restart.

use std::time::Duration;

use redb::ReadTransaction;

use crate::apply::read_operations;
use crate::away::away;
use crate::database::{Database, Status, no_view};
use crate::error::{Error, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::limits;
use crate::log::rejections::Rejections;
use crate::log::{LogPage, LogRange, RejectedOperation};
use crate::log_reader::LogReader;
use crate::operation::Roles;
use crate::storage::{self, LogSnapshot, OrderSnapshot};
use crate::view::settled::{self, Settled};
use crate::view::{ViewSnapshot, members};

/// MongoDB's `Unauthorized`.
pub(crate) const UNAUTHORIZED: i32 = 13;

/// How far a write has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptState {
    /// It is stored on this device and has no place in the order yet.
    Durable,
    /// It has a place in the order that a later merge may still change, and with it what became of it.
    Ordered(Outcome),
    /// Its place in the order is settled, and what became of it with it.
    Confirmed(Outcome),
}

/// What became of a write at its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All of it holds.
    Applied,
    /// Some of it holds: it has met changes of the same documents whose authors had not seen it, and both stand.
    Merged,
    /// It holds, and changes nothing: all that it asked for was settled otherwise, by concurrent changes that won. They are
    /// listed in [`Database::conflicts`].
    Superseded,
    /// These operations did not hold there, in whole or in part, and changed nothing. Where their author has no right to write
    /// none of them holds, each with the code 13 (`Unauthorized`); such an entry is not listed in [`Database::rejections`].
    Rejected(Vec<RejectedOperation>),
}

/// The result of a write with the concern `majority` that was not confirmed as rejected.
#[derive(Debug, Clone)]
pub struct Acknowledged<T> {
    /// What the write did when it was made.
    pub result: T,
    /// What to follow it by.
    pub receipt: Receipt,
    /// Whether it was confirmed before the time was over. If not, it is durable on this device and may yet be rejected.
    pub confirmed: bool,
}

/// What a write can be followed by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Receipt {
    database: Database,
    /// None if there was nothing to log: an update that met nothing.
    entry: Option<EntryHash>,
}

impl Receipt {
    pub(crate) fn new(database: Database, entry: Option<EntryHash>) -> Self {
        Self { database, entry }
    }

    /// The entry that holds the write; none if it changed nothing and so was not logged.
    pub fn entry(&self) -> Option<EntryHash> {
        self.entry
    }

    /// How far the write has come.
    ///
    /// # Errors
    /// `NotFound` if this peer does not hold the entry; if the storage fails.
    pub fn state(&self) -> Result<ReceiptState> {
        let Some(entry) = self.entry else { return Ok(ReceiptState::Confirmed(Outcome::Applied)) };
        self.state_in(&self.database.begin_read()?, entry)
    }

    fn state_in(&self, transaction: &ReadTransaction, entry: EntryHash) -> Result<ReceiptState> {
        let log = LogSnapshot::open(transaction, self.database.id())?;
        let number = log.number_of(&entry)?.ok_or_else(|| unknown(&entry))?;
        let order = OrderSnapshot::open(transaction)?;
        if order.is_unordered(number)? {
            return Ok(ReceiptState::Durable);
        }
        let view = storage::view_snapshot(transaction)?.ok_or_else(no_view)?;
        let rejected = if order.is_skipped(number)? {
            skipped(&log.payload(number)?)
        } else {
            Rejections::open(&view)?.of(&entry)?
        };
        let outcome = match settled::of(&view, &entry)? {
            _ if !rejected.is_empty() => Outcome::Rejected(rejected),
            Settled::Merged => Outcome::Merged,
            Settled::Superseded => Outcome::Superseded,
            Settled::Applied => Outcome::Applied,
        };
        let is_tail = order.is_tail(number)?;
        Ok(if is_tail { ReceiptState::Ordered(outcome) } else { ReceiptState::Confirmed(outcome) })
    }

    /// Waits until the write's place is confirmed, and tells what became of it there; `None` if `timeout` is over first.
    ///
    /// # Errors
    /// As for [`Receipt::state`]; `Unavailable` if the database is closed first; `Denied` if it is confirmed that the write's author
    /// may not write any more and the write is not: then nobody who does not have it takes it in, and it holds only if the right is
    /// given back.
    ///
    /// # Panics
    /// Outside of a tokio runtime with a clock.
    pub async fn wait_confirmed(&self, timeout: Option<Duration>) -> Result<Option<Outcome>> {
        let confirmed = self.confirmed();
        let Some(timeout) = timeout else { return confirmed.await.map(Some) };
        tokio::time::timeout(timeout, confirmed).await.map_or(Ok(None), |outcome| outcome.map(Some))
    }

    /// As [`Receipt::wait_confirmed`], in blocking code.
    ///
    /// # Errors
    /// As for [`Receipt::wait_confirmed`].
    ///
    /// # Panics
    /// Within async code.
    pub fn wait_confirmed_blocking(&self, timeout: Option<Duration>) -> Result<Option<Outcome>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let failed = |error| Error::invalid("no runtime to wait with").with_source(error);
        runtime.map_err(failed)?.block_on(self.wait_confirmed(timeout))
    }

    /// Waits until the state is another than `known`, and gives it.
    ///
    /// # Errors
    /// As for [`Receipt::wait_confirmed`].
    pub async fn changed(&self, known: &ReceiptState) -> Result<ReceiptState> {
        let mut seen = None;
        loop {
            let status = self.database.wait_for(|status| Some(Progress::of(status)) != seen).await?;
            seen = Some(Progress::of(&status));
            let receipt = self.clone();
            let state = away(move || receipt.state()).await?;
            if state != *known {
                return Ok(state);
            }
        }
    }

    async fn confirmed(&self) -> Result<Outcome> {
        // Read before the state, so that nothing that happens in between is missed.
        let mut seen = Progress::of(&self.database.status());
        loop {
            let receipt = self.clone();
            let state = away(move || receipt.state_on_its_way()).await?;
            // What has a place that it holds at waits for nothing but its confirmation, and what has none for all to be ordered.
            let is_any_news: fn(&Status) -> bool = match state {
                ReceiptState::Confirmed(outcome) => return Ok(outcome),
                ReceiptState::Ordered(outcome) if outcome.is_refused() => |_| true,
                ReceiptState::Ordered(_) => |_| false,
                ReceiptState::Durable => |status| status.unordered == 0,
            };
            let is_news = |status: &Status| {
                let now = Progress::of(status);
                now.confirmed != seen.confirmed || (now != seen && is_any_news(status))
            };
            let status = self.database.wait_for(is_news).await?;
            seen = Progress::of(&status);
        }
    }

    /// How far the write has come, for who waits until it is confirmed: fails where that does not come.
    fn state_on_its_way(&self) -> Result<ReceiptState> {
        let Some(entry) = self.entry else { return self.state() };
        let transaction = self.database.begin_read()?;
        let state = self.state_in(&transaction, entry)?;
        if let ReceiptState::Ordered(outcome) = &state
            && outcome.is_refused()
        {
            let log = LogSnapshot::open(&transaction, self.database.id())?;
            let number = log.number_of(&entry)?.ok_or_else(|| unknown(&entry))?;
            let writer = log.writer_at(number)?.ok_or_else(|| unknown(&entry))?;
            let view = storage::view_snapshot(&transaction)?.ok_or_else(no_view)?;
            if !self.may_write(&view, &writer)? && !self.may_write(&view.confirmed()?, &writer)? {
                return Err(shut_out(&writer, &entry));
            }
        }
        Ok(state)
    }

    fn may_write(&self, view: &ViewSnapshot, writer: &WriterKey) -> Result<bool> {
        Ok(members::roles(view, self.database.genesis(), writer)?.has(Roles::WRITER))
    }
}

impl Outcome {
    /// Whether it is that its author has no right to write.
    fn is_refused(&self) -> bool {
        let Self::Rejected(operations) = self else { return false };
        operations.iter().flat_map(|operation| &operation.parts).all(|(_, code)| *code == UNAUTHORIZED)
    }
}

impl Database {
    /// The receipt of a write whose entry is known, whoever wrote it: that of an earlier run, for example.
    pub fn receipt(&self, entry: EntryHash) -> Receipt {
        Receipt::new(self.clone(), Some(entry))
    }

    /// This device's own writes, under [whichever of its keys](Database::own_keys), with their places and what did not hold of
    /// them, in the shape of [`Database::log`], without acks; the last ones if `from` is none.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn receipts(&self, from: Option<u64>, limit: usize) -> Result<LogPage> {
        self.writes_of(&LogRange { from, limit, writer: None }, &self.own_keys())
    }
}

/// What an entry asks for whose author may not write at its place.
fn skipped(payload: &[u8]) -> Vec<RejectedOperation> {
    let count = read_operations(payload).map_or(1, |operations| operations.len());
    let refused = |operation| RejectedOperation { operation, count: 1, parts: vec![(0, UNAUTHORIZED)] };
    (0_u64..).take(count.min(limits::LOG_PARTS_MAX)).map(refused).collect()
}

/// What has to change of a status before a receipt can.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    confirmed: u64,
    tail: u64,
    applied: u64,
}

impl Progress {
    fn of(status: &Status) -> Self {
        Self { confirmed: status.confirmed, tail: status.tail, applied: status.applied }
    }
}

/// Who may not write any more is not heard any more: what others do not have by then stays where it is.
fn shut_out(writer: &WriterKey, entry: &EntryHash) -> Error {
    Error::denied(format!(
        "the right to write was taken away before this was confirmed: peers that do not have it take it in no more, it stays in the \
         log here, and holds only if an admin gives the right back: writer={writer} entry={entry}"
    ))
}

fn unknown(entry: &EntryHash) -> Error {
    Error::not_found(format!("this peer does not hold the entry: entry={entry}"))
}
