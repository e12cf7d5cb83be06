//! The order alone: entries a second by the number of writers and the length of the tail, a late entry by the place it goes to,
//! and after how many rounds of messages a write is confirmed.
//!
//! `cargo bench -p combdb-benches --bench linearizer`; words behind `--` name the parts to run (`writers`, `apart`, `late`,
//! `rounds`), none of them for all.
#![allow(clippy::print_stdout)] // the tables are what it is for
#![allow(clippy::expect_used)] // a benchmark that meets the unexpected ends there

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use combdb_benches::{Orderer, node, writer};
use db_core::linearizer::{EntryNumber, Node};

/// How many entries are timed.
const ENTRIES: usize = 10_000;
/// As many entries arrive together as a frame of replication may hold.
const FRAME_ENTRIES: usize = 64;
const ROUNDS: usize = 5;
/// How many indexers there are, where there are so many writers.
const INDEXERS: usize = 3;

fn main() {
    // cargo hands the benchmark `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("writers") {
        by_writers();
    }
    if wanted("apart") {
        by_branches();
    }
    if wanted("late") {
        by_place();
    }
    if wanted("rounds") {
        by_indexers();
    }
}

/// Writers in turn, each having seen everything before.
fn by_writers() {
    println!(
        "| writers in turn | confirmed as they come, entries/s | longest tail | tail of 0, entries/s | of 1000 | of 10000 | of 100000 |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for writers in [1, 3, 8, 32, 64, 1_000] {
        let indexers = INDEXERS.min(writers);
        let mut origin = Orderer::new(indexers);
        let mut longest = 0;
        let nodes: Vec<Node> = (0..ENTRIES)
            .map(|number| {
                let node = origin.next(number % writers, number / writers, seen(number, writers));
                origin.receive(&node);
                longest = longest.max(origin.linearizer().tail_len());
                node
            })
            .collect();
        print!("| {writers} | {:.0} | {longest} |", speed(|| Orderer::new(indexers), &nodes));
        for tail in [0, 1_000, 10_000, 100_000] {
            // Nobody votes, so that nothing leaves the tail.
            let nodes: Vec<Node> = (0..tail + ENTRIES)
                .map(|number| node(number, number % writers, number / writers, seen(number, writers)))
                .collect();
            let (before, timed) = nodes.split_at(tail);
            let filled = || {
                let mut orderer = Orderer::new(indexers);
                take(&mut orderer, before);
                orderer
            };
            print!(" {:.0} |", speed(filled, timed));
        }
        println!();
    }
}

/// Logs whose authors have never heard of one another, one arriving after the other.
fn by_branches() {
    println!("\n| logs written apart | entries each | entries/s |\n| ---: | ---: | ---: |");
    for branches in [1, 2, 8, 64, 1_000] {
        let length = ENTRIES / branches;
        let nodes: Vec<Node> = (0..length * branches)
            .map(|number| {
                let seq = number % length;
                let parents = if seq == 0 { Vec::new() } else { vec![EntryNumber(number as u64 - 1)] };
                node(number, number / length, seq, parents)
            })
            .collect();
        println!("| {branches} | {length} | {:.0} |", speed(|| Orderer::new(INDEXERS), &nodes));
    }
}

/// One entry that nobody knew of, and how many of the tail stand behind it then.
fn by_place() {
    const TAIL: usize = 20_000;
    println!(
        "\n| late entry before, of a tail of {TAIL} | entries to apply again | µs |\n| ---: | ---: | ---: |"
    );
    for depth in [1, 100, 10_000] {
        let mut times = Vec::new();
        let mut again = 0;
        for _ in 0..ROUNDS {
            let mut orderer = Orderer::new(INDEXERS);
            let tail: Vec<Node> = (0..TAIL).map(|number| node(number, 1, number, seen(number, 1))).collect();
            take(&mut orderer, &tail);
            // Just before the entry that has `depth - 1` behind it.
            let late = Node { time: ((TAIL - depth) * 2 - 1) as u64, ..node(TAIL, 2, 0, Vec::new()) };
            let begin = Instant::now();
            orderer.receive(&late);
            again = orderer.order() - 1;
            times.push(begin.elapsed());
        }
        println!("| {depth} | {again} | {:.1} |", median(times).as_secs_f64() * 1e6);
    }
}

/// How many rounds a write takes, in each of which everybody sends what is new to everybody and then acks if it helps.
fn by_indexers() {
    println!(
        "\n| indexers | rounds until all know that an indexer's write is confirmed: mean, most | another writer's: mean, most | acks a write |\n\
         | ---: | ---: | ---: | ---: |"
    );
    for indexers in [1, 3, 5] {
        let [by_indexer, by_other] = [true, false].map(|by_indexer| {
            let mut network = Network::new(indexers);
            let rounds: Vec<usize> = (0..60)
                .map(|turn| network.confirm_write(if by_indexer { turn % indexers } else { indexers }))
                .collect();
            (rounds, network.acks)
        });
        let show = |rounds: &[usize]| {
            let mean = rounds.iter().sum::<usize>() as f64 / rounds.len() as f64;
            format!("{mean:.2}, {}", rounds.iter().max().copied().unwrap_or_default())
        };
        let acks = (by_indexer.1 + by_other.1) as f64 / (by_indexer.0.len() + by_other.0.len()) as f64;
        println!("| {indexers} | {} | {} | {acks:.2} |", show(&by_indexer.0), show(&by_other.0));
    }
}

/// Indexers, and one writer that is none, all connected.
struct Network {
    indexers: usize,
    /// Every peer takes everything in the same order, so one stands for all.
    peers: Orderer,
    lengths: BTreeMap<usize, usize>,
    heads: Vec<EntryNumber>,
    confirmed: BTreeSet<EntryNumber>,
    acks: usize,
}

impl Network {
    fn new(indexers: usize) -> Self {
        Self {
            indexers,
            peers: Orderer::new(indexers),
            lengths: BTreeMap::new(),
            heads: Vec::new(),
            confirmed: BTreeSet::new(),
            acks: 0,
        }
    }

    /// Everybody having everything, `by` writes; gives the rounds until all know that it is confirmed, and waits until it is quiet.
    fn confirm_write(&mut self, by: usize) -> usize {
        let write = self.append(&[by], false)[0];
        let mut confirmed_after = None;
        for round in 1.. {
            if self.confirmed.contains(&write) && confirmed_after.is_none() {
                confirmed_after = Some(round);
            }
            let gone = BTreeSet::new();
            let wishes: Vec<usize> = (0..self.indexers)
                .filter(|at| self.peers.linearizer().wants_ack(&writer(*at), &gone))
                .collect();
            if wishes.is_empty() {
                break;
            }
            self.acks += wishes.len();
            self.append(&wishes, true);
        }
        confirmed_after.expect("acks confirm everything")
    }

    /// Each of `by` appends an entry that has seen everything but those of the others.
    fn append(&mut self, by: &[usize], is_ack: bool) -> Vec<EntryNumber> {
        let first = self.peers.entries() as u64;
        let mut nodes = Vec::new();
        for at in by {
            let length = self.lengths.entry(*at).or_default();
            let node = self.peers.next(*at, *length, self.heads.clone());
            let number = EntryNumber(first + nodes.len() as u64);
            let hash = db_core::EntryHash::from_bytes({
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&number.0.to_be_bytes());
                bytes
            });
            nodes.push(Node { number, hash, time: first * 2, is_ack, ..node });
            *length += 1;
        }
        for node in &nodes {
            self.confirmed.extend(self.peers.receive(node));
        }
        self.heads = nodes.iter().map(|node| node.number).collect();
        self.heads.clone()
    }
}

/// The parents of entry `number` of writers in turn.
fn seen(number: usize, writers: usize) -> Vec<EntryNumber> {
    let own = number.checked_sub(writers).filter(|_| writers > 1);
    number.checked_sub(1).into_iter().chain(own).map(|number| EntryNumber(number as u64)).collect()
}

fn take(orderer: &mut Orderer, nodes: &[Node]) {
    for frame in nodes.chunks(FRAME_ENTRIES) {
        for node in frame {
            orderer.receive(node);
        }
        orderer.order();
    }
}

/// How many of the entries are taken in a second.
fn speed(make: impl Fn() -> Orderer, nodes: &[Node]) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let mut orderer = make();
        let begin = Instant::now();
        take(&mut orderer, nodes);
        begin.elapsed()
    });
    nodes.len() as f64 / median(times.collect()).as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
