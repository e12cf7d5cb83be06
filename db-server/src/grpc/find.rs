//! What a read asks for.

use bson::RawDocumentBuf;
use db_core::{Collection, Count, Distinct, Find, FindOne};
use proto::v1::{CountRequest, DistinctRequest, FindOneRequest, FindRequest};
use tonic::Status;

use super::options::{Reading, Waiting};
use crate::convert;
use crate::node::Sees;

/// What a read asks for; every part has passed the guard.
pub(super) struct Question {
    filter: RawDocumentBuf,
    sort: Option<RawDocumentBuf>,
    skip: u64,
    limit: u64,
    projection: Option<RawDocumentBuf>,
    reading: Reading,
}

impl Question {
    /// Reads a find.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if a part of it is malformed.
    pub(super) fn of_find(find: FindRequest) -> Result<Self, Status> {
        Ok(Self {
            filter: convert::optional(find.filter, "filter")?.unwrap_or_default(),
            sort: convert::optional(find.sort, "sort")?,
            skip: find.skip,
            limit: find.limit,
            projection: convert::optional(find.projection, "projection")?,
            reading: Reading::read(find.hint, find.options)?,
        })
    }

    /// Reads a find of one document.
    ///
    /// # Errors
    /// As [`Question::of_find`].
    pub(super) fn of_find_one(find: FindOneRequest) -> Result<Self, Status> {
        Ok(Self {
            filter: convert::optional(find.filter, "filter")?.unwrap_or_default(),
            sort: convert::optional(find.sort, "sort")?,
            skip: find.skip,
            limit: 1,
            projection: convert::optional(find.projection, "projection")?,
            reading: Reading::read(find.hint, find.options)?,
        })
    }

    /// Reads a count.
    ///
    /// # Errors
    /// As [`Question::of_find`].
    pub(super) fn of_count(count: CountRequest) -> Result<Self, Status> {
        Ok(Self {
            filter: convert::optional(count.filter, "filter")?.unwrap_or_default(),
            sort: None,
            skip: count.skip,
            limit: count.limit,
            projection: None,
            reading: Reading::read(count.hint, count.options)?,
        })
    }

    /// Reads a search for distinct values; the field is left to the caller.
    ///
    /// # Errors
    /// As [`Question::of_find`].
    pub(super) fn of_distinct(distinct: DistinctRequest) -> Result<Self, Status> {
        Ok(Self {
            filter: convert::optional(distinct.filter, "filter")?.unwrap_or_default(),
            sort: None,
            skip: 0,
            limit: 0,
            projection: None,
            reading: Reading::read(distinct.hint, distinct.options)?,
        })
    }

    /// The same, and an end to the read as soon as the other half is dropped.
    pub(super) fn until_dropped(self) -> (Self, Waiting) {
        let (reading, waiting) = self.reading.until_dropped();
        (Self { reading, ..self }, waiting)
    }

    /// What it sees.
    pub(super) fn sees(&self) -> Sees {
        self.reading.sees()
    }

    /// The find in a collection, not begun yet.
    pub(super) fn find(self, collection: &Collection<RawDocumentBuf>) -> Find<RawDocumentBuf> {
        let mut find = collection.find(self.filter).skip(self.skip).limit(self.limit);
        if let Some(sort) = self.sort {
            find = find.sort(sort);
        }
        if let Some(projection) = self.projection {
            find = find.projection(projection);
        }
        find.with_options(self.reading.into_options())
    }

    /// The find of one document in a collection, not begun yet.
    pub(super) fn find_one(self, collection: &Collection<RawDocumentBuf>) -> FindOne<RawDocumentBuf> {
        let mut find = collection.find_one(self.filter).skip(self.skip);
        if let Some(sort) = self.sort {
            find = find.sort(sort);
        }
        if let Some(projection) = self.projection {
            find = find.projection(projection);
        }
        find.with_options(self.reading.into_options())
    }

    /// The count in a collection, not begun yet.
    pub(super) fn count(self, collection: &Collection<RawDocumentBuf>) -> Count<RawDocumentBuf> {
        let count = collection.count_documents(self.filter).skip(self.skip).limit(self.limit);
        count.with_options(self.reading.into_options())
    }

    /// The search for the distinct values of `field` in a collection, not begun yet.
    pub(super) fn distinct(
        self,
        collection: &Collection<RawDocumentBuf>,
        field: String,
    ) -> Distinct<RawDocumentBuf> {
        collection.distinct(field, self.filter).with_options(self.reading.into_options())
    }
}
