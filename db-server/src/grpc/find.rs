//! What a find asks for, and the stream of its result.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bson::RawDocumentBuf;
use db_core::{Collection, Database, Find, Hint, RawCursor};
use proto::v1::{self, FindRequest, FindResponse, hint};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Code, Status};

use crate::convert::{self, Form};
use crate::error::{from_engine, status};
use crate::node::Node;

/// The stream of a find's batches; after the last of them, the reason if the server gave up.
pub(crate) struct Batches {
    batches: mpsc::Receiver<Result<FindResponse, Status>>,
    gave_up: Arc<Mutex<Option<Status>>>,
}

impl Stream for Batches {
    type Item = Result<FindResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.batches.poll_recv(context)) {
            Some(batch) => Poll::Ready(Some(batch)),
            None => Poll::Ready(last_word(&self.gave_up).take().map(Err)),
        }
    }
}

/// How many documents a batch holds unless the client says otherwise.
const BATCH_DOCUMENTS_DEFAULT: usize = 256;

/// How many documents a batch may hold.
const BATCH_DOCUMENTS_MAX: usize = 10_000;

/// A batch ends once it holds so many bytes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How many batches are read ahead of the client.
const BATCHES_AHEAD: usize = 1;

/// How long a client may leave a batch untaken before its cursor is closed: an open cursor keeps old pages in the file.
const CLIENT_PATIENCE: Duration = Duration::from_mins(1);

/// What a find asks for; every part has passed the guard.
pub(super) struct Question {
    filter: RawDocumentBuf,
    sort: Option<RawDocumentBuf>,
    skip: u64,
    limit: u64,
    projection: Option<RawDocumentBuf>,
    hint: Option<Hint>,
}

impl Question {
    /// Reads the parts of a find.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if one of them is malformed.
    pub(super) fn read(
        filter: Option<v1::Document>,
        sort: Option<v1::Document>,
        skip: u64,
        limit: u64,
        projection: Option<v1::Document>,
        hint: Option<v1::Hint>,
    ) -> Result<Self, Status> {
        let hint = match hint.and_then(|hint| hint.index) {
            None => None,
            Some(hint::Index::Name(name)) => Some(Hint::Name(name)),
            Some(hint::Index::Keys(keys)) => {
                Some(Hint::Keys(convert::decode(&convert::required(Some(keys), "hint")?, "hint")?))
            }
        };
        Ok(Self {
            filter: convert::optional(filter, "filter")?.unwrap_or_default(),
            sort: convert::optional(sort, "sort")?,
            skip,
            limit,
            projection: convert::optional(projection, "projection")?,
            hint,
        })
    }

    /// Reads a whole find.
    ///
    /// # Errors
    /// As [`Question::read`].
    pub(super) fn of(find: FindRequest) -> Result<Self, Status> {
        Self::read(find.filter, find.sort, find.skip, find.limit, find.projection, find.hint)
    }

    /// The find in a collection, not begun yet.
    pub(super) fn about(self, collection: &Collection<RawDocumentBuf>) -> Find<RawDocumentBuf> {
        let mut find = collection.find(self.filter).skip(self.skip).limit(self.limit);
        if let Some(sort) = self.sort {
            find = find.sort(sort);
        }
        if let Some(projection) = self.projection {
            find = find.projection(projection);
        }
        if let Some(hint) = self.hint {
            find = find.hint(hint);
        }
        find
    }
}

/// Streams the answer to a find.
///
/// No thread is held while the client is slow: each batch is read when there is room for it, and when the client goes
/// away or takes nothing for too long the cursor is dropped.
///
/// # Errors
/// If the question is malformed, the engine refuses it, or too many finds are streaming.
pub(super) async fn stream(node: &Node, request: FindRequest) -> Result<Batches, Status> {
    let form = Form::of(request.format, request.filter.as_ref())?;
    let batch_documents = match request.batch_size as usize {
        0 => BATCH_DOCUMENTS_DEFAULT,
        wanted => wanted.min(BATCH_DOCUMENTS_MAX),
    };
    let permit = node.cursor_permit()?;
    let (database, collection) = (request.database.clone(), request.collection.clone());
    let question = Question::of(request)?;
    let begin = move |database: &Database| question.about(&database.collection(&collection)).run_raw();
    let mut cursor = node.read(database, begin).await?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let (node, gave_up) = (node.clone(), Arc::<Mutex<Option<Status>>>::default());
    let give_up = Arc::clone(&gave_up);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let room = match tokio::time::timeout(CLIENT_PATIENCE, sender.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return, // the client is gone
                Err(_) => {
                    let message = format!("no batch was taken for {CLIENT_PATIENCE:?}: the find was closed");
                    tracing::info!("{message}");
                    let late = status(Code::DeadlineExceeded, "CLIENT_TOO_SLOW", message, None, &[]);
                    *last_word(&give_up) = Some(late);
                    return;
                }
            };
            let read = node.run(move |_| {
                let batch = read_batch(&mut cursor, batch_documents, form)?;
                Ok((cursor, batch))
            });
            match read.await {
                Ok((next, documents)) => {
                    if documents.is_empty() {
                        return;
                    }
                    cursor = next;
                    room.send(Ok(FindResponse { documents }));
                }
                Err(status) => {
                    room.send(Err(status));
                    return;
                }
            }
        }
    });
    Ok(Batches { batches: receiver, gave_up })
}

fn last_word(status: &Mutex<Option<Status>>) -> MutexGuard<'_, Option<Status>> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next documents of a cursor; none at its end.
fn read_batch(cursor: &mut RawCursor, count: usize, form: Form) -> Result<Vec<v1::Document>, Status> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while documents.len() < count && bytes < BATCH_BYTES_MAX {
        let Some(document) = cursor.next().transpose().map_err(from_engine)? else { break };
        bytes += document.as_bytes().len();
        documents.push(convert::document(document, form)?);
    }
    Ok(documents)
}
