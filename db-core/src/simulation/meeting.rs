//! Writers that wrote apart and meet: real engines, real sessions and the driver's rule of when to order, under a virtual clock.
//! How many times an entry is applied is counted, so that it is the same on every machine.

use std::time::{Duration, Instant};

use super::Chance;
use super::network::{Link, Weather, Wish, carry_out};
use super::node::{Node, Watched, document, writer};
use crate::driver::{Settling, Source};
use crate::engine::{Engine, Request};
use crate::entry::Genesis;
use crate::ids::DatabaseKey;
use crate::storage::Identity;
use crate::sync::{Session, SessionConfig, SessionOutput};

/// How many entries share a commit while they are written.
const WRITTEN_AT_ONCE: usize = 50;

/// Who is connected to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// All to the first.
    Star,
    /// Each to this many that follow it, the first following the last.
    Ring(usize),
}

/// What a meeting is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeetingOptions {
    /// How many peers there are.
    pub writers: usize,
    /// How many entries each has written.
    pub each: usize,
    /// Who is connected to whom.
    pub topology: Topology,
    /// How long a frame is on its way at the most, in milliseconds.
    pub delay_ms_max: u64,
    /// What storing an entry takes a peer, and what applying or undoing it, in microseconds.
    pub store_us: u64,
    /// See above.
    pub apply_us: u64,
}

/// What a meeting has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeetingReport {
    /// How many entries there are.
    pub entries: u64,
    /// How many times one was applied, from the first write on: on all peers together, and on the peer that applied the most.
    pub applied: u64,
    /// See above.
    pub applied_most: u64,
    /// From the first connection until all had everything in order, in milliseconds.
    pub took_ms: u64,
}

/// Peers write apart, interleaved in time, connect one after the other, and go on until all is quiet.
///
/// # Panics
/// If they do not come to the same view.
pub fn meet(seed: u64, options: MeetingOptions) -> MeetingReport {
    let mut meeting = Meeting::new(seed, options);
    meeting.write_apart();
    let begin_us = meeting.now_us;
    meeting.connect_all();
    while meeting.step() {}
    meeting.report(begin_us)
}

struct Peer {
    node: Node,
    settling: Settling,
    /// Until when it is busy with what it has taken in.
    busy_us: u64,
}

struct Meeting {
    options: MeetingOptions,
    chance: Chance,
    identity: Identity,
    peers: Vec<Peer>,
    links: Vec<Link>,
    now_us: u64,
    /// What the virtual clock's zero is for those who ask for moments of the real one.
    zero: Instant,
}

impl Meeting {
    #[allow(clippy::disallowed_methods)] // where the time begins is of no matter
    fn new(seed: u64, options: MeetingOptions) -> Self {
        let key = DatabaseKey::of_open_topic("meeting");
        let identity = Identity { genesis: Genesis::open(&key), key };
        let peer = |number| Peer {
            node: Node::new(number, &identity, 0, Watched::No, crate::limits::CHANGES_BYTES),
            settling: Settling::default(),
            busy_us: 0,
        };
        let peers = (0..options.writers).map(peer).collect();
        let chance = Chance::new(seed.wrapping_add(1));
        Self { options, chance, identity, peers, links: Vec::new(), now_us: 1_000_000, zero: Instant::now() }
    }

    /// Everybody writes at the same time, so that each log's entries stand between those of all others.
    fn write_apart(&mut self) {
        let begin_us = self.now_us;
        for number in 0..self.peers.len() {
            self.now_us = begin_us;
            for first in (0..self.options.each).step_by(WRITTEN_AT_ONCE) {
                let last = (first + WRITTEN_AT_ONCE).min(self.options.each);
                let written: Vec<_> = (first..last)
                    .map(|at| {
                        self.now_us += 1_000 * (1 + self.chance.below(8));
                        (at, self.now_us / 1_000)
                    })
                    .collect();
                let each = self.options.each;
                let done = self.peers[number].node.run(|batch| {
                    for (at, now_ms) in written {
                        let documents = vec![document((number * each + at) as u64)];
                        let request =
                            Request::Insert { collection: "c".to_owned(), documents, ordered: true };
                        let moment = crate::engine::Moment { now_ms, ..Default::default() };
                        batch.execute(request, &moment)?.expect("an insert");
                    }
                    Ok(())
                });
                done.expect("the power is on");
            }
        }
        self.now_us = begin_us + self.options.each as u64 * 10_000;
    }

    fn connect_all(&mut self) {
        let count = self.peers.len();
        match self.options.topology {
            Topology::Star => (1..count).for_each(|other| self.connect(other, 0)),
            Topology::Ring(next) => {
                for one in 0..count {
                    (1..=next).for_each(|step| self.connect(one, (one + step) % count));
                }
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        if a == b || self.links.iter().any(|link| link.joins(a, b)) {
            return;
        }
        let id = self.identity.genesis.database_id(&self.identity.key);
        let sessions = [(a, true), (b, false)].map(|(peer, dialer)| {
            let mut nonce = [0; 32];
            nonce.fill_with(|| self.chance.below(256) as u8);
            let key = self.identity.key.clone();
            let own_writer = writer(peer);
            let replaced_keys = Vec::new();
            Session::new(SessionConfig {
                database: id,
                key,
                own_writer,
                replaced_keys,
                binding: [1; 32],
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
    }

    /// The next thing that happens; whether there was one.
    fn step(&mut self) -> bool {
        let frame = self.links.iter().enumerate().filter_map(|(at, link)| {
            let (due_ms, end) = link.next_due()?;
            // A peer that is busy takes it later.
            let due_us = (due_ms * 1_000).max(self.peers[link.ends[end].peer].busy_us);
            Some((due_us, at, end))
        });
        let frame = frame.min();
        let order = (0..self.peers.len()).filter_map(|at| Some((self.order_due_us(at)?, at))).min();
        match (frame, order) {
            (Some((frame_us, at, end)), order) if order.is_none_or(|(order_us, _)| frame_us <= order_us) => {
                self.now_us = self.now_us.max(frame_us);
                self.deliver(at, end);
            }
            (_, Some((order_us, at))) => {
                self.now_us = self.now_us.max(order_us);
                self.order(at);
            }
            _ => return false,
        }
        true
    }

    fn order_due_us(&self, at: usize) -> Option<u64> {
        let peer = &self.peers[at];
        let engine = peer.node.engine.as_ref()?;
        let wait = peer.settling.due_in(self.now(), self.is_sending_to(at), &engine.backlog())?;
        Some((self.now_us + wait.as_micros() as u64).max(peer.busy_us))
    }

    /// Whether somebody is still sending to the peer what it held when they met.
    fn is_sending_to(&self, at: usize) -> bool {
        self.links.iter().flat_map(|link| &link.ends).any(|end| end.peer == at && end.is_receiving)
    }

    fn deliver(&mut self, at: usize, end: usize) {
        let peer = self.links[at].ends[end].peer;
        let Some(frame) = self.links[at].take(end) else { return };
        let before = self.engine(peer).end();
        let log = self.peers[peer].node.log();
        let mut outputs = Vec::new();
        let handled = self.links[at].ends[end].session.handle_frame(&frame, &log, &mut outputs);
        handled.expect("the log can be read");
        self.carry_out(at, end, outputs);
        self.tell_sessions(peer, before);
        let stored = self.engine(peer).end() - before;
        let now = self.now();
        let backlog = self.engine(peer).backlog();
        let is_sending = self.is_sending_to(peer);
        let Peer { settling, busy_us, .. } = &mut self.peers[peer];
        *busy_us = self.now_us.max(*busy_us) + stored * self.options.store_us;
        settling.note(now, backlog.unordered > 0);
        let is_due = settling.is_due(now, is_sending, &backlog);
        if stored > 0 && is_due {
            self.order(peer);
        }
    }

    fn order(&mut self, at: usize) {
        let (now, is_sending, backlog) = (self.now(), self.is_sending_to(at), self.engine(at).backlog());
        self.peers[at].node.run(|batch| batch.settle()).expect("the power is on");
        let took_us = (backlog.displaced * 2 + backlog.unordered) * self.options.apply_us;
        let Peer { settling, busy_us, .. } = &mut self.peers[at];
        *busy_us = self.now_us.max(*busy_us) + took_us;
        settling.ordered(now, Duration::from_micros(took_us), is_sending, &backlog);
        settling.note(now, false);
    }

    fn carry_out(&mut self, at: usize, end: usize, mut outputs: Vec<SessionOutput>) {
        let weather = Weather { one_bad_in: 0, delay_ms_max: self.options.delay_ms_max };
        while !outputs.is_empty() {
            let sent_ms = self.now_us / 1_000;
            let wishes = carry_out(&mut self.links[at], end, outputs, sent_ms, weather, &mut self.chance);
            outputs = Vec::new();
            let peer = self.links[at].ends[end].peer;
            for wish in wishes.expect("no session closes") {
                let Wish::Ingest(runs) = wish else { continue };
                let now = self.now();
                let mut authors = runs.iter().filter_map(|run| Some(run.entries().first()?.header.writer));
                let are_connected = authors.all(|author| {
                    let mut ends =
                        self.links.iter().filter(|link| link.touches(peer)).flat_map(|link| &link.ends);
                    ends.any(|end| writer(end.peer) == author)
                });
                let source = if are_connected { Source::Authors } else { Source::Others };
                self.peers[peer].settling.arrived(now, source);
                let stored = self.peers[peer].node.run(|batch| {
                    for run in &runs {
                        batch.ingest(run)?.expect("it is in order");
                    }
                    Ok(())
                });
                stored.expect("the power is on");
                self.links[at].ends[end].session.runs_stored(Ok(()), &mut outputs);
            }
        }
    }

    /// Lets the sessions of a peer send what has become durable.
    fn tell_sessions(&mut self, peer: usize, before: u64) {
        let is_new = self.engine(peer).end() != before;
        for at in 0..self.links.len() {
            for end in 0..2 {
                let it = &mut self.links[at].ends[end];
                if it.peer != peer || !(is_new || it.wants_more) {
                    continue;
                }
                it.wants_more = false;
                let log = self.peers[peer].node.log();
                let mut outputs = Vec::new();
                let told = self.links[at].ends[end].session.entries_stored(&log, &mut outputs);
                told.expect("the log can be read");
                self.carry_out(at, end, outputs);
            }
        }
    }

    fn report(&self, begin_us: u64) -> MeetingReport {
        let entries = (self.options.writers * self.options.each) as u64;
        let first = crate::view::digest::digest(&self.peers[0].node.view()).expect("a digest");
        let mut report =
            MeetingReport { entries, took_ms: (self.now_us - begin_us) / 1_000, ..Default::default() };
        for (at, peer) in self.peers.iter().enumerate() {
            let status = self.engine(at).status().expect("the power is on");
            assert_eq!((status.entries, status.unordered), (entries, 0), "peer {at} has not got everything");
            let digest = crate::view::digest::digest(&peer.node.view()).expect("a digest");
            assert_eq!(digest, first, "peer {at} has come to another view");
            report.applied += status.applied;
            report.applied_most = report.applied_most.max(status.applied);
        }
        report
    }

    fn engine(&self, at: usize) -> &Engine {
        self.peers[at].node.engine.as_ref().expect("the power is on")
    }

    fn now(&self) -> Instant {
        self.zero + Duration::from_micros(self.now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(writers: usize, each: usize, topology: Topology) -> MeetingOptions {
        MeetingOptions { writers, each, topology, delay_ms_max: 20, store_us: 100, apply_us: 50 }
    }

    const QUIET: u64 = 1;
    /// By how much a machine is slower that does much else.
    const BUSY: u64 = 20;

    fn assert_at_most_twice(options: MeetingOptions, slowness: u64) {
        let MeetingOptions { store_us, apply_us, .. } = options;
        let options =
            MeetingOptions { store_us: store_us * slowness, apply_us: apply_us * slowness, ..options };
        let met = meet(slowness, options);
        assert!(met.applied_most <= 2 * met.entries, "{options:?}: {met:?}");
    }

    #[test]
    fn two_writers_that_meet_apply_each_entry_at_most_twice() {
        for (each, slowness) in [(10, QUIET), (100, BUSY), (1_000, QUIET), (1_000, BUSY)] {
            assert_at_most_twice(options(2, each, Topology::Star), slowness);
        }
    }

    #[test]
    fn eight_writers_that_meet_apply_each_entry_at_most_twice() {
        for (each, topology, slowness) in [
            (10, Topology::Star, QUIET),
            (100, Topology::Star, QUIET),
            (100, Topology::Star, BUSY),
            (50, Topology::Ring(4), QUIET),
            (10, Topology::Ring(2), BUSY),
        ] {
            assert_at_most_twice(options(8, each, topology), slowness);
        }
    }

    #[test]
    fn sixty_four_writers_that_meet_apply_each_entry_at_most_twice() {
        assert_at_most_twice(options(64, 3, Topology::Star), BUSY);
        assert_at_most_twice(options(64, 1, Topology::Ring(2)), QUIET);
    }
}
