//! Explaining a call in the shape of MongoDB's `explain`.

use std::sync::Arc;

use bson::{Document, doc};
use db_index::{Output, Plan};

use super::Compiled;
use super::execute::{Execution, ExecutionStats, with_plan_request};
use crate::error::Result;
use crate::view::ViewSnapshot;
use crate::view::catalog::CollectionMeta;

/// What is explained, and how much of it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explanation {
    pub(crate) purpose: Purpose,
    /// Whether the reading is done, and what it costs told.
    pub(crate) executes: bool,
}

/// What the documents found are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Find,
    Count,
    Update,
    Delete,
}

/// The plan and, if it is to be executed, what executing it to its end costs. Nothing is written.
pub(crate) fn explain(
    namespace: &str,
    opened: Option<(ViewSnapshot, Arc<CollectionMeta>)>,
    compiled: &Compiled,
    Explanation { purpose, executes }: Explanation,
) -> Result<Document> {
    let (mut planner, stats) = match opened {
        None => {
            let planner = doc! { "winningPlan": { "stage": "EOF" }, "rejectedPlans": [] };
            (planner, executes.then(ExecutionStats::default))
        }
        Some((view, meta)) => {
            let planner = planned(&view, &meta, compiled, purpose)?;
            let stats = if executes { Some(executed(view, &meta, compiled.clone(), purpose)?) } else { None };
            (planner, stats)
        }
    };
    planner.insert("namespace", namespace);
    if let Some(stage) = purpose.stage()
        && let Some(plan) = planner.remove("winningPlan")
    {
        planner.insert("winningPlan", doc! { "stage": stage, "inputStage": plan });
    }
    let stages = planner.get_document("winningPlan").cloned().unwrap_or_default();
    let mut told = doc! { "explainVersion": "1", "queryPlanner": planner };
    if let Some(stats) = stats {
        let mut stages = stages;
        stages.insert("nReturned", stats.returned.cast_signed());
        told.insert(
            "executionStats",
            doc! {
                "executionSuccess": true,
                "nReturned": stats.returned.cast_signed(),
                "totalKeysExamined": stats.keys_examined.cast_signed(),
                "totalDocsExamined": stats.documents_examined.cast_signed(),
                "executionStages": stages,
            },
        );
    }
    Ok(told)
}

impl Purpose {
    /// The stage in which the plan ends.
    fn stage(self) -> Option<&'static str> {
        match self {
            Self::Find => None,
            Self::Count => Some("COUNT"),
            Self::Update => Some("UPDATE"),
            Self::Delete => Some("DELETE"),
        }
    }
}

fn planned(
    view: &ViewSnapshot,
    meta: &Arc<CollectionMeta>,
    compiled: &Compiled,
    purpose: Purpose,
) -> Result<Document> {
    let ask = |output: Output<'_>| {
        with_plan_request(view, meta, compiled, output, |request| {
            let plan = Plan::new(request)?;
            let mut planner = plan.explain(request);
            if let Ok(stage) = planner.get_document("winningPlan").cloned() {
                planner.insert("winningPlan", around(stage, &plan, compiled));
            }
            Ok(planner)
        })
    };
    if purpose == Purpose::Count { ask(Output::Count) } else { compiled.output(ask) }
}

/// The stages around those that find the documents: the projection, what is skipped, and the limit, unless the sort has it.
fn around(mut stage: Document, plan: &Plan, compiled: &Compiled) -> Document {
    if compiled.skip > 0 {
        stage = doc! { "stage": "SKIP", "skipAmount": compiled.skip.cast_signed(), "inputStage": stage };
    }
    if let (Some(limit), false) = (compiled.limit, plan.sorts) {
        stage = doc! { "stage": "LIMIT", "limitAmount": limit.cast_signed(), "inputStage": stage };
    }
    if let (Some(projection), false) = (&compiled.projection, plan.is_covered()) {
        let name = if projection.fields().is_some() { "PROJECTION_SIMPLE" } else { "PROJECTION_DEFAULT" };
        let by = compiled.transform_by.as_deref().and_then(|by| Document::try_from(by).ok());
        stage = doc! { "stage": name, "transformBy": by.unwrap_or_default(), "inputStage": stage };
    }
    stage
}

fn executed(
    view: ViewSnapshot,
    meta: &Arc<CollectionMeta>,
    compiled: Compiled,
    purpose: Purpose,
) -> Result<ExecutionStats> {
    if purpose == Purpose::Count {
        let mut execution = Execution::counting(view, meta, compiled)?;
        let returned = execution.count_all()?;
        return Ok(ExecutionStats { returned, ..execution.stats() });
    }
    let mut execution = Execution::new(view, meta, compiled)?;
    for document in execution.by_ref() {
        document?;
    }
    Ok(execution.stats())
}
