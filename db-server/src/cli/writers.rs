//! `combdb writers`.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Subcommand, ValueEnum};
use proto::v1::{
    AddWriterRequest, GiveUpOwnEntriesRequest, ListWritersRequest, RemoveWriterRequest, ReplaceWriterRequest,
    Role, RotateRequest, SetIndexersRequest, SetNameRequest, Writer, WriterState,
};

use super::Common;
use super::client::Client;
use super::log::time_of;
use super::options::WriteArguments;
use super::output::{Output, thousands};
use crate::error::CliError;

/// What to do with the writers of the database that `--db` names.
#[derive(Debug, Subcommand)]
pub(crate) enum Writers {
    /// Lists the writers
    List,
    /// Admits a writer; this peer must be an admin
    Add {
        /// Its public key: `combdb status` prints it on its own peer
        key: String,
        /// What it may do; may be said several times
        #[arg(long = "role", value_enum, default_values_t = [RoleName::Writer])]
        roles: Vec<RoleName>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Changes what a writer may do, to these roles exactly; this peer must be an admin
    SetRole {
        /// Its public key
        key: String,
        /// What it may do from here on
        #[arg(value_enum, required = true)]
        roles: Vec<RoleName>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Names a writer: this peer itself, or as an admin any
    Name {
        /// What to call it; empty: nothing
        name: String,
        /// Its public key; left out: this peer's own
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Goes on with a new key and a new log, to which rights and name of this peer pass
    #[command(
        after_help = "The old key has no rights from there on. A peer that was restored from a backup and lacks entries of \
its own log goes on so without forking that."
    )]
    Rotate {
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Goes on without entries of this peer's own that are lost for good
    #[command(
        after_help = "After the restore of a backup other peers may hold entries that this peer has written since: they are \
fetched when it meets them. If nobody has them any more, this lets the peer go on; if somebody has them all the same, the peer's log is \
forked from then on, and its rights are lost. `combdb writers rotate` forks nothing: prefer it, but where the old key is an indexer \
whose vote everything waits for."
    )]
    GiveUp,
    /// Lets a writer go on for one whose key is lost or revoked; this peer must be an admin
    Replace {
        /// The key that is lost or revoked
        from: String,
        /// The key that goes on for it
        to: String,
        /// What it may do; left out: what the other might
        #[arg(long = "role", value_enum)]
        roles: Vec<RoleName>,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Withdraws a writer's right to write
    Remove {
        /// Its public key
        key: String,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Says whose entries vote on the order from here on
    SetIndexers {
        /// Their public keys
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        write: WriteArguments,
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
    /// Writes nothing, also in an open database
    Reader,
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
            Self::Add { key, roles, write } => {
                let done = writers.add(set_roles(database, key, &roles, &write)).await?.into_inner();
                output.line("added")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::SetRole { key, roles, write } => {
                let done = writers.add(set_roles(database, key, &roles, &write)).await?.into_inner();
                output.line("changed")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Name { name, key, write } => {
                let (key, write_concern) = (key.unwrap_or_default(), write.concern());
                let request = SetNameRequest { database, key, name, write_concern };
                let done = writers.set_name(request).await?.into_inner();
                output.line("named")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Rotate { write } => {
                let request = RotateRequest { database: database.clone(), write_concern: write.concern() };
                let rotation = writers.rotate(request).await?.into_inner();
                output.line(format_args!("from       {}", rotation.from))?;
                output.line(format_args!("to         {}", rotation.to))?;
                if !rotation.linked {
                    let list = writers.list(ListWritersRequest { database }).await?.into_inner().writers;
                    let from = goes_on_for(&list, &rotation.from);
                    output.line("note       the old key had no rights that could pass to the new one: an admin may let it go on for")?;
                    output.line(format_args!(
                        "           the one that had them last (`combdb writers replace {from} {}`)",
                        rotation.to
                    ))?;
                }
                write.tell(rotation.acknowledgement, &mut output)?;
            }
            Self::GiveUp => {
                writers.give_up_own_entries(GiveUpOwnEntriesRequest { database }).await?;
                output.line("given up")?;
            }
            Self::Replace { from, to, roles, write } => {
                let roles = roles.iter().map(|role| role.proto().into()).collect();
                let request =
                    ReplaceWriterRequest { database, from, to, roles, write_concern: write.concern() };
                let done = writers.replace(request).await?.into_inner();
                output.line("replaced")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::Remove { key, write } => {
                let request = RemoveWriterRequest { database, key, write_concern: write.concern() };
                let done = writers.remove(request).await?.into_inner();
                output.line("removed")?;
                write.tell(done.acknowledgement, &mut output)?;
            }
            Self::SetIndexers { keys, write } => {
                let count = keys.iter().collect::<BTreeSet<_>>().len();
                let request = SetIndexersRequest { database, keys, write_concern: write.concern() };
                let done = writers.set_indexers(request).await?.into_inner();
                output.line(format_args!("{count} indexer{}", if count == 1 { "" } else { "s" }))?;
                write.tell(done.acknowledgement, &mut output)?;
            }
        }
        output.flush()
    }
}

impl RoleName {
    fn proto(self) -> Role {
        match self {
            Self::Writer => Role::Writer,
            Self::Indexer => Role::Indexer,
            Self::Admin => Role::Admin,
            Self::Reader => Role::Reader,
        }
    }
}

fn set_roles(database: String, key: String, roles: &[RoleName], write: &WriteArguments) -> AddWriterRequest {
    let mut roles = roles.iter().map(|role| i32::from(role.proto()));
    let role = roles.next().unwrap_or_default();
    AddWriterRequest { database, key, role, more_roles: roles.collect(), write_concern: write.concern() }
}

/// The words for what a writer may do.
pub(crate) fn roles(writer: &Writer) -> String {
    let roles = [
        (writer.may_write, "writer"),
        (writer.indexer, "indexer"),
        (writer.admin, "admin"),
        (writer.reader, "reader"),
    ];
    let words: Vec<&str> = roles.into_iter().filter_map(|(has, word)| has.then_some(word)).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// A writer's name as it may be printed.
pub(crate) fn name_of(writer: &Writer) -> String {
    writer.name.chars().filter(|c| !c.is_control()).collect()
}

/// The last of the keys that have gone on for one another from this one on.
fn goes_on_for<'a>(writers: &'a [Writer], key: &'a str) -> &'a str {
    let mut last = key;
    for _ in writers {
        let next = writers.iter().find(|writer| writer.key == last).map(|writer| writer.replaced_by.as_str());
        last = next.filter(|next| !next.is_empty()).unwrap_or(last);
    }
    last
}

/// Prints writers, one a line.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn writer_table(output: &mut Output, writers: Vec<Writer>) -> Result<(), CliError> {
    let rows: Vec<_> = writers
        .into_iter()
        .map(|writer| {
            let mut remarks = Vec::new();
            if writer.local {
                remarks.push("this peer".to_owned());
            }
            if !writer.identity.is_empty() && writer.identity != writer.key {
                remarks.push(format!("goes on for {}", short(&writer.identity)));
            }
            let state = match writer.state() {
                WriterState::Replaced => {
                    remarks.push(format!("replaced by {}", short(&writer.replaced_by)));
                    "replaced"
                }
                WriterState::Forked => "FORKED",
                WriterState::NotAdmitted => "not admitted",
                _ => "active",
            };
            let name = name_of(&writer);
            [
                roles(&writer),
                state.to_owned(),
                thousands(writer.entries),
                writer.last_time_ms.map(time_of).unwrap_or_default(),
                name,
                writer.key,
                remarks.join(", "),
            ]
        })
        .collect();
    output.table(["ROLES", "STATE", "ENTRIES", "LAST ENTRY", "NAME", "WRITER", ""], &rows)
}

/// What the writers of a database are called, by their keys.
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Asks the server.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn of(client: &Client, database: String) -> Result<Self, CliError> {
        let list = client.writers().list(ListWritersRequest { database }).await?.into_inner();
        let names = list.writers.into_iter().map(|writer| (writer.key.clone(), name_of(&writer)));
        Ok(Self(names.filter(|(_, name)| !name.is_empty()).collect()))
    }

    /// What the writer with this key is called; none if it has no name.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// What to call the writer with this key: its name, or the first digits of its key.
    pub(crate) fn show(&self, key: &str) -> String {
        self.get(key).map_or_else(|| short(key).to_owned(), |name| format!("{name} {}", short(key)))
    }
}

fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}
