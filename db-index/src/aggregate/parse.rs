//! From BSON to stages.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use bson::raw::RawDocument;
use bson::{RawArray, RawBsonRef};

use super::outside::Variables;
use super::stage::{Place, Stage};
use super::stages::matching::Match;
use super::target::Target;
use super::{PIPELINE_DEPTH_MAX, PIPELINE_STAGES_MAX, Pipeline, PipelineSettings, fields};
use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::expression::{Expression, Reshape};
use crate::filter::Filter;
use crate::order;

/// The names of all stages.
const STAGES: &[&str] = &[
    "$addFields",
    "$bucket",
    "$bucketAuto",
    "$collStats",
    "$count",
    "$densify",
    "$documents",
    "$facet",
    "$fill",
    "$geoNear",
    "$graphLookup",
    "$group",
    "$indexStats",
    "$limit",
    "$lookup",
    "$match",
    "$merge",
    "$out",
    "$project",
    "$redact",
    "$replaceRoot",
    "$replaceWith",
    "$sample",
    "$set",
    "$setWindowFields",
    "$skip",
    "$sort",
    "$sortByCount",
    "$unionWith",
    "$unset",
    "$unwind",
];

/// What a pipeline stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// It is the command's own.
    Command,
    Lookup,
    Union,
    Facet,
}

/// The stages of a pipeline, compiled.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) stages: Vec<Stage>,
    pub(super) target: Option<Target>,
    /// The fields of the documents that they look at, if that can be told.
    pub(super) fields: Option<Vec<String>>,
}

/// Compiles the stages of one pipeline.
#[derive(Debug)]
pub(super) struct Parser<'s> {
    context: Cow<'s, QueryContext>,
    /// The collection that the pipeline runs on.
    pub(super) collection: String,
    /// The names of the variables that `$lookup`s around bring.
    names: Vec<String>,
    within: Within,
    depth: usize,
    /// How many stages there are so far, in this pipeline and those around and within it: each is an adapter that calls the
    /// one before it.
    count: Rc<Cell<usize>>,
}

impl<'s> Parser<'s> {
    pub(super) fn new(settings: &'s PipelineSettings) -> Self {
        Self {
            context: Cow::Borrowed(&settings.context),
            collection: settings.collection.clone(),
            names: Vec::new(),
            within: Within::Command,
            depth: 1,
            count: Rc::default(),
        }
    }

    /// What the pipeline is compiled with.
    pub(super) fn context(&self) -> &QueryContext {
        &self.context
    }

    /// The names of the variables whose values come with each run.
    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// Whether there are such variables.
    pub(super) fn has_open_variables(&self) -> bool {
        !self.names.is_empty()
    }

    pub(super) fn expression(&self, value: RawBsonRef<'_>) -> Result<Expression, QueryError> {
        Expression::parse_in(value, &self.names(), self.context())
    }

    /// An expression that knows `more` variables.
    pub(super) fn expression_with(
        &self,
        value: RawBsonRef<'_>,
        more: &[String],
    ) -> Result<Expression, QueryError> {
        let names = [&self.names, more].concat();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Expression::parse_in(value, &names, self.context())
    }

    pub(super) fn reshape(&self, name: &str, operand: RawBsonRef<'_>) -> Result<Reshape, QueryError> {
        Reshape::parse_in(name, operand, &self.names(), self.context())
    }

    /// The operand of a `$match`.
    pub(super) fn condition(&self, filter: &RawDocument) -> Result<Match, QueryError> {
        let names = self.names.iter().map(|name| (name.as_str().into(), None));
        let filter_context = Variables::default().and(names).within(self.context());
        let compiled = Filter::parse_in(filter, &filter_context)?;
        if compiled.nearness().is_some() {
            return error(
                5_626_500,
                "$geoNear, $near, and $nearSphere are not allowed in this context, as these operators require sorting \
                 geospatial data. If you do not need sort, consider using $geoWithin instead.",
            );
        }
        Ok(if self.has_open_variables() && compiled.has_expression() {
            Match::Open(filter.to_owned())
        } else {
            Match::Bound(compiled)
        })
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
        let mut context = QueryContext::clone(&self.context);
        if collection != self.collection {
            context.text = None; // that is the index of this collection
        }
        let inner = Parser {
            context: Cow::Owned(context.clone()),
            collection: collection.to_owned(),
            names,
            within,
            depth,
            count: Rc::clone(&self.count),
        };
        let parsed = inner.pipeline(stages)?;
        let settings = PipelineSettings { collection: collection.to_owned(), context };
        Ok(Pipeline::assemble(parsed, settings))
    }

    /// Compiles `stages`.
    pub(super) fn pipeline(&self, stages: &RawArray) -> Result<Parsed, QueryError> {
        let (mut compiled, mut target) = (Vec::new(), None);
        let stages = outlines(stages)?;
        let fields = fields::needed(&stages);
        self.check_source(stages.first().map(|(name, _)| *name))?;
        for (index, (name, operand)) in stages.into_iter().enumerate() {
            if target.is_some() {
                return error(
                    40601,
                    "$out and $merge can only be the final stage in the pipeline".to_owned(),
                );
            }
            self.check_place(name, operand, index)?;
            if matches!(name, "$out" | "$merge") {
                target = Some(Target::parse(name, operand, self)?);
            } else {
                let before = compiled.len();
                Stage::parse(name, operand, self, &mut compiled)?;
                check_score(&compiled)?;
                self.count.set(self.count.get() + compiled.len() - before);
                check_length(self.count.get())?;
            }
        }
        Ok(Parsed { stages: compiled, target, fields })
    }

    /// Refuses to take documents from where there are none.
    fn check_source(&self, first: Option<&str>) -> Result<(), QueryError> {
        match (self.within, first, self.collection.is_empty()) {
            (Within::Command, Some("$documents"), false) => {
                error(73, "'$documents' can only be run with {aggregate: 1}")
            }
            (Within::Command, first, true) if first != Some("$documents") => error(
                73,
                format!(
                    "{{aggregate: 1}} is not valid for '{}'; a collection is required.",
                    first.unwrap_or_default()
                ),
            ),
            _ => Ok(()),
        }
    }

    /// Refuses a stage where it may not stand.
    fn check_place(&self, name: &str, operand: RawBsonRef<'_>, index: usize) -> Result<(), QueryError> {
        if let ("$match", RawBsonRef::Document(filter)) = (name, operand)
            && (index > 0 || self.within == Within::Facet)
            && searches_text(filter)
        {
            return error(17313, "$match with $text is only allowed as the first pipeline stage");
        }
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

/// The names and operands of all stages: what is wrong with these is told before what is wrong with an operand.
fn outlines(stages: &RawArray) -> Result<Vec<(&str, RawBsonRef<'_>)>, QueryError> {
    let mut outlines = Vec::new();
    for stage in order::array_elements(stages) {
        let RawBsonRef::Document(stage) = stage else {
            return error(14, "Each element of the 'pipeline' array must be an object");
        };
        let (name, operand) = only_field(stage)?;
        if !STAGES.contains(&name) {
            return error(40324, format!("Unrecognized pipeline stage name: '{name}'"));
        }
        outlines.push((name, operand));
        check_length(outlines.len())?;
    }
    Ok(outlines)
}

fn check_length(stages: usize) -> Result<(), QueryError> {
    if stages > PIPELINE_STAGES_MAX {
        return error(
            7_749_501,
            format!("Pipeline length must be no longer than {PIPELINE_STAGES_MAX} stages"),
        );
    }
    Ok(())
}

/// The name and the operand of a stage.
fn only_field(stage: &RawDocument) -> Result<(&str, RawBsonRef<'_>), QueryError> {
    let mut fields = order::elements(stage);
    match (fields.next(), fields.next()) {
        (Some((name, operand)), None) => Ok((name.as_str(), operand)),
        _ => error(40323, "A pipeline stage specification object must contain exactly one field."),
    }
}

/// Refuses a sort by the score of a search where the documents have none.
fn check_score(compiled: &[Stage]) -> Result<(), QueryError> {
    let Some((Stage::Sort(sort), before)) = compiled.split_last() else { return Ok(()) };
    if !sort.sort().uses_text_score() {
        return Ok(());
    }
    let searches = |stage: &Stage| matches!(stage, Stage::Match(condition) if matches!(&**condition, Match::Bound(filter) if filter.has_text()));
    if !before.iter().any(searches) {
        return error(
            ErrorCode::META_NOT_AVAILABLE.0,
            "query requires text score metadata, but it is not available",
        );
    }
    if before.iter().any(|stage| !matches!(stage, Stage::Match(_))) {
        return error(
            ErrorCode::NOT_IMPLEMENTED.0,
            "$meta is not supported in a sort behind other stages than $match",
        );
    }
    Ok(())
}

/// Whether a `$text` is among the conditions of a filter. The recursion is as deep as the filter.
fn searches_text(filter: &RawDocument) -> bool {
    order::elements(filter).any(|(name, value)| match (name.as_str(), value) {
        ("$text", _) => true,
        ("$and" | "$or" | "$nor", RawBsonRef::Array(clauses)) => order::array_elements(clauses)
            .any(|clause| matches!(clause, RawBsonRef::Document(clause) if searches_text(clause))),
        _ => false,
    })
}

/// Whether a collection can be called so.
pub(super) fn is_collection_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0') && !name.starts_with('.')
}

/// An error with one of the codes of aggregation.
pub(super) fn error<T>(code: i32, message: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError::new(ErrorCode(code), message))
}

/// MongoDB's name of a value's type, for messages.
pub(super) fn type_name(value: RawBsonRef<'_>) -> &'static str {
    crate::raw::type_name(value.element_type())
}
