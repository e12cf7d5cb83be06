//! What reading the view gives: bytes as they lie on a page, as they stood before the tail, or as a transaction changed them.

use redb::{AccessGuard, Range};

use super::confirmed::ROW_PREFIX_BYTES;
use super::confirmed_range::ConfirmedRange;
use super::overlay::ChangedRange;
use crate::error::Result;

/// A stored key or value.
pub(crate) enum Stored<'a> {
    /// Borrowed from the page it lies on.
    Page(AccessGuard<'a, &'static [u8]>),
    /// Borrowed from the page that a row of [`super::confirmed`] lies on, which begins with what is the row's own.
    Row(AccessGuard<'a, &'static [u8]>),
    /// A copy of what a transaction has put there.
    Before(Vec<u8>),
}

impl Stored<'_> {
    /// The bytes.
    pub(crate) fn value(&self) -> &[u8] {
        match self {
            Self::Page(page) => page.value(),
            Self::Row(row) => row.value().get(ROW_PREFIX_BYTES..).unwrap_or_default(),
            Self::Before(bytes) => bytes,
        }
    }
}

/// A key of the view and its value.
pub(crate) type Item<'a> = (Stored<'a>, Stored<'a>);

/// A range of keys being read, from one end or from the other, not from both.
#[allow(clippy::large_enum_variant)] // opening a range of the latest view takes no memory of the heap
pub(crate) enum KeyRange<'a> {
    /// Of the view as it is.
    Latest(Range<'a, &'static [u8], &'static [u8]>),
    /// Of the view before the tail.
    Confirmed(Box<ConfirmedRange>),
    /// Of a view with changes on top.
    Changed(Box<ChangedRange<'a>>),
}

impl<'a> KeyRange<'a> {
    /// The last key that has not been read.
    pub(crate) fn next_back(&mut self) -> Option<Result<Item<'a>>> {
        match self {
            Self::Latest(range) => range.next_back().map(of_page),
            Self::Confirmed(range) => range.next_back().transpose(),
            Self::Changed(range) => range.next_back(),
        }
    }
}

impl<'a> Iterator for KeyRange<'a> {
    type Item = Result<Item<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Latest(range) => range.next().map(of_page),
            Self::Confirmed(range) => range.next().transpose(),
            Self::Changed(range) => range.next(),
        }
    }
}

/// Bytes as they lie on a page.
pub(super) type Page<'a> = AccessGuard<'a, &'static [u8]>;

fn of_page<'a>(read: std::result::Result<(Page<'a>, Page<'a>), redb::StorageError>) -> Result<Item<'a>> {
    let (key, value) = read?;
    Ok((Stored::Page(key), Stored::Page(value)))
}
