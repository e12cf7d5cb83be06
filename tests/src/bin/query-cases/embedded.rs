//! Operations against a database in memory.

use bson::RawDocumentBuf;
use db_core::{Collection, Database, Store};
use serde_json::{Value, json};

use crate::answer::{Answer, Stop};
use crate::extended_json::{read_raw, write_document, write_value};
use crate::options::Options;
use crate::{indexes, writes};

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

    /// A collection of it.
    pub(crate) fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }
}

/// Drops a collection, if there is one; under an impossible name there is none.
pub(crate) fn reset(collection: &Collection<RawDocumentBuf>) -> Answer {
    match collection.drop().run() {
        Err(error) if !matches!(error.code(), Some(26 | 73)) => Err(error.into()),
        _ => Ok(json!({})),
    }
}

/// All documents.
pub(crate) fn dump(collection: &Collection<RawDocumentBuf>) -> Answer {
    let documents = collection.find(RawDocumentBuf::new()).run_raw()?;
    let documents: Vec<Value> =
        documents.map(|document| write_document(&document?)).collect::<Answer<_>>()?;
    Ok(json!({ "docs": documents }))
}

/// Runs an operation.
pub(crate) fn run(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    match op["name"].as_str().unwrap_or_default() {
        "find" => find(collection, op),
        "findOne" => find_one(collection, op),
        "count" => count(collection, op),
        "distinct" => distinct(collection, op),
        "insert" => {
            let ordered = Options::of(op, &["ordered"])?.flag_or_true("ordered");
            writes::insert(collection, &op["docs"], ordered)
        }
        "update" => writes::update(collection, op),
        "replace" => writes::replace(collection, op),
        "delete" => writes::delete(collection, op),
        "findAndModify" => writes::find_and_modify(collection, op),
        "bulk" => writes::bulk(collection, op),
        "createIndex" => indexes::create(collection, &op["key"], &op["options"]),
        "dropIndex" => indexes::drop_index(collection, &op["index"]),
        other => Err(Stop::Unsupported(format!("operation {other}"))),
    }
}

fn find(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let known = ["sort", "projection", "skip", "limit", "hint", "batchSize", "singleBatch"];
    let options = Options::of(op, &known)?;
    let mut find =
        collection.find(read_raw(&op["filter"])?).skip(options.count("skip")?).limit(options.count("limit")?);
    if let Some(sort) = options.document("sort")? {
        find = find.sort(sort);
    }
    if let Some(projection) = options.document("projection")? {
        find = find.projection(projection);
    }
    if let Some(hint) = options.hint()? {
        find = find.hint(hint);
    }
    let documents: Vec<Value> =
        find.run_raw()?.map(|document| write_document(&document?)).collect::<Answer<_>>()?;
    Ok(json!({ "docs": documents }))
}

fn find_one(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["sort", "projection", "skip", "hint"])?;
    let mut find = collection.find_one(read_raw(&op["filter"])?).skip(options.count("skip")?);
    if let Some(sort) = options.document("sort")? {
        find = find.sort(sort);
    }
    if let Some(projection) = options.document("projection")? {
        find = find.projection(projection);
    }
    if let Some(hint) = options.hint()? {
        find = find.hint(hint);
    }
    let document = find.run_raw()?.map(|document| write_document(&document)).transpose()?;
    Ok(json!({ "doc": document }))
}

fn count(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["skip", "limit", "hint"])?;
    // A count takes a negative limit for its absolute value, as MongoDB does.
    let limit = options.number("limit")?.unsigned_abs();
    let mut count =
        collection.count_documents(read_raw(&op["filter"])?).skip(options.count("skip")?).limit(limit);
    if let Some(hint) = options.hint()? {
        count = count.hint(hint);
    }
    Ok(json!({ "count": count.run()? }))
}

fn distinct(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["hint"])?;
    let key = op["key"].as_str().ok_or_else(|| Stop::refused(14, "the key of a distinct is a string"))?;
    let mut distinct = collection.distinct(key, read_raw(&op["filter"])?);
    if let Some(hint) = options.hint()? {
        distinct = distinct.hint(hint);
    }
    let values: Vec<Value> = distinct.run()?.into_iter().map(write_value).collect();
    Ok(json!({ "values": values }))
}
