//! Looking for where nothing is confirmed among what the tail has inserted, as a reader who reads for all others.

use std::ops::Bound;

use super::ViewSnapshot;
use super::confirmed::is_present;
use super::confirmed_range::{ConfirmedRange, NOTED_MIN};
use super::gaps::{End, Gap};
use super::keyspace::{PREFIX_BYTES, is_queried};
use crate::error::{Error, Result};

/// Of keys that lie alone, between ones that are confirmed, one of so many is looked at, from the least to the most.
const STEP_MIN: usize = NOTED_MIN;
const STEP_MAX: usize = if cfg!(any(test, feature = "simulation")) { NOTED_MIN } else { 16 * NOTED_MIN };

/// How many rows are looked through before somebody is asked whether to go on.
const ROWS_AT_ONCE: usize = if cfg!(any(test, feature = "simulation")) { 8 } else { 4_096 };

impl ViewSnapshot {
    /// Notes the gaps that these keys lie in, ascending.
    pub(crate) fn survey(&self, keys: &[Vec<u8>]) -> Result<()> {
        let (mut steps, mut last) = (Steps::default(), None::<Gap>);
        for key in keys {
            if last.as_ref().is_none_or(|gap| *key >= gap.high) && steps.is_due(key) {
                last = self.gap_around(key)?;
                if last.is_some() {
                    steps = Steps::default();
                }
            }
        }
        Ok(())
    }

    /// Notes the gaps that the tail has made where queries read from `low` on, until `is_time` says so; gives from where to go on, if
    /// those were not all.
    pub(crate) fn survey_tail(
        &self,
        low: Bound<Vec<u8>>,
        is_time: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Bound<Vec<u8>>>> {
        let mut low = low;
        while let Some(next) = self.survey_some(&low)? {
            low = next;
            if is_time() {
                return Ok(Some(low));
            }
        }
        Ok(None)
    }

    /// Notes the first of them, if it is not far; gives what is behind it, or behind what was looked through.
    fn survey_some(&self, low: &Bound<Vec<u8>>) -> Result<Option<Bound<Vec<u8>>>> {
        let bounds = (low.as_ref().map(Vec::as_slice), Bound::Unbounded);
        let mut steps = Steps::default();
        for (count, row) in self.0.tables.overwritten.range::<&[u8]>(bounds)?.enumerate() {
            let (key, before) = row?;
            if count == ROWS_AT_ONCE {
                return Ok(Some(Bound::Included(key.value().to_vec())));
            }
            let is_inserted = !is_present(before.value())? && is_queried(key.value());
            if is_inserted
                && steps.is_due(key.value())
                && let Some(gap) = self.gap_around(key.value())?
            {
                return Ok(Some(Bound::Included(gap.high)));
            }
        }
        Ok(None)
    }

    /// The gap that holds `key`, if it is worth noting: all that lies between the confirmed keys before and behind it, so that what the
    /// tail goes on putting there is in it already; or so much of that as is looked through at once.
    fn gap_around(&self, key: &[u8]) -> Result<Option<Gap>> {
        let tables = &self.0.tables;
        if let Some(gap) = tables.gaps.around(key) {
            return Ok(Some(gap));
        }
        let at = || Bound::Included(key.to_vec());
        let low = ConfirmedRange::new(tables, &(Bound::Unbounded, at()))?.empty_up_to(End::Back)?;
        let high = ConfirmedRange::new(tables, &(at(), Bound::Unbounded))?.empty_up_to(End::Front)?;
        let (Some(low), Some(high)) = (low, high) else { return Ok(None) };
        let has_many = || {
            let rows = tables.overwritten.range(&low[..]..&high[..])?;
            Ok::<_, Error>(rows.take(NOTED_MIN).count() == NOTED_MIN)
        };
        if low >= high || !has_many()? {
            return Ok(None); // it is confirmed by now, or lies alone
        }
        tables.gaps.note(&low, &high);
        Ok(tables.gaps.around(key))
    }
}

/// Which of the keys to look at that lie in no known gap: the more of them in a row lie alone, the fewer. What lies alone in one
/// collection or index says nothing of the next.
struct Steps {
    prefix: Vec<u8>,
    skipped: usize,
    step: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Self { prefix: Vec::new(), skipped: 0, step: 1 }
    }
}

impl Steps {
    /// Whether to look at the next key.
    fn is_due(&mut self, key: &[u8]) -> bool {
        let prefix = key.get(..PREFIX_BYTES).unwrap_or(key);
        if self.prefix != prefix {
            *self = Self { prefix: prefix.to_vec(), ..Self::default() };
        }
        self.skipped += 1;
        if self.skipped < self.step {
            return false;
        }
        (self.skipped, self.step) = (0, (2 * self.step).clamp(STEP_MIN, STEP_MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::confirmed_range::tests::{Keys, key, tables};
    use super::super::gaps::Gaps;
    use super::*;

    proptest! {
        #[test]
        fn every_gap_that_is_worth_it_is_noted_and_none_that_holds_what_is_confirmed(
            confirmed in prop::collection::btree_map((0x200_u16..0x300).prop_map(key), 0_u8..3, 0..40),
            inserted in prop::collection::vec((0x200_u16..0x300, 1_u16..20), 0..12),
            removed in prop::collection::btree_set((0x200_u16..0x300).prop_map(key), 0..20),
            is_whole in any::<bool>(),
        ) {
            let mut latest: Keys = confirmed.clone();
            for number in inserted.into_iter().flat_map(|(first, count)| first..first + count) {
                latest.insert(key(number), 9);
            }
            latest.retain(|key, _| !removed.contains(key));
            let gaps: Arc<Gaps> = Arc::default();
            let (_file, tables) = tables(&confirmed, &latest, &gaps);
            let view = ViewSnapshot::of(tables, false);
            let inserted: Vec<_> = latest.keys().filter(|key| !confirmed.contains_key(*key)).cloned().collect();
            if is_whole {
                let mut low = Some(Bound::Unbounded);
                while let Some(from) = low {
                    low = view.survey_tail(from, &mut || true).unwrap();
                }
            } else {
                view.survey(&inserted).unwrap();
            }
            prop_assert!(confirmed.keys().all(|key| gaps.around(key).is_none()));
            // Those of the inserted keys that no confirmed one lies between, by how many confirmed ones lie before them.
            let mut runs: BTreeMap<usize, Vec<_>> = BTreeMap::new();
            for key in inserted {
                runs.entry(confirmed.keys().filter(|other| **other < key).count()).or_default().push(key);
            }
            for run in runs.values() {
                let noted = run.iter().filter(|key| gaps.around(key).is_some()).count();
                prop_assert_eq!(noted, if run.len() < NOTED_MIN { 0 } else { run.len() });
            }
        }
    }
}
