//! Calls while much that peers have brought waits to be ordered: no transaction orders more than a step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bson::rawdoc;
use tokio::sync::oneshot;

use super::rounds::{create, moment, open, runs, worker, write};
use crate::driver::peers::PeerId;
use crate::driver::published::Published;
use crate::driver::settling::Source;
use crate::driver::worker::{Worker, instant};
use crate::engine::Request;
use crate::ids::WriterKey;
use crate::limits;
use crate::operation::Roles;
use crate::simulation::requests;

/// How many entries wait.
const WAITING: i32 = 200;
/// How many of them make a step at the most, each of which counts a kilobyte and more, and how many calls do.
const STEP: u64 = limits::SETTLE_BYTES_MAX as u64 / 1_024 + 1;

/// The worker of a database's only indexer, which holds entries of somebody else that are not ordered.
fn held_up() -> Worker {
    let (file, other) = (create(), create());
    let (mut ours, mut theirs) = (open(&file, 1), open(&other, 2));
    let founding = Request::SetIndexers { writers: vec![ours.writer()] };
    ours.run(|batch| batch.execute(founding, &moment(1_000))).unwrap().unwrap();
    write(&mut ours, 1_000..1_003, 1_000);
    write(&mut theirs, 0..WAITING, 2_000);
    let published = Arc::new(Published::new(&ours).unwrap());
    let mut worker = worker(&file, ours, published);
    let ingests = [(PeerId(0), runs(&other, &theirs))];
    let done = worker.commit_or_part(Vec::new(), &ingests, &[], &moment(3_000), false).unwrap();
    assert!(done.stored.iter().all(Result::is_ok), "{:?}", done.stored);
    assert_eq!(worker.engine.status().unwrap().unordered, WAITING as u64);
    worker
}

/// How many operations were applied or undone.
fn work(worker: &Worker) -> u64 {
    let status = worker.engine.status().unwrap();
    status.applied + status.undone
}

/// Runs these calls, and whatever is to be ordered for them; looks at what each turn of the thread costs.
fn run_in_steps(worker: &mut Worker, requests: Vec<Request>) {
    let calls = requests.len() as u64;
    let before = work(worker);
    let mut done = worker.commit_or_part(requests, &[], &[], &moment(3_000), false).unwrap();
    assert!(work(worker) - before <= calls, "a call has ordered {}", work(worker) - before);
    assert!(done.replies.iter().all(Result::is_ok), "{:?}", done.replies);
    let (callers, mut replies): (Vec<_>, Vec<_>) = done.waiting.iter().map(|_| oneshot::channel()).unzip();
    assert!(!replies.is_empty(), "one has to wait");
    worker.serve_or_order(std::mem::take(&mut done.waiting).into_iter().zip(callers).collect());
    let mut steps = 0;
    while worker.ordering.is_some() {
        let before = work(worker);
        worker.go_on_ordering(Vec::new());
        assert!(work(worker) - before <= STEP + calls, "a step has ordered {}", work(worker) - before);
        steps += 1;
    }
    assert!(steps >= WAITING as u64 / STEP, "{steps} steps");
    for reply in &mut replies {
        reply.try_recv().expect("everybody is answered").expect("all calls hold");
    }
    assert_eq!(worker.engine.status().unwrap().unordered, 0);
}

#[test]
fn a_call_after_one_that_changes_members_waits_for_what_is_ordered_in_steps() {
    let mut worker = held_up();
    let set_roles = Request::SetRoles { writer: WriterKey::from_bytes([9; 32]), roles: Roles::WRITER };
    let inserts = (0..3).map(|n| requests::insert("d", vec![rawdoc! { "_id": n }]));
    run_in_steps(&mut worker, std::iter::once(set_roles).chain(inserts).collect());
}

#[test]
fn another_key_is_taken_when_all_is_ordered_in_steps() {
    let mut worker = held_up();
    let insert = |n: i32| requests::insert("d", vec![rawdoc! { "_id": n }]);
    run_in_steps(&mut worker, vec![insert(1), Request::RotateKey { seed: [5; 32] }, insert(2)]);
}

#[test]
fn proofs_of_forks_are_looked_for_when_all_is_ordered_in_steps() {
    let mut worker = held_up();
    run_in_steps(&mut worker, vec![requests::insert("d", vec![rawdoc! { "_id": 1 }]), Request::ProveForks]);
}

#[test]
fn an_ack_after_calls_that_have_confirmed_much_waits_until_that_is_counted() {
    let mut worker = held_up();
    worker.settling.arrived(instant().checked_sub(Duration::from_mins(1)).unwrap(), Source::Authors);
    let status = |worker: &Worker| worker.engine.status().unwrap();
    while status(&worker).unordered > 0 {
        worker.commit_or_part(Vec::new(), &[], &[], &moment(3_000), false).unwrap();
        while worker.ordering.is_some() {
            worker.go_on_ordering(Vec::new());
        }
    }
    let before = status(&worker);
    assert!(before.tail >= WAITING as u64 && worker.engine.wants_ack(&BTreeSet::new()));
    let insert = requests::insert("d", vec![rawdoc! { "_id": 1 }]);
    let done = worker.commit_or_part(vec![insert], &[], &[], &moment(3_000), true).unwrap();
    assert!(done.waiting.is_empty() && done.replies[0].is_ok());
    assert!(worker.engine.is_behind(), "the call has confirmed them");
    assert!(status(&worker).confirmed - before.confirmed <= limits::ORDERED_AT_ONCE);
    while worker.engine.is_behind() {
        let before = status(&worker).confirmed;
        worker.commit_or_part(Vec::new(), &[], &[], &moment(3_000), false).unwrap();
        assert!(status(&worker).confirmed - before <= STEP);
        while worker.ordering.is_some() {
            worker.go_on_ordering(Vec::new());
        }
    }
    assert_eq!(status(&worker).tail, 0);
}
