//! The connection to a running server, and which of its databases is meant.

use std::time::Duration;

use proto::v1::changes_client::ChangesClient;
use proto::v1::collections_client::CollectionsClient;
use proto::v1::conflicts_client::ConflictsClient;
use proto::v1::databases_client::DatabasesClient;
use proto::v1::documents_client::DocumentsClient;
use proto::v1::history_client::HistoryClient;
use proto::v1::log_client::LogClient;
use proto::v1::peers_client::PeersClient;
use proto::v1::receipts_client::ReceiptsClient;
use proto::v1::rejections_client::RejectionsClient;
use proto::v1::tickets_client::TicketsClient;
use proto::v1::transactions_client::TransactionsClient;
use proto::v1::writers_client::WritersClient;
use proto::v1::{self, ListDatabasesRequest};
use tonic::transport::{Channel, Endpoint};

use super::Common;
use crate::error::CliError;

/// The largest answer that the command line takes: a document as Extended JSON may be several times its BSON.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A connection to the server.
pub(crate) struct Client {
    channel: Channel,
    db: Option<String>,
}

impl Client {
    /// Connects to the server that the command line names.
    ///
    /// # Errors
    /// If the address is none, or nobody answers there.
    pub(crate) async fn connect(common: &Common) -> Result<Self, CliError> {
        let address = &common.server;
        let uri = if address.contains("://") { address.clone() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|_| CliError::Usage(format!("{address} is no address: give HOST:PORT")))?
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_adaptive_window(true);
        let channel = endpoint.connect().await.map_err(|_| CliError::NoServer(address.clone()))?;
        Ok(Self { channel, db: common.db.clone() })
    }

    /// The database that is meant: the one named, or the only one there is.
    ///
    /// # Errors
    /// If none is named and the server has none or several.
    pub(crate) async fn database(&self) -> Result<String, CliError> {
        if let Some(name) = &self.db {
            return Ok(name.clone());
        }
        let answer = self.databases().list(ListDatabasesRequest {}).await?.into_inner();
        match answer.databases.as_slice() {
            [only] => Ok(only.name.clone()),
            [] => Err(CliError::Usage("the server has no database yet: see `combdb create --help`".into())),
            several => {
                let names: Vec<&str> = several.iter().map(|database| database.name.as_str()).collect();
                Err(CliError::Usage(format!("say which database with --db: {}", names.join(", "))))
            }
        }
    }

    /// The service of that name.
    pub(crate) fn databases(&self) -> DatabasesClient<Channel> {
        DatabasesClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn collections(&self) -> CollectionsClient<Channel> {
        CollectionsClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn documents(&self) -> DocumentsClient<Channel> {
        DocumentsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn changes(&self) -> ChangesClient<Channel> {
        ChangesClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn conflicts(&self) -> ConflictsClient<Channel> {
        ConflictsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn writers(&self) -> WritersClient<Channel> {
        WritersClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn peers(&self) -> PeersClient<Channel> {
        PeersClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn log(&self) -> LogClient<Channel> {
        LogClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn history(&self) -> HistoryClient<Channel> {
        HistoryClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn receipts(&self) -> ReceiptsClient<Channel> {
        ReceiptsClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn rejections(&self) -> RejectionsClient<Channel> {
        RejectionsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The service of that name.
    pub(crate) fn transactions(&self) -> TransactionsClient<Channel> {
        TransactionsClient::new(self.channel.clone())
    }

    /// The service of that name.
    pub(crate) fn tickets(&self) -> TicketsClient<Channel> {
        TicketsClient::new(self.channel.clone())
    }
}

/// A document as it stood on the command line; the server reads it.
pub(crate) fn json(text: impl Into<String>) -> v1::Document {
    v1::Document { form: Some(v1::document::Form::ExtendedJson(text.into())) }
}

/// The text of a document that was asked for as Extended JSON.
pub(crate) fn text(document: Option<v1::Document>) -> String {
    match document.and_then(|document| document.form) {
        Some(v1::document::Form::ExtendedJson(text)) => text,
        _ => String::new(),
    }
}

/// The text of a value that was asked for as Extended JSON.
pub(crate) fn value_text(value: Option<v1::Value>) -> String {
    match value.and_then(|value| value.form) {
        Some(v1::value::Form::ExtendedJson(text)) => text,
        _ => String::new(),
    }
}
