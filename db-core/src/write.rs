//! Writes in flight: awaited in async code, or run to their end in blocking code.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bson::{Document, RawDocument, RawDocumentBuf};
use db_index::{Update, UpdateOptions};
use tokio::sync::oneshot;

use crate::collection::here_and_now;
use crate::database::{Database, closed};
use crate::driver::worker::Command;
use crate::engine::{DeleteRequest, Reply, Request, UpdateRequest, write_conflict};
use crate::error::{Error, ErrorKind, Result};
use crate::log::RejectedOperation;
use crate::query::{self, Explanation, FindOptions, Purpose};
use crate::receipt::{Acknowledged, Outcome, Receipt, UNAUTHORIZED};
use crate::transaction::Transaction;

/// A write that does nothing until it is awaited, or run with [`Write::run`]. When either returns, the write is durable on
/// this device.
#[must_use = "a write does nothing until it is awaited or run"]
pub struct Write<T> {
    database: Database,
    /// The transaction that it is made in.
    within: Option<Transaction>,
    request: Result<Request>,
    finish: Box<dyn FnOnce(Reply) -> Result<T> + Send>,
}

impl<T> Write<T> {
    pub(crate) fn new(
        database: Database,
        request: Result<Request>,
        finish: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Self {
        Self { database, within: None, request, finish: Box::new(finish) }
    }

    /// The same write, made in a transaction.
    pub(crate) fn within(self, transaction: Option<Transaction>) -> Self {
        Self { within: transaction, ..self }
    }

    /// Changes the call before it is made.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Request) -> Result<()>) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
        self
    }

    /// The same write, giving its receipt as well: with it the caller can follow what becomes of the write.
    ///
    /// A call that fails in part (an ordered insert that meets a duplicate) gives its error and no receipt; what of it was
    /// logged is listed by [`Database::receipts`]. Of a write made in a transaction the receipt names no entry: the
    /// transaction's does.
    pub fn with_receipt(self) -> Write<(T, Receipt)>
    where
        T: 'static,
    {
        let Self { database, within, request, finish } = self;
        let of = database.clone();
        let write = Write::new(database, request, move |reply| {
            let receipt = Receipt::new(of, reply.entry);
            Ok((finish(reply)?, receipt))
        });
        write.within(within)
    }

    /// The same write with MongoDB's write concern `majority`: it is durable on this device as ever, and then waited for
    /// until a majority of the indexers has confirmed its place, but no longer than `timeout` if there is one, or until the
    /// database is closed. That it was not confirmed in time is no error: the write stands, and is confirmed when indexers are
    /// met. That it does not hold at its place, in whole or in part, is one, with the code of the reason; a transaction then is to
    /// be made again. So is, as `Denied`, that this device has lost the right to write meanwhile, so that nobody confirms it.
    ///
    /// A write made in a transaction has no concern of its own: it fails with `InvalidOptions` (72).
    pub fn majority(mut self, timeout: Option<Duration>) -> MajorityWrite<T>
    where
        T: 'static,
    {
        if self.within.is_some() {
            let message = "a write concern is for the whole transaction";
            self.request = Err(Error::invalid(message).with_code(72));
        }
        let is_transaction = matches!(self.request, Ok(Request::Transaction { .. }));
        MajorityWrite { write: self.with_receipt(), timeout, end: None, is_transaction }
    }

    /// Blocks until the write is durable.
    ///
    /// # Errors
    /// Those of the call; `Unavailable` if the storage fails or the database is closed.
    ///
    /// # Panics
    /// Within async code: await the write there.
    pub fn run(self) -> Result<T> {
        if self.is_done_here() {
            return self.done_here();
        }
        let (command, reply) = command(self.request?);
        self.database.commands().blocking_send(command).map_err(|_| closed())?;
        (self.finish)(reply.blocking_recv().map_err(|_| closed())??)
    }

    /// Whether the database's thread has nothing to do with it.
    fn is_done_here(&self) -> bool {
        self.within.is_some() || self.request.as_ref().is_ok_and(Request::is_nothing)
    }

    fn done_here(self) -> Result<T> {
        let Self { within, request, finish, .. } = self;
        let Some(transaction) = within else {
            request?;
            return finish(Reply::default());
        };
        // Whatever a write of a transaction fails for ends the transaction.
        request
            .and_then(|request| transaction.write(request))
            .and_then(finish)
            .inspect_err(|_| transaction.abort())
    }
}

impl<T> Write<T> {
    /// How an update, replacement or delete finds its documents, in the shape of MongoDB's `explain` with `executionStats`.
    /// Nothing is written.
    ///
    /// # Errors
    /// Those of the call, as far as it goes without writing; `InvalidOptions` (72) for other writes.
    pub fn explain(self) -> Result<Document> {
        self.explained(true)
    }

    /// How an update, replacement or delete would find its documents, without reading them.
    ///
    /// # Errors
    /// As for [`Write::explain`].
    pub fn explain_plan(self) -> Result<Document> {
        self.explained(false)
    }

    fn explained(self, executes: bool) -> Result<Document> {
        let request = self.request?;
        let Some(name) = request.collection().map(str::to_owned) else { return Err(not_explained()) };
        let mut collection = self.database.collection::<Document>(&name);
        if let Some(transaction) = self.within {
            collection = collection.within(transaction);
        }
        let opened = collection.open()?;
        let collation = opened.as_ref().and_then(|(_, meta)| meta.options.collation.as_deref());
        let (find, purpose) = finding(request, collation)?;
        let compiled = find.compile(opened.as_ref().map(|(_, meta)| &**meta))?;
        query::explain(&collection.namespace(), opened, &compiled, Explanation { purpose, executes })
    }
}

fn not_explained() -> Error {
    Error::invalid("only updates, replacements and deletes are explained").with_code(72)
}

/// The find with which a write begins, in a collection with this collation.
fn finding(request: Request, of_collection: Option<&RawDocument>) -> Result<(FindOptions, Purpose)> {
    let surroundings = |variables: &Option<RawDocumentBuf>, collation: &Option<RawDocumentBuf>| {
        query::surroundings(here_and_now(), variables.as_deref(), collation.as_deref().or(of_collection))
    };
    let (filter, sort, hint, multi, context, purpose) = match request {
        Request::Update(update) => {
            let UpdateRequest { filter, sort, hint, multi, variables, collation, .. } = update;
            let context = surroundings(&variables, &collation)?;
            let options =
                UpdateOptions { array_filters: update.array_filters, multi, context: context.clone() };
            Update::parse_value(update.update.as_raw_bson_ref(), &options)?;
            (filter, sort, hint, multi, context, Purpose::Update)
        }
        Request::Delete(delete) => {
            let DeleteRequest { filter, sort, hint, multi, variables, collation, .. } = delete;
            let context = surroundings(&variables, &collation)?;
            (filter, sort, hint, multi, context, Purpose::Delete)
        }
        _ => return Err(not_explained()),
    };
    let limit = u64::from(!multi);
    Ok((FindOptions { filter, sort, limit, hint, context, ..FindOptions::default() }, purpose))
}

/// What became of a write that was waited for, if that is known. That it is not waited for any more is no error: it is durable.
fn known(waited: Result<Option<Outcome>>) -> Result<Option<Outcome>> {
    match waited {
        Err(error) if error.kind() == ErrorKind::Unavailable => Ok(None),
        waited => waited,
    }
}

/// A write that is waited for until it is confirmed: see [`Write::majority`]. It does nothing until it is awaited or run.
#[must_use = "a write does nothing until it is awaited or run"]
pub struct MajorityWrite<T> {
    write: Write<(T, Receipt)>,
    timeout: Option<Duration>,
    /// What it is waited for at the most.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether it commits a transaction, which is to be made again if it does not hold.
    is_transaction: bool,
}

impl<T> MajorityWrite<T> {
    /// Awaits the confirmation no longer than until this has come, as if the time were over then. [`MajorityWrite::run`] does not
    /// look at it.
    pub fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.end = Some(Box::pin(end));
        self
    }

    /// Blocks until the write is confirmed, or the time is over.
    ///
    /// # Errors
    /// Those of the call; that of the write's place, if it was confirmed that it does not hold there; `Unavailable` if the
    /// storage fails or the database is closed before it is written.
    ///
    /// # Panics
    /// Within async code: await the write there.
    pub fn run(self) -> Result<Acknowledged<T>> {
        let (result, receipt) = self.write.run()?;
        let outcome = known(receipt.wait_confirmed_blocking(self.timeout))?;
        acknowledged(result, receipt, outcome, self.is_transaction)
    }
}

/// What the caller of a write is told that was waited for.
fn acknowledged<T>(
    result: T,
    receipt: Receipt,
    outcome: Option<Outcome>,
    is_transaction: bool,
) -> Result<Acknowledged<T>> {
    match outcome {
        Some(Outcome::Rejected(_)) if is_transaction => {
            Err(write_conflict("the transaction was rejected at its place in the order"))
        }
        Some(Outcome::Rejected(operations)) => Err(rejected(&receipt, &operations)),
        outcome => Ok(Acknowledged { result, receipt, confirmed: outcome.is_some() }),
    }
}

fn rejected(receipt: &Receipt, operations: &[RejectedOperation]) -> Error {
    let parts: u64 = operations.iter().map(|operation| operation.count).sum();
    let code = operations.iter().flat_map(|operation| &operation.parts).map(|(_, code)| *code).next();
    let entry = receipt.entry().map(|entry| entry.to_string()).unwrap_or_default();
    let message = format!("rejected at its place in the order: parts={parts} entry={entry}");
    match code {
        Some(UNAUTHORIZED) | None => Error::denied(message),
        Some(code) => Error::new(ErrorKind::Conflict, message).with_code(code),
    }
}

impl<T: Send + 'static> IntoFuture for MajorityWrite<T> {
    type Output = Result<Acknowledged<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Acknowledged<T>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (result, receipt) = self.write.await?;
            let waited = receipt.wait_confirmed(self.timeout);
            let outcome = match self.end {
                None => known(waited.await)?,
                Some(end) => tokio::select! {
                    biased;
                    outcome = waited => known(outcome)?,
                    () = end => None,
                },
            };
            acknowledged(result, receipt, outcome, self.is_transaction)
        })
    }
}

impl<T: 'static> IntoFuture for Write<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        if self.is_done_here() {
            return Box::pin(async move { self.done_here() });
        }
        let Self { database, request, finish, .. } = self;
        Box::pin(async move {
            let (command, reply) = command(request?);
            database.commands().send(command).await.map_err(|_| closed())?;
            finish(reply.await.map_err(|_| closed())??)
        })
    }
}

fn command(request: Request) -> (Command, oneshot::Receiver<Result<Reply>>) {
    let (reply, receiver) = oneshot::channel();
    (Command::Write { request: Box::new(request), reply }, receiver)
}
