//! `combdb.v1.Collections`.

use std::pin::Pin;

use bson::{Document, RawDocumentBuf};
use db_core::{CollectionOptions, Database, IndexBuild, IndexChange, IndexModel, Quarantined};
use proto::v1::collections_server::Collections;
use proto::v1::{
    ChangeIndexRequest, ChangeIndexResponse, CreateCollectionRequest, CreateCollectionResponse,
    CreateIndexRequest, CreateIndexResponse, DropCollectionRequest, DropCollectionResponse, DropIndexRequest,
    DropIndexResponse, Index, ListCollectionsRequest, ListCollectionsResponse, ListIndexesRequest,
    ListIndexesResponse, ListQuarantinedRequest, QuarantinedDocument, RenameCollectionRequest,
    RenameCollectionResponse, WatchIndexBuildsRequest,
};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::builds::{self, Builds};
use super::options::{present_unless, until_dropped};
use super::receipts::acknowledged;
use crate::convert::{self, Form};
use crate::error::{INDEX_NOT_FOUND, from_engine, invalid, status};
use crate::node::Node;

/// Collections and indexes of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Collections for Service {
    type WatchIndexBuildsStream = Builds;
    type ListQuarantinedStream = Told;

    async fn create(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let CreateCollectionRequest { database, collection, collation, write_concern } = request.into_inner();
        let mut options = CollectionOptions::default();
        if let Some(collation) = convert::optional(collation, "collation")? {
            options = options.collation(convert::decode(&collation, "collation")?);
        }
        let database = self.0.database(database).await?;
        let write = database.create_collection_with(&collection, &options);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(CreateCollectionResponse { acknowledgement }))
    }

    async fn drop(
        &self,
        request: Request<DropCollectionRequest>,
    ) -> Result<Response<DropCollectionResponse>, Status> {
        let DropCollectionRequest { database, collection, write_concern } = request.into_inner();
        let write = self.0.collection(database, &collection).await?.drop();
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(DropCollectionResponse { acknowledgement }))
    }

    async fn rename(
        &self,
        request: Request<RenameCollectionRequest>,
    ) -> Result<Response<RenameCollectionResponse>, Status> {
        let RenameCollectionRequest { database, collection, new_name, drop_target, write_concern } =
            request.into_inner();
        let database = self.0.database(database).await?;
        let write = database.rename_collection(&collection, &new_name, drop_target);
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(RenameCollectionResponse { acknowledgement }))
    }

    async fn list(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let ListCollectionsRequest { database, at_position } = request.into_inner();
        let (is_gone, _waiting) = until_dropped();
        let list = move |database: &Database| match at_position {
            Some(position) => database.at_until(position, is_gone)?.list_collection_names(),
            None => database.list_collection_names(),
        };
        let collections = self.0.read_view(database, present_unless(at_position), list).await?;
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn create_index(
        &self,
        request: Request<CreateIndexRequest>,
    ) -> Result<Response<CreateIndexResponse>, Status> {
        let CreateIndexRequest { database, collection, index, write_concern } = request.into_inner();
        let Some(index) = index else { return Err(invalid("index is missing", None)) };
        let model = read_index(index)?;
        let collection = self.0.collection(database, &collection).await?;
        let (name, acknowledgement) =
            acknowledged(&self.0, write_concern, collection.create_index(model)).await?;
        Ok(Response::new(CreateIndexResponse { name, acknowledgement }))
    }

    async fn drop_index(
        &self,
        request: Request<DropIndexRequest>,
    ) -> Result<Response<DropIndexResponse>, Status> {
        let DropIndexRequest { database, collection, name, keys, write_concern } = request.into_inner();
        let keys = convert::optional(keys, "keys")?.map(|keys| convert::decode(&keys, "keys")).transpose()?;
        let collection = self.0.collection(database.clone(), &collection).await?;
        let name = match keys {
            None => name,
            Some(_) if !name.is_empty() => return Err(invalid("give a name or keys, not both", None)),
            Some(keys) => {
                let read = collection.clone();
                let indexes =
                    self.0.read_view(database, present_unless(None), move |_| read.list_indexes()).await?;
                let same = indexes.into_iter().find(|index| index.keys == keys);
                let name = same.and_then(|index| index.options.name);
                let message = format!("can't find index with key: {keys}");
                name.ok_or_else(|| status(Code::NotFound, "NOT_FOUND", message, Some(INDEX_NOT_FOUND), &[]))?
            }
        };
        let write = if name == "*" { collection.drop_indexes() } else { collection.drop_index(name) };
        let ((), acknowledgement) = acknowledged(&self.0, write_concern, write).await?;
        Ok(Response::new(DropIndexResponse { acknowledgement }))
    }

    async fn change_index(
        &self,
        request: Request<ChangeIndexRequest>,
    ) -> Result<Response<ChangeIndexResponse>, Status> {
        let ChangeIndexRequest {
            database,
            collection,
            name,
            hidden,
            expire_after_seconds,
            new_name,
            write_concern,
        } = request.into_inner();
        let mut change = IndexChange::default();
        if let Some(hidden) = hidden {
            change = change.hidden(hidden);
        }
        if let Some(seconds) = expire_after_seconds {
            change = change.expire_after_seconds(seconds);
        }
        if let Some(name) = new_name {
            change = change.name(name);
        }
        let collection = self.0.collection(database, &collection).await?;
        let ((), acknowledgement) =
            acknowledged(&self.0, write_concern, collection.change_index(name, &change)).await?;
        Ok(Response::new(ChangeIndexResponse { acknowledgement }))
    }

    async fn list_indexes(
        &self,
        request: Request<ListIndexesRequest>,
    ) -> Result<Response<ListIndexesResponse>, Status> {
        let ListIndexesRequest { database, collection, format, at_position } = request.into_inner();
        let form = Form::of(format, None)?;
        let (is_gone, _waiting) = until_dropped();
        let read = move |database: &Database| {
            if let Some(position) = at_position {
                let past = database.at_until(position, is_gone)?.collection::<RawDocumentBuf>(&collection);
                return Ok((None, past.list_indexes()?));
            }
            // In this order: a build that ends meanwhile is not left out.
            let build = database.index_build().filter(|build| build.collection == collection);
            let indexes = database.collection::<RawDocumentBuf>(&collection).list_indexes()?;
            Ok((build, indexes))
        };
        let (build, models) = self.0.read_view(database, present_unless(at_position), read).await?;
        let indexes: Vec<Index> =
            models.into_iter().map(|model| describe(model, form)).collect::<Result<_, _>>()?;
        let is_new = |build: &IndexBuild| !indexes.iter().any(|index| index.name == build.index);
        let building = build.filter(is_new).iter().map(builds::describe).collect();
        Ok(Response::new(ListIndexesResponse { indexes, building }))
    }

    async fn list_quarantined(
        &self,
        request: Request<ListQuarantinedRequest>,
    ) -> Result<Response<Told>, Status> {
        let ListQuarantinedRequest { database, collection, format } = request.into_inner();
        let form = Form::of(format, None)?;
        let permit = self.0.cursor_permit()?;
        let collection = self.0.collection(database, &collection).await?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let _held = permit;
            let cursor = match collection.quarantined() {
                Ok(cursor) => cursor,
                Err(error) => {
                    let _ = sender.blocking_send(Err(from_engine(error))); // nobody to tell is no fault
                    return;
                }
            };
            for read in cursor {
                if sender.blocking_send(describe_quarantined(read, form)).is_err() {
                    return; // the client is gone
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn watch_index_builds(
        &self,
        request: Request<WatchIndexBuildsRequest>,
    ) -> Result<Response<Builds>, Status> {
        builds::watch(&self.0, request.into_inner()).await.map(Response::new)
    }
}

type Told = Pin<Box<dyn Stream<Item = Result<QuarantinedDocument, Status>> + Send>>;

fn describe_quarantined(
    read: db_core::Result<Quarantined>,
    form: Form,
) -> Result<QuarantinedDocument, Status> {
    let Quarantined { index, document, .. } = read.map_err(from_engine)?;
    Ok(QuarantinedDocument { index, document: Some(convert::document(document, form)?) })
}

/// The index that a client describes.
fn read_index(index: Index) -> Result<IndexModel, Status> {
    let keys = convert::decode(&convert::required(index.keys, "keys")?, "keys")?;
    let mut specification = match convert::optional(index.options, "options")? {
        Some(options) => convert::decode(&options, "options")?,
        None => Document::new(),
    };
    specification.insert("key", keys);
    if !index.name.is_empty() {
        specification.insert("name", index.name);
    }
    if index.unique {
        specification.insert("unique", true);
    }
    Ok(IndexModel::from_specification(specification))
}

fn describe(model: IndexModel, form: Form) -> Result<Index, Status> {
    Ok(Index {
        keys: Some(convert::decoded(&model.keys, form)?),
        options: Some(convert::decoded(&model.to_specification(), form)?),
        name: model.options.name.unwrap_or_default(),
        unique: model.options.unique,
    })
}
