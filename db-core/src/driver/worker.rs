//! The thread that owns a database's engine: it takes commands from a bounded queue, runs what waits in one storage
//! transaction, and answers only after the commit. Readers use snapshots and never pass through it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::acking::Acking;
use super::committing::Committed;
use super::link::{PeerInput, PeerOutput};
use super::ordering::LongOrdering;
use super::patience::Patience;
use super::peers::{PeerId, Peers};
use super::proving::Proving;
use super::published::Published;
use super::rebuilding::Rebuilding;
use super::settling::{Settling, Source};
use crate::apply::Observer;
use crate::engine::{Engine, Moment, Reply, Request};
use crate::entry::{Entry, VerifiedRun};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::WriterKey;
use crate::limits;

/// For how long the tail is looked through at once, while nobody waits.
const SURVEY: Duration = Duration::from_millis(5);

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

/// Runs the thread's loop until it is told to stop or nobody can reach it any more.
pub(crate) fn run(
    mut engine: Engine,
    commands: mpsc::Receiver<Command>,
    peers: Peers,
    published: Arc<Published>,
) {
    engine.set_observer(Arc::clone(&published) as Arc<dyn Observer>);
    let _end = End(Arc::clone(&published));
    Worker::new(engine, commands, peers, published).run();
}

/// Lets nobody wait for what the thread has not shown, however it ends.
struct End(Arc<Published>);

impl Drop for End {
    fn drop(&mut self) {
        if !self.0.has_begun() {
            self.0.close(None);
        }
    }
}

pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) commands: mpsc::Receiver<Command>,
    /// The ordering of a long backlog that is not done yet, and what peers have sent since it began.
    pub(super) ordering: Option<LongOrdering>,
    held: VecDeque<Command>,
    /// What peers have sent before that and is not taken in yet.
    rest: Vec<(PeerId, Vec<VerifiedRun>)>,
    pub(super) peers: Peers,
    pub(super) published: Arc<Published>,
    patience: Patience,
    pub(super) settling: Settling,
    pub(super) rebuilding: Rebuilding,
    pub(super) acking: Acking,
    proving: Proving,
    /// When it was last looked for what has expired, and whether there was more than one entry may delete.
    expired_at: Instant,
    expires_more: bool,
    /// Whether what was left unfinished has been looked for.
    has_looked_behind: bool,
    pub(super) stopping: bool,
}

/// Who waits for a call's answer.
pub(super) type Caller = oneshot::Sender<Result<Reply>>;

/// What one round of commands comes to.
#[derive(Default)]
struct Round {
    writes: Vec<(Request, Caller)>,
    ingests: Vec<(PeerId, Vec<VerifiedRun>)>,
}

impl Worker {
    /// The worker of an engine that was just opened.
    pub(super) fn new(
        engine: Engine,
        commands: mpsc::Receiver<Command>,
        peers: Peers,
        published: Arc<Published>,
    ) -> Self {
        Self {
            engine,
            commands,
            ordering: None,
            held: VecDeque::new(),
            rest: Vec::new(),
            peers,
            published,
            patience: Patience::default(),
            settling: Settling::default(),
            rebuilding: Rebuilding::default(),
            acking: Acking::default(),
            proving: Proving::default(),
            expired_at: instant(),
            expires_more: false,
            has_looked_behind: false,
            stopping: false,
        }
    }

    fn run(mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
            tracing::error!("no runtime for the database's thread");
            return;
        };
        self.take_up_ordering();
        while !self.stopping {
            if self.ordering.is_none() && !std::mem::replace(&mut self.has_looked_behind, true) {
                self.drop_leftovers();
            }
            let mut next = self.next_command();
            let may_wait = self.rest.is_empty() || self.rebuilding.rests_for(instant()).is_some();
            if next.is_none() && self.ordering.is_none() && may_wait {
                let wait = self.wait();
                let commands = &mut self.commands;
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
                next = first;
            }
            let mut round = Round::default();
            let (mut bytes, mut commands_taken) = (0, 0);
            while let Some(command) = next {
                bytes += self.take(command, &mut round);
                commands_taken += 1;
                // Frames that bring nothing must not hold up the writes that wait.
                let is_full = commands_taken >= limits::COMMAND_QUEUE_MAX
                    || round.writes.len() >= limits::GROUP_COMMIT_MAX
                    || bytes >= limits::GROUP_COMMIT_BYTES_MAX;
                next = if is_full || self.stopping { None } else { self.next_command() };
            }
            if self.ordering.is_some() {
                self.go_on_ordering(round.writes);
            } else {
                if self.rebuilding.rests_for(instant()).is_none() {
                    round.ingests.splice(..0, std::mem::take(&mut self.rest));
                }
                self.finish(round);
            }
            self.survey_some();
        }
        while self.ordering.is_some() {
            self.go_on_ordering(Vec::new());
        }
        self.peers.close_all("the database is closed");
    }

    /// A command that need not be waited for. What peers send while a backlog is ordered is held until that is done, and while
    /// there is a rest of what they sent before, until that is taken in; calls go before it. But while a backlog is ordered no
    /// more are taken than may wait until that is done.
    fn next_command(&mut self) -> Option<Command> {
        if let Some(ordering) = &self.ordering {
            return if ordering.has_room() { self.commands.try_recv().ok() } else { None };
        }
        if !self.rest.is_empty() {
            return self.commands.try_recv().ok();
        }
        while !self.held.is_empty() {
            match self.commands.try_recv() {
                Ok(command @ Command::Peer { .. }) => self.held.push_back(command),
                Ok(command) => return Some(command),
                Err(_) => return self.held.pop_front(),
            }
        }
        self.commands.try_recv().ok()
    }

    /// Drops what was being written when the database was last open here. Where that cannot be, it is tried when it is opened
    /// again.
    fn drop_leftovers(&mut self) {
        match self.engine.left_behind_by() {
            Ok(of) if of.is_empty() => {}
            Ok(of) => {
                let (nobody, _) = oneshot::channel();
                let writes = vec![(Request::DropLeftovers { of }, nobody)];
                self.finish(Round { writes, ..Round::default() });
            }
            Err(error) => tracing::error!(%error, "cannot look for what was left unfinished"),
        }
    }

    /// Looks through some of the tail for readers of what is confirmed.
    fn survey_some(&mut self) {
        let (until, commands) = (instant() + SURVEY, &self.commands);
        self.engine.survey_until(&mut || !commands.is_empty() || instant() >= until);
    }

    /// How long to wait for a command before something else is due.
    fn wait(&mut self) -> Option<Duration> {
        let now = instant();
        let ack = self.acking.at().filter(|_| !self.engine.has_unordered());
        let ack = ack.map(|at| at.saturating_duration_since(now));
        let order = self.settling.due_in(now, self.peers.are_sending(), &self.engine.backlog());
        let flush = self.peers.has_backlog().then_some(Duration::from_millis(10));
        let expiry = self.expires_in(now);
        let proof = self.proving.at().map(|at| at.saturating_duration_since(now));
        let rest = (!self.rest.is_empty()).then(|| self.rebuilding.rests_for(now).unwrap_or_default());
        let behind = self.engine.is_behind().then_some(Duration::ZERO);
        // Whether an ack helps is looked at anew when an indexer is not waited for any more.
        let gone = self.patience.next(now, &self.peers.writers(), self.published.patience());
        let gone = gone.map(|at| at.saturating_duration_since(now));
        let survey = self.engine.has_to_survey().then_some(Duration::ZERO);
        [ack, order, flush, expiry, proof, rest, behind, gone, survey].into_iter().flatten().min()
    }

    /// Takes a command into the round; gives how many bytes it brings.
    fn take(&mut self, command: Command, round: &mut Round) -> usize {
        match command {
            Command::Peer { .. } if self.ordering.is_some() || !self.rest.is_empty() => {
                self.held.push_back(command);
                0
            }
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
        let (mut requests, mut replies): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        if self.proving.is_due(now) && self.wants_fork_proof() {
            requests.push(Request::ProveForks); // it has no caller
        }
        let expires = self.is_to_expire(now, &moment);
        if expires {
            requests.push(Request::Expire); // it has no caller: its reply is the last, and nobody's
        }
        let source = self.source_of(&ingests);
        if let Some(source) = source {
            self.settling.arrived(now, source);
        }
        let is_due = self.settling.is_due(now, self.peers.are_sending(), &self.engine.backlog());
        let ack = self.acking.at().is_some_and(|at| at <= now) && (is_due || !self.engine.has_unordered());
        let own_heads = self.peers.take_own_heads();
        let is_due = is_due || self.engine.is_behind();
        let is_idle = own_heads.is_empty() && requests.is_empty() && ingests.is_empty() && !ack && !is_due;
        if !is_idle {
            // Only who votes is waited for: nobody else's silence is of interest, and nobody else fills memory.
            let heard = ingests.iter().flat_map(|(_, runs)| runs).flat_map(VerifiedRun::entries);
            let heard: BTreeSet<WriterKey> = heard.map(|entry| entry.header.writer).collect();
            for indexer in self.engine.indexers().iter().filter(|indexer| heard.contains(indexer)) {
                self.patience.heard(*indexer, now);
            }
            let mut done = self.commit_or_part(requests, &ingests, &own_heads, &moment, ack);
            let waiting = done.as_mut().map_or_else(|_| Vec::new(), |done| std::mem::take(&mut done.waiting));
            let is_to_wait = expires && !waiting.is_empty();
            if expires
                && !is_to_wait
                && let Ok(Committed { replies, .. }) = &done
            {
                let deleted = replies.last().and_then(|reply| Some(reply.as_ref().ok()?.outcome.deleted));
                self.expires_more = deleted.is_some_and(|deleted| deleted > 0);
            }
            self.published.index_build.send_if_modified(|build| build.take().is_some());
            // Who has its answer finds the status at least as new.
            self.publish_status();
            let served = done.as_ref().map_or(replies.len(), |done| done.replies.len());
            let later = replies.split_off(served.min(replies.len()));
            self.answer(done, replies, ingests);
            self.serve_or_order(waiting.into_iter().zip(later).collect());
            // What has no caller is looked for again when all is ordered.
            self.expires_more |= is_to_wait && self.ordering.is_some();
        }
        let now = instant();
        if let Some(source) = source {
            self.settling.arrived(now, source); // taking it in may have taken a while
        }
        self.after_commit(now);
    }

    pub(super) fn answer(
        &mut self,
        done: Result<Committed>,
        callers: Vec<Caller>,
        ingests: Vec<(PeerId, Vec<VerifiedRun>)>,
    ) {
        match done {
            Ok(Committed { replies, stored, .. }) => {
                for (caller, reply) in callers.into_iter().zip(replies) {
                    // A caller that has gone away needs no answer; what it asked for is done.
                    let _ = caller.send(reply);
                }
                let mut ingests = ingests.into_iter();
                for ((peer, _), outcome) in ingests.by_ref().take(stored.len()).zip(stored) {
                    if let Err(reason) = &outcome {
                        tracing::warn!(peer = peer.0, reason, "a peer's run is refused: the peer is cut off");
                    }
                    self.peers.runs_stored(peer, outcome);
                }
                self.rest.extend(ingests);
            }
            Err(error) => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "the storage failed");
                for caller in callers {
                    let again = Error::new(ErrorKind::Unavailable, error.message().to_owned());
                    let _ = caller.send(Err(again.with_source_of(&error)));
                }
                self.peers.close_all("the storage failed");
            }
        }
    }

    /// Sends what is new, shows who is connected, and plans what is due later.
    pub(super) fn after_commit(&mut self, now: Instant) {
        self.peers.send_new(self.engine.end());
        if let Ok(mut peers) = self.published.peers.lock() {
            *peers = self.peers.statuses();
        }
        self.settling.note(now, self.engine.has_unordered());
        self.peers.set_own_writer(self.engine.writer(), || self.engine.replaced_keys());
        if self.engine.take_wants_anew() {
            self.peers.close_all("entries that were held back count again: connect anew");
        }
        if self.proving.at().is_none() && self.wants_fork_proof() {
            self.proving.plan(now, random);
        }
        let is_waiting = self.engine.has_unconfirmed_writes();
        self.patience.note(now, &self.other_indexers(), is_waiting, self.published.patience());
        if self.acking.at().is_none() && self.engine.wants_ack(&self.gone(now)) {
            self.acking.plan(now, self.engine.indexers().len(), random);
        }
    }

    /// Whether there is a fork to prove. Where that cannot be read, nothing is proved.
    fn wants_fork_proof(&self) -> bool {
        self.engine.wants_fork_proof().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for forks that are not proved");
            false
        })
    }

    pub(super) fn publish_status(&self) {
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

    /// From whom these entries have come; none if there are none.
    fn source_of(&self, ingests: &[(PeerId, Vec<VerifiedRun>)]) -> Option<Source> {
        let connected = self.peers.writers();
        let mut authors = ingests.iter().flat_map(|(_, runs)| runs).filter_map(|run| run.entries().first());
        let first = authors.next()?;
        let is_there = |entry: &Entry| connected.contains(&entry.header.writer);
        let are_there = is_there(first) && authors.all(is_there);
        Some(if are_there { Source::Authors } else { Source::Others })
    }

    /// The indexers that are not waited for.
    pub(super) fn gone(&self, now: Instant) -> BTreeSet<WriterKey> {
        self.patience.gone(now, &self.other_indexers(), &self.peers.writers(), self.published.patience())
    }

    fn other_indexers(&self) -> Vec<WriterKey> {
        self.engine.indexers().iter().filter(|indexer| !self.engine.is_own(indexer)).copied().collect()
    }
}

/// Chance; always the same where the system gives none.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[allow(clippy::disallowed_methods)] // a driver is where the clock is read
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since 1970; 0 before that.
#[allow(clippy::disallowed_methods)] // a driver is where the clock is read
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
