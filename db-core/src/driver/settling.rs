//! When to order what peers have sent.
//!
//! What comes later may stand earlier in the order, and then what was applied is undone and applied again. So entries that
//! arrive together are ordered together. Nobody says when the last of them has come, but four things are known: whether a
//! peer is still sending what it held when it connected, whether all has come from its authors, how long nothing has come, and
//! what ordering would cost now.
//!
//! - *Credit.* Each entry pays for two applications. Ordering now is *covered* if, after it, the credit that is left would pay
//!   for undoing the whole tail once more. Whoever orders only when that is covered, and at last once for good, has applied
//!   at most twice as often as it has entries, whatever comes when.
//! - Everything waits until nothing has come for a moment: for longer, the more it costs, and for longer still if it is not
//!   covered and others may be passing on what is still coming to them. What undoes little, and is paid for, is ordered at once.
//! - If that moment never comes, what is covered is ordered soon, and what is not after waits that double, so that readers see
//!   something.
//!
//! When it is done changes what it costs and never the result.

use std::time::{Duration, Instant};

use crate::engine::Backlog;

/// How long entries stay unordered at least while a peer is still sending.
const SENDING_MIN: Duration = Duration::from_secs(5);
/// How long what is not covered stays unordered at the most, the first time, while a peer is still sending.
const SENDING_MAX: Duration = Duration::from_mins(1);
/// The same while nobody is sending and entries come all the time.
const STREAMING_MAX: Duration = Duration::from_secs(10);
/// How long nothing must have come, for every moment that ordering takes.
const QUIET_PARTS: u32 = 4;
/// How long at least, unless that undoes little; if it is not covered, and not paid for or likely to be followed by more; and how
/// long at the most.
const QUIET_MIN: Duration = Duration::from_millis(100);
const QUIET_UNSURE_MIN: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_secs(10);
/// What is little to undo: this, and no more than this part of what is stored, or this in any case.
const UNDONE_FREE: u64 = 32;
const UNDONE_FREE_PARTS: u64 = 32;
const UNDONE_FREE_MIN: u64 = 2;
/// Of what is covered that quiet is waited for so many times its length.
const COVERED_PARTS: u32 = 4;
/// Of the longest wait ordering takes no more than this part.
const WAIT_PARTS: u32 = 16;
/// How often the longest wait is doubled at the most.
const DOUBLINGS_MAX: u32 = 6;
/// What applying an entry is taken to cost until that is known, and how much is applied before it is known.
const APPLICATION: Duration = Duration::from_micros(50);
const APPLICATIONS_TOLD: u64 = 64;

/// From whom entries have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// All from their authors, who are connected.
    Authors,
    /// Some from others.
    Others,
}

/// What is known of the present backlog.
#[derive(Debug)]
pub(crate) struct Settling {
    /// Since when there have been unordered entries, and when the last came.
    since: Option<Instant>,
    last_arrival: Option<Instant>,
    /// Whether some of them have come from others than their authors, who may be passing on what is still coming to them.
    is_relayed: bool,
    /// How often in a row it was ordered what would better have waited.
    forced: u32,
    /// What applying an entry has cost of late.
    application: Duration,
}

impl Default for Settling {
    fn default() -> Self {
        Self { since: None, last_arrival: None, is_relayed: false, forced: 0, application: APPLICATION }
    }
}

impl Settling {
    /// In how long it is time to order what is not ordered yet; none if all is.
    pub(crate) fn due_in(&self, now: Instant, is_sending: bool, backlog: &Backlog) -> Option<Duration> {
        let since = self.since.filter(|_| backlog.unordered > 0)?;
        let cost = self.cost(backlog);
        let longest = if is_sending { SENDING_MAX } else { STREAMING_MAX };
        let at_last = since + longest.max(cost * WAIT_PARTS) * (1 << self.forced.min(DOUBLINGS_MAX));
        let due = match (is_sending, is_covered(backlog)) {
            (true, true) => since + SENDING_MIN.max(cost * QUIET_PARTS),
            (true, false) => at_last,
            (false, is_covered) => {
                let quiet = self.quiet(backlog, cost);
                let at_last = if is_covered { since + quiet * COVERED_PARTS } else { at_last };
                (self.last_arrival.unwrap_or(since) + quiet).min(at_last)
            }
        };
        Some(due.saturating_duration_since(now))
    }

    /// Whether to order now.
    pub(crate) fn is_due(&self, now: Instant, is_sending: bool, backlog: &Backlog) -> bool {
        self.due_in(now, is_sending, backlog).is_some_and(|wait| wait.is_zero())
    }

    /// Notes that entries of peers have come, some of them not from their authors, or all.
    pub(crate) fn arrived(&mut self, now: Instant, source: Source) {
        self.is_relayed |= source == Source::Others;
        self.since.get_or_insert(now);
        self.last_arrival = Some(now);
    }

    /// Notes that everything was ordered, which had been this backlog, from `begun` on, and how long that took.
    pub(crate) fn ordered(&mut self, begun: Instant, took: Duration, is_sending: bool, backlog: &Backlog) {
        let is_quiet =
            self.last_arrival.is_none_or(|last| last + self.quiet(backlog, self.cost(backlog)) <= begun);
        let is_forced = !is_covered(backlog) && (is_sending || !is_quiet);
        self.forced = if is_forced { self.forced.saturating_add(1) } else { 0 };
        (self.since, self.is_relayed) = (None, false);
        let applications = backlog.displaced + backlog.unordered;
        if applications >= APPLICATIONS_TOLD {
            let each = took / u32::try_from(applications).unwrap_or(u32::MAX);
            self.application = (self.application * 3 + each) / 4;
        }
    }

    /// Notes whether there are unordered entries.
    pub(crate) fn note(&mut self, now: Instant, has_unordered: bool) {
        self.since = if has_unordered { Some(self.since.unwrap_or(now)) } else { None };
    }

    /// How long nothing must have come before this is ordered.
    fn quiet(&self, backlog: &Backlog, cost: Duration) -> Duration {
        let little = UNDONE_FREE.min((backlog.stored / UNDONE_FREE_PARTS).max(UNDONE_FREE_MIN));
        let is_paid = backlog.displaced <= credit(backlog);
        let least = if is_paid && backlog.displaced <= little {
            Duration::ZERO
        } else if is_covered(backlog) || (is_paid && !self.is_relayed) {
            QUIET_MIN
        } else {
            QUIET_UNSURE_MIN
        };
        cost.saturating_mul(QUIET_PARTS).clamp(least, QUIET_MAX)
    }

    fn cost(&self, backlog: &Backlog) -> Duration {
        let applications = backlog.displaced.saturating_add(backlog.unordered);
        self.application.saturating_mul(u32::try_from(applications).unwrap_or(u32::MAX))
    }
}

/// Whether the credit pays for ordering now and for undoing all of the tail once more.
fn is_covered(backlog: &Backlog) -> bool {
    credit(backlog) >= backlog.displaced + backlog.tail + backlog.unordered
}

/// How many entries may be undone before there are more than two applications an entry.
fn credit(backlog: &Backlog) -> u64 {
    (2 * backlog.stored).saturating_sub(backlog.applied + backlog.unordered)
}

#[cfg(test)]
#[path = "settling/tests.rs"]
mod tests;
