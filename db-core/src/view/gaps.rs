//! Where nothing is confirmed: stretches of keys that readers of what is confirmed have found empty, so that the next one need not
//! pass all that the tail has put there.
//!
//! Whoever asks for the newest ten of what is confirmed, a tail of 100,000 documents having come since, passes them all to find those
//! ten; once. However the tail grows or is ordered anew, what was found holds; and where more is confirmed, all holds but what that
//! has changed. It is kept in memory alone, and lost without harm.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many gaps are known at the most; with one more all are forgotten.
const GAPS_MAX: usize = 1_024;

/// From which end a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

/// A stretch of keys under which nothing is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The first of them.
    pub(crate) low: Vec<u8>,
    /// The first key behind them.
    pub(crate) high: Vec<u8>,
}

/// The gaps that are known of one state of what is confirmed: no two of them overlap.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// `low` of each, to its `high`.
    known: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// How many keys readers have passed under which nothing is confirmed.
    #[cfg(test)]
    pub(crate) passed: std::sync::atomic::AtomicU64,
}

impl Gaps {
    /// The first gap that somebody meets who reads on from `key` in this direction; `key` may lie in it.
    pub(super) fn ahead(&self, key: &[u8], end: End) -> Option<Gap> {
        let gaps = self.known();
        let before = gaps.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        let (low, high) = match end {
            End::Back => before?,
            End::Front => before
                .filter(|(_, high)| high.as_slice() > key)
                .or_else(|| gaps.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next())?,
        };
        Some(Gap { low: low.clone(), high: high.clone() })
    }

    /// Notes that under `low` and behind it nothing is confirmed up to `high`, of which that is not said.
    pub(super) fn note(&self, low: &[u8], high: &[u8]) {
        let (mut low, mut high) = (low, high);
        let mut gaps = self.known();
        let met: Vec<_> = gaps
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(high)))
            .rev()
            .take_while(|(_, known)| known.as_slice() >= low)
            .map(|(from, to)| (from.clone(), to.clone()))
            .collect();
        for (from, to) in &met {
            gaps.remove(from);
            (low, high) = (low.min(from), high.max(to));
        }
        if gaps.len() >= GAPS_MAX {
            gaps.clear();
        }
        gaps.insert(low.to_vec(), high.to_vec());
    }

    /// Forgets what is known of the keys from `low` up to `high`. Of a gap that this cuts in two, or shortens, those parts stay that
    /// `is_worth_it` says are worth it.
    pub(crate) fn cut<E>(
        &self,
        low: &[u8],
        high: &[u8],
        mut is_worth_it: impl FnMut(&Gap) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut gaps = self.known();
        let met: Vec<_> = gaps
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(high)))
            .rev()
            .take_while(|(_, known)| known.as_slice() > low)
            .map(|(from, to)| (from.clone(), to.clone()))
            .collect();
        for (from, to) in met {
            gaps.remove(&from);
            let parts = [Gap { low: from, high: low.to_vec() }, Gap { low: high.to_vec(), high: to }];
            for part in parts {
                if part.low < part.high && gaps.len() < GAPS_MAX && is_worth_it(&part)? {
                    gaps.insert(part.low, part.high);
                }
            }
        }
        Ok(())
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Gaps {
    /// What is known now; what is found later is the one's or the other's.
    fn clone(&self) -> Self {
        let gaps = Self::default();
        gaps.known().clone_from(&self.known());
        gaps
    }
}

/// The first key behind this one.
pub(crate) fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

impl Gap {
    /// Whether whoever reads in this direction has come as far as the gap with `at`.
    pub(super) fn is_reached(&self, at: &[u8], end: End) -> bool {
        match end {
            End::Front => at >= self.low.as_slice(),
            End::Back => at < self.high.as_slice(),
        }
    }
}

impl End {
    /// The two of them as they are met, `low` being the first key by the bytes.
    pub(super) fn order<T>(self, low: T, high: T) -> (T, T) {
        match self {
            Self::Front => (low, high),
            Self::Back => (high, low),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn gap(low: &[u8], high: &[u8]) -> Gap {
        Gap { low: low.to_vec(), high: high.to_vec() }
    }

    fn cut(gaps: &Gaps, low: &[u8], high: &[u8]) {
        gaps.cut(low, high, |_| Ok::<_, Infallible>(true)).unwrap();
    }

    #[test]
    fn the_next_gap_is_the_one_that_the_reader_is_in_or_comes_to() {
        let gaps = Gaps::default();
        gaps.note(b"c", b"f");
        gaps.note(b"m", b"p");
        assert_eq!(gaps.ahead(b"a", End::Front), Some(gap(b"c", b"f")));
        assert_eq!(gaps.ahead(b"d", End::Front), Some(gap(b"c", b"f")));
        assert_eq!(gaps.ahead(b"f", End::Front), Some(gap(b"m", b"p")));
        assert_eq!(gaps.ahead(b"p", End::Front), None);
        assert_eq!(gaps.ahead(b"z", End::Back), Some(gap(b"m", b"p")));
        assert_eq!(gaps.ahead(b"n", End::Back), Some(gap(b"m", b"p")));
        assert_eq!(gaps.ahead(b"g", End::Back), Some(gap(b"c", b"f")));
        assert_eq!(gaps.ahead(b"b", End::Back), None);
    }

    #[test]
    fn no_more_gaps_are_known_than_memory_is_for() {
        let gaps = Gaps::default();
        for number in 0..10_000_u32 {
            gaps.note(&(2 * number).to_be_bytes(), &(2 * number + 1).to_be_bytes());
            assert!(gaps.known().len() <= GAPS_MAX);
        }
        gaps.note(&[0], &[255; 8]);
        for number in 0..10_000_u32 {
            cut(&gaps, &number.to_be_bytes(), &behind(&number.to_be_bytes()));
            assert!(gaps.known().len() <= GAPS_MAX);
        }
    }

    #[test]
    fn what_is_left_of_a_gap_is_kept_where_it_is_worth_it() {
        let gaps = Gaps::default();
        gaps.note(b"c", b"p");
        let older = gaps.clone();
        gaps.cut(b"f", b"g", |part| Ok::<_, Infallible>(part.low == b"g")).unwrap();
        assert_eq!(*gaps.known(), BTreeMap::from([(b"g".to_vec(), b"p".to_vec())]));
        assert_eq!(*older.known(), BTreeMap::from([(b"c".to_vec(), b"p".to_vec())]));
    }

    proptest! {
        #[test]
        fn what_is_noted_and_not_cut_out_is_one_set_of_keys(
            steps in prop::collection::vec((0_u8..60, 1_u8..30, any::<bool>()), 1..40),
        ) {
            let gaps = Gaps::default();
            let mut keys = BTreeSet::new();
            for (low, count, is_noted) in steps {
                let of_step = low..low + count;
                if is_noted {
                    gaps.note(&[low], &[of_step.end]);
                    keys.extend(of_step);
                } else {
                    cut(&gaps, &[low], &[of_step.end]);
                    keys.retain(|key| !of_step.contains(key));
                }
            }
            let known = gaps.known().clone();
            prop_assert!(known.iter().all(|(low, high)| low < high));
            prop_assert!(known.iter().zip(known.iter().skip(1)).all(|((_, high), (low, _))| high < low));
            let of_gaps: BTreeSet<u8> = known.iter().flat_map(|(low, high)| low[0]..high[0]).collect();
            prop_assert_eq!(of_gaps, keys);
        }
    }
}
