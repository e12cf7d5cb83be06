//! `combdb import`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bson::{RawDocument, RawDocumentBuf, oid::ObjectId, rawdoc};
use clap::Args;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::{
    self, Acknowledgement, DropCollectionRequest, InsertRequest, QueryOptions, ReplaceRequest, document,
};
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::Common;
use super::client::Client;
use super::lines::{Line, Lines};
use super::options::WriteArguments;
use super::output::{Output, thousands};
use super::progress::{FaultyLines, Progress};
use crate::error::CliError;
use crate::extended_json;

/// How many documents go into one call, and so into one entry of the log.
const BATCH_DOCUMENTS_MAX: usize = 1_000;

/// How many bytes of documents go into one call, unless a single one is larger.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// MongoDB's code for a duplicate key.
const DUPLICATE_KEY: i32 = 11000;

/// What to import, and how.
// Each flag is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb import restaurants.jsonl.gz --collection restaurants
  zcat movies.jsonl.gz | combdb import - --collection films --db demo
  combdb import films.jsonl --collection films --stable-ids --skip-duplicates   may be run again after a break

Each line is one document as MongoDB's Extended JSON. What was acknowledged before a break stays; the last line \
of the output says how far it came.")]
pub(crate) struct Import {
    /// The file, plain or gzip; - for stdin
    file: PathBuf,
    /// The collection to import into
    #[arg(long, short, value_name = "NAME")]
    collection: String,
    /// Replace documents whose _id is there already instead of reporting them; slower
    #[arg(long, conflicts_with = "skip_duplicates")]
    upsert: bool,
    /// Count documents whose _id or unique key is taken instead of reporting them
    #[arg(long)]
    skip_duplicates: bool,
    /// Give documents without an _id one that follows from line number and text, so that a second run adds nothing
    #[arg(long)]
    stable_ids: bool,
    /// Leave out so many lines at the beginning, to go on after a break
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    skip_lines: u64,
    /// Read so many lines at the most
    #[arg(long, value_name = "LINES")]
    max_lines: Option<u64>,
    /// Stop at the first line that cannot be imported
    #[arg(long)]
    stop_on_error: bool,
    /// Drop the collection first
    #[arg(long)]
    drop: bool,
    #[command(flatten)]
    write: WriteArguments,
}

/// Documents of consecutive lines.
#[derive(Default)]
struct Batch {
    documents: Vec<(u64, RawDocumentBuf)>,
    faults: Vec<(u64, String)>,
    bytes: usize,
    last_line: u64,
}

#[derive(Default)]
struct Tally {
    imported: u64,
    duplicates: u64,
    faulty: FaultyLines,
    acknowledged_line: u64,
    /// What the last write can be followed by, which is confirmed no earlier than those before it.
    acknowledgement: Option<Acknowledgement>,
}

impl Tally {
    fn note(&mut self, acknowledgement: Option<Acknowledgement>) {
        self.acknowledgement = acknowledgement.or(self.acknowledgement.take());
    }
}

impl Import {
    /// Imports the file and prints a summary.
    ///
    /// # Errors
    /// If the file cannot be read, the server refuses, or some lines could not be imported.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let what = self.file.display().to_string();
        let (lines, extent) = Lines::open(&self.file).map_err(CliError::io(&what))?;
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        if self.drop {
            let collection = self.collection.clone();
            client
                .collections()
                .drop(DropCollectionRequest { database: database.clone(), collection, write_concern: None })
                .await?;
        }
        let mut progress = Progress::new(extent, "documents");
        let mut tally = Tally { acknowledged_line: self.skip_lines, ..Tally::default() };
        let outcome =
            self.import(lines, &what, client.documents(), database, &mut progress, &mut tally).await;
        progress.finish();
        self.summarize(&progress, &tally, outcome)
    }

    async fn import(
        &self,
        lines: Lines,
        what: &str,
        mut documents: DocumentsClient<Channel>,
        database: String,
        progress: &mut Progress,
        tally: &mut Tally,
    ) -> Result<(), CliError> {
        let interrupted = watch_for_interrupt();
        let (sender, mut batches) = mpsc::channel(2);
        let reading = Reading {
            stable_ids: self.stable_ids,
            skip_lines: self.skip_lines,
            last_line: self.max_lines.map_or(u64::MAX, |count| self.skip_lines.saturating_add(count)),
        };
        let reader = tokio::task::spawn_blocking(move || reading.run(lines, &sender));
        while let Some(batch) = batches.recv().await {
            let last_line = batch.last_line;
            self.send(batch, &mut documents, &database, progress, tally).await?;
            tally.acknowledged_line = last_line;
            progress.show(tally.imported);
            if interrupted.load(Ordering::Relaxed) {
                return Err(CliError::Incomplete("interrupted".into()));
            }
        }
        match reader.await {
            Ok(outcome) => outcome.map_err(CliError::io(what)),
            Err(_) => Err(CliError::Incomplete("the reader of the file failed".into())),
        }
    }

    /// Sends one batch and takes note of what became of it.
    async fn send(
        &self,
        batch: Batch,
        documents: &mut DocumentsClient<Channel>,
        database: &str,
        progress: &Progress,
        tally: &mut Tally,
    ) -> Result<(), CliError> {
        for (line, fault) in batch.faults {
            self.fault(line, &fault, progress, tally)?;
        }
        let (replace, insert): (Vec<_>, Vec<_>) =
            batch.documents.into_iter().partition(|(_, document)| self.upsert && has_id(document));
        for (line, document) in replace {
            let request = ReplaceRequest {
                database: database.to_owned(),
                collection: self.collection.clone(),
                filter: id_filter(&document).map(message),
                replacement: Some(message(document)),
                upsert: true,
                options: Some(QueryOptions {
                    write_concern: self.write.concern(),
                    ..QueryOptions::default()
                }),
                ..ReplaceRequest::default()
            };
            match documents.replace_one(request).await {
                Ok(answer) => {
                    tally.imported += 1;
                    tally.note(answer.into_inner().acknowledgement);
                }
                Err(status) if is_about_the_document(&status) => {
                    self.fault(line, status.message(), progress, tally)?;
                }
                Err(status) => return Err(status.into()),
            }
        }
        if insert.is_empty() {
            return Ok(());
        }
        let (numbers, messages): (Vec<u64>, Vec<_>) =
            insert.into_iter().map(|(line, document)| (line, message(document))).unzip();
        let request = InsertRequest {
            database: database.to_owned(),
            collection: self.collection.clone(),
            documents: messages,
            unordered: true,
            write_concern: self.write.concern(),
            ..InsertRequest::default()
        };
        let answer = documents.insert(request).await?.into_inner();
        tally.imported += answer.inserted.len() as u64;
        tally.note(answer.acknowledgement);
        for failure in answer.failures {
            if failure.code == DUPLICATE_KEY && self.skip_duplicates {
                tally.duplicates += 1;
                continue;
            }
            let line = numbers.get(failure.index as usize).copied().unwrap_or_default();
            self.fault(line, &failure.message, progress, tally)?;
        }
        Ok(())
    }

    fn fault(&self, line: u64, fault: &str, progress: &Progress, tally: &mut Tally) -> Result<(), CliError> {
        tally.faulty.tell(line, fault, progress);
        if self.stop_on_error {
            return Err(CliError::Incomplete(format!("stopped at line {line}")));
        }
        Ok(())
    }

    fn summarize(
        &self,
        progress: &Progress,
        tally: &Tally,
        outcome: Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut summary = format!(
            "imported {} documents in {:.1} s ({}/s)",
            thousands(tally.imported),
            progress.elapsed().as_secs_f64(),
            thousands(progress.rate(tally.imported))
        );
        if self.skip_duplicates {
            summary = format!("{summary}, {} were there already", thousands(tally.duplicates));
        }
        let mut output = Output::new();
        output.line(summary)?;
        self.write.tell(tally.acknowledgement.clone(), &mut output)?;
        if outcome.is_err() {
            output.line(format_args!(
                "acknowledged up to line {0}; go on with --skip-lines {0}",
                tally.acknowledged_line
            ))?;
        }
        output.flush()?;
        outcome?;
        tally.faulty.outcome()
    }
}

/// How the file is read, away from the async threads.
struct Reading {
    stable_ids: bool,
    skip_lines: u64,
    last_line: u64,
}

impl Reading {
    fn run(&self, mut lines: Lines, batches: &mpsc::Sender<Batch>) -> std::io::Result<()> {
        let mut batch = Batch::default();
        while let Some(line) = lines.next()? {
            if line.number <= self.skip_lines {
                continue;
            }
            if line.number > self.last_line {
                break;
            }
            batch.last_line = line.number;
            match self.read(&line) {
                Ok(document) => {
                    batch.bytes += document.as_bytes().len();
                    batch.documents.push((line.number, document));
                }
                Err(fault) => batch.faults.push((line.number, fault)),
            }
            let full = batch.documents.len() + batch.faults.len() >= BATCH_DOCUMENTS_MAX;
            if (full || batch.bytes >= BATCH_BYTES_MAX)
                && batches.blocking_send(std::mem::take(&mut batch)).is_err()
            {
                return Ok(()); // the import has stopped and said why
            }
        }
        if batch.last_line > 0 {
            let _ = batches.blocking_send(batch); // as above
        }
        Ok(())
    }

    fn read(&self, line: &Line) -> Result<RawDocumentBuf, String> {
        let text = line.text.as_deref().ok_or("not UTF-8")?;
        let document = extended_json::parse_document(text).map_err(|error| error.to_string())?;
        db_index::check_document(document.as_bytes()).map_err(|error| error.message)?;
        if !self.stable_ids || has_id(&document) {
            return Ok(document);
        }
        let mut with_id = rawdoc! {"_id": stable_id(line.number, text)};
        for element in document.iter_elements() {
            let element = element.map_err(|error| error.to_string())?;
            let value = element.value().map_err(|error| error.to_string())?;
            with_id.append(element.key(), value);
        }
        Ok(with_id)
    }
}

/// An id that follows from a line alone.
fn stable_id(number: u64, text: &str) -> ObjectId {
    let mut hasher = blake3::Hasher::new_derive_key("combdb import id v1");
    hasher.update(&number.to_le_bytes()).update(text.as_bytes());
    let mut id = [0; 12];
    hasher.finalize_xof().fill(&mut id);
    ObjectId::from_bytes(id)
}

fn has_id(document: &RawDocument) -> bool {
    matches!(document.get("_id"), Ok(Some(_)))
}

fn id_filter(document: &RawDocument) -> Option<RawDocumentBuf> {
    let id = document.get("_id").ok()??;
    // `$eq` says that an `_id` which is a document is meant as it is.
    let mut equals = RawDocumentBuf::new();
    equals.append(bson::cstr!("$eq"), id);
    Some(rawdoc! {"_id": equals})
}

fn message(document: RawDocumentBuf) -> v1::Document {
    v1::Document { form: Some(document::Form::Bson(document.into_bytes().into())) }
}

/// Whether a refusal concerns this document only, so that the others can go on.
fn is_about_the_document(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::AlreadyExists)
}

/// The first Ctrl-C stops after the batch at hand; the second ends the program at once.
fn watch_for_interrupt() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    interrupted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, text: &str) -> Line {
        Line { number, text: Some(text.to_owned()) }
    }

    #[test]
    fn a_stable_id_comes_first_and_depends_on_the_line() {
        let reading = Reading { stable_ids: true, skip_lines: 0, last_line: u64::MAX };
        let once = reading.read(&line(7, r#"{"a": {"b": [1]}}"#)).unwrap();
        assert_eq!(reading.read(&line(7, r#"{"a": {"b": [1]}}"#)).unwrap(), once);
        assert_ne!(reading.read(&line(8, r#"{"a": {"b": [1]}}"#)).unwrap(), once);
        let keys: Vec<_> = once.iter().map(|element| element.unwrap().0.to_string()).collect();
        assert_eq!(keys, ["_id", "a"]);
        let with_id = reading.read(&line(7, r#"{"a": 1, "_id": 5}"#)).unwrap();
        assert_eq!(with_id, rawdoc! {"a": 1, "_id": 5});
    }

    #[test]
    fn a_faulty_line_is_told_and_the_rest_goes_on() {
        let reading = Reading { stable_ids: false, skip_lines: 1, last_line: 4 };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        std::fs::write(&path, "{\"a\":1}\nnonsense\n{\"a\":3}\n{\"a\":4}\n{\"a\":5}\n").unwrap();
        let (lines, _) = Lines::open(&path).unwrap();
        let (sender, mut batches) = mpsc::channel(2);
        reading.run(lines, &sender).unwrap();
        let batch = batches.try_recv().unwrap();
        assert_eq!(batch.documents.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(batch.faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2]);
        assert_eq!(batch.last_line, 4);
    }
}
