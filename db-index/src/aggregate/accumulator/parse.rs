//! From BSON to accumulators.

use bson::RawBsonRef;
use bson::raw::RawDocument;

use super::{AccumulatorExpression, Compile, Kind, error};
use crate::error::QueryError;
use crate::expression::Expression;
use crate::expression::percentile::{self, Specification};
use crate::order;
use crate::raw::type_name;
use crate::sort::Sort;

/// An output field of a stage that groups.
pub(super) fn field(
    name: &str,
    value: RawBsonRef<'_>,
    compile: Compile<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let first = match value {
        RawBsonRef::Document(document) => {
            order::elements(document).next().map(|(key, operand)| (document, key, operand))
        }
        _ => None,
    };
    let Some((document, accumulator, operand)) = first.filter(|(_, key, _)| key.as_str().starts_with('$'))
    else {
        return error(40234, format!("The field '{name}' must be an accumulator object"));
    };
    if name.contains('.') {
        return error(40235, format!("The field name '{name}' cannot contain '.'"));
    }
    if name.starts_with('$') {
        return error(40236, format!("The field name '{name}' cannot be an operator name"));
    }
    if order::elements(document).nth(1).is_some() {
        return error(40238, format!("The field '{name}' must specify one accumulator"));
    }
    let accumulator_name = accumulator.as_str();
    if matches!(operand, RawBsonRef::Array(_)) {
        return error(40237, format!("The {accumulator_name} accumulator is a unary operator"));
    }
    self::accumulator(accumulator_name, operand, compile)
}

/// An accumulator by its name and operand.
pub(super) fn accumulator(
    name: &str,
    operand: RawBsonRef<'_>,
    compile: Compile<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let kind = match name {
        "$sum" => Kind::Sum,
        "$avg" => Kind::Avg,
        "$min" => Kind::Min,
        "$max" => Kind::Max,
        "$first" => Kind::First,
        "$last" => Kind::Last,
        "$push" => Kind::Push,
        "$addToSet" => Kind::AddToSet,
        "$stdDevPop" => Kind::StdDev { of_sample: false },
        "$stdDevSamp" => Kind::StdDev { of_sample: true },
        "$mergeObjects" => Kind::MergeObjects,
        "$concatArrays" => Kind::ConcatArrays,
        "$setUnion" => Kind::SetUnion,
        "$count" => {
            return match operand {
                RawBsonRef::Document(document) if order::elements(document).next().is_none() => {
                    Ok(AccumulatorExpression {
                        kind: Kind::Count,
                        argument: None,
                        count: None,
                        in_group: false,
                    })
                }
                _ => error(14, "$count takes no arguments, i.e. $count:{}"),
            };
        }
        "$firstN" => return counted(Kind::FirstN, 5_787_801, operand, compile),
        "$lastN" => return counted(Kind::LastN, 5_787_801, operand, compile),
        "$minN" => return counted(Kind::MinN, 5_787_900, operand, compile),
        "$maxN" => return counted(Kind::MaxN, 5_787_900, operand, compile),
        "$top" | "$bottom" | "$topN" | "$bottomN" => return end(name, operand, compile),
        "$median" | "$percentile" => return quantile(name, operand, compile),
        _ => return error(15952, format!("unknown group operator '{name}'")),
    };
    Ok(AccumulatorExpression { kind, argument: Some(compile(operand)?), count: None, in_group: false })
}

/// `{input, n}`.
fn counted(
    kind: Kind,
    not_a_document: i32,
    operand: RawBsonRef<'_>,
    compile: Compile<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let document = specification(operand, not_a_document)?;
    let (mut count, mut input) = (None, None);
    for (name, value) in order::elements(document) {
        match name.as_str() {
            "n" => count = Some(compile(value)?),
            "input" => input = Some(compile(value)?),
            other => return error(5_787_901, format!("Unknown argument for 'n' operator: {other}")),
        }
    }
    if count.is_none() {
        return error(5_787_906, "Missing value for 'n'");
    }
    if input.is_none() {
        return error(5_787_907, "Missing value for 'input'");
    }
    Ok(AccumulatorExpression { kind, argument: input, count, in_group: false })
}

/// `{sortBy, output, n}`.
fn end(
    name: &str,
    operand: RawBsonRef<'_>,
    compile: Compile<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let document = specification(operand, 5_788_001)?;
    let single = !name.ends_with('N');
    let (mut count, mut output, mut sort) = (None, None, None);
    for (key, value) in order::elements(document) {
        match (key.as_str(), value) {
            ("n", value) if !single => count = Some(compile(value)?),
            ("output", value) => output = Some(compile(value)?),
            ("sortBy", RawBsonRef::Document(by)) => sort = Some(Sort::parse_stage(by)?),
            ("sortBy", other) => {
                let found = type_name(other.element_type());
                return error(
                    10065,
                    format!("invalid parameter: expected an object (sortBy), found {found}"),
                );
            }
            (other, _) => return error(5_788_002, format!("Unknown argument to {name} '{other}'")),
        }
    }
    if !single && count.is_none() {
        return error(5_788_003, "Missing value for 'n'");
    }
    if output.is_none() {
        return error(5_788_004, "Missing value for 'output'");
    }
    let Some(sort) = sort else { return error(5_788_005, "Missing value for 'sortBy'") };
    let sort = sort.by(output.as_ref().and_then(Expression::collation));
    let bottom = name.starts_with("$bottom");
    let kind = if single { Kind::End { sort, bottom } } else { Kind::EndN { sort, bottom } };
    Ok(AccumulatorExpression { kind, argument: output, count, in_group: false })
}

fn specification(operand: RawBsonRef<'_>, code: i32) -> Result<&RawDocument, QueryError> {
    match operand {
        RawBsonRef::Document(document) => Ok(document),
        other => {
            let found = type_name(other.element_type());
            error(code, format!("specification must be an object; found {found}"))
        }
    }
}

/// `{input, method}` of `$median`, `{input, p, method}` of `$percentile`.
fn quantile(
    name: &str,
    operand: RawBsonRef<'_>,
    compile: Compile<'_>,
) -> Result<AccumulatorExpression, QueryError> {
    let code = if name == "$median" { 7_436_100 } else { 7_429_703 };
    let Specification { input, points, method } = Specification::parse(name, specification(operand, code)?)?;
    let input = compile(input)?;
    let kind = match points {
        Some(points) => Kind::Percentile { points: percentile::points(compile(points)?.constant())?, method },
        None => Kind::Median { method },
    };
    Ok(AccumulatorExpression { kind, argument: Some(input), count: None, in_group: false })
}
