//! Change streams as the futures crates know streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::event::ChangeStreamEvent;
use super::stream::ChangeStream;
use crate::error::Result;

/// A wait until there may be another event.
pub(super) type Waiting = Pin<Box<dyn Future<Output = Result<()>> + Send + Sync>>;

/// As [`ChangeStream::next`] gives the events, one after the other.
impl<T: DeserializeOwned> Stream for ChangeStream<T> {
    type Item = Result<ChangeStreamEvent<T>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(waiting) = self.waiting() {
                let waited = std::task::ready!(waiting.as_mut().poll(context));
                self.has_waited();
                if let Err(error) = waited {
                    self.fail();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            // What comes while it is looked wakes the wait that follows.
            self.mark_seen();
            match self.next_if_any().transpose() {
                Some(event) => return Poll::Ready(Some(event)),
                None if self.is_alive() => self.wait(),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bson::{Document, doc};
    use tokio::time::timeout;

    use super::*;
    use crate::store::Store;
    use crate::watch::OperationType;
    use crate::{Collection, ReadConcern};

    const PATIENCE: Duration = Duration::from_mins(1);

    async fn next(stream: &mut ChangeStream<Document>) -> Option<Result<ChangeStreamEvent<Document>>> {
        let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context));
        timeout(PATIENCE, next).await.unwrap()
    }

    #[tokio::test]
    async fn events_are_polled_for_as_they_come_until_the_stream_ends() {
        for concern in [ReadConcern::Local, ReadConcern::Majority] {
            let store = Store::in_memory().unwrap();
            let database = store.create_database("t").unwrap();
            let films: Collection<Document> = database.collection("films");
            films.insert_one(doc! { "_id": 0 }).await.unwrap();
            let mut stream = films.watch().read_concern(concern).run().unwrap();
            let reader = tokio::spawn(async move {
                let mut kinds = Vec::new();
                while let Some(event) = next(&mut stream).await {
                    kinds.push(event.unwrap().operation_type);
                }
                kinds
            });
            for id in 1..=20 {
                films.insert_one(doc! { "_id": id }).await.unwrap();
                tokio::task::yield_now().await;
            }
            films.drop().await.unwrap();
            let kinds = timeout(PATIENCE, reader).await.unwrap().unwrap();
            let inserts = kinds.iter().filter(|kind| **kind == OperationType::Insert).count();
            assert_eq!(kinds[kinds.len() - 2..], [OperationType::Drop, OperationType::Invalidate]);
            // What is gone by the time it is looked at is no local event.
            assert!(inserts == 20 || (concern == ReadConcern::Local && inserts + 2 == kinds.len()));
        }
    }

    #[tokio::test]
    async fn a_stream_of_a_database_that_is_closed_ends_with_an_error() {
        let store = Store::in_memory().unwrap();
        let mut stream = store.create_database("t").unwrap().collection("films").watch().run().unwrap();
        let reader =
            tokio::spawn(async move { (next(&mut stream).await, next(&mut stream).await.is_none()) });
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(move || store.close()).await.unwrap();
        let (error, is_over) = timeout(PATIENCE, reader).await.unwrap().unwrap();
        assert!(error.unwrap().is_err() && is_over);
    }
}
