//! `$jsonSchema`: draft 4 of JSON Schema as MongoDB has it, compiled once.

mod parse;

use std::collections::BTreeSet;

use bson::{RawArray, RawBson, RawBsonRef, RawDocument};

use crate::{
    filter::{pattern::Pattern, types::TypeSet},
    key::{Direction, encode_value},
    number::Number,
    order,
    path::{elements, field, fields},
};

pub(super) use parse::{Counter, parse};

/// A compiled schema: every keyword given must hold, each for the types of value that it speaks about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    types: Option<TypeSet>,
    choices: Option<BTreeSet<Vec<u8>>>,
    number: NumberRules,
    text: TextRules,
    array: ArrayRules,
    object: ObjectRules,
    all_of: Vec<Schema>,
    any_of: Option<Vec<Schema>>,
    one_of: Option<Vec<Schema>>,
    not: Option<Box<Schema>>,
}

#[derive(Debug, Clone, Default)]
struct NumberRules {
    minimum: Option<RawBson>,
    minimum_exclusive: bool,
    maximum: Option<RawBson>,
    maximum_exclusive: bool,
    multiple_of: Option<Number>,
}

#[derive(Debug, Clone, Default)]
struct TextRules {
    length: Bounds,
    pattern: Option<Pattern>,
}

#[derive(Debug, Clone, Default)]
struct ArrayRules {
    length: Bounds,
    unique: bool,
    items: Items,
    additional: Additional,
}

#[derive(Debug, Clone, Default)]
struct ObjectRules {
    length: Bounds,
    required: Vec<String>,
    properties: Vec<(String, Schema)>,
    patterns: Vec<(Pattern, Schema)>,
    additional: Additional,
    dependencies: Vec<(String, Dependency)>,
}

/// How many characters, elements or fields there may be.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    least: Option<u64>,
    most: Option<u64>,
}

/// `items`.
#[derive(Debug, Clone, Default)]
enum Items {
    #[default]
    Any,
    Each(Box<Schema>),
    /// One schema for each place; what follows is additional.
    Places(Vec<Schema>),
}

/// `additionalItems` and `additionalProperties`.
#[derive(Debug, Clone, Default)]
enum Additional {
    #[default]
    Allowed,
    Refused,
    Each(Box<Schema>),
}

/// What must hold where a field is present.
#[derive(Debug, Clone)]
enum Dependency {
    Fields(Vec<String>),
    Schema(Box<Schema>),
}

impl Schema {
    /// Whether `value` is valid by this schema. The recursion is as deep as the schema.
    pub(crate) fn admits(&self, value: RawBsonRef<'_>) -> bool {
        self.types.is_none_or(|types| types.contains(value))
            && self.choices.as_ref().is_none_or(|choices| choices.contains(&identity(value)))
            && match value {
                RawBsonRef::String(text) => self.text.admit(text),
                RawBsonRef::Array(array) => self.array.admit(array),
                RawBsonRef::Document(document) => self.object.admit(document),
                other => Number::from_raw(other).is_none_or(|number| self.number.admit(other, number)),
            }
            && self.all_of.iter().all(|schema| schema.admits(value))
            && self.any_of.as_ref().is_none_or(|schemas| schemas.iter().any(|schema| schema.admits(value)))
            && self.one_of.as_ref().is_none_or(|schemas| {
                schemas.iter().filter(|schema| schema.admits(value)).take(2).count() == 1
            })
            && self.not.as_ref().is_none_or(|schema| !schema.admits(value))
    }
}

impl NumberRules {
    fn admit(&self, value: RawBsonRef<'_>, number: Number) -> bool {
        let bounded = |bound: &RawBson, exclusive: bool, above: bool| {
            let bound = bound.as_raw_bson_ref();
            // NaN lies within no bounds but its own.
            if number.is_nan() || Number::from_raw(bound).is_some_and(Number::is_nan) {
                return !exclusive && order::compare(value, bound).is_eq();
            }
            let order = order::compare(value, bound);
            if order.is_eq() { !exclusive } else { order.is_gt() == above }
        };
        self.minimum.as_ref().is_none_or(|bound| bounded(bound, self.minimum_exclusive, true))
            && self.maximum.as_ref().is_none_or(|bound| bounded(bound, self.maximum_exclusive, false))
            && self.multiple_of.is_none_or(|divisor| (number.to_decimal() % divisor.to_decimal()).is_zero())
    }
}

impl TextRules {
    fn admit(&self, text: &str) -> bool {
        (self.length.is_open() || self.length.admit(text.chars().count()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

impl ArrayRules {
    fn admit(&self, array: &RawArray) -> bool {
        if !self.length.is_open() && !self.length.admit(elements(array).count()) {
            return false;
        }
        let mut seen = BTreeSet::new();
        if self.unique && !elements(array).all(|element| seen.insert(identity(element))) {
            return false;
        }
        match &self.items {
            Items::Any => true,
            Items::Each(schema) => elements(array).all(|element| schema.admits(element)),
            Items::Places(schemas) => {
                elements(array).enumerate().all(|(place, element)| match schemas.get(place) {
                    Some(schema) => schema.admits(element),
                    None => self.additional.admits(element),
                })
            }
        }
    }
}

impl ObjectRules {
    fn admit(&self, document: &RawDocument) -> bool {
        if !self.length.is_open() && !self.length.admit(fields(document).count()) {
            return false;
        }
        let has = |name: &String| member(document, name).is_some();
        if !self.required.iter().all(has) {
            return false;
        }
        let dependencies =
            self.dependencies.iter().filter(|(name, _)| has(name)).all(|(_, needed)| match needed {
                Dependency::Fields(names) => names.iter().all(has),
                Dependency::Schema(schema) => schema.admits(RawBsonRef::Document(document)),
            });
        let open = self.patterns.is_empty() && matches!(self.additional, Additional::Allowed);
        dependencies
            && self
                .properties
                .iter()
                .all(|(name, schema)| member(document, name).is_none_or(|value| schema.admits(value)))
            && (open || fields(document).all(|(name, value)| self.admit_field(name, value)))
    }

    /// The patterns that the name matches; and what holds for names that nothing else speaks about.
    fn admit_field(&self, name: &str, value: RawBsonRef<'_>) -> bool {
        let mut known = self.properties.iter().any(|(property, _)| property == name);
        for (pattern, schema) in &self.patterns {
            if pattern.is_match(name) {
                known = true;
                if !schema.admits(value) {
                    return false;
                }
            }
        }
        known || self.additional.admits(value)
    }
}

impl Additional {
    fn admits(&self, value: RawBsonRef<'_>) -> bool {
        match self {
            Self::Allowed => true,
            Self::Refused => false,
            Self::Each(schema) => schema.admits(value),
        }
    }
}

impl Bounds {
    fn is_open(self) -> bool {
        self.least.is_none() && self.most.is_none()
    }

    fn admit(self, count: usize) -> bool {
        let count = count as u64;
        self.least.is_none_or(|least| count >= least) && self.most.is_none_or(|most| count <= most)
    }
}

/// The value that a property's name stands for: a name with dots is a path through documents, as everywhere in a filter.
fn member<'a>(document: &'a RawDocument, name: &str) -> Option<RawBsonRef<'a>> {
    let mut parts = name.split('.');
    let mut value = field(document, parts.next()?)?;
    for part in parts {
        value = field(value.as_document()?, part)?;
    }
    Some(value)
}

/// Bytes that are equal for values that a schema takes for the same: the fields of objects in any order.
fn identity(value: RawBsonRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_identity(value, &mut bytes);
    bytes
}

/// The recursion is as deep as the value. The marks of objects and arrays are beyond those of brackets.
fn append_identity(value: RawBsonRef<'_>, bytes: &mut Vec<u8>) {
    match value {
        RawBsonRef::Document(document) => {
            let mut sorted: Vec<_> = fields(document).collect();
            sorted.sort_by_key(|(name, _)| *name);
            bytes.push(0xf1);
            bytes.extend((sorted.len() as u32).to_le_bytes());
            for (name, value) in sorted {
                bytes.extend(name.as_bytes());
                bytes.push(0);
                append_identity(value, bytes);
            }
        }
        RawBsonRef::Array(array) => {
            bytes.push(0xf2);
            bytes.extend((elements(array).count() as u32).to_le_bytes());
            for element in elements(array) {
                append_identity(element, bytes);
            }
        }
        scalar => encode_value(scalar, Direction::Ascending, bytes, &mut Vec::new()),
    }
}

#[cfg(test)]
mod tests;
