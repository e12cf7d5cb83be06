//! A peer from start to stop: store, swarm and gRPC server, and a clean end.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db_core::swarm::PeerHint;
use db_core::{Database, Store};
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::error::CliError;
use crate::grpc;
use crate::node::Node;
use crate::peering::Peering;
use crate::running::Running;

/// How long running calls may take to end once the peer is told to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// The longest that a call may take before its first answer.
const CALL_TIME_MAX: Duration = Duration::from_mins(5);

/// How many calls one connection may have open at once.
const STREAMS_MAX: u32 = 256;

/// How many of them are looked after at once.
const CALLS_PER_CONNECTION_MAX: usize = 64;

/// How often a silent connection is asked whether it still lives, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// The longest headers of a call, in bytes.
const HEADER_BYTES_MAX: u32 = 32 * 1024;

/// How many bytes of requests may be on their way, per call and per connection.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// What a peer holds, where it listens and whom it calls.
pub(crate) struct Options {
    /// The topics whose open databases it holds.
    pub(crate) topics: Vec<String>,
    /// The store's folder.
    pub(crate) data: PathBuf,
    /// Where gRPC is served.
    pub(crate) listen: SocketAddr,
    /// Addresses and tickets of peers.
    pub(crate) peers: Vec<String>,
    /// Where peers are met.
    pub(crate) swarm_listen: SocketAddr,
    /// Where the address of gRPC is written once it is served.
    pub(crate) address_file: Option<PathBuf>,
    /// How many bytes of confirmed changes each database keeps.
    pub(crate) change_history_bytes: u64,
    /// How long an indexer that says nothing is waited for.
    pub(crate) indexer_patience: Duration,
}

/// Runs a peer until it is told to stop, and closes it.
///
/// # Errors
/// If it cannot start, or serving fails.
pub(crate) async fn run(options: Options) -> Result<(), CliError> {
    // Signals are watched for from the beginning: a stop while the store opens is a clean one too.
    let stop = Stop::watch()?;
    let incoming = TcpIncoming::bind(options.listen)
        .map_err(CliError::io(format!("cannot listen on {}", options.listen)))?
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE_INTERVAL));
    let address = incoming.local_addr().map_err(CliError::io("the listening socket"))?;
    let node = start(&options).await?;
    let routes = grpc::routes(node.clone()).await.map_err(|error| CliError::Incomplete(error.to_string()))?;

    announce(&node, address).await?;
    if let Some(file) = &options.address_file {
        write_whole(file, &address.to_string()).map_err(CliError::io(file.display().to_string()))?;
    }
    let running = Running::default();
    let (drain, draining) = oneshot::channel::<()>();
    let serving = Server::builder()
        .timeout(CALL_TIME_MAX)
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .serve_with_incoming_shutdown(running.counting(routes.prepare()), incoming, async {
            let _ = draining.await; // a dropped sender says stop as well
        });
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = stop.requested() => {
            tracing::info!("stopping: running calls may end within {DRAIN_PATIENCE:?}; Ctrl-C again stops at once");
            running.end_streams();
            node.end_waits();
            let _ = drain.send(());
            tokio::select! {
                outcome = &mut serving => outcome,
                () = running.drained() => Ok(()),
                () = tokio::time::sleep(DRAIN_PATIENCE) => {
                    tracing::warn!("some calls were cut off");
                    Ok(())
                }
            }
        }
    };
    node.stop().await?;
    tracing::info!("stopped");
    outcome.map_err(CliError::from)
}

/// Opens the store with its databases and those asked for, and calls the peers.
async fn start(options: &Options) -> Result<Node, CliError> {
    let hints = options.peers.iter().map(|peer| peer.parse::<PeerHint>()).collect::<Result<Vec<_>, _>>();
    let hints = hints.map_err(|error| CliError::Usage(format!("--peer: {error}")))?;
    let folder = options.data.clone();
    let store = blocking(move || Store::open(&folder)).await?;
    store.set_change_history(options.change_history_bytes);
    store.set_indexer_patience(options.indexer_patience);
    let peering = Peering::listen(*store.endpoint_secret(), options.swarm_listen).await?;
    let node = Node::new(store, peering);
    for topic in options.topics.clone() {
        node.hold(move |store| store.open_topic(&topic)).await?;
    }
    for database in node.databases().await? {
        node.peering().hold(&database);
    }
    for hint in hints {
        if let PeerHint::Ticket(ticket) = hint {
            let addresses = ticket.addresses.clone();
            let database = node.hold(move |store| store.join(&ticket)).await?;
            node.peering().call(&database, addresses);
        } else {
            let databases = node.databases().await?;
            node.peering()
                .add(&hint, &databases)
                .map_err(|error| CliError::Usage(format!("--peer: {error}")))?;
        }
    }
    Ok(node)
}

async fn blocking<T, W>(work: W) -> Result<T, CliError>
where
    T: Send + 'static,
    W: FnOnce() -> db_core::Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(CliError::Incomplete("the store did not open: this is a fault of the program".into())),
    }
}

/// Says on stdout where the peer can be reached.
async fn announce(node: &Node, address: SocketAddr) -> Result<(), CliError> {
    let databases = node.databases().await?;
    let names: Vec<&str> = databases.iter().map(Database::name).collect();
    let text = format!(
        "serving gRPC on {address}\nmeeting peers at {}\ndatabases: {}\n",
        node.peering().address(),
        names.join(", ")
    );
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::io("stdout")(error)),
        _ => Ok(()), // a server goes on when nobody reads its greeting
    }
}

/// Writes a file so that whoever finds it finds all of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    std::fs::write(&name, text)?;
    std::fs::rename(&name, path)
}

/// The signals that ask for a stop.
struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Watches for Ctrl-C and, on Unix, SIGTERM: the first asks for a clean stop, the second ends the program.
    fn watch() -> Result<Self, CliError> {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        #[cfg(unix)]
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(CliError::io("cannot watch for signals"))?;
        #[cfg(unix)]
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
            .map_err(CliError::io("cannot watch for signals"))?;
        tokio::spawn(async move {
            for count in 1.. {
                #[cfg(unix)]
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                #[cfg(not(unix))]
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                if count > 1 {
                    std::process::exit(130);
                }
                let _ = sender.send(true); // nobody listens any more: it is stopping already
            }
        });
        Ok(Self(receiver))
    }

    /// Waits for the first signal.
    async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await; // signals cannot be watched any more
        }
    }
}
