//! Rounds of commands that fail for what they were to do.

use std::sync::Arc;
use std::time::Duration;

use bson::rawdoc;
use ed25519_dalek::SigningKey;
use redb::ReadableDatabase;
use redb::backends::InMemoryBackend;
use tokio::sync::mpsc;

use crate::driver::Peers;
use crate::driver::peers::PeerId;
use crate::driver::published::Published;
use crate::driver::settling::Source;
use crate::driver::worker::{Worker, instant};
use crate::engine::{Engine, Moment};
use crate::entry::Genesis;
use crate::ids::{DatabaseKey, EntryHash};
use crate::limits;
use crate::log_reader::{LogReader, Tip};
use crate::simulation::requests;
use crate::storage::{self, Identity, LogSnapshot, Tables};
use crate::view::keyspace;

#[test]
fn what_peers_have_shown_of_our_own_log_is_noted_also_where_the_rest_of_a_round_fails() {
    let key = DatabaseKey::of_open_topic("rounds");
    let identity = Identity { genesis: Genesis::open(&key), key };
    let create = || Arc::new(storage::create(InMemoryBackend::new(), &identity, 1 << 20).unwrap());
    let open = |file: &Arc<redb::Database>, secret| {
        Engine::open(Arc::clone(file), identity.clone(), SigningKey::from_bytes(&[secret; 32])).unwrap()
    };
    let moment = Moment { now_ms: 1_000, ..Moment::default() };
    let insert = |id| requests::insert("c", vec![rawdoc! { "_id": id }]);
    let (file, other) = (create(), create());
    open(&file, 1).run(|batch| batch.execute(insert(1), &moment)).unwrap().unwrap();
    let later = Moment { now_ms: 2_000, ..Moment::default() };
    open(&other, 2).run(|batch| batch.execute(insert(2), &later)).unwrap().unwrap();
    let log = LogSnapshot::open(&other.begin_read().unwrap(), open(&other, 2).id()).unwrap();
    let run = log.run_at(0).unwrap().unwrap().run;
    // A record of what is stored is damaged, which nobody finds before the other's entry is applied.
    let transaction = file.begin_write().unwrap();
    {
        let mut tables = Tables::open(&transaction).unwrap();
        tables.view.insert(&keyspace::collection("c")[..], &b"damaged"[..]).unwrap();
    }
    transaction.commit().unwrap();

    let engine = open(&file, 1);
    let (writer, id) = (engine.writer(), engine.id());
    let published = Arc::new(Published::new(&engine).unwrap());
    let peers = Peers::new(Arc::clone(&file), id, identity.key.clone(), writer, Vec::new());
    let (_commands, inbox) = mpsc::channel(limits::COMMAND_QUEUE_MAX);
    let mut worker = Worker::new(engine, inbox, peers, published);
    // It is ordered in the round that brings it.
    let before = instant().checked_sub(Duration::from_secs(1)).unwrap();
    worker.settling.arrived(before, Source::Authors);
    let shown = Tip { writer, length: 9, head: EntryHash::from_bytes([7; 32]) };
    let ingests = [(PeerId(0), vec![run])];
    let done = worker.commit_or_part(Vec::new(), &ingests, &[shown], &moment, false).unwrap();
    assert!(done.stored[0].as_ref().unwrap_err().contains("damaged"), "{:?}", done.stored);
    assert!(worker.engine.status().unwrap().misses_own_entries);
    let done = worker.commit_or_part(vec![insert(3)], &[], &[], &moment, false).unwrap();
    let refused = done.replies[0].as_ref().unwrap_err();
    assert!(refused.message().contains("restored from a backup"), "{refused}");
    drop(worker);
    assert!(open(&file, 1).status().unwrap().misses_own_entries, "that outlives the process");
}
