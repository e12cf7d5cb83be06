//! The end of a run: all faults end, and everybody comes to the same.

use std::collections::BTreeSet;

use super::differing::differing;
use super::{CALM, World};
use crate::ids::WriterKey;
use crate::operation::Roles;
use crate::simulation::node::Node;
use crate::view::{identities, members};

impl World {
    /// All faults end, everybody is connected: all come to the same view, and everything is confirmed.
    pub(super) fn end_well(&mut self) {
        self.weather = CALM;
        self.partition = None;
        self.busy.clear();
        self.links.clear();
        for at in 0..self.nodes.len() {
            self.nodes[at].has_left = false;
            self.nodes[at].skew_ms = 0;
            if !self.nodes[at].is_on() {
                self.switch_on(at);
            }
        }
        for round in 0.. {
            let closed = self.report.closed;
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
            // What was held back and turns out to be needed comes with the next session.
            let is_closing = self.report.closed != closed;
            let is_sending = self.links.iter().any(|link| link.next_due().is_some());
            let is_busy = acks > 0 || is_proving || is_closing || is_sending;
            if !is_busy && !self.give_up_what_is_nowhere() {
                break;
            }
            assert!(
                round < 200,
                "it does not get quiet: {acks} acks, proving {is_proving}, sending {is_sending}, {} closed ({:?})",
                self.report.closed - closed,
                self.closed_last
            );
        }
        let is_any_held_back = self.nodes.iter().any(|node| node.engine.as_ref().unwrap().holds_back_any());
        for at in 0..self.nodes.len() {
            self.check_undo(at);
            self.knowledge.check_receipts(&self.nodes[at]);
            let node = &self.nodes[at];
            let engine = node.engine.as_ref().unwrap();
            assert!(engine.is_settled());
            if node.digest() != self.nodes[0].digest() {
                let differing = differing(&self.nodes[0].view(), &node.view());
                panic!("peer {at} has another view than others; {differing}");
            }
            let forked = engine.status().unwrap().forked;
            self.check_forked(at, &forked);
            for writer in forked {
                let is_founder = writer == self.identity.genesis.founder;
                let is_revoked = identities::is_forked(&node.view(), &writer).unwrap();
                // Of who may not write any more others may not take what shows it.
                let roles = members::roles(&node.view(), &self.identity.genesis, &writer).unwrap();
                let is_unheard = is_any_held_back && !roles.has(Roles::WRITER);
                // Nobody proves a fork of its own log, and who may not write proves none.
                let is_last = self.nodes.iter().all(|other| {
                    let other = other.engine.as_ref().unwrap();
                    let roles =
                        members::roles(&node.view(), &self.identity.genesis, &other.writer()).unwrap();
                    other.is_own(&writer) || !roles.has(Roles::WRITER)
                });
                let is_excused = is_founder || is_unheard || is_last;
                assert!(is_revoked || is_excused, "peer {at}: a fork is not proved");
            }
            // What is held back somewhere stays with those who have it, and unconfirmed; it has no effect.
            if !is_any_held_back {
                assert_eq!(node.sum, self.nodes[0].sum, "peer {at} has not got all that others have");
                let can_confirm = self.can_confirm(at);
                assert!(can_confirm || !self.lost_keys.is_empty(), "peer {at}: who is to confirm");
                let is_confirmed = !engine.has_unconfirmed_writes();
                assert!(is_confirmed || !can_confirm, "peer {at}: something stays unconfirmed for ever");
            }
        }
        for at in 0..self.nodes.len() {
            for _ in 0..self.roamers.len() {
                self.roam(at);
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
        let forked = self.nodes[0].engine.as_ref().unwrap().status().unwrap().forked;
        self.report.forked_by_backups =
            forked.iter().filter(|key| self.may_be_forked.contains(key)).count() as u64;
    }
}
