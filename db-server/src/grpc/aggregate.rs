//! `Documents.Aggregate`.

use bson::{Document, RawDocumentBuf};
use db_core::{Aggregate, Collection, Database};
use proto::v1::{AggregateRequest, AggregateResponse};
use tonic::Status;

use super::options::{Reading, Waiting};
use super::stream::{Batches, Sending, stream};
use super::transactions::Place;
use crate::convert::{self, Form};
use crate::error::invalid;
use crate::node::{Node, Sees};

/// MongoDB's code for options that a call cannot have.
const INVALID_OPTIONS: i32 = 72;

/// An aggregation; every part has passed the guard.
pub(super) struct Aggregation {
    /// Empty for one of the database.
    collection: String,
    pipeline: Vec<RawDocumentBuf>,
    reading: Reading,
}

impl Aggregation {
    /// Reads it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a part of it is malformed.
    pub(super) fn of(request: AggregateRequest) -> Result<Self, Status> {
        Ok(Self {
            collection: request.collection,
            pipeline: convert::stages(request.pipeline)?,
            reading: Reading::read(request.hint, request.options)?,
        })
    }

    /// What it sees.
    pub(super) fn sees(&self) -> Sees {
        self.reading.sees()
    }

    /// The same, and an end to it as soon as the other half is dropped.
    fn until_dropped(self) -> (Self, Waiting) {
        let (reading, waiting) = self.reading.until_dropped();
        (Self { reading, ..self }, waiting)
    }

    /// The aggregation, not begun yet.
    pub(super) fn about(self, database: &Database) -> Aggregate<Document> {
        let collection = database.collection(&self.collection);
        self.of_collection(database, &collection)
    }

    /// The aggregation of a collection that may be one of a transaction, not begun yet.
    fn of_collection(
        self,
        database: &Database,
        collection: &Collection<RawDocumentBuf>,
    ) -> Aggregate<Document> {
        let aggregate = if self.collection.is_empty() {
            database.aggregate(self.pipeline)
        } else {
            collection.aggregate(self.pipeline)
        };
        aggregate.with_options(self.reading.into_options())
    }
}

/// Streams the results of an aggregation.
///
/// # Errors
/// If it is malformed, the engine refuses it, or too many cursors are streaming.
pub(super) async fn aggregate(
    node: &Node,
    mut request: AggregateRequest,
) -> Result<Batches<AggregateResponse>, Status> {
    let sending = Sending::new(Form::of(request.format, request.pipeline.first())?, request.batch_size);
    let place = Place::take(node, &request.database, &request.collection, &mut request.options).await?;
    if request.collection.is_empty() && place.is_transaction() {
        let message = "an aggregation in a transaction is one of a collection";
        return Err(invalid(message, Some(INVALID_OPTIONS)));
    }
    let database = request.database.clone();
    let (aggregation, waiting) = Aggregation::of(request)?.until_dropped();
    let sees = place.sees(aggregation.sees());
    let begin = move |database: &Database| aggregation.of_collection(database, &place.on(database)).run_raw();
    let answer = |documents| AggregateResponse { documents };
    stream(node, (database, sees), sending, waiting, answer, begin).await
}
