//! `combdb.v1.Documents`: reads and writes. What a find asks, and its stream, are in `find`.

use bson::oid::ObjectId;
use bson::{Bson, RawDocumentBuf, rawdoc};
use db_core::{Collection, ErrorKind, UpdateResult};
use proto::v1::documents_server::Documents;
use proto::v1::{
    self, CountRequest, CountResponse, DeleteRequest, DeleteResponse, DistinctRequest, DistinctResponse,
    EstimatedCountRequest, EstimatedCountResponse, ExplainRequest, ExplainResponse, FindOneRequest,
    FindOneResponse, FindRequest, InsertFailure, InsertRequest, InsertResponse, InsertedId, ReplaceRequest,
    UpdateRequest, UpdateResponse,
};
use tonic::{Request, Response, Status};

use super::find::{self, Question};
use crate::convert::{self, Form};
use crate::error::{code_of, from_engine, invalid, status};
use crate::node::Node;

/// How many documents one call may insert.
const INSERT_DOCUMENTS_MAX: usize = 100_000;

/// How many array filters one update may have.
const ARRAY_FILTERS_MAX: usize = 100;

/// Documents of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Documents for Service {
    type FindStream = find::Batches;

    async fn insert(&self, request: Request<InsertRequest>) -> Result<Response<InsertResponse>, Status> {
        let InsertRequest { database, collection, documents, unordered, format } = request.into_inner();
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
        let collection = self.0.collection(database, &collection).await?;
        let outcome = collection.insert_many(documents).ordered(!unordered).await;
        inserted(ids, outcome.as_ref().err(), unordered, form).map(Response::new)
    }

    async fn find(&self, request: Request<FindRequest>) -> Result<Response<find::Batches>, Status> {
        find::stream(&self.0, request.into_inner()).await.map(Response::new)
    }

    async fn find_one(&self, request: Request<FindOneRequest>) -> Result<Response<FindOneResponse>, Status> {
        let FindOneRequest { database, collection, filter, sort, skip, projection, hint, format } =
            request.into_inner();
        let form = Form::of(format, filter.as_ref())?;
        let question = Question::read(filter, sort, skip, 1, projection, hint)?;
        let found = self
            .0
            .read(database, move |database| {
                question.about(&database.collection(&collection)).run_raw()?.next().transpose()
            })
            .await?;
        let document = found.map(|document| convert::document(document, form)).transpose()?;
        Ok(Response::new(FindOneResponse { document }))
    }

    async fn count(&self, request: Request<CountRequest>) -> Result<Response<CountResponse>, Status> {
        let CountRequest { database, collection, filter } = request.into_inner();
        let filter = optional(filter, "filter")?;
        let count = self
            .0
            .read(database, move |database| {
                let collection: Collection<RawDocumentBuf> = database.collection(&collection);
                collection.count_documents(filter).run()
            })
            .await?;
        Ok(Response::new(CountResponse { count }))
    }

    async fn estimated_count(
        &self,
        request: Request<EstimatedCountRequest>,
    ) -> Result<Response<EstimatedCountResponse>, Status> {
        let EstimatedCountRequest { database, collection } = request.into_inner();
        let count = self
            .0
            .read(database, move |database| {
                database.collection::<RawDocumentBuf>(&collection).estimated_document_count()
            })
            .await?;
        Ok(Response::new(EstimatedCountResponse { count }))
    }

    async fn distinct(
        &self,
        request: Request<DistinctRequest>,
    ) -> Result<Response<DistinctResponse>, Status> {
        let DistinctRequest { database, collection, field, filter, format } = request.into_inner();
        let form = Form::of(format, filter.as_ref())?;
        let filter = optional(filter, "filter")?;
        let values = self
            .0
            .read(database, move |database| {
                let collection: Collection<RawDocumentBuf> = database.collection(&collection);
                collection.distinct(field, filter).run()
            })
            .await?;
        let values = values.into_iter().map(|value| convert::value(value, form)).collect::<Result<_, _>>()?;
        Ok(Response::new(DistinctResponse { values }))
    }

    async fn update_one(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        self.update(request.into_inner(), Width::One).await
    }

    async fn update_many(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        self.update(request.into_inner(), Width::Many).await
    }

    async fn replace_one(
        &self,
        request: Request<ReplaceRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        let ReplaceRequest { database, collection, filter, replacement, upsert, format } =
            request.into_inner();
        let form = Form::of(format, filter.as_ref())?;
        let filter = convert::required(filter, "filter")?;
        let replacement = convert::required(replacement, "replacement")?;
        let collection = self.0.collection(database, &collection).await?;
        let result = collection.replace_one(filter, replacement).upsert(upsert).await;
        updated(result.map_err(from_engine)?, form)
    }

    async fn delete_one(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        self.delete(request.into_inner(), Width::One).await
    }

    async fn delete_many(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        self.delete(request.into_inner(), Width::Many).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let Some(find) = request.into_inner().find else { return Err(invalid("find is missing", None)) };
        let form = Form::of(find.format, find.filter.as_ref())?;
        let (database, collection) = (find.database.clone(), find.collection.clone());
        let question = Question::of(find)?;
        let plan = self
            .0
            .read(database, move |database| question.about(&database.collection(&collection)).explain())
            .await?;
        Ok(Response::new(ExplainResponse { plan: Some(convert::decoded(&plan, form)?) }))
    }
}

/// Whether a write concerns the first document that matches or all of them.
#[derive(Debug, Clone, Copy)]
enum Width {
    One,
    Many,
}

impl Service {
    async fn update(&self, request: UpdateRequest, width: Width) -> Result<Response<UpdateResponse>, Status> {
        let UpdateRequest { database, collection, filter, update, upsert, array_filters, format } = request;
        if array_filters.len() > ARRAY_FILTERS_MAX {
            return Err(invalid(format!("more than {ARRAY_FILTERS_MAX} array filters"), None));
        }
        let form = Form::of(format, filter.as_ref())?;
        let filter = convert::required(filter, "filter")?;
        let update = convert::required(update, "update")?;
        let array_filters = array_filters
            .into_iter()
            .map(|filter| convert::required(Some(filter), "array filter"))
            .collect::<Result<Vec<_>, _>>()?;
        let collection = self.0.collection(database, &collection).await?;
        let write = match width {
            Width::One => collection.update_one(filter, update),
            Width::Many => collection.update_many(filter, update),
        };
        let result = write.upsert(upsert).array_filters(array_filters).await;
        updated(result.map_err(from_engine)?, form)
    }

    async fn delete(&self, request: DeleteRequest, width: Width) -> Result<Response<DeleteResponse>, Status> {
        let DeleteRequest { database, collection, filter } = request;
        let filter = convert::required(filter, "filter")?;
        let collection = self.0.collection(database, &collection).await?;
        let result = match width {
            Width::One => collection.delete_one(filter).await,
            Width::Many => collection.delete_many(filter).await,
        };
        Ok(Response::new(DeleteResponse { deleted: result.map_err(from_engine)?.deleted_count }))
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
    let failures = failures
        .iter()
        .map(|failure| InsertFailure {
            index: failure.index as u32,
            code: failure.code,
            message: failure.message.clone(),
        })
        .collect();
    Ok(InsertResponse { inserted, failures })
}

fn updated(result: UpdateResult, form: Form) -> Result<Response<UpdateResponse>, Status> {
    let upserted_id = result.upserted_id.map(|id| convert::value(id, form)).transpose()?;
    Ok(Response::new(UpdateResponse {
        matched: result.matched_count,
        modified: result.modified_count,
        upserted_id,
    }))
}

/// A document, or an empty one in its absence.
fn optional(document: Option<v1::Document>, what: &str) -> Result<RawDocumentBuf, Status> {
    Ok(convert::optional(document, what)?.unwrap_or_default())
}
