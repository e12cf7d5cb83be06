//! Confirmed events: what each confirmed entry has changed, in the confirmed order, each exactly once.
//!
//! They are made of the kept changes, some at a time; between two times the source holds no snapshot, only its place. The
//! confirmed order is the same on all peers, and so are the events and their tokens.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use bson::RawDocumentBuf;

use super::event::{EventMaker, Showing, Source};
use super::history::{After, Record, Rows};
use super::target::Target;
use super::token::{Place, ResumeToken, refused};
use crate::database::{Database, no_view};
use crate::driver::feed::HISTORY_LOST;
use crate::engine::read_base;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{self, ChangesSnapshot, LogSnapshot};
use crate::view::{ViewSnapshot, catalog, keyspace};

/// How many bytes of events are made at once.
const EVENT_BYTES: usize = 256 * 1024;

/// Where a stream begins.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// With what is confirmed from now on.
    Now,
    /// With the entry at this position of the confirmed order.
    At(u64),
    /// After this event.
    After(ResumeToken),
}

/// Where confirmed events come from.
pub(super) struct MajoritySource {
    database: Database,
    target: Target,
    showing: Showing,
    /// The names of all collections as they were before the next entry; none until they are looked up.
    names: Option<BTreeMap<u32, String>>,
    next: Next,
    /// How many events of the next entry were told of before.
    skip: u32,
    /// The place after the last event that was made, if there is one.
    place: Option<Place>,
    events: VecDeque<(RawDocumentBuf, Place)>,
    is_over: bool,
}

/// The next change to look at.
#[derive(Debug, Clone, Copy)]
struct Next {
    position: u64,
    part: u32,
    /// How many changes of the part come before it.
    record: usize,
    /// How many events of the entry come before it.
    events: u32,
}

impl Next {
    fn at(position: u64) -> Self {
        Self { position, part: 0, record: 0, events: 0 }
    }
}

/// What is read with: one snapshot.
struct Reading {
    transaction: redb::ReadTransaction,
    changes: ChangesSnapshot,
    log: LogSnapshot,
    /// What is confirmed.
    view: ViewSnapshot,
}

impl MajoritySource {
    pub(super) fn begin(
        database: &Database,
        target: Target,
        showing: Showing,
        start: &Start,
    ) -> Result<Self> {
        let (mut place, mut skip) = (None, 0);
        let position = match start {
            Start::Now => {
                let stored = storage::engine_state_snapshot(&database.begin_read()?)?;
                read_base(&stored.ok_or_else(no_view)?.0)?
            }
            Start::At(position) => *position,
            Start::After(token) => {
                let after = Place::read(token, &database.id(), target.tag())?;
                place = Some(after);
                skip = after.events.unwrap_or(0);
                if after.events.is_none() { after.position.saturating_add(1) } else { after.position }
            }
        };
        let mut source = Self {
            database: database.clone(),
            target,
            showing,
            names: None,
            next: Next::at(position),
            skip,
            place,
            events: VecDeque::new(),
            is_over: false,
        };
        source.fill()?; // what is wrong with the start is said at once
        Ok(source)
    }

    /// The next event, if there is one now.
    pub(super) fn next(&mut self) -> Result<Option<RawDocumentBuf>> {
        if self.events.is_empty() && !self.is_over {
            self.fill()?;
        }
        Ok(self.events.pop_front().map(|(event, _)| event))
    }

    /// Whether the stream has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.events.is_empty()
    }

    /// Where to resume when all events that were made are told of; none as long as some are not.
    pub(super) fn resume_token(&self) -> Option<ResumeToken> {
        let place = self.place.filter(|_| self.events.is_empty())?;
        Some(place.token(&self.database.id(), self.target.tag()))
    }

    /// Makes the next events, if there are any.
    fn fill(&mut self) -> Result<()> {
        let confirmed = self.database.status().confirmed;
        let transaction = self.database.begin_read()?;
        let reading = Reading {
            changes: ChangesSnapshot::open(&transaction)?,
            log: LogSnapshot::open(&transaction, self.database.id())?,
            view: storage::view_snapshot(&transaction)?.ok_or_else(no_view)?.confirmed()?,
            transaction,
        };
        if let Some(place) = self.place {
            let source = if place.position < confirmed { reading.source(place.position)? } else { None };
            let Some(source) = source else { return Ok(()) }; // this peer is not that far yet
            if !place.is_of(&source.entry) {
                return Err(self.broken());
            }
        }
        if self.next.position < reading.changes.kept().front {
            return Err(lost(self.next.position, reading.changes.kept().front));
        }
        loop {
            let rows = Rows::read(&reading.changes, (self.next.position, self.next.part))?;
            if rows.records.is_empty() {
                return self.catch_up(&reading, confirmed);
            }
            self.make(&reading, &rows)?;
            if !self.events.is_empty() || self.is_over {
                return Ok(());
            }
        }
    }

    /// There is nothing to tell of up to what is confirmed.
    fn catch_up(&mut self, reading: &Reading, confirmed: u64) -> Result<()> {
        if self.next.position < confirmed {
            self.next = Next::at(confirmed);
            self.skip = 0;
        }
        let last =
            confirmed.checked_sub(1).filter(|last| self.place.is_none_or(|place| place.position < *last));
        if let Some(last) = last.filter(|last| *last < self.next.position)
            && let Some(source) = reading.source(last)?
        {
            self.place = Some(Place::new(last, None, &source.entry));
        }
        Ok(())
    }

    /// Makes events of these changes, of which the first are those of the row that comes next.
    fn make(&mut self, reading: &Reading, rows: &Rows) -> Result<()> {
        let (mut bytes, mut source) = (0, None);
        let mut records = rows.records.iter().enumerate().skip(self.next.record).peekable();
        while let Some((at, record)) = records.next() {
            let (position, part) = record.row;
            if position != self.next.position || source.is_none() {
                if position != self.next.position {
                    (self.next, self.skip) = (Next::at(position), 0);
                }
                let found = reading.source(position)?;
                let found = found.ok_or_else(|| Error::data("an entry of the confirmed order is missing"))?;
                source = Some(found);
                if self.next.record == 0 && self.next.part == 0 && self.next.events == 0 {
                    self.begin_entry(reading, position, source.as_ref())?;
                    if self.is_over {
                        return Ok(());
                    }
                }
            }
            if self.next.part != part {
                (self.next.part, self.next.record) = (part, 0);
            }
            self.next.record += 1;
            let is_last = records.peek().map_or(rows.ends_entry, |(_, next)| next.row.0 != position);
            if let Some(source) = &source {
                bytes += self.make_one(reading, rows, (at, record), source, is_last)?;
            }
            if bytes >= EVENT_BYTES {
                break;
            }
        }
        if records.peek().is_none() {
            let (position, part) = rows.last;
            if rows.ends_entry {
                (self.next, self.skip) = (Next::at(position.saturating_add(1)), 0);
            } else {
                self.next = Next { part: part.saturating_add(1), record: 0, ..self.next };
            }
        }
        Ok(())
    }

    /// The event of one change, if it is to be told of; gives how many bytes it has.
    fn make_one(
        &mut self,
        reading: &Reading,
        rows: &Rows,
        (at, record): (usize, &Record),
        source: &Source,
        is_last: bool,
    ) -> Result<usize> {
        let Some((id, _)) = keyspace::split_document(&record.key) else { return Ok(0) };
        // One of a collection that the entry has dropped is no event of its own.
        let name = self.names.as_ref().and_then(|names| names.get(&id));
        let Some(name) = name.filter(|name| self.target.includes(name)).cloned() else { return Ok(0) };
        let after = match rows.after(at) {
            After::Within(other) => rows.records.get(other).and_then(|next| next.before.clone()),
            After::Row(row) => super::history::before_in(&reading.changes, row, &record.key)?,
            After::Confirmed => reading.view.value(&record.key)?.map(|stored| stored.value().to_vec()),
        };
        if record.before == after {
            return Ok(0);
        }
        let events = self.next.events.saturating_add(1);
        let place = Place::new(record.row.0, Some(events).filter(|_| !is_last), &source.entry);
        self.push(source, place, |maker, token| {
            maker.document(token, &name, record.before.as_deref(), after.as_deref())
        })
    }

    /// What an entry has made of the collections: their names from then on, and events of those that it dropped or renamed.
    fn begin_entry(&mut self, reading: &Reading, position: u64, source: Option<&Source>) -> Result<()> {
        let changed = reading.changed_collections(position)?;
        if self.names.is_none() {
            self.names = Some(reading.names_at(position)?);
        }
        let (mut gone, mut come) = (BTreeMap::new(), BTreeMap::new());
        for (name, before, after) in changed {
            if before != after {
                gone.extend(before.map(|id| (id, name.clone())));
                come.extend(after.map(|id| (id, name)));
            }
        }
        let names = self.names.get_or_insert_default();
        names.retain(|id, _| !gone.contains_key(id));
        names.extend(come.iter().map(|(id, name)| (*id, name.clone())));
        let Some(source) = source else { return Ok(()) };
        // What is dropped makes room for what is given its name.
        let (renamed, dropped): (Vec<_>, Vec<_>) = gone.iter().partition(|(id, _)| come.contains_key(*id));
        for (id, from) in dropped.into_iter().chain(renamed) {
            let to = come.get(id).cloned();
            let concerns =
                self.target.includes(from) || to.as_ref().is_some_and(|to| self.target.includes(to));
            if !concerns {
                continue;
            }
            self.push_counted(source, position, |maker, token| {
                Ok(Some(match &to {
                    Some(to) => maker.renamed(token, from, to),
                    None => maker.dropped(token, from),
                }))
            })?;
            if self.target == Target::Collection(from.clone()) {
                let was_told = self.skip > self.next.events;
                self.push_counted(source, position, |maker, token| Ok(Some(maker.invalidated(token))))?;
                if !was_told {
                    self.is_over = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn push_counted(
        &mut self,
        source: &Source,
        position: u64,
        make: impl FnOnce(&EventMaker<'_>, &ResumeToken) -> Result<Option<RawDocumentBuf>>,
    ) -> Result<()> {
        let place = Place::new(position, Some(self.next.events.saturating_add(1)), &source.entry);
        self.push(source, place, make).map(|_| ())
    }

    /// Adds an event, unless it was told of before; gives how many bytes it has.
    fn push(
        &mut self,
        source: &Source,
        place: Place,
        make: impl FnOnce(&EventMaker<'_>, &ResumeToken) -> Result<Option<RawDocumentBuf>>,
    ) -> Result<usize> {
        self.next.events = self.next.events.saturating_add(1);
        if self.next.events <= self.skip {
            return Ok(0);
        }
        let name = self.database.name().to_owned();
        let maker = EventMaker { database: &name, showing: self.showing, source: Some(source) };
        let token = place.token(&self.database.id(), self.target.tag());
        let Some(event) = make(&maker, &token)? else { return Ok(0) };
        let bytes = event.as_bytes().len();
        self.events.push_back((event, place));
        self.place = Some(place);
        Ok(bytes)
    }

    /// What was confirmed is not what it was, or never was what the token says.
    fn broken(&self) -> Error {
        if self.database.status().forked.is_empty() {
            return refused(
                "the resume token names an entry that does not stand there in the confirmed order",
            );
        }
        let message =
            "an indexer has signed two entries with one seq and broken the confirmed order: watch anew";
        Error::new(ErrorKind::Data, message).with_code(280)
    }
}

/// The name of a collection, and the number under it before and after an entry.
type ChangedCollection = (String, Option<u32>, Option<u32>);

impl Reading {
    /// The entry at this position of the order, if there is one.
    fn source(&self, position: u64) -> Result<Option<Source>> {
        let numbers = storage::order_snapshot(&self.transaction, position, position.saturating_add(1))?;
        let Some(number) = numbers.first() else { return Ok(None) };
        let record = self.log.record(*number)?;
        Ok(record.map(|record| Source { entry: record.hash, time: record.header.time }))
    }

    /// The collections whose records the entry at this position has changed: their names, and their numbers before and
    /// after.
    fn changed_collections(&self, position: u64) -> Result<Vec<ChangedCollection>> {
        let mut befores: BTreeMap<String, Option<u32>> = BTreeMap::new();
        self.changes.rows_from((position, 0), |(at, _), row| {
            let mut is_done = at != position;
            if !is_done {
                storage::read_changes(row, |key, before| {
                    // They stand first, since the changes ascend by key.
                    let Some(name) = keyspace::split_collection(key).filter(|_| !is_done) else {
                        is_done = true;
                        return Ok(());
                    };
                    befores.insert(name.to_owned(), before.map(catalog::collection_id).transpose()?);
                    Ok(())
                })?;
            }
            Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if befores.is_empty() {
            return Ok(Vec::new());
        }
        let after = self.names_at(position.saturating_add(1))?;
        let id_of = |name: &str| after.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
        Ok(befores.into_iter().map(|(name, before)| (name.clone(), before, id_of(&name))).collect())
    }

    /// The names of all collections before the entry at this position.
    fn names_at(&self, position: u64) -> Result<BTreeMap<u32, String>> {
        let mut ids: BTreeMap<String, Option<u32>> = BTreeMap::new();
        self.changes.rows_from((position, 0), |_, row| {
            storage::read_changes(row, |key, before| {
                if let Some(name) = keyspace::split_collection(key)
                    && !ids.contains_key(name)
                {
                    ids.insert(name.to_owned(), before.map(catalog::collection_id).transpose()?);
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        for (name, id) in catalog::collection_ids(&self.view)? {
            ids.entry(name).or_insert(Some(id));
        }
        Ok(ids.into_iter().filter_map(|(name, id)| Some((id?, name))).collect())
    }
}

fn lost(position: u64, front: u64) -> Error {
    let message = format!(
        "the changes from this place of the confirmed order on are not kept any more: read what there is and watch from \
         now on, or keep more of them; position={position} kept_from={front}"
    );
    Error::new(ErrorKind::Unavailable, message).with_code(HISTORY_LOST)
}
