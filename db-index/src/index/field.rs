//! One field of a key pattern: its path, and what the index keeps of the values there.

use bson::{RawBson, RawBsonRef};

use super::options::cannot_create;
use crate::{
    error::{ErrorCode, QueryError},
    key::Direction,
    number::Number,
};

/// The last part of a wildcard field's path.
const WILDCARD: &str = "$**";
/// What a key pattern calls the texts of a text index, once it is made.
pub(super) const TEXT_PATH: &str = "_fts";

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexField {
    path: String,
    parts: Vec<String>,
    kind: FieldKind,
}

/// What an index keeps of the values at a field's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// The values, in ascending order.
    Ascending,
    /// The values, in descending order.
    Descending,
    /// A hash of the value: it answers equality alone.
    Hashed,
    /// Every path below the field's, each with its values.
    Wildcard,
    /// The cells of the globe that the locations there lie in.
    Sphere,
    /// The squares of the plane that the places there lie in.
    Flat,
    /// The terms of the document's texts: of the fields that the index names in its weights.
    Text,
}

impl FieldKind {
    /// Which ways the values run that the field adds to the key of an entry, one after the other. (A wildcard field adds a
    /// path and a value.)
    pub fn columns(self) -> &'static [Direction] {
        match self {
            Self::Ascending | Self::Hashed | Self::Sphere | Self::Flat | Self::Text => {
                &[Direction::Ascending]
            }
            Self::Descending => &[Direction::Descending],
            Self::Wildcard => &[Direction::Ascending, Direction::Ascending],
        }
    }

    /// Whether the entries hold the values themselves.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Ascending | Self::Descending)
    }

    /// Whether the field gives several keys by itself, not walked together with the others.
    pub(crate) fn is_many_keyed(self) -> bool {
        matches!(self, Self::Wildcard) || self.is_special()
    }

    /// Whether the keys are not of values but of what is computed of them, for operators of their own.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, Self::Sphere | Self::Flat | Self::Text)
    }

    /// How a key pattern names it.
    pub(super) fn to_bson(self) -> RawBson {
        match self {
            Self::Ascending | Self::Wildcard => RawBson::Int32(1),
            Self::Descending => RawBson::Int32(-1),
            Self::Hashed | Self::Sphere | Self::Flat | Self::Text => {
                RawBson::String(self.suffix().to_owned())
            }
        }
    }

    /// How the name made of the keys has it.
    fn suffix(self) -> &'static str {
        match self {
            Self::Ascending | Self::Wildcard => "1",
            Self::Descending => "-1",
            Self::Hashed => "hashed",
            Self::Sphere => "2dsphere",
            Self::Flat => "2d",
            Self::Text => "text",
        }
    }
}

impl IndexField {
    /// Reads one element of a key pattern.
    ///
    /// # Errors
    /// `CannotCreateIndex` (67) for a path or a value that cannot be; 7246202 for `"wildcard"`.
    pub(super) fn parse(path: &str, value: RawBsonRef<'_>) -> Result<Self, QueryError> {
        let is_wildcard = path == WILDCARD || path.ends_with(".$**");
        let kind = match (value, Number::from_raw(value).map(Number::to_f64)) {
            (_, Some(number)) if number < 0.0 && is_wildcard => {
                return Err(cannot_create("A numeric value in a $** index key pattern must be positive."));
            }
            (_, Some(number)) if number > 0.0 && is_wildcard => FieldKind::Wildcard,
            (_, Some(number)) if number > 0.0 => FieldKind::Ascending,
            (_, Some(number)) if number < 0.0 => FieldKind::Descending,
            (_, Some(_)) => {
                return Err(cannot_create(format!(
                    "Values in the index key pattern cannot be 0 or NaN: '{path}'"
                )));
            }
            (RawBsonRef::String(name), _) => plugin(name, path, is_wildcard)?,
            _ => {
                return Err(cannot_create(format!(
                    "Values in the index key pattern can only be nonzero numbers or strings: '{path}'"
                )));
            }
        };
        let named = match kind {
            FieldKind::Wildcard => path.strip_suffix(WILDCARD).unwrap_or(path),
            _ => path,
        };
        let named =
            if kind == FieldKind::Wildcard { named.strip_suffix('.').unwrap_or(named) } else { named };
        let parts: Vec<String> = match (kind, named) {
            (FieldKind::Wildcard, "") => Vec::new(),
            _ => named.split('.').map(str::to_owned).collect(),
        };
        for part in &parts {
            if part.is_empty() {
                return Err(cannot_create(format!("Index keys cannot contain an empty field: '{path}'")));
            }
            if part.starts_with('$') && !matches!(part.as_str(), "$id" | "$ref" | "$db") {
                return Err(cannot_create(format!(
                    "Index key contains an illegal field name: '{path}' starts with '$'"
                )));
            }
        }
        Ok(Self { path: path.to_owned(), parts, kind })
    }

    /// The field of the index on `_id`.
    pub(super) fn on_id() -> Self {
        Self { path: "_id".to_owned(), parts: vec!["_id".to_owned()], kind: FieldKind::Ascending }
    }

    /// The field of a text index that stands for all of its texts.
    pub(super) fn of_texts() -> Self {
        Self { path: TEXT_PATH.to_owned(), parts: vec![TEXT_PATH.to_owned()], kind: FieldKind::Text }
    }

    /// The path as the key pattern has it: dotted, with `$**` at the end of a wildcard field's.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parts of the path, without the `$**` of a wildcard field; only such a one may have none.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// What the index keeps of the values.
    pub fn kind(&self) -> FieldKind {
        self.kind
    }

    /// Which way the index runs by this field.
    pub fn direction(&self) -> Direction {
        match self.kind {
            FieldKind::Descending => Direction::Descending,
            _ => Direction::Ascending,
        }
    }

    /// Its part of the name made of the keys: `a.b_-1`.
    pub(super) fn name(&self) -> String {
        format!("{}_{}", self.path, self.kind.suffix())
    }
}

/// The kind that a key pattern names by a string.
fn plugin(name: &str, path: &str, is_wildcard: bool) -> Result<FieldKind, QueryError> {
    match name {
        _ if is_wildcard => {
            Err(cannot_create(format!("The value of a $** field must be a positive number: '{path}'")))
        }
        "wildcard" => Err(QueryError::new(
            ErrorCode::WILDCARD_INDEX_TYPE,
            format!("The index type 'wildcard' is not for a field: '{path}'"),
        )),
        "hashed" => Ok(FieldKind::Hashed),
        "2dsphere" => Ok(FieldKind::Sphere),
        "2d" => Ok(FieldKind::Flat),
        "" => {
            Err(cannot_create(format!("Values in the index key pattern cannot be empty strings: '{path}'")))
        }
        name => Err(cannot_create(format!("Unknown index plugin '{name}'"))),
    }
}
