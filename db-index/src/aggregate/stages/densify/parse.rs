//! The operand of `$densify`.

use bson::RawBsonRef;
use bson::raw::{CString, RawDocument, RawDocumentBuf};

use super::value::{Step, Stop};
use super::{Bounds, Densify, STAGE};
use crate::aggregate::edit::Path;
use crate::aggregate::parse::{Parser, error, type_name};
use crate::error::QueryError;
use crate::expression::date::Unit;
use crate::expression::{Expression, Reshape};
use crate::number::Number;
use crate::order;
use crate::sort::Sort;

impl Densify {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(operand) = operand else {
            let found = type_name(operand);
            return error(9, format!("The {STAGE} stage specification must be an object, found {found}"));
        };
        let (mut path, mut names, mut range) = (None, Vec::new(), None);
        for (name, value) in order::elements(operand) {
            match (name.as_str(), value) {
                ("field", RawBsonRef::String(field)) => path = Some(field),
                ("partitionByFields", RawBsonRef::Array(fields)) => {
                    for field in order::array_elements(fields) {
                        match field {
                            RawBsonRef::String(field) => names.push(field),
                            other => return wrong_type("partitionByFields", other, "string"),
                        }
                    }
                }
                ("range", RawBsonRef::Document(document)) => range = Some(document),
                ("field", other) => return wrong_type("field", other, "string"),
                ("partitionByFields", other) => return wrong_type("partitionByFields", other, "array"),
                ("range", other) => return wrong_type("range", other, "object"),
                (other, _) => {
                    return error(40415, format!("BSON field '{STAGE}.{other}' is an unknown field."));
                }
            }
        }
        let Some(field) = path else { return absent("field") };
        let Some(range) = range else { return absent("range") };
        let (step, bounds) = parse_range(range)?;
        for name in &names {
            if name.starts_with(field) {
                return error(
                    8_993_000,
                    format!(
                        "partitionByFields '{name}' cannot include field '{field}' that is being densified."
                    ),
                );
            }
            if field.starts_with(name) {
                return error(
                    9_554_500,
                    format!(
                        "field '{field}' that is being densified cannot include partitionByFields '{name}'."
                    ),
                );
            }
        }
        if bounds == Bounds::Partition && names.is_empty() {
            return error(
                5_733_408,
                "One cannot specify the bounds as 'partition' without specifying a non-empty array of partitionByFields. You may have meant to specify 'full' bounds.",
            );
        }
        let path = Path::parse(field)?;
        for name in &names {
            Path::parse(name)?;
        }
        let sorted_by = if bounds == Bounds::Full { &[] } else { names.as_slice() };
        let partition = names
            .iter()
            .map(|name| parser.expression(RawBsonRef::String(&format!("${name}"))))
            .collect::<Result<Vec<Expression>, _>>()?;
        let template = if names.is_empty() { None } else { Some(setter(&names)?) };
        Ok(Self {
            sort: sort(sorted_by.iter().copied().chain([field]))?,
            path,
            step,
            bounds,
            partition,
            template,
            set: setter(&[field])?,
        })
    }
}

/// Sets these fields from as many variables.
fn setter(fields: &[&str]) -> Result<Reshape, QueryError> {
    let names: Vec<String> = (0..fields.len()).map(|index| format!("v{index}")).collect();
    let mut operand = RawDocumentBuf::new();
    for (field, name) in fields.iter().zip(&names) {
        if let Ok(field) = CString::try_from(*field) {
            operand.append(field, format!("$${name}"));
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Reshape::parse("$addFields", RawBsonRef::Document(&operand), &names)
}

fn sort<'f>(fields: impl Iterator<Item = &'f str>) -> Result<Sort, QueryError> {
    let mut document = RawDocumentBuf::new();
    for field in fields {
        if let Ok(field) = CString::try_from(field) {
            document.append(field, 1);
        }
    }
    Sort::parse(&document)
}

fn parse_range(range: &RawDocument) -> Result<(Step, Bounds), QueryError> {
    let (mut step, mut bounds, mut unit) = (None, None, None);
    for (name, value) in order::elements(range) {
        match (name.as_str(), value) {
            ("step", value) => step = Some(value),
            ("bounds", value) => bounds = Some(value),
            ("unit", RawBsonRef::String(name)) => match Unit::named(name) {
                Some(known) => unit = Some(known),
                None => return error(9, format!("unknown time unit value: {name}")),
            },
            ("unit", other) => return wrong_type("range.unit", other, "string"),
            (other, _) => {
                return error(40415, format!("BSON field '{STAGE}.range.{other}' is an unknown field."));
            }
        }
    }
    let Some(raw_step) = step else { return absent("range.step") };
    let Some(bounds) = bounds else { return absent("range.bounds") };
    let number = Number::from_raw(raw_step).filter(|step| step.compare(Number::Int32(0)).is_gt());
    let Some(number) = number else {
        return error(
            5_733_401,
            "The step parameter in a range statement must be a strictly positive numeric value",
        );
    };
    let step = match unit {
        None => Step::Number(number),
        Some(unit) => match number.to_i64_exact() {
            Some(whole) => Step::Units(whole, unit),
            None => {
                return error(
                    6_586_400,
                    "The step parameter in a range statement must be a whole number when densifying a date range",
                );
            }
        },
    };
    let bounds = match bounds {
        RawBsonRef::String("full") => Bounds::Full,
        RawBsonRef::String("partition") => Bounds::Partition,
        RawBsonRef::String(_) => {
            return error(5_946_802, "Bounds string must either be 'full' or 'partition'");
        }
        RawBsonRef::Array(array) => {
            let Ok([lower, upper]) =
                <[RawBsonRef<'_>; 2]>::try_from(order::array_elements(array).collect::<Vec<_>>())
            else {
                return error(
                    5_733_403,
                    "A bounding array in a range statement must have exactly two elements",
                );
            };
            explicit(lower, upper, raw_step, unit.is_some())?
        }
        _ => {
            return error(
                5_733_404,
                "The bounds in a range statement must be the string 'full', 'partition', or an ascending array of two numbers or two dates",
            );
        }
    };
    Ok((step, bounds))
}

fn explicit(
    lower: RawBsonRef<'_>,
    upper: RawBsonRef<'_>,
    step: RawBsonRef<'_>,
    has_unit: bool,
) -> Result<Bounds, QueryError> {
    const BOTH: &str = "A bounding array must contain either both dates or both numeric types";
    if order::compare(lower, upper).is_gt() {
        return error(
            5_733_402,
            "A bounding array must be an ascending array of either two dates or two numbers",
        );
    }
    if let Some(from) = Number::from_raw(lower) {
        if has_unit {
            return error(5_733_409, "Numeric bounds may not have unit parameter");
        }
        let Some(to) = Number::from_raw(upper) else { return error(5_733_406, BOTH) };
        let kind = lower.element_type();
        if kind != upper.element_type() || kind != step.element_type() {
            return error(5_876_900, "Upper bound, lower bound, and step must all have the same type");
        }
        return Ok(Bounds::Explicit(Stop::Number(from), Stop::Number(to)));
    }
    match (lower, upper) {
        (RawBsonRef::DateTime(from), RawBsonRef::DateTime(to)) => {
            if !has_unit {
                return error(5_733_410, "A bounding array of dates must specify a unit");
            }
            Ok(Bounds::Explicit(Stop::Date(from.timestamp_millis()), Stop::Date(to.timestamp_millis())))
        }
        (RawBsonRef::DateTime(_), _) => error(5_733_405, BOTH),
        _ => error(5_946_800, "Explicit bounds must be numeric or dates"),
    }
}

fn absent<T>(name: &str) -> Result<T, QueryError> {
    error(40414, format!("BSON field '{STAGE}.{name}' is missing but a required field"))
}

fn wrong_type<T>(name: &str, found: RawBsonRef<'_>, expected: &str) -> Result<T, QueryError> {
    let found = type_name(found);
    error(14, format!("BSON field '{STAGE}.{name}' is the wrong type '{found}', expected type '{expected}'"))
}
