//! `combdb.v1.Receipts`, and the concern and the acknowledgement of a write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use db_core::{EntryHash, Outcome, Receipt, ReceiptState, RejectedOperation, Write};
use proto::v1::receipts_server::Receipts;
use proto::v1::{self, Acknowledgement, EntryOutcome, QueryOptions, WatchReceiptRequest, WriteConcern};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::log;
use super::transactions::Place;
use crate::error::{from_engine, invalid};
use crate::node::Node;
use crate::transactions::Turn;

/// MongoDB's code for options that a call cannot have.
const INVALID_OPTIONS: i32 = 72;

/// When a write is answered.
pub(super) enum Concern {
    /// Once it is durable on this peer.
    Local,
    /// Once it is confirmed, or this time is over.
    Majority(Option<Duration>),
    /// Once it has been tried, in a transaction.
    Within(Arc<Turn>),
}

impl Concern {
    /// That of a call which has one of its own.
    pub(super) fn of(concern: Option<WriteConcern>) -> Self {
        match concern {
            Some(WriteConcern { majority: true, timeout_ms }) => {
                Self::Majority((timeout_ms > 0).then(|| Duration::from_millis(timeout_ms)))
            }
            _ => Self::Local,
        }
    }

    /// Takes the concern out of a call's options.
    pub(super) fn take(options: &mut Option<QueryOptions>) -> Self {
        Self::of(options.as_mut().and_then(|options| options.write_concern.take()))
    }

    /// The same; of a call in a transaction the one that goes with it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` (72) for a concern of its own in a transaction.
    pub(super) fn at(self, place: &Place) -> Result<Self, Status> {
        match (place.turn(), self) {
            (None, concern) => Ok(concern),
            (Some(_), Self::Majority(_)) => {
                Err(invalid("a write concern is for the whole transaction", Some(INVALID_OPTIONS)))
            }
            (Some(turn), _) => Ok(Self::Within(turn)),
        }
    }

    /// Carries out a write and waits as the concern says.
    ///
    /// # Errors
    /// Those of the write.
    pub(super) async fn write<T: Send + 'static>(
        self,
        node: &Node,
        write: Write<T>,
    ) -> db_core::Result<(T, Acknowledgement)> {
        let (result, receipt, confirmed) = match self {
            Self::Within(turn) => {
                // It is worked out here and now, and may take a while: away from the async threads, also if nobody waits for
                // it any more.
                let work = move || {
                    let _turn = turn;
                    write.run()
                };
                let tried = tokio::task::spawn_blocking(work).await;
                let failed = |_| db_core::Error::aborted("the call failed: this is a fault of the server");
                return Ok((tried.map_err(failed)??, Acknowledgement::default()));
            }
            Self::Local => {
                let (result, receipt) = write.with_receipt().await?;
                (result, receipt, false)
            }
            Self::Majority(timeout) => {
                let node = node.clone();
                let stops = async move { node.waits_end().await };
                let written = write.majority(timeout).until(stops).await?;
                (written.result, written.receipt, written.confirmed)
            }
        };
        let entry = receipt.entry().map(|entry| entry.to_string()).unwrap_or_default();
        Ok((result, Acknowledgement { entry, confirmed }))
    }
}

/// Waits until a write is confirmed, and tells what became of it; none if the time is over first, or the server stops: the write
/// stands all the same.
pub(super) async fn confirmed(
    node: &Node,
    receipt: &Receipt,
    timeout: Option<Duration>,
) -> db_core::Result<Option<Outcome>> {
    tokio::select! {
        biased;
        outcome = receipt.wait_confirmed(timeout) => outcome,
        () = node.waits_end() => Ok(None),
    }
}

/// Carries out a write that no transaction can hold, and gives what it can be followed by.
///
/// # Errors
/// As a status, those of [`Concern::write`].
pub(super) async fn acknowledged<T: Send + 'static>(
    node: &Node,
    concern: Option<WriteConcern>,
    write: Write<T>,
) -> Result<(T, Option<Acknowledgement>), Status> {
    let (result, acknowledgement) = Concern::of(concern).write(node, write).await.map_err(from_engine)?;
    Ok((result, Some(acknowledgement)))
}

/// The receipts of a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Receipts for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::Receipt, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchReceiptRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchReceiptRequest { database, entry } = request.into_inner();
        let permit = self.0.watcher_permit()?;
        let entry = EntryHash::from_hex(&entry)
            .ok_or_else(|| invalid("an entry is named by 64 hexadecimal digits, and this is none", None))?;
        let state = move |database: &db_core::Database| {
            let receipt = database.receipt(entry);
            receipt.state().map(|state| (receipt, state))
        };
        let (receipt, state) = self.0.read(database, state).await?;
        let (sender, states) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let _held = permit;
            follow(&receipt, state, &sender).await;
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(states))))
    }
}

type Sender = tokio::sync::mpsc::Sender<Result<v1::Receipt, Status>>;

/// Tells the states of a receipt until it is confirmed or nobody listens any more.
async fn follow(receipt: &Receipt, mut state: ReceiptState, sender: &Sender) {
    loop {
        if sender.send(Ok(describe(&state))).await.is_err() || matches!(state, ReceiptState::Confirmed(_)) {
            return;
        }
        let changed = tokio::select! {
            changed = receipt.changed(&state) => changed,
            () = sender.closed() => return,
        };
        match changed {
            Ok(changed) => state = changed,
            Err(error) => {
                let _ = sender.send(Err(from_engine(error))).await; // nobody to tell is no fault
                return;
            }
        }
    }
}

fn describe(state: &ReceiptState) -> v1::Receipt {
    let (state, outcome) = match state {
        ReceiptState::Ordered(outcome) => (v1::ReceiptState::Ordered, Some(outcome)),
        ReceiptState::Confirmed(outcome) => (v1::ReceiptState::Confirmed, Some(outcome)),
        _ => (v1::ReceiptState::Durable, None),
    };
    let rejected: &[RejectedOperation] = match outcome {
        Some(Outcome::Rejected(rejected)) => rejected,
        _ => &[],
    };
    let outcome = match outcome {
        None => EntryOutcome::Unspecified,
        Some(Outcome::Merged) => EntryOutcome::Merged,
        Some(Outcome::Superseded) => EntryOutcome::Superseded,
        Some(Outcome::Rejected(_)) => EntryOutcome::Rejected,
        Some(_) => EntryOutcome::Applied,
    };
    let rejected = rejected.iter().cloned().map(log::rejected).collect();
    v1::Receipt { state: state.into(), rejected, outcome: outcome.into() }
}
