//! `combdb.v1.Writers`.

use db_core::{Database, WriterKey};
use proto::v1::writers_server::Writers;
use proto::v1::{
    AddWriterRequest, AddWriterResponse, GiveUpOwnEntriesRequest, GiveUpOwnEntriesResponse,
    ListWritersRequest, ListWritersResponse, RemoveWriterRequest, RemoveWriterResponse, ReplaceWriterRequest,
    ReplaceWriterResponse, Role, RotateRequest, RotateResponse, SetIndexersRequest, SetIndexersResponse,
    SetNameRequest, SetNameResponse, Writer, WriterState,
};
use tonic::{Request, Response, Status};

use super::receipts::acknowledged;
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
        let AddWriterRequest { database, key, role, more_roles, write_concern } = request.into_inner();
        let mut roles = vec![role];
        roles.extend(more_roles);
        let (key, roles) = (read_key(&key)?, read_roles(&roles)?);
        let write = self.0.database(database).await?.set_roles(key, &roles);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(AddWriterResponse { acknowledgement }))
    }

    async fn remove(
        &self,
        request: Request<RemoveWriterRequest>,
    ) -> Result<Response<RemoveWriterResponse>, Status> {
        let RemoveWriterRequest { database, key, write_concern } = request.into_inner();
        let key = read_key(&key)?;
        let write = self.0.database(database).await?.remove_writer(key);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(RemoveWriterResponse { acknowledgement }))
    }

    async fn set_indexers(
        &self,
        request: Request<SetIndexersRequest>,
    ) -> Result<Response<SetIndexersResponse>, Status> {
        let SetIndexersRequest { database, keys, write_concern } = request.into_inner();
        if keys.is_empty() || keys.len() > INDEXERS_MAX {
            return Err(invalid(format!("name 1 to {INDEXERS_MAX} indexers, not {}", keys.len()), None));
        }
        let keys = keys.iter().map(|key| read_key(key)).collect::<Result<Vec<_>, _>>()?;
        let write = self.0.database(database).await?.set_indexers(keys);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(SetIndexersResponse { acknowledgement }))
    }

    async fn set_name(&self, request: Request<SetNameRequest>) -> Result<Response<SetNameResponse>, Status> {
        let SetNameRequest { database, key, name, write_concern } = request.into_inner();
        let database = self.0.database(database).await?;
        let key = if key.is_empty() { database.writer() } else { read_key(&key)? };
        let ((), acknowledgement) =
            acknowledged(&self.0, write_concern, database.name_writer(key, &name)).await?;
        Ok(Response::new(SetNameResponse { acknowledgement }))
    }

    async fn rotate(&self, request: Request<RotateRequest>) -> Result<Response<RotateResponse>, Status> {
        let RotateRequest { database, write_concern } = request.into_inner();
        let write = self.0.database(database).await?.rotate_key();
        let (rotation, acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(RotateResponse {
            from: rotation.from.to_string(),
            to: rotation.to.to_string(),
            linked: rotation.is_linked,
            acknowledgement,
        }))
    }

    async fn give_up_own_entries(
        &self,
        request: Request<GiveUpOwnEntriesRequest>,
    ) -> Result<Response<GiveUpOwnEntriesResponse>, Status> {
        let database = self.0.database(request.into_inner().database).await?;
        database.give_up_own_entries().await.map_err(from_engine)?;
        Ok(Response::new(GiveUpOwnEntriesResponse {}))
    }

    async fn replace(
        &self,
        request: Request<ReplaceWriterRequest>,
    ) -> Result<Response<ReplaceWriterResponse>, Status> {
        let ReplaceWriterRequest { database, from, to, roles, write_concern } = request.into_inner();
        let (from, to, roles) = (read_key(&from)?, read_key(&to)?, read_roles(&roles)?);
        let roles = Some(roles.as_slice()).filter(|roles| !roles.is_empty());
        let write = self.0.database(database).await?.replace_writer(from, to, roles);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(ReplaceWriterResponse { acknowledgement }))
    }
}

/// How many roles a call may list; there are four.
const ROLES_MAX: usize = 16;

fn read_roles(roles: &[i32]) -> Result<Vec<db_core::Role>, Status> {
    if roles.len() > ROLES_MAX {
        return Err(invalid("too many roles", None));
    }
    let read = |role: &i32| match Role::try_from(*role) {
        Ok(Role::Unspecified | Role::Writer) => Ok(db_core::Role::Writer),
        Ok(Role::Indexer) => Ok(db_core::Role::Indexer),
        Ok(Role::Admin) => Ok(db_core::Role::Admin),
        Ok(Role::Reader) => Ok(db_core::Role::Reader),
        Err(_) => Err(invalid(format!("unknown role {role}"), None)),
    };
    roles.iter().map(read).collect()
}

/// The writers of a database as they are told to clients, ordered by key.
pub(super) fn list(database: &Database) -> db_core::Result<Vec<Writer>> {
    let own = database.writer();
    let describe = |writer: db_core::WriterInfo| {
        let (state, replaced_by) = match writer.state {
            db_core::WriterState::Active => (WriterState::Active, None),
            db_core::WriterState::NotAdmitted => (WriterState::NotAdmitted, None),
            db_core::WriterState::Replaced(by) => (WriterState::Replaced, Some(by)),
            db_core::WriterState::Forked => (WriterState::Forked, None),
            _ => (WriterState::Unspecified, None),
        };
        Writer {
            key: writer.writer.to_string(),
            may_write: writer.is_writer,
            indexer: writer.is_indexer,
            admin: writer.is_admin,
            entries: writer.length,
            forked: writer.is_forked,
            local: writer.writer == own,
            name: writer.name.unwrap_or_default(),
            identity: writer.identity.to_string(),
            state: state.into(),
            replaced_by: replaced_by.map(|by| by.to_string()).unwrap_or_default(),
            reader: writer.is_reader,
            last_time_ms: writer.last_time_ms,
        }
    };
    Ok(database.writers()?.into_iter().map(describe).collect())
}

/// A writer's key as a client names it.
pub(super) fn read_key(text: &str) -> Result<WriterKey, Status> {
    WriterKey::from_hex(text)
        .ok_or_else(|| invalid("a writer's key is 64 hexadecimal digits, and this is not one", None))
}
