//! What any read may say besides what it asks for.

use std::time::{Duration, Instant};

use bson::{RawDocument, RawDocumentBuf};
use db_index::QueryContext;

use super::documents::{ToRawDocument, checked};
use super::here_and_now;
use crate::error::{Error, Result};
use crate::query::{FindOptions, Hint, Stop, surroundings};

/// What a read sees of what is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadConcern {
    /// Everything that this peer holds, the tail included: what a later merge may yet order otherwise.
    #[default]
    Local,
    /// What a majority of the indexers has confirmed: it will never be taken back. Of a database that nobody has founded
    /// that is nothing.
    Majority,
}

/// What any read may say besides what it asks for: by which index, and for how long.
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until they are given to a read"]
pub struct ReadOptions {
    hint: Option<Hint>,
    /// A document, or what is wrong with it.
    variables: Option<Given>,
    collation: Option<Given>,
    max_time: Option<Duration>,
    read_concern: ReadConcern,
    at_position: Option<u64>,
    stop: Stop,
}

impl ReadOptions {
    /// By this index and no other.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// With values for variables, which `$expr` and pipelines refer to as `$$name`: MongoDB's `let`.
    pub fn let_vars(mut self, variables: impl ToRawDocument) -> Self {
        self.variables = Some(given(variables));
        self
    }

    /// With strings compared by this collation, as in `{ locale: "de", strength: 2 }`; without one, by the collection's.
    pub fn collation(mut self, collation: impl ToRawDocument) -> Self {
        self.collation = Some(given(collation));
        self
    }

    /// No longer than this, from when it is run: then it, or its cursor, fails with `MaxTimeMSExpired` (50).
    pub fn max_time(mut self, max_time: Duration) -> Self {
        self.max_time = Some(max_time);
        self
    }

    /// Of what is confirmed only, or of everything that this peer holds.
    pub fn read_concern(mut self, read_concern: ReadConcern) -> Self {
        self.read_concern = read_concern;
        self
    }

    /// Of the database as it was after the entry at this position of the order: see [`crate::Database::at`], which makes several
    /// reads of one past state cost less.
    pub fn at_position(mut self, position: u64) -> Self {
        self.at_position = Some(position);
        self
    }

    /// Only until this says yes: it is asked again and again while documents are read, and the read, or its cursor, then
    /// fails with `MaxTimeMSExpired` (50).
    pub fn stop_when(mut self, question: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.stop.when(question);
        self
    }

    /// Puts the options into those of a find in a collection with this collation, which is to stop as [`Self::stop`] said.
    pub(crate) fn begin(
        self,
        find: &mut FindOptions,
        collation: Option<&RawDocument>,
        stop: Stop,
    ) -> Result<()> {
        find.context = self.context(collation)?;
        find.stop = stop;
        find.hint = self.hint;
        Ok(())
    }

    /// What the read is compiled with, in a collection with this collation.
    pub(super) fn context(&self, collation: Option<&RawDocument>) -> Result<QueryContext> {
        let own = self.collation.as_ref().map(checked_given).transpose()?;
        let variables = self.variables.as_ref().map(checked_given).transpose()?;
        surroundings(here_and_now(), variables.as_deref(), own.as_deref().or(collation))
    }

    /// When the read is to stop; the time that it may take begins.
    pub(crate) fn stop(&self) -> Stop {
        let mut stop = self.stop.clone();
        if let Some(max_time) = self.max_time {
            stop.when(exhausted_after(max_time));
        }
        stop
    }

    /// What is seen of what is not confirmed.
    pub(super) fn concern(&self) -> ReadConcern {
        self.read_concern
    }

    /// The position of the last entry whose effects are to be seen, if not all are.
    pub(super) fn position(&self) -> Option<u64> {
        self.at_position
    }

    /// The index to use.
    pub(super) fn index(&self) -> Option<&Hint> {
        self.hint.as_ref()
    }
}

/// A document from a caller, or what is wrong with it.
type Given = std::result::Result<RawDocumentBuf, String>;

fn given(document: impl ToRawDocument) -> Given {
    document.to_raw_document().map_err(|error| error.message().to_owned())
}

fn checked_given(given: &Given) -> Result<RawDocumentBuf> {
    match given {
        Ok(document) => checked(&**document),
        Err(fault) => Err(Error::invalid(fault)),
    }
}

/// A question whose answer is yes once `max_time` has passed from now.
#[allow(clippy::disallowed_methods)] // a caller's patience is no matter of the engine
fn exhausted_after(max_time: Duration) -> impl Fn() -> bool + Send + Sync + 'static {
    let begin = Instant::now();
    move || begin.elapsed() >= max_time
}

/// Gives a kind of read the methods of [`ReadOptions`], which it keeps in the field named.
macro_rules! takes_read_options {
    ($read:ident, $($field:tt).+) => {
        impl<T> $read<T> {
            /// With these options, in place of those given so far.
            pub fn with_options(mut self, options: ReadOptions) -> Self {
                self.$($field).+ = options;
                self
            }

            /// By this index and no other.
            pub fn hint(self, hint: Hint) -> Self {
                self.change_options(|options| options.hint(hint))
            }

            /// With values for variables: see [`ReadOptions::let_vars`].
            pub fn let_vars(self, variables: impl ToRawDocument) -> Self {
                self.change_options(|options| options.let_vars(variables))
            }

            /// With strings compared by this collation: see [`ReadOptions::collation`].
            pub fn collation(self, collation: impl ToRawDocument) -> Self {
                self.change_options(|options| options.collation(collation))
            }

            /// No longer than this: see [`ReadOptions::max_time`].
            pub fn max_time(self, max_time: Duration) -> Self {
                self.change_options(|options| options.max_time(max_time))
            }

            /// Of what is confirmed only, or of everything: see [`ReadOptions::read_concern`].
            pub fn read_concern(self, read_concern: $crate::ReadConcern) -> Self {
                self.change_options(|options| options.read_concern(read_concern))
            }

            /// Of the database as it was: see [`ReadOptions::at_position`].
            pub fn at_position(self, position: u64) -> Self {
                self.change_options(|options| options.at_position(position))
            }

            /// Only until this says yes: see [`ReadOptions::stop_when`].
            pub fn stop_when(self, question: impl Fn() -> bool + Send + Sync + 'static) -> Self {
                self.change_options(|options| options.stop_when(question))
            }

            fn change_options(mut self, change: impl FnOnce(ReadOptions) -> ReadOptions) -> Self {
                self.$($field).+ = change(std::mem::take(&mut self.$($field).+));
                self
            }
        }
    };
}
pub(super) use takes_read_options;
