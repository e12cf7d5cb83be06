//! `combdb.v1.Collections`.

use bson::RawDocumentBuf;
use db_core::{Database, IndexModel};
use proto::v1::collections_server::Collections;
use proto::v1::{
    CreateCollectionRequest, CreateCollectionResponse, CreateIndexRequest, CreateIndexResponse,
    DropCollectionRequest, DropCollectionResponse, DropIndexRequest, DropIndexResponse, Index,
    ListCollectionsRequest, ListCollectionsResponse, ListIndexesRequest, ListIndexesResponse,
};
use tonic::{Request, Response, Status};

use crate::convert::{self, Form};
use crate::error::{from_engine, invalid};
use crate::node::Node;

/// Collections and indexes of a peer.
pub(super) struct Service(pub(super) Node);

#[tonic::async_trait]
impl Collections for Service {
    async fn create(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let CreateCollectionRequest { database, collection } = request.into_inner();
        self.0.database(database).await?.create_collection(&collection).await.map_err(from_engine)?;
        Ok(Response::new(CreateCollectionResponse {}))
    }

    async fn drop(
        &self,
        request: Request<DropCollectionRequest>,
    ) -> Result<Response<DropCollectionResponse>, Status> {
        let DropCollectionRequest { database, collection } = request.into_inner();
        self.0.collection(database, &collection).await?.drop().await.map_err(from_engine)?;
        Ok(Response::new(DropCollectionResponse {}))
    }

    async fn list(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let name = request.into_inner().database;
        let collections = self.0.read(name, Database::list_collection_names).await?;
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn create_index(
        &self,
        request: Request<CreateIndexRequest>,
    ) -> Result<Response<CreateIndexResponse>, Status> {
        let CreateIndexRequest { database, collection, index } = request.into_inner();
        let Some(index) = index else { return Err(invalid("index is missing", None)) };
        let keys = convert::decode(&convert::required(index.keys, "keys")?, "keys")?;
        let mut model = IndexModel::new(keys).unique(index.unique);
        if !index.name.is_empty() {
            model = model.name(index.name);
        }
        let collection = self.0.collection(database, &collection).await?;
        let name = collection.create_index(model).await.map_err(from_engine)?;
        Ok(Response::new(CreateIndexResponse { name }))
    }

    async fn drop_index(
        &self,
        request: Request<DropIndexRequest>,
    ) -> Result<Response<DropIndexResponse>, Status> {
        let DropIndexRequest { database, collection, name } = request.into_inner();
        self.0.collection(database, &collection).await?.drop_index(name).await.map_err(from_engine)?;
        Ok(Response::new(DropIndexResponse {}))
    }

    async fn list_indexes(
        &self,
        request: Request<ListIndexesRequest>,
    ) -> Result<Response<ListIndexesResponse>, Status> {
        let ListIndexesRequest { database, collection, format } = request.into_inner();
        let form = Form::of(format, None)?;
        let models = self
            .0
            .read(database, move |database| database.collection::<RawDocumentBuf>(&collection).list_indexes())
            .await?;
        let indexes = models.into_iter().map(|model| describe(model, form)).collect::<Result<_, _>>()?;
        Ok(Response::new(ListIndexesResponse { indexes }))
    }
}

fn describe(model: IndexModel, form: Form) -> Result<Index, Status> {
    Ok(Index {
        name: model.options.name.unwrap_or_default(),
        keys: Some(convert::decoded(&model.keys, form)?),
        unique: model.options.unique,
    })
}
