//! `$addToSet` and `$pop`.

use std::cmp::Ordering;

use bson::RawBsonRef;

use super::arithmetic::{operand, whole_number};
use super::push::{append, write_array};
use super::{Change, expect_array};
use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::order;
use crate::raw::{Element, Elements, Operand, Writer, array_items, type_name};

/// Beyond this many comparisons the array is sorted once instead.
const PAIRS_BY_SCAN_MAX: usize = 4096;

/// The operand of `$addToSet`: a value, or a document that begins with `$each`. Duplicates are dropped here.
pub(in crate::update) fn parse_add(
    path: &str,
    given: &Element<'_>,
    collation: Option<&Collation>,
) -> Result<Vec<Operand>, QueryError> {
    let RawBsonRef::Document(document) = given.value()? else { return Ok(vec![operand(given)]) };
    let mut elements = Elements::of_document(document);
    let each = match elements.next().transpose()? {
        Some(first) if first.key == "$each" => first,
        _ => return Ok(vec![operand(given)]),
    };
    let RawBsonRef::Array(values) = each.value()? else {
        return Err(QueryError::new(
            ErrorCode::TYPE_MISMATCH,
            format!(
                "the argument to $each in $addToSet must be an array for '{path}', not a value of type {}",
                type_name(each.kind)
            ),
        ));
    };
    if let Some(extra) = elements.next().transpose()? {
        return Err(QueryError::bad_value(format!(
            "found the unexpected field '{}' after $each in $addToSet",
            extra.key
        )));
    }
    let values: Vec<Operand> = array_items(values)?.into_iter().map(Operand::of).collect();
    without_duplicates(values, collation)
}

/// Keeps the first of equal values.
fn without_duplicates(
    values: Vec<Operand>,
    collation: Option<&Collation>,
) -> Result<Vec<Operand>, QueryError> {
    let decoded: Vec<RawBsonRef<'_>> = values.iter().map(Operand::value).collect::<Result<_, _>>()?;
    let mut by_value: Vec<(usize, RawBsonRef<'_>)> = decoded.iter().copied().enumerate().collect();
    by_value.sort_by(|(_, a), (_, b)| order::compare_collated(*a, *b, collation));
    let mut repeated = vec![false; values.len()];
    for pair in by_value.windows(2) {
        if let [(_, a), (later, b)] = pair
            && order::compare_collated(*a, *b, collation).is_eq()
            && let Some(flag) = repeated.get_mut(*later)
        {
            *flag = true;
        }
    }
    Ok(values.into_iter().zip(repeated).filter(|(_, repeated)| !repeated).map(|(value, _)| value).collect())
}

pub(super) fn add(
    values: &[Operand],
    path: &str,
    element: &Element<'_>,
    collation: Option<&Collation>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let array = expect_array(element, "$addToSet", path, ErrorCode::BAD_VALUE)?;
    let mut present = Vec::new();
    for element in Elements::of_array(array) {
        present.push(element?.value()?);
    }
    let by_scan = present.len().saturating_mul(values.len()) <= PAIRS_BY_SCAN_MAX;
    if !by_scan {
        present.sort_by(|a, b| order::compare_collated(*a, *b, collation));
    }
    let mut new = Vec::new();
    for value in values {
        let wanted = value.value()?;
        let found = if by_scan {
            present.iter().any(|present| order::compare_collated(*present, wanted, collation).is_eq())
        } else {
            present.binary_search_by(|present| order::compare_collated(*present, wanted, collation)).is_ok()
        };
        if !found {
            new.push(value.clone());
        }
    }
    if new.is_empty() {
        return Ok(Change::Kept);
    }
    append(array, element.key, &new, writer)?;
    Ok(Change::Written)
}

pub(super) fn on_missing(values: &[Operand], key: &str, writer: &mut Writer) {
    let items: Vec<_> = values.iter().map(Operand::item).collect();
    write_array(key, &items, writer);
}

/// Where `$pop` takes an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::update) enum End {
    First,
    Last,
}

/// The operand of `$pop`: 1 or -1.
pub(in crate::update) fn parse_pop(path: &str, given: &Element<'_>) -> Result<End, QueryError> {
    match whole_number(given)? {
        Some(1) => Ok(End::Last),
        Some(-1) => Ok(End::First),
        _ => Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, format!("$pop expects 1 or -1 for '{path}'"))),
    }
}

pub(super) fn pop(
    end: End,
    path: &str,
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let array = expect_array(element, "$pop", path, ErrorCode::TYPE_MISMATCH)?;
    let items = array_items(array)?;
    let rest = match end {
        End::First => items.get(1..),
        End::Last => items.len().checked_sub(1).and_then(|length| items.get(..length)),
    };
    let Some(rest) = rest else { return Ok(Change::Kept) };
    write_array(element.key, rest, writer);
    Ok(Change::Written)
}

/// Sorts values so that [`contains`] can search them.
pub(super) fn sort_values(
    values: &[Operand],
    collation: Option<&Collation>,
) -> Result<Vec<Operand>, QueryError> {
    let decoded: Vec<RawBsonRef<'_>> = values.iter().map(Operand::value).collect::<Result<_, _>>()?;
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|a, b| match (decoded.get(*a), decoded.get(*b)) {
        (Some(a), Some(b)) => order::compare_collated(*a, *b, collation),
        _ => Ordering::Equal,
    });
    Ok(places.into_iter().filter_map(|place| values.get(place).cloned()).collect())
}

/// Whether sorted `values` hold one that equals `wanted`.
pub(super) fn contains(
    values: &[Operand],
    wanted: RawBsonRef<'_>,
    collation: Option<&Collation>,
) -> Result<bool, QueryError> {
    let (mut low, mut high) = (0, values.len());
    while low < high {
        let middle = low.midpoint(high);
        let Some(value) = values.get(middle) else { break };
        match order::compare_collated(value.value()?, wanted, collation) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(true),
        }
    }
    Ok(false)
}
