//! A long log in which the indexers change, met by a peer that has written much itself and writes on.

use bson::{Document, doc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, connect};
use crate::collection::ReadConcern;
use crate::database::{Database, Status};
use crate::membership::Role;
use crate::store::Store;

/// How many documents are written in each epoch, and by the peer that is apart.
const EACH: i64 = 100;

async fn write(database: &Database, first: i64) {
    let collection = database.collection::<Document>("c");
    for id in first..first + EACH {
        collection.insert_one(doc! { "_id": id, "s": "x".repeat(2_000) }).await.unwrap();
    }
}

/// How many documents are confirmed.
fn confirmed(database: &Database) -> i64 {
    let all = database.collection::<Document>("c").count_documents(doc! {});
    all.read_concern(ReadConcern::Majority).run().unwrap() as i64
}

async fn until(database: &Database, is_so: impl Fn(&Status) -> bool) {
    timeout(PATIENCE, database.wait_for(is_so)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_on_misses_nothing_while_a_long_log_comes_in_which_the_indexers_change() {
    let stores = [(); 3].map(|()| Store::in_memory().unwrap());
    let a = stores[0].create_database("members").unwrap();
    let [b, c] = [&stores[1], &stores[2]].map(|store| store.join(&a.ticket(Vec::new())).unwrap());
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let first = connect(&a, &b).await;
    until(&b, |status| status.confirmed > 0).await;
    first.iter().for_each(JoinHandle::abort);
    write(&b, 10_000).await;
    write(&a, 0).await;
    a.add_writer(c.writer(), Role::Indexer).await.unwrap();
    let _indexers = connect(&a, &c).await;
    until(&c, |status| status.epoch == 1).await;
    write(&c, 1_000).await;
    write(&a, 2_000).await;
    for indexer in [&a, &c] {
        until(indexer, |_| confirmed(indexer) == 3 * EACH).await;
    }

    // All of it goes before what b has written, and the second half can be judged only when the first is at its place.
    assert_eq!((b.status().epoch, b.status().undone), (0, 0));
    let _connection = connect(&a, &b).await;
    let of_b = b.collection::<Document>("c");
    let mut own = EACH;
    let is_done = || {
        let of_others = of_b.count_documents(doc! { "_id": { "$lt": 10_000 } }).run().unwrap() as i64;
        of_others == 3 * EACH
    };
    let writes = async {
        while !is_done() {
            of_b.insert_one(doc! { "_id": 10_000 + own }).await.unwrap();
            own += 1;
            let seen = of_b.count_documents(doc! { "_id": { "$gte": 10_000 } }).run().unwrap();
            assert_eq!(seen as i64, own, "who writes reads it, and misses nothing");
        }
    };
    timeout(PATIENCE, writes).await.unwrap();
    assert!(b.status().undone >= EACH as u64, "b's own entries were undone");
    for database in [&a, &b, &c] {
        until(database, |status| status.unordered == 0 && confirmed(database) == 3 * EACH + own).await;
    }
    assert_eq!(a.view_digest().unwrap(), b.view_digest().unwrap());
    assert_eq!(a.view_digest().unwrap(), c.view_digest().unwrap());
    assert_eq!(b.status().indexers, c.status().indexers);
}
