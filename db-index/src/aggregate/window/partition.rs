//! The documents of one partition, in order, with what window functions ask of them.

use bson::RawBson;
use bson::raw::{RawDocument, RawDocumentBuf};

use crate::aggregate::accumulator::held_bytes;
use crate::aggregate::outside::Variables;
use crate::error::QueryError;
use crate::expression::{Expression, Value};

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    documents: Vec<RawDocumentBuf>,
    /// The values of the first sort field, if a function asks for them.
    sort_values: Vec<Option<RawBson>>,
    sort_values_bytes: usize,
    surroundings: Surroundings,
    empty: RawDocumentBuf,
}

/// What expressions know beside documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    pub(super) variables: Variables,
    pub(super) now_ms: i64,
}

impl Partition {
    /// The partition of these documents; `sort_by` is the field whose values are asked for.
    pub(super) fn new(
        documents: Vec<RawDocumentBuf>,
        sort_by: Option<&Expression>,
        surroundings: Surroundings,
    ) -> Result<Self, QueryError> {
        let empty = RawDocumentBuf::new();
        let mut partition =
            Self { documents, sort_values: Vec::new(), sort_values_bytes: 0, surroundings, empty };
        if let Some(sort_by) = sort_by {
            partition.sort_values =
                (0..partition.len()).map(|at| partition.evaluate(sort_by, at)).collect::<Result<_, _>>()?;
            partition.sort_values_bytes = partition.sort_values.iter().flatten().map(held_bytes).sum();
        }
        Ok(partition)
    }

    pub(super) fn len(&self) -> usize {
        self.documents.len()
    }

    /// The document at this place, which must be there; an empty one otherwise.
    pub(super) fn document(&self, at: usize) -> &RawDocument {
        self.documents.get(at).unwrap_or(&self.empty)
    }

    /// The value of the sort field of a document.
    pub(super) fn sort_value(&self, at: usize) -> Value<'_> {
        value_of(self.sort_values.get(at).and_then(Option::as_ref))
    }

    /// What an expression gives for a document; none if that is missing.
    pub(super) fn evaluate(&self, expression: &Expression, at: usize) -> Result<Option<RawBson>, QueryError> {
        let variables = self.surroundings.variables.values();
        expression.evaluate(self.document(at), &variables, self.surroundings.now_ms)?.to_raw_bson()
    }

    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// How many bytes are held beside the documents.
    pub(super) fn memory(&self) -> usize {
        self.sort_values_bytes
    }
}

/// A held value as expressions take it.
pub(super) fn value_of(held: Option<&RawBson>) -> Value<'_> {
    held.map_or(Value::Missing, |value| Value::Raw(value.as_raw_bson_ref()))
}
