//! The keys of a text index: the terms of a document.

use bson::{RawBsonRef, RawDocument};

use super::{FieldKey, FieldKeys, IndexDefinition};
use crate::{
    error::QueryError,
    key::{Direction, encode_value},
};

/// The keys of `document`: one for each term, none without any.
///
/// # Errors
/// 17262 for a document in a language that is not known; `KeyTooLong` (17280).
pub(super) fn keys(definition: &IndexDefinition, document: &RawDocument) -> Result<FieldKeys, QueryError> {
    let Some(settings) = definition.text() else { return Ok(FieldKeys::default()) };
    let terms = settings.terms(document)?;
    let key = |term: &String| {
        let mut key = FieldKey::default();
        encode_value(RawBsonRef::String(term), Direction::Ascending, &mut key.key, &mut key.types);
        key
    };
    Ok(FieldKeys { keys: terms.iter().map(key).collect(), is_missing: terms.is_empty(), is_multikey: true })
}
