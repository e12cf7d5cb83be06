//! What peers do of their own: they write, order what has come, ack, and log proofs of forks.

use bson::oid::ObjectId;
use bson::{RawDocumentBuf, rawdoc};

use super::World;
use crate::engine::{DeleteRequest, Engine, Request, Resolution, UpdateRequest};
use crate::error::ErrorKind;
use crate::rejections::id_document;
use crate::simulation::node::document;
use crate::simulation::requests;

/// How many documents are written most.
const SHARED: u64 = 3;

impl World {
    pub(super) fn write(&mut self, at: usize) {
        // Some documents are everybody's, so that much is written without having seen what others write.
        let documents = if self.chance.one_in(3) { self.documents } else { self.documents.min(SHARED) };
        let id = 1 + self.chance.below(documents.max(1)) as i32;
        let filter = rawdoc! { "_id": id };
        let update = |filter, update| Request::Update(requests::update("c", filter, update));
        let some = self.chance.below(6) as i32;
        let request = match self.chance.below(28) {
            0..9 => return self.insert(at),
            9 | 10 => update(filter, rawdoc! { "$inc": { "n": 1 } }),
            11 => update(filter, rawdoc! { "$set": { "n": some } }),
            12 => update(rawdoc! { "n": some }, rawdoc! { "$push": { "l": some } }),
            13 | 14 if self.chance.one_in(2) => update(filter, rawdoc! { "$set": { "u": some } }),
            13 | 14 => update(filter, rawdoc! { "$set": { "q": some, "n": some } }),
            15 => update(filter, rawdoc! { "$unset": { "u": 1, "q": 1 }, "$pull": { "l": some } }),
            16..18 => Request::Delete(requests::delete("c", filter)),
            18..22 => return self.write_beside(at),
            22 | 23 => Request::Update(UpdateRequest {
                upsert: Some(ObjectId::from_bytes([0; 12])),
                multi: false,
                ..requests::update(
                    "c",
                    rawdoc! { "_id": id + self.chance.below(3) as i32 },
                    rawdoc! { "$set": { "n": some }, "$push": { "l": some } },
                )
            }),
            24 | 25 => Request::Update(UpdateRequest {
                replacement: true,
                multi: false,
                ..requests::update("c", filter, rawdoc! { "n": some, "l": [some], "s": "replaced" })
            }),
            26 => requests::create_index("c", rawdoc! { "name": "s_1", "key": { "s": 1, "n": 1 } }),
            _ => Request::DropIndex { collection: "c".to_owned(), name: "s_1".to_owned() },
        };
        self.call(at, request);
    }

    /// Writes to collections that come and go and change their names.
    fn write_beside(&mut self, at: usize) {
        let [collection, other] = if self.chance.one_in(2) { ["d", "e"] } else { ["e", "d"] };
        let collection = collection.to_owned();
        let some = self.chance.below(6) as i32;
        let request = match self.chance.below(16) {
            0..6 => {
                let ids = (0..=self.chance.below(3)).map(|_| self.chance.below(12) as i32);
                let documents = ids.map(|id| rawdoc! { "_id": id, "n": some, "s": "s".repeat(60) }).collect();
                Request::Insert { collection, documents, ordered: false }
            }
            6..9 => Request::Update(requests::update(
                &collection,
                rawdoc! { "n": some },
                rawdoc! { "$inc": { "n": 1 } },
            )),
            9 => Request::Delete(DeleteRequest {
                multi: true,
                ..requests::delete(&collection, rawdoc! { "n": { "$lt": some } })
            }),
            10 => requests::create_index(
                &collection,
                rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": some == 0, "sparse": true },
            ),
            11 => Request::DropIndexes { collection },
            12 | 13 => Request::DropCollection { collection },
            _ => {
                let drop_target = self.chance.one_in(2);
                Request::RenameCollection { collection, to: other.to_owned(), drop_target }
            }
        };
        self.call(at, request);
    }

    pub(super) fn insert(&mut self, at: usize) {
        // Some `_id`s are inserted by several: then the later in the order is rejected.
        self.documents += u64::from(!self.chance.one_in(8));
        let documents = vec![document(self.documents)];
        self.call(at, requests::insert("c", documents));
    }

    pub(super) fn call(&mut self, at: usize, request: Request) {
        let Some(before) = self.nodes[at].engine.as_ref().map(Engine::end) else { return };
        let moment = self.nodes[at].moment(self.now_ms, self.gone(at));
        // Who knows that its log goes further takes another key, or gives the rest up, or waits.
        let is_way_out = matches!(request, Request::RotateKey { .. } | Request::GiveUpOwnEntries);
        let must_wait = !is_way_out && self.nodes[at].misses_own() && !self.nodes[at].has_own_logs();
        if let Some(reply) = self.nodes[at].call(request, &moment) {
            let is_refused = reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
            assert!(is_refused || !must_wait, "peer {at} writes although its log is known to go further");
            self.report.calls += u64::from(reply.is_ok());
            self.note_careless(at);
        } else {
            self.is_gone(at);
        }
        self.tell_sessions(at, before);
        self.look_at(at);
    }

    /// Runs a transaction, or begins one whose snapshot will be old when it is run.
    pub(super) fn transact(&mut self, at: usize) {
        let node = &self.nodes[at];
        if !node.is_on() {
            return;
        }
        if self.chance.one_in(3) {
            return self.transactions.begin(node, &mut self.chance);
        }
        let moment = node.moment(self.now_ms, self.gone(at));
        let Some(request) = self.transactions.run(node, &moment, &mut self.chance) else { return };
        self.call(at, request);
        self.report.transactions += 1;
    }

    /// Does again what was rejected, or gives it up.
    pub(super) fn settle_rejection(&mut self, at: usize) {
        let Some(readers) = &self.nodes[at].readers else { return };
        let listed = readers.database.rejections().find(bson::doc! {}).run().unwrap();
        let listed: Vec<_> = listed.map(|rejection| rejection.unwrap().id().unwrap()).collect();
        let Some(count) = (listed.len() as u64).checked_sub(1) else { return };
        let rejection = listed[self.chance.below(count + 1) as usize];
        let request = if self.chance.one_in(3) {
            Request::Discard { id: id_document(&rejection).unwrap() }
        } else {
            let (operation, is_whole) = readers.database.rejected_operation(&rejection).unwrap();
            assert!(is_whole, "nothing here has so many parts");
            Request::Resubmit { id: id_document(&rejection).unwrap(), operation }
        };
        self.call(at, request);
        self.report.resubmitted += 1;
    }

    /// Settles a conflict that is listed.
    pub(super) fn settle_conflict(&mut self, at: usize) {
        let Some(readers) = &self.nodes[at].readers else { return };
        let listed = readers.database.conflicts().find(bson::doc! {}).run().unwrap();
        let listed: Vec<_> = listed.map(|conflict| conflict.unwrap().id).collect();
        let Some(count) = (listed.len() as u64).checked_sub(1) else { return };
        let id =
            RawDocumentBuf::try_from(&bson::doc! { "_id": &listed[self.chance.below(count + 1) as usize] });
        let resolution = match self.chance.below(3) {
            0 => Resolution::Keep,
            1 => Resolution::TakeLoser,
            _ => Resolution::Set(bson::Bson::Int32(self.chance.below(6) as i32)),
        };
        self.call(at, Request::Resolve { id: id.unwrap(), resolution });
        self.report.resolved += 1;
    }

    /// A client that was at another peer goes on with the confirmed events here, for some of them or for all there are.
    pub(super) fn roam(&mut self, at: usize) {
        let number = self.chance.below(self.roamers.len() as u64) as usize;
        let events = if self.chance.one_in(2) { u64::MAX } else { self.chance.below(20) };
        let Some(readers) = self.nodes[at].readers.as_ref().filter(|_| !self.options.forks_indexers) else {
            return;
        };
        let client = &mut self.roamers[number];
        let mut stream = client.open(&readers.database);
        client.follow(at, &readers.database, &mut stream, &mut self.knowledge.told, events);
        self.report.roamed += 1;
    }

    /// Goes on with another key.
    pub(super) fn rotate_key(&mut self, at: usize) {
        let mut seed = [0; 32];
        seed.fill_with(|| self.chance.below(256) as u8);
        let before = self.nodes[at].key();
        self.call(at, Request::RotateKey { seed });
        self.report.rotated += u64::from(self.nodes[at].key() != before);
    }

    pub(super) fn order(&mut self, at: usize, is_whole: bool) {
        let some_bytes = [1, 400, 3_000][self.chance.below(3) as usize];
        let bytes = if is_whole { usize::MAX } else { some_bytes };
        if self.nodes[at].is_on() && self.nodes[at].run(|batch| batch.settle_within(bytes)).is_none() {
            self.is_gone(at);
        }
        self.look_at(at);
    }

    /// Acks, if that helps; whether anything was appended.
    pub(super) fn ack(&mut self, at: usize) -> bool {
        let gone = self.gone(at);
        let Some(engine) = self.nodes[at].engine.as_ref().filter(|engine| engine.wants_ack(&gone)) else {
            return false;
        };
        let before = engine.end();
        let moment = self.nodes[at].moment(self.now_ms, gone);
        if self.nodes[at].run(|batch| batch.append_ack(&moment)).is_none() {
            self.is_gone(at);
        }
        self.note_careless(at);
        self.tell_sessions(at, before);
        self.look_at(at);
        true
    }

    /// Logs proofs of the forks that are known there; whether there was one to log.
    pub(super) fn prove_forks(&mut self, at: usize) -> bool {
        let wants = |engine: &Engine| engine.wants_fork_proof().unwrap();
        let wants = self.nodes[at].engine.as_ref().is_some_and(wants);
        if wants {
            self.call(at, Request::ProveForks);
            self.report.proofs += 1;
        }
        wants
    }
}
