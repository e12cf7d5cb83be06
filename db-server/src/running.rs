//! The calls that are running, as a clean stop sees them: it waits for those that have an end of their own, for as long as its
//! patience lasts, and ends those that have none at once. It does not wait for connections: a client that has nothing running
//! may be gone without a word.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Bytes, Service, http};
use tonic::{Code, Status};

use crate::error::status;

/// How long nothing must have been running before all is taken to be done: the last answers are on their way meanwhile, and calls
/// that a connection has queued begin.
const QUIET: Duration = Duration::from_millis(250);

/// How many calls are running, and whether streams are to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    calls: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl Running {
    /// A service whose calls are counted, and whose streams without an end of their own are ended, with `UNAVAILABLE`.
    pub(crate) fn counting<S>(&self, service: S) -> Counted<S> {
        Counted { service, running: self.clone() }
    }

    /// Ends the streams that have no end of their own.
    pub(crate) fn end_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until no call is running that has an end of its own.
    pub(crate) async fn drained(&self) {
        let mut calls = self.calls.subscribe();
        while calls.wait_for(|calls| *calls == 0).await.is_ok() {
            if tokio::time::timeout(QUIET, calls.changed()).await.is_err() {
                return;
            }
        }
    }

    fn begin(&self) -> Call {
        self.calls.send_modify(|calls| *calls += 1);
        Call(self.calls.clone())
    }

    /// Waits until streams are to end.
    fn stopping(&self) -> Stopping {
        let mut stopping = self.stopping.subscribe();
        Box::pin(async move {
            // Where nobody can say so any more the server has ended.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        })
    }
}

/// A call that is running, until this is dropped.
struct Call(watch::Sender<usize>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls = calls.saturating_sub(1));
    }
}

type Stopping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`Running::counting`].
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    service: S,
    running: Running,
}

impl<S, B> Service<http::Request<B>> for Counted<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let is_endless = is_endless(request.uri().path());
        let (call, stopping) = (self.running.begin(), self.running.stopping());
        let answer = self.service.call(request);
        Box::pin(async move {
            Ok(answer.await?.map(|body| {
                let held = if is_endless { Held::Endless(stopping) } else { Held::Running(call) };
                Body::new(Answer { body: Some((body, held)) })
            }))
        })
    }
}

/// Whether what this method answers has no end of its own: what is watched, and reflection, which is a conversation.
fn is_endless(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    method.starts_with("Watch") || path.starts_with("/grpc.reflection.")
}

/// An answer on its way to the client; none once all of it has gone.
struct Answer {
    body: Option<(Body, Held)>,
}

enum Held {
    /// It is waited for.
    Running(#[expect(dead_code, reason = "dropped when the answer has gone")] Call),
    /// It is ended.
    Endless(Stopping),
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some((body, held)) = &mut self.body else { return Poll::Ready(None) };
        if let Held::Endless(stopping) = held
            && stopping.as_mut().poll(context).is_ready()
        {
            self.body = None;
            return Poll::Ready(Some(farewell().map(Frame::trailers)));
        }
        let frame = ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}

/// What a stream ends with that the server ends.
fn farewell() -> Result<http::HeaderMap, Status> {
    let mut trailers = http::HeaderMap::new();
    let message = "the server is stopping: connect anew when it is back";
    status(Code::Unavailable, "STOPPING", message, None, &[]).add_header(&mut trailers)?;
    Ok(trailers)
}
