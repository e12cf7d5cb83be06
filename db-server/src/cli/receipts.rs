//! `combdb receipts`: what has become of this peer's own writes.

use clap::Args;
use proto::v1::{LogEntry, LogState, Receipt, ReceiptState, ShowLogRequest, WatchReceiptRequest};

use super::Common;
use super::client::Client;
use super::log::{outcome, outcome_words, time, words};
use super::output::Output;
use crate::error::CliError;

/// Which receipts to show.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb receipts                     the peer's last twenty writes, and what became of them
  combdb receipts --rejected          only those of which something did not hold at its place
  combdb receipts HASH                follows the write with this entry, all 64 digits, until it is confirmed

A write is durable when the call returns, has a place in the order soon, and is confirmed when a majority of the \
indexers has settled that place. Until then it may still turn out to be rejected.")]
pub(crate) struct Receipts {
    /// The entry to follow, 64 hexadecimal digits; left out: the last writes are listed
    entry: Option<String>,
    /// How many writes to list at the most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000), conflicts_with = "entry")]
    limit: u32,
    /// List only those of which something did not hold, among the last so many
    #[arg(long, conflicts_with = "entry")]
    rejected: bool,
}

impl Receipts {
    /// Lists the peer's last writes, or follows one.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        match self.entry {
            Some(entry) => follow(&client, WatchReceiptRequest { database, entry }).await,
            None => list(&client, database, self.limit, self.rejected).await,
        }
    }
}

async fn follow(client: &Client, request: WatchReceiptRequest) -> Result<(), CliError> {
    let mut receipts = client.receipts().watch(request).await?.into_inner();
    let mut output = Output::new();
    let mut is_confirmed = false;
    while let Some(receipt) = receipts.message().await? {
        is_confirmed = receipt.state() == ReceiptState::Confirmed;
        output.line(line(&receipt))?;
        output.flush()?;
    }
    if is_confirmed { Ok(()) } else { Err(CliError::Incomplete("the server stopped telling".to_owned())) }
}

fn line(receipt: &Receipt) -> String {
    let state = match receipt.state() {
        ReceiptState::Durable => return "durable on this peer, not ordered yet".to_owned(),
        ReceiptState::Confirmed => "confirmed",
        _ => "ordered",
    };
    let outcome = outcome(receipt.outcome(), &receipt.rejected);
    format!("{state}: {}", if outcome.is_empty() { "applied" } else { &outcome })
}

async fn list(client: &Client, database: String, limit: u32, only_rejected: bool) -> Result<(), CliError> {
    let request = ShowLogRequest { database, limit, own: true, ..ShowLogRequest::default() };
    let page = client.log().show(request).await?.into_inner();
    let rows: Vec<_> = page
        .entries
        .iter()
        .filter(|entry| !only_rejected || entry.skipped || !entry.rejected.is_empty())
        .map(row)
        .collect();
    let mut output = Output::new();
    output.table(["ENTRY", "TIME", "STATE", "OUTCOME", "WHAT"], &rows)?;
    output.flush()
}

fn row(entry: &LogEntry) -> [String; 5] {
    let state = match entry.state() {
        LogState::Confirmed => "confirmed",
        LogState::Tail => "ordered",
        _ => "durable",
    };
    let rejected = outcome_words(entry);
    let outcome = match entry.state() {
        _ if entry.skipped => "skipped: no rights there".to_owned(),
        LogState::Confirmed | LogState::Tail if rejected.is_empty() => "applied".to_owned(),
        _ => rejected,
    };
    [entry.entry.clone(), time(entry), state.to_owned(), outcome, words(entry)]
}
