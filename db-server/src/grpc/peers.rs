//! `combdb.v1.Peers`.

use db_core::swarm::PeerHint;
use proto::v1::peers_server::Peers;
use proto::v1::{AddPeerRequest, AddPeerResponse, ListPeersRequest, ListPeersResponse, Peer};
use tonic::{Code, Request, Response, Status};

use crate::error::{invalid, status};
use crate::node::Node;
use crate::peering::KnownPeer;

/// The other peers of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Peers for Service {
    async fn list(&self, _request: Request<ListPeersRequest>) -> Result<Response<ListPeersResponse>, Status> {
        let databases = self.0.databases().await?;
        let peers = self.0.peering().peers(&databases).into_iter().map(describe).collect();
        let own_addresses = vec![self.0.peering().address().to_string()];
        Ok(Response::new(ListPeersResponse { own_addresses, peers }))
    }

    async fn add(&self, request: Request<AddPeerRequest>) -> Result<Response<AddPeerResponse>, Status> {
        let hint = match request.into_inner().address.parse() {
            Ok(PeerHint::Ticket(_)) => {
                return Err(invalid("join a database with a ticket: Databases.Join", None));
            }
            Ok(hint) => hint,
            Err(_) => {
                return Err(invalid(
                    "a peer's address is ENDPOINT@IP:PORT or IP:PORT, and this is neither",
                    None,
                ));
            }
        };
        let databases = self.0.databases().await?;
        self.0
            .peering()
            .add(&hint, &databases)
            .map_err(|error| status(Code::ResourceExhausted, "TOO_MANY", error.to_string(), None, &[]))?;
        Ok(Response::new(AddPeerResponse {}))
    }
}

fn describe(peer: KnownPeer) -> Peer {
    let sockets: Vec<String> = peer.sockets.iter().map(ToString::to_string).collect();
    Peer {
        endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
        address: sockets.join(","),
        connected: peer.connected,
        databases: peer.databases,
    }
}
