//! What the database's thread tells those who watch: after each commit, where the view has changed.
//!
//! The last commits are kept for all watchers together, within bounds, so that a commit costs the same however many watch.
//! A watcher that compares views keeps the one that it has shown last; one that falls too far behind loses it, since an old
//! view keeps old pages in the file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::published::Published;
use crate::database::closed;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::view::ViewSnapshot;
use crate::view::touched::Touched;

/// MongoDB's `ChangeStreamHistoryLost`.
pub(crate) const HISTORY_LOST: i32 = 286;

/// What the last commits have touched, and who watches.
pub(crate) struct Feed {
    state: Mutex<State>,
    /// How many views were published.
    generations: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// How many views were published.
    generation: u64,
    /// What the last of them have changed, the oldest first.
    batches: VecDeque<Arc<Touched>>,
    keys: usize,
    /// What those keys take.
    bytes: usize,
    watchers: Vec<Weak<Pin>>,
}

/// The views that a watcher works with.
#[derive(Default)]
struct Pin(Mutex<Pinned>);

#[derive(Default)]
struct Pinned {
    generation: u64,
    /// Whether the watcher has fallen too far behind.
    is_lost: bool,
    /// What it has shown, and what it is about to show; none for a watcher that needs no views.
    old: Option<ViewSnapshot>,
    new: Option<(u64, ViewSnapshot)>,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), generations: watch::Sender::new(0) }
    }

    /// Whether somebody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.lock().watchers.iter().any(|watcher| watcher.strong_count() > 0)
    }

    /// Tells what the view that is being published has changed. The caller holds the lock of the published view.
    pub(crate) fn push(&self, touched: Touched) {
        let mut state = self.lock();
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        state.generation += 1;
        if state.watchers.is_empty() {
            (state.batches, state.keys, state.bytes) = (VecDeque::new(), 0, 0);
        } else {
            state.keys += touched.keys();
            state.bytes += touched.bytes();
            state.batches.push_back(Arc::new(touched));
            state.drop_oldest();
        }
        let generation = state.generation;
        drop(state);
        self.generations.send_replace(generation);
    }

    /// Takes the views from everybody: the database is being closed.
    pub(crate) fn close(&self) {
        let state = self.lock();
        for pin in state.watchers.iter().filter_map(Weak::upgrade) {
            pin.lose();
        }
        self.generations.send_modify(|_| {});
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps to the bounds; the last commit stays, however large.
    fn drop_oldest(&mut self) {
        let is_too_much = |state: &Self| {
            state.batches.len() > limits::STREAM_COMMITS_MAX
                || state.keys > limits::STREAM_KEYS_MAX
                || state.bytes > limits::STREAM_BYTES_MAX
        };
        while self.batches.len() > 1 && is_too_much(self) {
            let Some(oldest) = self.batches.pop_front() else { return };
            self.keys -= oldest.keys().min(self.keys);
            self.bytes -= oldest.bytes().min(self.bytes);
            let first = self.first();
            for pin in self.watchers.iter().filter_map(Weak::upgrade) {
                if pin.lock().generation < first {
                    pin.lose();
                }
            }
        }
    }

    /// The generation from which on what was changed is known.
    fn first(&self) -> u64 {
        self.generation.saturating_sub(self.batches.len() as u64)
    }

    /// What has changed since this generation, if that is known.
    fn since(&self, generation: u64) -> Option<Vec<Arc<Touched>>> {
        let skip = usize::try_from(generation.checked_sub(self.first())?).ok()?;
        Some(self.batches.iter().skip(skip).cloned().collect())
    }
}

impl Pin {
    fn lock(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self) {
        let mut pinned = self.lock();
        (pinned.is_lost, pinned.old, pinned.new) = (true, None, None);
    }
}

/// A later view than the one that was shown last, and where they differ at the most.
pub(crate) struct Window {
    pub(crate) new: ViewSnapshot,
    pub(crate) touched: Vec<Arc<Touched>>,
}

/// The latest view, and where it differs at the most from the one before; none if that is not known any more.
pub(crate) type Latest = (ViewSnapshot, Option<Vec<Arc<Touched>>>);

/// One who watches.
pub(crate) struct Follower {
    published: Arc<Published>,
    pin: Arc<Pin>,
    generations: watch::Receiver<u64>,
}

impl Follower {
    /// Watches from the present view on, and keeps it to compare it with later ones.
    pub(crate) fn comparing(published: Arc<Published>) -> Result<(Self, ViewSnapshot)> {
        let follower = Self::new(published);
        let (view, _) = follower.latest()?;
        follower.pin.lock().old = Some(view.clone());
        Ok((follower, view))
    }

    /// Watches, keeping no view: see [`Follower::latest`].
    pub(crate) fn new(published: Arc<Published>) -> Self {
        let generations = published.feed.generations.subscribe();
        let pin = Arc::<Pin>::default();
        {
            let mut state = published.feed.lock();
            state.watchers.push(Arc::downgrade(&pin));
            pin.lock().generation = state.generation;
        }
        Self { published, pin, generations }
    }

    /// The latest view, and what has changed since this was last asked.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed.
    pub(crate) fn latest(&self) -> Result<Latest> {
        self.published.with_view(|view| {
            let view = view?.clone();
            let state = self.published.feed.lock();
            let mut pinned = self.pin.lock();
            let since = state.since(pinned.generation);
            (pinned.generation, pinned.is_lost) = (state.generation, false);
            Ok((view, since))
        })
    }

    /// The latest view, if it is later than the one that was shown last. It is worked with until it is
    /// [finished](Follower::finish).
    ///
    /// # Errors
    /// `ChangeStreamHistoryLost` (286) for who has fallen too far behind; `Unavailable` once the database is closed.
    pub(crate) fn window(&self) -> Result<Option<Window>> {
        self.published.with_view(|view| {
            let view = view?;
            let state = self.published.feed.lock();
            let mut pinned = self.pin.lock();
            if pinned.is_lost || pinned.old.is_none() {
                return Err(lost());
            }
            if pinned.generation == state.generation {
                return Ok(None);
            }
            let touched = state.since(pinned.generation).ok_or_else(lost)?;
            pinned.new = Some((state.generation, view.clone()));
            Ok(Some(Window { new: view.clone(), touched }))
        })
    }

    /// Makes a window of the present view alone, for who shows all of it first.
    pub(crate) fn keep_present(&self) -> Result<()> {
        let mut pinned = self.pin.lock();
        let view = pinned.old.clone().ok_or_else(lost)?;
        pinned.new = Some((pinned.generation, view));
        Ok(())
    }

    /// The views of the window that is being worked with.
    ///
    /// # Errors
    /// As for [`Follower::window`].
    pub(crate) fn views(&self) -> Result<(ViewSnapshot, ViewSnapshot)> {
        let views = {
            let pinned = self.pin.lock();
            pinned.old.clone().zip(pinned.new.as_ref().map(|(_, new)| new.clone()))
        };
        views.ok_or_else(|| self.why_lost())
    }

    /// All of the window is shown.
    pub(crate) fn finish(&self) {
        let mut pinned = self.pin.lock();
        if let Some((generation, view)) = pinned.new.take() {
            (pinned.generation, pinned.old) = (generation, Some(view));
        }
    }

    /// Waits until there may be a later view.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        self.generations.changed().await.map_err(|_| closed())
    }

    /// The view that there is now is seen.
    pub(crate) fn mark_seen(&mut self) {
        self.generations.mark_unchanged();
    }

    /// Waits until there may be a later view than what was seen.
    pub(crate) fn later(&self) -> impl Future<Output = Result<()>> + Send + Sync + use<> {
        let mut generations = self.generations.clone();
        async move { generations.changed().await.map_err(|_| closed()) }
    }

    fn why_lost(&self) -> Error {
        self.published.with_view(|view| view.err().unwrap_or_else(lost))
    }
}

fn lost() -> Error {
    let message = "the stream has fallen too far behind what is written, and has lost its place: read what there is and \
                   watch anew, or watch with the concern majority, which can be resumed";
    Error::new(ErrorKind::Unavailable, message).with_code(HISTORY_LOST)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::engine::Engine;
    use crate::entry::Genesis;
    use crate::ids::DatabaseKey;
    use crate::storage::{self, Identity};

    /// What a commit has touched that has changed one document, whose `_id` is as long as that.
    fn touched(bytes: usize) -> Touched {
        Touched::of_documents(1, [vec![7; bytes]])
    }

    #[test]
    fn what_is_kept_for_those_who_watch_is_bounded_by_bytes_and_who_needs_what_is_gone_is_told() {
        let key = DatabaseKey::of_open_topic("feed");
        let identity = Identity { genesis: Genesis::open(&key), key };
        let file = storage::create(InMemoryBackend::new(), &identity, 1 << 20).unwrap();
        let engine = Engine::open(Arc::new(file), identity, SigningKey::from_bytes(&[1; 32])).unwrap();
        let published = Arc::new(Published::new(&engine).unwrap());
        let follow = || Follower::comparing(Arc::clone(&published)).unwrap().0;
        let behind = follow();
        let commits = 6;
        let bytes = limits::STREAM_BYTES_MAX / commits;
        assert!(bytes < limits::TOUCHED_BYTES_MAX, "a commit names its documents");
        for _ in 1..commits {
            published.feed.push(touched(bytes));
        }
        assert_eq!(behind.window().unwrap().unwrap().touched.len(), commits - 1);
        let later = follow();
        for _ in 0..2 {
            published.feed.push(touched(bytes));
        }
        let lost = behind.window().err().unwrap();
        assert_eq!(lost.code(), Some(HISTORY_LOST));
        assert_eq!(later.window().unwrap().unwrap().touched.len(), 2);
        let state = published.feed.lock();
        let kept: usize = state.batches.iter().map(|touched| touched.bytes()).sum();
        assert!(state.bytes == kept && kept <= limits::STREAM_BYTES_MAX, "{kept} bytes are kept");
    }
}
