//! A past state from the logs: everything up to an entry of the order is applied once more, to a view of its own.

use redb::{ReadTransaction, ReadableDatabase};

use super::scratch::Scratch;
use crate::apply::{Applier, Author, EntryToApply, Stop as CannotApply, read_operations};
use crate::database::no_view;
use crate::entry::Genesis;
use crate::error::{Error, Result};
use crate::ids::{DatabaseId, WriterKey};
use crate::limits;
use crate::query::stop::{Stop, over};
use crate::storage::{self, ClocksSnapshot, LogPlace, LogSnapshot, Tables};
use crate::view::ViewSnapshot;
use crate::view::catalog::CatalogCache;
use crate::view::history::Stamp;
use crate::view::journal::ViewWriter;
use crate::view::members;

/// The number of no entry.
const NO_ENTRY: u64 = u64::MAX;

/// What a replay reads.
pub(crate) struct Source<'a> {
    pub(crate) transaction: &'a ReadTransaction,
    pub(crate) database: DatabaseId,
    pub(crate) genesis: &'a Genesis,
}

/// A view that is made from the logs.
pub(super) struct Replay {
    scratch: Scratch,
    /// How many entries of the order have been applied.
    count: u64,
    /// Over their numbers, in their order.
    order: blake3::Hasher,
}

impl Replay {
    /// The view before any entry.
    pub(super) fn new(scratch: Scratch, genesis: &Genesis) -> Result<Self> {
        let writing = scratch.file().begin_write()?;
        {
            let mut tables = Tables::open(&writing)?;
            members::found(&mut ViewWriter::new(&mut tables.view, &mut tables.undo, NO_ENTRY), genesis)?;
        }
        writing.commit()?;
        Ok(Self { scratch, count: 0, order: blake3::Hasher::new() })
    }

    /// How many entries of the order have been applied.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the order still begins with those entries: an indexer's fork may break what was confirmed.
    pub(super) fn is_of(&self, source: &Source<'_>) -> Result<bool> {
        let mut order = blake3::Hasher::new();
        let mut from = 0;
        while from < self.count {
            let to = self.count.min(from + limits::PAST_REPLAY_CHUNK);
            let numbers = storage::order_snapshot(source.transaction, from, to)?;
            add(&mut order, &numbers);
            from = to;
        }
        Ok(order.finalize() == self.order.finalize())
    }

    /// How much room there is for the view, if it needs more.
    pub(super) fn exceeded(&self) -> Option<u64> {
        self.scratch.exceeded()
    }

    /// The view as far as it is made. It stays as it is, whatever is applied later.
    pub(super) fn view(&self) -> Result<ViewSnapshot> {
        let file = self.scratch.file();
        let view = storage::view_snapshot(&file.begin_read()?)?.ok_or_else(no_view)?;
        Ok(view.holding(file.clone()))
    }

    /// Goes on to the view after the first `count` entries of the order. If it ends before, what was applied until then stays.
    ///
    /// # Errors
    /// 50 if it is to stop; if the storage fails.
    pub(super) fn go_on(&mut self, source: &Source<'_>, count: u64, stop: &mut Stop) -> Result<()> {
        while self.count < count {
            let next = count.min(self.count + limits::PAST_REPLAY_CHUNK);
            let writing = self.scratch.file().begin_write()?;
            let applied = {
                let mut tables = Tables::open(&writing)?;
                source.apply(&mut tables, (self.count, next), stop)?
            };
            writing.commit()?;
            add(&mut self.order, &applied);
            self.count += applied.len() as u64;
            if self.count < next {
                return Err(over());
            }
        }
        Ok(())
    }
}

fn add(order: &mut blake3::Hasher, numbers: &[u64]) {
    for number in numbers {
        order.update(&number.to_le_bytes());
    }
}

impl Source<'_> {
    /// Applies the entries of the order from one place to another, or until it is to stop; the numbers of those.
    fn apply(&self, scratch: &mut Tables<'_>, (from, to): (u64, u64), stop: &mut Stop) -> Result<Vec<u64>> {
        let log = LogSnapshot::open(self.transaction, self.database)?;
        let clocks = ClocksSnapshot::read(self.transaction)?;
        let mut catalog = CatalogCache::default();
        let mut applied = Vec::new();
        for number in storage::order_snapshot(self.transaction, from, to)? {
            if stop.step().is_err() {
                break;
            }
            let record = log.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
            let header = &record.header;
            let place = LogPlace { writer: header.writer, seq: header.seq, number };
            let known = |writer: &WriterKey| clocks.known(&place, writer);
            let stamp = Stamp { writer: header.writer, seq: header.seq, time: header.time };
            let entry = EntryToApply {
                hash: record.hash,
                writer: header.writer,
                seq: header.seq,
                time: header.time,
                operations: read_operations(&log.payload(number)?),
            };
            let mut applier = Applier {
                database: &self.database,
                genesis: self.genesis,
                catalog: &mut catalog,
                author: Author::of_entry(stamp, &known),
                observer: &(),
                skipped: false,
            };
            let mut view = ViewWriter::new(&mut scratch.view, &mut scratch.undo, number);
            match applier.apply_entry(&mut view, &entry) {
                Ok(()) => {}
                Err(CannotApply::Storage(error)) => return Err(error),
                Err(CannotApply::UpgradeNeeded(what)) => {
                    return Err(Error::data(format!("upgrade needed: {what}")));
                }
            }
            // Nothing is going to be undone.
            if view.take_undo()?.is_none() {
                scratch.remove_undo(number)?;
            }
            applied.push(number);
        }
        Ok(applied)
    }
}
