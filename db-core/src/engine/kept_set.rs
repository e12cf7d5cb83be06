//! A set of entry numbers of which the disk is told what has changed.

use crate::linearizer::{EntryNumber, NumberSet};

/// Entry numbers, and which of them the disk knows to be in the set.
#[derive(Debug, Default)]
pub(super) struct KeptSet {
    present: NumberSet,
    stored: NumberSet,
    /// Those that have come or gone since the disk was last told.
    touched: NumberSet,
}

impl KeptSet {
    /// What the disk holds.
    pub(super) fn restored(numbers: NumberSet) -> Self {
        Self { present: numbers.clone(), stored: numbers, touched: NumberSet::default() }
    }

    /// What is in the set.
    pub(super) fn numbers(&self) -> &NumberSet {
        &self.present
    }

    pub(super) fn insert(&mut self, number: EntryNumber) {
        if self.present.insert(number) {
            self.touched.insert(number);
        }
    }

    pub(super) fn remove(&mut self, number: EntryNumber) {
        if self.present.remove(number) {
            self.touched.insert(number);
        }
    }

    pub(super) fn clear(&mut self) {
        for number in std::mem::take(&mut self.present).iter() {
            self.touched.insert(number);
        }
    }

    pub(super) fn contains(&self, number: EntryNumber) -> bool {
        self.present.contains(number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.present.len() as u64
    }

    /// What the disk has to be told, and is taken to know from now on: each number with whether it is in the set.
    pub(super) fn take_changes(&mut self) -> Vec<(EntryNumber, bool)> {
        let mut changes = Vec::new();
        for number in std::mem::take(&mut self.touched).iter() {
            let is_present = self.present.contains(number);
            let has_changed =
                if is_present { self.stored.insert(number) } else { self.stored.remove(number) };
            if has_changed {
                changes.push((number, is_present));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_told_of_what_has_changed_since_it_was_last_told() {
        let at = EntryNumber;
        let mut set = KeptSet::restored([at(1), at(2)].into_iter().collect());
        set.insert(at(3));
        set.insert(at(4));
        set.remove(at(4));
        set.remove(at(1));
        set.insert(at(1));
        set.remove(at(2));
        assert_eq!(set.take_changes(), [(at(2), false), (at(3), true)]);
        assert_eq!(set.take_changes(), []);
        set.clear();
        assert!(set.is_empty() && !set.contains(at(1)));
        assert_eq!(set.take_changes(), [(at(1), false), (at(3), false)]);
    }
}
