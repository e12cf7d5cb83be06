//! Calls while a backlog is being ordered: what they see, what their entries have in their pasts, and that nothing else changes.

use bson::rawdoc;

use super::*;
use crate::simulation::{Chance, requests};

/// How much is ordered at a time.
const STEP_BYTES: usize = 4_000;

impl Peer {
    /// Takes in what another holds, and orders nothing.
    pub(super) fn take_in(&mut self, other: &Peer) {
        let runs = other.runs();
        self.engine
            .run(|batch| {
                for run in &runs {
                    batch.ingest(run)?.unwrap();
                }
                Ok(())
            })
            .unwrap();
    }

    pub(super) fn step(&mut self) -> bool {
        self.engine.run(|batch| batch.settle_within(STEP_BYTES)).unwrap()
    }

    fn call_meanwhile(&mut self, request: &Request) -> Option<Result<Reply>> {
        let moment = self.moment();
        self.engine.run(|batch| batch.execute_meanwhile(request, &moment)).unwrap()
    }

    pub(super) fn insert_meanwhile(&mut self, document: RawDocumentBuf) -> Option<Result<Reply>> {
        self.call_meanwhile(&requests::insert("c", vec![document]))
    }

    /// The numbers that readers see in a collection.
    pub(super) fn seen(&mut self, collection: &str) -> Vec<i32> {
        let (view, _) = self.engine.meanwhile_view().expect("it is known what readers see");
        let meta = crate::view::catalog::collection(&view, collection).unwrap().unwrap();
        let all = crate::query::FindOptions::default().compile(None).unwrap();
        let found = crate::query::Execution::new(view, &Arc::new(meta), all).unwrap();
        found.map(|document| document.unwrap().get_i32("_id").unwrap()).collect()
    }

    fn parents_of(&self, entry: &EntryHash) -> Vec<EntryHash> {
        let log = self.log();
        let header = log.record(log.number_of(entry).unwrap().unwrap()).unwrap().unwrap().header;
        header.prev.into_iter().chain(header.parents).collect()
    }

    fn last_of(&self, writer: u8) -> EntryHash {
        let tips = self.log().tips().unwrap();
        tips.into_iter().find(|tip| tip.writer == writer_key(writer)).unwrap().head
    }
}

/// Two peers that wrote apart, all of `b` before all of `a`; and `a` has begun to order what `b` wrote.
fn halfway(identity: &Identity) -> (Peer, Peer) {
    let (mut a, mut b) = (peer(1, identity), peer(2, identity));
    if identity.genesis.admission == crate::entry::Admission::Closed {
        a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
        confirm(&mut [&mut a, &mut b]);
    }
    for n in 0..60 {
        b.insert(rawdoc! { "_id": n, "s": "y".repeat(300) }).unwrap();
    }
    a.now_ms += 10_000;
    for n in 0..60 {
        a.insert(rawdoc! { "_id": 1_000 + n, "s": "x".repeat(300) }).unwrap();
    }
    a.take_in(&b);
    for _ in 0..4 {
        assert!(!a.step());
    }
    assert!(a.engine.is_ordering() && !a.engine.is_presentable());
    (a, b)
}

#[test]
fn a_call_between_steps_sees_what_readers_see_and_has_just_that_in_its_past() {
    let (mut a, mut b) = halfway(&open());
    let own: Vec<i32> = (1_000..1_060).collect();
    assert_eq!(a.seen("c"), own, "nothing of what is being applied is seen, nor missed what is undone");
    let last = a.last_of(1);
    let mut numbers = Vec::new();
    for n in 0..30 {
        let request = requests::insert("c", vec![rawdoc! { "_id": 2_000 + n }]);
        let entry = a.call_meanwhile(&request).unwrap().unwrap().entry.unwrap();
        let expected = numbers.last().copied().unwrap_or(last);
        assert_eq!(a.parents_of(&entry), [expected], "no entry that it has not seen");
        numbers.push(entry);
        let update = Request::Update(requests::update("c", rawdoc! {}, rawdoc! { "$inc": { "n": 1 } }));
        let reply = a.call_meanwhile(&update).unwrap().unwrap();
        assert_eq!(
            reply.outcome.matched,
            61 + u64::try_from(n).unwrap(),
            "what was written meanwhile is seen"
        );
        numbers.push(reply.entry.unwrap());
        assert_eq!(a.seen("c").len(), 61 + usize::try_from(n).unwrap());
        assert!(!a.step() || n > 10);
        if !a.engine.is_ordering() {
            break;
        }
    }
    a.settle();
    assert!(a.engine.meanwhile_view().is_none(), "the view holds it now");
    let order = a.order().0;
    assert!(numbers.iter().all(|entry| order.contains(entry)));
    assert!(a.documents().len() >= 120 + numbers.len() / 2);
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    a.check_statistics();
}

#[test]
fn a_call_that_does_not_hold_against_what_was_written_meanwhile_leaves_nothing() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.create_index(rawdoc! { "key": { "u": 1 }, "name": "u_1", "unique": true, "sparse": true }).unwrap();
    for n in 0..40 {
        b.insert(rawdoc! { "_id": n, "s": "y".repeat(300) }).unwrap();
        a.insert(rawdoc! { "_id": 1_000 + n, "s": "x".repeat(300), "u": n }).unwrap();
    }
    a.take_in(&b);
    assert!(!a.step());
    let entries = a.engine.status().unwrap().entries;
    let refused = a.insert_meanwhile(rawdoc! { "_id": 7_000, "u": 39 }).unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(11_000), "a key that is held by what is undone");
    a.insert_meanwhile(rawdoc! { "_id": 7_001, "u": 100 }).unwrap().unwrap();
    let refused = a.insert_meanwhile(rawdoc! { "_id": 7_002, "u": 100 }).unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(11_000), "a key that was taken meanwhile");
    let refused = a.insert_meanwhile(rawdoc! { "_id": 7_001 }).unwrap().unwrap_err();
    assert_eq!(refused.code(), Some(11_000));
    assert_eq!(a.engine.status().unwrap().entries, entries + 1);
    // Of an ordered bulk what comes before the failure stays.
    let parts = vec![
        requests::insert("c", vec![rawdoc! { "_id": 7_003, "u": 101 }]),
        requests::insert("c", vec![rawdoc! { "_id": 7_004, "u": 100 }]),
    ];
    let reply = a.call_meanwhile(&Request::Bulk { parts, ordered: true }).unwrap().unwrap();
    assert_eq!((reply.outcome.inserted, reply.outcome.rejected.len()), (1, 1));
    assert!(a.seen("c").contains(&7_003) && !a.seen("c").contains(&7_004));
    a.settle();
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    let ids: Vec<i32> = a.documents().iter().map(|document| document.get_i32("_id").unwrap()).collect();
    assert!(ids.contains(&7_001) && !ids.contains(&7_002), "{ids:?}");
}

#[test]
fn collections_and_indexes_that_are_made_meanwhile_are_there_at_once_and_afterwards() {
    let (mut a, mut b) = halfway(&open());
    // A collection of another name than the one that is made where `a` cannot see it yet.
    b.call(requests::insert("d", vec![rawdoc! { "_id": 1 }])).unwrap();
    a.call_meanwhile(&requests::insert("e", vec![rawdoc! { "_id": 5 }])).unwrap().unwrap();
    assert_eq!(a.seen("e"), [5]);
    let index = requests::create_index("c", rawdoc! { "key": { "n": 1 }, "name": "n_1" });
    a.call_meanwhile(&index).unwrap().unwrap();
    let entries = a.engine.status().unwrap().entries;
    a.call_meanwhile(&index).unwrap().unwrap();
    assert_eq!(a.engine.status().unwrap().entries, entries, "it is there already");
    let renamed =
        Request::RenameCollection { collection: "e".to_owned(), to: "f".to_owned(), drop_target: false };
    a.call_meanwhile(&renamed).unwrap().unwrap();
    assert_eq!(a.seen("f"), [5]);
    a.insert_meanwhile(rawdoc! { "_id": 3_000, "n": 3 }).unwrap().unwrap();
    a.settle();
    a.receive(&b.runs());
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    assert_eq!((a.listed("f").len(), a.listed("d").len(), a.documents().len()), (1, 1, 121));
    a.check_statistics();
}

#[test]
fn who_ends_in_the_middle_has_all_that_was_acknowledged() {
    let (mut a, mut b) = halfway(&open());
    let reply = a.insert_meanwhile(rawdoc! { "_id": 2_000 }).unwrap().unwrap();
    assert!(!a.step());
    a.insert_meanwhile(rawdoc! { "_id": 2_001 }).unwrap().unwrap();
    let mut a = a.restart_for_readers();
    assert!(!a.engine.has_unordered());
    assert!(a.order().0.contains(&reply.entry.unwrap()));
    assert_eq!(a.documents().len(), 122);
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
    a.insert(rawdoc! { "_id": 2_002 }).unwrap();
}

#[test]
fn an_indexers_calls_meanwhile_confirm_nothing_before_all_is_ordered() {
    let (mut a, mut b) = halfway(&closed(1));
    let before = a.engine.status().unwrap();
    let mut calls = 0;
    while a.engine.is_ordering() {
        a.insert_meanwhile(rawdoc! { "_id": 2_000 + calls, "s": "z".repeat(100) }).unwrap().unwrap();
        calls += 1;
        a.step();
        assert!(calls < 1_000, "it comes to an end");
    }
    let after = a.engine.status().unwrap();
    assert_eq!(after.confirmed, before.confirmed);
    assert_eq!(after.undone, before.undone, "nothing that is applied goes behind a call");
    assert!(a.ack());
    a.settle();
    assert_eq!(a.engine.status().unwrap().confirmed, a.engine.status().unwrap().entries);
    assert_eq!(a.engine.status().unwrap().undone, after.undone, "what it confirms stands as it is");
    confirm(&mut [&mut a, &mut b]);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn calls_wait_where_they_would_go_before_what_is_applied_again_and_again() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    b.now_ms += 1_000_000;
    for n in 0..60 {
        a.insert(rawdoc! { "_id": 1_000 + n, "s": "x".repeat(300) }).unwrap();
        b.insert(rawdoc! { "_id": n, "s": "y".repeat(300) }).unwrap();
    }
    a.take_in(&b);
    let (mut calls, mut waits) = (0, 0);
    assert!(!a.step());
    while a.engine.is_ordering() {
        match a.insert_meanwhile(rawdoc! { "_id": 2_000 + calls }) {
            Some(reply) => {
                reply.unwrap();
                calls += 1;
            }
            None => waits += 1,
        }
        a.step();
        assert!(calls + waits < 1_000, "it comes to an end");
    }
    assert!(calls > 0 && waits > 0);
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn what_is_not_of_documents_waits_and_so_does_what_takes_too_much_memory() {
    let (mut a, mut b) = halfway(&open());
    assert!(a.call_meanwhile(&Request::RotateKey { seed: [1; 32] }).is_none());
    let name = Request::NameWriter { writer: None, name: "a".to_owned() };
    assert!(a.call_meanwhile(&name).is_none());
    let large = limits::MEANWHILE_BYTES_MAX / 3;
    let mut taken = 0;
    let entries = a.engine.status().unwrap().entries;
    while let Some(reply) = a.insert_meanwhile(rawdoc! { "_id": 5_000 + taken, "s": "l".repeat(large) }) {
        reply.unwrap();
        taken += 1;
        assert!(taken < 100, "memory is bounded");
    }
    assert!(taken > 0);
    assert_eq!(a.engine.status().unwrap().entries, entries + u64::try_from(taken).unwrap());
    assert!(!a.seen("c").contains(&(5_000 + taken)), "nothing is left of the one that has to wait");
    a.insert_meanwhile(rawdoc! { "_id": 6_000 }).unwrap().unwrap();
    a.settle();
    a.call(name).unwrap();
    a.insert(rawdoc! { "_id": 5_000 + taken, "s": "l".repeat(large) }).unwrap();
    b.receive(&a.runs());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn peers_that_write_while_they_order_agree_in_the_end() {
    for seed in 0..30 {
        let mut chance = Chance::new(seed);
        let mut founder = peer(1, &closed(1));
        for number in [2, 3] {
            founder.call(Request::SetRoles { writer: writer_key(number), roles: Roles::INDEXER }).unwrap();
        }
        let mut peers = [founder, peer(2, &closed(1)), peer(3, &closed(1))];
        {
            let [a, b, c] = &mut peers;
            confirm(&mut [a, b, c]);
        }
        let mut acknowledged: [Vec<EntryHash>; 3] = Default::default();
        let mut meanwhile = 0;
        for step in 0..120 {
            let at = chance.below(3) as usize;
            peers[at].now_ms += chance.below(20);
            match chance.below(12) {
                0..6 => {
                    let id = chance.below(40) as i32;
                    let request = match chance.below(5) {
                        0 | 1 => requests::insert("c", vec![rawdoc! { "_id": id, "s": "x".repeat(200) }]),
                        2 => Request::Delete(requests::delete("c", rawdoc! { "_id": id })),
                        3 => Request::Update(requests::update(
                            "c",
                            rawdoc! { "_id": { "$gt": id } },
                            rawdoc! { "$inc": { "n": 1 } },
                        )),
                        _ => Request::Update(requests::update(
                            "c",
                            rawdoc! { "_id": id },
                            rawdoc! { "$set": { "v": step } },
                        )),
                    };
                    let reply = match peers[at].call_meanwhile(&request) {
                        Some(reply) => {
                            meanwhile += 1;
                            reply
                        }
                        None => peers[at].call(request),
                    };
                    if let Ok(Reply { entry: Some(entry), .. }) = reply {
                        acknowledged[at].push(entry);
                    }
                }
                6 | 7 => {
                    let runs = peers[(at + 1 + chance.below(2) as usize) % 3].runs();
                    for run in &runs {
                        peers[at].engine.ingest(run).unwrap().unwrap();
                    }
                    peers[at].engine.run(|batch| batch.settle_within(1_500)).unwrap();
                }
                8 | 9 => drop(peers[at].engine.run(|batch| batch.settle_within(1_500)).unwrap()),
                10 => drop(peers[at].ack()),
                _ => {
                    let [a, b, c] = peers;
                    peers = match at {
                        0 => [a.restart(), b, c],
                        1 => [a, b.restart(), c],
                        _ => [a, b, c.restart_for_readers()],
                    };
                }
            }
        }
        assert!(meanwhile > 0, "seed {seed}: nobody wrote meanwhile");
        let [a, b, c] = &mut peers;
        confirm(&mut [a, b, c]);
        for (peer, acknowledged) in peers.iter().zip(&acknowledged) {
            assert_eq!(peer.digest(), peers[0].digest(), "seed {seed}");
            assert_eq!(peer.order(), peers[0].order(), "seed {seed}");
            let order = peer.order().0;
            assert!(acknowledged.iter().all(|entry| order.contains(entry)), "seed {seed}");
            peer.check_statistics();
        }
    }
}
