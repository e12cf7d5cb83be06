//! What a stream makes of its events: a pipeline of the stages that look at one document at a time.

use std::sync::Arc;

use bson::{RawArray, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf};
use db_index::{
    CollectionStatistics, ErrorCode, Outside, Pipeline, PipelineFind, PipelineSettings, QueryError, Rows,
};

use crate::collection::here_and_now;
use crate::error::{Error, Result};

/// The stages that MongoDB allows on events.
const ALLOWED: [&str; 8] =
    ["$match", "$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith", "$redact"];

/// MongoDB's `IllegalOperation` and `ChangeStreamFatalError`.
const ILLEGAL_OPERATION: ErrorCode = ErrorCode(20);
const FATAL: ErrorCode = ErrorCode(280);

/// A compiled pipeline on events.
pub(super) struct Stages(Pipeline);

impl Stages {
    /// Compiles them; none if there are none.
    ///
    /// # Errors
    /// `IllegalOperation` (20) for a stage that cannot stand here; those of the stages.
    pub(super) fn parse(stages: &RawArrayBuf) -> Result<Option<Self>> {
        let stages: &RawArray = stages;
        if stages.is_empty() {
            return Ok(None);
        }
        for stage in stages {
            let stage = stage.ok();
            let name = stage.as_ref().and_then(|stage| match stage {
                RawBsonRef::Document(stage) => stage.iter_elements().next()?.ok(),
                _ => None,
            });
            // What is no stage at all is the parser's to refuse.
            if let Some(name) = name.map(|element| element.key().as_str())
                && !ALLOWED.contains(&name)
            {
                let message = format!(
                    "{name:.40} is not permitted in a change stream pipeline: there are {}",
                    ALLOWED.join(", ")
                );
                return Err(QueryError::new(ILLEGAL_OPERATION, message).into());
            }
        }
        // The stages stand for themselves; the parser wants to know a collection all the same.
        let settings = PipelineSettings { collection: "system.changes".to_owned(), context: here_and_now() };
        Ok(Some(Self(Pipeline::parse(stages, &settings)?)))
    }

    /// What is made of an event, if anything.
    ///
    /// # Errors
    /// Those of the stages; `ChangeStreamFatalError` (280) if they touch the `_id`, by which the stream is resumed.
    pub(super) fn apply(&self, event: &RawDocumentBuf) -> Result<Option<RawDocumentBuf>> {
        let input = Box::new(std::iter::once(Ok(event.clone())));
        let Some(made) = self.0.run_over(input, &Arc::new(Nothing))?.next().transpose()? else {
            return Ok(None);
        };
        if id(&made) != id(event) {
            let message = "Encountered an event whose _id field, which contains the resume token, was modified by the \
                           pipeline. Modifying the _id field of an event makes it impossible to resume the stream from \
                           that point. Only transformations that retain the unmodified _id field are allowed.";
            return Err(QueryError::new(FATAL, message).into());
        }
        Ok(Some(made))
    }
}

fn id(event: &RawDocument) -> Option<RawBsonRef<'_>> {
    event.get("_id").ok().flatten()
}

/// The world around events: the stages that are allowed ask nothing of it.
struct Nothing;

impl Nothing {
    fn none<T>() -> Result<T> {
        Err(QueryError::new(ILLEGAL_OPERATION, "a change stream pipeline reads nothing but events").into())
    }
}

impl Outside for Nothing {
    type Error = Error;

    fn find(&self, _: PipelineFind) -> Result<Rows<Error>> {
        Self::none()
    }

    fn serves_equality(&self, _: &str, _: &str) -> Result<bool> {
        Self::none()
    }

    fn location_field(&self, _: &str) -> Result<Option<String>> {
        Self::none()
    }

    fn collection_statistics(&self, _: &str, _: CollectionStatistics) -> Result<RawDocumentBuf> {
        Self::none()
    }

    fn index_statistics(&self, _: &str) -> Result<Vec<RawDocumentBuf>> {
        Self::none()
    }
}
