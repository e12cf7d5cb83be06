//! Reading a page of the log from one snapshot, within bounds.

use std::collections::VecDeque;

use redb::ReadTransaction;

use super::rejections::Rejections;
use super::summary::summary;
use super::{LogPage, LogRange, LoggedEntry, Place, Settled};
use crate::apply::read_operations;
use crate::database::no_view;
use crate::engine::read_confirmed;
use crate::entry::Header;
use crate::error::{Error, Result};
use crate::ids::{DatabaseId, WriterKey};
use crate::limits;
use crate::linearizer::{Ballot, Standing, Voter};
use crate::storage::{self, EntryRecord, LogSnapshot, OrderSnapshot};
use crate::view::settled;

/// How many entries behind the page are read for the votes that tell its anchors.
const LOOKAHEAD_ENTRIES: usize = 256;

/// A page of the entries under these keys; where there are none, of everybody's. With or without acks.
pub(crate) fn page(
    transaction: &ReadTransaction,
    id: DatabaseId,
    range: &LogRange,
    keys: &[WriterKey],
    with_acks: bool,
) -> Result<LogPage> {
    let order = OrderSnapshot::open(transaction)?;
    let (state, snapshot) = storage::engine_state_snapshot(transaction)?.ok_or_else(no_view)?;
    let (confirmed, linearizer) = read_confirmed(&state, &snapshot)?;
    let view = storage::view_snapshot(transaction)?.ok_or_else(no_view)?;
    let log = LogSnapshot::open(transaction, id)?;

    let mut scan = Scan::new(range, keys, with_acks, &order)?;
    let first = scan.next;
    let numbers = order.numbers(first, scan.places_max.saturating_add(LOOKAHEAD_ENTRIES))?;
    let mut voters = Vec::new();
    for (at, number) in numbers.into_iter().enumerate() {
        let is_ahead = scan.is_done || at >= scan.places_max;
        if is_ahead
            && voters.len()
                >= usize::try_from(scan.next - first).unwrap_or(usize::MAX).saturating_add(LOOKAHEAD_ENTRIES)
        {
            break;
        }
        let record = log.record(number)?.ok_or_else(|| Error::data("a stored entry is missing"))?;
        voters.push(voter(&record)?);
        if !is_ahead {
            scan.take(Found { at, number, record });
        }
    }
    let ballots =
        linearizer.ballots(&voters, usize::try_from(confirmed.saturating_sub(first)).unwrap_or(usize::MAX));
    let rejections = Rejections::open(&view)?;
    let mut entries = Vec::with_capacity(scan.found.len());
    for found in scan.found {
        let at = first + found.at as u64;
        let place = if at < confirmed {
            Place::Confirmed(at)
        } else if at < order.ordered() {
            Place::Tail(at)
        } else {
            Place::Unordered
        };
        let ballot = ballots.get(found.at).copied().unwrap_or_default();
        let payload = log.payload(found.number)?;
        let mut entry = describe(found.record, place, ballot, &payload, &rejections)?;
        if place != Place::Unordered && !payload.is_empty() {
            entry.settled = settled::of(&view, &entry.hash)?;
        }
        // What is to be ordered anew has no place, whatever became of it at its last one.
        entry.skipped = place != Place::Unordered && order.is_skipped(found.number)?;
        entries.push(entry);
    }
    let stored = order.entries()?;
    Ok(LogPage {
        entries,
        next: Some(scan.next).filter(|next| *next < stored),
        confirmed,
        ordered: order.ordered(),
        stored,
        epoch: linearizer.epoch(),
        indexers: linearizer.indexers().to_vec(),
    })
}

/// An entry that was asked for.
struct Found {
    /// How many places behind the first that was looked at.
    at: usize,
    number: u64,
    record: EntryRecord,
}

/// The way through the order: what was found, and when it is enough.
struct Scan<'a> {
    range: &'a LogRange,
    /// Under which keys the entries are that are asked for; none: under any.
    keys: &'a [WriterKey],
    with_acks: bool,
    limit: usize,
    /// How many places are looked at.
    places_max: usize,
    /// The next place to look at.
    next: u64,
    found: VecDeque<Found>,
    weight: u64,
    is_done: bool,
}

impl<'a> Scan<'a> {
    fn new(
        range: &'a LogRange,
        keys: &'a [WriterKey],
        with_acks: bool,
        order: &OrderSnapshot,
    ) -> Result<Self> {
        let limit = range.limit.clamp(1, limits::LOG_PAGE_ENTRIES_MAX);
        let places_max = if keys.is_empty() { limit } else { limits::LOG_SCAN_ENTRIES_MAX };
        let last = order.entries()?.saturating_sub(places_max as u64);
        let next = range.from.unwrap_or(last);
        let (found, weight, is_done) = (VecDeque::new(), 0, false);
        Ok(Self { range, keys, with_acks, limit, places_max, next, found, weight, is_done })
    }

    /// Looks at the next entry. Of the last ones those before have to go where the first ones asked for end the page.
    fn take(&mut self, found: Found) {
        let header = &found.record.header;
        let is_theirs = self.keys.is_empty() || self.keys.contains(&header.writer);
        if is_theirs && (self.with_acks || !header.is_ack()) {
            let weight = weight(header);
            let is_last_wanted = self.range.from.is_none();
            while !self.found.is_empty()
                && (self.weight.saturating_add(weight) > limits::LOG_PAGE_BYTES_MAX
                    || self.found.len() >= self.limit)
            {
                if !is_last_wanted {
                    self.is_done = true;
                    return;
                }
                let before = self.found.pop_front();
                self.weight -= before.map_or(0, |before| self::weight(&before.record.header));
            }
            self.weight = self.weight.saturating_add(weight);
            self.found.push_back(found);
        }
        self.next += 1;
        self.is_done = self.range.from.is_some() && self.found.len() >= self.limit;
    }
}

/// What an entry adds to a page's size: 64 digits a parent are little beside what they cost to send and show.
fn weight(header: &Header) -> u64 {
    u64::from(header.payload_length) + header.parents.len() as u64 * 1_024
}

fn voter(record: &EntryRecord) -> Result<Voter> {
    Ok(Voter {
        hash: record.hash,
        writer: record.header.writer,
        seq: record.header.seq,
        wave: record.header.wave,
        standing: Standing::decode(&record.standing)?,
    })
}

fn describe(
    record: EntryRecord,
    place: Place,
    ballot: Ballot,
    payload: &[u8],
    rejections: &Rejections<'_>,
) -> Result<LoggedEntry> {
    let EntryRecord { hash, header, .. } = record;
    let (operations, unreadable) = match read_operations(payload) {
        Ok(operations) => (operations, None),
        Err(unreadable) => (Vec::new(), Some(unreadable.to_string())),
    };
    let is_rejectable = !payload.is_empty() && place != Place::Unordered;
    Ok(LoggedEntry {
        place,
        hash,
        writer: header.writer,
        seq: header.seq,
        time_ms: header.time,
        epoch: header.epoch,
        wave: header.wave,
        ballot,
        bytes: header.encode().len() as u64 + u64::from(header.payload_length),
        prev: header.prev,
        parents: header.parents,
        operations_count: operations.len() as u64,
        operations: operations.iter().take(limits::LOG_PARTS_MAX).map(summary).collect(),
        unreadable,
        skipped: false,
        rejected: if is_rejectable { rejections.of(&hash)? } else { Vec::new() },
        settled: Settled::Applied,
    })
}
