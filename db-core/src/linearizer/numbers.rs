//! Sets of entry numbers. Numbers are given out one after the other, so sets of them are mostly stretches: 64 numbers a word.

use std::collections::BTreeMap;

use super::EntryNumber;

/// How many numbers share a word.
const WORD: u64 = 64;

/// A set of entry numbers, ascending; a stretch of them takes a fraction of a byte each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NumberSet {
    /// By the number of the word: a bit for each number, none of them empty.
    words: BTreeMap<u64, u64>,
    count: usize,
}

impl NumberSet {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn contains(&self, EntryNumber(number): EntryNumber) -> bool {
        self.words.get(&(number / WORD)).is_some_and(|word| word & bit(number) != 0)
    }

    /// Puts a number in; whether it was not there.
    pub(crate) fn insert(&mut self, EntryNumber(number): EntryNumber) -> bool {
        let word = self.words.entry(number / WORD).or_default();
        let is_new = *word & bit(number) == 0;
        *word |= bit(number);
        self.count += usize::from(is_new);
        is_new
    }

    /// Takes a number out; whether it was there.
    pub(crate) fn remove(&mut self, EntryNumber(number): EntryNumber) -> bool {
        let Some(word) = self.words.get_mut(&(number / WORD)) else { return false };
        let was_there = *word & bit(number) != 0;
        *word &= !bit(number);
        if *word == 0 {
            self.words.remove(&(number / WORD));
        }
        self.count -= usize::from(was_there);
        was_there
    }

    /// The numbers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = EntryNumber> {
        self.words.iter().flat_map(|(at, word)| {
            (0..WORD)
                .filter(move |place| word & (1 << place) != 0)
                .map(move |place| EntryNumber(at * WORD + place))
        })
    }
}

impl FromIterator<EntryNumber> for NumberSet {
    fn from_iter<T: IntoIterator<Item = EntryNumber>>(numbers: T) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

const fn bit(number: u64) -> u64 {
    1 << (number % WORD)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), 0_u64..300), 0..400)) {
            let (mut set, mut model) = (NumberSet::default(), BTreeSet::new());
            for (puts_in, number) in changes {
                let number = EntryNumber(number);
                if puts_in {
                    prop_assert_eq!(set.insert(number), model.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), model.remove(&number));
                }
                prop_assert_eq!(set.contains(number), model.contains(&number));
                prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(model.into_iter().collect::<NumberSet>(), set);
        }
    }

    #[test]
    fn the_highest_number_has_a_place() {
        let set: NumberSet = [EntryNumber(u64::MAX), EntryNumber(0)].into_iter().collect();
        assert!(set.iter().eq([EntryNumber(0), EntryNumber(u64::MAX)]));
    }
}
