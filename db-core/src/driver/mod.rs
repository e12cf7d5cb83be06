//! Drivers: what carries a session's frames over real streams. The only part of this crate, with the swarm, that knows
//! clocks and tokio.

mod acking;
mod begun;
mod committing;
mod connection;
pub(crate) mod feed;
mod link;
mod monitor;
mod ordering;
pub(crate) mod patience;
mod peers;
mod preamble;
mod proving;
pub(crate) mod published;
mod rebuilding;
mod room;
mod settling;
pub(crate) mod worker;

#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;

pub use connection::{ConnectionError, ConnectionOptions, run_connection};
pub use link::{EngineLink, PEER_FRAMES_MAX, PeerInput, PeerLink, PeerOutput};
pub use monitor::{ConnectionMonitor, Progress};
pub use peers::PeerStatus;
pub(crate) use peers::Peers;
pub use preamble::{PREAMBLE_BYTES, read_topic, refuse, write_topic};
pub use room::{PeerFrame, Room};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use settling::{Settling, Source};
pub(crate) use worker::now_ms;
