//! How a peer meets others: the swarm, the databases that it holds there, and the peers that were given by hand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use db_core::swarm::{
    Channel, ConnectFuture, PeerHint, PeerState, Swarm, SwarmDatabase, SwarmError, SwarmOptions,
};
use db_core::{Database, DatabaseKey, EndpointKey, PeerAddress};

use crate::error::CliError;

/// The most peers given by hand.
const HINTS_MAX: usize = 1_024;

/// The swarm of one peer. Clones are the same.
#[derive(Clone)]
pub(crate) struct Peering {
    swarm: Swarm,
    hints: Arc<Mutex<Vec<PeerHint>>>,
}

/// A peer that this one knows, and the databases for which they meet.
pub(crate) struct KnownPeer {
    /// Its endpoint; unknown until it has answered.
    pub(crate) endpoint: Option<EndpointKey>,
    /// Where it is, or is tried.
    pub(crate) sockets: Vec<SocketAddr>,
    /// Whether it is connected for any of the databases.
    pub(crate) connected: bool,
    /// The databases by their names here.
    pub(crate) databases: Vec<String>,
}

impl Peering {
    /// Listens for peers.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub(crate) async fn listen(secret: [u8; 32], address: SocketAddr) -> Result<Self, CliError> {
        let mut options = SwarmOptions::new(secret);
        options.bind = address;
        let swarm = Swarm::bind(options).await.map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Self { swarm, hints: Arc::default() })
    }

    /// Where this peer can be reached.
    pub(crate) fn address(&self) -> PeerAddress {
        self.swarm.address()
    }

    /// Meets the peers of a database from now on; of one that is held already nothing changes.
    pub(crate) fn hold(&self, database: &Database) {
        let topic = database.topic();
        if self.swarm.join(Arc::new(Held(database.clone()))).is_err() {
            return; // it has joined already
        }
        for hint in self.hints().iter() {
            if let Err(error) = self.swarm.add_peer(&topic, hint) {
                tracing::warn!(database = database.name(), %error, "a peer given by hand was left out");
            }
        }
    }

    /// Calls peers of one database.
    pub(crate) fn call(&self, database: &Database, peers: Vec<PeerAddress>) {
        for peer in peers {
            if let Err(error) = self.swarm.add_peer(&database.topic(), &PeerHint::Address(peer)) {
                tracing::warn!(database = database.name(), %error, "a peer of a ticket was left out");
            }
        }
    }

    /// Calls a peer for these databases, and for those that come later.
    ///
    /// # Errors
    /// If there are too many peers already.
    pub(crate) fn add(&self, hint: &PeerHint, databases: &[Database]) -> Result<(), SwarmError> {
        {
            let mut hints = self.hints();
            if hints.len() >= HINTS_MAX {
                return Err(SwarmError::TooManyPeers);
            }
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        databases.iter().try_for_each(|database| self.swarm.add_peer(&database.topic(), hint))
    }

    /// The peers of these databases.
    pub(crate) fn peers(&self, databases: &[Database]) -> Vec<KnownPeer> {
        let mut known: Vec<KnownPeer> = Vec::new();
        for database in databases {
            for status in self.swarm.status(&database.topic()) {
                let connected = status.state == PeerState::Connected;
                let name = database.name().to_owned();
                let same = |peer: &&mut KnownPeer| match status.endpoint {
                    Some(endpoint) => peer.endpoint == Some(endpoint),
                    None => peer.endpoint.is_none() && peer.sockets == status.sockets,
                };
                if let Some(peer) = known.iter_mut().find(same) {
                    peer.connected |= connected;
                    peer.databases.push(name);
                } else {
                    let (endpoint, sockets) = (status.endpoint, status.sockets);
                    known.push(KnownPeer { endpoint, sockets, connected, databases: vec![name] });
                }
            }
        }
        known
    }

    /// Leaves all peers.
    pub(crate) async fn stop(&self) {
        self.swarm.close().await;
    }

    fn hints(&self) -> std::sync::MutexGuard<'_, Vec<PeerHint>> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A database as the swarm sees it.
struct Held(Database);

impl SwarmDatabase for Held {
    fn key(&self) -> DatabaseKey {
        self.0.key().clone()
    }

    fn connect(&self, channel: Channel) -> ConnectFuture<'_> {
        Box::pin(async move { self.0.connect_peer(channel.binding, channel.dialer).await.ok() })
    }
}
