//! Whether there is something for readers to see, and waiting for it: after an end in the middle of ordering there is nothing before
//! all is ordered.

use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Result;

/// How often who waits is asked whether it still does.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Told once.
#[derive(Debug, Default)]
pub(super) struct Begun {
    told: OnceLock<()>,
    /// For threads that wait, and for tasks.
    lock: Mutex<()>,
    threads: Condvar,
    tasks: watch::Sender<bool>,
}

impl Begun {
    /// Lets everybody go on, now and later.
    pub(super) fn tell(&self) {
        if self.has_begun() {
            return;
        }
        {
            let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.told.get_or_init(|| ());
        }
        self.threads.notify_all();
        self.tasks.send_replace(true);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.told.get().is_some()
    }

    /// Waits, in this thread, for as long as `check` gives no error.
    ///
    /// # Errors
    /// That of `check`.
    pub(super) fn wait(&self, check: impl Fn() -> Result<()>) -> Result<()> {
        if self.has_begun() {
            return Ok(());
        }
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.has_begun() {
            check()?;
            lock = self.threads.wait_timeout(lock, ASKED_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits, in a task.
    pub(super) async fn told(&self) {
        if !self.has_begun() {
            // The sender lives as long as this.
            let _ = self.tasks.subscribe().wait_for(|told| *told).await;
        }
    }
}
