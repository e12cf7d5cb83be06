//! Running queries: an access path over the view's key ranges, the filter on raw bytes, sort, skip, limit, projection.

mod execute;
mod source;

use bson::RawDocumentBuf;

pub(crate) use execute::Execution;
pub(crate) use source::Source;

use crate::error::Result;
use crate::view::catalog::CollectionMeta;
use crate::view::journal::ViewWriter;

/// What a find asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct FindOptions {
    pub(crate) filter: RawDocumentBuf,
    pub(crate) sort: Option<RawDocumentBuf>,
    pub(crate) skip: u64,
    /// 0 for no limit.
    pub(crate) limit: u64,
    pub(crate) projection: Option<RawDocumentBuf>,
    pub(crate) hint: Option<Hint>,
}

/// Which index a find must use.
#[derive(Debug, Clone, PartialEq)]
pub enum Hint {
    /// The index with this name; `_id_` is the one on `_id`.
    Name(String),
    /// The index with these keys; `{$natural: 1}` is a scan of the collection, `-1` a scan backwards.
    Keys(bson::Document),
}

/// The documents that a find inside a write transaction gives.
pub(crate) fn collect(
    view: &ViewWriter<'_, '_>,
    meta: &CollectionMeta,
    options: &FindOptions,
) -> Result<Vec<RawDocumentBuf>> {
    Execution::new(view, meta, options)?.collect()
}
