//! The documents that a call chooses on the present view, and what it gives back of them.

use std::sync::Arc;

use bson::{RawBson, RawDocument, RawDocumentBuf, rawdoc};
use db_index::{Chance, Filter, Projection, QueryContext};

use super::Trial;
use super::transaction::Search;
use crate::engine::append::too_large;
use crate::engine::request::Returning;
use crate::error::{Error, Result};
use crate::limits;
use crate::query::{self, Compiled, Execution, FindOptions};
use crate::view::catalog::{CollectionMeta, check_collection_name, id_of};
use crate::view::documents::id_key;
use crate::view::journal::ViewWriter;
use crate::view::{ReadView, keyspace};

/// By what a call chooses documents, compiled, and what it gives back of them.
pub(super) struct Choice {
    pub(super) filter: Filter,
    pub(super) context: QueryContext,
    pub(super) returning: Option<Returned>,
}

impl Trial<'_, '_> {
    /// Compiles by what a call chooses documents.
    pub(super) fn choice(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        filter: &RawDocument,
        (variables, collation): (Option<&RawDocument>, Option<&RawDocument>),
        returning: Option<&Returning>,
    ) -> Result<Choice> {
        check_collection_name(collection)?;
        let context = self.context(view, collection, variables, collation)?;
        let filter = Filter::parse_in(filter, &context)?;
        let returning = Returned::compile(returning, &filter, &context)?;
        Ok(Choice { filter, context, returning })
    }

    /// What filters, projections and pipelines of this call are compiled with. It is done once, here: what is logged does not
    /// depend on it.
    fn context(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        variables: Option<&RawDocument>,
        collation: Option<&RawDocument>,
    ) -> Result<QueryContext> {
        let chance = Chance::new(self.moment.now_ms);
        let now_ms = self.moment.now_ms.cast_signed();
        let meta = self.applier.catalog.collection(view, collection)?;
        let text = meta.as_deref().and_then(query::text_settings);
        let context = QueryContext { now_ms, chance, ..QueryContext::default() }.with_text(text);
        let of_collection = meta.as_ref().and_then(|meta| meta.options.collation.as_deref());
        query::surroundings(context, variables, collation.or(of_collection))
    }

    /// The first document that matches, or the `{_id: …}`s of all: whole documents would not fit into memory.
    pub(super) fn matching(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        multi: bool,
        find: FindOptions,
    ) -> Result<Vec<RawDocumentBuf>> {
        let only_ids = multi.then(|| rawdoc! { "_id": 1 });
        let find = FindOptions { limit: u64::from(!multi), projection: only_ids, ..find };
        let meta = self.applier.catalog.collection(view, collection)?;
        let compiled = find.compile(meta.as_deref())?;
        let sought = self.recorder.is_some().then(|| (compiled.filter.clone(), !compiled.sort.is_empty()));
        let found = match &meta {
            Some(meta) => Self::found(view, meta, multi, compiled)?,
            None => Vec::new(),
        };
        if let Some((filter, sorted)) = sought {
            let search = Search { filter: &filter, sorted, multi };
            self.record_search(view, collection, &search, &found)?;
        }
        Ok(found)
    }

    fn found(
        view: &ViewWriter<'_, '_>,
        meta: &Arc<CollectionMeta>,
        multi: bool,
        compiled: Compiled,
    ) -> Result<Vec<RawDocumentBuf>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for document in Execution::new(view, meta, compiled)? {
            let document = document?;
            bytes += document.as_bytes().len();
            if multi && bytes > limits::PAYLOAD_PLAIN_BYTES_MAX {
                return Err(too_large());
            }
            found.push(document);
        }
        Ok(found)
    }

    /// The document with this `{_id: …}` as it is now.
    pub(super) fn stored(
        &mut self,
        view: &ViewWriter<'_, '_>,
        collection: &str,
        id: &RawDocument,
    ) -> Result<Option<RawDocumentBuf>> {
        let (Some(meta), Some(id)) = (self.applier.catalog.collection(view, collection)?, id_of(id)) else {
            return Ok(None);
        };
        let stored = view.get(&keyspace::document(meta.id, &id_key(id)))?;
        let read = |bytes: &[u8]| RawDocumentBuf::from_bytes(bytes.to_vec());
        let read = stored.map(|stored| read(stored.value())).transpose();
        read.map_err(|_| Error::data("a stored document is damaged"))
    }
}

/// Which version of a document a call gives back, compiled.
pub(super) struct Returned {
    pub(super) after: bool,
    projection: Option<Projection>,
}

impl Returned {
    /// Compiles what the call asks for, if it asks for anything.
    fn compile(
        returning: Option<&Returning>,
        filter: &Filter,
        context: &QueryContext,
    ) -> Result<Option<Self>> {
        let Some(Returning { after, projection }) = returning else { return Ok(None) };
        let projection =
            projection.as_deref().map(|document| Projection::parse_in(document, Some(filter), context));
        Ok(Some(Self { after: *after, projection: projection.transpose()? }))
    }

    /// The document as the caller is to have it.
    pub(super) fn show(&self, document: Option<RawDocumentBuf>) -> Result<Option<RawDocumentBuf>> {
        match (document, &self.projection) {
            (Some(document), Some(projection)) => Ok(Some(projection.apply(&document)?)),
            (document, _) => Ok(document),
        }
    }
}

/// The part of a filter that is tested again at the operation's place; none of one that asks for nothing but the `_id`, which
/// cannot change: such an update is settled with concurrent ones field by field.
pub(super) fn logged_guard(filter: &Filter) -> Result<RawDocumentBuf> {
    if filter.to_document().iter().all(|field| field.is_ok_and(|(name, _)| name == "_id")) {
        return Ok(RawDocumentBuf::new());
    }
    Ok(filter.replayable()?.to_document().to_owned())
}

/// `{_id: …}` of a document.
pub(super) fn only_id(document: &RawDocument) -> RawDocumentBuf {
    let mut only = RawDocumentBuf::new();
    if let Some(id) = id_of(document) {
        only.append(bson::raw::cstr!("_id"), RawBson::from(id));
    }
    only
}
