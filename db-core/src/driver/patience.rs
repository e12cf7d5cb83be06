//! Which indexers are not waited for: those that are away, and those that say nothing while something is to be confirmed.
//!
//! Who is not connected may be heard of through others, so it counts as away a while after its last entry. Who is connected and
//! says nothing (it hangs, has lost its own log's end, or does not want to) is waited for as long, from the moment on when there
//! was something to confirm. Whoever is waited for in vain is so until it is heard again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::ids::WriterKey;

/// How long an indexer is waited for, unless said otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the indexers but our own.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// When an entry of theirs last came in.
    heard: BTreeMap<WriterKey, Instant>,
    /// Since when there has been something to confirm without a word of theirs.
    awaited: BTreeMap<WriterKey, Instant>,
}

impl Patience {
    /// An entry of this indexer has come in.
    pub(super) fn heard(&mut self, indexer: WriterKey, now: Instant) {
        self.heard.insert(indexer, now);
        self.awaited.remove(&indexer);
    }

    /// Notes who the indexers are now, and whether there is anything to confirm.
    pub(super) fn note(&mut self, now: Instant, others: &[WriterKey], is_waiting: bool, patience: Duration) {
        self.heard.retain(|indexer, _| others.contains(indexer));
        // Who was waited for in vain is not waited for the next time either.
        self.awaited.retain(|indexer, since| {
            others.contains(indexer) && (is_waiting || is_over(*since, now, patience))
        });
        if is_waiting {
            for indexer in others {
                self.awaited.entry(*indexer).or_insert(now);
            }
        }
    }

    /// Which of these indexers are not waited for.
    pub(super) fn gone(
        &self,
        now: Instant,
        others: &[WriterKey],
        connected: &BTreeSet<WriterKey>,
        patience: Duration,
    ) -> BTreeSet<WriterKey> {
        let is_gone = |indexer: &&WriterKey| {
            let is_away = !connected.contains(*indexer)
                && self.heard.get(*indexer).is_none_or(|at| is_over(*at, now, patience));
            is_away || self.awaited.get(*indexer).is_some_and(|since| is_over(*since, now, patience))
        };
        others.iter().filter(is_gone).copied().collect()
    }

    /// When the next of these indexers is not waited for any more, if there is anything to wait for.
    pub(super) fn next(
        &self,
        now: Instant,
        connected: &BTreeSet<WriterKey>,
        patience: Duration,
    ) -> Option<Instant> {
        let away = |indexer: &WriterKey| self.heard.get(indexer).filter(|_| !connected.contains(indexer));
        let since = self.awaited.iter().flat_map(|(indexer, since)| away(indexer).into_iter().chain([since]));
        since.filter_map(|since| since.checked_add(patience)).filter(|over| *over > now).min()
    }
}

fn is_over(since: Instant, now: Instant, patience: Duration) -> bool {
    now.saturating_duration_since(since) >= patience
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // where the time begins is of no matter
mod tests {
    use super::*;

    const A: WriterKey = WriterKey::from_bytes([1; 32]);
    const B: WriterKey = WriterKey::from_bytes([2; 32]);

    fn keys<const N: usize>(keys: [WriterKey; N]) -> BTreeSet<WriterKey> {
        keys.into()
    }

    #[test]
    fn who_is_away_is_waited_for_a_while_after_its_last_entry_and_who_was_never_heard_not_at_all() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        patience.heard(A, begin);
        patience.note(begin, &[A, B], true, PATIENCE);
        let gone = |patience: &Patience, after| patience.gone(begin + after, &[A, B], &keys([]), PATIENCE);
        assert_eq!(gone(&patience, Duration::ZERO), keys([B]));
        assert_eq!(gone(&patience, PATIENCE / 2), keys([B]));
        assert_eq!(patience.next(begin, &keys([]), PATIENCE), Some(begin + PATIENCE), "then one looks again");
        assert_eq!(gone(&patience, PATIENCE), keys([A, B]));
        assert_eq!(patience.next(begin + PATIENCE, &keys([]), PATIENCE), None);
        patience.heard(B, begin + PATIENCE);
        assert_eq!(gone(&patience, PATIENCE), keys([A]));
    }

    #[test]
    fn who_is_there_and_says_nothing_is_waited_for_as_long_as_that_while_there_is_something_to_confirm() {
        let (mut patience, begin) = (Patience::default(), Instant::now());
        let there = keys([A, B]);
        let gone = |patience: &Patience, at| patience.gone(at, &[A, B], &there, PATIENCE);
        // Nobody has to say anything while all is confirmed.
        patience.note(begin, &[A, B], false, PATIENCE);
        let late = begin + PATIENCE * 5;
        assert_eq!((gone(&patience, late), patience.next(late, &there, PATIENCE)), (keys([]), None));

        patience.note(late, &[A, B], true, PATIENCE);
        let middle = late + PATIENCE / 2;
        patience.heard(B, middle);
        patience.note(middle, &[A, B], true, PATIENCE);
        assert_eq!(patience.next(middle, &there, PATIENCE), Some(late + PATIENCE));
        assert_eq!(gone(&patience, late + PATIENCE), keys([A]));
        // As long as it is silent the others do not wait for it again.
        patience.note(late + PATIENCE, &[A, B], false, PATIENCE);
        patience.note(late + PATIENCE * 2, &[A, B], true, PATIENCE);
        assert_eq!(gone(&patience, late + PATIENCE * 2), keys([A]), "the other is waited for anew");
        patience.heard(A, late + PATIENCE * 2);
        assert_eq!(gone(&patience, late + PATIENCE * 2), keys([]));
        // Who is no indexer any more is forgotten.
        patience.note(late + PATIENCE * 4, &[B], true, PATIENCE);
        assert_eq!(patience.heard.len() + patience.awaited.len(), 2);
    }
}
