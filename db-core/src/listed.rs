//! What comes up in a list of the system, told as it does. After each commit only the documents of the list that it has touched
//! are looked at.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bson::{Document, RawDocument, RawDocumentBuf};
use db_index::Filter;

use crate::database::{Database, closed};
use crate::driver::feed::Follower;
use crate::error::{Error, Result};
use crate::ids::WriterKey;
use crate::view::catalog::REJECTED;
use crate::view::documents::id_key;
use crate::view::touched::TouchedKeys;
use crate::view::{ReadView, ViewSnapshot, catalog, keyspace};

/// The documents of a list that have not been told of yet. One that a reorder takes back and brings again is told of again.
pub(crate) struct NewlyListed {
    database: Database,
    list: &'static str,
    filter: Filter,
    /// Where the filter is for what is this device's: the key that it wrote with when that was made.
    own_key: Option<WriterKey>,
    follower: Follower,
    /// The number of the list's collection, if there is one.
    collection_id: Option<u32>,
    /// The keys of the `_id`s of those that are listed now.
    known: BTreeSet<Vec<u8>>,
    new: VecDeque<RawDocumentBuf>,
    /// How many documents were looked at.
    looked_at: u64,
}

impl NewlyListed {
    /// Those of `list` that match, the ones that are listed by now first.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn open(database: &Database, list: &'static str, filter: &Document) -> Result<Self> {
        Self::begin(database, list, filter, None)
    }

    /// The rejections of this device's writes, the ones that are listed by now first.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn open_own_rejections(database: &Database) -> Result<Self> {
        let own_key = Some(database.writer());
        Self::begin(database, REJECTED, &database.own_rejections(), own_key)
    }

    fn begin(
        database: &Database,
        list: &'static str,
        filter: &Document,
        own_key: Option<WriterKey>,
    ) -> Result<Self> {
        let filter = parse(filter)?;
        let follower = Follower::new(Arc::clone(database.published()));
        let mut listed = Self {
            database: database.clone(),
            list,
            filter,
            own_key,
            follower,
            collection_id: None,
            known: BTreeSet::new(),
            new: VecDeque::new(),
            looked_at: 0,
        };
        let (view, _) = listed.follower.latest()?;
        listed.collection_id = listed.collection_in(&view)?;
        listed.look_at_all(&view)?;
        Ok(listed)
    }

    /// Passes over those that are listed by now.
    pub(crate) fn skip_present(&mut self) {
        self.new.clear();
    }

    /// The database whose list it is.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// `Unavailable` once the database is closed; if the storage fails.
    pub(crate) async fn next(&mut self) -> Result<RawDocumentBuf> {
        loop {
            if let Some(document) = self.new.pop_front() {
                return Ok(document);
            }
            let commands = self.database.commands().clone();
            tokio::select! {
                biased;
                changed = self.follower.changed() => changed?,
                () = commands.closed() => return Err(closed()),
            }
            self.look()?;
        }
    }

    /// Those that have come up by now.
    ///
    /// # Errors
    /// If the storage fails.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn take_new(&mut self) -> Result<Vec<RawDocumentBuf>> {
        self.look()?;
        Ok(self.new.drain(..).collect())
    }

    /// Looks at what has changed since it last looked.
    fn look(&mut self) -> Result<()> {
        let (view, mut touched) = self.follower.latest()?;
        let key = self.database.writer();
        if self.own_key.is_some_and(|own| own != key) {
            // What is under the new key is this device's too.
            self.filter = parse(&self.database.own_rejections())?;
            (self.own_key, touched) = (Some(key), None);
        }
        let Some(touched) = touched else {
            self.collection_id = self.collection_in(&view)?;
            return self.look_at_all(&view);
        };
        if touched.iter().any(|touched| touched.touches_catalog()) {
            let collection_id = self.collection_in(&view)?;
            if collection_id != self.collection_id {
                self.collection_id = collection_id;
                return self.look_at_all(&view);
            }
        }
        let Some(collection_id) = self.collection_id else { return Ok(()) };
        let mut keys = TouchedKeys::Some(BTreeSet::new());
        for touched in touched {
            touched.add_to(collection_id, &mut keys);
        }
        let TouchedKeys::Some(keys) = keys else { return self.look_at_all(&view) };
        for key in keys {
            self.looked_at += 1;
            let stored = view.value(&keyspace::document(collection_id, &key))?;
            match stored {
                Some(stored) if self.filter.matches(read(stored.value())?)? => {
                    self.take(key, read(stored.value())?);
                }
                _ => {
                    self.known.remove(&key);
                }
            }
        }
        Ok(())
    }

    fn look_at_all(&mut self, view: &ViewSnapshot) -> Result<()> {
        let before = std::mem::take(&mut self.known);
        let Some(collection_id) = self.collection_id else { return Ok(()) };
        for item in view.range(keyspace::prefix_bounds(&keyspace::documents(collection_id)))? {
            self.looked_at += 1;
            let (_, stored) = item?;
            let document = read(stored.value())?;
            let Some(id) = catalog::id_of(document) else { continue };
            if self.filter.matches(document)? {
                let key = id_key(id);
                if before.contains(&key) {
                    self.known.insert(key);
                } else {
                    self.take(key, document);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, key: Vec<u8>, document: &RawDocument) {
        if self.known.insert(key) {
            self.new.push_back(document.to_owned());
        }
    }

    fn collection_in(&self, view: &ViewSnapshot) -> Result<Option<u32>> {
        let record = view.value(&keyspace::collection(self.list))?;
        record.map(|record| catalog::collection_id(record.value())).transpose()
    }
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
        let mut listed = NewlyListed::open(&a, REJECTED, &doc! {}).unwrap();
        assert_eq!(listed.looked_at, 0, "there is no list yet");
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
            listed.look().unwrap();
        }
        assert_eq!((listed.looked_at, listed.new.len()), (before, 0));
        let first = a.rejections().find_one(doc! {}).run().unwrap().unwrap();
        a.discard(&first.id().unwrap()).await.unwrap();
        listed.look().unwrap();
        assert_eq!((listed.looked_at, listed.known.len()), (before + 1, 39));
    }
}
