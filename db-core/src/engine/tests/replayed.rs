//! Operations are carried out at their place in the order: what they meet there decides, not what their author saw.

use bson::oid::ObjectId;
use bson::rawdoc;

use super::*;

/// A peer that confirms and one that writes, both with these documents, apart from now on: whatever the first one writes stands
/// before what the second one does.
fn apart(documents: Vec<RawDocumentBuf>) -> (Peer, Peer) {
    let identity = closed(1);
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    b.receive(&a.runs());
    (a, b)
}

/// Lets them meet, and gives what both then hold.
fn together(mut a: Peer, mut b: Peer) -> Vec<RawDocumentBuf> {
    meet(&mut a, &mut b);
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    let mut fresh = peer(9, &closed(1));
    fresh.receive(&a.runs());
    assert_eq!(fresh.digest(), a.digest());
    a.check_statistics();
    a.documents()
}

fn inserts(ids: &[i32], n: i32) -> Vec<Request> {
    let insert = |id: &i32| Request::Insert {
        collection: "c".to_owned(),
        documents: vec![rawdoc! { "_id": *id, "n": n + *id }],
        ordered: true,
    };
    ids.iter().map(insert).collect()
}

fn upsert(peer: &mut Peer, filter: RawDocumentBuf, update: RawDocumentBuf) {
    let mut request = update_request(filter, update);
    (request.multi, request.upsert) = (false, Some(ObjectId::from_bytes([peer.now_ms as u8; 12])));
    peer.call(Request::Update(request)).unwrap();
}

#[test]
fn a_guard_is_tested_again_document_by_document() {
    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1, "stock": 1, "k": 1 }, rawdoc! { "_id": 4, "k": 9 }]);
    let (last, sell) = (rawdoc! { "stock": { "$gte": 1 } }, rawdoc! { "$inc": { "stock": -1, "sold": 1 } });
    b.update(last.clone(), sell.clone()).unwrap();
    b.update(rawdoc! { "k": 1 }, rawdoc! { "$inc": { "seen": 1 } }).unwrap();
    b.delete(rawdoc! { "k": 9 }).unwrap();
    a.update(last, sell).unwrap();
    a.insert(rawdoc! { "_id": 2, "stock": 0, "k": 1 }).unwrap();
    a.update(rawdoc! { "_id": 4 }, rawdoc! { "$inc": { "k": 1 } }).unwrap();
    let expected = [
        rawdoc! { "_id": 1, "stock": 0, "k": 1, "sold": 1, "seen": 1 },
        rawdoc! { "_id": 2, "stock": 0, "k": 1 }, // the author had not seen it: what is touched never widens
        rawdoc! { "_id": 4, "k": 10 },
    ];
    assert_eq!(together(a, b), expected);
}

#[test]
fn a_positional_update_finds_its_element_where_it_is_then() {
    let list = rawdoc! { "_id": 1, "l": [{ "k": "x", "n": 0 }, { "k": "y", "n": 0 }] };
    let (mut a, mut b) = apart(vec![list]);
    b.update(rawdoc! { "_id": 1, "l.k": "y" }, rawdoc! { "$inc": { "l.$.n": 1 } }).unwrap();
    let mut filtered = update_request(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "l.$[e].n": 10 } });
    filtered.array_filters = vec![rawdoc! { "e.k": { "$in": ["y", "z"] } }];
    b.call(Request::Update(filtered)).unwrap();
    let first = rawdoc! { "$push": { "l": { "$each": [{ "k": "z", "n": 0 }], "$position": 0 } } };
    a.update(rawdoc! { "_id": 1 }, first).unwrap();
    let list =
        rawdoc! { "_id": 1, "l": [{ "k": "z", "n": 10 }, { "k": "x", "n": 0 }, { "k": "y", "n": 11 }] };
    assert_eq!(together(a, b), [list]);
}

#[test]
fn an_upsert_that_finds_what_another_has_inserted_updates_it() {
    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1 }]);
    for (peer, name) in [(&mut b, "b"), (&mut a, "a")] {
        upsert(peer, rawdoc! { "_id": 2 }, rawdoc! { "$inc": { "n": 1 }, "$setOnInsert": { "by": name } });
    }
    assert_eq!(together(a, b), [rawdoc! { "_id": 1 }, rawdoc! { "_id": 2, "by": "a", "n": 2 }]);
}

#[test]
fn of_a_bulk_the_parts_that_do_not_hold_are_listed_and_the_others_stand() {
    for ordered in [true, false] {
        let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1, "n": 1 }]);
        let entries = b.runs().len();
        b.call(Request::Bulk { parts: inserts(&[10, 11, 12], 0), ordered }).unwrap();
        assert_eq!(b.runs().len(), entries + 1, "a bulk is one entry");
        b.update(rawdoc! { "_id": 11 }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        a.insert(rawdoc! { "_id": 11, "n": 0 }).unwrap();
        meet(&mut a, &mut b);
        assert_eq!(b.listed("system.rejected").len(), 1);
        let expected = [(1, 1), (10, 10), (11, 1), (12, 12)];
        assert_eq!(together(a, b), expected.map(|(id, n)| rawdoc! { "_id": id, "n": n }));
    }
}

#[test]
fn an_index_covers_what_was_inserted_concurrently_and_a_unique_one_meets_its_duplicates() {
    let unique = |name: &str| rawdoc! { "key": { "n": 1 }, "name": name, "unique": true };
    let plain = rawdoc! { "key": { "n": 1, "_id": -1 }, "name": "plain" };
    // Built after the inserts: what it finds there is what counts.
    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1, "n": 1 }]);
    b.create_index(plain.clone()).unwrap();
    b.create_index(unique("only")).unwrap();
    a.insert(rawdoc! { "_id": 2, "n": 1 }).unwrap();
    meet(&mut a, &mut b);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let meta = crate::view::catalog::collection(&view, "c").unwrap().unwrap();
    let names: Vec<_> = meta.indexes.iter().map(|index| index.definition.name()).collect();
    assert_eq!(names, ["plain"], "the unique one met duplicates");
    assert_eq!(Statistics::of(&view, meta.id).unwrap().index(meta.indexes[0].id).count, 2);
    assert_eq!(together(a, b).len(), 2);
    // Built before them: the second of two alike is not taken.
    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1, "n": 1 }]);
    b.insert(rawdoc! { "_id": 2, "n": 2 }).unwrap();
    b.insert(rawdoc! { "_id": 3, "n": 2 }).unwrap();
    a.create_index(unique("only")).unwrap();
    a.create_index(plain).unwrap();
    let expected = [rawdoc! { "_id": 1, "n": 1 }, rawdoc! { "_id": 2, "n": 2 }];
    assert_eq!(together(a, b), expected);
}

#[test]
fn a_drop_takes_what_stands_before_it_and_nothing_that_comes_after() {
    let drop = || Request::DropCollection { collection: "c".to_owned() };
    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1, "n": 1 }]);
    b.update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    a.call(drop()).unwrap();
    assert_eq!(together(a, b), [rawdoc! { "_id": 2 }], "made anew by the insert");

    let (mut a, mut b) = apart(vec![rawdoc! { "_id": 1 }]);
    b.call(drop()).unwrap();
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    assert!(together(a, b).is_empty(), "also what the dropper had not seen");
}

#[test]
fn a_call_is_one_entry_that_names_documents_and_no_index_entries() {
    let sizes = [0, 3].map(|indexes| {
        let documents = (0..200).map(|id| rawdoc! { "_id": id, "n": id, "m": id, "l": [1, 2, 3] });
        let (mut a, _) = apart(documents.collect());
        let keys = [rawdoc! { "n": 1 }, rawdoc! { "m": 1 }, rawdoc! { "l": 1 }];
        for (key, name) in keys.into_iter().zip(["n", "m", "l"]).take(indexes) {
            a.create_index(rawdoc! { "key": key, "name": name }).unwrap();
        }
        let before = a.runs().len();
        let change = rawdoc! { "$inc": { "n": 1000, "m": 1000 }, "$push": { "l": 4 } };
        a.update(rawdoc! {}, change).unwrap();
        let runs = a.runs();
        assert_eq!(runs.len(), before + 1);
        let [entry] = runs[before].entries() else { panic!("one entry") };
        entry.payload.len()
    });
    assert_eq!(sizes[0], sizes[1]);
    assert!(sizes[0] < 200 * 8, "{} bytes", sizes[0]);
}

#[test]
fn what_is_done_again_does_not_end_a_listing_that_has_become_another() {
    let identity = open();
    let (mut a, mut b, mut c) = (peer(1, &identity), peer(2, &identity), peer(3, &identity));
    a.create_index(rawdoc! { "name": "n", "key": { "n": 1 }, "unique": true }).unwrap();
    b.receive(&a.runs());
    a.insert(rawdoc! { "_id": "p", "n": 10 }).unwrap();
    c.receive(&a.runs());
    (b.now_ms, c.now_ms) = (3_000, 2_000);
    let documents = vec![rawdoc! { "_id": "x", "n": 10 }, rawdoc! { "_id": "y", "n": 12 }];
    let written =
        b.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap().entry;
    let listed = |peer: &Peer| -> Vec<(Option<EntryHash>, i64)> {
        let of = |listed: RawDocumentBuf| {
            let entry = listed.get_document("_id").unwrap().get_binary("entry").unwrap().bytes;
            let parts = listed.get_array("parts").unwrap().into_iter();
            let parts: Vec<i64> =
                parts.map(|part| part.unwrap().as_document().unwrap().get_i64("part").unwrap()).collect();
            assert_eq!(parts.len(), 1);
            (Some(EntryHash::from_bytes(entry.try_into().unwrap())), parts[0])
        };
        peer.listed("system.rejected").into_iter().map(of).collect()
    };
    b.receive(&a.runs());
    assert_eq!(listed(&b), [(written, 0)]);
    b.delete(rawdoc! { "_id": "p" }).unwrap();
    b.end_rejection(true);
    assert!(listed(&b).is_empty() && b.documents().len() == 2);
    // What comes now stands before all that: it was the other one that did not hold.
    c.delete(rawdoc! { "_id": "p" }).unwrap();
    c.insert(rawdoc! { "_id": "q", "n": 12 }).unwrap();
    meet(&mut b, &mut c);
    for peer in [&b, &c] {
        let ids: Vec<_> =
            peer.documents().iter().map(|found| found.get_str("_id").unwrap().to_owned()).collect();
        assert_eq!(ids, ["q", "x"]);
        assert_eq!(listed(peer), [(written, 1)], "nobody has done that again");
    }
    assert_eq!(b.digest(), c.digest());
    c.delete(rawdoc! { "_id": "q" }).unwrap();
    c.end_rejection(true);
    meet(&mut b, &mut c);
    assert!(listed(&b).is_empty() && b.documents().len() == 2 && b.digest() == c.digest());
}
