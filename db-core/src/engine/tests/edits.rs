//! Concurrent edits: what wins is a matter of what the authors had seen and of their clocks, not of the order.

mod histories;

use bson::oid::ObjectId;
use bson::{Bson, RawBsonRef, rawdoc};

use super::*;
use crate::conflicts::Conflict;
use crate::view::policy::{ConflictPolicy, DeletePolicy, PathPolicy};

impl Peer {
    fn at(&mut self, now_ms: u64) -> &mut Self {
        self.now_ms = now_ms;
        self
    }

    fn set(&mut self, id: i32, fields: RawDocumentBuf) -> EntryHash {
        self.update(rawdoc! { "_id": id }, rawdoc! { "$set": fields }).unwrap().entry.unwrap()
    }

    fn replace(&mut self, id: i32, replacement: RawDocumentBuf, strict: bool) {
        let mut request = update_request(rawdoc! { "_id": id }, replacement);
        (request.multi, request.replacement, request.strict) = (false, true, strict);
        self.call(Request::Update(request)).unwrap();
    }

    fn upsert(&mut self, id: i32, update: RawDocumentBuf) {
        let mut request = update_request(rawdoc! { "_id": id }, update);
        request.upsert = Some(ObjectId::from_bytes([1; 12]));
        self.call(Request::Update(request)).unwrap();
    }

    fn policy(&mut self, delete: DeletePolicy, paths: &[(&str, PathPolicy)]) {
        let paths = paths.iter().map(|(path, policy)| ((*path).to_owned(), *policy)).collect();
        let conflicts = ConflictPolicy { delete, paths };
        let change = CollectionOptions { conflicts, ..CollectionOptions::default() }.to_document();
        self.call(Request::ChangeCollection { collection: "c".to_owned(), change }).unwrap();
    }

    fn document(&self, id: i32) -> Option<RawDocumentBuf> {
        self.documents().into_iter().find(|document| document.get_i32("_id").ok() == Some(id))
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let listed = self.listed("system.conflicts").into_iter();
        listed.map(|document| bson::deserialize_from_slice(document.as_bytes()).unwrap()).collect()
    }
}

/// Two peers of an open database that both hold this document.
fn two(document: RawDocumentBuf) -> (Peer, Peer) {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(document).unwrap();
    meet(&mut a, &mut b);
    (a, b)
}

/// Lets them meet and checks that they agree, as does a newcomer that gets everything at once.
fn agree(a: &mut Peer, b: &mut Peer) {
    meet(a, b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    let mut fresh = peer(9, &open());
    fresh.receive(&a.runs());
    assert_eq!(fresh.digest(), a.digest());
}

fn values(conflict: &Conflict) -> (Option<Bson>, Option<Bson>) {
    (conflict.winner.value.clone(), conflict.loser.value.clone())
}

const MONDAY: u64 = 1_000_000;
const TUESDAY: u64 = 2_000_000;

#[test]
fn mondays_offline_edit_does_not_undo_tuesdays_that_was_confirmed_before_it_came() {
    let identity = closed(1);
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    a.insert(rawdoc! { "_id": 1, "title": "?", "n": 0 }).unwrap();
    b.receive(&a.runs());
    b.at(MONDAY)
        .update(rawdoc! { "_id": 1 }, rawdoc! { "$set": { "title": "monday", "m": 1 }, "$inc": { "n": 1 } })
        .unwrap();
    a.at(TUESDAY).set(1, rawdoc! { "title": "tuesday" });
    assert_eq!(a.engine.status().unwrap().tail, 0, "Tuesday's edit is confirmed");
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(a.order().0.last(), b.order().0.last());
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "title": "tuesday", "n": 1, "m": 1 });
    let [conflict] = a.conflicts().try_into().unwrap();
    assert_eq!((conflict.path.as_deref(), conflict.rule.as_str()), (Some("title"), "last"));
    assert_eq!(values(&conflict), (Some("tuesday".into()), Some("monday".into())));
    assert_eq!(conflict.winner.writer().unwrap(), writer_key(1));
    assert_eq!(conflict.loser.writer().unwrap(), writer_key(2));
    assert_eq!(conflict.loser.time.timestamp_millis() as u64, MONDAY + 1);
    assert_eq!((conflict.collection.as_str(), conflict.document), ("c", Bson::Int32(1)));
}

#[test]
fn who_has_seen_a_value_and_writes_over_it_wins_with_a_clock_far_behind() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
    a.at(u64::MAX / 2).set(1, rawdoc! { "x": 1 });
    meet(&mut a, &mut b);
    b.at(5).set(1, rawdoc! { "x": 2 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap().get_i32("x").ok(), Some(2));
    assert!(a.conflicts().is_empty());
}

#[test]
fn paths_above_and_below_meet_and_others_do_not() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": { "y": 0, "z": 0 }, "l": [0, 0] });
    a.at(TUESDAY).set(1, rawdoc! { "x.y": 1, "l.0": 1 });
    b.at(MONDAY)
        .update(
            rawdoc! { "_id": 1 },
            rawdoc! { "$set": { "x": { "y": 2 }, "l.1": 2 }, "$rename": { "x2": "x3" } },
        )
        .unwrap();
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": { "y": 1 }, "l": [1, 2] });
    let [conflict] = a.conflicts().try_into().unwrap();
    assert_eq!(conflict.path.as_deref(), Some("x.y"));
    assert_eq!(values(&conflict), (Some(Bson::Int32(1)), Some(Bson::Int32(2))));

    // And the other way round the whole wins over the part.
    a.at(TUESDAY + 10).set(1, rawdoc! { "x.z": 3 });
    b.at(TUESDAY + 20).update(rawdoc! { "_id": 1 }, rawdoc! { "$unset": { "x": true } }).unwrap();
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "l": [1, 2] });
    let conflicts = a.conflicts();
    let last = conflicts.iter().find(|conflict| conflict.path.as_deref() == Some("x.z")).unwrap();
    assert_eq!(values(last), (None, Some(Bson::Int32(3))));
}

/// What two edits of one document come to, the first of which is confirmed before the second one comes.
fn confirmed_first(
    document: RawDocumentBuf,
    first: (u64, RawDocumentBuf),
    second: (u64, RawDocumentBuf),
) -> (RawDocumentBuf, Vec<Conflict>) {
    let identity = closed(1);
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    a.insert(document).unwrap();
    b.receive(&a.runs());
    b.at(second.0).update(rawdoc! { "_id": 1 }, second.1).unwrap();
    a.at(first.0).update(rawdoc! { "_id": 1 }, first.1).unwrap();
    meet(&mut a, &mut b);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    (a.document(1).unwrap(), a.conflicts())
}

#[test]
fn a_document_and_a_field_of_it_come_to_the_same_in_either_order() {
    let old = || rawdoc! { "_id": 1, "x": { "y": 0, "z": 0 } };
    let whole = || rawdoc! { "$set": { "x": { "y": 2, "w": 2 } } };
    let field = || rawdoc! { "$set": { "x.y": 1 } };
    for (of_whole, of_field) in [(MONDAY, TUESDAY), (TUESDAY, MONDAY)] {
        let expected = if of_whole < of_field { 1 } else { 2 };
        for (document, conflicts) in [
            confirmed_first(old(), (of_whole, whole()), (of_field, field())),
            confirmed_first(old(), (of_field, field()), (of_whole, whole())),
        ] {
            assert_eq!(document, rawdoc! { "_id": 1, "x": { "y": expected, "w": 2 } });
            let [conflict] = conflicts.try_into().unwrap();
            assert_eq!(conflict.path.as_deref(), Some("x.y"));
            assert_eq!(values(&conflict), (Some(Bson::Int32(expected)), Some(Bson::Int32(3 - expected))));
        }
    }
    let removed = rawdoc! { "$unset": { "x": true } };
    let (document, _) = confirmed_first(old(), (TUESDAY, field()), (MONDAY, removed));
    assert_eq!(document, rawdoc! { "_id": 1, "x": { "y": 1 } });
    // A number has no room for the field that has to stay.
    let number = rawdoc! { "$set": { "x": 5 } };
    let (document, conflicts) = confirmed_first(old(), (TUESDAY, field()), (MONDAY, number));
    assert_eq!(document, rawdoc! { "_id": 1, "x": { "y": 1, "z": 0 } });
    assert_eq!(conflicts[0].loser.value, Some(Bson::Int32(5)));
}

#[test]
fn a_guarded_write_takes_effect_by_its_place_and_increments_always_count() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "n": 0 });
    a.at(MONDAY)
        .update(rawdoc! { "_id": 1, "n": 0 }, rawdoc! { "$set": { "x": 1 }, "$inc": { "n": 1 } })
        .unwrap();
    b.at(TUESDAY).update(rawdoc! { "_id": 1, "x": 0 }, rawdoc! { "$set": { "x": 2 } }).unwrap();
    b.update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "n": 1 }, "$push": { "l": 1 } }).unwrap();
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 1, "n": 2, "l": [1] });
    assert_eq!(a.listed("system.rejected").len(), 1, "the later guard does not hold");
    assert!(a.conflicts().is_empty());
}

#[test]
fn equal_values_are_no_conflict() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
    a.at(TUESDAY).set(1, rawdoc! { "x": 1 });
    b.at(MONDAY).set(1, rawdoc! { "x": 1 });
    agree(&mut a, &mut b);
    assert!(a.conflicts().is_empty());
}

#[test]
fn replacements_merge_like_a_save_and_a_strict_one_is_rejected() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "y": 0, "z": 0 });
    a.at(TUESDAY).replace(1, rawdoc! { "x": 1, "y": 0, "z": 0, "new": 1 }, false);
    b.at(MONDAY).replace(1, rawdoc! { "_id": 1, "x": 2, "y": 2 }, false);
    agree(&mut a, &mut b);
    let merged = a.document(1).unwrap();
    assert_eq!(merged.get_i32("x").ok(), Some(1));
    assert_eq!(merged.get_i32("y").ok(), Some(2));
    assert_eq!(merged.get_i32("new").ok(), Some(1));
    assert!(merged.get("z").unwrap().is_none());
    let [conflict] = a.conflicts().try_into().unwrap();
    assert_eq!(values(&conflict), (Some(Bson::Int32(1)), Some(Bson::Int32(2))));

    a.at(TUESDAY + 10).update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "y": 1 } }).unwrap();
    b.at(TUESDAY + 20).replace(1, rawdoc! { "x": 5 }, true);
    agree(&mut a, &mut b);
    let kept = a.document(1).unwrap();
    assert_eq!((kept.get_i32("x").ok(), kept.get_i32("y").ok()), (Some(1), Some(3)));
    let [rejection] = a.listed("system.rejected").try_into().unwrap();
    let part = rejection
        .get_array("parts")
        .unwrap()
        .get(0)
        .unwrap()
        .unwrap()
        .as_document()
        .unwrap()
        .get_i32("code")
        .ok();
    assert_eq!(part, Some(112));
}

#[test]
fn a_replacement_of_what_its_author_saw_is_exact() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "y": 0 });
    a.replace(1, rawdoc! { "y": 0, "x": 0 }, true);
    meet(&mut a, &mut b);
    assert_eq!(
        b.document(1).unwrap(),
        rawdoc! { "_id": 1, "y": 0, "x": 0 },
        "the order of the fields as well"
    );
    b.replace(1, rawdoc! { "x": 1 }, true);
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 1 });
}

#[test]
fn a_delete_wins_over_a_concurrent_update_wherever_it_stands_and_the_update_is_listed() {
    for (of_delete, of_update) in [(MONDAY, TUESDAY), (TUESDAY, MONDAY)] {
        let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
        a.at(of_delete).delete(rawdoc! { "_id": 1 }).unwrap();
        b.at(of_update).set(1, rawdoc! { "x": 1 });
        agree(&mut a, &mut b);
        assert!(a.documents().is_empty());
        assert!(a.listed("system.rejected").is_empty());
        let [conflict] = a.conflicts().try_into().unwrap();
        assert_eq!((conflict.path, conflict.rule.as_str()), (None, "delete-wins"));
        assert_eq!(conflict.winner.writer().unwrap(), writer_key(1));
        assert_eq!(conflict.loser.writer().unwrap(), writer_key(2));
        if of_delete < of_update {
            assert_eq!(conflict.loser.update, Some(bson::doc! { "$set": { "x": 1 } }));
        } else {
            assert_eq!(conflict.loser.value, Some(bson::bson!({ "_id": 1, "x": 1 })));
        }
    }
}

#[test]
fn an_update_that_has_not_seen_the_delete_is_none_of_the_document_that_came_after_it() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
    a.at(MONDAY).delete(rawdoc! { "_id": 1 }).unwrap();
    a.insert(rawdoc! { "_id": 1, "x": 7 }).unwrap();
    b.at(TUESDAY).set(1, rawdoc! { "x": 1 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 7 });
    assert_eq!(a.conflicts().len(), 1);
    b.at(1).set(1, rawdoc! { "x": 8 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 8 }, "who has seen it all updates it");
}

#[test]
fn an_update_wins_over_a_concurrent_delete_where_the_collection_says_so() {
    for (of_delete, of_update) in [(MONDAY, TUESDAY), (TUESDAY, MONDAY)] {
        let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "y": 0, "n": 0 });
        a.create_index(rawdoc! { "name": "x_1", "key": { "x": 1 } }).unwrap();
        a.policy(DeletePolicy::UpdateWins, &[]);
        meet(&mut a, &mut b);
        a.at(of_delete).set(1, rawdoc! { "y": 5 });
        a.delete(rawdoc! { "_id": 1 }).unwrap();
        assert!(a.documents().is_empty(), "at home the delete takes effect");
        b.at(of_update).update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        b.set(1, rawdoc! { "x": 1 });
        agree(&mut a, &mut b);
        assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 1, "y": 5, "n": 1 });
        let [conflict] = a.conflicts().try_into().unwrap();
        assert_eq!((conflict.path, conflict.rule.as_str()), (None, "update-wins"));
        assert_eq!(conflict.loser.writer().unwrap(), writer_key(1));
        // Settled by deleting it after all.
        b.call(Request::Resolve {
            id: rawdoc! { "_id": RawDocumentBuf::try_from(conflict.id).unwrap() },
            resolution: Resolution::TakeLoser,
        })
        .unwrap();
        agree(&mut a, &mut b);
        assert!(a.documents().is_empty() && a.conflicts().is_empty());
    }
}

#[test]
fn a_path_may_keep_the_greatest_or_the_smallest_value_or_take_no_concurrent_ones() {
    for (of_a, of_b) in [(MONDAY, TUESDAY), (TUESDAY, MONDAY)] {
        let (mut a, mut b) = two(rawdoc! { "_id": 1 });
        let policies =
            [("hi", PathPolicy::Max), ("lo", PathPolicy::Min), ("no", PathPolicy::RejectConcurrent)];
        a.policy(DeletePolicy::DeleteWins, &policies);
        meet(&mut a, &mut b);
        a.at(of_a).set(1, rawdoc! { "hi": 9, "lo": 9 });
        b.at(of_b).set(1, rawdoc! { "hi": 10.5, "lo": 10.5 });
        a.set(1, rawdoc! { "no.a": 1 });
        b.set(1, rawdoc! { "no.a": 1, "other": 1 });
        agree(&mut a, &mut b);
        let document = a.document(1).unwrap();
        assert_eq!((document.get_f64("hi").ok(), document.get_i32("lo").ok()), (Some(10.5), Some(9)));
        assert_eq!(a.conflicts().len(), 2);
        assert_eq!(a.listed("system.rejected").len(), 1);
        let taken = document.get("other").unwrap().is_some();
        assert_eq!(taken, of_b < of_a, "the first in the order holds, the other is rejected whole");
    }
}

#[test]
fn concurrent_upserts_of_one_document_merge() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.at(TUESDAY).upsert(1, rawdoc! { "$inc": { "n": 1 }, "$set": { "x": 1 } });
    b.at(MONDAY).upsert(1, rawdoc! { "$inc": { "n": 1 }, "$set": { "x": 2 } });
    agree(&mut a, &mut b);
    let document = a.document(1).unwrap();
    assert_eq!((document.get_i32("n").ok(), document.get_i32("x").ok()), (Some(2), Some(1)));
    assert_eq!(a.conflicts().len(), 1);
}

#[test]
fn concurrent_upserts_of_different_fields_both_hold_whoever_came_first() {
    for times in [[MONDAY, TUESDAY], [TUESDAY, MONDAY]] {
        let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
        a.at(times[0]).upsert(1, rawdoc! { "$set": { "x": 1, "d.x": 1 } });
        b.at(times[1]).upsert(1, rawdoc! { "$set": { "y": 2, "d.y": 2 } });
        agree(&mut a, &mut b);
        let document = a.document(1).unwrap();
        assert_eq!((document.get_i32("x").ok(), document.get_i32("y").ok()), (Some(1), Some(2)));
        let within = document.get_document("d").unwrap();
        assert_eq!((within.get_i32("x").ok(), within.get_i32("y").ok()), (Some(1), Some(2)));
        assert!(a.conflicts().is_empty(), "nobody has assigned what the other has");
    }
}

#[test]
fn what_is_settled_leaves_the_list_and_what_was_taken_wins() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "y": 0, "z": 0 });
    a.at(TUESDAY).set(1, rawdoc! { "x": 1, "y": 1, "z": 1 });
    b.at(MONDAY).set(1, rawdoc! { "x": 2, "y": 2, "z": 2 });
    agree(&mut a, &mut b);
    let resolutions =
        [("x", Resolution::TakeLoser), ("y", Resolution::Keep), ("z", Resolution::Set(Bson::Int32(3)))];
    for (path, resolution) in resolutions {
        let conflict =
            b.conflicts().into_iter().find(|conflict| conflict.path.as_deref() == Some(path)).unwrap();
        let id = rawdoc! { "_id": RawDocumentBuf::try_from(conflict.id).unwrap() };
        let request = Request::Resolve { id, resolution };
        b.at(5).call(request.clone()).unwrap();
        assert_eq!(b.call(request).unwrap_err().code(), Some(47));
    }
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 2, "y": 1, "z": 3 });
    assert!(a.conflicts().is_empty());
}

#[test]
fn a_dropped_collection_takes_its_histories_along_and_a_renamed_one_keeps_them() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
    a.at(TUESDAY).set(1, rawdoc! { "x": 1 });
    a.call(Request::RenameCollection { collection: "c".to_owned(), to: "d".to_owned(), drop_target: false })
        .unwrap();
    a.call(Request::RenameCollection { collection: "d".to_owned(), to: "c".to_owned(), drop_target: false })
        .unwrap();
    b.at(MONDAY).set(1, rawdoc! { "x": 2 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap().get_i32("x").ok(), Some(1));
    a.delete(rawdoc! {}).unwrap();
    a.call(Request::DropCollection { collection: "c".to_owned() }).unwrap();
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let histories = keyspace::prefix_bounds(&[4]);
    assert!(ReadView::range(&view, histories).unwrap().next().is_none());
}

#[test]
fn a_peer_that_cannot_name_all_heads_settles_as_all_others_do() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "x": 0 }).unwrap();
    let update = |x: i32| {
        Operation::Update(UpdateOperation {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard: rawdoc! {},
            update: rawdoc! { "$set": { "x": x } },
            array_filters: Vec::new(),
            replaces: None,
        })
    };
    let known = a.runs();
    let mut runs = Vec::new();
    for number in 0..limits::PARENTS_MAX as i32 + 40 {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let parent = known[0].entries()[0].hash;
        let payload = crate::payload::pack(&crate::operation::encode(&[update(number)]));
        let run = forged_run_with(&a, &SigningKey::from_bytes(&seed), payload, |header| {
            header.parents = vec![parent];
            header.time = 1_000_000 + number as u64;
        });
        runs.push(run);
    }
    a.receive(&runs);
    // It has seen most of them but not all, and its clock is behind those that it has not seen.
    a.set(1, rawdoc! { "x": -1 });
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn absurd_clocks_and_forked_logs_settle_alike_everywhere() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0 });
    let hostile = SigningKey::from_bytes(&[66; 32]);
    let set = |x: i64| {
        Operation::Update(UpdateOperation {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }],
            guard: rawdoc! {},
            update: rawdoc! { "$set": { "x": x } },
            array_filters: Vec::new(),
            replaces: None,
        })
    };
    let payload = |x| crate::payload::pack(&crate::operation::encode(&[set(x)]));
    // Two branches of one log, each known to one peer, each at the end of time.
    let of_a = forged_run_with(&a, &hostile, payload(1), |header| header.time = u64::MAX);
    let of_b = forged_run_with(&b, &hostile, payload(2), |header| header.time = u64::MAX);
    a.at(MONDAY).set(1, rawdoc! { "x": 3 });
    b.at(TUESDAY).set(1, rawdoc! { "x": 4 });
    a.receive(&[of_a]);
    b.receive(&[of_b]);
    agree(&mut a, &mut b);
    assert!(matches!(a.document(1).unwrap().get("x"), Ok(Some(RawBsonRef::Int64(1 | 2)))));
    // Whoever has seen that writes over it, at any time.
    b.at(1).set(1, rawdoc! { "x": 5 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap().get_i32("x").ok(), Some(5));
    // And honest edits are settled by honest clocks again.
    a.at(TUESDAY + 20).set(1, rawdoc! { "x": 6 });
    b.at(TUESDAY + 10).set(1, rawdoc! { "x": 7 });
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap().get_i32("x").ok(), Some(6));
}

#[test]
fn what_a_writer_of_its_own_making_says_of_a_replacement_is_taken_or_refused_alike() {
    let (mut a, mut b) = two(rawdoc! { "_id": 1, "x": 0, "y": 0 });
    let hostile = SigningKey::from_bytes(&[66; 32]);
    let replace = |update, changed, strict| {
        Operation::Update(UpdateOperation {
            collection: "c".to_owned(),
            ids: vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 1 }, rawdoc! {}],
            guard: rawdoc! {},
            update,
            array_filters: Vec::new(),
            replaces: Some(crate::operation::Replaces { base: [0; 16], changed, strict }),
        })
    };
    let operations = [
        replace(rawdoc! { "_id": 2, "x": 1 }, rawdoc! { "_id": true, "x": true, "nowhere": true }, false),
        replace(rawdoc! { "x": 2 }, rawdoc! { "x": true }, true),
        replace(rawdoc! { "$inc": { "y": 1 } }, rawdoc! { "y": true }, true),
        Operation::Dismiss { collection: "c".to_owned(), ids: vec![rawdoc! { "_id": 1 }] },
        Operation::Dismiss { collection: "system.conflicts".to_owned(), ids: vec![rawdoc! {}] },
        Operation::ChangeCollection {
            collection: "c".to_owned(),
            change: rawdoc! { "conflicts": { "x": 1 } },
        },
    ];
    let payload = crate::payload::pack(&crate::operation::encode(&operations));
    let run = forged_run_with(&a, &hostile, payload, |_| {});
    a.receive(&[run]);
    agree(&mut a, &mut b);
    assert_eq!(a.document(1).unwrap(), rawdoc! { "_id": 1, "x": 1, "y": 2 });
}
