//! The engine against itself: peers that write apart and meet, restarts, refused runs.

mod catalog;
mod power_cuts;
mod sim_disk;

use bson::{RawBson, RawDocumentBuf, rawdoc};
use proptest::prelude::*;
use redb::ReadableDatabase;
use redb::backends::InMemoryBackend;

use super::append::Moment;
use super::request::{DeleteRequest, UpdateRequest};
use super::*;
use crate::entry::{Entry, Genesis, Header, VerifiedRun};
use crate::ids::{DatabaseKey, EntryHash};
use crate::log_reader::LogReader;
use crate::operation::{Operation, Roles, UpdateOperation};
use crate::storage::{self, LogSnapshot, order_snapshot, view_snapshot};
use crate::view::catalog::CollectionOptions;
use crate::view::digest::digest;

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

    fn digest(&self) -> [u8; 32] {
        digest(&view_snapshot(&self.engine.database.begin_read().unwrap()).unwrap().unwrap()).unwrap()
    }

    fn documents(&self) -> Vec<RawDocumentBuf> {
        let view = view_snapshot(&self.engine.database.begin_read().unwrap()).unwrap().unwrap();
        let Some(meta) = crate::view::catalog::collection(&view, "c").unwrap() else { return Vec::new() };
        let all = crate::query::FindOptions::default();
        crate::query::Execution::new(view, &Arc::new(meta), &all).unwrap().collect::<Result<_>>().unwrap()
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
}

fn update_request(filter: RawDocumentBuf, update: RawDocumentBuf) -> UpdateRequest {
    UpdateRequest {
        collection: "c".to_owned(),
        filter,
        update: RawBson::Document(update),
        array_filters: Vec::new(),
        multi: true,
        upsert: None,
        replacement: false,
        sort: None,
        hint: None,
        returning: None,
    }
}

fn meet(a: &mut Peer, b: &mut Peer) {
    let (of_a, of_b) = (a.runs(), b.runs());
    a.receive(&of_b);
    b.receive(&of_a);
}

#[test]
fn a_lone_founder_confirms_each_write_at_once_and_keeps_it_over_a_restart() {
    let mut a = peer(1, &closed(1));
    for n in 0..20 {
        a.insert(rawdoc! { "_id": n, "n": n }).unwrap();
    }
    let status = a.engine.status().unwrap();
    assert_eq!((status.entries, status.confirmed, status.tail, status.undone), (20, 20, 0, 0));
    let before = (a.digest(), a.order());
    let a = a.restart();
    assert_eq!((a.digest(), a.order()), before);
    assert_eq!(a.documents().len(), 20);
}

#[test]
fn a_call_that_fails_changes_and_logs_nothing() {
    let mut a = peer(1, &closed(1));
    a.insert(rawdoc! { "_id": 1, "n": 1 }).unwrap();
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true }).unwrap();
    let before = (a.digest(), a.order());
    assert_eq!(a.insert(rawdoc! { "_id": 1 }).unwrap_err().code(), Some(11_000));
    assert_eq!(a.insert(rawdoc! { "_id": 2, "n": 1.0 }).unwrap_err().code(), Some(11_000));
    assert_eq!(
        a.update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "n": "x" } }).unwrap_err().code(),
        Some(14)
    );
    assert_eq!(a.call(Request::DropCollection { collection: "no".to_owned() }).unwrap_err().code(), Some(26));
    assert!(
        a.call(Request::CreateCollection {
            collection: "system.x".to_owned(),
            options: CollectionOptions::default()
        })
        .is_err()
    );
    assert_eq!((a.digest(), a.order()), before);
}

#[test]
fn an_ordered_insert_keeps_what_came_before_the_failure_and_replays_to_the_same() {
    let mut a = peer(1, &open());
    let documents = vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }];
    let insert =
        |ordered| Request::Insert { collection: "c".to_owned(), documents: documents.clone(), ordered };
    let reply = a.call(insert(true)).unwrap();
    assert_eq!((reply.outcome.inserted, reply.outcome.ended_at), (1, Some(1)));
    let reply = a.call(insert(false)).unwrap();
    assert_eq!((reply.outcome.inserted, reply.outcome.rejected.len()), (1, 2));
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn peers_of_an_open_topic_that_start_apart_meet_and_agree() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": "shared", "n": 0 }).unwrap();
    b.insert(rawdoc! { "_id": "shared", "n": 0 }).unwrap();
    for n in 0..30 {
        a.insert(rawdoc! { "_id": n }).unwrap();
        a.update(rawdoc! { "_id": "shared" }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        b.insert(rawdoc! { "_id": n + 100 }).unwrap();
        b.update(rawdoc! { "_id": "shared" }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
    }
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.order(), b.order());
    assert_eq!(a.engine.status().unwrap().confirmed, 0, "nobody has been appointed to confirm");
    let shared =
        a.documents().into_iter().find(|document| document.get_str("_id").ok() == Some("shared")).unwrap();
    assert_eq!(shared.get_i32("n").unwrap(), 60, "increments of both count, on the one insert that held");

    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    meet(&mut a, &mut b);
    while a.ack() | b.ack() {
        meet(&mut a, &mut b);
    }
    let (order, confirmed) = a.order();
    assert_eq!((order.clone(), confirmed), b.order());
    assert_eq!(a.digest(), b.digest());
    let status = a.engine.status().unwrap();
    assert_eq!((status.epoch, status.indexers.len()), (1, 2));
    assert!(confirmed >= 122, "all writes are confirmed: {confirmed}");
}

#[test]
fn fork_and_merge_applies_each_operation_at_most_twice() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    for n in 0..500 {
        a.insert(rawdoc! { "_id": n }).unwrap();
        b.insert(rawdoc! { "_id": n + 10_000 }).unwrap();
    }
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    for peer in [&a, &b] {
        let status = peer.engine.status().unwrap();
        assert!(status.applied <= 2_000, "applied {} times", status.applied);
    }
}

#[test]
fn of_two_concurrent_inserts_of_a_unique_key_the_later_in_the_order_is_rejected_and_listed() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true }).unwrap();
    meet(&mut a, &mut b);
    b.now_ms = a.now_ms;
    a.insert(rawdoc! { "_id": "a", "n": 1 }).unwrap();
    b.insert(rawdoc! { "_id": "b", "n": 1 }).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.documents().len(), 1);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let meta = crate::view::catalog::collection(&view, "system.rejected").unwrap().unwrap();
    assert_eq!(crate::view::catalog::document_count(&view, meta.id).unwrap(), 1);
}

#[test]
fn a_stranger_to_a_closed_database_is_refused_until_an_admin_admits_it() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    b.receive(&a.runs());
    assert_eq!(b.insert(rawdoc! { "_id": 2 }).unwrap_err().kind(), ErrorKind::Denied);

    // A stranger that writes all the same is refused at the door.
    let run = forged_run(&a, &secret(2), |_| {});
    assert_eq!(a.engine.ingest(&run).unwrap(), Err(IngestError::Denied(writer_key(2))));

    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    meet(&mut a, &mut b);
    assert_eq!((a.documents().len(), a.digest()), (2, b.digest()));

    // Removed again, its later entries are skipped.
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.insert(rawdoc! { "_id": 3 }).unwrap();
    b.now_ms = a.now_ms + 100;
    let later = b.insert(rawdoc! { "_id": 4 });
    assert!(later.is_ok(), "b does not know yet");
    meet(&mut a, &mut b);
    while a.ack() {
        meet(&mut a, &mut b);
    }
    assert_eq!(a.digest(), b.digest());
    assert_eq!(b.insert(rawdoc! { "_id": 5 }).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(
        a.call(Request::RemoveWriter { writer: writer_key(1) }).unwrap_err().kind(),
        ErrorKind::Invalid
    );
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

#[test]
fn runs_that_are_out_of_order_are_refused_by_name_and_change_nothing() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut b = peer(2, &open());
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 3 }).unwrap();
    let before = (a.digest(), a.order(), a.engine.status().unwrap());
    let unknown = EntryHash::from_bytes([0xFF; 32]);

    let absent_prev = forged_run(&b, &secret(2), |_| {});
    assert!(matches!(a.engine.ingest(&absent_prev).unwrap(), Err(IngestError::AbsentPrev(_))));
    let absent_parent = forged_run(&a, &secret(3), |header| header.parents = vec![unknown]);
    assert!(matches!(a.engine.ingest(&absent_parent).unwrap(), Err(IngestError::AbsentParent(_))));
    let wrong_place = forged_run(&a, &secret(1), |header| header.seq += 1);
    assert!(matches!(a.engine.ingest(&wrong_place).unwrap(), Err(IngestError::WrongPrev(_))));
    let earlier = forged_run(&a, &secret(1), |header| header.time = 0);
    assert!(matches!(a.engine.ingest(&earlier).unwrap(), Err(IngestError::WrongPrev(_))));
    let illegal_wave = forged_run(&a, &secret(3), |header| header.wave = 1);
    assert!(matches!(a.engine.ingest(&illegal_wave).unwrap(), Err(IngestError::Illegal { .. })));
    let last = forged_run(&a, &secret(1), |header| header.seq = u64::MAX);
    assert!(matches!(a.engine.ingest(&last).unwrap(), Err(IngestError::WrongPrev(_))));
    assert_eq!((a.digest(), a.order(), a.engine.status().unwrap()), before);
}

#[test]
fn both_branches_of_a_forked_log_stand_and_peers_agree_whichever_came_first() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let (mut b, mut c) = (peer(2, &open()), peer(3, &open()));
    b.receive(&a.runs());
    c.receive(&a.runs());
    // The device is copied: two engines sign with one key.
    let mut twin = peer(1, &open());
    twin.receive(&a.runs());
    a.insert(rawdoc! { "_id": "a" }).unwrap();
    twin.insert(rawdoc! { "_id": "twin" }).unwrap();
    b.receive(&a.runs());
    c.receive(&twin.runs());
    meet(&mut b, &mut c);
    assert_eq!((b.digest(), b.order()), (c.digest(), c.order()));
    assert_eq!(b.documents().len(), 3);
    assert_eq!(b.engine.status().unwrap().forked, vec![writer_key(1)]);
    assert_eq!(c.engine.status().unwrap().forked, vec![writer_key(1)]);
}

#[test]
fn a_peer_that_cannot_name_all_heads_as_parents_goes_on_writing() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    for number in 0..crate::limits::PARENTS_MAX as u64 + 40 {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let run = forged_run(&a, &SigningKey::from_bytes(&seed), |header| {
            header.parents.clear();
            header.time = 1_000_000 + number;
        });
        a.engine.ingest(&run).unwrap().unwrap();
    }
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    a.insert(rawdoc! { "_id": 3 }).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(b.documents().len(), 3);
    let a = a.restart();
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn what_other_peers_could_not_read_is_refused_instead_of_applied_here_alone() {
    let mut a = peer(1, &open());
    let ids = 0..=crate::limits::OPERATIONS_MAX as i32;
    let documents = ids.map(|id| rawdoc! { "_id": id, "l": ["ab"] }).collect();
    a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    let deep = |levels| (0..levels).fold(rawdoc! { "x": 1 }, |inner, _| rawdoc! { "d": inner });
    let mut deepest = rawdoc! { "_id": "deep", "l": ["ab", "b"] };
    deepest.append(bson::raw::cstr!("a"), deep(62));
    a.insert(deepest).unwrap();
    let before = (a.digest(), a.order());

    // By a regular expression: logged as one operation for each document, more than an entry may hold.
    let pull = rawdoc! { "l": { "$regex": "^a" } };
    let update = rawdoc! { "$pull": pull.clone() };
    assert_eq!(a.update(rawdoc! {}, update).unwrap_err().kind(), ErrorKind::Invalid);

    // The largest document has no room for the `_id` that it would get.
    let largest = rawdoc! { "s": "x".repeat(16 * 1024 * 1024 - 13) };
    assert!(db_index::check_document(largest.as_bytes()).is_ok());
    let with_id = with_id_in_front(largest, bson::oid::ObjectId::from_bytes([1; 12]));
    assert_eq!(a.insert(with_id).unwrap_err().kind(), ErrorKind::Invalid);

    // A whole field of the deepest document is one level deeper inside `$set`.
    let update = rawdoc! { "$rename": { "a": "b" }, "$pull": pull };
    assert_eq!(a.update(rawdoc! { "_id": "deep" }, update).unwrap_err().kind(), ErrorKind::Invalid);

    let name = "n".repeat(crate::limits::INDEX_NAME_BYTES_MAX + 1);
    assert_eq!(a.create_index(rawdoc! { "name": name, "key": { "n": 1 } }).unwrap_err().code(), Some(67));
    assert_eq!((a.digest(), a.order()), before);
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn large_calls_that_share_a_commit_are_sent_as_runs_that_peers_take() {
    let mut a = peer(1, &open());
    let noise = |seed: u64| -> String {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; 4 * 1024 * 1024];
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        data_encoding::BASE64.encode(&bytes)
    };
    let moment = a.moment();
    a.engine
        .run(|batch| {
            for id in 0..4_i64 {
                let documents = vec![rawdoc! { "_id": id, "s": noise(id.cast_unsigned()) }];
                let insert = Request::Insert { collection: "c".to_owned(), documents, ordered: true };
                batch.execute(insert, &moment)?.unwrap();
            }
            Ok(())
        })
        .unwrap();
    for run in a.runs() {
        assert!(crate::entry::Run::decode(&run.encode()).unwrap().verify(&a.engine.id).is_ok());
    }
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_rebuild_gives_the_same_and_still_knows_which_entries_change_members() {
    let mut a = peer(1, &closed(1));
    for number in [2, 3] {
        a.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
    }
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(Request::SetRoles { writer: writer_key(4), roles: Roles::WRITER }).unwrap();
    let before = (a.digest(), a.order());
    a.engine
        .run(|batch| {
            let membership = batch.state.membership.clone();
            assert!(!membership.is_empty(), "the last change is not confirmed");
            batch.rebuild(&crate::linearizer::ConfirmationBroken { epoch: 0, forked: Vec::new() })?;
            assert_eq!(batch.state.membership, membership);
            Ok(())
        })
        .unwrap();
    assert_eq!((a.digest(), a.order()), before);
}

#[test]
fn an_open_database_whose_founding_entry_is_void_is_not_founded_by_a_second_one() {
    let mut a = peer(1, &open());
    let founder = founder_secret(&open().key);
    let void = forged_run(&a, &founder, |_| {});
    a.receive(&[void]);
    let refused = a.call(Request::SetIndexers { writers: vec![writer_key(1)] });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn an_upsert_does_not_touch_a_document_that_its_filter_does_not_match() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "s": "b", "n": 0 }).unwrap();
    let before = (a.digest(), a.order());
    for filter in [rawdoc! { "_id": 1, "s": { "$regex": "^a" } }, rawdoc! { "_id": 1, "n": 5 }] {
        let mut upsert = update_request(filter, rawdoc! { "$inc": { "n": 1 } });
        upsert.upsert = Some(bson::oid::ObjectId::from_bytes([1; 12]));
        assert_eq!(a.call(Request::Update(upsert)).unwrap_err().code(), Some(11_000));
    }
    assert_eq!((a.digest(), a.order()), before);
}

#[test]
fn a_writer_of_its_own_making_gets_neither_patterns_nor_the_systems_collections_past_the_replay() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "s": "abc", "l": ["abc"] }).unwrap();
    let operation = |guard, update| {
        Operation::Update(UpdateOperation {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard,
            update,
            array_filters: Vec::new(),
        })
    };
    let pattern = rawdoc! { "$regex": "^a" };
    let name = || crate::view::catalog::REJECTED.to_owned();
    let operations = [
        operation(rawdoc! { "s": pattern.clone() }, rawdoc! { "$set": { "x": 1 } }),
        operation(rawdoc! {}, rawdoc! { "$pull": { "l": pattern.clone() } }),
        operation(rawdoc! {}, rawdoc! { "$currentDate": { "x": true } }),
        Operation::Delete {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard: rawdoc! { "s": pattern },
        },
        Operation::Insert { collection: name(), documents: vec![rawdoc! { "_id": "forged" }] },
        Operation::DropCollection { collection: name() },
        Operation::CreateCollection { collection: "../etc".to_owned(), options: rawdoc! {} },
    ];
    let payload = crate::payload::pack(&crate::operation::encode(&operations));
    let run = forged_run_with(&a, &secret(2), payload, |_| {});
    let documents = a.documents();
    a.receive(&[run]);
    assert_eq!(a.documents(), documents);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    assert_eq!(crate::view::catalog::collection_names(&view).unwrap(), ["c", "system.rejected"]);
    let rejected = crate::view::catalog::collection(&view, "system.rejected").unwrap().unwrap();
    assert_eq!(crate::view::catalog::document_count(&view, rejected.id).unwrap(), operations.len() as u64);
    assert_eq!(
        a.call(Request::DropCollection { collection: "system.rejected".to_owned() }).unwrap_err().code(),
        Some(73)
    );
}

#[test]
fn a_long_id_cannot_multiply_with_the_elements_of_an_array() {
    let mut a = peer(1, &open());
    a.create_index(rawdoc! { "name": "l_1", "key": { "l": 1 } }).unwrap();
    // 4 MiB times 100,000 would be 400 GiB.
    let mut document = rawdoc! { "_id": "x".repeat(4 * 1024 * 1024) };
    document.append(bson::raw::cstr!("l"), (0..100_000).collect::<bson::RawArrayBuf>());
    assert_eq!(a.insert(document).unwrap_err().code(), Some(17_280));
}

#[test]
fn whose_admission_turns_out_void_is_stored_everywhere_and_applied_nowhere() {
    let identity = closed(1);
    let (mut a, mut b, mut c) = (peer(1, &identity), peer(2, &identity), peer(3, &identity));
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::ADMIN }).unwrap();
    b.receive(&a.runs());
    // The founder removes the second admin, who has not heard of it and admits a third writer.
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.now_ms = a.now_ms + 100;
    b.call(Request::SetRoles { writer: writer_key(3), roles: Roles::WRITER }).unwrap();
    c.receive(&b.runs());
    c.now_ms = b.now_ms;
    c.insert(rawdoc! { "_id": 1 }).unwrap();
    meet(&mut b, &mut c);
    meet(&mut a, &mut b);
    meet(&mut a, &mut c);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!((a.digest(), a.order()), (c.digest(), c.order()));
    assert!(a.documents().is_empty());
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Insert(usize, i32, i32),
    Increment(usize, i32),
    Delete(usize, i32),
    Index(usize, bool),
    Drop(usize),
    Meet(usize, usize),
    Ack(usize),
    Restart(usize),
    Indexers(usize, u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let peer = 0..3_usize;
    prop_oneof![
        6 => (peer.clone(), 0..12_i32, 0..4_i32).prop_map(|(peer, id, n)| Step::Insert(peer, id, n)),
        4 => (peer.clone(), 0..4_i32).prop_map(|(peer, n)| Step::Increment(peer, n)),
        2 => (peer.clone(), 0..4_i32).prop_map(|(peer, n)| Step::Delete(peer, n)),
        1 => (peer.clone(), any::<bool>()).prop_map(|(peer, unique)| Step::Index(peer, unique)),
        1 => peer.clone().prop_map(Step::Drop),
        5 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Step::Meet(a, b)),
        2 => peer.clone().prop_map(Step::Ack),
        1 => peer.clone().prop_map(Step::Restart),
        1 => (peer, 1..8_u8).prop_map(|(peer, set)| Step::Indexers(peer, set)),
    ]
}

fn take(peers: &mut [Option<Peer>], step: &Step) {
    let at = |peers: &mut [Option<Peer>], index: usize| -> Peer { peers[index].take().unwrap() };
    match *step {
        Step::Insert(index, id, n) => {
            let _ = peers[index].as_mut().unwrap().insert(rawdoc! { "_id": id, "n": n, "l": [n, id] });
        }
        Step::Increment(index, n) => {
            let _ = peers[index].as_mut().unwrap().update(rawdoc! { "n": n }, rawdoc! { "$inc": { "n": 1 } });
        }
        Step::Delete(index, n) => {
            let _ = peers[index].as_mut().unwrap().delete(rawdoc! { "n": { "$gte": n } });
        }
        Step::Index(index, unique) => {
            let definition = rawdoc! { "name": "l_1_n_-1", "key": { "l": 1, "n": -1 }, "unique": unique };
            let _ = peers[index].as_mut().unwrap().create_index(definition);
        }
        Step::Drop(index) => {
            let _ =
                peers[index].as_mut().unwrap().call(Request::DropCollection { collection: "c".to_owned() });
        }
        Step::Meet(a, b) if a != b => {
            let (mut one, mut other) = (at(peers, a), at(peers, b));
            meet(&mut one, &mut other);
            assert_eq!(one.digest(), other.digest());
            assert_eq!(one.order(), other.order());
            (peers[a], peers[b]) = (Some(one), Some(other));
        }
        Step::Meet(..) => {}
        Step::Ack(index) => {
            peers[index].as_mut().unwrap().ack();
        }
        Step::Restart(index) => {
            let peer = at(peers, index);
            let before = (peer.digest(), peer.order());
            let peer = peer.restart();
            assert_eq!((peer.digest(), peer.order()), before);
            peers[index] = Some(peer);
        }
        Step::Indexers(index, set) => {
            let writers = (1..=3).filter(|n| set & (1 << (n - 1)) != 0).map(writer_key).collect();
            let _ = peers[index].as_mut().unwrap().call(Request::SetIndexers { writers });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_equal_entries_give_equal_views_and_confirmed_orders_only_grow(
        is_open in any::<bool>(),
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let identity = if is_open { open() } else { closed(1) };
        let mut peers: Vec<Option<Peer>> = (1..=3).map(|number| Some(peer(number, &identity))).collect();
        if !is_open {
            let first = peers[0].as_mut().unwrap();
            for number in [2, 3] {
                first.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
            }
        }
        // In an open database only one peer founds here: two foundings are a fork of the founder's log.
        let mut confirmed: Vec<Vec<EntryHash>> = vec![Vec::new(); 3];
        for step in &steps {
            if let Step::Indexers(index, _) = step && is_open && *index != 0 {
                continue;
            }
            take(&mut peers, step);
            for (before, peer) in confirmed.iter_mut().zip(&peers) {
                let (order, count) = peer.as_ref().unwrap().order();
                prop_assert!(count as usize >= before.len());
                prop_assert!(order.starts_with(before));
                *before = order[..count as usize].to_vec();
            }
        }
        for (a, b) in [(0, 1), (1, 2), (0, 1), (0, 2)] {
            take(&mut peers, &Step::Meet(a, b));
        }
        // A newcomer that gets everything at once builds the same view.
        let last = peers[0].take().unwrap();
        let mut fresh = peer(4, &identity);
        fresh.receive(&last.runs());
        prop_assert_eq!((fresh.digest(), fresh.order()), (last.digest(), last.order()));
    }
}
