//! Clients that write to a server until it is gone, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use crate::Calls;

/// The database and the collections that the clients write to.
const DATABASE: &str = "t";
const INSERTS: &str = "inserts";
const COUNTERS: &str = "counters";

/// What one client has written, over all the servers' lives.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: String,
    /// How many inserts were made; the last of them may have no answer.
    inserts: Counted,
    /// How many increments of its counter.
    increments: Counted,
}

/// Calls of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// Those that were acknowledged.
    acknowledged: u64,
    /// Those whose answer never came: they may have been done or not.
    unanswered: u64,
}

impl Ledger {
    /// The ledger of a client that has written nothing.
    pub fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), inserts: Counted::default(), increments: Counted::default() }
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.inserts.acknowledged + self.increments.acknowledged
    }

    /// How many writes were never answered.
    pub fn unanswered(&self) -> u64 {
        self.inserts.unanswered + self.increments.unanswered
    }

    /// Writes on a task of its own, an insert and an increment of the client's counter by turns, until `stop` is set or a call is not
    /// answered; then gives the ledger back.
    pub fn write(mut self, calls: Calls, stop: Arc<AtomicBool>) -> JoinHandle<Self> {
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if !self.insert(&calls).await || !self.increment(&calls).await {
                    break;
                }
            }
            self
        })
    }

    async fn insert(&mut self, calls: &Calls) -> bool {
        // Never the same twice: an insert that was done and not answered must not stand in the way of the next.
        let number = self.inserts.acknowledged + self.inserts.unanswered;
        let document =
            format!(r#"{{"_id": "{}-{number}", "client": "{}", "n": {number}}}"#, self.client, self.client);
        let done = calls.insert(DATABASE, INSERTS, &[&document]).await;
        self.inserts.note(done.is_ok())
    }

    async fn increment(&mut self, calls: &Calls) -> bool {
        let filter = format!(r#"{{"_id": "{}"}}"#, self.client);
        let done = calls.update_many(DATABASE, COUNTERS, &filter, r#"{"$inc": {"n": 1}}"#).await;
        let done = done.map(|answer| assert_eq!(answer.matched, 1, "the counter of {}", self.client));
        self.increments.note(done.is_ok())
    }

    /// Makes the client's counter.
    ///
    /// # Panics
    /// If the server does not take it.
    pub async fn prepare(&self, calls: &Calls) {
        let counter = format!(r#"{{"_id": "{}", "n": {{"$numberLong": "0"}}}}"#, self.client);
        calls.insert(DATABASE, COUNTERS, &[&counter]).await.expect("a counter");
    }

    /// Asks a server for all that the client has written.
    ///
    /// # Panics
    /// If something acknowledged is missing, or more is there than was asked for.
    pub async fn check(&self, calls: &Calls) {
        let of_client = format!(r#"{{"client": "{}"}}"#, self.client);
        let found = calls.count(DATABASE, INSERTS, &of_client).await.expect("a count");
        self.inserts.check(found, "documents", &self.client);
        let Counted { acknowledged, unanswered } = self.increments;
        let counter = format!(
            r#"{{"_id": "{}", "n": {{"$gte": {acknowledged}, "$lte": {}}}}}"#,
            self.client,
            acknowledged + unanswered
        );
        let is_right = calls.count(DATABASE, COUNTERS, &counter).await.expect("a count") == 1;
        assert!(is_right, "the counter of {} is none of {counter}", self.client);
    }
}

impl Counted {
    fn note(&mut self, is_acknowledged: bool) -> bool {
        if is_acknowledged {
            self.acknowledged += 1;
        } else {
            self.unanswered += 1;
        }
        is_acknowledged
    }

    fn check(self, found: u64, what: &str, client: &str) {
        let Self { acknowledged, unanswered } = self;
        assert!(found >= acknowledged, "{found} {what} of {client}, {acknowledged} were acknowledged");
        assert!(
            found <= acknowledged + unanswered,
            "{found} {what} of {client}, {acknowledged} were acknowledged and {unanswered} not answered"
        );
    }
}
