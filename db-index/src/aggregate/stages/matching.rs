//! `$match`.

use std::sync::Arc;

use bson::raw::RawDocumentBuf;

use crate::aggregate::outside::{Rows, Variables};
use crate::aggregate::rows::{filter_map, lazily};
use crate::context::QueryContext;
use crate::error::QueryError;
use crate::filter::Filter;

/// A compiled `$match`.
#[derive(Debug, Clone)]
pub(in crate::aggregate) enum Match {
    Bound(Filter),
    /// Its `$expr` may look at variables that come with each run: it is compiled then.
    Open(RawDocumentBuf),
}

impl Match {
    /// The filter with the present variables.
    pub(in crate::aggregate) fn filter(
        &self,
        context: &QueryContext,
        variables: &Variables,
    ) -> Result<Filter, QueryError> {
        match self {
            Self::Bound(filter) => Ok(filter.clone()),
            Self::Open(filter) => Filter::parse_in(filter, &variables.within(context)),
        }
    }

    pub(in crate::aggregate) fn run<E>(
        self: &Arc<Self>,
        input: Rows<E>,
        context: QueryContext,
        variables: Variables,
    ) -> Rows<E>
    where
        E: From<QueryError> + Send + 'static,
    {
        let stage = Arc::clone(self);
        lazily(move || {
            let filter = stage.filter(&context, &variables)?;
            Ok(only(filter, input))
        })
    }
}

/// The documents that match.
pub(in crate::aggregate) fn only<E>(filter: Filter, input: Rows<E>) -> Rows<E>
where
    E: From<QueryError> + Send + 'static,
{
    filter_map(input, move |document| Ok(filter.matches(&document)?.then_some(document)))
}
