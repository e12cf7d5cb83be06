//! Members without manners: they know the key and sign, and what they hand over is not in order.

use super::node::{document, forge, secret, writer};
use super::world::World;
use crate::engine::IngestError;
use crate::entry::{Entry, Header, VerifiedRun};
use crate::ids::EntryHash;
use crate::linearizer::IllegalEntry;
use crate::log_reader::LogReader;
use crate::operation::{Operation, Roles};

/// The number of the peer whose log is forked where an indexer's is.
pub(super) const INDEXER: usize = 1;

/// The number of a writer that has no machine of its own.
pub(super) const OUTLAW: usize = 1_000;

/// One of them does something to the peer `at`.
pub(super) fn act(world: &mut World, at: usize) {
    if !world.nodes[at].is_on() {
        return;
    }
    match world.chance.below(8) {
        0 => garbage(world),
        1 => false_wave(world, at),
        2 => withheld(world, at),
        3 => wrong_past(world, at),
        4 if world.options.forks_indexers => fork_indexer(world, at),
        _ => fork(world, at),
    }
}

fn garbage(world: &mut World) {
    let length = world.chance.below(200);
    let frame = (0..length).map(|_| world.chance.below(256) as u8).collect();
    world.send_garbage(frame);
}

/// An indexer's entry that jumps to a wave which no majority allows.
fn false_wave(world: &mut World, at: usize) {
    let engine = world.nodes[at].engine.as_ref().unwrap();
    let indexers = engine.indexers().to_vec();
    let count = world.nodes.len();
    let Some(author) = (0..count).find(|one| *one != at && indexers.contains(&writer(*one))) else {
        return;
    };
    let epoch = engine.status().unwrap().epoch;
    run_that_goes_on(world, at, author, epoch);
    if indexers.len() < 2 {
        return; // a lone indexer is its own majority
    }
    let run = forge(&world.nodes[at], author, &document(1), world.now_ms, |header| {
        (header.epoch, header.wave) = (epoch, 1_000_000);
    });
    must_be_refused(world, at, &run);
}

/// An indexer's vote that may change who votes, and another entry under the same signature: whoever has had the vote before would
/// judge that one otherwise.
fn run_that_goes_on(world: &mut World, at: usize, author: usize, epoch: u64) {
    let log = world.nodes[at].log();
    let prev = log.tips().unwrap().into_iter().filter(|tip| tip.writer == writer(author));
    let prev = prev.max_by_key(|tip| tip.length).and_then(|tip| log.number_of(&tip.head).unwrap());
    let prev = prev.map(|number| log.record(number).unwrap().unwrap().header);
    let wave = prev.filter(|prev| prev.epoch == epoch).map_or(0, |prev| prev.wave) + 1;
    let change = Operation::SetRoles { writer: writer(OUTLAW), roles: Roles::WRITER };
    let change = crate::payload::pack(&crate::operation::encode(&[change]));
    let id = world.nodes[at].engine.as_ref().unwrap().id();
    let follows = |before: Option<&Entry>, header: Header, payload: Vec<u8>| {
        let header = Header {
            seq: before.map_or(header.seq, |before| before.header.seq + 1),
            prev: before.map_or(header.prev, |before| Some(before.hash)),
            parents: if before.is_some() { Vec::new() } else { header.parents },
            payload_length: payload.len() as u32,
            payload_hash: *blake3::hash(&payload).as_bytes(),
            ..header
        };
        Entry { hash: header.hash(&id), header, payload }
    };
    let forged = forge(&world.nodes[at], author, &document(4), world.now_ms, |header| {
        (header.epoch, header.wave) = (epoch, wave);
    });
    let header = &forged.entries()[0].header;
    let vote = follows(None, header.clone(), change);
    let next = follows(Some(&vote), header.clone(), Vec::new());
    let run = VerifiedRun::sign(vec![vote, next], &secret(author)).unwrap();
    must_be_refused(world, at, &run);
}

/// An entry on top of one that its author keeps to itself.
fn withheld(world: &mut World, at: usize) {
    let hidden = EntryHash::from_bytes([world.chance.below(256) as u8; 32]);
    let run =
        forge(&world.nodes[at], OUTLAW, &document(2), world.now_ms, |header| header.parents = vec![hidden]);
    must_be_refused(world, at, &run);
}

/// An entry whose predecessor stands elsewhere in its log, or in nobody's.
fn wrong_past(world: &mut World, at: usize) {
    let skips = 1 + world.chance.below(3);
    let run = forge(&world.nodes[at], OUTLAW, &document(3), world.now_ms, |header| {
        header.seq += skips;
        header.prev.get_or_insert(EntryHash::from_bytes([3; 32]));
    });
    must_be_refused(world, at, &run);
}

/// Hands a peer what breaks a rule: from now on nobody may store it.
fn must_be_refused(world: &mut World, at: usize, run: &VerifiedRun) {
    world.knowledge.illegal.extend(run.entries().iter().map(|entry| entry.hash));
    let before = world.nodes[at].engine.as_ref().unwrap().end();
    let Some(taken) = world.nodes[at].run(|batch| batch.ingest(run)) else { return };
    let engine = world.nodes[at].engine.as_ref().unwrap();
    assert_eq!(engine.end(), before, "peer {at} stores an entry that breaks a rule");
    // Of a writer who is not heard any more nothing is looked at.
    assert!(taken.is_err() || engine.holds_back_any(), "peer {at} takes an entry that breaks a rule");
    world.report.refused += 1;
}

/// An entry by an indexer that works on another machine at the same time, from a copy of its store.
fn fork_indexer(world: &mut World, at: usize) {
    let author = INDEXER;
    let engine = world.nodes[at].engine.as_ref().unwrap();
    let epoch = engine.status().unwrap().epoch;
    if at == author || engine.indexers().len() < 3 || !engine.indexers().contains(&writer(author)) {
        return;
    }
    let log = world.nodes[at].log();
    let tips = log.tips().unwrap().into_iter().filter(|tip| tip.writer == writer(author));
    let Some(tip) = tips.max_by_key(|tip| tip.length) else { return };
    let number = log.number_of(&tip.head).unwrap().unwrap();
    let before = log.record(number).unwrap().unwrap().header;
    let wave = if before.epoch == epoch { before.wave } else { 0 } + world.chance.below(2);
    let number = world.chance.below(1_000);
    let run = forge(&world.nodes[at], author, &document(7_000 + number), world.now_ms, |header| {
        (header.epoch, header.wave) = (epoch, wave);
    });
    // Where the wave is none that it may carry yet, it is refused like anybody's.
    if let Some(Ok(())) = world.nodes[at].run(|batch| batch.ingest(&run)) {
        world.report.outlawed += 1;
    }
}

/// An entry of a writer that works on several machines at once and forks its log whenever they have not met. It is in order,
/// and everybody will store all branches.
fn fork(world: &mut World, at: usize) {
    let number = world.chance.below(1_000);
    let now_ms = world.now_ms - world.chance.below(200);
    let run = forge(&world.nodes[at], OUTLAW, &document(5_000 + number), now_ms, |_| {});
    let Some(taken) = world.nodes[at].run(|batch| batch.ingest(&run)) else { return };
    match taken {
        Ok(()) => world.report.outlawed += 1,
        // Where its admission, or the end of an epoch, has not come yet.
        Err(
            IngestError::Denied(_) | IngestError::Illegal { reason: IllegalEntry::WrongEpoch { .. }, .. },
        ) => {}
        Err(error) => panic!("an entry that is in order is refused: {error}"),
    }
}
