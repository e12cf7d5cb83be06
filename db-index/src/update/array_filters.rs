//! The array filters of an update: which elements `$[id]` means.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bson::RawBsonRef;
use bson::raw::RawDocumentBuf;

use crate::context::QueryContext;
use crate::error::{ErrorCode, QueryError};
use crate::filter::ElementFilter;

/// The most array filters of one update: each is tested on every element.
const ARRAY_FILTERS_MAX: usize = 1000;

/// Compiled array filters, numbered in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub(super) struct ArrayFilters {
    filters: Vec<(String, ElementFilter)>,
}

impl ArrayFilters {
    pub(super) fn parse(documents: &[RawDocumentBuf], context: &QueryContext) -> Result<Self, QueryError> {
        if documents.len() > ARRAY_FILTERS_MAX {
            return Err(QueryError::bad_value(format!(
                "an update may have at most {ARRAY_FILTERS_MAX} array filters"
            )));
        }
        let mut filters: Vec<(String, ElementFilter)> = Vec::with_capacity(documents.len());
        for document in documents {
            let (identifier, filter) = ElementFilter::parse_array_filter(document, context)?;
            if filters.iter().any(|(known, _)| *known == identifier) {
                return Err(QueryError::new(
                    ErrorCode::FAILED_TO_PARSE,
                    format!("found multiple array filters with the same top-level field name '{identifier}'"),
                ));
            }
            filters.push((identifier, filter));
        }
        Ok(Self { filters })
    }

    /// Whether an element is one that filter `number` means.
    pub(super) fn matches(&self, number: usize, element: RawBsonRef<'_>) -> bool {
        self.filters.get(number).is_some_and(|(_, filter)| filter.matches(element))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether every platform and version picks the same elements.
    pub(super) fn is_replayable(&self) -> bool {
        self.filters.iter().all(|(_, filter)| filter.is_replayable())
    }
}

/// Looks identifiers up and remembers which were used.
pub(super) struct Usage<'f> {
    filters: &'f ArrayFilters,
    used: RefCell<BTreeSet<usize>>,
}

impl<'f> Usage<'f> {
    pub(super) fn of(filters: &'f ArrayFilters) -> Self {
        Self { filters, used: RefCell::default() }
    }

    /// The number of the filter for `identifier`.
    pub(super) fn number(&self, identifier: &str) -> Result<usize, QueryError> {
        let number =
            self.filters.filters.iter().position(|(known, _)| known == identifier).ok_or_else(|| {
                QueryError::bad_value(format!("no array filter found for the identifier '{identifier}'"))
            })?;
        self.used.borrow_mut().insert(number);
        Ok(number)
    }

    /// Refuses filters that no path used.
    pub(super) fn check_all_used(&self) -> Result<(), QueryError> {
        let used = self.used.borrow();
        match self.filters.filters.iter().enumerate().find(|(number, _)| !used.contains(number)) {
            None => Ok(()),
            Some((_, (identifier, _))) => Err(QueryError::new(
                ErrorCode::FAILED_TO_PARSE,
                format!("the array filter for the identifier '{identifier}' was not used in the update"),
            )),
        }
    }
}
