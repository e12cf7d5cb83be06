//! What a read of a transaction has found, in a form that can be compared with what it finds at another place of the order.
//!
//! It does not depend on the way on which the documents are found: they are taken in the order of their `_id`s. Nor does
//! what it costs by the rules of the format: a look-up by `_id` costs the document, any other search is counted as such,
//! and what it finds is weighed.

use std::sync::Arc;

use bson::RawBsonRef;
use db_index::{Filter, QueryError, Sort};

use super::{Compiled, Execution, Source, Stop};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::{Found, document_digest};
use crate::view::catalog::{CollectionMeta, id_of};
use crate::view::documents::id_key;
use crate::view::work::Work;

/// What of the documents has a bearing on a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    /// Everything.
    Documents,
    /// Which ones they are.
    Ids,
    /// How many they are.
    Count,
}

impl Aspect {
    /// The one of which this was found.
    pub(crate) fn of(found: &Found) -> Self {
        match found {
            Found::Documents(_) => Self::Documents,
            Found::Ids(_) => Self::Ids,
            Found::Count(_) => Self::Count,
        }
    }
}

/// A filter that replay may compute and that every document matches which matches `filter`, and whether it is the same.
///
/// An expression may fail on a document, and which documents it meets depends on the way: none is computed again.
///
/// # Errors
/// None in practice: see [`Filter::replayable`].
pub(crate) fn replayable(filter: &Filter) -> Result<(Filter, bool)> {
    if filter.has_expression() {
        return Ok((Filter::all(), false));
    }
    Ok((filter.replayable()?, filter.is_replayable()))
}

/// Looks for what matches `filter` in a collection, if it exists, and counts what that costs.
///
/// # Errors
/// `TransactionTooLarge` (257) as the inner one; if the storage fails.
pub(crate) fn look<'s, S: Source<'s>>(
    source: S,
    meta: Option<&Arc<CollectionMeta>>,
    filter: &Filter,
    aspect: Aspect,
    work: &mut Work,
) -> Result<Result<Found, QueryError>> {
    match try_to_look(source, meta, filter, aspect, work) {
        Ok(found) => Ok(Ok(found)),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            let code = error.code().map_or(db_index::ErrorCode::BAD_VALUE, db_index::ErrorCode);
            Ok(Err(QueryError::new(code, error.message())))
        }
        Err(error) => Err(error),
    }
}

fn try_to_look<'s, S: Source<'s>>(
    source: S,
    meta: Option<&Arc<CollectionMeta>>,
    filter: &Filter,
    aspect: Aspect,
    work: &mut Work,
) -> Result<Found> {
    if !is_look_up(filter) {
        work.add_search()?;
    }
    let mut witness = Witness::new(aspect);
    let Some(meta) = meta else { return Ok(witness.finish()) };
    let compiled = Compiled {
        filter: filter.clone(),
        sort: Sort::default(),
        projection: None,
        transform_by: None,
        fields: (aspect == Aspect::Ids).then(|| vec!["_id".to_owned()]),
        hint: None,
        skip: 0,
        limit: None,
        stop: Stop::default(),
    };
    if aspect == Aspect::Count {
        return Ok(Found::Count(Execution::counting(source, meta, compiled)?.count_all()?));
    }
    for document in Execution::new(source, meta, compiled)? {
        let bytes = witness.add(&document?)?;
        work.add_found(1, bytes)?;
    }
    Ok(witness.finish())
}

/// Whether the filter names one document by its `_id`.
pub(crate) fn is_look_up(filter: &Filter) -> bool {
    let id = filter.id_equality();
    id.is_some_and(|id| !matches!(id, RawBsonRef::Null | RawBsonRef::Undefined))
}

/// What has been found so far.
pub(crate) struct Witness {
    aspect: Aspect,
    /// The key of each `_id`, and the digest of the document if that matters.
    documents: Vec<(Vec<u8>, [u8; 16])>,
}

impl Witness {
    pub(crate) fn new(aspect: Aspect) -> Self {
        Self { aspect, documents: Vec::new() }
    }

    /// Takes a document; gives how many bytes of it count.
    ///
    /// # Errors
    /// `Data` for one without an `_id`, which is none that was stored.
    pub(crate) fn add(&mut self, document: &bson::RawDocument) -> Result<usize> {
        let id = id_of(document).ok_or_else(|| Error::data("a stored document has no _id"))?;
        let key = id_key(id);
        let (digest, bytes) = match self.aspect {
            Aspect::Documents => (document_digest(document), document.as_bytes().len()),
            Aspect::Ids | Aspect::Count => ([0; 16], 0),
        };
        let bytes = bytes.saturating_add(key.len());
        self.documents.push((key, digest));
        Ok(bytes)
    }

    /// What was found.
    pub(crate) fn finish(mut self) -> Found {
        if self.aspect == Aspect::Count {
            return Found::Count(self.documents.len() as u64);
        }
        self.documents.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for (key, digest) in &self.documents {
            hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(digest);
        }
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        if self.aspect == Aspect::Ids { Found::Ids(digest) } else { Found::Documents(digest) }
    }
}
