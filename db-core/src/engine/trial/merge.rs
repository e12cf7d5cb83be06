//! `$merge`: each document changes the one that it meets or is inserted, as the present view decides.

use bson::RawDocumentBuf;
use db_index::{ErrorCode, Filter, MergeTarget, MergeUnmatched, QueryError, UpdateContext};

use super::{Trial, Tried, with_id_in_front};
use crate::engine::request::{IdSource, MergeRequest};
use crate::error::Result;
use crate::query::FindOptions;
use crate::view::catalog::check_collection_name;
use crate::view::journal::ViewWriter;

impl Trial<'_, '_> {
    /// Merges the documents one after the other, up to the first that fails.
    pub(super) fn merge(&mut self, view: &mut ViewWriter<'_, '_>, request: MergeRequest) -> Result<Tried> {
        let MergeRequest { target, documents } = request;
        check_collection_name(&target.collection)?;
        self.one_after_the_other(view, documents, true, |trial, view, (document, new_id)| {
            trial.merge_one(view, &target, document, new_id)
        })
    }

    fn merge_one(
        &mut self,
        view: &mut ViewWriter<'_, '_>,
        target: &MergeTarget,
        document: RawDocumentBuf,
        new_id: IdSource,
    ) -> Result<Tried> {
        let filter = target.filter_for(&document)?;
        let found = match filter.clone() {
            Some(filter) => {
                let find = FindOptions { filter, ..FindOptions::default() };
                self.matching(view, &target.collection, false, find)?
            }
            None => Vec::new(),
        };
        let collection = target.collection.clone();
        match (filter.filter(|_| !found.is_empty()), target.when_not_matched) {
            (Some(filter), _) => {
                let Some(update) = target.update_for(&document)? else { return Ok(self.nothing()) };
                let now_ms = self.moment.now_ms.cast_signed();
                let update = update.resolve(&UpdateContext { now_ms, ..UpdateContext::default() })?;
                self.update_found(view, collection, &Filter::parse(&filter)?, &update, &found, false)
            }
            (None, MergeUnmatched::Insert) => {
                self.insert(view, collection, vec![with_id_in_front(document, new_id)], true)
            }
            (None, MergeUnmatched::Discard) => Ok(self.nothing()),
            (None, MergeUnmatched::Fail) => {
                let message = "$merge could not find a matching document in the target collection";
                Err(QueryError::new(ErrorCode(13113), message).into())
            }
        }
    }
}
