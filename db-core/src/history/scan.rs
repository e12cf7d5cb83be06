//! Walking through the order backwards, in search of what is about one document.

use bson::{Bson, RawBson, RawDocumentBuf};

use super::touch::{Effect, Touch, touch};
use super::{Change, ChangeAuthor, ChangeOutcome, HistoryCursor, HistoryPage, HistoryRange};
use crate::apply::read_operations;
use crate::database::{Database, no_view};
use crate::error::{Error, Result};
use crate::limits;
use crate::log::Place;
use crate::log::rejections::Rejections;
use crate::operation::{Operation, Step};
use crate::storage::{self, LogSnapshot, OrderSnapshot};
use crate::view::catalog::{check_name_to_read, id_of};
use crate::view::documents::id_key;
use crate::view::history::Stamp;
use crate::view::{ViewSnapshot, identities};

/// How many entries' numbers are read at once.
const CHUNK: u64 = 1_024;
/// How many characters of a path are shown.
const PATH_CHARACTERS_MAX: usize = 256;

/// One snapshot of everything that a search needs.
pub(super) struct Past {
    transaction: redb::ReadTransaction,
    order: OrderSnapshot,
    log: LogSnapshot,
    pub(super) view: ViewSnapshot,
}

/// What a search has met.
pub(super) struct Met {
    pub(super) touch: Touch,
    pub(super) operation: usize,
    pub(super) outcome: ChangeOutcome,
    pub(super) place: Place,
    pub(super) author: ChangeAuthor,
    pub(super) collection: String,
}

impl Met {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp { writer: self.author.writer, seq: self.author.seq, time: self.author.time_ms }
    }
}

/// How far a search has come.
pub(super) struct Searched {
    pub(super) scanned: u64,
    pub(super) next: Option<HistoryCursor>,
}

pub(super) fn page(database: &Database, name: &str, id: &Bson, range: &HistoryRange) -> Result<HistoryPage> {
    let past = Past::open(database, name)?;
    let limit = range.limit.clamp(1, limits::LOG_PAGE_ENTRIES_MAX);
    let mut changes = Vec::new();
    let searched = past.search(&key_of(id)?, name, range.from.as_ref(), range.scan_limit, |met| {
        let paths = match &met.touch.effect {
            Effect::Fields { fields, .. } => fields.iter().take(limits::HISTORY_PATHS_MAX),
            _ => [].iter().take(0),
        };
        changes.push(Change {
            paths: paths.map(|field| field.path.chars().take(PATH_CHARACTERS_MAX).collect()).collect(),
            place: met.place,
            operation: met.operation as u64,
            kind: met.touch.kind,
            outcome: met.outcome,
            collection: met.collection,
            author: met.author,
        });
        Ok(changes.len() < limit)
    })?;
    Ok(HistoryPage { changes, next: searched.next, scanned: searched.scanned })
}

/// The key of a document by its `_id`.
pub(super) fn key_of(id: &Bson) -> Result<Vec<u8>> {
    let wrong = || Error::invalid("no _id of a document").with_code(2);
    let id = RawBson::try_from(id.clone()).map_err(|_| wrong())?;
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("_id"), id);
    db_index::check_document(document.as_bytes()).map_err(|_| wrong())?;
    id_of(&document).map(id_key).ok_or_else(wrong)
}

impl Past {
    pub(super) fn open(database: &Database, name: &str) -> Result<Self> {
        check_name_to_read(name)?;
        let transaction = database.begin_read()?;
        Ok(Self {
            order: OrderSnapshot::open(&transaction)?,
            log: LogSnapshot::open(&transaction, database.id())?,
            view: storage::view_snapshot(&transaction)?.ok_or_else(no_view)?,
            transaction,
        })
    }

    /// Gives `take` what is about the document with this key, newest first, until it says no or enough entries were looked
    /// at. All of an entry is taken.
    pub(super) fn search(
        &self,
        key: &[u8],
        name: &str,
        from: Option<&HistoryCursor>,
        scan_limit: u64,
        mut take: impl FnMut(Met) -> Result<bool>,
    ) -> Result<Searched> {
        let rejections = Rejections::open(&self.view)?;
        let (mut before, mut name) = from.map_or_else(
            || (self.order.ordered(), name.to_owned()),
            |from| (from.before.min(self.order.ordered()), from.collection.clone()),
        );
        let scan_limit = scan_limit.clamp(1, limits::HISTORY_SCAN_ENTRIES_MAX);
        let (mut scanned, mut wants_more) = (0, true);
        while before > 0 && wants_more && scanned < scan_limit {
            let chunk = before.saturating_sub(CHUNK.min(scan_limit - scanned))..before;
            let numbers = storage::order_snapshot(&self.transaction, chunk.start, chunk.end)?;
            for number in numbers.into_iter().rev() {
                before -= 1;
                scanned += 1;
                if !self.take_entry(number, before, key, &mut name, &rejections, &mut take)? {
                    wants_more = false;
                    break;
                }
            }
            if wants_more && before != chunk.start {
                return Err(Error::data("the order has a gap"));
            }
        }
        let next = (before > 0).then_some(HistoryCursor { before, collection: name });
        Ok(Searched { scanned, next })
    }

    /// Looks at the operations of one entry, the last first; whether more is wanted.
    fn take_entry(
        &self,
        number: u64,
        place: u64,
        key: &[u8],
        name: &mut String,
        rejections: &Rejections<'_>,
        take: &mut impl FnMut(Met) -> Result<bool>,
    ) -> Result<bool> {
        let payload = self.log.payload(number)?;
        let operations = read_operations(&payload).unwrap_or_default();
        let mut wants_more = true;
        for (position, of_transaction, operation) in single(&operations).into_iter().rev() {
            let Some(touch) = touch(operation, name, key) else { continue };
            let record = self.log.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
            let outcome = if self.order.is_skipped(number)? {
                ChangeOutcome::Skipped
            } else {
                // A transaction holds as a whole or not at all.
                let part = if of_transaction { 0 } else { touch.part };
                let code = rejections.code(&record.hash, position, part)?;
                code.map_or(ChangeOutcome::Applied, ChangeOutcome::Rejected)
            };
            let collection = name.clone();
            if let Effect::Renamed(from) = &touch.effect {
                if outcome != ChangeOutcome::Applied {
                    continue; // it was not called otherwise
                }
                name.clone_from(from);
            }
            let writer = record.header.writer;
            let author = ChangeAuthor {
                writer,
                identity: identities::identity(&self.view, &writer)?,
                name: identities::name(&self.view, &writer)?,
                seq: record.header.seq,
                time_ms: record.header.time,
                entry: record.hash,
            };
            let is_tail = self.order.is_tail(number)?;
            let place = if is_tail { Place::Tail(place) } else { Place::Confirmed(place) };
            let met = Met { touch, operation: position, outcome, place, author, collection };
            wants_more &= take(met)?;
        }
        Ok(wants_more)
    }
}

/// The operations of an entry with their positions, a transaction's writes one by one, and whether they are such.
fn single(operations: &[Operation]) -> Vec<(usize, bool, &Operation)> {
    let mut single = Vec::with_capacity(operations.len());
    for (position, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Transaction { steps } => single.extend(steps.iter().filter_map(|step| match step {
                Step::Write { operation, .. } => Some((position, true, operation)),
                Step::Read(_) => None,
            })),
            operation => single.push((position, false, operation)),
        }
    }
    single
}
