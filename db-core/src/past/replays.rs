//! The past states that were made from the logs: one at a time, and the last one is kept for a while, so that reading it again
//! costs nothing and a later one what lies between.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use db_index::{ErrorCode, QueryError};

use super::replay::{Replay, Source};
use super::scratch::Scratch;
use crate::error::Result;
use crate::query::stop::Stop;
use crate::view::ViewSnapshot;

/// MongoDB's `QueryExceededMemoryLimitNoDiskUseAllowed`.
const TOO_LARGE: ErrorCode = ErrorCode(292);
/// How often a caller that waits for its turn is asked whether it still wants it.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// How long a state is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// The past states of a database that are made from the logs.
pub(crate) struct Replays {
    /// Where files may be made; none for a database in memory.
    directory: Option<PathBuf>,
    state: Mutex<State>,
    /// Told when a state has been made.
    made: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether one is being made.
    is_busy: bool,
    /// Of confirmed entries alone.
    kept: Option<Replay>,
    asked_last: Option<Instant>,
    /// Whether somebody looks after what nobody asks for any more.
    is_looked_after: bool,
}

impl Replays {
    /// None yet. In memory without a directory.
    pub(crate) fn new(directory: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { directory, state: Mutex::default(), made: Condvar::new() })
    }

    /// The view after the first `count` entries of the order, of which `confirmed` are confirmed. What a call that is stopped has
    /// made is kept, so that the next one goes on there.
    ///
    /// # Errors
    /// 50 if it is to stop; 292 if there is no room for it ([`crate::limits::PAST_REPLAY_DISK_BYTES_MAX`],
    /// [`crate::limits::PAST_REPLAY_BYTES_MAX`]); if the storage fails.
    pub(crate) fn view_after(
        self: &Arc<Self>,
        source: &Source<'_>,
        (count, confirmed): (u64, u64),
        stop: &mut Stop,
    ) -> Result<ViewSnapshot> {
        let turn = Turn::wait(self, stop)?;
        let kept = self.lock().kept.take().filter(|kept| kept.count() <= count);
        let mut replay = match kept {
            Some(kept) if kept.is_of(source)? => kept,
            _ => Replay::new(Scratch::new(self.directory.as_deref())?, source.genesis)?,
        };
        let outcome = replay.go_on(source, count, stop);
        if let Some(bytes_max) = replay.exceeded() {
            let message = format!(
                "the state is too large to be made again from the logs: read a later one; bytes_max={bytes_max}"
            );
            return Err(QueryError::new(TOO_LARGE, message).into());
        }
        let view = outcome.and_then(|()| replay.view());
        if replay.count() <= confirmed {
            turn.keep(replay);
        }
        view
    }

    /// Keeps none any more.
    pub(crate) fn clear(&self) {
        self.lock().kept = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that what is kept goes once nobody has asked for it for a while.
    #[allow(clippy::disallowed_methods)] // what is kept, and for how long, changes no answer
    fn look_after(self: &Arc<Self>) {
        let replays = Arc::downgrade(self);
        let look = move || {
            let mut wait = KEPT_FOR;
            loop {
                std::thread::sleep(wait);
                let Some(replays) = replays.upgrade() else { return };
                let mut state = replays.lock();
                let idle = state.asked_last.map_or(KEPT_FOR, |asked| asked.elapsed());
                if !state.is_busy && idle >= KEPT_FOR {
                    (state.kept, state.is_looked_after) = (None, false);
                    return;
                }
                wait = KEPT_FOR.saturating_sub(idle).max(ASKED_EVERY);
            }
        };
        // Without a thread it stays until the database is closed.
        let begun = std::thread::Builder::new().name("combdb-past".to_owned()).spawn(look);
        self.lock().is_looked_after = begun.is_ok();
    }
}

/// Whose turn it is to make a state.
struct Turn<'a>(&'a Arc<Replays>);

impl<'a> Turn<'a> {
    fn wait(replays: &'a Arc<Replays>, stop: &mut Stop) -> Result<Self> {
        let mut state = replays.lock();
        while state.is_busy {
            stop.check()?;
            let waited = replays.made.wait_timeout(state, ASKED_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_busy = true;
        Ok(Self(replays))
    }

    #[allow(clippy::disallowed_methods)] // what is kept, and for how long, changes no answer
    fn keep(&self, replay: Replay) {
        let mut state = self.0.lock();
        (state.kept, state.asked_last) = (Some(replay), Some(Instant::now()));
        if !std::mem::replace(&mut state.is_looked_after, true) {
            drop(state);
            self.0.look_after();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_busy = false;
        self.0.made.notify_one();
    }
}
