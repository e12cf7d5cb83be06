//! What the engine keeps in memory between transactions, and how it is kept on the disk.
//!
//! Layout of the kept state: next number (u64), base (u64), how many entries were confirmed when the linearizer's snapshot was
//! taken (u64), forked writers, and those of them that were indexers (u32 and 32 bytes each). That snapshot stands beside it, the
//! order in the table `order`, and sets of entries in tables of their own. A commit writes of all that what has changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::backlog::Backlog;
use super::changes::Watching;
use super::confirming::Confirming;
use super::gaps::GapChanges;
use super::held_back::HeldBack;
use super::kept_set::KeptSet;
use super::keys::OwnKeys;
use super::meanwhile::{Meanwhile, SeenPast};
use super::own_log::MissingEnds;
use super::rebuilding::Rebuilds;
use super::stored_past::StoredPast;
use super::tail_reader::TailReader;
use crate::apply::EntryToApply;
use crate::bytes::{Put, Reader};
use crate::engine::EngineStatus;
use crate::entry::Genesis;
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::linearizer::{EntryNumber, Linearizer, NumberSet, Past};
use crate::storage::Tables;
use crate::view::catalog::CatalogCache;
use crate::view::gaps::Gaps;
use crate::view::undo::Undo;

/// The engine's memory.
pub(crate) struct State {
    pub(crate) linearizer: Linearizer,
    /// The number that the next entry gets.
    pub(super) next_number: u64,
    /// How many entries are confirmed and applied: the position of the first entry of `applied`.
    pub(super) base: u64,
    /// The tail as it is applied to the view.
    pub(super) applied: VecDeque<EntryNumber>,
    /// What is confirmed and not at its place yet.
    pub(super) confirming: Confirming,
    /// Entries that no other entry names as its parent.
    pub(super) heads: KeptSet,
    /// The heads of what is applied, while more is stored and nothing of what readers see is undone. None if all is applied, or
    /// if these heads are not known.
    pub(super) applied_heads: Option<NumberSet>,
    /// Whether the view is as it was last committed, and holds just what readers have been shown.
    pub(super) is_as_shown: bool,
    /// What readers see, if the view has left that in this transaction, or in an earlier one.
    pub(super) left: Option<SeenPast>,
    /// See above.
    pub(super) meanwhile: Option<Meanwhile>,
    /// Entries that are stored and neither below `base` nor in `applied`.
    pub(super) unordered: KeptSet,
    /// Whether the applied tail may differ from the linearizer's.
    pub(super) is_unsettled: bool,
    /// Of the entries whose parts the linearizer has not finished, those that change members.
    pub(super) membership: KeptSet,
    pub(super) forked: BTreeSet<WriterKey>,
    /// Those of them that were indexers when that was found.
    pub(super) alarms: BTreeSet<WriterKey>,
    /// This device's secrets.
    pub(super) keys: OwnKeys,
    /// Whose entries are not taken in.
    pub(super) held_back: HeldBack,
    /// Undo records of this transaction, by entry number; written at its end if they are still needed, and before if they
    /// grow too large together.
    pub(super) fresh_undo: BTreeMap<u64, Undo>,
    pub(super) fresh_undo_bytes: usize,
    /// Of the applied tail, the entries of which it is not yet noted key by key what they overwrote, with their positions.
    pub(super) unlisted: BTreeMap<u64, u64>,
    /// Entries that were taken in by this transaction, as they were read to be checked.
    pub(super) at_hand: AtHand,
    /// Whether ordering what is stored has been interrupted, so that the applied tail is neither the old nor the new.
    pub(super) is_settling: bool,
    /// What this transaction has to say of where nothing is confirmed.
    pub(super) gaps: GapChanges,
    /// What those who watch are told of.
    pub(super) watching: Watching,
    /// Catalog records as the view holds them.
    pub(super) catalog: CatalogCache,
    /// The ends of logs of our own that peers have shown to be beyond what is here: nothing is signed there until they have come.
    pub(super) missing_ends: MissingEnds,
    /// The run being appended.
    pub(super) open_run: Option<OpenRun>,
    pub(super) applied_count: u64,
    pub(super) undone_count: u64,
    pub(super) rebuilds: Rebuilds,
    /// What ordering would have cost at the end of the last transaction.
    backlog: Backlog,
    /// The linearizer's snapshot as the disk has it, and how many entries were confirmed when it was taken.
    stored_snapshot: Vec<u8>,
    stored_snapshot_at: u64,
    /// The heads of what is applied as the disk has them.
    stored_heads: Option<NumberSet>,
    /// How many entries were confirmed, and how many applied beyond them, when the database was opened.
    stored_before: u64,
    applied_before: u64,
}

/// Entries as they were read, of which some may be applied soon.
#[derive(Default)]
pub(super) struct AtHand {
    /// By number, with how many bytes their payloads have.
    pub(super) entries: BTreeMap<u64, (EntryToApply, usize)>,
    /// How many bytes their operations have taken, unpacked.
    pub(super) plain_bytes: usize,
}

/// Own entries that are not signed yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenRun {
    /// The number of its first entry.
    pub(super) first: u64,
    /// Whose log it is in.
    pub(super) writer: WriterKey,
    /// How many bytes it takes to send.
    pub(super) bytes: usize,
}

impl State {
    pub(super) fn new(genesis: &Genesis, keys: OwnKeys) -> Self {
        Self::with(Linearizer::new(vec![genesis.founder]), keys)
    }

    fn with(linearizer: Linearizer, keys: OwnKeys) -> Self {
        Self {
            keys,
            alarms: BTreeSet::new(),
            held_back: HeldBack::default(),
            linearizer,
            next_number: 0,
            base: 0,
            applied: VecDeque::new(),
            confirming: Confirming::default(),
            heads: KeptSet::default(),
            applied_heads: None,
            is_as_shown: false,
            left: None,
            meanwhile: None,
            unordered: KeptSet::default(),
            is_unsettled: true,
            membership: KeptSet::default(),
            forked: BTreeSet::new(),
            fresh_undo: BTreeMap::new(),
            fresh_undo_bytes: 0,
            unlisted: BTreeMap::new(),
            at_hand: AtHand::default(),
            is_settling: false,
            gaps: GapChanges::default(),
            watching: Watching::default(),
            catalog: CatalogCache::default(),
            missing_ends: MissingEnds::default(),
            open_run: None,
            applied_count: 0,
            undone_count: 0,
            rebuilds: Rebuilds::default(),
            backlog: Backlog::default(),
            stored_snapshot: Vec::new(),
            stored_snapshot_at: 0,
            stored_heads: None,
            stored_before: 0,
            applied_before: 0,
        }
    }

    /// Forgets everything but what the logs hold, to build order and view anew.
    pub(super) fn reset_order(&mut self, genesis: &Genesis) {
        let new = Self::new(genesis, self.keys.clone());
        let kept = std::mem::replace(self, new);
        (self.alarms, self.held_back) = (kept.alarms, kept.held_back);
        self.next_number = kept.next_number;
        self.heads = kept.heads;
        self.forked = kept.forked;
        self.unordered = kept.unordered;
        self.unordered.clear();
        self.membership = kept.membership;
        self.membership.clear();
        (self.stored_snapshot, self.stored_snapshot_at) = (kept.stored_snapshot, kept.stored_snapshot_at);
        self.stored_heads = kept.stored_heads;
        (self.stored_before, self.applied_before) = (kept.stored_before, kept.applied_before);
        self.gaps.known = Some(Gaps::default());
        self.watching = kept.watching.rebuilt();
        self.open_run = kept.open_run;
        self.missing_ends = kept.missing_ends;
        self.applied_count = kept.applied_count;
        self.undone_count = kept.undone_count;
        self.rebuilds = kept.rebuilds;
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(super) fn has_unordered(&self) -> bool {
        !self.unordered.is_empty()
    }

    pub(super) fn unordered(&self) -> u64 {
        self.unordered.len()
    }

    /// What ordering all that is stored would cost, as of the end of the last transaction.
    pub(super) fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// What ordering all that is stored would cost now.
    pub(super) fn reckon_backlog(&mut self, past: &dyn Past) -> Backlog {
        let in_place = self.confirming.in_place(&self.applied);
        let tail = (self.applied.len() - in_place) as u64;
        let is_undone = self.is_settling || in_place < self.confirming.len();
        let kept = if is_undone { 0 } else { self.linearizer.tail_kept(past) as u64 };
        self.backlog = Backlog {
            stored: self.next_number.saturating_sub(self.stored_before),
            applied: self.applied_count + self.applied_before,
            tail,
            unordered: self.unordered(),
            displaced: tail.saturating_sub(kept),
        };
        self.backlog
    }

    /// Whether something is left to order although nothing is stored that is not ordered yet, or what is confirmed is not at its
    /// place.
    pub(super) fn is_behind(&self) -> bool {
        self.is_unsettled && (self.unordered.is_empty() || !self.confirming.is_done())
    }

    /// Whether the view holds all that readers have been shown before.
    pub(super) fn is_presentable(&self) -> bool {
        self.unordered.is_empty() || self.applied_heads.is_some()
    }

    pub(super) fn status(&self) -> EngineStatus {
        EngineStatus {
            entries: self.next_number,
            confirmed: self.base,
            tail: self.applied.len() as u64,
            unordered: self.unordered(),
            epoch: self.linearizer.epoch(),
            indexers: self.linearizer.indexers().to_vec(),
            forked: self.forked.iter().copied().collect(),
            applied: self.applied_count,
            undone: self.undone_count,
            misses_own_entries: self.misses_own_entries(),
            writer: self.keys.writer(),
            replaced_keys: self.keys.writers().skip(1).collect(),
            alarms: self
                .alarms
                .iter()
                .copied()
                .chain(self.linearizer.forked_indexers())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }

    /// Whether a key that this device has to sign with may not: the present one, or one that was replaced and is to vote until the
    /// change of indexers is confirmed.
    fn misses_own_entries(&self) -> bool {
        let is_needed =
            |key: &WriterKey| *key == self.keys.writer() || self.linearizer.indexers().contains(key);
        self.keys.writers().any(|key| is_needed(&key) && self.missing_ends.of(&key).is_some())
    }

    /// Which of this device's keys would help by an ack to confirm what is not confirmed: mostly the present one; one that was
    /// replaced goes on voting until the epoch in which it was an indexer ends.
    pub(super) fn acking_key(&self, gone: &BTreeSet<WriterKey>) -> Option<WriterKey> {
        let may_sign = |writer: &WriterKey| self.missing_ends.of(writer).is_none();
        let mut keys = self.keys.writers();
        keys.find(|writer| may_sign(writer) && self.linearizer.wants_ack(writer, gone))
    }

    /// Writes what the disk has to be told.
    pub(super) fn keep(&mut self, tables: &mut Tables<'_>) -> Result<()> {
        tables.sets.unordered.change(self.unordered.take_changes())?;
        tables.sets.heads.change(self.heads.take_changes())?;
        tables.sets.membership.change(self.membership.take_changes())?;
        let before = self.confirming.take_snapshot();
        let is_done = self.confirming.is_done();
        let snapshot = if is_done { Some((self.linearizer.snapshot(), self.base)) } else { before };
        if let Some((snapshot, at)) = snapshot {
            self.stored_snapshot_at = at;
            if snapshot != self.stored_snapshot {
                tables.put_linearizer(&snapshot)?;
                self.stored_snapshot = snapshot;
            }
        }
        let mut bytes = Vec::new();
        bytes.put_u64(self.next_number);
        bytes.put_u64(self.base);
        bytes.put_u64(self.stored_snapshot_at);
        for writers in [&self.forked, &self.alarms] {
            bytes.put_u32(writers.len() as u32);
            for writer in writers {
                bytes.extend_from_slice(writer.as_bytes());
            }
        }
        tables.put_engine_state(&bytes)?;
        if self.applied_heads != self.stored_heads {
            tables.put_applied_heads(self.applied_heads.as_ref())?;
            self.stored_heads.clone_from(&self.applied_heads);
        }
        let past = StoredPast::new(tables);
        let backlog = self.reckon_backlog(&past);
        self.backlog = past.checked(backlog)?;
        Ok(())
    }

    /// Reads what the tables hold of the state; none in a file that has just been made.
    pub(super) fn restore(tables: &Tables<'_>, keys: OwnKeys) -> Result<Option<Self>> {
        let Some(stored) = tables.engine_state()? else { return Ok(None) };
        let Kept { next_number, base, snapshot_at, forked, alarms } = Kept::read(&stored)?;
        let snapshot = tables.linearizer()?.ok_or_else(damaged)?;

        // What was confirmed since the snapshot was taken, and the applied tail.
        let ordered: Vec<EntryNumber> =
            tables.ordered_from(snapshot_at)?.into_iter().map(EntryNumber).collect();
        let confirmed_since = base.checked_sub(snapshot_at).and_then(|count| usize::try_from(count).ok());
        let (in_place, applied) =
            confirmed_since.and_then(|count| ordered.split_at_checked(count)).ok_or_else(damaged)?;
        let unordered = tables.sets.unordered.all()?;
        let numbers: NumberSet = ordered.iter().copied().chain(unordered.iter()).collect();
        let past = StoredPast::new(tables);
        let mut reader = TailReader::new(tables, &forked)?;
        let tail = numbers.iter().map_while(|number| past.answer(reader.read(number)));
        let restored = Linearizer::restore(&snapshot, tail, &ordered, &past);
        let linearizer = past
            .checked(restored)?
            .map_err(|error| Error::data("the kept order is damaged").with_source(error))?;
        let mut state = Self::with(linearizer, keys);
        state.alarms = alarms;
        (state.next_number, state.base, state.applied) =
            (next_number, base, applied.iter().copied().collect());
        state.forked = forked;
        state.heads = KeptSet::restored(tables.sets.heads.all()?);
        state.membership = KeptSet::restored(tables.sets.membership.all()?);
        state.unordered = KeptSet::restored(unordered);
        (state.stored_snapshot, state.stored_snapshot_at) = (snapshot, snapshot_at);
        // Where this is not known the process ended while it was ordering, or what it undid was not applied again.
        state.applied_heads = tables.applied_heads()?;
        state.stored_heads.clone_from(&state.applied_heads);
        state.is_as_shown = state.is_presentable();
        state.is_settling = !state.is_as_shown;
        (state.stored_before, state.applied_before) = (base, state.applied.len() as u64);
        state.watching = Watching::restored(tables.changes_kept()?, base);
        state.missing_ends = MissingEnds::restored(tables.missing_ends()?);
        let past = StoredPast::new(tables);
        let waiting = state.wait_again(in_place, &past);
        past.checked(waiting)??;
        let backlog = state.reckon_backlog(&past);
        past.checked(backlog)?;
        Ok(Some(state))
    }
}

/// The kept state as it is read.
struct Kept {
    next_number: u64,
    base: u64,
    /// How many entries were confirmed when the linearizer's snapshot was taken.
    snapshot_at: u64,
    forked: BTreeSet<WriterKey>,
    alarms: BTreeSet<WriterKey>,
}

/// Of a kept state: how many entries are confirmed.
pub(crate) fn read_base(stored: &[u8]) -> Result<u64> {
    Ok(Kept::read(stored)?.base)
}

impl Kept {
    fn read(stored: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(stored);
        let (next_number, base, snapshot_at) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (forked, alarms) = (take_writers(&mut reader)?, take_writers(&mut reader)?);
        reader.end()?;
        Ok(Self { next_number, base, snapshot_at, forked, alarms })
    }
}

fn take_writers(reader: &mut Reader<'_>) -> Result<BTreeSet<WriterKey>> {
    let count = reader.u32()?;
    let writers = (0..count).map(|_| reader.array().map(WriterKey::from_bytes));
    Ok(writers.collect::<Result<_, _>>()?)
}

/// Of a kept state and snapshot: how many entries are confirmed, and the linearizer without its tail.
pub(crate) fn read_confirmed(stored: &[u8], snapshot: &[u8]) -> Result<(u64, Linearizer)> {
    let kept = Kept::read(stored)?;
    let linearizer = Linearizer::without_tail(snapshot)
        .map_err(|error| Error::data("the kept order is damaged").with_source(error))?;
    Ok((kept.base, linearizer))
}

fn damaged() -> Error {
    Error::data("a stored entry is missing")
}
