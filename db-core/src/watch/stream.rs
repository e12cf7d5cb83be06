//! The stream that a watch gives.

use std::marker::PhantomData;
use std::time::Duration;

use bson::RawDocumentBuf;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::event::ChangeStreamEvent;
use super::futures::Waiting;
use super::local::LocalSource;
use super::majority::MajoritySource;
use super::stages::Stages;
use super::token::ResumeToken;
use crate::collection::documents::not_bson;
use crate::database::{Database, closed};
use crate::engine::EngineStatus;
use crate::error::{Error, Result};

/// Events as they come: see [`Watch`](crate::Watch). Making them is done in the thread that asks for them.
pub struct ChangeStream<T> {
    source: Source,
    stages: Option<Stages>,
    /// The token of the last event, told of or filtered out.
    last: Option<ResumeToken>,
    has_failed: bool,
    /// What is waited for while the stream is polled.
    waiting: Option<Waiting>,
    documents: PhantomData<fn() -> T>,
}

#[allow(clippy::large_enum_variant)] // there is one of them for each stream
enum Source {
    Local(LocalSource),
    Majority { source: MajoritySource, commits: watch::Receiver<EngineStatus>, database: Database },
}

impl<T> ChangeStream<T> {
    pub(super) fn of_local(source: LocalSource, stages: Option<Stages>) -> Self {
        Self::new(Source::Local(source), stages)
    }

    pub(super) fn of_majority(source: MajoritySource, stages: Option<Stages>, database: &Database) -> Self {
        let mut commits = database.commits();
        commits.mark_changed(); // something may have been confirmed since the source was begun
        Self::new(Source::Majority { source, commits, database: database.clone() }, stages)
    }

    fn new(source: Source, stages: Option<Stages>) -> Self {
        Self { source, stages, last: None, has_failed: false, waiting: None, documents: PhantomData }
    }

    /// The same stream with documents of another type.
    pub fn with_type<U>(self) -> ChangeStream<U> {
        let Self { source, stages, last, has_failed, waiting, .. } = self;
        ChangeStream { source, stages, last, has_failed, waiting, documents: PhantomData }
    }

    /// Whether more events can come: not after an `invalidate` or an error.
    pub fn is_alive(&self) -> bool {
        let is_over = match &self.source {
            Source::Local(source) => source.is_over(),
            Source::Majority { source, .. } => source.is_over(),
        };
        !self.has_failed && !is_over
    }

    /// Where to resume a stream of the concern majority: after all that was told of. It moves on also where nothing is to be
    /// told, so that what is kept reaches further back than it. None of a local stream, and until something is confirmed.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        match &self.source {
            Source::Local(_) => None,
            Source::Majority { source, .. } => source.resume_token().or_else(|| self.last.clone()),
        }
    }

    /// The next event as raw BSON, if there is one now.
    ///
    /// # Errors
    /// `ChangeStreamHistoryLost` (286) for who has fallen too far behind; those of the pipeline; `Unavailable` once the
    /// database is closed; if the storage fails. After an error nothing more comes.
    pub fn next_raw_if_any(&mut self) -> Result<Option<RawDocumentBuf>> {
        let next = self.look();
        self.has_failed |= next.is_err();
        next
    }

    /// Waits for the next event; none once the stream has ended.
    ///
    /// # Errors
    /// As for [`ChangeStream::next_raw_if_any`].
    pub async fn next_raw(&mut self) -> Option<Result<RawDocumentBuf>> {
        loop {
            if !self.is_alive() {
                return None;
            }
            let next = match self.next_raw_if_any() {
                Ok(None) if self.is_alive() => self.changed().await.err().map(Err),
                next => next.transpose(),
            };
            if next.is_some() {
                self.has_failed |= matches!(next, Some(Err(_)));
                return next;
            }
        }
    }

    /// Waits until there may be another event.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed.
    pub async fn changed(&mut self) -> Result<()> {
        match &mut self.source {
            Source::Local(source) => source.changed().await,
            Source::Majority { commits, database, .. } => {
                let commands = database.commands().clone();
                tokio::select! {
                    biased;
                    changed = commits.changed() => changed.map_err(|_| closed()),
                    () = commands.closed() => Err(closed()),
                }
            }
        }
    }

    /// The wait that [`ChangeStream::wait`] has begun.
    pub(super) fn waiting(&mut self) -> Option<&mut Waiting> {
        self.waiting.as_mut()
    }

    pub(super) fn has_waited(&mut self) {
        self.waiting = None;
    }

    /// Nothing more comes.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// What there is now has been seen: the next wait is for what comes after.
    pub(super) fn mark_seen(&mut self) {
        match &mut self.source {
            Source::Local(source) => source.mark_seen(),
            Source::Majority { commits, .. } => commits.mark_unchanged(),
        }
    }

    /// Begins to wait for what comes after that which was seen.
    pub(super) fn wait(&mut self) {
        self.waiting = Some(match &self.source {
            Source::Local(source) => Box::pin(source.later()),
            Source::Majority { commits, database, .. } => {
                let (mut commits, commands) = (commits.clone(), database.commands().clone());
                Box::pin(async move {
                    tokio::select! {
                        biased;
                        changed = commits.changed() => changed.map_err(|_| closed()),
                        () = commands.closed() => Err(closed()),
                    }
                })
            }
        });
    }

    fn look(&mut self) -> Result<Option<RawDocumentBuf>> {
        while !self.has_failed {
            let event = match &mut self.source {
                Source::Local(source) => source.next()?,
                Source::Majority { source, .. } => source.next()?,
            };
            let Some(event) = event else { break };
            let token = event.get_document("_id").ok().and_then(|id| id.get_str("_data").ok());
            self.last = token.map(ResumeToken::new);
            let made = match &self.stages {
                Some(stages) => stages.apply(&event)?,
                None => Some(event),
            };
            if made.is_some() {
                return Ok(made);
            }
        }
        Ok(None)
    }
}

impl<T: DeserializeOwned> ChangeStream<T> {
    /// The next event, if there is one now. A pipeline must leave it the shape of an event; of others see
    /// [`ChangeStream::next_raw_if_any`].
    ///
    /// # Errors
    /// As for [`ChangeStream::next_raw_if_any`].
    pub fn next_if_any(&mut self) -> Result<Option<ChangeStreamEvent<T>>> {
        self.next_raw_if_any()?.as_ref().map(read).transpose()
    }

    /// Waits for the next event; none once the stream has ended.
    ///
    /// # Errors
    /// As for [`ChangeStream::next_raw_if_any`].
    pub async fn next(&mut self) -> Option<Result<ChangeStreamEvent<T>>> {
        let next = self.next_raw().await?;
        Some(next.and_then(|event| read(&event)))
    }

    /// As [`ChangeStream::next`], in blocking code; none if `timeout` is over first.
    ///
    /// # Errors
    /// As for [`ChangeStream::next_raw_if_any`].
    ///
    /// # Panics
    /// Within async code.
    pub fn next_blocking(&mut self, timeout: Option<Duration>) -> Option<Result<ChangeStreamEvent<T>>> {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return Some(Err(Error::invalid("no runtime to wait with").with_source(error))),
        };
        runtime.block_on(async {
            match timeout {
                Some(timeout) => tokio::time::timeout(timeout, self.next()).await.unwrap_or(None),
                None => self.next().await,
            }
        })
    }
}

fn read<'e, T: Deserialize<'e>>(event: &'e RawDocumentBuf) -> Result<ChangeStreamEvent<T>> {
    bson::deserialize_from_slice(event.as_bytes()).map_err(not_bson)
}

impl<T> std::fmt::Debug for ChangeStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeStream").field("is_alive", &self.is_alive()).finish_non_exhaustive()
    }
}
