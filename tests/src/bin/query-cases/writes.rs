//! Inserts, updates, deletes, find-and-modify and bulk writes.

use bson::{Bson, RawDocumentBuf};
use db_core::{Collection, ReturnDocument, ToUpdate, UpdateResult, Write, WriteModel};
use serde_json::{Value, json};

use crate::answer::{Answer, Stop};
use crate::extended_json::{read_documents, read_raw, read_value, write_document, write_value};
use crate::options::Options;

/// Inserts documents.
pub(crate) fn insert(collection: &Collection<RawDocumentBuf>, documents: &Value, ordered: bool) -> Answer {
    let documents = read_documents(documents)?;
    let inserted = collection.insert_many(documents).ordered(ordered).run()?;
    Ok(json!({ "result": { "inserted": inserted.inserted_ids.len() } }))
}

/// An update command: operators or, as the command allows, a whole document.
pub(crate) fn update(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["multi", "upsert", "arrayFilters", "hint", "sort"])?;
    let (filter, update) = (read_raw(&op["filter"])?, Modification::read(&op["update"])?);
    let write = match (options.flag("multi"), update.as_replacement()) {
        (true, _) => collection.update_many(filter, update),
        (false, Some(replacement)) => collection.replace_one(filter, replacement),
        (false, None) => collection.update_one(filter, update),
    };
    updated(write, &options)
}

/// A replacement.
pub(crate) fn replace(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["multi", "upsert", "hint", "sort"])?;
    if options.flag("multi") {
        return Err(Stop::refused(9, "multi update is not supported for a replacement"));
    }
    let write = collection.replace_one(read_raw(&op["filter"])?, &read_raw(&op["update"])?);
    updated(write, &options)
}

/// A delete.
pub(crate) fn delete(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["multi", "hint"])?;
    let filter = read_raw(&op["filter"])?;
    let mut write =
        if options.flag("multi") { collection.delete_many(filter) } else { collection.delete_one(filter) };
    if let Some(hint) = options.hint()? {
        write = write.hint(hint);
    }
    Ok(json!({ "result": { "deleted": write.run()?.deleted_count } }))
}

/// A `findAndModify` command.
pub(crate) fn find_and_modify(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let known = ["projection", "remove", "upsert", "new", "hint", "sort", "arrayFilters"];
    let options = Options::of(op, &known)?;
    let filter = read_raw(&op["filter"])?;
    let mut write = match (options.flag("remove"), op.get("update")) {
        (true, None) if options.flag("new") || options.flag("upsert") => {
            return Err(Stop::refused(9, "'remove' goes with neither 'new' nor 'upsert'"));
        }
        (true, None) => collection.find_one_and_delete(filter),
        (false, Some(update)) => {
            let update = Modification::read(update)?;
            match update.as_replacement() {
                Some(replacement) => collection.find_one_and_replace(filter, replacement),
                None => collection.find_one_and_update(filter, update),
            }
        }
        _ => return Err(Stop::refused(9, "either an 'update' or 'remove: true' is needed")),
    };
    if options.flag("new") {
        write = write.return_document(ReturnDocument::After);
    }
    if options.flag("upsert") {
        write = write.upsert(true);
    }
    if let Some(filters) = options.documents("arrayFilters")? {
        write = write.array_filters(filters);
    }
    if let Some(sort) = options.document("sort")? {
        write = write.sort(sort);
    }
    if let Some(projection) = options.document("projection")? {
        write = write.projection(projection);
    }
    if let Some(hint) = options.hint()? {
        write = write.hint(hint);
    }
    let document: Option<RawDocumentBuf> = write.run()?;
    Ok(json!({ "value": document.map(|document| write_document(&document)).transpose()? }))
}

/// A bulk write.
pub(crate) fn bulk(collection: &Collection<RawDocumentBuf>, op: &Value) -> Answer {
    let options = Options::of(op, &["ordered"])?;
    let mut models = Vec::new();
    for part in op["ops"].as_array().into_iter().flatten() {
        add_models(part, &mut models)?;
    }
    let result = collection.bulk_write(models).ordered(options.flag_or_true("ordered")).run()?;
    Ok(json!({ "result": {
        "inserted": result.inserted_count,
        "matched": result.matched_count,
        "modified": result.modified_count,
        "deleted": result.deleted_count,
        "upserted": result.upserted_ids.len(),
    } }))
}

fn add_models(part: &Value, models: &mut Vec<WriteModel>) -> Answer<()> {
    let options = Options::of(part, &["multi", "upsert", "arrayFilters", "hint", "sort"])?;
    let filter = read_raw(&part["filter"])?;
    let mut model = match part["name"].as_str().unwrap_or_default() {
        "insert" => {
            models.extend(read_documents(&part["docs"])?.iter().map(WriteModel::insert_one));
            return Ok(());
        }
        "delete" if options.flag("multi") => WriteModel::delete_many(filter),
        "delete" => WriteModel::delete_one(filter),
        "replace" => WriteModel::replace_one(filter, &read_raw(&part["update"])?),
        "update" => {
            let update = Modification::read(&part["update"])?;
            match (options.flag("multi"), update.as_replacement()) {
                (true, _) => WriteModel::update_many(filter, update),
                (false, Some(replacement)) => WriteModel::replace_one(filter, replacement),
                (false, None) => WriteModel::update_one(filter, update),
            }
        }
        other => return Err(Stop::Unsupported(format!("{other} in a bulk"))),
    };
    if options.flag("upsert") {
        model = model.upsert(true);
    }
    if let Some(filters) = options.documents("arrayFilters")? {
        model = model.array_filters(filters);
    }
    if let Some(sort) = options.document("sort")? {
        model = model.sort(sort);
    }
    if let Some(hint) = options.hint()? {
        model = model.hint(hint);
    }
    models.push(model);
    Ok(())
}

fn updated(mut write: Write<UpdateResult>, options: &Options<'_>) -> Answer {
    if options.flag("upsert") {
        write = write.upsert(true);
    }
    if let Some(filters) = options.documents("arrayFilters")? {
        write = write.array_filters(filters);
    }
    if let Some(sort) = options.document("sort")? {
        write = write.sort(sort);
    }
    if let Some(hint) = options.hint()? {
        write = write.hint(hint);
    }
    let result = write.run()?;
    let mut told = json!({ "matched": result.matched_count, "modified": result.modified_count });
    if let Some(id) = result.upserted_id {
        told["upserted_id"] = write_value(id);
    }
    Ok(json!({ "result": told }))
}

/// An update as a command brings it.
enum Modification {
    Document(RawDocumentBuf),
    Pipeline(Vec<RawDocumentBuf>),
}

impl Modification {
    fn read(json: &Value) -> Answer<Self> {
        match read_value(json)? {
            Bson::Array(_) => read_documents(json).map(Self::Pipeline),
            Bson::Document(_) => read_raw(json).map(Self::Document),
            _ => Err(Stop::refused(9, "an update is a document or a pipeline")),
        }
    }

    /// The whole document, where a command takes the update for one.
    fn as_replacement(&self) -> Option<&RawDocumentBuf> {
        let Self::Document(document) = self else { return None };
        let first = document.iter().next().and_then(Result::ok);
        first.is_none_or(|(key, _)| !key.as_str().starts_with('$')).then_some(document)
    }
}

impl ToUpdate for Modification {
    fn to_update(self) -> db_core::Result<bson::RawBson> {
        match self {
            Self::Document(document) => document.to_update(),
            Self::Pipeline(stages) => stages.to_update(),
        }
    }
}
