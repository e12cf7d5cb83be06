//! `combdb indexes`.

use clap::Subcommand;
use proto::v1::{
    ChangeIndexRequest, CreateIndexRequest, DocumentFormat, DropIndexRequest, Index, ListIndexesRequest,
};

use super::Common;
use super::client::{Client, json, text};
use super::output::Output;
use crate::error::CliError;

/// What to do with the indexes of a collection.
#[derive(Debug, Subcommand)]
pub(crate) enum Indexes {
    /// Lists the indexes of a collection
    List {
        /// The collection
        collection: String,
    },
    /// Creates an index, over existing documents too
    #[command(after_help = "Example:
  combdb indexes create restaurants '{\"type_of_food\": 1, \"rating\": -1}'")]
    Create {
        /// The collection
        collection: String,
        /// The indexed paths, 1 for ascending and -1 for descending
        keys: String,
        /// No two documents may share a key
        #[arg(long)]
        unique: bool,
        /// Other options by MongoDB's names, such as '{"sparse": true}'
        #[arg(long, value_name = "OPTIONS")]
        options: Option<String>,
        /// Its name; left out: made from the keys
        #[arg(long)]
        name: Option<String>,
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
    },
    /// Drops an index
    Drop {
        /// The collection
        collection: String,
        /// The index's name; '*' for all but the one on _id
        name: String,
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
            Self::List { collection } => {
                let format = DocumentFormat::ExtendedJson.into();
                let request = ListIndexesRequest { database, collection, format };
                let indexes = collections.list_indexes(request).await?.into_inner().indexes;
                let rows: Vec<_> = indexes
                    .into_iter()
                    .map(|index| [index.name, text(index.keys), text(index.options)])
                    .collect();
                output.table(["NAME", "KEYS", "SPECIFICATION"], &rows)?;
            }
            Self::Create { collection, keys, unique, options, name } => {
                let keys = Some(json(keys));
                let index =
                    Index { name: name.unwrap_or_default(), keys, unique, options: options.map(json) };
                let request = CreateIndexRequest { database, collection, index: Some(index) };
                output.line(collections.create_index(request).await?.into_inner().name)?;
            }
            Self::Change { collection, name, hide, unhide, expire_after, rename } => {
                let request = ChangeIndexRequest {
                    database,
                    collection,
                    name,
                    hidden: (hide || unhide).then_some(hide),
                    expire_after_seconds: expire_after,
                    new_name: rename,
                };
                collections.change_index(request).await?;
                output.line("changed")?;
            }
            Self::Drop { collection, name } => {
                let request = DropIndexRequest { database, collection, name, keys: None };
                collections.drop_index(request).await?;
                output.line("dropped")?;
            }
        }
        output.flush()
    }
}
