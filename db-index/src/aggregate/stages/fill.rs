//! `$fill`: missing values filled, which comes to `$setWindowFields` and `$addFields`.

use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::{CString, RawDocument, RawDocumentBuf, cstr};

use crate::aggregate::parse::{Parser, error, type_name};
use crate::aggregate::stage::Stage;
use crate::aggregate::window::WindowStage;
use crate::error::QueryError;
use crate::order;

const STAGE: &str = "$fill";

/// The stages that a `$fill` comes to.
///
/// # Errors
/// `FailedToParse` (9) for an operand that is no object, 40414, 40415 and 14 for fields that are absent, unknown or of the
/// wrong type, 6050200 to 6050204 for what does not go together; those of the window functions and expressions.
pub(in crate::aggregate) fn parse(
    operand: RawBsonRef<'_>,
    parser: &Parser<'_>,
) -> Result<Vec<Stage>, QueryError> {
    let RawBsonRef::Document(operand) = operand else {
        let found = type_name(operand);
        return error(9, format!("The {STAGE} stage specification must be an object, found {found}"));
    };
    let Parts { window, output } = parts(operand)?;
    let (mut functions, mut values) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    for (name, value) in order::elements(output) {
        let RawBsonRef::Document(fill) = value else {
            return error(
                6_050_200,
                "Each fill output specification must be an object with exactly one field",
            );
        };
        let path = format!("${}", name.as_str());
        match how(fill)? {
            Some(How::Method(function)) => {
                let mut call = RawDocumentBuf::new();
                call.append(function, path.as_str());
                functions.append(name, call);
            }
            Some(How::Value(value)) => {
                let mut alternatives = bson::RawArrayBuf::new();
                alternatives.push(path.as_str());
                alternatives.push(value);
                let mut call = RawDocumentBuf::new();
                call.append(cstr!("$ifNull"), alternatives);
                values.append(name, call);
            }
            None => {}
        }
    }
    let mut stages = Vec::new();
    if !functions.is_empty() {
        let mut window = window;
        window.append(cstr!("output"), functions);
        let stage = WindowStage::parse(RawBsonRef::Document(&window), parser)?;
        stages.push(Stage::Window(Arc::new(stage)));
    }
    if !values.is_empty() {
        let reshape = parser.reshape("$addFields", RawBsonRef::Document(&values))?;
        stages.push(Stage::Transform(Arc::new(vec![reshape])));
    }
    Ok(stages)
}

/// The parts of a `$fill`.
struct Parts<'d> {
    /// The operand of `$setWindowFields` but for its output.
    window: RawDocumentBuf,
    output: &'d RawDocument,
}

fn parts(operand: &RawDocument) -> Result<Parts<'_>, QueryError> {
    let (mut window, mut output) = (RawDocumentBuf::new(), None);
    let (mut by, mut by_fields) = (false, false);
    for (name, value) in order::elements(operand) {
        match (name.as_str(), value) {
            ("output", RawBsonRef::Document(document)) => output = Some(document),
            ("sortBy", RawBsonRef::Document(_)) => window.append(name, value),
            ("partitionBy", RawBsonRef::Document(_) | RawBsonRef::String(_)) => {
                by = true;
                window.append(name, value);
            }
            ("partitionByFields", RawBsonRef::Array(names)) => {
                by_fields = true;
                let mut key = RawDocumentBuf::new();
                for name in order::array_elements(names) {
                    let RawBsonRef::String(name) = name else {
                        return wrong_type("partitionByFields", name, "string");
                    };
                    let Ok(field) = CString::try_from(name) else {
                        return error(16411, "field path parts may not contain null bytes");
                    };
                    key.append(field, format!("${name}"));
                }
                window.append(cstr!("partitionBy"), key);
            }
            ("partitionByFields", other) => return wrong_type("partitionByFields", other, "array"),
            (name @ ("output" | "sortBy" | "partitionBy"), other) => {
                return wrong_type(name, other, "object");
            }
            (other, _) => return error(40415, format!("BSON field '{STAGE}.{other}' is an unknown field.")),
        }
    }
    let Some(output) = output else {
        return error(40414, format!("BSON field '{STAGE}.output' is missing but a required field"));
    };
    if order::elements(output).next().is_none() {
        return error(
            6_050_203,
            "The output field in '$fill' must contain an object with at least one element",
        );
    }
    if by && by_fields {
        return error(
            6_050_204,
            "Maximum one of 'partitionBy' and 'partitionByFields can be specified in '$fill'",
        );
    }
    Ok(Parts { window, output })
}

/// How a field is filled.
enum How<'d> {
    Method(&'static bson::raw::CStr),
    Value(RawBsonRef<'d>),
}

fn how(fill: &RawDocument) -> Result<Option<How<'_>>, QueryError> {
    let (mut method, mut value) = (None, None);
    for (name, operand) in order::elements(fill) {
        match (name.as_str(), operand) {
            ("method", RawBsonRef::String(name)) => method = Some(name),
            ("method", other) => return wrong_type("method", other, "string"),
            ("value", operand) => value = Some(operand),
            (other, _) => return error(40415, format!("BSON field '{STAGE}.{other}' is an unknown field.")),
        }
    }
    match (method, value) {
        (Some(_), Some(_)) => error(
            6_050_201,
            "Each fill output specification must have exactly one of 'method' or 'value' fields, not both",
        ),
        (Some("locf"), None) => Ok(Some(How::Method(cstr!("$locf")))),
        (Some("linear"), None) => Ok(Some(How::Method(cstr!("$linearFill")))),
        (Some(_), None) => error(6_050_202, "Method must be either locf or linear"),
        (None, value) => Ok(value.map(How::Value)),
    }
}

fn wrong_type<T>(name: &str, found: RawBsonRef<'_>, expected: &str) -> Result<T, QueryError> {
    let found = type_name(found);
    error(14, format!("BSON field '{STAGE}.{name}' is the wrong type '{found}', expected type '{expected}'"))
}
