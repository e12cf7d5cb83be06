//! What searches of the graph have found, so that the next one ends where another has been.
//!
//! It is a memory and no more: whatever of it is forgotten is searched for again, with the same result.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::EntryNumber;
use super::numbers::NumberSet;

/// How many pages are kept at the most, in halves: what was not asked for while the younger half filled up is forgotten. Some 60
/// bytes each.
const PAGES_MAX: usize = if cfg!(test) { 8 } else { 65_536 };
/// How many entries share a page.
const PAGE_ENTRIES: u64 = 64;

/// What is looked for in the pasts of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sought {
    /// This proposal.
    Proposal(EntryNumber),
    /// Any of the votes for a proposal of the indexer at this place.
    Votes(EntryNumber, usize),
    /// Any change of members of the tail.
    Change,
}

impl Sought {
    /// Below all others.
    const LOWEST: Self = Self::Proposal(EntryNumber(0));
}

/// Of entries that were searched: whether they hold what was sought, or are it.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    young: BTreeMap<(u64, Sought), Page>,
    old: BTreeMap<(u64, Sought), Page>,
    /// Above the numbers of all entries that something is known of.
    end: u64,
}

/// What was found, also for those who only look at the graph.
#[derive(Debug, Default)]
pub(super) struct SharedFindings(Mutex<Findings>);

impl SharedFindings {
    pub(super) fn lock(&self) -> MutexGuard<'_, Findings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found, for who has it alone.
    pub(super) fn get_mut(&mut self) -> &mut Findings {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for SharedFindings {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }
}

/// A bit for each entry.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    known: u64,
    holding: u64,
}

/// A step of a search.
enum Step {
    Into(EntryNumber),
    /// All that comes before it is searched.
    OutOf(EntryNumber),
}

impl Findings {
    /// Whether what is sought, which `is_it` tells and of which `lowest` is the first, is among `heads` or in their pasts. More
    /// may be sought later than now, of what is added till then.
    pub(super) fn search(
        &mut self,
        heads: Vec<EntryNumber>,
        sought: Sought,
        lowest: EntryNumber,
        is_it: impl Fn(EntryNumber) -> bool,
        mut parents: impl FnMut(EntryNumber) -> Vec<EntryNumber>,
    ) -> bool {
        // What is found may be forgotten within a long search, which passes no entry twice all the same.
        let mut visited = NumberSet::default();
        let mut open: Vec<Step> = heads.into_iter().map(Step::Into).collect();
        while let Some(step) = open.pop() {
            let at = match step {
                Step::Into(at) => at,
                Step::OutOf(at) => {
                    self.note(at, sought, false);
                    continue;
                }
            };
            // Nothing numbered below an entry has it in its past.
            if at < lowest || !visited.insert(at) {
                continue;
            }
            let found = if is_it(at) { Some(true) } else { self.of(at, sought) };
            match found {
                Some(false) => {}
                Some(true) => {
                    // All that is not left yet lies on the way here.
                    for step in open.into_iter().rev() {
                        if let Step::OutOf(before) = step {
                            self.note(before, sought, true);
                        }
                    }
                    return true;
                }
                None => {
                    open.push(Step::OutOf(at));
                    open.extend(parents(at).into_iter().map(Step::Into));
                }
            }
        }
        false
    }

    /// Whether the entry holds what is sought; none if that is not known.
    pub(super) fn of(&mut self, EntryNumber(number): EntryNumber, sought: Sought) -> Option<bool> {
        let key = (number / PAGE_ENTRIES, sought);
        let page = match self.young.get(&key) {
            Some(page) => *page,
            None if self.old.contains_key(&key) => *self.page(key),
            None => return None,
        };
        (page.known & bit(number) != 0).then_some(page.holding & bit(number) != 0)
    }

    fn note(&mut self, EntryNumber(number): EntryNumber, sought: Sought, holds: bool) {
        self.end = self.end.max(number.saturating_add(1));
        let page = self.page((number / PAGE_ENTRIES, sought));
        page.known |= bit(number);
        if holds {
            page.holding |= bit(number);
        }
    }

    /// Forgets what is known of entries from this number on: another entry may get the number of one that was refused, and what
    /// is sought may be among them from now on.
    pub(super) fn forget_from(&mut self, EntryNumber(number): EntryNumber) {
        if number >= self.end {
            return;
        }
        self.end = number;
        let first = (number / PAGE_ENTRIES, Sought::LOWEST);
        for pages in [&mut self.young, &mut self.old] {
            for (key, page) in pages.split_off(&first) {
                let below = if key.0 == first.0 { bit(number) - 1 } else { 0 };
                let page = Page { known: page.known & below, holding: page.holding & below };
                if page.known != 0 {
                    pages.insert(key, page);
                }
            }
        }
    }

    fn page(&mut self, key: (u64, Sought)) -> &mut Page {
        if !self.young.contains_key(&key) {
            let page = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= PAGES_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, page);
        }
        self.young.entry(key).or_default()
    }
}

const fn bit(number: u64) -> u64 {
    1 << (number % PAGE_ENTRIES)
}
