//! `combdb.v1.Log`.

use db_core::linearizer::Ballot;
use db_core::{Database, LogPage, LogRange, LoggedEntry, Place, Settled};
use proto::v1::log_server::Log;
use proto::v1::{
    EntryOutcome, LogBallot, LogEntry, LogOperation, LogState, RejectedOperation, RejectedPart,
    ShowLogRequest, ShowLogResponse,
};
use tonic::{Request, Response, Status};

use super::writers::read_key;
use crate::error::invalid;
use crate::node::Node;

/// The log of a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Log for Service {
    async fn show(&self, request: Request<ShowLogRequest>) -> Result<Response<ShowLogResponse>, Status> {
        let ShowLogRequest { database, from, limit, writer, own } = request.into_inner();
        let mut range = LogRange { from, ..LogRange::default() };
        if limit > 0 {
            range.limit = limit as usize;
        }
        if own && !writer.is_empty() {
            return Err(invalid("writer and own say two different things", Some(72)));
        }
        if !writer.is_empty() {
            range.writer = Some(read_key(&writer)?);
        }
        let read = move |database: &Database| {
            if own { database.receipts(range.from, range.limit) } else { database.log(&range) }
        };
        let page = self.0.read(database, read).await?;
        Ok(Response::new(describe(page)))
    }
}

fn describe(page: LogPage) -> ShowLogResponse {
    ShowLogResponse {
        next: page.next,
        confirmed: page.confirmed,
        ordered: page.ordered,
        stored: page.stored,
        epoch: page.epoch,
        indexers: page.indexers.iter().map(ToString::to_string).collect(),
        entries: page.entries.into_iter().map(entry).collect(),
    }
}

fn entry(entry: LoggedEntry) -> LogEntry {
    let outcome = match entry.settled {
        _ if entry.place == Place::Unordered => EntryOutcome::Unspecified,
        _ if entry.skipped || !entry.rejected.is_empty() => EntryOutcome::Rejected,
        Settled::Merged => EntryOutcome::Merged,
        Settled::Superseded => EntryOutcome::Superseded,
        _ => EntryOutcome::Applied,
    };
    let (state, place) = match entry.place {
        Place::Confirmed(place) => (LogState::Confirmed, Some(place)),
        Place::Tail(place) => (LogState::Tail, Some(place)),
        _ => (LogState::Unordered, None),
    };
    let ballot = match entry.ballot {
        Ballot::Anchor => LogBallot::Anchor,
        Ballot::Proposal => LogBallot::Proposal,
        Ballot::Vote => LogBallot::Vote,
        _ => LogBallot::Unspecified,
    };
    let operation = |operation: db_core::LoggedOperation| LogOperation {
        kind: operation.kind.to_owned(),
        collection: operation.collection.unwrap_or_default(),
        count: operation.count,
        detail: operation.detail,
    };
    LogEntry {
        state: state.into(),
        place,
        entry: entry.hash.to_string(),
        writer: entry.writer.to_string(),
        seq: entry.seq,
        time_ms: entry.time_ms,
        epoch: entry.epoch,
        wave: entry.wave,
        ballot: ballot.into(),
        prev: entry.prev.map(|prev| prev.to_string()).unwrap_or_default(),
        parents: entry.parents.iter().map(ToString::to_string).collect(),
        bytes: entry.bytes,
        operations: entry.operations.into_iter().map(operation).collect(),
        operations_count: entry.operations_count,
        unreadable: entry.unreadable.unwrap_or_default(),
        rejected: entry.rejected.into_iter().map(rejected).collect(),
        outcome: outcome.into(),
        skipped: entry.skipped,
    }
}

/// An operation that did not hold.
pub(super) fn rejected(rejected: db_core::RejectedOperation) -> RejectedOperation {
    RejectedOperation {
        operation: rejected.operation,
        count: rejected.count,
        parts: rejected.parts.into_iter().map(|(part, code)| RejectedPart { part, code }).collect(),
    }
}
