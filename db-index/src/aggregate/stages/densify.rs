//! `$densify`: documents made where a step of a sequence has none.
//!
//! The documents come sorted by the field (within a partition, unless the bounds are `full`). Before each one those of the
//! steps up to it are made; what the range has beyond the last document of a partition is made at the end.

mod parse;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bson::raw::{RawDocument, RawDocumentBuf};
use bson::{RawBson, RawBsonRef};

use self::value::{Step, Stop};
use crate::aggregate::PIPELINE_BYTES_MAX;
use crate::aggregate::accumulator::{Owned, held_bytes};
use crate::aggregate::edit::{self, Path};
use crate::aggregate::outside::Rows;
use crate::aggregate::parse::error;
use crate::aggregate::rows::{check_memory, lazily, to_row};
use crate::error::QueryError;
use crate::expression::{Expression, Reshape, Value};
use crate::order;
use crate::sort::{Sort, Sorter};

const STAGE: &str = "$densify";

/// The most documents that a `$densify` makes.
const GENERATED_MAX: usize = 500_000;

/// A compiled `$densify`.
#[derive(Debug)]
pub(in crate::aggregate) struct Densify {
    sort: Sort,
    path: Path,
    step: Step,
    bounds: Bounds,
    /// The values of the partition's fields.
    partition: Vec<Expression>,
    /// Makes a document of the partition's fields alone.
    template: Option<Reshape>,
    /// Sets the field in such a document.
    set: Reshape,
}

/// Between which values steps are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bounds {
    /// Between the least and the greatest value of all documents.
    Full,
    /// Between those of each partition.
    Partition,
    /// From the first up to, and without, the second.
    Explicit(Stop, Stop),
}

impl Densify {
    pub(in crate::aggregate) fn run<E>(self: &Arc<Self>, input: Rows<E>) -> Rows<E>
    where
        E: From<QueryError> + Send + 'static,
    {
        let stage = Arc::clone(self);
        lazily(move || {
            let mut sorter = Sorter::new(stage.sort.clone(), None, PIPELINE_BYTES_MAX);
            for document in input {
                let document = document?;
                sorter.push(&document, || document.clone())?;
            }
            let documents: Vec<RawDocumentBuf> = sorter.into_sorted().collect();
            let run = Run {
                stage,
                documents: documents.into_iter(),
                partitions: BTreeMap::new(),
                generation: None,
                least: None,
                greatest: None,
                rest: None,
                generated: 0,
                bytes: 0,
            };
            Ok(run.map(|document| document.map_err(E::from)))
        })
    }
}

/// A `$densify` at work.
#[derive(Debug)]
struct Run {
    stage: Arc<Densify>,
    documents: std::vec::IntoIter<RawDocumentBuf>,
    /// The last step of each partition; none if it has not begun.
    partitions: BTreeMap<Owned, Option<Stop>>,
    generation: Option<Generation>,
    /// The least and the greatest value of all documents.
    least: Option<Stop>,
    greatest: Option<(Stop, bool)>,
    /// The partitions that are still to be finished, once all documents have come.
    rest: Option<std::collections::btree_map::IntoIter<Owned, Option<Stop>>>,
    generated: usize,
    bytes: usize,
}

/// Documents that are being made.
#[derive(Debug)]
struct Generation {
    partition: RawDocumentBuf,
    key: Owned,
    next: Stop,
    /// Where it ends, without it.
    until: Stop,
    /// The document that is due then, with its value.
    then: Option<(RawDocumentBuf, Stop)>,
}

impl Iterator for Run {
    type Item = Result<RawDocumentBuf, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().transpose()
    }
}

impl Run {
    fn next_document(&mut self) -> Result<Option<RawDocumentBuf>, QueryError> {
        loop {
            if let Some(generation) = &mut self.generation {
                if generation.next.compare(&generation.until).is_lt() {
                    return self.generate().map(Some);
                }
                if let Some(document) = self.end_generation() {
                    return Ok(Some(document));
                }
            }
            if self.rest.is_none() {
                match self.documents.next() {
                    Some(document) => {
                        if let Some(document) = self.take(document)? {
                            return Ok(Some(document));
                        }
                        continue;
                    }
                    None => self.begin_rest(),
                }
            }
            let Some((key, last)) = self.rest.as_mut().and_then(Iterator::next) else { return Ok(None) };
            self.finish(key, last)?;
        }
    }

    /// Takes a document: gives it on, or begins to make those that come before it.
    fn take(&mut self, document: RawDocumentBuf) -> Result<Option<RawDocumentBuf>, QueryError> {
        let found = edit::field(&document, &self.stage.path);
        if matches!(found, None | Some(RawBsonRef::Null | RawBsonRef::Undefined)) {
            return Ok(Some(document));
        }
        let value = self.stage.step.stop(found)?;
        let (key, partition) = self.stage.partition_of(&document)?;
        let last = match self.partitions.entry(key.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                self.bytes += held_bytes(&key.0) + size_of::<Stop>();
                check_memory(STAGE, self.bytes)?;
                *vacant.insert(None)
            }
        };
        let least = *self.least.get_or_insert(value);
        let step = self.stage.step;
        let (last, until) = match (self.stage.bounds, last) {
            (Bounds::Explicit(lower, _), _) if value.compare(&lower).is_lt() => return Ok(Some(document)),
            (Bounds::Explicit(lower, upper), last) => {
                let last = match last {
                    None if value.compare(&lower).is_eq() => value,
                    None => step.before(&lower)?,
                    Some(last) => last,
                };
                (last, if upper.compare(&value).is_lt() { upper } else { value })
            }
            (_, Some(last)) => (last, value),
            // The first document of all begins the sequence, and so does the first of each partition by itself.
            (Bounds::Partition, None) => (value, value),
            (Bounds::Full, None) if self.greatest.is_none() => (value, value),
            (Bounds::Full, None) => (step.before(&least)?, value),
        };
        self.set_last(&key, last);
        self.greatest = Some((value, false));
        let next = step.after(&last)?;
        self.generation = Some(Generation { partition, key, next, until, then: Some((document, value)) });
        Ok(None)
    }

    fn set_last(&mut self, key: &Owned, last: Stop) {
        if let Some(known) = self.partitions.get_mut(key) {
            *known = Some(last);
        }
    }

    /// Makes the next document.
    fn generate(&mut self) -> Result<RawDocumentBuf, QueryError> {
        self.generated += 1;
        if self.generated > GENERATED_MAX {
            return error(
                5_897_900,
                format!(
                    "Generated {} documents in {STAGE}, which is over the limit of {GENERATED_MAX}",
                    self.generated
                ),
            );
        }
        let Some(generation) = &mut self.generation else { return Ok(RawDocumentBuf::new()) };
        let at = generation.next;
        generation.next = self.stage.step.after(&at)?;
        // A date can be moved to where it was, by months beyond the range.
        if generation.next.compare(&at).is_le() {
            return error(15, format!("{STAGE} overflowed"));
        }
        let held = at.to_raw_bson();
        let root = Value::Raw(RawBsonRef::Document(&generation.partition));
        let made = self.stage.set.apply(&root, &[Value::Raw(held.as_raw_bson_ref())], 0)?;
        let document = to_row(&made)?.unwrap_or_default();
        let key = generation.key.clone();
        self.set_last(&key, at);
        Ok(document)
    }

    /// Gives the document for which others were made.
    fn end_generation(&mut self) -> Option<RawDocumentBuf> {
        let Generation { key, next, then, .. } = self.generation.take()?;
        let (document, value) = then?;
        let last = self.partitions.get(&key).copied().flatten();
        let on_step = next.compare(&value).is_eq() || last.is_some_and(|last| last.compare(&value).is_eq());
        if on_step {
            self.set_last(&key, value);
        }
        self.greatest = Some((value, on_step));
        Some(document)
    }

    /// After the last document: looks at each partition once more, if its sequence may go on.
    fn begin_rest(&mut self) {
        let mut partitions = std::mem::take(&mut self.partitions);
        match self.stage.bounds {
            // Without documents there is one sequence all the same.
            Bounds::Explicit(..) if self.stage.template.is_none() && partitions.is_empty() => {
                partitions.insert(Owned(RawBson::Null, None), None);
            }
            Bounds::Explicit(..) => {}
            Bounds::Full if self.stage.template.is_some() => {}
            Bounds::Full | Bounds::Partition => partitions.clear(),
        }
        self.rest = Some(partitions.into_iter());
    }

    fn finish(&mut self, key: Owned, last: Option<Stop>) -> Result<(), QueryError> {
        let step = &self.stage.step;
        let (next, until) = match (self.stage.bounds, last, self.greatest) {
            (Bounds::Explicit(lower, upper), None, _) => (lower, upper),
            (Bounds::Explicit(_, upper), Some(last), _) => (step.after(&last)?, upper),
            (Bounds::Full, Some(last), Some((greatest, on_step))) => {
                (step.after(&last)?, if on_step { step.after(&greatest)? } else { greatest })
            }
            _ => return Ok(()),
        };
        let partition = match &key.0 {
            RawBson::Document(partition) => partition.clone(),
            _ => RawDocumentBuf::new(),
        };
        check_path(&partition, self.stage.path.parts())?;
        self.generation = Some(Generation { partition, key, next, until, then: None });
        Ok(())
    }
}

impl Densify {
    /// The partition of a document, as a key and as a document of its fields.
    fn partition_of(&self, document: &RawDocument) -> Result<(Owned, RawDocumentBuf), QueryError> {
        let Some(template) = &self.template else {
            return Ok((Owned(RawBson::Null, None), RawDocumentBuf::new()));
        };
        let values: Vec<Value<'_>> =
            self.partition.iter().map(|field| field.evaluate(document, &[], 0)).collect::<Result<_, _>>()?;
        let empty = RawDocumentBuf::new();
        let made = template.apply(&Value::Raw(RawBsonRef::Document(&empty)), &values, 0)?;
        let partition = to_row(&made)?.unwrap_or_default();
        check_path(&partition, self.path.parts())?;
        let collation = self.partition.first().and_then(Expression::collation);
        Ok((Owned(RawBson::Document(partition.clone()), collation.cloned()), partition))
    }
}

/// Refuses a partition whose fields are in the way of the field that is to be set.
fn check_path(partition: &RawDocument, path: &[Box<str>]) -> Result<(), QueryError> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let value = order::elements(partition).find(|(name, _)| name.as_str() == &**first);
    match value {
        Some((_, RawBsonRef::Array(_))) => {
            error(5_733_307, format!("{STAGE} cannot generate fields nested inside arrays"))
        }
        Some((_, RawBsonRef::Document(inner))) => check_path(inner, rest),
        Some(_) if !rest.is_empty() => {
            error(5_733_308, format!("{STAGE} cannot overwrite non-object values with objects"))
        }
        _ => Ok(()),
    }
}
