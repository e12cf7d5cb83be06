//! `combdb.v1.Conflicts`.

use std::collections::BTreeMap;

use bson::{Bson, RawDocumentBuf};
use db_core::{ConflictPolicy, ConflictStream, DeletePolicy, PathPolicy, Resolution};
use proto::v1::conflicts_server::Conflicts;
use proto::v1::{
    ConflictResolution, ResolveConflictRequest, ResolveConflictResponse, SetConflictPolicyRequest,
    SetConflictPolicyResponse, WatchConflictsRequest, WatchConflictsResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::options::present_unless;
use super::receipts::acknowledged;
use crate::convert::{self, Form};
use crate::error::{from_engine, invalid};
use crate::node::Node;

/// How many conflicts are read ahead of the client.
const AHEAD: usize = 1;

/// Conflicts of a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Conflicts for Service {
    type WatchStream = ReceiverStream<Result<WatchConflictsResponse, Status>>;

    async fn resolve(
        &self,
        request: Request<ResolveConflictRequest>,
    ) -> Result<Response<ResolveConflictResponse>, Status> {
        let ResolveConflictRequest { database, id, resolution, value, write_concern } = request.into_inner();
        let id = convert::decode(&convert::required(id, "id")?, "id")?;
        let value = convert::optional(value, "value")?;
        let resolution = match (ConflictResolution::try_from(resolution), value) {
            (Ok(ConflictResolution::Keep), None) => Resolution::Keep,
            (Ok(ConflictResolution::TakeLoser), None) => Resolution::TakeLoser,
            (Ok(ConflictResolution::Set), Some(value)) => Resolution::Set(only_value(&value)?),
            (Ok(ConflictResolution::Set), None) => return Err(invalid("value is missing", None)),
            (Ok(ConflictResolution::Keep | ConflictResolution::TakeLoser), Some(_)) => {
                return Err(invalid("a value goes with CONFLICT_RESOLUTION_SET only", None));
            }
            _ => return Err(invalid("say what becomes of the conflict", None)),
        };
        let database = self.0.database(database).await?;
        let write = database.resolve_conflict(&id, resolution);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(ResolveConflictResponse { acknowledgement }))
    }

    async fn watch(
        &self,
        request: Request<WatchConflictsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchConflictsRequest { database, format } = request.into_inner();
        let form = Form::of(format, None)?;
        let permit = self.0.watcher_permit()?;
        let mut conflicts =
            self.0.read_view(database, present_unless(None), db_core::Database::watch_conflicts).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            let _held = permit;
            loop {
                let told = tokio::select! {
                    () = sender.closed() => return, // the client is gone
                    told = next(&mut conflicts, form) => told,
                };
                let is_last = told.is_err();
                if sender.send(told).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn set_policy(
        &self,
        request: Request<SetConflictPolicyRequest>,
    ) -> Result<Response<SetConflictPolicyResponse>, Status> {
        let SetConflictPolicyRequest { database, collection, delete, paths, write_concern } =
            request.into_inner();
        let mut policy = ConflictPolicy::default();
        if !delete.is_empty() {
            policy.delete = DeletePolicy::named(&delete)
                .ok_or_else(|| invalid("delete is delete-wins or update-wins", None))?;
        }
        let path_policy = |(path, name): (String, String)| {
            let policy = PathPolicy::named(&name);
            let policy = policy
                .ok_or_else(|| invalid("a path's policy is last, max, min or reject-concurrent", None))?;
            Ok((path, policy))
        };
        policy.paths = paths.into_iter().map(path_policy).collect::<Result<BTreeMap<_, _>, Status>>()?;
        let collection = self.0.collection(database, &collection).await?;
        let ((), acknowledgement) =
            acknowledged(&self.0, write_concern, collection.set_conflict_policy(&policy)).await?;
        Ok(Response::new(SetConflictPolicyResponse { acknowledgement }))
    }
}

async fn next(conflicts: &mut ConflictStream, form: Form) -> Result<WatchConflictsResponse, Status> {
    let conflict = conflicts.next().await.map_err(from_engine)?;
    let conflict = bson::serialize_to_document(&conflict)
        .map_err(|error| Status::internal(format!("a listed conflict cannot be written: {error}")))?;
    Ok(WatchConflictsResponse { conflict: Some(convert::decoded(&conflict, form)?) })
}

/// The value of `{v: …}`.
fn only_value(document: &RawDocumentBuf) -> Result<Bson, Status> {
    let document = convert::decode(document, "value")?;
    match document.into_iter().collect::<Vec<_>>().as_mut_slice() {
        [(name, value)] if name == "v" => Ok(std::mem::replace(value, Bson::Null)),
        _ => Err(invalid("value must have a field `v` and no other", None)),
    }
}
