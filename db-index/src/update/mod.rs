//! Updates: MongoDB's update documents, compiled once and applied to raw BSON.
//!
//! Whatever can be refused without a document is refused by [`Update::parse`]. [`Update::apply`] is a function of the
//! document, the update and the context alone, so that every peer that replays an update gets the same bytes; it gives a
//! new document or an error, never something in between.

mod array_filters;
mod effects;
mod operators;
mod parse;
mod path;
mod pipeline;
mod replace;
mod resolve;
mod rewrite;
mod tree;
mod upsert;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawArray, RawBsonRef};

use self::array_filters::ArrayFilters;
use self::operators::Surroundings;
use self::parse::Operators;
use self::pipeline::Pipeline;
use crate::collation::Collation;
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::guard;
use crate::limits::ELEMENTS_MAX;
use crate::raw::{Elements, Writer, malformed, type_name};

pub use effects::plain_effects;
pub use replace::changed_fields;
pub use upsert::upsert_document;

/// A compiled update: operators, a document to replace with, or a pipeline of stages.
#[derive(Debug, Clone)]
pub struct Update {
    source: RawDocumentBuf,
    array_filters: Vec<RawDocumentBuf>,
    kind: Kind,
    /// How strings are compared.
    collation: Option<Collation>,
}

#[derive(Debug, Clone)]
enum Kind {
    Operators(Box<Operators>),
    /// The source is the replacement.
    Replacement,
    Pipeline(Box<Pipeline>),
}

/// What goes with an update document when it is compiled.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// The conditions that `$[id]` parts of paths refer to, one document for each `id`.
    pub array_filters: Vec<RawDocumentBuf>,
    /// Whether the update is meant for all matching documents, which a replacement cannot be.
    pub multi: bool,
    /// How strings are compared, and what else the stages of a pipeline may look at.
    pub context: QueryContext,
}

/// What an update is applied with, besides the document.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpdateContext {
    /// The author's time in milliseconds since 1970: what `$currentDate` sets.
    pub now_ms: i64,
    /// The array index by which the filter matched the document: what `$` stands for.
    pub positional: Option<usize>,
    /// Whether an upsert is inserting, so that `$setOnInsert` counts and `_id` may be set.
    pub is_insert: bool,
}

/// The outcome of an update on one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Updated {
    /// The document after the update.
    pub document: RawDocumentBuf,
    /// Whether it counts as modified: its bytes differ, or it was replaced.
    pub changed: bool,
}

impl Update {
    /// Compiles an update document: a replacement unless its first field starts with `$`.
    ///
    /// # Errors
    /// MongoDB's codes: `FailedToParse` (9) for unknown or mixed operators, a replacement of many, and array filters that
    /// are unused or double; `ConflictingUpdateOperators` (40) for paths that meet; `DollarPrefixedFieldName` (52),
    /// `EmptyFieldName` (56) and `BadValue` (2) for paths; `BadValue` or `TypeMismatch` (14) for operands.
    pub fn parse(document: &RawDocument, options: &UpdateOptions) -> Result<Self, QueryError> {
        let first = Elements::of_document(document).next().transpose()?;
        let kind = if first.is_some_and(|first| first.key.starts_with('$')) {
            let filters = ArrayFilters::parse(&options.array_filters, &options.context)?;
            Kind::Operators(Box::new(parse::operators(document, filters, &options.context)?))
        } else {
            replace::check(document, options)?;
            Kind::Replacement
        };
        let collation = options.context.collation.clone();
        Ok(Self {
            source: document.to_owned(),
            array_filters: options.array_filters.clone(),
            kind,
            collation,
        })
    }

    /// Compiles an update that may be of any type, as it arrives in a command.
    ///
    /// # Errors
    /// Those of [`Update::parse`] and [`Update::parse_pipeline`]; `FailedToParse` (9) for other types.
    pub fn parse_value(value: RawBsonRef<'_>, options: &UpdateOptions) -> Result<Self, QueryError> {
        match value {
            RawBsonRef::Document(document) => Self::parse(document, options),
            RawBsonRef::Array(_) if !options.array_filters.is_empty() => Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                "array filters may not be specified for an update pipeline",
            )),
            RawBsonRef::Array(stages) => Self::parse_pipeline(stages, &options.context),
            other => Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                format!(
                    "an update must be a document or a pipeline, not a value of type {}",
                    type_name(other.element_type())
                ),
            )),
        }
    }

    /// Compiles a pipeline of `$set`, `$unset`, `$project`, `$replaceWith` and their other names, in surroundings
    /// that are known.
    ///
    /// A pipeline is never replayable: log its [`plain_effects`].
    ///
    /// # Errors
    /// `InvalidOptions` (72) for a stage that no update may have; those of [`crate::Reshape::parse`].
    pub fn parse_pipeline(stages: &RawArray, context: &QueryContext) -> Result<Self, QueryError> {
        let kind = Kind::Pipeline(Box::new(Pipeline::parse(stages, context)?));
        // The bytes of an array are those of a document with the indexes for names.
        let source =
            RawDocumentBuf::from_bytes(stages.as_bytes().to_vec()).map_err(|error| malformed(&error))?;
        Ok(Self { source, array_filters: Vec::new(), kind, collation: context.collation.clone() })
    }

    /// Applies the update to a document that has passed the guard ([`crate::check_document`]).
    ///
    /// The result would pass it too.
    ///
    /// # Errors
    /// Those that depend on the document: `TypeMismatch` (14), `BadValue` (2), `PathNotViable` (28), `ImmutableField`
    /// (66); `BSONObjectTooLarge` (10334) or `Overflow` (15) if the result breaks a limit; `InvalidBSON` (22) for a
    /// document that never passed the guard.
    pub fn apply(&self, document: &RawDocument, context: &UpdateContext) -> Result<Updated, QueryError> {
        let operators = match &self.kind {
            Kind::Operators(operators) => operators,
            Kind::Replacement => {
                return Ok(Updated { document: replace::apply(&self.source, document)?, changed: true });
            }
            Kind::Pipeline(pipeline) => {
                let updated = pipeline.apply(document, context)?;
                guard::check_document(updated.as_bytes())?;
                let changed = updated.as_bytes() != document.as_bytes();
                return Ok(Updated { document: updated, changed });
            }
        };
        let renamed = operators
            .rename_sources
            .iter()
            .map(|source| rewrite::rename_source(document, source))
            .collect::<Result<_, _>>()?;
        let tree = match &operators.insert_tree {
            Some(tree) if context.is_insert => tree,
            _ => &operators.tree,
        };
        let pass = rewrite::Pass {
            leaves: &operators.leaves,
            filters: &operators.filters,
            surroundings: Surroundings {
                now_ms: context.now_ms,
                renamed,
                collation: self.collation.as_ref(),
            },
            positional: context.positional,
            dollar_fields: context.is_insert,
            writer: Writer::with_capacity(document.as_bytes().len() + self.source.as_bytes().len()),
            changed: false,
            arrays: 0,
        };
        let (document, changed) = pass.run(tree, document)?;
        // What a document that passed the guard and a compiled update make is well-formed and within the size; an element
        // has two bytes at least.
        let many_elements = document.as_bytes().len() > 2 * ELEMENTS_MAX;
        if changed && (many_elements || operators.may_be_too_deep) {
            guard::check_document(document.as_bytes())?;
        }
        Ok(Updated { document, changed })
    }

    /// Whether this is a replacement rather than a set of operators.
    pub fn is_replacement(&self) -> bool {
        matches!(self.kind, Kind::Replacement)
    }

    /// Whether a path has the positional `$`, so that [`UpdateContext::positional`] is needed.
    pub fn needs_position(&self) -> bool {
        matches!(&self.kind, Kind::Operators(operators) if operators.is_positional)
    }

    /// The update document that this was compiled from: what is logged, together with [`Update::array_filters`]. For a
    /// pipeline it holds the stages under their indexes.
    pub fn to_document(&self) -> &RawDocument {
        &self.source
    }

    /// The array filters that this was compiled with.
    pub fn array_filters(&self) -> &[RawDocumentBuf] {
        &self.array_filters
    }

    /// The paths that the update may touch in an existing document, each up to its first `$`, `$[]` or `$[id]`; both ends
    /// of a `$rename`. For a replacement these are the fields that it holds: see [`changed_fields`] for what it changes. A
    /// pipeline may touch anything: its [`plain_effects`] tell what it did.
    pub fn touched_paths(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Operators(operators) => operators
                .leaves
                .iter()
                .filter(|leaf| !leaf.insert_only)
                .map(|leaf| path::fixed_prefix(&leaf.path))
                .collect(),
            Kind::Pipeline(_) => Vec::new(),
            Kind::Replacement => {
                self.source.iter().map_while(Result::ok).map(|(key, _)| key.as_str()).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
