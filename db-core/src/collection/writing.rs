//! What updates, replacements and deletes may say besides what they do.

use bson::RawDocumentBuf;

use super::documents::{ToRawDocument, checked};
use super::requests;
use super::results::{DeleteResult, UpdateResult};
use super::{Write, WriteModel};
use crate::engine::Request;
use crate::error::{Error, Result};
use crate::query::Hint;

/// What updates, replacements and deletes may say besides what they do; those of a kind that the write cannot have make it
/// fail with `FailedToParse` (9).
#[derive(Debug, Default)]
#[must_use = "options do nothing until they are given to a write"]
pub struct WriteOptions {
    upsert: bool,
    strict: bool,
    array_filters: Vec<RawDocumentBuf>,
    sort: Option<RawDocumentBuf>,
    hint: Option<Hint>,
    variables: Option<RawDocumentBuf>,
    collation: Option<RawDocumentBuf>,
    /// What is wrong with an option given.
    fault: Option<Error>,
}

impl WriteOptions {
    /// Whether to insert a document where none matches.
    pub fn upsert(mut self, upsert: bool) -> Self {
        self.upsert = upsert;
        self
    }

    /// Whether a replacement is rejected if its document turns out to have been changed concurrently; else only the fields that
    /// it changed are written then.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The conditions that `$[id]` in the update's paths refer to.
    pub fn array_filters<D: ToRawDocument>(mut self, array_filters: impl IntoIterator<Item = D>) -> Self {
        match array_filters.into_iter().map(checked).collect() {
            Ok(filters) => self.array_filters = filters,
            Err(fault) => self.fault = Some(fault),
        }
        self
    }

    /// The first in this order is taken.
    pub fn sort(mut self, sort: impl ToRawDocument) -> Self {
        match checked(sort) {
            Ok(sort) => self.sort = Some(sort),
            Err(fault) => self.fault = Some(fault),
        }
        self
    }

    /// Finds the documents by this index and no other.
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// With values for variables, which `$expr` and pipelines refer to as `$$name`: MongoDB's `let`.
    pub fn let_vars(mut self, variables: impl ToRawDocument) -> Self {
        match checked(variables) {
            Ok(variables) => self.variables = Some(variables),
            Err(fault) => self.fault = Some(fault),
        }
        self
    }

    /// With strings compared by this collation, as in `{ locale: "de", strength: 2 }`; without one, by the collection's.
    pub fn collation(mut self, collation: impl ToRawDocument) -> Self {
        match checked(collation) {
            Ok(collation) => self.collation = Some(collation),
            Err(fault) => self.fault = Some(fault),
        }
        self
    }

    /// Puts those that are given into a request.
    fn complete(self, request: &mut Request) -> Result<()> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.upsert {
            requests::set_upsert(request, true)?;
        }
        if self.strict {
            requests::set_strict(request, true)?;
        }
        if !self.array_filters.is_empty() {
            requests::set_array_filters(request, self.array_filters)?;
        }
        if let Some(sort) = self.sort {
            requests::set_sort(request, sort)?;
        }
        if let Some(hint) = self.hint {
            requests::set_hint(request, hint)?;
        }
        if let Some(variables) = self.variables {
            requests::set_variables(request, variables)?;
        }
        if let Some(collation) = self.collation {
            requests::set_collation(request, collation)?;
        }
        Ok(())
    }
}

/// Gives kinds of writes the methods of [`WriteOptions`]: those for `finding` documents, or also those for `changing` them.
macro_rules! takes_write_options {
    ($($which:ident: impl $(<$of:ident>)? for $write:ty;)+) => {$(
        impl $(<$of>)? $write {
            /// With these options too.
            pub fn with_options(self, options: WriteOptions) -> Self {
                self.with(|request| options.complete(request))
            }

            /// Finds the documents by this index and no other.
            pub fn hint(self, hint: Hint) -> Self {
                self.with_options(WriteOptions::default().hint(hint))
            }

            /// With values for variables: see [`WriteOptions::let_vars`].
            pub fn let_vars(self, variables: impl ToRawDocument) -> Self {
                self.with_options(WriteOptions::default().let_vars(variables))
            }

            /// With strings compared by this collation: see [`WriteOptions::collation`].
            pub fn collation(self, collation: impl ToRawDocument) -> Self {
                self.with_options(WriteOptions::default().collation(collation))
            }

            takes_write_options!(@$which);
        }
    )+};
    (@finding) => {};
    (@changing) => {
        /// Whether to insert a document where none matches; not for deletes.
        pub fn upsert(self, upsert: bool) -> Self {
            self.with(|request| requests::set_upsert(request, upsert))
        }

        /// Whether a replacement is rejected, with `WriteConflict` (112), if its document turns out to have been changed
        /// concurrently: see [`WriteOptions::strict`]; for replacements.
        pub fn strict(self, strict: bool) -> Self {
            self.with(|request| requests::set_strict(request, strict))
        }

        /// The conditions that `$[id]` in the update's paths refer to; for updates.
        pub fn array_filters<D: ToRawDocument>(self, array_filters: impl IntoIterator<Item = D>) -> Self {
            self.with(|request| requests::set_array_filters(request, array_filters))
        }

        /// The first in this order is taken; not for writes of many documents.
        pub fn sort(self, sort: impl ToRawDocument) -> Self {
            self.with(|request| requests::set_sort(request, sort))
        }
    };
}

takes_write_options! {
    changing: impl for Write<UpdateResult>;
    changing: impl for WriteModel;
    changing: impl<T> for Write<Option<T>>;
    finding: impl for Write<DeleteResult>;
}
