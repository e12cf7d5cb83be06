//! `combdb collections`.

use clap::Subcommand;
use proto::v1::{
    CreateCollectionRequest, DropCollectionRequest, ListCollectionsRequest, RenameCollectionRequest,
};

use super::Common;
use super::client::{Client, json};
use super::output::Output;
use crate::error::CliError;

/// What to do with the collections of a database.
#[derive(Debug, Subcommand)]
pub(crate) enum Collections {
    /// Lists the collections of the database
    List {
        /// Those there were after the entry at this position of the order (see `combdb log show`)
        #[arg(long, value_name = "POSITION")]
        at: Option<u64>,
    },
    /// Creates a collection; only needed for one with a collation, as inserting creates others
    Create {
        /// The collection
        collection: String,
        /// How its queries and indexes compare strings unless they say otherwise, such as '{"locale": "de", "strength": 1}'
        #[arg(long, value_name = "COLLATION")]
        collation: Option<String>,
    },
    /// Gives a collection another name
    Rename {
        /// The collection
        collection: String,
        /// Its new name
        new_name: String,
        /// Drops a collection that has the new name already
        #[arg(long)]
        drop_target: bool,
    },
    /// Drops a collection with its documents and indexes
    Drop {
        /// The collection
        collection: String,
    },
}

impl Collections {
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
            Self::List { at } => {
                let request = ListCollectionsRequest { database, at_position: at };
                for name in collections.list(request).await?.into_inner().collections {
                    output.line(name)?;
                }
            }
            Self::Create { collection, collation } => {
                let collation = collation.map(json);
                collections.create(CreateCollectionRequest { database, collection, collation }).await?;
                output.line("created")?;
            }
            Self::Rename { collection, new_name, drop_target } => {
                let request = RenameCollectionRequest { database, collection, new_name, drop_target };
                collections.rename(request).await?;
                output.line("renamed")?;
            }
            Self::Drop { collection } => {
                collections.drop(DropCollectionRequest { database, collection }).await?;
                output.line("dropped")?;
            }
        }
        output.flush()
    }
}
