//! `$unionWith`: the input, then the documents of another collection.

use std::sync::Arc;

use bson::RawBsonRef;

use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::parse::{Parser, Within, error, is_collection_name, type_name};
use crate::aggregate::rows::lazily;
use crate::aggregate::{Pipeline, stages::source};
use crate::error::QueryError;
use crate::order;

/// A compiled `$unionWith`.
#[derive(Debug)]
pub(in crate::aggregate) struct Union {
    collection: Option<String>,
    pipeline: Pipeline,
}

impl Union {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let (mut collection, mut stages) = (None, None);
        match operand {
            RawBsonRef::String(name) => collection = Some(name.to_owned()),
            RawBsonRef::Document(document) => {
                for (name, value) in order::elements(document) {
                    match (name.as_str(), value) {
                        ("coll", RawBsonRef::String(name)) => collection = Some(name.to_owned()),
                        ("pipeline", RawBsonRef::Array(array)) => stages = Some(array),
                        ("coll" | "pipeline", RawBsonRef::Null | RawBsonRef::Undefined) => {}
                        (name @ ("coll" | "pipeline"), value) => {
                            return error(
                                14,
                                format!(
                                    "BSON field '$unionWith.{name}' is the wrong type '{}'",
                                    type_name(value)
                                ),
                            );
                        }
                        (name, _) => {
                            return error(
                                40415,
                                format!("BSON field '$unionWith.{name}' is an unknown field."),
                            );
                        }
                    }
                }
            }
            other => {
                return error(
                    9,
                    format!(
                        "the $unionWith stage specification must be an object or string, but found {}",
                        type_name(other)
                    ),
                );
            }
        }
        let own_source = stages.is_some_and(source::begins_with_documents);
        if let Some(name) = collection.as_ref().filter(|name| !is_collection_name(name)) {
            return error(73, format!("invalid $unionWith namespace: {name}"));
        }
        if collection.is_none() && !own_source {
            return error(
                9,
                "$unionWith stage without explicit collection must have a pipeline with $documents as first stage",
            );
        }
        let empty = bson::RawArrayBuf::new();
        let name = collection.as_deref().unwrap_or_default();
        let pipeline = parser.inner(stages.unwrap_or(&empty), Within::Union, name, &[])?;
        Ok(Self { collection, pipeline })
    }

    pub(in crate::aggregate) fn collections(&self, names: &mut Vec<String>) {
        names.extend(self.collection.clone());
        names.extend(self.pipeline.collections());
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        Box::new(
            input.chain(lazily(move || {
                stage.pipeline.find_and_run(&context.outside, &context.variables, None)
            })),
        )
    }
}
