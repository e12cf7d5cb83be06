//! The command line: what can be said, and who carries it out.

mod aggregate;
mod bulk;
mod client;
mod collections;
mod conflicts;
mod counts;
mod databases;
mod documents;
mod find;
mod find_and_modify;
mod history;
mod import;
mod indexes;
mod lines;
mod log;
mod options;
mod output;
mod peers;
mod progress;
mod receipts;
mod rejections;
mod serve;
mod size;
mod status;
mod tally;
mod transaction;
mod watch;
mod write_model;
mod writers;

use std::io::IsTerminal;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// The address at which a server listens unless told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:27027";

/// CombDB: a local-first document database with many writers.
///
/// `combdb serve` runs a peer; every other command talks to a running one.
#[derive(Debug, Parser)]
#[command(name = "combdb", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Examples:
  combdb serve --topic demo                                 run a peer; leave it running
  combdb import restaurants.jsonl.gz --collection restaurants
  combdb find restaurants '{\"rating\": {\"$gte\": 5.5}}' --sort '{\"name\": 1}' --limit 3
  combdb status                                             how the database stands
  combdb ticket                                             what another peer needs to join

Documents, filters and sort orders are MongoDB's Extended JSON.")]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct Common {
    /// The server to talk to
    #[arg(long, global = true, value_name = "ADDR", env = "COMBDB_SERVER", default_value = DEFAULT_ADDRESS)]
    server: String,
    /// The database; may be left out where the server has only one
    #[arg(long, global = true, value_name = "NAME", env = "COMBDB_DB")]
    db: Option<String>,
    /// What to log to stderr: error, warn, info, debug, trace, or a list like `info,db_core=debug`
    #[arg(long, global = true, value_name = "LEVEL", env = "COMBDB_LOG")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a peer: holds databases, serves gRPC, meets other peers
    Serve(serve::Serve),
    /// Imports documents from a file, one JSON object a line
    Import(import::Import),
    /// Finds documents and prints them, one JSON object a line
    Find(find::Find),
    /// Prints changes as they happen, one JSON object a line
    Watch(watch::Watch),
    /// Runs an aggregation pipeline and prints its results, one JSON object a line
    Aggregate(aggregate::Aggregate),
    /// Counts documents
    Count(counts::Count),
    /// Prints the distinct values of a field, one a line
    Distinct(counts::Distinct),
    /// Inserts documents given on the command line
    Insert(documents::Insert),
    /// Updates documents, by operators or by stages of a pipeline
    Update(documents::Update),
    /// Replaces a document
    Replace(documents::Replace),
    /// Deletes documents
    Delete(documents::Delete),
    /// Updates a document and prints it, as it was or as it is afterwards
    FindAndUpdate(find_and_modify::FindAndUpdate),
    /// Replaces a document and prints it, as it was or as it is afterwards
    FindAndReplace(find_and_modify::FindAndReplace),
    /// Deletes a document and prints it
    FindAndDelete(find_and_modify::FindAndDelete),
    /// Carries out many writes from a file, one a line
    Bulk(bulk::Bulk),
    /// Carries out the writes of a file together or not at all, over several collections
    Transaction(transaction::Transaction),
    /// Lists the changes of a document
    History(history::History),
    /// Tells who wrote each field of a document, when, and in which entry
    Blame(history::Blame),
    /// Shows the entries of the log and draws how they hang together
    #[command(subcommand)]
    Log(log::Log),
    /// Tells what has become of this peer's writes, or follows one until it is confirmed
    Receipts(receipts::Receipts),
    /// Tells how a database stands
    Status(status::Status),
    /// Creates a closed database, of which this peer is the first admin
    Create(databases::Create),
    /// Joins a database with a ticket
    Join(databases::Join),
    /// Prints a ticket with which another peer can join the database
    Ticket(databases::Ticket),
    /// Lists the databases of the server
    Databases(databases::List),
    /// Lists, creates, renames and drops collections
    #[command(subcommand)]
    Collections(collections::Collections),
    /// Creates, lists, changes and drops indexes
    #[command(subcommand)]
    Indexes(indexes::Indexes),
    /// Lists and settles what lost against concurrent changes
    #[command(subcommand)]
    Conflicts(conflicts::Conflicts),
    /// Lists what did not hold at its place in the order, does it again or gives it up
    #[command(subcommand)]
    Rejections(rejections::Rejections),
    /// Lists the writers of a database, says what they may do, names them, and changes their keys
    #[command(subcommand)]
    Writers(writers::Writers),
    /// Lists the peers and adds some by hand
    #[command(subcommand)]
    Peers(peers::Peers),
}

/// Carries out what the command line says.
///
/// # Errors
/// Whatever keeps the command from being done in full.
pub(crate) async fn run(cli: Cli) -> Result<(), CliError> {
    let common = &cli.common;
    match cli.command {
        Command::Serve(command) => command.run().await,
        Command::Import(command) => command.run(common).await,
        Command::Find(command) => command.run(common).await,
        Command::Watch(command) => command.run(common).await,
        Command::Aggregate(command) => command.run(common).await,
        Command::Count(command) => command.run(common).await,
        Command::Distinct(command) => command.run(common).await,
        Command::Insert(command) => command.run(common).await,
        Command::Update(command) => command.run(common).await,
        Command::Replace(command) => command.run(common).await,
        Command::Delete(command) => command.run(common).await,
        Command::FindAndUpdate(command) => command.run(common).await,
        Command::FindAndReplace(command) => command.run(common).await,
        Command::FindAndDelete(command) => command.run(common).await,
        Command::Bulk(command) => command.run(common).await,
        Command::Transaction(command) => command.run(common).await,
        Command::History(command) => command.run(common).await,
        Command::Blame(command) => command.run(common).await,
        Command::Log(command) => command.run(common).await,
        Command::Receipts(command) => command.run(common).await,
        Command::Status(command) => command.run(common).await,
        Command::Create(command) => command.run(common).await,
        Command::Join(command) => command.run(common).await,
        Command::Ticket(command) => command.run(common).await,
        Command::Databases(command) => command.run(common).await,
        Command::Collections(command) => command.run(common).await,
        Command::Indexes(command) => command.run(common).await,
        Command::Conflicts(command) => command.run(common).await,
        Command::Rejections(command) => command.run(common).await,
        Command::Writers(command) => command.run(common).await,
        Command::Peers(command) => command.run(common).await,
    }
}

/// Starts the log on stderr: information for a server, warnings for the other commands, unless told otherwise.
pub(crate) fn start_log(cli: &Cli) {
    let default = if matches!(cli.command, Command::Serve(_)) { "info" } else { "warn" };
    let wanted = cli.common.log.as_deref().unwrap_or(default);
    // The transports log every packet from `info` on; they are heard only when asked for by name.
    let quiet =
        "h2=warn,hyper=warn,tower=warn,iroh=warn,quinn=warn,rustls=warn,netwatch=warn,portmapper=warn";
    let filter = EnvFilter::try_new(format!("{quiet},{wanted}")).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
