//! What is found once is not searched for again: counted in questions about the graph.

mod late;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::{EntryNumber, Facts, Linearizer, Node, NumberSet, Past, Standing};
use crate::ids::{EntryHash, WriterKey};

/// Whoever forks its log.
const FORKER: u8 = 0;

/// What is stored, and how often it was asked for parents.
#[derive(Default)]
struct Counted {
    nodes: Vec<(Node, Standing)>,
    asked: Cell<usize>,
}

impl Past for Counted {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.nodes.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.asked.set(self.asked.get() + 1);
        self.nodes.get(number.0 as usize).map(|(node, _)| node.parents.clone()).unwrap_or_default()
    }

    fn facts(&self, number: EntryNumber) -> Option<Facts> {
        self.nodes.get(number.0 as usize).map(|(node, standing)| Facts::of(node, standing))
    }
}

fn writer(number: u8) -> WriterKey {
    WriterKey::from_bytes([number; 32])
}

/// A linearizer, and what it is handed.
struct Bench {
    linearizer: Linearizer,
    stored: Counted,
    lengths: BTreeMap<u8, u64>,
    /// Where in which log an entry stands.
    places: BTreeSet<(u8, u64)>,
}

impl Bench {
    fn new(indexer: u8) -> Self {
        let linearizer = Linearizer::new(vec![writer(indexer)]);
        Self { linearizer, stored: Counted::default(), lengths: BTreeMap::new(), places: BTreeSet::new() }
    }

    /// The next entry of a log.
    fn node(&mut self, who: u8, wave: u64, parents: Vec<EntryNumber>, number: usize) -> Node {
        let length = self.lengths.entry(who).or_default();
        let seq = *length;
        *length += 1;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Node {
            number: EntryNumber(number as u64),
            hash: EntryHash::from_bytes(hash),
            writer: writer(who),
            seq,
            time: number as u64,
            epoch: 0,
            wave,
            parents,
            is_ack: false,
            is_fork: !self.places.insert((who, seq)) && who == FORKER,
        }
    }

    fn add(&mut self, who: u8, wave: u64, parents: Vec<EntryNumber>) -> EntryNumber {
        let node = self.node(who, wave, parents, self.stored.nodes.len());
        let standing = self.linearizer.check(&node, &self.stored).unwrap();
        assert_eq!(standing.epoch(), 0);
        self.linearizer.add(&node, &standing, &self.stored).unwrap();
        let number = node.number;
        self.stored.nodes.push((node, standing));
        number
    }

    /// Whether a change is in one of these pasts, and how often the graph is asked for it.
    fn ask(&mut self, entry: EntryNumber, changes: &NumberSet) -> (bool, usize) {
        let before = self.stored.asked.get();
        let holds = self.linearizer.may_hold_change(&[entry], changes, &self.stored);
        (holds, self.stored.asked.get() - before)
    }
}

#[test]
fn a_run_that_is_refused_for_a_change_in_its_past_costs_one_search_however_often_it_is_tried() {
    let mut bench = Bench::new(1);
    let change = bench.add(2, 0, vec![]);
    let other = bench.add(3, 0, vec![]);
    let changes: NumberSet = [change].into_iter().collect();
    let mut last = change;
    for _ in 0..120 {
        last = bench.add(2, 0, vec![last]);
    }
    let mut beside = other;
    for _ in 0..120 {
        beside = bench.add(3, 0, vec![beside]);
    }
    let (holds, asked) = bench.ask(last, &changes);
    assert!(holds && asked > 60 && asked <= 121, "{asked} questions for the first search");
    let (holds, asked) = bench.ask(beside, &changes);
    assert!(!holds && asked <= 121, "{asked} questions for the first search of the other log");
    for _ in 0..100 {
        assert_eq!((bench.ask(last, &changes), bench.ask(beside, &changes)), ((true, 0), (false, 0)));
        last = bench.add(2, 0, vec![last]);
        let (holds, asked) = bench.ask(last, &changes);
        assert!(holds && asked <= 1);
    }

    // What is confirmed is no change of the tail any more.
    let vote = bench.add(1, 1, vec![change]);
    let part = bench.linearizer.next_part(&bench.stored).unwrap();
    assert_eq!(part.entries, [change, vote]);
    assert!(!bench.ask(last, &changes).0);
}
