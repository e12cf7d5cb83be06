//! Explaining a call in the shape of MongoDB's `explain`.

use std::sync::Arc;

use bson::{Document, doc};
use db_index::{Output, Plan, Projection};

use super::execute::{Execution, ExecutionStats, with_plan_request};
use super::{FindOptions, check};
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
    collection: &str,
    opened: Option<(ViewSnapshot, Arc<CollectionMeta>)>,
    options: &FindOptions,
    Explanation { purpose, executes }: Explanation,
) -> Result<Document> {
    let (mut planner, stats) = match opened {
        None => {
            check(options)?;
            let planner = doc! { "winningPlan": { "stage": "EOF" }, "rejectedPlans": [] };
            (planner, executes.then(ExecutionStats::default))
        }
        Some((view, meta)) => {
            let planner = planned(&view, &meta, options, purpose)?;
            let stats = if executes { Some(executed(view, &meta, options, purpose)?) } else { None };
            (planner, stats)
        }
    };
    planner.insert("namespace", collection);
    if let Some(stage) = purpose.stage()
        && let Some(plan) = planner.remove("winningPlan")
    {
        planner.insert("winningPlan", doc! { "stage": stage, "inputStage": plan });
    }
    let mut told = doc! { "queryPlanner": planner };
    if let Some(stats) = stats {
        told.insert(
            "executionStats",
            doc! {
                "executionSuccess": true,
                "nReturned": stats.returned.cast_signed(),
                "totalKeysExamined": stats.keys_examined.cast_signed(),
                "totalDocsExamined": stats.documents_examined.cast_signed(),
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
    options: &FindOptions,
    purpose: Purpose,
) -> Result<Document> {
    let compiled = options.compile()?;
    let fields = compiled.projection.as_ref().and_then(Projection::fields);
    let borrowed: Option<Vec<&str>> =
        fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect());
    let output = match &borrowed {
        _ if purpose == Purpose::Count => Output::Count,
        Some(fields) => Output::Fields(fields),
        None => Output::Documents,
    };
    with_plan_request(view, meta, &compiled, output, |request| Ok(Plan::new(request)?.explain(request)))
}

fn executed(
    view: ViewSnapshot,
    meta: &Arc<CollectionMeta>,
    options: &FindOptions,
    purpose: Purpose,
) -> Result<ExecutionStats> {
    if purpose == Purpose::Count {
        let mut execution = Execution::counting(view, meta, options)?;
        let returned = execution.count_all()?;
        return Ok(ExecutionStats { returned, ..execution.stats() });
    }
    let mut execution = Execution::new(view, meta, options)?;
    for document in execution.by_ref() {
        document?;
    }
    Ok(execution.stats())
}
