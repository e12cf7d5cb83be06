//! What the thread of a database lets others see.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

use tokio::sync::watch;

use super::feed::Feed;
use super::peers::PeerStatus;
use crate::apply::{IndexBuild, Observer};
use crate::engine::EngineStatus;
use crate::limits;
use crate::view::ViewSnapshot;

/// How often to look for what has expired, unless said otherwise.
const EXPIRY_INTERVAL_MS: u64 = 60_000;

/// What the thread lets others see.
pub(crate) struct Published {
    pub(crate) status: watch::Sender<EngineStatus>,
    /// What readers see of the view; none once the database is closed.
    pub(crate) view: RwLock<Option<ViewSnapshot>>,
    /// Where the published views differ, for those who watch.
    pub(crate) feed: Feed,
    /// How many bytes of confirmed changes to keep; others may change it.
    pub(crate) changes_bytes: AtomicU64,
    pub(crate) peers: Mutex<Vec<PeerStatus>>,
    /// The index that is being built, if there is one.
    pub(crate) index_build: watch::Sender<Option<IndexBuild>>,
    /// How often to look for what has expired; others may change it.
    pub(crate) expiry_interval_ms: AtomicU64,
}

impl Published {
    pub(crate) fn new(status: EngineStatus, view: ViewSnapshot) -> Self {
        Self {
            status: watch::Sender::new(status),
            view: RwLock::new(Some(view)),
            feed: Feed::new(),
            changes_bytes: AtomicU64::new(limits::CHANGES_BYTES),
            peers: Mutex::default(),
            index_build: watch::Sender::new(None),
            expiry_interval_ms: AtomicU64::new(EXPIRY_INTERVAL_MS),
        }
    }
}

impl Observer for Published {
    fn index_build(&self, build: &IndexBuild) {
        tracing::info!(
            collection = build.collection,
            index = build.index,
            documents = build.documents,
            of = build.documents_total,
            "an index is being built"
        );
        self.index_build.send_replace(Some(build.clone()));
    }
}
