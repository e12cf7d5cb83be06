//! When an indexer that would help by an ack appends it.
//!
//! Usually several would help, and one ack makes others needless. So each waits for a time that is drawn: whose time is up
//! first acks, and the others look again once they have seen that. A peer's acks keep a distance from one another, so that a
//! burst of writes is confirmed by few of them.

use std::time::{Duration, Instant};

/// How long an ack waits at least for more to vote on.
const DELAY: Duration = Duration::from_millis(15);
/// How much longer it waits at the most, for every other indexer that may go before it, and in all.
const SPREAD_EACH: Duration = Duration::from_millis(10);
const SPREAD_MAX: Duration = Duration::from_millis(250);
/// How far apart a peer's own acks are at least.
const DISTANCE: Duration = Duration::from_millis(50);

/// What is known of the next ack and the last.
#[derive(Debug, Default)]
pub(super) struct Acking {
    at: Option<Instant>,
    last: Option<Instant>,
}

impl Acking {
    /// When the planned ack is due; none if none is planned.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Plans an ack, unless one is planned, where there are so many indexers. `drawn` is chance, evenly spread over all values.
    pub(super) fn plan(&mut self, now: Instant, indexers: usize, drawn: impl FnOnce() -> u32) {
        if self.at.is_some() {
            return;
        }
        let others = u32::try_from(indexers.saturating_sub(1)).unwrap_or(u32::MAX);
        let spread = SPREAD_EACH.saturating_mul(others).min(SPREAD_MAX);
        let spread = spread.mul_f64(f64::from(drawn()) / f64::from(u32::MAX));
        let earliest = self.last.map_or(now, |last| now.max(last + DISTANCE));
        self.at = Some(earliest + DELAY + spread);
    }

    /// Notes that the planned ack's time has come, and whether it was still of use and so appended.
    pub(super) fn done(&mut self, now: Instant, was_appended: bool) {
        self.at = None;
        if was_appended {
            self.last = Some(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // where the time begins is of no matter
mod tests {
    use super::*;

    #[test]
    fn who_acks_first_is_drawn_among_those_that_could_help() {
        let now = Instant::now();
        let planned = |indexers, drawn| {
            let mut acking = Acking::default();
            acking.plan(now, indexers, || drawn);
            acking.at().unwrap() - now
        };
        assert_eq!(planned(1, u32::MAX), DELAY, "a lone indexer waits for nobody");
        assert_eq!((planned(5, 0), planned(5, u32::MAX)), (DELAY, DELAY + SPREAD_EACH * 4));
        let times: Vec<_> = (0..5).map(|fifth| planned(5, u32::MAX / 5 * fifth)).collect();
        assert!(times.is_sorted_by(|a, b| *a + Duration::from_millis(5) < *b), "evenly spread: {times:?}");
        assert_eq!(planned(1_000, u32::MAX), DELAY + SPREAD_MAX);
    }

    #[test]
    fn a_peers_acks_keep_their_distance_and_one_that_came_too_late_to_help_counts_for_none() {
        let (mut acking, mut now) = (Acking::default(), Instant::now());
        let begun = now;
        for _ in 0..20 {
            acking.plan(now, 1, || 7);
            let at = acking.at().unwrap();
            acking.plan(now + DISTANCE, 1, || 9);
            assert_eq!(acking.at(), Some(at), "what is planned stays");
            now = at;
            acking.done(now, true);
            assert_eq!(acking.at(), None);
        }
        assert!(now - begun >= DISTANCE * 19);
        now += DISTANCE * 10;
        acking.plan(now, 1, || 7);
        acking.done(now, false);
        acking.plan(now, 1, || 7);
        assert_eq!(acking.at(), Some(now + DELAY));
    }
}
