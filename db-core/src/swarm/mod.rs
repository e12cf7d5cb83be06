//! Peers by topic over iroh: QUIC endpoints named by ed25519 keys.
//!
//! A [`Swarm`] is one endpoint. Databases join it, each on its own topic; many share one connection to a peer, a stream
//! each. Peers come from tickets, from addresses given by hand, and from other members of the topic, who tell each other
//! whom they know once they have proved themselves; so that peers which start from one address become fully connected.
//!
//! **Nothing leaves the machine that was not asked for.** There are no relays, no DNS, no port mapping, no probes: packets
//! go to the addresses that were given by hand or that members of the topic use, and nowhere else. Finding peers by mDNS or
//! the Mainline DHT is not built yet.
//!
//! **A plain `IP:PORT` is enough** to reach a peer. QUIC needs to know the peer's key to know that it speaks to the right
//! one, so a swarm also listens on TCP at the same port, where whoever proves that they know a database's key is told the
//! endpoint's (see `identify.rs`). Everything else goes over QUIC.
//!
//! **Two peers have one session a topic.** If both dial at once, the stream dialed by the lower endpoint key stays. Lost
//! peers are dialed again, ever less often.

// A driver reads clocks.
#![allow(clippy::disallowed_methods)]

mod accept;
mod dial;
mod exchange;
mod handle;
mod identify;
mod options;
mod peering;
mod roster;
mod shared;
mod status;

#[cfg(test)]
mod tests;

pub use handle::Swarm;
pub use options::{PeerHint, PeerHintError, SwarmError, SwarmOptions};
pub use shared::{Channel, ConnectFuture, SwarmDatabase};
pub use status::{PeerState, PeerStatus};
