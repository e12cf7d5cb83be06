//! What peers do of their own: they write, order what has come, ack, and log proofs of forks.

use bson::{RawBson, rawdoc};

use super::World;
use crate::engine::{DeleteRequest, Engine, Request, UpdateRequest};
use crate::simulation::node::document;

impl World {
    pub(super) fn write(&mut self, at: usize) {
        let id = 1 + self.chance.below(self.documents.max(1)) as i32;
        let filter = rawdoc! { "_id": id };
        let update = |filter, update| {
            Request::Update(UpdateRequest {
                collection: "c".to_owned(),
                filter,
                update: RawBson::Document(update),
                array_filters: Vec::new(),
                multi: true,
                upsert: None,
                replacement: false,
                strict: false,
                sort: None,
                hint: None,
                variables: None,
                collation: None,
                returning: None,
            })
        };
        let some = self.chance.below(6) as i32;
        let request = match self.chance.below(20) {
            0..9 => return self.insert(at),
            9..12 => update(filter, rawdoc! { "$inc": { "n": 1 } }),
            12..14 => update(rawdoc! { "n": some }, rawdoc! { "$push": { "l": some } }),
            14 => update(filter, rawdoc! { "$set": { "u": some } }),
            15 => update(filter, rawdoc! { "$unset": { "u": 1 }, "$pull": { "l": some } }),
            16..18 => Request::Delete(DeleteRequest {
                collection: "c".to_owned(),
                filter,
                multi: false,
                sort: None,
                hint: None,
                variables: None,
                collation: None,
                returning: None,
            }),
            18 => {
                let definition = rawdoc! { "name": "s_1", "key": { "s": 1, "n": 1 } };
                Request::CreateIndexes { collection: "c".to_owned(), definitions: vec![definition] }
            }
            _ => Request::DropIndex { collection: "c".to_owned(), name: "s_1".to_owned() },
        };
        self.call(at, request);
    }

    pub(super) fn insert(&mut self, at: usize) {
        // Some `_id`s are inserted by several: then the later in the order is rejected.
        self.documents += u64::from(!self.chance.one_in(8));
        let documents = vec![document(self.documents)];
        self.call(at, Request::Insert { collection: "c".to_owned(), documents, ordered: true });
    }

    pub(super) fn call(&mut self, at: usize, request: Request) {
        let Some(before) = self.nodes[at].engine.as_ref().map(Engine::end) else { return };
        let moment = self.nodes[at].moment(self.now_ms, self.gone(at));
        if let Some(reply) = self.nodes[at].call(request, &moment) {
            self.report.calls += u64::from(reply.is_ok());
        } else {
            self.unplug(at);
        }
        self.tell_sessions(at, before);
        self.look_at(at);
    }

    pub(super) fn order(&mut self, at: usize, is_whole: bool) {
        let bytes = if is_whole { usize::MAX } else { 3_000 };
        if self.nodes[at].is_on() && self.nodes[at].run(|batch| batch.settle_within(bytes)).is_none() {
            self.unplug(at);
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
            self.unplug(at);
        }
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
