//! What comes up in a list of the system, told as it does. After each commit only the documents of the list that it has touched
//! are looked at.
//!
//! The view that was told last is compared with the present one, place by place, so what waits to be told is in the views and not in
//! memory. Who falls too far behind loses its place, and is told so: nobody waits for it.

use std::collections::{BTreeSet, btree_set};
use std::sync::Arc;

use bson::{Document, RawDocument, RawDocumentBuf};
use db_index::Filter;

use crate::database::{Database, closed};
use crate::driver::feed::{Follower, HISTORY_LOST};
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::view::catalog::REJECTED;
use crate::view::touched::TouchedKeys;
use crate::view::{ReadView, Stored, ViewSnapshot, catalog, keyspace};
use crate::watch::SideBySide;

/// How many documents are looked at before others have their turn.
const AT_ONCE: usize = 1_024;

/// The documents of a list that have not been told of yet. One that a reorder takes back and brings again is told of again.
pub(crate) struct NewlyListed {
    database: Database,
    list: &'static str,
    filter: Arc<Filter>,
    /// The filter of what was told last.
    told_filter: Arc<Filter>,
    /// Where the filter is for what is this device's: the key that it wrote with when that was made.
    own_key: Option<WriterKey>,
    follower: Follower,
    /// The number of the list's collection in the view that was told last, if there was one.
    collection_id: Option<u32>,
    /// What is left to look at of a later view.
    work: Option<Work>,
    /// How many documents were looked at.
    looked_at: u64,
}

/// Where two views are compared.
struct Work {
    /// The numbers of the list's collection in the view that was told last and in the later one.
    ids: [Option<u32>; 2],
    places: Places,
}

enum Places {
    /// Documents under these keys of their `_id`s, in a collection that has this number in both views.
    Keys(u32, btree_set::IntoIter<Vec<u8>>),
    /// All documents after this key.
    All { after: Option<Vec<u8>> },
}

/// What a look at some places has come to.
enum Looked {
    /// This has come up.
    Found(RawDocumentBuf),
    /// There is more to look at.
    Unfinished,
    /// All that there is now was looked at.
    UpToDate,
}

impl NewlyListed {
    /// Those of a list that come up from now on.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn open(database: &Database, list: &'static str) -> Result<Self> {
        Self::begin(database, list, &Document::new(), None)
    }

    /// The rejections of this device's writes, the ones that are listed by now first.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn open_own_rejections(database: &Database) -> Result<Self> {
        let own_key = Some(database.writer());
        Self::begin(database, REJECTED, &database.own_rejections(), own_key)?.with_present()
    }

    fn begin(
        database: &Database,
        list: &'static str,
        filter: &Document,
        own_key: Option<WriterKey>,
    ) -> Result<Self> {
        let filter = Arc::new(parse(filter)?);
        let (follower, view) = Follower::comparing(Arc::clone(database.published()))?;
        Ok(Self {
            database: database.clone(),
            list,
            told_filter: Arc::clone(&filter),
            filter,
            own_key,
            follower,
            collection_id: collection_in(&view, list)?,
            work: None,
            looked_at: 0,
        })
    }

    /// The same, with those that are listed by now first.
    ///
    /// # Errors
    /// As for [`NewlyListed::next`].
    pub(crate) fn with_present(mut self) -> Result<Self> {
        self.follower.keep_present()?;
        self.work = Some(Work { ids: [None, self.collection_id], places: Places::All { after: None } });
        Ok(self)
    }

    /// The database whose list it is.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// `ChangeStreamHistoryLost` (286) for who has fallen too far behind; `Unavailable` once the database is closed; if the storage
    /// fails.
    pub(crate) async fn next(&mut self) -> Result<RawDocumentBuf> {
        loop {
            match self.look()? {
                Looked::Found(document) => return Ok(document),
                Looked::Unfinished => tokio::task::yield_now().await,
                Looked::UpToDate => {
                    let commands = self.database.commands().clone();
                    tokio::select! {
                        biased;
                        changed = self.follower.changed() => changed?,
                        () = commands.closed() => return Err(closed()),
                    }
                }
            }
        }
    }

    /// Those that have come up by now.
    ///
    /// # Errors
    /// As for [`NewlyListed::next`].
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn take_new(&mut self) -> Result<Vec<RawDocumentBuf>> {
        let mut new = Vec::new();
        loop {
            match self.look()? {
                Looked::Found(document) => new.push(document),
                Looked::Unfinished => {}
                Looked::UpToDate => return Ok(new),
            }
        }
    }

    /// Looks at some of what has changed since it last looked.
    fn look(&mut self) -> Result<Looked> {
        let looked = match self.work.take() {
            Some(work) => self.carry_out(work),
            None => self.plan(),
        };
        looked.map_err(|error| {
            if error.code() == Some(HISTORY_LOST) {
                error.with_message(format!(
                    "what comes up in {} was not taken for so long that it has lost its place: read the list, and watch anew",
                    self.list
                ))
            } else {
                error
            }
        })
    }

    /// Finds out where to look.
    fn plan(&mut self) -> Result<Looked> {
        let Some(window) = self.follower.window()? else { return Ok(Looked::UpToDate) };
        let touches_catalog = window.touched.iter().any(|touched| touched.touches_catalog());
        let id = if touches_catalog { collection_in(&window.new, self.list)? } else { self.collection_id };
        let mut keys = TouchedKeys::Some(BTreeSet::new());
        if let Some(id) = id {
            window.touched.iter().for_each(|touched| touched.add_to(id, &mut keys));
        }
        let key = self.database.writer();
        let has_new_key = self.own_key.is_some_and(|own| own != key);
        if has_new_key {
            // What is under the new key is this device's too.
            self.filter = Arc::new(parse(&self.database.own_rejections())?);
            self.own_key = Some(key);
        }
        let places = match (keys, id) {
            (TouchedKeys::Some(keys), Some(id)) if !has_new_key && self.collection_id == Some(id) => {
                Places::Keys(id, keys.into_iter())
            }
            _ => Places::All { after: None },
        };
        self.work = Some(Work { ids: [self.collection_id, id], places });
        Ok(Looked::Unfinished)
    }

    /// Carries out as much of the work as goes at once; what is left of it comes next.
    fn carry_out(&mut self, work: Work) -> Result<Looked> {
        let Work { ids, places } = work;
        let (old, new) = self.follower.views()?;
        match places {
            Places::Keys(id, mut keys) => {
                for _ in 0..AT_ONCE {
                    let Some(key) = keys.next() else { return Ok(self.finish(ids)) };
                    let key = keyspace::document(id, &key);
                    let (before, after) = (old.get(&key)?, new.get(&key)?);
                    let [before, after] = [&before, &after].map(|stored| stored.as_ref().map(Stored::value));
                    if let Some(found) = self.newly(before, after)? {
                        self.work = Some(Work { ids, places: Places::Keys(id, keys) });
                        return Ok(Looked::Found(found));
                    }
                }
                self.work = Some(Work { ids, places: Places::Keys(id, keys) });
            }
            Places::All { after } => {
                let [old_id, new_id] = ids;
                let mut both = SideBySide::new((&old, old_id), (&new, new_id), after.as_deref())?;
                for _ in 0..AT_ONCE {
                    let Some((before, after)) = both.next()? else { return Ok(self.finish(ids)) };
                    if let Some(found) = self.newly(before.as_deref(), after.as_deref())? {
                        self.work = Some(Work { ids, places: Places::All { after: both.into_last() } });
                        return Ok(Looked::Found(found));
                    }
                }
                self.work = Some(Work { ids, places: Places::All { after: both.into_last() } });
            }
        }
        Ok(Looked::Unfinished)
    }

    /// The document of a place, if it has not been told of.
    fn newly(&mut self, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<Option<RawDocumentBuf>> {
        self.looked_at += 1;
        let Some(after) = after.map(read).transpose()? else { return Ok(None) };
        let is_told = match before {
            Some(before) => self.told_filter.matches(read(before)?)?,
            None => false,
        };
        let is_new = !is_told && self.filter.matches(after)?;
        Ok(is_new.then(|| after.to_owned()))
    }

    /// All places were looked at.
    fn finish(&mut self, [_, new_id]: [Option<u32>; 2]) -> Looked {
        self.follower.finish();
        (self.collection_id, self.told_filter) = (new_id, Arc::clone(&self.filter));
        Looked::Unfinished
    }
}

fn collection_in(view: &ViewSnapshot, list: &str) -> Result<Option<u32>> {
    let record = view.value(&keyspace::collection(list))?;
    record.map(|record| catalog::collection_id(record.value())).transpose()
}

fn parse(filter: &Document) -> Result<Filter> {
    let wrong = |error| Error::invalid("no filter of a list").with_source(error);
    Ok(Filter::parse(&RawDocumentBuf::try_from(filter).map_err(wrong)?)?)
}

fn read(stored: &[u8]) -> Result<&RawDocument> {
    RawDocument::from_bytes(stored).map_err(|_| Error::data("a stored document is damaged"))
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;
    use crate::driver::{ConnectionMonitor, ConnectionOptions, run_connection};
    use crate::error::ErrorKind;
    use crate::limits;
    use crate::store::Store;

    async fn carry_session(a: Database, b: Database) {
        let (left, right) = tokio::io::duplex(1 << 16);
        let (of_a, of_b) = (a.connect_peer([0; 32], true).await, b.connect_peer([0; 32], false).await);
        let options = ConnectionOptions::default();
        let _ = tokio::join!(
            run_connection(left, of_a.unwrap(), options.clone(), ConnectionMonitor::default()),
            run_connection(right, of_b.unwrap(), options, ConnectionMonitor::default()),
        );
    }

    /// A commit that does not touch the list costs nothing, one that does what it touches.
    #[tokio::test]
    async fn only_what_a_commit_touches_of_the_list_is_looked_at() {
        let (a, b) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
        let (a, b) = (a.open_topic("listed").unwrap(), b.open_topic("listed").unwrap());
        for n in 0..40 {
            for database in [&a, &b] {
                let notes = database.collection::<Document>("notes");
                notes.insert_one(doc! { "_id": n, "by": database.writer().to_string() }).await.unwrap();
            }
        }
        let mut listed = NewlyListed::open(&a, REJECTED).unwrap().with_present().unwrap();
        assert!(listed.take_new().unwrap().is_empty() && listed.looked_at == 0, "there is no list yet");
        let session = tokio::spawn(carry_session(a.clone(), b.clone()));
        for _ in 0..40 {
            let rejected = listed.next().await.unwrap();
            assert!(rejected.get_document("_id").is_ok());
        }
        session.abort();
        let before = listed.looked_at;
        assert!((40..400).contains(&before), "{before}");
        for n in 100..150 {
            a.collection::<Document>("notes").insert_one(doc! { "_id": n }).await.unwrap();
            assert!(listed.take_new().unwrap().is_empty());
        }
        assert_eq!(listed.looked_at, before);
        let first = a.rejections().find_one(doc! {}).run().unwrap().unwrap();
        a.discard(&first.id().unwrap()).await.unwrap();
        assert!(listed.take_new().unwrap().is_empty());
        assert_eq!(listed.looked_at, before + 1);

        // What is listed is read as it is taken; who takes nothing for too long is told, and nobody has waited.
        let mut slow = NewlyListed::open(&a, REJECTED).unwrap().with_present().unwrap();
        slow.next().await.unwrap();
        assert_eq!(slow.looked_at, 1);
        for n in 0..=limits::STREAM_COMMITS_MAX {
            let note = doc! { "_id": format!("later {n}") };
            a.collection::<Document>("notes").insert_one(note).await.unwrap();
        }
        for _ in 0..2 {
            let lost = slow.next().await.unwrap_err();
            assert_eq!((lost.kind(), lost.code()), (ErrorKind::Unavailable, Some(HISTORY_LOST)));
            assert!(lost.message().ends_with("read the list, and watch anew"), "{lost}");
        }
        let mut anew = NewlyListed::open(&a, REJECTED).unwrap().with_present().unwrap();
        assert_eq!(anew.take_new().unwrap().len(), 39);
    }
}
