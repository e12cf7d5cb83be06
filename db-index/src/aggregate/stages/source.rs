//! Stages that read no input: `$documents`, `$collStats`, `$indexStats`.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;
use bson::{RawArray, RawBson, RawBsonRef};

use crate::aggregate::outside::{CollectionStatistics, Context, Outside, Rows};
use crate::aggregate::parse::{error, type_name};
use crate::aggregate::rows::{check_row, lazily};
use crate::error::QueryError;
use crate::expression::Expression;
use crate::order;

/// Whether a pipeline begins with `$documents`.
pub(in crate::aggregate) fn begins_with_documents(stages: &RawArray) -> bool {
    match order::array_elements(stages).next() {
        Some(RawBsonRef::Document(stage)) => {
            order::elements(stage).next().is_some_and(|(name, _)| name.as_str() == "$documents")
        }
        _ => false,
    }
}

/// The documents of `$documents`: the elements of the array that its operand gives.
pub(in crate::aggregate) fn documents<O: Outside>(
    operand: &Arc<Expression>,
    context: Context<O>,
) -> Rows<O::Error> {
    let operand = Arc::clone(operand);
    lazily(move || {
        let root = RawDocumentBuf::new();
        let value =
            operand.evaluate(&root, &context.variables.values(), context.query.now_ms)?.to_raw_bson()?;
        let Some(RawBson::Array(array)) = value else {
            return Ok(error(5_858_203, "an array is expected as the operand of $documents")?);
        };
        let mut documents = Vec::new();
        for value in order::array_elements(&array) {
            let RawBsonRef::Document(document) = value else {
                return Ok(error(
                    40228,
                    format!(
                        "'newRoot' expression must evaluate to an object, but resulting value was of type: {}",
                        type_name(value)
                    ),
                )?);
            };
            let document = document.to_owned();
            check_row(&document)?;
            documents.push(Ok(document));
        }
        Ok(documents.into_iter())
    })
}

/// The operand of `$collStats`.
pub(in crate::aggregate) fn parse_statistics(
    operand: RawBsonRef<'_>,
) -> Result<CollectionStatistics, QueryError> {
    let RawBsonRef::Document(document) = operand else {
        return error(
            5_447_000,
            format!("$collStats must take a nested object but found: {}", type_name(operand)),
        );
    };
    let mut wanted = CollectionStatistics::default();
    for (name, value) in order::elements(document) {
        let slot = match name.as_str() {
            "latencyStats" => &mut wanted.latency,
            "storageStats" => &mut wanted.storage,
            "count" => &mut wanted.count,
            "queryExecStats" => &mut wanted.query,
            name => return error(40415, format!("BSON field '$collStats.{name}' is an unknown field.")),
        };
        if !matches!(value, RawBsonRef::Document(_)) {
            return error(
                14,
                format!(
                    "BSON field '$collStats.{}' is the wrong type '{}', expected type 'object'",
                    name.as_str(),
                    type_name(value)
                ),
            );
        }
        *slot = true;
    }
    Ok(wanted)
}

pub(in crate::aggregate) fn collection_statistics<O: Outside>(
    wanted: CollectionStatistics,
    context: Context<O>,
) -> Rows<O::Error> {
    lazily(move || {
        let document = context.outside.collection_statistics(&context.collection, wanted)?;
        Ok(std::iter::once(Ok(document)))
    })
}

/// The operand of `$indexStats`, which says nothing.
pub(in crate::aggregate) fn parse_index_statistics(operand: RawBsonRef<'_>) -> Result<(), QueryError> {
    match operand {
        RawBsonRef::Document(document) if document.is_empty() => Ok(()),
        _ => error(28803, "The $indexStats stage specification must be an empty object"),
    }
}

pub(in crate::aggregate) fn index_statistics<O: Outside>(context: Context<O>) -> Rows<O::Error> {
    lazily(move || {
        let documents = context.outside.index_statistics(&context.collection)?;
        Ok(documents.into_iter().map(Ok))
    })
}
