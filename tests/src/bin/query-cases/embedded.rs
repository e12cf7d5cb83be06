//! Cases against a database in memory, through the crate's API.

use bson::{Bson, RawDocumentBuf};
use db_core::{
    Collection, Database, Find, Hint, IndexModel, ReadOptions, ReturnDocument, Store, WriteModel,
    WriteOptions,
};

use crate::answer::{Answer, Stop};
use crate::target::{Action, BulkCounts, Given, Index, IndexName, Query, Shared, Target, Updated, Write};

/// A database in memory.
pub(crate) struct Embedded {
    database: Database,
    /// What keeps the database open.
    _store: Store,
}

impl Embedded {
    /// An empty one.
    pub(crate) fn new() -> db_core::Result<Self> {
        let store = Store::in_memory()?;
        Ok(Self { database: store.create_database("cases")?, _store: store })
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }
}

impl Target for Embedded {
    fn drop_collection(&self, collection: &str) -> Answer<()> {
        Ok(self.collection(collection).drop().run()?)
    }

    fn insert(&self, collection: &str, documents: Vec<RawDocumentBuf>, ordered: bool) -> Answer<usize> {
        let inserted = self.collection(collection).insert_many(documents).ordered(ordered).run()?;
        Ok(inserted.inserted_ids.len())
    }

    fn find(&self, collection: &str, query: Query) -> Answer<Vec<RawDocumentBuf>> {
        Ok(find(&self.collection(collection), query).run_raw()?.collect::<db_core::Result<_>>()?)
    }

    fn find_one(&self, collection: &str, query: Query) -> Answer<Option<RawDocumentBuf>> {
        let mut one = self.collection(collection).find_one(query.filter).skip(query.skip);
        if let Some(sort) = query.sort {
            one = one.sort(sort);
        }
        if let Some(projection) = query.projection {
            one = one.projection(projection);
        }
        Ok(one.with_options(reading(query.shared)).run_raw()?)
    }

    fn count(&self, collection: &str, query: Query) -> Answer<u64> {
        let count = self.collection(collection).count_documents(query.filter);
        Ok(count.skip(query.skip).limit(query.limit).with_options(reading(query.shared)).run()?)
    }

    fn distinct(&self, collection: &str, field: &str, query: Query) -> Answer<Vec<Bson>> {
        let distinct = self.collection(collection).distinct(field, query.filter);
        Ok(distinct.with_options(reading(query.shared)).run()?)
    }

    fn aggregate(
        &self,
        collection: &str,
        on_database: bool,
        pipeline: Vec<RawDocumentBuf>,
        shared: Shared,
    ) -> Answer<Vec<RawDocumentBuf>> {
        let aggregate = if on_database {
            self.database.aggregate(pipeline)
        } else {
            self.collection(collection).aggregate(pipeline)
        };
        Ok(aggregate.with_options(reading(shared)).run_raw()?.collect::<db_core::Result<_>>()?)
    }

    fn update(&self, collection: &str, write: Write) -> Answer<Updated> {
        let collection = self.collection(collection);
        let options = writing(write.upsert, write.array_filters, write.sort, write.shared);
        let update = match write.action {
            Action::Update { update, many: true } => collection.update_many(write.filter, update),
            Action::Update { update, many: false } => collection.update_one(write.filter, update),
            Action::Replace(replacement) => collection.replace_one(write.filter, replacement),
            Action::Insert(_) | Action::Delete { .. } => return Err(no_update()),
        };
        let result = update.with_options(options).run()?;
        Ok(Updated {
            matched: result.matched_count,
            modified: result.modified_count,
            upserted_id: result.upserted_id,
        })
    }

    fn delete(&self, collection: &str, write: Write) -> Answer<u64> {
        let collection = self.collection(collection);
        let many = matches!(write.action, Action::Delete { many: true });
        let delete =
            if many { collection.delete_many(write.filter) } else { collection.delete_one(write.filter) };
        let options = writing(write.upsert, write.array_filters, write.sort, write.shared);
        Ok(delete.with_options(options).run()?.deleted_count)
    }

    fn find_and_modify(
        &self,
        collection: &str,
        write: Write,
        given: Given,
    ) -> Answer<Option<RawDocumentBuf>> {
        let collection = self.collection(collection);
        let options = writing(write.upsert, write.array_filters, write.sort, write.shared);
        let mut modify = match write.action {
            Action::Update { update, .. } => collection.find_one_and_update(write.filter, update),
            Action::Replace(replacement) => collection.find_one_and_replace(write.filter, replacement),
            Action::Delete { .. } => collection.find_one_and_delete(write.filter),
            Action::Insert(_) => return Err(no_update()),
        };
        if given.after {
            modify = modify.return_document(ReturnDocument::After);
        }
        if let Some(projection) = given.projection {
            modify = modify.projection(projection);
        }
        Ok(modify.with_options(options).run()?)
    }

    fn bulk(&self, collection: &str, writes: Vec<Write>, ordered: bool) -> Answer<BulkCounts> {
        let models = writes.into_iter().map(model);
        let result = self.collection(collection).bulk_write(models).ordered(ordered).run()?;
        Ok(BulkCounts {
            inserted: result.inserted_count,
            matched: result.matched_count,
            modified: result.modified_count,
            deleted: result.deleted_count,
            upserted: result.upserted_ids.len(),
        })
    }

    fn create_index(&self, collection: &str, index: Index) -> Answer<String> {
        let mut specification = index.options;
        specification.insert("key", index.keys);
        let model = IndexModel::from_specification(specification);
        Ok(self.collection(collection).create_index(model).run()?)
    }

    fn drop_index(&self, collection: &str, index: IndexName) -> Answer<()> {
        let collection = self.collection(collection);
        match index {
            IndexName::Name(name) if name == "*" => collection.drop_indexes().run()?,
            IndexName::Name(name) => collection.drop_index(name).run()?,
            IndexName::Keys(keys) => collection.drop_index_by_keys(keys).run()?,
        }
        Ok(())
    }
}

fn find(collection: &Collection<RawDocumentBuf>, query: Query) -> Find<RawDocumentBuf> {
    let mut find = collection.find(query.filter).skip(query.skip).limit(query.limit);
    if let Some(sort) = query.sort {
        find = find.sort(sort);
    }
    if let Some(projection) = query.projection {
        find = find.projection(projection);
    }
    find.with_options(reading(query.shared))
}

fn model(write: Write) -> WriteModel {
    let filter = write.filter;
    let model = match write.action {
        Action::Insert(document) => return WriteModel::insert_one(&document),
        Action::Update { update, many: true } => WriteModel::update_many(filter, update),
        Action::Update { update, many: false } => WriteModel::update_one(filter, update),
        Action::Replace(replacement) => WriteModel::replace_one(filter, &replacement),
        Action::Delete { many: true } => WriteModel::delete_many(filter),
        Action::Delete { many: false } => WriteModel::delete_one(filter),
    };
    model.with_options(writing(write.upsert, write.array_filters, write.sort, write.shared))
}

fn reading(shared: Shared) -> ReadOptions {
    let mut options = ReadOptions::default();
    if let Some(name) = shared.hint {
        options = options.hint(hint(name));
    }
    if let Some(variables) = shared.variables {
        options = options.let_vars(variables);
    }
    if let Some(collation) = shared.collation {
        options = options.collation(collation);
    }
    options
}

fn writing(
    upsert: bool,
    array_filters: Vec<RawDocumentBuf>,
    sort: Option<RawDocumentBuf>,
    shared: Shared,
) -> WriteOptions {
    let mut options = WriteOptions::default().upsert(upsert).array_filters(array_filters);
    if let Some(sort) = sort {
        options = options.sort(sort);
    }
    if let Some(name) = shared.hint {
        options = options.hint(hint(name));
    }
    if let Some(variables) = shared.variables {
        options = options.let_vars(variables);
    }
    if let Some(collation) = shared.collation {
        options = options.collation(collation);
    }
    options
}

fn hint(name: IndexName) -> Hint {
    match name {
        IndexName::Name(name) => Hint::Name(name),
        IndexName::Keys(keys) => Hint::Keys(keys),
    }
}

fn no_update() -> Stop {
    Stop::refused(9, "the write is no update")
}
