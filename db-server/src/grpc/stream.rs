//! Cursors as streams of batches: read as fast as the client takes them, and closed when it goes away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bson::RawDocumentBuf;
use db_core::Database;
use proto::v1;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::options::Waiting;
use crate::convert::{self, Form};
use crate::error::{from_engine, status};
use crate::node::{Node, Sees};

/// The stream of a cursor's batches; after the last of them, the reason if the server gave up.
pub(crate) struct Batches<R> {
    receiver: mpsc::Receiver<Result<R, Status>>,
    gave_up: Arc<Mutex<Option<Status>>>,
    /// Dropped when the client goes away, which ends the read.
    _waiting: Waiting,
}

impl<R> Stream for Batches<R> {
    type Item = Result<R, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.receiver.poll_recv(context)) {
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

/// In which form a stream sends documents, and how many together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    form: Form,
    batch_documents: usize,
}

impl Sending {
    /// Documents in this form, in batches of the size that the client wants; 0: of any.
    pub(super) fn new(form: Form, batch_size: u32) -> Self {
        let batch_documents = match batch_size as usize {
            0 => BATCH_DOCUMENTS_DEFAULT,
            wanted => wanted.min(BATCH_DOCUMENTS_MAX),
        };
        Self { form, batch_documents }
    }
}

/// Streams what the cursor that `begin` opens gives, each batch as the message that `answer` makes of it.
///
/// No thread is held while the client is slow: each batch is read when there is room for it, and when the client goes
/// away or takes nothing for too long the cursor is dropped.
///
/// # Errors
/// If the engine refuses to begin, or too many cursors are streaming.
pub(super) async fn stream<C, R>(
    node: &Node,
    (database, sees): (String, Sees),
    sending: Sending,
    waiting: Waiting,
    answer: fn(Vec<v1::Document>) -> R,
    begin: impl FnOnce(&Database) -> db_core::Result<C> + Send + 'static,
) -> Result<Batches<R>, Status>
where
    C: Iterator<Item = db_core::Result<RawDocumentBuf>> + Send + 'static,
    R: Send + 'static,
{
    let permit = node.cursor_permit()?;
    let mut cursor = node.read_view(database, sees, begin).await?;
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
                    let message =
                        format!("no batch was taken for {CLIENT_PATIENCE:?}: the cursor was closed");
                    tracing::info!("{message}");
                    let late = status(Code::DeadlineExceeded, "CLIENT_TOO_SLOW", message, None, &[]);
                    *last_word(&give_up) = Some(late);
                    return;
                }
            };
            let read = node.run(move |_| {
                let batch = read_batch(&mut cursor, sending)?;
                Ok((cursor, batch))
            });
            match read.await {
                Ok((next, documents)) => {
                    if documents.is_empty() {
                        return;
                    }
                    cursor = next;
                    room.send(Ok(answer(documents)));
                }
                Err(status) => {
                    room.send(Err(status));
                    return;
                }
            }
        }
    });
    Ok(Batches { receiver, gave_up, _waiting: waiting })
}

fn last_word(status: &Mutex<Option<Status>>) -> MutexGuard<'_, Option<Status>> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next documents of a cursor; none at its end.
fn read_batch(
    cursor: &mut impl Iterator<Item = db_core::Result<RawDocumentBuf>>,
    sending: Sending,
) -> Result<Vec<v1::Document>, Status> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    while documents.len() < sending.batch_documents && bytes < BATCH_BYTES_MAX {
        let Some(document) = cursor.next().transpose().map_err(from_engine)? else { break };
        bytes += document.as_bytes().len();
        documents.push(convert::document(document, sending.form)?);
    }
    Ok(documents)
}
