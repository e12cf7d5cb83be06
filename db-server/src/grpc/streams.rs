//! `combdb.v1.Changes`: change streams and queries whose results are kept current.

use bson::{RawDocument, RawDocumentBuf};
use db_core::{
    ChangeStream, FullDocumentBeforeChangeType, FullDocumentType, LiveChange, LiveQuery, ReadConcern,
    ResumeToken,
};
use proto::v1::changes_server::Changes;
use proto::v1::{
    self, ResultChange, ResultDocument, ResultMove, ResultReset, WatchChangesRequest, WatchChangesResponse,
    WatchFindRequest, WatchFindResponse, result_change,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::find::Question;
use super::options::present_unless;
use crate::convert::{self, Form};
use crate::error::{from_engine, invalid};
use crate::node::{Node, Sees};

/// How many messages are made ahead of the client.
const AHEAD: usize = 1;

/// How many bytes of events are sent together, and how many events.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
const BATCH_EVENTS_MAX: usize = 1_000;

/// What changes in a peer's databases.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Changes for Service {
    type WatchStream = ReceiverStream<Result<WatchChangesResponse, Status>>;
    type WatchFindStream = ReceiverStream<Result<WatchFindResponse, Status>>;

    async fn watch(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let form = Form::of(request.format, request.pipeline.first())?;
        let permit = self.0.watcher_permit()?;
        let stream = begin(&self.0, request).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let node = self.0.clone();
        tokio::spawn(async move {
            let _held = permit;
            tokio::select! {
                () = tell(&node, stream, form, &sender) => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn watch_find(
        &self,
        request: Request<WatchFindRequest>,
    ) -> Result<Response<Self::WatchFindStream>, Status> {
        let find = request.into_inner().find.ok_or_else(|| invalid("find is missing", None))?;
        let form = Form::of(find.format, find.filter.as_ref())?;
        let permit = self.0.watcher_permit()?;
        let (database, collection) = (find.database.clone(), find.collection.clone());
        let question = Question::of_find(find)?;
        let sees = question.sees();
        let begin =
            move |database: &db_core::Database| question.find(&database.collection(&collection)).watch();
        let live = self.0.read_view(database, sees, begin).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let node = self.0.clone();
        tokio::spawn(async move {
            let _held = permit;
            tokio::select! {
                () = keep_current(&node, live, form, &sender) => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn begin(node: &Node, request: WatchChangesRequest) -> Result<ChangeStream<RawDocumentBuf>, Status> {
    let concern = match v1::ReadConcern::try_from(request.read_concern) {
        Ok(v1::ReadConcern::Majority) => ReadConcern::Majority,
        Ok(_) => ReadConcern::Local,
        Err(_) => return Err(invalid(format!("unknown read_concern {}", request.read_concern), None)),
    };
    if !request.resume_after.is_empty() && request.start_at.is_some() {
        return Err(invalid("resume_after and start_at say two different things", Some(72)));
    }
    let stages = convert::stages(request.pipeline)?;
    let collection = request.collection;
    let begin = move |database: &db_core::Database| {
        let mut watch = if collection.is_empty() {
            database.watch().with_type()
        } else {
            database.collection::<RawDocumentBuf>(&collection).watch()
        };
        watch = watch.pipeline(stages).read_concern(concern);
        if request.full_document {
            watch = watch.full_document(FullDocumentType::Required);
        }
        if request.full_document_before_change {
            watch = watch.full_document_before_change(FullDocumentBeforeChangeType::Required);
        }
        if request.with_present {
            watch = watch.with_present();
        }
        if let Some(position) = request.start_at {
            watch = watch.start_at(position);
        }
        if !request.resume_after.is_empty() {
            watch = watch.resume_after(ResumeToken::new(request.resume_after));
        }
        watch.run()
    };
    let sees = if concern == ReadConcern::Majority { Sees::Settled } else { present_unless(None) };
    node.read_view(request.database, sees, begin).await
}

type Sender<R> = mpsc::Sender<Result<R, Status>>;

/// Tells events until the stream ends or nobody listens any more. Events are made when there is room for them, so that a slow
/// client holds up nobody.
async fn tell(
    node: &Node,
    mut stream: ChangeStream<RawDocumentBuf>,
    form: Form,
    sender: &Sender<WatchChangesResponse>,
) {
    let resume_token = |stream: &ChangeStream<RawDocumentBuf>| {
        stream.resume_token().map(|token| token.to_string()).unwrap_or_default()
    };
    let first = WatchChangesResponse { events: Vec::new(), resume_token: resume_token(&stream) };
    if sender.send(Ok(first)).await.is_err() {
        return;
    }
    loop {
        let Ok(room) = sender.reserve().await else { return };
        let read = node.run(move |_| {
            let batch = read_batch(&mut stream, form);
            Ok((stream, batch))
        });
        let (next, (events, failed)) = match read.await {
            Ok(read) => read,
            Err(status) => return room.send(Err(status)),
        };
        stream = next;
        if !events.is_empty() {
            room.send(Ok(WatchChangesResponse { events, resume_token: resume_token(&stream) }));
            if let Some(failed) = failed {
                let _ = sender.send(Err(failed)).await; // nobody to tell is no fault
                return;
            }
            continue;
        }
        if let Some(failed) = failed {
            return room.send(Err(failed));
        }
        if !stream.is_alive() {
            return;
        }
        if let Err(error) = stream.changed().await {
            return room.send(Err(from_engine(error)));
        }
    }
}

/// The events that there are now, as many as go into a message; and the error that comes after them.
fn read_batch(stream: &mut ChangeStream<RawDocumentBuf>, form: Form) -> (Vec<v1::Document>, Option<Status>) {
    let (mut events, mut bytes) = (Vec::new(), 0);
    while events.len() < BATCH_EVENTS_MAX && bytes < BATCH_BYTES_MAX {
        let event = stream.next_raw_if_any().map_err(from_engine);
        let event = event.and_then(|event| {
            bytes += event.as_ref().map_or(0, |event| event.as_bytes().len());
            event.map(|event| convert::document(event, form)).transpose()
        });
        match event {
            Ok(Some(event)) => events.push(event),
            Ok(None) => break,
            Err(failed) => return (events, Some(failed)),
        }
    }
    (events, None)
}

/// Tells a result and how it changes, until nobody listens any more.
async fn keep_current(
    node: &Node,
    live: LiveQuery<RawDocumentBuf>,
    form: Form,
    sender: &Sender<WatchFindResponse>,
) {
    let first = LiveChange::Reset { documents: live.result_raw().map(RawDocument::to_owned).collect() };
    let (mut live, mut changes) = (live, vec![first]);
    loop {
        if !send_all(changes, form, sender).await {
            return;
        }
        let read = node.run(move |_| {
            let changes = live.next_raw_if_any().map_err(from_engine);
            Ok((live, changes))
        });
        let read = read.await;
        (live, changes) = match read {
            Ok((next, Ok(changes))) => (next, changes),
            Ok((_, Err(status))) | Err(status) => {
                let _ = sender.send(Err(status)).await; // nobody to tell is no fault
                return;
            }
        };
        if changes.is_empty()
            && let Err(error) = live.changed().await
        {
            let _ = sender.send(Err(from_engine(error))).await;
            return;
        }
    }
}

/// Sends what is to be done in messages of bounded size; whether somebody listens still.
async fn send_all(
    changes: Vec<LiveChange<RawDocumentBuf>>,
    form: Form,
    sender: &Sender<WatchFindResponse>,
) -> bool {
    if changes.is_empty() {
        return true;
    }
    let (mut message, mut bytes) = (WatchFindResponse::default(), 0);
    for change in changes.into_iter().flat_map(in_parts) {
        if bytes >= BATCH_BYTES_MAX {
            let full = WatchFindResponse { more: true, ..std::mem::take(&mut message) };
            bytes = 0;
            if sender.send(Ok(full)).await.is_err() {
                return false;
            }
        }
        bytes += match &change {
            LiveChange::Added { document, .. } | LiveChange::Changed { document, .. } => {
                document.as_bytes().len()
            }
            _ => 16,
        };
        match describe(change, form) {
            Ok(change) => message.changes.push(change),
            Err(status) => {
                let _ = sender.send(Err(status)).await;
                return false;
            }
        }
    }
    sender.send(Ok(message)).await.is_ok()
}

/// The same, document by document.
fn in_parts(change: LiveChange<RawDocumentBuf>) -> Vec<LiveChange<RawDocumentBuf>> {
    let LiveChange::Reset { documents } = change else { return vec![change] };
    let added = documents.into_iter().enumerate();
    let added = added.map(|(index, document)| LiveChange::Added { index, document });
    std::iter::once(LiveChange::Reset { documents: Vec::new() }).chain(added).collect()
}

fn describe(change: LiveChange<RawDocumentBuf>, form: Form) -> Result<ResultChange, Status> {
    use result_change::Change;
    let placed = |index: usize, document: RawDocumentBuf| {
        let document = Some(convert::document(document, form)?);
        Ok::<_, Status>(ResultDocument { index: index as u64, document })
    };
    let change = match change {
        // Its documents come one by one.
        LiveChange::Reset { .. } => Change::Reset(ResultReset {}),
        LiveChange::Added { index, document } => Change::Added(placed(index, document)?),
        LiveChange::Changed { index, document } => Change::Changed(placed(index, document)?),
        LiveChange::Moved { from, to } => Change::Moved(ResultMove { from: from as u64, to: to as u64 }),
        LiveChange::Removed { index } => Change::Removed(index as u64),
        _ => return Err(Status::internal("a change of a result of another version")),
    };
    Ok(ResultChange { change: Some(change) })
}
