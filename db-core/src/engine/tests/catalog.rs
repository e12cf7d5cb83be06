//! Collections and indexes that change while they are there: names, options, expiry.

use bson::{DateTime, RawDocumentBuf, rawdoc};

use super::*;
use crate::view::catalog::{self, CollectionMeta};

fn meta(peer: &Peer, name: &str) -> Option<CollectionMeta> {
    let view = view_snapshot(&peer.engine.database.begin_read().unwrap()).unwrap().unwrap();
    catalog::collection(&view, name).unwrap()
}

fn rename(from: &str, to: &str, drop_target: bool) -> Request {
    Request::RenameCollection { collection: from.to_owned(), to: to.to_owned(), drop_target }
}

fn create(name: &str) -> Request {
    Request::CreateCollection { collection: name.to_owned(), options: CollectionOptions::default() }
}

fn change(name: &str, change: RawDocumentBuf) -> Request {
    Request::ChangeIndex { collection: "c".to_owned(), name: name.to_owned(), change }
}

#[test]
fn a_renamed_collection_keeps_its_documents_and_indexes_on_every_peer() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": 1, "n": 1 }).unwrap();
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true }).unwrap();
    meet(&mut a, &mut b);
    // The other peer goes on writing under the old name: by its place in the order that is another collection.
    b.now_ms = a.now_ms + 100;
    b.insert(rawdoc! { "_id": 2, "n": 1 }).unwrap_err();
    a.call(rename("c", "d", false)).unwrap();
    b.insert(rawdoc! { "_id": 3, "n": 3 }).unwrap();
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(a.documents(), vec![rawdoc! { "_id": 3, "n": 3 }]);
    assert_eq!(meta(&a, "d").unwrap().indexes.len(), 1);
    assert!(meta(&a, "c").unwrap().indexes.is_empty());

    let refused = |peer: &mut Peer, request| peer.call(request).unwrap_err().code();
    assert_eq!(refused(&mut a, rename("c", "d", false)), Some(48));
    assert_eq!(refused(&mut a, rename("no", "e", true)), Some(26));
    assert_eq!(refused(&mut a, rename("c", "c", true)), Some(20));
    assert_eq!(refused(&mut a, rename("c", "system.x", true)), Some(73));
    a.call(rename("d", "c", true)).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(b.documents(), vec![rawdoc! { "_id": 1, "n": 1 }]);
    assert!(meta(&b, "d").is_none());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn renames_that_are_undone_leave_nothing_behind() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(create("d")).unwrap();
    meet(&mut a, &mut b);
    // b's is the earlier: a has to undo its own rename and do it again after b's, where it fails.
    (a.now_ms, b.now_ms) = (5_000, 4_000);
    a.call(rename("c", "e", false)).unwrap();
    b.call(rename("c", "d", true)).unwrap();
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert!(meta(&a, "e").is_none() && meta(&a, "c").is_none());
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    assert_eq!(Statistics::of(&view, meta(&a, "d").unwrap().id).unwrap().documents.count, 1);
}

#[test]
fn an_index_changes_its_name_once_and_only_to_one_that_is_free() {
    let mut a = peer(1, &open());
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    a.create_index(rawdoc! { "name": "m_1", "key": { "m": 1 } }).unwrap();
    let refused = |peer: &mut Peer, request| peer.call(request).unwrap_err().code();
    assert_eq!(refused(&mut a, change("n_1", rawdoc! { "name": "m_1" })), Some(86));
    assert_eq!(refused(&mut a, change("n_1", rawdoc! { "unique": true })), Some(72));
    assert_eq!(refused(&mut a, change("x_1", rawdoc! { "name": "y_1" })), Some(27));
    a.call(change("n_1", rawdoc! { "name": "n" })).unwrap();
    let entries = a.engine.status().unwrap().entries;
    a.call(change("n", rawdoc! { "name": "n" })).unwrap();
    assert_eq!(a.engine.status().unwrap().entries, entries, "nothing changed, nothing is logged");
    assert!(meta(&a, "c").unwrap().index("n").is_some());
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn the_options_of_a_collection_stay_with_it() {
    let mut a = peer(1, &open());
    let collation = rawdoc! { "locale": "de", "strength": 1 };
    let options = CollectionOptions { collation: Some(collation.clone()), ..CollectionOptions::default() };
    a.call(Request::CreateCollection { collection: "c".to_owned(), options }).unwrap();
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(rename("c", "d", false)).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(meta(&b, "d").unwrap().options.collation, Some(collation));
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.call(create("d")).unwrap_err().code(), Some(48));
}

fn at(ms: i64) -> DateTime {
    DateTime::from_millis(ms)
}

fn ttl(seconds: i32, direction: i32) -> RawDocumentBuf {
    rawdoc! { "name": "t", "key": { "t": direction }, "expireAfterSeconds": seconds }
}

/// Looks for what has expired and deletes it; how many documents that were.
fn expire(peer: &mut Peer) -> u64 {
    let moment = peer.moment();
    if !peer.engine.wants_expiry(&moment).unwrap() {
        return 0;
    }
    peer.call(Request::Expire).unwrap().outcome.deleted
}

#[test]
fn what_a_ttl_index_says_has_expired_is_deleted_and_nothing_else() {
    for direction in [1, -1] {
        let mut a = peer(1, &closed(1));
        a.now_ms = 100_000;
        a.create_index(ttl(10, direction)).unwrap();
        let documents = [
            rawdoc! { "_id": "old", "t": at(80_000) },
            rawdoc! { "_id": "new", "t": at(95_000) },
            rawdoc! { "_id": "one of many", "t": [at(95_000), at(1), "x"] },
            rawdoc! { "_id": "before 1970", "t": at(-5) },
            rawdoc! { "_id": "no date", "t": 5 },
            rawdoc! { "_id": "nothing" },
        ];
        for document in documents {
            a.insert(document).unwrap();
        }
        assert_eq!(expire(&mut a), 3);
        let entries = a.engine.status().unwrap().entries;
        assert_eq!(expire(&mut a), 0);
        assert_eq!(a.engine.status().unwrap().entries, entries, "an idle database is silent");
        let left: Vec<_> =
            a.documents().iter().map(|document| document.get_str("_id").unwrap().to_owned()).collect();
        assert_eq!(left, ["new", "no date", "nothing"]);
        a.now_ms = 200_000;
        assert_eq!(expire(&mut a), 1);
        let mut b = peer(2, &closed(1));
        b.receive(&a.runs());
        assert_eq!(a.digest(), b.digest());
    }
}

#[test]
fn a_document_that_is_refreshed_meanwhile_stays_and_nothing_is_listed_as_rejected() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    (a.now_ms, b.now_ms) = (100_000, 100_000);
    a.create_index(ttl(10, 1)).unwrap();
    a.insert(rawdoc! { "_id": "refreshed", "t": at(1) }).unwrap();
    a.insert(rawdoc! { "_id": "left", "t": at(1) }).unwrap();
    meet(&mut a, &mut b);
    // b refreshes one document before a, which has not heard of it, deletes both.
    b.update(rawdoc! { "_id": "refreshed" }, rawdoc! { "$set": { "t": at(99_000) } }).unwrap();
    a.now_ms = 100_500;
    assert_eq!(expire(&mut a), 2);
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(a.documents(), vec![rawdoc! { "_id": "refreshed", "t": at(99_000) }]);
    assert!(meta(&a, catalog::REJECTED).is_none());
}

#[test]
fn one_peer_alone_logs_expiry() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.create_index(ttl(0, 1)).unwrap();
    a.insert(rawdoc! { "_id": 1, "t": at(1) }).unwrap();
    meet(&mut a, &mut b);
    // Nobody has founded the database: it is who made the index.
    let moment = b.moment();
    assert!(!b.engine.wants_expiry(&moment).unwrap());
    assert_eq!(b.call(Request::Expire).unwrap().entry, None);
    assert!(a.engine.wants_expiry(&moment).unwrap());

    let mut indexers = vec![writer_key(1), writer_key(2)];
    indexers.sort_unstable();
    a.call(Request::SetIndexers { writers: indexers.clone() }).unwrap();
    meet(&mut a, &mut b);
    let first_is_a = indexers[0] == writer_key(1);
    let moment = a.moment();
    assert_eq!(a.engine.wants_expiry(&moment).unwrap(), first_is_a);
    assert_eq!(b.engine.wants_expiry(&moment).unwrap(), !first_is_a);
    // The first is gone: the second does it.
    let gone = Moment { gone: [indexers[0]].into(), ..moment };
    assert!((if first_is_a { &b } else { &a }).engine.wants_expiry(&gone).unwrap());
}

#[test]
fn what_expires_is_deleted_in_bounded_batches_and_by_the_time_that_the_index_now_says() {
    let mut a = peer(1, &closed(1));
    a.now_ms = 1_000_000;
    a.create_index(ttl(10, 1)).unwrap();
    let documents = (0..2_500).map(|id| rawdoc! { "_id": id, "t": at(900_000) }).collect();
    a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    a.call(change("t", rawdoc! { "expireAfterSeconds": 500 })).unwrap();
    assert_eq!(expire(&mut a), 0);
    a.call(change("t", rawdoc! { "hidden": true, "expireAfterSeconds": 50_i64 })).unwrap();
    assert!(meta(&a, "c").unwrap().index("t").unwrap().definition.is_hidden());
    assert_eq!([expire(&mut a), expire(&mut a), expire(&mut a), expire(&mut a)], [1_000, 1_000, 500, 0]);
    assert_eq!(a.call(change("t", rawdoc! { "expireAfterSeconds": "soon" })).unwrap_err().code(), Some(67));
    a.call(change("t", rawdoc! { "hidden": false })).unwrap();
    assert!(!meta(&a, "c").unwrap().index("t").unwrap().definition.is_hidden());
}
