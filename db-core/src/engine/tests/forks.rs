//! Forked logs: proofs of them, what they take away, and that all peers agree on it whatever came first.

#![allow(clippy::redundant_closure_for_method_calls)] // methods' paths are not general enough over lifetimes

use bson::rawdoc;
use proptest::prelude::*;

use super::*;
use crate::entry::{Branch, ForkProof};
use crate::view::identities;

impl Peer {
    fn prove(&mut self) -> bool {
        let wants = self.engine.wants_fork_proof().unwrap();
        if wants {
            self.call(Request::ProveForks).unwrap();
        }
        wants
    }

    fn is_revoked(&self, writer: u8) -> bool {
        let view = self.engine.view().unwrap();
        let roles = members::roles(&view, &self.engine.identity.genesis, &writer_key(writer)).unwrap();
        identities::is_forked(&view, &writer_key(writer)).unwrap() && !roles.has(Roles::WRITER)
    }
}

/// Two engines that sign with one key, after a common beginning, each with a few entries of its own.
fn twins(number: u8, identity: &Identity, beginning: &[VerifiedRun]) -> (Peer, Peer) {
    let (mut one, mut other) = (peer(number, identity), peer(number, identity));
    for (twin, name) in [(&mut one, "one"), (&mut other, "other")] {
        twin.receive(beginning);
        for at in 0..3 {
            twin.now_ms += 10;
            twin.insert(rawdoc! { "_id": format!("{number} {name} {at}") }).unwrap();
        }
    }
    (one, other)
}

#[test]
fn a_fork_is_proved_once_and_revokes_its_writer_in_an_open_database_too() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let (one, mut other) = twins(4, &open(), &a.runs());
    let (mut b, mut c) = (peer(2, &open()), peer(3, &open()));
    b.receive(&one.runs());
    c.receive(&other.runs());
    assert!(!b.prove() && !c.prove(), "nobody has seen both");
    meet(&mut b, &mut c);
    assert!(b.prove(), "the first who sees it proves it");
    c.receive(&b.runs());
    assert!(!c.prove() && !b.prove(), "nobody else has to");
    assert!(b.is_revoked(4) && c.is_revoked(4));
    let before = c.documents().len();
    // What it writes on is skipped, and it is told.
    other.now_ms += 100_000;
    other.insert(rawdoc! { "_id": "late" }).unwrap();
    meet(&mut c, &mut other);
    assert_eq!((c.documents().len(), c.digest()), (before, other.digest()));
    assert_eq!(other.insert(rawdoc! { "_id": "later" }).unwrap_err().kind(), ErrorKind::Denied);
    let mut a = a.restart();
    a.receive(&c.runs());
    assert_eq!((a.digest(), a.order()), (c.digest(), c.order()));
    // Nobody can give it back what it had.
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    let again = Request::SetRoles { writer: writer_key(4), roles: Roles::WRITER };
    assert_eq!(a.call(again).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(a.call(Request::SetIndexers { writers: vec![writer_key(1), writer_key(4)] }).is_err());
}

#[test]
fn who_lacks_some_of_its_own_log_proves_nothing_until_it_has_that() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    let (one, other) = twins(4, &open(), &a.runs());
    let mut b = peer(2, &open());
    for log in [a.runs(), one.runs(), other.runs()] {
        b.receive(&log);
    }
    let mut elsewhere = peer(2, &open());
    elsewhere.receive(&a.runs());
    elsewhere.insert(rawdoc! { "_id": "elsewhere" }).unwrap();
    let end = elsewhere.runs().last().unwrap().entries().last().unwrap().hash;
    assert!(b.engine.wants_fork_proof().unwrap());
    b.shown(&writer_key(2), 1, end);
    assert!(!b.prove(), "it may not write, and would want to for ever");
    b.receive(&elsewhere.runs());
    assert!(b.prove() && b.is_revoked(4));
}

#[test]
fn two_proofs_of_one_fork_are_one_and_change_the_indexers_once() {
    let mut a = peer(1, &closed(1));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(Request::SetIndexers { writers: (1..=4).map(writer_key).collect() }).unwrap();
    let (mut b, mut c) = (peer(2, &closed(1)), peer(3, &closed(1)));
    let (one, other) = twins(4, &closed(1), &a.runs());
    b.receive(&one.runs());
    b.receive(&other.runs());
    c.receive(&other.runs());
    c.receive(&one.runs());
    assert_eq!(b.engine.status().unwrap().alarms, vec![writer_key(4)], "the alarm names it");
    assert!(b.prove() && c.prove(), "neither knows of the other's proof");
    confirm(&mut [&mut a, &mut b, &mut c]);
    for peer in [&a, &b, &c] {
        assert!(peer.is_revoked(4));
        assert_eq!((peer.digest(), peer.order()), (a.digest(), a.order()));
        let status = peer.engine.status().unwrap();
        assert_eq!(status.indexers.len(), 3);
        assert_eq!(status.alarms, vec![writer_key(4)], "the alarm stays");
    }
    assert_eq!(a.restart().engine.status().unwrap().alarms, vec![writer_key(4)]);
}

#[test]
fn the_last_indexer_and_admin_keeps_its_rights_and_raises_the_alarm() {
    let mut a = peer(1, &closed(1));
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
    let (mut one, other) = twins(1, &closed(1), &a.runs());
    let mut b = peer(2, &closed(1));
    b.receive(&one.runs());
    b.receive(&other.runs());
    assert_eq!(b.engine.status().unwrap().alarms, vec![writer_key(1)]);
    assert!(b.prove() && !b.prove());
    one.receive(&b.runs());
    assert!(!one.prove(), "nobody proves its own fork");
    assert_eq!(one.engine.status().unwrap().indexers, vec![writer_key(1)]);
    one.insert(rawdoc! { "_id": "still" }).unwrap();
    // It can go on with another key, which then is the one that decides.
    one.call(Request::RotateKey { seed: [5; 32] }).unwrap();
    one.insert(rawdoc! { "_id": "anew" }).unwrap();
    b.receive(&one.runs());
    assert_eq!((b.digest(), b.order()), (one.digest(), one.order()));
    assert_eq!(b.engine.status().unwrap().indexers, vec![one.engine.writer()]);
}

#[test]
fn a_false_accusation_is_refused_and_harms_nobody() {
    let mut a = peer(1, &open());
    a.insert(rawdoc! { "_id": 1 }).unwrap();
    a.insert(rawdoc! { "_id": 2 }).unwrap();
    let branch = |run: &VerifiedRun| Branch {
        headers: run.entries().iter().map(|entry| entry.header.clone()).collect(),
        signature: *run.signature(),
    };
    let runs = a.runs();
    let (first, second) = (branch(&runs[0]), branch(&runs[1]));
    let mut changed = first.clone();
    changed.headers[0].time += 1;
    let false_proofs = [
        ForkProof::new([first.clone(), first.clone()]),
        ForkProof::new([first.clone(), second]),
        ForkProof::new([first.clone(), changed]),
        ForkProof::new([first.clone(), Branch { signature: [0; 64], ..first.clone() }]),
    ];
    let before = a.digest();
    for proof in false_proofs {
        let operation = Operation::ForkProof(Box::new(proof.clone()));
        let payload = crate::payload::pack(&crate::operation::encode(std::slice::from_ref(&operation)));
        let run = forged_run_with(&a, &secret(2), payload, |_| {});
        assert!(matches!(a.engine.ingest(&run).unwrap(), Err(IngestError::FalseProof(_))));
        let proofs = Request::ForkProofs { proofs: vec![proof] };
        assert!(a.call(proofs).unwrap().entry.is_none(), "nor is it logged here");
    }
    assert_eq!(a.digest(), before);
    assert!(!a.is_revoked(1));

    // Of one that holds, more than an entry may have are refused as well.
    let (one, other) = twins(4, &open(), &runs);
    a.receive(&one.runs());
    a.receive(&other.runs());
    let proofs = a.engine.run(|batch| batch.fork_proofs()).unwrap();
    let many = vec![Operation::ForkProof(Box::new(proofs[0].clone())); limits::FORK_PROOFS_MAX + 1];
    let payload = crate::payload::pack(&crate::operation::encode(&many));
    let run = forged_run_with(&a, &secret(2), payload, |_| {});
    assert!(matches!(a.engine.ingest(&run).unwrap(), Err(IngestError::FalseProof(_))));
    // Who may not write proves nothing.
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    a.call(Request::SetRoles { writer: writer_key(3), roles: Roles::READER }).unwrap();
    let mut reader = peer(3, &open());
    reader.receive(&a.runs());
    assert!(!reader.prove());
    assert!(a.prove());
}

#[test]
fn the_founding_of_an_open_database_is_not_revoked_by_a_second_one() {
    let (mut a, mut b) = (peer(1, &open()), peer(2, &open()));
    a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
    b.call(Request::SetIndexers { writers: vec![writer_key(2)] }).unwrap();
    meet(&mut a, &mut b);
    assert!(!a.prove() && !b.prove());
    assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
}

/// What two devices write that both have the key of the only indexer, in the order in which each step makes the one branch longer
/// than the other.
fn branches_in_turn(steps: usize) -> Vec<Vec<VerifiedRun>> {
    let mut branches = Vec::new();
    for name in ["one", "other"] {
        let mut twin = peer(1, &closed(1));
        for at in 0..2 * steps {
            twin.insert(rawdoc! { "_id": format!("{name} {at}") }).unwrap();
        }
        branches.push(twin.runs().into_iter());
    }
    let mut in_turn = vec![branches[0].by_ref().take(1).collect()];
    for step in 1..steps {
        in_turn.push(branches[step % 2].by_ref().take(2).collect());
    }
    in_turn
}

#[test]
fn branches_of_the_only_indexer_that_grow_in_turn_have_everything_built_anew_each_time() {
    let steps = branches_in_turn(10);
    let mut receiver = peer(5, &closed(1));
    for (before, step) in steps.iter().enumerate() {
        receiver.receive(step);
        assert_eq!(receiver.engine.rebuilt(), before as u64);
    }
    // How often it was makes no difference to what comes of it.
    let mut other = peer(6, &closed(1));
    for turn in 0..2 {
        for step in steps.iter().skip(turn).step_by(2) {
            other.receive(step);
        }
    }
    assert_eq!(other.engine.rebuilt(), 1);
    assert_eq!((other.digest(), other.order()), (receiver.digest(), receiver.order()));
}

#[test]
fn what_would_have_everything_built_anew_again_is_refused_for_a_while_and_taken_in_later() {
    let steps = branches_in_turn(10);
    let mut whole = peer(5, &closed(1));
    for step in &steps {
        whole.receive(step);
    }
    let mut limited = peer(6, &closed(1));
    let runs = steps.concat();
    let mut sessions = 0;
    loop {
        sessions += 1;
        limited.engine.allow_rebuilds(1);
        let rebuilt = limited.engine.rebuilt();
        let refused = runs.iter().find_map(|run| {
            let (end, before) = (limited.engine.end(), limited.order());
            let refused = limited.engine.ingest(run).unwrap().err()?;
            assert_eq!((limited.engine.end(), limited.order()), (end, before), "nothing of it is stored");
            Some(refused)
        });
        assert!(limited.engine.rebuilt() <= rebuilt + 1);
        let Some(refused) = refused else { break };
        assert!(matches!(refused, IngestError::BreaksTooSoon(_)), "{refused}");
        // It is held up by nothing else meanwhile.
        limited.engine.allow_rebuilds(0);
        limited.settle();
        limited = limited.restart();
    }
    limited.settle();
    assert!((5..=10).contains(&sessions), "{sessions} sessions");
    assert_eq!((limited.digest(), limited.order()), (whole.digest(), whole.order()));
}

#[test]
fn who_forks_nothing_is_not_refused_for_another_who_does() {
    let steps = branches_in_turn(4);
    let mut receiver = peer(5, &closed(1));
    receiver.receive(&steps[0]);
    receiver.receive(&steps[1]);
    receiver.engine.allow_rebuilds(0);
    let twin_run = &steps[2][1];
    assert!(
        receiver.engine.ingest(&steps[2][0]).unwrap().is_err()
            || receiver.engine.ingest(twin_run).unwrap().is_err()
    );
    let before = receiver.engine.end();
    // The longer branch goes on as it did, and whoever it admits writes.
    for run in &steps[3] {
        receiver.engine.ingest(run).unwrap().unwrap();
    }
    receiver.settle();
    assert_eq!((receiver.engine.end(), receiver.engine.rebuilt()), (before + 2, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Three branches of one log and two proofs, whatever a peer gets first.
    #[test]
    fn peers_agree_whatever_branch_and_proof_they_get_first(choices in proptest::collection::vec(0_usize..100, 60), is_open: bool) {
        let identity = if is_open { open() } else { closed(1) };
        let mut a = peer(1, &identity);
        a.insert(rawdoc! { "_id": 1 }).unwrap();
        if is_open {
            a.call(Request::SetIndexers { writers: vec![writer_key(1)] }).unwrap();
        }
        a.call(Request::SetRoles { writer: writer_key(2), roles: Roles::WRITER }).unwrap();
        a.call(Request::SetRoles { writer: writer_key(4), roles: Roles::INDEXER }).unwrap();
        let beginning = a.runs();
        let (one, other) = twins(4, &identity, &beginning);
        let mut third = peer(4, &identity);
        third.receive(&one.runs()[..=beginning.len()]);
        third.now_ms += 1_000;
        third.insert(rawdoc! { "_id": "third" }).unwrap();
        let mut b = peer(2, &identity);
        b.receive(&one.runs());
        b.receive(&third.runs());
        prop_assert!(b.prove());
        b.insert(rawdoc! { "_id": "b" }).unwrap();
        a.receive(&other.runs());
        a.receive(&third.runs());
        prop_assert!(a.prove());
        let mut waiting: Vec<VerifiedRun> =
            [&one, &other, &third, &a, &b].into_iter().flat_map(Peer::runs).collect();
        let mut fresh = peer(7, &identity);
        let mut choices = choices.into_iter().cycle();
        while !waiting.is_empty() {
            // What does not come after what it follows comes again.
            let mut again = Vec::new();
            let count = waiting.len();
            while !waiting.is_empty() {
                let run = waiting.swap_remove(choices.next().unwrap() % waiting.len());
                match fresh.engine.ingest(&run).unwrap() {
                    Ok(()) => {}
                    Err(IngestError::AbsentPrev(_) | IngestError::AbsentParent(_) | IngestError::Denied(_)) => {
                        again.push(run);
                    }
                    Err(other) => prop_assert!(false, "refused: {other}"),
                }
                if choices.next().unwrap() % 3 == 0 {
                    fresh.settle();
                }
            }
            prop_assert!(again.len() < count, "none of {count} is taken any more");
            waiting = again;
        }
        fresh.settle();
        meet(&mut a, &mut b);
        meet(&mut a, &mut b);
        prop_assert!(fresh.is_revoked(4) && a.is_revoked(4));
        prop_assert_eq!((a.digest(), a.order()), (b.digest(), b.order()));
        fresh.receive(&a.runs());
        prop_assert_eq!((fresh.digest(), fresh.order()), (a.digest(), a.order()));
    }
}
