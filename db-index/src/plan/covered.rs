//! Answers from the entries of an index alone.

use bson::{
    RawDocumentBuf,
    raw::{CString, cstr},
};

use crate::{
    index::IndexDefinition,
    key::{Direction, KeyError, decode_field},
};

/// The document with the `fields` that a covered plan asks for, made of an entry: `_id` first, then the fields in the order
/// of the index.
///
/// `key` is the entry's key with that of `_id` behind; `types` and `id_types` are what
/// [`split_types`](crate::split_types) gives.
///
/// # Errors
/// If they are no entry of the index.
pub fn covered_document(
    definition: &IndexDefinition,
    fields: &[&str],
    mut key: &[u8],
    mut types: &[u8],
    mut id_types: &[u8],
) -> Result<RawDocumentBuf, KeyError> {
    let mut found = Vec::with_capacity(definition.fields().len());
    for field in definition.fields() {
        found.push((field.path(), decode_field(&mut key, &mut types, field.direction())?));
    }
    let mut document = RawDocumentBuf::new();
    if fields.contains(&"_id")
        && let Some(id) = decode_field(&mut key, &mut id_types, Direction::Ascending)?
    {
        document.append(cstr!("_id"), id);
    }
    for (path, value) in found {
        if let (Some(value), true) = (value, path != "_id" && fields.contains(&path)) {
            let name = CString::try_from(path.to_owned()).map_err(|_| KeyError("a name holds NUL"))?;
            document.append(name, value);
        }
    }
    Ok(document)
}
