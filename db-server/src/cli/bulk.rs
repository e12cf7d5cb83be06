//! `combdb bulk`.

use std::path::PathBuf;

use clap::Args;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::{BulkWriteRequest, DocumentFormat, WriteModel};
use tonic::transport::Channel;

use super::Common;
use super::client::Client;
use super::lines::Lines;
use super::options::WriteArguments;
use super::output::Output;
use super::progress::{FaultyLines, Progress};
use super::tally::Tally;
use super::write_model;
use crate::error::CliError;

/// How many writes go into one call, and so into one entry of the log.
const BATCH_WRITES_MAX: usize = 1_000;

/// How many bytes of text go into one call, unless a single line is longer.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What to write.
#[derive(Debug, Args)]
#[command(after_help = "Each line is one write, in the shape of mongosh's bulkWrite:
  {\"insertOne\": {\"document\": {\"_id\": 1, \"n\": 5}}}
  {\"updateOne\": {\"filter\": {\"_id\": 1}, \"update\": {\"$inc\": {\"n\": 1}}, \"upsert\": true}}
  {\"updateMany\": {\"filter\": {\"n\": {\"$gt\": 5}}, \"update\": [{\"$set\": {\"m\": \"$n\"}}]}}
  {\"replaceOne\": {\"filter\": {\"_id\": 2}, \"replacement\": {\"n\": 0}}}
  {\"deleteOne\": {\"filter\": {\"_id\": 3}}}
  {\"deleteMany\": {\"filter\": {\"n\": {\"$lt\": 0}}}}
Updates take upsert, arrayFilters, sort (not for many), hint, collation and let; \
replacements the same but for arrayFilters; deletes hint, collation and let.

Example:
  combdb bulk stock writes.jsonl --unordered

Up to 1,000 lines together are one entry of the log: peers have all of them or none. \
What was done is printed as JSON.")]
pub(crate) struct Bulk {
    /// The collection
    collection: String,
    /// The file, plain or gzip; - for stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Try every line, instead of ending at the first that fails
    #[arg(long)]
    unordered: bool,
    #[command(flatten)]
    write: WriteArguments,
}

/// Writes of consecutive lines, with the lines' numbers.
#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    writes: Vec<WriteModel>,
    faults: Vec<(u64, String)>,
    bytes: usize,
}

impl Bulk {
    /// Writes, and prints what was done.
    ///
    /// # Errors
    /// If the file cannot be read, the server refuses, or some lines failed.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let what = self.file.display().to_string();
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let (lines, extent) = Lines::open(&self.file).map_err(CliError::io(&what))?;
        let mut progress = Progress::new(extent, "writes");
        let (mut tally, mut faulty) = (Tally::default(), FaultyLines::default());
        let mut documents = client.documents();
        let work = Work { bulk: &self, what: &what, database: &database };
        let outcome = work.run(lines, &mut documents, &mut progress, &mut tally, &mut faulty).await;
        progress.finish();
        let mut output = Output::new();
        output.line(tally.describe())?;
        self.write.tell(tally.acknowledgement, &mut output)?;
        output.flush()?;
        outcome?;
        faulty.outcome()
    }
}

/// A bulk at work.
struct Work<'a> {
    bulk: &'a Bulk,
    what: &'a str,
    database: &'a str,
}

impl Work<'_> {
    async fn run(
        &self,
        mut lines: Lines,
        documents: &mut DocumentsClient<Channel>,
        progress: &mut Progress,
        tally: &mut Tally,
        faulty: &mut FaultyLines,
    ) -> Result<(), CliError> {
        loop {
            let Batch { lines: numbers, writes, faults, .. } = self.read(&mut lines)?;
            if numbers.is_empty() && faults.is_empty() {
                return Ok(());
            }
            let mut failed = faults;
            if !writes.is_empty() {
                let count = writes.len() as u64;
                let request = BulkWriteRequest {
                    database: self.database.to_owned(),
                    collection: self.bulk.collection.clone(),
                    writes,
                    unordered: self.bulk.unordered,
                    format: DocumentFormat::ExtendedJson.into(),
                    write_concern: self.bulk.write.concern(),
                    ..BulkWriteRequest::default()
                };
                let answer = documents.bulk_write(request).await;
                let answer = answer.inspect_err(|_| {
                    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
                        progress.say(&format!("lines {first} to {last} were refused together"));
                    }
                })?;
                let answer = answer.into_inner();
                failed.extend(answer.failures.iter().map(|failure| {
                    let line = numbers.get(failure.index as usize).copied().unwrap_or_default();
                    (line, format!("{} (code {})", failure.message, failure.code))
                }));
                tally.add(&answer, count);
                progress.show(tally.writes);
            }
            failed.sort_unstable_by_key(|(line, _)| *line);
            for (line, fault) in failed {
                faulty.tell(line, &fault, progress);
                if !self.bulk.unordered {
                    return Err(CliError::Incomplete(format!("stopped at line {line}")));
                }
            }
        }
    }

    /// The next lines. In an ordered bulk a faulty one is the last: what stands before it is carried out.
    fn read(&self, lines: &mut Lines) -> Result<Batch, CliError> {
        let mut batch = Batch::default();
        while batch.writes.len() + batch.faults.len() < BATCH_WRITES_MAX && batch.bytes < BATCH_BYTES_MAX {
            let Some(line) = lines.next().map_err(CliError::io(self.what))? else { break };
            let text = line.text.as_deref();
            match text.ok_or_else(|| "not UTF-8".to_owned()).and_then(write_model::parse) {
                Ok(write) => {
                    batch.bytes += text.map_or(0, str::len);
                    batch.lines.push(line.number);
                    batch.writes.push(write);
                }
                Err(fault) => {
                    batch.faults.push((line.number, fault));
                    if !self.bulk.unordered {
                        break;
                    }
                }
            }
        }
        Ok(batch)
    }
}
