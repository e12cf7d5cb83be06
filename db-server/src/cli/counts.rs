//! `combdb count` and `combdb distinct`.

use clap::Args;
use proto::v1::explain_request::Call;
use proto::v1::{CountRequest, DistinctRequest, DocumentFormat};

use super::Common;
use super::client::{Client, json, value_text};
use super::documents::explain;
use super::options::ReadArguments;
use super::output::Output;
use crate::error::CliError;

/// What to count.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  combdb count restaurants '{\"rating\": {\"$gte\": 5.5}}'")]
pub(crate) struct Count {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON; left out: all
    filter: Option<String>,
    /// How many documents to leave out
    #[arg(long, default_value_t = 0)]
    skip: u64,
    /// How many documents to count at the most; 0: all
    #[arg(long, default_value_t = 0)]
    limit: u64,
    /// Print how the documents would be counted instead of their number
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    read: ReadArguments,
}

impl Count {
    /// Counts and prints the number.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.read.into_parts();
        let client = Client::connect(common).await?;
        let request = CountRequest {
            database: client.database().await?,
            collection: self.collection,
            // The plan comes in the form of the filter, so there must be one.
            filter: Some(json(self.filter.unwrap_or_else(|| "{}".to_owned()))),
            skip: self.skip,
            limit: self.limit,
            hint,
            options,
        };
        if self.explain {
            return explain(&client, Call::Count(request)).await;
        }
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
    /// Print how the values would be found instead of the values
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    read: ReadArguments,
}

impl Distinct {
    /// Finds the values and prints them, one a line.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let (hint, options) = self.read.into_parts();
        let client = Client::connect(common).await?;
        let request = DistinctRequest {
            database: client.database().await?,
            collection: self.collection,
            field: self.field,
            filter: self.filter.map(json),
            format: DocumentFormat::ExtendedJson.into(),
            hint,
            options,
        };
        if self.explain {
            return explain(&client, Call::Distinct(request)).await;
        }
        let mut output = Output::new();
        for value in client.documents().distinct(request).await?.into_inner().values {
            output.line(value_text(Some(value)))?;
        }
        output.flush()
    }
}
