//! `$bucketAuto`: documents in so many buckets of about the same size.

mod granularity;
mod parse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bson::RawBson;
use bson::raw::RawDocumentBuf;
use bson::spec::ElementType;

use self::granularity::Granularity;
use crate::aggregate::accumulator::{AccumulatedFields, Owned, held_bytes, start_all, write_all};
use crate::aggregate::outside::{Context, Outside, Rows};
use crate::aggregate::parse::error;
use crate::aggregate::rows::{check_memory, check_row, lazily};
use crate::error::QueryError;
use crate::expression::{Expression, Value};
use crate::number::Number;
use crate::raw::Writer;

const STAGE: &str = "$bucketAuto";

/// A compiled `$bucketAuto`.
#[derive(Debug)]
pub(in crate::aggregate) struct BucketAuto {
    key: Expression,
    buckets: usize,
    fields: AccumulatedFields,
    granularity: Option<Granularity>,
}

/// A document with the key by which it is put into a bucket, and its place in the input.
struct Keyed {
    key: Owned,
    place: usize,
    document: RawDocumentBuf,
}

/// Documents in a bucket, with its bounds.
struct Bucket {
    min: RawBson,
    max: RawBson,
    documents: Vec<Keyed>,
}

impl BucketAuto {
    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let stage = Arc::clone(self);
        lazily(move || {
            let now_ms = context.query.now_ms;
            let mut documents = Vec::new();
            let mut bytes = 0;
            for (place, document) in input.enumerate() {
                let document = document?;
                let variables = context.variables.values();
                let key = stage.key_of(&document, &variables, now_ms)?;
                bytes += document.as_bytes().len() + held_bytes(&key) + 64;
                check_memory(STAGE, bytes)?;
                documents.push(Keyed { key: Owned(key, context.query.collation.clone()), place, document });
            }
            documents.sort_by(|a, b| a.key.cmp(&b.key));
            let buckets = stage.fill(documents).into_iter();
            Ok(buckets.map(move |bucket| {
                let variables = context.variables.values();
                stage.document(bucket, &variables, now_ms).map_err(O::Error::from)
            }))
        })
    }

    fn key_of(
        &self,
        document: &RawDocumentBuf,
        variables: &[Value<'_>],
        now_ms: i64,
    ) -> Result<RawBson, QueryError> {
        let key = self.key.evaluate(document, variables, now_ms)?;
        if self.granularity.is_some() {
            let Some(number) = key.as_number() else {
                let found = key.type_name();
                return error(
                    40258,
                    format!(
                        "{STAGE} can specify a 'granularity' with numeric boundaries only, but found a value with type: {found}"
                    ),
                );
            };
            if number.is_nan() {
                return error(
                    40259,
                    format!(
                        "{STAGE} can specify a 'granularity' with numeric boundaries only, but found a NaN"
                    ),
                );
            }
            if number.compare(Number::Int32(0)).is_lt() {
                return error(
                    40260,
                    format!(
                        "{STAGE} can specify a 'granularity' with non-negative numbers only, but found a negative number"
                    ),
                );
            }
        }
        // Missing and null are one key.
        Ok(key.to_raw_bson()?.unwrap_or(RawBson::Null))
    }

    /// Puts documents in order of their keys into buckets. Equal keys stay together.
    fn fill(&self, documents: Vec<Keyed>) -> Vec<Bucket> {
        let size = ((documents.len() as f64 / self.buckets as f64).round() as usize).max(1);
        let mut rest = documents.into_iter().peekable();
        let mut buckets: Vec<Bucket> = Vec::new();
        while buckets.len() < self.buckets {
            let Some(first) = rest.next() else { break };
            let min = match (&self.granularity, buckets.last()) {
                (None, _) => first.key.0.clone(),
                // Bounds of a granularity touch.
                (Some(_), Some(before)) => before.max.clone(),
                (Some(granularity), None) => granularity.round_down(&first.key.0),
            };
            let is_last = buckets.len() + 1 == self.buckets;
            let mut bucket = vec![first];
            while (is_last || bucket.len() < size)
                && let Some(next) = rest.next()
            {
                bucket.push(next);
            }
            let max = self.close(&mut bucket, &mut rest);
            buckets.push(Bucket { min, max, documents: bucket });
        }
        buckets
    }

    /// Takes the documents that belong into the bucket as well, and gives its upper bound.
    fn close(
        &self,
        bucket: &mut Vec<Keyed>,
        rest: &mut std::iter::Peekable<std::vec::IntoIter<Keyed>>,
    ) -> RawBson {
        let last = bucket.last().map(|keyed| keyed.key.clone());
        let mut max = last.unwrap_or(Owned(RawBson::Null, None));
        let Some(granularity) = &self.granularity else {
            while let Some(next) = rest.next_if(|next| next.key == max) {
                bucket.push(next);
            }
            // A bucket ends where the next one begins; the last one holds its end.
            return rest.peek().map_or(max.0, |next| next.key.0.clone());
        };
        let boundary = Owned(granularity.round_up(&max.0), None);
        while let Some(next) = rest.next_if(|next| next.key < boundary || next.key == max) {
            max = next.key.clone();
            bucket.push(next);
        }
        // Nothing but zeros: the bucket ends below the next key.
        let is_zero = boundary == Owned(RawBson::Int32(0), None);
        match rest.peek() {
            Some(next) if is_zero => granularity.round_down(&next.key.0),
            _ => boundary.0,
        }
    }

    fn document(
        &self,
        bucket: Bucket,
        variables: &[Value<'_>],
        now_ms: i64,
    ) -> Result<RawDocumentBuf, QueryError> {
        let Bucket { min, max, mut documents } = bucket;
        // Accumulators see the documents as they came.
        documents.sort_by_key(|keyed| keyed.place);
        let mut writer = Writer::with_capacity(64);
        let root = writer.open_root();
        let id = writer.open("_id", ElementType::EmbeddedDocument);
        Value::Raw(min.as_raw_bson_ref()).write("min", &mut writer)?;
        Value::Raw(max.as_raw_bson_ref()).write("max", &mut writer)?;
        writer.close(id);
        let mut accumulators = start_all(&self.fields, None, variables, now_ms)?;
        for keyed in &documents {
            let mut bytes = 0_usize;
            for ((_, field), accumulator) in self.fields.iter().zip(&mut accumulators) {
                accumulator.add(field, &keyed.document, variables, now_ms)?;
                bytes = bytes.saturating_add(accumulator.memory());
            }
            check_memory(STAGE, bytes)?;
        }
        write_all(&self.fields, &accumulators, &mut writer)?;
        writer.close(root);
        let document = writer.into_document();
        check_row(&document)?;
        Ok(document)
    }
}
