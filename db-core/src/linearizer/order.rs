//! The order of the tail, kept as entries come and go.
//!
//! The rule is: repeatedly take, among the entries whose parents are all placed, the smallest by `(time, writer, seq, hash)`.
//! Call an entry's *shadow* the largest of its ancestors in the tail, if it is larger than the entry; that ancestor's own
//! shadow counts on among the rest, so that the chain of shadows descends to the nearest one larger than the entry. While an
//! entry's shadow waits for its turn so does the entry, and once it had its turn the entry goes before everything larger. Hence:
//!
//! - Shadows make a forest, each tree a descending heap, and the order is its walk in preorder, siblings ascending. Where clocks
//!   agree with causality nobody has a shadow and the order is plain sorting.
//! - An entry without descendants finds its place from its last parent: up the chain of shadows to the first larger than itself.
//!   Nothing else moves.
//! - Taking out a causally closed set moves only the entries below its members in the forest.
//!
//! Entries that arrive together are sorted together, when the order is next asked for.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::facts::{Entries, Facts};
use super::findings::{Findings, Sought};
use super::numbers::NumberSet;
use super::{EntryNumber, Node, Past, Standing, Tail};

/// How many entries are sorted in at once at the least while a long tail is added again, and which part of it.
const SETTLED_AT_ONCE: usize = if cfg!(test) { 8 } else { 16_384 };
const SETTLED_PARTS: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct TailOrder {
    forest: Forest,
    /// In order; may hold entries that were taken out (if `is_dirty`) or that stand in `fresh` as well.
    sorted: VecDeque<EntryNumber>,
    is_dirty: bool,
    /// To be sorted in: new, or moved.
    fresh: NumberSet,
    /// The first of `fresh` by place; none if that has to be looked for.
    first_fresh: Option<EntryNumber>,
    /// How much of `sorted`, from the first, the caller has.
    applied: usize,
    /// What was found of changes of members in the pasts of entries, as long as none goes.
    holding: Findings,
}

/// The entries and their shadows.
#[derive(Debug, Clone, Default)]
struct Forest {
    entries: Entries,
    /// Those that have one.
    shadows: BTreeMap<EntryNumber, Shadow>,
    /// Those that are shadows, with whom they shadow.
    shadowed: BTreeMap<EntryNumber, BTreeSet<EntryNumber>>,
}

#[derive(Debug, Clone, Copy)]
struct Shadow {
    above: EntryNumber,
    /// How many shadows there are up to the root.
    depth: usize,
}

impl TailOrder {
    pub(super) fn len(&self) -> usize {
        self.forest.entries.len()
    }

    pub(super) fn contains(&self, number: EntryNumber) -> bool {
        self.forest.entries.contains(number)
    }

    /// Adds an entry that nothing in the tail descends from.
    pub(super) fn insert(&mut self, node: &Node, standing: &Standing, past: &dyn Past) {
        self.forest.entries.insert(node, standing);
        self.forest.find_shadow(node.number, &node.parents, past);
        let is_first = match self.first_fresh {
            Some(first) => self.forest.compare(node.number, first, past) == Ordering::Less,
            None => self.fresh.is_empty(),
        };
        if is_first {
            self.first_fresh = Some(node.number);
        }
        self.fresh.insert(node.number);
    }

    /// The entry and those of its ancestors that are in the tail, in order.
    pub(super) fn past_of(&mut self, number: EntryNumber, past: &dyn Past) -> Vec<EntryNumber> {
        let mut found = NumberSet::default();
        let mut open = vec![number];
        while let Some(at) = open.pop() {
            if self.contains(at) && found.insert(at) {
                open.extend(self.forest.entries.parents(at, past));
            }
        }
        let mut found: Vec<_> = found.iter().collect();
        found.sort_by(|a, b| self.forest.compare(*a, *b, past));
        found
    }

    /// Whether one of `sought`, the changes of members, that is in the tail is among these entries or in their pasts.
    pub(super) fn holds_any(&mut self, heads: &[EntryNumber], sought: &NumberSet, past: &dyn Past) -> bool {
        let Some(first) = sought.iter().next() else { return false };
        let entries = &mut self.forest.entries;
        // Nothing outside the tail has one of the tail in its past.
        let heads = heads.iter().copied().filter(|head| entries.contains(*head)).collect();
        let parents = |at| {
            let mut parents = entries.parents(at, past);
            parents.retain(|parent| entries.contains(*parent));
            parents
        };
        self.holding.search(heads, Sought::Change, first, |at| sought.contains(at), parents)
    }

    /// Takes out a causally closed part, given in order, and shows each of its entries before it goes. Gives how many of them the
    /// caller's order begins with.
    pub(super) fn take(
        &mut self,
        part: &[EntryNumber],
        past: &dyn Past,
        mut show: impl FnMut(&Facts),
    ) -> usize {
        self.first_fresh = None;
        self.holding = Findings::default();
        let applied = self.sorted.iter().take(self.applied);
        let kept = part.iter().zip(applied).take_while(|(number, have)| number == have).count();
        self.sorted.drain(..kept);
        self.applied = if kept == part.len() { self.applied - kept } else { 0 };

        for (place, number) in part.iter().enumerate() {
            if !self.fresh.remove(*number) && place >= kept {
                self.is_dirty = true;
            }
            if let Some(facts) = self.forest.entries.facts(*number, past) {
                show(&facts);
            }
            self.forest.remove(*number);
        }
        for number in self.forest.move_shadowed_by(part, past) {
            if self.fresh.insert(number) {
                self.is_dirty = true;
            }
        }
        kept
    }

    /// How much of the caller's order would be kept if what has come and moved were sorted in now.
    pub(super) fn kept(&mut self, past: &dyn Past) -> usize {
        let Self { forest, fresh, sorted, applied, .. } = self;
        if self.first_fresh.is_none() {
            self.first_fresh = fresh.iter().reduce(|a, b| match forest.compare(a, b, past) {
                Ordering::Greater => b,
                _ => a,
            });
        }
        let first_fresh = self.first_fresh;
        let goes_before = |forest: &mut Forest, number: EntryNumber| {
            first_fresh.is_none_or(|first| forest.compare(number, first, past) == Ordering::Less)
        };
        if self.is_dirty {
            let applied = sorted.iter().take(*applied);
            let is_settled = |forest: &Forest, number: EntryNumber| {
                forest.entries.contains(number) && !fresh.contains(number)
            };
            return applied
                .take_while(|number| is_settled(forest, **number) && goes_before(forest, **number))
                .count();
        }
        sorted.partition_point(|number| goes_before(forest, *number)).min(*applied)
    }

    /// Sorts in what has come and moved since the last call.
    pub(super) fn settle(&mut self, past: &dyn Past) -> Tail<'_> {
        self.first_fresh = None;
        if self.is_dirty {
            let is_settled =
                |number: &EntryNumber| self.forest.entries.contains(*number) && !self.fresh.contains(*number);
            self.applied =
                self.sorted.iter().take(self.applied).take_while(|number| is_settled(number)).count();
            let sorted = std::mem::take(&mut self.sorted);
            self.sorted = sorted.into_iter().filter(is_settled).collect();
            self.is_dirty = false;
        }
        let mut fresh: Vec<_> = std::mem::take(&mut self.fresh).iter().collect();
        fresh.sort_by(|a, b| self.forest.compare(*a, *b, past));
        if let Some(first) = fresh.first() {
            let Self { forest, sorted, .. } = self;
            let place =
                sorted.partition_point(|number| forest.compare(*number, *first, past) == Ordering::Less);
            let moved = self.sorted.split_off(place);
            self.merge_behind(moved, fresh, past);
            self.applied = self.applied.min(place);
        }
        let kept = self.applied;
        self.applied = self.sorted.len();
        Tail { kept, entries: self.sorted.make_contiguous() }
    }

    /// Sorts in what was added if it is much, while what it is sorted by is still at hand.
    pub(super) fn settle_many(&mut self, past: &dyn Past) {
        if self.fresh.len() >= SETTLED_AT_ONCE.max(self.sorted.len() / SETTLED_PARTS) {
            self.settle(past);
        }
    }

    /// Tells what order the caller has already, after a restart.
    pub(super) fn assume_applied(&mut self, applied: &[EntryNumber], past: &dyn Past) {
        let tail = self.settle(past);
        let kept = tail.entries.iter().zip(applied).take_while(|(a, b)| a == b).count();
        self.applied = kept;
    }

    /// Appends both, each in order. Where one has a long stretch that the other has nothing in, it is moved in bulk; and what is
    /// looked at goes on from one end to the other.
    fn merge_behind(&mut self, mut moved: VecDeque<EntryNumber>, fresh: Vec<EntryNumber>, past: &dyn Past) {
        let mut rest: &[EntryNumber] = moved.make_contiguous();
        for next in fresh {
            let goes_before =
                |number: &EntryNumber| self.forest.compare(*number, next, past) == Ordering::Less;
            let place = leading(rest, goes_before);
            let (before, behind) = rest.split_at(place);
            self.sorted.extend(before);
            self.sorted.push_back(next);
            rest = behind;
        }
        self.sorted.extend(rest);
    }
}

impl Forest {
    /// Hangs an entry, whose parents have their places, below its nearest shadow.
    fn find_shadow(&mut self, number: EntryNumber, parents: &[EntryNumber], past: &dyn Past) {
        let Some(facts) = self.entries.facts(number, past) else { return };
        let mut at: Option<EntryNumber> = None;
        for parent in parents {
            if self.entries.contains(*parent)
                && at.is_none_or(|last| self.compare(*parent, last, past) != Ordering::Less)
            {
                at = Some(*parent);
            }
        }
        self.leave_shadow(number);
        while let Some(above) = at {
            let Some(above_facts) = self.entries.facts(above, past) else { return };
            if above_facts.compare(&facts) == Ordering::Greater {
                let depth = self.depth(above) + 1;
                self.shadows.insert(number, Shadow { above, depth });
                self.shadowed.entry(above).or_default().insert(number);
                return;
            }
            at = self.shadow_of(above);
        }
    }

    fn remove(&mut self, number: EntryNumber) {
        self.entries.remove(number);
        self.leave_shadow(number);
    }

    fn leave_shadow(&mut self, number: EntryNumber) {
        let Some(Shadow { above, .. }) = self.shadows.remove(&number) else { return };
        if let Some(others) = self.shadowed.get_mut(&above) {
            others.remove(&number);
            if others.is_empty() {
                self.shadowed.remove(&above);
            }
        }
    }

    /// Places anew what hung below entries that are gone; gives what has moved.
    fn move_shadowed_by(&mut self, gone: &[EntryNumber], past: &dyn Past) -> Vec<EntryNumber> {
        let mut moved = BTreeSet::new();
        let mut open: Vec<_> = if self.shadowed.is_empty() { Vec::new() } else { gone.to_vec() };
        while let Some(at) = open.pop() {
            for below in self.shadowed.remove(&at).unwrap_or_default() {
                self.shadows.remove(&below);
                moved.insert(below);
                open.push(below);
            }
        }
        // By number: parents come before children, so each finds its last parent in place.
        for number in &moved {
            let parents = self.entries.parents(*number, past);
            self.find_shadow(*number, &parents, past);
        }
        moved.into_iter().collect()
    }

    /// Compares two entries of the tail by their places.
    fn compare(&mut self, a: EntryNumber, b: EntryNumber, past: &dyn Past) -> Ordering {
        let (mut x, mut y) = (a, b);
        let by_depth = self.depth(x).cmp(&self.depth(y));
        while self.depth(x) > self.depth(y) {
            let Some(above) = self.shadow_of(x) else { break };
            x = above;
        }
        while self.depth(y) > self.depth(x) {
            let Some(above) = self.shadow_of(y) else { break };
            y = above;
        }
        if x == y {
            return by_depth; // one hangs below the other
        }
        while self.shadow_of(x) != self.shadow_of(y) {
            let (Some(above_x), Some(above_y)) = (self.shadow_of(x), self.shadow_of(y)) else { break };
            (x, y) = (above_x, above_y);
        }
        match (self.entries.facts(x, past), self.entries.facts(y, past)) {
            (Some(x), Some(y)) => x.compare(&y),
            _ => a.cmp(&b),
        }
    }

    fn depth(&self, number: EntryNumber) -> usize {
        if self.shadows.is_empty() { 0 } else { self.shadows.get(&number).map_or(0, |shadow| shadow.depth) }
    }

    fn shadow_of(&self, number: EntryNumber) -> Option<EntryNumber> {
        if self.shadows.is_empty() { None } else { self.shadows.get(&number).map(|shadow| shadow.above) }
    }
}

/// How many of `numbers`, from the first, `goes_before` holds for, which it does up to some place and not beyond: found near the
/// beginning in few steps, and further on in more.
fn leading(numbers: &[EntryNumber], mut goes_before: impl FnMut(&EntryNumber) -> bool) -> usize {
    let (mut before, mut step) = (0, 1);
    while let Some(number) = numbers.get(before + step - 1) {
        if !goes_before(number) {
            let end = before + step - 1;
            let between = numbers.get(before..end).unwrap_or_default();
            return before + between.partition_point(goes_before);
        }
        before += step;
        step *= 2;
    }
    before + numbers.get(before..).unwrap_or_default().partition_point(goes_before)
}

#[cfg(test)]
mod tests;
