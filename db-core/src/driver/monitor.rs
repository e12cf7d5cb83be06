//! What can be seen of a running connection from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::ids::WriterKey;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The peer's writer, once the peer has proved that it is a member.
    pub writer: Option<WriterKey>,
    /// Whether everything that the peer held at the start is stored here.
    pub caught_up: bool,
}

/// Counts what a connection moves and knows how far it has come. Clones look at the same connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMonitor {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    received: AtomicU64,
    progress: watch::Sender<Progress>,
}

impl ConnectionMonitor {
    /// Bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn bytes_received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// How far the connection has come.
    pub fn progress(&self) -> Progress {
        *self.shared.progress.borrow()
    }

    /// Waits until the peer has proved that it is a member; for ever if it never does.
    pub async fn authenticated(&self) -> WriterKey {
        let mut progress = self.shared.progress.subscribe();
        loop {
            if let Some(writer) = progress.borrow_and_update().writer {
                return writer;
            }
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.shared.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.shared.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_authenticated(&self, writer: WriterKey) {
        self.shared.progress.send_modify(|progress| progress.writer = Some(writer));
    }

    pub(super) fn set_caught_up(&self) {
        self.shared.progress.send_modify(|progress| progress.caught_up = true);
    }
}
