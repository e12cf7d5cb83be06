//! Peers that write apart and meet agree on order and view; a call that fails leaves nothing behind.

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::simulation::Chance;

#[test]
fn a_lone_founder_confirms_each_write_at_once_and_keeps_it_over_a_restart() {
    let mut a = peer(1, &closed(1));
    for n in 0..20 {
        a.insert(rawdoc! { "_id": n, "n": n }).unwrap();
    }
    let status = a.engine.status().unwrap();
    assert_eq!((status.entries, status.confirmed, status.tail, status.undone), (20, 20, 0, 0));
    let before = (a.digest(), a.order());
    let a = a.restart();
    assert_eq!((a.digest(), a.order()), before);
    assert_eq!(a.documents().len(), 20);
}

#[test]
fn peers_of_an_open_topic_that_start_apart_meet_and_agree() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.insert(rawdoc! { "_id": "shared", "n": 0 }).unwrap();
    b.insert(rawdoc! { "_id": "shared", "n": 0 }).unwrap();
    for n in 0..30 {
        a.insert(rawdoc! { "_id": n }).unwrap();
        a.update(rawdoc! { "_id": "shared" }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        b.insert(rawdoc! { "_id": n + 100 }).unwrap();
        b.update(rawdoc! { "_id": "shared" }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
    }
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.order(), b.order());
    assert_eq!(a.engine.status().unwrap().confirmed, 0, "nobody has been appointed to confirm");
    let shared =
        a.documents().into_iter().find(|document| document.get_str("_id").ok() == Some("shared")).unwrap();
    assert_eq!(shared.get_i32("n").unwrap(), 60, "increments of both count, on the one insert that held");

    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    meet(&mut a, &mut b);
    while a.ack() | b.ack() {
        meet(&mut a, &mut b);
    }
    let (order, confirmed) = a.order();
    assert_eq!((order.clone(), confirmed), b.order());
    assert_eq!(a.digest(), b.digest());
    let status = a.engine.status().unwrap();
    assert_eq!((status.epoch, status.indexers.len()), (1, 2));
    assert!(confirmed >= 122, "all writes are confirmed: {confirmed}");
}

#[test]
fn fork_and_merge_applies_each_operation_at_most_twice() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    for n in 0..500 {
        a.insert(rawdoc! { "_id": n }).unwrap();
        b.insert(rawdoc! { "_id": n + 10_000 }).unwrap();
    }
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    for peer in [&a, &b] {
        let status = peer.engine.status().unwrap();
        assert!(status.applied <= 2_000, "applied {} times", status.applied);
    }
}

#[test]
fn a_backlog_is_ordered_in_steps_and_a_restart_between_them_changes_nothing() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    for n in 0..60 {
        a.insert(rawdoc! { "_id": n, "s": "x".repeat(500) }).unwrap();
        b.insert(rawdoc! { "_id": 30 + n, "s": "y".repeat(500) }).unwrap();
        b.update(rawdoc! { "_id": { "$gt": 50 } }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
    }
    let runs = b.runs();
    a.engine
        .run(|batch| {
            for run in &runs {
                batch.ingest(run)?.unwrap();
            }
            Ok(())
        })
        .unwrap();
    let (mut steps, mut is_done) = (0, false);
    while !is_done {
        is_done = a.engine.run(|batch| batch.settle_within(4_000)).unwrap();
        steps += 1;
        if steps == 5 {
            // What stands on the disk is neither the old order nor the new: whoever opens it finds the new.
            let before = a.engine.status().unwrap();
            assert!(before.unordered > 0 && before.tail < 60);
            a = a.restart();
            assert!(!a.engine.is_presentable() && a.engine.is_ordering());
            a = a.restart_for_readers();
            assert!(!a.engine.has_unordered());
            is_done = true;
        }
    }
    assert_eq!(steps, 5, "it was interrupted");
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn a_call_while_a_backlog_waits_is_tried_on_what_readers_see_and_orders_nothing() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    for n in 0..50 {
        b.insert(rawdoc! { "_id": n, "n": 0 }).unwrap();
        a.insert(rawdoc! { "_id": 1_000 + n, "n": 0 }).unwrap();
    }
    a.now_ms += 10_000;
    for run in b.runs() {
        a.engine.ingest(&run).unwrap().unwrap();
    }
    let waiting = a.engine.backlog();
    assert_eq!((waiting.unordered, waiting.tail, waiting.displaced), (50, 50, 50));
    for n in 0..10 {
        assert!(a.engine.is_presentable());
        let reply = a.update(rawdoc! {}, rawdoc! { "$inc": { "n": 1 } }).unwrap();
        assert_eq!(reply.outcome.matched, 50 + n, "what waits is not seen, what was written here is");
        a.insert(rawdoc! { "_id": 2_000 + n.cast_signed(), "n": 0 }).unwrap();
    }
    let status = a.engine.status().unwrap();
    assert_eq!((status.unordered, status.applied, status.undone), (50, 70, 0));
    let before = a.documents();
    a.settle();
    assert_eq!(a.engine.status().unwrap().applied, 70 + 120);
    assert!(before.iter().all(|document| a.documents().contains(document)), "nothing of it is lost");
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn a_restart_orders_nothing_that_waits_and_readers_see_what_they_have_seen() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    for n in 0..50 {
        b.insert(rawdoc! { "_id": n, "n": 0 }).unwrap();
        a.insert(rawdoc! { "_id": 1_000 + n, "n": 0 }).unwrap();
    }
    a.now_ms += 10_000;
    for run in b.runs() {
        a.engine.ingest(&run).unwrap().unwrap();
    }
    a.insert(rawdoc! { "_id": 2_000, "n": 0 }).unwrap();
    let digest = a.digest();
    let mut a = a.restart();
    assert!(a.engine.is_presentable());
    assert_eq!((a.digest(), a.engine.status().unwrap().unordered), (digest, 50));
    // Calls are tried on that, and order nothing either.
    let reply = a.update(rawdoc! {}, rawdoc! { "$inc": { "n": 1 } }).unwrap();
    assert_eq!((reply.outcome.matched, a.engine.status().unwrap().unordered), (51, 50));
    // What is undone then is seen nevertheless.
    assert!(!a.engine.run(|batch| batch.settle_within(2_000)).unwrap() && !a.engine.is_presentable());
    let (seen, _) = a.engine.meanwhile_view().unwrap();
    let meta = crate::view::catalog::collection(&seen, "c").unwrap().unwrap();
    assert_eq!(Statistics::of(&seen, meta.id).unwrap().documents.count, 51);
    // In the middle of that it is not known what they have seen.
    let a = a.restart();
    assert!(!a.engine.is_presentable() && a.engine.is_ordering());
    let mut a = a.restart_for_readers();
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(a.documents().len(), 101);
    a.insert(rawdoc! { "_id": 2_001 }).unwrap();
}

#[test]
fn peers_that_write_order_restart_and_ack_while_entries_wait_agree_in_the_end() {
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        let mut founder = peer(1, &closed(1));
        for number in [2, 3] {
            founder.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
        }
        founder.insert(rawdoc! { "_id": "counter", "n": 0 }).unwrap();
        let mut peers = vec![founder, peer(2, &closed(1)), peer(3, &closed(1))];
        let begin = peers[0].runs();
        for other in &mut peers[1..] {
            other.receive(&begin);
        }
        let mut increments = 0;
        for step in 0..60 {
            let (at, other) = (chance.below(3) as usize, chance.below(3) as usize);
            match chance.below(9) {
                0..=2 => {
                    peers[at]
                        .insert(rawdoc! { "_id": i64::from(step) * 10 + at as i64, "l": [1, step] })
                        .unwrap();
                }
                3 => {
                    peers[at].update(rawdoc! { "_id": "counter" }, rawdoc! { "$inc": { "n": 1 } }).unwrap();
                    increments += 1;
                }
                4 | 5 => {
                    let runs = peers[other].runs();
                    let count = chance.below(runs.len() as u64 + 1) as usize;
                    for run in &runs[..count] {
                        peers[at].engine.ingest(run).unwrap().unwrap();
                    }
                }
                6 => peers[at].settle(),
                7 => {
                    peers[at].ack();
                }
                _ => {
                    let one = peers.remove(at);
                    peers.insert(at, one.restart());
                }
            }
        }
        for _ in 0..12 {
            for at in 0..3 {
                for other in 0..3 {
                    let runs = peers[other].runs();
                    peers[at].receive(&runs);
                }
                peers[at].ack();
            }
        }
        let expected = (peers[0].digest(), peers[0].order());
        let is_open = |peer: &Peer| peer.engine.state.as_ref().unwrap().linearizer.has_unconfirmed_writes();
        assert!(!peers.iter().any(is_open), "all is confirmed: seed {seed}");
        for other in &peers[1..] {
            assert_eq!((other.digest(), other.order()), expected, "seed {seed}");
        }
        let documents = peers[0].documents();
        let counter =
            documents.iter().find(|document| document.get_str("_id").ok() == Some("counter")).unwrap();
        assert_eq!(counter.get_i32("n").unwrap(), increments, "seed {seed}");
    }
}

#[test]
fn of_two_concurrent_inserts_of_a_unique_key_the_later_in_the_order_is_rejected_and_listed() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true }).unwrap();
    meet(&mut a, &mut b);
    b.now_ms = a.now_ms;
    a.insert(rawdoc! { "_id": "a", "n": 1 }).unwrap();
    b.insert(rawdoc! { "_id": "b", "n": 1 }).unwrap();
    meet(&mut a, &mut b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.documents().len(), 1);
    let view = view_snapshot(&a.engine.database.begin_read().unwrap()).unwrap().unwrap();
    let meta = crate::view::catalog::collection(&view, "system.rejected").unwrap().unwrap();
    assert_eq!(Statistics::of(&view, meta.id).unwrap().documents.count, 1);
}

#[test]
fn a_peer_that_cannot_name_all_heads_as_parents_goes_on_writing() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    for number in 0..limits::PARENTS_MAX as u64 + 40 {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        let run = forged_run(&a, &SigningKey::from_bytes(&seed), |header| {
            header.parents.clear();
            header.time = 1_000_000 + number;
        });
        a.engine.ingest(&run).unwrap().unwrap();
    }
    a.settle();
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    a.insert(rawdoc! { "_id": 3 }).unwrap();
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!(b.documents().len(), 3);
    let a = a.restart();
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn large_calls_that_share_a_commit_are_sent_as_runs_that_peers_take() {
    let mut a = peer(1, &open());
    let noise = |seed: u64| -> String {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; 4 * 1024 * 1024];
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        data_encoding::BASE64.encode(&bytes)
    };
    let moment = a.moment();
    a.engine
        .run(|batch| {
            for id in 0..4_i64 {
                let documents = vec![rawdoc! { "_id": id, "s": noise(id.cast_unsigned()) }];
                let insert = Request::Insert { collection: "c".to_owned(), documents, ordered: true };
                batch.execute(insert, &moment)?.unwrap();
            }
            Ok(())
        })
        .unwrap();
    for run in a.runs() {
        assert!(crate::entry::Run::decode(&run.encode()).unwrap().verify(&a.engine.id).is_ok());
    }
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_rebuild_gives_the_same_and_still_knows_which_entries_change_members() {
    let mut a = peer(1, &closed(1));
    for number in [2, 3] {
        a.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
    }
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(Request::SetRoles { writer: writer_key(4), roles: Roles::WRITER }).unwrap();
    let before = (a.digest(), a.order());
    a.engine
        .run(|batch| {
            let membership = batch.state.membership.numbers().clone();
            assert!(!membership.is_empty(), "the last change is not confirmed");
            batch.rebuild(&crate::linearizer::ConfirmationBroken { epoch: 0, forked: Vec::new() })?;
            assert_eq!(*batch.state.membership.numbers(), membership);
            Ok(())
        })
        .unwrap();
    assert_eq!((a.digest(), a.order()), before);
}

#[test]
fn whose_admission_turns_out_void_writes_to_no_effect_wherever_its_entries_are_stored() {
    let identity = closed(1);
    let (mut a, mut b, mut c) = (peer(1, &identity), peer(2, &identity), peer(3, &identity));
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::ADMIN }).unwrap();
    b.receive(&a.runs());
    // The founder removes the second admin, who has not heard of it and admits a third writer.
    a.call(Request::RemoveWriter { writer: writer_key(2) }).unwrap();
    b.now_ms = a.now_ms + 100;
    b.call(Request::SetRoles { writer: writer_key(3), roles: Roles::WRITER }).unwrap();
    c.receive(&b.runs());
    c.now_ms = b.now_ms;
    c.insert(rawdoc! { "_id": 1 }).unwrap();
    meet(&mut b, &mut c);
    meet(&mut a, &mut b);
    meet(&mut a, &mut c);
    assert_eq!((a.digest(), a.digest()), (b.digest(), c.digest()));
    assert_eq!(b.order(), c.order());
    assert!(a.documents().is_empty());
    // The founder takes in neither the admission nor what follows from it; and cuts nobody off for it.
    assert_eq!(a.order().0, b.order().0[..a.order().0.len()]);
    assert!(a.order().0.len() < b.order().0.len() && a.engine.holds_back_any());
}

#[test]
fn an_ordered_insert_keeps_what_came_before_the_failure_and_replays_to_the_same() {
    let mut a = peer(1, &open());
    let documents = vec![rawdoc! { "_id": 1 }, rawdoc! { "_id": 1 }, rawdoc! { "_id": 2 }];
    let insert =
        |ordered| Request::Insert { collection: "c".to_owned(), documents: documents.clone(), ordered };
    let reply = a.call(insert(true)).unwrap();
    assert_eq!((reply.outcome.inserted, reply.outcome.ended_at), (1, Some(1)));
    let reply = a.call(insert(false)).unwrap();
    assert_eq!((reply.outcome.inserted, reply.outcome.rejected.len()), (1, 2));
    let mut b = peer(2, &open());
    b.receive(&a.runs());
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_call_that_fails_changes_and_logs_nothing() {
    let mut a = peer(1, &closed(1));
    a.insert(rawdoc! { "_id": 1, "n": 1 }).unwrap();
    a.create_index(rawdoc! { "name": "n_1", "key": { "n": 1 }, "unique": true }).unwrap();
    let before = (a.digest(), a.order());
    assert_eq!(a.insert(rawdoc! { "_id": 1 }).unwrap_err().code(), Some(11_000));
    assert_eq!(a.insert(rawdoc! { "_id": 2, "n": 1.0 }).unwrap_err().code(), Some(11_000));
    assert_eq!(
        a.update(rawdoc! { "_id": 1 }, rawdoc! { "$inc": { "n": "x" } }).unwrap_err().code(),
        Some(14)
    );
    assert_eq!(a.call(Request::DropCollection { collection: "no".to_owned() }).unwrap_err().code(), Some(26));
    assert!(
        a.call(Request::CreateCollection {
            collection: "system.x".to_owned(),
            options: CollectionOptions::default()
        })
        .is_err()
    );
    assert_eq!((a.digest(), a.order()), before);
}

#[test]
fn an_upsert_does_not_touch_a_document_that_its_filter_does_not_match() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1, "s": "b", "n": 0 }).unwrap();
    let before = (a.digest(), a.order());
    for filter in [rawdoc! { "_id": 1, "s": { "$regex": "^a" } }, rawdoc! { "_id": 1, "n": 5 }] {
        let mut upsert = update_request(filter, rawdoc! { "$inc": { "n": 1 } });
        upsert.upsert = Some(bson::oid::ObjectId::from_bytes([1; 12]));
        assert_eq!(a.call(Request::Update(upsert)).unwrap_err().code(), Some(11_000));
    }
    assert_eq!((a.digest(), a.order()), before);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Insert(usize, i32, i32),
    Increment(usize, i32),
    Delete(usize, i32),
    Index(usize, u8),
    DropIndex(usize, u8),
    Drop(usize),
    Meet(usize, usize),
    Ack(usize),
    Restart(usize),
    Indexers(usize, u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let peer = 0..3_usize;
    prop_oneof![
        6 => (peer.clone(), 0..12_i32, 0..4_i32).prop_map(|(peer, id, n)| Step::Insert(peer, id, n)),
        4 => (peer.clone(), 0..4_i32).prop_map(|(peer, n)| Step::Increment(peer, n)),
        2 => (peer.clone(), 0..4_i32).prop_map(|(peer, n)| Step::Delete(peer, n)),
        2 => (peer.clone(), 0..4_u8).prop_map(|(peer, kind)| Step::Index(peer, kind)),
        1 => (peer.clone(), 0..4_u8).prop_map(|(peer, kind)| Step::DropIndex(peer, kind)),
        1 => peer.clone().prop_map(Step::Drop),
        5 => (peer.clone(), peer.clone()).prop_map(|(a, b)| Step::Meet(a, b)),
        2 => peer.clone().prop_map(Step::Ack),
        1 => peer.clone().prop_map(Step::Restart),
        1 => (peer, 1..8_u8).prop_map(|(peer, set)| Step::Indexers(peer, set)),
    ]
}

fn take(peers: &mut [Option<Peer>], step: &Step) {
    let at = |peers: &mut [Option<Peer>], index: usize| -> Peer { peers[index].take().unwrap() };
    match *step {
        Step::Insert(index, id, n) => {
            let mut document = rawdoc! { "_id": id, "n": n, "l": [n, id] };
            if n % 2 == 0 {
                document.append(bson::raw::cstr!("s"), "x".repeat(n as usize));
            }
            let _ = peers[index].as_mut().unwrap().insert(document);
        }
        Step::Increment(index, n) => {
            let _ = peers[index].as_mut().unwrap().update(rawdoc! { "n": n }, rawdoc! { "$inc": { "n": 1 } });
        }
        Step::Delete(index, n) => {
            let _ = peers[index].as_mut().unwrap().delete(rawdoc! { "n": { "$gte": n } });
        }
        Step::Index(index, kind) => {
            let definition = match kind {
                0 | 1 => rawdoc! { "name": "l_1_n_-1", "key": { "l": 1, "n": -1 }, "unique": kind == 1 },
                2 => rawdoc! { "name": "s_1", "key": { "s": 1 }, "sparse": true },
                _ => rawdoc! {
                    "name": "n_1", "key": { "n": 1 }, "partialFilterExpression": { "n": { "$gt": 1 } },
                },
            };
            let _ = peers[index].as_mut().unwrap().create_index(definition);
        }
        Step::DropIndex(index, kind) => {
            let name = ["l_1_n_-1", "l_1_n_-1", "s_1", "n_1"][usize::from(kind)].to_owned();
            let drop = Request::DropIndex { collection: "c".to_owned(), name };
            let _ = peers[index].as_mut().unwrap().call(drop);
        }
        Step::Drop(index) => {
            let _ =
                peers[index].as_mut().unwrap().call(Request::DropCollection { collection: "c".to_owned() });
        }
        Step::Meet(a, b) if a != b => {
            let (mut one, mut other) = (at(peers, a), at(peers, b));
            meet(&mut one, &mut other);
            assert_eq!(one.digest(), other.digest());
            assert_eq!(one.order(), other.order());
            (peers[a], peers[b]) = (Some(one), Some(other));
        }
        Step::Meet(..) => {}
        Step::Ack(index) => {
            peers[index].as_mut().unwrap().ack();
        }
        Step::Restart(index) => {
            let peer = at(peers, index);
            let before = (peer.digest(), peer.order());
            let peer = peer.restart();
            assert_eq!((peer.digest(), peer.order()), before);
            peers[index] = Some(peer);
        }
        Step::Indexers(index, set) => {
            let writers = (1..=3).filter(|n| set & (1 << (n - 1)) != 0).map(writer_key).collect();
            let _ = peers[index].as_mut().unwrap().call(Request::SetIndexers { writers });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_equal_entries_give_equal_views_and_confirmed_orders_only_grow(
        is_open in any::<bool>(),
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let identity = if is_open { open() } else { closed(1) };
        let mut peers: Vec<Option<Peer>> = (1..=3).map(|number| Some(peer(number, &identity))).collect();
        if !is_open {
            let first = peers[0].as_mut().unwrap();
            for number in [2, 3] {
                first.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
            }
        }
        // In an open database only one peer founds here: two foundings are a fork of the founder's log.
        let mut confirmed: Vec<Vec<EntryHash>> = vec![Vec::new(); 3];
        for step in &steps {
            if let Step::Indexers(index, _) = step && is_open && *index != 0 {
                continue;
            }
            take(&mut peers, step);
            for (before, peer) in confirmed.iter_mut().zip(&peers) {
                let (order, count) = peer.as_ref().unwrap().order();
                prop_assert!(count as usize >= before.len());
                prop_assert!(order.starts_with(before));
                *before = order[..count as usize].to_vec();
                peer.as_ref().unwrap().check_statistics();
            }
        }
        for (a, b) in [(0, 1), (1, 2), (0, 1), (0, 2)] {
            take(&mut peers, &Step::Meet(a, b));
        }
        // A newcomer that gets everything at once builds the same view.
        let last = peers[0].take().unwrap();
        let mut fresh = peer(4, &identity);
        fresh.receive(&last.runs());
        prop_assert_eq!((fresh.digest(), fresh.order()), (last.digest(), last.order()));
        fresh.check_statistics();
    }
}
