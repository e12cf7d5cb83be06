//! What the network does: frames arrive, connections are made and go, and sessions have done what they want.

use std::collections::BTreeSet;

use super::World;
use crate::engine::Engine;
use crate::entry::VerifiedRun;
use crate::ids::WriterKey;
use crate::simulation::network::{Link, Wish, carry_out};
use crate::sync::{Session, SessionConfig, SessionOutput};

impl World {
    /// The simulated time goes on to the next frame that arrives, and its receiver takes it in.
    pub(super) fn deliver(&mut self) {
        let due = self.links.iter().enumerate().filter_map(|(at, link)| {
            let [a, b] = [link.ends[0].peer, link.ends[1].peer];
            let (due_ms, to) = link.next_due().filter(|_| !self.are_apart(a, b))?;
            Some((due_ms, at, to))
        });
        let Some((due_ms, at, to)) = due.min() else { return };
        self.take_in(due_ms, at, to);
    }

    /// The frame that comes next arrives at one end of a link.
    pub(super) fn take_in(&mut self, due_ms: u64, at: usize, to: usize) {
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
    pub(super) fn carry_out(&mut self, at: usize, end: usize, mut outputs: Vec<SessionOutput>) {
        loop {
            let (now_ms, weather) = (self.now_ms, self.weather);
            let wishes = carry_out(&mut self.links[at], end, outputs, now_ms, weather, &mut self.chance);
            let wishes = match wishes {
                Ok(wishes) => wishes,
                Err(reason) => {
                    self.links.remove(at);
                    self.report.closed += 1;
                    self.closed_last = Some(reason);
                    return;
                }
            };
            if wishes.is_empty() {
                return;
            }
            outputs = Vec::new();
            let peer = self.links[at].ends[end].peer;
            for wish in wishes {
                let done = match wish {
                    Wish::NoteOwnEnds(ends) => self.nodes[peer]
                        .run(|batch| ends.iter().try_for_each(|end| batch.note_own_head(end)))
                        .map(|()| None),
                    Wish::Ingest(runs) => self.take_runs(peer, &runs).map(Some),
                };
                let Some(stored) = done else {
                    self.is_gone(peer);
                    return;
                };
                if let Some(stored) = stored {
                    self.links[at].ends[end].session.runs_stored(stored, &mut outputs);
                }
            }
        }
    }

    /// A peer takes in what another has sent: in one transaction, or in several where something has to be at its place before more can
    /// be judged. None if the power has gone meanwhile.
    fn take_runs(&mut self, peer: usize, runs: &[VerifiedRun]) -> Option<Result<(), String>> {
        // Sometimes what has come is ordered in the same breath.
        let orders = self.chance.below(4);
        let orders = if self.busy.contains(&peer) { 3 } else { orders };
        let step_bytes = self.step_bytes();
        let mut rest = runs;
        loop {
            let taken = self.nodes[peer].run(|batch| {
                while let Some((run, others)) = rest.split_first() {
                    match batch.ingest_or_wait(run)? {
                        Some(Ok(())) => rest = others,
                        Some(Err(refused)) => return Ok(Some(Err(refused.to_string()))),
                        None => {
                            batch.confirm_until(step_bytes, &mut || false)?;
                            return Ok(None);
                        }
                    }
                }
                match orders {
                    0 | 1 => batch.settle()?,
                    2 => drop(batch.settle_within(step_bytes)?),
                    _ => drop(batch.confirm_until(step_bytes, &mut || false)?),
                }
                Ok(Some(Ok(())))
            });
            if let Some(taken) = taken? {
                return Some(taken);
            }
            self.report.waited += 1;
        }
    }

    /// Lets the sessions of a peer send what has become durable.
    pub(super) fn tell_sessions(&mut self, peer: usize, before: u64) {
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

    pub(super) fn are_apart(&self, a: usize, b: usize) -> bool {
        self.partition.is_some_and(|sides| (sides >> a ^ sides >> b) & 1 == 1)
    }

    pub(super) fn connect_some(&mut self, a: usize) {
        let b = self.chance.below(self.nodes.len() as u64) as usize;
        if a != b && !self.are_apart(a, b) {
            self.connect(a, b);
        }
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
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
                own_writer: self.nodes[peer].key(),
                replaced_keys: self.nodes[peer].engine.as_ref().unwrap().replaced_keys(),
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

    pub(super) fn disconnect_some(&mut self) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            self.links.remove(at);
        }
    }

    /// A link goes on in one direction only.
    pub(super) fn deafen_some(&mut self) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            let end = self.chance.below(2) as usize;
            let end = &mut self.links[at].ends[end];
            end.is_deaf = !end.is_deaf;
        }
    }

    /// Bytes that nobody's session has sent arrive at a peer.
    pub(in crate::simulation) fn send_garbage(&mut self, frame: Vec<u8>) {
        if !self.links.is_empty() {
            let at = self.chance.below(self.links.len() as u64) as usize;
            let to = self.chance.below(2) as usize;
            let (now_ms, weather) = (self.now_ms, self.weather);
            self.links[at].send(to, frame, now_ms, weather, &mut self.chance);
        }
    }

    /// A peer's connections end.
    pub(super) fn unplug(&mut self, peer: usize) {
        self.links.retain(|link| !link.touches(peer));
    }

    /// So they do when it goes, and what was begun there is lost.
    pub(super) fn is_gone(&mut self, peer: usize) {
        self.unplug(peer);
        self.transactions.forget(peer);
    }

    pub(super) fn gone(&self, me: usize) -> BTreeSet<WriterKey> {
        let is_heard = |peer: usize| peer == me || self.links.iter().any(|link| link.joins(me, peer));
        self.nodes
            .iter()
            .filter(|node| !is_heard(node.number))
            .flat_map(|node| node.keys.iter())
            .chain(&self.lost_keys)
            .copied()
            .collect()
    }
}
