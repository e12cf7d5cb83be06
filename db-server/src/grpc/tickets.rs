//! `combdb.v1.Tickets`.

use proto::v1::tickets_server::Tickets;
use proto::v1::{CreateTicketRequest, CreateTicketResponse};
use tonic::{Request, Response, Status};

use crate::node::Node;

/// Tickets of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Tickets for Service {
    async fn create(
        &self,
        request: Request<CreateTicketRequest>,
    ) -> Result<Response<CreateTicketResponse>, Status> {
        let database = self.0.database(request.into_inner().database).await?;
        let ticket = database.ticket(vec![self.0.peering().address()]).to_text();
        Ok(Response::new(CreateTicketResponse { ticket }))
    }
}
