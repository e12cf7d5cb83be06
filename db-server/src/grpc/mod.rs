//! The services of `combdb.v1`, one file each, beside health and reflection.

mod aggregate;
mod builds;
mod bulk;
mod changes;
mod collections;
mod conflicts;
mod databases;
mod documents;
mod explain;
mod find;
mod history;
mod log;
mod options;
mod peers;
mod receipts;
mod rejections;
mod stream;
mod streams;
mod tickets;
mod transactions;
mod writers;

use proto::v1::changes_server::ChangesServer;
use proto::v1::collections_server::CollectionsServer;
use proto::v1::conflicts_server::ConflictsServer;
use proto::v1::databases_server::DatabasesServer;
use proto::v1::documents_server::DocumentsServer;
use proto::v1::history_server::HistoryServer;
use proto::v1::log_server::LogServer;
use proto::v1::peers_server::PeersServer;
use proto::v1::receipts_server::ReceiptsServer;
use proto::v1::rejections_server::RejectionsServer;
use proto::v1::tickets_server::TicketsServer;
use proto::v1::transactions_server::TransactionsServer;
use proto::v1::writers_server::WritersServer;
use tonic::service::Routes;

use crate::node::Node;

/// The largest request: a document of the largest size, with room for what names it.
const REQUEST_BYTES_MAX: usize = 17 * 1024 * 1024;

/// Every service of a peer, ready to be served.
///
/// # Errors
/// If the descriptors that reflection serves are damaged, which no run of this program can meet.
pub(crate) async fn routes(node: Node) -> Result<Routes, tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    macro_rules! service {
        ($server:ident, $service:path) => {{
            health.set_serving::<$server<$service>>().await;
            $server::new($service(node.clone())).max_decoding_message_size(REQUEST_BYTES_MAX)
        }};
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::new(service!(DatabasesServer, databases::Service))
        .add_service(service!(CollectionsServer, collections::Service))
        .add_service(service!(ChangesServer, streams::Service))
        .add_service(service!(ConflictsServer, conflicts::Service))
        .add_service(service!(DocumentsServer, documents::Service))
        .add_service(service!(WritersServer, writers::Service))
        .add_service(service!(PeersServer, peers::Service))
        .add_service(service!(TicketsServer, tickets::Service))
        .add_service(service!(TransactionsServer, transactions::Service))
        .add_service(service!(HistoryServer, history::Service))
        .add_service(service!(LogServer, log::Service))
        .add_service(service!(ReceiptsServer, receipts::Service))
        .add_service(service!(RejectionsServer, rejections::Service))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}
