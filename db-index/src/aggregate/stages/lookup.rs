//! `$lookup`: the documents of another collection that go with each document.

mod parse;
mod table;

use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::{RawDocument, RawDocumentBuf};
use bson::spec::ElementType;

use self::table::Table;
use crate::aggregate::Pipeline;
use crate::aggregate::edit::{self, Path, document_item};
use crate::aggregate::join;
use crate::aggregate::outside::{Context, Outside, Rows, Variables};
use crate::aggregate::parse::error;
use crate::aggregate::rows::{check_row, filter_map, replay};
use crate::aggregate::stages::unwind::Unwind;
use crate::collation::Collation;
use crate::error::QueryError;
use crate::expression::Expression;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::raw::{Item, Writer};

/// A compiled `$lookup`.
#[derive(Debug, Clone)]
pub(in crate::aggregate) struct Lookup {
    collection: Option<String>,
    target: Path,
    /// The paths that must be equal: in the document, in the other collection.
    equality: Option<(Path, String)>,
    /// The values of the variables that the pipeline knows beside the outer ones.
    bindings: Vec<(Box<str>, Expression)>,
    pipeline: Pipeline,
    /// Whether the other documents are the same whatever the document.
    is_constant: bool,
    /// The `$unwind` of the result, if that comes next: the array is then never made.
    unwind: Option<Arc<Unwind>>,
}

impl Lookup {
    /// The same with an `$unwind` that follows, if that unwinds what is looked up.
    pub(in crate::aggregate) fn unwound(&self, unwind: &Arc<Unwind>) -> Option<Self> {
        (self.unwind.is_none() && *unwind.path() == self.target)
            .then(|| Self { unwind: Some(Arc::clone(unwind)), ..self.clone() })
    }

    pub(in crate::aggregate) fn collections(&self, names: &mut Vec<String>) {
        names.extend(self.collection.clone());
        names.extend(self.pipeline.collections());
    }

    pub(in crate::aggregate) fn run<O: Outside>(
        self: &Arc<Self>,
        input: Rows<O::Error>,
        context: Context<O>,
    ) -> Rows<O::Error> {
        let mut found = Found { stage: Arc::clone(self), context, kept: None, searches: Searches::Once };
        match &self.unwind {
            None => filter_map(input, move |document| found.joined(&document).map(Some)),
            Some(unwind) => unwound(Arc::clone(unwind), found, input),
        }
    }
}

/// Finds the other documents of a document.
struct Found<O> {
    stage: Arc<Lookup>,
    context: Context<O>,
    /// The other documents, if they are always the same and not too many.
    kept: Option<Arc<[RawDocumentBuf]>>,
    searches: Searches,
}

/// How documents with equal values are searched for.
enum Searches {
    /// The first is, in the collection: there may be no second.
    Once,
    /// For the second, the collection is to be read into a table.
    Second,
    /// Each is, in the collection.
    Each,
    /// In the table that the collection was read into.
    Table(Arc<Table>),
}

impl<O: Outside> Found<O> {
    fn of(&mut self, document: &RawDocument) -> Result<Rows<O::Error>, O::Error> {
        if let Some(kept) = &self.kept {
            return Ok(replay(kept));
        }
        let variables = self.variables(document)?;
        let stage = Arc::clone(&self.stage);
        let filter = match &stage.equality {
            None => None,
            Some((local, foreign)) => {
                let values = local_values(document, local, self.context.query.collation.as_ref());
                if let Some(table) = self.table(foreign)? {
                    let rows = table.rows(&values);
                    return Ok(stage.pipeline.run_with(rows, &self.context.outside, &variables));
                }
                Some(join::equality(foreign, values.values().map(bson::RawBson::as_raw_bson_ref))?)
            }
        };
        let mut rows =
            self.stage.pipeline.find_and_run(&self.context.outside, &variables, filter.as_ref())?;
        if !self.stage.is_constant {
            return Ok(rows);
        }
        let (mut documents, mut bytes) = (Vec::new(), 0);
        for row in rows.by_ref() {
            let document = row?;
            bytes += document.as_bytes().len();
            documents.push(document);
            if bytes > DOCUMENT_BYTES_MAX {
                // Too much to keep: it is read anew each time.
                return Ok(Box::new(documents.into_iter().map(Ok).chain(rows)));
            }
        }
        let kept: Arc<[RawDocumentBuf]> = documents.into();
        self.kept = Some(Arc::clone(&kept));
        Ok(replay(&kept))
    }

    /// The other collection as a table, from the second document on, unless an index finds in it.
    fn table(&mut self, foreign: &str) -> Result<Option<Arc<Table>>, O::Error> {
        if let Searches::Once = self.searches {
            // What this first one says of the index holds for all.
            let (pipeline, outside) = (&self.stage.pipeline, &self.context.outside);
            let collection = self.stage.collection.as_deref().unwrap_or_default();
            let is_served = !pipeline.can_be_read_whole() || outside.serves_equality(collection, foreign)?;
            self.searches = if is_served { Searches::Each } else { Searches::Second };
            return Ok(None);
        }
        if let Searches::Second = self.searches {
            let rows = self.stage.pipeline.find_whole(&self.context.outside, foreign)?;
            let table = Table::read(rows, foreign, self.context.query.collation.as_ref())?;
            self.searches = table.map_or(Searches::Each, |table| Searches::Table(Arc::new(table)));
        }
        Ok(match &self.searches {
            Searches::Table(table) => Some(Arc::clone(table)),
            _ => None,
        })
    }

    /// The outer variables and the stage's own.
    fn variables(&self, document: &RawDocument) -> Result<Variables, QueryError> {
        if self.stage.bindings.is_empty() {
            return Ok(self.context.variables.clone());
        }
        let outer = self.context.variables.values();
        let mut variables = Vec::with_capacity(self.stage.bindings.len());
        for (name, binding) in &self.stage.bindings {
            let value = binding.evaluate(document, &outer, self.context.query.now_ms)?.to_raw_bson()?;
            variables.push((name.clone(), value));
        }
        Ok(self.context.variables.and(variables.into_iter()))
    }

    /// The document with the array of what was found.
    fn joined(&mut self, document: &RawDocument) -> Result<RawDocumentBuf, O::Error> {
        let mut writer = Writer::with_capacity(256);
        let root = writer.open_root();
        for (index, found) in self.of(document)?.enumerate() {
            writer.indexed(index, document_item(&found?));
            if writer.len() > DOCUMENT_BYTES_MAX {
                return Ok(error(
                    4568,
                    format!(
                        "Total size of documents in {} matching pipeline's $lookup stage exceeds {DOCUMENT_BYTES_MAX} bytes",
                        self.stage.collection.as_deref().unwrap_or_default()
                    ),
                )?);
            }
        }
        writer.close(root);
        let item = Item { kind: ElementType::Array, bytes: writer.written(0) };
        let document = edit::set(document, &self.stage.target, item)?;
        check_row(&document)?;
        Ok(document)
    }
}

/// A document for each of the other documents, as if the array had been made and unwound.
fn unwound<O: Outside>(
    unwind: Arc<Unwind>,
    mut found: Found<O>,
    mut input: Rows<O::Error>,
) -> Rows<O::Error> {
    let mut current: Option<(RawDocumentBuf, Rows<O::Error>, i64)> = None;
    Box::new(std::iter::from_fn(move || {
        loop {
            if let Some((document, rows, index)) = &mut current {
                let row = match rows.next() {
                    Some(Ok(other)) => {
                        *index += 1;
                        let joined = edit::set(document, &found.stage.target, document_item(&other));
                        let joined =
                            joined.and_then(|document| unwind.with_index(document, Some(*index - 1)));
                        joined
                            .and_then(|document| check_row(&document).map(|()| document))
                            .map_err(Into::into)
                    }
                    Some(Err(error)) => Err(error),
                    None => {
                        let (document, _, index) = current.take()?;
                        if index > 0 || !unwind.preserves() {
                            continue;
                        }
                        let empty = Item { kind: ElementType::Array, bytes: &[5, 0, 0, 0, 0] };
                        let joined = edit::set(&document, &found.stage.target, empty);
                        let joined = joined.and_then(|document| edit::remove(&document, &found.stage.target));
                        joined.and_then(|document| unwind.with_index(document, None)).map_err(Into::into)
                    }
                };
                return Some(row);
            }
            let next = input.next()?.and_then(|document| {
                let rows = found.of(&document)?;
                Ok((document, rows, 0))
            });
            match next {
                Ok(next) => current = Some(next),
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// The values that other documents are to equal one of. A path that reaches none looks for null.
fn local_values(document: &RawDocument, path: &Path, collation: Option<&Collation>) -> join::Values {
    let (mut values, mut count) = (join::Values::new(), 0_usize);
    join::values_at(document, path, &mut |value| {
        count += 1;
        join::insert(&mut values, value, collation);
    });
    if count == 0 {
        join::insert(&mut values, RawBsonRef::Null, collation);
    }
    values
}
