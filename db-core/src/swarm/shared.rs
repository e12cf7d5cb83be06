//! What the tasks of a swarm share, and what a swarm needs of a database.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::Endpoint;
use tokio::sync::watch;

use super::dial;
use super::options::SwarmOptions;
use super::peering::Peering;
use super::roster::{Roster, Task};
use crate::driver::PeerLink;
use crate::ids::{DatabaseKey, Topic};
use crate::peer_address::{EndpointKey, PeerAddress};

/// The stream that a database is asked to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// What names the connection, equal at both ends; for the session's proofs.
    pub binding: [u8; 32],
    /// Whether this end dialed.
    pub dialer: bool,
    /// Who is at the other end, as the connection's handshake has proved.
    pub peer: EndpointKey,
}

/// Gives the driver's end of a new session, or none if the database is closed.
pub type ConnectFuture<'a> = Pin<Box<dyn Future<Output = Option<PeerLink>> + Send + 'a>>;

/// What a swarm needs of a database.
pub trait SwarmDatabase: Send + Sync + 'static {
    /// The secret that the database's members share; its topic follows from it.
    fn key(&self) -> DatabaseKey;

    /// Begins a session with a peer.
    fn connect(&self, channel: Channel) -> ConnectFuture<'_>;
}

pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) own: EndpointKey,
    pub(super) options: SwarmOptions,
    roster: Mutex<Roster>,
    /// Changes when the roster has changed.
    changed: watch::Sender<()>,
    /// Connections by peer, newest last.
    peerings: Mutex<BTreeMap<(EndpointKey, usize), Arc<Peering>>>,
}

impl Shared {
    pub(super) fn new(endpoint: Endpoint, options: SwarmOptions) -> Self {
        let own = EndpointKey::from_bytes(*endpoint.id().as_bytes());
        Self {
            endpoint,
            own,
            options,
            roster: Mutex::new(Roster::new(own)),
            changed: watch::Sender::new(()),
            peerings: Mutex::default(),
        }
    }

    /// Looks at the roster.
    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the roster, and wakes who waits for that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let given = change(&mut self.roster());
        self.changed.send_replace(());
        given
    }

    /// Waits until the roster is in some state.
    pub(super) async fn until(&self, mut holds: impl FnMut(&Roster) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(&self.roster()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Adds a peer to a topic and begins to dial it; false if there is no room for it.
    pub(super) fn add_peer(self: &Arc<Self>, topic: Topic, address: &PeerAddress, by_hand: bool) -> bool {
        let endpoint = address.endpoint;
        self.change(|roster| {
            let added = roster.add(&topic, address, by_hand);
            if added && roster.needs_dialer(&topic, &endpoint) {
                let dialing = tokio::spawn(dial::dial(Arc::clone(self), topic, endpoint));
                roster.set_dialer(&topic, &endpoint, Task(dialing.abort_handle()));
            }
            added
        })
    }

    /// A connection to a peer that is open, if there is one.
    pub(super) fn open_peering(&self, endpoint: &EndpointKey) -> Option<Arc<Peering>> {
        let peerings = self.peerings();
        let of_peer = peerings.range((*endpoint, 0)..=(*endpoint, usize::MAX));
        of_peer.rev().map(|(_, peering)| peering).find(|peering| peering.is_open()).cloned()
    }

    pub(super) fn add_peering(&self, peering: &Arc<Peering>) {
        self.peerings().insert(peering.name(), Arc::clone(peering));
    }

    pub(super) fn remove_peering(&self, peering: &Peering) {
        self.peerings().remove(&peering.name());
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.peerings().values().filter(|peering| peering.is_open()).count()
    }

    /// Leaves all topics and closes all connections.
    pub(super) fn close_all(&self) {
        drop(self.change(Roster::leave_all));
        for peering in std::mem::take(&mut *self.peerings()).into_values() {
            peering.close("the peer is closing");
        }
    }

    fn peerings(&self) -> MutexGuard<'_, BTreeMap<(EndpointKey, usize), Arc<Peering>>> {
        self.peerings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
