//! What can be seen of a topic's peers.

use std::net::SocketAddr;
use std::time::SystemTime;

use crate::ids::WriterKey;
use crate::peer_address::EndpointKey;

/// How it stands with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Given as `IP:PORT`, and nobody has answered there yet.
    Looking,
    /// Not connected; dialed from time to time.
    Dialing,
    /// There is a stream, and the peer has not proved itself yet.
    Connecting,
    /// The peer has proved that it is a member.
    Connected,
}

/// One peer of a topic, or one address that was given by hand and has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer's endpoint; unknown while [`PeerState::Looking`].
    pub endpoint: Option<EndpointKey>,
    /// Where the peer is, or is tried.
    pub sockets: Vec<SocketAddr>,
    /// How it stands.
    pub state: PeerState,
    /// The peer's writer, in its own words.
    pub writer: Option<WriterKey>,
    /// Since when there is a stream.
    pub connected_since: Option<SystemTime>,
    /// Whether everything that the peer held at the start is stored here.
    pub caught_up: bool,
    /// Bytes sent on the present stream.
    pub bytes_sent: u64,
    /// Bytes received on the present stream.
    pub bytes_received: u64,
    /// Why the last attempt or stream ended.
    pub last_error: Option<String>,
}
