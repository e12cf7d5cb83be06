//! One run: peers, network and time, and what happens to them by chance.

mod backups;
mod calls;
mod differing;
mod ending;
mod links;
mod lives;
mod writes;

use std::collections::BTreeSet;

use bson::rawdoc;

use super::byzantine;
use super::checks::Knowledge;
use super::following::Client;
use super::network::{Link, Weather};
use super::node::{Node, writer};
use super::pasts;
use super::serial::Transactions;
use super::{Chance, Options, Report};
use crate::engine::Request;
use crate::entry::{Admission, Genesis};
use crate::ids::{DatabaseKey, WriterKey};
use crate::operation::Roles;
use crate::storage::Identity;
use crate::sync::CloseReason;

/// How many clients go from peer to peer.
const ROAMERS: usize = 3;

/// The weather while all goes well.
const CALM: Weather = Weather { one_bad_in: 0, delay_ms_max: 3 };

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) identity: Identity,
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<Node>,
    links: Vec<Link>,
    /// Why a session was closed last.
    closed_last: Option<CloseReason>,
    pub(super) knowledge: Knowledge,
    /// Clients of confirmed events that stay with no peer.
    roamers: [Client; ROAMERS],
    weather: Weather,
    /// Peers on different sides of a partition hear nothing of one another.
    partition: Option<u64>,
    /// The indexers that the founder has appointed last.
    indexers: usize,
    /// Who may have a word in what is confirmed; whose backup was restored without asking others; and what keys those had.
    appointed: BTreeSet<usize>,
    careless: BTreeSet<usize>,
    may_be_forked: BTreeSet<WriterKey>,
    /// Keys that nobody has any more, since their owners went back to backups from before they took them.
    lost_keys: BTreeSet<WriterKey>,
    /// Peers that store what comes and order it later.
    busy: BTreeSet<usize>,
    documents: u64,
    pub(super) transactions: Transactions,
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
            closed_last: None,
            knowledge: Knowledge::new(options.forks_indexers),
            roamers: Default::default(),
            weather,
            partition: None,
            indexers,
            appointed: (0..indexers).collect(),
            careless: BTreeSet::new(),
            may_be_forked: BTreeSet::new(),
            lost_keys: BTreeSet::new(),
            busy: BTreeSet::new(),
            documents: 0,
            transactions: Transactions::default(),
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
        let moment = self.nodes[0].moment(self.now_ms, BTreeSet::new());
        let bank = self.transactions.found(&self.nodes[0], &moment);
        self.call(0, bank);
        for definition in [
            rawdoc! { "name": "l_1", "key": { "l": 1 } },
            rawdoc! { "name": "n_-1", "key": { "n": -1 } },
            rawdoc! { "name": "u_1", "key": { "u": 1 }, "unique": true, "sparse": true },
            rawdoc! {
                "name": "q_1", "key": { "q": 1 }, "unique": true, "sparse": true, "onDuplicate": "quarantine"
            },
        ] {
            self.call(
                0,
                Request::CreateIndexes { collection: "c".to_owned(), definitions: vec![definition] },
            );
        }
        let is_open = self.identity.genesis.admission == Admission::Open;
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
        self.report.calls_meanwhile = self.nodes.iter().map(|node| node.calls_meanwhile).sum();
        self.report.confirmed = self.knowledge.confirmed() as u64;
        let clients = self.nodes.iter().map(|node| &node.client).chain(&self.roamers);
        self.report.lost = clients.map(|client| client.lost).sum();
        self.report.trace = *self.trace.finalize().as_bytes();
        self.report
    }

    fn step(&mut self) {
        let at = self.chance.below(self.nodes.len() as u64) as usize;
        match self.chance.below(152) {
            0..45 => {
                for _ in 0..=self.chance.below(5) {
                    self.deliver();
                }
            }
            45..70 => self.write(at),
            70..84 => self.transact(at),
            84..90 => self.connect_some(at),
            90..94 => {
                let is_whole = self.chance.one_in(2);
                self.order(at, is_whole);
            }
            94..100 => drop(self.ack(at)),
            100 | 101 => self.disconnect_some(),
            102 => {
                self.partition = if self.chance.one_in(2) { None } else { Some(self.chance.below(1 << 16)) }
            }
            103 => self.deafen_some(),
            104 | 105 => self.crash(at),
            106 => self.leave(at),
            107 | 108 => self.come_back(),
            109 if self.nodes.len() < 8 && self.chance.one_in(2) => self.join_late(),
            109 => self.nodes[at].skew_ms = self.chance.below(200_000) as i64 - 100_000,
            110 if self.chance.one_in(2) => drop(self.prove_forks(at)),
            110 => self.change_members(),
            111 if self.chance.one_in(2) => self.change_roles(),
            111 => self.replace_some(),
            112 | 144 if !(self.options.forks_indexers && at == byzantine::INDEXER) => self.rotate_key(at),
            113..116 => self.settle_rejection(at),
            116..119 | 148..152 => self.settle_conflict(at),
            119..123 => self.nodes[at].back_up(),
            123..128 => self.restore_backup(at),
            128 | 129 => self.give_up_own_entries(at),
            130..134 => self.roam(at),
            134 | 135 => self.look_back(at),
            136 => self.check_undo(at),
            137..140 => self.ask_for_pasts(at),
            140 => self.change_busy(at),
            141 => self.write_much(at),
            142 | 143 => self.change_roles(),
            _ if self.options.has_outlaws => byzantine::act(self, at),
            _ => {}
        }
        self.trace.update(&(at as u64).to_le_bytes());
        self.trace.update(&self.now_ms.to_le_bytes());
    }

    fn look_at(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            let is_reading = self.chance.one_in(3);
            let has_changed = self.knowledge.check(&mut self.nodes[at], &mut self.transactions, is_reading);
            self.trace.update(&self.nodes[at].sum);
            self.trace.update(&self.nodes[at].checked_confirmed.to_le_bytes());
            if has_changed {
                self.check_undo(at);
            }
        }
    }

    /// Whoever is busy stores what comes and orders nothing for a while.
    fn change_busy(&mut self, at: usize) {
        if !self.busy.remove(&at) {
            self.busy.insert(at);
        }
    }

    /// Clients ask which entries have changed a document, and who wrote what it holds.
    fn ask_for_pasts(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            self.report.histories += u64::from(pasts::check_history(&self.nodes[at], &mut self.chance));
            self.report.blamed += u64::from(pasts::check_blame(&self.nodes[at], &mut self.chance));
        }
    }

    fn look_back(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            let chosen = self.chance.below(1 << 16);
            let is_read = self.knowledge.check_past(&self.nodes[at], chosen);
            self.report.looked_back += u64::from(is_read);
        }
    }

    fn check_undo(&mut self, at: usize) {
        if self.nodes[at].is_on() {
            self.knowledge.check_undo(&self.nodes[at]);
        }
    }
}
