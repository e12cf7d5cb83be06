//! A disk that fails without the power going: whatever it was asked for then, the call says so, the engine takes no more, and
//! what is found when it is opened again is whole. And one that lies.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bson::{RawDocumentBuf, rawdoc};

use super::{Peer, open, peer, secret};
use crate::engine::{Batch, Engine, Request};
use crate::entry::VerifiedRun;
use crate::error::{Error, ErrorKind};
use crate::ids::EntryHash;
use crate::log_reader::LogReader;
use crate::simulation::{Chance, SimDisk};
use crate::storage;

/// A disk with a database on it, and a peer whose entries it does not hold.
fn begun() -> (Vec<u8>, Peer) {
    let mut other = peer(2, &open());
    for n in 0..12 {
        other.insert(rawdoc! { "_id": -1 - n, "l": [n] }).unwrap();
    }
    let disk = SimDisk::new(Vec::new(), None);
    let database = storage::create(disk.clone(), &open(), 1 << 20).unwrap();
    let engine = Engine::open(std::sync::Arc::new(database), open(), secret(1)).unwrap();
    let mut first = Peer { engine, now_ms: 2_000 };
    first.insert(rawdoc! { "_id": 0, "l": [0] }).unwrap();
    first.create_index(rawdoc! { "name": "l_1", "key": { "l": 1 } }).unwrap();
    for id in 1..10 {
        first.insert(rawdoc! { "_id": id, "l": [id % 3] }).unwrap();
    }
    drop(first);
    (disk.image(), other)
}

/// Opens the database of a disk.
fn on(disk: &SimDisk) -> Result<Peer, Error> {
    let (database, identity) = storage::open(disk.clone(), 1 << 16)?;
    let engine = Engine::open(std::sync::Arc::new(database), identity, secret(1))?;
    Ok(Peer { engine, now_ms: 3_000 })
}

/// Writes, takes in what another has written before that, which undoes all of it, and writes again. Gives the `_id`s of what was
/// acknowledged.
fn work(peer: &mut Peer, other: &Peer, acknowledged: &mut Vec<i32>) -> Result<(), Error> {
    let mut write = |peer: &mut Peer, id: i32| {
        let documents = vec![rawdoc! { "_id": id, "l": [id % 3, id % 5] }];
        let request = Request::Insert { collection: "c".to_owned(), documents, ordered: true };
        let moment = peer.moment();
        peer.engine.run(|batch| batch.execute(request, &moment))?.unwrap();
        acknowledged.push(id);
        Ok(())
    };
    write(peer, 100)?;
    for runs in other.runs().chunks(6) {
        let take_in = |batch: &mut Batch<'_, '_>| {
            runs.iter().try_for_each(|run| batch.ingest(run).map(Result::unwrap))?;
            batch.settle()
        };
        peer.engine.run(take_in)?;
    }
    write(peer, 101)
}

fn ids(documents: &[RawDocumentBuf]) -> Vec<i32> {
    documents.iter().map(|document| document.get_i32("_id").unwrap()).collect()
}

/// What is found holds all that was acknowledged, and is what the logs come to.
fn check(image: Vec<u8>, acknowledged: &[i32], what: &str) {
    let mut found = on(&SimDisk::new(image, None)).unwrap();
    found.settle();
    let ids = ids(&found.documents());
    assert!((0..10).chain(acknowledged.iter().copied()).all(|id| ids.contains(&id)), "{what}: {ids:?}");
    let mut fresh = peer(3, &open());
    fresh.receive(&found.runs());
    assert_eq!((fresh.digest(), fresh.order()), (found.digest(), found.order()), "{what}");
    found.check_statistics();
    found.insert(rawdoc! { "_id": 1_000 }).unwrap();
}

#[test]
fn whatever_a_disk_fails_at_the_call_says_so_nothing_goes_on_and_what_is_found_is_whole() {
    let (image, other) = begun();
    for times in [1, u64::MAX] {
        let mut failures = 0;
        for asked in 0.. {
            let what = format!("failing {times} times after {asked}");
            let disk = SimDisk::new(image.clone(), None);
            disk.fail_after(asked, times);
            let mut acknowledged = Vec::new();
            let failed = match on(&disk) {
                Err(error) => Some(error),
                Ok(mut peer) => {
                    let failed = work(&mut peer, &other, &mut acknowledged).err();
                    if failed.is_some() {
                        // It may well be that the disk is in order again; what is in memory is not.
                        let again = work(&mut peer, &other, &mut Vec::new()).unwrap_err();
                        assert_eq!(again.kind(), ErrorKind::Unavailable, "{what}: {again}");
                    }
                    failed
                }
            };
            if !disk.has_failed() {
                break;
            }
            // While it is closed there is nobody to be told.
            if let Some(failed) = failed {
                failures += 1;
                assert_eq!(failed.kind(), ErrorKind::Unavailable, "{what}: {failed}");
                assert!(failed.source().is_some(), "{what}: {failed}");
            } else {
                assert_eq!(acknowledged, [100, 101], "{what}: nobody was told");
            }
            check(disk.image(), &acknowledged, &what);
            check(disk.after_power_cut(&mut Chance::new(asked + 1)), &acknowledged, &what);
        }
        assert!(failures > 50, "{failures} failures are few");
    }
}

/// What is found on a disk: the hashes of the entries, whether the view is what they come to, and whether it can be written to.
#[allow(clippy::redundant_closure_for_method_calls)] // the method's path is not general enough over lifetimes
fn look(image: Vec<u8>) -> Result<(Vec<EntryHash>, bool), Error> {
    let mut found = on(&SimDisk::new(image, None))?;
    found.engine.run(|batch| batch.settle())?;
    let log = found.log();
    let (mut runs, mut next) = (Vec::new(), 0);
    while let Some(stored) = log.run_at(next)? {
        next = stored.first + stored.run.entries().len() as u64;
        runs.push(stored.run);
    }
    let mut fresh = peer(3, &open());
    let taken = fresh.engine.run(|batch| {
        for run in &runs {
            if batch.ingest(run)?.is_err() {
                return Ok(false);
            }
        }
        batch.settle()?;
        Ok(true)
    });
    let is_whole = taken.unwrap() && fresh.digest() == found.digest();
    let hashes = runs.iter().flat_map(VerifiedRun::entries).map(|entry| entry.hash).collect();
    Ok((hashes, is_whole))
}

#[test]
fn what_a_disk_leaves_that_has_lied_is_refused_as_damaged_or_its_log_is_what_was_written() {
    let (image, other) = begun();
    let (mut refused, mut whole, mut wrong) = (0, 0, Vec::new());
    for seed in 0..400 {
        let mut chance = Chance::new(seed + 1);
        let disk = SimDisk::new(image.clone(), None);
        let mut peer = on(&disk).unwrap();
        disk.lie();
        work(&mut peer, &other, &mut Vec::new()).unwrap();
        let written: BTreeSet<_> =
            peer.runs().iter().flat_map(VerifiedRun::entries).map(|entry| entry.hash).collect();
        // Much of what was not synced is lost, or hardly anything.
        let left = match chance.below(3) {
            0 => disk.after_power_cut(&mut chance),
            lost => disk.after_losing(lost, &mut chance),
        };
        drop(peer);
        match catch_unwind(AssertUnwindSafe(|| look(left))) {
            Ok(Err(error)) if error.kind() == ErrorKind::Data => refused += 1,
            Ok(Ok((hashes, true))) if hashes.iter().all(|hash| written.contains(hash)) => whole += 1,
            Ok(Ok((_, is_whole))) => wrong.push((seed, format!("opened, whole: {is_whole}"))),
            Ok(Err(error)) => wrong.push((seed, format!("{error:?}"))),
            Err(_) => wrong.push((seed, "panicked".to_owned())),
        }
    }
    assert!(wrong.is_empty(), "{refused} refused, {whole} whole, {} wrong: {wrong:#?}", wrong.len());
    assert!(refused > 50 && whole > 50, "{refused} refused, {whole} whole");
}
