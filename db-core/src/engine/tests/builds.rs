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
