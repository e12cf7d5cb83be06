//! The commands of cases, read, carried out by a target, and answered.

use bson::{Bson, RawDocumentBuf};
use serde_json::{Value, json};

use crate::answer::{Answer, Stop};
use crate::extended_json::{
    read_document, read_documents, read_raw, read_value, write_document, write_value,
};
use crate::options::Options;
use crate::target::{Action, Given, Index, IndexName, Modification, Query, Target, Write};

/// What an update, a replacement or a delete may say.
const CHANGE_OPTIONS: [&str; 7] = ["multi", "upsert", "arrayFilters", "hint", "sort", "let", "collation"];

/// Drops a collection, if there is one; under an impossible name there is none.
pub(crate) fn reset(target: &dyn Target, collection: &str) -> Answer {
    match target.drop_collection(collection) {
        Err(Stop::Error { code: Some(26 | 73), .. }) | Ok(()) => Ok(json!({})),
        Err(stop) => Err(stop),
    }
}

/// All documents.
pub(crate) fn dump(target: &dyn Target, collection: &str) -> Answer {
    documents(&target.find(collection, Query::default())?)
}

/// Inserts documents.
pub(crate) fn insert(target: &dyn Target, collection: &str, documents: &Value, ordered: bool) -> Answer {
    let inserted = target.insert(collection, read_documents(documents)?, ordered)?;
    Ok(json!({ "result": { "inserted": inserted } }))
}

/// Creates an index.
pub(crate) fn create_index(target: &dyn Target, collection: &str, key: &Value, options: &Value) -> Answer {
    let index = Index { keys: read_document(key)?, options: read_document(options)? };
    Ok(json!({ "name": target.create_index(collection, index)? }))
}

/// Runs an operation.
pub(crate) fn run(target: &dyn Target, collection: &str, op: &Value) -> Answer {
    match op["name"].as_str().unwrap_or_default() {
        "find" => documents(&target.find(collection, query(op)?)?),
        "findOne" => {
            let found = target.find_one(collection, query(op)?)?;
            Ok(json!({ "doc": found.map(|document| write_document(&document)).transpose()? }))
        }
        "count" => Ok(json!({ "count": target.count(collection, query(op)?)? })),
        "distinct" => {
            let key = op["key"].as_str();
            let key = key.ok_or_else(|| Stop::refused(14, "the key of a distinct is a string"))?;
            let values = target.distinct(collection, key, query(op)?)?;
            Ok(json!({ "values": values.into_iter().map(write_value).collect::<Vec<_>>() }))
        }
        "aggregate" => {
            let options = Options::of(op, &["hint", "let", "collation", "allowDiskUse", "batchSize"])?;
            let Some(stages) = op["pipeline"].as_array() else {
                return Err(Stop::refused(14, "'pipeline' option must be specified as an array"));
            };
            if let Some(stage) = stages.iter().find(|stage| !stage.is_object()) {
                return Err(Stop::refused(
                    14,
                    format!("each stage of a pipeline must be an object: {stage}"),
                ));
            }
            // A case cannot say so: what begins with documents of its own runs on the database.
            let on_database = stages.first().is_some_and(|stage| stage.get("$documents").is_some());
            let stages = read_documents(&op["pipeline"])?;
            documents(&target.aggregate(collection, on_database, stages, options.shared()?)?)
        }
        "insert" => {
            let ordered = Options::of(op, &["ordered"])?.flag_or_true("ordered");
            insert(target, collection, &op["docs"], ordered)
        }
        "update" | "replace" => updated(target, collection, op),
        "delete" => {
            let deleted = target.delete(collection, write(op, &["multi", "hint", "let", "collation"])?)?;
            Ok(json!({ "result": { "deleted": deleted } }))
        }
        "findAndModify" => find_and_modify(target, collection, op),
        "bulk" => bulk(target, collection, op),
        "createIndex" => create_index(target, collection, &op["key"], &op["options"]),
        "dropIndex" => {
            let index = match read_value(&op["index"])? {
                Bson::String(name) => IndexName::Name(name),
                Bson::Document(keys) => IndexName::Keys(keys),
                _ => return Err(Stop::refused(14, "an index is named by a string or a document")),
            };
            target.drop_index(collection, index).map(|()| json!({}))
        }
        other => Err(Stop::Unsupported(format!("operation {other}"))),
    }
}

fn documents(documents: &[RawDocumentBuf]) -> Answer {
    let written = documents.iter().map(|document| write_document(document));
    Ok(json!({ "docs": written.collect::<Answer<Vec<Value>>>()? }))
}

/// What a read asks for.
fn query(op: &Value) -> Answer<Query> {
    let known: &[&str] = match op["name"].as_str().unwrap_or_default() {
        "find" => {
            &["sort", "projection", "skip", "limit", "hint", "batchSize", "singleBatch", "let", "collation"]
        }
        "findOne" => &["sort", "projection", "skip", "hint", "let", "collation"],
        "count" => &["skip", "limit", "hint", "collation"],
        _ => &["hint", "collation"],
    };
    let options = Options::of(op, known)?;
    let limit = if op["name"] == "count" {
        // A count takes a negative limit for its absolute value, as MongoDB does.
        options.number("limit")?.unsigned_abs()
    } else {
        options.count("limit")?
    };
    Ok(Query {
        filter: read_raw(&op["filter"])?,
        sort: options.document("sort")?,
        skip: options.count("skip")?,
        limit,
        projection: options.document("projection")?,
        shared: options.shared()?,
    })
}

/// What a write does, in a command or in a bulk. An update command takes operators or, as MongoDB allows, a whole document.
fn write(op: &Value, known: &[&str]) -> Answer<Write> {
    let options = Options::of(op, known)?;
    let many = options.flag("multi");
    let action = match op["name"].as_str().unwrap_or_default() {
        "delete" => Action::Delete { many },
        "replace" if many => {
            return Err(Stop::refused(9, "multi update is not supported for a replacement"));
        }
        "replace" => Action::Replace(read_raw(&op["update"])?),
        _ => modification(&op["update"], many)?,
    };
    Ok(Write {
        filter: read_raw(&op["filter"])?,
        action,
        upsert: options.flag("upsert"),
        array_filters: options.documents("arrayFilters")?.unwrap_or_default(),
        sort: options.document("sort")?,
        shared: options.shared()?,
    })
}

/// Operators, a pipeline or, for one document, what to replace it with.
fn modification(update: &Value, many: bool) -> Answer<Action> {
    let update = match read_value(update)? {
        Bson::Array(_) => Modification::Pipeline(read_documents(update)?),
        Bson::Document(document)
            if !many && !document.keys().next().is_some_and(|key| key.starts_with('$')) =>
        {
            return Ok(Action::Replace(read_raw(update)?));
        }
        Bson::Document(_) => Modification::Operators(read_raw(update)?),
        _ => return Err(Stop::refused(9, "an update is a document or a pipeline")),
    };
    Ok(Action::Update { update, many })
}

fn updated(target: &dyn Target, collection: &str, op: &Value) -> Answer {
    let write = write(op, &CHANGE_OPTIONS)?;
    let result = target.update(collection, write)?;
    let mut told = json!({ "matched": result.matched, "modified": result.modified });
    if let Some(id) = result.upserted_id {
        told["upserted_id"] = write_value(id);
    }
    Ok(json!({ "result": told }))
}

fn find_and_modify(target: &dyn Target, collection: &str, op: &Value) -> Answer {
    let known = ["projection", "remove", "upsert", "new", "hint", "sort", "arrayFilters", "let", "collation"];
    let options = Options::of(op, &known)?;
    let given = Given { after: options.flag("new"), projection: options.document("projection")? };
    let mut write = write(op, &known);
    match (options.flag("remove"), op.get("update").is_some()) {
        (true, false) if options.flag("new") || options.flag("upsert") => {
            return Err(Stop::refused(9, "'remove' goes with neither 'new' nor 'upsert'"));
        }
        (true, false) => {
            let mut deletion = op.clone();
            deletion["name"] = "delete".into();
            write = self::write(&deletion, &known);
        }
        (false, true) => {}
        _ => return Err(Stop::refused(9, "either an 'update' or 'remove: true' is needed")),
    }
    let document = target.find_and_modify(collection, write?, given)?;
    Ok(json!({ "value": document.map(|document| write_document(&document)).transpose()? }))
}

fn bulk(target: &dyn Target, collection: &str, op: &Value) -> Answer {
    let options = Options::of(op, &["ordered", "let"])?;
    let variables = options.document("let")?;
    let mut writes = Vec::new();
    for part in op["ops"].as_array().into_iter().flatten() {
        match part["name"].as_str().unwrap_or_default() {
            "insert" => writes.extend(read_documents(&part["docs"])?.into_iter().map(insertion)),
            "update" | "replace" | "delete" => {
                writes.push(write(part, &CHANGE_OPTIONS)?);
            }
            other => return Err(Stop::Unsupported(format!("{other} in a bulk"))),
        }
    }
    for write in writes.iter_mut().filter(|write| !matches!(write.action, Action::Insert(_))) {
        write.shared.variables.clone_from(&variables);
    }
    let counts = target.bulk(collection, writes, options.flag_or_true("ordered"))?;
    Ok(json!({ "result": {
        "inserted": counts.inserted,
        "matched": counts.matched,
        "modified": counts.modified,
        "deleted": counts.deleted,
        "upserted": counts.upserted,
    } }))
}

fn insertion(document: RawDocumentBuf) -> Write {
    Write {
        filter: RawDocumentBuf::new(),
        action: Action::Insert(document),
        upsert: false,
        array_filters: Vec::new(),
        sort: None,
        shared: crate::target::Shared::default(),
    }
}
