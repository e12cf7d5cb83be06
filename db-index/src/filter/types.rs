//! `$type`: sets of BSON types by code or alias; and what counts as true.

use bson::{RawBsonRef, spec::ElementType};

use crate::{
    error::{ErrorCode, QueryError},
    number::Number,
    order::Bracket,
    path::elements,
};

/// Every type with its code and its alias.
const TYPES: [(ElementType, i64, &str); 21] = [
    (ElementType::Double, 1, "double"),
    (ElementType::String, 2, "string"),
    (ElementType::EmbeddedDocument, 3, "object"),
    (ElementType::Array, 4, "array"),
    (ElementType::Binary, 5, "binData"),
    (ElementType::Undefined, 6, "undefined"),
    (ElementType::ObjectId, 7, "objectId"),
    (ElementType::Boolean, 8, "bool"),
    (ElementType::DateTime, 9, "date"),
    (ElementType::Null, 10, "null"),
    (ElementType::RegularExpression, 11, "regex"),
    (ElementType::DbPointer, 12, "dbPointer"),
    (ElementType::JavaScriptCode, 13, "javascript"),
    (ElementType::Symbol, 14, "symbol"),
    (ElementType::JavaScriptCodeWithScope, 15, "javascriptWithScope"),
    (ElementType::Int32, 16, "int"),
    (ElementType::Timestamp, 17, "timestamp"),
    (ElementType::Int64, 18, "long"),
    (ElementType::Decimal128, 19, "decimal"),
    (ElementType::MinKey, -1, "minKey"),
    (ElementType::MaxKey, 127, "maxKey"),
];

/// A set of BSON types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TypeSet(u32);

impl TypeSet {
    /// The four number types.
    pub(crate) fn numbers() -> Self {
        [ElementType::Double, ElementType::Int32, ElementType::Int64, ElementType::Decimal128]
            .into_iter()
            .fold(Self::default(), Self::with)
    }

    /// Reads the operand of `$type`: a code, an alias, or a list of them.
    ///
    /// # Errors
    /// `BadValue` for an unknown code or alias, `TypeMismatch` for another kind of operand, `FailedToParse` for an
    /// empty list.
    pub(crate) fn parse(operand: RawBsonRef<'_>) -> Result<Self, QueryError> {
        let RawBsonRef::Array(list) = operand else {
            return Self::parse_one(operand);
        };
        let mut set = Self::default();
        for member in elements(list) {
            set = set.union(Self::parse_one(member)?);
        }
        if set == Self::default() {
            return Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, "$type must match at least one type"));
        }
        Ok(set)
    }

    /// The types of one alias, `number` included.
    pub(crate) fn from_alias(alias: &str) -> Option<Self> {
        if alias == "number" {
            return Some(Self::numbers());
        }
        TYPES.iter().find(|(.., name)| *name == alias).map(|(kind, ..)| Self::default().with(*kind))
    }

    /// Whether `value` is of a type in the set.
    pub(crate) fn contains(self, value: RawBsonRef<'_>) -> bool {
        self.0 & bit(value.element_type()) != 0
    }

    /// Whether all of its types are in `other`.
    pub(crate) fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether all types whose values are ordered with one another in `bracket` are in the set.
    pub(crate) fn has_bracket(self, bracket: Bracket) -> bool {
        let all = match bracket {
            Bracket::Number => Self::numbers(),
            Bracket::String => Self::default().with(ElementType::String).with(ElementType::Symbol),
            Bracket::Object => Self::default().with(ElementType::EmbeddedDocument),
            Bracket::Array => Self::default().with(ElementType::Array),
            Bracket::Binary => Self::default().with(ElementType::Binary),
            Bracket::ObjectId => Self::default().with(ElementType::ObjectId),
            Bracket::Boolean => Self::default().with(ElementType::Boolean),
            Bracket::DateTime => Self::default().with(ElementType::DateTime),
            Bracket::Timestamp => Self::default().with(ElementType::Timestamp),
            Bracket::Regex => Self::default().with(ElementType::RegularExpression),
            _ => return false,
        };
        all.is_subset(self)
    }

    /// Both sets together.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set with `kind`.
    pub(crate) fn with(self, kind: ElementType) -> Self {
        Self(self.0 | bit(kind))
    }

    fn parse_one(operand: RawBsonRef<'_>) -> Result<Self, QueryError> {
        if let RawBsonRef::String(alias) = operand {
            return Self::from_alias(alias)
                .ok_or_else(|| QueryError::bad_value(format!("unknown type name alias: {alias}")));
        }
        let Some(number) = Number::from_raw(operand) else {
            return Err(QueryError::new(
                ErrorCode::TYPE_MISMATCH,
                "type must be represented as a number or a string",
            ));
        };
        number
            .to_i64_exact()
            .and_then(|code| TYPES.iter().find(|(_, known, _)| *known == code))
            .map(|(kind, ..)| Self::default().with(*kind))
            .ok_or_else(|| QueryError::bad_value("invalid numerical type code"))
    }
}

/// Whether an operand counts as true, as in `{$exists: 1}`: anything but `false`, zero, null and undefined.
pub(crate) fn truthy(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Boolean(value) => value,
        RawBsonRef::Null | RawBsonRef::Undefined => false,
        RawBsonRef::Int32(value) => value != 0,
        RawBsonRef::Int64(value) => value != 0,
        RawBsonRef::Double(value) => value != 0.0,
        RawBsonRef::Decimal128(_) => {
            Number::from_raw(value).is_none_or(|number| number.to_i64_exact() != Some(0))
        }
        _ => true,
    }
}

/// `MinKey` and `MaxKey` take the bits above the small codes.
fn bit(kind: ElementType) -> u32 {
    match kind {
        ElementType::MinKey => 1 << 30,
        ElementType::MaxKey => 1 << 31,
        other => 1_u32.checked_shl(u32::from(other as u8)).unwrap_or(0),
    }
}
