//! `combdb transaction`.

use std::path::PathBuf;
use std::time::Duration;

use bson::{RawBsonRef, RawDocument};
use clap::Args;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::transactions_client::TransactionsClient;
use proto::v1::{
    AbortTransactionRequest, BeginTransactionRequest, BulkWriteRequest, CommitTransactionRequest,
    CountRequest, DocumentFormat, QueryOptions, WriteModel,
};
use tonic::transport::Channel;
use tonic_types::StatusExt;

use super::Common;
use super::client::Client;
use super::lines::Lines;
use super::options::WriteArguments;
use super::output::Output;
use super::tally::Tally;
use super::write_model;
use crate::error::{CliError, LABELS};
use crate::extended_json;

/// The most that one transaction may bring, in bytes of text.
const LINES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How many writes go into one call.
const CALL_WRITES_MAX: usize = 1_000;

/// The longest pause before another attempt, in milliseconds.
const PAUSE_MS_MAX: u64 = 64;

/// What to write.
#[derive(Debug, Args)]
#[command(
    after_help = "Each line names a collection and what to do there, as `combdb bulk` has it, or what to expect:
  {\"accounts\": {\"expect\": {\"filter\": {\"_id\": \"a\", \"amount\": {\"$gte\": 3}}, \"count\": 1}}}
  {\"accounts\": {\"updateOne\": {\"filter\": {\"_id\": \"a\"}, \"update\": {\"$inc\": {\"amount\": -3}}}}}
  {\"accounts\": {\"updateOne\": {\"filter\": {\"_id\": \"b\"}, \"update\": {\"$inc\": {\"amount\": 3}}}}}
  {\"transfers\": {\"insertOne\": {\"document\": {\"from\": \"a\", \"to\": \"b\", \"amount\": 3}}}}
Where an expectation is not met (without \"count\": that any document matches), nothing is written.

Example:
  combdb transaction transfer.jsonl --majority

All lines are one entry of the log: peers have all of them or none. If what they meet is changed by others \
meanwhile, they are tried again. What was done is printed as JSON."
)]
pub(crate) struct Transaction {
    /// The file, plain or gzip; - for stdin
    #[arg(default_value = "-")]
    file: PathBuf,
    /// How many times to try at the most
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    attempts: u32,
    #[command(flatten)]
    write: WriteArguments,
}

/// One line.
struct Step {
    line: u64,
    collection: String,
    what: What,
}

enum What {
    Write(Box<WriteModel>),
    Expect { filter: proto::v1::Document, count: Option<u64> },
}

impl Transaction {
    /// Writes, and prints what was done.
    ///
    /// # Errors
    /// If the file cannot be read, a line is wrong or does not hold, the server refuses, or others were faster each time.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let steps = self.read()?;
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let mut work =
            Work { database, steps, transactions: client.transactions(), documents: client.documents() };
        let mut attempt = 1;
        let (tally, acknowledgement) = loop {
            match work.attempt(&self.write).await {
                Ok(done) => break done,
                Err(error) if attempt < self.attempts && is_transient(&error) => {
                    let pause = 1_u64.checked_shl(attempt).map_or(PAUSE_MS_MAX, |ms| ms.min(PAUSE_MS_MAX));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let mut output = Output::new();
        output.line(tally.describe())?;
        self.write.tell(acknowledgement, &mut output)?;
        output.flush()
    }

    /// All lines; they are tried together.
    fn read(&self) -> Result<Vec<Step>, CliError> {
        let what = self.file.display().to_string();
        let (mut lines, _) = Lines::open(&self.file).map_err(CliError::io(&what))?;
        let (mut steps, mut bytes) = (Vec::new(), 0);
        while let Some(line) = lines.next().map_err(CliError::io(&what))? {
            let text = line.text.as_deref().ok_or_else(|| "not UTF-8".to_owned());
            let step = text.and_then(|text| {
                bytes += text.len();
                if bytes > LINES_BYTES_MAX {
                    return Err("a transaction has at most 32 MiB of lines".to_owned());
                }
                parse(text)
            });
            let at = |fault| CliError::Usage(format!("line {}: {fault}", line.number));
            let (collection, what) = step.map_err(at)?;
            steps.push(Step { line: line.number, collection, what });
        }
        if steps.is_empty() {
            return Err(CliError::Usage("there is no line: nothing to do".to_owned()));
        }
        Ok(steps)
    }
}

/// A transaction at work.
struct Work {
    database: String,
    steps: Vec<Step>,
    transactions: TransactionsClient<Channel>,
    documents: DocumentsClient<Channel>,
}

impl Work {
    async fn attempt(
        &mut self,
        write: &WriteArguments,
    ) -> Result<(Tally, Option<proto::v1::Acknowledgement>), CliError> {
        let begin = BeginTransactionRequest { database: self.database.clone(), ..Default::default() };
        let transaction = self.transactions.begin(begin).await?.into_inner().transaction;
        let tally = match self.steps(&transaction).await {
            Ok(tally) => tally,
            Err(error) => {
                // Where the server is gone the transaction is too.
                let _ = self.transactions.abort(AbortTransactionRequest { transaction }).await;
                return Err(error);
            }
        };
        let commit = CommitTransactionRequest { transaction, write_concern: write.concern() };
        Ok((tally, self.transactions.commit(commit).await?.into_inner().acknowledgement))
    }

    async fn steps(&mut self, transaction: &str) -> Result<Tally, CliError> {
        let mut tally = Tally::default();
        let mut at = 0;
        while let Some(Step { line, collection, what }) = self.steps.get(at) {
            at += 1;
            let writes: Vec<WriteModel> = match what {
                What::Expect { filter, count } => {
                    let options =
                        QueryOptions { transaction: transaction.to_owned(), ..QueryOptions::default() };
                    let request = CountRequest {
                        database: self.database.clone(),
                        collection: collection.clone(),
                        filter: Some(filter.clone()),
                        options: Some(options),
                        ..CountRequest::default()
                    };
                    let found = self.documents.count(request).await?.into_inner().count;
                    if count.map_or(found == 0, |count| count != found) {
                        let message = format!("line {line}: {found} documents match: nothing was written");
                        return Err(CliError::Incomplete(message));
                    }
                    continue;
                }
                What::Write(first) => {
                    let next = self.steps.get(at..).unwrap_or_default().iter().map_while(|step| {
                        let What::Write(write) = &step.what else { return None };
                        (step.collection == *collection).then(|| WriteModel::clone(write))
                    });
                    std::iter::once(WriteModel::clone(first)).chain(next).take(CALL_WRITES_MAX).collect()
                }
            };
            at += writes.len() - 1;
            let count = writes.len() as u64;
            let request = BulkWriteRequest {
                database: self.database.clone(),
                collection: collection.clone(),
                writes,
                format: DocumentFormat::ExtendedJson.into(),
                transaction: transaction.to_owned(),
                ..BulkWriteRequest::default()
            };
            let answer = self.documents.bulk_write(request).await?.into_inner();
            if let Some(failure) = answer.failures.first() {
                let line = line + u64::from(failure.index);
                let message =
                    format!("line {line}: {} (code {}): nothing was written", failure.message, failure.code);
                return Err(CliError::Incomplete(message));
            }
            tally.add(&answer, count);
        }
        Ok(tally)
    }
}

/// Whether the server says that the transaction may succeed if it is made again.
fn is_transient(error: &CliError) -> bool {
    let CliError::Refused(status) = error else { return false };
    let info = status.get_details_error_info();
    info.is_some_and(|info| {
        let labels = info.metadata.get(LABELS);
        labels.is_some_and(|labels| labels.contains(db_core::TRANSIENT_TRANSACTION_ERROR))
    })
}

/// Reads a line: the collection, and what to do there.
fn parse(text: &str) -> Result<(String, What), String> {
    let line = extended_json::parse_document(text).map_err(|error| error.to_string())?;
    db_index::check_document(line.as_bytes()).map_err(|error| error.message)?;
    let mut elements = line.iter();
    let first = elements.next().transpose().map_err(|error| error.to_string())?;
    let (Some((collection, RawBsonRef::Document(said))), None) = (first, elements.next()) else {
        return Err("a line is one field, named as a collection, with a document".to_owned());
    };
    let what = match said.get("expect") {
        Ok(Some(RawBsonRef::Document(expected))) if said.iter().count() == 1 => expect(expected)?,
        _ => What::Write(Box::new(write_model::parse_document(said)?)),
    };
    Ok((collection.as_str().to_owned(), what))
}

fn expect(expected: &RawDocument) -> Result<What, String> {
    let (mut filter, mut count) = (None, None);
    for element in expected {
        let (name, value) = element.map_err(|error| error.to_string())?;
        match (name.as_str(), value) {
            ("filter", RawBsonRef::Document(value)) => filter = Some(write_model::message(value)),
            ("count", RawBsonRef::Int32(value)) if value >= 0 => {
                count = Some(u64::from(value.unsigned_abs()));
            }
            (name, _) => {
                return Err(format!("expect takes a filter and a count, from 0, not this {name:.40}"));
            }
        }
    }
    Ok(What::Expect { filter: filter.ok_or("expect: filter is missing")?, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_collection_and_says_what_to_do_there() {
        let (collection, what) = parse(r#"{"a": {"insertOne": {"document": {"n": 1}}}}"#).unwrap();
        assert!(collection == "a" && matches!(what, What::Write(_)));
        let (_, what) = parse(r#"{"a": {"expect": {"filter": {}, "count": 2}}}"#).unwrap();
        assert!(matches!(what, What::Expect { count: Some(2), .. }));
        for wrong in [
            "{}",
            r#"{"a": 1}"#,
            r#"{"a": {"expect": {"count": 1}}}"#,
            r#"{"a": {"expect": {"filter": {}, "count": -1}}}"#,
            r#"{"a": {"deleteOne": {"filter": {}}}, "b": {}}"#,
            r#"{"a": {"findOne": {"filter": {}}}}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
