//! Room for frames on their way from connections to the engine, counted in bytes: of each peer, and of all together.
//!
//! A connection takes room before it reads a frame's body, and waits where there is none: the peer then waits too. The room
//! is given back when the frame has been taken in, or thrown away.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// What a frame takes at the least, however short: so their number is bounded too.
const FRAME_BYTES_MIN: usize = 1_024;

/// The room that one peer's frames may take, and that of all peers.
#[derive(Debug, Clone)]
pub struct Room {
    of_peer: Arc<Semaphore>,
    of_all: Arc<Semaphore>,
}

/// A frame, and the room that it takes.
pub struct PeerFrame {
    bytes: Vec<u8>,
    taken: Option<Taken>,
}

/// Room that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _of_peer: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Room {
    /// Room for the peers of one database.
    pub(crate) fn of_all() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(limits::PEERS_QUEUE_BYTES_MAX))
    }

    /// Room for one of the peers that share `of_all`.
    pub(crate) fn of_peer(of_all: Arc<Semaphore>) -> Self {
        Self { of_peer: Arc::new(Semaphore::new(limits::PEER_QUEUE_BYTES_MAX)), of_all }
    }

    /// Waits for room for a frame; none for one that is longer than any may be, or if the database is closed.
    pub(super) async fn take(&self, bytes: usize) -> Option<Taken> {
        let bytes = bytes.max(FRAME_BYTES_MIN);
        let bytes =
            u32::try_from(bytes).ok().filter(|bytes| *bytes as usize <= limits::PEER_QUEUE_BYTES_MAX)?;
        // The peer's own first: who waits for himself must not hold what others could use.
        let of_peer = Arc::clone(&self.of_peer).acquire_many_owned(bytes).await.ok()?;
        let of_all = Arc::clone(&self.of_all).acquire_many_owned(bytes).await.ok()?;
        Some(Taken { _of_peer: of_peer, _of_all: of_all })
    }
}

impl PeerFrame {
    pub(super) fn in_room(bytes: Vec<u8>, taken: Taken) -> Self {
        Self { bytes, taken: Some(taken) }
    }
}

impl From<Vec<u8>> for PeerFrame {
    /// A frame that takes no room.
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: None }
    }
}

impl Deref for PeerFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for PeerFrame {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for PeerFrame {}

impl fmt::Debug for PeerFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, taken } = self;
        f.debug_struct("PeerFrame")
            .field("bytes", &bytes.len())
            .field("takes_room", &taken.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_peer_waits_for_its_own_room_and_all_for_the_room_of_all() {
        let of_all = Room::of_all();
        let soon = Duration::from_millis(20);
        let largest = limits::PEER_QUEUE_BYTES_MAX;
        let one = Room::of_peer(Arc::clone(&of_all));
        let held = one.take(largest).await.unwrap();
        assert!(timeout(soon, one.take(1)).await.is_err(), "the peer has no room left");
        let count = limits::PEERS_QUEUE_BYTES_MAX / largest - 1;
        let mut others = Vec::new();
        for _ in 0..count {
            let room = Room::of_peer(Arc::clone(&of_all));
            others.push(timeout(soon, room.take(largest)).await.unwrap());
        }
        let late = Room::of_peer(of_all);
        assert!(timeout(soon, late.take(1)).await.is_err(), "nobody has");
        drop(PeerFrame::in_room(vec![1], held));
        assert!(late.take(largest).await.is_some());
        assert!(late.take(largest + 1).await.is_none(), "more than there will ever be");
    }
}
