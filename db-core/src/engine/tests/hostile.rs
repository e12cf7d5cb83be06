//! What writers and peers with bad manners may send, and what becomes of it.

use bson::rawdoc;

use super::*;

#[test]
fn runs_that_are_out_of_order_are_refused_by_name_and_change_nothing() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut b = peer(2, &open());
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 3 }).unwrap();
    let before = (a.digest(), a.order(), a.engine.status().unwrap());
    let unknown = EntryHash::from_bytes([0xFF; 32]);

    let absent_prev = forged_run(&b, &secret(2), |_| {});
    assert!(matches!(a.engine.ingest(&absent_prev).unwrap(), Err(IngestError::AbsentPrev(_))));
    let absent_parent = forged_run(&a, &secret(3), |header| header.parents = vec![unknown]);
    assert!(matches!(a.engine.ingest(&absent_parent).unwrap(), Err(IngestError::AbsentParent(_))));
    let wrong_place = forged_run(&a, &secret(1), |header| header.seq += 1);
    assert!(matches!(a.engine.ingest(&wrong_place).unwrap(), Err(IngestError::WrongPrev(_))));
    let earlier = forged_run(&a, &secret(1), |header| header.time = 0);
    assert!(matches!(a.engine.ingest(&earlier).unwrap(), Err(IngestError::WrongPrev(_))));
    let illegal_wave = forged_run(&a, &secret(3), |header| header.wave = 1);
    assert!(matches!(a.engine.ingest(&illegal_wave).unwrap(), Err(IngestError::Illegal { .. })));
    let last = forged_run(&a, &secret(1), |header| header.seq = u64::MAX);
    assert!(matches!(a.engine.ingest(&last).unwrap(), Err(IngestError::WrongPrev(_))));
    assert_eq!((a.digest(), a.order(), a.engine.status().unwrap()), before);
}

#[test]
fn both_branches_of_a_forked_log_stand_and_peers_agree_whichever_came_first() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let (mut b, mut c) = (peer(2, &open()), peer(3, &open()));
    b.receive(&a.runs());
    c.receive(&a.runs());
    // The device is copied: two engines sign with one key.
    let mut twin = peer(1, &open());
    twin.receive(&a.runs());
    a.insert(rawdoc! { "_id": "a" }).unwrap();
    twin.insert(rawdoc! { "_id": "twin" }).unwrap();
    b.receive(&a.runs());
    c.receive(&twin.runs());
    meet(&mut b, &mut c);
    assert_eq!((b.digest(), b.order()), (c.digest(), c.order()));
    assert_eq!(b.documents().len(), 3);
    assert_eq!(b.engine.status().unwrap().forked, vec![writer_key(1)]);
    assert_eq!(c.engine.status().unwrap().forked, vec![writer_key(1)]);
}

#[test]
fn what_other_peers_could_not_read_is_refused_instead_of_applied_here_alone() {
    let mut a = peer(1, &open());
    let ids = 0..=limits::OPERATIONS_MAX as i32;
    let documents = ids.map(|id| rawdoc! { "_id": id, "l": ["ab"] }).collect();
    a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    let deep = |levels| (0..levels).fold(rawdoc! { "x": 1 }, |inner, _| rawdoc! { "d": inner });
    let mut deepest = rawdoc! { "_id": "deep", "l": ["ab", "b"] };
    deepest.append(bson::raw::cstr!("a"), deep(62));
    a.insert(deepest).unwrap();
    let before = (a.digest(), a.order());

    // By a regular expression: logged as one operation for each document, more than an entry may hold.
    let pull = rawdoc! { "l": { "$regex": "^a" } };
    let update = rawdoc! { "$pull": pull.clone() };
    assert_eq!(a.update(rawdoc! {}, update).unwrap_err().kind(), ErrorKind::Invalid);

    // The largest document has no room for the `_id` that it would get.
    let largest = rawdoc! { "s": "x".repeat(16 * 1024 * 1024 - 13) };
    assert!(db_index::check_document(largest.as_bytes()).is_ok());
    let with_id = with_id_in_front(largest, bson::oid::ObjectId::from_bytes([1; 12]));
    assert_eq!(a.insert(with_id).unwrap_err().kind(), ErrorKind::Invalid);

    // A whole field of the deepest document is one level deeper inside `$set`.
    let update = rawdoc! { "$rename": { "a": "b" }, "$pull": pull };
    assert_eq!(a.update(rawdoc! { "_id": "deep" }, update).unwrap_err().kind(), ErrorKind::Invalid);

    let name = "n".repeat(limits::INDEX_NAME_BYTES_MAX + 1);
    assert_eq!(a.create_index(rawdoc! { "name": name, "key": { "n": 1 } }).unwrap_err().code(), Some(67));
    assert_eq!((a.digest(), a.order()), before);
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn an_open_database_cannot_be_kept_from_being_founded_by_a_founding_entry_that_is_void() {
    let mut a = peer(1, &open());
    let founder = founder_secret(&open().key);
    let weak = WriterKey::from_bytes([0; 32]);
    let founding = |writers| vec![Operation::SetIndexers { writers }];
    let void = [
        Vec::new(),
        crate::payload::pack(b"no operations"),
        crate::payload::pack(&crate::operation::encode(&founding(Vec::new()))),
        crate::payload::pack(&crate::operation::encode(&founding(vec![writer_key(1), weak]))),
        crate::payload::pack(&crate::operation::encode(
            &[founding(vec![writer_key(1)]), founding(vec![])].concat(),
        )),
    ];
    for payload in void {
        let run = forged_run_with(&a, &founder, payload, |_| {});
        assert!(matches!(a.engine.ingest(&run).unwrap(), Err(IngestError::FounderLog(_))));
    }
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
    assert_eq!(b.engine.status().unwrap().indexers, vec![writer_key(1)]);
}

#[test]
fn a_device_whose_store_lost_entries_writes_nothing_until_it_has_them_again() {
    let mut newer = peer(1, &open());
    newer.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut older = peer(1, &open());
    older.receive(&newer.runs());
    newer.insert(rawdoc! { "_id": 2 }).unwrap();
    newer.insert(rawdoc! { "_id": 3 }).unwrap();
    let runs = newer.runs();
    let head = runs.last().unwrap().entries().last().unwrap().hash;

    older.shown(&writer_key(1), 3, head);
    assert_eq!(older.insert(rawdoc! { "_id": 4 }).unwrap_err().kind(), ErrorKind::Unavailable);
    let mut older = older.restart();
    assert!(older.engine.status().unwrap().misses_own_entries, "the mark outlives the process");
    assert_eq!(older.insert(rawdoc! { "_id": 4 }).unwrap_err().kind(), ErrorKind::Unavailable);
    older.receive(&runs[..2]);
    assert!(older.insert(rawdoc! { "_id": 4 }).is_err(), "one is still missing");
    older.receive(&runs);
    older.insert(rawdoc! { "_id": 4 }).unwrap();
    newer.receive(&older.runs());
    assert_eq!((newer.digest(), newer.order()), (older.digest(), older.order()));
    assert!(newer.engine.status().unwrap().forked.is_empty());

    // What is here already is nothing missing; and what is lost for good can be given up.
    older.shown(&writer_key(1), 3, head);
    assert!(!older.engine.status().unwrap().misses_own_entries);
    older.shown(&writer_key(1), 9, EntryHash::from_bytes([7; 32]));
    assert!(older.insert(rawdoc! { "_id": 5 }).is_err());
    older.call(Request::GiveUpOwnEntries).unwrap();
    older.insert(rawdoc! { "_id": 5 }).unwrap();
}

#[test]
fn a_peer_that_lacks_some_of_our_log_too_does_not_hide_what_another_has_shown() {
    let mut newer = peer(1, &open());
    newer.insert(rawdoc! { "_id": 1 }).unwrap();
    let mut older = peer(1, &open());
    older.receive(&newer.runs());
    for id in 2..=4 {
        newer.insert(rawdoc! { "_id": id }).unwrap();
    }
    let runs = newer.runs();
    let head_at = |place: usize| runs[place].entries().last().unwrap().hash;
    older.shown(&writer_key(1), 4, head_at(3));
    older.shown(&writer_key(1), 2, head_at(1));
    older.shown(&writer_key(9), 7, EntryHash::from_bytes([7; 32])); // an earlier key's log
    let mut older = older.restart();
    older.receive(&runs[..2]);
    let told = older.insert(rawdoc! { "_id": 5 }).unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Unavailable, "it would fork our log");
    older.receive(&runs);
    older.insert(rawdoc! { "_id": 5 }).unwrap();
    newer.receive(&older.runs());
    assert!(newer.engine.status().unwrap().forked.is_empty());
}

#[test]
fn a_transaction_that_fails_for_what_it_was_to_do_leaves_the_engine_as_it_was() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let before = (a.digest(), a.order());
    let failed = a.engine.run(|batch| -> Result<()> {
        let documents = vec![rawdoc! { "_id": 2 }];
        let insert = Request::Insert { collection: "c".to_owned(), documents, ordered: true };
        batch.execute(insert, &Moment { now_ms: 5_000, ..Moment::default() })?.unwrap();
        Err(Error::data("a test"))
    });
    assert!(failed.is_err());
    let moment = a.moment();
    assert!(a.engine.run(|batch| batch.append_ack(&moment)).is_err(), "it refuses all work");
    assert!(a.engine.recover());
    assert_eq!((a.digest(), a.order()), before);
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn a_writer_of_its_own_making_gets_neither_patterns_nor_the_systems_collections_past_the_replay() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "s": "abc", "l": ["abc"] }).unwrap();
    let operation = |guard, update| {
        Operation::Update(UpdateOperation {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard,
            update,
            array_filters: Vec::new(),
            replaces: None,
        })
    };
    let pattern = rawdoc! { "$regex": "^a" };
    let name = || crate::view::catalog::REJECTED.to_owned();
    let operations = [
        operation(rawdoc! { "s": pattern.clone() }, rawdoc! { "$set": { "x": 1 } }),
        operation(rawdoc! {}, rawdoc! { "$pull": { "l": pattern.clone() } }),
        operation(rawdoc! {}, rawdoc! { "$currentDate": { "x": true } }),
        Operation::Delete {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard: rawdoc! { "s": pattern },
        },
        Operation::Insert { collection: name(), documents: vec![rawdoc! { "_id": "forged" }] },
        Operation::DropCollection { collection: name() },
        Operation::CreateCollection { collection: "../etc".to_owned(), options: rawdoc! {} },
    ];
    let payload = crate::payload::pack(&crate::operation::encode(&operations));
    let run = forged_run_with(&a, &secret(2), payload, |_| {});
    let documents = a.documents();
    a.receive(&[run]);
    assert_eq!(a.documents(), documents);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    assert_eq!(crate::view::catalog::collection_names(&view).unwrap(), ["c", "system.rejected"]);
    let rejected = crate::view::catalog::collection(&view, "system.rejected").unwrap().unwrap();
    assert_eq!(Statistics::of(&view, rejected.id).unwrap().documents.count, operations.len() as u64);
    assert_eq!(
        a.call(Request::DropCollection { collection: "system.rejected".to_owned() }).unwrap_err().code(),
        Some(73)
    );
}

#[test]
fn a_long_id_cannot_multiply_with_the_elements_of_an_array() {
    let mut a = peer(1, &open());
    a.create_index(rawdoc! { "name": "l_1", "key": { "l": 1 } }).unwrap();
    // 4 MiB times 100,000 would be 400 GiB.
    let mut document = rawdoc! { "_id": "x".repeat(4 * 1024 * 1024) };
    document.append(bson::raw::cstr!("l"), (0..100_000).collect::<bson::RawArrayBuf>());
    assert_eq!(a.insert(document).unwrap_err().code(), Some(17_280));
}

#[test]
fn a_stranger_to_a_closed_database_is_refused_until_an_admin_admits_it() {
    let (mut a, mut b) = (peer(1, &closed(1)), peer(2, &closed(1)));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    b.receive(&a.runs());
    assert_eq!(b.insert(rawdoc! { "_id": 2 }).unwrap_err().kind(), ErrorKind::Denied);

    // A stranger that writes all the same is refused at the door.
    let run = forged_run(&a, &secret(2), |_| {});
    assert_eq!(a.engine.ingest(&run).unwrap(), Err(IngestError::Denied(writer_key(2))));

    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    b.receive(&a.runs());
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    meet(&mut a, &mut b);
    assert_eq!((a.documents().len(), a.digest()), (2, b.digest()));

    // Removed again, its later entries are skipped.
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.insert(rawdoc! { "_id": 3 }).unwrap();
    b.now_ms = a.now_ms + 100;
    let later = b.insert(rawdoc! { "_id": 4 });
    assert!(later.is_ok(), "b does not know yet");
    meet(&mut a, &mut b);
    while a.ack() {
        meet(&mut a, &mut b);
    }
    assert_eq!(a.digest(), b.digest());
    assert_eq!(b.insert(rawdoc! { "_id": 5 }).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(
        a.call(Request::RemoveWriter { writer: writer_key(1) }).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

/// Takes in an entry of a second writer that holds these operations.
fn receive_operations(peer: &mut Peer, operations: &[Operation]) {
    let payload = crate::payload::pack(&crate::operation::encode(operations));
    let run = forged_run_with(peer, &secret(2), payload, |_| {});
    peer.receive(&[run]);
}

/// How many bytes of undo records are stored, and the longest of them.
fn undo_bytes(peer: &mut Peer) -> (usize, usize) {
    let mut bytes = (0, 0);
    peer.engine
        .run(|batch| {
            for item in redb::ReadableTable::iter(&batch.tables.undo)? {
                let length = item?.1.value().len();
                bytes = (bytes.0 + length, bytes.1.max(length));
            }
            Ok(())
        })
        .unwrap();
    bytes
}

#[test]
fn an_entry_that_updates_one_large_document_again_and_again_is_cut_short_alike_everywhere() {
    let mut a = peer(1, &open());
    let size = 4 * 1024 * 1024;
    a.insert(rawdoc! { "_id": 1, "n": 0, "s": "x".repeat(size) }).unwrap();
    let mut b = peer(3, &open());
    b.receive(&a.runs());
    let update = Operation::Update(UpdateOperation {
        collection: "c".to_owned(),
        ids: vec![rawdoc! { "_id": 1 }; 50_000],
        guard: rawdoc! {},
        update: rawdoc! { "$inc": { "n": 1 } },
        array_filters: Vec::new(),
        replaces: None,
    });
    receive_operations(&mut a, &[update.clone(), update]);
    let n = a.documents()[0].get_i32("n").unwrap();
    let done = limits::ENTRY_WORK_BYTES_MAX as i32 / (2 * size as i32);
    assert!((done - 1..=done + 1).contains(&n), "{n} updates were done, {done} expected");
    let (undo, _) = undo_bytes(&mut a);
    assert!(undo < 2 * size, "the document is kept once: {undo} bytes");
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));

    // At the origin the call fails.
    let many = (0..200).map(|_| Request::Update(update_request(rawdoc! {}, rawdoc! { "$inc": { "n": 1 } })));
    let bulk = Request::Bulk { parts: many.collect(), ordered: true };
    let before = a.documents()[0].get_i32("n").unwrap();
    let reply = a.call(bulk).unwrap();
    assert_eq!(reply.outcome.rejected.into_values().next().unwrap().code.0, 257);
    assert!(a.documents()[0].get_i32("n").unwrap() - before <= done);
}

#[test]
fn an_entry_that_builds_an_index_again_and_again_is_cut_short() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "n": 0 }).unwrap();
    let create = Operation::CreateIndexes {
        collection: "c".to_owned(),
        definitions: vec![rawdoc! { "name": "n_1", "key": { "n": 1 } }],
    };
    let drop = Operation::DropIndex { collection: "c".to_owned(), name: "n_1".to_owned() };
    let operations: Vec<_> = (0..1_000).flat_map(|_| [create.clone(), drop.clone()]).collect();
    receive_operations(&mut a, &operations);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let rejected = crate::view::catalog::collection(&view, "system.rejected").unwrap().unwrap();
    let done = limits::ENTRY_SCANS_MAX as usize;
    let count = Statistics::of(&view, rejected.id).unwrap().documents.count as usize;
    assert_eq!(count, operations.len() - done);
}

#[test]
fn undoing_a_drop_of_many_documents_takes_bounded_memory_and_restores_all() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).unwrap();
    let s = "x".repeat(100_000);
    for _ in 0..3 {
        let first = a.engine.end() as i32 * 1_000;
        let documents =
            (first..first + 80).map(|id| rawdoc! { "_id": id, "n": id, "s": s.as_str() }).collect();
        a.call(Request::Insert { collection: "c".to_owned(), documents, ordered: true }).unwrap();
    }
    b.receive(&a.runs());
    b.now_ms = a.now_ms + 10;
    a.now_ms += 1_000;
    let before = a.digest();
    a.call(Request::DropCollection { collection: "c".to_owned() }).unwrap();
    let (undo, longest) = undo_bytes(&mut a);
    assert!(undo > 20_000_000 && longest < 6_000_000, "{undo} bytes, the longest {longest}");
    // What is earlier in the order arrives: the drop is undone and done again.
    b.insert(rawdoc! { "_id": "late" }).unwrap();
    a.receive(&b.runs());
    assert!(a.documents().is_empty());
    assert_ne!(a.digest(), before);
    assert!(a.engine.status().unwrap().undone >= 1);
    let a = a.restart();
    let mut fresh = peer(3, &open());
    fresh.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (fresh.digest(), fresh.order()));
}

#[test]
fn when_all_ids_are_given_out_what_needs_one_is_rejected_and_the_rest_goes_on() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    meet(&mut a, &mut b);
    for peer in [&mut a, &mut b] {
        let all = keyspace::NEXT_IDS;
        let raise = |batch: &mut Batch<'_, '_>| {
            let nobody = batch.nobody();
            batch.with_view(u64::MAX, &nobody, |view, _| view.put(all, &[0xFF; 8]))
        };
        peer.engine.run(raise).unwrap();
    }
    let create =
        Request::CreateCollection { collection: "d".to_owned(), options: CollectionOptions::default() };
    assert_eq!(a.call(create).unwrap_err().code(), Some(67));
    assert!(a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 } }).is_err());
    let insert = Operation::Insert { collection: "d".to_owned(), documents: vec![rawdoc! { "_id": 1 }] };
    receive_operations(&mut b, &[insert]);
    b.insert(rawdoc! { "_id": 2 }).unwrap();
    a.receive(&b.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(a.documents().len(), 2);
}

#[test]
fn many_large_documents_are_named_by_their_ids_alone() {
    let mut a = peer(1, &open());
    for id in 0..6 {
        a.insert(rawdoc! { "_id": id, "s": "x".repeat(4_000_000) }).unwrap();
    }
    // Together they are longer than any entry: what is held of them while the call is tried, and logged, is their ids.
    let reply = a.update(rawdoc! {}, rawdoc! { "$set": { "s": "y", "t": "z" } }).unwrap();
    assert_eq!(reply.outcome.modified, 6);
    let pull = rawdoc! { "$set": { "l": ["ab", "b"] } };
    a.update(rawdoc! {}, pull).unwrap();
    let reply = a.update(rawdoc! { "s": "y" }, rawdoc! { "$pull": { "l": { "$regex": "^a" } } }).unwrap();
    assert_eq!((reply.outcome.matched, reply.outcome.modified), (6, 6));
    assert!(a.documents().iter().all(|document| document.get_array("l").unwrap().into_iter().count() == 1));
    assert_eq!(a.delete(rawdoc! { "t": "z" }).unwrap().outcome.deleted, 6);
}

fn packed(operations: &[Operation]) -> Vec<u8> {
    crate::payload::pack(&crate::operation::encode(operations))
}

#[test]
fn ending_the_listings_of_one_entry_one_by_one_is_work_that_is_bounded() {
    const COUNT: usize = 4_000;
    let identity = open();
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let again = Operation::Insert { collection: "c".to_owned(), documents: vec![rawdoc! { "_id": 1 }] };
    let rejected = forged_run_with(&a, &secret(7), packed(&vec![again; COUNT]), |_| {});
    a.receive(std::slice::from_ref(&rejected));
    let listed = a.listed("system.rejected");
    assert_eq!(listed.len(), COUNT);
    let ids = listed.iter().map(|listed| rawdoc! { "_id": listed.get_document("_id").unwrap().to_owned() });
    let dismiss = Operation::Dismiss { collection: "system.rejected".to_owned(), ids: ids.collect() };
    let dismissed = forged_run_with(&a, &secret(7), packed(&[dismiss]), |_| {});
    a.receive(&[dismissed]);
    // Each writes again what is kept of those before it: so much is done, and the rest is told as too much.
    let left = a.listed("system.rejected");
    assert!((2..COUNT).contains(&left.len()), "{}", left.len());
    let too_much = left.iter().find(|left| left.get_i64("count").unwrap() > 1).unwrap();
    assert_eq!(too_much.get_i64("count").unwrap(), left.len() as i64 - 1);
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    a.check_statistics();
}

#[test]
fn writing_a_long_record_of_a_collection_again_and_again_is_work_that_is_bounded() {
    const COUNT: usize = 1_200;
    let identity = open();
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    let long = "x".repeat(1 << 20);
    let definition = rawdoc! { "name": "n", "key": { "n": 1 }, "partialFilterExpression": { "s": long } };
    a.create_index(definition).unwrap();
    let change = |at: usize| Operation::ChangeIndex {
        collection: "c".to_owned(),
        name: "n".to_owned(),
        change: rawdoc! { "hidden": at.is_multiple_of(2) },
    };
    let changes: Vec<_> = (0..COUNT).map(change).collect();
    let run = forged_run_with(&a, &secret(7), packed(&changes), |_| {});
    a.receive(&[run]);
    let rejected = a.listed("system.rejected");
    let too_much = rejected.iter().all(|rejected| {
        let part = rejected.get_array("parts").unwrap().into_iter().next().unwrap().unwrap();
        part.as_document().unwrap().get_i32("code").unwrap() == 257
    });
    assert!(too_much && (1..COUNT).contains(&rejected.len()), "{}", rejected.len());
    // Those that do not hold are compared with what is there, and that is read again.
    let wrong = |at: usize| rawdoc! { "name": "n", "key": { "n": -1, "m": at as i32 + 1 } };
    let create =
        Operation::CreateIndexes { collection: "c".to_owned(), definitions: (0..COUNT).map(wrong).collect() };
    let run = forged_run_with(&a, &secret(7), packed(&[create]), |_| {});
    a.receive(&[run]);
    let refused =
        a.listed("system.rejected").into_iter().find(|one| one.get_i64("count").unwrap() > 1).unwrap();
    assert_eq!(refused.get_i64("count").unwrap(), COUNT as i64);
    let codes: std::collections::BTreeSet<i32> = refused
        .get_array("parts")
        .unwrap()
        .into_iter()
        .map(|part| part.unwrap().as_document().unwrap().get_i32("code").unwrap())
        .collect();
    assert!(codes.len() == 2 && codes.contains(&257), "{codes:?}");
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
}
