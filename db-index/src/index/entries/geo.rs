//! The keys of a geospatial field: the cells of the locations at its path.
//!
//! A document without a location there has none; in an index of several such fields it has the key of null as long as one
//! of the others has a location.

use std::ops::ControlFlow;

use bson::{RawBsonRef, RawDocument};

use super::{FieldKey, FieldKeys, IndexDefinition, IndexField};
use crate::{
    error::QueryError,
    geo,
    index::FieldKind,
    key::{Direction, encode_missing, encode_value},
    path::{Candidate, Leaf, Path, walk_document},
};

/// The keys of `document` for the geospatial field `field`.
///
/// # Errors
/// 16755, 13026 and 13027 for a value that is no location such an index takes.
pub(super) fn keys(
    definition: &IndexDefinition,
    field: &IndexField,
    document: &RawDocument,
) -> Result<FieldKeys, QueryError> {
    let path = Path::parse(field.path())?;
    let mut cells = Vec::new();
    let mut failure = None;
    let _ = walk_document(document, path.parts(), Leaf::Whole, &mut |candidate: Candidate<'_>| {
        let Some(value) = candidate.value.filter(|value| !is_empty(*value)) else {
            return ControlFlow::Continue(());
        };
        let found = match field.kind() {
            FieldKind::Flat => geo::grid_cells(&definition.grid(), value),
            _ => geo::sphere_cells(value),
        };
        match found {
            Ok(found) => {
                cells.extend(found);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    cells.sort_unstable();
    cells.dedup();
    let mut keys: Vec<FieldKey> = cells
        .into_iter()
        .map(|cell| {
            let mut key = FieldKey::default();
            encode_value(RawBsonRef::Int64(cell), Direction::Ascending, &mut key.key, &mut key.types);
            key
        })
        .collect();
    let is_missing = keys.is_empty();
    if is_missing {
        let mut key = FieldKey::default();
        encode_missing(Direction::Ascending, &mut key.key, &mut key.types);
        keys.push(key);
    }
    // A location may have many keys, whether an array was met or not.
    Ok(FieldKeys { keys, is_missing, is_multikey: true })
}

fn is_empty(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Null | RawBsonRef::Undefined => true,
        RawBsonRef::Array(array) => array.is_empty(),
        _ => false,
    }
}
