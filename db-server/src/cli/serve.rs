//! `combdb serve`: the options of a peer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::DEFAULT_ADDRESS;
use super::size::Size;
use crate::error::CliError;
use crate::serve::{self, Options};

/// What to hold, where to listen and whom to call.
#[derive(Args)]
#[command(after_help = "Examples:
  combdb serve --topic demo
  combdb serve --topic demo --data ./peer-b --listen 127.0.0.1:27028 --peer 127.0.0.1:41000

A topic's database is open: whoever knows the name and reaches this peer may read and write. Nothing leaves \
this machine unless --swarm-listen or --peer name another one. Databases that were created or joined before \
are held again. Ctrl-C stops cleanly; a second one at once.")]
pub(crate) struct Serve {
    /// Hold the open database of this topic, joining or starting it; may be given several times
    #[arg(long = "topic", value_name = "NAME")]
    topics: Vec<String>,
    /// The folder of the store; made if it does not exist [default: combdb under `$XDG_DATA_HOME` or `~/.local/share`]
    #[arg(long, value_name = "DIR", env = "COMBDB_DATA")]
    data: Option<PathBuf>,
    /// Where to serve gRPC; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_ADDRESS)]
    listen: SocketAddr,
    /// Serve gRPC to other machines as well: anybody who reaches the port may then read and write, since there is neither
    /// authentication nor encryption yet
    #[arg(long)]
    insecure_listen: bool,
    /// Call this peer: its address, IP:PORT or ENDPOINT@IP:PORT, or a ticket, whose database is joined; may be given
    /// several times. A ticket given here shows in the list of processes: `combdb join -` reads it from stdin
    #[arg(long = "peer", value_name = "ADDR|TICKET")]
    peers: Vec<String>,
    /// Where to meet peers (QUIC, UDP); port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    swarm_listen: SocketAddr,
    /// Write the address at which gRPC is served to this file once it is, for scripts
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
    /// How much to keep, in each database, of what confirmed entries have changed, as in 256MiB: as far back as that reaches,
    /// streams of confirmed changes can fall behind or be resumed (`watch --majority`), and past states are read at once
    /// (`--at`). 0 keeps nothing, so that no such stream gets far; what has been forgotten does not come back
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    change_history: Size,
    /// How long this peer, where it is an indexer, waits for another one that is away or says nothing while something is to be
    /// confirmed; then it goes on with a majority of the others
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    indexer_patience: u64,
}

// By hand, since a peer may be given as a ticket, which is a secret.
impl std::fmt::Debug for Serve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("topics", &self.topics)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl Serve {
    /// Runs the peer until it is stopped.
    ///
    /// # Errors
    /// If the store cannot be opened, an address not be taken, or a topic or peer is malformed.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        if !self.listen.ip().is_loopback() && !self.insecure_listen {
            return Err(CliError::Usage(format!(
                "{} can be reached from other machines, and gRPC has neither authentication nor encryption yet: listen \
                 on 127.0.0.1, or add --insecure-listen if everybody who reaches this port may read and write",
                self.listen
            )));
        }
        let data = match self.data {
            Some(folder) => folder,
            None => default_folder()?,
        };
        let options = Options {
            topics: self.topics,
            data,
            listen: self.listen,
            peers: self.peers,
            swarm_listen: self.swarm_listen,
            address_file: self.address_file,
            change_history_bytes: self.change_history.0,
            indexer_patience: Duration::from_secs(self.indexer_patience),
        };
        serve::run(options).await
    }
}

/// `$XDG_DATA_HOME/combdb`, `~/.local/share/combdb`, on Windows `%LOCALAPPDATA%\combdb`.
fn default_folder() -> Result<PathBuf, CliError> {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        from("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        from("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        from("XDG_DATA_HOME").or_else(|| from("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("combdb")).ok_or_else(|| {
        CliError::Usage("there is no home folder to put the data in: say where with --data".into())
    })
}
