//! The policy under a clock of our own, with entries whose places in the order are drawn.
#![allow(clippy::disallowed_methods)] // where the time begins is of no matter

use proptest::prelude::*;

use super::*;

/// A peer as far as the policy knows it: the tail as sorted keys, and what was spent on it.
struct Peer {
    settling: Settling,
    now: Instant,
    tail: Vec<u64>,
    unordered: Vec<u64>,
    stored: u64,
    applied: u64,
    /// How many orderings there were, and how many of them were not covered.
    orderings: u64,
    uncovered: u64,
}

impl Peer {
    /// One that has written these entries itself.
    fn new(mut own: Vec<u64>) -> Self {
        own.sort_unstable();
        let count = own.len() as u64;
        Self {
            settling: Settling::default(),
            now: Instant::now(),
            tail: own,
            unordered: Vec::new(),
            stored: count,
            applied: count,
            orderings: 0,
            uncovered: 0,
        }
    }

    fn backlog(&self) -> Backlog {
        let first = self.unordered.iter().min();
        let kept = first.map_or(self.tail.len(), |first| self.tail.partition_point(|key| key < first));
        Backlog {
            stored: self.stored,
            applied: self.applied,
            tail: self.tail.len() as u64,
            unordered: self.unordered.len() as u64,
            displaced: (self.tail.len() - kept) as u64,
        }
    }

    fn receive(&mut self, keys: &[u64]) {
        self.unordered.extend(keys);
        self.stored += keys.len() as u64;
        self.settling.arrived(self.now, Source::Others);
    }

    /// Lets time go by, ordering whenever that is due.
    fn wait(&mut self, mut time: Duration, is_sending: bool) {
        while let Some(due) = self.settling.due_in(self.now, is_sending, &self.backlog()) {
            if due > time {
                break;
            }
            time -= due;
            self.now += due;
            self.order(is_sending);
        }
        self.now += time;
    }

    fn order(&mut self, is_sending: bool) {
        let backlog = self.backlog();
        let credit_before = credit(&backlog);
        self.applied += backlog.displaced + backlog.unordered;
        self.tail.append(&mut self.unordered);
        self.tail.sort_unstable();
        self.orderings += 1;
        if is_covered(&backlog) {
            assert!(credit_before - backlog.displaced >= self.tail.len() as u64, "the reserve is kept");
        } else {
            self.uncovered += 1;
        }
        let took = Duration::from_micros(40) * u32::try_from(backlog.displaced + backlog.unordered).unwrap();
        self.settling.ordered(self.now, took, is_sending, &backlog);
        self.settling.note(self.now, false);
    }
}

/// Longer than anything waits for quiet.
const LONG: Duration = Duration::from_mins(1);

/// Entries that come together: after how many milliseconds, and their places in the order.
fn pieces(gap_ms_max: u64) -> impl Strategy<Value = Vec<(u64, Vec<u64>)>> {
    prop::collection::vec((0..gap_ms_max, prop::collection::vec(any::<u64>(), 1..200)), 1..40)
}

proptest! {
    #[test]
    fn however_a_meeting_is_cut_in_pieces_each_entry_is_applied_at_most_about_twice(
        own in prop::collection::vec(any::<u64>(), 0..2_000),
        pieces in pieces(100),
        sending in 0_usize..40,
    ) {
        let mut peer = Peer::new(own);
        for (at, (gap_ms, keys)) in pieces.iter().enumerate() {
            peer.wait(Duration::from_millis(*gap_ms), at < sending);
            peer.receive(keys);
        }
        peer.wait(LONG, false);
        prop_assert!(peer.unordered.is_empty(), "all is ordered in the end");
        let free = UNDONE_FREE * peer.orderings;
        prop_assert!(peer.applied <= 2 * peer.stored + free, "{} of {}", peer.applied, peer.stored);
    }

    #[test]
    fn whatever_comes_whenever_all_that_is_covered_and_one_more_costs_at_most_two_applications_an_entry(
        own in prop::collection::vec(any::<u64>(), 0..500),
        pieces in pieces(20_000),
    ) {
        let mut peer = Peer::new(own);
        for (gap_ms, keys) in &pieces {
            peer.wait(Duration::from_millis(*gap_ms), true);
            if peer.uncovered == 0 {
                let rest = peer.tail.len() + peer.unordered.len();
                prop_assert!(peer.applied + rest as u64 <= 2 * peer.stored, "the reserve pays for the last");
            }
            peer.receive(keys);
        }
        peer.wait(LONG, false);
        prop_assert!(peer.unordered.is_empty(), "all is ordered in the end");
    }
}

#[test]
fn writers_that_meet_at_a_hub_cost_at_most_two_applications_an_entry() {
    for (writers, each) in [(2, 100), (2, 10_000), (8, 1_000), (64, 10), (64, 100)] {
        // Everybody wrote at the same time, so that every piece goes before nearly everything.
        let log = |writer: u64| (0..each).map(move |n| n * 1_000 + writer);
        let mut peer = Peer::new(log(0).collect());
        for writer in 1..writers {
            for piece in log(writer).collect::<Vec<_>>().chunks(250) {
                peer.receive(piece);
                peer.wait(Duration::from_millis(60), writer == 1);
            }
        }
        peer.wait(LONG, false);
        assert!(peer.applied <= 2 * peer.stored, "{writers}: {} of {}", peer.applied, peer.stored);
    }
}

#[test]
fn what_comes_alone_is_ordered_at_once_if_that_undoes_little_and_soon_if_it_undoes_much() {
    let mut peer = Peer::new((0..10_000).map(|n| n * 10).collect());
    peer.receive(&[200_000]);
    assert!(peer.settling.due_in(peer.now, false, &peer.backlog()).unwrap() < Duration::from_millis(1));
    peer.wait(Duration::from_millis(1), false);
    peer.receive(&[99_950]);
    assert!(peer.settling.due_in(peer.now, false, &peer.backlog()).unwrap() < Duration::from_millis(10));
    peer.wait(Duration::from_millis(10), false);
    assert_eq!(peer.orderings, 2);
    peer.receive(&[5]);
    let much = peer.settling.due_in(peer.now, false, &peer.backlog()).unwrap();
    assert!(much > QUIET_MIN && much <= QUIET_MAX, "{much:?}");
}

#[test]
fn readers_see_something_of_what_never_ends_and_it_takes_a_small_part_of_the_time() {
    for is_sending in [true, false] {
        let mut peer = Peer::new((0..5_000).collect());
        let begun = peer.now;
        let mut worked = 0;
        for n in 0..120_000_u64 {
            // Each piece goes before all that is there: nothing is ever covered.
            peer.receive(&[u64::MAX / 2 - n]);
            let before = peer.applied;
            peer.wait(Duration::from_millis(5), is_sending);
            worked += peer.applied - before;
        }
        let seconds = (peer.now - begun).as_secs();
        assert!((3..=seconds / 4).contains(&peer.orderings), "{} orderings in {seconds} s", peer.orderings);
        assert!(worked * 40 <= seconds * 1_000_000 / u64::from(WAIT_PARTS) * 2, "{worked} applications");
    }
}
