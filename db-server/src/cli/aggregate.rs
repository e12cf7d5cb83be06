//! `combdb aggregate`.

use clap::Args;
use proto::v1::explain_request::Call;
use proto::v1::{AggregateRequest, Document, DocumentFormat, ExplainRequest, Hint, QueryOptions, hint};

use super::Common;
use super::client::{Client, json, text};
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
    /// The name of the index to use for what the pipeline begins with
    #[arg(long, value_name = "INDEX")]
    hint: Option<String>,
    /// Values for variables, such as '{"least": 5}' for $$least
    #[arg(long = "let", value_name = "VARIABLES")]
    variables: Option<String>,
    /// How strings are compared, such as '{"locale": "de", "strength": 2}'
    #[arg(long, value_name = "COLLATION")]
    collation: Option<String>,
    /// Print how the pipeline would be run instead of its result
    #[arg(long)]
    explain: bool,
}

impl Aggregate {
    /// Aggregates and prints.
    ///
    /// # Errors
    /// If the stages are no JSON, the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let pipeline = stages(self.stages)?;
        let client = Client::connect(common).await?;
        let request = AggregateRequest {
            database: client.database().await?,
            collection: self.collection,
            pipeline,
            hint: self.hint.map(|name| Hint { index: Some(hint::Index::Name(name)) }),
            batch_size: 0,
            format: DocumentFormat::ExtendedJson.into(),
            options: Some(QueryOptions {
                variables: self.variables.map(json),
                collation: self.collation.map(json),
                ..QueryOptions::default()
            }),
        };
        let mut documents = client.documents();
        let mut output = Output::new();
        if self.explain {
            let request = ExplainRequest { call: Some(Call::Aggregate(request)), verbosity: 0 };
            output.line(text(documents.explain(request).await?.into_inner().plan))?;
            return output.flush();
        }
        let mut batches = documents.aggregate(request).await?.into_inner();
        while let Some(batch) = batches.message().await? {
            for document in batch.documents {
                output.line(text(Some(document)))?;
            }
            output.flush()?;
        }
        Ok(())
    }
}

/// The stages as the server takes them: each argument is one, or an array of several.
fn stages(arguments: Vec<String>) -> Result<Vec<Document>, CliError> {
    let mut stages = Vec::new();
    for argument in arguments {
        if !argument.trim_start().starts_with('[') {
            stages.push(json(argument));
            continue;
        }
        let array: Vec<serde_json::Value> = serde_json::from_str(&argument)
            .map_err(|error| CliError::Usage(format!("the pipeline is not JSON: {error}")))?;
        stages.extend(array.into_iter().map(|stage| json(stage.to_string())));
    }
    Ok(stages)
}
