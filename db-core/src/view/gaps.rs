//! Where nothing is confirmed: stretches of keys that somebody has found empty, so that readers of what is confirmed need not pass all
//! that the tail has put there.
//!
//! Whoever asks for the newest ten of what is confirmed, a tail of 100,000 documents having come since, would pass them all to find
//! those ten. However the tail grows or is ordered anew, what was found holds; and where more is confirmed, all holds but what that
//! has changed. It is kept in memory alone, and lost without harm.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many gaps are known at the most; with one more the next of them is forgotten.
const GAPS_MAX: usize = 16_384;

/// From which end a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

/// A stretch of keys, mostly one under which nothing is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
            let next = gaps.range::<[u8], _>((Bound::Included(high), Bound::Unbounded)).next();
            let next = next.or_else(|| gaps.first_key_value()).map(|(low, _)| low.clone());
            next.and_then(|low| gaps.remove(&low));
        }
        gaps.insert(low.to_vec(), high.to_vec());
    }

    /// The gap that holds `key`.
    pub(crate) fn around(&self, key: &[u8]) -> Option<Gap> {
        self.ahead(key, End::Back).filter(|gap| gap.high.as_slice() > key)
    }

    /// Forgets what is known of these stretches of keys, ascending by their first ones. Of a gap that this cuts in pieces, or shortens,
    /// those stay that `is_worth_it` says are worth it.
    pub(crate) fn cut<E>(
        &self,
        stretches: &[Gap],
        mut is_worth_it: impl FnMut(&Gap) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut gaps = self.known();
        let mut keep = |gaps: &mut BTreeMap<_, _>, piece: Gap| {
            if gaps.len() < GAPS_MAX && is_worth_it(&piece)? {
                gaps.insert(piece.low, piece.high);
            }
            Ok(())
        };
        // What the stretches so far have left of the last gap that they met.
        let mut rest: Option<Gap> = None;
        for stretch in stretches {
            if let Some(piece) = rest.take_if(|rest| rest.high <= stretch.low) {
                keep(&mut gaps, piece)?;
            }
            while let Some(Gap { low, high }) = rest.take().or_else(|| take_met(&mut gaps, stretch)) {
                if low < stretch.low {
                    keep(&mut gaps, Gap { low: low.clone(), high: stretch.low.clone() })?;
                }
                if stretch.high < high {
                    rest = Some(Gap { low: low.max(stretch.high.clone()), high });
                    break;
                }
            }
        }
        rest.map_or(Ok(()), |piece| keep(&mut gaps, piece))
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.known().len()
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

/// Takes the first gap out that shares a key with `stretch`.
fn take_met(gaps: &mut BTreeMap<Vec<u8>, Vec<u8>>, stretch: &Gap) -> Option<Gap> {
    let Gap { low, high } = stretch;
    let before = gaps.range::<[u8], _>((Bound::Unbounded, Bound::Included(low.as_slice()))).next_back();
    let mut behind =
        gaps.range::<[u8], _>((Bound::Excluded(low.as_slice()), Bound::Excluded(high.as_slice())));
    let low = before.filter(|(_, end)| *end > low).or_else(|| behind.next())?.0.clone();
    gaps.remove_entry(&low).map(|(low, high)| Gap { low, high })
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

    fn cut(gaps: &Gaps, stretches: &[Gap]) {
        gaps.cut(stretches, |_| Ok::<_, Infallible>(true)).unwrap();
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
        for number in 0..20_000_u32 {
            gaps.note(&(4 * number).to_be_bytes(), &(4 * number + 2).to_be_bytes());
        }
        assert_eq!(gaps.known().len(), GAPS_MAX);
        gaps.note(&0_u32.to_be_bytes(), &2_u32.to_be_bytes());
        gaps.note(&1_u32.to_be_bytes(), &3_u32.to_be_bytes());
        assert_eq!(gaps.around(&0_u32.to_be_bytes()), Some(gap(&0_u32.to_be_bytes(), &3_u32.to_be_bytes())));
        gaps.note(&[0], &[255; 8]);
        for number in 0..20_000_u32 {
            cut(&gaps, &[gap(&number.to_be_bytes(), &behind(&number.to_be_bytes()))]);
            assert!(gaps.known().len() <= GAPS_MAX);
        }
    }

    #[test]
    fn what_is_left_of_a_gap_is_kept_where_it_is_worth_it() {
        let gaps = Gaps::default();
        gaps.note(b"c", b"p");
        let older = gaps.clone();
        gaps.cut(&[gap(b"f", b"g")], |piece| Ok::<_, Infallible>(piece.low == b"g")).unwrap();
        assert_eq!(*gaps.known(), BTreeMap::from([(b"g".to_vec(), b"p".to_vec())]));
        assert_eq!(*older.known(), BTreeMap::from([(b"c".to_vec(), b"p".to_vec())]));
    }

    proptest! {
        #[test]
        fn what_is_noted_and_not_cut_out_is_one_set_of_keys(
            steps in prop::collection::vec(
                (any::<bool>(), prop::collection::btree_set((0_u8..60, 1_u8..30), 1..6)),
                1..40,
            ),
        ) {
            let gaps = Gaps::default();
            let mut keys = BTreeSet::new();
            for (is_noted, stretches) in steps {
                let of_step: BTreeSet<u8> = stretches.iter().flat_map(|(low, count)| *low..low + count).collect();
                let stretches = stretches.iter().map(|(low, count)| gap(&[*low], &[low + count]));
                if is_noted {
                    stretches.for_each(|stretch| gaps.note(&stretch.low, &stretch.high));
                    keys.extend(of_step);
                } else {
                    cut(&gaps, &stretches.collect::<Vec<_>>());
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
