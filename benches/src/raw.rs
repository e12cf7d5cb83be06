//! Raw redb doing what CombDB's view does: the same puts of the same bytes, and nothing else. The limit of the storage.

use std::cell::RefCell;
use std::ops::Bound;
use std::time::{Duration, Instant};

use bson::{RawBsonRef, RawDocument};
use db_index::{Direction, IndexDefinition, encode_value, join_types, prefix_end, trim_types};
use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::TempDir;

use crate::{Film, Indexes};

type Bytes = &'static [u8];

const VIEW: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("view");
const LOG: TableDefinition<'_, u64, Bytes> = TableDefinition::new("log");

/// The prefix under which documents lie; that of the indexes' entries follows it.
const DOCUMENTS: [u8; 5] = [2, 0, 0, 0, 0];

/// An index that was built.
#[derive(Debug, Clone, Copy)]
pub struct RawBuild {
    /// How many entries it has.
    pub entries: u64,
    /// What putting them one after the other and making them durable took.
    pub time: Duration,
    /// The same where a cursor writes page by page, as it can when nothing lies between the keys.
    pub cursor_time: Duration,
}

/// A redb file.
pub struct RawRedb {
    database: Database,
    definitions: Vec<IndexDefinition>,
    directory: TempDir,
    /// The number of the last entry of the log; none to keep no log.
    log: Option<RefCell<u64>>,
}

impl RawRedb {
    /// An empty file.
    ///
    /// # Panics
    /// If anything fails; so does everything here.
    pub fn new(indexes: Indexes) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let mut builder = Database::builder();
        builder.set_cache_size(256 * 1024 * 1024);
        let database = builder.create(directory.path().join("raw.redb")).expect("a file");
        let definition = |keys: &bson::Document| {
            let keys = bson::RawDocumentBuf::try_from(keys).expect("a key pattern");
            IndexDefinition::parse(&keys, &bson::rawdoc! {}).expect("an index")
        };
        let definitions = indexes.keys().iter().map(definition).collect();
        let raw = Self { database, definitions, directory, log: None };
        raw.commit(Vec::new(), &[]);
        raw
    }

    /// An empty file that keeps the documents of every commit a second time, as a log does.
    pub fn with_log(indexes: Indexes) -> Self {
        Self { log: Some(RefCell::new(0)), ..Self::new(indexes) }
    }

    /// A file with these films, 1,000 a commit.
    pub fn with(indexes: Indexes, films: &[Film]) -> Self {
        let raw = Self::new(indexes);
        for batch in films.chunks(1_000) {
            raw.insert_batch(batch);
        }
        raw
    }

    /// One durable commit of one film.
    pub fn insert_one(&self, film: &Film) {
        self.insert_batch(std::slice::from_ref(film));
    }

    /// One durable commit of these films, their keys sorted.
    pub fn insert_batch(&self, films: &[Film]) {
        let mut puts: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut log = Vec::new();
        for film in films {
            puts.extend(self.entries(film));
            puts.push((document_key(film.id), film.document.as_bytes().to_vec()));
            if self.log.is_some() {
                log.extend_from_slice(film.document.as_bytes());
            }
        }
        puts.sort_unstable();
        self.commit(puts, &log);
    }

    /// Puts the entries of every film in an index with these keys, sorted, in one commit. Reading the films, making the entries
    /// and sorting them is not timed.
    pub fn build(&self, keys: &RawDocument) -> RawBuild {
        let definition = IndexDefinition::parse(keys, &bson::rawdoc! {}).expect("an index");
        let mut puts = Vec::new();
        let transaction = self.database.begin_read().expect("a snapshot");
        let view = transaction.open_table(VIEW).expect("a table");
        let end = prefix_end(&DOCUMENTS).expect("there are keys behind");
        for item in view.range::<&[u8]>(&DOCUMENTS[..]..&end[..]).expect("a range") {
            let (key, value) = item.expect("a film");
            let document = RawDocument::from_bytes(value.value()).expect("a film");
            let id = document.get_i32("_id").expect("an _id");
            puts.extend(entries(&definition, entries_prefix(0), id, document));
            assert_eq!(key.value(), document_key(id), "the key of a film");
        }
        drop((view, transaction));
        puts.sort_unstable();
        let begin = Instant::now();
        let transaction = self.begin();
        {
            let mut view = transaction.open_table(VIEW).expect("a table");
            for (key, value) in &puts {
                view.insert(&key[..], &value[..]).expect("a put");
            }
        }
        transaction.commit().expect("a commit");
        let time = begin.elapsed();
        self.delete_from(entries_prefix(0));

        let begin = Instant::now();
        let transaction = self.begin();
        {
            let mut view = transaction.open_table(VIEW).expect("a table");
            let mut cursor = view.upper_bound_mut(Bound::<&[u8]>::Unbounded).expect("a cursor");
            for (key, value) in &puts {
                cursor.insert_before(&key[..], &value[..]).expect("a put");
            }
            cursor.close().expect("the last puts");
        }
        transaction.commit().expect("a commit");
        let cursor_time = begin.elapsed();
        self.delete_from(entries_prefix(0));
        RawBuild { entries: puts.len() as u64, time, cursor_time }
    }

    fn delete_from(&self, key: [u8; 5]) {
        let transaction = self.begin();
        {
            let mut view = transaction.open_table(VIEW).expect("a table");
            view.retain_in::<&[u8], _>(&key[..].., |_, _| false).expect("a removal");
        }
        transaction.commit().expect("a commit");
    }

    /// Writes one film anew, durably.
    pub fn increment(&self, film: &Film) {
        self.commit(vec![(document_key(film.id), film.document.as_bytes().to_vec())], &[]);
    }

    /// Deletes one film and its entries, durably.
    pub fn delete(&self, film: &Film) {
        let transaction = self.begin();
        {
            let mut view = transaction.open_table(VIEW).expect("a table");
            view.remove(&document_key(film.id)[..]).expect("a removal");
            for (key, _) in self.entries(film) {
                view.remove(&key[..]).expect("a removal");
            }
        }
        transaction.commit().expect("a commit");
    }

    /// The length of one film, copied out of a snapshot of its own.
    pub fn get(&self, id: i32) -> usize {
        let transaction = self.database.begin_read().expect("a snapshot");
        let view = transaction.open_table(VIEW).expect("a table");
        let found = view.get(&document_key(id)[..]).expect("a get");
        found.map_or(0, |film| film.value().to_vec().len())
    }

    /// The summed length of the films on a shelf.
    pub fn find_shelf(&self, shelf: i32) -> usize {
        let transaction = self.database.begin_read().expect("a snapshot");
        let view = transaction.open_table(VIEW).expect("a table");
        let mut low = entries_prefix(1).to_vec();
        encode_value(RawBsonRef::Int32(shelf), Direction::Ascending, &mut low, &mut Vec::new());
        let high = prefix_end(&low).expect("a key of an index");
        let mut sum = 0;
        for item in view.range::<&[u8]>(&low[..]..&high[..]).expect("a range") {
            let (key, _) = item.expect("an entry");
            let id = key.value().get(low.len()..).expect("an _id");
            let film = view.get(&[&DOCUMENTS[..], id].concat()[..]).expect("a get");
            sum += film.map_or(0, |film| film.value().to_vec().len());
        }
        sum
    }

    /// The summed length of all films, of which nothing is read.
    pub fn scan(&self) -> usize {
        let transaction = self.database.begin_read().expect("a snapshot");
        let view = transaction.open_table(VIEW).expect("a table");
        let end = prefix_end(&DOCUMENTS).expect("there are keys behind");
        let films = view.range::<&[u8]>(&DOCUMENTS[..]..&end[..]).expect("a range");
        films.map(|film| film.expect("a film").1.value().len()).sum()
    }

    /// How many bytes the file has once it is closed.
    pub fn close_and_measure(self) -> u64 {
        drop(self.database);
        let path = self.directory.path().join("raw.redb");
        std::fs::metadata(path).expect("the file").len()
    }

    fn begin(&self) -> redb::WriteTransaction {
        let mut transaction = self.database.begin_write().expect("a transaction");
        transaction.set_two_phase_commit(true);
        transaction
    }

    fn commit(&self, puts: Vec<(Vec<u8>, Vec<u8>)>, log: &[u8]) {
        let transaction = self.begin();
        {
            let mut view = transaction.open_table(VIEW).expect("a table");
            for (key, value) in puts {
                view.insert(&key[..], &value[..]).expect("a put");
            }
            if let Some(number) = &self.log {
                *number.borrow_mut() += 1;
                let mut table = transaction.open_table(LOG).expect("a table");
                table.insert(*number.borrow(), log).expect("a put");
            }
        }
        transaction.commit().expect("a commit");
    }

    /// The entries of a film in every index.
    fn entries(&self, film: &Film) -> Vec<(Vec<u8>, Vec<u8>)> {
        let of = |(index, definition)| entries(definition, entries_prefix(index), film.id, &film.document);
        self.definitions.iter().enumerate().flat_map(of).collect()
    }
}

/// The entries of a film in an index, byte for byte those of CombDB's.
fn entries(
    definition: &IndexDefinition,
    prefix: [u8; 5],
    id: i32,
    document: &RawDocument,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut id_key, mut types) = (Vec::new(), Vec::new());
    encode_value(RawBsonRef::Int32(id), Direction::Ascending, &mut id_key, &mut types);
    trim_types(&mut types);
    let found = definition.entries(document).expect("entries").entries;
    let entry = |entry: db_index::IndexEntry| {
        ([&prefix[..], &entry.key, &id_key].concat(), join_types(&entry.types, &types))
    };
    found.into_iter().map(entry).collect()
}

fn entries_prefix(index: usize) -> [u8; 5] {
    [3, 0, 0, 0, index as u8]
}

fn document_key(id: i32) -> Vec<u8> {
    let mut key = DOCUMENTS.to_vec();
    encode_value(RawBsonRef::Int32(id), Direction::Ascending, &mut key, &mut Vec::new());
    key
}
