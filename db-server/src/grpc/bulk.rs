//! `Documents.BulkWrite`.

use db_core::{BulkWriteResult, ErrorKind, WriteModel};
use proto::v1::{
    self, BulkWriteRequest, BulkWriteResponse, InsertFailure, InsertedId, write_model::Write as Part,
};
use tonic::Status;

use super::changes::{Delete, Update};
use super::documents::failures;
use super::receipts::Concern;
use super::transactions::Place;
use crate::convert::{self, Form};
use crate::error::{from_engine, invalid};
use crate::node::Node;

/// How many writes one call may bring.
const WRITES_MAX: usize = 100_000;

/// Writes several times as one entry.
///
/// # Errors
/// `INVALID_ARGUMENT` if a write is malformed; if the engine refuses the call as a whole.
pub(super) async fn write(node: &Node, request: BulkWriteRequest) -> Result<BulkWriteResponse, Status> {
    let BulkWriteRequest { database, collection, writes, unordered, format, write_concern, transaction } =
        request;
    let place = Place::of(node, &database, &collection, &transaction).await?;
    if writes.is_empty() || writes.len() > WRITES_MAX {
        return Err(invalid(
            format!("write 1 to {WRITES_MAX} times at once, not {}", writes.len()),
            Some(16),
        ));
    }
    let form = Form::of(format, writes.first().and_then(|model| first_document(model.write.as_ref()?)))?;
    let models = writes
        .into_iter()
        .enumerate()
        .map(|(index, model)| read_model(model.write).map_err(|fault| at(index, &fault)))
        .collect::<Result<Vec<_>, _>>()?;
    let concern = Concern::of(write_concern).at(&place)?;
    let collection = place.collection(node).await?;
    match concern.write(node, collection.bulk_write(models).ordered(!unordered)).await {
        Ok((result, acknowledgement)) => {
            let answer = describe(result, Vec::new(), form)?;
            Ok(BulkWriteResponse { acknowledgement: Some(acknowledgement), ..answer })
        }
        Err(error) => match error.partial_result() {
            Some(result) if error.kind() != ErrorKind::Denied => {
                describe(result.clone(), failures(error.write_failures()), form)
            }
            _ => Err(from_engine(error)),
        },
    }
}

fn read_model(write: Option<Part>) -> Result<WriteModel, Status> {
    match write {
        Some(Part::Insert(document)) => {
            convert::required(Some(document), "document").map(|document| WriteModel::insert_one(&document))
        }
        Some(Part::Update(update)) => Update::of_model(update).map(Update::into_model),
        Some(Part::Replace(replace)) => Update::of_replace_model(replace).map(Update::into_model),
        Some(Part::Delete(delete)) => Delete::of_model(delete).map(Delete::into_model),
        None => Err(invalid("the write is missing", None)),
    }
}

/// A fault with the position of the write that has it.
fn at(index: usize, fault: &Status) -> Status {
    let details = fault.details().to_vec().into();
    Status::with_details(fault.code(), format!("write {index}: {}", fault.message()), details)
}

/// The document in whose form ids are given unless the client says otherwise.
fn first_document(write: &Part) -> Option<&v1::Document> {
    match write {
        Part::Insert(document) => Some(document),
        Part::Update(update) => update.filter.as_ref(),
        Part::Replace(replace) => replace.filter.as_ref(),
        Part::Delete(delete) => delete.filter.as_ref(),
    }
}

fn describe(
    result: BulkWriteResult,
    failures: Vec<InsertFailure>,
    form: Form,
) -> Result<BulkWriteResponse, Status> {
    let ids = |ids: std::collections::BTreeMap<usize, bson::Bson>| {
        ids.into_iter()
            .map(|(index, id)| Ok(InsertedId { index: index as u32, id: Some(convert::value(id, form)?) }))
            .collect::<Result<Vec<_>, Status>>()
    };
    Ok(BulkWriteResponse {
        inserted: result.inserted_count,
        matched: result.matched_count,
        modified: result.modified_count,
        deleted: result.deleted_count,
        inserted_ids: ids(result.inserted_ids)?,
        upserted_ids: ids(result.upserted_ids)?,
        failures,
        acknowledgement: None,
    })
}
