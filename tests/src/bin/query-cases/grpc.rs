//! Cases against a running server, through gRPC.

use std::future::Future;

use bson::{Bson, RawDocument, RawDocumentBuf};
use proto::v1::collections_client::CollectionsClient;
use proto::v1::databases_client::DatabasesClient;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::write_model::Write as Part;
use proto::v1::{self, document, hint, value};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::answer::{Answer, Stop};
use crate::target::{
    Action, BulkCounts, Given, Index, IndexName, Modification, Query, Shared, Target, Updated, Write,
};

/// The database on the server in which cases are run.
const DATABASE: &str = "query-cases";

/// The largest message either way.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection to a server.
pub(crate) struct Grpc {
    runtime: tokio::runtime::Runtime,
    collections: CollectionsClient<Channel>,
    documents: DocumentsClient<Channel>,
}

impl Grpc {
    /// Connects to the server at `address`, and sees to it that it has a database for cases.
    pub(crate) fn connect(address: &str) -> Answer<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Stop::refused(6, error.to_string()))?;
        let unreachable = |error: tonic::transport::Error| Stop::refused(6, format!("{address}: {error}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        let channel = runtime.block_on(endpoint.connect()).map_err(unreachable)?;
        let grpc = Self {
            runtime,
            collections: CollectionsClient::new(channel.clone()),
            documents: DocumentsClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        };
        let create = v1::CreateDatabaseRequest { name: DATABASE.to_owned() };
        match grpc.runtime.block_on(DatabasesClient::new(channel).create(create)) {
            Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
            _ => Ok(grpc),
        }
    }

    fn call<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
        Ok(self.runtime.block_on(call)?.into_inner())
    }

    fn documents(&self) -> DocumentsClient<Channel> {
        self.documents.clone()
    }
}

impl Target for Grpc {
    fn drop_collection(&self, collection: &str) -> Answer<()> {
        let request = v1::DropCollectionRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            write_concern: None,
        };
        self.call(self.collections.clone().drop(request)).map(|_| ())
    }

    fn insert(&self, collection: &str, documents: Vec<RawDocumentBuf>, ordered: bool) -> Answer<usize> {
        let request = v1::InsertRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            documents: documents.into_iter().map(written).collect(),
            unordered: !ordered,
            ..v1::InsertRequest::default()
        };
        let answer = self.call(self.documents().insert(request))?;
        no_failure(&answer.failures)?;
        Ok(answer.inserted.len())
    }

    fn find(&self, collection: &str, query: Query) -> Answer<Vec<RawDocumentBuf>> {
        let request = v1::FindRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            filter: Some(written(query.filter)),
            sort: query.sort.map(written),
            skip: query.skip,
            limit: query.limit,
            projection: query.projection.map(written),
            options: query_options(&query.shared),
            hint: query.shared.hint.map(written_hint),
            ..v1::FindRequest::default()
        };
        let mut batches = self.call(self.documents().find(request))?;
        let mut found = Vec::new();
        while let Some(batch) = self.runtime.block_on(batches.message())? {
            for document in batch.documents {
                found.push(read(document)?);
            }
        }
        Ok(found)
    }

    fn find_one(&self, collection: &str, query: Query) -> Answer<Option<RawDocumentBuf>> {
        let request = v1::FindOneRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            filter: Some(written(query.filter)),
            sort: query.sort.map(written),
            skip: query.skip,
            projection: query.projection.map(written),
            options: query_options(&query.shared),
            hint: query.shared.hint.map(written_hint),
            ..v1::FindOneRequest::default()
        };
        self.call(self.documents().find_one(request))?.document.map(read).transpose()
    }

    fn count(&self, collection: &str, query: Query) -> Answer<u64> {
        let request = v1::CountRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            filter: Some(written(query.filter)),
            skip: query.skip,
            limit: query.limit,
            options: query_options(&query.shared),
            hint: query.shared.hint.map(written_hint),
        };
        Ok(self.call(self.documents().count(request))?.count)
    }

    fn distinct(&self, collection: &str, field: &str, query: Query) -> Answer<Vec<Bson>> {
        let request = v1::DistinctRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            field: field.into(),
            filter: Some(written(query.filter)),
            options: query_options(&query.shared),
            hint: query.shared.hint.map(written_hint),
            ..v1::DistinctRequest::default()
        };
        self.call(self.documents().distinct(request))?.values.into_iter().map(read_value).collect()
    }

    fn aggregate(
        &self,
        collection: &str,
        on_database: bool,
        pipeline: Vec<RawDocumentBuf>,
        shared: Shared,
    ) -> Answer<Vec<RawDocumentBuf>> {
        let request = v1::AggregateRequest {
            database: DATABASE.into(),
            collection: if on_database { String::new() } else { collection.into() },
            pipeline: pipeline.into_iter().map(written).collect(),
            options: query_options(&shared),
            hint: shared.hint.map(written_hint),
            ..v1::AggregateRequest::default()
        };
        let mut batches = self.call(self.documents().aggregate(request))?;
        let mut results = Vec::new();
        while let Some(batch) = self.runtime.block_on(batches.message())? {
            for document in batch.documents {
                results.push(read(document)?);
            }
        }
        Ok(results)
    }

    fn update(&self, collection: &str, write: Write) -> Answer<Updated> {
        let Write { filter, action, upsert, array_filters, sort, shared } = write;
        let (database, collection) = (DATABASE.to_owned(), collection.to_owned());
        let (filter, sort) = (Some(written(filter)), sort.map(written));
        let answer = match action {
            Action::Update { update, many } => {
                let (update, pipeline) = written_update(update);
                let request = v1::UpdateRequest {
                    database,
                    collection,
                    filter,
                    update,
                    pipeline,
                    upsert,
                    array_filters: array_filters.into_iter().map(written).collect(),
                    sort,
                    options: query_options(&shared),
                    hint: shared.hint.map(written_hint),
                    ..v1::UpdateRequest::default()
                };
                if many {
                    self.call(self.documents().update_many(request))?
                } else {
                    self.call(self.documents().update_one(request))?
                }
            }
            Action::Replace(replacement) => {
                let request = v1::ReplaceRequest {
                    database,
                    collection,
                    filter,
                    replacement: Some(written(replacement)),
                    upsert,
                    sort,
                    options: query_options(&shared),
                    hint: shared.hint.map(written_hint),
                    ..v1::ReplaceRequest::default()
                };
                self.call(self.documents().replace_one(request))?
            }
            Action::Insert(_) | Action::Delete { .. } => {
                return Err(Stop::refused(9, "the write is no update"));
            }
        };
        let upserted_id = answer.upserted_id.map(read_value).transpose()?;
        Ok(Updated { matched: answer.matched, modified: answer.modified, upserted_id })
    }

    fn delete(&self, collection: &str, write: Write) -> Answer<u64> {
        let request = v1::DeleteRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            filter: Some(written(write.filter)),
            options: query_options(&write.shared),
            hint: write.shared.hint.map(written_hint),
        };
        let answer = if matches!(write.action, Action::Delete { many: true }) {
            self.call(self.documents().delete_many(request))?
        } else {
            self.call(self.documents().delete_one(request))?
        };
        Ok(answer.deleted)
    }

    fn find_and_modify(
        &self,
        collection: &str,
        write: Write,
        given: Given,
    ) -> Answer<Option<RawDocumentBuf>> {
        let Write { filter, action, upsert, array_filters, sort, shared } = write;
        let (database, collection) = (DATABASE.to_owned(), collection.to_owned());
        let options = query_options(&shared);
        let (filter, sort, hint) = (Some(written(filter)), sort.map(written), shared.hint.map(written_hint));
        let projection = given.projection.map(written);
        let version = if given.after { v1::ReturnDocument::After } else { v1::ReturnDocument::Before };
        let answer = match action {
            Action::Update { update, .. } => {
                let (update, pipeline) = written_update(update);
                self.call(self.documents().find_one_and_update(v1::FindOneAndUpdateRequest {
                    database,
                    collection,
                    filter,
                    update,
                    pipeline,
                    sort,
                    projection,
                    upsert,
                    array_filters: array_filters.into_iter().map(written).collect(),
                    return_document: version.into(),
                    hint,
                    options,
                    ..v1::FindOneAndUpdateRequest::default()
                }))?
            }
            Action::Replace(replacement) => {
                self.call(self.documents().find_one_and_replace(v1::FindOneAndReplaceRequest {
                    database,
                    collection,
                    filter,
                    replacement: Some(written(replacement)),
                    sort,
                    projection,
                    upsert,
                    return_document: version.into(),
                    hint,
                    options,
                    ..v1::FindOneAndReplaceRequest::default()
                }))?
            }
            Action::Delete { .. } => {
                self.call(self.documents().find_one_and_delete(v1::FindOneAndDeleteRequest {
                    database,
                    collection,
                    filter,
                    sort,
                    projection,
                    hint,
                    options,
                    ..v1::FindOneAndDeleteRequest::default()
                }))?
            }
            Action::Insert(_) => return Err(Stop::refused(9, "the write is no update")),
        };
        answer.document.map(read).transpose()
    }

    fn bulk(&self, collection: &str, writes: Vec<Write>, ordered: bool) -> Answer<BulkCounts> {
        let request = v1::BulkWriteRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            writes: writes.into_iter().map(written_model).collect(),
            unordered: !ordered,
            ..v1::BulkWriteRequest::default()
        };
        let answer = self.call(self.documents().bulk_write(request))?;
        no_failure(&answer.failures)?;
        Ok(BulkCounts {
            inserted: answer.inserted,
            matched: answer.matched,
            modified: answer.modified,
            deleted: answer.deleted,
            upserted: answer.upserted_ids.len(),
        })
    }

    fn create_index(&self, collection: &str, index: Index) -> Answer<String> {
        let options = if index.options.is_empty() { None } else { Some(encoded(&index.options)?) };
        let index = v1::Index { keys: Some(encoded(&index.keys)?), options, ..v1::Index::default() };
        let request = v1::CreateIndexRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            index: Some(index),
            write_concern: None,
        };
        Ok(self.call(self.collections.clone().create_index(request))?.name)
    }

    fn drop_index(&self, collection: &str, index: IndexName) -> Answer<()> {
        let (name, keys) = match index {
            IndexName::Name(name) => (name, None),
            IndexName::Keys(keys) => (String::new(), Some(encoded(&keys)?)),
        };
        let request = v1::DropIndexRequest {
            database: DATABASE.into(),
            collection: collection.into(),
            name,
            keys,
            write_concern: None,
        };
        self.call(self.collections.clone().drop_index(request)).map(|_| ())
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        let code = status.get_details_error_info().and_then(|info| info.metadata.get("code")?.parse().ok());
        if code == Some(db_index::ErrorCode::NOT_IMPLEMENTED.0) {
            return Self::Unsupported(status.message().to_owned());
        }
        Self::Error { code, message: status.message().to_owned() }
    }
}

fn no_failure(failures: &[v1::InsertFailure]) -> Answer<()> {
    match failures.first() {
        None => Ok(()),
        Some(failure) if failure.code == db_index::ErrorCode::NOT_IMPLEMENTED.0 => {
            Err(Stop::Unsupported(failure.message.clone()))
        }
        Some(failure) => Err(Stop::refused(failure.code, failure.message.clone())),
    }
}

fn written_model(write: Write) -> v1::WriteModel {
    let Write { filter, action, upsert, array_filters, sort, shared } = write;
    let options = query_options(&shared);
    let (filter, sort, hint) = (Some(written(filter)), sort.map(written), shared.hint.map(written_hint));
    let part = match action {
        Action::Insert(document) => Part::Insert(written(document)),
        Action::Update { update, many } => {
            let (update, pipeline) = written_update(update);
            let array_filters = array_filters.into_iter().map(written).collect();
            Part::Update(v1::UpdateModel {
                filter,
                update,
                pipeline,
                many,
                upsert,
                array_filters,
                sort,
                hint,
                options,
            })
        }
        Action::Replace(replacement) => {
            let replacement = Some(written(replacement));
            Part::Replace(v1::ReplaceModel {
                filter,
                replacement,
                upsert,
                sort,
                hint,
                options,
                strict: false,
            })
        }
        Action::Delete { many } => Part::Delete(v1::DeleteModel { filter, many, hint, options }),
    };
    v1::WriteModel { write: Some(part) }
}

fn written_update(update: Modification) -> (Option<v1::Document>, Option<v1::Pipeline>) {
    match update {
        Modification::Operators(update) => (Some(written(update)), None),
        Modification::Pipeline(stages) => {
            (None, Some(v1::Pipeline { stages: stages.into_iter().map(written).collect() }))
        }
    }
}

fn query_options(shared: &Shared) -> Option<v1::QueryOptions> {
    let Shared { variables, collation, .. } = shared;
    (variables.is_some() || collation.is_some()).then(|| v1::QueryOptions {
        variables: variables.clone().map(written),
        collation: collation.clone().map(written),
        ..v1::QueryOptions::default()
    })
}

fn written_hint(name: IndexName) -> v1::Hint {
    let index = match name {
        IndexName::Name(name) => Some(hint::Index::Name(name)),
        IndexName::Keys(keys) => encoded(&keys).ok().map(hint::Index::Keys),
    };
    v1::Hint { index }
}

fn written(document: RawDocumentBuf) -> v1::Document {
    v1::Document { form: Some(document::Form::Bson(document.into_bytes().into())) }
}

fn encoded(document: &bson::Document) -> Answer<v1::Document> {
    RawDocumentBuf::try_from(document).map(written).map_err(|error| Stop::refused(22, error.to_string()))
}

fn read(document: v1::Document) -> Answer<RawDocumentBuf> {
    match document.form {
        Some(document::Form::Bson(bytes)) => RawDocumentBuf::from_bytes(bytes.into())
            .map_err(|error| Stop::refused(22, format!("the server's answer: {error}"))),
        _ => Err(Stop::refused(22, "the server's answer is not BSON")),
    }
}

fn read_value(value: v1::Value) -> Answer<Bson> {
    let Some(value::Form::Bson(bytes)) = value.form else {
        return Err(Stop::refused(22, "the server's answer is not BSON"));
    };
    let broken = |error: bson::error::Error| Stop::refused(22, format!("the server's answer: {error}"));
    let value = RawDocument::from_bytes(&bytes).map_err(broken)?.get("v").map_err(broken)?;
    value.map_or(Ok(Bson::Null), |value| Bson::try_from(value).map_err(broken))
}
