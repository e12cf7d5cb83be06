//! The confirmed view: what a majority read sees.

use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;

use bson::rawdoc;
use proptest::prelude::*;

use super::steps::{carry_out, step};
use super::*;
use crate::error::Error;
use crate::view::{ReadView, catalog, keyspace};

type Keys = Vec<(Vec<u8>, Vec<u8>)>;

impl Peer {
    fn confirmed_view(&self) -> ViewSnapshot {
        self.engine.view().unwrap().confirmed().unwrap()
    }

    /// What the view holds once the whole tail is undone, in a transaction that is given up.
    fn without_tail(&mut self) -> Keys {
        let mut found = Vec::new();
        let given_up: Result<()> = self.engine.run(|batch| {
            batch.undo_from(0, &mut |_| false)?;
            let nobody = batch.nobody();
            found = batch.with_view(order::NO_ENTRY, &nobody, |view, _| Ok(keys_of(view)))?;
            assert!(batch.tables.overwritten_is_empty()?, "nothing is left of a tail that is undone");
            Err(Error::invalid("given up"))
        });
        assert!(given_up.is_err() && self.engine.recover());
        found
    }
}

fn keys_of(view: &impl ReadView) -> Keys {
    let range = view.range((Bound::Unbounded, Bound::Unbounded)).unwrap();
    range
        .map(|item| item.unwrap())
        .map(|(key, value)| (key.value().to_vec(), value.value().to_vec()))
        .collect()
}

/// What the catalog leads to: nobody reads the entries and marks of an index that it does not know.
fn known(keys: Keys, view: &ViewSnapshot) -> Keys {
    let names = catalog::collection_names(view).unwrap();
    let metas = names.iter().map(|name| catalog::collection(view, name).unwrap().unwrap());
    let entries = metas.flat_map(|meta| meta.indexes).map(|index| keyspace::entries(index.id));
    let prefixes: Vec<_> = entries.flat_map(|entries| [keyspace::mark(&entries), entries]).collect();
    let of_indexes = [keyspace::entries(0)[0], keyspace::mark(&keyspace::entries(0))[0]];
    let is_known =
        |key: &[u8]| !of_indexes.contains(&key[0]) || prefixes.iter().any(|known| key.starts_with(known));
    keys.into_iter().filter(|(key, _)| is_known(key)).collect()
}

fn check(peer: &mut Peer) {
    let expected = peer.without_tail();
    let view = peer.confirmed_view();
    assert_eq!(known(keys_of(&view), &view), expected);

    let (mut backwards, mut range) = (Vec::new(), view.range((Bound::Unbounded, Bound::Unbounded)).unwrap());
    while let Some(item) = range.next_back() {
        let (key, value) = item.unwrap();
        backwards.push((key.value().to_vec(), value.value().to_vec()));
    }
    backwards.reverse();
    assert_eq!(known(backwards, &view), expected);

    for pair in expected.windows(2) {
        let [(key, value), (next, _)] = pair else { continue };
        assert_eq!(view.get(key).unwrap().unwrap().value(), value);
        let between = view.range((Bound::Excluded(key.clone()), Bound::Excluded(next.clone()))).unwrap();
        let between = between.map(|item| item.unwrap()).map(|(key, _)| (key.value().to_vec(), Vec::new()));
        assert_eq!(known(between.collect(), &view), [], "nothing is between neighbours");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_majority_read_sees_the_view_as_it_is_without_the_tail(
        indexers in 1_usize..4,
        steps in prop::collection::vec(step(3, true), 1..30),
    ) {
        let identity = open();
        let mut peers: Vec<Peer> = (1..=3).map(|number| peer(number, &identity)).collect();
        let writers = (1..=indexers as u8).map(writer_key).collect();
        peers[0].create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
        peers[0].call(Request::SetIndexers { writers }).unwrap();
        let runs = peers[0].runs();
        for peer in &mut peers[1..] {
            peer.receive(&runs);
        }
        for step in steps {
            let changed = carry_out(&mut peers, step);
            check(&mut peers[changed]);
        }
        for peer in &mut peers {
            check(peer);
        }
        let [a, b, c] = &mut peers[..] else { unreachable!() };
        confirm(&mut [&mut *a, &mut *b, &mut *c]);
        let mut fresh = peer(9, &identity);
        fresh.receive(&a.runs());
        for peer in [&*a, &*b, &*c, &fresh] {
            peer.check_statistics();
            prop_assert_eq!(peer.order(), a.order());
            prop_assert_eq!(peer.digest(), a.digest());
        }
    }
}

#[test]
fn no_reader_of_what_is_confirmed_passes_all_that_the_tail_has_inserted() {
    let identity = open();
    let (mut a, mut b, mut peer) = (peer(1, &identity), peer(2, &identity), peer(3, &identity));
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    b.receive(&a.runs());
    let insert = |peer: &mut Peer, ids: std::ops::Range<i32>| {
        for id in ids {
            peer.insert(rawdoc! { "_id": id, "n": id }).unwrap();
        }
    };
    insert(&mut a, 0..20);
    confirm(&mut [&mut a, &mut b]);
    insert(&mut a, 20..120);
    peer.receive(&a.runs());
    insert(&mut peer, 120..220);

    // The newest ten documents that are confirmed, and how many keys that were not had to be passed to find them.
    let newest = |view: &ViewSnapshot| -> Keys {
        let mut range = view.range(keyspace::all_documents()).unwrap();
        let found = std::iter::from_fn(|| range.next_back()).take(10).map(|item| item.unwrap());
        found.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).collect()
    };
    let read = |peer: &Peer| {
        let (view, passed) =
            (peer.engine.view().unwrap(), |peer: &Peer| peer.engine.gaps.passed.load(Relaxed));
        let (before, found) = (passed(peer), newest(&view.confirmed().unwrap()));
        (found, passed(peer) - before)
    };
    let (of_twenty, passed) = read(&peer);
    assert!(passed <= 5, "the first reader passes {passed} keys");
    assert_eq!(read(&peer).0, of_twenty);
    let mut peer = peer.restart();
    assert!(peer.engine.has_to_survey());
    peer.engine.survey_until(&mut || false);
    assert!(!peer.engine.has_to_survey());
    let (again, passed) = read(&peer);
    assert_eq!(again, of_twenty);
    assert!(passed <= 5, "{passed} keys were passed after opening");
    let earlier = peer.confirmed_view();
    confirm(&mut [&mut a, &mut b]);
    peer.receive(&a.runs());
    assert!(
        (100..110).contains(&peer.engine.status().unwrap().tail),
        "its own are not confirmed, nor the last acks"
    );
    let (of_more, passed) = read(&peer);
    assert!(passed <= 5, "{passed} keys were passed once more was confirmed");
    let mut without_tail = peer.without_tail();
    without_tail.retain(|(key, _)| keyspace::split_document(key).is_some());
    without_tail.reverse();
    assert_eq!(of_more, without_tail[..10]);
    assert_ne!(of_more, of_twenty);
    assert_eq!(
        newest(&earlier),
        of_twenty,
        "whoever reads on in an earlier state sees what was confirmed then"
    );
    check(&mut peer);
}

/// The number of the index by `n`, if that is confirmed.
fn confirmed_index(peer: &Peer) -> Option<u32> {
    let meta = catalog::collection(&peer.confirmed_view(), "c").unwrap()?;
    meta.indexes.iter().find(|index| index.definition.name() == "n_1").map(|index| index.id)
}

/// How many keys that are not confirmed a reader passes who wants the last ten entries of that index, and how many it gets.
fn passed_in_index(peer: &Peer) -> (u64, usize) {
    let passed = || peer.engine.gaps.passed.load(Relaxed);
    let (confirmed, before) = (peer.engine.view().unwrap().confirmed().unwrap(), passed());
    let entries = keyspace::entries(confirmed_index(peer).unwrap());
    let mut range = confirmed.range(keyspace::prefix_bounds(&entries)).unwrap();
    let found = std::iter::from_fn(|| range.next_back()).take(10).inspect(|item| assert!(item.is_ok()));
    let found = found.count();
    (passed() - before, found)
}

#[test]
fn a_gap_in_an_index_is_found_whatever_lies_alone_among_the_documents() {
    let identity = open();
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    for id in 0..100 {
        a.insert(rawdoc! { "_id": 2 * id, "n": id }).unwrap();
    }
    b.receive(&a.runs());
    confirm(&mut [&mut a, &mut b]);
    for id in 0..100 {
        a.insert(rawdoc! { "_id": 2 * id + 1, "n": 1_000 + id }).unwrap();
    }
    assert!(a.engine.status().unwrap().tail >= 100);
    let (passed, found) = passed_in_index(&a);
    assert_eq!(found, 10);
    assert!(passed <= 5, "{passed} keys");
    check(&mut a);
}

#[test]
fn what_lies_in_an_index_that_the_tail_has_built_is_looked_through_once_that_is_confirmed() {
    let identity = open();
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    for id in 0..20 {
        a.insert(rawdoc! { "_id": id, "n": id }).unwrap();
    }
    b.receive(&a.runs());
    confirm(&mut [&mut a, &mut b]);
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    b.receive(&a.runs());
    assert!(b.ack());
    for id in 20..220 {
        a.insert(rawdoc! { "_id": id, "n": id }).unwrap();
    }
    assert_eq!(confirmed_index(&a), None);
    a.receive(&b.runs());
    assert!(a.ack());
    assert!(a.engine.status().unwrap().tail >= 200);
    a.engine.survey_until(&mut || false);
    let (passed, found) = passed_in_index(&a);
    assert_eq!(found, 10);
    assert!(passed <= 5, "{passed} keys");
    check(&mut a);
}

#[test]
fn without_indexers_nothing_is_confirmed_and_with_one_everything() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let confirmed = a.confirmed_view();
    assert!(catalog::collection(&confirmed, "c").unwrap().is_none());
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    assert_eq!(digest(&a.confirmed_view()).unwrap(), a.digest());
}

#[test]
fn a_scan_of_what_is_confirmed_reads_one_row_more_for_each_key_that_was_changed_however_often() {
    let identity = open();
    let (mut peer, mut other) = (peer(1, &identity), peer(2, &identity));
    peer.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    for id in 0..40 {
        peer.insert(rawdoc! { "_id": id, "n": id }).unwrap();
    }
    peer.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    peer.settle();
    assert_eq!(peer.engine.status().unwrap().tail, 0, "all is confirmed");
    let rows = |peer: &Peer| peer.engine.view().unwrap().overwritten_rows().unwrap();
    assert_eq!(rows(&peer), 0);

    // The other indexer is away: every change lengthens the tail.
    let changes = |peer: &mut Peer, rounds: i32| {
        for round in 0..rounds * 20 {
            peer.update(rawdoc! { "_id": round % 20 }, rawdoc! { "$inc": { "seen": 1 } }).unwrap();
        }
    };
    changes(&mut peer, 1);
    let once = rows(&peer);
    changes(&mut peer, 9);
    assert_eq!(peer.engine.status().unwrap().tail, 200);
    assert_eq!(rows(&peer), once, "a tail ten times as long, over the same documents");
    check(&mut peer);

    other.receive(&peer.runs());
    other.ack();
    peer.receive(&other.runs());
    assert_eq!(rows(&peer), rows(&other));
    check(&mut peer);
}
