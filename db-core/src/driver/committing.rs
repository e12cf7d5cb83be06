//! A round's storage transactions: what peers have sent, calls, order and ack, and showing readers the result.

use std::sync::atomic::Ordering;

use super::ordering::{Goal, LongOrdering};
use super::peers::PeerId;
use super::worker::{Worker, instant};
use crate::engine::{Backlog, Batch, IngestError, Moment, Reply, Request};
use crate::entry::VerifiedRun;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::log_reader::Tip;

/// What became of a round's calls and of the peers' runs.
pub(super) struct Committed {
    pub(super) replies: Vec<Result<Reply>>,
    /// Of the first of them; the others are to be taken in later, since that takes long already.
    pub(super) stored: Vec<Result<(), String>>,
    /// The last calls, if they are not run yet because something is to be ordered before them and that takes long.
    pub(super) waiting: Vec<Request>,
}

/// What a round's transaction has come to.
struct Done {
    stored: Vec<Result<(), String>>,
    is_held_back: bool,
    replies: Vec<Result<Reply>>,
    waiting: Vec<Request>,
    /// Whether calls could be run.
    is_ready: bool,
    /// What ordering all would have cost before.
    backlog: Backlog,
    /// Whether everything was to be ordered.
    settles: bool,
    /// What is to be gone on with at once.
    unfinished: Option<Goal>,
}

/// What became of the peers' runs.
struct Taken {
    /// Of the first of them.
    stored: Vec<Result<(), String>>,
    /// Whether the next one would have the view built anew, too soon after the last time.
    is_held_back: bool,
}

impl Worker {
    /// One storage transaction: runs of peers, calls, order, ack.
    fn commit(
        &mut self,
        requests: Vec<Request>,
        ingests: &[(PeerId, Vec<VerifiedRun>)],
        own_heads: &[Tip],
        moment: &Moment,
        ack: bool,
    ) -> Result<Committed> {
        self.tell_who_watches();
        let peers_are_sending = self.peers.are_sending();
        let wants_ack = ack && self.engine.wants_ack(&moment.gone);
        let begun = instant();
        let mut waiting = requests;
        let settling = &self.settling;
        let has_calls = !waiting.is_empty();
        self.engine.allow_rebuilds(self.rebuilding.allowed(begun));
        let done = self.engine.run(|batch| {
            for head in own_heads {
                batch.note_own_head(head)?;
            }
            let Taken { stored, is_held_back } =
                ingest_some(batch, ingests, &mut || LongOrdering::is_time(begun, has_calls))?;
            let step_begun = instant();
            let mut is_time = || LongOrdering::is_time(step_begun, has_calls);
            // What is confirmed goes to its place whether it is time to order the rest or not.
            let is_confirmed = batch.confirm_until(limits::SETTLE_BYTES_MAX, &mut is_time)?;
            let backlog = batch.backlog()?;
            // Calls are tried on what is applied, unless what was confirmed has undone some of that.
            let is_held_up = match waiting.first() {
                Some(first) => !batch.may_call(first)?,
                None => false,
            };
            let is_due = backlog.unordered == 0
                || settling.is_due(begun, peers_are_sending, &backlog)
                || (is_held_up && backlog.unordered <= limits::ORDERED_AT_ONCE);
            let settles = is_confirmed && is_due;
            let is_ready = if settles {
                batch.settle_until(limits::SETTLE_BYTES_MAX, &mut is_time)?
            } else {
                !is_held_up
            };
            let mut replies = Vec::new();
            if is_ready {
                (replies, waiting) = serve(batch, waiting, moment)?;
                if wants_ack && settles && waiting.is_empty() && batch.may_ack()? {
                    batch.append_ack(moment)?;
                }
            }
            let unfinished = if is_confirmed && (is_ready || !settles) {
                None
            } else {
                Some(if is_due { Goal::All } else { Goal::Confirmed })
            };
            Ok(Done { stored, is_held_back, replies, waiting, is_ready, backlog, settles, unfinished })
        })?;
        let Done { stored, is_held_back, replies, waiting, is_ready, backlog, settles, unfinished } = done;
        let took = instant().saturating_duration_since(begun);
        self.rebuilding.note(begun + took, took, self.engine.rebuilt());
        if !ingests.is_empty() {
            self.rebuilding.is_waited_for = is_held_back;
        }
        if let Some(goal) = unfinished {
            // A long backlog is ordered in several transactions; readers see nothing of it before the last.
            self.ordering = Some(LongOrdering::new(goal, begun, took, peers_are_sending, backlog));
        }
        if is_ready {
            if ack && settles {
                self.acking.done(instant(), wants_ack);
            }
            if settles && backlog.unordered > 0 {
                self.settling.ordered(begun, took, peers_are_sending, &backlog);
            }
        }
        self.show(settles || !replies.is_empty())?;
        Ok(Committed { replies, stored, waiting })
    }

    /// Shows readers the view, if it may have changed, or what was confirmed. A confirmed part may have undone what it goes
    /// before: until that is applied again, readers would miss what they saw.
    pub(super) fn show(&mut self, may_have_changed: bool) -> Result<()> {
        let has_confirmed = self.engine.status()?.confirmed != self.published.status.borrow().confirmed;
        if (may_have_changed || has_confirmed) && self.engine.is_presentable() {
            self.published.show_view(&mut self.engine)?;
        } else if has_confirmed {
            self.published.show_confirmed(&self.engine)?;
        }
        Ok(())
    }

    /// Tells the engine, before it changes anything, whether somebody watches.
    pub(super) fn tell_who_watches(&mut self) {
        let changes_bytes = self.published.changes_bytes.load(Ordering::Relaxed);
        self.engine.set_watching(self.published.feed.is_watched(), changes_bytes);
    }

    /// [`Worker::commit`]; if it fails for what a peer sent (which no check at the door has foreseen) and not for the
    /// storage, each peer's runs are taken by themselves, and who sent what cannot be taken is cut off.
    pub(super) fn commit_or_part(
        &mut self,
        requests: Vec<Request>,
        ingests: &[(PeerId, Vec<VerifiedRun>)],
        own_heads: &[Tip],
        moment: &Moment,
        ack: bool,
    ) -> Result<Committed> {
        let calls = requests.len();
        let failed = match self.commit(requests, ingests, own_heads, moment, ack) {
            Err(error) if error.kind() != ErrorKind::Unavailable && self.engine.recover() => error,
            done => return done,
        };
        tracing::error!(error = %failed, "a transaction failed for what it was to do");
        // What peers have shown of our own log is told once, and nothing may be signed before it is noted.
        self.engine.run(|batch| own_heads.iter().try_for_each(|head| batch.note_own_head(head)))?;
        let mut stored = Vec::with_capacity(ingests.len());
        for (_, runs) in ingests {
            let taken = self.engine.run(|batch| {
                let mut outcome = Ok(());
                for run in runs {
                    if let Err(refused) = batch.ingest(run)? {
                        outcome = Err(refused.to_string());
                        break;
                    }
                }
                batch.settle()?;
                Ok(outcome)
            });
            match taken {
                Ok(outcome) => stored.push(outcome),
                Err(error) if error.kind() != ErrorKind::Unavailable && self.engine.recover() => {
                    stored.push(Err(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        self.show(true)?;
        let again = || Error::new(failed.kind(), failed.message().to_owned());
        Ok(Committed { replies: (0..calls).map(|_| Err(again())).collect(), stored, waiting: Vec::new() })
    }
}

/// Runs calls, the first of them in any case. Gives their replies, and back the calls that are not run: what one of them has
/// confirmed may be much to order before the next.
pub(super) fn serve(
    batch: &mut Batch<'_, '_>,
    requests: Vec<Request>,
    moment: &Moment,
) -> Result<(Vec<Result<Reply>>, Vec<Request>)> {
    let mut replies = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter();
    while let Some(request) = requests.as_slice().first() {
        if !replies.is_empty() && !batch.may_call(request)? {
            break;
        }
        let Some(request) = requests.next() else { break };
        replies.push(batch.execute(request, moment)?);
    }
    // What calls have confirmed is ordered later, if it is much. But readers are shown what calls have done.
    if !replies.is_empty() && !batch.is_presentable() {
        batch.settle()?;
    }
    Ok((replies, requests.collect()))
}

/// Takes in what peers have sent until `is_time` says so, or something has to be ordered before more can be judged, or more is
/// held back. Gives the first run that is refused of each peer that was come to the end of.
fn ingest_some(
    batch: &mut Batch<'_, '_>,
    ingests: &[(PeerId, Vec<VerifiedRun>)],
    is_time: &mut dyn FnMut() -> bool,
) -> Result<Taken> {
    let mut stored = Vec::with_capacity(ingests.len());
    for (_, runs) in ingests {
        if !stored.is_empty() && is_time() {
            break;
        }
        let mut outcome = Ok(());
        for run in runs {
            let taken = loop {
                match batch.ingest_or_wait(run)? {
                    Some(taken) => break taken,
                    None if batch.confirm_until(limits::SETTLE_BYTES_MAX, is_time)? => {}
                    None => return Ok(Taken { stored, is_held_back: false }),
                }
            };
            match taken {
                Ok(()) => {}
                Err(IngestError::BreaksTooSoon(_)) => return Ok(Taken { stored, is_held_back: true }),
                Err(refused) => {
                    outcome = Err(refused.to_string());
                    break;
                }
            }
        }
        stored.push(outcome);
    }
    Ok(Taken { stored, is_held_back: false })
}
