//! When a peer that has noticed a fork logs the proof: after a time that is drawn, so that mostly one of all does, and the
//! others see that it is done.

use std::time::{Duration, Instant};

/// How long it waits at least, and how much longer at the most.
const DELAY: Duration = Duration::from_millis(100);
const SPREAD: Duration = Duration::from_millis(1_500);
/// How long after a proof that was due it waits at least with the next.
const DISTANCE: Duration = Duration::from_secs(1);

/// What is known of the next proof and the last.
#[derive(Debug, Default)]
pub(super) struct Proving {
    at: Option<Instant>,
    last: Option<Instant>,
}

impl Proving {
    /// When the planned proof is due; none if none is planned.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Plans a proof. `drawn` is chance, evenly spread over all values.
    pub(super) fn plan(&mut self, now: Instant, drawn: impl FnOnce() -> u32) {
        let spread = SPREAD.mul_f64(f64::from(drawn()) / f64::from(u32::MAX));
        let earliest = self.last.map_or(now, |last| now.max(last + DISTANCE));
        self.at = Some(earliest + DELAY + spread);
    }

    /// Whether the planned proof's time has come; then none is planned any more.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.at.is_some_and(|at| at <= now);
        if is_due {
            (self.at, self.last) = (None, Some(now));
        }
        is_due
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // where the time begins is of no matter
mod tests {
    use super::*;

    #[test]
    fn the_time_is_drawn_and_proofs_keep_their_distance() {
        let now = Instant::now();
        let mut proving = Proving::default();
        proving.plan(now, || u32::MAX);
        assert_eq!(proving.at(), Some(now + DELAY + SPREAD));
        assert!(!proving.is_due(now + DELAY));
        assert!(proving.is_due(now + DELAY + SPREAD));
        assert_eq!(proving.at(), None);
        proving.plan(now + DELAY + SPREAD, || 0);
        assert_eq!(proving.at(), Some(now + DELAY + SPREAD + DISTANCE + DELAY));
    }
}
