//! Updates by a pipeline of stages.

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawArray, RawBsonRef};

use super::{UpdateContext, replace};
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::expression::{Reshape, Value};
use crate::raw::Elements;

/// The most stages of an update pipeline.
const STAGES_MAX: usize = 1000;

/// A compiled pipeline.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    stages: Vec<Reshape>,
}

impl Pipeline {
    pub(super) fn parse(stages: &RawArray, context: &QueryContext) -> Result<Self, QueryError> {
        let mut compiled = Vec::new();
        for stage in Elements::of_array(stages) {
            let stage = stage?;
            let RawBsonRef::Document(stage) = stage.value()? else {
                let message = "each element of an update pipeline must be a document";
                return Err(QueryError::new(ErrorCode::TYPE_MISMATCH, message));
            };
            let mut fields = Elements::of_document(stage);
            let first = fields.next().transpose()?;
            let (Some(first), None) = (first, fields.next()) else {
                let message = "a pipeline stage specification object must contain exactly one field";
                return Err(QueryError::new(ErrorCode(40323), message));
            };
            if !matches!(
                first.key,
                "$set" | "$addFields" | "$unset" | "$project" | "$replaceRoot" | "$replaceWith"
            ) {
                return Err(QueryError::new(
                    ErrorCode::INVALID_OPTIONS,
                    format!("the stage '{}' is not allowed within an update", first.key),
                ));
            }
            compiled.push(Reshape::parse_in(first.key, first.value()?, &[], context)?);
            if compiled.len() > STAGES_MAX {
                let message = format!("an update pipeline may have at most {STAGES_MAX} stages");
                return Err(QueryError::new(ErrorCode::FAILED_TO_PARSE, message));
            }
        }
        Ok(Self { stages: compiled })
    }

    /// The document that the stages make, with the `_id` of the one they start from.
    pub(super) fn apply(
        &self,
        document: &RawDocument,
        context: &UpdateContext,
    ) -> Result<RawDocumentBuf, QueryError> {
        let mut value = Value::Raw(RawBsonRef::Document(document));
        for stage in &self.stages {
            value = stage.apply(&value, &[], context.now_ms)?;
        }
        replace::apply(&value.to_document()?.unwrap_or_default(), document)
    }
}
