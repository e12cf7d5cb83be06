//! A plain reference for the linearizer: the rules written down as a function of a set of entries, at any cost.

use db_core::{EntryHash, WriterKey};

/// A set of entries by index, as bits: worlds have at most 128 entries.
pub(crate) type Set = u128;

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) hash: EntryHash,
    pub(crate) writer: WriterKey,
    pub(crate) seq: u64,
    pub(crate) time: u64,
    pub(crate) epoch: u64,
    pub(crate) wave: u64,
    /// With `prev`.
    pub(crate) parents: Vec<usize>,
    pub(crate) sets: Option<Vec<WriterKey>>,
    pub(crate) is_ack: bool,
}

/// All entries there are, parents before children.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) genesis: Vec<WriterKey>,
    pub(crate) items: Vec<Item>,
    /// By entry: its past and itself.
    pub(crate) pasts: Vec<Set>,
    /// By entry: the epoch that its past, itself not counted, knows.
    pub(crate) known: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) confirmed: Vec<usize>,
    pub(crate) tail: Vec<usize>,
    pub(crate) epoch: u64,
    pub(crate) indexers: Vec<WriterKey>,
}

pub(crate) fn writer(name: u8) -> WriterKey {
    let mut bytes = [0; 32];
    bytes[0] = b'a' + name;
    WriterKey::from_bytes(bytes)
}

pub(crate) fn sorted(mut writers: Vec<WriterKey>) -> Vec<WriterKey> {
    writers.sort();
    writers.dedup();
    writers
}

pub(crate) fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..128).filter(move |i| set >> i & 1 == 1)
}

impl World {
    pub(crate) fn new(genesis: Vec<WriterKey>) -> Self {
        Self { genesis: sorted(genesis), ..Self::default() }
    }

    pub(crate) fn push(&mut self, item: Item) -> usize {
        let id = self.items.len();
        let before = item.parents.iter().fold(0, |set, parent| set | self.pasts[*parent]);
        self.known.push(self.outcome(before).epoch);
        self.pasts.push(before | 1 << id);
        self.items.push(item);
        id
    }

    /// The linearizer's answer for a causally closed set.
    pub(crate) fn outcome(&self, set: Set) -> Outcome {
        let mut outcome =
            Outcome { confirmed: Vec::new(), tail: Vec::new(), epoch: 0, indexers: self.genesis.clone() };
        let mut placed: Set = 0;
        'epochs: loop {
            for anchor in self.anchors(set, outcome.epoch, &outcome.indexers) {
                let part = self.order(self.pasts[anchor] & !placed, placed);
                let mut indexers = outcome.indexers.clone();
                for id in part {
                    placed |= 1 << id;
                    outcome.confirmed.push(id);
                    if let Some(sets) = &self.items[id].sets {
                        indexers = sorted(sets.clone());
                    }
                }
                if indexers != outcome.indexers {
                    outcome.indexers = indexers;
                    outcome.epoch += 1;
                    continue 'epochs;
                }
            }
            break;
        }
        outcome.tail = self.order(set & !placed, placed);
        outcome
    }

    /// The anchors of an epoch, lowest first.
    fn anchors(&self, set: Set, epoch: u64, indexers: &[WriterKey]) -> Vec<usize> {
        let majority = indexers.len() / 2 + 1;
        // Each indexer's entries that raise its wave: (from, to, id) votes in the waves from..to.
        let mut votes: Vec<(usize, u64, u64, usize)> = Vec::new();
        for id in members(set).filter(|id| self.known[*id] == epoch) {
            let item = &self.items[id];
            let Some(me) = indexers.iter().position(|indexer| *indexer == item.writer) else { continue };
            let own = members(self.pasts[id] & !(1 << id))
                .filter(|other| self.known[*other] == epoch && self.items[*other].writer == item.writer);
            let from = own.map(|other| self.items[other].wave).max().unwrap_or(0);
            if item.wave > from {
                votes.push((me, from, item.wave, id));
            }
        }
        let mut proposals: Vec<(u64, EntryHash, usize)> = votes
            .iter()
            .filter(|(me, _, to, _)| ((to - 1) % indexers.len() as u64) as usize == *me)
            .map(|(_, _, to, id)| (to - 1, self.items[*id].hash, *id))
            .collect();
        proposals.sort();
        let confirmed = proposals.iter().rev().find(|(wave, _, id)| {
            let mut voters: Vec<usize> = votes
                .iter()
                .filter(|(_, from, to, vote)| from <= wave && wave < to && self.pasts[*vote] >> id & 1 == 1)
                .map(|(me, ..)| *me)
                .collect();
            voters.sort_unstable();
            voters.dedup();
            voters.len() >= majority
        });
        let mut anchors = Vec::new();
        let mut at = confirmed;
        while let Some((wave, _, id)) = at {
            anchors.push(*id);
            at = proposals
                .iter()
                .rev()
                .find(|(lower, _, other)| lower < wave && self.pasts[*id] >> other & 1 == 1);
        }
        anchors.reverse();
        anchors
    }

    fn order(&self, set: Set, mut placed: Set) -> Vec<usize> {
        let mut left = set;
        let mut order = Vec::new();
        while left != 0 {
            let next = members(left)
                .filter(|id| self.items[*id].parents.iter().all(|parent| placed >> parent & 1 == 1))
                .min_by_key(|id| {
                    let item = &self.items[*id];
                    (item.time, item.writer, item.seq, item.hash)
                })
                .expect("a closed set always has a next entry");
            left &= !(1 << next);
            placed |= 1 << next;
            order.push(next);
        }
        order
    }
}
