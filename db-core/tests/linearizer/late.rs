//! What entries cost that come late, after an indexer has forked its log: counted in questions about the graph. The linearizer's own
//! tests give it next to no memory for what was found, and cannot count this.

use std::cell::Cell;
use std::collections::BTreeSet;

use db_core::EntryHash;
use db_core::linearizer::{EntryNumber, Facts, Linearizer, Node, Past, Standing};

use super::model::writer;

/// Whoever forks its log, and whoever knows nothing of that.
const FORKER: u8 = 0;
const LATE: [u8; 2] = [1, 2];

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
    lengths: [u64; 3],
    /// Where in which log an entry stands.
    places: BTreeSet<(u8, u64)>,
}

impl Bench {
    /// The sole indexer has ended its epoch, and on another branch, which ends here, it knows nothing of that.
    fn of_a_forked_end() -> (Self, EntryNumber) {
        let linearizer = Linearizer::new(vec![writer(FORKER)]);
        let mut bench =
            Self { linearizer, stored: Counted::default(), lengths: [0; 3], places: BTreeSet::new() };
        let first = bench.add(FORKER, 1, vec![]);
        bench.add(FORKER, 2, vec![first]);
        for indexers in [vec![writer(FORKER)], vec![writer(FORKER), writer(9)]] {
            bench.linearizer.next_part(&bench.stored).expect("the only indexer confirms at once");
            bench.linearizer.finish_part(&indexers, &bench.stored).unwrap();
        }
        assert_eq!(bench.linearizer.epoch(), 1);
        bench.lengths[usize::from(FORKER)] = 1;
        let branch = bench.add(FORKER, 1, vec![first]);
        assert_eq!(bench.linearizer.forked_indexers(), [writer(FORKER)]);
        (bench, branch)
    }

    fn node(&mut self, who: u8, wave: u64, parents: Vec<EntryNumber>, number: usize) -> Node {
        let seq = self.lengths[usize::from(who)];
        self.lengths[usize::from(who)] += 1;
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
}

/// How often the graph is asked while so many late entries come.
fn asked(count: usize, write: impl FnOnce(&mut Bench, EntryNumber, usize)) -> usize {
    let (mut bench, branch) = Bench::of_a_forked_end();
    write(&mut bench, branch, count);
    let _ = bench.linearizer.tail(&bench.stored);
    bench.stored.asked.get()
}

#[test]
fn a_late_chain_costs_each_of_its_entries_once() {
    for count in [2_000, 20_000] {
        let asked = asked(count, |bench, branch, count| {
            let mut last = branch;
            for _ in 0..count {
                last = bench.add(LATE[0], 0, vec![last]);
            }
        });
        assert!(asked <= count + 10, "{asked} questions for {count} entries");
    }
}

#[test]
fn late_writers_that_have_met_at_each_entry_cost_no_more() {
    for count in [2_000, 20_000] {
        let asked = asked(count, |bench, branch, count| {
            let mut last = [branch; 2];
            for at in 0..count {
                let mut parents = last.to_vec();
                parents.dedup();
                last[at % 2] = bench.add(LATE[at % 2], 0, parents);
            }
        });
        assert!(asked <= count + 10, "{asked} questions for {count} entries");
    }
}

#[test]
fn what_is_judged_in_runs_is_passed_once_more_for_each_time() {
    for count in [2_000, 20_000] {
        let asked = asked(count, |bench, branch, count| {
            let beside = bench.add(LATE[1], 0, vec![branch]);
            let mut last = branch;
            for run in 0..count / 500 {
                let first = bench.stored.nodes.len();
                // Every other run is judged twice, as one that was refused and comes again.
                for _ in 0..=run % 2 {
                    bench.stored.nodes.truncate(first);
                    bench.lengths[usize::from(LATE[0])] = run as u64 * 500;
                    let mut prev = last;
                    for number in first..first + 500 {
                        let node = bench.node(LATE[0], 0, vec![prev, beside], number);
                        let standing = bench.linearizer.check_in_run(&node, None, &bench.stored).unwrap();
                        prev = node.number;
                        bench.stored.nodes.push((node, standing));
                    }
                }
                for (node, standing) in &bench.stored.nodes[first..] {
                    bench.linearizer.add(node, standing, &bench.stored).unwrap();
                }
                last = EntryNumber(bench.stored.nodes.len() as u64 - 1);
            }
        });
        assert!(asked <= 3 * count, "{asked} questions for {count} entries");
    }
}
