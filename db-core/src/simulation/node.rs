//! A peer of the simulation: a real engine over a disk of its own, with a clock that may be wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use bson::{RawDocumentBuf, rawdoc};
use ed25519_dalek::SigningKey;
use redb::ReadableDatabase;

use super::following::Client;
use super::watching::Readers;
use super::{Chance, SimDisk};
use crate::engine::{Engine, Moment, Reply, Request};
use crate::entry::{Entry, Header, VerifiedRun};
use crate::error::Result;
use crate::ids::{DatabaseId, EntryHash, WriterKey};
use crate::log_reader::{LogReader, Tip};
use crate::storage::{self, Identity, LogSnapshot, view_snapshot};
use crate::view::ViewSnapshot;
use crate::view::digest::digest;

/// What redb may hold in memory.
const CACHE_BYTES: usize = 1 << 20;

/// The secret of the peer with this number.
pub(super) fn secret(number: usize) -> SigningKey {
    let mut seed = [0x51; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// The key of that peer's log.
pub(super) fn writer(number: usize) -> WriterKey {
    WriterKey::from_bytes(secret(number).verifying_key().to_bytes())
}

pub(super) struct Node {
    pub(super) number: usize,
    pub(super) disk: SimDisk,
    pub(super) identity: Identity,
    /// None while it is switched off.
    pub(super) engine: Option<Engine>,
    /// By how much its clock is wrong.
    pub(super) skew_ms: i64,
    /// The own entries that were acknowledged, and how many entries a commit has made durable.
    pub(super) acknowledged: Vec<EntryHash>,
    pub(super) durable: u64,
    /// Up to which entry and up to which place of the order it was looked at, and the sum of the hashes of its entries.
    pub(super) checked_entries: u64,
    pub(super) checked_confirmed: u64,
    /// How many calls were run while the view was not to be shown.
    pub(super) calls_meanwhile: u64,
    /// Of how many confirmed entries it has told what became of them.
    pub(super) told_outcomes: u64,
    pub(super) sum: [u8; 32],
    /// Whether it is away of its own will, and not to be switched on yet.
    pub(super) has_left: bool,
    /// All keys that it has had, as far as they were seen; the present one is the last.
    pub(super) keys: Vec<WriterKey>,
    /// Who reads and watches, if anybody ever does, as long as it is on.
    pub(super) readers: Option<Readers>,
    watched: Watched,
    /// What a client has of the confirmed events, wherever it asks for them.
    pub(super) client: Client,
    /// How many bytes of confirmed changes it keeps.
    pub(super) changes_bytes: u64,
    /// The order and the number of confirmed entries that were looked at last.
    pub(super) checked_order: (Vec<EntryHash>, u64),
    /// What its owner has put by.
    pub(super) backup: Option<Backup>,
    /// The ends of its own logs as they were before its disk was set back.
    lost_ends: Vec<Tip>,
}

/// A copy of a peer's disk, with what the peer has had then.
#[derive(Clone)]
pub(super) struct Backup {
    image: Vec<u8>,
    pub(super) keys: Vec<WriterKey>,
    acknowledged: usize,
    durable: u64,
    confirmed: u64,
}

/// Who watches a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// Nobody.
    No,
    /// What it holds.
    Local,
    /// That, and what is confirmed.
    All,
}

impl Node {
    /// A peer that has just joined, with an empty store.
    pub(super) fn new(
        number: usize,
        identity: &Identity,
        skew_ms: i64,
        watched: Watched,
        changes_bytes: u64,
    ) -> Self {
        let disk = SimDisk::new(Vec::new(), None);
        drop(storage::create(disk.clone(), identity, CACHE_BYTES).unwrap());
        let mut node = Self {
            number,
            disk,
            identity: identity.clone(),
            engine: None,
            skew_ms,
            acknowledged: Vec::new(),
            durable: 0,
            checked_entries: 0,
            checked_confirmed: 0,
            calls_meanwhile: 0,
            told_outcomes: 0,
            sum: [0; 32],
            has_left: false,
            keys: vec![writer(number)],
            readers: None,
            watched,
            client: Client::default(),
            changes_bytes,
            checked_order: (Vec::new(), 0),
            backup: None,
            lost_ends: Vec::new(),
        };
        node.switch_on(usize::MAX);
        node
    }

    /// Opens what is on the disk, ordering what waits there in steps of so many bytes; whether the power lasted for that.
    pub(super) fn switch_on(&mut self, step_bytes: usize) -> bool {
        let opened = open(&self.disk, self.number, step_bytes);
        let Ok(engine) = opened else {
            assert!(self.disk.is_cut(), "what is on the disk does not open: {:?}", opened.err());
            return false;
        };
        if self.watched != Watched::No {
            let client = Some(&mut self.client).filter(|_| self.watched == Watched::All);
            self.readers = Some(Readers::open(self.number, &engine, &self.identity, client));
        }
        self.engine = Some(engine);
        self.note_key();
        true
    }

    /// The power goes: what was not synced may be lost, whole or in part.
    pub(super) fn cut_power(&mut self, chance: &mut Chance) {
        self.switch_off();
        self.disk = SimDisk::new(self.disk.after_power_cut(chance), None);
    }

    /// Ends in good order.
    pub(super) fn switch_off(&mut self) {
        self.readers = None;
        self.engine = None;
    }

    /// Puts by what is on its disk.
    pub(super) fn back_up(&mut self) {
        let Some(engine) = &self.engine else { return };
        self.backup = Some(Backup {
            image: self.disk.durable_image(),
            keys: self.keys.clone(),
            acknowledged: self.acknowledged.len(),
            durable: self.durable,
            confirmed: engine.status().unwrap().confirmed,
        });
    }

    /// Sets the disk of a peer that is on back to what was put by, and switches it on. What it has written since is lost, as far
    /// as nobody else has it.
    pub(super) fn restore(&mut self, backup: &Backup) {
        self.lost_ends = self.own_ends();
        self.switch_off();
        self.disk = SimDisk::new(backup.image.clone(), None);
        self.keys.clone_from(&backup.keys);
        self.acknowledged.truncate(backup.acknowledged);
        (self.durable, self.checked_confirmed) = (backup.durable, backup.confirmed);
        (self.told_outcomes, self.checked_order) = (0, (Vec::new(), 0));
        self.forget_entries();
        assert!(self.switch_on(usize::MAX), "a backup does not open");
    }

    /// All entries that are there are to be looked at anew.
    pub(super) fn forget_entries(&mut self) {
        (self.checked_entries, self.sum) = (0, [0; 32]);
    }

    /// Whether it has its own logs as far as it has ever written them.
    pub(super) fn has_own_logs(&self) -> bool {
        self.holds(&self.lost_ends)
    }

    /// Whether it was told how far its own logs go that are not here.
    pub(super) fn knows_own_logs(&self) -> bool {
        let engine = self.engine.as_ref().unwrap();
        let is_marked =
            |end: &Tip| engine.missing_end(&end.writer).is_some_and(|marked| marked.length >= end.length);
        self.lost_ends.iter().all(|end| self.holds(&[*end]) || is_marked(end))
    }

    /// Whether it has these entries.
    pub(super) fn holds(&self, entries: &[Tip]) -> bool {
        let log = self.log();
        entries.iter().all(|end| log.number_of(&end.head).unwrap().is_some())
    }

    /// The ends of its own logs as far as it has ever written them.
    pub(super) fn own_ends(&self) -> Vec<Tip> {
        let log = self.log();
        let present = log.tips().unwrap().into_iter().filter(|tip| self.keys.contains(&tip.writer));
        present.chain(self.lost_ends.iter().copied()).collect()
    }

    /// Whether it was told that there is more of the log that it writes than what it has.
    pub(super) fn misses_end_of_log(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.missing_end(&engine.writer()).is_some())
    }

    /// Whether it says that it misses entries of its own: of that log, or of one whose key it has replaced and is to vote.
    pub(super) fn misses_own(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.status().unwrap().misses_own_entries)
    }

    /// The key that it writes with, as far as that was seen.
    pub(super) fn key(&self) -> WriterKey {
        *self.keys.last().unwrap()
    }

    /// It may have taken another key, or be back at one whose successor was lost.
    fn note_key(&mut self) {
        let present = self.engine.as_ref().unwrap().writer();
        if self.key() != present {
            self.keys.retain(|key| *key != present);
            self.keys.push(present);
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.engine.is_some()
    }

    /// Runs `work` in a transaction; none if the power has gone meanwhile.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut crate::engine::Batch<'_, '_>) -> Result<T>,
    ) -> Option<T> {
        let engine = self.engine.as_mut()?;
        if let Some(readers) = &self.readers {
            readers.prepare(engine, self.changes_bytes);
        }
        match engine.run(work) {
            Ok(done) => {
                self.durable = engine.end();
                if let Some(readers) = &self.readers {
                    readers.publish(engine);
                }
                self.note_key();
                Some(done)
            }
            Err(error) => {
                assert!(self.disk.is_cut(), "peer {}: a transaction failed: {error:?}", self.number);
                self.switch_off();
                None
            }
        }
    }

    /// Calls as a client does; the error is the call's.
    pub(super) fn call(&mut self, request: Request, moment: &Moment) -> Option<Result<Reply>> {
        // Mostly as long as the view is not to be shown, as the database's thread does; else all is ordered first.
        let tries_meanwhile = !moment.now_ms.is_multiple_of(4);
        let mut is_meanwhile = false;
        let reply = self.run(|batch| {
            let reply = if tries_meanwhile { batch.execute_meanwhile(&request, moment)? } else { None };
            is_meanwhile = reply.is_some();
            reply.map_or_else(|| batch.execute(request, moment), Ok)
        })?;
        self.calls_meanwhile += u64::from(is_meanwhile);
        if let Ok(Reply { entry: Some(entry), .. }) = &reply {
            self.acknowledged.push(*entry);
        }
        Some(reply)
    }

    pub(super) fn moment(&self, now_ms: u64, gone: BTreeSet<WriterKey>) -> Moment {
        Moment { now_ms: now_ms.saturating_add_signed(self.skew_ms), gone }
    }

    pub(super) fn log(&self) -> LogSnapshot {
        let engine = self.engine.as_ref().unwrap();
        LogSnapshot::open(&engine.database().begin_read().unwrap(), engine.id()).unwrap()
    }

    pub(super) fn view(&self) -> ViewSnapshot {
        let engine = self.engine.as_ref().unwrap();
        view_snapshot(&engine.database().begin_read().unwrap()).unwrap().unwrap()
    }

    /// What tells the peer's view from another.
    pub(super) fn digest(&self) -> [u8; 32] {
        digest(&self.view()).unwrap()
    }

    /// The hashes at these places of the order as it is applied.
    pub(super) fn ordered(&self, from: u64, to: u64) -> Vec<EntryHash> {
        let engine = self.engine.as_ref().unwrap();
        let numbers = storage::order_snapshot(&engine.database().begin_read().unwrap(), from, to).unwrap();
        let log = self.log();
        numbers.into_iter().map(|number| log.record(number).unwrap().unwrap().hash).collect()
    }

    /// A second engine over a copy of what the disk would show now, to do with as one likes.
    pub(super) fn copy(&self) -> Engine {
        let mut copy = open(&SimDisk::new(self.disk.image(), None), self.number, usize::MAX).unwrap();
        copy.run(|batch| batch.settle()).unwrap();
        copy
    }
}

fn open(disk: &SimDisk, number: usize, step_bytes: usize) -> Result<Engine> {
    let (database, identity) = storage::open(disk.clone(), CACHE_BYTES)?;
    Engine::open(Arc::new(database), identity, secret(number))?.until_presentable(step_bytes)
}

/// An entry by `author` on top of all that `node` holds, changed before it is signed.
pub(super) fn forge(
    node: &Node,
    author: usize,
    document: &RawDocumentBuf,
    now_ms: u64,
    change: impl FnOnce(&mut Header),
) -> VerifiedRun {
    let (author, secret) = (writer(author), secret(author));
    let tips = node.log().tips().unwrap();
    let own = tips.iter().filter(|tip| tip.writer == author).max_by_key(|tip| tip.length);
    let mut parents: Vec<EntryHash> =
        tips.iter().filter(|tip| tip.writer != author).map(|tip| tip.head).collect();
    parents.sort_unstable();
    parents.dedup();
    let insert =
        crate::operation::Operation::Insert { collection: "c".to_owned(), documents: vec![document.clone()] };
    let payload = crate::payload::pack(&crate::operation::encode(&[insert]));
    let before = own.and_then(|tip| node.log().number_of(&tip.head).unwrap());
    let before = before.map_or(0, |number| node.log().record(number).unwrap().unwrap().header.time);
    let mut header = Header {
        writer: author,
        seq: own.map_or(0, |tip| tip.length),
        prev: own.map(|tip| tip.head),
        parents,
        time: now_ms.max(before),
        epoch: 0,
        wave: 0,
        checkpoint: None,
        payload_length: payload.len() as u32,
        payload_hash: *blake3::hash(&payload).as_bytes(),
    };
    change(&mut header);
    let hash = header.hash(&id_of(node));
    VerifiedRun::sign(vec![Entry { header, hash, payload }], &secret).unwrap()
}

fn id_of(node: &Node) -> DatabaseId {
    node.engine.as_ref().unwrap().id()
}

/// A document that nobody else has, by number.
pub(super) fn document(number: u64) -> RawDocumentBuf {
    let small = number as i32;
    rawdoc! { "_id": small, "n": small % 7, "l": [small % 3, small % 5], "s": "x".repeat((number % 90) as usize) }
}
