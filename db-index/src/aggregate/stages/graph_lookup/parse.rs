//! The operand of `$graphLookup`.

use bson::RawBsonRef;
use bson::raw::{RawArrayBuf, RawDocumentBuf};

use super::GraphLookup;
use crate::aggregate::edit::Path;
use crate::aggregate::parse::{Parser, Within, error, is_collection_name, type_name};
use crate::error::QueryError;
use crate::number::Number;
use crate::order;

impl GraphLookup {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(document) = operand else {
            return error(
                40327,
                format!(
                    "the $graphLookup stage specification must be an object, but found {}",
                    type_name(operand)
                ),
            );
        };
        let [mut from, mut target, mut connect_from, mut connect_to, mut depth_field] = [None; 5];
        let (mut start, mut depth_max, mut stages) = (None, None, RawArrayBuf::new());
        for (name, value) in order::elements(document) {
            let slot = match name.as_str() {
                "startWith" => {
                    start = Some(parser.expression(value)?);
                    continue;
                }
                "maxDepth" => {
                    depth_max = Some(parse_depth(value)?);
                    continue;
                }
                "restrictSearchWithMatch" => {
                    let RawBsonRef::Document(filter) = value else {
                        return error(
                            40185,
                            format!("restrictSearchWithMatch must be an object, found {}", type_name(value)),
                        );
                    };
                    let mut stage = RawDocumentBuf::new();
                    stage.append(bson::raw::cstr!("$match"), filter.to_owned());
                    stages.push(stage);
                    continue;
                }
                "from" => &mut from,
                "as" => &mut target,
                "connectFromField" => &mut connect_from,
                "connectToField" => &mut connect_to,
                "depthField" => &mut depth_field,
                other => return error(40104, format!("unknown argument to $graphLookup: {other}")),
            };
            match value {
                RawBsonRef::String(text) => *slot = Some(text),
                RawBsonRef::Document(_) if name.as_str() == "from" => {
                    return error(
                        9,
                        "$graphLookup with syntax {from: {db:<>, coll:<>},..} is not supported for other databases",
                    );
                }
                value => {
                    return error(
                        40103,
                        format!(
                            "expected string as argument for {}, found: {}",
                            name.as_str(),
                            type_name(value)
                        ),
                    );
                }
            }
        }
        let (Some(from), Some(target), Some(start), Some(connect_from), Some(connect_to)) =
            (from, target, start, connect_from, connect_to)
        else {
            return error(
                40105,
                "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified.",
            );
        };
        if [target, connect_from, connect_to].contains(&"") {
            return error(40105, "$graphLookup requires its fields to be non-empty");
        }
        if !is_collection_name(from) {
            return error(73, format!("invalid $graphLookup namespace: {from}"));
        }
        Path::parse(connect_to)?;
        Ok(Self {
            collection: from.to_owned(),
            pipeline: parser.inner(&stages, Within::Lookup, from, &[])?,
            target: Path::parse(target)?,
            start,
            connect_from: Path::parse(connect_from)?,
            connect_to: connect_to.to_owned(),
            depth_max,
            depth_field: depth_field.map(Path::parse).transpose()?,
        })
    }
}

fn parse_depth(value: RawBsonRef<'_>) -> Result<i64, QueryError> {
    let Some(number) = Number::from_raw(value) else {
        return error(40100, format!("maxDepth must be numeric, found type: {}", type_name(value)));
    };
    if number.to_f64() <= -1.0 {
        return error(40101, "maxDepth requires a nonnegative argument");
    }
    match number.to_i64_exact() {
        Some(depth) => Ok(depth),
        None => error(40102, "maxDepth could not be represented as a long long"),
    }
}
