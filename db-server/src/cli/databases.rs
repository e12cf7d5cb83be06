//! `combdb create`, `combdb join`, `combdb ticket` and `combdb databases`.

use std::io::Read;

use clap::Args;
use proto::v1::{
    CreateDatabaseRequest, CreateTicketRequest, DatabaseInfo, JoinDatabaseRequest, ListDatabasesRequest,
};

use super::Common;
use super::client::Client;
use super::output::Output;
use crate::error::CliError;

/// The database to create.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name on this peer: 1 to 120 characters out of a-z 0-9 _ . -
    name: String,
}

impl Create {
    /// Creates the database.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let answer = client.databases().create(CreateDatabaseRequest { name: self.name }).await?.into_inner();
        describe(&answer.database.unwrap_or_default())?.flush()
    }
}

/// The database to join.
#[derive(Args)]
pub(crate) struct Join {
    /// The ticket, or - to read it from stdin, where no list of processes shows it
    ticket: String,
    /// The name to give the database on this peer; left out: the one that the ticket suggests
    #[arg(long)]
    name: Option<String>,
}

// By hand, since a ticket is a secret.
impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The longest ticket that is read from stdin, in bytes.
const TICKET_BYTES_MAX: u64 = 64 * 1024;

impl Join {
    /// Joins the database.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let mut ticket = self.ticket;
        if ticket == "-" {
            ticket.clear();
            std::io::stdin()
                .take(TICKET_BYTES_MAX)
                .read_to_string(&mut ticket)
                .map_err(CliError::io("stdin"))?;
        }
        let client = Client::connect(common).await?;
        let request =
            JoinDatabaseRequest { ticket: ticket.trim().to_owned(), name: self.name.unwrap_or_default() };
        let database = client.databases().join(request).await?.into_inner().database.unwrap_or_default();
        let mut output = describe(&database)?;
        if !database.open {
            output.line("note      it may be read here as soon as a peer has sent it; to write, an admin must let this peer in:")?;
            output.line(format_args!("          combdb writers add {}", database.writer_key))?;
        }
        output.flush()
    }
}

/// A ticket for the database that `--db` names.
#[derive(Debug, Args)]
#[command(
    after_help = "The ticket holds the database's key: whoever has it may read. To write in a closed database, \
                        a peer must be added with `combdb writers add` as well."
)]
pub(crate) struct Ticket {}

impl Ticket {
    /// Prints the ticket.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let answer = client.tickets().create(CreateTicketRequest { database }).await?.into_inner();
        let mut output = Output::new();
        output.line(answer.ticket)?;
        output.flush()
    }
}

/// The list of databases.
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    /// Prints the databases.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let databases = client.databases().list(ListDatabasesRequest {}).await?.into_inner().databases;
        let rows: Vec<_> = databases
            .into_iter()
            .map(|database| [database.name, kind(database.open).to_owned(), database.writer_key])
            .collect();
        let mut output = Output::new();
        output.table(["NAME", "KIND", "WRITER"], &rows)?;
        output.flush()
    }
}

/// The word for who may write.
pub(crate) fn kind(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}

fn describe(database: &DatabaseInfo) -> Result<Output, CliError> {
    let mut output = Output::new();
    output.line(format_args!("database  {} ({})", database.name, kind(database.open)))?;
    output.line(format_args!("writer    {}", database.writer_key))?;
    Ok(output)
}
