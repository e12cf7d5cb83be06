//! What is confirmed goes to its place step by step: what readers see meanwhile, what calls do, and what is left by an end in
//! the middle.

use bson::rawdoc;

use super::*;
use crate::linearizer::Ballot;
use crate::log::LogRange;

/// How much goes to its place at a time.
const STEP_BYTES: usize = 4_000;

impl Peer {
    /// Puts some of what is confirmed at its place; whether all is there.
    fn confirm_some(&mut self) -> bool {
        self.engine.run(|batch| batch.confirm_until(STEP_BYTES, &mut || false)).unwrap()
    }

    /// What the first so many entries of the order did for confirmation, as it is shown.
    fn ballots(&self, count: u64) -> Vec<Ballot> {
        let range = LogRange { from: Some(0), limit: count as usize, writer: None };
        let transaction = self.engine.database.begin_read().unwrap();
        let page = crate::log::read::page(&transaction, self.engine.id(), &range, &[], true).unwrap();
        page.entries.into_iter().map(|entry| entry.ballot).collect()
    }

    /// How many entries are confirmed, and how many were undone.
    fn counts(&self) -> (u64, u64) {
        let status = self.engine.status().unwrap();
        (status.confirmed, status.undone)
    }
}

/// The founder, whose entries are confirmed as it writes them, and a writer; each has written `entries` apart from the other.
fn apart(entries: i32) -> (Peer, Peer) {
    let identity = closed(1);
    let (mut founder, mut writer) = (peer(1, &identity), peer(2, &identity));
    founder.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    confirm(&mut [&mut founder, &mut writer]);
    for n in 0..entries {
        founder.insert(rawdoc! { "_id": n, "s": "x".repeat(300) }).unwrap();
        writer.insert(rawdoc! { "_id": 1_000 + n, "s": "y".repeat(300) }).unwrap();
    }
    (founder, writer)
}

#[test]
fn what_is_confirmed_goes_before_a_tail_in_steps_and_calls_go_on_between_them() {
    let (mut founder, mut writer) = apart(60);
    let before = writer.counts();
    writer.take_in(&founder);
    assert_eq!(writer.counts(), before, "taking it in changes nothing of the view");
    assert!(writer.engine.is_presentable() && writer.engine.is_behind());
    writer.insert(rawdoc! { "_id": 2_000 }).unwrap();
    let (mut last, mut own, mut steps) = (before, 61, 0);
    while !writer.confirm_some() {
        let counts = writer.counts();
        assert!(counts > last || counts.1 > last.1, "each step does something");
        (last, steps) = (counts, steps + 1);
        assert!(!writer.engine.is_presentable(), "own entries are undone");
        writer.insert_meanwhile(rawdoc! { "_id": 2_000 + own }).unwrap().unwrap();
        own += 1;
        let seen = writer.seen("c");
        assert_eq!(
            seen.iter().filter(|id| **id >= 1_000).count(),
            own as usize,
            "nobody misses what it wrote"
        );
        assert_eq!(seen.len(), own as usize, "of the others it is all seen at once");
    }
    assert!(steps > 10, "{steps} steps");
    assert!(!writer.engine.is_behind() && writer.engine.has_unordered(), "the tail waits until that is due");
    assert_eq!(writer.counts(), (founder.counts().0, before.1 + 61));
    writer.settle();
    assert_eq!(writer.counts().1, before.1 + 61, "nothing is undone twice");
    assert_eq!(writer.documents().len(), 60 + own as usize);
    confirm(&mut [&mut founder, &mut writer]);
    assert_eq!((writer.digest(), writer.order()), (founder.digest(), founder.order()));
}

#[test]
fn what_is_shown_of_the_log_between_two_steps_is_what_is_shown_of_it_in_the_end() {
    let (founder, mut writer) = apart(60);
    let whole = founder.ballots(founder.counts().0);
    assert!(whole.iter().filter(|ballot| **ballot == Ballot::Anchor).count() > 50, "{whole:?}");
    writer.take_in(&founder);
    let mut steps = 0;
    while !writer.confirm_some() {
        let confirmed = writer.counts().0;
        assert_eq!(writer.ballots(confirmed), whole[..confirmed as usize], "{confirmed} confirmed");
        steps += 1;
    }
    assert!(steps > 10);
}

#[test]
fn who_ends_between_two_steps_goes_on_where_it_was() {
    for steps in [0, 1, 5, 12, 20, 30] {
        let (mut founder, mut writer) = apart(40);
        writer.take_in(&founder);
        for _ in 0..steps {
            writer.confirm_some();
        }
        let confirmed = writer.counts().0;
        let mut writer = writer.restart();
        assert_eq!(writer.counts().0, confirmed, "what was at its place stays there");
        writer.insert(rawdoc! { "_id": 3_000 }).unwrap();
        confirm(&mut [&mut founder, &mut writer]);
        assert_eq!((writer.digest(), writer.order()), (founder.digest(), founder.order()), "after {steps}");
        writer.check_statistics();
    }
}

/// Three logs in which who confirms changes in the middle: what a newcomer has to take in of it.
fn changing() -> (Peer, Peer) {
    let (mut founder, writer) = apart(30);
    let mut other = peer(3, &founder.engine.identity);
    founder.call(Request::SetRoles { writer: writer_key(3), roles: Roles::INDEXER }).unwrap();
    for n in 0..10 {
        founder.insert(rawdoc! { "_id": 100 + n }).unwrap();
        confirm(&mut [&mut founder, &mut other]);
        other.insert(rawdoc! { "_id": 200 + n }).unwrap();
    }
    confirm(&mut [&mut founder, &mut other]);
    assert_eq!(founder.engine.status().unwrap().epoch, 1);
    (founder, writer)
}

#[test]
fn what_follows_a_change_of_indexers_waits_until_that_is_at_its_place() {
    for ends_after in [None, Some(0), Some(1), Some(4), Some(12), Some(25)] {
        let (mut founder, mut writer) = changing();
        let (mut waits, mut steps, mut calls) = (0, 0, 0);
        for run in founder.runs() {
            loop {
                match writer.engine.run(|batch| batch.ingest_or_wait(&run)).unwrap() {
                    Some(taken) => break taken.unwrap(),
                    None => waits += 1,
                }
                let mut is_done = false;
                while !is_done {
                    is_done = writer.confirm_some();
                    if !writer.engine.is_presentable() {
                        let called = writer.insert_meanwhile(rawdoc! { "_id": 5_000 + calls });
                        called.expect("what it has seen tells nothing of another epoch").unwrap();
                        calls += 1;
                    }
                    if ends_after == Some(steps) {
                        writer = writer.restart_for_readers();
                    }
                    steps += 1;
                }
            }
        }
        assert!(waits > 0 || ends_after.is_some(), "a run was of the next epoch");
        assert!(steps > 12 || ends_after.is_some());
        writer.settle();
        assert_eq!(writer.engine.status().unwrap().epoch, 1);
        confirm(&mut [&mut founder, &mut writer]);
        assert_eq!(writer.documents().len(), 30 + 30 + 20 + calls as usize);
        assert_eq!((writer.digest(), writer.order()), (founder.digest(), founder.order()));
    }
}

#[test]
fn what_an_ack_confirms_where_it_stands_is_counted_in_steps_and_readers_see_it_all_the_time() {
    let identity = open();
    let (mut a, mut b) = (peer(1, &identity), peer(2, &identity));
    a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(2)] }).unwrap();
    confirm(&mut [&mut a, &mut b]);
    for n in 0..100 {
        a.insert(rawdoc! { "_id": n, "s": "x".repeat(300) }).unwrap();
    }
    b.receive(&a.runs());
    assert!(b.ack());
    a.take_in(&b);
    if !a.engine.is_behind() {
        assert!(a.ack(), "one more vote is wanted");
    }
    let (before, undone) = a.counts();
    let (mut last, mut calls) = (before, 0);
    assert!(a.engine.is_behind(), "what is confirmed is much");
    while !a.confirm_some() {
        assert!(a.engine.is_presentable());
        assert!(a.counts().0 > last);
        last = a.counts().0;
        a.insert(rawdoc! { "_id": 1_000 + calls }).unwrap();
        calls += 1;
        assert_eq!(a.documents().len(), 100 + calls as usize);
    }
    assert!(calls > 1, "{calls} calls, each of which counts some that are at their places");
    assert!(a.counts().0 >= before + 100);
    assert_eq!(a.counts().1, undone);
    confirm(&mut [&mut a, &mut b]);
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

#[test]
fn an_order_built_anew_is_what_the_store_goes_back_to_also_where_more_is_confirmed_at_once() {
    let identity = closed(1);
    let mut one = peer(1, &identity);
    one.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    // The founder's device is copied, and confirms two orders of which one is the longer.
    let mut other = peer(1, &identity);
    other.receive(&one.runs());
    let mut early = peer(2, &identity);
    early.receive(&one.runs());
    for n in 0..50 {
        early.insert(rawdoc! { "_id": 500 + n }).unwrap();
    }
    one.receive(&early.runs());
    for n in 0..5 {
        one.insert(rawdoc! { "_id": n }).unwrap();
    }
    for n in 0..60 {
        other.insert(rawdoc! { "_id": 100 + n, "s": "x".repeat(300) }).unwrap();
    }
    for steps in [0, 1, 4] {
        let mut writer = peer(2, &identity);
        writer.receive(&one.runs());
        for n in 0..30 {
            writer.insert(rawdoc! { "_id": 1_000 + n, "s": "y".repeat(300) }).unwrap();
        }
        let (entries, before) = (writer.engine.end(), writer.counts());
        assert!(before.0 > 50, "the shorter one is confirmed here, and much with it");
        let runs = other.runs();
        let is_done = writer.engine.run(|batch| {
            for run in &runs {
                batch.ingest(run)?.unwrap();
            }
            batch.confirm_until(STEP_BYTES, &mut || false)
        });
        assert!(!is_done.unwrap(), "much is confirmed after it was built anew");
        for _ in 0..steps {
            assert!(!writer.confirm_some());
        }
        let confirmed = writer.counts().0;
        assert!(confirmed < before.0, "less is confirmed than what the store last noted");
        let mut writer = writer.restart();
        assert_eq!((writer.counts().0, writer.engine.end()), (confirmed, entries + 60));
        writer.settle();
        writer.insert(rawdoc! { "_id": 3_000 }).unwrap();
        let mut fresh = peer(9, &identity);
        fresh.receive(&writer.runs());
        assert_eq!((writer.digest(), writer.order()), (fresh.digest(), fresh.order()), "after {steps}");
        assert_eq!(writer.engine.status().unwrap().alarms, vec![writer_key(1)]);
        writer.check_statistics();
    }
}
