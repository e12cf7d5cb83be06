//! `$min`, `$max` and `$currentDate`.

use std::cmp::Ordering;

use bson::RawBsonRef;
use bson::spec::ElementType;

use super::Change;
use crate::collation::Collation;
use crate::error::QueryError;
use crate::order;
use crate::raw::{Element, Elements, Item, Operand, Writer, type_name};

pub(super) fn min(
    operand: &Operand,
    element: &Element<'_>,
    collation: Option<&Collation>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    set_if(Ordering::Less, operand, element, collation, writer)
}

pub(super) fn max(
    operand: &Operand,
    element: &Element<'_>,
    collation: Option<&Collation>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    set_if(Ordering::Greater, operand, element, collation, writer)
}

fn set_if(
    wanted: Ordering,
    operand: &Operand,
    element: &Element<'_>,
    collation: Option<&Collation>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    if order::compare_collated(operand.value()?, element.value()?, collation) != wanted {
        return Ok(Change::Kept);
    }
    writer.element(element.key, operand.item());
    Ok(Change::Written)
}

/// What `$currentDate` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::update) enum DateKind {
    Date,
    Timestamp,
}

/// The operand of `$currentDate`: a boolean or `{$type: "date" | "timestamp"}`.
pub(in crate::update) fn parse_date_kind(path: &str, operand: &Element<'_>) -> Result<DateKind, QueryError> {
    let specification = match operand.value()? {
        RawBsonRef::Boolean(_) => return Ok(DateKind::Date),
        RawBsonRef::Document(specification) => specification,
        _ => {
            return Err(QueryError::bad_value(format!(
                "$currentDate needs a boolean or a {{$type: ...}} document for '{path}', not a value of type {}",
                type_name(operand.kind)
            )));
        }
    };
    let mut kind = None;
    for element in Elements::of_document(specification) {
        let element = element?;
        if element.key != "$type" {
            return Err(QueryError::bad_value(format!("unrecognized $currentDate option: {}", element.key)));
        }
        kind = Some(match element.value()? {
            RawBsonRef::String("date") => DateKind::Date,
            RawBsonRef::String("timestamp") => DateKind::Timestamp,
            _ => {
                return Err(QueryError::bad_value(
                    "the '$type' string of $currentDate must be 'date' or 'timestamp'",
                ));
            }
        });
    }
    // An empty document asks for nothing in particular and gets a date, as `true` does.
    Ok(kind.unwrap_or(DateKind::Date))
}

pub(super) fn set_date(kind: DateKind, now_ms: i64, element: &Element<'_>, writer: &mut Writer) -> Change {
    let (kind, bytes) = date_value(kind, now_ms);
    super::write_if_new(element, Item { kind, bytes: &bytes }, writer)
}

pub(super) fn write_date(kind: DateKind, now_ms: i64, key: &str, writer: &mut Writer) {
    let (kind, bytes) = date_value(kind, now_ms);
    writer.scalar(key, kind, &bytes);
}

/// Type and bytes of the value that `$currentDate` sets at `now_ms`.
pub(in crate::update) fn date_value(kind: DateKind, now_ms: i64) -> (ElementType, [u8; 8]) {
    match kind {
        DateKind::Date => (ElementType::DateTime, now_ms.to_le_bytes()),
        DateKind::Timestamp => {
            // Increment below, seconds above, as BSON stores a timestamp.
            let seconds = u32::try_from(now_ms.div_euclid(1000)).unwrap_or_default();
            (ElementType::Timestamp, (u64::from(seconds) << 32 | 1).to_le_bytes())
        }
    }
}
