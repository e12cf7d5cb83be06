//! Running a closure as a transaction, again and again until it holds, within bounds.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use super::{Transaction, TransactionOptions};
use crate::collection::ReadConcern;
use crate::database::Database;
use crate::error::{Error, Result, TRANSIENT_TRANSACTION_ERROR};
use crate::receipt::{Acknowledged, Outcome, Receipt};

/// The longest pause before a closure is run again, in milliseconds.
const PAUSE_MS_MAX: u64 = 64;
/// After how many attempts in vain those that follow are made one after the other with those of other closures.
const ATTEMPTS_AT_ONCE: u32 = 3;
/// How long it is waited for that: a closure may wait for another one itself.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
/// How long it is waited for something to be confirmed, where only that can bring another snapshot.
const CONFIRMATION_PATIENCE: Duration = Duration::from_secs(1);

impl Database {
    /// Runs a closure as one transaction: what it reads and writes through [`Transaction::collection`] sees one snapshot and
    /// its own writes, and takes effect as a whole or not at all, as one entry of the log.
    ///
    /// If what it read has been changed before it is committed, the closure is run again, on a new snapshot, a bounded number of
    /// times; so it should do nothing but read and write in the transaction. If it returns an error, the transaction is aborted
    /// and the error is the call's; [`Error::aborted`] makes one. It is run in the caller's thread, also where it is awaited.
    ///
    /// On every peer a transaction is tested again at its place in the order of all entries: where anything that it read is
    /// another there, it is rejected whole. So what is confirmed is serializable: as if the transactions had been run there one
    /// after the other. To know what became of it, ask its receipt, or wait for it with [`RunTransaction::majority`].
    ///
    /// ```
    /// use bson::{Document, doc};
    ///
    /// let store = db_core::Store::in_memory()?;
    /// let database = store.create_database("bank")?;
    /// let accounts = database.collection::<Document>("accounts");
    /// accounts.insert_many([doc! { "_id": "a", "amount": 5 }, doc! { "_id": "b", "amount": 0 }]).run()?;
    /// database
    ///     .transaction(|transaction| {
    ///         let accounts = transaction.collection::<Document>("accounts");
    ///         let from = accounts.find_one(doc! { "_id": "a" }).run()?;
    ///         if from.and_then(|from| from.get_i32("amount").ok()).unwrap_or(0) < 3 {
    ///             return Err(db_core::Error::aborted("not enough"));
    ///         }
    ///         accounts.update_one(doc! { "_id": "a" }, doc! { "$inc": { "amount": -3 } }).run()?;
    ///         accounts.update_one(doc! { "_id": "b" }, doc! { "$inc": { "amount": 3 } }).run()?;
    ///         Ok(())
    ///     })
    ///     .run()?;
    /// assert_eq!(accounts.count_documents(doc! { "amount": 3 }).run()?, 1);
    /// # Ok::<(), db_core::Error>(())
    /// ```
    pub fn transaction<T, F>(&self, body: F) -> RunTransaction<F>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        RunTransaction { database: self.clone(), body, options: TransactionOptions::default() }
    }
}

/// A closure to be run as a transaction, which is not begun until it is awaited or run. See [`Database::transaction`].
#[must_use = "a transaction does nothing until it is awaited or run"]
pub struct RunTransaction<F> {
    database: Database,
    body: F,
    options: TransactionOptions,
}

impl<F> RunTransaction<F> {
    /// With these options, in place of those given so far.
    pub fn with_options(self, options: TransactionOptions) -> Self {
        Self { options, ..self }
    }

    /// Of what is confirmed only, or of everything: see [`TransactionOptions::read_concern`].
    pub fn read_concern(self, read_concern: ReadConcern) -> Self {
        Self { options: self.options.read_concern(read_concern), ..self }
    }

    /// How often the closure is run at the most: see [`TransactionOptions::attempts_max`].
    pub fn attempts_max(self, attempts_max: u32) -> Self {
        Self { options: self.options.attempts_max(attempts_max), ..self }
    }

    /// After which time it is not run again: see [`TransactionOptions::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { options: self.options.timeout(timeout), ..self }
    }

    /// The same transaction with the write concern `majority`: once it is durable here it is waited for until a majority of
    /// the indexers has confirmed its place, but no longer than `timeout` if there is one. If it turns out to be rejected there,
    /// the closure is run again, within the same bounds.
    pub fn majority(self, timeout: Option<Duration>) -> MajorityTransaction<F> {
        MajorityTransaction { transaction: self, timeout }
    }

    /// Runs the transaction, blocking, until it is durable on this device.
    ///
    /// # Errors
    /// The closure's; `WriteConflict` (112) with the label [`TRANSIENT_TRANSACTION_ERROR`] if what it read was changed each
    /// time; `Unavailable` if the storage fails or the database is closed.
    ///
    /// # Panics
    /// Within async code: await it there.
    pub fn run<T>(self) -> Result<T>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        self.run_with_receipt().map(|(result, _)| result)
    }

    /// As [`RunTransaction::run`], with what the transaction can be followed by.
    ///
    /// # Errors
    /// As for [`RunTransaction::run`].
    ///
    /// # Panics
    /// As [`RunTransaction::run`].
    pub fn run_with_receipt<T>(mut self) -> Result<(T, Receipt)>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        let mut attempts = Attempts::new(&self.database, self.options);
        loop {
            match self.attempt_blocking() {
                Ok(done) => return Ok(done),
                Err(error) => attempts.again_blocking(error)?,
            }
        }
    }

    fn attempt_blocking<T>(&mut self) -> Result<(T, Receipt)>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        let (transaction, result) = self.body()?;
        let ((), receipt) = transaction.commit().with_receipt().run()?;
        Ok((result, receipt))
    }

    async fn attempt<T>(&mut self) -> Result<(T, Receipt)>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        let (transaction, result) = self.body()?;
        let ((), receipt) = transaction.commit().with_receipt().await?;
        Ok((result, receipt))
    }

    /// Runs the closure, once.
    fn body<T>(&mut self) -> Result<(Transaction, T)>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        let transaction = self.database.begin_transaction(self.options)?;
        let result = (self.body)(&transaction).inspect_err(|_| transaction.abort())?;
        Ok((transaction, result))
    }
}

impl<F: Send + 'static> RunTransaction<F> {
    /// Awaits the transaction as the closure's future does, and gives what it can be followed by as well.
    ///
    /// # Errors
    /// As for [`RunTransaction::run`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with a clock.
    pub async fn with_receipt<T>(mut self) -> Result<(T, Receipt)>
    where
        F: FnMut(&Transaction) -> Result<T>,
        T: Send,
    {
        let mut attempts = Attempts::new(&self.database, self.options);
        loop {
            match self.attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => attempts.again(error).await?,
            }
        }
    }
}

impl<T, F> IntoFuture for RunTransaction<F>
where
    F: FnMut(&Transaction) -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.with_receipt().await.map(|(result, _)| result) })
    }
}

/// A transaction that is waited for until it is confirmed: see [`RunTransaction::majority`].
#[must_use = "a transaction does nothing until it is awaited or run"]
pub struct MajorityTransaction<F> {
    transaction: RunTransaction<F>,
    timeout: Option<Duration>,
}

impl<F> MajorityTransaction<F> {
    /// Runs the transaction, blocking, until it is confirmed, or the time is over.
    ///
    /// # Errors
    /// As for [`RunTransaction::run`]; the conflict also if it was confirmed as rejected each time.
    ///
    /// # Panics
    /// Within async code: await it there.
    pub fn run<T>(mut self) -> Result<Acknowledged<T>>
    where
        F: FnMut(&Transaction) -> Result<T>,
    {
        let mut attempts = Attempts::new(&self.transaction.database, self.transaction.options);
        let until = self.timeout.and_then(|timeout| instant().checked_add(timeout));
        loop {
            let error = match self.transaction.attempt_blocking() {
                Ok((result, receipt)) => match attempts.confirmed_blocking(&receipt, left(until))? {
                    Some(Outcome::Rejected(_)) => rejected(),
                    confirmed => {
                        return Ok(Acknowledged { result, receipt, confirmed: confirmed.is_some() });
                    }
                },
                Err(error) => error,
            };
            attempts.again_blocking(error)?;
        }
    }
}

impl<T, F> IntoFuture for MajorityTransaction<F>
where
    F: FnMut(&Transaction) -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<Acknowledged<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Acknowledged<T>>> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut attempts = Attempts::new(&self.transaction.database, self.transaction.options);
            let until = self.timeout.and_then(|timeout| instant().checked_add(timeout));
            loop {
                let error = match self.transaction.attempt().await {
                    Ok((result, receipt)) => match attempts.confirmed(&receipt, left(until)).await? {
                        Some(Outcome::Rejected(_)) => rejected(),
                        confirmed => {
                            return Ok(Acknowledged { result, receipt, confirmed: confirmed.is_some() });
                        }
                    },
                    Err(error) => error,
                };
                attempts.again(error).await?;
            }
        })
    }
}

/// How often a closure has been run, and how long.
struct Attempts {
    database: Database,
    options: TransactionOptions,
    made: u32,
    begun: Instant,
    /// Held while it is this closure's turn.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Attempts {
    fn new(database: &Database, options: TransactionOptions) -> Self {
        Self { database: database.clone(), options, made: 1, begun: instant(), turn: None }
    }

    /// Waits for what was committed to be confirmed, while it is others' turn.
    async fn confirmed(&mut self, receipt: &Receipt, timeout: Option<Duration>) -> Result<Option<Outcome>> {
        self.turn = None;
        receipt.wait_confirmed(timeout).await
    }

    fn confirmed_blocking(
        &mut self,
        receipt: &Receipt,
        timeout: Option<Duration>,
    ) -> Result<Option<Outcome>> {
        self.turn = None;
        receipt.wait_confirmed_blocking(timeout)
    }

    /// Waits until the closure may be run again after `error`; gives that back if it may not.
    ///
    /// Of many closures that change one document only one can succeed at a time. So who has failed a few times waits in line:
    /// then what one meets is only others' first attempts.
    async fn again(&mut self, error: Error) -> Result<()> {
        let is_over = self.options.timeout.is_some_and(|timeout| self.begun.elapsed() >= timeout);
        let may_succeed = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
        if !may_succeed || is_over || self.made >= self.options.attempts_max {
            return Err(error);
        }
        let pause = self.pause();
        self.made += 1;
        if self.options.read_concern == ReadConcern::Majority {
            // The confirmed view is the same until something is confirmed.
            let confirmed = self.database.status().confirmed;
            let progress = self.database.wait_for(|status| status.confirmed != confirmed);
            if let Ok(Err(closed)) = tokio::time::timeout(CONFIRMATION_PATIENCE, progress).await {
                return Err(closed);
            }
        } else if self.made <= ATTEMPTS_AT_ONCE {
            tokio::time::sleep(pause).await;
        } else if self.turn.is_none() {
            let turn = Arc::clone(self.database.turn()).lock_owned();
            let left = self.options.timeout.map(|timeout| timeout.saturating_sub(self.begun.elapsed()));
            let patience = left.map_or(TURN_PATIENCE, |left| left.min(TURN_PATIENCE));
            self.turn = tokio::time::timeout(patience, turn).await.ok();
        }
        Ok(())
    }

    fn again_blocking(&mut self, error: Error) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let failed = |error| Error::invalid("no runtime to wait with").with_source(error);
        runtime.map_err(failed)?.block_on(self.again(error))
    }

    /// A pause by chance, the longer the more attempts were made, so that of many closures on one document each has its turn.
    fn pause(&self) -> Duration {
        let longest = 1_u64.checked_shl(self.made.saturating_sub(1)).unwrap_or(u64::MAX).min(PAUSE_MS_MAX);
        if self.made == 1 {
            return Duration::ZERO;
        }
        let mut chance = [0; 4];
        let _ = getrandom::fill(&mut chance); // without it pauses are equal, which is bearable
        let micros = longest.saturating_mul(1_000);
        Duration::from_micros(u64::from(u32::from_le_bytes(chance)) % (micros + 1))
    }
}

fn rejected() -> Error {
    crate::engine::write_conflict("the transaction was rejected at its place in the order")
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(instant()))
}

#[allow(clippy::disallowed_methods)] // a caller's patience is no matter of the engine
fn instant() -> Instant {
    Instant::now()
}
