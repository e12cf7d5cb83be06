//! `combdb.v1.Databases`.

use db_core::{Database, Ticket};
use proto::v1::databases_server::Databases;
use proto::v1::{
    CollectionStatus, CreateDatabaseRequest, CreateDatabaseResponse, DatabaseInfo, DatabaseStatusRequest,
    DatabaseStatusResponse, JoinDatabaseRequest, JoinDatabaseResponse, ListDatabasesRequest,
    ListDatabasesResponse, OpenTopicRequest, OpenTopicResponse,
};
use tonic::{Request, Response, Status};

use super::writers;
use crate::error::invalid;
use crate::node::{Node, Sees};

/// How many hashes of the order are read at once.
const ORDER_STEP: u64 = 10_000;

/// Databases of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Databases for Service {
    async fn create(
        &self,
        request: Request<CreateDatabaseRequest>,
    ) -> Result<Response<CreateDatabaseResponse>, Status> {
        let name = request.into_inner().name;
        let database = self.0.hold(move |store| store.create_database(&name)).await?;
        Ok(Response::new(CreateDatabaseResponse { database: Some(describe(&database)) }))
    }

    async fn open_topic(
        &self,
        request: Request<OpenTopicRequest>,
    ) -> Result<Response<OpenTopicResponse>, Status> {
        let topic = request.into_inner().topic;
        let database = self.0.hold(move |store| store.open_topic(&topic)).await?;
        Ok(Response::new(OpenTopicResponse { database: Some(describe(&database)) }))
    }

    async fn join(
        &self,
        request: Request<JoinDatabaseRequest>,
    ) -> Result<Response<JoinDatabaseResponse>, Status> {
        let JoinDatabaseRequest { ticket, name } = request.into_inner();
        let ticket = Ticket::parse(&ticket).map_err(|error| invalid(error.to_string(), None))?;
        let addresses = ticket.addresses.clone();
        let database = self
            .0
            .hold(
                move |store| {
                    if name.is_empty() { store.join(&ticket) } else { store.join_as(&name, &ticket) }
                },
            )
            .await?;
        self.0.peering().call(&database, addresses);
        Ok(Response::new(JoinDatabaseResponse { database: Some(describe(&database)) }))
    }

    async fn list(
        &self,
        _request: Request<ListDatabasesRequest>,
    ) -> Result<Response<ListDatabasesResponse>, Status> {
        let databases = self.0.databases().await?.iter().map(describe).collect();
        Ok(Response::new(ListDatabasesResponse { databases }))
    }

    async fn status(
        &self,
        request: Request<DatabaseStatusRequest>,
    ) -> Result<Response<DatabaseStatusResponse>, Status> {
        let DatabaseStatusRequest { database, with_digest } = request.into_inner();
        // How a database stands is told at once also where its documents cannot be read yet.
        let sees = if with_digest { Sees::Present { until: None } } else { Sees::Settled };
        let status = self.0.read_view(database, sees, move |database| status(database, with_digest)).await?;
        Ok(Response::new(status))
    }
}

fn status(database: &Database, with_digest: bool) -> db_core::Result<DatabaseStatusResponse> {
    let (view_digest, order_digest) = if with_digest {
        (hex(&database.view_digest()?), order_digest(database)?)
    } else {
        (String::new(), String::new())
    };
    let status = database.status();
    let is_readable = database.is_readable();
    let names = if is_readable { database.list_collection_names()? } else { Vec::new() }.into_iter();
    Ok(DatabaseStatusResponse {
        database: Some(describe(database)),
        entries: status.entries,
        confirmed: status.confirmed,
        tail: status.tail,
        epoch: status.epoch,
        indexers: status.indexers.iter().map(ToString::to_string).collect(),
        forked_writers: status.forked.iter().map(ToString::to_string).collect(),
        view_digest,
        order_digest,
        collections: names.map(|name| collection(database, name)).collect::<Result<_, _>>()?,
        writers: writers::list(database)?,
        connected_peers: database.peers().len() as u32,
        waiting: status.unordered,
        applied: status.applied,
        undone: status.undone,
        alarms: status.alarms.iter().map(ToString::to_string).collect(),
        misses_own_entries: status.misses_own_entries,
        reads_wait: !is_readable,
    })
}

fn collection(database: &Database, name: String) -> db_core::Result<CollectionStatus> {
    let collection = database.collection::<bson::RawDocumentBuf>(&name);
    let documents = collection.estimated_document_count()?;
    let indexes = collection.list_indexes()?.len() as u32;
    Ok(CollectionStatus { name, documents, indexes })
}

/// The hash over the hashes of the confirmed entries, in their order.
fn order_digest(database: &Database) -> db_core::Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("combdb confirmed order digest v1");
    let mut position = 0;
    loop {
        let step = database.confirmed_order(position, ORDER_STEP)?;
        for hash in &step {
            hasher.update(hash.as_bytes());
        }
        position += step.len() as u64;
        if step.is_empty() {
            return Ok(hasher.finalize().to_hex().to_string());
        }
    }
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}

/// A database as it is told to clients; its key is not.
fn describe(database: &Database) -> DatabaseInfo {
    DatabaseInfo {
        name: database.name().to_owned(),
        id: database.id().to_string(),
        topic: database.topic().to_string(),
        writer_key: database.writer().to_string(),
        open: database.genesis().admission == db_core::Admission::Open,
    }
}
