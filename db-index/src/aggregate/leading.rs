//! What a pipeline begins with that a find can do: filter, sort, skip and limit.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;

use super::RunSettings;
use super::outside::{PipelineFind, Rows, Variables};
use super::stage::Stage;
use super::stages::limit;
use super::stages::matching::{Match, only};
use super::stages::sort::SortStage;
use crate::context::QueryContext;
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
    /// Conditions whose variables come with each run; the command's own pipeline has none.
    pub(super) open: Vec<Arc<Match>>,
}

impl Leading {
    /// The find as it is with the present variables, with another condition if there is one.
    pub(super) fn find(
        &self,
        settings: &RunSettings,
        variables: &Variables,
        more: Option<&RawDocumentBuf>,
    ) -> Result<PipelineFind, QueryError> {
        let mut filter = self.present_filter(&settings.context, variables)?;
        if let Some(more) = more {
            // An equality goes first, for it is what most likely has an index.
            filter = Filter::parse_in(more, &settings.context)?.and(&filter)?;
        }
        Ok(PipelineFind {
            collection: settings.collection.to_string(),
            filter,
            sort: self.sort.clone(),
            skip: self.skip,
            limit: self.limit,
            fields: self.fields.clone(),
        })
    }

    /// Whether it is a filter at the most, which looks at no variable.
    pub(super) fn is_plain(&self) -> bool {
        self.open.is_empty() && self.sort.is_empty() && self.skip == 0 && self.limit.is_none()
    }

    /// The find on documents that are at hand.
    pub(super) fn apply<E>(
        &self,
        input: Rows<E>,
        context: &QueryContext,
        variables: &Variables,
    ) -> Result<Rows<E>, QueryError>
    where
        E: From<QueryError> + Send + 'static,
    {
        let filter = self.present_filter(context, variables)?;
        let mut rows = if filter.is_empty() { input } else { only(filter, input) };
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
        Ok(rows)
    }

    fn present_filter(&self, context: &QueryContext, variables: &Variables) -> Result<Filter, QueryError> {
        let mut filter = self.filter.clone();
        for open in &self.open {
            filter = filter.and(&open.filter(context, variables)?)?;
        }
        Ok(filter)
    }
}

/// Takes the find off the beginning of `stages`.
pub(super) fn split(stages: Vec<Stage>) -> (Leading, Vec<Stage>) {
    let mut leading = Leading {
        filter: Filter::all(),
        sort: Sort::default(),
        skip: 0,
        limit: None,
        fields: None,
        open: Vec::new(),
    };
    let mut rest = Vec::with_capacity(stages.len());
    let mut stages = stages.into_iter();
    let mut cut = false; // whether skip or limit were met: filter and sort may no longer move before them
    for stage in stages.by_ref() {
        match &stage {
            Stage::Match(filter) if !cut && leading.take(filter) => {}
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

impl Leading {
    /// Takes a filter, unless the conjunction would be beyond the bounds of one.
    fn take(&mut self, more: &Arc<Match>) -> bool {
        match &**more {
            Match::Open(_) => {
                self.open.push(Arc::clone(more));
                true
            }
            Match::Bound(more) => match self.filter.and(more) {
                Ok(both) => {
                    self.filter = both;
                    true
                }
                Err(_) => false,
            },
        }
    }
}
