//! `combdb log`: the entries of all writers, as a list and as a picture.

mod dot;
mod graph;
mod show;
mod svg;

use clap::Subcommand;
use proto::v1::{
    EntryOutcome, ListWritersRequest, LogEntry, LogOperation, RejectedOperation, ShowLogRequest,
    ShowLogResponse,
};

use super::Common;
use super::client::Client;
use crate::error::CliError;

/// How many entries a page holds at the most.
const PAGE_ENTRIES_MAX: u64 = 1_000;

/// What to show of the log of the database that `--db` names.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// Lists entries by their place in the order
    Show(show::Show),
    /// Draws which entries follow which, with waves and anchors, confirmed and tail
    Graph(graph::Graph),
}

impl Log {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses or the output cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        match self {
            Self::Show(command) => command.run(common).await,
            Self::Graph(command) => command.run(common).await,
        }
    }
}

/// Reads the log page by page.
struct Pages {
    client: Client,
    request: ShowLogRequest,
    /// How many entries are still wanted.
    wanted: u64,
    is_done: bool,
}

impl Pages {
    /// Entries from a place of the order on, or the last ones; of one writer, whose key `writer` is or begins with it, or of all.
    async fn new(
        common: &Common,
        from: Option<u64>,
        limit: u64,
        writer: Option<String>,
    ) -> Result<Self, CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let writer = match writer {
            Some(begin) => find_writer(&client, &database, &begin).await?,
            None => String::new(),
        };
        let mut request = ShowLogRequest { database, from, writer, ..ShowLogRequest::default() };
        if from.is_none() && request.writer.is_empty() && limit > PAGE_ENTRIES_MAX {
            let look = ShowLogRequest { limit: 1, ..request.clone() };
            let stored = client.log().show(look).await?.into_inner().stored;
            request.from = Some(stored.saturating_sub(limit));
        }
        Ok(Self { client, request, wanted: limit, is_done: false })
    }

    /// The next page; none at the end.
    async fn next(&mut self) -> Result<Option<ShowLogResponse>, CliError> {
        if self.is_done || self.wanted == 0 {
            return Ok(None);
        }
        self.request.limit = self.wanted.min(PAGE_ENTRIES_MAX) as u32;
        let page = self.client.log().show(self.request.clone()).await?.into_inner();
        self.wanted = self.wanted.saturating_sub(page.entries.len() as u64);
        self.is_done = page.next.is_none();
        self.request.from = page.next;
        Ok(Some(page))
    }
}

/// The key of the one writer whose key begins so.
async fn find_writer(client: &Client, database: &str, begin: &str) -> Result<String, CliError> {
    let begin = begin.to_ascii_lowercase();
    let request = ListWritersRequest { database: database.to_owned() };
    let writers = client.writers().list(request).await?.into_inner().writers;
    let mut found = writers.into_iter().map(|writer| writer.key).filter(|key| key.starts_with(&begin));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => Err(CliError::Usage(format!("no writer's key begins with {begin}"))),
        (Some(_), Some(_)) => {
            Err(CliError::Usage(format!("the keys of several writers begin with {begin}: give more digits")))
        }
    }
}

/// The first digits of a key or hash.
fn short(name: &str) -> &str {
    name.get(..8).unwrap_or(name)
}

/// What an entry asks for, in words.
pub(super) fn words(entry: &LogEntry) -> String {
    if !entry.unreadable.is_empty() {
        return format!("unreadable: {}", plain(&entry.unreadable));
    }
    if entry.operations_count == 0 {
        return "ack".to_owned();
    }
    let mut parts: Vec<String> = entry.operations.iter().map(operation_words).collect();
    let more = entry.operations_count.saturating_sub(parts.len() as u64);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

fn operation_words(operation: &LogOperation) -> String {
    let LogOperation { kind, collection, count, detail } = operation;
    let mut text = plain(kind);
    for word in [collection, detail] {
        if !word.is_empty() {
            text.push(' ');
            text.push_str(&plain(word));
        }
    }
    if *count != 1 {
        text.push_str(" ×");
        text.push_str(&count.to_string());
    }
    text
}

/// What has become of an entry; nothing if all of it holds.
pub(super) fn outcome_words(entry: &LogEntry) -> String {
    outcome(entry.outcome(), &entry.rejected)
}

/// What has become of a write; nothing if all of it holds.
pub(super) fn outcome(outcome: EntryOutcome, rejected: &[RejectedOperation]) -> String {
    match outcome {
        EntryOutcome::Merged => "merged".to_owned(),
        EntryOutcome::Superseded => "superseded".to_owned(),
        _ => codes_words(rejected),
    }
}

/// How much did not hold, and with which codes; nothing if all did.
pub(super) fn codes_words(rejected: &[RejectedOperation]) -> String {
    let count: u64 = rejected.iter().map(|rejected| rejected.count).sum();
    if rejected.is_empty() {
        return String::new();
    }
    let mut codes: Vec<i32> =
        rejected.iter().flat_map(|rejected| &rejected.parts).map(|part| part.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let codes: Vec<String> = codes.into_iter().map(code_words).collect();
    format!("{count} rejected (code {})", codes.join(", "))
}

/// A code, and what it says of a write that has met those of others.
fn code_words(code: i32) -> String {
    let words = match code {
        13 => "no right to write",
        47 => "the document is gone or no longer matches",
        112 => "changed concurrently",
        11_000 => "the key is taken",
        code => return code.to_string(),
    };
    format!("{code}: {words}")
}

/// The author's clock as RFC 3339; what is beyond every calendar in milliseconds.
pub(super) fn time(entry: &LogEntry) -> String {
    time_of(entry.time_ms)
}

/// A clock's milliseconds since 1970 as RFC 3339; what is beyond every calendar as they are.
pub(super) fn time_of(time_ms: u64) -> String {
    let text = i64::try_from(time_ms).ok().and_then(|ms| {
        let text = bson::DateTime::from_millis(ms).try_to_rfc3339_string().ok()?;
        // Always as many digits, so that times stand below one another.
        let text = text.strip_suffix('Z')?;
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        Some(format!("{seconds}.{fraction:0<3}Z"))
    });
    text.unwrap_or_else(|| format!("{time_ms} ms"))
}

/// Text of others without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_in_words_that_no_terminal_obeys() {
        let operation = |kind: &str, collection: &str, count, detail: &str| LogOperation {
            kind: kind.to_owned(),
            collection: collection.to_owned(),
            count,
            detail: detail.to_owned(),
        };
        let mut entry = LogEntry {
            operations: vec![operation("insert", "a\u{1b}[2J", 3, ""), operation("dropIndex", "b", 1, "x_1")],
            operations_count: 4,
            ..LogEntry::default()
        };
        assert_eq!(words(&entry), "insert a\u{FFFD}[2J ×3, dropIndex b x_1, 2 more");
        entry.operations_count = 0;
        assert_eq!(words(&entry), "ack");
        assert_eq!(time(&entry), "1970-01-01T00:00:00.000Z");
        entry.time_ms = u64::MAX;
        assert_eq!(time(&entry), format!("{} ms", u64::MAX));
    }
}
