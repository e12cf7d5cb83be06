//! `combdb find`.

use clap::Args;
use proto::v1::explain_request::Call;
use proto::v1::{CountRequest, DocumentFormat, FindRequest};

use super::Common;
use super::client::{Client, json, text};
use super::documents::explain;
use super::options::ReadArguments;
use super::output::Output;
use super::watch::keep_current;
use crate::error::CliError;

/// What to find, and what to print of it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  combdb find restaurants --limit 3
  combdb find restaurants '{\"type_of_food\": \"Thai\"}' --sort '{\"rating\": -1}' --projection '{\"name\": 1}'
  combdb find restaurants '{\"rating\": {\"$gte\": 5}}' --explain
  combdb find restaurants '{\"name\": \"aarthi\"}' --collation '{\"locale\": \"en\", \"strength\": 1}'
  combdb find restaurants '{\"rating\": {\"$gte\": 5}}' --watch
  combdb find restaurants --count")]
pub(crate) struct Find {
    /// The collection
    collection: String,
    /// Which documents, as Extended JSON; left out: all
    filter: Option<String>,
    /// The order, such as '{"year": -1}'
    #[arg(long, value_name = "KEYS")]
    sort: Option<String>,
    /// How many documents to leave out at the beginning
    #[arg(long, default_value_t = 0)]
    skip: u64,
    /// How many documents to print at the most; 0: all
    #[arg(long, default_value_t = 0)]
    limit: u64,
    /// Which fields, such as '{"title": 1, "_id": 0}'
    #[arg(long, value_name = "FIELDS")]
    projection: Option<String>,
    /// Print how the find would be answered instead of its result
    #[arg(long, conflicts_with = "count")]
    explain: bool,
    /// Print how many documents match instead of the documents
    #[arg(long, conflicts_with_all = ["sort", "projection"])]
    count: bool,
    /// Print the result and then how it changes, until stopped: reset, added, changed, moved, removed, with positions from 0
    #[arg(long, conflicts_with_all = ["count", "explain"])]
    watch: bool,
    #[command(flatten)]
    read: ReadArguments,
}

impl Find {
    /// Finds and prints.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let mut documents = client.documents();
        let mut output = Output::new();
        if self.count {
            let (hint, options) = self.read.into_parts();
            let request = CountRequest {
                database,
                collection: self.collection,
                filter: self.filter.map(json),
                skip: self.skip,
                limit: self.limit,
                hint,
                options,
            };
            output.line(documents.count(request).await?.into_inner().count)?;
            return output.flush();
        }
        let (explains, watches) = (self.explain, self.watch);
        let find = self.request(database);
        if explains {
            return explain(&client, Call::Find(find)).await;
        }
        if watches {
            return keep_current(&client, find, &mut output).await;
        }
        let mut batches = documents.find(find).await?.into_inner();
        while let Some(batch) = batches.message().await? {
            for document in batch.documents {
                output.line(text(Some(document)))?;
            }
            output.flush()?;
        }
        Ok(())
    }

    fn request(self, database: String) -> FindRequest {
        let (hint, options) = self.read.into_parts();
        FindRequest {
            database,
            collection: self.collection,
            filter: self.filter.map(json),
            sort: self.sort.map(json),
            skip: self.skip,
            limit: self.limit,
            projection: self.projection.map(json),
            hint,
            batch_size: 0,
            format: DocumentFormat::ExtendedJson.into(),
            options,
        }
    }
}
