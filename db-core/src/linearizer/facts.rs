//! What the order needs to know of the entries of the tail: as much of it at hand as memory is given, the rest asked for again.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::ids::{EntryHash, WriterKey};

use super::numbers::NumberSet;
use super::{EntryNumber, Node, Past, Standing};

/// Of how many entries at the most it is kept at hand, in halves: what was not asked for while the younger half filled up is
/// forgotten. About 128 bytes each.
const AT_HAND_MAX: usize = if cfg!(test) { 16 } else { 65_536 };
/// How many entries share a page.
const PAGE_ENTRIES: u64 = 64;

/// What the order asks again of an entry that it does not have at hand any more. All of it is the entry's own and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The entry's hash.
    pub hash: EntryHash,
    /// Whose log it stands in.
    pub writer: WriterKey,
    /// Its place in that log.
    pub seq: u64,
    /// The author's clock, in milliseconds.
    pub time: u64,
    /// The wave that the entry carries.
    pub wave: u64,
    /// The epoch of its standing: [`Standing::epoch`].
    pub known_epoch: u64,
    /// Whether the entry holds no operation and only votes.
    pub is_ack: bool,
}

impl Facts {
    /// What there is to know of an entry with this standing.
    pub fn of(node: &Node, standing: &Standing) -> Self {
        Self {
            hash: node.hash,
            writer: node.writer,
            seq: node.seq,
            time: node.time,
            wave: node.wave,
            known_epoch: standing.epoch(),
            is_ack: node.is_ack,
        }
    }

    /// By what entries are ordered that have no shadow.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let by_time = self.time.cmp(&other.time);
        by_time
            .then_with(|| (&self.writer, self.seq, &self.hash).cmp(&(&other.writer, other.seq, &other.hash)))
    }
}

/// The parents of an entry, as far as there are few.
#[derive(Debug, Clone, Copy, Default)]
enum FewParents {
    #[default]
    Unknown,
    Known([Option<EntryNumber>; 2]),
}

impl FewParents {
    fn of(parents: &[EntryNumber]) -> Self {
        match parents {
            [] => Self::Known([None, None]),
            [one] => Self::Known([Some(*one), None]),
            [one, other] => Self::Known([Some(*one), Some(*other)]),
            _ => Self::Unknown,
        }
    }
}

type Page = [Option<(Facts, FewParents)>; PAGE_ENTRIES as usize];

/// The entries of the tail, and of some of them what is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    present: NumberSet,
    young: BTreeMap<u64, Box<Page>>,
    old: BTreeMap<u64, Box<Page>>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    pub(super) fn contains(&self, number: EntryNumber) -> bool {
        self.present.contains(number)
    }

    pub(super) fn insert(&mut self, node: &Node, standing: &Standing) {
        self.present.insert(node.number);
        let known = (Facts::of(node, standing), FewParents::of(&node.parents));
        self.keep(node.number, known);
    }

    pub(super) fn remove(&mut self, number: EntryNumber) -> bool {
        let (page, place) = page_of(number);
        for pages in [&mut self.young, &mut self.old] {
            let Some(entries) = pages.get_mut(&page) else { continue };
            if let Some(entry) = entries.get_mut(place) {
                *entry = None;
            }
            if entries.iter().all(Option::is_none) {
                pages.remove(&page);
            }
        }
        self.present.remove(number)
    }

    /// What is known of an entry of the tail; none of any other.
    pub(super) fn facts(&mut self, number: EntryNumber, past: &dyn Past) -> Option<Facts> {
        self.known(number, past).map(|(facts, _)| facts)
    }

    /// The parents of an entry of the tail, confirmed ones among them.
    pub(super) fn parents(&mut self, number: EntryNumber, past: &dyn Past) -> Vec<EntryNumber> {
        match self.known(number, past) {
            Some((_, FewParents::Known(few))) => few.into_iter().flatten().collect(),
            Some((facts, FewParents::Unknown)) => {
                let parents = past.parents(number);
                self.keep(number, (facts, FewParents::of(&parents)));
                parents
            }
            None => Vec::new(),
        }
    }

    fn known(&mut self, number: EntryNumber, past: &dyn Past) -> Option<(Facts, FewParents)> {
        let (page, place) = page_of(number);
        if let Some(known) = self.young.get(&page).and_then(|entries| *entries.get(place)?) {
            return Some(known);
        }
        let known = match self.old.get(&page).and_then(|entries| *entries.get(place)?) {
            Some(known) => known,
            None if self.contains(number) => (past.facts(number)?, FewParents::Unknown),
            None => return None,
        };
        self.keep(number, known);
        Some(known)
    }

    fn keep(&mut self, number: EntryNumber, known: (Facts, FewParents)) {
        let (page, place) = page_of(number);
        if !self.young.contains_key(&page) {
            if (self.young.len() as u64 + 1) * PAGE_ENTRIES > (AT_HAND_MAX as u64 / 2).max(PAGE_ENTRIES) {
                self.old = std::mem::take(&mut self.young);
            }
            let entries = self.old.remove(&page).unwrap_or_else(|| Box::new([None; PAGE_ENTRIES as usize]));
            self.young.insert(page, entries);
        }
        if let Some(entry) = self.young.get_mut(&page).and_then(|entries| entries.get_mut(place)) {
            *entry = Some(known);
        }
    }
}

fn page_of(EntryNumber(number): EntryNumber) -> (u64, usize) {
    (number / PAGE_ENTRIES, (number % PAGE_ENTRIES) as usize)
}
