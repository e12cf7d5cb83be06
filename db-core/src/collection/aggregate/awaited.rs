//! Aggregations awaited. One that only reads is begun at once, as a find is; one that writes its results works on a thread of
//! its own, since what it computes between two writes may take long, and nobody's async thread should stand still for that.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::{Aggregate, Begun};
use crate::collection::{Cursor, RawCursor};
use crate::error::{Error, ErrorKind, Result};

impl<T: 'static> IntoFuture for Aggregate<T> {
    type Output = Result<Cursor<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Cursor<T>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let begun = self.begin()?;
            let cursor =
                if begun.pipeline.target().is_some() { written(begun).await? } else { begun.run()? };
            Ok(cursor.with_type())
        })
    }
}

/// Runs an aggregation that writes its results, until it is done or nobody waits for it any more.
async fn written(mut begun: Begun) -> Result<RawCursor> {
    let gone = Gone::default();
    let asked = Arc::clone(&gone.0);
    begun.stop.when(move || asked.load(Ordering::Relaxed));
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("combdb-{}-aggregate", begun.database.name()))
        .spawn(move || {
            let _ = done.send(begun.run()); // nobody waits any more: it was stopped
        })
        .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start a thread").with_source(error))?;
    let panicked = |_| Error::new(ErrorKind::Unavailable, "the aggregation's thread has panicked");
    outcome.await.map_err(panicked)?
}

/// Says, once it is dropped, that nobody waits any more.
#[derive(Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
