//! `combdb collections`.

use clap::Subcommand;
use proto::v1::{
    CreateCollectionRequest, DropCollectionRequest, ListCollectionsRequest, RenameCollectionRequest,
};

use super::Common;
use super::client::{Client, json};
use super::options::WriteArguments;
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
        #[command(flatten)]
        write: WriteArguments,
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
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Drops a collection with its documents and indexes
    Drop {
        /// The collection
        collection: String,
        #[command(flatten)]
        write: WriteArguments,
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
            Self::Create { collection, collation, write } => {
                let (collation, write_concern) = (collation.map(json), write.concern());
                let request = CreateCollectionRequest { database, collection, collation, write_concern };
                let done = collections.create(request).await?.into_inner();
                output.line("created")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Rename { collection, new_name, drop_target, write } => {
                let write_concern = write.concern();
                let request =
                    RenameCollectionRequest { database, collection, new_name, drop_target, write_concern };
                let done = collections.rename(request).await?.into_inner();
                output.line("renamed")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Drop { collection, write } => {
                let request = DropCollectionRequest { database, collection, write_concern: write.concern() };
                let done = collections.drop(request).await?.into_inner();
                output.line("dropped")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
        }
        output.flush()
    }
}
