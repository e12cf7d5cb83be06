//! The key of a hashed field: 64 bits that equal values have in common.

use bson::RawBsonRef;

use crate::collation::Collation;
use crate::key::{Direction, encode_collated, encode_missing, encode_value};

/// Appends the hash of `value`, as a long; a missing value has that of null.
pub(super) fn encode(
    value: Option<RawBsonRef<'_>>,
    collation: Option<&Collation>,
    key: &mut Vec<u8>,
    types: &mut Vec<u8>,
) {
    let (mut own, mut own_types) = (Vec::new(), Vec::new());
    match value {
        Some(value) => encode_collated(value, Direction::Ascending, collation, &mut own, &mut own_types),
        None => encode_missing(Direction::Ascending, &mut own, &mut own_types),
    }
    encode_value(RawBsonRef::Int64(hash_key(&own)), Direction::Ascending, key, types);
}

/// The hash of the value that has this ascending key. It is made of the key, so that numbers that are equal have the same,
/// whatever their types.
pub(crate) fn hash_key(key: &[u8]) -> i64 {
    let hash = blake3::hash(key);
    hash.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
}
