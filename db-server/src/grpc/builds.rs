//! How far the building of indexes has come, as a message and as a stream.

use std::pin::Pin;
use std::time::Duration;

use db_core::IndexBuild;
use proto::v1::{self, WatchIndexBuildsRequest, WatchIndexBuildsResponse};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::node::Node;

/// The shortest time between two messages of one stream.
const INTERVAL: Duration = Duration::from_millis(100);

/// A stream that tells of the building of indexes.
pub(super) type Builds = Pin<Box<dyn Stream<Item = Result<WatchIndexBuildsResponse, Status>> + Send>>;

/// Tells of the building of indexes in a database until the client ends it or the peer stops.
///
/// # Errors
/// `NOT_FOUND` if there is no such database, `RESOURCE_EXHAUSTED` if too many are watching.
pub(super) async fn watch(node: &Node, request: WatchIndexBuildsRequest) -> Result<Builds, Status> {
    let permit = node.watcher_permit()?;
    let builds = node.database(request.database).await?.watch_index_build();
    let told = WatchStream::new(builds).throttle(INTERVAL).map(move |build| {
        let _held = &permit;
        Ok(WatchIndexBuildsResponse { build: build.as_ref().map(describe) })
    });
    Ok(Box::pin(told))
}

/// The message for a build.
pub(super) fn describe(build: &IndexBuild) -> v1::IndexBuild {
    v1::IndexBuild {
        collection: build.collection.clone(),
        index: build.index.clone(),
        documents: build.documents,
        documents_total: build.documents_total,
        entries: build.entries,
    }
}
