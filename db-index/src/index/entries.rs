//! The entries of a document in an index: one, or with an array on a path, one for each of its elements.
//!
//! Fields of most kinds are walked together. A field of a *many-keyed* kind ([`FieldKind::is_many_keyed`]) gives its keys by
//! itself, in a file of its own; each of them stands in an entry with each tuple of the other fields.

use bson::{RawArray, RawBsonRef, RawDocument};

use super::{FieldKind, IndexDefinition, IndexField};
use crate::{
    error::{ErrorCode, QueryError},
    key::{encode_collated, encode_missing, trim_types},
    limits::INDEX_BYTES_PER_DOCUMENT_MAX,
    order::array_elements,
};

mod geo;
mod hashed;
mod text;
mod wildcard;

pub(crate) use hashed::hash_key;

/// One entry: the keys of all fields joined, and the types that give the exact values back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The key, which orders the entries.
    pub key: Vec<u8>,
    /// What the key leaves out of the values, trimmed.
    pub types: Vec<u8>,
}

/// The entries of one document in one index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexEntries {
    /// The entries in the order of their keys, no two with the same one.
    pub entries: Vec<IndexEntry>,
    /// The fields whose paths met an array in this document.
    pub multikey: MultikeyFields,
}

/// What a many-keyed field adds to the key of one entry, and to its types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldKey {
    pub(super) key: Vec<u8>,
    pub(super) types: Vec<u8>,
}

/// The keys of a many-keyed field in one document.
#[derive(Debug, Default)]
pub(super) struct FieldKeys {
    /// One entry for each; none: the document has no entry in the index.
    pub(super) keys: Vec<FieldKey>,
    /// Whether the document has none of what the field looks for, which a sparse index leaves out.
    pub(super) is_missing: bool,
    /// Whether an array was met.
    pub(super) is_multikey: bool,
}

/// The fields of an index whose paths have met an array in some document, as a bit set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MultikeyFields(pub u32);

impl MultikeyFields {
    /// Whether the field at this place of the index is among them.
    pub fn contains(self, field: usize) -> bool {
        u32::try_from(field)
            .ok()
            .and_then(|field| self.0.checked_shr(field))
            .is_some_and(|bits| bits & 1 == 1)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn insert(&mut self, field: usize) {
        self.0 |= u32::try_from(field).ok().and_then(|field| 1_u32.checked_shl(field)).unwrap_or(0);
    }
}

impl IndexDefinition {
    /// The entries that `document` has in this index; none if a partial index does not hold it. The document must have
    /// passed the guard.
    ///
    /// # Errors
    /// `CannotIndexParallelArrays` (171) if two paths meet different arrays, 16766 if a hashed index meets one,
    /// `KeyTooLong` (17280) if the keys together go beyond the limit.
    pub fn entries(&self, document: &RawDocument) -> Result<IndexEntries, QueryError> {
        if let Some(filter) = self.partial_filter()
            && !filter.matches(document)?
        {
            return Ok(IndexEntries::default());
        }
        let mut builder =
            Builder { definition: self, result: IndexEntries::default(), bytes: 0, own: Vec::new() };
        for (place, field) in self.fields().iter().enumerate() {
            if field.kind().is_many_keyed() {
                let keys = self.field_keys(field, document)?;
                if keys.is_multikey {
                    builder.result.multikey.insert(place);
                }
                builder.own.push(keys);
            }
        }
        // Indexes of locations and texts hold the documents that have some.
        let is_special = self.fields().iter().any(|field| field.kind().is_special());
        if is_special && builder.own.iter().all(|keys| keys.is_missing) {
            return Ok(IndexEntries::default());
        }
        let values = first_values(document, self.fields());
        let places = values.into_iter().zip(self.fields()).map(|(value, field)| match field.kind() {
            kind if kind.is_many_keyed() => Place::Done(None),
            _ => Place::Open { value, parts: field.parts().get(1..).unwrap_or_default() },
        });
        builder.expand(places.collect())?;
        let mut result = builder.result;
        self.check_arrays(result.multikey)?;
        if result.entries.len() > 1 {
            result.entries.sort_by(|a, b| a.key.cmp(&b.key));
            result.entries.dedup_by(|later, earlier| later.key == earlier.key);
        }
        Ok(result)
    }

    /// Checks that the fields which met arrays may have done so.
    fn check_arrays(&self, multikey: MultikeyFields) -> Result<(), QueryError> {
        if multikey.is_empty() {
            return Ok(());
        }
        let has = |kind: FieldKind| self.fields().iter().any(|field| field.kind() == kind);
        if has(FieldKind::Hashed) {
            return Err(QueryError::new(
                ErrorCode::HASHED_ARRAY,
                format!("hashed indexes do not currently support array values: index '{}'", self.name()),
            ));
        }
        let others = |(place, field): (usize, &IndexField)| {
            field.kind() != FieldKind::Wildcard && multikey.contains(place)
        };
        if has(FieldKind::Wildcard) && self.fields().iter().enumerate().any(others) {
            return Err(QueryError::new(
                ErrorCode::WILDCARD_ARRAY,
                format!(
                    "the fields of a compound wildcard index beside the wildcard cannot hold arrays: index '{}'",
                    self.name()
                ),
            ));
        }
        Ok(())
    }

    /// The keys of a many-keyed field.
    fn field_keys(&self, field: &IndexField, document: &RawDocument) -> Result<FieldKeys, QueryError> {
        match field.kind() {
            FieldKind::Wildcard => wildcard::keys(self, field, document),
            FieldKind::Sphere | FieldKind::Flat => geo::keys(self, field, document),
            FieldKind::Text => text::keys(self, document),
            FieldKind::Ascending | FieldKind::Descending | FieldKind::Hashed => Ok(FieldKeys::default()),
        }
    }

    /// The error for a document whose keys are too long together.
    pub(super) fn keys_too_long(&self) -> QueryError {
        QueryError::new(
            ErrorCode::KEY_TOO_LONG,
            format!(
                "the document's keys in index '{}' are longer than {INDEX_BYTES_PER_DOCUMENT_MAX} bytes together",
                self.name()
            ),
        )
    }
}

/// How far the walk along one field's path has come.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// At a value, with these parts still to go.
    Open { value: Option<RawBsonRef<'a>>, parts: &'a [String] },
    /// At the value to index; an array here is a key as a whole.
    Done(Option<RawBsonRef<'a>>),
}

struct Builder<'a> {
    definition: &'a IndexDefinition,
    result: IndexEntries,
    bytes: usize,
    /// The keys of the many-keyed fields, in the order of the index.
    own: Vec<FieldKeys>,
}

impl<'a> Builder<'a> {
    /// Walks on along all paths, opens the one array they have come to, and adds an entry where all have ended.
    fn expand(&mut self, mut places: Vec<Place<'a>>) -> Result<(), QueryError> {
        let mut array: Option<&RawArray> = None;
        for (field, place) in places.iter_mut().enumerate() {
            let Place::Open { value, parts } = *place else { continue };
            let (value, parts, positional) = descend(value, parts);
            if positional {
                self.result.multikey.insert(field);
            }
            let Some(RawBsonRef::Array(met)) = value else {
                *place = Place::Done(if parts.is_empty() { value } else { None });
                continue;
            };
            *place = Place::Open { value, parts };
            self.result.multikey.insert(field);
            match array {
                // The same array is the same place in the document's bytes.
                Some(other) if !std::ptr::eq(other.as_bytes(), met.as_bytes()) => {
                    return Err(self.parallel_arrays());
                }
                _ => array = Some(met),
            }
        }
        let Some(array) = array else { return self.emit(&places) };
        let mut is_empty = true;
        for element in array_elements(array) {
            is_empty = false;
            self.expand(places.iter().map(|place| substitute(*place, element)).collect())?;
        }
        if is_empty {
            self.expand(places.iter().map(|place| substitute(*place, RawBsonRef::Undefined)).collect())?;
        }
        Ok(())
    }

    fn emit(&mut self, places: &[Place<'_>]) -> Result<(), QueryError> {
        let values = || {
            places.iter().zip(self.definition.fields()).map(|(place, field)| match place {
                Place::Done(value) => (*value, field),
                Place::Open { .. } => (None, field),
            })
        };
        if self.definition.is_sparse()
            && values().all(|(value, _)| value.is_none())
            && self.own.iter().all(|keys| keys.is_missing)
        {
            return Ok(());
        }
        let first = FieldKey { key: Vec::with_capacity(16 * places.len()), types: Vec::new() };
        let mut keys = vec![first];
        let mut own = self.own.iter();
        let collation = self.definition.collation();
        for (value, field) in values() {
            if field.kind().is_many_keyed() {
                let added = own.next().map(|keys| keys.keys.as_slice()).unwrap_or_default();
                keys = product(&keys, added).ok_or_else(|| self.definition.keys_too_long())?;
                continue;
            }
            for FieldKey { key, types } in &mut keys {
                match (field.kind(), value) {
                    (FieldKind::Hashed, value) => hashed::encode(value, collation, key, types),
                    (_, Some(value)) => {
                        encode_collated(value, field.direction(), collation, key, types);
                    }
                    (_, None) => encode_missing(field.direction(), key, types),
                }
            }
        }
        for FieldKey { key, mut types } in keys {
            trim_types(&mut types);
            self.bytes += key.len() + types.len();
            if self.bytes > INDEX_BYTES_PER_DOCUMENT_MAX {
                return Err(self.definition.keys_too_long());
            }
            self.result.entries.push(IndexEntry { key, types });
        }
        Ok(())
    }

    fn parallel_arrays(&self) -> QueryError {
        let paths: Vec<&str> = self.definition.fields().iter().map(IndexField::path).collect();
        QueryError::new(
            ErrorCode::CANNOT_INDEX_PARALLEL_ARRAYS,
            format!("cannot index parallel arrays [{}]", paths.join("] [")),
        )
    }
}

/// Every one of `keys` followed by every one of `added`; none if they are too long together.
fn product(keys: &[FieldKey], added: &[FieldKey]) -> Option<Vec<FieldKey>> {
    let bytes = |keys: &[FieldKey]| keys.iter().map(|key| key.key.len() + key.types.len()).sum::<usize>();
    let total = (bytes(keys).checked_mul(added.len())?).checked_add(bytes(added).checked_mul(keys.len())?)?;
    let joined = |key: &FieldKey, added: &FieldKey| FieldKey {
        key: [key.key.as_slice(), &added.key].concat(),
        types: [key.types.as_slice(), &added.types].concat(),
    };
    (total <= INDEX_BYTES_PER_DOCUMENT_MAX)
        .then(|| keys.iter().flat_map(|key| added.iter().map(move |added| joined(key, added))).collect())
}

/// The values under the first parts of all fields, in one pass over the document.
fn first_values<'a>(document: &'a RawDocument, fields: &[IndexField]) -> Vec<Option<RawBsonRef<'a>>> {
    let mut values = vec![None; fields.len()];
    let mut missing = fields.iter().filter(|field| !field.kind().is_many_keyed()).count();
    for element in document.iter_elements().map_while(Result::ok) {
        let key = element.key().as_str();
        for (value, field) in values.iter_mut().zip(fields) {
            let is_walked = !field.kind().is_many_keyed();
            if is_walked && value.is_none() && field.parts().first().is_some_and(|part| part == key) {
                *value = element.value().ok();
                missing -= 1;
            }
        }
        if missing == 0 {
            break;
        }
    }
    values
}

/// Goes down through documents, and through an array where the next part is a place in it, which the flag tells.
fn descend<'a>(
    mut value: Option<RawBsonRef<'a>>,
    mut parts: &'a [String],
) -> (Option<RawBsonRef<'a>>, &'a [String], bool) {
    let mut positional = false;
    while let Some((part, rest)) = parts.split_first() {
        let next = match value {
            Some(RawBsonRef::Document(document)) => document.get(part).ok().flatten(),
            Some(RawBsonRef::Array(array)) => match element_at(array, part) {
                Some(element) => {
                    positional = true;
                    Some(element)
                }
                None => break,
            },
            _ => break,
        };
        (value, parts) = (next, rest);
    }
    (value, parts, positional)
}

/// What a path sees in place of the array it has come to, for one of the array's elements.
fn substitute<'a>(place: Place<'a>, element: RawBsonRef<'a>) -> Place<'a> {
    match place {
        Place::Open { parts: [], .. } => Place::Done(Some(element)),
        Place::Open { parts, .. } => match element {
            RawBsonRef::Document(_) => Place::Open { value: Some(element), parts },
            _ => Place::Done(None),
        },
        done @ Place::Done(_) => done,
    }
}

/// The element that `part` names as a place in the array, if it is one.
fn element_at<'a>(array: &'a RawArray, part: &str) -> Option<RawBsonRef<'a>> {
    let is_place = part == "0" || !part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit());
    let place = part.parse().ok().filter(|_| is_place)?;
    array_elements(array).nth(place)
}
