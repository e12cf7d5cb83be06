//! Swarms in one process over loopback.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::presets;
use iroh::{Endpoint, EndpointAddr, PublicKey, RelayMode};
use tokio::time::{sleep, timeout};

use super::*;
use crate::driver::stub::StubDatabase;
use crate::entry::Genesis;
use crate::ids::{DatabaseKey, Topic};
use crate::peer_address::PeerAddress;
use crate::ticket::Ticket;

impl SwarmDatabase for Arc<StubDatabase> {
    fn key(&self) -> DatabaseKey {
        self.key.clone()
    }

    fn connect(&self, channel: Channel) -> ConnectFuture<'_> {
        Box::pin(async move { Some(self.attach(channel.binding, channel.dialer)) })
    }
}

/// A database that meets on the topic of one key and proves another.
struct Impostor(DatabaseKey, Arc<StubDatabase>);

impl SwarmDatabase for Impostor {
    fn key(&self) -> DatabaseKey {
        self.0.clone()
    }

    fn connect(&self, channel: Channel) -> ConnectFuture<'_> {
        self.1.connect(channel)
    }
}

fn options(secret: u8) -> SwarmOptions {
    SwarmOptions {
        redial_min: Duration::from_millis(50),
        redial_max: Duration::from_millis(400),
        ..SwarmOptions::new([secret; 32])
    }
}

async fn swarm(secret: u8) -> Swarm {
    Swarm::bind(options(secret)).await.unwrap()
}

/// A swarm with one database that has one entry.
async fn peer(number: u8) -> (Swarm, Arc<StubDatabase>, Topic) {
    let swarm = swarm(number).await;
    let database = StubDatabase::new(1, u32::from(number));
    database.write(1);
    let topic = swarm.join(Arc::new(Arc::clone(&database))).unwrap();
    (swarm, database, topic)
}

async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), doing).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn connected(swarm: &Swarm, topic: &Topic, count: usize) {
    let is_connected = |peer: &PeerStatus| peer.state == PeerState::Connected && peer.caught_up;
    let waiting = async {
        while swarm.status(topic).iter().filter(|peer| is_connected(peer)).count() != count {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let done = timeout(Duration::from_secs(20), waiting).await.is_ok();
    assert!(done, "never {count} connected: {:#?}", swarm.status(topic));
}

async fn failed(swarm: &Swarm, topic: &Topic, with: &str) {
    let has_failed = |peer: &PeerStatus| peer.last_error.as_ref().is_some_and(|error| error.contains(with));
    let waiting = async {
        while !swarm.status(topic).iter().any(has_failed) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let done = timeout(Duration::from_secs(20), waiting).await.is_ok();
    assert!(done, "never failed with {with:?}: {:#?}", swarm.status(topic));
}

fn socket(swarm: &Swarm) -> PeerHint {
    PeerHint::Socket(swarm.address().sockets[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_meet_by_ticket_and_exchange() {
    let (a, films, topic) = peer(1).await;
    let (b, other, _) = peer(2).await;
    let key = a_key();
    let addresses = vec![a.address()];
    let ticket = Ticket { genesis: Genesis::open(&key), key, name: "films".to_owned(), addresses };
    let ticket: PeerHint = ticket.to_text().parse().unwrap();
    b.add_peer(&topic, &ticket).unwrap();
    films.write_large(16 * 1024 * 1024);
    within("exchanged", async { tokio::join!(films.holds(3), other.holds(3)) }).await;
    connected(&a, &topic, 1).await;
    connected(&b, &topic, 1).await;
    let status = b.status(&topic).remove(0);
    assert_eq!(status.endpoint, Some(a.endpoint()));
    assert_eq!(status.sockets, a.address().sockets);
    assert_eq!(status.writer, Some(films.writer()));
    assert!(status.bytes_received > 16 * 1024 * 1024 && status.bytes_sent > 100);
    assert!(status.connected_since.is_some() && status.last_error.is_none());
    a.leave(&topic);
    connected(&b, &topic, 0).await;
    assert!(matches!(a.add_peer(&topic, &ticket), Err(SwarmError::NotJoined)));
    let elsewhere = StubDatabase::new(9, 9);
    let topic = b.join(Arc::new(elsewhere)).unwrap();
    assert!(matches!(b.add_peer(&topic, &ticket), Err(SwarmError::OtherDatabase)));
}

fn a_key() -> DatabaseKey {
    DatabaseKey::from_bytes([1; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ip_and_port_are_enough_also_before_anybody_listens_there() {
    let (a, films, topic) = peer(1).await;
    let later = options(2);
    let free = swarm(3).await;
    let bind = free.address().sockets[0];
    free.close().await;
    drop(free);
    a.add_peer(&topic, &PeerHint::Socket(bind)).unwrap();
    failed(&a, &topic, "refused").await;
    assert_eq!(a.status(&topic)[0].state, PeerState::Looking);
    let b = Swarm::bind(SwarmOptions { bind, ..later }).await.unwrap();
    let other = StubDatabase::new(1, 2);
    b.join(Arc::new(Arc::clone(&other))).unwrap();
    within("exchanged", other.holds(1)).await;
    connected(&a, &topic, 1).await;
    assert_eq!(a.status(&topic).len(), 1);
    films.write(1);
    within("pushed", other.holds(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_peers_that_know_one_become_fully_connected() {
    let (a, films, topic) = peer(1).await;
    let (b, second, _) = peer(2).await;
    let (c, third, _) = peer(3).await;
    b.add_peer(&topic, &socket(&a)).unwrap();
    c.add_peer(&topic, &PeerHint::Address(a.address())).unwrap();
    for swarm in [&a, &b, &c] {
        connected(swarm, &topic, 2).await;
    }
    within("exchanged", async { tokio::join!(films.holds(3), second.holds(3), third.holds(3)) }).await;
    a.close().await;
    connected(&b, &topic, 1).await;
    second.write(1);
    within("pushed without the first", third.holds(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_databases_share_one_connection() {
    let (a, b) = (swarm(1).await, swarm(2).await);
    let mut pairs = Vec::new();
    for key in 1..=10 {
        let (ours, theirs) = (StubDatabase::new(key, 1), StubDatabase::new(key, 2));
        ours.write(3);
        theirs.write(2);
        let topic = a.join(Arc::new(Arc::clone(&ours))).unwrap();
        b.join(Arc::new(Arc::clone(&theirs))).unwrap();
        assert!(matches!(b.join(Arc::new(Arc::clone(&theirs))), Err(SwarmError::AlreadyJoined)));
        b.add_peer(&topic, &PeerHint::Address(a.address())).unwrap();
        connected(&b, &topic, 1).await;
        pairs.push((ours, theirs));
    }
    for (ours, theirs) in &pairs {
        within("exchanged", async { tokio::join!(ours.holds(5), theirs.holds(5)) }).await;
    }
    assert_eq!(a.connections(), 1);
    assert_eq!(b.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_dial_each_other_keep_one_session() {
    for _ in 0..5 {
        let (a, films, topic) = peer(1).await;
        let (b, other, _) = peer(2).await;
        a.add_peer(&topic, &PeerHint::Address(b.address())).unwrap();
        b.add_peer(&topic, &PeerHint::Address(a.address())).unwrap();
        b.add_peer(&topic, &socket(&a)).unwrap();
        b.add_peer(&topic, &socket(&b)).unwrap();
        within("exchanged", async { tokio::join!(films.holds(2), other.holds(2)) }).await;
        connected(&a, &topic, 1).await;
        connected(&b, &topic, 1).await;
        sleep(Duration::from_millis(300)).await;
        let since = a.status(&topic)[0].connected_since;
        sleep(Duration::from_millis(500)).await;
        connected(&a, &topic, 1).await;
        assert_eq!(a.status(&topic)[0].connected_since, since);
        films.write(1);
        within("pushed", other.holds(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_peer_is_dialed_again_until_it_is_back() {
    let (a, films, topic) = peer(1).await;
    let (b, other, _) = peer(2).await;
    let bind = b.address().sockets[0];
    a.add_peer(&topic, &PeerHint::Address(b.address())).unwrap();
    connected(&a, &topic, 1).await;
    b.close().await;
    drop(b);
    connected(&a, &topic, 0).await;
    films.write(5);
    sleep(Duration::from_millis(500)).await;
    let b = Swarm::bind(SwarmOptions { bind, ..options(2) }).await.unwrap();
    b.join(Arc::new(Arc::clone(&other))).unwrap();
    within("caught up", other.holds(7)).await;
    connected(&a, &topic, 1).await;
    assert_eq!(a.status(&topic)[0].last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_and_the_reason_is_shown() {
    let (a, _films, topic) = peer(1).await;
    let b = swarm(2).await;
    let elsewhere = b.join(Arc::new(StubDatabase::new(5, 2))).unwrap();
    b.add_peer(&elsewhere, &PeerHint::Address(a.address())).unwrap();
    failed(&b, &elsewhere, "no database of this topic").await;
    b.add_peer(&elsewhere, &socket(&a)).unwrap();
    failed(&b, &elsewhere, "nobody there serves this topic").await;
    b.leave(&elsewhere);
    assert_eq!(b.join(Arc::new(Impostor(a_key(), StubDatabase::new(6, 3)))).unwrap(), topic);
    b.add_peer(&topic, &PeerHint::Address(a.address())).unwrap();
    failed(&b, &topic, "does not know the database's key").await;
    connected(&a, &topic, 0).await;
    let (c, third, _) = peer(4).await;
    c.add_peer(&topic, &PeerHint::Address(PeerAddress { endpoint: b.endpoint(), ..a.address() })).unwrap();
    failed(&c, &topic, "").await;
    c.add_peer(&topic, &socket(&a)).unwrap();
    within("exchanged", third.holds(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_any_stream_disturbs_nobody() {
    let (a, _films, topic) = peer(1).await;
    let stranger = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled).bind().await.unwrap();
    let key = PublicKey::from_bytes(a.endpoint().as_bytes()).unwrap();
    let address = EndpointAddr::new(key).with_ip_addr(a.address().sockets[0]);
    let connection = stranger.connect(address, handle::ALPN).await.unwrap();
    let mut ended = false;
    for round in 0..60u8 {
        let Ok((mut send, mut recv)) = connection.open_bi().await else {
            ended = true;
            break;
        };
        let mut bytes = vec![round; 40];
        if round % 2 == 0 {
            bytes[..8].copy_from_slice(b"combdb\0\x01");
            bytes[8..].copy_from_slice(&if round % 4 == 0 { *topic.as_bytes() } else { [round; 32] });
            bytes.extend(vec![0xFF; 300]);
        }
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        let _ = timeout(Duration::from_secs(5), recv.read_to_end(1_000)).await;
        if let Ok(mut messages) = connection.open_uni().await {
            let _ = messages.write_all(&vec![round; 20_000]).await;
        }
    }
    assert!(ended, "a stranger may open streams for ever");
    let (b, other, _) = peer(2).await;
    b.add_peer(&topic, &socket(&a)).unwrap();
    within("exchanged", other.holds(2)).await;
    stranger.close().await;
}
