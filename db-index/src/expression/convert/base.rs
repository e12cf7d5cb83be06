//! Numbers in other bases than ten.

use super::failed;
use crate::error::QueryError;
use crate::expression::error;
use crate::expression::value::Value;
use crate::number::Number;

/// 2, 8, 10 or 16.
pub(super) fn parse(value: &Value<'_>) -> Result<u32, QueryError> {
    match value.as_number().and_then(Number::to_i64_exact) {
        Some(base @ (2 | 8 | 10 | 16)) => Ok(base as u32),
        _ => {
            error(3_501_300, "In $convert, if converting to or from a number, 'base' must be 2, 8, 10 or 16")
        }
    }
}

/// The whole number that `text` is in the base.
pub(super) fn from_text(text: &str, base: u32) -> Result<i64, QueryError> {
    let digits = match base {
        16 => text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text),
        _ => text,
    };
    match i64::from_str_radix(digits, base) {
        Ok(number) if !digits.starts_with('+') => Ok(number),
        _ => failed(format!("Failed to parse number '{text}' in base {base} in $convert")),
    }
}

/// A whole number in the base.
pub(super) fn to_text(value: &Value<'_>, base: u32) -> Result<String, QueryError> {
    let number = value.as_number().and_then(Number::to_i64_exact);
    let Some(number) = number else {
        return failed(format!("only whole numbers can be written in base {base} in $convert"));
    };
    let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    Ok(match base {
        2 => format!("{sign}{size:b}"),
        8 => format!("{sign}{size:o}"),
        16 => format!("{sign}{size:X}"),
        _ => number.to_string(),
    })
}
