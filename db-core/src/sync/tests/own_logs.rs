//! Stores that are behind their own logs, and what they are shown of those.

use super::*;

/// What an end was told of its own logs, each time: whose they are and how long.
fn told(world: &World, end: usize) -> Vec<Vec<(WriterKey, u64)>> {
    let ends = |ends: &Vec<Tip>| ends.iter().map(|end| (end.writer, end.length)).collect();
    world.ends[end].own_logs_elsewhere.iter().map(ends).collect()
}

#[test]
fn a_store_that_lost_entries_of_its_own_is_told() {
    let mut newer = written(1..3, 1, 1);
    let older = newer.clone();
    newer.write(1, 2);
    let mut world = World::new(vec![older, newer]);
    let own = |dialer, nonce| SessionConfig { own_writer: MemoryLog::writer(1), ..config(0, dialer, nonce) };
    world.connect_end(0, Session::new(own(true, 1)));
    world.connect_end(1, Session::new(config(1, false, 2)));
    world.start();
    world.run();
    assert_eq!(told(&world, 0), [[(MemoryLog::writer(1), 3)]]);
    assert!(told(&world, 1).is_empty());
}

#[test]
fn a_store_is_told_also_of_entries_under_keys_that_it_has_replaced() {
    let mut newer = written(1..4, 1, 1);
    let older = newer.clone();
    newer.write(1, 2);
    newer.write(2, 1);
    let mut world = World::new(vec![older, newer]);
    let own = |dialer, nonce| SessionConfig {
        own_writer: MemoryLog::writer(3),
        replaced_keys: vec![MemoryLog::writer(2), MemoryLog::writer(2), MemoryLog::writer(7)],
        ..config(0, dialer, nonce)
    };
    world.connect_end(0, Session::new(own(true, 1)));
    world.connect_end(1, Session::new(config(1, false, 2)));
    world.start();
    world.run();
    assert_eq!(told(&world, 0), [[(MemoryLog::writer(2), 2)]]);
    assert!(told(&world, 1).is_empty());
}

#[test]
fn a_store_is_told_of_all_its_logs_at_once() {
    let mut newer = written(1..4, 1, 1);
    let older = newer.clone();
    newer.write(2, 1);
    newer.write(1, 2);
    let mut world = World::new(vec![older, newer]);
    let own = SessionConfig {
        own_writer: MemoryLog::writer(1),
        replaced_keys: vec![MemoryLog::writer(2)],
        ..config(0, true, 1)
    };
    world.connect_end(0, Session::new(own));
    world.connect_end(1, Session::new(config(1, false, 2)));
    world.start();
    world.run();
    let [at_once] = &told(&world, 0)[..] else { panic!("told {} times", told(&world, 0).len()) };
    assert_eq!(
        BTreeSet::from_iter(at_once),
        BTreeSet::from([&(MemoryLog::writer(1), 3), &(MemoryLog::writer(2), 2)])
    );
}

#[test]
fn what_is_shown_of_our_own_log_counts_only_with_our_signature() {
    let older = written(1..3, 1, 1);
    let mut newer = older.clone();
    newer.write(1, 2);
    let own = |log: &MemoryLog| {
        let last = log.run_at(log.end() - 1).unwrap().unwrap().run;
        (last.entries().last().unwrap().header.encode(), *last.signature())
    };
    let (header, signature) = own(&newer);
    let config = || SessionConfig { own_writer: MemoryLog::writer(1), ..config(0, false, 1) };
    let show = |header: &[u8], signature: &[u8; 64]| {
        Session::new(config()).look_at_head(header, signature, &older).unwrap()
    };
    assert_eq!(show(&header, &signature).unwrap().map(|end| end.length), Some(3));
    assert!(show(&header, &[0; 64]).is_err());
    assert!(show(&header[1..], &signature).is_err());
    let of_another = own(&older);
    assert!(show(&of_another.0, &of_another.1).is_err(), "it is the second writer's");
}
