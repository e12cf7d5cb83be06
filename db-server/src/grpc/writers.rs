//! `combdb.v1.Writers`.

use db_core::{Database, WriterKey};
use proto::v1::writers_server::Writers;
use proto::v1::{
    AddWriterRequest, AddWriterResponse, ListWritersRequest, ListWritersResponse, RemoveWriterRequest,
    RemoveWriterResponse, Role, SetIndexersRequest, SetIndexersResponse, Writer,
};
use tonic::{Request, Response, Status};

use crate::error::{from_engine, invalid};
use crate::node::Node;

/// How many indexers a call may name.
const INDEXERS_MAX: usize = 1_000;

/// Writers of a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Writers for Service {
    async fn list(
        &self,
        request: Request<ListWritersRequest>,
    ) -> Result<Response<ListWritersResponse>, Status> {
        let writers = self.0.read(request.into_inner().database, list).await?;
        Ok(Response::new(ListWritersResponse { writers }))
    }

    async fn add(&self, request: Request<AddWriterRequest>) -> Result<Response<AddWriterResponse>, Status> {
        let AddWriterRequest { database, key, role } = request.into_inner();
        let role = match Role::try_from(role) {
            Ok(Role::Unspecified | Role::Writer) => db_core::Role::Writer,
            Ok(Role::Indexer) => db_core::Role::Indexer,
            Ok(Role::Admin) => db_core::Role::Admin,
            Err(_) => return Err(invalid(format!("unknown role {role}"), None)),
        };
        let key = read_key(&key)?;
        self.0.database(database).await?.add_writer(key, role).await.map_err(from_engine)?;
        Ok(Response::new(AddWriterResponse {}))
    }

    async fn remove(
        &self,
        request: Request<RemoveWriterRequest>,
    ) -> Result<Response<RemoveWriterResponse>, Status> {
        let RemoveWriterRequest { database, key } = request.into_inner();
        let key = read_key(&key)?;
        self.0.database(database).await?.remove_writer(key).await.map_err(from_engine)?;
        Ok(Response::new(RemoveWriterResponse {}))
    }

    async fn set_indexers(
        &self,
        request: Request<SetIndexersRequest>,
    ) -> Result<Response<SetIndexersResponse>, Status> {
        let SetIndexersRequest { database, keys } = request.into_inner();
        if keys.is_empty() || keys.len() > INDEXERS_MAX {
            return Err(invalid(format!("name 1 to {INDEXERS_MAX} indexers, not {}", keys.len()), None));
        }
        let keys = keys.iter().map(|key| read_key(key)).collect::<Result<Vec<_>, _>>()?;
        self.0.database(database).await?.set_indexers(keys).await.map_err(from_engine)?;
        Ok(Response::new(SetIndexersResponse {}))
    }
}

/// The writers of a database as they are told to clients, ordered by key.
pub(super) fn list(database: &Database) -> db_core::Result<Vec<Writer>> {
    let own = database.writer();
    let describe = |writer: db_core::WriterInfo| Writer {
        key: writer.writer.to_string(),
        may_write: writer.is_writer,
        indexer: writer.is_indexer,
        admin: writer.is_admin,
        entries: writer.length,
        forked: writer.is_forked,
        local: writer.writer == own,
    };
    Ok(database.writers()?.into_iter().map(describe).collect())
}

/// A writer's key as a client names it.
pub(super) fn read_key(text: &str) -> Result<WriterKey, Status> {
    WriterKey::from_hex(text)
        .ok_or_else(|| invalid("a writer's key is 64 hexadecimal digits, and this is not one", None))
}
