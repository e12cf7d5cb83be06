//! The values that a document is sorted by.

use bson::{RawArray, RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    error::QueryError,
    key::Direction,
    path::{Part, Path, elements, field},
    sort::compare_tuples,
};

/// Where a key has got to on its way into the document.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// At its value.
    At(RawBsonRef<'a>),
    /// At an array, with these parts still to go.
    Before(&'a RawArray, &'a [Part]),
}

/// One value for each of `keys`, the least combination that the document has.
pub(super) fn sort_values<'a>(
    keys: &'a [(Path, Direction)],
    collation: Option<&Collation>,
    document: &'a RawDocument,
) -> Result<Vec<RawBsonRef<'a>>, QueryError> {
    let start = RawBsonRef::Document(document);
    let places = keys.iter().map(|(path, _)| advance(Some(start), path.parts())).collect();
    let mut best = None;
    expand(keys, collation, places, &mut best)?;
    Ok(best.unwrap_or_default())
}

/// Resolves arrays, one element after the other, until every key is at its value. The recursion is as deep as arrays
/// stand in one another.
fn expand<'a>(
    keys: &[(Path, Direction)],
    collation: Option<&Collation>,
    places: Vec<Place<'a>>,
    best: &mut Option<Vec<RawBsonRef<'a>>>,
) -> Result<(), QueryError> {
    let Some(array) = one_array(&places)? else {
        let values: Vec<_> = places
            .into_iter()
            .map(|place| match place {
                Place::At(value) => value,
                Place::Before(..) => RawBsonRef::Null,
            })
            .collect();
        if best.as_ref().is_none_or(|best| compare_tuples(keys, collation, &values, best).is_lt()) {
            *best = Some(values);
        }
        return Ok(());
    };
    let mut empty = true;
    for element in elements(array) {
        empty = false;
        let within = places.iter().map(|place| enter(*place, Some(element))).collect();
        expand(keys, collation, within, best)?;
    }
    if empty {
        expand(keys, collation, places.into_iter().map(|place| enter(place, None)).collect(), best)?;
    }
    Ok(())
}

/// The array before which keys stand: none, or one and the same for all of them.
fn one_array<'a>(places: &[Place<'a>]) -> Result<Option<&'a RawArray>, QueryError> {
    let mut found: Option<&RawArray> = None;
    for place in places {
        if let Place::Before(array, _) = place {
            match found {
                Some(other) if !std::ptr::eq(other.as_bytes(), array.as_bytes()) => {
                    return Err(QueryError::bad_value("cannot sort with keys that are parallel arrays"));
                }
                _ => found = Some(array),
            }
        }
    }
    Ok(found)
}

/// The place after an array was replaced by its `element`; an empty array has none.
fn enter<'a>(place: Place<'a>, element: Option<RawBsonRef<'a>>) -> Place<'a> {
    match (place, element) {
        (Place::At(value), _) => Place::At(value),
        (Place::Before(_, []), None) => Place::At(RawBsonRef::Undefined),
        // An element that is an array is not opened again.
        (Place::Before(_, []), Some(element)) => Place::At(element),
        (Place::Before(_, [part, rest @ ..]), Some(RawBsonRef::Document(document))) => {
            advance(field(document, part.name()), rest)
        }
        (Place::Before(..), _) => Place::At(RawBsonRef::Null),
    }
}

/// Follows `parts` from `value` until an array or the end.
fn advance<'a>(mut value: Option<RawBsonRef<'a>>, mut parts: &'a [Part]) -> Place<'a> {
    loop {
        match (value, parts) {
            (Some(RawBsonRef::Array(array)), [part, rest @ ..]) => {
                // A number in range names an element.
                match part.index().and_then(|index| elements(array).nth(index)) {
                    Some(element) => (value, parts) = (Some(element), rest),
                    None => return Place::Before(array, parts),
                }
            }
            (Some(RawBsonRef::Array(array)), []) => return Place::Before(array, parts),
            (value, []) => return Place::At(value.unwrap_or(RawBsonRef::Null)),
            (Some(RawBsonRef::Document(document)), [part, rest @ ..]) => {
                (value, parts) = (field(document, part.name()), rest);
            }
            _ => return Place::At(RawBsonRef::Null),
        }
    }
}
