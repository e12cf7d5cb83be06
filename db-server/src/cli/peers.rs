//! `combdb peers`.

use clap::Subcommand;
use proto::v1::{AddPeerRequest, ListPeersRequest};

use super::Common;
use super::client::Client;
use super::output::Output;
use crate::error::CliError;

/// What to do with the peers.
#[derive(Debug, Subcommand)]
pub(crate) enum Peers {
    /// Prints this peer's own address and the peers that it knows
    List,
    /// Calls a peer and keeps in touch with it
    Add {
        /// Its address: IP:PORT, or ENDPOINT@IP:PORT as `combdb peers list` prints it there
        address: String,
    },
}

impl Peers {
    /// Does it.
    ///
    /// # Errors
    /// If the server refuses.
    pub(crate) async fn run(self, common: &Common) -> Result<(), CliError> {
        let client = Client::connect(common).await?;
        let mut output = Output::new();
        match self {
            Self::List => {
                let answer = client.peers().list(ListPeersRequest {}).await?.into_inner();
                for address in &answer.own_addresses {
                    output.line(format_args!("own address  {address}"))?;
                }
                let rows: Vec<_> = answer
                    .peers
                    .into_iter()
                    .map(|peer| {
                        let state = if peer.connected { "connected" } else { "away" };
                        [peer.endpoint, state.to_owned(), peer.address, peer.databases.join(", ")]
                    })
                    .collect();
                if !rows.is_empty() {
                    output.line("")?;
                    output.table(["PEER", "STATE", "ADDRESS", "DATABASES"], &rows)?;
                }
            }
            Self::Add { address } => {
                client.peers().add(AddPeerRequest { address }).await?;
                output.line("added")?;
            }
        }
        output.flush()
    }
}
