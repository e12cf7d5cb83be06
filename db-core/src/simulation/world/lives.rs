//! Who is there: peers lose power, leave, come back and join, and the founder says who may do what.

use super::World;
use crate::engine::Request;
use crate::entry::Admission;
use crate::operation::Roles;
use crate::simulation::byzantine;
use crate::simulation::node::{Node, writer};

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
            if self.nodes[at].is_on() {
                self.order(at, true);
            }
        }
        self.nodes[at].cut_power(&mut self.chance);
        self.unplug(at);
        self.report.crashes += 1;
    }

    pub(super) fn leave_or_come_back(&mut self, at: usize) {
        self.nodes[at].has_left = !self.nodes[at].has_left;
        if self.nodes[at].has_left {
            self.nodes[at].switch_off();
            self.unplug(at);
        }
    }

    pub(super) fn restart_those_that_are_off(&mut self) {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].is_on() && !self.nodes[at].has_left {
                self.switch_on(at);
            }
        }
    }

    pub(super) fn switch_on(&mut self, at: usize) {
        self.nodes[at].checked_entries = 0;
        self.nodes[at].sum = [0; 32];
        while !self.nodes[at].switch_on() {
            self.nodes[at].cut_power(&mut self.chance);
        }
        self.look_at(at);
    }

    pub(super) fn join(&mut self) {
        let skew_ms = if self.chance.one_in(3) { self.chance.below(20_000) as i64 - 10_000 } else { 0 };
        let number = self.nodes.len();
        self.nodes.push(Node::new(number, &self.identity, skew_ms));
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
            let number = if self.chance.one_in(3) { byzantine::OUTLAW } else { number };
            self.call(0, Request::RemoveWriter { writer: writer(number) });
        } else if self.options.changes_indexers {
            let count = [1, 3, 5][self.chance.below(3) as usize].min(others);
            self.call(0, Request::SetIndexers { writers: (0..count).map(writer).collect() });
            self.indexers = self.indexers.max(count);
        }
    }
}
