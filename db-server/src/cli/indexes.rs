//! `combdb indexes`.

use clap::Subcommand;
use proto::v1::collections_client::CollectionsClient;
use proto::v1::{
    ChangeIndexRequest, CreateIndexRequest, CreateIndexResponse, DocumentFormat, DropIndexRequest, Index,
    ListIndexesRequest, ListIndexesResponse, ListQuarantinedRequest, WatchIndexBuildsRequest,
    WatchIndexBuildsResponse,
};
use tonic::Response;
use tonic::transport::Channel;

use super::Common;
use super::client::{Client, json, text};
use super::options::WriteArguments;
use super::output::Output;
use super::progress::{BuildProgress, describe_build};
use crate::error::CliError;

/// What to do with the indexes of a collection.
#[derive(Debug, Subcommand)]
pub(crate) enum Indexes {
    /// Lists the indexes of a collection, and those that are being built
    List {
        /// The collection
        collection: String,
        /// Those there were after the entry at this position of the order; one that has been dropped since is hidden
        #[arg(long, value_name = "POSITION")]
        at: Option<u64>,
    },
    /// Creates an index, over existing documents too; shows on stderr how far that has come
    #[command(after_help = "Examples:
  combdb indexes create restaurants '{\"type_of_food\": 1, \"rating\": -1}'
  combdb indexes create restaurants '{\"name\": \"text\", \"address\": \"text\"}' --options '{\"weights\": {\"name\": 3}}'
  combdb indexes create restaurants '{\"place\": \"2dsphere\"}'
  combdb indexes create people '{\"email\": 1}' --unique --options '{\"onDuplicate\": \"quarantine\"}'
  combdb indexes create sessions '{\"seen\": 1}' --options '{\"expireAfterSeconds\": 3600}'")]
    Create {
        /// The collection
        collection: String,
        /// The indexed paths: 1 for ascending, -1 for descending, or a kind: "text", "2dsphere", "2d", "hashed"; '{"$**": 1}' for all
        keys: String,
        /// No two documents may share a key
        #[arg(long)]
        unique: bool,
        /// Other options by MongoDB's names: sparse, partialFilterExpression, onDuplicate, expireAfterSeconds, hidden, collation, weights, ...
        #[arg(long, value_name = "OPTIONS")]
        options: Option<String>,
        /// Its name; left out: made from the keys
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Prints the documents that came second under a key of a unique index and are kept in quarantine
    #[command(
        after_help = "A document that was written apart from another of the same key is rejected where they meet; under an \
index with the option '{\"onDuplicate\": \"quarantine\"}' it is kept, and listed here until it is given another key, is \
deleted, or is written while nobody holds its key any more."
    )]
    Quarantined {
        /// The collection
        collection: String,
    },
    /// Hides an index from queries, shows it again, renames it, or changes when documents expire by it
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Change {
        /// The collection
        collection: String,
        /// The index's name
        name: String,
        /// Queries use it no more; it is kept up all the same
        #[arg(long, group = "change", conflicts_with = "unhide")]
        hide: bool,
        /// Queries use it again
        #[arg(long, group = "change")]
        unhide: bool,
        /// Documents expire this many seconds after the date in its field
        #[arg(long, group = "change", value_name = "SECONDS")]
        expire_after: Option<i64>,
        /// Its new name
        #[arg(long, group = "change", value_name = "NAME")]
        rename: Option<String>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Drops an index
    Drop {
        /// The collection
        collection: String,
        /// The index's name; '*' for all but the one on _id
        name: String,
        #[command(flatten)]
        write: WriteArguments,
    },
}

impl Indexes {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let mut collections = client.collections();
        let mut output = Output::new();
        match self {
            Self::List { collection, at } => {
                let format = DocumentFormat::ExtendedJson.into();
                let request = ListIndexesRequest { database, collection, format, at_position: at };
                let ListIndexesResponse { indexes, building } =
                    collections.list_indexes(request).await?.into_inner();
                let rows: Vec<_> = indexes
                    .into_iter()
                    .map(|index| [index.name, text(index.keys), text(index.options)])
                    .collect();
                output.table(["NAME", "KEYS", "SPECIFICATION"], &rows)?;
                for build in building {
                    output.line(format_args!("building {}", describe_build(&build)))?;
                }
            }
            Self::Create { collection, keys, unique, options, name, write } => {
                let keys = Some(json(keys));
                let index =
                    Index { name: name.unwrap_or_default(), keys, unique, options: options.map(json) };
                let (index, write_concern) = (Some(index), write.concern());
                let request = CreateIndexRequest { database, collection, index, write_concern };
                let created = create(collections, request).await?;
                output.line(created.name)?;
                write.tell(created.acknowledgement, &mut output)?;
            }
            Self::Change { collection, name, hide, unhide, expire_after, rename, write } => {
                let request = ChangeIndexRequest {
                    database,
                    collection,
                    name,
                    hidden: (hide || unhide).then_some(hide),
                    expire_after_seconds: expire_after,
                    new_name: rename,
                    write_concern: write.concern(),
                };
                let done = collections.change_index(request).await?.into_inner();
                output.line("changed")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Quarantined { collection } => {
                let format = DocumentFormat::ExtendedJson.into();
                let request = ListQuarantinedRequest { database, collection, format };
                let mut listed = collections.list_quarantined(request).await?.into_inner();
                while let Some(quarantined) = listed.message().await? {
                    output.line(format_args!("{}  {}", quarantined.index, text(quarantined.document)))?;
                }
            }
            Self::Drop { collection, name, write } => {
                let (keys, write_concern) = (None, write.concern());
                let request = DropIndexRequest { database, collection, name, keys, write_concern };
                let done = collections.drop_index(request).await?.into_inner();
                output.line("dropped")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
        }
        output.flush()
    }
}

/// Creates an index and shows meanwhile how far the database's builds have come.
async fn create(
    collections: CollectionsClient<Channel>,
    request: CreateIndexRequest,
) -> Result<CreateIndexResponse, CliError> {
    let (mut watching, mut creating) = (collections.clone(), collections);
    let watch = WatchIndexBuildsRequest { database: request.database.clone() };
    // A server that cannot tell how far it is builds all the same.
    let mut builds = watching.watch_index_builds(watch).await.ok().map(Response::into_inner);
    let mut progress = BuildProgress::new();
    let mut created = std::pin::pin!(creating.create_index(request));
    let answer = loop {
        let told = async {
            match &mut builds {
                Some(builds) => builds.message().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = &mut created => break answer,
            told = told => match told {
                Ok(Some(WatchIndexBuildsResponse { build: Some(build) })) => progress.show(&build),
                Ok(Some(WatchIndexBuildsResponse { build: None })) => {}
                Ok(None) | Err(_) => builds = None,
            },
        }
    };
    progress.finish();
    Ok(answer?.into_inner())
}
