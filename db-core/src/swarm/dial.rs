//! Dialing: peers whose endpoint is known, and addresses of which only a member's answer tells whose they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::{EndpointAddr, PublicKey};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::peering::{Peering, run_session, serve};
use super::shared::Shared;
use super::{handle, identify};
use crate::driver::write_topic;
use crate::error_line::error_line;
use crate::ids::Topic;
use crate::peer_address::{EndpointKey, PeerAddress};

/// After how many failures in a row a peer is forgotten that was not given by hand.
const FAILURES_MAX: u32 = 8;
/// A session that lasted this long, whoever dialed it, was a success, whatever ended it.
const SUCCESS: Duration = Duration::from_secs(10);

/// Keeps a session with a peer on a topic, dialing whenever there is none.
pub(super) async fn dial(shared: Arc<Shared>, topic: Topic, endpoint: EndpointKey) {
    let mut backoff = Backoff::new(&shared);
    let mut failures = 0;
    loop {
        let begin = Instant::now();
        shared.until(|roster| !roster.has_session(&topic, &endpoint)).await;
        let Some(sockets) = shared.roster().sockets(&topic, &endpoint) else { return };
        let ended = dial_once(&shared, &topic, endpoint, sockets).await;
        if begin.elapsed() >= SUCCESS {
            backoff.reset();
            failures = 0;
        } else {
            failures += 1;
        }
        if let Err(error) = ended {
            debug!(peer = %endpoint.short(), topic = %topic.short(), error, "dialing failed, or the session ended");
            shared.change(|roster| roster.note_error(&topic, &endpoint, error));
        }
        if failures >= FAILURES_MAX && shared.change(|roster| roster.forget(&topic, &endpoint)) {
            return;
        }
        backoff.wait().await;
    }
}

async fn dial_once(
    shared: &Arc<Shared>,
    topic: &Topic,
    endpoint: EndpointKey,
    sockets: Vec<SocketAddr>,
) -> Result<(), String> {
    let patience = shared.options.connection.handshake_timeout;
    let peering = match shared.open_peering(&endpoint) {
        Some(peering) => peering,
        None => timeout(patience, connect(shared, endpoint, sockets))
            .await
            .map_err(|_| "nobody answered in time".to_owned())??,
    };
    let begun = shared.change(|roster| roster.begin(topic, endpoint, true, Some(Arc::clone(&peering))));
    // The other end was faster: there is a session, which is all that was wanted.
    let Ok(begun) = begun else { return Ok(()) };
    let id = begun.id;
    let opening = async {
        let (mut send, recv) = peering.connection.open_bi().await.map_err(|error| error_line(&error))?;
        write_topic(&mut send, topic).await.map_err(|error| error_line(&error))?;
        Ok::<_, String>((send, recv))
    };
    let opened =
        timeout(patience, opening).await.unwrap_or_else(|_| Err("no stream could be opened".to_owned()));
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => {
            shared.change(|roster| roster.end(topic, &endpoint, id));
            peering.close("no stream could be opened");
            return Err(error);
        }
    };
    run_session(shared, &peering, topic, begun, stream, true).await
}

async fn connect(
    shared: &Arc<Shared>,
    endpoint: EndpointKey,
    sockets: Vec<SocketAddr>,
) -> Result<Arc<Peering>, String> {
    let key = PublicKey::from_bytes(endpoint.as_bytes()).map_err(|error| error_line(&error))?;
    let address = sockets.into_iter().fold(EndpointAddr::new(key), EndpointAddr::with_ip_addr);
    let connection =
        shared.endpoint.connect(address, handle::ALPN).await.map_err(|error| error_line(&error))?;
    let peering = Peering::new(connection);
    tokio::spawn(serve(Arc::clone(shared), Arc::clone(&peering)));
    Ok(peering)
}

/// Finds out who listens at an address, again whenever there is no session with whom it was.
pub(super) async fn look_up(shared: Arc<Shared>, topic: Topic, socket: SocketAddr) {
    let mut backoff = Backoff::new(&shared);
    loop {
        let Some(database) = shared.roster().database(&topic) else { return };
        let found = match identify::ask(socket, &database.key()).await {
            Ok(endpoint) if endpoint == shared.own => Err("that is this endpoint's own address".to_owned()),
            found => found.map_err(|error| error_line(&error)),
        };
        shared.change(|roster| roster.note_lookup(&topic, &socket, found.clone()));
        if let Ok(endpoint) = found {
            shared.add_peer(topic, &PeerAddress { endpoint, sockets: vec![socket] }, false);
            let connected = shared.until(|roster| roster.has_session(&topic, &endpoint));
            if timeout(shared.options.redial_max, connected).await.is_ok() {
                shared.until(|roster| !roster.has_session(&topic, &endpoint)).await;
                backoff.reset();
            }
        }
        backoff.wait().await;
    }
}

/// Waits that double up to a limit, each a little off so that peers do not stay in step.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn new(shared: &Shared) -> Self {
        let (min, max) = (shared.options.redial_min, shared.options.redial_max);
        Self { min, max, next: min }
    }

    fn reset(&mut self) {
        self.next = self.min;
    }

    async fn wait(&mut self) {
        let mut random = [0];
        let _ = getrandom::fill(&mut random);
        sleep(self.next.mul_f64(0.75 + f64::from(random[0]) / 512.0)).await;
        self.next = (self.next * 2).min(self.max);
    }
}
