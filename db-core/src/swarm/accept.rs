//! Accepting: QUIC connections of peers, and TCP connections of who asks for the endpoint's key.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::identify;
use super::peering::{Peering, serve};
use super::shared::Shared;
use crate::error_line::error_line;

/// The most connections that others may have open to us, and the most who may ask at once who we are.
const CONNECTIONS_MAX: usize = 512;
const ASKERS_MAX: usize = 64;

/// Accepts peers until the endpoint is closed.
pub(super) async fn accept_peers(shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            match timeout(shared.options.connection.handshake_timeout, incoming).await {
                Ok(Ok(connection)) => serve(shared, Peering::new(connection)).await,
                Ok(Err(error)) => debug!(error = %error_line(&error), "a connection came to nothing"),
                Err(_) => debug!("a connection took too long"),
            }
            drop(permit);
        });
    }
}

/// Answers who asks for the endpoint's key.
pub(super) async fn answer_askers(shared: Arc<Shared>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(ASKERS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, for instance: better to wait than to spin.
                debug!(error = %error_line(&error), "cannot accept");
                sleep(shared.options.redial_min).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let key_of = |topic: &_| shared.roster().database(topic).map(|database| database.key());
            if let Err(error) = identify::answer(stream, shared.own, key_of).await {
                debug!(error = %error_line(&error), "a question came to nothing");
            }
            drop(permit);
        });
    }
}
