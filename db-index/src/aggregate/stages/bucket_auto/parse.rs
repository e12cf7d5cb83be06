//! The operand of `$bucketAuto`.

use bson::RawBsonRef;

use super::granularity::Granularity;
use super::{BucketAuto, STAGE};
use crate::aggregate::accumulator::{AccumulatedFields, AccumulatorExpression, counted};
use crate::aggregate::parse::{Parser, error, type_name};
use crate::error::QueryError;
use crate::expression::Expression;
use crate::number::Number;
use crate::order;

impl BucketAuto {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let found = type_name(operand);
            return error(
                40240,
                format!("The argument to {STAGE} must be an object, but found type: {found}"),
            );
        };
        let (mut key, mut buckets, mut fields, mut granularity) = (None, None, Vec::new(), None);
        for (name, value) in order::elements(operand) {
            match (name.as_str(), value) {
                ("groupBy", value) => key = Some(group_by(value, parser)?),
                ("buckets", value) => buckets = Some(count(value)?),
                ("output", RawBsonRef::Document(output)) => fields = output_fields(output, parser)?,
                ("output", other) => {
                    let found = type_name(other);
                    return error(
                        40244,
                        format!("The {STAGE} 'output' field must be an object, but found type: {found}"),
                    );
                }
                ("granularity", RawBsonRef::String(name)) => granularity = Some(Granularity::parse(name)?),
                ("granularity", other) => {
                    let found = type_name(other);
                    return error(
                        40261,
                        format!("The {STAGE} 'granularity' field must be a string, but found type: {found}"),
                    );
                }
                (other, _) => return error(40245, format!("Unrecognized option to {STAGE}: {other}")),
            }
        }
        let (Some(key), Some(buckets)) = (key, buckets) else {
            return error(40246, format!("{STAGE} requires 'groupBy' and 'buckets' to be specified"));
        };
        let Some(buckets) = usize::try_from(buckets).ok().filter(|buckets| *buckets > 0) else {
            return error(
                40243,
                format!("The {STAGE} 'buckets' field must be greater than 0, but found: {buckets}"),
            );
        };
        if fields.is_empty() {
            fields = counted(&|operand| parser.expression(operand))?;
        }
        Ok(Self { key, buckets, fields, granularity })
    }
}

fn group_by(value: RawBsonRef<'_>, parser: &Parser<'_>) -> Result<Expression, QueryError> {
    let is_expression = match value {
        RawBsonRef::Document(document) => {
            order::elements(document).next().is_some_and(|(name, _)| name.as_str().starts_with('$'))
        }
        RawBsonRef::String(path) => path.len() > 1 && path.starts_with('$'),
        _ => false,
    };
    if !is_expression {
        let found = type_name(value);
        return error(
            40239,
            format!(
                "The {STAGE} 'groupBy' field must be defined as a $-prefixed path or an expression object, but found: {found}"
            ),
        );
    }
    parser.expression(value)
}

fn count(value: RawBsonRef<'_>) -> Result<i32, QueryError> {
    let Some(number) = Number::from_raw(value) else {
        let found = type_name(value);
        return error(
            40241,
            format!("The {STAGE} 'buckets' field must be a numeric value, but found type: {found}"),
        );
    };
    if let Some(number) = number.to_i64_exact().and_then(|number| i32::try_from(number).ok()) {
        return Ok(number);
    }
    let found = number.to_f64();
    error(
        40242,
        format!("The {STAGE} 'buckets' field must be representable as a 32-bit integer, but found {found}"),
    )
}

fn output_fields(
    output: &bson::raw::RawDocument,
    parser: &Parser<'_>,
) -> Result<AccumulatedFields, QueryError> {
    let mut fields = Vec::new();
    for (name, value) in order::elements(output) {
        let compile = |operand: RawBsonRef<'_>| parser.expression(operand);
        let field = AccumulatorExpression::parse_field(name.as_str(), value, &compile)?;
        if !field.has_constant_count() {
            return error(4_544_714, format!("Can't refer to the group key in {STAGE}"));
        }
        fields.push((name.as_str().into(), field));
    }
    Ok(fields)
}
