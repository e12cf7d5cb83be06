//! `combdb find-and-update`, `combdb find-and-replace` and `combdb find-and-delete`: a document changed and given in one step.

use clap::{Args, ValueEnum};
use proto::v1::{
    DocumentFormat, FindOneAndDeleteRequest, FindOneAndReplaceRequest, FindOneAndUpdateRequest,
    FindOneResponse, ReturnDocument,
};

use super::Common;
use super::client::{Client, json, text};
use super::options::{self, QueryArguments, WriteArguments};
use super::output::Output;
use crate::error::CliError;

/// Which document to change, and how much of it to print.
#[derive(Debug, Args)]
struct Found {
    /// The order that decides which of several is the first, such as '{"year": -1}'
    #[arg(long, value_name = "KEYS")]
    sort: Option<String>,
    /// Which fields to print, such as '{"title": 1, "_id": 0}'
    #[arg(long, value_name = "FIELDS")]
    projection: Option<String>,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    write: WriteArguments,
}

/// Which version of the document to print.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    /// As it was; nothing if an upsert inserted it
    Before,
    /// As it is afterwards
    After,
}

impl From<Version> for i32 {
    fn from(version: Version) -> Self {
        match version {
            Version::Before => ReturnDocument::Before.into(),
            Version::After => ReturnDocument::After.into(),
        }
    }
}

/// What to update.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb find-and-update counters '{\"_id\": \"orders\"}' '{\"$inc\": {\"n\": 1}}' --upsert --return after
  combdb find-and-update jobs '{\"state\": \"waiting\"}' '{\"$set\": {\"state\": \"taken\"}}' --sort '{\"since\": 1}'

Nothing is printed where no document matches.")]
pub(crate) struct FindAndUpdate {
    /// The collection
    collection: String,
    /// Which document, as Extended JSON
    filter: String,
    /// What to do, such as '{"$set": {"open": true}}', or stages: '[{"$set": {"total": {"$sum": "$scores"}}}]'
    update: String,
    /// Which version of the document to print
    #[arg(long = "return", value_enum, value_name = "VERSION", default_value = "before")]
    given: Version,
    /// Insert a document if none matches
    #[arg(long)]
    upsert: bool,
    /// Which array elements $[name] in the update means, such as '{"name.grade": {"$gte": 85}}'; one or an array of several
    #[arg(long, value_name = "FILTER")]
    array_filters: Vec<String>,
    #[command(flatten)]
    found: Found,
}

impl FindAndUpdate {
    /// Updates a document and prints it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (update, pipeline) = options::update(self.update)?;
        let array_filters = options::documents(self.array_filters, "the array filter")?;
        let (hint, options) = self.found.query.into_write_parts(&self.found.write);
        let client = Client::connect(common).await?;
        let request = FindOneAndUpdateRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            update,
            pipeline,
            sort: self.found.sort.map(json),
            projection: self.found.projection.map(json),
            upsert: self.upsert,
            array_filters,
            return_document: self.given.into(),
            hint,
            options,
            format: DocumentFormat::ExtendedJson.into(),
        };
        print(client.documents().find_one_and_update(request).await?.into_inner(), &self.found.write)
    }
}

/// What to replace.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb find-and-replace notes '{\"_id\": 1}' '{\"text\": \"anew\"}' --return after

The document keeps its _id. Nothing is printed where no document matches.")]
pub(crate) struct FindAndReplace {
    /// The collection
    collection: String,
    /// Which document, as Extended JSON
    filter: String,
    /// What to put in its place
    replacement: String,
    /// Which version of the document to print
    #[arg(long = "return", value_enum, value_name = "VERSION", default_value = "before")]
    given: Version,
    /// Insert the replacement if no document matches
    #[arg(long)]
    upsert: bool,
    #[command(flatten)]
    found: Found,
}

impl FindAndReplace {
    /// Replaces a document and prints it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.found.query.into_write_parts(&self.found.write);
        let client = Client::connect(common).await?;
        let request = FindOneAndReplaceRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            replacement: Some(json(self.replacement)),
            sort: self.found.sort.map(json),
            projection: self.found.projection.map(json),
            upsert: self.upsert,
            return_document: self.given.into(),
            hint,
            options,
            format: DocumentFormat::ExtendedJson.into(),
        };
        print(client.documents().find_one_and_replace(request).await?.into_inner(), &self.found.write)
    }
}

/// What to delete.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb find-and-delete jobs '{\"state\": \"waiting\"}' --sort '{\"since\": 1}'

Nothing is printed where no document matches.")]
pub(crate) struct FindAndDelete {
    /// The collection
    collection: String,
    /// Which document, as Extended JSON
    filter: String,
    #[command(flatten)]
    found: Found,
}

impl FindAndDelete {
    /// Deletes a document and prints it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.found.query.into_write_parts(&self.found.write);
        let client = Client::connect(common).await?;
        let request = FindOneAndDeleteRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            sort: self.found.sort.map(json),
            projection: self.found.projection.map(json),
            hint,
            options,
            format: DocumentFormat::ExtendedJson.into(),
        };
        print(client.documents().find_one_and_delete(request).await?.into_inner(), &self.found.write)
    }
}

fn print(answer: FindOneResponse, write: &WriteArguments) -> Result<(), CliError> {
    let mut output = Output::new();
    if answer.document.is_some() {
        output.line(text(answer.document))?;
    }
    write.tell(answer.acknowledgement, &mut output)?;
    output.flush()
}
