//! `combdb.v1.History`.

use bson::Bson;
use db_core::{ChangeOutcome, HistoryRange, Place};
use proto::v1::history_server::History;
use proto::v1::{
    BlameRequest, BlameResponse, ChangeAuthor, DocumentChange, FieldBlame, ListHistoryRequest,
    ListHistoryResponse,
};
use tonic::{Request, Response, Status};

use crate::convert;
use crate::error::{from_engine, invalid};
use crate::node::Node;

/// The past of the documents of a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl History for Service {
    async fn list(
        &self,
        request: Request<ListHistoryRequest>,
    ) -> Result<Response<ListHistoryResponse>, Status> {
        let ListHistoryRequest { database, collection, id, from, limit, scan_limit } = request.into_inner();
        let id = read_id(id)?;
        let mut range = HistoryRange::default();
        if !from.is_empty() {
            range.from = Some(from.parse().map_err(from_engine)?);
        }
        if limit > 0 {
            range.limit = limit as usize;
        }
        if scan_limit > 0 {
            range.scan_limit = scan_limit;
        }
        let page = move |database: &db_core::Database| {
            database.collection::<bson::Document>(&collection).history(id, &range)
        };
        let page = self.0.read(database, page).await?;
        Ok(Response::new(ListHistoryResponse {
            changes: page.changes.into_iter().map(change).collect(),
            next: page.next.map(|next| next.to_string()).unwrap_or_default(),
            scanned: page.scanned,
        }))
    }

    async fn blame(&self, request: Request<BlameRequest>) -> Result<Response<BlameResponse>, Status> {
        let BlameRequest { database, collection, id, scan_limit } = request.into_inner();
        let id = read_id(id)?;
        let limit = if scan_limit == 0 { HistoryRange::default().scan_limit } else { scan_limit };
        let blame = move |database: &db_core::Database| {
            database.collection::<bson::Document>(&collection).blame(id, limit)
        };
        let blame = self.0.read(database, blame).await?;
        let field = |field: db_core::PathBlame| FieldBlame {
            path: field.path,
            author: field.author.map(author),
            kind: field.kind.to_owned(),
        };
        Ok(Response::new(BlameResponse {
            fields: blame.paths.into_iter().map(field).collect(),
            complete: blame.is_complete,
            scanned: blame.scanned,
        }))
    }
}

/// The value in the first field of a document.
fn read_id(id: Option<proto::v1::Document>) -> Result<Bson, Status> {
    let id = convert::decode(&convert::required(id, "id")?, "id")?;
    id.into_iter().next().map(|(_, id)| id).ok_or_else(|| invalid("id has no field", None))
}

fn author(author: db_core::ChangeAuthor) -> ChangeAuthor {
    ChangeAuthor {
        writer: author.writer.to_string(),
        identity: author.identity.to_string(),
        name: author.name.unwrap_or_default(),
        seq: author.seq,
        time_ms: author.time_ms,
        entry: author.entry.to_string(),
    }
}

fn change(change: db_core::Change) -> DocumentChange {
    let (place, confirmed) = match change.place {
        Place::Confirmed(place) => (place, true),
        Place::Tail(place) => (place, false),
        _ => (0, false),
    };
    DocumentChange {
        author: Some(author(change.author)),
        place,
        confirmed,
        operation: change.operation,
        kind: change.kind.to_owned(),
        collection: change.collection,
        paths: change.paths,
        rejected: match change.outcome {
            ChangeOutcome::Rejected(code) => code,
            _ => 0,
        },
        skipped: change.outcome == ChangeOutcome::Skipped,
    }
}
