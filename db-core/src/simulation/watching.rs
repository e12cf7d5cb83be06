//! Who reads and watches a peer: the same handles that programs hold, and clients that build what they know from what streams
//! tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf, doc};

use super::following::{Client, Told};
use crate::collection::Find;
use crate::database::Database;
use crate::driver::published::Published;
use crate::engine::Engine;
use crate::listed::NewlyListed;
use crate::query::Stop;
use crate::storage::Identity;
use crate::view::{ReadView, ViewSnapshot, catalog, keyspace};
use crate::watch::{ChangeStream, FullDocumentBeforeChangeType, FullDocumentType, LiveQuery, OperationType};

/// How many documents the ordered live query is about.
const BEST: u64 = 4;

/// What a peer publishes, and who follows it as long as the peer is on.
pub(super) struct Readers {
    published: Arc<Published>,
    pub(super) database: Database,
    local: ChangeStream<RawDocumentBuf>,
    built: Built,
    confirmed: Option<ChangeStream<RawDocumentBuf>>,
    /// Live queries, and their results as a client keeps them.
    live: [(LiveQuery<RawDocumentBuf>, Vec<RawDocumentBuf>); 2],
    /// What comes up in the lists of the system, and what was in them when that was last asked.
    listed: [(NewlyListed, Listed); 2],
}

/// The documents of a list of the system, by `_id`.
type Listed = BTreeMap<Vec<u8>, RawDocumentBuf>;

/// These lists.
const LISTS: [&str; 2] = [catalog::REJECTED, catalog::CONFLICTS];

/// What a client has built from the events of a database: documents by collection and `_id`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Built(BTreeMap<(String, Vec<u8>), RawDocumentBuf>);

impl Readers {
    /// Opens a peer's engine to readers; `client` goes on with the confirmed events where it has left off.
    pub(super) fn open(
        number: usize,
        engine: &Engine,
        identity: &Identity,
        client: Option<&mut Client>,
    ) -> Self {
        let published = Arc::new(Published::new(engine).unwrap());
        let file = Arc::clone(engine.database());
        let database = Database::over("simulation", file, identity.clone(), Arc::clone(&published));
        let local = database.watch().with_type().with_present();
        let local = local.full_document(FullDocumentType::UpdateLookup);
        let local = local.full_document_before_change(FullDocumentBeforeChangeType::WhenAvailable);
        let confirmed = client.map(|client| client.open(&database));
        let live = [plain(&database), best(&database)].map(|find| {
            let live = find.watch().unwrap();
            let result = live.result_raw().map(ToOwned::to_owned).collect();
            (live, result)
        });
        let newly = |list| NewlyListed::open(&database, list).and_then(NewlyListed::with_present).unwrap();
        let listed = LISTS.map(|list| (newly(list), Listed::new()));
        let local = local.run().unwrap();
        let mut readers =
            Self { published, local, built: Built::default(), confirmed, live, listed, database };
        readers.check_listed(number);
        readers
    }

    /// Tells the engine, before it changes anything, that somebody watches, and how much to keep for those who begin in the past.
    pub(super) fn prepare(&self, engine: &mut Engine, changes_bytes: u64) {
        engine.set_watching(self.published.feed.is_watched(), changes_bytes);
    }

    /// Shows what was committed, as the database's thread does.
    pub(super) fn publish(&self, engine: &mut Engine) {
        if engine.is_presentable() {
            self.published.show_view(engine).unwrap();
        } else {
            self.published.show_confirmed(engine).unwrap();
            self.published.show_meanwhile(engine);
        }
        self.published.status.send_replace(engine.status().unwrap());
    }

    /// What readers see.
    pub(super) fn view(&self) -> ViewSnapshot {
        self.database.view(&Stop::default()).unwrap()
    }

    /// Clients take all events there are: what they have built then is what a find gives.
    pub(super) fn check_local(&mut self, number: usize) {
        while let Some(event) = self.local.next_raw_if_any().unwrap() {
            self.built.follow(&event);
        }
        let found = Built::of(&self.view());
        assert!(
            self.built == found,
            "peer {number}: what the events of a local stream come to and what a find gives: {}",
            self.built.differences(&found)
        );
        for (at, (live, result)) in self.live.iter_mut().enumerate() {
            for change in live.next_raw_if_any().unwrap() {
                change.apply(result);
            }
            let find = if at == 0 { plain(&self.database) } else { best(&self.database) };
            let found: Vec<_> = find.run_raw().unwrap().map(Result::unwrap).collect();
            assert_eq!(*result, found, "peer {number}: a live query is not what a find gives");
        }
        self.check_listed(number);
    }

    /// What has come up in the lists of the system since this was last asked is told, and nothing else.
    fn check_listed(&mut self, number: usize) {
        for ((newly, known), list) in self.listed.iter_mut().zip(LISTS) {
            let found = self.database.collection::<RawDocumentBuf>(list).find(doc! {}).run_raw().unwrap();
            let found: Listed =
                found.map(Result::unwrap).map(|document| (id_of(&document), document)).collect();
            let expected: Listed = found
                .iter()
                .filter(|(id, _)| !known.contains_key(*id))
                .map(|(id, document)| (id.clone(), document.clone()))
                .collect();
            let told = newly.take_new().unwrap();
            let count = told.len();
            let told: Listed = told.into_iter().map(|document| (id_of(&document), document)).collect();
            assert!(
                told == expected && count == told.len(),
                "peer {number}: of {list} it tells {count} documents where {} of {} have come up: {:?}",
                expected.len(),
                found.len(),
                Built::in_list(told).differences(&Built::in_list(expected))
            );
            *known = found;
        }
    }

    /// The client who has stayed here takes all confirmed events there are.
    pub(super) fn check_confirmed(&mut self, number: usize, client: &mut Client, told: &mut Told) {
        if let Some(stream) = &mut self.confirmed {
            client.follow(number, &self.database, stream, told, u64::MAX);
        }
    }
}

/// Documents that each stand for themselves, in the order of their `_id`s.
fn plain(database: &Database) -> Find<RawDocumentBuf> {
    database.collection("c").find(doc! { "_id": { "$gte": 0 }, "n": { "$gte": 3 } })
}

/// Those that come first.
fn best(database: &Database) -> Find<RawDocumentBuf> {
    database.collection("c").find(doc! {}).sort(doc! { "n": -1, "_id": 1 }).limit(BEST)
}

impl Built {
    /// All documents of a view but the system's.
    pub(super) fn of(view: &ViewSnapshot) -> Self {
        let mut built = BTreeMap::new();
        for (name, id) in catalog::collection_ids(view).unwrap() {
            if catalog::is_system(&name) {
                continue;
            }
            for item in view.range(keyspace::prefix_bounds(&keyspace::documents(id))).unwrap() {
                let document = RawDocumentBuf::from_bytes(item.unwrap().1.value().to_vec()).unwrap();
                built.insert((name.clone(), id_of(&document)), document);
            }
        }
        Self(built)
    }

    /// All documents, by collection.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&str, &RawDocumentBuf)> {
        self.0.iter().map(|((collection, _), document)| (collection.as_str(), document))
    }

    /// The document with the `_id` of this one.
    pub(super) fn document(&self, collection: &str, like: &RawDocument) -> Option<&RawDocumentBuf> {
        self.0.get(&(collection.to_owned(), id_of(like)))
    }

    /// The documents that are another here than there, or are not in both: as they are here, and as they are there.
    pub(super) fn changed<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a str, Option<&'a RawDocumentBuf>, Option<&'a RawDocumentBuf>)> {
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let both = keys.into_iter().map(|key| (key.0.as_str(), self.0.get(key), other.0.get(key)));
        both.filter(|(_, here, there)| here != there)
    }

    /// Documents of a list of the system.
    fn in_list(listed: Listed) -> Self {
        Self(listed.into_iter().map(|(id, document)| ((String::new(), id), document)).collect())
    }

    /// What is in one of them and not in the other.
    pub(super) fn differences(&self, other: &Self) -> String {
        format!("{:?}", self.changed(other).collect::<Vec<_>>())
    }

    pub(super) fn follow(&mut self, event: &RawDocumentBuf) {
        let event: crate::ChangeStreamEvent<RawDocumentBuf> =
            bson::deserialize_from_slice(event.as_bytes()).unwrap();
        let collection = event.ns.unwrap().coll;
        let key = event.document_key.map(|key| id_of(&RawDocumentBuf::try_from(&key).unwrap()));
        let key = (collection.clone(), key.unwrap_or_default());
        let before = event.full_document_before_change;
        match event.operation_type {
            OperationType::Insert => {
                let known = self.0.insert(key, event.full_document.unwrap());
                assert_eq!(known, None, "what is inserted is there");
            }
            OperationType::Update | OperationType::Replace => {
                let known = self.0.insert(key, event.full_document.unwrap());
                assert_eq!(known, before, "what is updated is not as it is told");
            }
            OperationType::Delete => {
                assert_eq!(self.0.remove(&key), before, "what is deleted is not as it is told");
            }
            OperationType::Drop => self.0.retain(|(name, _), _| *name != collection),
            OperationType::Rename => {
                let to = event.to.unwrap().coll;
                let renamed = |((name, id), document)| {
                    ((if name == collection { to.clone() } else { name }, id), document)
                };
                self.0 = std::mem::take(&mut self.0).into_iter().map(renamed).collect();
            }
            OperationType::Invalidate => panic!("a stream of the whole database ends"),
        }
    }
}

fn id_of(document: &RawDocument) -> Vec<u8> {
    crate::view::documents::id_key(catalog::id_of(document).unwrap())
}
