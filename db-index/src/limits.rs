//! Every bound of this crate in one place, and how they relate.

/// The most bytes of one document.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most levels of documents and arrays within one another; the outermost document is the first.
///
/// `bson` recurses when it decodes, clones or drops: at 80 levels a debug build can run out of stack.
pub const DEPTH_MAX: usize = 64;

/// The most elements of one document, those of nested documents and arrays included.
///
/// A decoded element takes many times the two bytes that it may have in BSON; this bounds what a document can grow to.
pub const ELEMENTS_MAX: usize = 1_000_000;

/// The most fields of one index.
pub const INDEX_FIELDS_MAX: usize = 32;

/// The most bytes that the keys of one document in one index may have together.
///
/// An array within an array of documents repeats the outer key for each inner element; this bounds the product.
pub const INDEX_BYTES_PER_DOCUMENT_MAX: usize = 4 * DOCUMENT_BYTES_MAX;
