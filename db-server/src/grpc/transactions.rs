//! `combdb.v1.Transactions`, and where a call is made: in a database, or in a transaction of it.

use std::sync::Arc;
use std::time::Duration;

use bson::RawDocumentBuf;
use db_core::{Collection, Database, Outcome, ReadConcern, TransactionOptions};
use proto::v1::transactions_server::Transactions;
use proto::v1::{
    self, AbortTransactionRequest, AbortTransactionResponse, Acknowledgement, BeginTransactionRequest,
    BeginTransactionResponse, CommitTransactionRequest, CommitTransactionResponse, QueryOptions,
};
use tonic::{Code, Request, Response, Status};

use super::receipts::{Concern, confirmed};
use crate::error::{LABELS, from_engine, invalid, status};
use crate::node::{Node, Sees};
use crate::transactions::Turn;

/// How long a transaction may be left alone unless its client says otherwise, and at the most.
const IDLE_DEFAULT: Duration = Duration::from_mins(1);
const IDLE_MAX: Duration = Duration::from_mins(10);

/// MongoDB's `WriteConflict`.
const WRITE_CONFLICT: i32 = 112;

/// Where a call is made.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) database: String,
    collection: String,
    transaction: Option<Arc<Turn>>,
}

impl Place {
    /// A collection, in the transaction of this name if it has one, once the calls before this one have ended in it.
    ///
    /// # Errors
    /// `NOT_FOUND` (251) if there is no such transaction; `INVALID_ARGUMENT` if it is one of another database;
    /// `RESOURCE_EXHAUSTED` if too many calls are in it.
    pub(super) async fn of(
        node: &Node,
        database: &str,
        collection: &str,
        transaction: &str,
    ) -> Result<Self, Status> {
        let transaction = match transaction {
            "" => None,
            name => Some(node.transactions().find(name).await?),
        };
        let is_of = |turn: &Turn| turn.transaction().database().name() == database;
        if !transaction.as_ref().is_none_or(is_of) {
            return Err(invalid("the transaction is one of another database", None));
        }
        let transaction = transaction.map(Arc::new);
        Ok(Self { database: database.to_owned(), collection: collection.to_owned(), transaction })
    }

    /// The same, with the transaction taken out of a call's options.
    ///
    /// # Errors
    /// As for [`Place::of`].
    pub(super) async fn take(
        node: &Node,
        database: &str,
        collection: &str,
        options: &mut Option<QueryOptions>,
    ) -> Result<Self, Status> {
        let transaction = options.as_mut().map(|options| std::mem::take(&mut options.transaction));
        Self::of(node, database, collection, &transaction.unwrap_or_default()).await
    }

    /// Whether the call is made in a transaction.
    pub(super) fn is_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// What a read sees here that would see this outside of a transaction.
    pub(super) fn sees(&self, outside: Sees) -> Sees {
        if self.is_transaction() { Sees::Settled } else { outside }
    }

    /// The call's turn in the transaction, to be held until its work has ended.
    pub(super) fn turn(&self) -> Option<Arc<Turn>> {
        self.transaction.clone()
    }

    /// The collection.
    pub(super) fn on(&self, database: &Database) -> Collection<RawDocumentBuf> {
        match &self.transaction {
            Some(turn) => turn.transaction().collection(&self.collection),
            None => database.collection(&self.collection),
        }
    }

    /// The collection, for a write.
    ///
    /// # Errors
    /// As for [`Node::database`].
    pub(super) async fn collection(&self, node: &Node) -> Result<Collection<RawDocumentBuf>, Status> {
        Ok(self.on(&node.database(self.database.clone()).await?))
    }
}

/// Transactions of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Transactions for Service {
    async fn begin(
        &self,
        request: Request<BeginTransactionRequest>,
    ) -> Result<Response<BeginTransactionResponse>, Status> {
        let BeginTransactionRequest { database, read_concern, idle_timeout_ms } = request.into_inner();
        let (concern, sees) = match v1::ReadConcern::try_from(read_concern) {
            Ok(v1::ReadConcern::Majority) => (ReadConcern::Majority, Sees::Settled),
            Ok(_) => (ReadConcern::Local, Sees::Present { until: None }),
            Err(_) => return Err(invalid(format!("unknown read_concern {read_concern}"), None)),
        };
        let idle = match idle_timeout_ms {
            0 => IDLE_DEFAULT,
            millis => Duration::from_millis(millis).min(IDLE_MAX),
        };
        let options = TransactionOptions::default().read_concern(concern);
        let begun =
            self.0.read_view(database, sees, move |database| database.begin_transaction(options)).await?;
        let transaction = self.0.transactions().hold(begun, idle)?;
        Ok(Response::new(BeginTransactionResponse { transaction }))
    }

    async fn commit(
        &self,
        request: Request<CommitTransactionRequest>,
    ) -> Result<Response<CommitTransactionResponse>, Status> {
        let CommitTransactionRequest { transaction, write_concern } = request.into_inner();
        let turn = self.0.transactions().take(&transaction).await?;
        let ((), receipt) = turn.transaction().commit().with_receipt().await.map_err(from_engine)?;
        let mut is_confirmed = false;
        if let Concern::Majority(timeout) = Concern::of(write_concern) {
            match confirmed(&self.0, &receipt, timeout).await.map_err(from_engine)? {
                Some(Outcome::Rejected(_)) => return Err(rejected()),
                outcome => is_confirmed = outcome.is_some(),
            }
        }
        let entry = receipt.entry().map(|entry| entry.to_string()).unwrap_or_default();
        let acknowledgement = Some(Acknowledgement { entry, confirmed: is_confirmed });
        Ok(Response::new(CommitTransactionResponse { acknowledgement }))
    }

    async fn abort(
        &self,
        request: Request<AbortTransactionRequest>,
    ) -> Result<Response<AbortTransactionResponse>, Status> {
        self.0.transactions().abort(&request.into_inner().transaction);
        Ok(Response::new(AbortTransactionResponse {}))
    }
}

fn rejected() -> Status {
    let message = "the transaction was rejected at its place in the order: make it again";
    let label = db_core::TRANSIENT_TRANSACTION_ERROR.to_owned();
    status(Code::Aborted, "CONFLICT", message, Some(WRITE_CONFLICT), &[(LABELS, label)])
}
