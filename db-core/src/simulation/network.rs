//! The network: real sessions between peers, and frames on their way that are late, lost, doubled or out of order.

use std::collections::VecDeque;

use super::Chance;
use crate::sync::{CloseReason, Session, SessionOutput};

/// How the network treats frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Of so many frames one is lost, one comes twice, one overtakes another; 0 for never.
    pub(super) one_bad_in: u64,
    /// How late a frame may be.
    pub(super) delay_ms_max: u64,
}

/// A frame on its way.
struct Flight {
    due_ms: u64,
    frame: Vec<u8>,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) peer: usize,
    pub(super) session: Session,
    /// What is on its way to this end.
    coming: VecDeque<Flight>,
    /// Whether nothing comes through to this end.
    pub(super) is_deaf: bool,
    /// Whether the other end is still sending what it held when they met.
    pub(super) is_receiving: bool,
    pub(super) wants_more: bool,
}

/// A connection of two peers.
pub(super) struct Link {
    pub(super) ends: [End; 2],
}

impl Link {
    pub(super) fn new(peers: [usize; 2], sessions: [Session; 2]) -> Self {
        let [first, second] = sessions;
        let end = |peer, session| End {
            peer,
            session,
            coming: VecDeque::new(),
            is_deaf: false,
            is_receiving: false,
            wants_more: false,
        };
        Self { ends: [end(peers[0], first), end(peers[1], second)] }
    }

    pub(super) fn joins(&self, a: usize, b: usize) -> bool {
        let [one, other] = [self.ends[0].peer, self.ends[1].peer];
        (one, other) == (a, b) || (one, other) == (b, a)
    }

    pub(super) fn touches(&self, peer: usize) -> bool {
        self.ends.iter().any(|end| end.peer == peer)
    }

    /// Sends a frame to the end `to`.
    pub(super) fn send(
        &mut self,
        to: usize,
        frame: Vec<u8>,
        now_ms: u64,
        weather: Weather,
        chance: &mut Chance,
    ) {
        let coming = &mut self.ends[to].coming;
        let mut due_ms = now_ms + chance.below(weather.delay_ms_max + 1);
        // A stream keeps its order, unless the weather is bad.
        due_ms = coming.back().map_or(due_ms, |last| last.due_ms.max(due_ms));
        let is_bad = weather.one_bad_in > 0 && chance.one_in(weather.one_bad_in);
        match if is_bad { chance.below(3) } else { 3 } {
            0 => {}
            1 => {
                coming.push_back(Flight { due_ms, frame: frame.clone() });
                coming.push_back(Flight { due_ms, frame });
            }
            2 => {
                let place = coming.len().saturating_sub(1);
                coming.insert(place, Flight { due_ms, frame });
            }
            _ => coming.push_back(Flight { due_ms, frame }),
        }
    }

    /// When the next frame arrives at either end, and at which.
    pub(super) fn next_due(&self) -> Option<(u64, usize)> {
        let due = |to: usize| {
            let end = &self.ends[to];
            end.coming.front().filter(|_| !end.is_deaf).map(|flight| (flight.due_ms, to))
        };
        [due(0), due(1)].into_iter().flatten().min()
    }

    /// Takes the frame that arrives next at the end `to`.
    pub(super) fn take(&mut self, to: usize) -> Option<Vec<u8>> {
        self.ends[to].coming.pop_front().map(|flight| flight.frame)
    }
}

/// What sessions want done that is not the network's.
pub(super) enum Wish {
    Ingest(Vec<crate::entry::VerifiedRun>),
    NoteOwnEnds(Vec<crate::log_reader::Tip>),
}

/// Carries out what the session at the end `from` wants; the wishes that are left, or why the session has closed.
pub(super) fn carry_out(
    link: &mut Link,
    from: usize,
    outputs: Vec<SessionOutput>,
    now_ms: u64,
    weather: Weather,
    chance: &mut Chance,
) -> Result<Vec<Wish>, CloseReason> {
    let mut wishes = Vec::new();
    let mut closed = None;
    for output in outputs {
        match output {
            SessionOutput::Send(frame) => link.send(1 - from, frame, now_ms, weather, chance),
            SessionOutput::Ingest(runs) => wishes.push(Wish::Ingest(runs)),
            SessionOutput::OwnLogsElsewhere(ends) => wishes.push(Wish::NoteOwnEnds(ends)),
            SessionOutput::Continue => link.ends[from].wants_more = true,
            SessionOutput::Authenticated { .. } => link.ends[from].is_receiving = true,
            SessionOutput::CaughtUp => link.ends[from].is_receiving = false,
            SessionOutput::Close(reason) => closed = Some(reason),
        }
    }
    closed.map_or(Ok(wishes), Err)
}
