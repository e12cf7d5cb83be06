//! `combdb history` and `combdb blame`.

use clap::Args;
use proto::v1::{BlameRequest, ChangeAuthor, DocumentChange, ListHistoryRequest};
use serde_json::{Value, json};

use super::Common;
use super::client::{self, Client};
use super::log::time_of;
use super::output::{Output, thousands};
use crate::error::CliError;

/// Which document's changes to list.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb history films 7
  combdb history films '{\"$oid\": \"650000000000000000000000\"}' --limit 100 --json

It is read from the logs, from the newest entry backwards.")]
pub(crate) struct History {
    /// The collection
    collection: String,
    /// The document's `_id` as Extended JSON, as in 7 or '"x"'
    id: String,
    /// How many changes to list at the most
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// Where to go on, as the list before said
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    from: String,
    /// How many entries to look at, at the most
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    scan: u64,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which document's authors to tell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb blame films 7

It is read from the logs, from the newest entry backwards. An array counts as one field.")]
pub(crate) struct Blame {
    /// The collection
    collection: String,
    /// The document's `_id` as Extended JSON, as in 7 or '"x"'
    id: String,
    /// How many entries to look at, at the most
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    scan: u64,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl History {
    /// Lists the changes of a document.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let mut request = ListHistoryRequest {
            database: client.database().await?,
            collection: self.collection,
            id: Some(id_document(&self.id)),
            from: self.from,
            limit: 0,
            scan_limit: self.scan,
        };
        let mut output = Output::new();
        let (mut rows, mut left, mut scan_left) = (Vec::new(), self.limit, self.scan);
        loop {
            request.limit = left.min(1_000) as u32;
            request.scan_limit = scan_left;
            let page = client.history().list(request.clone()).await?.into_inner();
            for change in &page.changes {
                if self.json {
                    output.line(object(change))?;
                } else {
                    rows.push(row(change));
                }
            }
            left = left.saturating_sub(page.changes.len());
            scan_left = scan_left.saturating_sub(page.scanned);
            request.from = page.next;
            if left == 0 || scan_left == 0 || request.from.is_empty() {
                break;
            }
        }
        if !self.json {
            output.table(["PLACE", "TIME", "WRITER", "ENTRY", "WHAT", "FIELDS", "OUTCOME"], &rows)?;
            if !request.from.is_empty() {
                output.line(format_args!("more: --from '{}'", request.from))?;
            }
        }
        output.flush()
    }
}

impl Blame {
    /// Tells who wrote a document's fields.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = BlameRequest {
            database: client.database().await?,
            collection: self.collection,
            id: Some(id_document(&self.id)),
            scan_limit: self.scan,
        };
        let blame = client.history().blame(request).await?.into_inner();
        let mut output = Output::new();
        let mut rows = Vec::new();
        for field in &blame.fields {
            if self.json {
                let author = field.author.as_ref().map(author_object);
                output.line(json!({ "path": field.path, "kind": field.kind, "author": author }))?;
                continue;
            }
            let path = plain(&field.path);
            rows.push(match &field.author {
                Some(author) => {
                    [path, who(author), time_of(author.time_ms), short(&author.entry), field.kind.clone()]
                }
                None => [path, "?".to_owned(), String::new(), String::new(), String::new()],
            });
        }
        if !self.json {
            output.table(["FIELD", "WRITER", "TIME", "ENTRY", "BY"], &rows)?;
            if !blame.complete {
                let scanned = thousands(blame.scanned);
                output.line(format_args!(
                    "not found in the last {scanned} entries: ?; look further with --scan"
                ))?;
            }
        }
        output.flush()
    }
}

/// `{"_id": …}`, which the server reads.
fn id_document(id: &str) -> proto::v1::Document {
    client::json(format!("{{\"_id\": {id}}}"))
}

fn row(change: &DocumentChange) -> [String; 7] {
    let author = change.author.clone().unwrap_or_default();
    let outcome = match change.rejected {
        _ if change.skipped => "skipped: no rights there".to_owned(),
        0 => "applied".to_owned(),
        code => format!("rejected (code {code})"),
    };
    [
        if change.confirmed { change.place.to_string() } else { format!("{} (tail)", change.place) },
        time_of(author.time_ms),
        who(&author),
        format!("{}.{}", short(&author.entry), change.operation),
        format!("{} {}", change.kind, plain(&change.collection)),
        plain(&change.paths.join(", ")),
        outcome,
    ]
}

fn object(change: &DocumentChange) -> Value {
    json!({
        "place": change.place,
        "state": if change.confirmed { "confirmed" } else { "tail" },
        "author": change.author.as_ref().map(author_object),
        "operation": change.operation,
        "kind": change.kind,
        "collection": change.collection,
        "paths": change.paths,
        "rejected": Some(change.rejected).filter(|code| *code != 0),
        "skipped": change.skipped,
    })
}

fn author_object(author: &ChangeAuthor) -> Value {
    json!({
        "writer": author.writer,
        "identity": author.identity,
        "name": Some(&author.name).filter(|name| !name.is_empty()),
        "seq": author.seq,
        "time": time_of(author.time_ms),
        "entry": author.entry,
    })
}

/// A writer by name and the first digits of its key.
fn who(author: &ChangeAuthor) -> String {
    let key = short(&author.writer);
    if author.name.is_empty() { key } else { format!("{} {key}", plain(&author.name)) }
}

fn short(name: &str) -> String {
    name.get(..8).unwrap_or(name).to_owned()
}

/// Text of others without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}
