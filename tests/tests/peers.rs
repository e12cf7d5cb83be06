//! Several peers: on a topic, with tickets, with and without the right to write.

// Helpers of tests are tests too.
#![allow(clippy::unwrap_used)]

use combdb_tests::{Calls, Peer, PeerOptions, eventually};
use proto::v1::{
    AddPeerRequest, AddWriterRequest, CreateDatabaseRequest, CreateTicketRequest, DatabaseInfo,
    JoinDatabaseRequest, ListPeersRequest, RemoveWriterRequest, Role, SetIndexersRequest,
};
use tonic::Code;

const COMBDB: &str = env!("CARGO_BIN_EXE_combdb-under-test");

async fn count(calls: &Calls, database: &str) -> u64 {
    calls.count(database, "c", "{}").await.unwrap()
}

async fn meet(calls: &Calls, other: &Calls) {
    let address = other.own_address().await;
    calls.peers.clone().add(AddPeerRequest { address }).await.unwrap();
}

/// Waits until both hold the same entries, all confirmed, in the same order and view.
async fn converged(a: &Calls, b: &Calls, database: &str) {
    eventually("the peers converge", || async {
        let (a, b) = (a.status(database).await.unwrap(), b.status(database).await.unwrap());
        (a.entries, a.confirmed, &a.view_digest, &a.order_digest)
            == (b.entries, b.confirmed, &b.view_digest, &b.order_digest)
            && a.tail == 0
            && a.view_digest.len() == 64
    })
    .await;
}

/// A closed database at `founder` with one document, joined by `guest` with a ticket.
async fn joined(founder: &Calls, guest: &Calls) -> DatabaseInfo {
    founder.databases.clone().create(CreateDatabaseRequest { name: "notes".into() }).await.unwrap();
    founder.insert("notes", "c", &[r#"{"_id": 1}"#]).await.unwrap();
    let ticket =
        founder.tickets.clone().create(CreateTicketRequest { database: "notes".into() }).await.unwrap();
    let request = JoinDatabaseRequest { ticket: ticket.into_inner().ticket, name: "theirs".into() };
    let database = guest.databases.clone().join(request).await.unwrap().into_inner().database.unwrap();
    assert_eq!(database.name, "theirs");
    eventually("the guest has the document", || async { count(guest, "theirs").await == 1 }).await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_of_a_topic_write_apart_meet_and_agree() {
    let topic = PeerOptions::topic("t");
    let (a, b) = (Peer::start(COMBDB, &topic), Peer::start(COMBDB, &topic));
    let (a, b) = (a.calls().await, b.calls().await);
    a.insert("t", "c", &[r#"{"_id": "a", "n": 0}"#, r#"{"_id": "both", "n": 0}"#]).await.unwrap();
    b.insert("t", "c", &[r#"{"_id": "b", "n": 0}"#, r#"{"_id": "both", "n": 0}"#]).await.unwrap();
    a.create_index("t", "c", r#"{"n": 1}"#, false).await.unwrap();
    let own = a.status("t").await.unwrap().database.unwrap().writer_key;
    a.writers
        .clone()
        .set_indexers(SetIndexersRequest { database: "t".into(), keys: vec![own], write_concern: None })
        .await
        .unwrap();

    meet(&b, &a).await;
    converged(&a, &b, "t").await;
    for calls in [&a, &b] {
        assert_eq!(count(calls, "t").await, 3);
        assert_eq!(calls.count("t", "c", r#"{"n": 0}"#).await.unwrap(), 3);
    }
    for calls in [&a, &b] {
        calls.update_many("t", "c", r#"{"_id": "both"}"#, r#"{"$inc": {"n": 1}}"#).await.unwrap();
    }
    converged(&a, &b, "t").await;
    assert_eq!(a.count("t", "c", r#"{"_id": "both", "n": 2}"#).await.unwrap(), 1);
    let peers = a.peers.clone().list(ListPeersRequest {}).await.unwrap().into_inner().peers;
    assert!(peers.iter().any(|peer| peer.connected), "{peers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_a_closed_database_reads_and_writes_only_once_admitted() {
    let (a, b) = (Peer::start(COMBDB, &PeerOptions::default()), Peer::start(COMBDB, &PeerOptions::default()));
    let (founder, guest) = (a.calls().await, b.calls().await);
    let database = joined(&founder, &guest).await;
    assert!(!database.open);

    let refusal = guest.insert("theirs", "c", &[r#"{"_id": 2}"#]).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied, "{}", refusal.message());
    let add = |database: &str, key: &str| AddWriterRequest {
        database: database.into(),
        key: key.into(),
        role: Role::Writer.into(),
        more_roles: Vec::new(),
        write_concern: None,
    };
    let refusal = guest.writers.clone().add(add("theirs", &database.writer_key)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied, "{}", refusal.message());

    founder.writers.clone().add(add("notes", &database.writer_key)).await.unwrap();
    eventually("the guest may write", || async {
        match guest.insert("theirs", "c", &[r#"{"_id": 2}"#]).await {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::PermissionDenied, "{}", status.message());
                false
            }
        }
    })
    .await;
    eventually("the founder has it", || async { count(&founder, "notes").await == 2 }).await;

    let remove = RemoveWriterRequest {
        database: "notes".into(),
        key: database.writer_key.clone(),
        write_concern: None,
    };
    founder.writers.clone().remove(remove).await.unwrap();
    eventually("the guest may write no more", || async {
        guest.insert("theirs", "c", &[]).await.is_err()
            && guest
                .insert("theirs", "late", &["{}"])
                .await
                .is_err_and(|status| status.code() == Code::PermissionDenied)
    })
    .await;
    assert_eq!(count(&founder, "notes").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_other_topics_get_nothing() {
    let (a, b) =
        (Peer::start(COMBDB, &PeerOptions::topic("one")), Peer::start(COMBDB, &PeerOptions::topic("two")));
    let (one, two) = (a.calls().await, b.calls().await);
    one.insert("one", "c", &[r#"{"_id": 1}"#]).await.unwrap();
    two.insert("two", "c", &[r#"{"_id": 2}"#]).await.unwrap();
    meet(&two, &one).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    for (calls, database) in [(&one, "one"), (&two, "two")] {
        assert_eq!(count(calls, database).await, 1);
        assert_eq!(
            calls.status(database).await.unwrap().writers.iter().filter(|writer| writer.entries > 0).count(),
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_given_when_it_starts_is_found_again_after_a_restart() {
    let topic = PeerOptions::topic("t");
    let a = Peer::start(COMBDB, &topic);
    let founder = a.calls().await;
    founder.insert("t", "c", &[r#"{"_id": 1}"#]).await.unwrap();
    let options = PeerOptions { peers: vec![founder.own_address().await], ..topic };
    let mut b = Peer::start(COMBDB, &options);
    let calls = b.calls().await;
    eventually("the first document", || async { count(&calls, "t").await == 1 }).await;
    b.stop();
    founder.insert("t", "c", &[r#"{"_id": 2}"#]).await.unwrap();
    b.restart(&options);
    let calls = b.calls().await;
    eventually("the second document", || async { count(&calls, "t").await == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_in_the_log() {
    let (a, b) = (Peer::start(COMBDB, &PeerOptions::default()), Peer::start(COMBDB, &PeerOptions::default()));
    let (founder, guest) = (a.calls().await, b.calls().await);
    joined(&founder, &guest).await;
    let ticket =
        founder.tickets.clone().create(CreateTicketRequest { database: "notes".into() }).await.unwrap();
    let ticket = ticket.into_inner().ticket;
    for peer in [&a, &b] {
        let log = peer.log();
        // The beginning of a ticket is the database's key; any eight characters of it are too many.
        let secret = ticket.get(8..40).unwrap();
        assert!(!log.contains(secret), "the database's key is in the log");
        assert!(!log.is_empty());
    }
}
