//! `combdb count` and `combdb distinct`.

use clap::Args;
use proto::v1::{CountRequest, DistinctRequest, DocumentFormat};

use super::Common;
use super::client::{Client, json, value_text};
use super::output::Output;
use crate::error::CliError;

/// What to count.
#[derive(Debug, Args)]
pub(crate) struct Count {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON; left out: all
    filter: Option<String>,
}

impl Count {
    /// Counts and prints the number.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = CountRequest {
            database: client.database().await?,
            collection: self.collection,
            filter: self.filter.map(json),
            ..CountRequest::default()
        };
        let mut output = Output::new();
        output.line(client.documents().count(request).await?.into_inner().count)?;
        output.flush()
    }
}

/// What distinct values to find.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb distinct restaurants type_of_food '{\"rating\": {\"$gte\": 5.5}}'")]
pub(crate) struct Distinct {
    /// The collection
    collection: String,
    /// The field's path, such as address.city
    field: String,
    /// Among which documents, as Extended JSON; left out: all
    filter: Option<String>,
}

impl Distinct {
    /// Finds the values and prints them, one a line.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = DistinctRequest {
            database: client.database().await?,
            collection: self.collection,
            field: self.field,
            filter: self.filter.map(json),
            format: DocumentFormat::ExtendedJson.into(),
            ..DistinctRequest::default()
        };
        let mut output = Output::new();
        for value in client.documents().distinct(request).await?.into_inner().values {
            output.line(value_text(Some(value)))?;
        }
        output.flush()
    }
}
