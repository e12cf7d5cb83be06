//! A session: one connected peer, one database.

use std::collections::{BTreeSet, VecDeque};

use super::close::{CloseReason, clip};
use super::frame::{
    Frame, REPLACED_KEYS_MAX, encode_bye, encode_caught_up, encode_credit, encode_frontier, encode_groups,
    encode_head, encode_hello, encode_proof, encode_tips, encode_whole,
};
use super::frontier::{Comparison, fingerprint};
use super::groups::{GroupPrint, bits_for, differing, prints};
use super::outgoing::{Next, Outgoing, WINDOW_BYTES};
use super::proof::{Role, Transcript};
use crate::entry::{Run, VerifiedRun, verify_head};
use crate::ids::{DatabaseId, DatabaseKey, EntryHash, WriterKey};
use crate::log_reader::{LogReader, Tip};

/// What a session is about, and what it is given from outside.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The database's identity; both ends must agree on it.
    pub database: DatabaseId,
    /// The secret that both ends must know.
    pub key: DatabaseKey,
    /// The writer of this store, told to the peer once it has proved itself.
    pub own_writer: WriterKey,
    /// The keys that this store wrote with before, the latest first: they may still have votes. The peer is told some of them.
    pub replaced_keys: Vec<WriterKey>,
    /// What names the channel, equal at both ends and on no other channel; zeros where there is no such thing.
    pub binding: [u8; 32],
    /// Whether this end made the connection.
    pub dialer: bool,
    /// Random bytes of this session alone.
    pub nonce: [u8; 32],
}

/// What the engine is to do for a session, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutput {
    /// Send a frame.
    Send(Vec<u8>),
    /// Store runs, whose signatures hold and of which nothing else is known, and call [`Session::runs_stored`]. Runs
    /// that were partly stored already come without that part; some may be stored by now.
    Ingest(Vec<VerifiedRun>),
    /// The peer knows the database's key, and says that this is its writer.
    Authenticated {
        /// The peer's writer, in its own words.
        writer: WriterKey,
    },
    /// The peer has sent, and this end has stored, everything that the peer held when the logs were compared.
    CaughtUp,
    /// The peer has shown entries signed with keys of our own that are not here: this store was restored or copied, and must not
    /// sign anything with those keys before it has fetched them. All that the peer has to show of our logs comes at once:
    /// whoever knows of one only would go on with another.
    OwnLogsElsewhere(Vec<Tip>),
    /// There is more to send than one call should do: call [`Session::entries_stored`] again soon.
    Continue,
    /// End the connection, once the frames before it are sent. Nothing comes after it.
    Close(CloseReason),
}

/// What a session has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionStats {
    /// Entries sent to the peer.
    pub entries_sent: u64,
    /// Entries that the peer sent and that were new here.
    pub entries_received: u64,
    /// Runs that the peer sent and that were stored here already.
    pub runs_in_vain: u64,
}

/// The state machine for one peer and one database. See the module's documentation for the protocol.
///
/// The first error of a log's reading ends a call early; the session is of no use after it.
pub struct Session {
    config: SessionConfig,
    phase: Phase,
    peer_nonce: [u8; 32],
    /// Our tips as our fingerprint stands for them, from the fingerprint to the comparison.
    compared: Option<(Vec<Tip>, u64, [u8; 32])>,
    /// Of how many bits the groups are in which the tips are compared.
    group_bits: u32,
    comparison: Option<Comparison>,
    /// The peer's writer, and keys that it has replaced, in its own words, without one twice.
    peer_keys: BTreeSet<WriterKey>,
    /// Of how many of our own logs the peer has shown what it holds.
    heads_shown: usize,
    /// What it has shown of them and is not here.
    missing_ends: Vec<Tip>,
    outgoing: Outgoing,
    /// The bytes of the peer's frames of runs that are not stored yet.
    unstored: VecDeque<u64>,
    peer_in_flight: u64,
    peer_caught_up: PeerCaughtUp,
    stats: SessionStats,
}

/// Which frame of the peer comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hello,
    Proof,
    Frontier,
    Groups,
    Tips,
    Whole,
    Streaming,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerCaughtUp {
    No,
    /// The peer said so; what it sent before is still being stored.
    Said,
    Yes,
}

impl Session {
    /// A session that has not said anything yet.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            config,
            phase: Phase::Hello,
            peer_nonce: [0; 32],
            compared: None,
            group_bits: 0,
            comparison: None,
            peer_keys: BTreeSet::new(),
            heads_shown: 0,
            missing_ends: Vec::new(),
            outgoing: Outgoing::default(),
            unstored: VecDeque::new(),
            peer_in_flight: 0,
            peer_caught_up: PeerCaughtUp::No,
            stats: SessionStats::default(),
        }
    }

    /// Greets the peer; to be called once, at the start.
    pub fn start(&mut self, out: &mut Vec<SessionOutput>) {
        out.push(SessionOutput::Send(encode_hello(&self.config.nonce)));
    }

    /// Takes in a frame of the peer. What the peer does wrong is no error but a [`SessionOutput::Close`].
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn handle_frame<L: LogReader>(
        &mut self,
        frame: &[u8],
        log: &L,
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), L::Error> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        let handled = match Frame::decode(frame) {
            Ok(decoded) => self.handle(decoded, frame.len() as u64, log, out)?,
            Err(reason) => Err(reason),
        };
        match handled {
            Ok(()) => self.send_more(log, out),
            Err(reason) => {
                self.close(reason, out);
                Ok(())
            }
        }
    }

    /// Sends the peer what is new in the log. To be called when entries, of whatever origin, have become durable, and
    /// after [`SessionOutput::Continue`].
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn entries_stored<L: LogReader>(
        &mut self,
        log: &L,
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), L::Error> {
        self.send_more(log, out)
    }

    /// Takes in what became of the oldest [`SessionOutput::Ingest`] not yet answered: its runs are durable, or the log
    /// refuses them for this reason, which ends the session.
    pub fn runs_stored(&mut self, stored: Result<(), String>, out: &mut Vec<SessionOutput>) {
        if self.phase == Phase::Closed {
            return;
        }
        if let Err(reason) = stored {
            self.close(CloseReason::Refused(reason), out);
        } else if let Some(bytes) = self.unstored.pop_front() {
            self.return_credit(bytes, out);
            self.report_caught_up(out);
        }
    }

    /// Ends the session for a reason of the engine's.
    pub fn close(&mut self, reason: CloseReason, out: &mut Vec<SessionOutput>) {
        if self.phase == Phase::Closed {
            return;
        }
        if !matches!(reason, CloseReason::ClosedByPeer(_)) {
            out.push(SessionOutput::Send(encode_bye(&reason.to_line())));
        }
        self.phase = Phase::Closed;
        self.compared = None;
        self.comparison = None;
        self.outgoing = Outgoing::default();
        self.unstored.clear();
        out.push(SessionOutput::Close(reason));
    }

    /// What the session has moved so far.
    pub fn stats(&self) -> SessionStats {
        self.stats
    }

    fn handle<L: LogReader>(
        &mut self,
        frame: Frame<'_>,
        bytes: u64,
        log: &L,
        out: &mut Vec<SessionOutput>,
    ) -> Result<Result<(), CloseReason>, L::Error> {
        match (self.phase, frame) {
            (_, Frame::Bye(reason)) => return Ok(Err(CloseReason::ClosedByPeer(clip(reason)))),
            (Phase::Hello, Frame::Hello { nonce, version: _ }) => return Ok(self.greeted(nonce, out)),
            (Phase::Proof, Frame::Proof(proof)) => return self.proved(&proof, log, out),
            (Phase::Frontier, Frame::Frontier { writer, fingerprint, tips, replaced }) => {
                self.peer_keys = std::iter::once(writer).chain(replaced).collect();
                self.compare(writer, &fingerprint, tips as usize, out);
            }
            (Phase::Groups, Frame::Groups(groups)) => return Ok(self.compare_groups(&groups, out)),
            (Phase::Tips, Frame::Tips { last, tips }) => {
                let Some(comparison) = &mut self.comparison else { return Ok(Ok(())) };
                if let Err(reason) = comparison.add(&tips, log)? {
                    return Ok(Err(reason));
                }
                if last {
                    let wanted = comparison.finish();
                    for head in self.peer_keys.iter().filter_map(|key| comparison.lacked_head(key)) {
                        show_head(&head, log, out)?;
                    }
                    out.extend(encode_whole(&wanted).into_iter().map(SessionOutput::Send));
                    self.phase = Phase::Whole;
                }
            }
            (Phase::Whole, Frame::Head { header, signature }) if self.heads_shown <= REPLACED_KEYS_MAX => {
                self.heads_shown += 1;
                return Ok(self
                    .look_at_head(header, &signature, log)?
                    .map(|end| self.missing_ends.extend(end)));
            }
            (Phase::Whole, Frame::Whole { last, writers }) => {
                if !self.missing_ends.is_empty() {
                    out.push(SessionOutput::OwnLogsElsewhere(std::mem::take(&mut self.missing_ends)));
                }
                let Some(comparison) = &mut self.comparison else { return Ok(Ok(())) };
                if let Err(reason) = comparison.want(&writers) {
                    return Ok(Err(reason));
                }
                if last && let Some(comparison) = self.comparison.take() {
                    let (lacks, end) = comparison.into_lacks();
                    self.outgoing = Outgoing::new(lacks, end, log)?;
                    self.phase = Phase::Streaming;
                }
            }
            (Phase::Streaming, Frame::Runs(runs)) => return self.receive(&runs, bytes, log, out),
            (Phase::Streaming, Frame::Credit(returned)) => return Ok(self.outgoing.credit(returned)),
            (Phase::Streaming, Frame::CaughtUp) if self.peer_caught_up == PeerCaughtUp::No => {
                self.peer_caught_up = PeerCaughtUp::Said;
                self.report_caught_up(out);
            }
            (phase, frame) => {
                let (kind, phase) = (frame.kind(), phase.name());
                return Ok(Err(CloseReason::UnexpectedFrame { kind, phase }));
            }
        }
        Ok(Ok(()))
    }

    fn greeted(&mut self, nonce: [u8; 32], out: &mut Vec<SessionOutput>) -> Result<(), CloseReason> {
        if nonce == self.config.nonce {
            return Err(CloseReason::Reflected);
        }
        self.peer_nonce = nonce;
        self.phase = Phase::Proof;
        if self.config.dialer {
            out.push(SessionOutput::Send(self.own_proof()));
        }
        Ok(())
    }

    fn proved<L: LogReader>(
        &mut self,
        proof: &[u8; 32],
        log: &L,
        out: &mut Vec<SessionOutput>,
    ) -> Result<Result<(), CloseReason>, L::Error> {
        let peer = if self.config.dialer { Role::Acceptor } else { Role::Dialer };
        if !self.transcript().holds(&self.config.key, peer, proof) {
            return Ok(Err(CloseReason::WrongDatabaseKey));
        }
        if !self.config.dialer {
            out.push(SessionOutput::Send(self.own_proof()));
        }
        let (tips, end) = (log.tips()?, log.end());
        let own = fingerprint(&tips);
        out.push(SessionOutput::Send(encode_frontier(
            &self.config.own_writer,
            &own,
            tips.len(),
            &self.config.replaced_keys,
        )));
        self.compared = Some((tips, end, own));
        self.phase = Phase::Frontier;
        Ok(Ok(()))
    }

    fn transcript(&self) -> Transcript<'_> {
        let (dialer_nonce, acceptor_nonce) = if self.config.dialer {
            (&self.config.nonce, &self.peer_nonce)
        } else {
            (&self.peer_nonce, &self.config.nonce)
        };
        Transcript {
            database: &self.config.database,
            binding: &self.config.binding,
            dialer_nonce,
            acceptor_nonce,
        }
    }

    fn own_proof(&self) -> Vec<u8> {
        let role = if self.config.dialer { Role::Dialer } else { Role::Acceptor };
        encode_proof(&self.transcript().prove(&self.config.key, role))
    }

    fn compare(
        &mut self,
        writer: WriterKey,
        peer: &[u8; 32],
        peer_tips: usize,
        out: &mut Vec<SessionOutput>,
    ) {
        let Some((tips, end, own)) = self.compared.take() else { return };
        out.push(SessionOutput::Authenticated { writer });
        self.group_bits = bits_for(tips.len(), peer_tips);
        if own == *peer {
            self.outgoing = Outgoing::of_equals(end);
            self.phase = Phase::Streaming;
            self.peer_caught_up = PeerCaughtUp::Said;
            self.report_caught_up(out);
        } else if self.group_bits > 0 {
            out.push(SessionOutput::Send(encode_groups(&prints(&tips, self.group_bits))));
            self.compared = Some((tips, end, own));
            self.phase = Phase::Groups;
        } else {
            self.list(tips, end, out);
        }
    }

    /// Goes on with the tips in groups that differ.
    fn compare_groups(
        &mut self,
        groups: &[GroupPrint],
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), CloseReason> {
        let Some((tips, end, _)) = self.compared.take() else { return Ok(()) };
        let tips = differing(&tips, self.group_bits, groups)
            .ok_or(CloseReason::InvalidFrontier("another number of groups"))?;
        self.list(tips, end, out);
        Ok(())
    }

    /// Tells the peer these tips and waits for its own.
    fn list(&mut self, tips: Vec<Tip>, end: u64, out: &mut Vec<SessionOutput>) {
        out.extend(encode_tips(&tips).into_iter().map(SessionOutput::Send));
        self.comparison = Some(Comparison::new(tips, end));
        self.phase = Phase::Tips;
    }

    /// Looks at what the peer shows of a log of our own, which only our own key can have signed; gives it where it is not here.
    pub(super) fn look_at_head<L: LogReader>(
        &self,
        header: &[u8],
        signature: &[u8; 64],
        log: &L,
    ) -> Result<Result<Option<Tip>, CloseReason>, L::Error> {
        let (header, head) = match verify_head(&self.config.database, header, signature) {
            Ok(verified) => verified,
            Err(invalid) => return Ok(Err(invalid.into())),
        };
        let tip = Tip { writer: header.writer, length: header.seq.saturating_add(1), head };
        if tip.writer != self.config.own_writer && !self.config.replaced_keys.contains(&tip.writer) {
            return Ok(Err(CloseReason::InvalidFrontier("the head of another's log")));
        }
        Ok(Ok(log.number_of(&tip.head)?.is_none().then_some(tip)))
    }

    fn receive<L: LogReader>(
        &mut self,
        runs: &[&[u8]],
        bytes: u64,
        log: &L,
        out: &mut Vec<SessionOutput>,
    ) -> Result<Result<(), CloseReason>, L::Error> {
        let in_flight = self.peer_in_flight;
        if in_flight > 0 && in_flight + bytes > WINDOW_BYTES {
            return Ok(Err(CloseReason::CreditExceeded { bytes, in_flight }));
        }
        self.peer_in_flight += bytes;
        let mut new = Vec::new();
        for encoded in runs {
            match self.receive_run(encoded, log)? {
                Ok(run) => new.extend(run),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        if new.is_empty() {
            self.return_credit(bytes, out);
        } else {
            self.unstored.push_back(bytes);
            out.push(SessionOutput::Ingest(new));
        }
        Ok(Ok(()))
    }

    /// Verifies a run, unless it is stored; gives what is new of it.
    fn receive_run<L: LogReader>(
        &mut self,
        encoded: &[u8],
        log: &L,
    ) -> Result<Result<Option<VerifiedRun>, CloseReason>, L::Error> {
        let run = match Run::decode(encoded) {
            Ok(run) => run,
            Err(invalid) => return Ok(Err(invalid.into())),
        };
        let head: EntryHash = run.claimed_head(&self.config.database);
        let number = log.number_of(&head)?;
        if number.is_some() {
            self.outgoing.note_received(head, number);
            self.stats.runs_in_vain += 1;
            return Ok(Ok(None));
        }
        let verified = match run.verify(&self.config.database) {
            Ok(verified) => verified,
            Err(invalid) => return Ok(Err(invalid.into())),
        };
        let mut known = 0;
        for entry in verified.entries() {
            if log.number_of(&entry.hash)?.is_none() {
                break;
            }
            known += 1;
        }
        self.outgoing.note_received(head, None);
        self.stats.entries_received += (verified.entries().len() - known) as u64;
        Ok(Ok(Some(verified.without_first(known))))
    }

    fn return_credit(&mut self, bytes: u64, out: &mut Vec<SessionOutput>) {
        self.peer_in_flight = self.peer_in_flight.saturating_sub(bytes);
        out.push(SessionOutput::Send(encode_credit(bytes)));
    }

    fn report_caught_up(&mut self, out: &mut Vec<SessionOutput>) {
        if self.peer_caught_up == PeerCaughtUp::Said && self.unstored.is_empty() {
            self.peer_caught_up = PeerCaughtUp::Yes;
            out.push(SessionOutput::CaughtUp);
        }
    }

    fn send_more<L: LogReader>(&mut self, log: &L, out: &mut Vec<SessionOutput>) -> Result<(), L::Error> {
        if self.phase != Phase::Streaming {
            return Ok(());
        }
        let mut reads = 0;
        loop {
            match self.outgoing.next(log, &mut reads)? {
                Next::Frame(frame, entries) => {
                    self.stats.entries_sent += entries;
                    out.push(SessionOutput::Send(frame));
                }
                Next::CaughtUp => out.push(SessionOutput::Send(encode_caught_up())),
                Next::More => {
                    out.push(SessionOutput::Continue);
                    return Ok(());
                }
                Next::Nothing => return Ok(()),
            }
        }
    }
}

/// Shows the peer the end of its own log, with its signature.
fn show_head<L: LogReader>(tip: &Tip, log: &L, out: &mut Vec<SessionOutput>) -> Result<(), L::Error> {
    let Some(number) = log.number_of(&tip.head)? else { return Ok(()) };
    let Some(stored) = log.run_at(number)? else { return Ok(()) };
    // The end of a log is the end of a run, and that is what is signed.
    if let Some(last) = stored.run.entries().last().filter(|last| last.hash == tip.head) {
        out.push(SessionOutput::Send(encode_head(&last.header.encode(), stored.run.signature())));
    }
    Ok(())
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Proof => "proof",
            Self::Frontier => "frontier",
            Self::Groups => "groups",
            Self::Tips => "tips",
            Self::Whole => "whole",
            Self::Streaming => "streaming",
            Self::Closed => "closed",
        }
    }
}
