//! How a swarm is set up, what can be wrong with that, and how peers are named by hand.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::driver::ConnectionOptions;
use crate::peer_address::{PeerAddress, PeerAddressError};
use crate::ticket::{Ticket, TicketError};

/// How a swarm is set up.
#[derive(Clone)]
pub struct SwarmOptions {
    /// The endpoint's secret (ed25519 seed): who has it can pass for this endpoint. Kept across restarts so that tickets
    /// stay good.
    pub secret: Zeroizing<[u8; 32]>,
    /// Where to listen, UDP and TCP alike; port 0 chooses one that is free. Loopback unless set otherwise.
    pub bind: SocketAddr,
    /// How patient connections are.
    pub connection: ConnectionOptions,
    /// How long to wait before a lost peer is dialed again; doubled after each failure.
    pub redial_min: Duration,
    /// The longest wait between two attempts.
    pub redial_max: Duration,
}

impl SwarmOptions {
    /// The defaults with this secret: on loopback, at a port that is free.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            connection: ConnectionOptions::default(),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for SwarmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmOptions(bind={}, secret)", self.bind)
    }
}

/// Why a swarm could not be set up, or could not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// The address cannot be listened on.
    #[error("cannot listen: address={address}, reason={reason}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system or the endpoint said.
        reason: String,
    },
    /// A database of this topic has joined already.
    #[error("a database of this topic has joined already")]
    AlreadyJoined,
    /// No database of this topic has joined.
    #[error("no database of this topic has joined")]
    NotJoined,
    /// The ticket is for another database.
    #[error("the ticket is for another database")]
    OtherDatabase,
    /// The topic has as many peers as it may have.
    #[error("too many peers")]
    TooManyPeers,
}

/// A peer as it is given by hand: a ticket, `ID@IP:PORT`, or just `IP:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerHint {
    /// The peers that a ticket names.
    Ticket(Box<Ticket>),
    /// A peer whose endpoint is known.
    Address(PeerAddress),
    /// Whoever answers there and proves to be a member.
    Socket(SocketAddr),
}

/// Why a text names no peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerHintError {
    /// It looks like a ticket and is none.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// It looks like an address with an endpoint and is none.
    #[error(transparent)]
    Address(#[from] PeerAddressError),
    /// It looks like nothing known.
    #[error("a peer is a ticket, ID@IP:PORT or IP:PORT")]
    Form,
}

impl FromStr for PeerHint {
    type Err = PeerHintError;

    fn from_str(text: &str) -> Result<Self, PeerHintError> {
        let text = text.trim();
        if text.contains('@') {
            return Ok(Self::Address(text.parse()?));
        }
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        if let Ok(socket) = local.as_deref().unwrap_or(text).parse() {
            return Ok(Self::Socket(socket));
        }
        match Ticket::parse(text) {
            Ok(ticket) => Ok(Self::Ticket(Box::new(ticket))),
            Err(TicketError::Prefix) => Err(PeerHintError::Form),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Genesis;
    use crate::ids::DatabaseKey;

    #[test]
    fn a_peer_is_named_in_any_of_three_ways() {
        let socket: SocketAddr = "127.0.0.1:7001".parse().unwrap();
        assert_eq!("127.0.0.1:7001".parse(), Ok(PeerHint::Socket(socket)));
        assert_eq!("localhost:7001".parse(), Ok(PeerHint::Socket(socket)));
        let address = format!("{}@127.0.0.1:7001", "ab".repeat(32));
        assert_eq!(address.parse(), Ok(PeerHint::Address(address.parse().unwrap())));
        let key = DatabaseKey::from_bytes([1; 32]);
        let ticket = Ticket { genesis: Genesis::open(&key), key, name: "x".to_owned(), addresses: vec![] };
        assert_eq!(ticket.to_text().parse(), Ok(PeerHint::Ticket(Box::new(ticket))));
        assert_eq!("nonsense".parse::<PeerHint>(), Err(PeerHintError::Form));
        assert_eq!("example.org:7001".parse::<PeerHint>(), Err(PeerHintError::Form));
        assert_eq!("combdb1qqq".parse::<PeerHint>(), Err(PeerHintError::Ticket(TicketError::Encoding)));
        let error = "x@127.0.0.1:1".parse::<PeerHint>();
        assert_eq!(error, Err(PeerHintError::Address(PeerAddressError::Endpoint)));
    }

    #[test]
    fn debug_of_the_options_tells_no_secret() {
        assert_eq!(format!("{:?}", SwarmOptions::new([77; 32])), "SwarmOptions(bind=127.0.0.1:0, secret)");
    }
}
