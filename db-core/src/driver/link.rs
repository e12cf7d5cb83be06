//! The two ends of the queues between an engine and the driver of one connection.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::room::{PeerFrame, Room};
use crate::ids::WriterKey;

/// How many frames may wait on a link in either direction.
pub const PEER_FRAMES_MAX: usize = 64;

/// What a driver tells the engine of a peer.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerInput {
    /// The peer sent a frame.
    Frame(PeerFrame),
    /// The connection is over.
    Closed,
}

/// What the engine has a driver do for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerOutput {
    /// Send the peer a frame.
    Frame(Vec<u8>),
    /// The peer has proved that it is a member, and says that this is its writer. Nothing to send.
    Authenticated(WriterKey),
    /// Everything that the peer held at the start is stored. Nothing to send.
    CaughtUp,
    /// End the connection, once the frames before are sent, for this reason.
    Close(String),
}

/// A driver's end of the queues for one connection; dropping it tells the engine that the connection is over.
#[derive(Debug)]
pub struct PeerLink {
    /// Takes what the peer sent.
    pub to_engine: mpsc::Sender<PeerInput>,
    /// Gives what is to be sent; its end means that the engine is done with the peer.
    pub from_engine: mpsc::Receiver<PeerOutput>,
    /// How much may be on its way to the engine.
    pub room: Room,
}

/// The engine's end of the queues for one connection.
#[derive(Debug)]
pub struct EngineLink {
    /// Gives what the peer sent.
    pub inputs: mpsc::Receiver<PeerInput>,
    /// Takes what is to be sent.
    pub outputs: mpsc::Sender<PeerOutput>,
}

impl PeerLink {
    /// Both ends of a new pair of queues of [`PEER_FRAMES_MAX`] each, for one of the peers that share this room.
    pub(crate) fn pair(of_all: Arc<Semaphore>) -> (Self, EngineLink) {
        let (to_engine, inputs) = mpsc::channel(PEER_FRAMES_MAX);
        let (outputs, from_engine) = mpsc::channel(PEER_FRAMES_MAX);
        (Self { to_engine, from_engine, room: Room::of_peer(of_all) }, EngineLink { inputs, outputs })
    }
}
