//! `combdb log show`.

use clap::Args;
use proto::v1::{LogBallot, LogEntry, LogState};
use serde_json::{Value, json};

use super::{Pages, outcome_words, short, time, words};
use crate::cli::Common;
use crate::cli::client::Client;
use crate::cli::output::{Output, thousands};
use crate::cli::writers::Names;
use crate::error::CliError;

/// Which entries to list, and how.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb log show                            the last twenty entries
  combdb log show --from 0 --limit 100       the first hundred
  combdb log show --writer 3fa9 --json       one writer's last, one JSON object a line

The order of the tail can still change, and with it the places there.")]
pub(crate) struct Show {
    /// The place in the order to begin at; left out: the last entries
    #[arg(long, value_name = "PLACE")]
    from: Option<u64>,
    /// How many entries to list at the most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
    /// Only entries of this writer: its public key, or the first digits of it; without --from among the last 10,000 of all
    #[arg(long, value_name = "KEY")]
    writer: Option<String>,
    /// Print one JSON object a line, with whole keys and hashes
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Lists entries.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(super) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let names = Names::of(&client, client.database().await?).await?;
        let mut pages = Pages::new(common, self.from, self.limit, self.writer).await?;
        let mut output = Output::new();
        let mut rows = Vec::new();
        let mut state = String::new();
        while let Some(page) = pages.next().await? {
            state = format!(
                "{} entries: {} confirmed, {} in the tail, {} not yet ordered; epoch {}, {} indexer{}",
                thousands(page.stored),
                thousands(page.confirmed),
                thousands(page.ordered.saturating_sub(page.confirmed)),
                thousands(page.stored.saturating_sub(page.ordered)),
                page.epoch,
                page.indexers.len(),
                if page.indexers.len() == 1 { "" } else { "s" }
            );
            for entry in &page.entries {
                if self.json {
                    output.line(object(entry, &names))?;
                } else {
                    rows.push(row(entry, &names));
                }
            }
            output.flush()?;
        }
        if !self.json {
            let head = [
                "PLACE", "STATE", "ENTRY", "WRITER", "SEQ", "WAVE", "BALLOT", "TIME", "BYTES", "AFTER",
                "WHAT",
            ];
            output.table(head, &rows)?;
            output.line(state)?;
            if let Some(next) = pages.request.from.filter(|_| !pages.is_done) {
                output.line(format_args!("more: --from {next}"))?;
            }
        }
        output.flush()
    }
}

/// The word for where an entry stands.
pub(super) fn state(entry: &LogEntry) -> &'static str {
    match entry.state() {
        LogState::Confirmed => "confirmed",
        LogState::Tail => "tail",
        _ => "unordered",
    }
}

/// The word for what an entry did for confirmation.
pub(super) fn ballot(entry: &LogEntry) -> &'static str {
    match entry.ballot() {
        LogBallot::Anchor => "anchor",
        LogBallot::Proposal => "proposal",
        LogBallot::Vote => "vote",
        LogBallot::Unspecified => "",
    }
}

fn row(entry: &LogEntry, names: &Names) -> [String; 11] {
    const PARENTS_SHOWN: usize = 4;
    let mut after: Vec<&str> = entry.parents.iter().take(PARENTS_SHOWN).map(|parent| short(parent)).collect();
    let more = format!("+{}", entry.parents.len().saturating_sub(PARENTS_SHOWN));
    if entry.parents.len() > PARENTS_SHOWN {
        after.push(&more);
    }
    let rejected = outcome_words(entry);
    let rejected =
        if entry.skipped { "skipped: its writer had no rights there".to_owned() } else { rejected };
    let what = if rejected.is_empty() { words(entry) } else { format!("{}; {rejected}", words(entry)) };
    [
        entry.place.map(|place| place.to_string()).unwrap_or_default(),
        state(entry).to_owned(),
        short(&entry.entry).to_owned(),
        names.show(&entry.writer),
        entry.seq.to_string(),
        if entry.wave == 0 { String::new() } else { format!("{}.{}", entry.epoch, entry.wave) },
        ballot(entry).to_owned(),
        time(entry),
        thousands(entry.bytes),
        after.join(" "),
        what,
    ]
}

fn object(entry: &LogEntry, names: &Names) -> Value {
    let operation = |operation: &proto::v1::LogOperation| {
        json!({
            "kind": operation.kind,
            "collection": operation.collection,
            "count": operation.count,
            "detail": operation.detail,
        })
    };
    let rejected = |rejected: &proto::v1::RejectedOperation| {
        let parts = rejected.parts.iter().map(|part| json!({ "part": part.part, "code": part.code }));
        json!({
            "operation": rejected.operation,
            "count": rejected.count,
            "parts": parts.collect::<Vec<_>>(),
        })
    };
    json!({
        "place": entry.place,
        "state": state(entry),
        "entry": entry.entry,
        "writer": entry.writer,
        "name": names.get(&entry.writer),
        "seq": entry.seq,
        "epoch": entry.epoch,
        "wave": entry.wave,
        "ballot": ballot(entry),
        "time": time(entry),
        "prev": Some(&entry.prev).filter(|prev| !prev.is_empty()),
        "parents": entry.parents,
        "bytes": entry.bytes,
        "operations": entry.operations.iter().map(operation).collect::<Vec<_>>(),
        "operationsCount": entry.operations_count,
        "unreadable": Some(&entry.unreadable).filter(|reason| !reason.is_empty()),
        "rejected": entry.rejected.iter().map(rejected).collect::<Vec<_>>(),
        "skipped": entry.skipped,
    })
}
