//! Who is known on which topic, and which sessions there are. Plain data under a lock: decides, and does nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::peering::Peering;
use super::shared::SwarmDatabase;
use super::status::{PeerState, PeerStatus};
use crate::driver::ConnectionMonitor;
use crate::ids::Topic;
use crate::peer_address::{EndpointKey, PeerAddress, SOCKETS_MAX};

/// The most peers of one topic.
pub(super) const PEERS_MAX: usize = 256;
/// The most addresses without an endpoint that may be given by hand for one topic.
pub(super) const LOOKUPS_MAX: usize = 64;
/// How young a session must be to have been dialed at the same time as the other end's.
const RACE: Duration = Duration::from_secs(5);

/// A task that ends when this is dropped.
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everything known of topics and peers.
pub(super) struct Roster {
    own: EndpointKey,
    topics: BTreeMap<Topic, Joined>,
    sessions: u64,
}

/// A database that has joined.
pub(super) struct Joined {
    pub(super) database: Arc<dyn SwarmDatabase>,
    peers: BTreeMap<EndpointKey, Peer>,
    lookups: BTreeMap<SocketAddr, Lookup>,
}

#[derive(Default)]
struct Peer {
    /// Where to dial it; empty for a peer that dialed us and that nobody told us of.
    sockets: Vec<SocketAddr>,
    by_hand: bool,
    dialer: Option<Task>,
    session: Option<Active>,
    last_error: Option<String>,
}

/// An address given by hand, of which it is not known who listens there.
struct Lookup {
    found: Option<EndpointKey>,
    last_error: Option<String>,
    _task: Task,
}

struct Active {
    id: u64,
    dialer: bool,
    since: SystemTime,
    monitor: ConnectionMonitor,
    peering: Option<Arc<Peering>>,
    /// Dropped to end the session.
    _stop: oneshot::Sender<()>,
}

/// A session that may begin.
pub(super) struct Begun {
    pub(super) id: u64,
    pub(super) database: Arc<dyn SwarmDatabase>,
    pub(super) monitor: ConnectionMonitor,
    /// Resolves when the session has to end.
    pub(super) stopped: oneshot::Receiver<()>,
}

impl Roster {
    pub(super) fn new(own: EndpointKey) -> Self {
        Self { own, topics: BTreeMap::new(), sessions: 0 }
    }

    /// Adds a database; false if one of this topic is there.
    pub(super) fn join(&mut self, topic: Topic, database: Arc<dyn SwarmDatabase>) -> bool {
        if self.topics.contains_key(&topic) {
            return false;
        }
        self.topics.insert(topic, Joined { database, peers: BTreeMap::new(), lookups: BTreeMap::new() });
        true
    }

    /// Removes a topic; its tasks and sessions end when what is given back is dropped, outside of the lock.
    pub(super) fn leave(&mut self, topic: &Topic) -> Option<Joined> {
        self.topics.remove(topic)
    }

    /// Removes all topics, as [`Roster::leave`].
    pub(super) fn leave_all(&mut self) -> BTreeMap<Topic, Joined> {
        std::mem::take(&mut self.topics)
    }

    pub(super) fn database(&self, topic: &Topic) -> Option<Arc<dyn SwarmDatabase>> {
        self.topics.get(topic).map(|joined| Arc::clone(&joined.database))
    }

    /// Adds what is known of a peer; true if there was room and it can be dialed. [`Roster::needs_dialer`] follows.
    pub(super) fn add(&mut self, topic: &Topic, address: &PeerAddress, by_hand: bool) -> bool {
        let Some(joined) = self.topics.get_mut(topic) else { return false };
        let known = joined.peers.contains_key(&address.endpoint);
        if address.endpoint == self.own
            || address.sockets.is_empty()
            || (!known && joined.peers.len() >= PEERS_MAX)
        {
            return false;
        }
        let peer = joined.peers.entry(address.endpoint).or_default();
        for socket in &address.sockets {
            peer.sockets.retain(|known| known != socket);
            peer.sockets.insert(0, *socket);
        }
        peer.sockets.truncate(SOCKETS_MAX);
        peer.by_hand |= by_hand;
        true
    }

    /// Whether nobody dials this peer yet.
    pub(super) fn needs_dialer(&self, topic: &Topic, endpoint: &EndpointKey) -> bool {
        self.peer(topic, endpoint).is_some_and(|peer| peer.dialer.is_none() && !peer.sockets.is_empty())
    }

    pub(super) fn set_dialer(&mut self, topic: &Topic, endpoint: &EndpointKey, task: Task) {
        if let Some(peer) = self.peer_mut(topic, endpoint) {
            peer.dialer = Some(task);
        }
    }

    /// Where to dial a peer; none if it is not known any more.
    pub(super) fn sockets(&self, topic: &Topic, endpoint: &EndpointKey) -> Option<Vec<SocketAddr>> {
        self.peer(topic, endpoint).map(|peer| peer.sockets.clone())
    }

    /// Forgets a peer that was not given by hand and has no session; false if it stays.
    pub(super) fn forget(&mut self, topic: &Topic, endpoint: &EndpointKey) -> bool {
        let Some(joined) = self.topics.get_mut(topic) else { return true };
        let gone = joined.peers.get(endpoint).is_none_or(|peer| !peer.by_hand && peer.session.is_none());
        if gone {
            joined.peers.remove(endpoint);
        }
        gone
    }

    /// Lets a session begin, or says why not. Of two that were dialed at once the one dialed by the lower endpoint stays;
    /// a peer that dials again after that has lost the session that we still have.
    pub(super) fn begin(
        &mut self,
        topic: &Topic,
        endpoint: EndpointKey,
        dialer: bool,
        peering: Option<Arc<Peering>>,
    ) -> Result<Begun, &'static str> {
        let ours_wins = self.own < endpoint;
        let Some(joined) = self.topics.get_mut(topic) else { return Err("no database of this topic here") };
        if !joined.peers.contains_key(&endpoint) && joined.peers.len() >= PEERS_MAX {
            return Err("too many peers here");
        }
        let peer = joined.peers.entry(endpoint).or_default();
        if let Some(active) = &peer.session {
            let young = active.since.elapsed().is_ok_and(|age| age < RACE);
            let replaces = match (active.dialer, dialer) {
                (_, true) => young && !active.dialer && ours_wins,
                (false, false) => true,
                (true, false) => !young || !ours_wins,
            };
            if !replaces {
                return Err("connected already");
            }
        }
        self.sessions += 1;
        let (stop, stopped) = oneshot::channel();
        let monitor = ConnectionMonitor::default();
        peer.session = Some(Active {
            id: self.sessions,
            dialer,
            since: SystemTime::now(),
            monitor: monitor.clone(),
            peering,
            _stop: stop,
        });
        Ok(Begun { id: self.sessions, database: Arc::clone(&joined.database), monitor, stopped })
    }

    /// Notes the end of a session, unless another has taken its place.
    pub(super) fn end(&mut self, topic: &Topic, endpoint: &EndpointKey, id: u64) {
        let Some(joined) = self.topics.get_mut(topic) else { return };
        let Some(peer) = joined.peers.get_mut(endpoint) else { return };
        if peer.session.as_ref().is_some_and(|active| active.id == id) {
            peer.session = None;
            if peer.dialer.is_none() {
                joined.peers.remove(endpoint);
            }
        }
    }

    /// Notes that a peer has proved to be a member: whatever went wrong before is of no interest any more.
    pub(super) fn note_member(&mut self, topic: &Topic, endpoint: &EndpointKey) {
        if let Some(peer) = self.peer_mut(topic, endpoint) {
            peer.last_error = None;
        }
    }

    /// Notes why an attempt or a session ended.
    pub(super) fn note_error(&mut self, topic: &Topic, endpoint: &EndpointKey, error: String) {
        if let Some(peer) = self.peer_mut(topic, endpoint) {
            peer.last_error = Some(error);
        }
    }

    pub(super) fn has_session(&self, topic: &Topic, endpoint: &EndpointKey) -> bool {
        self.peer(topic, endpoint).is_some_and(|peer| peer.session.is_some())
    }

    /// Whether this peer has proved, on the session that there is, to be a member.
    pub(super) fn is_member(&self, topic: &Topic, endpoint: &EndpointKey) -> bool {
        let session = self.peer(topic, endpoint).and_then(|peer| peer.session.as_ref());
        session.is_some_and(|active| active.monitor.progress().writer.is_some())
    }

    /// The members of a topic that are connected, but one: whom to tell of it, and where the others are.
    pub(super) fn members(&self, topic: &Topic, but: &EndpointKey) -> Vec<Arc<Peering>> {
        let Some(joined) = self.topics.get(topic) else { return Vec::new() };
        let others = joined.peers.iter().filter(|(endpoint, _)| *endpoint != but);
        let sessions = others.filter_map(|(_, peer)| peer.session.as_ref());
        sessions
            .filter(|active| active.monitor.progress().writer.is_some())
            .filter_map(|active| active.peering.clone())
            .collect()
    }

    /// Adds an address whose endpoint is unknown; `spawn` starts the task that finds out. False if there is no room.
    pub(super) fn add_lookup(
        &mut self,
        topic: &Topic,
        socket: SocketAddr,
        spawn: impl FnOnce() -> Task,
    ) -> bool {
        let Some(joined) = self.topics.get_mut(topic) else { return false };
        if joined.lookups.contains_key(&socket) {
            return true;
        }
        if joined.lookups.len() >= LOOKUPS_MAX {
            return false;
        }
        joined.lookups.insert(socket, Lookup { found: None, last_error: None, _task: spawn() });
        true
    }

    /// Notes what a look-up found, or why it found nothing.
    pub(super) fn note_lookup(
        &mut self,
        topic: &Topic,
        socket: &SocketAddr,
        found: Result<EndpointKey, String>,
    ) {
        let lookup = self.topics.get_mut(topic).and_then(|joined| joined.lookups.get_mut(socket));
        if let Some(lookup) = lookup {
            match found {
                Ok(endpoint) => (lookup.found, lookup.last_error) = (Some(endpoint), None),
                Err(error) => lookup.last_error = Some(error),
            }
        }
    }

    /// How it stands with all peers of a topic.
    pub(super) fn status(&self, topic: &Topic) -> Vec<PeerStatus> {
        let Some(joined) = self.topics.get(topic) else { return Vec::new() };
        let peers = joined.peers.iter().map(|(endpoint, peer)| peer.status(*endpoint));
        let lookups = joined.lookups.iter();
        let unanswered = lookups
            .filter(|(_, lookup)| !lookup.found.is_some_and(|found| joined.peers.contains_key(&found)));
        let looking = unanswered.map(|(socket, lookup)| PeerStatus {
            endpoint: None,
            sockets: vec![*socket],
            state: PeerState::Looking,
            writer: None,
            connected_since: None,
            caught_up: false,
            bytes_sent: 0,
            bytes_received: 0,
            last_error: lookup.last_error.clone(),
        });
        peers.chain(looking).collect()
    }

    fn peer(&self, topic: &Topic, endpoint: &EndpointKey) -> Option<&Peer> {
        self.topics.get(topic)?.peers.get(endpoint)
    }

    fn peer_mut(&mut self, topic: &Topic, endpoint: &EndpointKey) -> Option<&mut Peer> {
        self.topics.get_mut(topic)?.peers.get_mut(endpoint)
    }
}

impl Peer {
    fn status(&self, endpoint: EndpointKey) -> PeerStatus {
        let active = self.session.as_ref();
        let progress = active.map(|active| active.monitor.progress()).unwrap_or_default();
        let seen = active.and_then(|active| active.peering.as_ref()?.remote_socket());
        PeerStatus {
            endpoint: Some(endpoint),
            sockets: seen.map_or_else(|| self.sockets.clone(), |socket| vec![socket]),
            state: match (active, progress.writer) {
                (None, _) => PeerState::Dialing,
                (Some(_), None) => PeerState::Connecting,
                (Some(_), Some(_)) => PeerState::Connected,
            },
            writer: progress.writer,
            connected_since: active.map(|active| active.since),
            caught_up: progress.caught_up,
            bytes_sent: active.map_or(0, |active| active.monitor.bytes_sent()),
            bytes_received: active.map_or(0, |active| active.monitor.bytes_received()),
            last_error: self.last_error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DatabaseKey;
    use crate::swarm::shared::{Channel, ConnectFuture};

    struct NoDatabase;

    impl SwarmDatabase for NoDatabase {
        fn key(&self) -> DatabaseKey {
            DatabaseKey::from_bytes([1; 32])
        }

        fn connect(&self, _: Channel) -> ConnectFuture<'_> {
            Box::pin(async { None })
        }
    }

    fn roster(own: u8) -> (Roster, Topic) {
        let mut roster = Roster::new(EndpointKey::from_bytes([own; 32]));
        let topic = Topic::from_bytes([7; 32]);
        assert!(roster.join(topic, Arc::new(NoDatabase)));
        assert!(!roster.join(topic, Arc::new(NoDatabase)));
        (roster, topic)
    }

    const LOW: EndpointKey = EndpointKey::from_bytes([1; 32]);
    const HIGH: EndpointKey = EndpointKey::from_bytes([9; 32]);

    #[test]
    fn of_two_streams_dialed_at_once_both_ends_keep_the_same() {
        let (mut low, topic) = roster(1);
        let (mut high, _) = roster(9);
        // Each has dialed; then the other's stream arrives.
        let mut kept_by_low = low.begin(&topic, HIGH, true, None).unwrap();
        let mut dropped_by_high = high.begin(&topic, LOW, true, None).unwrap();
        assert_eq!(low.begin(&topic, HIGH, false, None).err(), Some("connected already"));
        let mut kept_by_high = high.begin(&topic, LOW, false, None).unwrap();
        assert!(dropped_by_high.stopped.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        for kept in [&mut kept_by_low, &mut kept_by_high] {
            assert!(kept.stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        }
        // The end of the one that was replaced does not end the other.
        high.end(&topic, &LOW, dropped_by_high.id);
        assert!(high.has_session(&topic, &LOW));
        high.end(&topic, &LOW, kept_by_high.id);
        assert!(!high.has_session(&topic, &LOW));
    }

    #[test]
    fn who_dials_again_replaces_the_stream_it_dialed_before() {
        let (mut roster, topic) = roster(1);
        let mut first = roster.begin(&topic, HIGH, false, None).unwrap();
        roster.begin(&topic, HIGH, false, None).unwrap();
        assert!(first.stopped.try_recv() == Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn peers_and_their_sockets_are_bounded_and_self_is_no_peer() {
        let (mut roster, topic) = roster(1);
        let socket = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut address = PeerAddress { endpoint: LOW, sockets: vec![socket(1)] };
        assert!(!roster.add(&topic, &address, true));
        for number in 0..PEERS_MAX + 10 {
            let mut endpoint = [3; 32];
            endpoint[..8].copy_from_slice(&(number as u64).to_le_bytes());
            address.endpoint = EndpointKey::from_bytes(endpoint);
            assert_eq!(roster.add(&topic, &address, false), number < PEERS_MAX);
        }
        assert_eq!(roster.begin(&topic, HIGH, false, None).err(), Some("too many peers here"));
        assert_eq!(roster.status(&topic).len(), PEERS_MAX);
        let first = roster.status(&topic)[0].endpoint.unwrap();
        for port in 0..100 {
            roster.add(&topic, &PeerAddress { endpoint: first, sockets: vec![socket(port)] }, false);
        }
        assert_eq!(roster.sockets(&topic, &first).unwrap().len(), SOCKETS_MAX);
        assert!(roster.forget(&topic, &first) && roster.sockets(&topic, &first).is_none());
        roster.leave(&topic);
        assert_eq!(roster.begin(&topic, HIGH, true, None).err(), Some("no database of this topic here"));
    }
}
