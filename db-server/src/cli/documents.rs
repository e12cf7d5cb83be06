//! `combdb insert`, `combdb update` and `combdb delete`: single writes from the command line.

use clap::Args;
use proto::v1::{DeleteRequest, DocumentFormat, InsertRequest, UpdateRequest};

use super::Common;
use super::client::{Client, json, value_text};
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
            unordered: false,
            format: DocumentFormat::ExtendedJson.into(),
        };
        let answer = client.documents().insert(request).await?.into_inner();
        let mut output = Output::new();
        for inserted in answer.inserted {
            output.line(value_text(inserted.id))?;
        }
        output.flush()
    }
}

/// What to update.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb update restaurants '{\"name\": \"Aarthi\"}' '{\"$inc\": {\"visits\": 1}}'")]
pub(crate) struct Update {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON
    filter: String,
    /// What to do, such as '{"$set": {"open": true}}'
    #[arg(value_name = "UPDATE")]
    operators: String,
    /// Update every document that matches, not only the first
    #[arg(long)]
    many: bool,
    /// Insert a document if none matches
    #[arg(long)]
    upsert: bool,
}

impl Update {
    /// Updates and prints what was done.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = UpdateRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            update: Some(json(self.operators)),
            upsert: self.upsert,
            format: DocumentFormat::ExtendedJson.into(),
            ..UpdateRequest::default()
        };
        let mut documents = client.documents();
        let answer = if self.many {
            documents.update_many(request).await
        } else {
            documents.update_one(request).await
        };
        let answer = answer?.into_inner();
        let mut output = Output::new();
        output.line(format_args!("matched {}, modified {}", answer.matched, answer.modified))?;
        if let Some(id) = answer.upserted_id {
            output.line(format_args!("inserted {}", value_text(Some(id))))?;
        }
        output.flush()
    }
}

/// What to delete.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON; '{}' for all
    filter: String,
    /// Delete every document that matches, not only the first
    #[arg(long)]
    many: bool,
}

impl Delete {
    /// Deletes and prints how many are gone.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = DeleteRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: Some(json(self.filter)),
            ..DeleteRequest::default()
        };
        let mut documents = client.documents();
        let answer = if self.many {
            documents.delete_many(request).await
        } else {
            documents.delete_one(request).await
        };
        let mut output = Output::new();
        output.line(format_args!("deleted {}", answer?.into_inner().deleted))?;
        output.flush()
    }
}
