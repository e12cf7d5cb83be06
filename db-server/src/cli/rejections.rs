//! `combdb rejections`.

use clap::Subcommand;
use proto::v1::{
    DiscardRequest, DocumentFormat, ListRejectionsRequest, RejectedOperation, Rejection, ResubmitRequest,
    WatchRejectionsRequest,
};

use super::Common;
use super::client::{Client, text};
use super::log::codes_words;
use super::options::WriteArguments;
use super::output::Output;
use super::writers::Names;
use crate::error::CliError;

/// What to do with what did not hold at its place in the order.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  combdb rejections list                  what was rejected and is not dealt with yet
  combdb rejections watch                 this peer's own, as they come up
  combdb rejections resubmit 5d2f….0      does it again, on what the database holds now
  combdb rejections discard 5d2f….0       gives it up

A write that was made apart from others may not hold where it meets them: its key is taken, its filter no longer \
matches. Then it changes nothing, and stays listed on all peers until somebody does it again or gives it up.")]
pub(crate) enum Rejections {
    /// Lists what was rejected and is not dealt with yet
    List {
        /// Only this peer's own writes
        #[arg(long)]
        own: bool,
    },
    /// Prints the rejections of this peer's own writes: those that are listed, and those that come up
    Watch,
    /// Does again what was rejected, all of it or nothing, and takes it off the list
    Resubmit {
        /// The rejection, as `combdb rejections list` names it
        rejection: String,
        #[command(flatten)]
        write: WriteArguments,
    },
    /// Gives up what was rejected: takes it off the list
    Discard {
        /// The rejections, as `combdb rejections list` names them
        #[arg(required = true, value_name = "REJECTION")]
        rejections: Vec<String>,
        #[command(flatten)]
        write: WriteArguments,
    },
}

impl Rejections {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses or stdout cannot be written.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let database = client.database().await?;
        let format = DocumentFormat::ExtendedJson.into();
        let mut output = Output::new();
        match self {
            Self::List { own } => {
                let names = Names::of(&client, database.clone()).await?;
                let request = ListRejectionsRequest { database, own, format };
                let mut listed = client.rejections().list(request).await?.into_inner();
                while let Some(rejection) = listed.message().await? {
                    output.line(line(rejection, &names))?;
                }
            }
            Self::Watch => {
                let names = Names::of(&client, database.clone()).await?;
                let request = WatchRejectionsRequest { database, format };
                let mut told = client.rejections().watch(request).await?.into_inner();
                while let Some(rejection) = told.message().await? {
                    output.line(line(rejection, &names))?;
                    output.flush()?;
                }
            }
            Self::Resubmit { rejection, write } => {
                let request = ResubmitRequest { database, id: rejection, write_concern: write.concern() };
                let done = client.rejections().resubmit(request).await?.into_inner().acknowledgement;
                let entry = done.as_ref().map(|done| done.entry.as_str()).unwrap_or_default();
                output.line(format_args!("done again in entry {entry}"))?;
                write.tell(done, &mut output)?;
            }
            Self::Discard { rejections, write } => {
                for id in rejections {
                    let (database, write_concern) = (database.clone(), write.concern());
                    let request = DiscardRequest { database, id, write_concern };
                    let done = client.rejections().discard(request).await?.into_inner();
                    output.line("discarded")?;
                    write.tell(done.acknowledgement, &mut output)?;
                    output.flush()?;
                }
            }
        }
        output.flush()
    }
}

/// A rejection as a line: its name, why, by whom, and what was asked for.
fn line(rejection: Rejection, names: &Names) -> String {
    let Rejection { id, writer, count, parts, command } = rejection;
    let why = codes_words(&[RejectedOperation { operation: 0, count, parts }]);
    let writer = names.show(&writer);
    let command = if command.is_some() { text(command) } else { "(cannot be read)".to_owned() };
    format!("{id}  {why} of {writer}: {command}")
}
