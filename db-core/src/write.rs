//! Writes in flight: awaited in async code, or run to their end in blocking code.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};

use crate::database::closed;
use crate::driver::worker::Command;
use crate::engine::{Reply, Request};
use crate::error::Result;

/// A write that does nothing until it is awaited, or run with [`Write::run`]. When either returns, the write is durable on
/// this device.
#[must_use = "a write does nothing until it is awaited or run"]
pub struct Write<T> {
    commands: mpsc::Sender<Command>,
    request: Result<Request>,
    finish: Box<dyn FnOnce(Reply) -> Result<T> + Send>,
}

impl<T> Write<T> {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        request: Result<Request>,
        finish: impl FnOnce(Reply) -> Result<T> + Send + 'static,
    ) -> Self {
        Self { commands, request, finish: Box::new(finish) }
    }

    /// Changes the call before it is made.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Request) -> Result<()>) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
        self
    }

    /// Blocks until the write is durable.
    ///
    /// # Errors
    /// Those of the call; `Unavailable` if the storage fails or the database is closed.
    ///
    /// # Panics
    /// Within async code: await the write there.
    pub fn run(self) -> Result<T> {
        let (command, reply) = command(self.request?);
        self.commands.blocking_send(command).map_err(|_| closed())?;
        (self.finish)(reply.blocking_recv().map_err(|_| closed())??)
    }
}

impl<T: 'static> IntoFuture for Write<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { commands, request, finish } = self;
        Box::pin(async move {
            let (command, reply) = command(request?);
            commands.send(command).await.map_err(|_| closed())?;
            finish(reply.await.map_err(|_| closed())??)
        })
    }
}

fn command(request: Request) -> (Command, oneshot::Receiver<Result<Reply>>) {
    let (reply, receiver) = oneshot::channel();
    (Command::Write { request: Box::new(request), reply }, receiver)
}
