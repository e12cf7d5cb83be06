//! `combdb status`.

use clap::Args;
use proto::v1::{DatabaseStatusRequest, DatabaseStatusResponse};

use super::Common;
use super::client::Client;
use super::databases::kind;
use super::output::{Output, thousands};
use super::writers::{name_of, roles, writer_table};
use crate::error::CliError;

/// What to tell of the database that `--db` names.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Compute the digests of view and order as well: equal on peers that hold the same
    #[arg(long)]
    digest: bool,
}

impl Status {
    /// Prints how the database stands.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let request = DatabaseStatusRequest { database: client.database().await?, with_digest: self.digest };
        let status = client.databases().status(request).await?.into_inner();
        let mut output = Output::new();
        print(&mut output, status)?;
        output.flush()
    }
}

fn print(output: &mut Output, status: DatabaseStatusResponse) -> Result<(), CliError> {
    let database = status.database.unwrap_or_default();
    output.line(format_args!("database   {} ({})", database.name, kind(database.open)))?;
    output.line(format_args!("id         {}", database.id))?;
    let own = status.writers.iter().find(|writer| writer.local);
    let role = match own {
        Some(own) => roles(own),
        None if database.open => "has not written yet, and may".to_owned(),
        None => "reads; to write it must be added".to_owned(),
    };
    output.line(format_args!("writer     {} ({role})", database.writer_key))?;
    output.line(format_args!(
        "entries    {}: {} confirmed, {} in the tail, epoch {}",
        thousands(status.entries),
        thousands(status.confirmed),
        thousands(status.tail),
        status.epoch
    ))?;
    if status.waiting > 0 {
        output.line(format_args!("waiting    {} entries, to be put in order", thousands(status.waiting)))?;
    }
    if status.reads_wait {
        output.line("note       reads wait until all is in order, but for those of the concern majority")?;
    }
    output.line(format_args!(
        "work       {} applied, {} undone since the server started",
        thousands(status.applied),
        thousands(status.undone)
    ))?;
    output.line(format_args!("peers      {} connected", status.connected_peers))?;
    if database.open && status.epoch == 0 {
        output.line("note       nobody has named indexers yet, so nothing is confirmed: `combdb writers set-indexers`,")?;
        output.line("           once and on one peer only, names those whose entries settle the order")?;
    }
    if !status.view_digest.is_empty() {
        output.line(format_args!("view       {}", status.view_digest))?;
        output.line(format_args!("order      {}", status.order_digest))?;
    }
    if status.misses_own_entries {
        output.line("WARNING    peers hold entries of this peer's own log that its store does not: it was restored from a backup or")?;
        output.line("           copied. It signs nothing with that log's key until they are fetched; `combdb writers rotate` goes on")?;
        output.line(
            "           with a new key, `combdb writers give-up` without them if they are lost for good",
        )?;
    }
    if let Some(own) = status.writers.iter().find(|writer| writer.local && !writer.replaced_by.is_empty()) {
        output.line(format_args!(
            "WARNING    another key, which this store does not hold, goes on for this peer's: {}",
            own.replaced_by
        ))?;
        output.line(
            "           To write again it takes a new one (`combdb writers rotate`), which an admin lets in",
        )?;
    }
    for indexer in &status.alarms {
        let name = status.writers.iter().find(|writer| writer.key == *indexer).map(name_of);
        let name = name.filter(|name| !name.is_empty()).map(|name| format!(" ({name})")).unwrap_or_default();
        output.line(format_args!(
            "ALARM      indexer {indexer}{name} has forked its log: what it has confirmed may be"
        ))?;
        output.line("           confirmed otherwise elsewhere")?;
    }
    for forked in &status.forked_writers {
        output.line(format_args!("FORKED     {forked}: its log holds two entries in one place"))?;
    }
    if !status.collections.is_empty() {
        output.line("")?;
        let rows: Vec<_> = status
            .collections
            .into_iter()
            .map(|collection| {
                [collection.name, thousands(collection.documents), collection.indexes.to_string()]
            })
            .collect();
        output.table(["COLLECTION", "DOCUMENTS", "INDEXES"], &rows)?;
    }
    if !status.writers.is_empty() {
        output.line("")?;
        writer_table(output, status.writers)?;
    }
    Ok(())
}
