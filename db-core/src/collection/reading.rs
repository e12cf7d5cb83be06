//! What any read may say besides what it asks for.

use std::time::{Duration, Instant};

use crate::query::{FindOptions, Hint, Stop};

/// What any read may say besides what it asks for: by which index, and for how long.
#[derive(Debug, Clone, Default)]
#[must_use = "options do nothing until they are given to a read"]
pub struct ReadOptions {
    hint: Option<Hint>,
    max_time: Option<Duration>,
    stop: Stop,
}

impl ReadOptions {
    /// By this index and no other.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// No longer than this, from when it is run: then it, or its cursor, fails with `MaxTimeMSExpired` (50).
    pub fn max_time(mut self, max_time: Duration) -> Self {
        self.max_time = Some(max_time);
        self
    }

    /// Only until this says yes: it is asked again and again while documents are read, and the read, or its cursor, then
    /// fails with `MaxTimeMSExpired` (50).
    pub fn stop_when(mut self, question: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.stop.when(question);
        self
    }

    /// Puts the options into those of a find; the time that it may take begins.
    pub(super) fn begin(self, find: &mut FindOptions) {
        find.hint = self.hint;
        find.stop = self.stop;
        if let Some(max_time) = self.max_time {
            find.stop.when(exhausted_after(max_time));
        }
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

            /// No longer than this: see [`ReadOptions::max_time`].
            pub fn max_time(self, max_time: Duration) -> Self {
                self.change_options(|options| options.max_time(max_time))
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
