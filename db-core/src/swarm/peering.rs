//! One QUIC connection to a peer, and the sessions on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{Connection, Path, RecvStream, SendStream, VarInt};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info};

use super::exchange;
use super::roster::Begun;
use super::shared::{Channel, Shared};
use crate::driver::{read_topic, refuse, run_connection};
use crate::error_line::error_line;
use crate::ids::Topic;
use crate::peer_address::EndpointKey;

/// What a connection may hold unread of a peer that has not proved to be a member of anything, and what after that, in
/// bytes: room for the largest run and a window beside it.
pub(super) const STRANGER_WINDOW_BYTES: u32 = 256 * 1024;
const MEMBER_WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// How often to look whether a connection is still used, and after how many looks an unused one is closed.
const LOOK: Duration = Duration::from_secs(5);
const UNUSED_LOOKS_MAX: u32 = 3;
/// How many streams of a connection may fail to prove membership before it is closed.
const FAILURES_MAX: usize = 16;

/// A connection to a peer.
pub(super) struct Peering {
    pub(super) connection: Connection,
    pub(super) endpoint: EndpointKey,
    /// How many streams are at work.
    streams: AtomicUsize,
    /// How many streams ended without proof.
    failures: AtomicUsize,
}

impl Peering {
    pub(super) fn new(connection: Connection) -> Arc<Self> {
        let endpoint = EndpointKey::from_bytes(*connection.remote_id().as_bytes());
        Arc::new(Self { connection, endpoint, streams: AtomicUsize::new(0), failures: AtomicUsize::new(0) })
    }

    /// What tells this connection from the others of the process.
    pub(super) fn name(&self) -> (EndpointKey, usize) {
        (self.endpoint, self.connection.stable_id())
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(super) fn close(&self, reason: &str) {
        self.connection.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Where the peer is, as packets come from there.
    pub(super) fn remote_socket(&self) -> Option<SocketAddr> {
        let paths = self.connection.paths();
        let socket = |address: &TransportAddr| match address {
            TransportAddr::Ip(socket) => Some(*socket),
            _ => None,
        };
        let selected = paths.iter().find(Path::is_selected).and_then(|path| socket(path.remote_addr()));
        selected.or_else(|| paths.iter().find_map(|path| socket(path.remote_addr())))
    }

    /// Names the connection alike at both ends and like no other: both derive it from the handshake's secrets.
    fn binding(&self, topic: &Topic) -> Option<[u8; 32]> {
        let mut binding = [0; 32];
        let label = b"combdb session v1";
        self.connection.export_keying_material(&mut binding, label, topic.as_bytes()).ok()?;
        Some(binding)
    }
}

/// Serves a connection until it ends: takes in the peer's streams, and closes it when it is no longer used.
pub(super) async fn serve(shared: Arc<Shared>, peering: Arc<Peering>) {
    shared.add_peering(&peering);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unused = 0;
    loop {
        tokio::select! {
            stream = peering.connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    tokio::spawn(accept_stream(Arc::clone(&shared), Arc::clone(&peering), send, recv));
                }
                Err(_ended) => break,
            },
            stream = peering.connection.accept_uni() => match stream {
                Ok(recv) => {
                    tokio::spawn(exchange::hear(Arc::clone(&shared), Arc::clone(&peering), recv));
                }
                Err(_ended) => break,
            },
            _ = look.tick() => {
                unused = if peering.streams.load(Ordering::Relaxed) == 0 { unused + 1 } else { 0 };
                if unused > UNUSED_LOOKS_MAX {
                    peering.close("not used");
                    break;
                }
            }
        }
    }
    shared.remove_peering(&peering);
}

async fn accept_stream(
    shared: Arc<Shared>,
    peering: Arc<Peering>,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let _working = Working::new(&peering);
    let topic = match read_topic(&mut recv, &shared.options.connection).await {
        Ok(topic) => topic,
        Err(error) => {
            debug!(peer = %peering.endpoint.short(), error = %error_line(&error), "stream without a topic");
            peering.note_failure();
            return;
        }
    };
    let begun =
        shared.change(|roster| roster.begin(&topic, peering.endpoint, false, Some(Arc::clone(&peering))));
    match begun {
        Ok(begun) => {
            let ended = run_session(&shared, &peering, &topic, begun, (send, recv), false).await;
            let reason = ended.err().unwrap_or_else(|| "closed".to_owned());
            info!(peer = %peering.endpoint.short(), topic = %topic.short(), reason, "session ended");
        }
        Err(reason) => {
            if !shared.roster().is_member(&topic, &peering.endpoint) {
                peering.note_failure();
            }
            let _ = refuse(&mut send, reason).await;
            // Dropping the stream at once would take the reason with it.
            let _ = tokio::time::timeout(LOOK, send.stopped()).await;
        }
    }
}

/// Runs a session on a stream to its end, and says why it ended.
pub(super) async fn run_session(
    shared: &Arc<Shared>,
    peering: &Arc<Peering>,
    topic: &Topic,
    begun: Begun,
    (send, recv): (SendStream, RecvStream),
    dialer: bool,
) -> Result<(), String> {
    let _working = Working::new(peering);
    let _ending = Ending { shared, topic, endpoint: peering.endpoint, id: begun.id };
    let channel = Channel {
        binding: peering.binding(topic).ok_or("the connection is lost")?,
        dialer,
        peer: peering.endpoint,
    };
    let link = begun.database.connect(channel).await.ok_or("the database is closed")?;
    let stream = tokio::io::join(recv, send);
    let running = run_connection(stream, link, shared.options.connection.clone(), begun.monitor.clone());
    let introducing = async {
        begun.monitor.authenticated().await;
        info!(peer = %peering.endpoint.short(), topic = %topic.short(), "member connected");
        shared.change(|roster| roster.note_member(topic, &peering.endpoint));
        peering.connection.set_receive_window(VarInt::from_u32(MEMBER_WINDOW_BYTES));
        exchange::introduce(shared, peering, topic).await;
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = running => ended.map_err(|error| error_line(&error)),
        // Another connection took its place, or the database left.
        _ = begun.stopped => return Ok(()),
        () = introducing => Ok(()),
    };
    if begun.monitor.progress().writer.is_none() {
        peering.note_failure();
    }
    if let Err(error) = &ended {
        shared.change(|roster| roster.note_error(topic, &peering.endpoint, error.clone()));
    }
    ended
}

impl Peering {
    fn note_failure(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) >= FAILURES_MAX {
            self.close("too many streams without proof");
        }
    }
}

/// Counts a stream as at work while it lives.
struct Working<'a>(&'a Peering);

impl<'a> Working<'a> {
    fn new(peering: &'a Peering) -> Self {
        peering.streams.fetch_add(1, Ordering::Relaxed);
        Self(peering)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a session off the roster, also when its task is cut off.
struct Ending<'a> {
    shared: &'a Shared,
    topic: &'a Topic,
    endpoint: EndpointKey,
    id: u64,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.shared.change(|roster| roster.end(self.topic, &self.endpoint, self.id));
    }
}
