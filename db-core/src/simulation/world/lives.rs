//! Who is there: peers lose power, leave, come back and join, and the founder says who may do what.

use super::World;
use crate::engine::Request;
use crate::entry::Admission;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;
use crate::simulation::byzantine;
use crate::simulation::node::{Node, Watched, writer};

impl World {
    /// The power goes now, or at one of the next writes to the disk.
    pub(super) fn crash(&mut self, at: usize) {
        if !self.nodes[at].is_on() {
            return;
        }
        if self.chance.one_in(2) {
            let writes = self.chance.below(60);
            self.nodes[at].disk.cut_after(writes);
            self.write(at);
            let is_whole = self.chance.one_in(2);
            for _ in 0..self.chance.below(6) {
                if self.nodes[at].is_on() {
                    self.order(at, is_whole);
                }
            }
        }
        self.nodes[at].cut_power(&mut self.chance);
        self.is_gone(at);
        self.report.crashes += 1;
    }

    pub(super) fn leave(&mut self, at: usize) {
        self.nodes[at].has_left = true;
        self.nodes[at].switch_off();
        self.is_gone(at);
    }

    /// Whoever has lost power is there again, and some of those who have left.
    pub(super) fn come_back(&mut self) {
        for at in 0..self.nodes.len() {
            self.nodes[at].has_left &= self.chance.one_in(2);
            if !self.nodes[at].is_on() && !self.nodes[at].has_left {
                self.switch_on(at);
                // Who has waited for it calls at once.
                if self.chance.one_in(2) {
                    self.write(at);
                }
            }
        }
    }

    pub(super) fn switch_on(&mut self, at: usize) {
        self.nodes[at].forget_entries();
        if self.chance.one_in(4) {
            // The power goes while what waits is ordered, or before.
            let writes_max = if self.chance.one_in(2) { 40 } else { 400 };
            let writes = self.chance.below(writes_max);
            self.nodes[at].disk.cut_after(writes);
        }
        let step_bytes = self.step_bytes();
        while !self.nodes[at].switch_on(step_bytes) {
            self.nodes[at].cut_power(&mut self.chance);
            self.report.crashes += 1;
        }
        self.nodes[at].disk.cut_never();
        self.look_at(at);
    }

    pub(super) fn join(&mut self) {
        let skew_ms = if self.chance.one_in(3) { self.chance.below(20_000) as i64 - 10_000 } else { 0 };
        let number = self.nodes.len();
        // What an indexer's fork takes back was told of as confirmed.
        let watched = if self.options.forks_indexers { Watched::Local } else { Watched::All };
        let some_bytes = [0, 500, 2_000, 8_000][self.chance.below(4) as usize];
        let changes_bytes = if self.chance.one_in(2) { some_bytes } else { limits::CHANGES_BYTES };
        self.nodes.push(Node::new(number, &self.identity, skew_ms, watched, changes_bytes));
    }

    /// Somebody new comes, and the founder lets it write.
    pub(super) fn join_late(&mut self) {
        self.join();
        let number = self.nodes.len() - 1;
        if self.identity.genesis.admission != Admission::Open {
            self.call(0, Request::SetRoles { writer: writer(number), roles: Roles::WRITER });
        }
    }

    /// The founder changes who confirms, or removes a writer that is no indexer.
    pub(super) fn change_members(&mut self) {
        let others = self.nodes.len();
        if self.chance.one_in(3) && others > self.indexers {
            let number = self.indexers + self.chance.below((others - self.indexers) as u64) as usize;
            let key =
                if self.chance.one_in(3) { writer(byzantine::OUTLAW) } else { self.nodes[number].key() };
            self.call(0, Request::RemoveWriter { writer: key });
        } else if self.options.changes_indexers {
            let count = [1, 3, 5][self.chance.below(3) as usize].min(others);
            let chosen: Vec<_> = (0..count).filter(|number| !self.careless.contains(number)).collect();
            self.appointed.extend(&chosen);
            let writers = chosen.into_iter().map(|number| self.nodes[number].key()).collect();
            self.call(0, Request::SetIndexers { writers });
            self.indexers = self.indexers.max(count);
        }
    }

    /// The founder says anew what somebody may do, whom it may have removed.
    pub(super) fn change_roles(&mut self) {
        if !self.options.changes_indexers {
            return;
        }
        let number = 1 + self.chance.below(self.nodes.len() as u64 - 1) as usize;
        let roles = [Roles::READER, Roles::WRITER, Roles::WRITER, Roles::INDEXER, Roles::ADMIN];
        let mut roles = roles[self.chance.below(roles.len() as u64) as usize];
        if roles == Roles::INDEXER && self.careless.contains(&number) {
            roles = Roles::WRITER;
        } else if roles == Roles::INDEXER {
            self.appointed.insert(number);
        }
        self.call(0, Request::SetRoles { writer: self.nodes[number].key(), roles });
    }

    /// Somebody new goes on for a peer whose key the founder gives up for lost.
    fn replace(&mut self, from: WriterKey, was_appointed: bool) {
        self.join();
        let to = writer(self.nodes.len() - 1);
        if was_appointed {
            self.appointed.insert(self.nodes.len() - 1);
        }
        self.call(0, Request::Replace { from, to, roles: None });
        self.report.replaced += 1;
    }

    pub(super) fn replace_some(&mut self) {
        let count = self.nodes.len() as u64;
        if self.options.changes_indexers && count < 8 {
            let number = 1 + self.chance.below(count - 1) as usize;
            match self.lost_keys.last().copied().filter(|_| self.chance.one_in(2)) {
                Some(lost) => self.replace(lost, true),
                None => self.replace(self.nodes[number].key(), self.appointed.contains(&number)),
            }
        }
    }
}
