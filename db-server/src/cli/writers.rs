//! `combdb writers`.

use clap::{Subcommand, ValueEnum};
use proto::v1::{
    AddWriterRequest, ListWritersRequest, RemoveWriterRequest, Role, SetIndexersRequest, Writer,
};

use super::Common;
use super::client::Client;
use super::output::{Output, thousands};
use crate::error::CliError;

/// What to do with the writers of the database that `--db` names.
#[derive(Debug, Subcommand)]
pub(crate) enum Writers {
    /// Lists the writers
    List,
    /// Admits a writer, or gives it another role; this peer must be an admin
    Add {
        /// Its public key: `combdb status` prints it on its own peer
        key: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = RoleName::Writer)]
        role: RoleName,
    },
    /// Withdraws a writer's right to write
    Remove {
        /// Its public key
        key: String,
    },
    /// Says whose entries vote on the order from here on
    SetIndexers {
        /// Their public keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
}

/// The roles by the words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    /// Writes documents, collections and indexes
    Writer,
    /// Votes on the order
    Indexer,
    /// Admits and removes writers
    Admin,
}

impl Writers {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let mut writers = client.writers();
        let mut output = Output::new();
        match self {
            Self::List => {
                let list = writers.list(ListWritersRequest { database }).await?.into_inner().writers;
                writer_table(&mut output, list)?;
            }
            Self::Add { key, role } => {
                let role = match role {
                    RoleName::Writer => Role::Writer,
                    RoleName::Indexer => Role::Indexer,
                    RoleName::Admin => Role::Admin,
                };
                writers.add(AddWriterRequest { database, key, role: role.into() }).await?;
                output.line("added")?;
            }
            Self::Remove { key } => {
                writers.remove(RemoveWriterRequest { database, key }).await?;
                output.line("removed")?;
            }
            Self::SetIndexers { keys } => {
                let count = keys.len();
                writers.set_indexers(SetIndexersRequest { database, keys }).await?;
                output.line(format_args!("{count} indexer{}", if count == 1 { "" } else { "s" }))?;
            }
        }
        output.flush()
    }
}

/// The words for what a writer may do.
pub(crate) fn roles(writer: &Writer) -> String {
    let roles = [(writer.may_write, "writer"), (writer.indexer, "indexer"), (writer.admin, "admin")];
    let words: Vec<&str> = roles.into_iter().filter_map(|(has, word)| has.then_some(word)).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// Prints writers, one a line.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn writer_table(output: &mut Output, writers: Vec<Writer>) -> Result<(), CliError> {
    let rows: Vec<_> = writers
        .into_iter()
        .map(|writer| {
            let mut remark = if writer.local { "this peer" } else { "" };
            if writer.forked {
                remark = "FORKED";
            }
            [roles(&writer), thousands(writer.entries), writer.key, remark.to_owned()]
        })
        .collect();
    output.table(["ROLES", "ENTRIES", "WRITER", ""], &rows)
}
