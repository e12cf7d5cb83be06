//! A past state from the logs: everything up to an entry of the order is applied once more, to a view of its own in memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use db_index::{ErrorCode, QueryError};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend};

use crate::apply::{Applier, Author, EntryToApply, Stop, read_operations};
use crate::database::no_view;
use crate::entry::Genesis;
use crate::error::{Error, Result};
use crate::ids::{DatabaseId, WriterKey};
use crate::limits;
use crate::storage::{self, ClocksSnapshot, LogPlace, LogSnapshot, Tables};
use crate::view::ViewSnapshot;
use crate::view::catalog::CatalogCache;
use crate::view::history::Stamp;
use crate::view::journal::ViewWriter;
use crate::view::members;

/// MongoDB's `QueryExceededMemoryLimitNoDiskUseAllowed`.
const TOO_LARGE: ErrorCode = ErrorCode(292);
/// How many bytes of the view redb may hold beside the memory that is its disk.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// The number of no entry.
const NO_ENTRY: u64 = u64::MAX;

/// What a replay reads.
pub(super) struct Replay<'a> {
    pub(super) transaction: &'a ReadTransaction,
    pub(super) database: DatabaseId,
    pub(super) genesis: &'a Genesis,
}

impl Replay<'_> {
    /// The view after the first `count` entries of the order.
    ///
    /// # Errors
    /// 292 if that takes more than [`limits::PAST_REPLAY_BYTES_MAX`]; if the storage fails.
    pub(super) fn view_after(&self, count: u64) -> Result<ViewSnapshot> {
        let memory = Bounded::default();
        let outcome = self.replay(memory.clone(), count);
        if outcome.is_err() && memory.is_full.load(Ordering::Relaxed) {
            let message = format!(
                "the state is too large to be made again from the logs in memory: read a later one; bytes_max={}",
                limits::PAST_REPLAY_BYTES_MAX
            );
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        outcome
    }

    fn replay(&self, memory: Bounded, count: u64) -> Result<ViewSnapshot> {
        let scratch = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(memory)?;
        let writing = scratch.begin_write()?;
        self.apply(&mut Tables::open(&writing)?, count)?;
        writing.commit()?;
        let view = storage::view_snapshot(&scratch.begin_read()?)?.ok_or_else(no_view)?;
        Ok(view.holding(Arc::<Database>::new(scratch)))
    }

    fn apply(&self, scratch: &mut Tables<'_>, count: u64) -> Result<()> {
        let log = LogSnapshot::open(self.transaction, self.database)?;
        let clocks = ClocksSnapshot::read(self.transaction)?;
        let mut catalog = CatalogCache::default();
        members::found(&mut ViewWriter::new(&mut scratch.view, &mut scratch.undo, NO_ENTRY), self.genesis)?;
        for number in storage::order_snapshot(self.transaction, 0, count)? {
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
                Err(Stop::Storage(error)) => return Err(error),
                Err(Stop::UpgradeNeeded(what)) => return Err(Error::data(format!("upgrade needed: {what}"))),
            }
            // Nothing is going to be undone.
            if view.take_undo()?.is_none() {
                scratch.remove_undo(number)?;
            }
        }
        Ok(())
    }
}

/// Memory as a disk, up to a bound.
#[derive(Debug, Clone, Default)]
struct Bounded {
    memory: Arc<InMemoryBackend>,
    is_full: Arc<AtomicBool>,
}

impl StorageBackend for Bounded {
    fn len(&self) -> Result<u64, io::Error> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        if len > limits::PAST_REPLAY_BYTES_MAX {
            self.is_full.store(true, Ordering::Relaxed);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.memory.write(offset, data)
    }
}
