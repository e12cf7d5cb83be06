//! What the thread of a database lets others see.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use super::feed::Feed;
use super::peers::PeerStatus;
use crate::apply::{IndexBuild, Observer};
use crate::engine::{Engine, EngineStatus};
use crate::error::Result;
use crate::faults::{Fault, is_planted};
use crate::limits;
use crate::view::ViewSnapshot;

/// How often to look for what has expired, unless said otherwise.
const EXPIRY_INTERVAL_MS: u64 = 60_000;

/// What the thread lets others see.
pub(crate) struct Published {
    pub(crate) status: watch::Sender<EngineStatus>,
    /// What readers see of the view; none once the database is closed.
    pub(crate) view: RwLock<Option<ViewSnapshot>>,
    /// What readers see of what is confirmed, where more is by now than in that view.
    pub(crate) confirmed: RwLock<Option<ViewSnapshot>>,
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
            confirmed: RwLock::new(None),
            feed: Feed::new(),
            changes_bytes: AtomicU64::new(limits::CHANGES_BYTES),
            peers: Mutex::default(),
            index_build: watch::Sender::new(None),
            expiry_interval_ms: AtomicU64::new(EXPIRY_INTERVAL_MS),
        }
    }

    /// Shows readers the view as it is committed now.
    pub(crate) fn show_view(&self, engine: &mut Engine) -> Result<()> {
        let view = engine.view()?;
        let touched = engine.take_touched();
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some() {
            *shown = Some(view); // a database that is being closed has none any more
            *self.confirmed.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.feed.push(touched);
        }
        Ok(())
    }

    /// Shows readers what calls have left that were made while the view is not to be shown.
    pub(crate) fn show_meanwhile(&self, engine: &mut Engine) {
        let Some((view, touched)) = engine.meanwhile_view() else { return };
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some() {
            *shown = Some(view);
            self.feed.push(touched);
        }
    }

    /// Shows readers what is confirmed as of now, of a view that they are not to see: who was told that something is confirmed
    /// finds it.
    pub(crate) fn show_confirmed(&self, engine: &Engine) -> Result<()> {
        if is_planted(Fault::ConfirmedNotShown) {
            return Ok(());
        }
        let confirmed = engine.view()?.confirmed()?;
        let shown = self.view.read().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some() {
            *self.confirmed.write().unwrap_or_else(PoisonError::into_inner) = Some(confirmed);
        }
        Ok(())
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
