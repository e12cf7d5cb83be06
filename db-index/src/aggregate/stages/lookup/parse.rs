//! The operand of `$lookup`.

use bson::raw::RawArrayBuf;
use bson::{RawArray, RawBsonRef};

use super::Lookup;
use crate::aggregate::edit::Path;
use crate::aggregate::parse::{Parser, Within, error, is_collection_name, type_name};
use crate::aggregate::stages::source::begins_with_documents;
use crate::error::QueryError;
use crate::expression::check_variable_name;
use crate::order;

impl Lookup {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(
                9,
                format!(
                    "the $lookup stage specification must be an object, but found {}",
                    type_name(operand)
                ),
            );
        };
        let [mut from, mut target, mut local, mut foreign, mut variables, mut stages] = [None; 6];
        for (name, value) in order::elements(document) {
            // A null stands for nothing.
            *match name.as_str() {
                "from" => &mut from,
                "as" => &mut target,
                "localField" => &mut local,
                "foreignField" => &mut foreign,
                "let" => &mut variables,
                "pipeline" => &mut stages,
                name => return error(40415, format!("BSON field '$lookup.{name}' is an unknown field.")),
            } = Some(value).filter(|value| !matches!(value, RawBsonRef::Null | RawBsonRef::Undefined));
        }
        let stages = match stages {
            None => None,
            Some(RawBsonRef::Array(stages)) => Some(stages),
            Some(other) => {
                return error(
                    14,
                    format!("'pipeline' option must be specified as an array, not {}", type_name(other)),
                );
            }
        };
        let collection = collection(from, stages)?;
        let target = match text("as", target)? {
            Some(target) => Path::parse(target)?,
            None => return error(9, "must specify 'as' field for a $lookup"),
        };
        let equality = match (text("localField", local)?, text("foreignField", foreign)?) {
            (Some(local), Some(foreign)) => {
                Path::parse(foreign)?;
                Some((Path::parse(local)?, foreign.to_owned()))
            }
            (None, None) if stages.is_some() => None,
            (None, None) => {
                return error(
                    9,
                    "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified",
                );
            }
            _ => {
                return error(
                    9,
                    "$lookup requires both or neither of 'localField' and 'foreignField' to be specified",
                );
            }
        };
        let (mut names, mut bindings) = (Vec::new(), Vec::new());
        match variables {
            None => {}
            Some(RawBsonRef::Document(variables)) => {
                if stages.is_none() && !variables.is_empty() {
                    return error(9, "$lookup with a 'let' argument must also specify 'pipeline'");
                }
                for (name, value) in order::elements(variables) {
                    check_variable_name(name.as_str())?;
                    names.push(name.as_str().to_owned());
                    bindings.push((name.as_str().into(), parser.expression(value)?));
                }
            }
            Some(other) => return wrong_type("let", other, "object"),
        }
        let empty = RawArrayBuf::new();
        let pipeline = parser.inner(
            stages.unwrap_or(&empty),
            Within::Lookup,
            collection.as_deref().unwrap_or_default(),
            &names,
        )?;
        let is_constant = equality.is_none() && bindings.is_empty() && !parser.has_open_variables();
        Ok(Self { collection, target, equality, bindings, pipeline, is_constant, unwind: None })
    }
}

/// The other collection; none if the pipeline brings its own documents.
fn collection(from: Option<RawBsonRef<'_>>, stages: Option<&RawArray>) -> Result<Option<String>, QueryError> {
    match from {
        Some(RawBsonRef::String(name)) if !is_collection_name(name) => {
            error(73, format!("invalid $lookup namespace: {name}"))
        }
        Some(RawBsonRef::String(name)) => Ok(Some(name.to_owned())),
        Some(RawBsonRef::Document(_)) => {
            error(9, "$lookup with syntax {from: {db:<>, coll:<>},..} is not supported for other databases")
        }
        Some(other) => {
            error(9, format!("$lookup 'from' field must be a string, but found {}", type_name(other)))
        }
        None if stages.is_some_and(begins_with_documents) => Ok(None),
        None if stages.is_some() => error(
            9,
            "$lookup stage without explicit collection must have a pipeline with $documents as first stage",
        ),
        None => error(9, "must specify 'pipeline' when 'from' is empty"),
    }
}

fn text<'v>(name: &str, value: Option<RawBsonRef<'v>>) -> Result<Option<&'v str>, QueryError> {
    match value {
        None => Ok(None),
        Some(RawBsonRef::String(text)) => Ok(Some(text)),
        Some(other) => wrong_type(name, other, "string"),
    }
}

fn wrong_type<T>(name: &str, value: RawBsonRef<'_>, expected: &str) -> Result<T, QueryError> {
    error(
        14,
        format!(
            "BSON field '$lookup.{name}' is the wrong type '{}', expected type '{expected}'",
            type_name(value)
        ),
    )
}
