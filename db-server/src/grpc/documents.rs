//! `combdb.v1.Documents`: reads and writes. What they ask for is read in `find`, `changes` and `options`.

use bson::oid::ObjectId;
use bson::{Bson, RawDocumentBuf, rawdoc};
use db_core::{Database, ErrorKind, WriteFailure};
use proto::v1::documents_server::Documents;
use proto::v1::{
    Acknowledgement, AggregateRequest, AggregateResponse, BulkWriteRequest, BulkWriteResponse, CountRequest,
    CountResponse, DeleteRequest, DeleteResponse, DistinctRequest, DistinctResponse, EstimatedCountRequest,
    EstimatedCountResponse, ExplainRequest, ExplainResponse, FindOneAndDeleteRequest,
    FindOneAndReplaceRequest, FindOneAndUpdateRequest, FindOneRequest, FindOneResponse, FindRequest,
    FindResponse, InsertFailure, InsertRequest, InsertResponse, InsertedId, ReplaceRequest, UpdateRequest,
    UpdateResponse,
};
use tonic::{Request, Response, Status};

use super::changes::{Delete, Update};
use super::find::Question;
use super::options::{present_unless, until_dropped};
use super::receipts::Concern;
use super::stream::{Batches, Sending, stream};
use super::transactions::Place;
use super::{aggregate, bulk, explain};
use crate::convert::{self, Form};
use crate::error::{code_of, from_engine, invalid, status};
use crate::node::Node;

/// MongoDB's code for options that a call cannot have.
const INVALID_OPTIONS: i32 = 72;
/// How many documents one call may insert.
const INSERT_DOCUMENTS_MAX: usize = 100_000;

/// Documents of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Documents for Service {
    type FindStream = Batches<FindResponse>;
    type AggregateStream = Batches<AggregateResponse>;

    async fn insert(&self, request: Request<InsertRequest>) -> Result<Response<InsertResponse>, Status> {
        let InsertRequest { database, collection, documents, unordered, format, write_concern, transaction } =
            request.into_inner();
        let place = Place::of(&self.0, &database, &collection, &transaction).await?;
        if documents.is_empty() || documents.len() > INSERT_DOCUMENTS_MAX {
            let count = documents.len();
            return Err(invalid(
                format!("insert 1 to {INSERT_DOCUMENTS_MAX} documents at once, not {count}"),
                None,
            ));
        }
        let form = Form::of(format, documents.first())?;
        let documents = documents.into_iter().enumerate().map(|(index, document)| {
            let document = convert::required(Some(document), &format!("document {index}"))?;
            with_id(document)
        });
        let (documents, ids): (Vec<_>, Vec<_>) =
            documents.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let concern = Concern::of(write_concern).at(&place)?;
        let insert = place.collection(&self.0).await?.insert_many(documents).ordered(!unordered);
        let outcome = concern.write(&self.0, insert).await;
        let mut answer = inserted(ids, outcome.as_ref().err(), unordered, form)?;
        answer.acknowledgement = outcome.ok().map(|(_, acknowledgement)| acknowledgement);
        Ok(Response::new(answer))
    }

    async fn find(&self, request: Request<FindRequest>) -> Result<Response<Self::FindStream>, Status> {
        let mut request = request.into_inner();
        let sending = Sending::new(Form::of(request.format, request.filter.as_ref())?, request.batch_size);
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let database = place.database.clone();
        let (question, waiting) = Question::of_find(request)?.until_dropped();
        let sees = place.sees(question.sees());
        let begin = move |database: &Database| question.find(&place.on(database)).run_raw();
        let answer = |documents| FindResponse { documents };
        stream(&self.0, (database, sees), sending, waiting, answer, begin).await.map(Response::new)
    }

    async fn find_one(&self, request: Request<FindOneRequest>) -> Result<Response<FindOneResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let database = place.database.clone();
        let (question, _waiting) = Question::of_find_one(request)?.until_dropped();
        let sees = place.sees(question.sees());
        let find = move |database: &Database| question.find_one(&place.on(database)).run_raw();
        found(self.0.read_view(database, sees, find).await?, None, form)
    }

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<CountResponse>, Status> {
        let mut request = request.into_inner();
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let database = place.database.clone();
        let (question, _waiting) = Question::of_count(request)?.until_dropped();
        let sees = place.sees(question.sees());
        let count = move |database: &Database| question.count(&place.on(database)).run();
        Ok(Response::new(CountResponse { count: self.0.read_view(database, sees, count).await? }))
    }

    async fn estimated_count(
        &self,
        request: Request<EstimatedCountRequest>,
    ) -> Result<Response<EstimatedCountResponse>, Status> {
        let EstimatedCountRequest { database, collection, transaction, at_position } = request.into_inner();
        let place = Place::of(&self.0, &database, &collection, &transaction).await?;
        if at_position.is_some() && place.is_transaction() {
            return Err(invalid("a transaction has no position", Some(INVALID_OPTIONS)));
        }
        let (is_gone, _waiting) = until_dropped();
        let sees = place.sees(present_unless(at_position));
        let count = move |database: &Database| match at_position {
            Some(position) => {
                let past = database.at_until(position, is_gone)?;
                past.collection::<RawDocumentBuf>(&collection).estimated_document_count()
            }
            None => place.on(database).estimated_document_count(),
        };
        let count = self.0.read_view(database, sees, count).await?;
        Ok(Response::new(EstimatedCountResponse { count }))
    }

    async fn distinct(
        &self,
        request: Request<DistinctRequest>,
    ) -> Result<Response<DistinctResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let database = place.database.clone();
        let field = std::mem::take(&mut request.field);
        let (question, _waiting) = Question::of_distinct(request)?.until_dropped();
        let sees = place.sees(question.sees());
        let values = move |database: &Database| question.distinct(&place.on(database), field).run();
        let values = self.0.read_view(database, sees, values).await?;
        let values = values.into_iter().map(|value| convert::value(value, form)).collect::<Result<_, _>>()?;
        Ok(Response::new(DistinctResponse { values }))
    }

    async fn update_one(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        self.update_by(request.into_inner(), false).await
    }

    async fn update_many(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        self.update_by(request.into_inner(), true).await
    }

    async fn replace_one(
        &self,
        request: Request<ReplaceRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let replacement = Update::of_replace(request)?;
        self.update(&place, form, replacement, concern).await
    }

    async fn delete_one(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        self.delete(request.into_inner(), false).await
    }

    async fn delete_many(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        self.delete(request.into_inner(), true).await
    }

    async fn find_one_and_update(
        &self,
        request: Request<FindOneAndUpdateRequest>,
    ) -> Result<Response<FindOneResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let (change, given) = Update::of_find_and_update(request)?;
        let collection = place.collection(&self.0).await?;
        let change = change.find_and_modify(&collection, given);
        let (document, acknowledgement) = concern.write(&self.0, change).await.map_err(from_engine)?;
        found(document, Some(acknowledgement), form)
    }

    async fn find_one_and_replace(
        &self,
        request: Request<FindOneAndReplaceRequest>,
    ) -> Result<Response<FindOneResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let (change, given) = Update::of_find_and_replace(request)?;
        let collection = place.collection(&self.0).await?;
        let change = change.find_and_modify(&collection, given);
        let (document, acknowledgement) = concern.write(&self.0, change).await.map_err(from_engine)?;
        found(document, Some(acknowledgement), form)
    }

    async fn find_one_and_delete(
        &self,
        request: Request<FindOneAndDeleteRequest>,
    ) -> Result<Response<FindOneResponse>, Status> {
        let mut request = request.into_inner();
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let (change, given) = Delete::of_find_and_delete(request)?;
        let collection = place.collection(&self.0).await?;
        let change = change.find_and_modify(&collection, given);
        let (document, acknowledgement) = concern.write(&self.0, change).await.map_err(from_engine)?;
        found(document, Some(acknowledgement), form)
    }

    async fn bulk_write(
        &self,
        request: Request<BulkWriteRequest>,
    ) -> Result<Response<BulkWriteResponse>, Status> {
        bulk::write(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn aggregate(
        &self,
        request: Request<AggregateRequest>,
    ) -> Result<Response<Self::AggregateStream>, Status> {
        aggregate::aggregate(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        explain::explain(&self.0, request.into_inner()).await.map(Response::new)
    }
}

impl Service {
    async fn update_by(
        &self,
        mut request: UpdateRequest,
        many: bool,
    ) -> Result<Response<UpdateResponse>, Status> {
        let form = Form::of(request.format, request.filter.as_ref())?;
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let update = Update::of_request(request, many)?;
        self.update(&place, form, update, concern).await
    }

    async fn update(
        &self,
        place: &Place,
        form: Form,
        update: Update,
        concern: Concern,
    ) -> Result<Response<UpdateResponse>, Status> {
        let collection = place.collection(&self.0).await?;
        let (result, acknowledgement) =
            concern.write(&self.0, update.write(&collection)).await.map_err(from_engine)?;
        let upserted_id = result.upserted_id.map(|id| convert::value(id, form)).transpose()?;
        let (matched, modified) = (result.matched_count, result.modified_count);
        Ok(Response::new(UpdateResponse {
            matched,
            modified,
            upserted_id,
            acknowledgement: Some(acknowledgement),
        }))
    }

    async fn delete(
        &self,
        mut request: DeleteRequest,
        many: bool,
    ) -> Result<Response<DeleteResponse>, Status> {
        let place =
            Place::take(&self.0, &request.database, &request.collection, &mut request.options).await?;
        let concern = Concern::take(&mut request.options).at(&place)?;
        let delete = Delete::of_request(request, many)?;
        let collection = place.collection(&self.0).await?;
        let (result, acknowledgement) =
            concern.write(&self.0, delete.write(&collection)).await.map_err(from_engine)?;
        Ok(Response::new(DeleteResponse {
            deleted: result.deleted_count,
            acknowledgement: Some(acknowledgement),
        }))
    }
}

/// The document with an `_id`, a new one if it came without, and the `_id`.
fn with_id(document: RawDocumentBuf) -> Result<(RawDocumentBuf, Bson), Status> {
    let malformed = |error: bson::error::Error| invalid(error.to_string(), None);
    if let Some(id) = document.get("_id").map_err(malformed)? {
        let id = Bson::try_from(id).map_err(malformed)?;
        return Ok((document, id));
    }
    let id = ObjectId::new();
    let mut with_id = rawdoc! {"_id": id};
    for element in &document {
        let (key, value) = element.map_err(malformed)?;
        with_id.append(key, value);
    }
    Ok((with_id, Bson::ObjectId(id)))
}

/// The answer to an insert of documents with these ids.
fn inserted(
    ids: Vec<Bson>,
    error: Option<&db_core::Error>,
    unordered: bool,
    form: Form,
) -> Result<InsertResponse, Status> {
    let failures = error.map(db_core::Error::write_failures).unwrap_or_default();
    if let Some(error) = error
        && (!unordered || failures.is_empty() || error.kind() == ErrorKind::Denied)
    {
        let (grpc, reason) = code_of(error);
        let place = failures.first().map(|failure| failure.index.to_string());
        let more: Vec<_> =
            place.iter().flat_map(|at| [("index", at.clone()), ("inserted", at.clone())]).collect();
        return Err(status(grpc, reason, error.message(), error.code(), &more));
    }
    let failed = |index: usize| failures.iter().any(|failure| failure.index == index);
    let inserted = ids
        .into_iter()
        .enumerate()
        .filter(|(index, _)| !failed(*index))
        .map(|(index, id)| Ok(InsertedId { index: index as u32, id: Some(convert::value(id, form)?) }))
        .collect::<Result<_, Status>>()?;
    Ok(InsertResponse { inserted, failures: self::failures(failures), acknowledgement: None })
}

/// The documents or writes that failed, as they are told.
pub(super) fn failures(failures: &[WriteFailure]) -> Vec<InsertFailure> {
    let told = failures.iter().map(|failure| InsertFailure {
        index: failure.index as u32,
        code: failure.code,
        message: failure.message.clone(),
    });
    told.collect()
}

fn found(
    document: Option<RawDocumentBuf>,
    acknowledgement: Option<Acknowledgement>,
    form: Form,
) -> Result<Response<FindOneResponse>, Status> {
    let document = document.map(|document| convert::document(document, form)).transpose()?;
    Ok(Response::new(FindOneResponse { document, acknowledgement }))
}
