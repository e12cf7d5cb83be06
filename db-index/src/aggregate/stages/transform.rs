//! `$project`, `$set`/`$addFields`, `$unset`, `$replaceRoot`/`$replaceWith`: one document of each document.
//!
//! Several in a row are applied one after the other to computed values; only the last result is written as a document.

use std::sync::Arc;

use bson::RawBsonRef;

use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::rows::{filter_map, to_row};
use crate::expression::{Reshape, Value};

/// The most stages that are applied before a document is written.
///
/// Computed values may nest only so deep, and a stage may nest its input; stages beyond this start from bytes again.
pub(in crate::aggregate) const FUSED_MAX: usize = 16;

pub(in crate::aggregate) fn run<O: Outside>(
    reshapes: Arc<Vec<Reshape>>,
    input: Rows<O::Error>,
    context: Context<O>,
) -> Rows<O::Error> {
    filter_map(input, move |document| {
        let variables = context.variables.values();
        let mut value = Value::Raw(RawBsonRef::Document(&document));
        for reshape in reshapes.iter() {
            value = reshape.apply(&value, &variables, context.query.now_ms)?;
        }
        Ok(to_row(&value)?)
    })
}
