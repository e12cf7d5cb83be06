//! Indexes that are built over documents which are there, in several runs: memory is small in tests.

use bson::rawdoc;

use super::*;

/// A peer of an open topic with so many documents, inserted in as many calls as there are hundreds.
fn with_documents(count: i32) -> Peer {
    let mut peer = peer(1, &open());
    let document = |n: i32| rawdoc! { "_id": n, "n": (n * 7_919) % count, "l": [n % 7, n % 11, n] };
    for first in (0..count).step_by(100) {
        let documents = (first..count.min(first + 100)).map(document).collect();
        peer.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    }
    peer
}

fn entries(peer: &Peer) -> Vec<u64> {
    let view = view_snapshot(&peer.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let meta = crate::view::catalog::collection(&view, "c").unwrap().unwrap();
    let statistics = Statistics::of(&view, meta.id).unwrap();
    meta.indexes.iter().map(|index| statistics.index(index.id).count).collect()
}

#[test]
fn an_index_built_over_many_documents_is_the_one_that_grows_with_them() {
    let mut built = with_documents(3_000);
    let mut grown = peer(1, &open());
    let indexes = [
        rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true },
        rawdoc! { "name": "l_1", "key": { "l": -1 } },
        rawdoc! { "name": "few", "key": { "n": 1 }, "partialFilterExpression": { "n": { "$lt": 10 } } },
    ];
    for index in &indexes {
        built.create_index(index.clone()).unwrap();
        grown.create_index(index.clone()).unwrap();
    }
    for document in built.documents() {
        grown.insert(document).unwrap();
    }
    built.check_statistics();
    grown.check_statistics();
    assert_eq!(built.digest(), grown.digest());
    let all = entries(&built);
    assert_eq!((all[0], all[2]), (3_000, 10));
    assert!((8_000..=9_000).contains(&all[1]), "{all:?}");
}

/// The entries of the index on `l` and of its marks: each value with the `_id`s that have it, and of those the ones in quarantine.
fn quarantined(peer: &Peer) -> std::collections::BTreeMap<i32, (Vec<i32>, Vec<i32>)> {
    let view = view_snapshot(&peer.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let meta = crate::view::catalog::collection(&view, "c").unwrap().unwrap();
    let index = meta.index("l_1").unwrap();
    let mut found = std::collections::BTreeMap::<i32, (Vec<i32>, Vec<i32>)>::new();
    for document in peer.documents() {
        let id = document.get_i32("_id").unwrap();
        let id_key = crate::view::documents::id_key(RawBson::from(id).as_raw_bson_ref());
        let mut values: Vec<i32> = document
            .get_array("l")
            .unwrap()
            .into_iter()
            .map(|value| value.unwrap().as_i32().unwrap())
            .collect();
        values.sort_unstable();
        values.dedup();
        for value in values {
            let alone = rawdoc! { "_id": id, "l": value };
            let entries = crate::view::documents::entries_of_index(index, &id_key, &[], &alone).unwrap();
            let key = entries.entries.keys().next().unwrap();
            assert!(view.value(key).unwrap().is_some(), "it stands in the index, in quarantine or not");
            let (with, marked) = found.entry(value).or_default();
            with.push(id);
            if view.value(&keyspace::mark(key)).unwrap().is_some() {
                marked.push(id);
            }
        }
    }
    found
}

#[test]
fn documents_that_collide_in_a_new_index_that_keeps_duplicates_go_into_quarantine_but_for_the_first() {
    let mut a = with_documents(1_500);
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    let unique = rawdoc! { "name": "l_1", "key": { "l": 1 }, "unique": true };
    assert_eq!(a.create_index(unique).unwrap_err().code(), Some(11_000));
    let kept = rawdoc! { "name": "l_1", "key": { "l": 1 }, "unique": true, "onDuplicate": "quarantine" };
    (a.now_ms, b.now_ms) = (20_000, 10_000);
    a.create_index(kept.clone()).unwrap();
    a.check_statistics();
    let found = quarantined(&a);
    assert_eq!(found.len(), 1_500);
    for (value, (with, marked)) in &found {
        assert_eq!(marked[..], with[1..], "{value}: the lowest _id holds the key");
    }
    let (of_three, of_fifty) = (&found[&3].1, &found[&50].1);
    assert!(of_three.len() > 300 && of_fifty.is_empty(), "{} {}", of_three.len(), of_fifty.len());
    // What the other does goes before it: the index is undone, without a trace, and built anew.
    b.delete(rawdoc! { "_id": { "$lt": 100 } }).unwrap();
    b.insert(rawdoc! { "_id": 1, "l": [3, 4] }).unwrap();
    meet(&mut a, &mut b);
    assert!(a.engine.status().unwrap().undone >= 1);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    let found = quarantined(&b);
    assert_eq!(found[&3].0[0], 1);
    assert!(found.values().all(|(with, marked)| marked[..] == with[1..]));
    a.call(Request::DropIndex { collection: "c".to_owned(), name: "l_1".to_owned() }).unwrap();
    a.create_index(kept).unwrap();
    assert_eq!(quarantined(&a), found, "no mark of the index before is left");
}

#[test]
fn many_documents_under_one_key_cannot_make_an_entry_cost_more_than_it_may() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": "zzz", "k": "x" }).unwrap();
    b.receive(&a.runs());
    (a.now_ms, b.now_ms) = (10_000, 20_000);
    a.create_index(rawdoc! { "name": "k_1", "key": { "k": 1 }, "unique": true, "onDuplicate": "quarantine" })
        .unwrap();
    // The one that holds the key comes last in the index: each of these is looked at for each that follows.
    let documents = (0..3_000_i32).map(|n| rawdoc! { "_id": n, "k": "x" }).collect();
    b.call(Request::Insert { collection: "c".to_owned(), documents, ordered: false }).unwrap();
    meet(&mut a, &mut b);
    let kept = a.documents().len();
    assert!((1_500..2_500).contains(&kept), "{kept} are kept");
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn builds_that_are_undone_leave_nothing_behind_and_peers_agree() {
    let mut a = with_documents(1_500);
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    (a.now_ms, b.now_ms) = (20_000, 10_000);
    a.create_index(rawdoc! { "name": "l_1", "key": { "l": 1 } }).unwrap();
    a.update(rawdoc! { "_id": 5 }, rawdoc! { "$set": { "l": [100, 200] } }).unwrap();
    // What b does goes before the build.
    b.delete(rawdoc! { "_id": { "$gte": 1_000 } }).unwrap();
    b.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    meet(&mut a, &mut b);
    assert!(a.engine.status().unwrap().undone >= 2);
    for peer in [&a, &b] {
        peer.check_statistics();
        assert_eq!(peer.documents().len(), 1_000);
    }
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(entries(&a).len(), 2);
}

#[test]
fn a_build_that_fails_leaves_nothing_and_names_a_document_before_duplicates() {
    let mut a = with_documents(2_000);
    let before = (a.digest(), a.order());
    let unique = |field: &str| {
        let mut key = RawDocumentBuf::new();
        key.append(bson::raw::CString::try_from(field).unwrap(), 1);
        rawdoc! { "name": "u", "key": key, "unique": true }
    };
    // Nobody has the field: every document counts as null. Elements of arrays meet across runs.
    assert_eq!(a.create_index(unique("missing")).unwrap_err().code(), Some(11_000));
    assert_eq!(a.create_index(unique("l")).unwrap_err().code(), Some(11_000));
    assert_eq!((a.digest(), a.order()), before);

    a.insert(rawdoc! { "_id": 1_000_000, "missing": [1, 2], "l": [3] }).unwrap();
    let parallel = rawdoc! { "name": "u", "key": { "missing": 1, "l": 1 }, "unique": true };
    a.insert(rawdoc! { "_id": -1, "l": [1] }).unwrap();
    a.insert(rawdoc! { "_id": -2, "l": [1] }).unwrap();
    assert_eq!(a.create_index(parallel).unwrap_err().code(), Some(171));
    a.create_index(unique("_id")).unwrap();
    a.check_statistics();
}
