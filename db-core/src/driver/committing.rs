//! A round's storage transactions: what peers have sent, calls, order and ack, and showing readers the result.

use std::sync::atomic::Ordering;

use super::peers::PeerId;
use super::worker::{Worker, instant};
use crate::engine::{Batch, Moment, Reply, Request};
use crate::entry::VerifiedRun;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::log_reader::Tip;

/// What became of a round's calls and of the peers' runs.
pub(super) struct Committed {
    pub(super) replies: Vec<Result<Reply>>,
    pub(super) stored: Vec<Result<(), String>>,
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
        let changes_bytes = self.published.changes_bytes.load(Ordering::Relaxed);
        self.engine.set_watching(self.published.feed.is_watched(), changes_bytes);
        let peers_are_sending = self.peers.are_sending();
        let wants_ack = ack && self.engine.wants_ack(&moment.gone);
        let serve = |batch: &mut Batch<'_, '_>, requests: Vec<Request>, settles: bool| {
            let mut replies = Vec::with_capacity(requests.len());
            for request in requests {
                replies.push(batch.execute(request, moment)?);
            }
            // A part that a call has confirmed may have left something to order. What peers have sent stays for when it is due:
            // what is ordered here without a call or its being due would be shown to nobody.
            if settles || (!replies.is_empty() && !batch.is_presentable()) {
                batch.settle()?;
            }
            if wants_ack && settles {
                batch.append_ack(moment)?;
            }
            Ok(replies)
        };
        let begun = instant();
        let mut waiting = Some(requests);
        let settling = &self.settling;
        let (stored, mut replies, backlog, settles) = self.engine.run(|batch| {
            for head in own_heads {
                batch.note_own_head(head)?;
            }
            let mut stored = Vec::with_capacity(ingests.len());
            for (_, runs) in ingests {
                stored.push(ingest_all(batch, runs)?);
            }
            let backlog = batch.backlog()?;
            // Calls are tried on what is applied, unless a part that was confirmed has undone some of that.
            let has_calls = waiting.as_ref().is_some_and(|requests| !requests.is_empty());
            let settles = backlog.unordered == 0
                || settling.is_due(begun, peers_are_sending, &backlog)
                || (has_calls && !batch.is_presentable());
            let is_settled = !settles || batch.settle_within(limits::SETTLE_BYTES_MAX)?;
            let requests = waiting.take_if(|_| is_settled);
            let replies = requests.map(|requests| serve(batch, requests, settles)).transpose()?;
            Ok((stored, replies, backlog, settles))
        })?;
        if ack && settles {
            self.acking.done(instant(), wants_ack);
        }
        // A long backlog is ordered in several transactions; readers see nothing of it before the last.
        while let Some(requests) = waiting.take() {
            let is_settled = self.engine.run(|batch| batch.settle_within(limits::SETTLE_BYTES_MAX))?;
            if is_settled {
                replies = Some(self.engine.run(|batch| serve(batch, requests, settles))?);
            } else {
                waiting = Some(requests);
            }
        }
        if settles && backlog.unordered > 0 {
            let took = instant().saturating_duration_since(begun);
            self.settling.ordered(begun, took, peers_are_sending, &backlog);
        }
        // A confirmed part may have undone what it goes before: until that is applied again, readers would miss what they saw.
        let has_replies = replies.as_ref().is_some_and(|replies| !replies.is_empty());
        let has_confirmed = self.engine.status()?.confirmed != self.published.status.borrow().confirmed;
        if (settles || has_replies || has_confirmed) && self.engine.is_presentable() {
            self.published.show_view(&mut self.engine)?;
        } else if has_confirmed {
            self.published.show_confirmed(&self.engine)?;
        }
        Ok(Committed { replies: replies.unwrap_or_default(), stored })
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
        let mut stored = Vec::with_capacity(ingests.len());
        for (_, runs) in ingests {
            let taken = self.engine.run(|batch| {
                let outcome = ingest_all(batch, runs)?;
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
        self.published.show_view(&mut self.engine)?;
        let again = || Error::new(failed.kind(), failed.message().to_owned());
        Ok(Committed { replies: (0..calls).map(|_| Err(again())).collect(), stored })
    }
}

/// Takes in a peer's runs; the inner error is the first that is refused.
fn ingest_all(batch: &mut Batch<'_, '_>, runs: &[VerifiedRun]) -> Result<Result<(), String>> {
    for run in runs {
        if let Err(refused) = batch.ingest(run)? {
            return Ok(Err(refused.to_string()));
        }
    }
    Ok(Ok(()))
}
