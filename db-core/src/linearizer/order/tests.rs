//! What is found once is not searched for again.

use std::cell::Cell;

use super::super::{EntryNumber, Facts, Linearizer, Node, NumberSet, Past, Standing};
use crate::ids::{EntryHash, WriterKey};

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

struct Bench {
    linearizer: Linearizer,
    stored: Counted,
}

impl Bench {
    fn add(&mut self, who: u8, wave: u64, parents: Vec<EntryNumber>) -> EntryNumber {
        let number = EntryNumber(self.stored.nodes.len() as u64);
        let writer = WriterKey::from_bytes([who; 32]);
        let seq = self.stored.nodes.iter().filter(|(node, _)| node.writer == writer).count() as u64;
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.0.to_be_bytes());
        let node = Node {
            number,
            hash: EntryHash::from_bytes(hash),
            writer,
            seq,
            time: number.0,
            epoch: 0,
            wave,
            parents,
            is_ack: false,
            is_fork: false,
        };
        let standing = self.linearizer.check(&node, &self.stored).unwrap();
        self.linearizer.add(&node, &standing, &self.stored).unwrap();
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
    let indexer = WriterKey::from_bytes([1; 32]);
    let mut bench = Bench { linearizer: Linearizer::new(vec![indexer]), stored: Counted::default() };
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
