//! Stores that are behind their own logs, and what they are shown of those.

use super::*;

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
    assert_eq!(world.ends[0].own_log_elsewhere.map(|tip| tip.length), Some(3));
    assert_eq!(world.ends[1].own_log_elsewhere, None);
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
    let told = world.ends[0].own_log_elsewhere.unwrap();
    assert_eq!((told.writer, told.length), (MemoryLog::writer(2), 2));
    assert_eq!(world.ends[1].own_log_elsewhere, None);
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
        let mut out = Vec::new();
        let shown = Session::new(config()).look_at_head(header, signature, &older, &mut out).unwrap();
        (shown, out)
    };
    assert!(matches!(&show(&header, &signature), (Ok(()), out) if out.len() == 1));
    assert!(show(&header, &[0; 64]).0.is_err());
    assert!(show(&header[1..], &signature).0.is_err());
    let of_another = own(&older);
    assert!(show(&of_another.0, &of_another.1).0.is_err(), "it is the second writer's");
}
