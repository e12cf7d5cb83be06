//! Creating and dropping indexes.

use bson::RawDocumentBuf;
use db_core::{Collection, IndexModel};
use serde_json::{Value, json};

use crate::answer::{Answer, Stop};
use crate::extended_json::{read_document, read_value};

/// Creates an index.
pub(crate) fn create(collection: &Collection<RawDocumentBuf>, key: &Value, options: &Value) -> Answer {
    let mut model = IndexModel::new(read_document(key)?);
    model.options.others = read_document(options)?;
    let name = collection.create_index(model).run()?;
    Ok(json!({ "name": name }))
}

/// Drops the index with this name or these keys.
pub(crate) fn drop_index(collection: &Collection<RawDocumentBuf>, index: &Value) -> Answer {
    let name = match read_value(index)? {
        bson::Bson::String(all) if all == "*" => {
            collection.drop_indexes().run()?;
            return Ok(json!({}));
        }
        bson::Bson::String(name) => name,
        bson::Bson::Document(keys) => {
            let same = collection.list_indexes()?.into_iter().find(|model| model.keys == keys);
            let name = same.and_then(|model| model.options.name);
            name.ok_or_else(|| Stop::refused(27, "can't find index with key"))?
        }
        _ => return Err(Stop::refused(14, "an index is named by a string or a document")),
    };
    collection.drop_index(name).run()?;
    Ok(json!({}))
}
