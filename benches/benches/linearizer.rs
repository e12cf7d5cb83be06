//! Linearizer throughput: entries a second by the number of writers, and two long branches that meet.

#![allow(clippy::expect_used)] // a benchmark whose own graph is wrong has to stop

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use db_core::linearizer::{EntryNumber, Linearizer, Node, Past, Standing};
use db_core::{EntryHash, WriterKey};

const ENTRIES: usize = 10_000;

/// As many entries arrive together as a frame of replication may hold.
const FRAME_ENTRIES: usize = 64;

#[derive(Default)]
struct Log(Vec<(Vec<EntryNumber>, Standing)>);

impl Past for Log {
    fn standing(&self, number: EntryNumber) -> Option<Standing> {
        self.0.get(number.0 as usize).map(|(_, standing)| standing.clone())
    }

    fn parents(&self, number: EntryNumber) -> Vec<EntryNumber> {
        self.0.get(number.0 as usize).map(|(parents, _)| parents.clone()).unwrap_or_default()
    }
}

fn writer(at: usize) -> WriterKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(at as u64).to_be_bytes());
    WriterKey::from_bytes(bytes)
}

fn node(number: usize, by: usize, seq: usize, parents: Vec<EntryNumber>) -> Node {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Node {
        number: EntryNumber(number as u64),
        hash: EntryHash::from_bytes(hash),
        writer: writer(by),
        seq: seq as u64,
        time: (seq * 2) as u64,
        epoch: 0,
        wave: 0,
        parents,
        is_ack: false,
        is_fork: false,
    }
}

/// Takes an entry in as a peer does; gives how many entries it confirmed.
fn receive(linearizer: &mut Linearizer, log: &mut Log, node: &Node) -> usize {
    let standing = linearizer.check(node, log).expect("the graph is legal");
    log.0.push((node.parents.clone(), standing.clone()));
    linearizer.add(node, &standing, log).expect("nobody forks");
    let mut confirmed = 0;
    while let Some(part) = linearizer.next_part() {
        confirmed += part.entries.len();
        linearizer.finish_part(&[], log).expect("nobody forks");
    }
    confirmed
}

fn linearize(indexers: usize, nodes: &[Node]) -> usize {
    let mut linearizer = Linearizer::new((0..indexers).map(writer).collect());
    let mut log = Log::default();
    let mut confirmed = 0;
    for frame in nodes.chunks(FRAME_ENTRIES) {
        for node in frame {
            confirmed += receive(&mut linearizer, &mut log, node);
        }
        black_box(linearizer.tail().kept);
    }
    confirmed
}

/// Writers in turn, each having seen all but what the others wrote since its last turn; the first few are the indexers.
fn in_turn(writers: usize, indexers: usize) -> Vec<Node> {
    let mut linearizer = Linearizer::new((0..indexers).map(writer).collect());
    let mut log = Log::default();
    let mut nodes: Vec<Node> = Vec::new();
    for number in 0..ENTRIES {
        let by = number % writers;
        let parents = number.checked_sub(1).map(|last| EntryNumber(last as u64));
        let mut next = node(number, by, number / writers, parents.into_iter().collect());
        let position = linearizer.next_position(&writer(by), &BTreeSet::new());
        (next.epoch, next.wave) = (position.epoch, position.wave);
        if let Some(own) = number.checked_sub(writers).filter(|own| number - own > 1) {
            next.parents.push(EntryNumber(own as u64));
        }
        receive(&mut linearizer, &mut log, &next);
        nodes.push(next);
    }
    nodes
}

/// `branches` logs that have never heard of each other, one arriving after the other.
fn apart(branches: usize) -> Vec<Node> {
    let length = ENTRIES / branches;
    (0..ENTRIES)
        .map(|number| {
            let seq = number % length;
            let parents = if seq == 0 { Vec::new() } else { vec![EntryNumber(number as u64 - 1)] };
            node(number, number / length, seq, parents)
        })
        .collect()
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linearizer");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ENTRIES as u64));
    for (writers, indexers) in [(1, 1), (3, 3), (32, 3), (32, 32)] {
        let nodes = in_turn(writers, indexers);
        let name = BenchmarkId::new("in_turn", format!("{writers} writers, {indexers} indexers"));
        group.bench_function(name, |bench| {
            bench.iter_batched(|| &nodes, |nodes| linearize(indexers, nodes), BatchSize::LargeInput);
        });
    }
    for branches in [2, 8, 64] {
        let nodes = apart(branches);
        group.bench_function(BenchmarkId::new("apart", branches), |bench| {
            bench.iter_batched(|| &nodes, |nodes| linearize(3, nodes), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
