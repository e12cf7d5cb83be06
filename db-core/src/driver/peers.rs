//! The sessions of one database: which peers are connected, and what goes to each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use redb::{Database, ReadableDatabase};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::link::PeerOutput;
use crate::entry::VerifiedRun;
use crate::error::Result;
use crate::ids::{DatabaseId, DatabaseKey, WriterKey};
use crate::limits;
use crate::log_reader::Tip;
use crate::storage::LogSnapshot;
use crate::sync::{Session, SessionConfig, SessionOutput, SessionStats, farewell};

/// How many frames may wait for a slow connection beyond its queue; credit keeps honest peers far below.
const BACKLOG_FRAMES_MAX: usize = 4_096;

/// A connection, by number since the database was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(crate) u64);

/// A connected peer as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer's writer, once it has proved that it is a member.
    pub writer: Option<WriterKey>,
    /// Whether everything that the peer held when it connected is stored here.
    pub caught_up: bool,
    /// What the session has moved.
    pub stats: SessionStats,
}

/// All connected peers of one database.
pub(crate) struct Peers {
    database: Arc<Database>,
    config: SessionConfig,
    connected: BTreeMap<PeerId, Peer>,
    next_id: u64,
    /// Ends of our own log that peers have shown and that are not here.
    own_heads: Vec<Tip>,
    /// Up to which entry number the sessions have been told of new entries.
    told: u64,
}

struct Peer {
    session: Session,
    outputs: mpsc::Sender<PeerOutput>,
    backlog: VecDeque<PeerOutput>,
    writer: Option<WriterKey>,
    caught_up: bool,
    wants_more: bool,
}

impl Peers {
    pub(crate) fn new(
        database: Arc<Database>,
        id: DatabaseId,
        key: DatabaseKey,
        own_writer: WriterKey,
        replaced_keys: Vec<WriterKey>,
    ) -> Self {
        let (binding, dialer, nonce) = ([0; 32], false, [0; 32]);
        let config = SessionConfig { database: id, key, own_writer, replaced_keys, binding, dialer, nonce };
        Self { database, config, connected: BTreeMap::new(), next_id: 0, own_heads: Vec::new(), told: 0 }
    }

    /// Begins a session.
    pub(crate) fn connect(
        &mut self,
        binding: [u8; 32],
        dialer: bool,
        outputs: mpsc::Sender<PeerOutput>,
    ) -> PeerId {
        let id = PeerId(self.next_id);
        self.next_id += 1;
        if self.connected.len() >= limits::PEERS_MAX {
            tracing::warn!("too many peers are connected: another is sent away");
            let reason = "too many peers are connected";
            let _ = outputs.try_send(PeerOutput::Frame(farewell(reason)));
            let _ = outputs.try_send(PeerOutput::Close(reason.to_owned()));
            return id;
        }
        let mut nonce = [0; 32];
        if getrandom::fill(&mut nonce).is_err() {
            // Without randomness a proof could be replayed: the peer's end sees the queue close.
            tracing::error!("the system gives no random bytes: the connection is refused");
            return id;
        }
        let mut session = Session::new(SessionConfig { binding, dialer, nonce, ..self.config.clone() });
        let mut out = Vec::new();
        session.start(&mut out);
        let peer = Peer {
            session,
            outputs,
            backlog: VecDeque::new(),
            writer: None,
            caught_up: false,
            wants_more: false,
        };
        self.connected.insert(id, peer);
        self.carry_out(id, out);
        id
    }

    /// Under which writer this device introduces itself from now on. Peers that know it under another are left, to be met anew:
    /// they look who is connected to tell who is gone.
    pub(crate) fn set_own_writer(
        &mut self,
        writer: WriterKey,
        replaced_keys: impl FnOnce() -> Vec<WriterKey>,
    ) {
        if std::mem::replace(&mut self.config.own_writer, writer) != writer {
            self.config.replaced_keys = replaced_keys();
            self.close_all("this device goes on with another key: connect anew");
        }
    }

    pub(crate) fn disconnect(&mut self, id: PeerId) {
        self.connected.remove(&id);
    }

    /// Takes the ends of our own log that peers have shown.
    pub(crate) fn take_own_heads(&mut self) -> Vec<Tip> {
        std::mem::take(&mut self.own_heads)
    }

    /// Ends a session for a reason of the engine's.
    pub(crate) fn close(&mut self, id: PeerId, reason: &str) {
        let Some(peer) = self.connected.get_mut(&id) else { return };
        let mut out = Vec::new();
        peer.session.close(crate::sync::CloseReason::Refused(reason.to_owned()), &mut out);
        self.carry_out(id, out);
    }

    pub(crate) fn close_all(&mut self, reason: &str) {
        for id in self.connected.keys().copied().collect::<Vec<_>>() {
            self.close(id, reason);
        }
    }

    /// Takes in a frame; gives the runs to store.
    pub(crate) fn handle_frame(&mut self, id: PeerId, frame: &[u8]) -> Result<Vec<Vec<VerifiedRun>>> {
        let log = self.log()?;
        let Some(peer) = self.connected.get_mut(&id) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        peer.session.handle_frame(frame, &log, &mut out)?;
        Ok(self.carry_out(id, out))
    }

    /// Tells a session what became of the oldest runs that it gave.
    pub(crate) fn runs_stored(&mut self, id: PeerId, stored: Result<(), String>) {
        let Some(peer) = self.connected.get_mut(&id) else { return };
        let mut out = Vec::new();
        peer.session.runs_stored(stored, &mut out);
        self.carry_out(id, out);
    }

    /// Lets every session send what has become durable, `end` being the number of entries, and what still waits.
    pub(crate) fn send_new(&mut self, end: u64) {
        let is_new = end != self.told;
        self.told = end;
        let due: Vec<PeerId> =
            self.connected.iter().filter(|(_, peer)| is_new || peer.wants_more).map(|(id, _)| *id).collect();
        if !due.is_empty() {
            match self.log() {
                Ok(log) => {
                    for id in due {
                        self.send_new_to(id, &log);
                    }
                }
                Err(error) => self.close_all(&error.to_string()),
            }
        }
        for id in self.connected.keys().copied().collect::<Vec<_>>() {
            self.flush(id);
        }
    }

    /// Whether a peer is still sending what it held when it connected.
    pub(crate) fn are_sending(&self) -> bool {
        self.connected.values().any(|peer| peer.writer.is_some() && !peer.caught_up)
    }

    /// Whether frames wait for a slow connection, or a session has more to send.
    pub(crate) fn has_backlog(&self) -> bool {
        self.connected.values().any(|peer| !peer.backlog.is_empty() || peer.wants_more)
    }

    /// The writers of connected members.
    pub(crate) fn writers(&self) -> BTreeSet<WriterKey> {
        self.connected.values().filter_map(|peer| peer.writer).collect()
    }

    pub(crate) fn statuses(&self) -> Vec<PeerStatus> {
        self.connected
            .values()
            .map(|peer| PeerStatus {
                writer: peer.writer,
                caught_up: peer.caught_up,
                stats: peer.session.stats(),
            })
            .collect()
    }

    fn send_new_to(&mut self, id: PeerId, log: &LogSnapshot) {
        let Some(peer) = self.connected.get_mut(&id) else { return };
        peer.wants_more = false;
        let mut out = Vec::new();
        let sent = peer.session.entries_stored(log, &mut out);
        self.carry_out(id, out);
        if let Err(error) = sent {
            self.close(id, &error.to_string());
        }
    }

    /// Does what a session wants done; gives the runs to store.
    fn carry_out(&mut self, id: PeerId, out: Vec<SessionOutput>) -> Vec<Vec<VerifiedRun>> {
        let mut ingests = Vec::new();
        let Some(peer) = self.connected.get_mut(&id) else { return ingests };
        for output in out {
            match output {
                SessionOutput::Send(frame) => peer.backlog.push_back(PeerOutput::Frame(frame)),
                SessionOutput::Ingest(runs) => ingests.push(runs),
                SessionOutput::Authenticated { writer } => {
                    peer.writer = Some(writer);
                    peer.backlog.push_back(PeerOutput::Authenticated(writer));
                }
                SessionOutput::CaughtUp => {
                    peer.caught_up = true;
                    peer.backlog.push_back(PeerOutput::CaughtUp);
                }
                SessionOutput::OwnLogsElsewhere(ends) => self.own_heads.extend(ends),
                SessionOutput::Continue => peer.wants_more = true,
                SessionOutput::Close(reason) => {
                    tracing::info!(peer = id.0, %reason, "a session with a peer ends");
                    peer.backlog.push_back(PeerOutput::Close(reason.to_line()));
                }
            }
        }
        self.flush(id);
        ingests
    }

    /// Hands waiting frames to the connection as far as its queue takes them.
    fn flush(&mut self, id: PeerId) {
        let Some(peer) = self.connected.get_mut(&id) else { return };
        while let Some(output) = peer.backlog.pop_front() {
            let is_last = matches!(output, PeerOutput::Close(_));
            match peer.outputs.try_send(output) {
                Ok(()) if is_last => {
                    self.connected.remove(&id);
                    return;
                }
                Ok(()) => {}
                Err(TrySendError::Full(output)) => {
                    peer.backlog.push_front(output);
                    break;
                }
                Err(TrySendError::Closed(_)) => {
                    self.connected.remove(&id);
                    return;
                }
            }
        }
        if peer.backlog.len() > BACKLOG_FRAMES_MAX {
            tracing::warn!(peer = id.0, "a peer does not take what is sent to it: it is cut off");
            self.connected.remove(&id);
        }
    }

    fn log(&self) -> Result<LogSnapshot> {
        LogSnapshot::open(&self.database.begin_read()?, self.config.database)
    }
}
