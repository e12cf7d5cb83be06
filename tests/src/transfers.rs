//! A client that moves amounts in transactions until its server is gone, and what must be true of them then: all of a transfer is
//! there or nothing, and whoever moves what sums stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proto::v1::transactions_client::TransactionsClient;
use proto::v1::{
    BeginTransactionRequest, CommitTransactionRequest, FindRequest, InsertRequest, QueryOptions,
    UpdateRequest,
};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::{Calls, code_of, json};

const DATABASE: &str = "t";
const ACCOUNTS: &str = "accounts";
const NOTES: &str = "transfers";

/// What is on the accounts that all clients use, together.
const SHARED: i64 = 1_000;
/// Of so many transfers one is between accounts that all use: of two that were made apart, the second is rejected.
const SHARED_EVERY: u64 = 4;
/// MongoDB's code for a transaction whose reads were changed.
const WRITE_CONFLICT: i32 = 112;

/// What one client has moved, over all the servers' lives.
#[derive(Debug, Clone)]
pub struct Transfers {
    client: String,
    /// How many it has begun, how many of them between its own accounts were acknowledged, and how many were never answered.
    begun: u64,
    acknowledged: u64,
    unanswered: u64,
}

impl Transfers {
    /// A client that has moved nothing.
    pub fn new(client: impl Into<String>) -> Self {
        Self { client: client.into(), begun: 0, acknowledged: 0, unanswered: 0 }
    }

    /// How many transfers between its own accounts were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Opens the client's own accounts.
    ///
    /// # Panics
    /// If the server does not take them.
    pub async fn prepare(&self, calls: &Calls) {
        let account =
            |side| format!(r#"{{"_id": "{}-{side}", "of": "{}", "n": 0}}"#, self.client, self.client);
        let both = [account("from"), account("to")];
        calls.insert(DATABASE, ACCOUNTS, &[&both[0], &both[1]]).await.expect("accounts");
    }

    /// Opens the accounts that all use.
    ///
    /// # Panics
    /// If the server does not take them.
    pub async fn prepare_shared(calls: &Calls) {
        let account = |side, n| format!(r#"{{"_id": "shared-{side}", "of": "shared", "n": {n}}}"#);
        let both = [account("from", SHARED), account("to", 0)];
        calls.insert(DATABASE, ACCOUNTS, &[&both[0], &both[1]]).await.expect("accounts");
    }

    /// Moves one after the other on a task of its own, until `stop` is set or a call is not answered; then gives the client back.
    pub fn run(mut self, calls: Calls, stop: Arc<AtomicBool>) -> JoinHandle<Self> {
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = self.begun;
                self.begun += 1;
                let is_shared = number.is_multiple_of(SHARED_EVERY);
                let of = if is_shared { "shared".to_owned() } else { self.client.clone() };
                match transfer(&calls, &of, &format!("{}-{number}", self.client)).await {
                    Ok(()) => self.acknowledged += u64::from(!is_shared),
                    Err(status) if is_shared && code_of(&status) == WRITE_CONFLICT => {}
                    Err(_) => {
                        self.unanswered += 1;
                        break;
                    }
                }
            }
            self
        })
    }

    /// Asks a server for what the client has moved, and for what all have moved together.
    ///
    /// # Panics
    /// If something acknowledged is missing, half of a transfer is there, or more than was asked for.
    pub async fn check(&self, calls: &Calls) {
        let noted = calls.count(DATABASE, NOTES, &format!(r#"{{"of": "{}"}}"#, self.client)).await;
        let noted = noted.expect("a count");
        let Self { client, acknowledged, unanswered, .. } = self;
        assert!(
            (*acknowledged..=acknowledged + unanswered).contains(&noted),
            "{noted} transfers of {client}, {acknowledged} acknowledged and {unanswered} not answered"
        );
        let moved = noted.cast_signed();
        assert_eq!(amounts(calls, client).await, [-moved, moved], "accounts of {client}, {noted} transfers");
        let shared = amounts(calls, "shared").await;
        assert_eq!(shared.iter().sum::<i64>(), SHARED, "what all share: {shared:?}");
    }
}

/// Moves one from one account to the other and notes it, in a third collection.
async fn transfer(calls: &Calls, of: &str, note: &str) -> Result<(), Status> {
    let mut transactions = TransactionsClient::new(calls.channel.clone());
    let begin = BeginTransactionRequest { database: DATABASE.into(), ..Default::default() };
    let transaction = transactions.begin(begin).await?.into_inner().transaction;
    let within = || QueryOptions { transaction: transaction.clone(), ..QueryOptions::default() };
    let before = calls.find(find(of, within())).await?;
    assert_eq!(before.len(), 2, "the accounts of {of}: {before:?}");
    for (side, change) in [("from", -1), ("to", 1)] {
        let update = UpdateRequest {
            database: DATABASE.into(),
            collection: ACCOUNTS.into(),
            filter: Some(json(&format!(r#"{{"_id": "{of}-{side}"}}"#))),
            update: Some(json(&format!(r#"{{"$inc": {{"n": {change}}}}}"#))),
            options: Some(within()),
            ..UpdateRequest::default()
        };
        calls.documents.clone().update_one(update).await?;
    }
    let note = InsertRequest {
        database: DATABASE.into(),
        collection: NOTES.into(),
        documents: vec![json(&format!(r#"{{"_id": "{note}", "of": "{of}"}}"#))],
        transaction: transaction.clone(),
        ..InsertRequest::default()
    };
    calls.documents.clone().insert(note).await?;
    transactions.commit(CommitTransactionRequest { transaction, write_concern: None }).await?;
    Ok(())
}

fn find(of: &str, options: QueryOptions) -> FindRequest {
    FindRequest {
        database: DATABASE.into(),
        collection: ACCOUNTS.into(),
        filter: Some(json(&format!(r#"{{"of": "{of}"}}"#))),
        sort: Some(json(r#"{"_id": 1}"#)),
        options: Some(options),
        ..FindRequest::default()
    }
}

/// What is on the two accounts, as one find has seen them.
async fn amounts(calls: &Calls, of: &str) -> Vec<i64> {
    let found = calls.find(find(of, QueryOptions::default())).await.expect("accounts");
    let amount = |account: &String| {
        let account: serde_json::Value = serde_json::from_str(account).expect("JSON");
        account.get("n").and_then(serde_json::Value::as_i64).expect("an amount")
    };
    found.iter().map(amount).collect()
}
