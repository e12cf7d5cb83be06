//! From BSON to stages.

use std::sync::Arc;

use bson::raw::RawDocument;
use bson::{RawArray, RawBson, RawBsonRef};

use super::stage::{Place, Stage};
use super::target::Target;
use super::{PIPELINE_DEPTH_MAX, PIPELINE_STAGES_MAX, Pipeline, PipelineSettings};
use crate::error::{ErrorCode, QueryError};
use crate::expression::{Expression, Reshape};
use crate::order;

/// What a pipeline stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// It is the command's own.
    Command,
    Lookup,
    Union,
    Facet,
}

/// Compiles the stages of one pipeline.
#[derive(Debug)]
pub(super) struct Parser<'s> {
    settings: &'s PipelineSettings,
    /// The collection that the pipeline runs on.
    pub(super) collection: String,
    /// The names of the variables that are known, those of the command first.
    names: Vec<String>,
    within: Within,
    depth: usize,
}

impl<'s> Parser<'s> {
    pub(super) fn new(settings: &'s PipelineSettings) -> Self {
        Self {
            settings,
            collection: settings.collection.clone(),
            names: settings.variables.iter().map(|(name, _)| name.clone()).collect(),
            within: Within::Command,
            depth: 1,
        }
    }

    /// The command's variables with their values.
    pub(super) fn variables(&self) -> Arc<[(String, RawBson)]> {
        self.settings.variables.clone().into()
    }

    /// The names of the variables, in the order of their values.
    pub(super) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Whether variables are known whose values come with each run.
    pub(super) fn has_open_variables(&self) -> bool {
        self.names.len() > self.settings.variables.len()
    }

    pub(super) fn expression(&self, value: RawBsonRef<'_>) -> Result<Expression, QueryError> {
        Expression::parse(value, &self.names())
    }

    /// An expression that knows `more` variables.
    pub(super) fn expression_with(
        &self,
        value: RawBsonRef<'_>,
        more: &[String],
    ) -> Result<Expression, QueryError> {
        let names = [&self.names, more].concat();
        Expression::parse(value, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(super) fn reshape(&self, name: &str, operand: RawBsonRef<'_>) -> Result<Reshape, QueryError> {
        Reshape::parse(name, operand, &self.names())
    }

    /// Compiles a pipeline that stands in a stage of this one and knows `more` variables.
    pub(super) fn inner(
        &self,
        stages: &RawArray,
        within: Within,
        collection: &str,
        more: &[String],
    ) -> Result<Pipeline, QueryError> {
        let depth = self.depth + 1;
        if depth > PIPELINE_DEPTH_MAX {
            return error(
                232,
                format!("Maximum number of nested sub-pipelines exceeded. Limit is {PIPELINE_DEPTH_MAX}"),
            );
        }
        let names = [&self.names, more].concat();
        let inner =
            Parser { settings: self.settings, collection: collection.to_owned(), names, within, depth };
        let (stages, target) = inner.pipeline(stages)?;
        let settings = PipelineSettings {
            collection: collection.to_owned(),
            variables: Vec::new(), // they come with every run
            now_ms: self.settings.now_ms,
            seed: self.settings.seed.wrapping_add(depth as u64 * 1000),
        };
        Ok(Pipeline::assemble(stages, target, settings))
    }

    /// Compiles `stages`.
    pub(super) fn pipeline(&self, stages: &RawArray) -> Result<(Vec<Stage>, Option<Target>), QueryError> {
        let (mut compiled, mut target) = (Vec::new(), None);
        for (index, stage) in order::array_elements(stages).enumerate() {
            let RawBsonRef::Document(stage) = stage else {
                return error(14, "Each element of the 'pipeline' array must be an object");
            };
            if index >= PIPELINE_STAGES_MAX {
                return error(
                    7_749_501,
                    format!("Pipeline length must be no longer than {PIPELINE_STAGES_MAX} stages"),
                );
            }
            let (name, operand) = only_field(stage)?;
            if target.is_some() {
                return error(
                    40601,
                    "$out and $merge can only be the final stage in the pipeline".to_owned(),
                );
            }
            self.check_place(name, index)?;
            if matches!(name, "$out" | "$merge") {
                target = Some(Target::parse(name, operand, self)?);
            } else {
                Stage::parse(name, operand, self, &mut compiled)?;
            }
        }
        Ok((compiled, target))
    }

    /// Refuses a stage where it may not stand.
    fn check_place(&self, name: &str, index: usize) -> Result<(), QueryError> {
        let place = Place::of(name);
        match self.within {
            Within::Facet if matches!(place, Place::Source | Place::Final) || name == "$facet" => {
                return error(40600, format!("{name} is not allowed to be used within a $facet stage"));
            }
            Within::Lookup if place == Place::Final => {
                return error(51047, format!("{name} is not allowed within a $lookup's sub-pipeline"));
            }
            Within::Union if place == Place::Final => {
                return error(31441, format!("{name} is not allowed within a $unionWith's sub-pipeline"));
            }
            _ => {}
        }
        if index > 0 && place == Place::Source {
            return error(40602, format!("{name} is only valid as the first stage in a pipeline."));
        }
        Ok(())
    }
}

/// The name and the operand of a stage.
fn only_field(stage: &RawDocument) -> Result<(&str, RawBsonRef<'_>), QueryError> {
    let mut fields = order::elements(stage);
    match (fields.next(), fields.next()) {
        (Some((name, operand)), None) => Ok((name.as_str(), operand)),
        _ => error(40323, "A pipeline stage specification object must contain exactly one field."),
    }
}

/// An error with one of the codes of aggregation.
pub(super) fn error<T>(code: i32, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::new(ErrorCode(code), message))
}

/// MongoDB's name of a value's type, for messages.
pub(super) fn type_name(value: RawBsonRef<'_>) -> &'static str {
    crate::raw::type_name(value.element_type())
}
