//! Which entries are refused, and that hostile numbers cost nothing and break nothing.

use std::collections::BTreeSet;

use db_core::EntryHash;
use db_core::linearizer::{EntryNumber, IllegalEntry, Linearizer, Position};

use super::model::{Item, World, writer};
use super::replica::Replica;

fn item(world: &World, who: u8, seq: u64, epoch: u64, wave: u64, parents: &[usize]) -> Item {
    let mut hash = [0; 32];
    hash[0] = world.items.len() as u8;
    Item {
        hash: EntryHash::from_bytes(hash),
        writer: writer(who),
        seq,
        time: 0,
        epoch,
        wave,
        parents: parents.to_vec(),
        sets: None,
        is_ack: false,
    }
}

/// A world of its own, with one replica that holds all of it.
struct Bench {
    world: World,
    replica: Replica,
}

impl Bench {
    fn new(indexers: u8) -> Self {
        let world = World::new((0..indexers).map(writer).collect());
        Self { replica: Replica::new(&world), world }
    }

    fn add(
        &mut self,
        who: u8,
        seq: u64,
        epoch: u64,
        wave: u64,
        parents: &[usize],
    ) -> Result<usize, IllegalEntry> {
        let item = item(&self.world, who, seq, epoch, wave, parents);
        self.add_item(item)
    }

    fn add_item(&mut self, item: Item) -> Result<usize, IllegalEntry> {
        let mut world = self.world.clone();
        let id = world.push(item);
        let before = self.replica.outcome();
        match self.replica.receive(&world, id) {
            Ok(_) => self.world = world,
            Err(illegal) => {
                assert_eq!(self.replica.outcome(), before, "a refused entry changes nothing");
                return Err(illegal);
            }
        }
        Ok(id)
    }
}

#[test]
fn waves_advance_only_behind_a_majority() {
    let mut bench = Bench::new(3);
    let a = bench.add(0, 0, 0, 1, &[]).unwrap();
    let illegal = IllegalEntry::AdvanceWithoutMajority { carried: 2, majority: 2 };
    assert_eq!(bench.add(0, 1, 0, 2, &[a]), Err(illegal));
    let b = bench.add(1, 0, 0, 1, &[]).unwrap();
    assert_eq!(bench.add(0, 1, 0, 2, &[a]), Err(illegal), "held, but not in the entry's past");
    let a = bench.add(0, 1, 0, 2, &[a, b]).unwrap();
    let b = bench.add(1, 1, 0, 3, &[b, a]).unwrap();
    bench.add(2, 0, 0, 4, &[b]).expect("a laggard may jump");
}

#[test]
fn waves_never_decrease() {
    let mut bench = Bench::new(2);
    let a = bench.add(0, 0, 0, 1, &[]).unwrap();
    let illegal = IllegalEntry::WaveDecreased { carried: 0, before: 1 };
    assert_eq!(bench.add(0, 1, 0, 0, &[a]), Err(illegal));
}

#[test]
fn a_writer_that_is_no_indexer_carries_no_wave_and_no_unknown_epoch() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.add(5, 0, 0, 1, &[]), Err(IllegalEntry::WaveOfNonIndexer { wave: 1 }));
    assert_eq!(bench.add(5, 0, 3, 0, &[]), Err(IllegalEntry::WrongEpoch { carried: 3, known: 0 }));
    bench.add(5, 0, 0, 0, &[]).unwrap();
}

#[test]
fn the_next_epoch_is_carried_by_those_who_know_its_beginning_and_by_nobody_else() {
    let mut bench = Bench::new(1);
    let mut change = item(&bench.world, 0, 0, 0, 1, &[]);
    change.sets = Some(vec![writer(0), writer(1)]);
    let change = bench.add_item(change).unwrap();
    assert_eq!(bench.replica.linearizer.epoch(), 1);

    assert_eq!(bench.add(0, 1, 0, 2, &[change]), Err(IllegalEntry::WrongEpoch { carried: 0, known: 1 }));
    assert_eq!(bench.add(0, 1, 2, 0, &[change]), Err(IllegalEntry::WrongEpoch { carried: 2, known: 1 }));
    assert_eq!(bench.add(1, 0, 1, 1, &[]), Err(IllegalEntry::WaveOfNonIndexer { wave: 1 }));
    assert_eq!(bench.add(1, 0, 1, 0, &[]), Err(IllegalEntry::WrongEpoch { carried: 1, known: 0 }));
    bench.add(0, 1, 1, 1, &[change]).unwrap();
    let b = bench.add(1, 0, 0, 0, &[]).unwrap();
    bench.add(1, 1, 1, 1, &[b, change]).unwrap();
}

#[test]
fn an_unknown_parent_is_named() {
    let bench = Bench::new(1);
    let mut world = bench.world.clone();
    let id = world.push(item(&world, 0, 0, 0, 1, &[]));
    let mut node = bench.replica.node(&world, id);
    node.parents.push(EntryNumber(77));
    let refused = bench.replica.linearizer.check(&node, &bench.replica.stored);
    assert_eq!(refused, Err(IllegalEntry::UnknownParent(EntryNumber(77))));
}

#[test]
fn a_single_indexer_may_jump_to_the_last_wave_and_is_stuck_there() {
    let mut bench = Bench::new(1);
    let a = bench.add(0, 0, 0, 1, &[]).unwrap();
    let b = bench.add(0, 1, 0, u64::MAX - 1, &[a]).unwrap();
    let c = bench.add(0, 2, 0, u64::MAX, &[b]).unwrap();
    assert_eq!(bench.replica.confirmed, [a, b, c]);
    bench.add(0, 3, 0, u64::MAX, &[c]).unwrap();
    assert_eq!(bench.replica.confirmed, [a, b, c]);
    let position = bench.replica.linearizer.next_position(&writer(0), &BTreeSet::new());
    assert_eq!(position, Position { epoch: 0, wave: u64::MAX });
    assert!(!bench.replica.linearizer.wants_ack(&writer(0), &BTreeSet::new()));
}

#[test]
fn without_indexers_nothing_is_confirmed_and_everything_is_ordered() {
    let mut bench = Bench::new(0);
    let a = bench.add(0, 0, 0, 0, &[]).unwrap();
    let b = bench.add(1, 0, 0, 0, &[a]).unwrap();
    assert_eq!(bench.replica.outcome().tail, [a, b]);
    assert!(bench.replica.confirmed.is_empty());
}

#[test]
fn damaged_snapshots_are_refused_without_panic() {
    let mut bench = Bench::new(2);
    let a = bench.add(0, 0, 0, 1, &[]).unwrap();
    let b = bench.add(1, 0, 0, 1, &[a]).unwrap();
    bench.add(0, 1, 0, 2, &[a, b]).unwrap();
    assert!(!bench.replica.confirmed.is_empty());
    let snapshot = bench.replica.linearizer.snapshot();
    for cut in 0..snapshot.len() {
        assert!(Linearizer::restore(&snapshot[..cut], [], &[], &bench.replica.stored).is_err());
        for bit in 0..8 {
            let mut flipped = snapshot.clone();
            flipped[cut] ^= 1 << bit;
            // Keys and hashes may be anything; whatever is read can be used.
            if let Ok(mut read) = Linearizer::restore(&flipped, [], &[], &bench.replica.stored) {
                while read.next_part(&bench.replica.stored).is_some() {
                    read.finish_part(&[], &bench.replica.stored).unwrap();
                }
                read.next_position(&writer(0), &BTreeSet::new());
                assert!(!read.snapshot().is_empty());
            }
        }
    }
}
