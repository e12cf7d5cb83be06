//! When to order what a peer is still sending.
//!
//! Once it has sent all, everything is ordered at once and each entry is applied once. Until then readers should see
//! something of it now and then, but what comes later may stand earlier in the order, and then most is applied again. So
//! the times between grow with the time that has gone by: all of them together cost about as much as the last.

use std::time::{Duration, Instant};

/// How long entries stay unordered at first while a peer is still sending.
const WAIT_MIN: Duration = Duration::from_secs(5);
/// How long at the most.
const WAIT_MAX: Duration = Duration::from_mins(30);
/// How many entries stay unordered at the most, if the tail is not longer.
const UNORDERED_MAX: u64 = 100_000;
/// Ordering takes no more than this part of the time.
const IDLE_PARTS: u32 = 4;

/// What is known of the present backlog.
#[derive(Debug)]
pub(super) struct Settling {
    /// Since when there have been unordered entries.
    since: Option<Instant>,
    wait: Duration,
}

impl Default for Settling {
    fn default() -> Self {
        Self { since: None, wait: WAIT_MIN }
    }
}

impl Settling {
    /// In how long it is time to order what is not ordered yet; none if all is.
    pub(super) fn due_in(&self, now: Instant, is_sending: bool) -> Option<Duration> {
        let wait = if is_sending { self.wait } else { Duration::ZERO };
        Some((self.since? + wait).saturating_duration_since(now))
    }

    /// Whether to order now, with so many entries unordered beside so many in the tail.
    pub(super) fn is_due(&self, now: Instant, is_sending: bool, unordered: u64, tail: u64) -> bool {
        self.due_in(now, is_sending) == Some(Duration::ZERO) || unordered >= UNORDERED_MAX.max(tail)
    }

    /// Notes that everything was ordered, and how long that took.
    pub(super) fn ordered(&mut self, took: Duration, is_sending: bool) {
        self.since = None;
        let longer = (self.wait * 2).max(took * IDLE_PARTS).min(WAIT_MAX);
        self.wait = if is_sending { longer } else { WAIT_MIN };
    }

    /// Notes whether there are unordered entries.
    pub(super) fn note(&mut self, now: Instant, has_unordered: bool) {
        self.since = if has_unordered { Some(self.since.unwrap_or(now)) } else { None };
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // where the time begins is of no matter
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_comes_in_for_long_is_applied_about_twice_even_if_all_of_it_moves_each_time() {
        for (per_second, seconds) in [(1_000, 600), (20_000, 100), (10, 20)] {
            let (start, mut settling) = (Instant::now(), Settling::default());
            let (mut stored, mut unordered, mut applied, mut times) = (0_u64, 0, 0, 0);
            for tenth in 0..=seconds * 10 {
                let is_sending = tenth < seconds * 10;
                let now = start + Duration::from_millis(tenth * 100);
                stored += per_second / 10;
                unordered += per_second / 10;
                if settling.is_due(now, is_sending, unordered, stored - unordered) {
                    (applied, unordered, times) = (applied + stored, 0, times + 1);
                    settling.ordered(Duration::from_millis(stored / 40), is_sending);
                }
                settling.note(now, unordered > 0);
            }
            assert_eq!(unordered, 0, "all is ordered once the peer has sent all");
            assert!(applied <= stored * 3, "{stored} entries were applied {applied} times, in {times} goes");
            assert!(times >= 2, "something is seen of it meanwhile");
        }
    }

    #[test]
    fn what_comes_when_nobody_is_sending_a_backlog_is_ordered_at_once() {
        let (now, mut settling) = (Instant::now(), Settling::default());
        settling.note(now, true);
        assert!(settling.is_due(now, false, 1, 0));
        assert!(!settling.is_due(now, true, 1, 0));
        assert!(settling.is_due(now + WAIT_MIN, true, 1, 0));
        assert!(settling.is_due(now, true, UNORDERED_MAX, 0));
    }
}
