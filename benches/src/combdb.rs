//! CombDB as the benchmarks use it: a store on the disk with one collection of films.

use bson::{RawDocumentBuf, doc};
use db_core::{Collection, Database, IndexModel, Store};
use tempfile::TempDir;

use crate::{Film, Indexes};

/// A store on the disk.
pub struct CombDb {
    store: Store,
    database: Database,
    films: Collection<RawDocumentBuf>,
    directory: TempDir,
}

impl CombDb {
    /// An empty store.
    ///
    /// # Panics
    /// If anything fails; so does everything here.
    pub fn new(indexes: Indexes) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(directory.path()).expect("a store");
        let database = store.create_database("films").expect("a database");
        let films: Collection<RawDocumentBuf> = database.collection("films");
        let keys = indexes.keys();
        if keys.is_empty() {
            database.create_collection("films").run().expect("a collection");
        } else {
            films.create_indexes(keys.into_iter().map(IndexModel::new)).run().expect("indexes");
        }
        Self { store, database, films, directory }
    }

    /// A store with these films, 1,000 a commit.
    pub fn with(indexes: Indexes, films: &[Film]) -> Self {
        let store = Self::new(indexes);
        for batch in films.chunks(1_000) {
            store.insert_batch(batch);
        }
        store
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// One durable commit of one film.
    pub fn insert_one(&self, film: &Film) {
        self.films.insert_one(&film.document).run().expect("an insert");
    }

    /// One durable commit of these films.
    pub fn insert_batch(&self, films: &[Film]) {
        self.films.insert_many(films.iter().map(|film| &film.document)).run().expect("an insert");
    }

    /// Every film by a call of its own, `at_once` of them waiting at any time: they share commits.
    pub async fn insert_together(&self, films: &[Film], at_once: usize) {
        let share = films.len().div_ceil(at_once).max(1);
        let callers: Vec<_> = films
            .chunks(share)
            .map(|share| {
                let (collection, share) = (self.films.clone(), share.to_vec());
                tokio::spawn(async move {
                    for film in share {
                        collection.insert_one(&film.document).await.expect("an insert");
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("a caller");
        }
    }

    /// Creates an index over the films that are there.
    pub fn create_index(&self, index: IndexModel) {
        self.films.create_index(index).run().expect("an index");
    }

    /// How many entries the indexes of the films have, that on `_id` left out.
    pub fn index_entries(&self) -> u64 {
        let told = self.films.aggregate([doc! { "$indexStats": {} }]).run().expect("statistics");
        let entries = told.map(|index| index.expect("an index").get_i64("entries").expect("a number"));
        entries.skip(1).sum::<i64>().try_into().expect("a number")
    }

    /// `$inc`s a field of one film, durably.
    pub fn increment(&self, id: i32) {
        self.films.update_one(doc! { "_id": id }, doc! { "$inc": { "seen": 1 } }).run().expect("an update");
    }

    /// Deletes one film, durably.
    pub fn delete(&self, id: i32) {
        self.films.delete_one(doc! { "_id": id }).run().expect("a delete");
    }

    /// The length of one film.
    pub fn get(&self, id: i32) -> usize {
        let found = self.films.find_one(doc! { "_id": id }).run_raw().expect("a find");
        found.map_or(0, |film| film.as_bytes().len())
    }

    /// The summed length of the films on a shelf.
    pub fn find_shelf(&self, shelf: i32) -> usize {
        let found = self.films.find(doc! { "shelf": shelf }).run_raw().expect("a find");
        found.map(|film| film.expect("a film").as_bytes().len()).sum()
    }

    /// How many films are younger than `year`, by a scan of all.
    pub fn scan(&self, year: i32) -> usize {
        self.films.find(doc! { "year": { "$gt": year } }).run_raw().expect("a find").count()
    }

    /// How many bytes the store has on the disk once it is closed.
    pub fn close_and_measure(self) -> u64 {
        self.store.close();
        let databases = std::fs::read_dir(self.directory.path().join("databases")).expect("a folder");
        databases.map(|file| file.expect("a file").metadata().expect("its length").len()).sum()
    }
}
