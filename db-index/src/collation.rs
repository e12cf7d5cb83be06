//! Collation: comparing strings as the users of a language do, by the Unicode Collation Algorithm and the tailorings of CLDR.
//!
//! The keys that a collation makes lie in indexes, and peers must make the same ones: the versions of the algorithm's crate
//! and of its data are pinned exactly, and a new version is a new version of the view.

mod locale;
mod parse;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use icu_collator::CollatorBorrowed;

use crate::error::QueryError;

/// A compiled collation. Cloning it is cheap; two are equal if they order all strings alike by their specification.
#[derive(Clone)]
pub struct Collation(Arc<Inner>);

struct Inner {
    specification: RawDocumentBuf,
    collator: CollatorBorrowed<'static>,
}

impl Collation {
    /// Compiles a collation document: `{locale: "en", strength: 2, …}`. None for `{locale: "simple"}`, which is the comparison by
    /// bytes.
    ///
    /// # Errors
    /// MongoDB's codes: `TypeMismatch` (14) for options of the wrong type, 40414 without a locale, 40415 for unknown options,
    /// 51024 for a strength out of range, `BadValue` (2) for unknown locales and values and for options that do not go together.
    pub fn parse(document: &RawDocument) -> Result<Option<Self>, QueryError> {
        let Some(options) = parse::options(document)? else { return Ok(None) };
        let (collator, specification) = (options.collator()?, options.to_document());
        Ok(Some(Self(Arc::new(Inner { specification, collator }))))
    }

    /// The collation with all its options written out, as `listIndexes` shows it.
    pub fn to_document(&self) -> &RawDocument {
        &self.0.specification
    }

    /// Compares two strings.
    pub fn compare(&self, a: &str, b: &str) -> Ordering {
        self.0.collator.compare(a, b)
    }

    /// Whether two strings are the same.
    pub fn is_equal(&self, a: &str, b: &str) -> bool {
        a == b || self.compare(a, b).is_eq()
    }

    /// Appends bytes that compare with those of other strings as the strings do.
    pub fn sort_key(&self, text: &str, key: &mut Vec<u8>) {
        let Ok(()) = self.0.collator.write_sort_key_to(text, key);
    }
}

impl PartialEq for Collation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.specification.as_bytes() == other.0.specification.as_bytes()
    }
}

impl Eq for Collation {}

impl fmt::Debug for Collation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Collation").field(&self.0.specification).finish()
    }
}

#[cfg(test)]
mod tests;
