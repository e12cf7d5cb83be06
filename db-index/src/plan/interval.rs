//! Sets of intervals over the keys of one index field, and the byte ranges that they become in an index.
//!
//! An interval lies between two *cuts*, places just before or just after all keys with some prefix: before and after a
//! whole key, a bracket byte, the beginning of a string, or everything. In this form intervals meet, join and complement
//! without a look at the values. Cuts are of ascending keys; descending fields turn them when ranges are made.

use std::cmp::Ordering;

use bson::RawBsonRef;

use crate::key::{Bracket, Direction, encode_string_prefix, encode_value, prefix_end, skip_value};

/// A place between keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    prefix: Vec<u8>,
    after: bool,
}

/// What lies between two cuts, the first below the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) low: Cut,
    pub(crate) high: Cut,
}

/// Intervals in ascending order that do not touch one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IntervalSet(Vec<Interval>);

/// A range of keys in an index: from `start` on, up to and without `end`; without an end, all the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// The least key that may be in the range.
    pub start: Vec<u8>,
    /// The least key beyond it.
    pub end: Option<Vec<u8>>,
}

impl Cut {
    pub(crate) fn before(prefix: Vec<u8>) -> Self {
        Self { prefix, after: false }
    }

    pub(crate) fn after(prefix: Vec<u8>) -> Self {
        Self { prefix, after: true }
    }

    pub(crate) fn before_value(value: RawBsonRef<'_>) -> Self {
        Self::before(ascending_key(value))
    }

    pub(crate) fn after_value(value: RawBsonRef<'_>) -> Self {
        Self::after(ascending_key(value))
    }

    pub(crate) fn before_bracket(bracket: Bracket) -> Self {
        Self::before(vec![bracket as u8])
    }

    pub(crate) fn after_bracket(bracket: Bracket) -> Self {
        Self::after(vec![bracket as u8])
    }

    /// Whether the cut is where a bracket, the numbers or everything ends: what a condition did not ask for.
    fn is_open(&self) -> bool {
        let infinity = if self.after { f64::INFINITY } else { f64::NEG_INFINITY };
        self.prefix.len() <= 1 || self.prefix == ascending_key(RawBsonRef::Double(infinity))
    }

    /// The bytes that keys at the cut begin with or do not go beyond.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether the keys with the prefix lie below the cut.
    pub(crate) fn is_after(&self) -> bool {
        self.after
    }

    /// Whether `key`, a whole key, lies above the cut.
    fn is_below(&self, key: &[u8]) -> bool {
        if key.starts_with(&self.prefix) { !self.after } else { key > self.prefix.as_slice() }
    }

    /// The first bytes at or above the cut, behind `base`, in a field of this direction; none if nothing is.
    fn bytes(&self, base: &[u8], direction: Direction) -> Option<Vec<u8>> {
        let mut bytes = base.to_vec();
        bytes.extend(self.prefix.iter().map(|byte| byte ^ direction.mask()));
        // What is above a prefix in ascending keys is below it in descending ones.
        let beyond = self.after == (direction == Direction::Ascending);
        if beyond { prefix_end(&bytes) } else { Some(bytes) }
    }
}

impl PartialOrd for Cut {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cut {
    fn cmp(&self, other: &Self) -> Ordering {
        let side = |after: bool| if after { Ordering::Greater } else { Ordering::Less };
        if self.prefix == other.prefix {
            self.after.cmp(&other.after)
        } else if other.prefix.starts_with(&self.prefix) {
            side(self.after)
        } else if self.prefix.starts_with(&other.prefix) {
            side(other.after).reverse()
        } else {
            self.prefix.cmp(&other.prefix)
        }
    }
}

impl Interval {
    /// Whether it holds the keys of one value only.
    pub(crate) fn is_point(&self) -> bool {
        let mut rest = self.low.prefix.as_slice();
        self.low.prefix == self.high.prefix
            && !self.low.after
            && self.high.after
            && skip_value(&mut rest, Direction::Ascending).is_ok()
            && rest.is_empty()
    }

    /// The keys that begin with `base` and go on with a field of this interval.
    pub(crate) fn range(&self, base: &[u8], direction: Direction) -> Option<KeyRange> {
        let (first, last) = match direction {
            Direction::Ascending => (&self.low, &self.high),
            Direction::Descending => (&self.high, &self.low),
        };
        Some(KeyRange { start: first.bytes(base, direction)?, end: last.bytes(base, direction) })
    }

    /// How many of its ends no condition has set.
    pub(crate) fn open_ends(&self) -> u8 {
        u8::from(self.low.is_open()) + u8::from(self.high.is_open())
    }

    /// The key of the one value of a point.
    pub(crate) fn point_key(&self, direction: Direction) -> Vec<u8> {
        self.low.prefix.iter().map(|byte| byte ^ direction.mask()).collect()
    }
}

impl IntervalSet {
    /// No key.
    pub(crate) fn empty() -> Self {
        Self(Vec::new())
    }

    /// Every key.
    pub(crate) fn full() -> Self {
        Self::between(Cut::before(Vec::new()), Cut::after(Vec::new()))
    }

    /// The keys between two cuts; none if the first is not below the second.
    pub(crate) fn between(low: Cut, high: Cut) -> Self {
        if low < high { Self(vec![Interval { low, high }]) } else { Self::empty() }
    }

    /// The key of `value`.
    pub(crate) fn point(value: RawBsonRef<'_>) -> Self {
        let key = ascending_key(value);
        Self::between(Cut::before(key.clone()), Cut::after(key))
    }

    /// The keys of all values of `bracket`.
    pub(crate) fn bracket(bracket: Bracket) -> Self {
        Self::between(Cut::before_bracket(bracket), Cut::after_bracket(bracket))
    }

    /// The keys of all strings that begin with `text`.
    pub(crate) fn string_prefix(text: &str) -> Self {
        let mut prefix = Vec::new();
        encode_string_prefix(text, Direction::Ascending, &mut prefix);
        Self::between(Cut::before(prefix.clone()), Cut::after(prefix))
    }

    /// The intervals, ascending.
    pub(crate) fn intervals(&self) -> &[Interval] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        *self == Self::full()
    }

    /// Whether all intervals are points; true of the empty set.
    pub(crate) fn is_points(&self) -> bool {
        self.0.iter().all(Interval::is_point)
    }

    /// Whether it is a single point.
    pub(crate) fn is_one_point(&self) -> bool {
        self.0.len() == 1 && self.is_points()
    }

    /// Whether `key`, the whole ascending key of one value, is in the set.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let above = self.0.partition_point(|interval| interval.low.is_below(key));
        let candidate = above.checked_sub(1).and_then(|place| self.0.get(place));
        candidate.is_some_and(|interval| !interval.high.is_below(key))
    }

    /// The keys in any of `sets`.
    pub(crate) fn union_of(sets: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Interval> = sets.into_iter().flat_map(|set| set.0).collect();
        all.sort_by(|a, b| a.low.cmp(&b.low));
        let mut joined: Vec<Interval> = Vec::with_capacity(all.len());
        for interval in all {
            match joined.last_mut() {
                Some(last) if interval.low <= last.high => {
                    if interval.high > last.high {
                        last.high = interval.high;
                    }
                }
                _ => joined.push(interval),
            }
        }
        Self(joined)
    }

    /// The keys in both sets.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut met = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (low, high) = ((&a.low).max(&b.low), (&a.high).min(&b.high));
            if low < high {
                met.push(Interval { low: low.clone(), high: high.clone() });
            }
            if a.high < b.high {
                left.next();
            } else {
                right.next();
            }
        }
        Self(met)
    }

    /// The keys not in the set.
    pub(crate) fn complement(&self) -> Self {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        let mut low = Cut::before(Vec::new());
        for interval in &self.0 {
            if low < interval.low {
                rest.push(Interval { low, high: interval.low.clone() });
            }
            low = interval.high.clone();
        }
        let high = Cut::after(Vec::new());
        if low < high {
            rest.push(Interval { low, high });
        }
        Self(rest)
    }
}

fn ascending_key(value: RawBsonRef<'_>) -> Vec<u8> {
    let (mut key, mut types) = (Vec::new(), Vec::new());
    encode_value(value, Direction::Ascending, &mut key, &mut types);
    key
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::testing::small_value;

    fn set_of(parts: &[(bson::RawBson, bson::RawBson, u8)]) -> IntervalSet {
        IntervalSet::union_of(parts.iter().map(|(a, b, kind)| {
            let (a, b) = (a.as_raw_bson_ref(), b.as_raw_bson_ref());
            match kind {
                0 => IntervalSet::point(a),
                1 => IntervalSet::bracket(crate::order::bracket(a)),
                2 => IntervalSet::between(Cut::before_value(a), Cut::before_value(b)),
                3 => IntervalSet::between(Cut::after_value(a), Cut::after_bracket(crate::order::bracket(b))),
                _ => IntervalSet::between(Cut::before_bracket(crate::order::bracket(a)), Cut::after_value(b)),
            }
        }))
    }

    #[test]
    fn points_are_told_from_ranges_and_brackets() {
        assert!(IntervalSet::point(RawBsonRef::Null).is_one_point());
        assert!(IntervalSet::point(RawBsonRef::String("a")).is_one_point());
        assert!(!IntervalSet::string_prefix("a").is_points());
        assert!(!IntervalSet::bracket(Bracket::Number).is_points());
        assert!(IntervalSet::bracket(Bracket::MinKey).is_one_point());
        assert!(IntervalSet::full().is_full() && !IntervalSet::full().is_points());
        assert!(IntervalSet::full().complement().is_empty());
    }

    proptest! {
        #[test]
        fn operations_agree_with_membership(
            a in vec((small_value(), small_value(), 0..5_u8), 0..4),
            b in vec((small_value(), small_value(), 0..5_u8), 0..4),
            values in vec(small_value(), 1..10),
        ) {
            let (a, b) = (set_of(&a), set_of(&b));
            let (both, either, not) = (a.intersection(&b), IntervalSet::union_of([a.clone(), b.clone()]), a.complement());
            for value in values {
                let key = ascending_key(value.as_raw_bson_ref());
                prop_assert_eq!(both.contains(&key), a.contains(&key) && b.contains(&key));
                prop_assert_eq!(either.contains(&key), a.contains(&key) || b.contains(&key));
                prop_assert_eq!(not.contains(&key), !a.contains(&key));
            }
        }

        #[test]
        fn ranges_hold_exactly_the_keys_of_their_intervals(
            parts in vec((small_value(), small_value(), 0..5_u8), 0..4), value in small_value(), base in vec(any::<u8>(), 0..3),
        ) {
            let set = set_of(&parts);
            let expected = set.contains(&ascending_key(value.as_raw_bson_ref()));
            for direction in [Direction::Ascending, Direction::Descending] {
                let (mut key, mut types) = (base.clone(), Vec::new());
                encode_value(value.as_raw_bson_ref(), direction, &mut key, &mut types);
                key.extend([0xff, 0]); // whatever follows
                let holds = |range: KeyRange| key >= range.start && range.end.is_none_or(|end| key < end);
                let found = set.intervals().iter().filter_map(|interval| interval.range(&base, direction)).any(holds);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
