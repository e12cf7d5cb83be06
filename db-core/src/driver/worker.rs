//! The thread that owns a database's engine: it takes commands from a bounded queue, runs what waits in one storage
//! transaction, and answers only after the commit. Readers use snapshots and never pass through it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::link::{PeerInput, PeerOutput};
use super::peers::{PeerId, PeerStatus, Peers};
use crate::apply::{IndexBuild, Observer};
use crate::engine::{Engine, EngineStatus, Moment, Reply, Request};
use crate::entry::VerifiedRun;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::WriterKey;
use crate::limits;

/// How long an ack waits for more to vote on: a burst of writes is confirmed by few acks.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// How long an indexer that is not connected is waited for after its last entry.
const SILENCE: Duration = Duration::from_secs(10);
/// How long entries may stay unordered while a peer is still sending: reads stay fresh without ordering again and again.
const UNORDERED_TIME_MAX: Duration = Duration::from_secs(5);
/// How many entries may stay unordered while a peer is still sending.
const UNORDERED_MAX: u64 = 100_000;

/// How often to look for what has expired, unless said otherwise.
const EXPIRY_INTERVAL_MS: u64 = 60_000;

/// What the thread is asked to do.
pub(crate) enum Command {
    /// Run a call.
    Write { request: Box<Request>, reply: Caller },
    /// Hold a session with a peer.
    Connect {
        binding: [u8; 32],
        dialer: bool,
        outputs: mpsc::Sender<PeerOutput>,
        id: oneshot::Sender<PeerId>,
    },
    /// Something happened on a peer's connection.
    Peer { id: PeerId, input: PeerInput },
    /// Plan anew what is due when.
    Wake,
    /// Finish what waits and end.
    Stop,
}

/// What the thread lets others see.
pub(crate) struct Published {
    pub(crate) status: watch::Sender<EngineStatus>,
    pub(crate) peers: Mutex<Vec<PeerStatus>>,
    /// The index that is being built, if there is one.
    pub(crate) index_build: watch::Sender<Option<IndexBuild>>,
    /// How often to look for what has expired; others may change it.
    pub(crate) expiry_interval_ms: AtomicU64,
}

impl Published {
    pub(crate) fn new(status: EngineStatus) -> Self {
        Self {
            status: watch::Sender::new(status),
            peers: Mutex::default(),
            index_build: watch::Sender::new(None),
            expiry_interval_ms: AtomicU64::new(EXPIRY_INTERVAL_MS),
        }
    }
}

impl Observer for Published {
    fn index_build(&self, build: &IndexBuild) {
        tracing::info!(
            collection = build.collection,
            index = build.index,
            documents = build.documents,
            of = build.documents_total,
            "an index is being built"
        );
        self.index_build.send_replace(Some(build.clone()));
    }
}

/// Runs the thread's loop until it is told to stop or nobody can reach it any more.
pub(crate) fn run(
    mut engine: Engine,
    commands: mpsc::Receiver<Command>,
    peers: Peers,
    published: Arc<Published>,
) {
    engine.set_observer(Arc::clone(&published) as Arc<dyn Observer>);
    let worker = Worker {
        engine,
        peers,
        published,
        heard: std::collections::BTreeMap::new(),
        unordered_since: None,
        ack_at: None,
        expired_at: instant(),
        expires_more: false,
        stopping: false,
    };
    worker.run(commands);
}

struct Worker {
    engine: Engine,
    peers: Peers,
    published: Arc<Published>,
    /// When an entry of a writer last came in.
    heard: std::collections::BTreeMap<WriterKey, Instant>,
    unordered_since: Option<Instant>,
    ack_at: Option<Instant>,
    /// When it was last looked for what has expired, and whether there was more than one entry may delete.
    expired_at: Instant,
    expires_more: bool,
    stopping: bool,
}

/// Who waits for a call's answer.
type Caller = oneshot::Sender<Result<Reply>>;

/// What became of a round's calls and of the peers' runs.
struct Committed {
    replies: Vec<Result<Reply>>,
    stored: Vec<Result<(), String>>,
}

/// What one round of commands comes to.
#[derive(Default)]
struct Round {
    writes: Vec<(Request, Caller)>,
    ingests: Vec<(PeerId, Vec<VerifiedRun>)>,
}

impl Worker {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            tracing::error!("no runtime for the database's thread");
            return;
        };
        while !self.stopping {
            let wait = self.wait();
            let first = runtime.block_on(async {
                match wait {
                    None => commands.recv().await.map(Some),
                    Some(wait) => match tokio::time::timeout(wait, commands.recv()).await {
                        Ok(command) => command.map(Some),
                        Err(_) => Some(None),
                    },
                }
            });
            let Some(first) = first else { break };
            let mut round = Round::default();
            let (mut bytes, mut commands_taken) = (0, 0);
            let mut next = first;
            while let Some(command) = next {
                bytes += self.take(command, &mut round);
                commands_taken += 1;
                // Frames that bring nothing must not hold up the writes that wait.
                let is_full = commands_taken >= limits::COMMAND_QUEUE_MAX
                    || round.writes.len() >= limits::GROUP_COMMIT_MAX
                    || bytes >= limits::GROUP_COMMIT_BYTES_MAX;
                next = if is_full || self.stopping { None } else { commands.try_recv().ok() };
            }
            self.finish(round);
        }
        self.peers.close_all("the database is closed");
    }

    /// How long to wait for a command before something else is due.
    fn wait(&self) -> Option<Duration> {
        let now = instant();
        let ack = self.ack_at.map(|at| at.saturating_duration_since(now));
        let order = self.unordered_since.map(|since| {
            let due = if self.peers.are_sending() { since + UNORDERED_TIME_MAX } else { now };
            due.saturating_duration_since(now)
        });
        let flush = self.peers.has_backlog().then_some(Duration::from_millis(10));
        let expiry = self.expires_in(now);
        [ack, order, flush, expiry].into_iter().flatten().min()
    }

    /// Takes a command into the round; gives how many bytes it brings.
    fn take(&mut self, command: Command, round: &mut Round) -> usize {
        match command {
            Command::Write { request, reply } => {
                let bytes = request.bytes();
                round.writes.push((*request, reply));
                bytes
            }
            Command::Connect { binding, dialer, outputs, id } => {
                let peer = self.peers.connect(binding, dialer, outputs);
                if id.send(peer).is_err() {
                    self.peers.disconnect(peer);
                }
                0
            }
            Command::Peer { id, input: PeerInput::Frame(frame) } => {
                let bytes = frame.len();
                match self.peers.handle_frame(id, &frame) {
                    Ok(ingests) => round.ingests.extend(ingests.into_iter().map(|runs| (id, runs))),
                    Err(error) => self.peers.close(id, &error.to_string()),
                }
                bytes
            }
            Command::Peer { id, input: PeerInput::Closed } => {
                self.peers.disconnect(id);
                0
            }
            Command::Wake => 0,
            Command::Stop => {
                self.stopping = true;
                0
            }
        }
    }

    /// Runs a round in one transaction, then answers.
    fn finish(&mut self, round: Round) {
        let now = instant();
        let moment = Moment { now_ms: now_ms(), gone: self.gone(now) };
        let Round { writes, ingests } = round;
        let (mut requests, replies): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let expires = self.is_to_expire(now, &moment);
        if expires {
            requests.push(Request::Expire); // it has no caller: its reply is the last, and nobody's
        }
        let must_order = !requests.is_empty() || self.must_order(now);
        let ack = self.ack_at.is_some_and(|at| at <= now);
        let is_idle =
            requests.is_empty() && ingests.is_empty() && !ack && !(must_order && self.engine.has_unordered());
        if !is_idle {
            // Only who votes is waited for: nobody else's silence is of interest, and nobody else fills memory.
            let heard = ingests.iter().flat_map(|(_, runs)| runs).flat_map(VerifiedRun::entries);
            let heard: BTreeSet<WriterKey> = heard.map(|entry| entry.header.writer).collect();
            for indexer in self.engine.indexers().iter().filter(|indexer| heard.contains(indexer)) {
                self.heard.insert(*indexer, now);
            }
            let done = self.commit(requests, &ingests, &moment, must_order, ack);
            if expires && let Ok(Committed { replies, .. }) = &done {
                let deleted = replies.last().and_then(|reply| Some(reply.as_ref().ok()?.outcome.deleted));
                self.expires_more = deleted.is_some_and(|deleted| deleted > 0);
            }
            self.published.index_build.send_if_modified(|build| build.take().is_some());
            // Who has its answer finds the status at least as new.
            self.publish_status();
            self.answer(done, replies, ingests);
        }
        self.after_commit(instant());
    }

    /// One storage transaction: runs of peers, calls, order, ack.
    fn commit(
        &mut self,
        requests: Vec<Request>,
        ingests: &[(PeerId, Vec<VerifiedRun>)],
        moment: &Moment,
        must_order: bool,
        ack: bool,
    ) -> Result<Committed> {
        let peers_are_sending = self.peers.are_sending();
        if ack {
            self.ack_at = None;
        }
        let wants_ack = ack && self.engine.wants_ack(&moment.gone);
        self.engine.run(|batch| {
            let mut stored = Vec::with_capacity(ingests.len());
            for (_, runs) in ingests {
                let mut outcome = Ok(());
                for run in runs {
                    if let Err(refused) = batch.ingest(run)? {
                        outcome = Err(refused.to_string());
                        break;
                    }
                }
                stored.push(outcome);
            }
            let mut replies = Vec::with_capacity(requests.len());
            for request in requests {
                replies.push(batch.execute(request, moment)?);
            }
            if must_order || !peers_are_sending {
                batch.settle()?;
            }
            if wants_ack {
                batch.append_ack(moment)?;
            }
            Ok(Committed { replies, stored })
        })
    }

    fn answer(
        &mut self,
        done: Result<Committed>,
        callers: Vec<Caller>,
        ingests: Vec<(PeerId, Vec<VerifiedRun>)>,
    ) {
        match done {
            Ok(Committed { replies, stored }) => {
                for (caller, reply) in callers.into_iter().zip(replies) {
                    // A caller that has gone away needs no answer; what it asked for is done.
                    let _ = caller.send(reply);
                }
                for ((peer, _), outcome) in ingests.into_iter().zip(stored) {
                    if let Err(reason) = &outcome {
                        tracing::warn!(peer = peer.0, reason, "a peer's run is refused: the peer is cut off");
                    }
                    self.peers.runs_stored(peer, outcome);
                }
            }
            Err(error) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "the storage failed");
                for caller in callers {
                    let again = Error::new(ErrorKind::Unavailable, error.message().to_owned());
                    let _ = caller.send(Err(again));
                }
                self.peers.close_all("the storage failed");
            }
        }
    }

    /// Sends what is new, shows who is connected, and plans what is due later.
    fn after_commit(&mut self, now: Instant) {
        self.peers.send_new(self.engine.end());
        if let Ok(mut peers) = self.published.peers.lock() {
            *peers = self.peers.statuses();
        }
        self.unordered_since = match (self.engine.has_unordered(), self.unordered_since) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or(now)),
        };
        if self.ack_at.is_none() && self.engine.wants_ack(&self.gone(now)) {
            self.ack_at = Some(now + ACK_DELAY);
        }
    }

    fn publish_status(&self) {
        if let Ok(status) = self.engine.status() {
            self.published.status.send_if_modified(|published| {
                let changed = *published != status;
                *published = status;
                changed
            });
        }
    }

    /// In how long it is time to look for what has expired.
    fn expires_in(&self, now: Instant) -> Option<Duration> {
        let interval = self.published.expiry_interval_ms.load(Ordering::Relaxed);
        if self.expires_more {
            return Some(Duration::ZERO);
        }
        let due = self.expired_at.checked_add(Duration::from_millis(interval))?;
        Some(due.saturating_duration_since(now))
    }

    /// Whether it is time to delete what has expired, and there is something of the kind. Each time deletes a bounded
    /// number of documents; as long as it deletes any, the next time is at once.
    fn is_to_expire(&mut self, now: Instant, moment: &Moment) -> bool {
        if self.expires_in(now).is_none_or(|wait| !wait.is_zero()) {
            return false;
        }
        (self.expired_at, self.expires_more) = (now, false);
        self.engine.wants_expiry(moment).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for what has expired");
            false
        })
    }

    fn must_order(&self, now: Instant) -> bool {
        self.unordered_since
            .is_some_and(|since| !self.peers.are_sending() || now >= since + UNORDERED_TIME_MAX)
            || self.engine.unordered() >= UNORDERED_MAX
    }

    /// The indexers that are not connected and have not been heard of for a while.
    fn gone(&self, now: Instant) -> BTreeSet<WriterKey> {
        let connected = self.peers.writers();
        let is_there = |writer: &WriterKey| {
            *writer == self.engine.writer()
                || connected.contains(writer)
                || self.heard.get(writer).is_some_and(|at| now < *at + SILENCE)
        };
        self.engine.indexers().iter().filter(|writer| !is_there(writer)).copied().collect()
    }
}

#[allow(clippy::disallowed_methods)] // a driver is where the clock is read
fn instant() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since 1970; 0 before that.
#[allow(clippy::disallowed_methods)] // a driver is where the clock is read
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
