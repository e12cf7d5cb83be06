//! Compiles schema documents.

use std::collections::BTreeSet;

use bson::{RawArray, RawBson, RawBsonRef, RawDocument};

use crate::{
    error::{ErrorCode, QueryError},
    filter::{
        pattern::Pattern,
        schema::{Additional, Dependency, Items, Schema, identity},
        types::TypeSet,
    },
    number::Number,
    path::{elements, fields},
};

/// Keywords of JSON Schema that MongoDB leaves out.
const LEFT_OUT: [&str; 6] = ["$ref", "$schema", "default", "definitions", "format", "id"];

/// Counts what is compiled, against the bounds of the filter around it.
pub(in crate::filter) trait Counter {
    /// One more schema.
    fn count_node(&mut self) -> Result<(), QueryError>;
    /// Compiles one more pattern.
    fn pattern(&mut self, pattern: RawBsonRef<'_>) -> Result<Pattern, QueryError>;
}

/// Compiles the operand of `$jsonSchema`.
pub(in crate::filter) fn parse(
    operand: RawBsonRef<'_>,
    counter: &mut impl Counter,
) -> Result<Schema, QueryError> {
    schema("$jsonSchema", operand, counter)
}

fn schema(keyword: &str, operand: RawBsonRef<'_>, counter: &mut impl Counter) -> Result<Schema, QueryError> {
    counter.count_node()?;
    let document = object(keyword, operand)?;
    let mut schema = Schema::default();
    let mut minimum_exclusive = None;
    let mut maximum_exclusive = None;
    for (keyword, value) in fields(document) {
        match keyword {
            "bsonType" | "type" => {
                if schema.types.is_some() {
                    return Err(malformed("cannot specify both 'type' and 'bsonType'"));
                }
                schema.types = Some(types(keyword, value)?);
            }
            "title" | "description" => {
                text(keyword, value)?;
            }
            "enum" => schema.choices = Some(choices(value)?),
            "minimum" => schema.number.minimum = Some(number(keyword, value)?.0),
            "maximum" => schema.number.maximum = Some(number(keyword, value)?.0),
            "exclusiveMinimum" => minimum_exclusive = Some(flag(keyword, value)?),
            "exclusiveMaximum" => maximum_exclusive = Some(flag(keyword, value)?),
            "multipleOf" => schema.number.multiple_of = Some(divisor(value)?),
            "minLength" => schema.text.length.least = Some(count(keyword, value)?),
            "maxLength" => schema.text.length.most = Some(count(keyword, value)?),
            "pattern" => {
                text(keyword, value)?;
                schema.text.pattern = Some(counter.pattern(value)?);
            }
            "minItems" => schema.array.length.least = Some(count(keyword, value)?),
            "maxItems" => schema.array.length.most = Some(count(keyword, value)?),
            "uniqueItems" => schema.array.unique = flag(keyword, value)?,
            "items" => schema.array.items = items(value, counter)?,
            "additionalItems" => schema.array.additional = additional(keyword, value, counter)?,
            "minProperties" => schema.object.length.least = Some(count(keyword, value)?),
            "maxProperties" => schema.object.length.most = Some(count(keyword, value)?),
            "required" => schema.object.required = names(keyword, value)?,
            "properties" => {
                for (name, value) in fields(object(keyword, value)?) {
                    schema.object.properties.push((name.to_owned(), self::schema(name, value, counter)?));
                }
            }
            "patternProperties" => {
                for (name, value) in fields(object(keyword, value)?) {
                    let inner = self::schema(name, value, counter)?;
                    let pattern = counter
                        .pattern(RawBsonRef::String(name))
                        .map_err(|error| malformed(&error.message))?;
                    schema.object.patterns.push((pattern, inner));
                }
            }
            "additionalProperties" => schema.object.additional = additional(keyword, value, counter)?,
            "dependencies" => {
                for (name, value) in fields(object(keyword, value)?) {
                    schema.object.dependencies.push((name.to_owned(), dependency(name, value, counter)?));
                }
            }
            "allOf" => schema.all_of = schemas(keyword, value, counter)?,
            "anyOf" => schema.any_of = Some(schemas(keyword, value, counter)?),
            "oneOf" => schema.one_of = Some(schemas(keyword, value, counter)?),
            "not" => schema.not = Some(Box::new(self::schema(keyword, value, counter)?)),
            keyword if LEFT_OUT.contains(&keyword) => {
                return Err(malformed(&format!("the keyword '{keyword}' is not supported")));
            }
            keyword => return Err(malformed(&format!("unknown keyword: {keyword}"))),
        }
    }
    let lonely = (minimum_exclusive.is_some() && schema.number.minimum.is_none())
        || (maximum_exclusive.is_some() && schema.number.maximum.is_none());
    if lonely {
        return Err(malformed("'exclusiveMinimum' needs 'minimum', 'exclusiveMaximum' needs 'maximum'"));
    }
    schema.number.minimum_exclusive = minimum_exclusive.unwrap_or(false);
    schema.number.maximum_exclusive = maximum_exclusive.unwrap_or(false);
    Ok(schema)
}

fn malformed(why: &str) -> QueryError {
    QueryError::new(ErrorCode::FAILED_TO_PARSE, format!("$jsonSchema: {why}"))
}

fn mismatch(keyword: &str, wanted: &str) -> QueryError {
    QueryError::new(ErrorCode::TYPE_MISMATCH, format!("$jsonSchema keyword '{keyword}' must be {wanted}"))
}

fn object<'a>(keyword: &str, value: RawBsonRef<'a>) -> Result<&'a RawDocument, QueryError> {
    value.as_document().ok_or_else(|| mismatch(keyword, "an object"))
}

fn list<'a>(keyword: &str, value: RawBsonRef<'a>) -> Result<&'a RawArray, QueryError> {
    value.as_array().ok_or_else(|| mismatch(keyword, "an array"))
}

fn text<'a>(keyword: &str, value: RawBsonRef<'a>) -> Result<&'a str, QueryError> {
    value.as_str().ok_or_else(|| mismatch(keyword, "a string"))
}

fn flag(keyword: &str, value: RawBsonRef<'_>) -> Result<bool, QueryError> {
    value.as_bool().ok_or_else(|| mismatch(keyword, "a boolean"))
}

fn number(keyword: &str, value: RawBsonRef<'_>) -> Result<(RawBson, Number), QueryError> {
    let number = Number::from_raw(value).ok_or_else(|| mismatch(keyword, "a number"))?;
    Ok((value.into(), number))
}

fn count(keyword: &str, value: RawBsonRef<'_>) -> Result<u64, QueryError> {
    Number::from_raw(value)
        .and_then(Number::to_i64_exact)
        .and_then(|count| u64::try_from(count).ok())
        .ok_or_else(|| malformed(&format!("'{keyword}' must be a whole number from 0 on")))
}

fn divisor(value: RawBsonRef<'_>) -> Result<Number, QueryError> {
    let (_, number) = number("multipleOf", value)?;
    let decimal = number.to_decimal();
    let endless = number.is_nan() || number.to_f64().is_infinite();
    if decimal.is_zero() || decimal.is_negative() || endless {
        return Err(malformed("'multipleOf' must have a positive, finite value"));
    }
    Ok(number)
}

fn types(keyword: &str, value: RawBsonRef<'_>) -> Result<TypeSet, QueryError> {
    let one = |value: RawBsonRef<'_>| {
        let alias = text(keyword, value)?;
        let known = match (keyword, alias) {
            (_, "integer") => return Err(malformed("the type 'integer' is not supported")),
            ("type", "boolean") => TypeSet::from_alias("bool"),
            ("type", "array" | "number" | "null" | "object" | "string") | ("bsonType", _) => {
                TypeSet::from_alias(alias)
            }
            _ => None,
        };
        known.ok_or_else(|| QueryError::bad_value(format!("unknown type name alias: {alias}")))
    };
    let RawBsonRef::Array(list) = value else {
        return match value {
            RawBsonRef::String(_) => one(value),
            _ => Err(mismatch(keyword, "a string or an array of strings")),
        };
    };
    let (mut set, mut aliases) = (TypeSet::default(), BTreeSet::new());
    for member in elements(list) {
        set = set.union(one(member)?);
        if !aliases.insert(member.as_str()) {
            return Err(malformed(&format!("'{keyword}' has duplicate values")));
        }
    }
    if set == TypeSet::default() {
        return Err(malformed(&format!("'{keyword}' must name at least one type")));
    }
    Ok(set)
}

fn choices(value: RawBsonRef<'_>) -> Result<BTreeSet<Vec<u8>>, QueryError> {
    let mut choices = BTreeSet::new();
    for member in elements(list("enum", value)?) {
        if !choices.insert(identity(member)) {
            return Err(malformed("'enum' must not have duplicates"));
        }
    }
    if choices.is_empty() {
        return Err(malformed("'enum' cannot be empty"));
    }
    Ok(choices)
}

fn names(keyword: &str, value: RawBsonRef<'_>) -> Result<Vec<String>, QueryError> {
    let mut names = BTreeSet::new();
    for member in elements(list(keyword, value)?) {
        if !names.insert(text(keyword, member)?.to_owned()) {
            return Err(malformed(&format!("'{keyword}' must not have duplicates")));
        }
    }
    if names.is_empty() {
        return Err(malformed(&format!("'{keyword}' cannot be empty")));
    }
    Ok(names.into_iter().collect())
}

fn schemas(
    keyword: &str,
    value: RawBsonRef<'_>,
    counter: &mut impl Counter,
) -> Result<Vec<Schema>, QueryError> {
    let schemas: Vec<_> = elements(list(keyword, value)?)
        .map(|member| schema(keyword, member, counter))
        .collect::<Result<_, _>>()?;
    if schemas.is_empty() {
        return Err(QueryError::bad_value(format!(
            "$jsonSchema keyword '{keyword}' must be a nonempty array"
        )));
    }
    Ok(schemas)
}

fn items(value: RawBsonRef<'_>, counter: &mut impl Counter) -> Result<Items, QueryError> {
    match value {
        RawBsonRef::Array(list) => {
            let places =
                elements(list).map(|member| schema("items", member, counter)).collect::<Result<_, _>>()?;
            Ok(Items::Places(places))
        }
        RawBsonRef::Document(_) => Ok(Items::Each(Box::new(schema("items", value, counter)?))),
        _ => Err(mismatch("items", "an array or an object")),
    }
}

fn additional(
    keyword: &str,
    value: RawBsonRef<'_>,
    counter: &mut impl Counter,
) -> Result<Additional, QueryError> {
    match value {
        RawBsonRef::Boolean(true) => Ok(Additional::Allowed),
        RawBsonRef::Boolean(false) => Ok(Additional::Refused),
        RawBsonRef::Document(_) => Ok(Additional::Each(Box::new(schema(keyword, value, counter)?))),
        _ => Err(mismatch(keyword, "a boolean or an object")),
    }
}

fn dependency(
    name: &str,
    value: RawBsonRef<'_>,
    counter: &mut impl Counter,
) -> Result<Dependency, QueryError> {
    match value {
        RawBsonRef::Array(_) => Ok(Dependency::Fields(names("dependencies", value)?)),
        RawBsonRef::Document(_) => Ok(Dependency::Schema(Box::new(schema(name, value, counter)?))),
        _ => Err(mismatch("dependencies", "an object of arrays and objects")),
    }
}
