//! The confirmed view: what a majority read sees.

use std::ops::Bound;

use bson::rawdoc;
use proptest::prelude::*;

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

/// What the catalog leads to: nobody reads the entries of an index that it does not know.
fn known(keys: Keys, view: &ViewSnapshot) -> Keys {
    let names = catalog::collection_names(view).unwrap();
    let metas = names.iter().map(|name| catalog::collection(view, name).unwrap().unwrap());
    let prefixes: Vec<_> =
        metas.flat_map(|meta| meta.indexes).map(|index| keyspace::entries(index.id)).collect();
    let all_entries = keyspace::entries(0)[0];
    let is_known = |key: &[u8]| key[0] != all_entries || prefixes.iter().any(|known| key.starts_with(known));
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

#[derive(Debug, Clone)]
enum Step {
    Insert(usize, i32),
    Increment(usize, i32),
    Delete(usize, i32),
    /// A value of so many KiB, so that undo records go to the table in parts.
    Large(usize, i32),
    Drop(usize),
    Meet(usize, usize),
    Ack(usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, id) = (0_usize..3, 0_i32..6);
    prop_oneof![
        4 => (peer.clone(), id.clone()).prop_map(|(peer, id)| Step::Insert(peer, id)),
        4 => (peer.clone(), id.clone()).prop_map(|(peer, id)| Step::Increment(peer, id)),
        2 => (peer.clone(), id.clone()).prop_map(|(peer, id)| Step::Delete(peer, id)),
        1 => (peer.clone(), id).prop_map(|(peer, id)| Step::Large(peer, id)),
        1 => peer.clone().prop_map(Step::Drop),
        5 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Step::Meet(a, b)),
        3 => peer.clone().prop_map(Step::Ack),
        1 => peer.prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_majority_read_sees_the_view_as_it_is_without_the_tail(
        indexers in 1_usize..4,
        steps in prop::collection::vec(step(), 1..30),
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
            let changed = match step {
                // What does not hold changes nothing: an `_id` that is taken, a collection that is gone.
                Step::Insert(peer, id) => {
                    let _ = peers[peer].insert(rawdoc! { "_id": id, "n": peer as i32 });
                    peer
                }
                Step::Increment(peer, id) => {
                    let _ = peers[peer].update(rawdoc! { "_id": id }, rawdoc! { "$inc": { "n": 1 } });
                    peer
                }
                Step::Delete(peer, id) => {
                    let _ = peers[peer].delete(rawdoc! { "_id": id });
                    peer
                }
                Step::Large(peer, id) => {
                    let large = rawdoc! { "$set": { "large": "x".repeat(200_000 + id as usize) } };
                    let _ = peers[peer].update(rawdoc! { "_id": id }, large);
                    peer
                }
                Step::Drop(peer) => {
                    let _ = peers[peer].call(Request::DropCollection { collection: "c".to_owned() });
                    peer
                }
                Step::Meet(a, b) if a != b => {
                    let (of_a, of_b) = (peers[a].runs(), peers[b].runs());
                    peers[a].receive(&of_b);
                    peers[b].receive(&of_a);
                    a
                }
                Step::Meet(a, _) => a,
                Step::Ack(peer) => {
                    peers[peer].ack();
                    peer
                }
                Step::Restart(number) => {
                    let peer = peers.remove(number);
                    peers.insert(number, peer.restart());
                    number
                }
            };
            check(&mut peers[changed]);
        }
        for peer in &mut peers {
            check(peer);
        }
    }
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
