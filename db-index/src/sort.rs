//! Sort specifications: comparing documents, sort keys as bytes, and sorting in memory within a bound.
//!
//! Sorting follows the total order. An array sorts by its least element, in a descending key by its greatest; several keys
//! through one array are taken from one and the same element.

mod sorter;
mod values;

use std::cmp::Ordering;

use bson::{RawBsonRef, RawDocument};

use crate::{
    collation::Collation,
    error::{ErrorCode, QueryError},
    key::{Direction, encode_collated},
    number::Number,
    order,
    path::Path,
    text,
};

pub use sorter::{SORT_BYTES_MAX, Sorter};

/// The most keys of a sort.
const KEYS_MAX: usize = 32;

/// A parsed sort specification such as `{name: 1, "address.zip": -1}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sort {
    keys: Vec<(Path, Direction)>,
    natural: Option<Direction>,
    /// How strings are compared.
    collation: Option<Collation>,
}

/// The place of a document in a sort: keys of one sort compare as its documents do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey(Vec<u8>);

impl Sort {
    /// Parses `document`; an empty one sorts nothing.
    ///
    /// # Errors
    /// 15974 for a value that is no number, 15975 for a number other than 1 and -1, 13103 for more than 32 keys, 7472500
    /// for a key named twice, 40352, 40353, 15998 and 16410 for malformed paths.
    pub fn parse(document: &RawDocument) -> Result<Self, QueryError> {
        let mut sort = Self::default();
        for element in document {
            let (name, value) =
                element.map_err(|error| QueryError::new(ErrorCode::INVALID_BSON, error.to_string()))?;
            if let RawBsonRef::Document(document) = value
                && let Ok(Some(operand)) = document.get("$meta")
            {
                text::parse_meta(operand)?;
                sort.keys.push((Path::parse(text::TEXT_SCORE)?, Direction::Descending));
                continue;
            }
            let direction = direction(name.as_str(), value)?;
            if name.as_str() == "$natural" {
                sort.natural = Some(direction);
                continue;
            }
            check_field_path(name.as_str())?;
            let path = Path::parse(name.as_str())?;
            if sort.keys.iter().any(|(known, _)| *known == path) {
                return Err(QueryError::new(
                    ErrorCode::SORT_KEY_TWICE,
                    format!("$sort key must not contain duplicate keys (field: '{path}')"),
                ));
            }
            sort.keys.push((path, direction));
            if sort.keys.len() > KEYS_MAX {
                return Err(QueryError::new(
                    ErrorCode::SORT_TOO_MANY_KEYS,
                    format!("a sort may have at most {KEYS_MAX} keys"),
                ));
            }
        }
        if sort.natural.is_some() && !sort.keys.is_empty() {
            return Err(QueryError::bad_value("cannot include '$natural' in a compound sort"));
        }
        Ok(sort)
    }

    /// Parses the operand of a `$sort` stage, which may not be empty.
    ///
    /// # Errors
    /// Those of [`Sort::parse`], and 15976 for an empty document.
    pub fn parse_stage(document: &RawDocument) -> Result<Self, QueryError> {
        let sort = Self::parse(document)?;
        if sort.is_empty() {
            return Err(QueryError::new(
                ErrorCode::SORT_EMPTY,
                "$sort stage must have at least one sort key",
            ));
        }
        Ok(sort)
    }

    /// Whether documents are sorted by the score of a search, which they must carry
    /// ([`with_text_score`](crate::with_text_score)).
    pub fn uses_text_score(&self) -> bool {
        self.keys.iter().any(|(path, _)| path.is(text::TEXT_SCORE))
    }

    /// Whether nothing is to be sorted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.natural.is_none()
    }

    /// The direction of `{$natural: …}`, the order in which documents are stored.
    pub fn natural(&self) -> Option<Direction> {
        self.natural
    }

    /// The same sort with strings by `collation`.
    #[must_use]
    pub fn by(self, collation: Option<&Collation>) -> Self {
        Self { collation: collation.cloned(), ..self }
    }

    /// How strings are compared.
    pub(crate) fn collation(&self) -> Option<&Collation> {
        self.collation.as_ref()
    }

    /// The paths and their directions, the first weighing most.
    pub(crate) fn keys(&self) -> &[(Path, Direction)] {
        &self.keys
    }

    /// Compares two documents as this sort orders them.
    ///
    /// # Errors
    /// `BadValue` (2) if two keys lead through different arrays of one document.
    pub fn compare_documents(&self, a: &RawDocument, b: &RawDocument) -> Result<Ordering, QueryError> {
        let (a, b) = (
            values::sort_values(&self.keys, self.collation.as_ref(), a)?,
            values::sort_values(&self.keys, self.collation.as_ref(), b)?,
        );
        Ok(self.compare_values(&a, &b))
    }

    /// The sort key of `document`.
    ///
    /// # Errors
    /// `BadValue` (2) if two keys lead through different arrays of the document.
    pub fn key(&self, document: &RawDocument) -> Result<SortKey, QueryError> {
        let (mut bytes, mut types) = (Vec::with_capacity(16 * self.keys.len()), Vec::new());
        for (value, (_, direction)) in
            values::sort_values(&self.keys, self.collation.as_ref(), document)?.into_iter().zip(&self.keys)
        {
            encode_collated(value, *direction, self.collation.as_ref(), &mut bytes, &mut types);
        }
        Ok(SortKey(bytes))
    }

    fn compare_values(&self, a: &[RawBsonRef<'_>], b: &[RawBsonRef<'_>]) -> Ordering {
        compare_tuples(&self.keys, self.collation.as_ref(), a, b)
    }
}

impl SortKey {
    /// The bytes, which order as the keys do.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn compare_tuples(
    keys: &[(Path, Direction)],
    collation: Option<&Collation>,
    a: &[RawBsonRef<'_>],
    b: &[RawBsonRef<'_>],
) -> Ordering {
    for ((a, b), (_, direction)) in a.iter().zip(b).zip(keys) {
        let order = order::compare_collated(*a, *b, collation);
        if order.is_ne() {
            return if *direction == Direction::Ascending { order } else { order.reverse() };
        }
    }
    Ordering::Equal
}

fn direction(name: &str, value: RawBsonRef<'_>) -> Result<Direction, QueryError> {
    let Some(number) = Number::from_raw(value) else {
        return Err(QueryError::new(
            ErrorCode::SORT_VALUE,
            format!("illegal key in $sort specification: {name}"),
        ));
    };
    let whole = match number {
        Number::Decimal(decimal) => {
            Some(decimal.to_f64().round_ties_even()).filter(|value| value.abs() == 1.0)
        }
        other => other.to_i64_exact().map(|value| value as f64),
    };
    match whole {
        Some(1.0) => Ok(Direction::Ascending),
        Some(-1.0) => Ok(Direction::Descending),
        _ => Err(QueryError::new(
            ErrorCode::SORT_DIRECTION,
            "$sort key ordering must be 1 (for ascending) or -1 (for descending)",
        )),
    }
}

/// Checks a path as aggregation, sorts and projections write it: no empty part, no part that starts with `$`.
///
/// # Errors
/// 40352 for an empty path, 40353 for one that ends in a dot, 15998 for another empty part, 16410 for a `$`.
pub(crate) fn check_field_path(path: &str) -> Result<(), QueryError> {
    if path.is_empty() {
        return Err(QueryError::new(ErrorCode::EMPTY_FIELD_PATH, "a field path cannot be empty"));
    }
    if path.ends_with('.') {
        return Err(QueryError::new(
            ErrorCode::FIELD_PATH_ENDS_IN_DOT,
            "a field path must not end with a '.'",
        ));
    }
    for part in path.split('.') {
        if part.is_empty() {
            return Err(QueryError::new(
                ErrorCode::EMPTY_FIELD_PATH_PART,
                "a field path may not contain an empty part",
            ));
        }
        if part.starts_with('$') {
            return Err(QueryError::new(
                ErrorCode::FIELD_PATH_DOLLAR,
                format!("a field path may not have a part that starts with '$': {path}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
