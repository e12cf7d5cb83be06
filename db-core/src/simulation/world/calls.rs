//! What peers do of their own: they call, order what has come, ack, and log proofs of forks.

use bson::RawDocumentBuf;

use super::World;
use crate::engine::{Engine, Request, Resolution};
use crate::error::ErrorKind;
use crate::rejections::id_document;

impl World {
    pub(super) fn call(&mut self, at: usize, request: Request) {
        let Some(before) = self.nodes[at].engine.as_ref().map(Engine::end) else { return };
        let moment = self.nodes[at].moment(self.now_ms, self.gone(at));
        // Who knows that its log goes further takes another key, or gives the rest up, or waits.
        let is_way_out = matches!(request, Request::RotateKey { .. } | Request::GiveUpOwnEntries);
        let must_wait = !is_way_out && self.nodes[at].misses_end_of_log() && !self.nodes[at].has_own_logs();
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
        let some_bytes = self.step_bytes();
        let bytes = if is_whole { usize::MAX } else { some_bytes };
        if self.nodes[at].is_on() && self.nodes[at].run(|batch| batch.settle_within(bytes)).is_none() {
            self.is_gone(at);
        }
        self.look_at(at);
    }

    /// How many bytes a step of ordering may cost.
    pub(super) fn step_bytes(&mut self) -> usize {
        [1, 400, 3_000][self.chance.below(3) as usize]
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
