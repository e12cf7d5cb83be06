//! `combdb.v1.Rejections`.

use std::pin::Pin;

use bson::Document;
use db_core::{Database, RejectionId};
use proto::v1::rejections_server::Rejections;
use proto::v1::{
    self, DiscardRequest, DiscardResponse, ListRejectionsRequest, RejectedPart, ResubmitRequest,
    ResubmitResponse, WatchRejectionsRequest,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::options::present_unless;
use super::receipts::acknowledged;
use crate::convert::{self, Form};
use crate::error::from_engine;
use crate::node::Node;

/// How many rejections are read ahead of the client.
const AHEAD: usize = 1;

/// Rejections of a peer's databases.
pub(super) struct Service(pub(super) Node);

type Told = Pin<Box<dyn Stream<Item = Result<v1::Rejection, Status>> + Send>>;

#[tonic::async_trait]
impl Rejections for Service {
    type ListStream = Told;
    type WatchStream = Told;

    async fn list(
        &self,
        request: Request<ListRejectionsRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let ListRejectionsRequest { database, own, format } = request.into_inner();
        let form = Form::of(format, None)?;
        let permit = self.0.cursor_permit()?;
        let database = self.0.read_view(database, present_unless(None), |here| Ok(here.clone())).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let _held = permit;
            let sent = each_listed(&database, own, |rejection| {
                let told = describe(&database, &rejection, form);
                sender.blocking_send(told).is_ok()
            });
            if let Err(error) = sent {
                let _ = sender.blocking_send(Err(from_engine(error))); // nobody to tell is no fault
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn watch(
        &self,
        request: Request<WatchRejectionsRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRejectionsRequest { database, format } = request.into_inner();
        let form = Form::of(format, None)?;
        let permit = self.0.watcher_permit()?;
        let begin = |database: &Database| Ok((database.clone(), database.watch_rejections()?));
        let (database, mut rejections) = self.0.read_view(database, present_unless(None), begin).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let node = self.0.clone();
        tokio::spawn(async move {
            let _held = permit;
            loop {
                let told = tokio::select! {
                    () = sender.closed() => return, // the client is gone
                    told = rejections.next() => told,
                };
                let told = match told {
                    Ok(told) => {
                        let database = database.clone();
                        node.run(move |_| describe(&database, &told, form)).await
                    }
                    Err(error) => Err(from_engine(error)),
                };
                let is_last = told.is_err();
                if sender.send(told).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resubmit(
        &self,
        request: Request<ResubmitRequest>,
    ) -> Result<Response<ResubmitResponse>, Status> {
        let ResubmitRequest { database, id, write_concern } = request.into_inner();
        let id = id.parse::<RejectionId>().map_err(from_engine)?;
        let again = move |database: &Database| Ok(database.resubmit(&id));
        let write = self.0.read_view(database, present_unless(None), again).await?;
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(ResubmitResponse { acknowledgement }))
    }

    async fn discard(&self, request: Request<DiscardRequest>) -> Result<Response<DiscardResponse>, Status> {
        let DiscardRequest { database, id, write_concern } = request.into_inner();
        let id = id.parse::<RejectionId>().map_err(from_engine)?;
        let write = self.0.database(database).await?.discard(&id);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(DiscardResponse { acknowledgement }))
    }
}

/// Hands out what is listed as long as it is wanted.
fn each_listed(
    database: &Database,
    own: bool,
    mut take: impl FnMut(db_core::Rejection) -> bool,
) -> db_core::Result<()> {
    let filter = if own { database.own_rejections() } else { Document::new() };
    for rejection in database.rejections().find(filter).run()? {
        if !take(rejection?) {
            return Ok(());
        }
    }
    Ok(())
}

fn describe(
    database: &Database,
    rejection: &db_core::Rejection,
    form: Form,
) -> Result<v1::Rejection, Status> {
    let id = rejection.id().map_err(from_engine)?;
    // What is off the list by now, and what cannot be read, is told of without its command.
    let command = database.rejected_command(&id).ok();
    let part = |part: &db_core::RejectedPart| RejectedPart {
        part: part.part.try_into().unwrap_or_default(),
        code: part.code,
    };
    Ok(v1::Rejection {
        id: id.to_string(),
        writer: rejection.writer().map_err(from_engine)?.to_string(),
        count: rejection.count.try_into().unwrap_or_default(),
        parts: rejection.parts.iter().map(part).collect(),
        command: command.map(|command| convert::document(command, form)).transpose()?,
    })
}
