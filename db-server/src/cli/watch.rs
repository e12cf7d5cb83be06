//! `combdb watch`, and `combdb find --watch`.

use clap::Args;
use proto::v1::{
    DocumentFormat, FindRequest, ReadConcern, ResultChange, WatchChangesRequest, WatchFindRequest,
    result_change,
};

use super::Common;
use super::client::{Client, text};
use super::options;
use super::output::Output;
use crate::error::CliError;

/// What to watch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb watch                                       every change of the database
  combdb watch restaurants '{\"$match\": {\"operationType\": \"insert\"}}'
  combdb watch restaurants --majority --full-document
  combdb watch --majority --resume-after 01ddac…     what came after that event, on this or another peer

Events are MongoDB's. Without --majority they say how what the peer holds has changed since the last one, and correct \
what a merge has ordered otherwise. With it, they are what a majority of the indexers has confirmed: each change once, in \
the confirmed order, never taken back; the `_id` of an event is where to resume.")]
#[allow(clippy::struct_excessive_bools)] // switches, each with its name
pub(crate) struct Watch {
    /// The collection; left out: all of the database
    collection: Option<String>,
    /// Stages for the events, as Extended JSON: one after the other, or as one array
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Only what a majority of the indexers has confirmed
    #[arg(long)]
    majority: bool,
    /// Begin after the event with this `_id`
    #[arg(long, value_name = "TOKEN", requires = "majority")]
    resume_after: Option<String>,
    /// Begin with the entry at this position of the confirmed order
    #[arg(long, value_name = "POSITION", requires = "majority", conflicts_with = "resume_after")]
    start_at: Option<u64>,
    /// Show updated documents as a whole
    #[arg(long)]
    full_document: bool,
    /// Show documents as they were before
    #[arg(long)]
    before: bool,
    /// Begin with the documents that there are, as inserts
    #[arg(long, conflicts_with = "majority")]
    present: bool,
    /// End after so many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

impl Watch {
    /// Prints events until the server ends the stream, or there were enough.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        // Without a collection the first stage stands in its place.
        let is_stage = |text: &String| text.trim_start().starts_with(['{', '[']);
        let (first, collection) = match self.collection {
            Some(text) if is_stage(&text) => (Some(text), String::new()),
            collection => (None, collection.unwrap_or_default()),
        };
        let stages = first.into_iter().chain(self.stages).collect();
        let pipeline = options::documents(stages, "the pipeline")?;
        let client = Client::connect(common).await?;
        let concern = if self.majority { ReadConcern::Majority } else { ReadConcern::Local };
        let request = WatchChangesRequest {
            database: client.database().await?,
            collection,
            pipeline,
            read_concern: concern.into(),
            resume_after: self.resume_after.unwrap_or_default(),
            start_at: self.start_at,
            full_document: self.full_document,
            full_document_before_change: self.before,
            with_present: self.present,
            format: DocumentFormat::ExtendedJson.into(),
        };
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut output = Output::new();
        let mut messages = client.changes().watch(request).await?.into_inner();
        while left > 0
            && let Some(message) = messages.message().await?
        {
            for event in message.events.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                output.line(text(Some(event)))?;
                left -= 1;
            }
            output.flush()?;
        }
        Ok(())
    }
}

/// Prints a find's result and how it changes, one JSON object a line, until the server ends it.
///
/// # Errors
/// If the server refuses or stdout cannot be written.
pub(super) async fn keep_current(
    client: &Client,
    find: FindRequest,
    output: &mut Output,
) -> Result<(), CliError> {
    let request = WatchFindRequest { find: Some(find) };
    let mut messages = client.changes().watch_find(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        for ResultChange { change } in message.changes {
            output.line(line(change))?;
        }
        if !message.more {
            output.flush()?;
        }
    }
    Ok(())
}

fn line(change: Option<result_change::Change>) -> String {
    use result_change::Change;
    match change {
        Some(Change::Added(added)) => {
            format!(r#"{{"added": {}, "document": {}}}"#, added.index, text(added.document))
        }
        Some(Change::Changed(changed)) => {
            format!(r#"{{"changed": {}, "document": {}}}"#, changed.index, text(changed.document))
        }
        Some(Change::Moved(moved)) => format!(r#"{{"moved": {}, "to": {}}}"#, moved.from, moved.to),
        Some(Change::Removed(index)) => format!(r#"{{"removed": {index}}}"#),
        Some(Change::Reset(_)) | None => r#"{"reset": true}"#.to_owned(),
    }
}
