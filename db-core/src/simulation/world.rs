//! One run: peers, network and time, and what happens to them by chance.

use std::collections::BTreeSet;

use bson::{RawBson, rawdoc};

use super::byzantine;
use super::checks::Knowledge;
use super::network::{Link, Weather, Wish, carry_out};
use super::node::{Node, document, writer};
use super::{Chance, Options, Report};
use crate::engine::{DeleteRequest, Engine, Request, UpdateRequest};
use crate::entry::Genesis;
use crate::ids::{DatabaseKey, WriterKey};
use crate::operation::Roles;
use crate::storage::Identity;
use crate::sync::{Session, SessionConfig, SessionOutput};
use crate::view::identities;

/// The weather while all goes well.
const CALM: Weather = Weather { one_bad_in: 0, delay_ms_max: 3 };

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) identity: Identity,
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<Node>,
    links: Vec<Link>,
    pub(super) knowledge: Knowledge,
    weather: Weather,
    /// Peers on different sides of a partition hear nothing of one another.
    partition: Option<u64>,
    /// The indexers that the founder has appointed last.
    indexers: usize,
    documents: u64,
    pub(super) options: Options,
    trace: blake3::Hasher,
    pub(super) report: Report,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        let mut chance = Chance::new(seed.wrapping_add(1));
        let indexers = [1, 3, 3, 3, 5][chance.below(5) as usize];
        let identity = if chance.one_in(4) {
            let key = DatabaseKey::of_open_topic("simulation");
            Identity { genesis: Genesis::open(&key), key }
        } else {
            Identity { key: DatabaseKey::from_bytes([7; 32]), genesis: Genesis::closed(writer(0)) }
        };
        let weather = Weather {
            one_bad_in: if chance.one_in(2) { 0 } else { 20 + chance.below(100) },
            delay_ms_max: 1 + chance.below(80),
        };
        let mut world = Self {
            chance,
            identity,
            now_ms: 1_000_000,
            nodes: Vec::new(),
            links: Vec::new(),
            knowledge: Knowledge::new(options.forks_indexers),
            weather,
            partition: None,
            indexers,
            documents: 0,
            options,
            trace: blake3::Hasher::new(),
            report: Report::default(),
        };
        for _ in 0..=indexers.max(2) {
            world.join();
        }
        world.found();
        world
    }

    /// The founder makes the collection with its indexes and says who confirms, while all others are connected.
    fn found(&mut self) {
        self.insert(0);
        for definition in [
            rawdoc! { "name": "l_1", "key": { "l": 1 } },
            rawdoc! { "name": "n_-1", "key": { "n": -1 } },
            rawdoc! { "name": "u_1", "key": { "u": 1 }, "unique": true, "sparse": true },
        ] {
            self.call(
                0,
                Request::CreateIndexes { collection: "c".to_owned(), definitions: vec![definition] },
            );
        }
        let is_open = self.identity.genesis.admission == crate::entry::Admission::Open;
        for number in 1..self.nodes.len() {
            let roles = if number < self.indexers { Roles::INDEXER } else { Roles::WRITER };
            if !is_open {
                self.call(0, Request::SetRoles { writer: writer(number), roles });
            }
            self.connect(number - 1, number);
        }
        if !is_open {
            self.call(0, Request::SetRoles { writer: writer(byzantine::OUTLAW), roles: Roles::WRITER });
        }
        if is_open {
            let writers = (0..self.indexers).map(writer).collect();
            self.call(0, Request::SetIndexers { writers });
        }
    }

    pub(super) fn run(mut self) -> Report {
        for step in 0..self.options.steps {
            self.report.steps = step + 1;
            self.now_ms += 1 + self.chance.below(8);
            self.step();
        }
        self.end_well();
        self.report.entries = self.nodes.iter().map(|node| node.checked_entries).max().unwrap_or(0);
        self.report.confirmed = self.knowledge.confirmed() as u64;
        self.report.trace = *self.trace.finalize().as_bytes();
        self.report
    }

    fn step(&mut self) {
        let at = self.chance.below(self.nodes.len() as u64) as usize;
        match self.chance.below(100) {
            0..45 => {
                for _ in 0..=self.chance.below(5) {
                    self.deliver();
                }
            }
            45..70 => self.write(at),
            70..76 => self.connect_some(at),
            76..80 => {
                let is_whole = self.chance.one_in(2);
                self.order(at, is_whole);
            }
            80..86 => {
                self.ack(at);
            }
            86..88 => self.disconnect_some(),
            88 => {
                self.partition = if self.chance.one_in(2) { None } else { Some(self.chance.below(1 << 16)) }
            }
            89 => self.deafen_some(),
            90..92 => self.crash(at),
            92 => self.leave_or_come_back(at),
            93 if self.nodes.len() < 8 && self.chance.one_in(2) => self.join_late(),
            93 => self.nodes[at].skew_ms = self.chance.below(200_000) as i64 - 100_000,
            94 if self.chance.one_in(2) => drop(self.prove_forks(at)),
            94 => self.change_members(),
            95..97 => self.restart_those_that_are_off(),
            97 => self.check_undo(at),
            _ if self.options.has_outlaws => byzantine::act(self, at),
            _ => {}
        }
        self.trace.update(&(at as u64).to_le_bytes());
        self.trace.update(&self.now_ms.to_le_bytes());
    }

    /// The simulated time goes on to the next frame that arrives, and its receiver takes it in.
    fn deliver(&mut self) {
        let due = self.links.iter().enumerate().filter_map(|(at, link)| {
            let [a, b] = [link.ends[0].peer, link.ends[1].peer];
            let (due_ms, to) = link.next_due().filter(|_| !self.are_apart(a, b))?;
            Some((due_ms, at, to))
        });
        let Some((due_ms, at, to)) = due.min() else { return };
        self.now_ms = self.now_ms.max(due_ms);
        let link = &mut self.links[at];
        let peer = link.ends[to].peer;
        let Some(frame) = link.take(to) else { return };
        let log = self.nodes[peer].log();
        let mut outputs = Vec::new();
        link.ends[to].session.handle_frame(&frame, &log, &mut outputs).unwrap();
        self.trace.update(&frame);
        let before = self.nodes[peer].engine.as_ref().map_or(0, Engine::end);
        self.carry_out(at, to, outputs);
        self.tell_sessions(peer, before);
        self.look_at(peer);
    }

    /// Does what the session at one end of a link wants; the link may be gone afterwards.
    fn carry_out(&mut self, at: usize, end: usize, mut outputs: Vec<SessionOutput>) {
        loop {
            let (now_ms, weather) = (self.now_ms, self.weather);
            let wishes = carry_out(&mut self.links[at], end, outputs, now_ms, weather, &mut self.chance);
            let Some(wishes) = wishes else {
                self.links.remove(at);
                self.report.closed += 1;
                return;
            };
            if wishes.is_empty() {
                return;
            }
            outputs = Vec::new();
            let peer = self.links[at].ends[end].peer;
            for wish in wishes {
                let done = match wish {
                    Wish::OwnHead(end) => self.nodes[peer]
                        .run(|batch| batch.note_own_head(&end.writer, &end.head))
                        .map(|()| None),
                    Wish::Ingest(runs) => {
                        // Sometimes what has come is ordered in the same breath.
                        let orders = self.chance.below(4);
                        let stored = self.nodes[peer].run(|batch| {
                            for run in &runs {
                                if let Err(refused) = batch.ingest(run)? {
                                    return Ok(Err(refused.to_string()));
                                }
                            }
                            match orders {
                                0 | 1 => batch.settle()?,
                                2 => drop(batch.settle_within(2_000)?),
                                _ => {}
                            }
                            Ok(Ok(()))
                        });
                        stored.map(Some)
                    }
                };
                let Some(stored) = done else {
                    self.unplug(peer);
                    return;
                };
                if let Some(stored) = stored {
                    self.links[at].ends[end].session.runs_stored(stored, &mut outputs);
                }
            }
        }
    }

    /// Lets the sessions of a peer send what has become durable.
    fn tell_sessions(&mut self, peer: usize, before: u64) {
        let Some(engine) = &mut self.nodes[peer].engine else { return };
        if engine.take_wants_anew() {
            return self.unplug(peer); // they begin anew when they next connect
        }
        let is_new = engine.end() != before;
        let mut at = 0;
        while at < self.links.len() {
            let links = self.links.len();
            for end in 0..2 {
                let Some(link) = self.links.get_mut(at).filter(|link| link.ends[end].peer == peer) else {
                    continue;
                };
                if !is_new && !link.ends[end].wants_more {
                    continue;
                }
                link.ends[end].wants_more = false;
                let log = self.nodes[peer].log();
                let mut outputs = Vec::new();
                link.ends[end].session.entries_stored(&log, &mut outputs).unwrap();
                self.carry_out(at, end, outputs);
                break;
            }
            at += usize::from(self.links.len() == links);
        }
    }

    fn are_apart(&self, a: usize, b: usize) -> bool {
        self.partition.is_some_and(|sides| (sides >> a ^ sides >> b) & 1 == 1)
    }

    fn connect_some(&mut self, a: usize) {
        let b = self.chance.below(self.nodes.len() as u64) as usize;
        if a != b && !self.are_apart(a, b) {
            self.connect(a, b);
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let are_on = self.nodes[a].is_on() && self.nodes[b].is_on();
        if !are_on || self.links.iter().any(|link| link.joins(a, b)) {
            return;
        }
        let id = self.identity.genesis.database_id(&self.identity.key);
        let binding = [self.chance.below(256) as u8; 32];
        let sessions = [(a, true), (b, false)].map(|(peer, dialer)| {
            let mut nonce = [0; 32];
            nonce.fill_with(|| self.chance.below(256) as u8);
            Session::new(SessionConfig {
                database: id,
                key: self.identity.key.clone(),
                own_writer: writer(peer),
                binding,
                dialer,
                nonce,
            })
        });
        self.links.push(Link::new([a, b], sessions));
        let at = self.links.len() - 1;
        for end in 0..2 {
            let mut outputs = Vec::new();
            self.links[at].ends[end].session.start(&mut outputs);
            self.carry_out(at, end, outputs);
        }
        self.report.connections += 1;
    }

    fn disconnect_some(&mut self) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            self.links.remove(at);
        }
    }

    /// A link goes on in one direction only.
    fn deafen_some(&mut self) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            let end = self.chance.below(2) as usize;
            let end = &mut self.links[at].ends[end];
            end.is_deaf = !end.is_deaf;
        }
    }

    /// Bytes that nobody's session has sent arrive at a peer.
    pub(super) fn send_garbage(&mut self, frame: Vec<u8>) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            let to = self.chance.below(2) as usize;
            let (now_ms, weather) = (self.now_ms, self.weather);
            self.links[at].send(to, frame, now_ms, weather, &mut self.chance);
        }
    }

    fn unplug(&mut self, peer: usize) {
        self.links.retain(|link| !link.touches(peer));
    }

    fn gone(&self, me: usize) -> BTreeSet<WriterKey> {
        let is_heard = |peer: usize| peer == me || self.links.iter().any(|link| link.joins(me, peer));
        (0..self.nodes.len()).filter(|peer| !is_heard(*peer)).map(writer).collect()
    }

    fn write(&mut self, at: usize) {
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

    fn insert(&mut self, at: usize) {
        // Some `_id`s are inserted by several: then the later in the order is rejected.
        self.documents += u64::from(!self.chance.one_in(8));
        let documents = vec![document(self.documents)];
        self.call(at, Request::Insert { collection: "c".to_owned(), documents, ordered: true });
    }

    fn call(&mut self, at: usize, request: Request) {
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

    fn order(&mut self, at: usize, is_whole: bool) {
        let bytes = if is_whole { usize::MAX } else { 3_000 };
        if self.nodes[at].is_on() && self.nodes[at].run(|batch| batch.settle_within(bytes)).is_none() {
            self.unplug(at);
        }
        self.look_at(at);
    }

    /// Acks, if that helps; whether anything was appended.
    fn ack(&mut self, at: usize) -> bool {
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
    fn prove_forks(&mut self, at: usize) -> bool {
        let wants = |engine: &Engine| engine.wants_fork_proof().unwrap();
        let wants = self.nodes[at].engine.as_ref().is_some_and(wants);
        if wants {
            self.call(at, Request::ProveForks);
            self.report.proofs += 1;
        }
        wants
    }

    /// The power goes now, or at one of the next writes to the disk.
    fn crash(&mut self, at: usize) {
        if !self.nodes[at].is_on() {
            return;
        }
        if self.chance.one_in(2) {
            let writes = self.chance.below(60);
            self.nodes[at].disk.cut_after(writes);
            self.write(at);
            if self.nodes[at].is_on() {
                self.order(at, true);
            }
        }
        self.nodes[at].cut_power(&mut self.chance);
        self.unplug(at);
        self.report.crashes += 1;
    }

    fn leave_or_come_back(&mut self, at: usize) {
        self.nodes[at].has_left = !self.nodes[at].has_left;
        if self.nodes[at].has_left {
            self.nodes[at].switch_off();
            self.unplug(at);
        }
    }

    fn restart_those_that_are_off(&mut self) {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_on() && !self.nodes[at].has_left {
                self.switch_on(at);
            }
        }
    }

    fn switch_on(&mut self, at: usize) {
        self.nodes[at].checked_entries = 0;
        self.nodes[at].sum = [0; 32];
        while !self.nodes[at].switch_on() {
            self.nodes[at].cut_power(&mut self.chance);
        }
        self.look_at(at);
    }

    fn join(&mut self) {
        let skew_ms = if self.chance.one_in(3) { self.chance.below(20_000) as i64 - 10_000 } else { 0 };
        let number = self.nodes.len();
        self.nodes.push(Node::new(number, &self.identity, skew_ms));
    }

    /// Somebody new comes, and the founder lets it write.
    fn join_late(&mut self) {
        self.join();
        let number = self.nodes.len() - 1;
        if self.identity.genesis.admission != crate::entry::Admission::Open {
            self.call(0, Request::SetRoles { writer: writer(number), roles: Roles::WRITER });
        }
    }

    /// The founder changes who confirms, or removes a writer that is no indexer.
    fn change_members(&mut self) {
        let others = self.nodes.len();
        if self.chance.one_in(3) && others > self.indexers {
            let number = self.indexers + self.chance.below((others - self.indexers) as u64) as usize;
            let number = if self.chance.one_in(3) { byzantine::OUTLAW } else { number };
            self.call(0, Request::RemoveWriter { writer: writer(number) });
        } else if self.options.changes_indexers {
            let count = [1, 3, 5][self.chance.below(3) as usize].min(others);
            self.call(0, Request::SetIndexers { writers: (0..count).map(writer).collect() });
            self.indexers = self.indexers.max(count);
        }
    }

    fn look_at(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            self.knowledge.check(&mut self.nodes[at]);
            self.trace.update(&self.nodes[at].sum);
            self.trace.update(&self.nodes[at].checked_confirmed.to_le_bytes());
        }
    }

    fn check_undo(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            self.knowledge.check_undo(&self.nodes[at]);
        }
    }

    /// All faults end, everybody is connected: all come to the same view, and everything is confirmed.
    fn end_well(&mut self) {
        self.weather = CALM;
        self.partition = None;
        self.links.clear();
        for at in 0..self.nodes.len() {
            self.nodes[at].has_left = false;
            self.nodes[at].skew_ms = 0;
            if !self.nodes[at].is_on() {
                self.switch_on(at);
            }
        }
        for round in 0.. {
            for a in 0..self.nodes.len() {
                for b in a + 1..self.nodes.len() {
                    self.connect(a, b);
                }
            }
            while self.links.iter().any(|link| link.next_due().is_some()) {
                self.now_ms += 1;
                self.deliver();
            }
            for at in 0..self.nodes.len() {
                self.order(at, true);
            }
            let acks = (0..self.nodes.len()).filter(|at| self.ack(*at)).count();
            let is_proving = (0..self.nodes.len()).any(|at| self.prove_forks(at));
            if acks == 0 && !is_proving && self.links.iter().all(|link| link.next_due().is_none()) {
                break;
            }
            assert!(round < 200, "it does not get quiet");
        }
        for at in 0..self.nodes.len() {
            self.check_undo(at);
            let node = &self.nodes[at];
            let engine = node.engine.as_ref().unwrap();
            assert!(engine.is_settled());
            assert_eq!(node.digest(), self.nodes[0].digest(), "peer {at} has another view than others");
            for writer in engine.status().unwrap().forked {
                let is_founder = writer == self.identity.genesis.founder;
                let is_revoked = identities::is_forked(&node.view(), &writer).unwrap();
                assert!(is_revoked || is_founder, "peer {at}: a fork is not proved");
            }
            // What is held back somewhere stays with those who have it, and unconfirmed; it has no effect.
            if !self.nodes.iter().any(|node| node.engine.as_ref().unwrap().holds_back_any()) {
                assert_eq!(node.sum, self.nodes[0].sum, "peer {at} has not got all that others have");
                assert!(!engine.has_unconfirmed_writes(), "peer {at}: something stays unconfirmed for ever");
            }
        }
        // Their votes may have been taken from them by now.
        let alarms = |node: &Node| -> BTreeSet<WriterKey> {
            let forked = node.engine.as_ref().unwrap().status().unwrap().forked.into_iter();
            forked.filter(|writer| identities::is_forked_indexer(&node.view(), writer).unwrap()).collect()
        };
        let first = alarms(&self.nodes[0]);
        assert!(self.nodes.iter().all(|node| alarms(node) == first), "not all name the same indexers");
        self.report.forked_indexers = first.len() as u64;
    }
}
