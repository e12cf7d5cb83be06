//! `$sort`.

use std::sync::Arc;

use bson::{RawBsonRef, rawdoc};

use crate::aggregate::PIPELINE_BYTES_MAX;
use crate::aggregate::outside::Rows;
use crate::aggregate::parse::{Parser, error};
use crate::aggregate::rows::lazily;
use crate::error::QueryError;
use crate::sort::{Sort, Sorter};

/// A compiled `$sort`, with the number of documents that are needed of it.
#[derive(Debug, Clone)]
pub(in crate::aggregate) struct SortStage {
    sort: Sort,
    limit: Option<usize>,
}

impl SortStage {
    pub(in crate::aggregate) fn parse(
        operand: RawBsonRef<'_>,
        parser: &Parser<'_>,
    ) -> Result<Self, QueryError> {
        let RawBsonRef::Document(keys) = operand else {
            return error(15973, "the $sort key specification must be an object");
        };
        let sort = Sort::parse_stage(keys)?.by(parser.context().collation.as_ref());
        if sort.natural().is_some() {
            return error(16410, "FieldPath field names may not start with '$'.");
        }
        Ok(Self { sort, limit: None })
    }

    pub(in crate::aggregate) fn of(sort: Sort) -> Self {
        Self { sort, limit: None }
    }

    /// By the field `count`, the greatest first.
    pub(in crate::aggregate) fn by_count() -> Self {
        Self { sort: Sort::parse(&rawdoc! {"count": -1}).unwrap_or_default(), limit: None }
    }

    /// The order.
    pub(in crate::aggregate) fn sort(&self) -> &Sort {
        &self.sort
    }

    /// The same order of which only the first `limit` are needed.
    pub(in crate::aggregate) fn limited(&self, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { sort: self.sort.clone(), limit: Some(self.limit.map_or(limit, |known| known.min(limit))) }
    }

    pub(in crate::aggregate) fn run<E>(self: &Arc<Self>, input: Rows<E>) -> Rows<E>
    where
        E: From<QueryError> + Send + 'static,
    {
        let stage = Arc::clone(self);
        lazily(move || {
            let mut sorter = Sorter::new(stage.sort.clone(), stage.limit, PIPELINE_BYTES_MAX);
            for document in input {
                let document = document?;
                sorter.push(&document, || document.clone())?;
            }
            Ok(sorter.into_sorted().map(Ok))
        })
    }
}
