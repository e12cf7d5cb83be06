//! The accumulated fields of a stage: started together for each group, written together at its end.

use bson::raw::RawDocument;
use bson::{RawBson, RawBsonRef};

use super::{Accumulator, AccumulatorExpression, Compile};
use crate::error::QueryError;
use crate::expression::Value;
use crate::raw::Writer;

/// Names with what is accumulated under them.
pub(in crate::aggregate) type AccumulatedFields = Vec<(Box<str>, AccumulatorExpression)>;

/// The one field that stages have which name none: how many documents there are.
pub(in crate::aggregate) fn counted(compile: Compile<'_>) -> Result<AccumulatedFields, QueryError> {
    Ok(vec![("count".into(), AccumulatorExpression::parse("$sum", RawBsonRef::Int32(1), compile)?)])
}

/// An accumulator for each field, of a group with the given fields in its `_id`.
pub(in crate::aggregate) fn start_all(
    fields: &AccumulatedFields,
    group: Option<&RawDocument>,
    variables: &[Value<'_>],
    now_ms: i64,
) -> Result<Vec<Accumulator>, QueryError> {
    fields.iter().map(|(_, field)| field.start(group, variables, now_ms)).collect()
}

/// Writes what has been accumulated.
pub(in crate::aggregate) fn write_all(
    fields: &AccumulatedFields,
    accumulators: &[Accumulator],
    writer: &mut Writer,
) -> Result<(), QueryError> {
    for ((name, _), accumulator) in fields.iter().zip(accumulators) {
        let value = accumulator.finish()?.unwrap_or(RawBson::Null);
        Value::Raw(value.as_raw_bson_ref()).write(name, writer)?;
        writer.check_size()?;
    }
    Ok(())
}
