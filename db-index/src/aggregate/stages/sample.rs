//! `$sample`: so many documents by chance.

use std::collections::BinaryHeap;

use bson::RawBsonRef;
use bson::raw::RawDocumentBuf;

use crate::aggregate::outside::Rows;
use crate::aggregate::parse::error;
use crate::aggregate::rows::{check_memory, lazily};
use crate::context::Chance;
use crate::error::QueryError;
use crate::number::Number;
use crate::order;

/// The operand of `$sample`: how many.
pub(in crate::aggregate) fn parse(operand: RawBsonRef<'_>) -> Result<u64, QueryError> {
    let RawBsonRef::Document(document) = operand else {
        return error(28745, "the $sample stage specification must be an object");
    };
    let mut size = None;
    for (name, value) in order::elements(document) {
        if name.as_str() != "size" {
            return error(28748, format!("unrecognized option to $sample: {}", name.as_str()));
        }
        let Some(number) = Number::from_raw(value) else {
            return error(28746, "size argument to $sample must be a number");
        };
        // What is beyond a long is as many as there may be.
        let count = number.truncated_to_i64().or((number.to_f64() > 0.0).then_some(i64::MAX));
        let count = count.and_then(|count| u64::try_from(count).ok()).filter(|count| *count > 0);
        let Some(count) = count else {
            return error(28747, "size argument to $sample must be a positive integer");
        };
        size = Some(count);
    }
    let Some(size) = size else { return error(28749, "$sample stage must specify a size") };
    Ok(size)
}

/// Gives every document a number by chance and keeps those with the least, in that order.
pub(in crate::aggregate) fn run<E>(size: u64, chance: Chance, input: Rows<E>) -> Rows<E>
where
    E: From<QueryError> + Send + 'static,
{
    lazily(move || {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (mut chosen, mut bytes) = (BinaryHeap::new(), 0);
        for (arrival, document) in input.enumerate() {
            let drawn = Drawn { number: chance.next(), arrival, document: document? };
            if chosen.len() >= size {
                if chosen.peek().is_none_or(|greatest| drawn >= *greatest) {
                    continue;
                }
                bytes -= chosen.pop().map_or(0, |drawn: Drawn| drawn.bytes());
            }
            bytes += drawn.bytes();
            check_memory("$sample", bytes)?;
            chosen.push(drawn);
        }
        Ok(chosen.into_sorted_vec().into_iter().map(|drawn| Ok(drawn.document)))
    })
}

/// A document with its number.
struct Drawn {
    number: f64,
    arrival: usize,
    document: RawDocumentBuf,
}

impl Drawn {
    fn bytes(&self) -> usize {
        self.document.as_bytes().len() + size_of::<Self>()
    }
}

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.total_cmp(&other.number).then(self.arrival.cmp(&other.arrival))
    }
}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Drawn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Drawn {}
