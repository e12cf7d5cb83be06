//! `$bucket`: groups by boundaries.

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use super::Group;
use super::parse::field;
use crate::aggregate::accumulator::{AccumulatedFields, counted};
use crate::aggregate::parse::{Parser, error, type_name};
use crate::collation::Collation;
use crate::error::QueryError;
use crate::expression::Value;
use crate::order;

/// Where groups begin and end.
#[derive(Debug)]
pub(super) struct Boundaries {
    /// Ascending, two at least.
    bounds: Vec<RawBson>,
    /// The `_id` of what is outside.
    default: Option<RawBson>,
}

impl Boundaries {
    /// The `_id` of the group of a value: its lower boundary, or the default.
    ///
    /// # Errors
    /// 40066 for a value outside if there is no default.
    pub(super) fn group(
        &self,
        value: &Value<'_>,
        collation: Option<&Collation>,
    ) -> Result<RawBsonRef<'_>, QueryError> {
        // What is missing goes before everything but the least key, as undefined does.
        let value = value.to_raw_bson()?.unwrap_or(RawBson::Undefined);
        let above = self.bounds.partition_point(|bound| {
            order::compare_collated(bound.as_raw_bson_ref(), value.as_raw_bson_ref(), collation).is_le()
        });
        let lower = above.checked_sub(1).filter(|_| above < self.bounds.len());
        match lower.and_then(|lower| self.bounds.get(lower)).or(self.default.as_ref()) {
            Some(id) => Ok(id.as_raw_bson_ref()),
            None => error(
                40066,
                "$switch could not find a matching branch for an input, and no default was specified.",
            ),
        }
    }
}

impl Group {
    pub(in crate::aggregate) fn parse_buckets(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(
                40201,
                format!(
                    "Argument to $bucket stage must be an object, but found type: {}.",
                    type_name(operand)
                ),
            );
        };
        let (mut key, mut bounds, mut default, mut fields) = (None, None, None, None);
        for (name, value) in order::elements(document) {
            match name.as_str() {
                "groupBy" => {
                    if !is_expression(value) {
                        return error(
                            40202,
                            "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression object",
                        );
                    }
                    key = Some(value);
                }
                "boundaries" => bounds = Some(boundaries(value, parser)?),
                "default" => default = Some(constant(value, parser, 40195, "default")?),
                "output" => {
                    let RawBsonRef::Document(output) = value else {
                        return error(
                            40196,
                            format!(
                                "The $bucket 'output' field must be an object, but found type: {}.",
                                type_name(value)
                            ),
                        );
                    };
                    fields = Some(output);
                }
                other => return error(40197, format!("Unrecognized option to $bucket: {other}.")),
            }
        }
        let (Some(key), Some(bounds)) = (key, bounds) else {
            return error(40198, "$bucket requires 'groupBy' and 'boundaries' to be specified.");
        };
        if let (Some(default), Some(first), Some(last)) = (&default, bounds.first(), bounds.last()) {
            let default = default.as_raw_bson_ref();
            let collation = parser.context().collation.as_ref();
            let is_outside = order::compare_collated(default, first.as_raw_bson_ref(), collation).is_lt()
                || order::compare_collated(default, last.as_raw_bson_ref(), collation).is_ge();
            if !is_outside {
                return error(
                    40199,
                    "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary.",
                );
            }
        }
        let fields = match fields {
            Some(output) => output_fields(output, parser)?,
            None => counted(&|operand| parser.expression(operand))?,
        };
        Ok(Self { key: parser.expression(key)?, boundaries: Some(Boundaries { bounds, default }), fields })
    }
}

/// The fields of `output`, in which `_id` is taken.
fn output_fields(output: &RawDocument, parser: &Parser<'_>) -> Result<AccumulatedFields, QueryError> {
    let mut fields = Vec::new();
    for (name, value) in order::elements(output) {
        if name.as_str() == "_id" {
            return error(15948, "a group's _id may only be specified once");
        }
        fields.push((name.as_str().into(), field(name.as_str(), value, parser)?));
    }
    Ok(fields)
}

/// A path or an operator.
fn is_expression(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::String(path) => path.starts_with('$'),
        RawBsonRef::Document(document) => {
            order::elements(document).next().is_some_and(|(name, _)| name.as_str().starts_with('$'))
        }
        _ => false,
    }
}

fn boundaries(value: RawBsonRef<'_>, parser: &Parser<'_>) -> Result<Vec<RawBson>, QueryError> {
    let RawBsonRef::Array(array) = value else {
        return error(
            40200,
            format!("The $bucket 'boundaries' field must be an array, but found type: {}.", type_name(value)),
        );
    };
    let mut bounds: Vec<RawBson> = Vec::new();
    for value in order::array_elements(array) {
        bounds.push(constant(value, parser, 40191, "boundaries")?);
    }
    if bounds.len() < 2 {
        return error(
            40192,
            format!(
                "The $bucket 'boundaries' field must have at least 2 values, but found {} value(s).",
                bounds.len()
            ),
        );
    }
    for pair in bounds.windows(2) {
        let [lower, upper] = pair else { continue };
        let (lower, upper) = (lower.as_raw_bson_ref(), upper.as_raw_bson_ref());
        if order::bracket(lower) != order::bracket(upper) {
            return error(
                40193,
                format!(
                    "All values in the 'boundaries' option to $bucket must have the same type. Found conflicting types {} and {}.",
                    type_name(lower),
                    type_name(upper)
                ),
            );
        }
        if order::compare_collated(lower, upper, parser.context().collation.as_ref()).is_ge() {
            return error(
                40194,
                "The 'boundaries' option to $bucket must be sorted, but elements are not in ascending order",
            );
        }
    }
    Ok(bounds)
}

fn constant(
    value: RawBsonRef<'_>,
    parser: &Parser<'_>,
    code: i32,
    field: &str,
) -> Result<RawBson, QueryError> {
    match parser.expression(value)?.constant() {
        Some(value) => Ok(value.clone()),
        None => error(code, format!("The $bucket '{field}' field must hold constant values")),
    }
}
