//! `combdb insert`, `combdb update`, `combdb replace` and `combdb delete`: single writes from the command line.

use clap::Args;
use proto::v1::explain_request::Call;
use proto::v1::{
    DeleteRequest, DocumentFormat, ExplainRequest, InsertRequest, ReplaceRequest, UpdateRequest,
    UpdateResponse,
};

use super::Common;
use super::client::{Client, json, text, value_text};
use super::options::{self, QueryArguments, WriteArguments};
use super::output::Output;
use crate::error::CliError;

/// What to insert.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb insert notes '{\"_id\": 1, \"text\": \"hello\"}' '{\"_id\": 2}'")]
pub(crate) struct Insert {
    /// The collection
    collection: String,
    /// The documents, as Extended JSON
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<String>,
    #[command(flatten)]
    write: WriteArguments,
}

impl Insert {
    /// Inserts the documents as one entry and prints their ids.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = InsertRequest {
            database: client.database().await?,
            collection: self.collection,
            documents: self.documents.into_iter().map(json).collect(),
            format: DocumentFormat::ExtendedJson.into(),
            write_concern: self.write.concern(),
            ..InsertRequest::default()
        };
        let answer = client.documents().insert(request).await?.into_inner();
        let mut output = Output::new();
        for inserted in answer.inserted {
            output.line(value_text(inserted.id))?;
        }
        self.write.tell(answer.acknowledgement, &mut output)?;
        output.flush()
    }
}

/// What to update.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb update restaurants '{\"name\": \"Aarthi\"}' '{\"$inc\": {\"visits\": 1}}'
  combdb update restaurants '{\"rating\": \"Not yet rated\"}' '[{\"$set\": {\"rating\": 0, \"was\": \"$rating\"}}]' --many
  combdb update pupils '{}' '{\"$set\": {\"grades.$[low].passed\": false}}' --array-filters '{\"low.points\": {\"$lt\": 50}}' --many")]
pub(crate) struct Update {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON
    filter: String,
    /// What to do, such as '{"$set": {"open": true}}', or stages: '[{"$set": {"total": {"$sum": "$scores"}}}]'
    #[arg(value_name = "UPDATE")]
    change: String,
    /// Update every document that matches, not only the first
    #[arg(long)]
    many: bool,
    /// Insert a document if none matches
    #[arg(long)]
    upsert: bool,
    /// Which array elements $[name] in the update means, such as '{"name.points": {"$lt": 50}}'; one or an array of several
    #[arg(long, value_name = "FILTER")]
    array_filters: Vec<String>,
    /// The order that decides which of several is the first
    #[arg(long, value_name = "KEYS", conflicts_with = "many")]
    sort: Option<String>,
    /// Print how the documents would be found instead of updating them
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    write: WriteArguments,
}

impl Update {
    /// Updates and prints what was done.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (update, pipeline) = options::update(self.change)?;
        let array_filters = options::documents(self.array_filters, "the array filter")?;
        let (hint, options) = self.query.into_write_parts(&self.write);
        let client = Client::connect(common).await?;
        let request = UpdateRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            update,
            pipeline,
            upsert: self.upsert,
            array_filters,
            format: DocumentFormat::ExtendedJson.into(),
            sort: self.sort.map(json),
            hint,
            options,
        };
        if self.explain {
            let call = if self.many { Call::UpdateMany(request) } else { Call::UpdateOne(request) };
            return explain(&client, call).await;
        }
        let mut documents = client.documents();
        let answer = if self.many {
            documents.update_many(request).await
        } else {
            documents.update_one(request).await
        };
        describe(answer?.into_inner(), &self.write)
    }
}

/// What to replace.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb replace notes '{\"_id\": 1}' '{\"text\": \"anew\"}' --upsert

The document keeps its _id.")]
pub(crate) struct Replace {
    /// The collection
    collection: String,
    /// Which document, as Extended JSON; the first that matches
    filter: String,
    /// What to put in its place
    replacement: String,
    /// Insert the replacement if no document matches
    #[arg(long)]
    upsert: bool,
    /// Reject the replacement if the document turns out to have been changed concurrently; else only what it changes is written then
    #[arg(long)]
    strict: bool,
    /// The order that decides which of several is the first
    #[arg(long, value_name = "KEYS")]
    sort: Option<String>,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    write: WriteArguments,
}

impl Replace {
    /// Replaces and prints what was done.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.query.into_write_parts(&self.write);
        let client = Client::connect(common).await?;
        let request = ReplaceRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            replacement: Some(json(self.replacement)),
            upsert: self.upsert,
            strict: self.strict,
            format: DocumentFormat::ExtendedJson.into(),
            sort: self.sort.map(json),
            hint,
            options,
        };
        describe(client.documents().replace_one(request).await?.into_inner(), &self.write)
    }
}

/// What to delete.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb delete restaurants '{\"rating\": {\"$lt\": 2}}' --many")]
pub(crate) struct Delete {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON; '{}' for all
    filter: String,
    /// Delete every document that matches, not only the first
    #[arg(long)]
    many: bool,
    /// Print how the documents would be found instead of deleting them
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    query: QueryArguments,
    #[command(flatten)]
    write: WriteArguments,
}

impl Delete {
    /// Deletes and prints how many are gone.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.query.into_write_parts(&self.write);
        let client = Client::connect(common).await?;
        let request = DeleteRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            hint,
            options,
        };
        if self.explain {
            let call = if self.many { Call::DeleteMany(request) } else { Call::DeleteOne(request) };
            return explain(&client, call).await;
        }
        let mut documents = client.documents();
        let answer = if self.many {
            documents.delete_many(request).await
        } else {
            documents.delete_one(request).await
        };
        let answer = answer?.into_inner();
        let mut output = Output::new();
        output.line(format_args!("deleted {}", answer.deleted))?;
        self.write.tell(answer.acknowledgement, &mut output)?;
        output.flush()
    }
}

/// Prints how a call is carried out.
///
/// # Errors
/// If the server refuses.
pub(crate) async fn explain(client: &Client, call: Call) -> Result<(), CliError> {
    let request = ExplainRequest { call: Some(call), verbosity: 0 };
    let plan = text(client.documents().explain(request).await?.into_inner().plan);
    // Plans are for people: one field a line. What is no JSON after all is shown as it came.
    let plan = serde_json::from_str::<serde_json::Value>(&plan)
        .and_then(|plan| serde_json::to_string_pretty(&plan))
        .unwrap_or(plan);
    let mut output = Output::new();
    output.line(plan)?;
    output.flush()
}

/// Prints what an update or a replacement did.
fn describe(answer: UpdateResponse, write: &WriteArguments) -> Result<(), CliError> {
    let mut output = Output::new();
    output.line(format_args!("matched {}, modified {}", answer.matched, answer.modified))?;
    if let Some(id) = answer.upserted_id {
        output.line(format_args!("inserted {}", value_text(Some(id))))?;
    }
    write.tell(answer.acknowledgement, &mut output)?;
    output.flush()
}
