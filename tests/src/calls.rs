//! Short ways to call a server: Extended JSON in, Extended JSON out.

use proto::v1::collections_client::CollectionsClient;
use proto::v1::databases_client::DatabasesClient;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::peers_client::PeersClient;
use proto::v1::tickets_client::TicketsClient;
use proto::v1::writers_client::WritersClient;
use proto::v1::{
    self, CountRequest, CreateIndexRequest, DatabaseStatusRequest, DatabaseStatusResponse, DocumentFormat,
    FindRequest, Index, InsertRequest, ListPeersRequest, UpdateRequest, UpdateResponse, document, value,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

/// The clients of every service of one server, and short forms of the common calls.
#[derive(Debug, Clone)]
pub struct Calls {
    /// `combdb.v1.Databases`.
    pub databases: DatabasesClient<Channel>,
    /// `combdb.v1.Collections`.
    pub collections: CollectionsClient<Channel>,
    /// `combdb.v1.Documents`.
    pub documents: DocumentsClient<Channel>,
    /// `combdb.v1.Writers`.
    pub writers: WritersClient<Channel>,
    /// `combdb.v1.Peers`.
    pub peers: PeersClient<Channel>,
    /// `combdb.v1.Tickets`.
    pub tickets: TicketsClient<Channel>,
    /// The connection, for other services.
    pub channel: Channel,
}

impl Calls {
    /// Connects.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn connect(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("a server");
        Self {
            databases: DatabasesClient::new(channel.clone()),
            collections: CollectionsClient::new(channel.clone()),
            documents: DocumentsClient::new(channel.clone())
                .max_decoding_message_size(64 << 20)
                .max_encoding_message_size(64 << 20),
            writers: WritersClient::new(channel.clone()),
            peers: PeersClient::new(channel.clone()),
            tickets: TicketsClient::new(channel.clone()),
            channel,
        }
    }

    /// Inserts documents in order and gives their ids.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn insert(
        &self,
        database: &str,
        collection: &str,
        documents: &[&str],
    ) -> Result<Vec<String>, Status> {
        let request = InsertRequest {
            database: database.into(),
            collection: collection.into(),
            documents: documents.iter().map(|text| json(text)).collect(),
            ..InsertRequest::default()
        };
        let answer = self.documents.clone().insert(request).await?.into_inner();
        Ok(answer.inserted.into_iter().map(|inserted| value_text(inserted.id)).collect())
    }

    /// Finds documents, and gives them as text.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn find(&self, request: FindRequest) -> Result<Vec<String>, Status> {
        let request = FindRequest { format: DocumentFormat::ExtendedJson.into(), ..request };
        let mut batches: Streaming<_> = self.documents.clone().find(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(batch) = batches.message().await? {
            assert!(!batch.documents.is_empty(), "an empty batch");
            found.extend(batch.documents.into_iter().map(|document| json_text(Some(document))));
        }
        Ok(found)
    }

    /// Counts the documents that match.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn count(&self, database: &str, collection: &str, filter: &str) -> Result<u64, Status> {
        let request = CountRequest {
            database: database.into(),
            collection: collection.into(),
            filter: Some(json(filter)),
            ..CountRequest::default()
        };
        Ok(self.documents.clone().count(request).await?.into_inner().count)
    }

    /// Updates every document that matches.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn update_many(
        &self,
        database: &str,
        collection: &str,
        filter: &str,
        update: &str,
    ) -> Result<UpdateResponse, Status> {
        let request = UpdateRequest {
            database: database.into(),
            collection: collection.into(),
            filter: Some(json(filter)),
            update: Some(json(update)),
            ..UpdateRequest::default()
        };
        Ok(self.documents.clone().update_many(request).await?.into_inner())
    }

    /// Creates an index and gives its name.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn create_index(
        &self,
        database: &str,
        collection: &str,
        keys: &str,
        unique: bool,
    ) -> Result<String, Status> {
        let request = CreateIndexRequest {
            database: database.into(),
            collection: collection.into(),
            index: Some(Index { keys: Some(json(keys)), unique, ..Index::default() }),
            write_concern: None,
        };
        Ok(self.collections.clone().create_index(request).await?.into_inner().name)
    }

    /// How a database stands, with the digests.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn status(&self, database: &str) -> Result<DatabaseStatusResponse, Status> {
        let request = DatabaseStatusRequest { database: database.into(), with_digest: true };
        Ok(self.databases.clone().status(request).await?.into_inner())
    }

    /// The address at which other peers reach this one.
    ///
    /// # Panics
    /// If it has none.
    pub async fn own_address(&self) -> String {
        let answer = self.peers.clone().list(ListPeersRequest {}).await.expect("the peers").into_inner();
        answer.own_addresses.into_iter().next().expect("an address")
    }
}

/// A document as Extended JSON.
pub fn json(text: &str) -> v1::Document {
    v1::Document { form: Some(document::Form::ExtendedJson(text.to_owned())) }
}

/// The text of a document that came as Extended JSON.
///
/// # Panics
/// If there is none, or it came in another form.
pub fn json_text(document: Option<v1::Document>) -> String {
    match document.and_then(|document| document.form) {
        Some(document::Form::ExtendedJson(text)) => text,
        other => panic!("no Extended JSON: {other:?}"),
    }
}

/// The text of a value that came as Extended JSON.
///
/// # Panics
/// If there is none, or it came in another form.
pub fn value_text(value: Option<v1::Value>) -> String {
    match value.and_then(|value| value.form) {
        Some(value::Form::ExtendedJson(text)) => text,
        other => panic!("no Extended JSON: {other:?}"),
    }
}

/// MongoDB's code in a refusal, or 0 where it has none.
pub fn code_of(status: &Status) -> i32 {
    let info = status.get_details_error_info();
    info.and_then(|info| info.metadata.get("code")?.parse().ok()).unwrap_or(0)
}
