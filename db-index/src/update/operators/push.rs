//! `$push` with `$each`, `$position`, `$sort` and `$slice`.

use std::cmp::Ordering;

use bson::raw::RawDocument;
use bson::spec::ElementType;
use bson::{RawArray, RawBsonRef};

use super::arithmetic::{operand, whole_number};
use super::{Change, expect_array};
use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::order;
use crate::raw::{Element, Elements, Item, Operand, Writer, array_items, malformed, type_name};

/// A compiled `$push`.
#[derive(Debug, Clone)]
pub(in crate::update) struct Push {
    values: Vec<Operand>,
    position: Option<i64>,
    sort: Option<Sort>,
    slice: Option<i64>,
    collation: Option<Collation>,
}

#[derive(Debug, Clone)]
enum Sort {
    Whole(Direction),
    /// By fields of the elements: path parts and direction.
    Fields(Vec<(Vec<String>, Direction)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ascending,
    Descending,
}

impl Push {
    /// The values that are pushed.
    pub(super) fn values(&self) -> &[Operand] {
        &self.values
    }

    /// Whether it sorts the array.
    pub(in crate::update) fn sorts(&self) -> bool {
        self.sort.is_some()
    }
}

/// The operand of `$push`: a value, or a document with `$each` and its modifiers.
pub(in crate::update) fn parse(
    path: &str,
    given: &Element<'_>,
    collation: Option<&Collation>,
) -> Result<Push, QueryError> {
    let modifiers = match given.value()? {
        RawBsonRef::Document(document) if has_each(document)? => document,
        _ => {
            let values = vec![operand(given)];
            return Ok(Push { values, position: None, sort: None, slice: None, collation: None });
        }
    };
    let collation = collation.cloned();
    let mut push = Push { values: Vec::new(), position: None, sort: None, slice: None, collation };
    for element in Elements::of_document(modifiers) {
        let element = element?;
        match element.key {
            "$each" => {
                let RawBsonRef::Array(values) = element.value()? else {
                    return Err(QueryError::bad_value(format!(
                        "the argument to $each in $push must be an array for '{path}', not a value of type {}",
                        type_name(element.kind)
                    )));
                };
                push.values = array_items(values)?.into_iter().map(Operand::of).collect();
            }
            "$position" => push.position = Some(modifier_number(&element)?),
            "$slice" => push.slice = Some(modifier_number(&element)?),
            "$sort" => push.sort = Some(parse_sort(&element)?),
            other => return Err(QueryError::bad_value(format!("unrecognized clause in $push: {other}"))),
        }
    }
    Ok(push)
}

fn has_each(document: &RawDocument) -> Result<bool, QueryError> {
    document.get("$each").map(|each| each.is_some()).map_err(|error| malformed(&error))
}

fn modifier_number(element: &Element<'_>) -> Result<i64, QueryError> {
    whole_number(element)?.ok_or_else(|| {
        QueryError::bad_value(format!(
            "{} of $push must be a whole number, not a value of type {}",
            element.key,
            type_name(element.kind)
        ))
    })
}

fn parse_sort(element: &Element<'_>) -> Result<Sort, QueryError> {
    let RawBsonRef::Document(pattern) = element.value()? else {
        return direction(element)?.map(Sort::Whole).ok_or_else(|| {
            QueryError::bad_value("$sort of $push must be 1, -1 or a document of fields with 1 or -1")
        });
    };
    let mut fields = Vec::new();
    for field in Elements::of_document(pattern) {
        let field = field?;
        let direction = direction(&field)?.ok_or_else(|| {
            QueryError::bad_value(format!("the $sort of $push must be 1 or -1 for '{}'", field.key))
        })?;
        let parts: Vec<String> = field.key.split('.').map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            return Err(QueryError::bad_value(format!(
                "the $sort field '{}' of $push has an empty part",
                field.key
            )));
        }
        fields.push((parts, direction));
    }
    if fields.is_empty() {
        return Err(QueryError::bad_value("the $sort document of $push must name at least one field"));
    }
    Ok(Sort::Fields(fields))
}

fn direction(element: &Element<'_>) -> Result<Option<Direction>, QueryError> {
    Ok(match whole_number(element)? {
        Some(1) => Some(Direction::Ascending),
        Some(-1) => Some(Direction::Descending),
        _ => None,
    })
}

pub(super) fn apply(
    push: &Push,
    path: &str,
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let array = expect_array(element, "$push", path, ErrorCode::BAD_VALUE)?;
    if push.position.is_none() && push.sort.is_none() && push.slice.is_none() {
        if push.values.is_empty() {
            return Ok(Change::Kept);
        }
        append(array, element.key, &push.values, writer)?;
        return Ok(Change::Written);
    }
    let before = writer.len();
    let items = arrange(push, array_items(array)?)?;
    write_array(element.key, &items, writer);
    if writer.written(before) == element.bytes {
        writer.truncate(before);
        return Ok(Change::Kept);
    }
    Ok(Change::Written)
}

pub(super) fn on_missing(push: &Push, key: &str, writer: &mut Writer) -> Result<(), QueryError> {
    let items = arrange(push, Vec::new())?;
    write_array(key, &items, writer);
    Ok(())
}

/// Writes `array` under `key` with `values` at its end.
pub(super) fn append(
    array: &RawArray,
    key: &str,
    values: &[Operand],
    writer: &mut Writer,
) -> Result<(), QueryError> {
    let mut count = 0;
    for element in array.iter_elements() {
        element.map_err(|error| malformed(&error))?;
        count += 1;
    }
    let opened = writer.open(key, ElementType::Array);
    writer.copy(Elements::of_array(array).rest());
    for (offset, value) in values.iter().enumerate() {
        writer.indexed(count + offset, value.item());
    }
    writer.close(opened);
    Ok(())
}

/// Writes an array of `items` under `key`.
pub(super) fn write_array(key: &str, items: &[Item<'_>], writer: &mut Writer) {
    let opened = writer.open(key, ElementType::Array);
    for (index, item) in items.iter().enumerate() {
        writer.indexed(index, *item);
    }
    writer.close(opened);
}

/// Inserts, sorts and slices, in this order.
fn arrange<'a>(push: &'a Push, mut items: Vec<Item<'a>>) -> Result<Vec<Item<'a>>, QueryError> {
    let at = insertion_point(push.position, items.len());
    items.splice(at..at, push.values.iter().map(Operand::item));
    if let Some(sort) = &push.sort {
        items = sorted(sort, items, push.collation.as_ref())?;
    }
    if let Some(slice) = push.slice {
        let keep = usize::try_from(slice.unsigned_abs()).unwrap_or(usize::MAX).min(items.len());
        if slice < 0 {
            items.drain(..items.len() - keep);
        } else {
            items.truncate(keep);
        }
    }
    Ok(items)
}

fn insertion_point(position: Option<i64>, length: usize) -> usize {
    let Some(position) = position else { return length };
    let distance = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
    if position < 0 { length.saturating_sub(distance) } else { distance.min(length) }
}

fn sorted<'a>(
    sort: &Sort,
    items: Vec<Item<'a>>,
    collation: Option<&Collation>,
) -> Result<Vec<Item<'a>>, QueryError> {
    // The values are decoded out of one scratch array, so that each item is read once and not at every comparison.
    let mut scratch = Writer::with_capacity(items.iter().map(|item| item.bytes.len() + 12).sum());
    let root = scratch.open_root();
    for (index, item) in items.iter().enumerate() {
        scratch.indexed(index, *item);
    }
    scratch.close(root);
    let scratch = scratch.into_document();
    let mut keyed: Vec<(Vec<RawBsonRef<'_>>, Item<'a>)> = Vec::with_capacity(items.len());
    for (element, item) in Elements::of_document(&scratch).zip(items) {
        keyed.push((sort_key(sort, element?.value()?)?, item));
    }
    keyed.sort_by(|(a, _), (b, _)| compare_keys(sort, a, b, collation));
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

fn sort_key<'a>(sort: &Sort, value: RawBsonRef<'a>) -> Result<Vec<RawBsonRef<'a>>, QueryError> {
    match sort {
        Sort::Whole(_) => Ok(vec![value]),
        Sort::Fields(fields) => fields.iter().map(|(parts, _)| value_at(value, parts)).collect(),
    }
}

/// The value at a path, arrays by index only; null where there is none.
fn value_at<'a>(value: RawBsonRef<'a>, parts: &[String]) -> Result<RawBsonRef<'a>, QueryError> {
    let mut value = value;
    for (depth, part) in parts.iter().enumerate() {
        let below = match value {
            RawBsonRef::Document(document) => document.get(part),
            // The element itself must be a document; only below it an index may lead into an array.
            RawBsonRef::Array(array) if depth > 0 => match super::super::path::array_index(part) {
                Some(index) => array.get(index),
                None => Ok(None),
            },
            _ => Ok(None),
        };
        match below.map_err(|error| malformed(&error))? {
            Some(found) => value = found,
            None => return Ok(RawBsonRef::Null),
        }
    }
    Ok(value)
}

fn compare_keys(
    sort: &Sort,
    a: &[RawBsonRef<'_>],
    b: &[RawBsonRef<'_>],
    collation: Option<&Collation>,
) -> Ordering {
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let direction = match sort {
            Sort::Whole(direction) => *direction,
            Sort::Fields(fields) => {
                fields.get(index).map_or(Direction::Ascending, |(_, direction)| *direction)
            }
        };
        let ordering = match direction {
            Direction::Ascending => order::compare_collated(*a, *b, collation),
            Direction::Descending => order::compare_collated(*b, *a, collation),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}
