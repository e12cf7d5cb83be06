//! Local events: the net difference between the view that was shown last and the present one.
//!
//! However many commits lie between the two, however often an order was undone and applied anew: an event says how what was
//! shown differs from what there is. So what a client has built from the events is what a find gives, as soon as it has
//! taken all that there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bson::RawDocumentBuf;

use super::event::{EventMaker, Showing};
use super::side_by_side::SideBySide;
use super::target::Target;
use super::token::ResumeToken;
use crate::database::Database;
use crate::driver::feed::{Follower, Window};
use crate::error::Result;
use crate::view::touched::TouchedKeys;
use crate::view::{ReadView, Stored, ViewSnapshot, catalog, keyspace};

/// How many bytes of events are made at once.
const EVENT_BYTES: usize = 256 * 1024;

/// Where local events come from.
pub(super) struct LocalSource {
    database: String,
    target: Target,
    showing: Showing,
    follower: Follower,
    /// The watched collections of the view that was shown last.
    ids: BTreeMap<String, u32>,
    /// What is left to compare of the window.
    work: VecDeque<Work>,
    is_in_window: bool,
    events: VecDeque<RawDocumentBuf>,
    events_bytes: usize,
    /// How many events there were.
    count: u64,
    is_over: bool,
}

enum Work {
    Dropped(String),
    Renamed {
        from: String,
        to: String,
    },
    Invalidated,
    /// Compare these documents.
    Keys {
        name: String,
        id: u32,
        keys: std::collections::btree_set::IntoIter<Vec<u8>>,
    },
    /// Compare all documents after this key; a collection that is not there has none.
    All {
        name: String,
        old: Option<u32>,
        new: Option<u32>,
        after: Option<Vec<u8>>,
    },
}

impl LocalSource {
    /// Events from now on; the documents that there are come first as inserts if `with_present`.
    pub(super) fn begin(
        database: &Database,
        target: Target,
        showing: Showing,
        with_present: bool,
    ) -> Result<Self> {
        let (follower, view) = Follower::comparing(database.published().clone())?;
        let ids = target.collections(&view)?;
        let mut work = VecDeque::new();
        if with_present {
            follower.keep_present()?;
            let all = |(name, id): (&String, &u32)| Work::All {
                name: name.clone(),
                old: None,
                new: Some(*id),
                after: None,
            };
            work.extend(ids.iter().map(all));
        }
        Ok(Self {
            database: database.name().to_owned(),
            target,
            showing,
            follower,
            ids,
            is_in_window: with_present,
            work,
            events: VecDeque::new(),
            events_bytes: 0,
            count: 0,
            is_over: false,
        })
    }

    /// The next event, if there is one now.
    pub(super) fn next(&mut self) -> Result<Option<RawDocumentBuf>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.events_bytes -= event.as_bytes().len().min(self.events_bytes);
                return Ok(Some(event));
            }
            if self.is_over {
                return Ok(None);
            }
            if let Some(work) = self.work.pop_front() {
                let (old, new) = self.follower.views()?;
                self.carry_out(work, &old, &new)?;
                continue;
            }
            if std::mem::take(&mut self.is_in_window) {
                self.follower.finish();
            }
            let Some(window) = self.follower.window()? else { return Ok(None) };
            self.is_in_window = true;
            self.plan(&window)?;
        }
    }

    /// Whether the stream has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.events.is_empty()
    }

    /// Waits until there may be more.
    pub(super) async fn changed(&mut self) -> Result<()> {
        self.follower.changed().await
    }

    /// What there is now is seen.
    pub(super) fn mark_seen(&mut self) {
        self.follower.mark_seen();
    }

    /// Waits until there may be more than what was seen.
    pub(super) fn later(&self) -> impl Future<Output = Result<()>> + Send + Sync + use<> {
        self.follower.later()
    }

    /// Finds out what to compare.
    fn plan(&mut self, window: &Window) -> Result<()> {
        let touches_catalog = window.touched.iter().any(|touched| touched.touches_catalog());
        let ids = if touches_catalog { self.target.collections(&window.new)? } else { self.ids.clone() };
        let before = std::mem::replace(&mut self.ids, ids);
        // The old numbers of collections by their new names.
        let mut renamed = BTreeMap::new();
        let gone: Vec<_> = before.iter().filter(|(name, _)| !self.ids.contains_key(*name)).collect();
        if !gone.is_empty() {
            let everything = catalog::collection_ids(&window.new)?;
            for (name, id) in gone {
                // In another order the number of a collection that was not made there may be that of one of the system.
                let is_new = |other: &str| !before.contains_key(other) && !catalog::is_system(other);
                let to = everything.iter().find(|(other, known)| *known == id && is_new(other));
                self.work.push_back(match to {
                    Some((to, _)) => {
                        renamed.insert(to.clone(), *id);
                        Work::Renamed { from: name.clone(), to: to.clone() }
                    }
                    None => Work::Dropped(name.clone()),
                });
                if let Target::Collection(_) = self.target {
                    self.work.push_back(Work::Invalidated);
                }
            }
        }
        for (name, new) in &self.ids {
            let old = before.get(name).or_else(|| renamed.get(name)).copied();
            let mut keys = TouchedKeys::Some(BTreeSet::new());
            if old == Some(*new) {
                window.touched.iter().for_each(|touched| touched.add_to(*new, &mut keys));
            } else {
                keys = TouchedKeys::All;
            }
            match keys {
                TouchedKeys::All => {
                    self.work.push_back(Work::All { name: name.clone(), old, new: Some(*new), after: None });
                }
                TouchedKeys::Some(keys) if !keys.is_empty() => {
                    let keys = keys.into_iter();
                    self.work.push_back(Work::Keys { name: name.clone(), id: *new, keys });
                }
                TouchedKeys::Some(_) => {}
            }
        }
        Ok(())
    }

    /// Carries out as much of the work as fits; what is left of it comes next.
    fn carry_out(&mut self, work: Work, old: &ViewSnapshot, new: &ViewSnapshot) -> Result<()> {
        match work {
            Work::Dropped(name) => self.tell(|maker, token| Ok(Some(maker.dropped(token, &name)))),
            Work::Renamed { from, to } => {
                self.tell(|maker, token| Ok(Some(maker.renamed(token, &from, &to))))
            }
            Work::Invalidated => {
                (self.is_over, self.work) = (true, VecDeque::new());
                self.tell(|maker, token| Ok(Some(maker.invalidated(token))))
            }
            Work::Keys { name, id, mut keys } => {
                while self.events_bytes < EVENT_BYTES {
                    let Some(key) = keys.next() else { return Ok(()) };
                    let key = keyspace::document(id, &key);
                    let (before, after) = (old.get(&key)?, new.get(&key)?);
                    let [before, after] = [&before, &after].map(|stored| stored.as_ref().map(Stored::value));
                    self.tell(|maker, token| maker.document(token, &name, before, after))?;
                }
                self.work.push_front(Work::Keys { name, id, keys });
                Ok(())
            }
            Work::All { name, old: old_id, new: new_id, after } => {
                let mut both = SideBySide::new((old, old_id), (new, new_id), after.as_deref())?;
                while self.events_bytes < EVENT_BYTES {
                    let Some((before, after)) = both.next()? else { return Ok(()) };
                    if before != after {
                        let [before, after] = [&before, &after].map(Option::as_deref);
                        self.tell(|maker, token| maker.document(token, &name, before, after))?;
                    }
                }
                let after = both.into_last();
                self.work.push_front(Work::All { name, old: old_id, new: new_id, after });
                Ok(())
            }
        }
    }

    fn tell(
        &mut self,
        make: impl FnOnce(&EventMaker<'_>, &ResumeToken) -> Result<Option<RawDocumentBuf>>,
    ) -> Result<()> {
        let maker = EventMaker { database: &self.database, showing: self.showing, source: None };
        if let Some(event) = make(&maker, &ResumeToken::local(self.count))? {
            self.count += 1;
            self.events_bytes += event.as_bytes().len();
            self.events.push_back(event);
        }
        Ok(())
    }
}
