//! A peer that hears from many writers, and what that takes it, step by step: tests count bytes, benchmarks take the time.
//!
//! The other writers are keys that sign; only the peer, and whom it meets, are real engines with real sessions.

use std::collections::VecDeque;
use std::sync::Arc;

use bson::rawdoc;
use ed25519_dalek::SigningKey;
use redb::ReadableDatabase;

use super::SimDisk;
use crate::engine::{Engine, Moment, Request};
use crate::entry::{Entry, Genesis, Header, VerifiedRun};
use crate::ids::{DatabaseKey, EntryHash, WriterKey};
use crate::limits;
use crate::operation::{self, Operation};
use crate::payload;
use crate::storage::{self, Identity, LogSnapshot};
use crate::sync::{Session, SessionConfig, SessionOutput};

/// What redb may hold in memory.
const CACHE_BYTES: usize = 64 << 20;
/// How many runs are taken in by one transaction.
const RUNS_AT_ONCE: u64 = 100;

/// What the writers have seen of one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquaintance {
    /// Nothing.
    Strangers,
    /// Each all that was written before it began.
    Successors,
}

/// What a meeting of two peers has carried, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Talk {
    /// How many bytes.
    pub bytes: u64,
    /// How many frames.
    pub frames: u64,
    /// How many entries one of the two did not have.
    pub entries: u64,
}

/// How often entries were applied and undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applications {
    /// How many times one was applied.
    pub applied: u64,
    /// How many times one was undone.
    pub undone: u64,
}

/// A peer of an open database, with a disk in memory.
pub struct Crowd {
    number: u64,
    identity: Identity,
    disk: SimDisk,
    /// None while it is switched off.
    engine: Option<Engine>,
    now_ms: u64,
    /// How many other writers there are.
    writers: u64,
    last: Option<EntryHash>,
    documents: i64,
}

impl Crowd {
    /// A peer with an empty store; peers of other numbers are other writers.
    ///
    /// # Panics
    /// If anything fails; so does everything here.
    pub fn new(number: u64) -> Self {
        let key = DatabaseKey::of_open_topic("crowd");
        let identity = Identity { genesis: Genesis::open(&key), key };
        let disk = SimDisk::new(Vec::new(), None);
        drop(storage::create(disk.clone(), &identity, CACHE_BYTES).unwrap());
        let mut peer = Self {
            number,
            identity,
            disk,
            engine: None,
            now_ms: 1_000_000,
            writers: 0,
            last: None,
            documents: 0,
        };
        peer.switch_on();
        peer
    }

    /// A peer that has what this one has.
    #[must_use]
    pub fn twin(&self, number: u64) -> Self {
        let mut twin = Self {
            number,
            identity: self.identity.clone(),
            disk: SimDisk::new(self.disk.image(), None),
            engine: None,
            now_ms: self.now_ms,
            writers: self.writers,
            last: self.last,
            documents: 1_000_000_000,
        };
        twin.switch_on();
        twin
    }

    /// Takes in `each` entries of each of so many new writers, and orders them.
    pub fn hear(&mut self, writers: u64, each: u64, acquaintance: Acquaintance) {
        let end = self.writers + writers;
        while self.writers < end {
            let count = RUNS_AT_ONCE.min(end - self.writers);
            let runs: Vec<_> = (0..count).map(|_| self.next_writer(each, acquaintance)).collect();
            self.engine_mut()
                .run(|batch| {
                    for run in &runs {
                        batch.ingest(run)?.expect("it is in order");
                    }
                    batch.settle()
                })
                .unwrap();
        }
    }

    /// Writes so many entries of its own, one a transaction; gives how many bytes the last of them has written to the disk.
    pub fn write(&mut self, count: u64) -> u64 {
        let mut before = 0;
        for _ in 0..count {
            before = self.disk.bytes_written();
            self.write_together(1);
        }
        self.disk.bytes_written() - before
    }

    /// Writes so many entries of its own in one transaction.
    pub fn write_together(&mut self, count: u64) {
        let (first_ms, first) = (self.now_ms, self.documents);
        self.now_ms += 2 * count;
        self.documents += count as i64;
        let mut last = None;
        self.engine_mut()
            .run(|batch| {
                for (at, id) in (0..count).zip(first..) {
                    let documents = vec![rawdoc! { "_id": id, "n": id }];
                    let request = Request::Insert { collection: "c".to_owned(), documents, ordered: true };
                    let moment = Moment { now_ms: first_ms + 2 * at, ..Moment::default() };
                    last = batch.execute(request, &moment)?.expect("an insert").entry;
                }
                Ok(())
            })
            .unwrap();
        self.last = last;
    }

    /// Takes in an entry of a new writer that goes before the last `depth` that were written here; it is not ordered yet.
    pub fn hear_late(&mut self, depth: u64) {
        let end_ms = self.now_ms;
        self.now_ms = end_ms.saturating_sub(2 * depth + 2);
        let run = self.next_writer(1, Acquaintance::Strangers);
        self.now_ms = end_ms;
        self.engine_mut()
            .run(|batch| batch.ingest(&run).map(|refused| refused.expect("it is in order")))
            .unwrap();
    }

    /// Orders what is not ordered.
    pub fn settle(&mut self) {
        self.engine_mut().run(|batch| batch.settle()).unwrap();
    }

    /// How often entries were applied and undone since the store was opened.
    pub fn applications(&self) -> Applications {
        let status = self.engine().status().unwrap();
        Applications { applied: status.applied, undone: status.undone }
    }

    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.engine().end()
    }

    /// Closes the store.
    pub fn switch_off(&mut self) {
        self.engine = None;
    }

    /// Opens the store.
    pub fn switch_on(&mut self) {
        let (database, identity) = storage::open(self.disk.clone(), CACHE_BYTES).unwrap();
        let engine = Engine::open(Arc::new(database), identity, secret(self.number << 40)).unwrap();
        let engine = engine.until_presentable(limits::SETTLE_BYTES_MAX).unwrap();
        self.engine = Some(engine);
    }

    /// Connects to another peer until neither has anything to say.
    pub fn meet(&mut self, other: &mut Self) -> Talk {
        let mut talk = Talk { entries: self.entries() + other.entries(), ..Talk::default() };
        let mut ends = [(&mut *self, true), (&mut *other, false)].map(|(peer, dialer)| {
            let config = SessionConfig {
                database: peer.engine().id(),
                key: peer.identity.key.clone(),
                own_writer: peer.engine().writer(),
                replaced_keys: Vec::new(),
                binding: [1; 32],
                dialer,
                nonce: [u8::from(dialer); 32],
            };
            (peer, Session::new(config))
        });
        let mut frames: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
        for (at, (peer, session)) in ends.iter_mut().enumerate() {
            let mut outputs = Vec::new();
            session.start(&mut outputs);
            peer.carry_out(session, outputs, |frame| frames.push_back((1 - at, frame)));
        }
        while let Some((to, frame)) = frames.pop_front() {
            (talk.bytes, talk.frames) = (talk.bytes + frame.len() as u64, talk.frames + 1);
            let Some((peer, session)) = ends.get_mut(to) else { continue };
            let mut outputs = Vec::new();
            session.handle_frame(&frame, &peer.log(), &mut outputs).unwrap();
            peer.carry_out(session, outputs, |frame| frames.push_back((1 - to, frame)));
        }
        for (peer, _) in ends {
            peer.settle();
        }
        talk.entries = self.entries() + other.entries() - talk.entries;
        talk
    }

    fn carry_out(
        &mut self,
        session: &mut Session,
        mut outputs: Vec<SessionOutput>,
        mut send: impl FnMut(Vec<u8>),
    ) {
        while !outputs.is_empty() {
            for output in std::mem::take(&mut outputs) {
                match output {
                    SessionOutput::Send(frame) => send(frame),
                    SessionOutput::Ingest(runs) => {
                        self.engine_mut()
                            .run(|batch| {
                                for run in &runs {
                                    batch.ingest(run)?.expect("it is in order");
                                }
                                Ok(())
                            })
                            .unwrap();
                        session.runs_stored(Ok(()), &mut outputs);
                    }
                    SessionOutput::Continue => session.entries_stored(&self.log(), &mut outputs).unwrap(),
                    SessionOutput::Close(reason) => panic!("the session closes: {reason}"),
                    SessionOutput::Authenticated { .. }
                    | SessionOutput::CaughtUp
                    | SessionOutput::OwnLogsElsewhere(_) => {}
                }
            }
        }
    }

    /// The first entries of a writer that has not written before, signed together.
    fn next_writer(&mut self, each: u64, acquaintance: Acquaintance) -> VerifiedRun {
        self.writers += 1;
        let secret = secret(self.writers);
        let writer = WriterKey::from_bytes(secret.verifying_key().to_bytes());
        let id = self.engine().id();
        let (mut entries, mut prev) = (Vec::new(), None);
        for seq in 0..each {
            let documents = vec![rawdoc! { "_id": format!("{} {seq}", self.writers), "n": seq as i64 }];
            let insert = Operation::Insert { collection: "c".to_owned(), documents };
            let payload = payload::pack(&operation::encode(&[insert]));
            let seen = self.last.filter(|_| seq == 0 && acquaintance == Acquaintance::Successors);
            self.now_ms += 1;
            let header = Header {
                writer,
                seq,
                prev,
                parents: seen.into_iter().collect(),
                time: self.now_ms,
                epoch: 0,
                wave: 0,
                checkpoint: None,
                payload_length: payload.len() as u32,
                payload_hash: *blake3::hash(&payload).as_bytes(),
            };
            let hash = header.hash(&id);
            prev = Some(hash);
            entries.push(Entry { header, hash, payload });
        }
        self.last = prev;
        VerifiedRun::sign(entries, &secret).unwrap()
    }

    fn log(&self) -> LogSnapshot {
        LogSnapshot::open(&self.engine().database().begin_read().unwrap(), self.engine().id()).unwrap()
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it is switched on")
    }

    fn engine_mut(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("it is switched on")
    }
}

/// The secret of a writer.
fn secret(number: u64) -> SigningKey {
    let mut seed = [0x77; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many more bytes a step may take where there are twenty times as many writers: the B-trees are a level deeper.
    const TIMES_MAX: u64 = 2;

    /// Two peers that know so many writers and hold the same, but for one entry of each of the two if `differ`.
    fn talk_of(writers: u64, differ: bool) -> Talk {
        let mut one = Crowd::new(0);
        one.hear(writers, 1, Acquaintance::Strangers);
        one.write(3); // which takes up their heads
        let mut other = one.twin(1);
        if differ {
            one.write(1);
            other.write(1);
        }
        let talk = one.meet(&mut other);
        assert_eq!(talk.entries, if differ { 2 } else { 0 });
        assert_eq!(one.entries(), other.entries());
        talk
    }

    #[test]
    fn peers_that_hold_the_same_tell_each_other_so_in_as_many_bytes_however_many_writers_they_know() {
        assert_eq!(talk_of(2_000, false), talk_of(100, false));
    }

    #[test]
    fn peers_that_differ_in_two_entries_do_not_list_all_writers() {
        const TIP_BYTES: u64 = 72;
        let talk = talk_of(2_000, true);
        assert!(talk.bytes < 2_000 * TIP_BYTES / 2, "{talk:?}");
    }

    #[test]
    fn what_a_writer_that_has_seen_all_others_costs_does_not_depend_on_how_many_they_are() {
        let cost_of = |known: u64| {
            let mut peer = Crowd::new(0);
            peer.hear(known, 1, Acquaintance::Successors);
            let before = peer.disk.bytes_written();
            for _ in 0..10 {
                peer.hear(1, 1, Acquaintance::Successors);
            }
            let heard = peer.disk.bytes_written() - before;
            (heard, peer.write(10))
        };
        let (few, many) = (cost_of(100), cost_of(2_000));
        assert!(
            many.0 <= few.0 * TIMES_MAX,
            "of others: {few:?} bytes where there are 100, {many:?} of 2000"
        );
        assert!(many.1 <= few.1 * TIMES_MAX, "its own: {few:?} bytes where there are 100, {many:?} of 2000");
    }
}
