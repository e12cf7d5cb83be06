//! `$inc`, `$mul` and `$bit`.

use bson::RawBsonRef;
use bson::spec::ElementType;

use super::Change;
use crate::error::{ErrorCode, QueryError};
use crate::number::Number;
use crate::raw::{Element, Item, Operand, Writer, type_name};

/// The operand of `$inc` or `$mul`.
pub(in crate::update) fn parse_number(
    operator: &str,
    path: &str,
    operand: &Element<'_>,
) -> Result<Number, QueryError> {
    Number::from_raw(operand.value()?).ok_or_else(|| {
        QueryError::new(
            ErrorCode::TYPE_MISMATCH,
            format!(
                "{operator} needs a number for '{path}', not a value of type {}",
                type_name(operand.kind)
            ),
        )
    })
}

pub(super) fn inc(
    path: &str,
    operand: Number,
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let sum = target("$inc", path, element)?.checked_add(operand)?;
    Ok(replace_number(sum, element, writer))
}

pub(super) fn mul(
    path: &str,
    operand: Number,
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let product = target("$mul", path, element)?.checked_mul(operand)?;
    Ok(replace_number(product, element, writer))
}

fn target(operator: &str, path: &str, element: &Element<'_>) -> Result<Number, QueryError> {
    Number::from_raw(element.value()?).ok_or_else(|| {
        QueryError::new(
            ErrorCode::TYPE_MISMATCH,
            format!(
                "cannot apply {operator} to a value of non-numeric type: the field '{path}' is of type {}",
                type_name(element.kind)
            ),
        )
    })
}

/// Writes a number as an element.
pub(super) fn write_number(number: Number, key: &str, writer: &mut Writer) {
    with_number_item(number, |item| writer.element(key, item));
}

fn replace_number(number: Number, element: &Element<'_>, writer: &mut Writer) -> Change {
    with_number_item(number, |item| super::write_if_new(element, item, writer))
}

fn with_number_item<T>(number: Number, then: impl FnOnce(Item<'_>) -> T) -> T {
    match number {
        Number::Int32(value) => then(Item { kind: ElementType::Int32, bytes: &value.to_le_bytes() }),
        Number::Int64(value) => then(Item { kind: ElementType::Int64, bytes: &value.to_le_bytes() }),
        Number::Double(value) => {
            // The sign and payload of a computed NaN differ between processors; every peer must store the same bits.
            let value = if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value };
            then(Item { kind: ElementType::Double, bytes: &value.to_le_bytes() })
        }
        Number::Decimal(value) => {
            then(Item { kind: ElementType::Decimal128, bytes: &value.to_bson().bytes() })
        }
    }
}

/// One of the operations of a `$bit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::update) struct BitOperation {
    operation: Bitwise,
    operand: Integer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bitwise {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Integer {
    Int32(i32),
    Int64(i64),
}

/// The operand of `$bit`: `{and: n}`, `{or: n}`, `{xor: n}` or several of them.
pub(in crate::update) fn parse_bit(
    path: &str,
    operand: &Element<'_>,
) -> Result<Vec<BitOperation>, QueryError> {
    let RawBsonRef::Document(operations) = operand.value()? else {
        return Err(QueryError::bad_value(format!(
            "$bit needs a document like {{and: n}} for '{path}', not a value of type {}",
            type_name(operand.kind)
        )));
    };
    let mut parsed = Vec::new();
    for element in crate::raw::Elements::of_document(operations) {
        let element = element?;
        let operation = match element.key {
            "and" => Bitwise::And,
            "or" => Bitwise::Or,
            "xor" => Bitwise::Xor,
            other => {
                return Err(QueryError::bad_value(format!(
                    "$bit knows 'and', 'or' and 'xor', not '{other}'"
                )));
            }
        };
        let operand = Integer::from_raw(element.value()?).ok_or_else(|| {
            QueryError::bad_value(format!(
                "$bit needs an int or a long for '{path}', not a value of type {}",
                type_name(element.kind)
            ))
        })?;
        parsed.push(BitOperation { operation, operand });
    }
    if parsed.is_empty() {
        return Err(QueryError::bad_value(format!(
            "$bit needs at least one of 'and', 'or' and 'xor' for '{path}'"
        )));
    }
    Ok(parsed)
}

pub(super) fn bit(
    path: &str,
    operations: &[BitOperation],
    element: &Element<'_>,
    writer: &mut Writer,
) -> Result<Change, QueryError> {
    let value = Integer::from_raw(element.value()?).ok_or_else(|| {
        QueryError::bad_value(format!(
            "cannot apply $bit to a value of non-integral type: the field '{path}' is of type {}",
            type_name(element.kind)
        ))
    })?;
    Ok(replace_number(combine(value, operations), element, writer))
}

pub(super) fn bit_on_missing(operations: &[BitOperation], key: &str, writer: &mut Writer) {
    write_number(combine(Integer::Int32(0), operations), key, writer);
}

fn combine(value: Integer, operations: &[BitOperation]) -> Number {
    let mut value = value;
    for BitOperation { operation, operand } in operations {
        value = match (value, *operand) {
            (Integer::Int32(a), Integer::Int32(b)) => Integer::Int32(match operation {
                Bitwise::And => a & b,
                Bitwise::Or => a | b,
                Bitwise::Xor => a ^ b,
            }),
            (a, b) => {
                let (a, b) = (a.wide(), b.wide());
                Integer::Int64(match operation {
                    Bitwise::And => a & b,
                    Bitwise::Or => a | b,
                    Bitwise::Xor => a ^ b,
                })
            }
        };
    }
    match value {
        Integer::Int32(value) => Number::Int32(value),
        Integer::Int64(value) => Number::Int64(value),
    }
}

impl Integer {
    fn from_raw(value: RawBsonRef<'_>) -> Option<Self> {
        match value {
            RawBsonRef::Int32(value) => Some(Self::Int32(value)),
            RawBsonRef::Int64(value) => Some(Self::Int64(value)),
            _ => None,
        }
    }

    fn wide(self) -> i64 {
        match self {
            Self::Int32(value) => i64::from(value),
            Self::Int64(value) => value,
        }
    }
}

/// A whole number of any number type, as `$slice`, `$position`, `$pop` and `$sort` take it.
pub(in crate::update) fn whole_number(operand: &Element<'_>) -> Result<Option<i64>, QueryError> {
    Ok(Number::from_raw(operand.value()?).and_then(Number::to_i64_exact))
}

/// Keeps an element's value beyond the document that it came in.
pub(in crate::update) fn operand(element: &Element<'_>) -> Operand {
    Operand::of(element.item())
}
