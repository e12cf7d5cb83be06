//! What is stored and not yet ordered, and what ordering it would cost.

use std::collections::BTreeSet;

/// What ordering all that is stored would cost now, and what has been spent before: for deciding when to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backlog {
    /// How many entries were stored since the database was opened, those of the tail that it was opened with among them.
    pub(crate) stored: u64,
    /// How many times one of them was applied.
    pub(crate) applied: u64,
    /// How many are applied and not confirmed.
    pub(crate) tail: u64,
    /// How many are stored and neither confirmed nor applied.
    pub(crate) unordered: u64,
    /// How many of the tail would have to be undone, and applied again, to order all.
    pub(crate) displaced: u64,
}

/// The numbers of the entries that are stored and neither confirmed nor applied, and which of them the disk knows as such.
#[derive(Debug, Default)]
pub(super) struct Unordered {
    present: BTreeSet<u64>,
    stored: BTreeSet<u64>,
    /// Those that have come or gone since the disk was last told.
    touched: BTreeSet<u64>,
}

impl Unordered {
    /// What the disk holds.
    pub(super) fn restored(numbers: BTreeSet<u64>) -> Self {
        Self { present: numbers.clone(), stored: numbers, touched: BTreeSet::new() }
    }

    pub(super) fn insert(&mut self, number: u64) {
        if self.present.insert(number) {
            self.touched.insert(number);
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        if self.present.remove(&number) {
            self.touched.insert(number);
        }
    }

    pub(super) fn clear(&mut self) {
        self.touched.append(&mut self.present);
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.present.contains(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.present.len() as u64
    }

    /// What the disk has to be told, and is taken to know from now on: each number with whether it is unordered.
    pub(super) fn take_changes(&mut self) -> Vec<(u64, bool)> {
        let mut changes = Vec::new();
        for number in std::mem::take(&mut self.touched) {
            let is_present = self.present.contains(&number);
            let has_changed =
                if is_present { self.stored.insert(number) } else { self.stored.remove(&number) };
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
        let mut unordered = Unordered::restored(BTreeSet::from([1, 2]));
        unordered.insert(3);
        unordered.insert(4);
        unordered.remove(4);
        unordered.remove(1);
        unordered.insert(1);
        unordered.remove(2);
        assert_eq!(unordered.take_changes(), [(2, false), (3, true)]);
        assert_eq!(unordered.take_changes(), []);
        unordered.clear();
        assert!(unordered.is_empty() && !unordered.contains(1));
        assert_eq!(unordered.take_changes(), [(1, false), (3, false)]);
    }
}
