//! What the thread of a database lets others see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::begun::Begun;
use super::feed::Feed;
use super::patience::PATIENCE;
use super::peers::PeerStatus;
use crate::apply::{IndexBuild, Observer};
use crate::database::closed;
use crate::engine::{Engine, EngineStatus};
use crate::error::{Error, ErrorKind, Result};
use crate::faults::{Fault, is_planted};
use crate::limits;
use crate::query::Stop;
use crate::view::ViewSnapshot;

/// How often to look for what has expired, unless said otherwise.
const EXPIRY_INTERVAL_MS: u64 = 60_000;

/// What the thread lets others see.
pub(crate) struct Published {
    pub(crate) status: watch::Sender<EngineStatus>,
    /// What readers see of the view; none before there is something for them to see, and once the database is closed.
    view: RwLock<Shown>,
    /// Set once there is something for readers to see, or the database is closed.
    begun: Begun,
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
    /// How long an indexer that says nothing is waited for; others may change it.
    pub(crate) patience_ms: AtomicU64,
}

/// What readers see of the view.
enum Shown {
    /// Nothing yet: the process has ended while a backlog was being ordered, and the view holds less than it has shown before.
    NotYet,
    View(ViewSnapshot),
    /// Nothing any more: the database is closed, or ordering that backlog has failed for this reason.
    Closed(Option<(ErrorKind, String)>),
}

impl Published {
    /// What an engine lets others see that was just opened.
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        let (status, view) = (engine.status()?, engine.view()?);
        let begun = Begun::default();
        let (shown, confirmed) = if engine.is_presentable() {
            begun.tell();
            (Shown::View(view), None)
        } else {
            (Shown::NotYet, Some(view.confirmed()?))
        };
        Ok(Self {
            status: watch::Sender::new(status),
            view: RwLock::new(shown),
            begun,
            confirmed: RwLock::new(confirmed),
            feed: Feed::new(),
            changes_bytes: AtomicU64::new(limits::CHANGES_BYTES),
            peers: Mutex::default(),
            index_build: watch::Sender::new(None),
            expiry_interval_ms: AtomicU64::new(EXPIRY_INTERVAL_MS),
            patience_ms: AtomicU64::new(PATIENCE.as_millis() as u64),
        })
    }

    /// How long an indexer that says nothing is waited for.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Relaxed))
    }

    /// Whether readers have been shown something.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.has_begun()
    }

    /// Waits until readers see something of the view, or the database is closed.
    pub(crate) async fn begun(&self) {
        self.begun.told().await;
    }

    /// What readers see of the view. Waits where they see nothing yet, until `stop` says that it is enough.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed; that of `stop`.
    pub(crate) fn view(&self, stop: &Stop) -> Result<ViewSnapshot> {
        self.with_view_until(stop, |view| Ok(view?.clone()))
    }

    /// What is made of what readers see, or of why they see nothing, while that stays so. Waits where they see nothing yet.
    pub(crate) fn with_view<T>(&self, make: impl FnOnce(Result<&ViewSnapshot>) -> T) -> T {
        self.with_view_until(&Stop::default(), make)
    }

    fn with_view_until<T>(&self, stop: &Stop, make: impl FnOnce(Result<&ViewSnapshot>) -> T) -> T {
        if let Err(over) = self.begun.wait(|| stop.check()) {
            return make(Err(over));
        }
        match &*self.view.read().unwrap_or_else(PoisonError::into_inner) {
            Shown::View(view) => make(Ok(view)),
            Shown::Closed(Some((kind, message))) => make(Err(Error::new(*kind, message.clone()))),
            Shown::NotYet | Shown::Closed(None) => make(Err(closed())),
        }
    }

    /// What readers see of what is confirmed: as of the view that they see, or of a later one.
    ///
    /// # Errors
    /// As for [`Published::view`], and those of the storage.
    pub(crate) fn confirmed(&self) -> Result<ViewSnapshot> {
        let confirmed = self.confirmed.read().unwrap_or_else(PoisonError::into_inner).clone();
        confirmed.map_or_else(|| self.with_view(|view| view?.confirmed()), Ok)
    }

    /// Shows readers nothing any more, for a reason other than that the database is closed, or for that.
    pub(crate) fn close(&self, failed: Option<&Error>) {
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*shown, Shown::Closed(_)) {
            *shown = Shown::Closed(failed.map(|error| (error.kind(), error.message().to_owned())));
        }
        drop(shown);
        self.confirmed.write().unwrap_or_else(PoisonError::into_inner).take();
        self.begun.tell();
        self.feed.close();
    }

    /// Shows readers the view as it is committed now.
    pub(crate) fn show_view(&self, engine: &mut Engine) -> Result<()> {
        let view = engine.view()?;
        let touched = engine.take_touched();
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*shown, Shown::Closed(_)) {
            *shown = Shown::View(view);
            *self.confirmed.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.begun.tell();
            self.feed.push(touched);
        }
        Ok(())
    }

    /// Shows readers what calls have left that were made while the view is not to be shown.
    pub(crate) fn show_meanwhile(&self, engine: &mut Engine) {
        let Some((view, touched)) = engine.meanwhile_view() else { return };
        let mut shown = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*shown, Shown::View(_)) {
            *shown = Shown::View(view);
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
        if !matches!(*shown, Shown::Closed(_)) {
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
