//! `Documents.Explain`.

use bson::Document;
use db_core::Database;
use proto::v1::{ExplainRequest, ExplainResponse, Verbosity, explain_request::Call};
use tonic::Status;

use super::aggregate::Aggregation;
use super::changes::{Delete, Update};
use super::find::Question;
use super::options::present_unless;
use crate::convert::{self, Form};
use crate::error::invalid;
use crate::node::{Node, Sees};

/// Tells how a call would be carried out.
///
/// # Errors
/// `INVALID_ARGUMENT` if the call is missing or malformed; what the engine says to it.
pub(super) async fn explain(node: &Node, request: ExplainRequest) -> Result<ExplainResponse, Status> {
    let executes = match Verbosity::try_from(request.verbosity) {
        Ok(Verbosity::QueryPlanner) => false,
        Ok(Verbosity::Unspecified | Verbosity::ExecutionStats) => true,
        Err(_) => return Err(invalid(format!("unknown verbosity {}", request.verbosity), None)),
    };
    let Some(call) = request.call else { return Err(invalid("the call to explain is missing", None)) };
    let (format, given, database, collection) = match &call {
        Call::Find(call) => (call.format, &call.filter, &call.database, &call.collection),
        Call::Count(call) => (0, &call.filter, &call.database, &call.collection),
        Call::Distinct(call) => (call.format, &call.filter, &call.database, &call.collection),
        Call::UpdateOne(call) | Call::UpdateMany(call) => {
            (call.format, &call.filter, &call.database, &call.collection)
        }
        Call::DeleteOne(call) | Call::DeleteMany(call) => (0, &call.filter, &call.database, &call.collection),
        Call::Aggregate(call) => (call.format, &None, &call.database, &call.collection),
    };
    let first_stage = match &call {
        Call::Aggregate(call) => call.pipeline.first(),
        _ => None,
    };
    let form = Form::of(format, given.as_ref().or(first_stage))?;
    let (database, collection) = (database.clone(), collection.clone());
    let (sees, explained) = explanation(call, executes)?;
    let plan = node.read_view(database, sees, move |database| explained(database, &collection)).await?;
    Ok(ExplainResponse { plan: Some(convert::decoded(&plan, form)?) })
}

/// What remains to be done with the database and the collection's name.
type Explained = Box<dyn FnOnce(&Database, &str) -> db_core::Result<Document> + Send>;

fn explanation(call: Call, executes: bool) -> Result<(Sees, Explained), Status> {
    let mut sees = present_unless(None);
    let explained: Explained = match call {
        Call::Find(call) => {
            let question = Question::of_find(call)?;
            sees = question.sees();
            Box::new(move |database, name| {
                let find = question.find(&database.collection(name));
                if executes { find.explain() } else { find.explain_plan() }
            })
        }
        Call::Count(call) => {
            let question = Question::of_count(call)?;
            sees = question.sees();
            Box::new(move |database, name| {
                let count = question.count(&database.collection(name));
                if executes { count.explain() } else { count.explain_plan() }
            })
        }
        Call::Distinct(mut call) => {
            let field = std::mem::take(&mut call.field);
            let question = Question::of_distinct(call)?;
            sees = question.sees();
            Box::new(move |database, name| {
                let distinct = question.distinct(&database.collection(name), field);
                if executes { distinct.explain() } else { distinct.explain_plan() }
            })
        }
        Call::Aggregate(call) => {
            let aggregation = Aggregation::of(call)?;
            sees = aggregation.sees();
            Box::new(move |database, _| {
                let aggregate = aggregation.about(database);
                if executes { aggregate.explain() } else { aggregate.explain_plan() }
            })
        }
        Call::UpdateOne(call) => of_update(Update::of_request(call, false)?, executes),
        Call::UpdateMany(call) => of_update(Update::of_request(call, true)?, executes),
        Call::DeleteOne(call) => of_delete(Delete::of_request(call, false)?, executes),
        Call::DeleteMany(call) => of_delete(Delete::of_request(call, true)?, executes),
    };
    Ok((sees, explained))
}

fn of_update(update: Update, executes: bool) -> Explained {
    Box::new(move |database, name| {
        let write = update.write(&database.collection(name));
        if executes { write.explain() } else { write.explain_plan() }
    })
}

fn of_delete(delete: Delete, executes: bool) -> Explained {
    Box::new(move |database, name| {
        let write = delete.write(&database.collection(name));
        if executes { write.explain() } else { write.explain_plan() }
    })
}
