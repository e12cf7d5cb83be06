//! Aggregation pipelines: compiled once, run as a chain of pull-based adapters over raw documents.
//!
//! A pipeline knows no collection. The caller runs the find that [`Pipeline::leading`] describes, hands its documents to
//! [`Pipeline::run`] and pulls; what stages need beyond their input they ask of [`Outside`]. A pipeline that ends in `$out`
//! or `$merge` names where the documents go ([`Pipeline::target`]); carrying that out is the caller's part.
//!
//! Time, chance and variables are in [`PipelineSettings`]; nothing else decides what comes out. Stages that must hold
//! documents do so within [`PIPELINE_BYTES_MAX`] each; stages that need not hold none.

mod accumulator;
mod edit;
mod fields;
mod join;
mod leading;
mod optimize;
mod outside;
mod parse;
mod rows;
mod stage;
mod stages;
mod target;
mod window;

use std::sync::Arc;

use bson::RawArray;
use bson::raw::RawDocumentBuf;

use self::outside::{Context, Variables};
use self::parse::{Parsed, Parser};
use self::rows::{filter_map, until_error};
use self::stage::{Place, Stage};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::filter::Filter;

pub use leading::Leading;
pub use outside::{CollectionStatistics, Outside, PipelineFind, Rows};
pub use target::{MergeMatched, MergePipeline, MergeTarget, MergeUnmatched, OutTarget, Target};

/// The most bytes that a stage may hold: MongoDB's default.
pub const PIPELINE_BYTES_MAX: usize = 100 * 1024 * 1024;

/// The most stages of a pipeline, those of pipelines within it included.
pub const PIPELINE_STAGES_MAX: usize = 1000;

/// How deep pipelines may stand in `$lookup`, `$unionWith` and `$facet` of one another.
pub const PIPELINE_DEPTH_MAX: usize = 20;

/// What a pipeline is compiled with: everything that its result depends on beside documents.
#[derive(Debug, Clone, Default)]
pub struct PipelineSettings {
    /// The collection that the pipeline runs on; empty for a pipeline on the database.
    pub collection: String,
    /// The variables of the command's `let`, the time that `$$NOW` stands for, and the chance that `$sample` and `$rand` draw
    /// from.
    pub context: QueryContext,
}

/// A compiled pipeline. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Pipeline {
    leading: Arc<Leading>,
    /// The stages that are left to run on what the leading find gives.
    stages: Arc<[Stage]>,
    target: Option<Arc<Target>>,
    settings: Arc<RunSettings>,
}

/// What stages read of the settings while they run.
#[derive(Debug)]
struct RunSettings {
    collection: Arc<str>,
    context: QueryContext,
}

impl Pipeline {
    /// Compiles `stages`. They have passed [`check_document`](crate::check_document) as part of a document.
    ///
    /// # Errors
    /// MongoDB's codes: 14 for a stage that is no document, 40323 for one without exactly one field, 40324 for an unknown
    /// name, 40601 and 40602 for a stage out of its place, 7749501 beyond [`PIPELINE_STAGES_MAX`], 232 beyond
    /// [`PIPELINE_DEPTH_MAX`], and those of each stage's operand; `NotImplemented` (238) for what is left out by intent.
    pub fn parse(stages: &RawArray, settings: &PipelineSettings) -> Result<Self, QueryError> {
        let parser = Parser::new(settings);
        Ok(Self::assemble(parser.pipeline(stages)?, settings.clone()))
    }

    fn assemble(parsed: Parsed, settings: PipelineSettings) -> Self {
        let Parsed { stages, target, fields } = parsed;
        let (mut leading, stages) = leading::split(optimize::optimize(stages));
        leading.fields = fields;
        Self {
            leading: Arc::new(leading),
            stages: stages.into(),
            target: target.map(Arc::new),
            settings: Arc::new(RunSettings {
                collection: settings.collection.into(),
                context: settings.context,
            }),
        }
    }

    /// The find whose documents [`Pipeline::run`] expects: what the pipeline begins with, where an index may serve it.
    pub fn leading(&self) -> &Leading {
        &self.leading
    }

    /// Whether the pipeline begins with the leading find. Otherwise it begins with a source of its own (`$documents`,
    /// `$collStats`, `$geoNear`, `$indexStats`), the leading find is empty, and [`Pipeline::run`] ignores its input.
    pub fn reads_collection(&self) -> bool {
        self.stages.first().is_none_or(|stage| stage.place() != Place::Source)
    }

    /// Where the documents go, if the pipeline ends in `$out` or `$merge`.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_deref()
    }

    /// The other collections that the pipeline reads, each once, in no particular order.
    pub fn collections(&self) -> Vec<String> {
        let mut names = Vec::new();
        for stage in self.stages.iter() {
            stage.collections(&mut names);
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names of the stages that run after the leading find, for `explain`.
    pub fn stage_names(&self) -> Vec<&'static str> {
        self.stages.iter().map(Stage::name).collect()
    }

    /// Runs the pipeline on `input`, the documents that the leading find gives. Nothing is read before the first document
    /// is asked for; after an error nothing more comes.
    pub fn run<O: Outside>(&self, input: Rows<O::Error>, outside: &Arc<O>) -> Rows<O::Error> {
        self.run_with(input, outside, &Variables::default())
    }

    /// Runs the whole pipeline on documents that are at hand, the leading find included.
    ///
    /// # Errors
    /// Those of putting values into the leading find's filter.
    pub fn run_over<O: Outside>(
        &self,
        input: Rows<O::Error>,
        outside: &Arc<O>,
    ) -> Result<Rows<O::Error>, QueryError> {
        self.run_on(input, outside, &Variables::default())
    }

    /// Runs the pipeline as part of another one, whose variables come with their present values.
    fn run_with<O: Outside>(
        &self,
        input: Rows<O::Error>,
        outside: &Arc<O>,
        variables: &Variables,
    ) -> Rows<O::Error> {
        self.run_stages(&self.stages, input, outside, variables)
    }

    fn run_stages<O: Outside>(
        &self,
        stages: &[Stage],
        input: Rows<O::Error>,
        outside: &Arc<O>,
        variables: &Variables,
    ) -> Rows<O::Error> {
        let mut rows = input;
        for stage in stages {
            let context = Context {
                outside: Arc::clone(outside),
                collection: Arc::clone(&self.settings.collection),
                variables: variables.clone(),
                query: self.settings.context.clone(),
            };
            rows = stage.run(rows, context);
        }
        until_error(rows)
    }

    /// Reads what the leading find describes, of that only what meets `more`, and runs the pipeline on it.
    fn find_and_run<O: Outside>(
        &self,
        outside: &Arc<O>,
        variables: &Variables,
        more: Option<&RawDocumentBuf>,
    ) -> Result<Rows<O::Error>, O::Error> {
        if self.reads_collection() {
            let input = outside.find(self.leading.find(&self.settings, variables, more)?)?;
            return Ok(self.run_with(input, outside, variables));
        }
        let (Some(more), Some((source, rest))) = (more, self.stages.split_first_chunk::<1>()) else {
            return Ok(self.run_with(rows::none(), outside, variables));
        };
        let filter = Filter::parse_in(more, &self.settings.context)?;
        let rows = self.run_stages(source, rows::none(), outside, variables);
        let rows = filter_map(rows, move |document| Ok(filter.matches(&document)?.then_some(document)));
        Ok(self.run_stages(rest, rows, outside, variables))
    }

    /// Whether what the pipeline begins with is the same for every run, so that [`Pipeline::find_whole`] finds it all.
    fn can_be_read_whole(&self) -> bool {
        self.reads_collection() && self.leading.is_plain()
    }

    /// Reads what the leading find describes, with `field` among what is read.
    fn find_whole<O: Outside>(&self, outside: &Arc<O>, field: &str) -> Result<Rows<O::Error>, O::Error> {
        let mut find = self.leading.find(&self.settings, &Variables::default(), None)?;
        if let Some(fields) = &mut find.fields {
            fields.extend(field.split('.').next().map(str::to_owned));
        }
        outside.find(find)
    }

    /// Runs the whole pipeline on documents that are at hand.
    fn run_on<O: Outside>(
        &self,
        input: Rows<O::Error>,
        outside: &Arc<O>,
        variables: &Variables,
    ) -> Result<Rows<O::Error>, QueryError> {
        let input = self.leading.apply(input, &self.settings.context, variables)?;
        Ok(self.run_with(input, outside, variables))
    }
}

#[cfg(test)]
mod tests;
