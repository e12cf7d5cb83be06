//! Sessions pumped by hand until they are quiet.

mod branches;
mod handshake;
mod hostile;
mod own_logs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::frame::{self, Frame};
use super::memory_log::{DATABASE, MemoryLog};
use super::outgoing::WINDOW_BYTES;
use super::*;
use crate::entry::{InvalidRun, VerifiedRun};
use crate::ids::{DatabaseKey, WriterKey};
use crate::limits;
use crate::log_reader::{LogReader, Tip};

fn config(node: usize, dialer: bool, nonce: u8) -> SessionConfig {
    SessionConfig {
        database: DATABASE,
        key: DatabaseKey::from_bytes([6; 32]),
        own_writer: MemoryLog::writer(1_000_000 + node as u32),
        replaced_keys: Vec::new(),
        binding: [8; 32],
        dialer,
        nonce: [nonce; 32],
    }
}

/// One end of a connection.
struct End {
    node: usize,
    session: Session,
    /// Frames on their way to this end.
    inbox: VecDeque<Vec<u8>>,
    caught_up: usize,
    authenticated: Option<WriterKey>,
    closed: Option<CloseReason>,
    /// What it was told of its own logs, and when.
    own_logs_elsewhere: Vec<Vec<Tip>>,
}

/// Peers with their logs, and connections between them: ends `2i` and `2i + 1` are connected.
struct World {
    logs: Vec<MemoryLog>,
    ends: Vec<End>,
    delivered: usize,
    bytes: usize,
    nonces: u8,
}

impl World {
    fn new(logs: Vec<MemoryLog>) -> Self {
        Self { logs, ends: Vec::new(), delivered: 0, bytes: 0, nonces: 0 }
    }

    fn connect(&mut self, dialer: usize, acceptor: usize) {
        for (node, dials) in [(dialer, true), (acceptor, false)] {
            self.nonces += 1;
            self.connect_end(node, Session::new(config(node, dials, self.nonces)));
        }
        self.start();
    }

    fn connect_end(&mut self, node: usize, session: Session) {
        let inbox = VecDeque::new();
        let (caught_up, authenticated, closed, own_logs_elsewhere) = (0, None, None, Vec::new());
        self.ends.push(End { node, session, inbox, caught_up, authenticated, closed, own_logs_elsewhere });
    }

    fn start(&mut self) {
        for end in [self.ends.len() - 2, self.ends.len() - 1] {
            let mut out = Vec::new();
            self.ends[end].session.start(&mut out);
            self.act(end, out);
        }
    }

    fn cut(&mut self) {
        self.ends.clear();
    }

    fn act(&mut self, end: usize, out: Vec<SessionOutput>) {
        for output in out {
            assert!(self.ends[end].closed.is_none(), "output after close: {output:?}");
            match output {
                SessionOutput::Send(frame) => {
                    assert!(frame.len() <= FRAME_BYTES_MAX);
                    self.bytes += frame.len();
                    self.ends[end ^ 1].inbox.push_back(frame);
                }
                SessionOutput::Ingest(runs) => {
                    let log = &mut self.logs[self.ends[end].node];
                    let stored = runs.into_iter().try_for_each(|run| log.store(run));
                    let mut more = Vec::new();
                    self.ends[end].session.runs_stored(stored, &mut more);
                    self.act(end, more);
                    self.tell_stored(self.ends[end].node);
                }
                SessionOutput::Authenticated { writer } => self.ends[end].authenticated = Some(writer),
                SessionOutput::CaughtUp => self.ends[end].caught_up += 1,
                SessionOutput::OwnLogsElsewhere(tips) => self.ends[end].own_logs_elsewhere.push(tips),
                SessionOutput::Continue => self.tell_stored(self.ends[end].node),
                SessionOutput::Close(reason) => self.ends[end].closed = Some(reason),
            }
        }
    }

    fn tell_stored(&mut self, node: usize) {
        for end in 0..self.ends.len() {
            if self.ends[end].node == node && self.ends[end].closed.is_none() {
                let mut out = Vec::new();
                self.ends[end].session.entries_stored(&self.logs[node], &mut out).unwrap();
                self.act(end, out);
            }
        }
    }

    /// Delivers the next frame of each end in turn; false if all is quiet.
    fn step(&mut self) -> bool {
        let mut moved = false;
        for end in 0..self.ends.len() {
            if let Some(frame) = self.ends[end].inbox.pop_front() {
                self.deliver(end, &frame);
                moved = true;
            }
        }
        moved
    }

    fn deliver(&mut self, end: usize, frame: &[u8]) {
        self.delivered += 1;
        let mut out = Vec::new();
        let log = &self.logs[self.ends[end].node];
        self.ends[end].session.handle_frame(frame, log, &mut out).unwrap();
        self.act(end, out);
    }

    fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("not quiet after {} frames", self.delivered);
    }

    #[track_caller]
    fn assert_equal(&self) {
        for log in &self.logs {
            assert_eq!(log.tips().unwrap(), self.logs[0].tips().unwrap());
            assert_eq!(log.hashes(), self.logs[0].hashes());
        }
        for end in &self.ends {
            assert_eq!((end.closed.clone(), end.caught_up), (None, 1));
        }
    }
}

fn written(writers: std::ops::Range<u32>, runs: u32, entries: u64) -> MemoryLog {
    let mut log = MemoryLog::default();
    for _ in 0..runs {
        for writer in writers.clone() {
            log.write(writer, entries);
        }
    }
    log
}

#[test]
fn equal_peers_part_after_the_handshake() {
    let log = written(1..50, 2, 2);
    let mut world = World::new(vec![log.clone(), log]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    assert_eq!(world.delivered, 6);
    assert_eq!(world.ends[0].authenticated, Some(MemoryLog::writer(1_000_001)));
    assert_eq!(world.ends[1].authenticated, Some(MemoryLog::writer(1_000_000)));
}

#[test]
fn a_fresh_peer_gets_everything_once() {
    let mut world = World::new(vec![written(1..4, 10, 5), MemoryLog::default()]);
    world.connect(1, 0);
    world.run();
    world.assert_equal();
    assert_eq!(world.ends[0].session.stats().entries_received, 150);
    assert_eq!(world.ends[1].session.stats().entries_sent, 150);
    assert_eq!(world.ends[0].session.stats().entries_sent, 0);
}

#[test]
fn peers_that_wrote_apart_come_together_and_stay_so() {
    let mut common = written(1..3, 2, 1);
    let mut other = common.clone();
    common.write(1, 3);
    other.write(2, 3);
    other.write(3, 1);
    let mut world = World::new(vec![common, other]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    for (node, writer) in [(0, 1), (1, 2), (0, 1), (1, 9)] {
        world.logs[node].write(writer, 1);
        world.tell_stored(node);
        world.run();
        world.assert_equal();
    }
    assert_eq!(world.ends.iter().map(|end| end.session.stats().runs_in_vain).sum::<u64>(), 0);
}

#[test]
fn entries_pass_through_a_peer_in_the_middle() {
    let mut world = World::new(vec![written(1..2, 5, 1), MemoryLog::default(), written(2..3, 5, 1)]);
    world.connect(0, 1);
    world.connect(1, 2);
    world.run();
    world.logs[2].write(2, 1);
    world.tell_stored(2);
    world.run();
    assert_eq!(world.logs[0].hashes(), world.logs[2].hashes());
    assert_eq!(world.logs[0].hashes(), world.logs[1].hashes());
}

#[test]
fn a_triangle_of_peers_becomes_quiet() {
    let mut world = World::new(vec![written(1..2, 40, 1), written(2..3, 40, 1), written(3..4, 40, 1)]);
    world.connect(0, 1);
    world.connect(1, 2);
    world.connect(2, 0);
    world.run();
    for round in 0..10 {
        world.logs[round % 3].write(round as u32 % 3 + 1, 1);
        world.tell_stored(round % 3);
    }
    world.run();
    world.assert_equal();
}

#[test]
fn what_was_cut_off_at_any_frame_resumes() {
    let mut cut_after = 0;
    loop {
        let (mut left, mut right) = (written(1..4, 3, 2), written(4..6, 3, 2));
        for log in [&mut left, &mut right] {
            log.write_after(9, None, vec![vec![0; 300_000]]);
            log.write(9, 1);
            log.write_after(7, None, vec![vec![0; 300_000], vec![1; 300_000]]);
        }
        let mut world = World::new(vec![left, right]);
        world.connect(0, 1);
        let mut complete = false;
        for _ in 0..cut_after {
            complete = !world.step();
        }
        world.cut();
        world.connect(1, 0);
        world.run();
        world.assert_equal();
        if complete {
            return;
        }
        cut_after += 1;
    }
}

#[test]
fn ten_thousand_writers_compare_in_bounded_frames() {
    let mut log = MemoryLog::default();
    for writer in 0..10_000 {
        log.write(writer, 1);
    }
    let mut other = log.clone();
    other.write(77, 1);
    log.write(5_000, 1);
    log.write(20_000, 1);
    let mut world = World::new(vec![log, other]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    assert_eq!(world.ends[0].session.stats().entries_sent, 2);
    assert_eq!(world.ends[1].session.stats().entries_sent, 1);
}

#[test]
fn bytes_in_flight_stay_within_the_window_and_a_large_run_goes_alone() {
    let mut log = MemoryLog::default();
    for _ in 0..20 {
        let tip = log.tips().unwrap().first().copied();
        log.write_after(1, tip, vec![vec![7; 400_000]]);
    }
    log.write_after(2, None, vec![vec![8; limits::PAYLOAD_BYTES_MAX]]);
    log.write(2, 1);
    let mut world = World::new(vec![log, MemoryLog::default()]);
    world.connect(0, 1);
    let mut largest = 0;
    let mut end = 0;
    while world.ends.iter().any(|end| !end.inbox.is_empty()) {
        let on_their_way: usize = world.ends[1].inbox.iter().map(Vec::len).sum();
        if on_their_way as u64 > WINDOW_BYTES {
            assert_eq!(world.ends[1].inbox.len(), 1);
        }
        largest = largest.max(on_their_way);
        if let Some(frame) = world.ends[end].inbox.pop_front() {
            world.deliver(end, &frame);
        }
        end ^= 1;
    }
    world.assert_equal();
    assert!(largest > limits::PAYLOAD_BYTES_MAX);
}

#[test]
fn runs_that_overlap_what_is_known_are_taken_without_that_part() {
    let mut left = MemoryLog::default();
    let mut right = left.clone();
    let run = left.sign_after(1, None, vec![vec![1], vec![2], vec![3]]);
    left.store(run.clone()).unwrap();
    let short = right.sign_after(1, None, vec![vec![1], vec![2]]);
    right.store(short).unwrap();
    let mut world = World::new(vec![left, right]);
    world.connect(0, 1);
    world.run();
    world.assert_equal();
    assert!(world.logs[1].holds(&run.entries()[2].hash));
    assert_eq!(world.ends[1].session.stats().entries_received, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn logs_written_in_any_way_come_together(
        writes in proptest::collection::vec((0usize..3, 1u32..5, 1u64..4, 0u8..3), 0..30),
        links in proptest::collection::vec((0usize..3, 1usize..3), 1..5),
    ) {
        let mut world = World::new(vec![MemoryLog::default(); 3]);
        // Everybody writes with everybody's keys: forks in abundance.
        for (node, writer, count, salt) in writes {
            world.logs[node].write_branch(writer, count, salt);
        }
        for (node, offset) in links {
            world.connect(node, (node + offset) % 3);
            world.run();
            world.cut();
        }
        world.connect(0, 1);
        world.connect(1, 2);
        world.run();
        world.assert_equal();
        let found: BTreeMap<usize, Option<CloseReason>> =
            world.ends.iter().enumerate().map(|(place, end)| (place, end.closed.clone())).collect();
        prop_assert!(found.values().all(Option::is_none));
    }
}
