//! What a pipeline begins with that a find can do: filter, sort, skip and limit.

use std::sync::Arc;

use bson::RawBsonRef;
use bson::raw::{RawArrayBuf, RawDocumentBuf};

use super::outside::{PipelineFind, Rows, Variables};
use super::rows::filter_map;
use super::stage::Stage;
use super::stages::limit;
use super::stages::sort::SortStage;
use crate::error::QueryError;
use crate::filter::Filter;
use crate::sort::Sort;

/// The find that a pipeline begins with: filter, then sort, then skip, then limit.
#[derive(Debug, Clone)]
pub struct Leading {
    /// Which documents.
    pub filter: Filter,
    /// In which order; empty for any.
    pub sort: Sort,
    /// How many to leave out at the beginning.
    pub skip: u64,
    /// How many at most, after those left out.
    pub limit: Option<u64>,
    /// The top-level fields that the rest of the pipeline looks at, if it can be told; `None` for all.
    pub fields: Option<Vec<String>>,
}

impl Leading {
    /// The find on `collection`, with another condition if there is one.
    pub(super) fn find(
        &self,
        collection: &str,
        _variables: &Variables,
        more: Option<&RawDocumentBuf>,
    ) -> Result<PipelineFind, QueryError> {
        let filter = match more {
            Some(more) if self.filter.is_empty() => Filter::parse(more)?,
            Some(more) => Filter::parse(&both(more, self.filter.to_document()))?,
            None => self.filter.clone(),
        };
        Ok(PipelineFind {
            collection: collection.to_owned(),
            filter,
            sort: self.sort.clone(),
            skip: self.skip,
            limit: self.limit,
            fields: self.fields.clone(),
        })
    }
}

impl Leading {
    /// The find on documents that are at hand.
    pub(super) fn apply<E>(&self, input: Rows<E>) -> Rows<E>
    where
        E: From<QueryError> + Send + 'static,
    {
        let mut rows = input;
        if !self.filter.is_empty() {
            let filter = self.filter.clone();
            rows = filter_map(rows, move |document| Ok(filter.matches(&document).then_some(document)));
        }
        if !self.sort.is_empty() {
            let mut sort = SortStage::of(self.sort.clone());
            if let Some(limit) = self.limit {
                sort = sort.limited(limit.saturating_add(self.skip));
            }
            rows = Arc::new(sort).run(rows);
        }
        if self.skip > 0 {
            rows = limit::skip(self.skip, rows);
        }
        if let Some(count) = self.limit {
            rows = limit::limit(count, rows);
        }
        rows
    }
}

/// `{$and: [a, b]}`.
fn both(a: &bson::RawDocument, b: &bson::RawDocument) -> RawDocumentBuf {
    let mut clauses = RawArrayBuf::new();
    clauses.push(RawBsonRef::Document(a));
    clauses.push(RawBsonRef::Document(b));
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("$and"), clauses);
    document
}

/// Takes the find off the beginning of `stages`.
pub(super) fn split(stages: Vec<Stage>) -> (Leading, Vec<Stage>) {
    let mut leading =
        Leading { filter: Filter::all(), sort: Sort::default(), skip: 0, limit: None, fields: None };
    let mut rest = Vec::with_capacity(stages.len());
    let mut stages = stages.into_iter();
    let mut cut = false; // whether skip or limit were met: filter and sort may no longer move before them
    for stage in stages.by_ref() {
        match &stage {
            Stage::Match(filter) if !cut && can_join(&leading.filter, filter) => {
                join(&mut leading.filter, filter);
            }
            Stage::Sort(sort) if !cut && leading.sort.is_empty() => leading.sort = sort.sort().clone(),
            Stage::Skip(count) => {
                cut = true;
                leading.skip = leading.skip.saturating_add(*count);
                leading.limit = leading.limit.map(|limit| limit.saturating_sub(*count));
            }
            Stage::Limit(count) => {
                cut = true;
                leading.limit = Some(leading.limit.map_or(*count, |limit| limit.min(*count)));
            }
            _ => {
                rest.push(stage);
                break;
            }
        }
    }
    rest.extend(stages);
    (leading, rest)
}

/// Whether the conjunction of both stays within the bounds of a filter.
fn can_join(known: &Filter, more: &Filter) -> bool {
    known.is_empty() || Filter::parse(&both(known.to_document(), more.to_document())).is_ok()
}

fn join(known: &mut Filter, more: &Arc<Filter>) {
    if known.is_empty() {
        *known = Filter::clone(more);
    } else if let Ok(joined) = Filter::parse(&both(known.to_document(), more.to_document())) {
        *known = joined;
    }
}
