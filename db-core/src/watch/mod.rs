//! Change streams: what is changed, told to whoever watches.
//!
//! Of what this peer holds (`local`), as net differences: what a client has built from the events is what a find gives. Of
//! what is confirmed (`majority`), change by change, each once, in the confirmed order, never taken back.

mod event;
mod futures;
mod history;
mod live;
mod local;
mod majority;
mod side_by_side;
mod stages;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod token;

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use bson::{Document, RawArrayBuf};

pub use event::{
    ChangeNamespace, ChangeStreamEvent, FullDocumentBeforeChangeType, FullDocumentType, OperationType,
    UpdateDescription,
};
pub use live::{LiveChange, LiveQuery};
pub use stream::ChangeStream;
pub use token::ResumeToken;

use self::event::Showing;
use self::local::LocalSource;
use self::majority::{MajoritySource, Start};
pub(crate) use self::side_by_side::SideBySide;
use self::stages::Stages;
use self::target::Target;
use crate::collection::documents::checked_pipeline;
use crate::collection::{Collection, ReadConcern, ToRawDocument};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::view::catalog;

impl<T> Collection<T> {
    /// Watches the documents of the collection, which need not exist: see [`Watch`].
    pub fn watch(&self) -> Watch<T> {
        let target = self.refuse_past("watched").and_then(|()| catalog::check_name_to_read(self.name()));
        let target = target.map(|()| Target::Collection(self.name().to_owned()));
        Watch::new(self.database(), target)
    }
}

impl Database {
    /// Watches the documents of all collections but those of the system: see [`Watch`].
    pub fn watch(&self) -> Watch<Document> {
        Watch::new(self, Ok(Target::Database))
    }

    /// How many bytes to keep of what confirmed entries have changed, 64 MiB unless said otherwise: a stream of the concern
    /// majority can be resumed as far back as these reach. Holds until the database is closed.
    pub fn set_change_history(&self, bytes: u64) {
        self.published().changes_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// A watch that does nothing until it is run.
///
/// With the concern [`ReadConcern::Local`] it tells how what this peer holds has changed since it last told something, in
/// as few events as say it: what was written twice meanwhile comes once, and where a merge has changed the order, events
/// correct what was told before. A client that has taken all events there are holds what a find gives.
///
/// With [`ReadConcern::Majority`] it tells every change that a majority of the indexers has confirmed, once and in the
/// confirmed order, and can be resumed after any event: on this peer, after a restart, or on another peer.
///
/// ```
/// use bson::{Document, doc};
/// use db_core::OperationType;
///
/// let store = db_core::Store::in_memory()?;
/// let films = store.create_database("demo")?.collection::<Document>("films");
/// let mut changes = films.watch().pipeline([doc! { "$match": { "fullDocument.year": 1979 } }]).run()?;
/// films.insert_one(doc! { "title": "Dune", "year": 1984 }).run()?;
/// films.insert_one(doc! { "title": "Alien", "year": 1979 }).run()?;
/// let event = changes.next_if_any()?.expect("one of them matches");
/// assert_eq!(event.operation_type, OperationType::Insert);
/// assert_eq!(event.full_document.unwrap().get_str("title").ok(), Some("Alien"));
/// # Ok::<(), db_core::Error>(())
/// ```
#[must_use = "a watch does nothing until it is run"]
pub struct Watch<T> {
    database: Database,
    target: Result<Target>,
    pipeline: Result<RawArrayBuf>,
    showing: Showing,
    concern: ReadConcern,
    start: Start,
    with_present: bool,
    documents: PhantomData<fn() -> T>,
}

impl<T> Watch<T> {
    fn new(database: &Database, target: Result<Target>) -> Self {
        Self {
            database: database.clone(),
            target,
            pipeline: Ok(RawArrayBuf::new()),
            showing: Showing::default(),
            concern: ReadConcern::Local,
            start: Start::Now,
            with_present: false,
            documents: PhantomData,
        }
    }

    /// The same with documents of another type.
    pub fn with_type<U>(self) -> Watch<U> {
        let Self { database, target, pipeline, showing, concern, start, with_present, .. } = self;
        Watch { database, target, pipeline, showing, concern, start, with_present, documents: PhantomData }
    }

    /// Only the events that these stages let through, as they make them over: `$match`, `$project`, `$addFields`, `$set`,
    /// `$unset`, `$replaceRoot`, `$replaceWith` and `$redact`. They must leave `_id` alone.
    pub fn pipeline<D: ToRawDocument>(mut self, stages: impl IntoIterator<Item = D>) -> Self {
        self.pipeline = checked_pipeline(stages);
        self
    }

    /// With updated documents as the change has left them.
    pub fn full_document(mut self, _: FullDocumentType) -> Self {
        self.showing.after = true;
        self
    }

    /// With documents as they were before.
    pub fn full_document_before_change(mut self, which: FullDocumentBeforeChangeType) -> Self {
        self.showing.before = which != FullDocumentBeforeChangeType::Off;
        self
    }

    /// Of everything that this peer holds, or of what is confirmed.
    pub fn read_concern(mut self, concern: ReadConcern) -> Self {
        self.concern = concern;
        self
    }

    /// Of what is confirmed, what comes after the event with this token.
    pub fn resume_after(mut self, token: ResumeToken) -> Self {
        self.start = Start::After(token);
        self
    }

    /// The same as [`Watch::resume_after`]: here a stream can be resumed after an `invalidate`, too.
    pub fn start_after(self, token: ResumeToken) -> Self {
        self.resume_after(token)
    }

    /// Of what is confirmed, what comes from this position of the confirmed order on.
    pub fn start_at(mut self, position: u64) -> Self {
        self.start = Start::At(position);
        self
    }

    /// With the documents that there are now, as inserts that come first: a client begins with nothing and misses nothing.
    /// Of local streams only.
    pub fn with_present(mut self) -> Self {
        self.with_present = true;
        self
    }

    /// Begins to watch: every change from now on will be told of.
    ///
    /// # Errors
    /// MongoDB's codes for stages that are wrong or cannot stand here (20); `InvalidResumeToken` (260), `ChangeStreamHistoryLost`
    /// (286) if the changes from there on are not kept any more; `Invalid` for options that do not go together; if the
    /// storage fails.
    pub fn run(self) -> Result<ChangeStream<T>> {
        let target = self.target?;
        let stages = Stages::parse(&self.pipeline?)?;
        match self.concern {
            ReadConcern::Local => {
                if !matches!(self.start, Start::Now) {
                    let message = "a local stream begins with the present: resume with the concern majority";
                    return Err(Error::invalid(message).with_code(72));
                }
                let source = LocalSource::begin(&self.database, target, self.showing, self.with_present)?;
                Ok(ChangeStream::of_local(source, stages))
            }
            ReadConcern::Majority => {
                if self.with_present {
                    let message = "only a local stream can begin with the documents that there are";
                    return Err(Error::invalid(message).with_code(72));
                }
                let source = MajoritySource::begin(&self.database, target, self.showing, &self.start)?;
                Ok(ChangeStream::of_majority(source, stages, &self.database))
            }
        }
    }
}
