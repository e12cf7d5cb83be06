//! What an expression computes with: values of the document as they lie there, and new ones.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::spec::{BinarySubtype, ElementType};
use bson::{DateTime, RawBson, RawBsonRef};

use crate::collation::Collation;
use crate::error::{ErrorCode, QueryError};
use crate::limits::DEPTH_MAX;
use crate::number::Number;
use crate::order::{self, Bracket};
use crate::raw::{Elements, Item, Writer, type_name};

/// The most levels of a computed value; values are compared and dropped level by level.
const LEVELS_MAX: usize = 150;

/// A value, or none.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// No value: a field that is not there.
    Missing,
    /// A value as it lies in a document or in the expression, or a scalar.
    Raw(RawBsonRef<'a>),
    /// A new string.
    Text(Arc<str>),
    /// New binary data.
    Bytes(BinarySubtype, Arc<[u8]>),
    /// A new array.
    Array(Arc<Items<'a>>),
    /// A new document.
    Document(Arc<Fields<'a>>),
}

/// The values of a new array.
#[derive(Debug)]
pub struct Items<'a> {
    pub(super) values: Vec<Value<'a>>,
    levels: usize,
    bulk: usize,
}

/// A field of a new document.
pub(super) type Field<'a> = (Cow<'a, str>, Value<'a>);

/// The fields of a new document.
#[derive(Debug)]
pub struct Fields<'a> {
    pub(super) entries: Vec<Field<'a>>,
    levels: usize,
    bulk: usize,
}

impl<'a> Value<'a> {
    pub(crate) const NULL: Self = Self::Raw(RawBsonRef::Null);

    pub(crate) fn bool(value: bool) -> Self {
        Self::Raw(RawBsonRef::Boolean(value))
    }

    pub(crate) fn int(value: i32) -> Self {
        Self::Raw(RawBsonRef::Int32(value))
    }

    pub(crate) fn long(value: i64) -> Self {
        Self::Raw(RawBsonRef::Int64(value))
    }

    /// An `int` if it fits, otherwise a `long`.
    pub(crate) fn int_or_long(value: i64) -> Self {
        i32::try_from(value).map_or(Self::long(value), Self::int)
    }

    pub(crate) fn double(value: f64) -> Self {
        Self::Raw(RawBsonRef::Double(value))
    }

    pub(crate) fn date(millis: i64) -> Self {
        Self::Raw(RawBsonRef::DateTime(DateTime::from_millis(millis)))
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn number(number: Number) -> Self {
        Self::Raw(match number {
            Number::Int32(value) => RawBsonRef::Int32(value),
            Number::Int64(value) => RawBsonRef::Int64(value),
            Number::Double(value) => RawBsonRef::Double(value),
            Number::Decimal(value) => RawBsonRef::Decimal128(value.to_bson()),
        })
    }

    /// A new array. Missing values become null.
    pub(crate) fn array(mut values: Vec<Value<'a>>) -> Result<Self, QueryError> {
        let (mut levels, mut bulk) = (1, values.len());
        for value in &mut values {
            if matches!(value, Self::Missing) {
                *value = Self::NULL;
            }
            levels = levels.max(1 + value.levels());
            bulk = bulk.saturating_add(value.bulk());
        }
        check_levels(levels)?;
        Ok(Self::Array(Arc::new(Items { values, levels, bulk })))
    }

    /// A new document, without the missing values.
    pub(crate) fn document(mut fields: Vec<Field<'a>>) -> Result<Self, QueryError> {
        fields.retain(|(_, value)| !matches!(value, Self::Missing));
        let levels = 1 + fields.iter().map(|(_, value)| value.levels()).max().unwrap_or(0);
        check_levels(levels)?;
        let bulk = fields.iter().fold(fields.len(), |bulk, (_, value)| bulk.saturating_add(value.bulk()));
        Ok(Self::Document(Arc::new(Fields { entries: fields, levels, bulk })))
    }

    /// How many levels the value has at most.
    fn levels(&self) -> usize {
        match self {
            Self::Array(items) => items.levels,
            Self::Document(fields) => fields.levels,
            Self::Raw(
                RawBsonRef::Document(_) | RawBsonRef::Array(_) | RawBsonRef::JavaScriptCodeWithScope(_),
            ) => DEPTH_MAX,
            _ => 0,
        }
    }

    /// Null, undefined or missing.
    pub(crate) fn is_nullish(&self) -> bool {
        matches!(self, Self::Missing | Self::Raw(RawBsonRef::Null | RawBsonRef::Undefined))
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Whether it counts as true: everything but false, zero, null, undefined and missing.
    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Raw(RawBsonRef::Boolean(value)) => *value,
            value if value.is_nullish() => false,
            value => value.as_number().is_none_or(|number| number.compare(Number::Int32(0)).is_ne()),
        }
    }

    pub(crate) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Raw(value) => Number::from_raw(*value),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Raw(RawBsonRef::String(text)) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Raw(RawBsonRef::Array(_)))
    }

    pub(crate) fn is_document(&self) -> bool {
        matches!(self, Self::Document(_) | Self::Raw(RawBsonRef::Document(_)))
    }

    /// The elements, if it is an array.
    pub(crate) fn items(&self) -> Option<Cow<'_, [Value<'a>]>> {
        match self {
            Self::Array(items) => Some(Cow::Borrowed(&items.values)),
            Self::Raw(RawBsonRef::Array(array)) => {
                Some(Cow::Owned(order::array_elements(array).map(Value::Raw).collect()))
            }
            _ => None,
        }
    }

    /// The number of elements, if it is an array.
    pub(super) fn item_count(&self) -> Option<usize> {
        match self {
            Self::Array(items) => Some(items.values.len()),
            Self::Raw(RawBsonRef::Array(array)) => Some(order::array_elements(array).count()),
            _ => None,
        }
    }

    /// The fields, if it is a document.
    pub(crate) fn fields(&self) -> Option<Vec<Field<'a>>> {
        match self {
            Self::Document(fields) => Some(fields.entries.clone()),
            Self::Raw(RawBsonRef::Document(document)) => Some(
                order::elements(document)
                    .map(|(key, value)| (Cow::Borrowed(key.as_str()), Value::Raw(value)))
                    .collect(),
            ),
            _ => None,
        }
    }

    /// The field of this name; missing if there is none or this is no document.
    pub(crate) fn get(&self, name: &str) -> Value<'a> {
        match self {
            Self::Document(fields) => fields
                .entries
                .iter()
                .find(|(key, _)| key == name)
                .map_or(Self::Missing, |(_, value)| value.clone()),
            Self::Raw(RawBsonRef::Document(document)) => {
                crate::path::field(document, name).map_or(Self::Missing, Self::Raw)
            }
            _ => Self::Missing,
        }
    }

    /// The value at a field path, which goes into each document of an array.
    pub(crate) fn at(&self, path: &[Box<str>]) -> Result<Value<'a>, QueryError> {
        let Some((first, rest)) = path.split_first() else { return Ok(self.clone()) };
        if self.is_document() {
            return self.get(first).at(rest);
        }
        let Some(items) = self.items() else { return Ok(Self::Missing) };
        let mut found = Vec::new();
        for item in items.iter().filter(|item| item.is_document()) {
            let value = item.at(path)?;
            if !value.is_missing() {
                found.push(value);
            }
        }
        Self::array(found)
    }

    /// MongoDB's name of the type, as `$type` gives it.
    pub(crate) fn type_name(&self) -> &'static str {
        self.kind().map_or("missing", type_name)
    }

    /// The BSON type; none if missing.
    pub(super) fn kind(&self) -> Option<ElementType> {
        Some(match self {
            Self::Missing => return None,
            Self::Raw(value) => value.element_type(),
            Self::Text(_) => ElementType::String,
            Self::Bytes(..) => ElementType::Binary,
            Self::Array(_) => ElementType::Array,
            Self::Document(_) => ElementType::EmbeddedDocument,
        })
    }

    fn bracket(&self) -> Bracket {
        match self {
            // Missing sorts with undefined, below null.
            Self::Missing => Bracket::Undefined,
            Self::Raw(value) => order::bracket(*value),
            Self::Text(_) => Bracket::String,
            Self::Bytes(..) => Bracket::Binary,
            Self::Array(_) => Bracket::Array,
            Self::Document(_) => Bracket::Object,
        }
    }

    /// The total order of all values.
    pub(crate) fn compare(&self, other: &Value<'_>) -> Ordering {
        self.compare_in(other, None)
    }

    /// The total order of all values with strings by `collation`.
    pub(crate) fn compare_in(&self, other: &Value<'_>, collation: Option<&Collation>) -> Ordering {
        if let (Self::Raw(a), Value::Raw(b)) = (self, other) {
            return order::compare_collated(*a, *b, collation);
        }
        let by_bracket = self.bracket().cmp(&other.bracket());
        if by_bracket.is_ne() {
            return by_bracket;
        }
        if let (Some(a), Some(b)) = (self.text_like(), other.text_like()) {
            return collation.map_or_else(|| a.cmp(b), |collation| collation.compare(a, b));
        }
        if let (Some(a), Some(b)) = (self.items(), other.items()) {
            for (a, b) in a.iter().zip(b.iter()) {
                let ordering = a.compare_in(b, collation);
                if ordering.is_ne() {
                    return ordering;
                }
            }
            return a.len().cmp(&b.len());
        }
        if let (Some(a), Some(b)) = (self.fields(), other.fields()) {
            for ((a_key, a), (b_key, b)) in a.iter().zip(b.iter()) {
                let ordering = a
                    .bracket()
                    .cmp(&b.bracket())
                    .then_with(|| a_key.as_bytes().cmp(b_key.as_bytes()))
                    .then_with(|| a.compare_in(b, collation));
                if ordering.is_ne() {
                    return ordering;
                }
            }
            return a.len().cmp(&b.len());
        }
        match (self.binary(), other.binary()) {
            (Some(a), Some(b)) => {
                let key = |(subtype, bytes): (BinarySubtype, &[u8])| {
                    (order::binary_length(subtype, bytes), u8::from(subtype))
                };
                key(a).cmp(&key(b)).then_with(|| a.1.cmp(b.1))
            }
            _ => Ordering::Equal,
        }
    }

    fn text_like(&self) -> Option<&str> {
        match self {
            Self::Raw(RawBsonRef::Symbol(text)) => Some(text),
            value => value.as_str(),
        }
    }

    pub(super) fn binary(&self) -> Option<(BinarySubtype, &[u8])> {
        match self {
            Self::Raw(RawBsonRef::Binary(binary)) => Some((binary.subtype, binary.bytes)),
            Self::Bytes(subtype, bytes) => Some((*subtype, bytes)),
            _ => None,
        }
    }

    /// Writes the value as an element; nothing if it is missing.
    pub(crate) fn write(&self, key: &str, writer: &mut Writer) -> Result<(), QueryError> {
        match self {
            Self::Missing => {}
            Self::Raw(RawBsonRef::Document(document)) => {
                writer.element(key, Item { kind: ElementType::EmbeddedDocument, bytes: document.as_bytes() });
            }
            Self::Raw(RawBsonRef::Array(array)) => {
                writer.element(key, Item { kind: ElementType::Array, bytes: array.as_bytes() });
            }
            Self::Raw(value) => {
                let mut wrapped = RawDocumentBuf::new();
                wrapped.append(bson::raw::cstr!(""), *value);
                if let Some(element) = Elements::of_document(&wrapped).next().transpose()? {
                    writer.element(key, element.item());
                }
            }
            Self::Text(text) => {
                let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX).to_le_bytes();
                let mut bytes = Vec::with_capacity(text.len() + 5);
                bytes.extend_from_slice(&length);
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
                writer.element(key, Item { kind: ElementType::String, bytes: &bytes });
            }
            Self::Bytes(subtype, bytes) => {
                let mut wrapped = RawDocumentBuf::new();
                let binary = bson::raw::RawBinaryRef { subtype: *subtype, bytes };
                wrapped.append(bson::raw::cstr!(""), binary);
                if let Some(element) = Elements::of_document(&wrapped).next().transpose()? {
                    writer.element(key, element.item());
                }
            }
            Self::Array(items) => {
                let opened = writer.open(key, ElementType::Array);
                for (index, value) in items.values.iter().enumerate() {
                    value.write(&crate::raw::decimal(index), writer)?;
                    writer.check_size()?;
                }
                writer.close(opened);
            }
            Self::Document(fields) => {
                let opened = writer.open(key, ElementType::EmbeddedDocument);
                for (name, value) in &fields.entries {
                    value.write(name, writer)?;
                    writer.check_size()?;
                }
                writer.close(opened);
            }
        }
        Ok(())
    }

    /// How much work it is to go through the value, roughly, in steps.
    pub(super) fn bulk(&self) -> usize {
        match self {
            Self::Raw(RawBsonRef::String(text)) => text.len() / 64,
            Self::Raw(RawBsonRef::Document(document)) => document.as_bytes().len() / 64,
            Self::Raw(RawBsonRef::Array(array)) => array.as_bytes().len() / 64,
            Self::Text(text) => text.len() / 64,
            Self::Array(items) => items.bulk,
            Self::Document(fields) => fields.bulk,
            _ => 0,
        }
    }

    /// The value as BSON of its own; `None` if it is missing.
    ///
    /// # Errors
    /// `BSONObjectTooLarge` (10334) if it does not fit into a document.
    pub fn to_raw_bson(&self) -> Result<Option<RawBson>, QueryError> {
        if let Self::Raw(value) = self {
            return Ok(Some((*value).into()));
        }
        let mut writer = Writer::with_capacity(64);
        let root = writer.open_root();
        self.write("", &mut writer)?;
        writer.close(root);
        let wrapped = writer.into_document();
        Ok(order::elements(&wrapped).next().map(|(_, value)| value.into()))
    }

    /// The value as a document of its own; `None` if it is none.
    ///
    /// # Errors
    /// `BSONObjectTooLarge` (10334) if it does not fit into a document.
    pub fn to_document(&self) -> Result<Option<RawDocumentBuf>, QueryError> {
        match self {
            Self::Raw(RawBsonRef::Document(document)) => Ok(Some((*document).to_owned())),
            Self::Document(fields) => {
                let mut writer = Writer::with_capacity(256);
                let root = writer.open_root();
                for (name, value) in &fields.entries {
                    value.write(name, &mut writer)?;
                    writer.check_size()?;
                }
                writer.close(root);
                Ok(Some(writer.into_document()))
            }
            _ => Ok(None),
        }
    }
}

fn check_levels(levels: usize) -> Result<(), QueryError> {
    if levels > LEVELS_MAX {
        return Err(QueryError::new(
            ErrorCode::OVERFLOW,
            format!("a computed value would nest deeper than {LEVELS_MAX} levels"),
        ));
    }
    Ok(())
}
