//! Ordering a long backlog: step by step, each of them one storage transaction, and between two of them the calls that have
//! come. Those are tried on what readers see, and answered as soon as they are durable; what cannot be tried so waits until
//! all is ordered, and so does every call after it, since it may be one of the same caller's. What peers send meanwhile is held.
//!
//! What is confirmed goes to its place as soon as it is known, and the tail that it goes before is undone for that; the tail is
//! ordered when that is due. So what is done in steps may also be the first of both alone.

use std::time::{Duration, Instant};

use super::committing::{Committed, serve};
use super::worker::{Caller, Worker, instant, now_ms};
use crate::engine::{Backlog, Moment, Request};
use crate::error::{Error, ErrorKind};
use crate::limits;

/// How long a step takes at the least while calls come, and how long at the most while none do.
const STEP_MIN: Duration = Duration::from_millis(40);
const STEP_MAX: Duration = Duration::from_millis(200);
/// How many times as long as the calls before it a step takes at the least: what they have done has to be ordered too, or it
/// would never end.
const STEP_PARTS: u32 = 2;

/// How much is to be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// What is confirmed.
    Confirmed,
    /// Everything that is stored.
    All,
}

/// A backlog that is being ordered.
pub(super) struct LongOrdering {
    goal: Goal,
    begun: Instant,
    /// How long its steps have taken together.
    took: Duration,
    peers_were_sending: bool,
    backlog: Backlog,
    /// Calls that wait until it is done.
    waiting: Vec<(Request, Caller)>,
    waiting_bytes: usize,
}

impl LongOrdering {
    /// The ordering of this backlog, of which the first step is done.
    pub(super) fn new(
        goal: Goal,
        begun: Instant,
        took: Duration,
        peers_were_sending: bool,
        backlog: Backlog,
    ) -> Self {
        Self { goal, begun, took, peers_were_sending, backlog, waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Whether a step that has begun then, and that nobody waits for or somebody does, has taken long enough.
    pub(super) fn is_time(begun: Instant, is_waited_for: bool) -> bool {
        instant().saturating_duration_since(begun) >= if is_waited_for { STEP_MIN } else { STEP_MAX }
    }

    /// Whether more calls may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < limits::GROUP_COMMIT_MAX && self.waiting_bytes < limits::GROUP_COMMIT_BYTES_MAX
    }

    fn wait(&mut self, (request, caller): (Request, Caller)) {
        self.waiting_bytes += request.bytes();
        self.waiting.push((request, caller));
    }
}

impl Worker {
    /// Takes up what was stored and not yet ordered when the database was last open here. If the process ended while that was being
    /// ordered, nobody sees the view before all is; else it is ordered when that is due, as if it had just come.
    pub(super) fn take_up_ordering(&mut self) {
        let begun = instant();
        self.settling.note(begun, self.engine.has_unordered());
        if !self.engine.is_presentable() {
            let backlog = self.engine.backlog();
            self.ordering = Some(LongOrdering::new(Goal::All, begun, Duration::ZERO, false, backlog));
        }
    }

    /// Runs these calls on what readers see, while the view is not to be shown. If some have to wait everything is ordered now,
    /// whether that is due or not.
    pub(super) fn serve_or_order(&mut self, calls: Vec<(Request, Caller)>) {
        if calls.is_empty() {
            return;
        }
        if self.ordering.is_none() {
            let begun = instant();
            let calls = self.serve_meanwhile(calls);
            if calls.is_empty() {
                return;
            }
            let (is_sending, backlog) = (self.peers.are_sending(), self.engine.backlog());
            let mut ordering = LongOrdering::new(Goal::All, begun, Duration::ZERO, is_sending, backlog);
            for call in calls {
                ordering.wait(call);
            }
            self.ordering = Some(ordering);
        } else {
            self.go_on_ordering(calls);
        }
    }

    /// Runs these calls, or lets them wait, and then orders some more.
    pub(super) fn go_on_ordering(&mut self, mut calls: Vec<(Request, Caller)>) {
        let begun = instant();
        if self.ordering.as_ref().is_some_and(|ordering| ordering.waiting.is_empty()) {
            calls = self.serve_meanwhile(calls);
        }
        if let Some(ordering) = &mut self.ordering {
            for call in calls {
                ordering.wait(call);
            }
        }
        let took = instant().saturating_duration_since(begun);
        self.after_commit(instant());
        self.order_some(took);
    }

    /// Runs calls on what readers see, in the view or beside it; gives back those that have to wait until the view holds it.
    fn serve_meanwhile(&mut self, calls: Vec<(Request, Caller)>) -> Vec<(Request, Caller)> {
        if calls.is_empty() {
            return calls;
        }
        self.tell_who_watches();
        let moment = self.moment();
        let served = self.engine.run(|batch| {
            let mut replies = Vec::with_capacity(calls.len());
            for (request, _) in &calls {
                let reply = if batch.may_call(request)? {
                    batch.execute(request.clone(), &moment)?
                } else {
                    let Some(reply) = batch.execute_meanwhile(request, &moment)? else { break };
                    reply
                };
                replies.push(reply);
            }
            Ok(replies)
        });
        let served = served.and_then(|replies| {
            self.show(!replies.is_empty())?;
            Ok(replies)
        });
        match served {
            Ok(replies) => {
                if !replies.is_empty() && !self.engine.is_presentable() {
                    self.published.show_meanwhile(&mut self.engine);
                }
                self.publish_status();
                let mut calls = calls.into_iter();
                for (reply, (_, caller)) in replies.into_iter().zip(calls.by_ref()) {
                    // A caller that has gone away needs no answer; what it asked for is done.
                    let _ = caller.send(reply);
                }
                calls.collect()
            }
            Err(error) => {
                self.give_up(&error, calls.into_iter().map(|(_, caller)| caller).collect());
                Vec::new()
            }
        }
    }

    /// Orders some more; once all is ordered, shows it and runs the calls that wait.
    fn order_some(&mut self, calls_took: Duration) {
        self.tell_who_watches();
        let Some(ordering) = &mut self.ordering else { return };
        let begun = instant();
        let least = STEP_MIN.max(calls_took * STEP_PARTS);
        let commands = &self.commands;
        let mut is_time = || {
            let took = instant().saturating_duration_since(begun);
            took >= least && (took >= STEP_MAX || !commands.is_empty())
        };
        let goal = ordering.goal;
        let done = self.engine.run(|batch| match goal {
            Goal::Confirmed => batch.confirm_until(limits::SETTLE_BYTES_MAX, &mut is_time),
            Goal::All => batch.settle_until(limits::SETTLE_BYTES_MAX, &mut is_time),
        });
        ordering.took += instant().saturating_duration_since(begun);
        let done = done.and_then(|is_done| if is_done { Ok(true) } else { self.show(false).map(|()| false) });
        match done {
            Ok(false) => self.publish_status(),
            Ok(true) => self.end_ordering(),
            Err(error) => self.give_up(&error, Vec::new()),
        }
    }

    /// Shows what is ordered, and runs the calls that have waited for it. They wait for all that is stored.
    fn end_ordering(&mut self) {
        let Some(mut ordering) = self.ordering.take() else { return };
        if ordering.goal == Goal::Confirmed && !ordering.waiting.is_empty() {
            ordering.goal = Goal::All;
            self.ordering = Some(ordering);
            return;
        }
        let LongOrdering { goal, begun, took, peers_were_sending, backlog, waiting, .. } = ordering;
        if goal == Goal::All {
            self.settling.ordered(begun, took, peers_were_sending, &backlog);
        }
        let moment = self.moment();
        let (requests, mut callers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let served = if requests.is_empty() {
            Ok((Vec::new(), Vec::new()))
        } else {
            self.engine.run(|batch| serve(batch, requests, &moment))
        };
        let served = served.and_then(|served| self.show(true).map(|()| served));
        self.publish_status();
        match served {
            Err(error) => self.give_up(&error, callers),
            Ok((replies, requests)) => {
                let later = callers.split_off(replies.len());
                let done = Committed { replies, stored: Vec::new(), waiting: Vec::new() };
                self.answer(Ok(done), callers, Vec::new());
                self.serve_or_order(requests.into_iter().zip(later).collect());
            }
        }
        self.after_commit(instant());
    }

    /// Ordering, or a call, has failed: whoever waits is told so. Goes on from what was committed, unless the storage has failed.
    fn give_up(&mut self, error: &Error, mut callers: Vec<Caller>) {
        let waiting = self.ordering.take().map_or_else(Vec::new, |ordering| ordering.waiting);
        callers.extend(waiting.into_iter().map(|(_, caller)| caller));
        if !self.published.has_begun() {
            // Nobody has seen anything of it since it was opened: that has failed, and may be tried again.
            self.published.close(Some(error));
            self.stopping = true;
        }
        if error.kind() == ErrorKind::Unavailable || !self.engine.recover() {
            let error = Error::new(error.kind(), error.message().to_owned()).with_source_of(error);
            return self.answer(Err(error), callers, Vec::new());
        }
        tracing::error!(%error, "a transaction failed for what it was to do");
        for caller in callers {
            let again = Error::new(error.kind(), error.message().to_owned()).with_source_of(error);
            let _ = caller.send(Err(again));
        }
    }

    fn moment(&self) -> Moment {
        Moment { now_ms: now_ms(), gone: self.gone(instant()) }
    }
}
