//! Where nothing is confirmed: stretches of keys that readers of what is confirmed have found empty, so that the next one need not
//! pass all that the tail has put there.
//!
//! Whoever asks for the newest ten of what is confirmed, a tail of 100,000 documents having come since, passes them all to find those
//! ten; once. What is confirmed changes only where more is confirmed, so what was found holds until then, however the tail grows or is
//! ordered anew. It is kept in memory alone, and lost without harm.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many gaps are known at the most; with one more all are forgotten.
const GAPS_MAX: usize = 256;

/// From which end a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

/// A stretch of keys as a reader comes upon it, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// The end that the reader meets first.
    pub(super) near: Vec<u8>,
    /// The other one.
    pub(super) far: Vec<u8>,
}

/// The gaps that are known of one state of what is confirmed: no two of them overlap.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    known: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// How many keys readers have passed under which nothing is confirmed.
    #[cfg(test)]
    pub(super) passed: std::sync::atomic::AtomicU64,
}

impl Gaps {
    /// The first gap that somebody meets who reads on from `key` in this direction; `key` may lie in it.
    pub(super) fn ahead(&self, key: &[u8], end: End) -> Option<Gap> {
        let gaps = self.known();
        let before = gaps.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        let (low, high) = match end {
            End::Back => before?,
            End::Front => before
                .filter(|(_, high)| high.as_slice() >= key)
                .or_else(|| gaps.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next())?,
        };
        let (near, far) = end.order(low, high);
        Some(Gap { near: near.clone(), far: far.clone() })
    }

    /// Notes that nothing is confirmed between these keys, themselves included, in either order.
    pub(super) fn note(&self, a: &[u8], b: &[u8]) {
        let (mut low, mut high) = if a <= b { (a, b) } else { (b, a) };
        let mut gaps = self.known();
        let overlapping: Vec<_> = gaps
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(high)))
            .rev()
            .take_while(|(_, known)| known.as_slice() >= low)
            .map(|(from, to)| (from.clone(), to.clone()))
            .collect();
        for (from, to) in &overlapping {
            gaps.remove(from);
            (low, high) = (low.min(from), high.max(to));
        }
        if gaps.len() >= GAPS_MAX {
            gaps.clear();
        }
        gaps.insert(low.to_vec(), high.to_vec());
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether whoever reads in this direction has come as far as `key` with `at`.
    pub(super) fn has_reached(self, at: &[u8], key: &[u8]) -> bool {
        match self {
            Self::Front => at >= key,
            Self::Back => at <= key,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn gap(near: &[u8], far: &[u8]) -> Gap {
        Gap { near: near.to_vec(), far: far.to_vec() }
    }

    #[test]
    fn the_next_gap_is_met_with_its_near_end_first() {
        let gaps = Gaps::default();
        gaps.note(b"c", b"f");
        gaps.note(b"p", b"m");
        assert_eq!(gaps.ahead(b"a", End::Front), Some(gap(b"c", b"f")));
        assert_eq!(gaps.ahead(b"d", End::Front), Some(gap(b"c", b"f")));
        assert_eq!(gaps.ahead(b"g", End::Front), Some(gap(b"m", b"p")));
        assert_eq!(gaps.ahead(b"q", End::Front), None);
        assert_eq!(gaps.ahead(b"z", End::Back), Some(gap(b"p", b"m")));
        assert_eq!(gaps.ahead(b"n", End::Back), Some(gap(b"p", b"m")));
        assert_eq!(gaps.ahead(b"g", End::Back), Some(gap(b"f", b"c")));
        assert_eq!(gaps.ahead(b"b", End::Back), None);
    }

    #[test]
    fn no_more_gaps_are_known_than_memory_is_for() {
        let gaps = Gaps::default();
        for number in 0..10_000_u32 {
            gaps.note(&(2 * number).to_be_bytes(), &(2 * number).to_be_bytes());
            assert!(gaps.known().len() <= GAPS_MAX);
        }
    }

    proptest! {
        #[test]
        fn what_is_noted_is_one_set_of_keys(noted in prop::collection::vec((0_u8..60, 0_u8..60), 1..20)) {
            let gaps = Gaps::default();
            let mut keys = BTreeSet::new();
            for (a, b) in noted {
                gaps.note(&[a], &[b]);
                keys.extend(a.min(b)..=a.max(b));
            }
            let known = gaps.known().clone();
            prop_assert!(known.iter().zip(known.iter().skip(1)).all(|((_, high), (low, _))| high < low));
            let of_gaps: BTreeSet<u8> = known.iter().flat_map(|(low, high)| low[0]..=high[0]).collect();
            prop_assert_eq!(of_gaps, keys);
        }
    }
}
