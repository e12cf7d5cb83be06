//! How often the view is built anew for what peers send: an indexer that has forked its log may demand that again and again.
//!
//! Nothing that peers have sent is taken in while something of it has to wait for that: what comes after it may need it. Calls
//! are served meanwhile.

use std::time::{Duration, Instant};

/// How many times as long as it has taken it is not done again.
const REST_PARTS: u32 = 4;

/// What is known of the last time.
#[derive(Debug, Default)]
pub(super) struct Rebuilding {
    count: u64,
    not_before: Option<Instant>,
    /// Whether the next run of those that wait to be taken in demands it.
    pub(super) is_waited_for: bool,
}

impl Rebuilding {
    /// How often a transaction that begins now may do it.
    pub(super) fn allowed(&self, now: Instant) -> u32 {
        u32::from(self.not_before.is_none_or(|at| at <= now))
    }

    /// Notes how often it was done so far, after a transaction that took so long and has just ended.
    pub(super) fn note(&mut self, now: Instant, took: Duration, count: u64) {
        if count > self.count {
            self.not_before = now.checked_add(took.saturating_mul(REST_PARTS));
        }
        self.count = count;
    }

    /// For how long what has come is not to be taken in; none if nothing has to wait.
    pub(super) fn rests_for(&self, now: Instant) -> Option<Duration> {
        let at = self.not_before.filter(|at| self.is_waited_for && *at > now)?;
        Some(at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::instant;
    use super::*;

    #[test]
    fn it_takes_no_more_than_a_part_of_the_time() {
        let (begun, mut rebuilding) =
            (instant(), Rebuilding { is_waited_for: true, ..Rebuilding::default() });
        let (mut now, mut rebuilt, mut took_all) = (begun, 0, Duration::ZERO);
        for round in 1..10_000 {
            let is_done = rebuilding.allowed(now) > 0;
            assert_eq!(is_done, rebuilding.rests_for(now).is_none());
            let took = if is_done { Duration::from_millis(round % 20) } else { Duration::from_millis(1) };
            now += took;
            if is_done {
                rebuilt += 1;
                took_all += took;
            }
            rebuilding.note(now, took, rebuilt);
        }
        now += rebuilding.rests_for(now).unwrap_or_default();
        assert!(rebuilt > 10 && took_all * (REST_PARTS + 1) <= now - begun);
    }

    #[test]
    fn nothing_rests_that_does_not_wait_for_it() {
        let (now, mut rebuilding) = (instant(), Rebuilding::default());
        rebuilding.note(now, Duration::from_secs(1), 1);
        assert_eq!((rebuilding.allowed(now), rebuilding.rests_for(now)), (0, None));
        rebuilding.is_waited_for = true;
        assert_eq!(rebuilding.rests_for(now), Some(Duration::from_secs(4)));
        assert_eq!(rebuilding.rests_for(now + Duration::from_secs(4)), None);
    }
}
