//! `combdb aggregate`.

use clap::Args;
use proto::v1::explain_request::Call;
use proto::v1::{AggregateRequest, DocumentFormat};

use super::Common;
use super::client::{Client, text};
use super::documents::explain;
use super::options::{self, ReadArguments};
use super::output::Output;
use crate::error::CliError;

/// What to aggregate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb aggregate restaurants '{\"$match\": {\"rating\": {\"$gte\": 5}}}' '{\"$sortByCount\": \"$type_of_food\"}' '{\"$limit\": 3}'
  combdb aggregate restaurants '[{\"$group\": {\"_id\": \"$type_of_food\", \"best\": {\"$max\": \"$rating\"}}}, {\"$out\": \"best\"}]'")]
pub(crate) struct Aggregate {
    /// The collection; '' for a pipeline that begins with $documents
    collection: String,
    /// The stages, as Extended JSON: one after the other, or as one array
    #[arg(required = true, value_name = "STAGE")]
    stages: Vec<String>,
    /// Print how the pipeline would be run instead of its result
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    read: ReadArguments,
}

impl Aggregate {
    /// Aggregates and prints.
    ///
    /// # Errors
    /// If the stages are no JSON, the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let pipeline = options::documents(self.stages, "the pipeline")?;
        let (hint, options) = self.read.into_parts();
        let client = Client::connect(common).await?;
        let request = AggregateRequest {
            database: client.database().await?,
            collection: self.collection,
            pipeline,
            hint,
            batch_size: 0,
            format: DocumentFormat::ExtendedJson.into(),
            options,
        };
        if self.explain {
            return explain(&client, Call::Aggregate(request)).await;
        }
        let mut output = Output::new();
        let mut batches = client.documents().aggregate(request).await?.into_inner();
        while let Some(batch) = batches.message().await? {
            for document in batch.documents {
                output.line(text(Some(document)))?;
            }
            output.flush()?;
        }
        Ok(())
    }
}
