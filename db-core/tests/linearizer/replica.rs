//! A peer as the linearizer's caller: stores standings, applies parts and tails as told, and holds the linearizer to what it says
//! about how much of them stands.

use std::collections::{BTreeMap, BTreeSet};

use db_core::WriterKey;
use db_core::linearizer::{
    ConfirmationBroken, EntryNumber, Facts, IllegalEntry, Linearizer, Node, Part, Past, Standing,
};

use super::model::{Outcome, Set, World, members, sorted};

#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) linearizer: Linearizer,
    pub(crate) stored: Stored,
    pub(crate) held: Set,
    pub(crate) confirmed: Vec<usize>,
    /// How many entries are added at the most while a part stays in hand.
    pub(crate) patience: usize,
    indexers: Vec<WriterKey>,
    applied: Vec<EntryNumber>,
    snapshot: Vec<u8>,
    /// The part in hand, and how many entries were added since it was taken.
    in_hand: Option<(Part, usize)>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    /// By number.
    pub(crate) nodes: Vec<(Node, Standing)>,
    ids: Vec<usize>,
    numbers: BTreeMap<usize, EntryNumber>,
    places: BTreeSet<(WriterKey, u64)>,
}

impl Past for Stored {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.nodes.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.nodes.get(number.0 as usize).map(|(node, _)| node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.nodes.get(number.0 as usize).map(|(node, standing)| Facts::of(node, standing))
    }
}

impl Stored {
    pub(crate) fn id(&self, number: EntryNumber) -> usize {
        self.ids[number.0 as usize]
    }
}

impl Replica {
    pub(crate) fn new(world: &World) -> Self {
        let linearizer = Linearizer::new(world.genesis.clone());
        Self {
            snapshot: linearizer.snapshot(),
            linearizer,
            stored: Stored::default(),
            held: 0,
            confirmed: Vec::new(),
            patience: 0,
            indexers: world.genesis.clone(),
            applied: Vec::new(),
            in_hand: None,
        }
    }

    pub(crate) fn node(&self, world: &World, id: usize) -> Node {
        let item = &world.items[id];
        Node {
            number: EntryNumber(self.stored.nodes.len() as u64),
            hash: item.hash,
            writer: item.writer,
            seq: item.seq,
            time: item.time,
            epoch: item.epoch,
            wave: item.wave,
            parents: item.parents.iter().map(|parent| self.stored.numbers[parent]).collect(),
            is_ack: item.is_ack,
            is_fork: self.stored.places.contains(&(item.writer, item.seq)),
        }
    }

    /// Takes in an entry whose parents are held; rebuilds if a fork demands it.
    pub(crate) fn receive(&mut self, world: &World, id: usize) -> Result<Standing, IllegalEntry> {
        let node = self.node(world, id);
        let mut judged = self.linearizer.check(&node, &self.stored);
        assert_eq!(
            self.linearizer.is_decided(&node.parents, &self.stored),
            judged != Err(IllegalEntry::PartInHand)
        );
        if judged == Err(IllegalEntry::PartInHand) {
            self.finish(world);
            judged = self.linearizer.check(&node, &self.stored);
        }
        let standing = judged?;
        let forks = node.is_fork.then_some(&node.writer);
        let may_break = self.linearizer.may_break([(&node, &standing)], forks, &self.stored);
        self.held |= 1 << id;
        self.stored.numbers.insert(id, node.number);
        self.stored.ids.push(id);
        self.stored.places.insert((node.writer, node.seq));
        self.stored.nodes.push((node.clone(), standing.clone()));
        let added = self.linearizer.add(&node, &standing, &self.stored);
        if added.is_err() || self.drain(world).is_err() {
            assert!(may_break);
            self.rebuild(world);
        }
        Ok(standing)
    }

    /// Finishes all parts, however short they have been in hand.
    pub(crate) fn finish(&mut self, world: &World) {
        let patience = std::mem::take(&mut self.patience);
        self.drain(world).expect("what may be broken was counted before");
        self.patience = patience;
    }

    /// Takes and finishes parts. One that changes no indexers is finished before it is applied.
    fn drain(&mut self, world: &World) -> Result<(), ConfirmationBroken> {
        loop {
            if let Some((_, added)) = &mut self.in_hand {
                *added += 1;
                if *added <= self.patience {
                    assert!(!self.linearizer.has_part());
                    return Ok(());
                }
                self.apply(world);
                self.linearizer.finish_part(&self.indexers, &self.stored)?;
                self.snapshot = self.linearizer.snapshot();
            }
            if !self.linearizer.has_part() {
                break;
            }
            let part = self.linearizer.next_part(&self.stored).expect("a part was announced");
            assert_eq!(part.entries[..part.kept], self.applied[..part.kept]);
            if part.kept == part.entries.len() {
                self.applied.drain(..part.kept);
            } else {
                self.applied.clear();
            }
            let changes = |number: &EntryNumber| world.items[self.stored.id(*number)].sets.is_some();
            let is_finished = !part.entries.iter().any(changes);
            self.in_hand = Some((part, 0));
            if is_finished {
                self.linearizer.finish_part(&[], &self.stored)?;
                self.snapshot = self.linearizer.snapshot();
                self.apply(world);
            }
        }
        assert!(self.linearizer.next_part(&self.stored).is_none());
        Ok(())
    }

    /// Applies the part in hand.
    fn apply(&mut self, world: &World) {
        let Some((part, _)) = self.in_hand.take() else { return };
        for number in &part.entries {
            let id = self.stored.id(*number);
            self.confirmed.push(id);
            if let Some(sets) = &world.items[id].sets {
                self.indexers = sorted(sets.clone());
            }
        }
    }

    /// From the log: everything added, then everything taken.
    pub(crate) fn rebuild(&mut self, world: &World) {
        self.linearizer = Linearizer::new(world.genesis.clone());
        self.confirmed.clear();
        self.applied.clear();
        self.in_hand = None;
        self.indexers.clone_from(&world.genesis);
        for (node, standing) in &self.stored.nodes {
            self.linearizer.add(node, standing, &self.stored).expect("nothing was given out yet");
        }
        self.finish(world);
    }

    /// Closes and opens; a part that was in hand is taken again.
    pub(crate) fn restart(&mut self, world: &World) {
        let confirmed: BTreeSet<usize> = self.confirmed.iter().copied().collect();
        let tail =
            self.stored.nodes.iter().filter(|(node, _)| !confirmed.contains(&self.stored.id(node.number)));
        self.linearizer = Linearizer::restore(&self.snapshot, tail.cloned(), &self.applied, &self.stored)
            .expect("just written");
        assert_eq!(self.linearizer.has_part(), self.in_hand.take().is_some());
        let tail = self.linearizer.tail(&self.stored);
        let common = tail.entries.iter().zip(&self.applied).take_while(|(a, b)| a == b).count();
        assert_eq!(tail.kept, common);
        self.applied = tail.entries.to_vec();
        self.drain(world).expect("nothing has changed");
    }

    pub(crate) fn outcome(&mut self) -> Outcome {
        let announced = self.linearizer.tail_kept(&self.stored);
        let tail = self.linearizer.tail(&self.stored);
        assert_eq!(tail.kept, announced);
        assert_eq!(tail.entries[..tail.kept], self.applied[..tail.kept]);
        self.applied = tail.entries.to_vec();
        let tail = self.applied.iter().map(|number| self.stored.id(*number)).collect();
        Outcome {
            confirmed: self.confirmed.clone(),
            tail,
            epoch: self.linearizer.epoch(),
            indexers: self.linearizer.indexers().to_vec(),
        }
    }

    /// Takes in all of `set`, lowest first.
    pub(crate) fn receive_all(&mut self, world: &World, set: Set) {
        for id in members(set & !self.held) {
            self.receive(world, id).expect("made by an honest peer");
        }
    }

    /// What is held and nothing held descends from.
    pub(crate) fn heads(&self, world: &World) -> Vec<usize> {
        let inner = members(self.held).fold(0, |set, id| set | world.pasts[id] & !(1 << id));
        members(self.held & !inner).collect()
    }
}
