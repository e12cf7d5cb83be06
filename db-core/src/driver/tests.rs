//! A database against a member without manners: it knows the key and signs, but what it sends is not in order.

mod calls;
mod forks;
mod members;
mod opening;
mod rounds;

use std::time::Duration;

use bson::{Document, doc};
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use super::{
    ConnectionError, ConnectionMonitor, ConnectionOptions, PeerInput, PeerLink, PeerOutput, run_connection,
};
use crate::database::{Database, Status};
use crate::entry::{Entry, Header, VerifiedRun};
use crate::error::{Error, Result};
use crate::ids::{EntryHash, WriterKey};
use crate::log_reader::{LogReader, StoredRun, Tip};
use crate::membership::Role;
use crate::store::Store;
use crate::sync::{Session, SessionConfig, SessionOutput};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A log of runs that nobody has checked.
struct HostileLog(Vec<VerifiedRun>);

impl LogReader for HostileLog {
    type Error = Error;

    fn tips(&self) -> Result<Vec<Tip>> {
        let goes_on = |head: &EntryHash| self.0.iter().any(|run| run.entries()[0].header.prev == Some(*head));
        let ends = self.0.iter().filter_map(|run| run.entries().last()).filter(|end| !goes_on(&end.hash));
        let tip = |end: &Entry| Tip {
            writer: end.header.writer,
            length: end.header.seq.saturating_add(1),
            head: end.hash,
        };
        let mut tips: Vec<Tip> = ends.map(tip).collect();
        tips.sort_unstable();
        Ok(tips)
    }

    fn end(&self) -> u64 {
        self.0.len() as u64
    }

    fn number_of(&self, hash: &EntryHash) -> Result<Option<u64>> {
        let is_it = |run: &VerifiedRun| run.entries().iter().any(|entry| entry.hash == *hash);
        Ok(self.0.iter().position(is_it).map(|number| number as u64))
    }

    /// A run that begins in the middle of a log is sent as if nothing were before it.
    fn number_at(&self, writer: &WriterKey, seq: u64) -> Result<Option<u64>> {
        let is_it = |run: &VerifiedRun| {
            run.entries().iter().any(|entry| entry.header.writer == *writer && entry.header.seq >= seq)
        };
        Ok(self.0.iter().position(is_it).map(|number| number as u64))
    }

    fn writer_at(&self, number: u64) -> Result<Option<WriterKey>> {
        Ok(self.0.get(number as usize).map(|run| run.entries()[0].header.writer))
    }

    fn run_at(&self, number: u64) -> Result<Option<StoredRun>> {
        Ok(self.0.get(number as usize).map(|run| StoredRun { first: number, run: run.clone() }))
    }
}

/// Lets a hostile member send `runs` to `database`; gives the reason for which it is cut off.
async fn cut_off_for(database: &Database, runs: Vec<VerifiedRun>) -> String {
    timeout(PATIENCE, talk(database, runs)).await.unwrap()
}

/// The same, if it ever is.
async fn talk(database: &Database, runs: Vec<VerifiedRun>) -> String {
    let log = HostileLog(runs);
    let config = SessionConfig {
        database: database.id(),
        key: database.key().clone(),
        own_writer: WriterKey::from_bytes([9; 32]),
        replaced_keys: Vec::new(),
        binding: [7; 32],
        dialer: true,
        nonce: [5; 32],
    };
    let PeerLink { to_engine, mut from_engine, .. } = database.connect_peer([7; 32], false).await.unwrap();
    let mut session = Session::new(config);
    let mut out = Vec::new();
    session.start(&mut out);
    loop {
        for output in out.drain(..) {
            if let SessionOutput::Send(frame) = output {
                let _ = to_engine.send(PeerInput::Frame(frame.into())).await;
            }
        }
        match from_engine.recv().await {
            Some(PeerOutput::Frame(frame)) => session.handle_frame(&frame, &log, &mut out).unwrap(),
            Some(PeerOutput::Close(reason)) => return reason,
            Some(_) => {}
            None => panic!("the session ended without a reason"),
        }
    }
}

/// A run of one entry by a writer of its own, changed before it is signed.
fn run(database: &Database, secret: u8, change: impl FnOnce(&mut Header)) -> VerifiedRun {
    let secret = SigningKey::from_bytes(&[secret; 32]);
    let mut header = Header {
        writer: WriterKey::from_bytes(secret.verifying_key().to_bytes()),
        seq: 0,
        prev: None,
        parents: Vec::new(),
        time: 1,
        epoch: 0,
        wave: 0,
        checkpoint: None,
        payload_length: 0,
        payload_hash: *blake3::hash(&[]).as_bytes(),
    };
    change(&mut header);
    let hash = header.hash(&database.id());
    VerifiedRun::sign(vec![Entry { header, hash, payload: Vec::new() }], &secret).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_sends_what_is_not_in_order_is_cut_off_with_the_reason_and_disturbs_nobody() {
    let store = Store::in_memory().unwrap();
    let database = store.open_topic("films").unwrap();
    let films = database.collection::<Document>("films");
    films.insert_one(doc! { "_id": 1 }).await.unwrap();
    let before = (database.status(), database.view_digest().unwrap());
    let unknown = EntryHash::from_bytes([0xEE; 32]);

    let forged = {
        let run = run(&database, 1, |_| {});
        VerifiedRun::from_stored(run.entries().to_vec(), [3; 64])
    };
    let another_database = {
        let other = store.create_database("other").unwrap();
        run(&other, 1, |_| {})
    };
    let wrong_payload = run(&database, 1, |header| header.payload_length = 5);
    let cases = [
        ("signature", forged),
        ("signature", another_database),
        ("payload", wrong_payload),
        ("parent is not known", run(&database, 1, |header| header.parents = vec![unknown])),
        (
            "before it in its log is not known",
            run(&database, 1, |header| {
                header.seq = 3;
                header.prev = Some(unknown);
            }),
        ),
        ("carries a wave", run(&database, 1, |header| header.wave = 1)),
        ("another epoch", run(&database, 1, |header| header.epoch = 7)),
    ];
    for (expected, run) in cases {
        let reason = cut_off_for(&database, vec![run]).await;
        assert!(reason.contains(expected), "{reason:?} does not tell of {expected:?}");
        assert_eq!((database.status(), database.view_digest().unwrap()), before, "{expected}");
    }
    films.insert_one(doc! { "_id": 2 }).await.unwrap();

    let closed = store.create_database("closed").unwrap();
    let reason = cut_off_for(&closed, vec![run(&closed, 1, |_| {})]).await;
    assert!(reason.contains("not admitted"), "{reason:?}");
    assert_eq!(closed.status().entries, 0);
}

/// Connects two databases; what becomes of the connection, as either end sees it.
async fn connect(
    one: &Database,
    other: &Database,
) -> [tokio::task::JoinHandle<Result<(), ConnectionError>>; 2] {
    let (stream, other_stream) = tokio::io::duplex(1 << 20);
    let links =
        (one.connect_peer([1; 32], true).await.unwrap(), other.connect_peer([1; 32], false).await.unwrap());
    let run = |stream, link| {
        tokio::spawn(run_connection(stream, link, ConnectionOptions::default(), ConnectionMonitor::default()))
    };
    [run(stream, links.0), run(other_stream, links.1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_with_another_key_is_met_anew_and_then_known_by_that_key() {
    let (a, b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (a.open_topic("keys").unwrap(), b.open_topic("keys").unwrap());
    a.collection::<Document>("c").insert_one(doc! { "_id": 1 }).await.unwrap();
    let [one, other] = connect(&a, &b).await;
    b.wait_for(|status| status.entries == 1).await.unwrap();
    let knows = async |writer| {
        let is_shown = async || {
            while b.peers().iter().all(|peer| peer.writer != Some(writer)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, is_shown()).await.unwrap();
    };
    knows(a.writer()).await;
    let rotation = a.rotate_key().await.unwrap();
    let ends = async { (one.await.unwrap(), other.await.unwrap()) };
    let (ended, at_the_peer) = timeout(PATIENCE, ends).await.unwrap();
    assert!(ended.unwrap_err().to_string().contains("another key"));
    assert!(at_the_peer.unwrap_err().to_string().contains("another key"));
    let _connection = connect(&a, &b).await;
    b.wait_for(|status| status.entries == 2).await.unwrap();
    a.collection::<Document>("c").insert_one(doc! { "_id": 2 }).await.unwrap();
    b.wait_for(|status| status.entries == 3).await.unwrap();
    knows(rotation.to).await;
    assert!(b.peers().iter().all(|peer| peer.writer != Some(rotation.from)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_what_was_acknowledged_while_a_backlog_is_put_before_it() {
    let (a, b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (a.open_topic("steps").unwrap(), b.open_topic("steps").unwrap());
    let of = |database: &Database| database.collection::<Document>("c");
    let (of_a, of_b) = (of(&a), of(&b));
    for n in 0..150 {
        of_a.insert_one(doc! { "_id": n, "s": "x".repeat(2_000) }).await.unwrap();
    }
    for n in 0..150 {
        of_b.insert_one(doc! { "_id": 1_000 + n, "s": "y".repeat(2_000) }).await.unwrap();
    }
    // All of a's entries are the earlier: b has to undo its own, in many transactions, and to apply them after a's.
    let _connection = connect(&a, &b).await;
    let reader = {
        let b = b.clone();
        tokio::task::spawn_blocking(move || {
            let of_b = b.collection::<Document>("c");
            loop {
                let is_done = b.status().entries == 300 && b.status().unordered == 0;
                let own = of_b.count_documents(doc! { "_id": { "$gte": 1_000 } }).run().unwrap();
                assert_eq!(own, 150);
                if is_done && of_b.estimated_document_count().unwrap() == 300 {
                    return;
                }
            }
        })
    };
    timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert!(b.status().undone >= 150, "b's own entries were undone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_and_seen_while_a_backlog_is_ordered() {
    let (a, b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let (a, b) = (a.open_topic("live").unwrap(), b.open_topic("live").unwrap());
    let (of_a, of_b) = (a.collection::<Document>("c"), b.collection::<Document>("c"));
    for n in 0..150 {
        of_a.insert_one(doc! { "_id": n, "s": "x".repeat(2_000) }).await.unwrap();
    }
    for n in 0..150 {
        of_b.insert_one(doc! { "_id": 1_000 + n, "s": "y".repeat(2_000) }).await.unwrap();
    }
    let _connection = connect(&a, &b).await;
    let (mut own, mut meanwhile) = (150_u64, 0);
    let writes = async {
        let is_begun = |status: &Status| status.undone > 0;
        let is_ordered = |status: &Status| is_begun(status) && status.entries >= 300 && status.unordered == 0;
        while !is_ordered(&b.status()) {
            of_b.insert_one(doc! { "_id": 1_000 + i64::try_from(own).unwrap() }).await.unwrap();
            own += 1;
            let status = b.status();
            meanwhile += u32::from(is_begun(&status) && status.unordered > 0);
            let seen = of_b.count_documents(doc! { "_id": { "$gte": 1_000 } }).run().unwrap();
            assert_eq!(seen, own, "who writes reads it, and misses nothing");
            if meanwhile == 3 {
                // What is not about documents has to wait, and so has what is called after it.
                let (named, inserted) = (b.name_writer(b.writer(), "b"), of_b.insert_one(doc! { "_id": -1 }));
                let (named, inserted) = tokio::join!(named.into_future(), inserted.into_future());
                named.unwrap();
                inserted.unwrap();
                let ids = of_b.find(doc! { "_id": { "$lt": 1_000 } }).run().unwrap();
                assert_eq!(ids.count(), 151, "all was ordered before");
                meanwhile += 1;
            }
        }
    };
    timeout(PATIENCE, writes).await.unwrap();
    assert!(meanwhile > 3, "{meanwhile} calls were answered meanwhile");
    let all = 150 + own + 2;
    let is_all = |status: &Status| status.entries == all && status.unordered == 0;
    for database in [&a, &b] {
        timeout(PATIENCE, database.wait_for(is_all)).await.unwrap().unwrap();
    }
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
    assert_eq!(of_a.count_documents(doc! {}).run().unwrap(), 150 + own + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_and_seen_while_what_is_confirmed_goes_before_all_of_the_tail() {
    let (a, b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let a = a.create_database("live").unwrap();
    let b = b.join(&a.ticket(Vec::new())).unwrap();
    let (of_a, of_b) = (a.collection::<Document>("c"), b.collection::<Document>("c"));
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let first = connect(&a, &b).await;
    timeout(PATIENCE, b.wait_for(|status| status.confirmed > 0)).await.unwrap().unwrap();
    first.iter().for_each(tokio::task::JoinHandle::abort);
    for n in 0..150 {
        of_b.insert_one(doc! { "_id": 1_000 + n, "s": "y".repeat(2_000) }).await.unwrap();
    }
    for n in 0..150 {
        of_a.insert_one(doc! { "_id": n, "s": "x".repeat(2_000) }).await.unwrap();
    }
    // Each of a's entries is confirmed as it comes, and goes before all that b has written.
    let _connection = connect(&a, &b).await;
    let mut own = of_b.count_documents(doc! { "_id": { "$gte": 1_000 } }).run().unwrap();
    let mut meanwhile = 0;
    let writes = async {
        while b.status().undone == 0 || b.status().unordered > 0 {
            of_b.insert_one(doc! { "_id": 1_000 + i64::try_from(own).unwrap() }).await.unwrap();
            own += 1;
            let status = b.status();
            meanwhile += u32::from(status.undone > 0 && status.unordered > 0);
            let seen = of_b.count_documents(doc! { "_id": { "$gte": 1_000 } }).run().unwrap();
            assert_eq!(seen, own, "who writes reads it, and misses nothing");
        }
    };
    timeout(PATIENCE, writes).await.unwrap();
    assert!(meanwhile > 3, "{meanwhile} calls were answered meanwhile");
    for (database, collection) in [(&a, &of_a), (&b, &of_b)] {
        let has_all = |status: &Status| {
            let found = collection.count_documents(doc! {}).run().unwrap();
            status.tail == 0 && status.unordered == 0 && found == 150 + own
        };
        timeout(PATIENCE, database.wait_for(has_all)).await.unwrap().unwrap();
    }
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
}
