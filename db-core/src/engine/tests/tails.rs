//! What long tails and many writers cost, in bytes written to the disk: by what changes, not by what there is.

use bson::rawdoc;

use super::*;
use crate::simulation::SimDisk;

/// How many more bytes a commit may write where there is a hundred times as much: the B-trees are a level or two deeper.
const TIMES_MAX: u64 = 2;

/// A peer, and the disk that its store is on.
fn peer_on_disk(number: u8) -> (Peer, SimDisk) {
    let disk = SimDisk::new(Vec::new(), None);
    let database = storage::create(disk.clone(), &open(), 1 << 24).unwrap();
    let engine = Engine::open(Arc::new(database), open(), secret(number)).unwrap();
    (Peer { engine, now_ms: 1_000 }, disk)
}

/// What this writes, at the median of a few times.
fn bytes_of(disk: &SimDisk, mut work: impl FnMut()) -> u64 {
    let mut written: Vec<u64> = (0..9)
        .map(|_| {
            let before = disk.bytes_written();
            work();
            disk.bytes_written() - before
        })
        .collect();
    written.sort_unstable();
    written[written.len() / 2]
}

fn insert_many(peer: &mut Peer, ids: std::ops::Range<i32>) {
    let moment = peer.moment();
    peer.engine
        .run(|batch| {
            for id in ids {
                let documents = vec![rawdoc! { "_id": id }];
                batch.execute(
                    Request::Insert { collection: "c".to_owned(), documents, ordered: true },
                    &moment,
                )??;
            }
            Ok(())
        })
        .unwrap();
}

/// An entry of a writer that has written nothing else and seen nothing.
fn only_entry(peer: &Peer, number: u32) -> VerifiedRun {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    let operation = Operation::Insert {
        collection: "c".to_owned(),
        documents: vec![rawdoc! { "_id": format!("of {number}") }],
    };
    let payload = crate::payload::pack(&crate::operation::encode(&[operation]));
    forged_run_with(peer, &SigningKey::from_bytes(&seed), payload, |header| {
        header.parents.clear();
        header.time = 1_000 + u64::from(number);
    })
}

#[test]
fn a_commit_writes_what_changes_however_long_the_tail() {
    let (mut peer, disk) = peer_on_disk(1);
    let mut next = 0;
    let mut grow_to = |peer: &mut Peer, tail: i32| {
        while next < tail {
            insert_many(peer, next..next + 20);
            next += 20;
        }
    };
    grow_to(&mut peer, 40);
    let mut id = 1_000_000;
    let mut insert = |peer: &mut Peer| {
        id += 1;
        peer.insert(rawdoc! { "_id": id }).unwrap();
    };
    let short = bytes_of(&disk, || insert(&mut peer));
    grow_to(&mut peer, 4_000);
    let long = bytes_of(&disk, || insert(&mut peer));
    assert!(long <= short * TIMES_MAX, "{short} bytes in a tail of 40, {long} in one of 4000");

    let before = (peer.digest(), peer.order());
    let mut peer = peer.restart();
    assert_eq!((peer.digest(), peer.order()), before);
    let status = peer.engine.status().unwrap();
    assert_eq!((status.applied, status.undone), (0, 0), "opening a store applies nothing again");
    insert(&mut peer);
    assert_eq!(peer.engine.status().unwrap().undone, 0);
}

#[test]
fn a_commit_writes_what_changes_however_many_writers_there_are() {
    let (mut peer, disk) = peer_on_disk(1);
    let mut next = 0;
    let mut receive = |peer: &mut Peer, count: u32| {
        let runs: Vec<_> = (next..next + count).map(|number| only_entry(peer, number)).collect();
        next += count;
        peer.receive(&runs);
    };
    receive(&mut peer, 20);
    let few = bytes_of(&disk, || receive(&mut peer, 1));
    for _ in 0..20 {
        receive(&mut peer, 100);
    }
    let many = bytes_of(&disk, || receive(&mut peer, 1));
    assert!(many <= few * TIMES_MAX, "{few} bytes where 20 have written, {many} where 2000 have");

    // An entry names so many heads at the most, and a few of them all.
    let heads = |peer: &Peer| peer.engine.state.as_ref().unwrap().heads.len();
    assert!(heads(&peer) > 2_000);
    let rounds = heads(&peer).div_ceil(limits::PARENTS_MAX as u64);
    for round in 0..rounds {
        peer.insert(rawdoc! { "_id": i64::try_from(round).unwrap() }).unwrap();
    }
    assert_eq!(heads(&peer), 1);
    let mut id = 1_000_000;
    let after = bytes_of(&disk, || {
        id += 1;
        peer.insert(rawdoc! { "_id": id }).unwrap();
    });
    assert!(after <= few * TIMES_MAX, "{few} bytes where 20 have written, {after} where all are known");
}
