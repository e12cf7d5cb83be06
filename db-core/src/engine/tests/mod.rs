//! The engine against itself. Here is what the tests share: a peer is an engine over memory and a clock to set.

mod agreement;
mod builds;
mod catalog;
mod confirming;
mod edits;
mod forks;
mod hostile;
mod io_errors;
mod levels;
mod meanwhile;
mod membership;
mod past;
mod power_cuts;
mod replayed;
mod runs;
mod steps;
mod tails;
mod transactions;

use bson::{RawBson, RawDocumentBuf};
use redb::ReadableDatabase;
use redb::backends::InMemoryBackend;

use super::append::Moment;
use super::request::{DeleteRequest, UpdateRequest};
use super::*;
use crate::entry::{Entry, Genesis, Header, VerifiedRun};
use crate::ids::{DatabaseKey, EntryHash};
use crate::limits;
use crate::log_reader::{LogReader, Tip};
use crate::operation::{Operation, Roles, UpdateOperation};
use crate::storage::{self, LogSnapshot, order_snapshot, view_snapshot};
use crate::view::catalog::CollectionOptions;
use crate::view::digest::digest;
use crate::view::statistics::{Size, Statistics};
use crate::view::{ReadView, keyspace};

/// An engine over memory, and a clock to set.
struct Peer {
    engine: Engine,
    now_ms: u64,
}

fn secret(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn writer_key(number: u8) -> WriterKey {
    WriterKey::from_bytes(secret(number).verifying_key().to_bytes())
}

fn peer(number: u8, identity: &Identity) -> Peer {
    let database = storage::create(InMemoryBackend::new(), identity, 1 << 20).unwrap();
    let engine = Engine::open(Arc::new(database), identity.clone(), secret(number)).unwrap();
    Peer { engine, now_ms: 1_000 }
}

fn closed(founder: u8) -> Identity {
    Identity { key: DatabaseKey::from_bytes([7; 32]), genesis: Genesis::closed(writer_key(founder)) }
}

fn open() -> Identity {
    let key = DatabaseKey::of_open_topic("test");
    Identity { genesis: Genesis::open(&key), key }
}

impl Engine {
    fn ingest(&mut self, run: &VerifiedRun) -> Result<Result<(), IngestError>> {
        self.run(|batch| batch.ingest(run))
    }
}

impl Peer {
    fn moment(&mut self) -> Moment {
        self.now_ms += 1;
        Moment { now_ms: self.now_ms, gone: std::collections::BTreeSet::new() }
    }

    fn call(&mut self, request: Request) -> Result<Reply> {
        let moment = self.moment();
        self.engine.run(|batch| batch.execute(request, &moment)).unwrap()
    }

    fn insert(&mut self, document: RawDocumentBuf) -> Result<Reply> {
        self.call(Request::Insert { collection: "c".to_owned(), documents: vec![document], ordered: true })
    }

    fn update(&mut self, filter: RawDocumentBuf, update: RawDocumentBuf) -> Result<Reply> {
        self.call(Request::Update(update_request(filter, update)))
    }

    fn delete(&mut self, filter: RawDocumentBuf) -> Result<Reply> {
        self.call(Request::Delete(DeleteRequest {
            collection: "c".to_owned(),
            filter,
            multi: true,
            sort: None,
            hint: None,
            variables: None,
            collation: None,
            returning: None,
        }))
    }

    fn create_index(&mut self, definition: RawDocumentBuf) -> Result<Reply> {
        self.call(Request::CreateIndexes { collection: "c".to_owned(), definitions: vec![definition] })
    }

    /// Acks until nobody would gain by another; whether anything was appended.
    fn ack(&mut self) -> bool {
        let moment = self.moment();
        let wants = self.engine.wants_ack(&moment.gone);
        if wants {
            self.engine.run(|batch| batch.append_ack(&moment)).unwrap();
        }
        wants
    }

    /// A peer has shown an end of a log of ours.
    fn shown(&mut self, writer: &WriterKey, length: u64, head: EntryHash) {
        let end = Tip { writer: *writer, length, head };
        self.engine.run(|batch| batch.note_own_head(&end)).unwrap();
    }

    fn log(&self) -> LogSnapshot {
        LogSnapshot::open(&self.engine.database.begin_read().unwrap(), self.engine.id).unwrap()
    }

    fn runs(&self) -> Vec<VerifiedRun> {
        let log = self.log();
        let (mut runs, mut next) = (Vec::new(), 0);
        while let Some(stored) = log.run_at(next).unwrap() {
            next = stored.first + stored.run.entries().len() as u64;
            runs.push(stored.run);
        }
        runs
    }

    fn receive(&mut self, runs: &[VerifiedRun]) {
        self.engine
            .run(|batch| {
                for run in runs {
                    batch.ingest(run)?.unwrap();
                }
                batch.settle()
            })
            .unwrap();
    }

    #[allow(clippy::redundant_closure_for_method_calls)] // the method's path is not general enough over lifetimes
    fn settle(&mut self) {
        self.engine.run(|batch| batch.settle()).unwrap();
    }

    fn digest(&self) -> [u8; 32] {
        digest(&view_snapshot(&self.engine.database.begin_read().unwrap()).unwrap().unwrap()).unwrap()
    }

    fn documents(&self) -> Vec<RawDocumentBuf> {
        self.listed("c")
    }

    fn listed(&self, collection: &str) -> Vec<RawDocumentBuf> {
        let view = view_snapshot(&self.engine.database.begin_read().unwrap()).unwrap().unwrap();
        let Some(meta) = crate::view::catalog::collection(&view, collection).unwrap() else {
            return Vec::new();
        };
        let all = crate::query::FindOptions::default().compile(None).unwrap();
        crate::query::Execution::new(view, &Arc::new(meta), all).unwrap().collect::<Result<_>>().unwrap()
    }

    /// Counts again what the view says that it holds.
    fn check_statistics(&self) {
        let view = view_snapshot(&self.engine.database.begin_read().unwrap()).unwrap().unwrap();
        let measure = |prefix: &[u8], with_keys: usize| {
            let mut size = Size::default();
            for item in ReadView::range(&view, keyspace::prefix_bounds(prefix)).unwrap() {
                let (key, value) = item.unwrap();
                size.count += 1;
                size.bytes += (value.value().len() + with_keys * key.value().len()) as u64;
            }
            size
        };
        for name in crate::view::catalog::collection_names(&view).unwrap() {
            let meta = crate::view::catalog::collection(&view, &name).unwrap().unwrap();
            let statistics = Statistics::of(&view, meta.id).unwrap();
            assert_eq!(statistics.documents, measure(&keyspace::documents(meta.id), 0), "{name}");
            for index in &meta.indexes {
                let counted = measure(&keyspace::entries(index.id), 1);
                assert_eq!(statistics.index(index.id), counted, "{}", index.definition.name());
            }
        }
    }

    /// The hashes of the applied order and how many of them are confirmed.
    fn order(&self) -> (Vec<EntryHash>, u64) {
        let status = self.engine.status().unwrap();
        let transaction = self.engine.database.begin_read().unwrap();
        let log = self.log();
        let numbers = order_snapshot(&transaction, 0, status.confirmed + status.tail).unwrap();
        let hashes = numbers.into_iter().map(|number| log.record(number).unwrap().unwrap().hash).collect();
        (hashes, status.confirmed)
    }

    fn restart(self) -> Self {
        let Self { engine, now_ms } = self;
        let Engine { database, identity, secret, .. } = engine;
        Self { engine: Engine::open(database, identity, secret).unwrap(), now_ms }
    }

    /// The same, and readers are shown what they have seen before.
    fn restart_for_readers(self) -> Self {
        let Self { engine, now_ms } = self.restart();
        Self { engine: engine.until_presentable(limits::SETTLE_BYTES_MAX).unwrap(), now_ms }
    }
}

/// Everybody gets everything, and acks, until it is quiet.
fn confirm(peers: &mut [&mut Peer]) {
    loop {
        let runs: Vec<Vec<VerifiedRun>> = peers.iter().map(|peer| peer.runs()).collect();
        for peer in &mut *peers {
            for runs in &runs {
                peer.receive(runs);
            }
        }
        let acks = peers.iter_mut().filter_map(|peer| peer.ack().then_some(())).count();
        if acks == 0 {
            return;
        }
    }
}

fn update_request(filter: RawDocumentBuf, update: RawDocumentBuf) -> UpdateRequest {
    crate::simulation::requests::update("c", filter, update)
}

fn meet(a: &mut Peer, b: &mut Peer) {
    let (of_a, of_b) = (a.runs(), b.runs());
    a.receive(&of_b);
    b.receive(&of_a);
}

/// A signed run of one entry that extends `peer`'s log heads, changed before it is signed.
fn forged_run(peer: &Peer, author: &SigningKey, change: impl FnOnce(&mut Header)) -> VerifiedRun {
    forged_run_with(peer, author, Vec::new(), change)
}

/// The same with a payload.
fn forged_run_with(
    peer: &Peer,
    author: &SigningKey,
    payload: Vec<u8>,
    change: impl FnOnce(&mut Header),
) -> VerifiedRun {
    let writer = WriterKey::from_bytes(author.verifying_key().to_bytes());
    let tips = peer.log().tips().unwrap();
    let own = tips.iter().filter(|tip| tip.writer == writer).max_by_key(|tip| tip.length);
    let mut parents: Vec<EntryHash> =
        tips.iter().filter(|tip| tip.writer != writer).map(|tip| tip.head).collect();
    parents.sort_unstable();
    let mut header = Header {
        writer,
        seq: own.map_or(0, |tip| tip.length),
        prev: own.map(|tip| tip.head),
        parents,
        time: 1_000_000,
        epoch: 0,
        wave: 0,
        checkpoint: None,
        payload_length: payload.len() as u32,
        payload_hash: *blake3::hash(&payload).as_bytes(),
    };
    change(&mut header);
    let hash = header.hash(&peer.engine.id);
    VerifiedRun::sign(vec![Entry { header, hash, payload }], author).unwrap()
}
