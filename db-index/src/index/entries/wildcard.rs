//! The keys of a wildcard field: the path of every value below its scope, and the value.
//!
//! Documents are opened, unless they are empty; so are arrays, whose elements stand under the path of the array. An array
//! within an array is a value as a whole, as everywhere in indexes. Fields whose names hold a dot are left out: no path of
//! a query leads to them.

use bson::{RawBsonRef, RawDocument};

use super::{FieldKey, FieldKeys, IndexDefinition, IndexField};
use crate::{
    error::QueryError,
    index::wildcard::Reach,
    key::{Direction, encode_collated, encode_value},
    limits::INDEX_BYTES_PER_DOCUMENT_MAX,
    path::{elements, fields},
};

/// The keys of `document` for the wildcard field `field`.
///
/// # Errors
/// `KeyTooLong` (17280) if they go beyond the limit together.
pub(super) fn keys(
    definition: &IndexDefinition,
    field: &IndexField,
    document: &RawDocument,
) -> Result<FieldKeys, QueryError> {
    let mut walk = Walk { definition, field, path: Vec::new(), bytes: 0, found: FieldKeys::default() };
    walk.document(document)?;
    let mut found = walk.found;
    if found.keys.is_empty() {
        found.is_missing = true;
        if definition.fields().len() > 1 {
            // The other fields are indexed all the same.
            let mut key = FieldKey::default();
            for _ in 0..2 {
                encode_value(RawBsonRef::MinKey, Direction::Ascending, &mut key.key, &mut key.types);
            }
            found.keys.push(key);
        }
    }
    Ok(found)
}

struct Walk<'a> {
    definition: &'a IndexDefinition,
    field: &'a IndexField,
    /// The names that lead to where the walk is.
    path: Vec<&'a str>,
    bytes: usize,
    found: FieldKeys,
}

impl<'a> Walk<'a> {
    fn document(&mut self, document: &'a RawDocument) -> Result<(), QueryError> {
        for (name, value) in fields(document) {
            if name.contains('.') {
                continue;
            }
            self.path.push(name);
            if self.definition.wildcard_reach(self.field, &self.path) != Reach::Outside {
                self.value(value, true)?;
            }
            self.path.pop();
        }
        Ok(())
    }

    /// The value at the path, or with `opens_arrays` unset, an element of the array there.
    fn value(&mut self, value: RawBsonRef<'a>, opens_arrays: bool) -> Result<(), QueryError> {
        match value {
            RawBsonRef::Document(document) if !document.is_empty() => self.document(document),
            RawBsonRef::Array(array) if opens_arrays => {
                self.found.is_multikey = true;
                let mut is_empty = true;
                for element in elements(array) {
                    is_empty = false;
                    self.value(element, false)?;
                }
                if is_empty { self.add(RawBsonRef::Undefined) } else { Ok(()) }
            }
            value => self.add(value),
        }
    }

    fn add(&mut self, value: RawBsonRef<'_>) -> Result<(), QueryError> {
        let reach = self.definition.wildcard_reach(self.field, &self.path);
        if !matches!(reach, Reach::Inside | Reach::Itself) {
            return Ok(());
        }
        let mut key = FieldKey::default();
        let path = self.path.join(".");
        encode_value(RawBsonRef::String(&path), Direction::Ascending, &mut key.key, &mut key.types);
        let collation = self.definition.collation();
        encode_collated(value, Direction::Ascending, collation, &mut key.key, &mut key.types);
        self.bytes += key.key.len() + key.types.len();
        if self.bytes > INDEX_BYTES_PER_DOCUMENT_MAX {
            return Err(self.definition.keys_too_long());
        }
        self.found.keys.push(key);
        Ok(())
    }
}
