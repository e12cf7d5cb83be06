//! Streams on peers that part and meet: what clients build from local events is what a find gives, on every peer at all times;
//! confirmed events are the same on all peers.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected ends there")]
#![allow(clippy::disallowed_methods, reason = "a blocking call waits on a thread of its own")]
#![allow(clippy::indexing_slicing, reason = "as above")]

use std::collections::BTreeMap;
use std::time::Duration;

use bson::{Bson, Document, doc};
use db_core::{
    ChangeStream, ChangeStreamEvent, ConnectionMonitor, ConnectionOptions, Database,
    FullDocumentBeforeChangeType, FullDocumentType, OperationType, ReadConcern, ResumeToken, Role, Store,
    TransactionOptions, run_connection,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::time::timeout;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

async fn connect(a: &Database, b: &Database) -> tokio::task::JoinHandle<()> {
    let (one, other) = tokio::io::duplex(1 << 20);
    let (of_a, of_b) =
        (a.connect_peer([1; 32], true).await.unwrap(), b.connect_peer([1; 32], false).await.unwrap());
    tokio::spawn(async move {
        let options = ConnectionOptions::default;
        let _ = tokio::join!(
            run_connection(one, of_a, options(), ConnectionMonitor::default()),
            run_connection(other, of_b, options(), ConnectionMonitor::default()),
        );
    })
}

/// What a client has built from the events of a database: collection and `_id` to document.
#[derive(Default)]
struct Client {
    built: BTreeMap<(String, String), Document>,
}

impl Client {
    fn follow(&mut self, event: ChangeStreamEvent<Document>) {
        let collection = event.ns.unwrap().coll;
        let key = event.document_key.and_then(|key| key.get("_id").map(Bson::to_string)).unwrap_or_default();
        let key = (collection.clone(), key);
        match event.operation_type {
            OperationType::Insert => assert_eq!(self.built.insert(key, event.full_document.unwrap()), None),
            OperationType::Update | OperationType::Replace => {
                let before = self.built.insert(key, event.full_document.unwrap());
                assert_eq!(before, event.full_document_before_change);
            }
            OperationType::Delete => assert_eq!(self.built.remove(&key), event.full_document_before_change),
            OperationType::Drop => self.built.retain(|(name, _), _| *name != collection),
            OperationType::Rename => {
                let to = event.to.unwrap().coll;
                let built = std::mem::take(&mut self.built).into_iter();
                let renamed = |((name, id), document)| {
                    ((if name == collection { to.clone() } else { name }, id), document)
                };
                self.built = built.map(renamed).collect();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Takes all events there are, until a find in between has seen what they say.
    fn check(&mut self, database: &Database, stream: &mut ChangeStream<Document>) {
        let mut next = stream.next_if_any().unwrap();
        loop {
            while let Some(event) = next {
                self.follow(event);
                next = stream.next_if_any().unwrap();
            }
            let found = found(database);
            next = stream.next_if_any().unwrap();
            if next.is_none() {
                assert_eq!(self.built, found);
                return;
            }
        }
    }
}

fn found(database: &Database) -> BTreeMap<(String, String), Document> {
    let names = database.list_collection_names().unwrap();
    let mut found = BTreeMap::new();
    for name in names.into_iter().filter(|name| !name.starts_with("system.")) {
        for document in database.collection::<Document>(&name).find(doc! {}).run().unwrap() {
            let document = document.unwrap();
            found.insert((name.clone(), document.get("_id").unwrap().to_string()), document);
        }
    }
    found
}

fn local(database: &Database) -> ChangeStream<Document> {
    let watch = database.watch().with_present().full_document(FullDocumentType::UpdateLookup);
    watch.full_document_before_change(FullDocumentBeforeChangeType::WhenAvailable).run().unwrap()
}

fn confirmed(database: &Database, after: Option<ResumeToken>) -> ChangeStream<Document> {
    let watch = database.watch().read_concern(ReadConcern::Majority);
    let watch = watch.full_document(FullDocumentType::Required);
    let watch = watch.full_document_before_change(FullDocumentBeforeChangeType::Required);
    match after {
        Some(token) => watch.resume_after(token).run().unwrap(),
        None => watch.start_at(0).run().unwrap(),
    }
}

/// All that is confirmed: the token and what it says, of each event.
fn all(mut stream: ChangeStream<Document>) -> Vec<(ResumeToken, Document)> {
    let mut events = Vec::new();
    while let Some(event) = stream.next_if_any().unwrap() {
        let mut document = bson::serialize_to_document(&event).unwrap();
        // Peers call their databases as they like.
        document.remove("ns").unwrap();
        document.remove("to");
        events.push((event.id, document));
    }
    events
}

async fn write(database: &Database, chance: &mut ChaCha8Rng) {
    let name = ["films", "books"][chance.next_u32() as usize % 2];
    let collection = database.collection::<Document>(name);
    let id = chance.next_u32() as i32 % 12;
    let value = chance.next_u32() as i32 % 100;
    // Many of these do not hold, here or at their place: that is no matter of the streams.
    match chance.next_u32() % 20 {
        0..7 => drop(collection.insert_one(doc! { "_id": id, "n": value }).await),
        7..12 => drop(collection.update_one(doc! { "_id": id }, doc! { "$set": { "n": value } }).await),
        12..14 => {
            drop(collection.update_many(doc! { "n": { "$lt": value } }, doc! { "$inc": { "k": 1 } }).await);
        }
        14 => drop(collection.replace_one(doc! { "_id": id }, doc! { "r": value }).await),
        15..17 => drop(collection.delete_one(doc! { "_id": id }).await),
        17 => drop(collection.delete_many(doc! { "n": { "$gt": value } }).await),
        18 => drop(collection.drop().await),
        _ => {
            let to = if name == "films" { "papers" } else { "films" };
            drop(database.rename_collection(name, to, false).await);
        }
    }
}

async fn part_and_meet(seed: u64) {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let stores: Vec<_> = (0..3).map(|_| Store::in_memory().unwrap()).collect();
    let peers: Vec<_> = stores.iter().map(|store| store.open_topic("films").unwrap()).collect();
    let mut streams: Vec<_> = peers.iter().map(local).collect();
    let mut clients: Vec<_> = peers.iter().map(|_| Client::default()).collect();
    peers[0].set_indexers(peers.iter().map(Database::writer).collect()).await.unwrap();
    for round in 0..8 {
        let mut links = Vec::new();
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            if chance.next_u32() % 2 == 0 || round == 7 {
                links.push(connect(&peers[a], &peers[b]).await);
            }
        }
        for _ in 0..chance.next_u32() % 30 {
            let who = chance.next_u32() as usize % 3;
            write(&peers[who], &mut chance).await;
            let who = chance.next_u32() as usize % 3;
            clients[who].check(&peers[who], &mut streams[who]);
        }
        if round == 7 {
            // What is left in the end are acks at most.
            for peer in &peers {
                let is_done = |status: &db_core::Status| status.unordered == 0 && status.tail <= 12;
                timeout(PATIENCE, peer.wait_for(is_done)).await.unwrap().unwrap();
            }
        }
        links.iter().for_each(tokio::task::JoinHandle::abort);
        for who in 0..3 {
            clients[who].check(&peers[who], &mut streams[who]);
        }
    }
    // Who has confirmed less has the beginning of what the others have.
    let mut events: Vec<_> = peers.iter().map(|peer| all(confirmed(peer, None))).collect();
    events.sort_by_key(Vec::len);
    assert!(!events[0].is_empty(), "seed {seed}");
    assert_eq!(events[0], events[1][..events[0].len()], "seed {seed}");
    assert_eq!(events[1], events[2][..events[1].len()], "seed {seed}");
    // Each once, in the order of their tokens.
    assert!(events[2].windows(2).all(|two| two[0].0.as_str() < two[1].0.as_str()), "seed {seed}");
    for peer in &peers {
        let own = all(confirmed(peer, None));
        for at in (0..own.len()).step_by(5) {
            let token = own[at].0.clone();
            // More may have been confirmed meanwhile.
            let rest = all(confirmed(peer, Some(token)));
            assert_eq!(rest[..own.len() - at - 1], own[at + 1..], "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_build_is_what_is_there_and_confirmed_events_are_the_same_everywhere() {
    for seed in 0..6 {
        part_and_meet(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_not_made_after_all_is_dropped_whatever_has_its_number() {
    let a = Store::in_memory().unwrap().create_database("demo").unwrap();
    let b = Store::in_memory().unwrap().join(&a.ticket(Vec::new())).unwrap();
    a.add_writer(b.writer(), Role::Writer).await.unwrap();
    let stock = a.collection::<Document>("stock");
    stock.insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    let link = connect(&a, &b).await;
    let is_same = |status: &db_core::Status| status.confirmed == a.status().confirmed;
    timeout(PATIENCE, b.wait_for(is_same)).await.unwrap().unwrap();
    link.abort();
    let mut of_all = local(&b);
    let mut of_one = b.collection::<Document>("sold").watch().run().unwrap();
    let mut client = Client::default();
    let sale = b.begin_transaction(TransactionOptions::default()).unwrap();
    let sold = doc! { "$inc": { "n": -1 } };
    sale.collection::<Document>("stock").update_one(doc! { "n": 1 }, sold.clone()).await.unwrap();
    sale.collection::<Document>("sold").insert_one(doc! { "_id": 1 }).await.unwrap();
    sale.commit().await.unwrap();
    client.check(&b, &mut of_all);
    assert_eq!(of_one.next_if_any().unwrap().unwrap().operation_type, OperationType::Insert);
    stock.update_one(doc! { "n": 1 }, sold).await.unwrap();
    // The sale does not hold: the first collection made after `stock` is that of what was rejected.
    let link = connect(&a, &b).await;
    timeout(PATIENCE, b.watch_rejections().unwrap().next()).await.unwrap().unwrap();
    link.abort();
    client.check(&b, &mut of_all);
    assert_eq!(client.built.keys().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["stock"]);
    assert_eq!(of_one.next_if_any().unwrap().unwrap().operation_type, OperationType::Drop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_stream_is_resumed_after_a_restart_and_on_another_peer() {
    let folder = tempfile::tempdir().unwrap();
    let (token, id) = {
        let store = Store::open(folder.path()).unwrap();
        let database = store.create_database("demo").unwrap();
        let films = database.collection::<Document>("films");
        let mut stream = confirmed(&database, None);
        films.insert_many((0..3).map(|n| doc! { "_id": n }).collect::<Vec<_>>()).await.unwrap();
        films.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": { "b": 1 } } }).await.unwrap();
        let mut token = None;
        for n in 0..2 {
            let event = timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(event.full_document, Some(doc! { "_id": n }));
            token = Some(event.id);
        }
        let ticket = database.ticket(Vec::new());
        let other = Store::in_memory().unwrap();
        let joined = other.join(&ticket).unwrap();
        let link = connect(&database, &joined).await;
        let status = timeout(PATIENCE, joined.wait_for(|status| status.confirmed >= 2)).await;
        assert!(status.is_ok_and(|status| status.is_ok()));
        let rest = all(confirmed(&joined, token.clone()));
        assert_eq!(rest.len(), 2);
        assert_eq!(rest, all(confirmed(&database, token.clone())));
        link.abort();
        store.close();
        (token.unwrap(), rest)
    };
    let store = Store::open(folder.path()).unwrap();
    let database = store.database("demo").unwrap();
    assert_eq!(all(confirmed(&database, Some(token.clone()))), id);
    // A token of this database is none of another's.
    let stranger = store.create_database("stranger").unwrap();
    let refused = stranger.watch().read_concern(ReadConcern::Majority).resume_after(token).run().unwrap_err();
    assert_eq!(refused.code(), Some(260));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_what_becomes_of_its_collection_and_ends() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    for concern in [ReadConcern::Local, ReadConcern::Majority] {
        let films = database.collection::<Document>("films");
        films.insert_one(doc! { "_id": 1 }).await.unwrap();
        let mut of_films = films.watch().read_concern(concern).run().unwrap();
        let mut of_all = database.watch().read_concern(concern).run().unwrap();
        database.rename_collection("films", "movies", false).await.unwrap();
        let event = of_films.next().await.unwrap().unwrap();
        assert_eq!(
            (event.operation_type, event.to.unwrap().coll.as_str()),
            (OperationType::Rename, "movies")
        );
        let event = of_films.next().await.unwrap().unwrap();
        assert_eq!((event.operation_type, event.ns), (OperationType::Invalidate, None));
        assert!(of_films.next().await.is_none());
        assert!(!of_films.is_alive());
        assert_eq!(of_all.next().await.unwrap().unwrap().operation_type, OperationType::Rename);
        let movies = database.collection::<Document>("movies");
        movies.insert_one(doc! { "_id": 2 }).await.unwrap();
        let event = of_all.next().await.unwrap().unwrap();
        assert_eq!(
            (event.operation_type, event.ns.unwrap().coll.as_str()),
            (OperationType::Insert, "movies")
        );
        movies.drop().await.unwrap();
        assert_eq!(of_all.next().await.unwrap().unwrap().operation_type, OperationType::Drop);
        assert_eq!(of_all.next_if_any().unwrap(), None);
    }
}

#[test]
fn a_pipeline_picks_and_reshapes_events_and_nothing_else() {
    let store = Store::in_memory().unwrap();
    let films = store.create_database("demo").unwrap().collection::<Document>("films");
    let stages = [
        doc! { "$match": { "operationType": "update", "updateDescription.updatedFields.stock": { "$lt": 2 } } },
        doc! { "$project": { "documentKey": 1, "left": "$updateDescription.updatedFields.stock" } },
    ];
    let mut low = films.watch().pipeline(stages).run().unwrap();
    films.insert_one(doc! { "_id": 1, "stock": 2 }).run().unwrap();
    assert_eq!(low.next_raw_if_any().unwrap(), None);
    films.update_one(doc! { "_id": 1 }, doc! { "$inc": { "stock": -1 } }).run().unwrap();
    let event = Document::try_from(low.next_raw_if_any().unwrap().unwrap()).unwrap();
    assert_eq!(
        (event.get_document("documentKey").unwrap(), event.get_i32("left").unwrap()),
        (&doc! { "_id": 1 }, 1)
    );
    for stage in [doc! { "$group": { "_id": null } }, doc! { "$out": "x" }, doc! { "$limit": 1 }] {
        assert_eq!(films.watch().pipeline([stage]).run().unwrap_err().code(), Some(20));
    }
    let mut spoilt = films.watch().pipeline([doc! { "$project": { "_id": 0 } }]).run().unwrap();
    films.insert_one(doc! { "_id": 2 }).run().unwrap();
    assert_eq!(spoilt.next_raw_if_any().unwrap_err().code(), Some(280));
    assert!(!spoilt.is_alive());
}

#[test]
fn closing_the_database_ends_its_streams() {
    let store = Store::in_memory().unwrap();
    let database = store.create_database("demo").unwrap();
    let films = database.collection::<Document>("films");
    for concern in [ReadConcern::Local, ReadConcern::Majority] {
        let mut stream = films.watch().read_concern(concern).run().unwrap();
        assert!(stream.next_blocking(Some(Duration::from_millis(1))).is_none());
        let waiting = std::thread::spawn(move || stream.next_blocking(None));
        if concern == ReadConcern::Majority {
            database.close();
        } else {
            films.insert_one(doc! { "_id": 1 }).run().unwrap();
        }
        let end = waiting.join().unwrap().unwrap();
        assert_eq!(end.is_err(), concern == ReadConcern::Majority, "{end:?}");
    }
    let mut stream = films.watch().run();
    assert!(stream.is_err() || stream.as_mut().unwrap().next_if_any().is_err());
}
