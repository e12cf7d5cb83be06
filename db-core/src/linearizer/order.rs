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

use crate::ids::{EntryHash, WriterKey};

use super::{EntryNumber, Node, Tail};

#[derive(Debug, Clone, Default)]
pub(super) struct TailOrder {
    entries: BTreeMap<EntryNumber, TailEntry>,
    /// Those that are shadows, with whom they shadow.
    shadowed: BTreeMap<EntryNumber, BTreeSet<EntryNumber>>,
    /// In order; may hold entries that were taken out (if `is_dirty`) or that stand in `fresh` as well.
    sorted: VecDeque<EntryNumber>,
    is_dirty: bool,
    /// To be sorted in: new, or moved.
    fresh: BTreeSet<EntryNumber>,
    /// The first of `fresh` by place; none if that has to be looked for.
    first_fresh: Option<EntryNumber>,
    /// How much of `sorted`, from the first, the caller has.
    applied: usize,
}

#[derive(Debug, Clone)]
pub(super) struct TailEntry {
    pub(super) key: OrderKey,
    pub(super) parents: Vec<EntryNumber>,
    shadow: Option<EntryNumber>,
    /// How many shadows there are up to the root.
    depth: usize,
    pub(super) is_ack: bool,
    /// The wave it carries, and the epoch that its past knows.
    pub(super) wave: u64,
    pub(super) known_epoch: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OrderKey {
    pub(super) time: u64,
    pub(super) writer: WriterKey,
    pub(super) seq: u64,
    pub(super) hash: EntryHash,
}

impl TailOrder {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, number: EntryNumber) -> bool {
        self.entries.contains_key(&number)
    }

    /// Adds an entry that nothing in the tail descends from.
    pub(super) fn insert(&mut self, node: &Node, known_epoch: u64) {
        let key = OrderKey { time: node.time, writer: node.writer, seq: node.seq, hash: node.hash };
        let parents = node.parents.iter().copied().filter(|parent| self.contains(*parent)).collect();
        let entry = TailEntry {
            key,
            parents,
            shadow: None,
            depth: 0,
            is_ack: node.is_ack,
            wave: node.wave,
            known_epoch,
        };
        self.entries.insert(node.number, entry);
        self.find_shadow(node.number);
        let is_first = match self.first_fresh {
            Some(first) => self.compare(node.number, first) == Ordering::Less,
            None => self.fresh.is_empty(),
        };
        if is_first {
            self.first_fresh = Some(node.number);
        }
        self.fresh.insert(node.number);
    }

    /// The entry and those of its ancestors that are in the tail, in order.
    pub(super) fn past_of(&self, number: EntryNumber) -> Vec<EntryNumber> {
        let mut past = BTreeSet::new();
        let mut open = vec![number];
        while let Some(at) = open.pop() {
            if let Some(entry) = self.entries.get(&at).filter(|_| past.insert(at)) {
                open.extend(&entry.parents);
            }
        }
        let mut past: Vec<_> = past.into_iter().collect();
        past.sort_by(|a, b| self.compare(*a, *b));
        past
    }

    /// Takes out a causally closed part, given in order. Gives how many of its entries the caller's order begins with, and what
    /// was taken.
    pub(super) fn take(&mut self, part: &[EntryNumber]) -> (usize, Vec<TailEntry>) {
        self.first_fresh = None;
        let applied = self.sorted.iter().take(self.applied);
        let kept = part.iter().zip(applied).take_while(|(number, have)| number == have).count();
        self.sorted.drain(..kept);
        self.applied = if kept == part.len() { self.applied - kept } else { 0 };

        let mut taken = Vec::with_capacity(part.len());
        for (place, number) in part.iter().enumerate() {
            if !self.fresh.remove(number) && place >= kept {
                self.is_dirty = true;
            }
            let Some(entry) = self.entries.remove(number) else { continue };
            if let Some(shadow) = entry.shadow {
                self.leave_shadow(*number, shadow);
            }
            taken.push(entry);
        }
        self.move_shadowed_by(part);
        (kept, taken)
    }

    /// How much of the caller's order would be kept if what has come and moved were sorted in now.
    pub(super) fn kept(&mut self) -> usize {
        if self.first_fresh.is_none() {
            self.first_fresh = self.fresh.iter().copied().min_by(|a, b| self.compare(*a, *b));
        }
        let goes_before = |number: &EntryNumber| {
            self.first_fresh.is_none_or(|first| self.compare(*number, first) == Ordering::Less)
        };
        if self.is_dirty {
            let is_settled =
                |number: &EntryNumber| self.entries.contains_key(number) && !self.fresh.contains(number);
            let applied = self.sorted.iter().take(self.applied);
            return applied.take_while(|number| is_settled(number) && goes_before(number)).count();
        }
        self.sorted.partition_point(goes_before).min(self.applied)
    }

    /// Sorts in what has come and moved since the last call.
    pub(super) fn settle(&mut self) -> Tail<'_> {
        self.first_fresh = None;
        if self.is_dirty {
            let is_settled =
                |number: &EntryNumber| self.entries.contains_key(number) && !self.fresh.contains(number);
            let kept = self.sorted.iter().take(self.applied).take_while(|number| is_settled(number)).count();
            self.applied = kept;
            let sorted = std::mem::take(&mut self.sorted);
            self.sorted = sorted.into_iter().filter(is_settled).collect();
            self.is_dirty = false;
        }
        let mut fresh: Vec<_> = std::mem::take(&mut self.fresh).into_iter().collect();
        fresh.sort_by(|a, b| self.compare(*a, *b));
        if let Some(first) = fresh.first() {
            let place = self.sorted.partition_point(|number| self.compare(*number, *first) == Ordering::Less);
            let moved = self.sorted.split_off(place);
            self.merge_behind(moved, fresh);
            self.applied = self.applied.min(place);
        }
        let kept = self.applied;
        self.applied = self.sorted.len();
        Tail { kept, entries: self.sorted.make_contiguous() }
    }

    /// Tells what order the caller has already, after a restart.
    pub(super) fn assume_applied(&mut self, applied: &[EntryNumber]) {
        let tail = self.settle();
        let kept = tail.entries.iter().zip(applied).take_while(|(a, b)| a == b).count();
        self.applied = kept;
    }

    /// Appends both, each in order: a search for every fresh entry, the rest moved in bulk.
    fn merge_behind(&mut self, mut moved: VecDeque<EntryNumber>, fresh: Vec<EntryNumber>) {
        let mut rest: &[EntryNumber] = moved.make_contiguous();
        for next in fresh {
            let place = rest.partition_point(|number| self.compare(*number, next) == Ordering::Less);
            let (before, behind) = rest.split_at(place);
            self.sorted.extend(before);
            self.sorted.push_back(next);
            rest = behind;
        }
        self.sorted.extend(rest);
    }

    /// Hangs an entry, whose parents have their places, below its nearest shadow.
    fn find_shadow(&mut self, number: EntryNumber) {
        let Some(entry) = self.entries.get(&number) else { return };
        let key = entry.key;
        let mut at = entry
            .parents
            .iter()
            .copied()
            .filter(|parent| self.contains(*parent))
            .max_by(|a, b| self.compare(*a, *b));
        let mut depth = 0;
        while let Some(above) = at.and_then(|at| self.entries.get(&at)) {
            if above.key > key {
                depth = above.depth + 1;
                break;
            }
            at = above.shadow;
        }
        if let Some(shadow) = at {
            self.shadowed.entry(shadow).or_default().insert(number);
        }
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.shadow = at;
            entry.depth = depth;
        }
    }

    fn leave_shadow(&mut self, number: EntryNumber, shadow: EntryNumber) {
        if let Some(others) = self.shadowed.get_mut(&shadow) {
            others.remove(&number);
            if others.is_empty() {
                self.shadowed.remove(&shadow);
            }
        }
    }

    /// Places anew what hung below entries that are gone.
    fn move_shadowed_by(&mut self, gone: &[EntryNumber]) {
        let mut moved = BTreeSet::new();
        let mut open: Vec<_> = gone.to_vec();
        while let Some(at) = open.pop() {
            for below in self.shadowed.remove(&at).unwrap_or_default() {
                moved.insert(below);
                open.push(below);
            }
        }
        for number in &moved {
            if self.fresh.insert(*number) {
                self.is_dirty = true;
            }
        }
        // By number: parents come before children, so each finds its last parent in place.
        for number in moved {
            self.find_shadow(number);
        }
    }

    /// Compares two entries of the tail by their places.
    fn compare(&self, a: EntryNumber, b: EntryNumber) -> Ordering {
        let (Some(mut x), Some(mut y)) = (self.entries.get(&a), self.entries.get(&b)) else {
            return a.cmp(&b);
        };
        let by_depth = x.depth.cmp(&y.depth);
        while x.depth > y.depth {
            let Some(above) = self.shadow_of(x) else { break };
            x = above;
        }
        while y.depth > x.depth {
            let Some(above) = self.shadow_of(y) else { break };
            y = above;
        }
        if x.key == y.key {
            return by_depth; // one hangs below the other
        }
        while x.shadow != y.shadow {
            let (Some(above_x), Some(above_y)) = (self.shadow_of(x), self.shadow_of(y)) else { break };
            (x, y) = (above_x, above_y);
        }
        x.key.cmp(&y.key)
    }

    fn shadow_of(&self, entry: &TailEntry) -> Option<&TailEntry> {
        entry.shadow.and_then(|shadow| self.entries.get(&shadow))
    }
}
