//! A database against an indexer that lengthens the branches of its log in turn.

use std::sync::Arc;

use bson::{Document, doc};
use ed25519_dalek::SigningKey;
use tokio::time::timeout;

use super::rounds::{create, identity, moment, open, worker};
use super::{PATIENCE, connect, talk};
use crate::driver::peers::PeerId;
use crate::driver::published::Published;
use crate::entry::{Entry, Header, VerifiedRun, founder_secret};
use crate::ids::{DatabaseId, DatabaseKey, EntryHash, WriterKey};
use crate::operation::{self, Operation};
use crate::payload;
use crate::store::Store;

struct Author {
    database: DatabaseId,
    secret: SigningKey,
    last: Option<(EntryHash, u64)>,
}

impl Author {
    fn new(database: DatabaseId, secret: SigningKey) -> Self {
        Self { database, secret, last: None }
    }

    fn key(&self) -> WriterKey {
        WriterKey::from_bytes(self.secret.verifying_key().to_bytes())
    }

    /// The next entry of the log, in a run of its own.
    fn write(
        &mut self,
        parents: &[EntryHash],
        time: u64,
        (epoch, wave): (u64, u64),
        payload: &[u8],
    ) -> VerifiedRun {
        let header = Header {
            writer: self.key(),
            seq: self.last.map_or(0, |(_, seq)| seq + 1),
            prev: self.last.map(|(hash, _)| hash),
            parents: parents.to_vec(),
            time,
            epoch,
            wave,
            checkpoint: None,
            payload_length: payload.len() as u32,
            payload_hash: *blake3::hash(payload).as_bytes(),
        };
        let hash = header.hash(&self.database);
        self.last = Some((hash, header.seq));
        VerifiedRun::sign(vec![Entry { header, hash, payload: payload.to_vec() }], &self.secret).unwrap()
    }
}

/// The founding of an open database, and two branches of its only indexer, of which each step makes the one longer than the other.
fn branches_in_turn(id: DatabaseId, key: &DatabaseKey, steps: usize) -> Vec<VerifiedRun> {
    let twin = || Author::new(id, SigningKey::from_bytes(&[77; 32]));
    let mut branches = [(twin(), 1, 1_000), (twin(), 1, 2_000)];
    let found = Operation::SetIndexers { writers: vec![branches[0].0.key()] };
    let founding = payload::pack(&operation::encode(&[found]));
    let mut founder = Author::new(id, founder_secret(key));
    let mut runs = vec![founder.write(&[], 1, (0, 1), &founding)];
    let founding = runs[0].entries()[0].hash;
    for step in 0..steps {
        let (twin, wave, time) = &mut branches[step % 2];
        for _ in 0..if step == 0 { 1 } else { 2 } {
            let parents = if *wave == 1 { vec![founding] } else { Vec::new() };
            runs.push(twin.write(&parents, *time, (1, *wave), &[]));
            *wave += 1;
        }
    }
    runs
}

#[test]
fn what_has_the_view_built_anew_again_waits_until_that_may_be() {
    let file = create();
    let engine = open(&file, 1);
    let runs = branches_in_turn(engine.id(), &identity().key, 6);
    let published = Arc::new(Published::new(&engine).unwrap());
    let mut worker = worker(&file, engine, published);
    let ingests = [(PeerId(0), runs.clone())];
    let mut now_ms = 0;
    loop {
        now_ms += 1;
        let rebuilt = worker.engine.rebuilt();
        let done = worker.commit_or_part(Vec::new(), &ingests, &[], &moment(now_ms), false).unwrap();
        assert!(worker.engine.rebuilt() <= rebuilt + 1);
        assert_eq!(worker.rebuilding.is_waited_for, done.stored.is_empty());
        if let [outcome] = done.stored.as_slice() {
            assert_eq!(*outcome, Ok(()));
            break;
        }
    }
    assert_eq!((worker.engine.rebuilt(), worker.engine.end()), (5, runs.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indexer_that_has_the_view_built_anew_again_and_again_is_heard_to_its_end() {
    let stores = [(); 2].map(|()| Store::in_memory().unwrap());
    let [a, b] = stores.each_ref().map(|store| store.open_topic("branches").unwrap());
    let runs = branches_in_turn(a.id(), a.key(), 8);
    let theirs = runs.len() as u64;
    let collection = a.collection::<Document>("c");
    let mut own = 0;
    let writes = async {
        while a.status().entries < theirs + own {
            collection.insert_one(doc! { "_id": own as i64 }).await.unwrap();
            own += 1;
        }
    };
    tokio::select! {
        reason = talk(&a, runs) => panic!("it is cut off: {reason}"),
        written = timeout(PATIENCE, writes) => written.unwrap(),
    }
    assert_eq!(a.status().alarms.len(), 1);
    assert_eq!(collection.count_documents(doc! {}).run().unwrap(), own);
    let _connection = connect(&a, &b).await;
    let is_all = |status: &crate::database::Status| status.entries == theirs + own && status.unordered == 0;
    for database in [&a, &b] {
        timeout(PATIENCE, database.wait_for(is_all)).await.unwrap().unwrap();
    }
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
}
