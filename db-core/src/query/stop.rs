//! Stopping a query that runs: the engine has no clock, so the caller says when it is enough.

use std::fmt;
use std::sync::Arc;

use db_index::QueryError;

use crate::error::{Error, Result};

/// MongoDB's code of a query that was stopped: `MaxTimeMSExpired`.
const MAX_TIME_MS_EXPIRED: db_index::ErrorCode = db_index::ErrorCode(50);

/// How many steps a query makes between two questions.
const STEPS: u32 = 64;

/// The question whether a query is to stop. No question: it never is.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    questions: Vec<Arc<dyn Fn() -> bool + Send + Sync>>,
    steps: u32,
}

impl Stop {
    /// Asks this, too: the query stops as soon as one answer is yes.
    pub(crate) fn when(&mut self, question: impl Fn() -> bool + Send + Sync + 'static) {
        self.questions.push(Arc::new(question));
    }

    /// Counts a step of the query; every now and then, and at the first one, the questions are asked.
    ///
    /// # Errors
    /// `MaxTimeMSExpired` (50) if the query is to stop.
    pub(crate) fn step(&mut self) -> Result<()> {
        let asks = self.steps == 0;
        self.steps = if asks { STEPS } else { self.steps - 1 };
        if asks { self.check() } else { Ok(()) }
    }

    /// Asks the questions.
    ///
    /// # Errors
    /// As for [`Stop::step`].
    pub(crate) fn check(&self) -> Result<()> {
        if self.questions.iter().any(|question| question()) { Err(over()) } else { Ok(()) }
    }
}

/// What a query fails with that is stopped: `MaxTimeMSExpired` (50).
pub(crate) fn over() -> Error {
    QueryError::new(MAX_TIME_MS_EXPIRED, "operation exceeded time limit").into()
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("questions", &self.questions.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_query_goes_on_until_somebody_says_that_it_is_enough() {
        let enough = Arc::new(AtomicBool::new(false));
        let mut stop = Stop::default();
        stop.when(|| false);
        let asked = Arc::clone(&enough);
        stop.when(move || asked.load(Ordering::Relaxed));
        assert!((0..1_000).all(|_| stop.step().is_ok()));
        enough.store(true, Ordering::Relaxed);
        let steps = (0..1_000).take_while(|_| stop.step().is_ok()).count();
        assert!(steps <= STEPS as usize);
    }
}
