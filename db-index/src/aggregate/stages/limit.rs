//! `$limit` and `$skip`.

use bson::RawBsonRef;
use bson::raw::RawDocumentBuf;

use crate::aggregate::outside::Rows;
use crate::aggregate::parse::error;
use crate::error::QueryError;
use crate::number::Number;

/// The operand of `$limit`.
pub(in crate::aggregate) fn parse_limit(operand: RawBsonRef<'_>) -> Result<u64, QueryError> {
    match count(operand) {
        Some(0) => error(15958, "the limit must be positive"),
        Some(count) => Ok(count),
        None => error(
            5_107_201,
            format!(
                "invalid argument to $limit stage: Expected a non-negative whole number in: $limit: {operand:?}"
            ),
        ),
    }
}

/// The operand of `$skip`.
pub(in crate::aggregate) fn parse_skip(operand: RawBsonRef<'_>) -> Result<u64, QueryError> {
    match count(operand) {
        Some(count) => Ok(count),
        None => error(
            5_107_200,
            format!(
                "invalid argument to $skip stage: Expected a non-negative whole number in: $skip: {operand:?}"
            ),
        ),
    }
}

/// A whole number that is not negative, of any number type.
fn count(operand: RawBsonRef<'_>) -> Option<u64> {
    let number = Number::from_raw(operand)?.to_i64_exact()?;
    u64::try_from(number).ok()
}

/// At most `count` documents. No more than these are read.
pub(in crate::aggregate) fn limit<E: Send + 'static>(count: u64, mut input: Rows<E>) -> Rows<E> {
    let mut left = count;
    Box::new(std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        input.next()
    }))
}

/// All but the first `count` documents.
pub(in crate::aggregate) fn skip<E: Send + 'static>(count: u64, mut input: Rows<E>) -> Rows<E> {
    let mut left = count;
    Box::new(std::iter::from_fn(move || {
        while left > 0 {
            left -= 1;
            if let Err(error) = pass_over(input.next()?) {
                left = 0;
                return Some(Err(error));
            }
        }
        input.next()
    }))
}

fn pass_over<E>(row: Result<RawDocumentBuf, E>) -> Result<(), E> {
    row.map(drop)
}
