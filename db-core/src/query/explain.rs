//! Explaining a find in the shape of MongoDB's `explain`.

use std::sync::Arc;

use bson::{Document, doc};
use db_index::{Output, Plan, Projection};

use super::execute::{Execution, with_plan_request};
use super::{FindOptions, check};
use crate::error::Result;
use crate::view::ViewSnapshot;
use crate::view::catalog::CollectionMeta;

/// The plan of a find, and what executing it to its end costs.
pub(crate) fn explain(
    collection: &str,
    opened: Option<(ViewSnapshot, Arc<CollectionMeta>)>,
    options: &FindOptions,
) -> Result<Document> {
    let Some((view, meta)) = opened else {
        check(options)?;
        return Ok(doc! {
            "queryPlanner": { "namespace": collection, "winningPlan": { "stage": "EOF" }, "rejectedPlans": [] },
            "executionStats": { "executionSuccess": true, "nReturned": 0_i64, "totalKeysExamined": 0_i64, "totalDocsExamined": 0_i64 },
        });
    };
    let compiled = options.compile()?;
    let fields = compiled.projection.as_ref().and_then(Projection::fields);
    let borrowed: Option<Vec<&str>> =
        fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect());
    let output = borrowed.as_ref().map_or(Output::Documents, |fields| Output::Fields(fields));
    let mut planner = with_plan_request(&view, &meta, &compiled, output, |request| {
        Ok(Plan::new(request)?.explain(request))
    })?;
    planner.insert("namespace", collection);
    let mut execution = Execution::new(view, &meta, options)?;
    for document in execution.by_ref() {
        document?;
    }
    let stats = execution.stats();
    Ok(doc! {
        "queryPlanner": planner,
        "executionStats": {
            "executionSuccess": true,
            "nReturned": stats.returned.cast_signed(),
            "totalKeysExamined": stats.keys_examined.cast_signed(),
            "totalDocsExamined": stats.documents_examined.cast_signed(),
        },
    })
}
