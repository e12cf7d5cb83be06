//! The operands of `$out` and `$merge`.

use bson::RawBsonRef;
use bson::raw::RawDocument;

use super::{MergeMatched, MergePipeline, MergeTarget, MergeUnmatched, OutTarget, Target};
use crate::aggregate::edit::Path;
use crate::aggregate::outside::Variables;
use crate::aggregate::parse::{Parser, error, is_collection_name, type_name};
use crate::error::QueryError;
use crate::number::Number;
use crate::order;
use crate::update::Update;

/// The most seconds that a bucket of a time series may span: a year.
const BUCKET_SECONDS_MAX: i64 = 31_536_000;

impl Target {
    pub(in crate::aggregate) fn parse(
        name: &str,
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        if name == "$out" {
            out(operand).map(Self::Out)
        } else {
            merge(operand, parser).map(|target| Self::Merge(Box::new(target)))
        }
    }
}

fn wrong_type<T>(field: &str, value: RawBsonRef<'_>, expected: &str) -> Result<T, QueryError> {
    error(
        14,
        format!("BSON field '{field}' is the wrong type '{}', expected type '{expected}'", type_name(value)),
    )
}

fn unknown_field<T>(field: &str) -> Result<T, QueryError> {
    error(40415, format!("BSON field '{field}' is an unknown field."))
}

/// Refuses names that no collection can have.
fn check_name(name: &str) -> Result<(), QueryError> {
    if !is_collection_name(name) {
        return error(73, format!("Invalid collection name specified: '{name}'"));
    }
    if name.starts_with('$') {
        return error(20, format!("cannot write to a collection with a '$' at its beginning: '{name}'"));
    }
    Ok(())
}

fn out(operand: RawBsonRef<'_>) -> Result<OutTarget, QueryError> {
    let (mut database, mut collection) = (None, None);
    match operand {
        RawBsonRef::String(name) => collection = Some(name.to_owned()),
        RawBsonRef::Document(document) => {
            for (name, value) in order::elements(document) {
                match (name.as_str(), value) {
                    ("db", RawBsonRef::String(name)) => database = Some(name.to_owned()),
                    ("coll", RawBsonRef::String(name)) => collection = Some(name.to_owned()),
                    ("timeseries", RawBsonRef::Document(options)) => {
                        check_time_series(options)?;
                        return error(238, "$out to a time series is not supported");
                    }
                    (name @ ("db" | "coll"), value) => {
                        return wrong_type(&format!("$out.{name}"), value, "string");
                    }
                    ("timeseries", value) => return wrong_type("$out.timeseries", value, "object"),
                    (name, _) => return unknown_field(&format!("$out.{name}")),
                }
            }
            if database.is_none() {
                return error(40414, "BSON field '$out.db' is missing but a required field");
            }
        }
        other => {
            return error(
                16990,
                format!("$out only supports a string or object argument, but found {}", type_name(other)),
            );
        }
    }
    let Some(collection) = collection else {
        return error(40414, "BSON field '$out.coll' is missing but a required field");
    };
    check_name(&collection)?;
    Ok(OutTarget { database, collection })
}

fn check_time_series(options: &RawDocument) -> Result<(), QueryError> {
    let (mut has_time, mut has_granularity) = (false, false);
    let [mut span, mut rounding] = [None; 2];
    for (name, value) in order::elements(options) {
        let name = name.as_str();
        let field = format!("$out.timeseries.{name}");
        match name {
            "timeField" | "metaField" | "granularity" => {
                let RawBsonRef::String(text) = value else { return wrong_type(&field, value, "string") };
                has_time |= name == "timeField";
                has_granularity |= name == "granularity";
                if name == "granularity" && !matches!(text, "seconds" | "minutes" | "hours") {
                    return error(
                        2,
                        format!("Enumeration value '{text}' for field '{field}' is not a valid value."),
                    );
                }
            }
            "bucketMaxSpanSeconds" | "bucketRoundingSeconds" => {
                if matches!(value, RawBsonRef::Null) {
                    continue;
                }
                let Some(number) = Number::from_raw(value) else { return wrong_type(&field, value, "int") };
                let seconds =
                    number.truncated_to_i64().filter(|seconds| (1..=BUCKET_SECONDS_MAX).contains(seconds));
                let Some(seconds) = seconds else {
                    return error(2, format!("BSON field '{field}' is out of its range"));
                };
                *if name == "bucketMaxSpanSeconds" { &mut span } else { &mut rounding } = Some(seconds);
            }
            _ => return unknown_field(&field),
        }
    }
    if !has_time {
        return error(40414, "BSON field '$out.timeseries.timeField' is missing but a required field");
    }
    if span != rounding || (has_granularity && span.is_some()) {
        return error(
            72,
            "'bucketMaxSpanSeconds' and 'bucketRoundingSeconds' must be given together, be equal and stand without 'granularity'",
        );
    }
    Ok(())
}

fn merge(operand: RawBsonRef<'_>, parser: &Parser<'_>) -> Result<MergeTarget, QueryError> {
    let document = match operand {
        RawBsonRef::String(name) => {
            check_name(name)?;
            return Ok(MergeTarget {
                database: None,
                collection: name.to_owned(),
                on: vec!["_id".to_owned()],
                when_matched: MergeMatched::Merge,
                when_not_matched: MergeUnmatched::Insert,
            });
        }
        RawBsonRef::Document(document) => document,
        other => {
            return error(
                51182,
                format!("$merge only supports a string or object argument, not {}", type_name(other)),
            );
        }
    };
    let [mut into, mut on, mut variables, mut matched, mut unmatched] = [None; 5];
    for (name, value) in order::elements(document) {
        *match name.as_str() {
            "into" => &mut into,
            "on" => &mut on,
            "let" => &mut variables,
            "whenMatched" => &mut matched,
            "whenNotMatched" => &mut unmatched,
            name => return unknown_field(&format!("$merge.{name}")),
        } = Some(value);
    }
    let Some(into) = into else {
        return error(40414, "BSON field '$merge.into' is missing but a required field");
    };
    let (database, collection) = merge_into(into)?;
    let on = match on {
        Some(on) => merge_on(on)?,
        None => vec!["_id".to_owned()],
    };
    let variables = match variables {
        None => None,
        Some(RawBsonRef::Document(variables)) => Some(variables),
        Some(other) => return wrong_type("$merge.let", other, "object"),
    };
    let when_matched = when_matched(matched, variables, parser)?;
    let when_not_matched = match unmatched {
        None | Some(RawBsonRef::String("insert")) => MergeUnmatched::Insert,
        Some(RawBsonRef::String("discard")) => MergeUnmatched::Discard,
        Some(RawBsonRef::String("fail")) => MergeUnmatched::Fail,
        Some(RawBsonRef::String(other)) => return not_a_value("whenNotMatched", other),
        Some(other) => return wrong_type("$merge.whenNotMatched", other, "string"),
    };
    Ok(MergeTarget { database, collection, on, when_matched, when_not_matched })
}

fn not_a_value<T>(field: &str, value: &str) -> Result<T, QueryError> {
    error(2, format!("Enumeration value '{value}' for field '$merge.{field}' is not a valid value."))
}

fn merge_into(into: RawBsonRef<'_>) -> Result<(Option<String>, String), QueryError> {
    let (mut database, mut collection) = (None, None);
    match into {
        RawBsonRef::String(name) => collection = Some(name.to_owned()),
        RawBsonRef::Document(document) => {
            for (name, value) in order::elements(document) {
                match (name.as_str(), value) {
                    ("db", RawBsonRef::String(name)) => database = Some(name.to_owned()),
                    ("coll", RawBsonRef::String(name)) => collection = Some(name.to_owned()),
                    (name @ ("db" | "coll"), value) => {
                        return wrong_type(&format!("$merge.into.{name}"), value, "string");
                    }
                    (name, _) => return unknown_field(&format!("$merge.into.{name}")),
                }
            }
        }
        other => {
            return error(
                51178,
                format!(
                    "$merge 'into' field  must be either a string or an object, but found {}",
                    type_name(other)
                ),
            );
        }
    }
    let collection = collection.unwrap_or_default();
    check_name(&collection)?;
    Ok((database, collection))
}

fn merge_on(on: RawBsonRef<'_>) -> Result<Vec<String>, QueryError> {
    let mut fields: Vec<String> = Vec::new();
    match on {
        RawBsonRef::String(name) => fields.push(name.to_owned()),
        RawBsonRef::Array(names) => {
            for name in order::array_elements(names) {
                let RawBsonRef::String(name) = name else {
                    return error(
                        51134,
                        format!("$merge 'on' array elements must be strings, but found {}", type_name(name)),
                    );
                };
                if fields.iter().any(|known| known == name) {
                    return error(31465, format!("Found a duplicate field '{name}'"));
                }
                fields.push(name.to_owned());
            }
            if fields.is_empty() {
                return error(51187, "If explicitly specifying $merge 'on', must include at least one field");
            }
        }
        other => {
            return error(
                51186,
                format!(
                    "$merge 'on' field  must be either a string or an array of strings, but found {}",
                    type_name(other)
                ),
            );
        }
    }
    for field in &fields {
        Path::parse(field)?;
    }
    Ok(fields)
}

fn when_matched(
    matched: Option<RawBsonRef<'_>>,
    variables: Option<&RawDocument>,
    parser: &Parser<'_>,
) -> Result<MergeMatched, QueryError> {
    let stages = match matched {
        Some(RawBsonRef::Array(stages)) => stages,
        Some(RawBsonRef::String(_)) | None => {
            if variables.is_some_and(|variables| !variables.is_empty()) {
                return error(51199, "Cannot use 'let' variables with this 'whenMatched' mode");
            }
            return match matched {
                Some(RawBsonRef::String("replace")) => Ok(MergeMatched::Replace),
                Some(RawBsonRef::String("keepExisting")) => Ok(MergeMatched::KeepExisting),
                Some(RawBsonRef::String("fail")) => Ok(MergeMatched::Fail),
                None | Some(RawBsonRef::String("merge")) => Ok(MergeMatched::Merge),
                Some(RawBsonRef::String(other)) => not_a_value("whenMatched", other),
                Some(other) => wrong_type("$merge.whenMatched", other, "string"),
            };
        }
        Some(other) => {
            return error(
                51191,
                format!(
                    "$merge 'whenMatched' field  must be either a string or an array, but found {}",
                    type_name(other)
                ),
            );
        }
    };
    let mut bindings = Vec::new();
    for (name, value) in variables.into_iter().flat_map(order::elements) {
        let name = name.as_str();
        if name == "new" {
            if matches!(value, RawBsonRef::String("$$ROOT")) {
                continue;
            }
            return error(
                51273,
                "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'",
            );
        }
        crate::expression::check_variable_name(name)?;
        bindings.push((name.to_owned(), parser.expression(value)?));
    }
    // Whether the stages are right does not depend on the values.
    let names = bindings.iter().map(|(name, _)| name.as_str()).chain(["new"]);
    let variables = Variables::default().and(names.map(|name| (name.into(), None)));
    Update::parse_pipeline(stages, &variables.within(parser.context()))?;
    Ok(MergeMatched::Pipeline(MergePipeline {
        stages: stages.to_owned(),
        bindings,
        context: parser.context().clone(),
    }))
}
