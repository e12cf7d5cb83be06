//! The swarm: an endpoint that databases join.

use std::net::SocketAddr;
use std::sync::Arc;

use iroh::endpoint::{PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, NetReportConfig, RelayMode, SecretKey};
use tokio::net::TcpListener;

use super::accept;
use super::dial;
use super::options::{PeerHint, SwarmError, SwarmOptions};
use super::peering::STRANGER_WINDOW_BYTES;
use super::roster::Task;
use super::shared::{Shared, SwarmDatabase};
use super::status::PeerStatus;
use crate::error_line::error_line;
use crate::ids::Topic;
use crate::peer_address::{EndpointKey, PeerAddress, SOCKETS_MAX};

/// The protocol that peers agree on in the QUIC handshake.
pub(super) const ALPN: &[u8] = b"combdb/1";
/// How often to look for a port that is free for both UDP and TCP.
const PORT_ATTEMPTS: u32 = 16;
/// The most streams that a peer may have open: sessions, and messages about other peers.
const SESSIONS_MAX: u32 = 64;
const MESSAGES_MAX: u32 = 16;
/// What one stream may hold unread, in bytes, if its connection may: the largest run.
const STREAM_WINDOW_BYTES: u32 = 17 * 1024 * 1024;

/// An endpoint on which databases meet their peers. Clones are the same swarm; it ends with the last of them, or with
/// [`Swarm::close`].
#[derive(Clone)]
pub struct Swarm {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    tasks: Vec<Task>,
}

impl Swarm {
    /// Listens for peers. To be called within a tokio runtime, in which the swarm then lives.
    ///
    /// # Errors
    /// If the address cannot be listened on, over UDP and over TCP.
    pub async fn bind(options: SwarmOptions) -> Result<Self, SwarmError> {
        let mut attempt = 0;
        let (endpoint, listener) = loop {
            attempt += 1;
            match bind_both(&options).await {
                Ok(bound) => break bound,
                Err(_) if options.bind.port() == 0 && attempt < PORT_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        };
        let shared = Arc::new(Shared::new(endpoint, options));
        let tasks = [
            tokio::spawn(accept::accept_peers(Arc::clone(&shared))),
            tokio::spawn(accept::answer_askers(Arc::clone(&shared), listener)),
        ];
        let tasks = tasks.iter().map(|task| Task(task.abort_handle())).collect();
        Ok(Self { inner: Arc::new(Inner { shared, tasks }) })
    }

    /// The endpoint's public key.
    pub fn endpoint(&self) -> EndpointKey {
        self.inner.shared.own
    }

    /// Where this endpoint can be reached, for tickets: what it listens on, or, where that is every interface, the
    /// machine's addresses.
    pub fn address(&self) -> PeerAddress {
        let endpoint = &self.inner.shared.endpoint;
        let (everywhere, mut sockets): (Vec<SocketAddr>, Vec<SocketAddr>) =
            endpoint.bound_sockets().into_iter().partition(|socket| socket.ip().is_unspecified());
        if !everywhere.is_empty() {
            sockets.extend(endpoint.addr().ip_addrs());
        }
        sockets.sort();
        sockets.dedup();
        sockets.truncate(SOCKETS_MAX);
        PeerAddress { endpoint: self.endpoint(), sockets }
    }

    /// Lets a database meet its peers. Gives its topic.
    ///
    /// # Errors
    /// If a database of this topic has joined already.
    pub fn join(&self, database: Arc<dyn SwarmDatabase>) -> Result<Topic, SwarmError> {
        let topic = database.key().topic();
        let joined = self.inner.shared.change(|roster| roster.join(topic, database));
        if joined { Ok(topic) } else { Err(SwarmError::AlreadyJoined) }
    }

    /// Ends what a database has with its peers; does nothing if it has not joined.
    pub fn leave(&self, topic: &Topic) {
        drop(self.inner.shared.change(|roster| roster.leave(topic)));
    }

    /// Adds a peer, and keeps dialing it until it is reached and whenever it is lost. Within the runtime.
    ///
    /// # Errors
    /// If the topic has not joined or is full, or a ticket is for another database.
    pub fn add_peer(&self, topic: &Topic, peer: &PeerHint) -> Result<(), SwarmError> {
        let shared = &self.inner.shared;
        if shared.roster().database(topic).is_none() {
            return Err(SwarmError::NotJoined);
        }
        let added = match peer {
            PeerHint::Ticket(ticket) if ticket.key.topic() != *topic => {
                return Err(SwarmError::OtherDatabase);
            }
            PeerHint::Ticket(ticket) => {
                let mut all = true;
                for address in &ticket.addresses {
                    all &= address.endpoint == self.endpoint() || shared.add_peer(*topic, address, true);
                }
                all
            }
            PeerHint::Address(address) => {
                address.endpoint == self.endpoint() || shared.add_peer(*topic, address, true)
            }
            PeerHint::Socket(socket) => shared.change(|roster| {
                roster.add_lookup(topic, *socket, || {
                    let looking = tokio::spawn(dial::look_up(Arc::clone(shared), *topic, *socket));
                    Task(looking.abort_handle())
                })
            }),
        };
        if added { Ok(()) } else { Err(SwarmError::TooManyPeers) }
    }

    /// How it stands with a topic's peers.
    pub fn status(&self, topic: &Topic) -> Vec<PeerStatus> {
        self.inner.shared.roster().status(topic)
    }

    /// How many connections are open.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.inner.shared.connections()
    }

    /// Leaves all topics, tells the peers, and stops listening.
    pub async fn close(&self) {
        self.inner.shared.close_all();
        for task in &self.inner.tasks {
            task.0.abort();
        }
        self.inner.shared.endpoint.close().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close_all();
    }
}

/// Binds UDP and TCP to the same port.
async fn bind_both(options: &SwarmOptions) -> Result<(Endpoint, TcpListener), SwarmError> {
    let address = options.bind;
    let failed = |reason: String| SwarmError::Bind { address, reason };
    let listener = TcpListener::bind(address).await.map_err(|error| failed(error.to_string()))?;
    let bound = listener.local_addr().map_err(|error| failed(error.to_string()))?;
    let transport = QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(SESSIONS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(MESSAGES_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .build();
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&options.secret))
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport)
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .clear_ip_transports()
        .bind_addr(bound)
        .map_err(|error| failed(error_line(&error)))?
        .bind()
        .await
        .map_err(|error| failed(error_line(&error)))?;
    Ok((endpoint, listener))
}
