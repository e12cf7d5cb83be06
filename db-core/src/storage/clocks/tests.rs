use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use redb::ReadableDatabase;

use super::*;

/// An entry of a random graph: who writes it, after which of the writer's entries, and which entries it names, each chosen
/// by a number that is taken modulo what there is.
type Drawn = (u8, u8, Vec<u16>);

#[derive(Debug, Clone)]
struct Drawing {
    place: LogPlace,
    prev: Option<usize>,
    continues: bool,
    parents: Vec<usize>,
}

fn key(writer: u8) -> WriterKey {
    WriterKey::from_bytes([writer; 32])
}

/// The graph that the drawn numbers stand for. `forks` of 16 entries leave their log somewhere before its end.
fn graph(drawn: &[Drawn], writers: u8, forks: u8) -> Vec<Drawing> {
    let mut entries: Vec<Drawing> = Vec::new();
    for (number, (writer, prev, parents)) in drawn.iter().enumerate() {
        let writer = writer % writers;
        let own: Vec<usize> = (0..number).filter(|at| entries[*at].place.writer == key(writer)).collect();
        let tips: Vec<usize> =
            own.iter().copied().filter(|at| entries.iter().all(|other| other.prev != Some(*at))).collect();
        let prev = if prev % 16 < forks {
            own.get(usize::from(*prev) / 16 % (own.len() + 1)).copied()
        } else {
            tips.get(usize::from(*prev) / 16 % tips.len().max(1)).copied()
        };
        let continues = match prev {
            Some(prev) => tips.contains(&prev),
            None => own.iter().all(|at| entries[*at].place.seq > 0),
        };
        let parents: BTreeSet<usize> = if number == 0 {
            BTreeSet::new()
        } else {
            parents.iter().map(|at| usize::from(*at) % number).collect()
        };
        entries.push(Drawing {
            place: LogPlace {
                writer: key(writer),
                seq: prev.map_or(0, |prev| entries[prev].place.seq + 1),
                number: number as u64,
            },
            prev,
            continues,
            parents: parents.into_iter().collect(),
        });
    }
    entries
}

/// The longest stretches of all logs in each entry's past, by walking.
fn reachable(entries: &[Drawing]) -> Vec<BTreeMap<WriterKey, u64>> {
    let mut pasts: Vec<BTreeSet<usize>> = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let mut past = BTreeSet::from([number]);
        for parent in entry.prev.iter().chain(&entry.parents) {
            past.extend(&pasts[*parent]);
        }
        pasts.push(past);
    }
    let lengths = |past: &BTreeSet<usize>| {
        let mut lengths = BTreeMap::new();
        for at in past {
            let LogPlace { writer, seq, .. } = entries[*at].place;
            let length = lengths.entry(writer).or_insert(0);
            *length = (seq + 1).max(*length);
        }
        lengths
    };
    pasts.iter().map(lengths).collect()
}

fn noted<T>(entries: &[Drawing], check: impl FnOnce(&Clocks<'_>) -> T) -> T {
    let memory = redb::backends::InMemoryBackend::new();
    let database = redb::Database::builder().create_with_backend(memory).unwrap();
    let transaction = database.begin_write().unwrap();
    let checked = {
        let mut clocks = Clocks::open(&transaction).unwrap();
        for entry in entries {
            let parents: Vec<LogPlace> = entry.parents.iter().map(|at| entries[*at].place).collect();
            let prev = entry.prev.map(|prev| entries[prev].place);
            clocks.note(&entry.place, prev.as_ref(), entry.continues, &parents).unwrap();
        }
        check(&clocks)
    };
    transaction.commit().unwrap();
    assert!(database.begin_read().is_ok());
    checked
}

fn check(drawn: &[Drawn], writers: u8, forks: u8) {
    let entries = graph(drawn, writers, forks);
    let expected = reachable(&entries);
    noted(&entries, |clocks| {
        for (entry, lengths) in entries.iter().zip(&expected) {
            for writer in 0..writers {
                let length = lengths.get(&key(writer)).copied().unwrap_or_default();
                assert_eq!(
                    clocks.known(&entry.place, &key(writer)).unwrap(),
                    length,
                    "{entry:?} of {writer}"
                );
            }
        }
    });
}

fn drawn(entries: usize) -> impl Strategy<Value = Vec<Drawn>> {
    let parents = proptest::collection::vec(any::<u16>(), 0..4);
    proptest::collection::vec((any::<u8>(), any::<u8>(), parents), 1..entries)
}

proptest! {
    #[test]
    fn what_is_known_is_what_can_be_reached(drawn in drawn(60), writers in 1_u8..8) {
        check(&drawn, writers, 0);
    }

    #[test]
    fn what_is_known_is_what_can_be_reached_of_many_writers(drawn in drawn(120), writers in 17_u8..80) {
        check(&drawn, writers, 0);
    }

    #[test]
    fn what_is_known_is_what_can_be_reached_where_logs_are_forked(drawn in drawn(60), writers in 1_u8..5) {
        check(&drawn, writers, 3);
    }
}

#[test]
fn a_newcomer_knows_all_that_a_long_log_with_many_parents_knows() {
    let place =
        |writer: u8, seq: u64, number: usize| LogPlace { writer: key(writer), seq, number: number as u64 };
    let mut entries: Vec<Drawing> = Vec::new();
    for seq in 0..512 {
        for writer in 0..2 {
            let number = entries.len();
            entries.push(Drawing {
                place: place(writer, seq, number),
                prev: number.checked_sub(2),
                continues: true,
                parents: number.checked_sub(1).into_iter().collect(),
            });
        }
    }
    let last = entries.len();
    entries.push(Drawing { place: place(2, 0, last), prev: None, continues: true, parents: vec![last - 1] });
    noted(&entries, |clocks| {
        for writer in 0..2 {
            assert_eq!(clocks.known(&entries[last].place, &key(writer)).unwrap(), 512);
        }
    });
}

#[test]
fn logs_that_do_not_meet_leave_nothing_behind() {
    let entries: Vec<Drawing> = (0..10)
        .map(|seq| Drawing {
            place: LogPlace { writer: key(1), seq, number: seq },
            prev: (seq as usize).checked_sub(1),
            continues: true,
            parents: Vec::new(),
        })
        .collect();
    noted(&entries, |clocks| {
        assert!(clocks.noted.is_empty().unwrap() && clocks.trees.node_count().unwrap() == 0);
    });
}

#[test]
fn what_a_newcomer_notes_does_not_depend_on_how_many_it_knows() {
    let key = |writer: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&writer.to_be_bytes());
        WriterKey::from_bytes(bytes)
    };
    let place = |writer: u64| LogPlace { writer: key(writer), seq: 0, number: writer };
    let memory = redb::backends::InMemoryBackend::new();
    let database = redb::Database::builder().create_with_backend(memory).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut clocks = Clocks::open(&transaction).unwrap();
    let mut nodes_of = |from: u64, to: u64| {
        let before = clocks.trees.node_count().unwrap();
        for writer in from..to {
            let parents: Vec<_> = writer.checked_sub(1).map(place).into_iter().collect();
            clocks.note(&place(writer), None, true, &parents).unwrap();
        }
        assert_eq!(clocks.known(&place(to - 1), &key(3)).unwrap(), 1);
        clocks.trees.node_count().unwrap() - before
    };
    assert!(nodes_of(0, 200) <= 2 * 200);
    assert!(nodes_of(200, 4_000) <= 3 * 3_800, "a tree of three levels holds 4096");
    assert_eq!(nodes_of(4_000, 4_050), 3 * 50);
}
